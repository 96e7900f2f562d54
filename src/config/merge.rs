//! One configuration from several sources: flag, then `KV_*` environment, then file, then default.
//!
//! What comes from elsewhere than the command line is tried on its option's own parser, so that an error can say where the value stands,
//! and is then made the option's default: a flag beats it.

use super::args::Args;
use super::file::ConfigFile;
use super::options;
use super::origin::{Origin, Origins};
use super::{ConfigError, cli};
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command, FromArgMatches};
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};

/// The `KV_*` part of the environment: a parameter, so that tests need not change the process's own.
pub type Variables = BTreeMap<String, OsString>;

/// Names the file.
pub const FILE_VARIABLE: &str = "KV_CONFIG";

/// Where a hidden password would stand in what `--print-config` prints. No password: a file that has it is not complete.
pub const MASK: &str = "(hidden)";

/// Whose options the server's are on the command line.
#[derive(Clone, Copy)]
pub enum Place<'a> {
    Program,
    Command(&'a str),
    /// They cannot be given there.
    Nowhere,
}

pub struct Sources<'a> {
    /// With the program's name.
    pub argv: &'a [OsString],
    pub place: Place<'a>,
    pub variables: &'a Variables,
    pub file: Option<&'a ConfigFile>,
}

/// One option with its value, as text.
pub struct Setting {
    pub arg: Arg,
    pub origin: Origin,
    /// Empty: none. More than one: a list.
    pub values: Vec<String>,
}

pub struct Merged {
    pub args: Args,
    pub settings: Vec<Setting>,
    pub origins: Origins,
    /// What is strange, but no error.
    pub notes: Vec<String>,
}

/// Merges them.
pub fn merge(sources: &Sources<'_>) -> Result<Merged, ConfigError> {
    let presets = presets(sources)?;
    let add_presets = |command: Command| {
        presets.iter().fold(command, |command, (name, preset)| {
            let values = preset.values.clone();
            command.mut_arg(name.replace('-', "_"), |arg| arg.default_values(values))
        })
    };
    let command = match sources.place {
        Place::Program => add_presets(cli::command()),
        Place::Command(name) => cli::command().mut_subcommand(name, add_presets),
        Place::Nowhere => add_presets(cli::without_env(options::all())),
    };
    let given = if matches!(sources.place, Place::Nowhere) { &sources.argv[..1] } else { sources.argv };
    let matches = command.try_get_matches_from(given)?;
    let matches = match sources.place {
        Place::Command(name) => matches.subcommand_matches(name).unwrap_or(&matches),
        _ => &matches,
    };
    let settings = settings(matches, &presets);
    refuse_mask(&settings)?;
    let mut origins = Origins::default();
    for setting in &settings {
        origins.set(options::name(&setting.arg), setting.origin.clone());
    }
    Ok(Merged { args: Args::from_arg_matches(matches)?, origins, notes: notes(sources, &settings), settings })
}

/// What stands for an option outside the command line, checked.
struct Preset {
    values: Vec<OsString>,
    origin: Origin,
}

/// By the options' names.
fn presets(sources: &Sources<'_>) -> Result<BTreeMap<String, Preset>, ConfigError> {
    let mut presets = BTreeMap::new();
    if let Some(file) = sources.file {
        for entry in &file.entries {
            let origin = Origin::File { path: file.path.clone(), line: entry.line };
            presets.insert(entry.key.clone(), Preset { values: entry.values.clone(), origin });
        }
    }
    for arg in options::all().get_arguments() {
        let Some(variable) = arg.get_env().and_then(OsStr::to_str) else { continue };
        let Some(value) = sources.variables.get(variable).filter(|value| !value.is_empty()) else { continue };
        let values = options::check(arg, value)
            .map_err(|why| ConfigError::Value(format!("{variable}: {why}{}", link_hint(variable, value))))?;
        let origin = Origin::Variable(variable.to_string());
        presets.insert(options::name(arg).to_string(), Preset { values, origin });
    }
    Ok(presets)
}

/// A service that is called `kv` sets KV_PORT in the containers around it, and not to a number.
fn link_hint(variable: &str, value: &OsStr) -> String {
    if !value.to_string_lossy().starts_with("tcp://") {
        return String::new();
    }
    format!(
        " Kubernetes and Docker's links set {variable} for a service of that name: call it otherwise, or set \
         enableServiceLinks: false for the pod."
    )
}

fn settings(matches: &ArgMatches, presets: &BTreeMap<String, Preset>) -> Vec<Setting> {
    let setting = |arg: &Arg| {
        let id = arg.get_id().as_str();
        let origin = match (matches.value_source(id), presets.get(options::name(arg))) {
            (Some(ValueSource::CommandLine), _) => Origin::Flag,
            (_, Some(preset)) => preset.origin.clone(),
            (_, None) => Origin::Default,
        };
        let values = if options::is_switch(arg) {
            vec![matches.get_one::<bool>(id).copied().unwrap_or_default().to_string()]
        } else {
            let raw = matches.get_raw(id).into_iter().flatten();
            raw.map(|value| value.to_string_lossy().into_owned()).collect()
        };
        Setting { arg: arg.clone(), origin, values }
    };
    options::all().get_arguments().map(setting).collect()
}

/// A saved `--print-config` has no password: to start without one would be worse than not to start.
fn refuse_mask(settings: &[Setting]) -> Result<(), ConfigError> {
    for setting in settings.iter().filter(|setting| options::is_secret(&setting.arg)) {
        if matches!(setting.origin, Origin::File { .. }) && setting.values.iter().any(|value| value == MASK) {
            let name = options::name(&setting.arg);
            let variable = setting.arg.get_env().and_then(OsStr::to_str).unwrap_or_default();
            return Err(ConfigError::Value(format!(
                "{}: {name}: --print-config has hidden it. Write the password here, or set {variable}.",
                setting.origin
            )));
        }
    }
    Ok(())
}

fn notes(sources: &Sources<'_>, settings: &[Setting]) -> Vec<String> {
    let mut notes = Vec::new();
    let variables: Vec<&str> = settings
        .iter()
        .filter_map(|setting| setting.arg.get_env()?.to_str())
        .chain([FILE_VARIABLE])
        .collect();
    for name in sources.variables.keys().filter(|name| !variables.contains(&name.as_str())) {
        // Near by what comes after KV_, which is the same in all.
        let rest = |name: &str| name.trim_start_matches("KV_").to_ascii_lowercase().replace('_', "-");
        let known: Vec<(String, &str)> = variables.iter().map(|known| (rest(known), *known)).collect();
        let nearest = options::nearest(&rest(name), known.iter().map(|(short, _)| short.as_str()));
        if let Some((_, meant)) = known.iter().find(|(short, _)| Some(short.as_str()) == nearest) {
            notes.push(format!("{name} is set, but there is no such option: is {meant} meant?"));
        }
    }
    let secret_line = |setting: &&Setting| {
        options::is_secret(&setting.arg) && matches!(setting.origin, Origin::File { .. })
    };
    if let (Some(file), Some(setting)) =
        (sources.file.filter(|file| file.is_public), settings.iter().find(secret_line))
    {
        notes.push(format!(
            "{} holds a password, and every user of this machine may read the file: chmod o-r {}",
            setting.origin, file.path
        ));
    }
    notes
}
