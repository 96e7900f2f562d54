//! The server's options as they are declared, and one of them by itself: its own parser is the only one there is, whatever the
//! value's source.

use super::args::Args;
use clap::error::{ContextKind, ContextValue};
use clap::{Arg, ArgAction, Command};
use std::error::Error;
use std::ffi::{OsStr, OsString};
use std::net::AddrParseError;
use std::num::ParseIntError;

/// All of them, with the names of their variables.
pub fn all() -> Command {
    <Args as clap::Args>::augment_args(Command::new("kv-server"))
}

/// An option's name: its flag without dashes in front, and its key in the file.
pub fn name(arg: &Arg) -> &str {
    arg.get_long().unwrap_or_default()
}

/// Whether it is on or off, and `--name` alone turns it on.
pub fn is_switch(arg: &Arg) -> bool {
    arg.get_num_args().is_some_and(|values| values.min_values() == 0)
}

/// Whether it may be given more than once.
pub fn is_list(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::Append)
}

/// Whether its value must not be shown.
pub fn is_secret(arg: &Arg) -> bool {
    arg.is_hide_env_values_set()
}

/// The names that it takes, if it takes nothing else.
pub fn choices(arg: &Arg) -> Vec<(String, String)> {
    if is_switch(arg) {
        return Vec::new();
    }
    let choice = |value: &clap::builder::PossibleValue| {
        (value.get_name().to_string(), value.get_help().map(ToString::to_string).unwrap_or_default())
    };
    arg.get_possible_values().iter().map(choice).collect()
}

/// Tries a value on the option's parser: the parts into which it falls (a list's commas), or why it cannot be taken.
pub fn check(arg: &Arg, value: &OsStr) -> Result<Vec<OsString>, String> {
    if value.to_str().is_none() {
        return Err("this value cannot be taken: it is no UTF-8 text.".to_string());
    }
    let alone = arg.clone().env(None::<&'static str>);
    let command = Command::new("kv-server").no_binary_name(true).disable_help_flag(true).arg(alone);
    let mut given = OsString::from(format!("--{}=", name(arg)));
    given.push(value);
    let matches = command.try_get_matches_from([given]).map_err(|error| reason(arg, &error))?;
    let parts = matches.get_raw(arg.get_id().as_str());
    Ok(parts.map(|parts| parts.map(OsStr::to_os_string).collect()).unwrap_or_default())
}

/// Clap's error about one value, without the flag that only [`check`] has written.
fn reason(arg: &Arg, error: &clap::Error) -> String {
    let value = match error.get(ContextKind::InvalidValue) {
        Some(ContextValue::String(value)) if !is_secret(arg) => format!("{value:?}"),
        _ => "this value".to_string(),
    };
    format!("{value} cannot be taken: {}.", wanted(arg, error))
}

fn wanted(arg: &Arg, error: &clap::Error) -> String {
    let choices = choices(arg);
    if !choices.is_empty() {
        let names: Vec<&str> = choices.iter().map(|(name, _)| name.as_str()).collect();
        return format!("choose one of {}", names.join(", "));
    }
    if is_switch(arg) {
        return "true or false is wanted".to_string();
    }
    match error.source() {
        Some(source) if source.is::<ParseIntError>() => "a whole number is wanted".to_string(),
        Some(source) if source.is::<AddrParseError>() => {
            "an IP address is wanted, such as 10.0.0.1 or ::1".to_string()
        }
        Some(source) => source.to_string(),
        None => "a value is wanted".to_string(),
    }
}

/// The name most like the given one, if one is like it.
pub fn nearest<'a>(given: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let given = given.to_ascii_lowercase().replace('_', "-");
    let most = (given.len() / 4).clamp(1, 3);
    let near = |name: &'a str| {
        let distance = strsim::damerau_levenshtein(&given, name);
        (distance <= most).then_some((distance, name))
    };
    names.filter_map(near).min_by_key(|(distance, _)| *distance).map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(name: &str, value: &str) -> String {
        let options = all();
        let arg = options.get_arguments().find(|arg| super::name(arg) == name).unwrap();
        check(arg, OsStr::new(value)).unwrap_err()
    }

    #[test]
    fn a_refusal_names_the_value_and_what_is_wanted() {
        assert_eq!(refused("port", "x"), "\"x\" cannot be taken: a whole number is wanted.");
        assert!(refused("port", "70000").contains("0..=65535"));
        assert!(refused("bind", "localhost").contains("such as 10.0.0.1"));
        assert!(refused("prefault", "maybe").contains("true or false"));
        assert!(refused("io-engine", "kqueue").contains("auto, io_uring, epoll"));
        assert!(refused("max-memory", "lots").contains("such as 1.4GB"));
    }

    #[test]
    fn bytes_that_are_no_text_are_called_so() {
        use std::os::unix::ffi::OsStrExt;
        let options = all();
        for arg in options.get_arguments() {
            assert!(check(arg, OsStr::from_bytes(b"\xff1")).unwrap_err().contains("UTF-8"), "{}", name(arg));
        }
    }

    #[test]
    fn a_list_falls_into_parts() {
        let options = all();
        let bind = options.get_arguments().find(|arg| name(arg) == "bind").unwrap();
        assert_eq!(check(bind, OsStr::new("10.0.0.1,::1")).unwrap(), ["10.0.0.1", "::1"]);
    }

    #[test]
    fn what_is_nearest_is_near() {
        let names = || ["port", "max-memory", "threads", "timeout"].into_iter();
        assert_eq!(nearest("prot", names()), Some("port"));
        assert_eq!(nearest("maxmemory", names()), Some("max-memory"));
        assert_eq!(nearest("MAX_MEMORY", names()), Some("max-memory"));
        assert_eq!(nearest("replicas", names()), None);
        assert_eq!(nearest("", names()), None);
    }
}
