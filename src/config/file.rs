//! The configuration file: TOML without sections, whose keys are the flags' names.
//!
//! Here text becomes entries with their lines, and what is wrong is told for all of the file at once; what a value means is left to the
//! options' own parsers ([`super::options`]).

use super::ConfigError;
use super::options;
use crate::limits;
use clap::{Arg, Command};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use toml::de::{DeTable, DeValue};

/// Where install.sh and the packages put it.
pub const INSTALLED: &str = "/etc/kv-cache/kv-cache.toml";

/// What Redis and memcached call options of ours that have another name here.
const KNOWN_ELSEWHERE: &[(&str, &str)] = &[
    ("maxmemory-policy", "eviction"),
    ("io-threads", "threads"),
    ("password", "requirepass"),
    ("memory", "max-memory"),
    ("memory-limit", "max-memory"),
    ("listen", "bind"),
    ("client-output-buffer-limit", "output-cap"),
];

/// A file, checked: each value is one that its option takes.
#[derive(Debug)]
pub struct ConfigFile {
    pub path: String,
    pub entries: Vec<Entry>,
    /// Whether every user of the machine may read it.
    pub is_public: bool,
}

/// One option.
#[derive(Debug, PartialEq, Eq)]
pub struct Entry {
    pub key: String,
    /// Counted from 1.
    pub line: usize,
    /// More or less than one for lists only.
    pub values: Vec<OsString>,
}

impl ConfigFile {
    /// Reads and checks it.
    pub fn read(path: &Path) -> Result<ConfigFile, ConfigError> {
        let shown = path.display().to_string();
        let (text, is_public) =
            read_text(path).map_err(|source| ConfigError::File { path: shown.clone(), source })?;
        let entries = entries(&text, &options::all()).map_err(|troubles| {
            let more = troubles.len().saturating_sub(limits::CONFIG_TROUBLES);
            let lines = troubles.into_iter().take(limits::CONFIG_TROUBLES);
            let mut lines: Vec<String> = lines.map(|(line, why)| format!("{shown}:{line}: {why}")).collect();
            lines.extend((more > 0).then(|| format!("... and {more} more.")));
            ConfigError::Value(lines.join("\n  "))
        })?;
        Ok(ConfigFile { path: shown, entries, is_public })
    }
}

fn read_text(path: &Path) -> io::Result<(String, bool)> {
    let file = File::open(path)?;
    let is_public = file.metadata()?.permissions().mode() & 0o004 != 0;
    let mut bytes = Vec::new();
    file.take(limits::CONFIG_FILE_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limits::CONFIG_FILE_BYTES {
        let text = format!("it is longer than {} bytes", limits::CONFIG_FILE_BYTES);
        return Err(io::Error::other(text));
    }
    let text = String::from_utf8(bytes).map_err(|_| io::Error::other("it is no UTF-8 text"))?;
    Ok((text, is_public))
}

/// The line of a trouble, and what it is.
type Trouble = (usize, String);

fn entries(text: &str, options: &Command) -> Result<Vec<Entry>, Vec<Trouble>> {
    let ends: Vec<usize> = text.match_indices('\n').map(|(at, _)| at).collect();
    let line_of = |offset: usize| 1 + ends.partition_point(|end| *end < offset);
    let (table, errors) = DeTable::parse_recoverable(text);
    let mut troubles: Vec<Trouble> = Vec::new();
    for error in &errors {
        let span = error.span().unwrap_or_default();
        troubles.push((line_of(span.start), syntax_trouble(text, span.start, error.message(), options)));
    }
    // What follows a syntax error may be anything: only that error is told.
    if !troubles.is_empty() {
        troubles.sort();
        troubles.dedup_by_key(|(line, _)| *line);
        return Err(troubles);
    }
    let mut entries = Vec::new();
    for (key, value) in table.into_inner() {
        let line = line_of(key.span().start);
        match entry(key.get_ref(), value.get_ref(), options) {
            Ok(values) => entries.push(Entry { key: key.into_inner().into_owned(), line, values }),
            Err(why) => troubles.push((line, why)),
        }
    }
    troubles.sort();
    entries.sort_by_key(|entry| entry.line);
    if troubles.is_empty() { Ok(entries) } else { Err(troubles) }
}

/// Toml's words, and what most often is behind them.
fn syntax_trouble(text: &str, offset: usize, message: &str, options: &Command) -> String {
    let from = text[..offset.min(text.len())].rfind('\n').map_or(0, |end| end + 1);
    let line = text[from..].lines().next().unwrap_or_default();
    let key = key_of(line, options);
    if message.contains("duplicate key") {
        return format!("{key} stands here a second time: keep one of them.");
    }
    let value = line.split_once('=').map(|(_, value)| value.trim());
    match value {
        None => format!("{key}: {message}. An option is written as: name = value."),
        Some(value)
            if value.starts_with(|first: char| first.is_alphanumeric() || "/:*.%".contains(first)) =>
        {
            format!("{key}: only whole numbers, true and false stand without quotes: {key} = \"...\".")
        }
        Some(_) => format!("{key}: {message}."),
    }
}

/// The option that a line sets which is no TOML. Nothing else of the line is told: it may be a password, or its second line.
fn key_of<'a>(line: &'a str, options: &Command) -> &'a str {
    let line = line.trim_start().trim_start_matches(['"', '\'']);
    let end = line.find(|c: char| !c.is_ascii_alphanumeric() && c != '-').unwrap_or(line.len());
    let is_known = options.get_arguments().any(|arg| options::name(arg) == &line[..end]);
    if is_known { &line[..end] } else { "this line" }
}

fn entry(key: &str, value: &DeValue<'_>, options: &Command) -> Result<Vec<OsString>, String> {
    let Some(arg) = options.get_arguments().find(|arg| options::name(arg) == key) else {
        return Err(unknown(key, value, options));
    };
    let refuse = |why: String| format!("{key}: {why}");
    match value {
        DeValue::Array(list) if options::is_list(arg) => {
            let mut values = Vec::new();
            for element in list {
                let text = single(arg, element.get_ref()).map_err(refuse)?;
                values.extend(options::check(arg, OsStr::new(&text)).map_err(refuse)?);
            }
            Ok(values)
        }
        value => {
            let text = single(arg, value).map_err(refuse)?;
            options::check(arg, OsStr::new(&text)).map_err(refuse)
        }
    }
}

/// A value as it would stand behind the flag.
fn single(arg: &Arg, value: &DeValue<'_>) -> Result<String, String> {
    let yes_or_no = || options::choices(arg).iter().any(|(name, _)| name == "yes");
    match value {
        DeValue::String(text) => Ok(text.to_string()),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map(|number| number.to_string())
            .map_err(|_| format!("{number} is too large.")),
        DeValue::Boolean(on) if options::is_switch(arg) => Ok(on.to_string()),
        DeValue::Boolean(on) if yes_or_no() => Ok(if *on { "yes" } else { "no" }.to_string()),
        DeValue::Boolean(on) => options::check(arg, OsStr::new(if *on { "true" } else { "false" }))
            .map(|_| on.to_string())
            .map_err(|why| why.replace('"', "")),
        DeValue::Float(number) => Err(format!(
            "{} is no whole number; a size goes in quotes with its unit, such as \"1.4GB\".",
            number.as_str()
        )),
        DeValue::Array(_) => Err("one value is wanted, not a list.".to_string()),
        DeValue::Table(_) => Err("one value is wanted, not a section.".to_string()),
        DeValue::Datetime(_) => Err("a date is no value for it.".to_string()),
    }
}

fn unknown(key: &str, value: &DeValue<'_>, options: &Command) -> String {
    if value.is_table() {
        return format!("[{key}]: the file has no sections; write the options without one.");
    }
    let elsewhere = KNOWN_ELSEWHERE.iter().find(|(other, _)| *other == key).map(|(_, ours)| *ours);
    match elsewhere.or_else(|| options::nearest(key, options.get_arguments().map(options::name))) {
        Some(name) => format!("{key}: there is no such option; did you mean {name}?"),
        None => format!("{key}: there is no such option; kv-server --help lists them."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(text: &str) -> Vec<(String, usize, Vec<String>)> {
        let shown = |entry: Entry| {
            let values = entry.values.iter().map(|v| v.to_string_lossy().into_owned()).collect();
            (entry.key, entry.line, values)
        };
        entries(text, &options::all()).unwrap().into_iter().map(shown).collect()
    }

    fn one(text: &str) -> Vec<String> {
        values(text).remove(0).2
    }

    fn troubles(text: &str) -> Vec<Trouble> {
        entries(text, &options::all()).unwrap_err()
    }

    #[test]
    fn entries_have_their_lines() {
        let found = values("# a comment\nport = 7000\n\n\nthreads = '2' # two\nbind = [\n  \"::1\",\n]\n");
        let lines: Vec<(&str, usize)> = found.iter().map(|(key, line, _)| (key.as_str(), *line)).collect();
        assert_eq!(lines, [("port", 2), ("threads", 5), ("bind", 6)]);
        assert_eq!(values(""), []);
        assert_eq!(values("port = 7000\r\nthreads = 1\r\n")[1].1, 2);
    }

    #[test]
    fn values_in_every_form() {
        assert_eq!(one("port = 7_000"), ["7000"]);
        assert_eq!(one("port = 0x1f90"), ["8080"]);
        assert_eq!(one("port = '7000'"), ["7000"]);
        assert_eq!(one("slowlog-log-slower-than = -1"), ["-1"]);
        assert_eq!(one("max-memory = 64000000"), ["64000000"]);
        assert_eq!(one("max-memory = \"70%\""), ["70%"]);
        assert_eq!(one("prefault = true"), ["true"]);
        assert_eq!(one("prefault = \"off\""), ["off"]);
        assert_eq!(one("protected-mode = false"), ["no"]);
        assert_eq!(one("enable-debug-command = \"local\""), ["local"]);
        assert_eq!(one("bind = [\"10.0.0.1\", \"::1\"]"), ["10.0.0.1", "::1"]);
        assert_eq!(one("bind = \"10.0.0.1,::1\""), ["10.0.0.1", "::1"]);
        assert_eq!(one("bind = []"), [""; 0]);
        assert_eq!(one("requirepass = 1234"), ["1234"]);
    }

    #[test]
    fn trouble_is_named_with_its_line_all_at_once() {
        let found = troubles("prot = 1\nport = 99999\nthreads = true\n\n[server]\nport = 1\n");
        let lines: Vec<usize> = found.iter().map(|(line, _)| *line).collect();
        assert_eq!(lines, [1, 2, 3, 5]);
        assert!(found[0].1.contains("did you mean port?"), "{found:?}");
        assert!(found[1].1.starts_with("port: \"99999\" cannot be taken") && found[1].1.contains("65535"));
        assert!(found[2].1.starts_with("threads: true cannot be taken: a whole number"), "{found:?}");
        assert!(found[3].1.contains("no sections"));
    }

    #[test]
    fn each_kind_of_trouble_says_what_is_wanted() {
        for (text, part) in [
            ("max_memory = 1", "did you mean max-memory?"),
            ("maxmemory-policy = 'allkeys-lru'", "did you mean eviction?"),
            ("replicas = 2", "--help lists them"),
            ("config = 'x'", "no such option"),
            ("max-memory = 1.4", "goes in quotes with its unit"),
            ("max-memory = 1.4GB", "max-memory = \"...\""),
            ("io-engine = epoll", "io-engine = \"...\""),
            ("port", "name = value"),
            ("port = [1]", "not a list"),
            ("port = {a = 1}", "not a section"),
            ("port = 1979-05-27", "date"),
            ("port = 99999999999999999999", "too large"),
            ("bind = ['10.0.0.1', 'x']", "\"x\" cannot be taken: an IP address"),
            ("bind = [['::1']]", "not a list"),
            ("log-level = true", "choose one of error, warn, info, debug"),
            ("server.port = 1", "no sections"),
        ] {
            let found = troubles(text);
            assert!(found[0].0 == 1 && found[0].1.contains(part), "{text}: {found:?}");
        }
        let found = troubles("port = 1\nthreads = 1\nport = 2\n");
        assert!(found[0].0 == 3 && found[0].1.contains("port stands here a second time"), "{found:?}");
    }

    #[test]
    fn a_secret_is_not_told() {
        for text in [
            "requirepass = hunter2",
            "requirepass \"hunter2\"",
            "requirepass: hunter2",
            "requirepass hunter2=4",
            "\"requirepass\" = \"hunter2",
            "requirepass = [\"hunter2\"]",
            "requirepass = { hunter2 = \"hunter2\" }",
            "requirepass = \"\"\"\nhunter2",
            "requirepass = \"\"\"\nhunter2 = 1",
            "hunter2",
        ] {
            let found = troubles(text);
            assert!(!found[0].1.contains("hunter2"), "{found:?}");
            let begin =
                if text.starts_with("hunter2") || found[0].0 > 1 { "this line" } else { "requirepass" };
            assert!(found[0].1.starts_with(begin), "{found:?}");
        }
    }

    #[test]
    fn a_file_is_bounded_and_text() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kv.toml");
        let error = |path: &Path| ConfigFile::read(path).unwrap_err().to_string();
        assert!(error(&path).contains("kv.toml") && error(&path).contains("No such file"));
        assert!(error(folder.path()).contains("directory"));
        std::fs::write(&path, "#".repeat(limits::CONFIG_FILE_BYTES as usize + 1)).unwrap();
        assert!(error(&path).contains("longer than"));
        let many: String = (0..50).map(|n| format!("no-such-{n} = 1\n")).collect();
        std::fs::write(&path, many).unwrap();
        let text = error(&path);
        assert!(text.contains("kv.toml:20: no-such-19:") && !text.contains("kv.toml:21:"), "{text}");
        assert!(text.ends_with("... and 30 more."), "{text}");
        std::fs::write(&path, b"\xff").unwrap();
        assert!(error(&path).contains("UTF-8"));
        std::fs::write(&path, "\nport = 'x'\n").unwrap();
        assert!(error(&path).contains("kv.toml:2: port: "), "{}", error(&path));
    }
}
