//! `uring-bench`: drives key-value servers, compares them in the same minute, and draws what it measured.

mod cli;
mod compare;
mod lean;
mod load;
mod micro;
mod null_server;
mod paired;
mod proto;
mod replay;
mod report;
mod run;
mod server;
mod sweep;
mod workload;

use std::process::ExitCode;

fn main() -> ExitCode {
    match cli::run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("uring-bench: {error}");
            ExitCode::from(2)
        }
    }
}
