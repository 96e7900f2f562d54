//! What the command line asks for: serving, or one of the small things around it.

use super::args::Args;
use super::cli::{self, Cli, Task};
use super::file::{ConfigFile, INSTALLED};
use super::merge::{FILE_VARIABLE, Merged, Place, Sources, Variables, merge};
use super::{Config, ConfigError, conflict, man, print};
use crate::doctor;
use crate::ping::Ping;
use crate::sys::Machine;
use clap::error::ErrorKind;
use clap::{CommandFactory, FromArgMatches};
use std::ffi::OsString;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What the command line asks for.
#[derive(Clone, Debug)]
pub enum Invocation {
    /// Run the server.
    Serve(Box<Config>),
    /// Print this: `--print-config` and `--print-default-config`.
    PrintConfig(String),
    /// Look at the machine with this configuration in mind, or say why there is none.
    Doctor { config: Result<Box<Config>, String>, options: doctor::Options },
    /// Ask whether a server lives.
    Ping(Ping),
    /// Write this to standard output: completions, the manual page.
    Text(Vec<u8>),
}

/// Reads `args` (the program's name first), the `KV_*` environment and the configuration file, and checks them against the machine,
/// which is looked at only where that matters: a manual is printed, and a server asked, without /proc too.
///
/// # Errors
///
/// What is wrong with them, each value with where it stands; clap's own about flags, which include help and version.
pub fn parse(
    args: impl IntoIterator<Item = OsString>,
    machine: impl FnOnce() -> io::Result<Machine>,
) -> Result<Invocation, ConfigError> {
    let name_is_ours = |(name, value): (OsString, OsString)| {
        let name = name.into_string().ok()?;
        name.starts_with("KV_").then_some((name, value))
    };
    parse_in(args, machine, &std::env::vars_os().filter_map(name_is_ours).collect(), Path::new(INSTALLED))
}

/// As [`parse`], with nothing taken from the process. `installed` is what the doctor looks at unless told otherwise.
pub(super) fn parse_in(
    args: impl IntoIterator<Item = OsString>,
    machine: impl FnOnce() -> io::Result<Machine>,
    variables: &Variables,
    installed: &Path,
) -> Result<Invocation, ConfigError> {
    let argv: Vec<OsString> = args.into_iter().collect();
    // What is asked for, before anything else is looked at: `man` works whatever the environment holds.
    let asked =
        cli::command().try_get_matches_from(&argv).and_then(|matches| Cli::from_arg_matches(&matches));
    let asked = asked.map_err(|error| match error.kind() {
        // Help names the variables.
        ErrorKind::DisplayHelp => Cli::command().try_get_matches_from(&argv).err().unwrap_or(error),
        _ => error,
    })?;
    let file_named = |flag: Option<PathBuf>| {
        let variable = variables.get(FILE_VARIABLE).filter(|path| !path.is_empty());
        flag.or(variable.map(PathBuf::from))
    };
    let merged = |place, path: Option<PathBuf>| {
        let file = path.as_deref().map(ConfigFile::read).transpose()?;
        merge(&Sources { argv: &argv, place, variables, file: file.as_ref() })
    };
    match asked.task {
        None if asked.print_default_config => Ok(Invocation::PrintConfig(print::defaults())),
        None => {
            let merged = merged(Place::Program, file_named(asked.file.config))?;
            let config = config_of(&merged, machine)?;
            if asked.print_config {
                return Ok(Invocation::PrintConfig(print::effective(&merged.settings, &config)));
            }
            Ok(Invocation::Serve(Box::new(config)))
        }
        Some(Task::Doctor { json, strict, quiet, file, .. }) => {
            let named = file_named(file.config);
            let (path, note) = if named.is_some() { (named, None) } else { installed_file(installed) };
            let config =
                merged(Place::Command("doctor"), path).and_then(|merged| config_of(&merged, machine));
            let config = match config {
                Ok(mut config) => {
                    config.notes.extend(note);
                    Ok(Box::new(config))
                }
                // Of this command line, which is not the server's.
                Err(ConfigError::Usage(usage)) => return Err(usage.into()),
                // What the server would not start with is what the doctor is asked for.
                Err(error) => Err(error.to_string()),
            };
            Ok(Invocation::Doctor { config, options: doctor::Options { json, strict, quiet } })
        }
        Some(Task::Ping { host, port, timeout_ms, file }) => {
            let merged = merged(Place::Nowhere, file_named(file.config))?;
            ping(&merged.args, host, port, timeout_ms).map(Invocation::Ping)
        }
        Some(Task::Completions { shell }) => Ok(Invocation::Text(cli::completions(shell))),
        Some(Task::Man) => Ok(Invocation::Text(man::page())),
    }
}

fn config_of(merged: &Merged, machine: impl FnOnce() -> io::Result<Machine>) -> Result<Config, ConfigError> {
    let machine = machine().map_err(ConfigError::Machine)?;
    let mut config = Config::check(merged.args.clone(), &machine).map_err(|error| match error {
        ConfigError::Conflict(text) => ConfigError::Conflict(merged.origins.explain(&text)),
        other => other,
    })?;
    config.notes.splice(0..0, merged.notes.iter().cloned());
    Ok(config)
}

/// The file of the installed server; where only root and the server may read it, the doctor says so and does without.
fn installed_file(path: &Path) -> (Option<PathBuf>, Option<String>) {
    match std::fs::File::open(path) {
        Ok(_) => (Some(path.to_path_buf()), None),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => (None, None),
        Err(error) => {
            let note =
                format!("{}: {error}. Looking at the defaults instead; try it as root.", path.display());
            (None, Some(note))
        }
    }
}

/// Where the server that these options describe would be reached from its own machine.
fn ping(args: &Args, host: Option<String>, port: Option<u16>, timeout_ms: u64) -> Result<Ping, ConfigError> {
    let port = port.unwrap_or(args.port);
    if port == 0 {
        conflict!(
            "The configuration leaves the port to the kernel (--port 0): say which it took with --port."
        );
    }
    let is_reached_by = |bound: &IpAddr, loopback: IpAddr| {
        *bound == loopback || (bound.is_unspecified() && bound.is_ipv4() == loopback.is_ipv4())
    };
    let loopbacks = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
    let reached = loopbacks.into_iter().find(|ip| args.bind.iter().any(|bound| is_reached_by(bound, *ip)));
    let own = reached.or(args.bind.first().copied()).unwrap_or(loopbacks[0]);
    Ok(Ping {
        host: host.unwrap_or_else(|| own.to_string()),
        port,
        password: args.requirepass.clone().unwrap_or_default().into_bytes(),
        timeout: Duration::from_millis(timeout_ms),
    })
}
