//! The command line: which subcommand, and its arguments. Each subcommand's module owns its own `Args`.

use clap::{Parser, Subcommand};
use std::error::Error;
use std::process::ExitCode;

/// What every subcommand ends with: an exit code (1: measured, but answers were wrong, or none was right), or why it could not measure.
pub type Outcome = Result<ExitCode, Box<dyn Error>>;

const EXAMPLES: &str = "\
To begin with:
  uring-bench run --preload --duration 5s --server-pid $(pidof kv-server) --html run.html
  uring-bench run --preload --rate 50k --duration 30s
  uring-bench compare --contenders ours,valkey --with-limit --load a,b,c --html compare.html
  uring-bench sweep --html sweep.html
  uring-bench replay gen:zipf --html replay.html

Each command's own --help has the rest.";

/// Load generator for key-value servers.
#[derive(Parser)]
#[command(name = "uring-bench", version, about, max_term_width = 110, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Loads a server and reports what it answered, how fast, and at what cost.
    Run(crate::run::Args),
    /// Compares servers in alternating slices of the same load.
    Compare(crate::compare::Args),
    /// Measures one server over connections, pipeline and value size, and its latency as the rate rises.
    Sweep(crate::sweep::Args),
    /// Answers GET and SET without a store: the limit of this machine.
    NullServer(crate::null_server::Args),
    /// Measures what each choice of a server's ring buys on this machine.
    Micro(crate::micro::Args),
    /// Compares the store's misses with an exact LRU's on traces.
    Replay(crate::replay::Args),
}

/// Parses the command line and runs what it asks for.
pub fn run() -> Outcome {
    match Cli::parse().command {
        Command::Run(args) => crate::run::main(args),
        Command::Compare(args) => crate::compare::main(args),
        Command::Sweep(args) => crate::sweep::main(args),
        Command::NullServer(args) => crate::null_server::main(args),
        Command::Micro(args) => crate::micro::main(args),
        Command::Replay(args) => crate::replay::main(args),
    }
}
