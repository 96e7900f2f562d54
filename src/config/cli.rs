//! The whole command line: the server's flags, or one of the other things that `kv-server` does.

use super::args::Args;
use crate::limits;
use clap::{Command, CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

/// KV-Cache: an in-memory key-value cache. Without a command it serves. Every flag can be set in the environment too:
/// --max-memory as KV_MAX_MEMORY.
#[derive(Debug, Parser)]
#[command(name = "kv-server", version, max_term_width = 110, args_conflicts_with_subcommands = true)]
pub struct Cli {
    #[command(flatten)]
    pub server: Box<Args>,

    #[command(subcommand)]
    pub task: Option<Task>,
}

/// What `kv-server` does besides serving.
#[derive(Debug, Subcommand)]
pub enum Task {
    /// Look at this machine as the server would find it, and say what would hold it back and how to mend that.
    Doctor {
        /// As JSON, for programs.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        server: Box<Args>,
    },
    /// Ask a server whether it lives: exit code 0 if it answers. The port is that of KV_PORT, the password KV_REQUIREPASS.
    Ping {
        /// Name or address of its machine [default: this one].
        #[arg(long)]
        host: Option<String>,
        /// Its port [default: what the configuration says, or 7171].
        #[arg(long)]
        port: Option<u16>,
        /// Milliseconds that all of it may take.
        #[arg(long, default_value_t = limits::PING_TIMEOUT_MS, value_parser = clap::value_parser!(u64).range(1..))]
        timeout_ms: u64,
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

/// The manual page, as roff.
pub fn manual() -> Vec<u8> {
    let mut text = Vec::new();
    // Writing to memory does not fail.
    let _ = clap_mangen::Man::new(Cli::command()).render(&mut text);
    text
}
