//! `kv-server doctor`: this machine as the server would find it.

use crate::config::Config;
use crate::ring::{DriverOptions, uring::Uring};
use crate::sys::machine;
use std::process::ExitCode;

/// Looks, says what it found on standard output, and ends with 0 if the server can have io_uring.
pub fn run(_config: &Config, json: bool) -> ExitCode {
    let kernel = machine::kernel();
    let refused = Uring::new(&DriverOptions::default()).err().map(|why| why.to_string());
    if json {
        println!(
            "{}",
            serde_json::json!({ "kernel": kernel, "io_uring": refused.is_none(), "why": refused })
        );
    } else {
        println!("kernel    {kernel}");
        println!("io_uring  {}", refused.as_deref().unwrap_or("works"));
    }
    if refused.is_none() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
