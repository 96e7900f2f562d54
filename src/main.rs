//! Does what the command line asks for; turns an error into words and an exit code.

use kv_server::config::{self, ConfigError, Invocation};
use kv_server::server::{self, RunError};
use kv_server::sys::Machine;
use kv_server::{doctor, ping};
use std::io::{self, Write};
use std::process::ExitCode;

fn main() -> ExitCode {
    match config::parse(std::env::args_os(), Machine::probe) {
        Ok(invocation) => run(invocation),
        // Help and version come this way too, with exit code 0.
        Err(ConfigError::Usage(usage)) if usage.exit_code() == 0 => usage.exit(),
        Err(error) => {
            let error = RunError::from(error);
            server::tell_failure(&error);
            match error {
                RunError::Config(ConfigError::Usage(usage)) => usage.exit(),
                error => failed(&error),
            }
        }
    }
}

fn run(invocation: Invocation) -> ExitCode {
    match invocation {
        Invocation::Serve(config) => match server::run(*config) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                server::tell_failure(&error);
                failed(&error)
            }
        },
        Invocation::Doctor { config: Ok(config), options } => doctor::run(&config, options),
        Invocation::Doctor { config: Err(reason), options } => doctor::refused(&reason, options),
        Invocation::Ping(ping) => match ping::run(&ping) {
            Ok(answer) => write(format!("{answer}\n").as_bytes()),
            Err(error) => failed(&error),
        },
        Invocation::PrintConfig(text) => write(text.as_bytes()),
        Invocation::Text(text) => write(&text),
    }
}

/// On standard output, which may be a pipe that nobody reads to its end.
fn write(text: &[u8]) -> ExitCode {
    match io::stdout().write_all(text) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            failed(&format!("standard output: {error}"))
        }
        _ => ExitCode::SUCCESS,
    }
}

fn failed(error: &dyn std::fmt::Display) -> ExitCode {
    eprintln!("kv-server: {error}");
    ExitCode::FAILURE
}
