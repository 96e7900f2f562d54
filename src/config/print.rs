//! The configuration as a file: what is in effect, and the file that explains every option.
//!
//! Both are TOML that [`super::file`] reads.

use super::merge::{MASK, Setting};
use super::options;
use super::origin::Origin;
use super::{Config, format_bytes};
use clap::Arg;
use std::ffi::OsStr;
use std::fmt::Write;
use toml::Value;

/// The column at which comments begin in [`effective`], and the longest line of a comment in [`defaults`].
const COMMENT_COLUMN: usize = 44;
const COMMENT_WIDTH: usize = 110;

/// Values for options whose default is none or depends on the machine. They go together, too.
const EXAMPLES: &[(&str, &str)] = &[
    ("resp-port", "6379"),
    ("memcached-port", "11211"),
    ("http-port", "8080"),
    ("json-port", "7173"),
    ("protobuf-port", "7174"),
    ("bind", "127.0.0.1,::1"),
    ("max-memory", "1.4GB"),
    ("max-value-size", "64MiB"),
    ("threads", "2"),
    ("requirepass", "a long random text"),
    ("http-allow-origin", "https://app.example"),
    ("max-request", "65MiB"),
    ("max-inbox", "1MiB"),
    ("output-watermark", "1MiB"),
    ("output-cap", "128MiB"),
    ("successor", "10.0.0.2:7171"),
    ("notify-keyspace-events", "KEA"),
];

/// `--print-config`: every option, its value, and where that comes from.
pub fn effective(settings: &[Setting], config: &Config) -> String {
    let mut text = format!(
        "# KV-Cache {}: every option as it is in effect, and where that comes from.\n\
         # Saved as a file, this gives the same configuration again: kv-server --config FILE\n",
        env!("CARGO_PKG_VERSION")
    );
    let mut heading = "";
    for setting in settings {
        let group = setting.arg.get_help_heading().unwrap_or_default();
        if group != heading {
            // Writing to a string does not fail, here and below.
            let _ = write!(text, "\n# {group}\n");
            heading = group;
        }
        let line = line(setting, config);
        let _ = writeln!(text, "{:<COMMENT_COLUMN$}# {}", line.assignment, line.comment);
    }
    text
}

struct Line {
    assignment: String,
    comment: String,
}

fn line(setting: &Setting, config: &Config) -> Line {
    let (arg, name) = (&setting.arg, options::name(&setting.arg));
    let origin = match &setting.origin {
        Origin::Default => {
            stated_default(arg).map_or("default".to_string(), |said| format!("default: {said}"))
        }
        given => given.to_string(),
    };
    let computed = if setting.values.is_empty() { computed(name, config) } else { None };
    let value = match (&computed, setting.values.as_slice()) {
        (_, values) if options::is_list(arg) => list(values),
        (Some(value), _) => value.clone(),
        (None, []) => return Line { assignment: format!("#{name} ="), comment: origin },
        (None, [value, ..]) if options::is_secret(arg) => {
            Value::String(if value.is_empty() { String::new() } else { MASK.to_string() })
        }
        (None, [value, ..]) => toml_value(arg, value),
    };
    let share =
        setting.values.first().filter(|value| name == "max-memory" && value.trim_end().ends_with('%'));
    let comment = match share {
        Some(_) => format!("{origin}, {} bytes", config.max_memory),
        None => origin,
    };
    Line { assignment: format!("{name} = {value}"), comment }
}

/// What an option without a value comes to on this machine.
fn computed(name: &str, config: &Config) -> Option<Value> {
    let bytes = match name {
        "threads" => return Some(Value::Integer(config.threads as i64)),
        "max-memory" => config.max_memory,
        "max-value-size" => config.max_value_size,
        "max-request" => config.max_request,
        "max-inbox" => config.max_inbox,
        "output-watermark" => config.output_high,
        "output-cap" => config.output_cap,
        _ => return None,
    };
    Some(size(bytes))
}

/// With a unit where that is exact, and in bytes otherwise: it must be read back as the same.
fn size(bytes: usize) -> Value {
    let short = format_bytes(bytes).replace(' ', "");
    if super::parse_bytes(&short) == Ok(bytes) {
        return Value::String(short);
    }
    for (unit, name) in [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")] {
        if bytes.is_multiple_of(unit) {
            return Value::String(format!("{}{name}", bytes / unit));
        }
    }
    Value::Integer(bytes as i64)
}

fn toml_value(arg: &Arg, text: &str) -> Value {
    match text.parse::<i64>() {
        Ok(number) if number.to_string() == text => Value::Integer(number),
        _ if options::is_switch(arg) => Value::Boolean(text == "true"),
        _ => Value::String(text.to_string()),
    }
}

fn list(values: &[String]) -> Value {
    Value::Array(values.iter().map(|value| Value::String(value.clone())).collect())
}

/// `--print-default-config`, and deploy/kv-cache.toml: every option explained, commented out at its default.
pub fn defaults() -> String {
    let mut text = String::from(
        "# Configuration of KV-Cache. The names are those of the flags (kv-server --help). What is commented out is the default, or an\n\
         # example where the default is none or depends on the machine. Environment variables (KV_MAX_MEMORY for max-memory) and flags\n\
         # beat this file. It is read at start: systemctl restart kv-cache. What is in effect: kv-server --config FILE --print-config\n",
    );
    let mut heading = "";
    for arg in options::all().get_arguments() {
        let group = arg.get_help_heading().unwrap_or_default();
        if group != heading {
            let _ = write!(text, "\n\n##### {group} #####\n");
            heading = group;
        }
        let _ = write!(text, "\n{}{}\n", explanation(arg), default_line(arg));
    }
    text
}

/// The help as comments.
fn explanation(arg: &Arg) -> String {
    let mut text = wrapped(&help(arg), "# ");
    for (name, help) in options::choices(arg).into_iter().filter(|(_, help)| !help.is_empty()) {
        text += &wrapped(&format!("{name}: {help}"), "#   ");
    }
    let plain: Vec<String> = options::choices(arg)
        .into_iter()
        .filter(|(_, help)| help.is_empty())
        .map(|(name, _)| format!("\"{name}\""))
        .collect();
    if !plain.is_empty() {
        text += &wrapped(&format!("One of {}.", plain.join(", ")), "# ");
    }
    if let Some(default) = stated_default(arg) {
        text += &wrapped(&format!("Default: {default}."), "# ");
    }
    text
}

/// The help, in the words of a file instead of a command line.
fn help(arg: &Arg) -> String {
    let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
    let help = help.split(" [default:").next().unwrap_or_default();
    let help = help.split("; repeat it").next().unwrap_or_default();
    let help = format!("{}.", help.replace(" --", " ").trim_end_matches('.'));
    if options::is_list(arg) { format!("{help} A list.") } else { help }
}

/// What the help says of a default that is no plain value.
fn stated_default(arg: &Arg) -> Option<String> {
    let help = arg.get_help()?.to_string();
    let (_, said) = help.rsplit_once("[default: ")?;
    Some(said.split(']').next()?.replace("--", ""))
}

fn default_line(arg: &Arg) -> String {
    let name = options::name(arg);
    let example = EXAMPLES.iter().find(|(option, _)| *option == name).map(|(_, value)| *value);
    let default = arg.get_default_values().first().and_then(|value| OsStr::to_str(value)).unwrap_or_default();
    let text = example.unwrap_or(default);
    let value = if options::is_list(arg) {
        list(&text.split(',').map(str::to_string).collect::<Vec<_>>())
    } else {
        toml_value(arg, text)
    };
    format!("#{name} = {value}")
}

fn wrapped(text: &str, prefix: &str) -> String {
    let mut lines = String::new();
    let mut line = String::new();
    for word in text.split_whitespace() {
        if !line.is_empty() && prefix.len() + line.len() + 1 + word.len() > COMMENT_WIDTH {
            let _ = writeln!(lines, "{prefix}{line}");
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line += word;
    }
    let _ = writeln!(lines, "{prefix}{line}");
    lines
}
