//! The whole command line: the server's flags, or one of the other things that `kv-server` does.

use super::args::Args;
use crate::limits;
use clap::{Command, CommandFactory, Parser, Subcommand};
use clap_complete::Shell;
use std::path::PathBuf;

/// KV-Cache: an in-memory key-value cache. Without a command it serves.
///
/// Every option of the server can be set in the environment too, --max-memory as KV_MAX_MEMORY, and in a configuration file, as
/// max-memory = "1.4GB". A flag beats the environment, the environment beats the file.
#[derive(Debug, Parser)]
#[command(name = "kv-server", version, max_term_width = 110, args_conflicts_with_subcommands = true)]
pub struct Cli {
    #[command(flatten)]
    pub file: FileArg,

    /// Print every option, its value and where that comes from, as a configuration file, and end. Passwords are hidden.
    #[arg(long)]
    pub print_config: bool,

    /// Print a configuration file that explains every option, each commented out at its default, and end.
    #[arg(long, conflicts_with = "print_config")]
    pub print_default_config: bool,

    #[command(flatten)]
    pub server: Box<Args>,

    #[command(subcommand)]
    pub task: Option<Task>,
}

/// `--config`.
// No doc comment for clap: see `Args`.
#[derive(Debug, clap::Args)]
#[command(about = None, long_about = None)]
pub struct FileArg {
    /// Configuration file: TOML whose keys are the names of these flags.
    #[arg(long, env = "KV_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// What `kv-server` does besides serving.
#[derive(Debug, Subcommand)]
pub enum Task {
    /// Look at this machine as the server would find it, and say what would hold it back and how to mend that.
    ///
    /// It takes the options of the server. Without --config it looks at /etc/kv-cache/kv-cache.toml, if that is there.
    ///
    /// Exit codes: 0, the server can run as configured, whatever hints and warnings there are, so that
    /// ExecStartPre=kv-server doctor --quiet in a systemd unit keeps no server from starting for mere tuning; 1, with --strict, the worst is a
    /// warning; 2, the server could not start, or not as configured: the configuration contradicts itself or the machine's memory, a
    /// port is somebody else's, open files do not suffice for one client, io_uring is demanded and refused.
    Doctor {
        /// As JSON, for programs: {"format": 1, "worst": "hint", "counts": {...}, "findings": [{"check", "group", "severity": "ok", "unseen",
        /// "hint", "warning" or "critical", "found", "why", "mend", "mend_on_host"}]}.
        #[arg(long)]
        json: bool,
        /// End with 1 if there are warnings.
        #[arg(long)]
        strict: bool,
        /// Say only what is a warning or worse, and at the end what it all comes to: for the start of a service, whose journal keeps
        /// every line.
        #[arg(long, conflicts_with = "json")]
        quiet: bool,
        #[command(flatten)]
        file: FileArg,
        #[command(flatten)]
        server: Box<Args>,
    },
    /// Ask a server whether it lives: exit code 0 if it answers.
    ///
    /// It asks on the port on which a server with this environment and configuration file would listen, and gives its password (KV_REQUIREPASS).
    Ping {
        /// Name or address of its machine [default: this one].
        #[arg(long)]
        host: Option<String>,
        /// Its port [default: what the configuration says, or 7171].
        #[arg(long)]
        port: Option<u16>,
        /// Milliseconds that all of it may take.
        #[arg(long, value_name = "MILLISECONDS", default_value_t = limits::PING_TIMEOUT_MS,
              value_parser = clap::value_parser!(u64).range(1..=limits::PING_TIMEOUT_MOST_MS))]
        timeout_ms: u64,
        #[command(flatten)]
        file: FileArg,
    },
    /// Print what a shell needs to complete this command line.
    Completions { shell: Shell },
    /// Print the manual page, as roff: kv-server man | man -l -
    Man,
}

/// The command line without the environment, which [`super::merge`] merges.
pub fn command() -> Command {
    without_env(Cli::command())
}

pub fn without_env(command: Command) -> Command {
    command.mut_args(|arg| arg.env(None::<&'static str>)).mut_subcommands(without_env)
}

/// What this shell needs to complete the command line.
pub fn completions(shell: Shell) -> Vec<u8> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "kv-server", &mut text);
    text
}
