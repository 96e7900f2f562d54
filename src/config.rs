//! Command line, environment and configuration file to one validated [`Config`]. The only place that sees clap.
//!
//! ```text
//!   flags ──────────────┐
//!   KV_* ── options ──┐ │            each value through its option's one parser (options), with where it stands (origin)
//!   file ── file ─────┴─┴─► merge ──► check ──► Config      all of them together, judged on the machine
//!                             └─────► print                 --print-config
//! ```
//!
//! The machine's facts ([`Machine`]) are a parameter, so that every rule is tested without one. What had to be adjusted without the
//! user's asking is said in [`Config::notes`], printed at start; what contradicts itself is an error that names the flag, the figures
//! and the mend.

mod args;
mod check;
mod cli;
mod file;
mod invocation;
mod man;
mod merge;
pub mod notify;
mod options;
mod origin;
mod print;
mod size;

pub use invocation::{Invocation, parse};
pub use size::{MemorySize, SizeError, format_bytes, parse_bytes, parse_memory, parse_redis_bytes};

use crate::limits;
use crate::proto::{ParseLimits, Spoken};
use crate::store::Eviction;
use crate::sys::Machine;
use crate::sys::listener::ListenOptions;
use std::ffi::OsString;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

/// `--io-engine`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum IoEngine {
    /// io_uring, or epoll where it is refused, with one loud line that says why.
    Auto,
    /// io_uring, or no start.
    #[value(name = "io_uring")]
    IoUring,
    /// epoll.
    Epoll,
}

impl IoEngine {
    /// As the flag takes it.
    pub fn name(self) -> &'static str {
        match self {
            IoEngine::Auto => "auto",
            IoEngine::IoUring => "io_uring",
            IoEngine::Epoll => "epoll",
        }
    }
}

/// `--enable-debug-command`: who may use DEBUG.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum DebugCommand {
    /// Nobody.
    No,
    /// Clients on this machine.
    Local,
    /// Everybody.
    Yes,
}

impl DebugCommand {
    /// As the flag takes it.
    pub fn name(self) -> &'static str {
        match self {
            DebugCommand::No => "no",
            DebugCommand::Local => "local",
            DebugCommand::Yes => "yes",
        }
    }
}

/// `--log-level`: what reaches standard error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
}

/// A port that speaks one protocol only.
#[derive(Clone, Copy, Debug)]
pub struct OwnPort {
    /// The flag that asked for it.
    pub flag: &'static str,
    /// 0: any free port.
    pub port: u16,
    pub spoken: Spoken,
}

/// Everything the server is told, checked. Sizes in bytes.
#[derive(Clone, Debug)]
pub struct Config {
    /// 0: any free port.
    pub port: u16,
    /// Ports that speak one protocol only.
    pub own_ports: Vec<OwnPort>,
    /// Empty: everywhere.
    pub bind: Vec<IpAddr>,
    pub threads: usize,
    /// The CPU of each worker; empty without pinning.
    pub cpus: Vec<usize>,
    pub engine: IoEngine,
    /// How long a worker that is nearly idle spins before it blocks; zero: never.
    pub busy_poll: Duration,
    /// Milliseconds that a script may run.
    pub lua_time_limit_ms: u64,
    /// The initial limit; the live one is the budget's.
    pub max_memory: usize,
    /// What the machine or the control group has.
    pub machine_memory: usize,
    pub eviction: Eviction,
    pub max_value_size: usize,
    pub prefault: bool,
    /// Whether memcached's `shutdown` ends the server.
    pub memcached_shutdown: bool,
    /// Initial; empty: none. Live in `server::Settings`.
    pub password: Vec<u8>,
    /// Initial; live in `server::Settings`.
    pub protected_mode: bool,
    /// Initial; live in `server::Settings`. The descriptors suffice for it.
    pub max_clients: usize,
    /// Initial, seconds, 0: off; live in `server::Settings`.
    pub idle_timeout_s: u64,
    /// Initial; the live ones are the observer's.
    pub slowlog_slower_than_us: i64,
    pub slowlog_max_len: usize,
    /// Initial, 0: off; live in the observer.
    pub latency_threshold_ms: u64,
    pub debug_command: DebugCommand,
    /// The largest single request; a longer one loses its connection.
    pub max_request: usize,
    /// Received requests, in bytes, that cannot be executed yet, at which a connection's reading pauses.
    pub max_inbox: usize,
    /// Unsent bytes at which a connection's reading pauses, and at which it goes on.
    pub output_high: usize,
    pub output_low: usize,
    /// Unsent bytes at which a connection is closed.
    pub output_cap: usize,
    /// Sites whose pages a browser may let use the cache over HTTP, such as `https://app.example`; `*`: all.
    pub http_allow_origin: Vec<String>,
    pub drain_timeout: Duration,
    /// Initial, bits of [`notify::flag`] and of the store's classes; live in the server.
    pub notify_flags: u32,
    /// Initial, 0: bounded in bytes only; live in the server.
    pub tracking_keys: usize,
    /// Initial, "host:port" or empty; live in `server::Settings`.
    pub successor: String,
    pub admin_bind: IpAddr,
    /// 0: any free port.
    pub admin_port: u16,
    pub tcp_backlog: u32,
    /// Seconds, 0: off.
    pub tcp_keepalive_s: u32,
    pub log_level: LogLevel,
    /// What was adjusted, and why: one line each.
    pub notes: Vec<String>,
}

macro_rules! conflict {
    ($($arg:tt)*) => { return Err(ConfigError::Conflict(format!($($arg)*))) };
}

use conflict;

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Clap's own: unknown flags, and `--help` and `--version`, which are no failures.
    #[error(transparent)]
    Usage(#[from] clap::Error),
    #[error("the configuration file {path} cannot be read: {source}. It is named by --config or KV_CONFIG.")]
    File { path: String, source: io::Error },
    #[error("cannot read what this machine has: {0}")]
    Machine(io::Error),
    /// Values that their options do not take, and where they stand.
    #[error("{0}")]
    Value(String),
    /// Values that do not go together.
    #[error("{0}")]
    Conflict(String),
}

impl Config {
    /// Like [`parse`], where nothing but serving is asked for.
    pub fn parse(args: impl IntoIterator<Item = OsString>, machine: &Machine) -> Result<Config, ConfigError> {
        match parse(args, || Ok(machine.clone()))? {
            Invocation::Serve(config) => Ok(*config),
            _ => conflict!("The arguments ask for something else than serving."),
        }
    }

    /// How to listen for clients on one of the ports. `retry`: for how long a taken one is tried again.
    pub fn listen_options(&self, port: u16, port_flag: &'static str, retry: Duration) -> ListenOptions {
        ListenOptions {
            bind: self.bind.clone(),
            port,
            port_flag,
            workers: self.threads,
            backlog: self.tcp_backlog,
            keepalive_s: self.tcp_keepalive_s,
            retry,
        }
    }

    /// The descriptors that `clients` clients need, with everything else.
    pub fn descriptors_for(&self, clients: usize) -> usize {
        clients + self.descriptors_fixed()
    }

    fn descriptors_fixed(&self) -> usize {
        let addresses = self.bind.len().max(1) * (1 + self.own_ports.len());
        limits::FDS_RESERVED + limits::ADMIN_CONNECTIONS + self.threads * (limits::FDS_PER_WORKER + addresses)
    }

    /// Lowers `max_clients` to what the limit on open files leaves, and notes it.
    pub fn fit_descriptors(&mut self, available: usize) -> Result<(), ConfigError> {
        let clients = available.saturating_sub(self.descriptors_fixed());
        if clients == 0 {
            conflict!(
                "The limit on open files is {available}, and {} threads need {} before the first client. \
                 Raise it with `ulimit -n 65536`, LimitNOFILE= in a systemd unit, or docker's --ulimit nofile=65536.",
                self.threads,
                self.descriptors_fixed()
            );
        }
        if clients < self.max_clients {
            self.notes.push(format!(
                "max-clients lowered from {} to {clients}: the limit on open files is {available}. \
                 Raise it with `ulimit -n {}`, or LimitNOFILE= in a systemd unit.",
                self.max_clients,
                self.descriptors_for(self.max_clients)
            ));
            self.max_clients = clients;
        }
        Ok(())
    }

    /// Most bytes that are copied for one reply (large values are not): the rest of memory is taken, mostly by keys.
    pub fn reply_memory(&self) -> usize {
        (self.max_memory / limits::REPLY_SHARE).min(self.output_cap)
    }

    /// Reply bytes that one worker makes in one turn, about: a small part of a small memory.
    pub fn turn_output(&self) -> usize {
        let share = self.max_memory / limits::TURN_OUTPUT_SHARE / self.threads;
        share.clamp(limits::MIN_TURN_OUTPUT_BYTES, limits::TURN_OUTPUT_BYTES)
    }

    /// What a parser enforces while the memory limit is what it was at start; see `server::Shared::parse_limits` for the live one.
    pub fn parse_limits(&self) -> ParseLimits {
        ParseLimits {
            max_bulk: self.max_value_size.max(limits::MAX_KEY_LEN),
            max_request: self.max_request,
            max_args: limits::MAX_ARGS,
            max_inline: limits::MAX_INLINE,
            // Set for each connection when its bytes are parsed.
            authenticated: false,
        }
    }
}

/// Whether this is empty or a host and a port, as clients are told them.
pub fn is_address(text: &str) -> bool {
    let host_and_port = text.rsplit_once(':').filter(|(host, _)| {
        let plain = host.bytes().all(|byte| byte.is_ascii_graphic());
        !host.is_empty() && host.len() <= 255 && plain
    });
    text.is_empty() || host_and_port.is_some_and(|(_, port)| port.parse::<u16>().is_ok_and(|port| port > 0))
}

impl Config {
    /// The addresses as CONFIG GET bind shows them.
    pub fn bind_text(&self) -> String {
        if self.bind.is_empty() {
            return "* -::*".to_string();
        }
        self.bind.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(" ")
    }
}

/// The default of `--admin-bind`.
const ADMIN_BIND: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

#[cfg(test)]
mod tests;
