//! What the integration tests share: starting a server, speaking to it byte by byte, looking at its process.
//!
//! Nothing here knows the server's code: the tests talk to the binary as its users do, over TCP, so they hold for any engine.
//! Every wait is for a condition and ends at [`PATIENCE`], so that a slow machine makes a test slow and not red.

#![allow(dead_code, unused_imports, reason = "each test file uses its own part of these helpers")]

mod admin;
mod process;
mod server;
mod text;
mod wire;

pub use admin::{Metrics, http_get};
pub use process::{Ports, cpu_ticks, open_files, peak_rss_bytes, raise_file_limit, rss_bytes, wait_until};
pub use server::{Engine, Server, engine_available, memcached_binary, server_binary, valkey_binary};
pub use text::Text;
pub use wire::{Conn, Value, WireError, bulk, encode, resp};

use std::time::Duration;

/// How long anything may take before a test gives up. Far beyond what a healthy server needs, even on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Defines each named `fn name(server: Server-making closure)` as four tests: both engines, one and two threads.
///
/// The function gets a [`Setup`] and starts its own server with the options it needs.
#[macro_export]
macro_rules! on_every_engine {
    ($($name:ident),+ $(,)?) => { $(
        mod $name {
            use $crate::support::{Engine, Setup};
            #[test]
            fn io_uring_1_thread() { Setup::run(Engine::IoUring, 1, super::$name) }
            #[test]
            fn io_uring_2_threads() { Setup::run(Engine::IoUring, 2, super::$name) }
            #[test]
            fn epoll_1_thread() { Setup::run(Engine::Epoll, 1, super::$name) }
            #[test]
            fn epoll_2_threads() { Setup::run(Engine::Epoll, 2, super::$name) }
        }
    )+ };
}

/// Which kind of server a test is to start.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    pub engine: Engine,
    pub threads: usize,
}

impl Setup {
    /// Runs `test` unless the engine is refused on this machine, which is said aloud.
    pub fn run(engine: Engine, threads: usize, test: fn(Setup)) {
        if engine_available(engine) {
            test(Setup { engine, threads });
        }
    }

    /// Starts the server with further options.
    pub fn start(self, options: &[&str]) -> Server {
        Server::start(self.engine, self.threads, options)
    }
}

/// Says why a test did not run. Where `variable` is set to 1 (as CI does), not running is a failure.
pub fn skip(variable: &str, why: &str) {
    assert!(std::env::var(variable).as_deref() != Ok("1"), "{variable}=1, but {why}");
    eprintln!("SKIPPED: {why} ({variable}=1 makes this a failure)");
}
