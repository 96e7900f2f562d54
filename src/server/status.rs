//! What the service manager is told, and `systemctl status` shows: one line on what serves, how much, and why it ended.

use super::log;
use super::shared::Shared;
use super::start::RunError;
use crate::config::{Config, format_bytes};
use crate::limits;
use crate::sys::notify::{self, Note};
use std::net::SocketAddr;
use std::time::Duration;

/// Tells the service manager. That it cannot be told stops nothing; the first message's failure is said aloud by the caller.
pub(super) fn tell(notes: &[Note<'_>]) {
    let _ = notify::tell(notes);
}

/// A start that touches all of its memory may take longer than the manager waits by itself.
pub(super) fn starting(config: &Config) {
    if config.prefault {
        let longest = limits::START_TIMEOUT_S + (config.max_memory / limits::PREFAULT_BYTES_PER_S) as u64;
        let text = format!("Preparing {} of memory", format_bytes(config.max_memory));
        tell(&[Note::ExtendTimeout(Duration::from_secs(longest)), Note::Status(&text)]);
    }
}

/// Clients are served.
pub(super) fn ready(shared: &Shared) {
    let limit = Duration::from_millis(shared.config.lua_time_limit_ms);
    if let Some(period) = shared.heartbeats.watchdog_period().filter(|period| *period <= limit) {
        log::warn(format_args!(
            "--lua-time-limit lets a script run for {:.1} s, but the service manager ends a server that stands still for {:.1} s: \
             raise WatchdogSec= in the unit.",
            limit.as_secs_f64(),
            period.as_secs_f64()
        ));
    }
    if let Err(error) = notify::tell(&[Note::Ready, Note::Status(&shared.what_serves())]) {
        log::warn(format_args!(
            "The service manager cannot be told that the server is ready: {error}. See NOTIFY_SOCKET, or use Type=exec."
        ));
    }
}

/// What the end may take is longer than the manager waits by itself, if `--drain-timeout` is.
pub(super) fn draining(shared: &Shared, text: &str, longest: Duration) {
    debug_assert!(shared.is_draining());
    tell(&[Note::Stopping, Note::ExtendTimeout(longest), Note::Status(text)]);
}

/// Why it does not start, or has not ended well. Best before the process says so itself.
pub fn failed(error: &RunError) {
    let errno = error.errno().map(Note::Errno);
    let text = error.to_string();
    let notes: Vec<Note<'_>> = std::iter::once(Note::Status(&text)).chain(errno).collect();
    tell(&notes);
}

impl Shared {
    /// The engine, the workers and where they listen.
    pub(super) fn what_serves(&self) -> String {
        let mut engines: Vec<&str> = (0..self.workers.len()).map(|worker| self.engine(worker)).collect();
        engines.dedup();
        let mut ports: Vec<String> =
            self.addresses.iter().map(SocketAddr::port).map(|p| p.to_string()).collect();
        ports.dedup();
        let plural = |n: usize| if n == 1 { "" } else { "s" };
        format!(
            "{}, {} worker{}, port{} {}",
            engines.join(" and "),
            self.workers.len(),
            plural(self.workers.len()),
            plural(ports.len()),
            ports.join(", ")
        )
    }

    /// The same with how much it has to do. Locks each partition for a moment.
    pub fn status_line(&self) -> String {
        let f = self.figures();
        let keys: u64 = f.keyspace.keys.iter().sum();
        format!(
            "{}: {} clients, {keys} keys, {} of {}, {:.0} requests/s",
            self.what_serves(),
            f.clients,
            format_bytes(f.memory.used),
            format_bytes(f.memory.limit),
            f.rates.requests,
        )
    }
}

#[cfg(test)]
mod tests {
    use crate::server::testing;

    #[test]
    fn a_line_says_what_serves_and_how_much() {
        let shared = testing::shared("--threads 2 --max-memory 64MB");
        let line = shared.status_line();
        assert!(line.starts_with("none, 2 workers, port 7171: 0 clients, 0 keys, "), "{line}");
        assert!(line.ends_with(" of 64 MB, 0 requests/s"), "{line}");
    }
}
