//! Runs the server; turns an error into words and an exit code.

use kv_server::config::ConfigError;
use kv_server::server::{self, RunError};
use std::process::ExitCode;

fn main() -> ExitCode {
    match server::run(std::env::args_os()) {
        Ok(()) => ExitCode::SUCCESS,
        // Help and version come this way too, with exit code 0.
        Err(RunError::Config(ConfigError::Usage(usage))) => usage.exit(),
        Err(error) => {
            server::tell_failure(&error);
            eprintln!("kv-server: {error}");
            ExitCode::FAILURE
        }
    }
}
