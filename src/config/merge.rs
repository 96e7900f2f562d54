//! One configuration from several sources: flag, then `KV_*` environment, then default.
//!
//! Every option has one parser, clap's. What comes from elsewhere than the command line is tried on it by itself, so that an error can
//! say where the value stands, and is then made the option's default: a flag beats it.

use super::args::Args;
use super::{ConfigError, cli};
use clap::error::{ContextKind, ContextValue};
use clap::{Arg, ArgAction, ArgMatches, Command, FromArgMatches};
use std::error::Error;
use std::ffi::{OsStr, OsString};

/// How variables of the environment are looked up: a parameter, so that tests need not change the process's own.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// What stands for an option outside the command line, checked.
struct Preset {
    id: String,
    values: Vec<OsString>,
}

/// The server's options as declared, with the names of their variables.
pub fn options() -> Command {
    <Args as clap::Args>::augment_args(Command::new("kv-server"))
}

/// The server's options for `argv`, in which they belong to `task` or, without one, to the program itself.
pub fn server_options(
    argv: &[OsString],
    task: Option<&str>,
    environment: Environment<'_>,
) -> Result<Args, ConfigError> {
    let presets = presets(environment)?;
    let with_presets = |command: Command| presets.iter().fold(command, preset);
    let command = match task {
        None => with_presets(cli::command()),
        Some(task) => cli::command().mut_subcommand(task.to_string(), with_presets),
    };
    let matches = command.try_get_matches_from(argv)?;
    let matches = task.map_or(Some(&matches), |task| matches.subcommand_matches(task)).unwrap_or(&matches);
    Ok(Args::from_arg_matches(matches)?)
}

/// The server's options where the command line has none of them.
pub fn server_options_elsewhere(environment: Environment<'_>) -> Result<Args, ConfigError> {
    let presets = presets(environment)?;
    let command = cli::without_env(presets.iter().fold(options(), preset));
    Ok(Args::from_arg_matches(&command.try_get_matches_from(["kv-server"])?)?)
}

fn preset(command: Command, preset: &Preset) -> Command {
    let values = preset.values.clone();
    command.mut_arg(preset.id.clone(), |arg| arg.default_values(values))
}

fn presets(environment: Environment<'_>) -> Result<Vec<Preset>, ConfigError> {
    let mut presets = Vec::new();
    for arg in options().get_arguments() {
        let Some(variable) = arg.get_env().and_then(OsStr::to_str) else { continue };
        let Some(value) = environment(variable) else { continue };
        let values = check(arg, &value).map_err(|why| ConfigError::Value(format!("{variable}: {why}")))?;
        presets.push(Preset { id: arg.get_id().to_string(), values });
    }
    Ok(presets)
}

/// Tries a value on an option's own parser: its parts, or what is wrong with it.
fn check(arg: &Arg, value: &OsStr) -> Result<Vec<OsString>, String> {
    let id = arg.get_id().to_string();
    let alone = arg.clone().env(None::<&'static str>);
    let command = Command::new("kv-server").no_binary_name(true).disable_help_flag(true).arg(alone);
    let mut given = OsString::from(format!("--{}=", arg.get_long().unwrap_or_default()));
    given.push(value);
    let matches = command.try_get_matches_from([given]).map_err(|error| reason(arg, &error))?;
    Ok(raw_values(&matches, &id))
}

fn raw_values(matches: &ArgMatches, id: &str) -> Vec<OsString> {
    matches.get_raw(id).map(|values| values.map(OsStr::to_os_string).collect()).unwrap_or_default()
}

/// Clap's error about one value, without the flag that only we have written.
fn reason(arg: &Arg, error: &clap::Error) -> String {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        Some(ContextValue::Strings(texts)) => Some(texts.join(", ")),
        _ => None,
    };
    let value = match text(ContextKind::InvalidValue) {
        Some(_) if arg.is_hide_env_values_set() => "the value".to_string(),
        Some(value) if value.is_empty() => "no value".to_string(),
        Some(value) => format!("{value:?}"),
        None => "the value".to_string(),
    };
    let wanted = text(ContextKind::ValidValue).map(|valid| format!("choose one of {valid}"));
    let why = wanted.or_else(|| error.source().map(ToString::to_string));
    let expected = why.unwrap_or_else(|| match arg.get_action() {
        ArgAction::Append => "a list is wanted".to_string(),
        _ => "one value is wanted".to_string(),
    });
    format!("{value} cannot be taken: {expected}.")
}
