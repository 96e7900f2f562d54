//! Command line and environment to one validated [`Config`]. The only place that sees clap.
//!
//! Parsing is pure: the machine's facts ([`Machine`]) are a parameter, so that every rule is tested without one. What had to be
//! adjusted without the user's asking is said in [`Config::notes`], printed at start; what contradicts itself is an error that
//! names the flag, the figures and the mend.

mod args;
mod cli;
mod merge;
pub mod notify;
mod size;

pub use size::{MemorySize, SizeError, format_bytes, parse_bytes, parse_memory, parse_redis_bytes};

use crate::limits;
use crate::ping::Ping;
use crate::proto::{ParseLimits, Protocol, Spoken};
use crate::store::Eviction;
use crate::sys::Machine;
use args::{Args, EvictionArg};
use clap::error::ErrorKind;
use clap::{CommandFactory, FromArgMatches};
use cli::{Cli, Task};
use merge::Environment;
use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
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

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Clap's own: unknown flags, and `--help` and `--version`, which are no failures.
    #[error(transparent)]
    Usage(#[from] clap::Error),
    /// A value that its option does not take, and where it stands.
    #[error("{0}")]
    Value(String),
    /// Values that do not go together.
    #[error("{0}")]
    Conflict(String),
}

/// What the command line asks for.
#[derive(Clone, Debug)]
pub enum Invocation {
    /// Run the server.
    Serve(Box<Config>),
    /// Look at the machine with this configuration in mind; as JSON or as text.
    Doctor { config: Box<Config>, json: bool },
    /// Ask whether a server lives.
    Ping(Ping),
    /// Write this to standard output: completions, the manual page.
    Text(Vec<u8>),
}

/// Reads `args` (the program's name first) and the `KV_*` environment, and checks them against the machine.
pub fn parse(args: impl IntoIterator<Item = OsString>, machine: &Machine) -> Result<Invocation, ConfigError> {
    parse_in(args, machine, &|name| std::env::var_os(name))
}

fn parse_in(
    args: impl IntoIterator<Item = OsString>,
    machine: &Machine,
    environment: Environment<'_>,
) -> Result<Invocation, ConfigError> {
    let argv: Vec<OsString> = args.into_iter().collect();
    // What is asked for, before the environment is looked at: `man` works whatever stands there.
    let asked =
        cli::command().try_get_matches_from(&argv).and_then(|matches| Cli::from_arg_matches(&matches));
    let asked = asked.map_err(|error| match error.kind() {
        // Help names the variables.
        ErrorKind::DisplayHelp => Cli::command().try_get_matches_from(&argv).err().unwrap_or(error),
        _ => error,
    })?;
    match asked.task {
        None => {
            let args = merge::server_options(&argv, None, environment)?;
            Ok(Invocation::Serve(Box::new(Config::check(args, machine)?)))
        }
        Some(Task::Doctor { json, .. }) => {
            let args = merge::server_options(&argv, Some("doctor"), environment)?;
            Ok(Invocation::Doctor { config: Box::new(Config::check(args, machine)?), json })
        }
        Some(Task::Ping { host, port, timeout_ms }) => {
            let args = merge::server_options_elsewhere(environment)?;
            Ok(Invocation::Ping(ping(&args, host, port, timeout_ms)?))
        }
        Some(Task::Completions { shell }) => Ok(Invocation::Text(cli::completions(shell))),
        Some(Task::Man) => Ok(Invocation::Text(cli::manual())),
    }
}

/// Where the server that these options describe would be reached from its own machine.
fn ping(args: &Args, host: Option<String>, port: Option<u16>, timeout_ms: u64) -> Result<Ping, ConfigError> {
    let port = port.unwrap_or(args.port);
    if port == 0 {
        conflict!(
            "The configuration leaves the port to the kernel (--port 0): say which it took with --port."
        );
    }
    let is_reached_by = |bound: &IpAddr, loopback: IpAddr| {
        *bound == loopback || (bound.is_unspecified() && bound.is_ipv4() == loopback.is_ipv4())
    };
    let loopbacks = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
    let reached = loopbacks.into_iter().find(|ip| args.bind.iter().any(|bound| is_reached_by(bound, *ip)));
    let own = reached.or(args.bind.first().copied()).unwrap_or(loopbacks[0]);
    Ok(Ping {
        host: host.unwrap_or_else(|| own.to_string()),
        port,
        password: args.requirepass.clone().unwrap_or_default().into_bytes(),
        timeout: Duration::from_millis(timeout_ms),
    })
}

impl Config {
    /// Like [`parse`], where nothing but serving is asked for.
    pub fn parse(args: impl IntoIterator<Item = OsString>, machine: &Machine) -> Result<Config, ConfigError> {
        match parse(args, machine)? {
            Invocation::Serve(config) => Ok(*config),
            other => conflict!("This is no configuration of a server: {other:?}"),
        }
    }

    fn check(args: Args, machine: &Machine) -> Result<Config, ConfigError> {
        let mut notes = Vec::new();
        let threads = match args.threads {
            None => machine.default_threads().min(limits::THREADS),
            Some(n @ 1..=limits::THREADS) => n,
            Some(n) => conflict!("--threads {n}: choose 1 to {}.", limits::THREADS),
        };
        let cpus = cpus_of_workers(&args, threads, machine, &mut notes);
        let max_memory = max_memory(&args, machine)?;
        let max_value_size = max_value_size(&args, max_memory)?;
        let (max_request, max_inbox) = input_limits(&args, max_value_size)?;
        let (output_high, output_cap) = output_limits(&args, max_memory, max_value_size)?;
        let password = args.requirepass.clone().unwrap_or_default().into_bytes();
        if password.len() > limits::PASSWORD_LEN {
            conflict!("--requirepass: {} bytes; at most {} are taken.", password.len(), limits::PASSWORD_LEN);
        }
        if args.max_clients == 0 || args.max_clients > limits::MAX_CLIENTS_MOST {
            conflict!("--max-clients {}: choose 1 to {}.", args.max_clients, limits::MAX_CLIENTS_MOST);
        }
        if args.slowlog_max_len > limits::SLOWLOG_MAX_LEN_MOST {
            conflict!(
                "--slowlog-max-len {}: choose 0 to {}.",
                args.slowlog_max_len,
                limits::SLOWLOG_MAX_LEN_MOST
            );
        }
        let own_ports = own_ports(&args)?;
        let Some(notify_flags) = notify::parse_flags(args.notify_keyspace_events.as_bytes()) else {
            let given = &args.notify_keyspace_events;
            conflict!("--notify-keyspace-events {given}: the letters are {}.", notify::LETTERS);
        };
        if !is_address(&args.successor) {
            conflict!("--successor {}: host:port is wanted.", args.successor);
        }
        let mut bind = args.bind.clone();
        // "0.0.0.0" is left to mean IPv4 only; "*" never reaches us (it is the default).
        bind.dedup();
        Ok(Config {
            port: args.port,
            own_ports,
            bind,
            threads,
            cpus,
            engine: args.io_engine,
            busy_poll: Duration::from_micros(args.busy_poll_us),
            lua_time_limit_ms: args.lua_time_limit,
            max_memory,
            machine_memory: machine.memory,
            eviction: match args.eviction {
                EvictionArg::Lru => Eviction::Lru,
                EvictionArg::S3Fifo => Eviction::S3Fifo,
                EvictionArg::None => Eviction::None,
            },
            max_value_size,
            prefault: args.prefault,
            memcached_shutdown: args.memcached_shutdown,
            password,
            protected_mode: args.protected_mode == args::Switch::Yes,
            max_clients: args.max_clients,
            idle_timeout_s: args.timeout,
            slowlog_slower_than_us: args.slowlog_log_slower_than,
            slowlog_max_len: args.slowlog_max_len,
            latency_threshold_ms: args.latency_monitor_threshold,
            debug_command: args.enable_debug_command,
            max_request,
            max_inbox,
            output_high,
            output_low: output_high / limits::OUTPUT_LOW_DIVISOR,
            output_cap,
            http_allow_origin: origins(&args)?,
            drain_timeout: Duration::from_secs(args.drain_timeout),
            notify_flags,
            tracking_keys: args.tracking_table_max_keys,
            successor: args.successor,
            admin_bind: args.admin_bind,
            admin_port: args.admin_port,
            tcp_backlog: args.tcp_backlog,
            tcp_keepalive_s: args.tcp_keepalive,
            log_level: args.log_level,
            notes,
        })
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

/// The ports that speak one protocol; no two ports of the server may be the same.
fn own_ports(args: &Args) -> Result<Vec<OwnPort>, ConfigError> {
    let wanted = [
        ("--resp-port", args.resp_port, Spoken::Only(Protocol::Resp)),
        ("--memcached-port", args.memcached_port, Spoken::Memcached),
        ("--http-port", args.http_port, Spoken::Only(Protocol::Http)),
        ("--json-port", args.json_port, Spoken::Only(Protocol::JsonLines)),
        ("--protobuf-port", args.protobuf_port, Spoken::Only(Protocol::Protobuf)),
    ];
    let own_ports: Vec<OwnPort> = wanted
        .into_iter()
        .filter_map(|(flag, port, spoken)| port.map(|port| OwnPort { flag, port, spoken }))
        .collect();
    let mut taken = vec![("--port", args.port), ("--admin-port", args.admin_port)];
    taken.extend(own_ports.iter().map(|own| (own.flag, own.port)));
    for (i, (flag, port)) in taken.iter().enumerate() {
        if let Some((other, _)) = taken[..i].iter().find(|(_, earlier)| *port != 0 && earlier == port) {
            conflict!("{other} and {flag} are both {port}: give one of them another.");
        }
    }
    Ok(own_ports)
}

/// `--http-allow-origin`, as browsers write origins: RFC 6454 section 6.2.
fn origins(args: &Args) -> Result<Vec<String>, ConfigError> {
    for origin in &args.http_allow_origin {
        let host = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
        let is_origin =
            host.is_some_and(|host| !host.is_empty() && !host.contains(['/', '*', ' ', '?', '#']));
        if !is_origin && origin != "*" && origin != "null" {
            conflict!(
                "--http-allow-origin {origin}: a browser would never send that. Write scheme, host and, unless it is the \
                 scheme's own, port: https://app.example:8443. Or * for all sites."
            );
        }
    }
    Ok(args.http_allow_origin.clone())
}

fn cpus_of_workers(args: &Args, threads: usize, machine: &Machine, notes: &mut Vec<String>) -> Vec<usize> {
    if args.no_pin {
        return Vec::new();
    }
    if threads > machine.cpus.len() {
        notes.push(format!(
            "{threads} threads on {} CPUs: not pinned, and slower than one thread per CPU.",
            machine.cpus.len()
        ));
        return Vec::new();
    }
    // With time for fewer CPUs than the mask holds, the scheduler chooses better than a fixed CPU would.
    if machine.cpu_quota.is_some_and(|quota| quota < machine.cpus.len() as f64) {
        return Vec::new();
    }
    machine.cpus[..threads].to_vec()
}

fn max_memory(args: &Args, machine: &Machine) -> Result<usize, ConfigError> {
    let what = if machine.memory_is_cgroup { "control group" } else { "machine" };
    let share = machine.memory / 100 * limits::MEMORY_SHARE_PERCENT;
    let bytes = match args.max_memory {
        None => limits::MAX_MEMORY.min(share),
        Some(MemorySize::Bytes(bytes)) => bytes,
        Some(MemorySize::Percent(percent)) => (machine.memory as f64 / 100.0 * percent) as usize,
    };
    if bytes < limits::MIN_MEMORY {
        conflict!(
            "--max-memory {} is too little: {} at least. (The {what} has {}.)",
            format_bytes(bytes),
            format_bytes(limits::MIN_MEMORY),
            format_bytes(machine.memory)
        );
    }
    if bytes > machine.memory {
        conflict!(
            "--max-memory {} is more than the {what} has ({}). Choose less, such as --max-memory {}%.",
            format_bytes(bytes),
            format_bytes(machine.memory),
            limits::MEMORY_SHARE_PERCENT
        );
    }
    Ok(bytes)
}

fn max_value_size(args: &Args, max_memory: usize) -> Result<usize, ConfigError> {
    let most = max_memory / limits::VALUE_SHARE;
    match args.max_value_size {
        None => Ok(limits::MAX_VALUE_SIZE.min(most)),
        Some(bytes) if bytes > limits::MAX_VALUE_SIZE => conflict!(
            "--max-value-size {}: the protocol's limit is {}.",
            format_bytes(bytes),
            format_bytes(limits::MAX_VALUE_SIZE)
        ),
        Some(bytes) if bytes > most => conflict!(
            "--max-value-size {} is more than a quarter of --max-memory {}. Choose at most {}, or give it {} of memory.",
            format_bytes(bytes),
            format_bytes(max_memory),
            format_bytes(most),
            format_bytes(bytes.saturating_mul(limits::VALUE_SHARE))
        ),
        Some(0) => conflict!("--max-value-size 0: no value would fit."),
        Some(bytes) => Ok(bytes),
    }
}

fn input_limits(args: &Args, max_value_size: usize) -> Result<(usize, usize), ConfigError> {
    let least = (max_value_size + limits::MAX_KEY_LEN).max(limits::MIN_REQUEST);
    let max_request = args.max_request.unwrap_or((max_value_size + limits::REQUEST_EXTRA).max(least));
    if max_request < least {
        conflict!(
            "--max-request {}: a value of --max-value-size {} would not fit with its key. Choose at least {}.",
            format_bytes(max_request),
            format_bytes(max_value_size),
            format_bytes(least)
        );
    }
    let max_inbox = args.max_inbox.unwrap_or(limits::MAX_INBOX);
    if max_inbox < limits::RECV_BUFFER {
        conflict!(
            "--max-inbox {}: at least {}, what one receive may bring.",
            format_bytes(max_inbox),
            format_bytes(limits::RECV_BUFFER)
        );
    }
    Ok((max_request, max_inbox))
}

fn output_limits(
    args: &Args,
    max_memory: usize,
    max_value_size: usize,
) -> Result<(usize, usize), ConfigError> {
    let high = args.output_watermark.unwrap_or(limits::OUTPUT_HIGH);
    if high < limits::MIN_OUTPUT_HIGH {
        conflict!(
            "--output-watermark {}: at least {}.",
            format_bytes(high),
            format_bytes(limits::MIN_OUTPUT_HIGH)
        );
    }
    let least = max_value_size.saturating_add(high);
    let extra = limits::OUTPUT_CAP_EXTRA.min(max_memory / limits::OUTPUT_CAP_SHARE);
    let cap = args.output_cap.unwrap_or(least.saturating_add(extra));
    if cap < least {
        conflict!(
            "--output-cap {}: one reply of --max-value-size {} on top of --output-watermark {} would close its \
             connection. Choose at least {}.",
            format_bytes(cap),
            format_bytes(max_value_size),
            format_bytes(high),
            format_bytes(least)
        );
    }
    Ok((high, cap))
}

impl Config {
    /// Where the admin pages are.
    pub fn admin_is_local(&self) -> bool {
        self.admin_bind.is_loopback()
    }

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
