//! What the options say together, judged on the machine: from single values to one [`Config`], or to the reason why there is none.

use super::args::{self, Args, EvictionArg};
use super::{Config, ConfigError, MemorySize, OwnPort, conflict, format_bytes, is_address, notify};
use crate::limits;
use crate::proto::{Protocol, Spoken};
use crate::store::Eviction;
use crate::sys::Machine;
use std::time::Duration;

impl Config {
    /// Checks what every option by itself allows.
    pub(super) fn check(args: Args, machine: &Machine) -> Result<Config, ConfigError> {
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
