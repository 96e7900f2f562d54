//! The command line: which subcommand, and its arguments. Each subcommand's module owns its own `Args`.

use clap::{Parser, Subcommand};
use std::error::Error;
use std::process::ExitCode;

/// What every subcommand ends with: an exit code (1: measured, but wrong answers were seen), or why it could not measure.
pub type Outcome = Result<ExitCode, Box<dyn Error>>;

/// Load generator for key-value servers.
#[derive(Parser)]
#[command(name = "uring-bench", version, about, max_term_width = 110)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Answers GET and SET without a store: the limit of this machine.
    NullServer,
    Replay(crate::replay::Args),
}

/// Parses the command line and runs what it asks for.
pub fn run() -> Outcome {
    match Cli::parse().command {
        Command::NullServer => Err("not built".into()),
        Command::Replay(args) => crate::replay::main(args),
    }
}
