//! CONFIG GET and CONFIG SET: Redis's names over our configuration.
//!
//! A fixed list: what is not in it does not exist, and only what is marked live can be changed. No parameter names a file, a program or
//! a place to write to, so nobody who reaches the port can make the server write one. Setting what is fixed to the value that it has
//! succeeds: many tools send `CONFIG SET save ""` to be sure.

use super::log;
use super::shared::Shared;
use crate::config::{LogLevel, is_address, notify, parse_redis_bytes};
use crate::limits;
use crate::store::{DATABASES, Eviction};
use crate::sys::rlimit;

/// A checked change, not yet made.
#[derive(Debug)]
enum Change {
    MaxMemory(usize),
    MaxClients(usize),
    Timeout(u64),
    Password(Vec<u8>),
    ProtectedMode(bool),
    LogLevel(LogLevel),
    NotifyFlags(u32),
    TrackingKeys(usize),
    Successor(String),
    SlowerThan(i64),
    SlowlogLen(usize),
    LatencyThreshold(u64),
    Nothing,
}

/// The policy's name as Redis has it; Redis has no S3-FIFO.
pub fn policy_name(eviction: Eviction) -> &'static str {
    match eviction {
        Eviction::Lru => "allkeys-lru",
        Eviction::S3Fifo => "allkeys-s3-fifo",
        Eviction::None => "noeviction",
    }
}

fn yes_no(on: bool) -> String {
    if on { "yes" } else { "no" }.to_string()
}

impl Shared {
    /// Every parameter with its present value, in CONFIG GET's form.
    pub(super) fn parameters(&self) -> Vec<(&'static str, String)> {
        let (config, settings) = (&self.config, &self.settings);
        let port = self.addresses.first().map_or(config.port, |address| address.port());
        let password = String::from_utf8_lossy(&settings.password()).into_owned();
        vec![
            ("appendfsync", "everysec".into()),
            ("appendonly", "no".into()),
            ("bind", config.bind_text()),
            ("busy-poll-us", config.busy_poll.as_micros().to_string()),
            ("busy-reply-threshold", config.lua_time_limit_ms.to_string()),
            ("client-output-buffer-limit", format!("normal {} 0 0", config.output_cap)),
            ("client-query-buffer-limit", config.max_request.to_string()),
            ("cluster-enabled", "no".into()),
            ("daemonize", "no".into()),
            ("databases", DATABASES.to_string()),
            ("drain-timeout", config.drain_timeout.as_secs().to_string()),
            ("enable-debug-command", config.debug_command.name().into()),
            ("io-engine", config.engine.name().into()),
            ("io-threads", config.threads.to_string()),
            ("latency-monitor-threshold", self.observer.events.threshold_ms().to_string()),
            ("latency-tracking", "yes".into()),
            ("lazyfree-lazy-user-flush", "yes".into()),
            ("loglevel", level_name(log::level()).into()),
            ("lua-time-limit", config.lua_time_limit_ms.to_string()),
            ("maxclients", settings.max_clients().to_string()),
            ("maxmemory", self.store.budget().limit().to_string()),
            ("maxmemory-policy", policy_name(self.store.config().eviction).into()),
            ("notify-keyspace-events", notify::flags_text(self.events.flags())),
            ("port", port.to_string()),
            ("protected-mode", yes_no(settings.protected_mode())),
            ("proto-max-bulk-len", self.max_value_size().to_string()),
            ("replica-read-only", "yes".into()),
            ("requirepass", password),
            ("save", String::new()),
            ("slave-read-only", "yes".into()),
            ("slowlog-log-slower-than", self.observer.slowlog.threshold_us().to_string()),
            ("slowlog-max-len", self.observer.slowlog.max_len().to_string()),
            ("successor", settings.successor().to_string()),
            ("tcp-backlog", config.tcp_backlog.to_string()),
            ("tcp-keepalive", config.tcp_keepalive_s.to_string()),
            ("timeout", settings.idle_timeout_s().to_string()),
            ("tracking-table-max-keys", self.tracking.max_keys().to_string()),
        ]
    }

    /// CONFIG SET: checks all pairs, then makes all changes. The error is Redis's text without its "ERR ".
    pub(super) fn set_parameters(&self, pairs: &[(&[u8], &[u8])]) -> Result<(), String> {
        let mut changes = Vec::with_capacity(pairs.len());
        let mut seen = Vec::with_capacity(pairs.len());
        let present = self.parameters();
        for (name, value) in pairs {
            let lower = String::from_utf8_lossy(name).to_ascii_lowercase();
            let failed =
                |why: &str| format!("CONFIG SET failed (possibly related to argument '{lower}') - {why}");
            let Some((_, now)) = present.iter().find(|(known, _)| **known == lower) else {
                let name = String::from_utf8_lossy(name);
                return Err(format!("Unknown option or number of arguments for CONFIG SET - '{name}'"));
            };
            if seen.contains(&lower) {
                return Err(failed("duplicate parameter"));
            }
            changes.push(self.check(&lower, value, now).map_err(|why| failed(&why))?);
            seen.push(lower);
        }
        changes.into_iter().for_each(|change| self.apply(change));
        Ok(())
    }

    fn check(&self, name: &str, value: &[u8], now: &str) -> Result<Change, String> {
        let text = std::str::from_utf8(value).unwrap_or("\u{fffd}");
        match name {
            "maxmemory" => self.check_memory(text).map(Change::MaxMemory),
            "maxclients" => self.check_clients(text).map(Change::MaxClients),
            "timeout" => match text.parse() {
                Ok(seconds) if seconds <= limits::TIMEOUT_S => Ok(Change::Timeout(seconds)),
                _ => Err(format!("argument must be between 0 and {} inclusive", limits::TIMEOUT_S)),
            },
            "slowlog-log-slower-than" => text
                .parse()
                .ok()
                .filter(|us| *us >= -1)
                .map(Change::SlowerThan)
                .ok_or_else(|| "argument must be between -1 and 9223372036854775807 inclusive".into()),
            "slowlog-max-len" => match text.parse() {
                Ok(len) if len <= limits::SLOWLOG_MAX_LEN_MOST => Ok(Change::SlowlogLen(len)),
                _ => {
                    Err(format!("argument must be between 0 and {} inclusive", limits::SLOWLOG_MAX_LEN_MOST))
                }
            },
            "latency-monitor-threshold" => text
                .parse()
                .map(Change::LatencyThreshold)
                .map_err(|_| "argument must be between 0 and 9223372036854775807 inclusive".into()),
            "requirepass" if value.len() > limits::PASSWORD_LEN => {
                Err("Password is longer than 512 bytes".into())
            }
            "requirepass" => Ok(Change::Password(value.to_vec())),
            "protected-mode" => match text.to_ascii_lowercase().as_str() {
                "yes" => Ok(Change::ProtectedMode(true)),
                "no" => Ok(Change::ProtectedMode(false)),
                _ => Err("argument must be 'yes' or 'no'".into()),
            },
            "loglevel" => level_of(&text.to_ascii_lowercase()).map(Change::LogLevel).ok_or_else(|| {
                "argument(s) must be one of the following: debug, verbose, notice, warning".into()
            }),
            "notify-keyspace-events" => notify::parse_flags(value)
                .map(Change::NotifyFlags)
                .ok_or_else(|| format!("Invalid event class character. Use '{}'.", notify::LETTERS)),
            "tracking-table-max-keys" => text
                .parse()
                .map(Change::TrackingKeys)
                .map_err(|_| "argument couldn't be parsed into an integer".to_string()),
            "successor" if is_address(text) => Ok(Change::Successor(text.to_owned())),
            "successor" => Err("argument must be host:port".into()),
            _ if text.eq_ignore_ascii_case(now) => Ok(Change::Nothing),
            _ => Err("can't set immutable config".into()),
        }
    }

    fn check_memory(&self, text: &str) -> Result<usize, String> {
        let bytes = parse_redis_bytes(text).map_err(|_| "argument must be a memory value".to_string())?;
        if bytes < limits::MIN_MEMORY {
            return Err(format!(
                "at least {} bytes are needed; there is no unlimited cache",
                limits::MIN_MEMORY
            ));
        }
        if bytes > self.config.machine_memory {
            return Err(format!("there are only {} bytes of memory here", self.config.machine_memory));
        }
        Ok(bytes)
    }

    fn check_clients(&self, text: &str) -> Result<usize, String> {
        let clients: usize = text.parse().unwrap_or(0);
        if clients == 0 || clients > limits::MAX_CLIENTS_MOST {
            return Err(format!("argument must be between 1 and {} inclusive", limits::MAX_CLIENTS_MOST));
        }
        let needed = self.config.descriptors_for(clients);
        let available = rlimit::raise_nofile(needed).unwrap_or(0);
        if available < needed {
            let most = clients.saturating_sub(needed - available);
            return Err(format!(
                "The operating system is not able to handle the specified number of clients, try with {most}"
            ));
        }
        Ok(clients)
    }

    fn apply(&self, change: Change) {
        let settings = &self.settings;
        match change {
            // Partitions see the new limit in their next step of upkeep, and give memory back in bounded steps.
            Change::MaxMemory(bytes) => self.store.budget().set_limit(bytes),
            Change::MaxClients(clients) => settings.set_max_clients(clients),
            Change::Timeout(seconds) => settings.set_idle_timeout_s(seconds),
            Change::Password(password) => settings.set_password(&password),
            Change::ProtectedMode(on) => settings.set_protected_mode(on),
            Change::LogLevel(level) => log::set_level(level),
            Change::NotifyFlags(flags) => self.set_notify_flags(flags),
            Change::TrackingKeys(keys) => self.tracking.set_max_keys(keys),
            Change::Successor(address) => settings.set_successor(&address),
            Change::SlowerThan(us) => self.observer.slowlog.set_threshold_us(us),
            Change::SlowlogLen(len) => self.observer.slowlog.set_max_len(len),
            Change::LatencyThreshold(ms) => self.observer.events.set_threshold_ms(ms),
            Change::Nothing => {}
        }
    }
}

fn level_name(level: LogLevel) -> &'static str {
    match level {
        LogLevel::Debug => "debug",
        LogLevel::Info => "notice",
        LogLevel::Warn | LogLevel::Error => "warning",
    }
}

/// Redis's level names, and ours.
fn level_of(name: &str) -> Option<LogLevel> {
    Some(match name {
        "debug" => LogLevel::Debug,
        "verbose" | "notice" | "info" => LogLevel::Info,
        "warning" | "warn" => LogLevel::Warn,
        "nothing" | "error" => LogLevel::Error,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use crate::server::Shared;
    use crate::server::testing;

    fn get(shared: &Shared, name: &str) -> String {
        shared.parameters().into_iter().find(|(known, _)| *known == name).unwrap().1
    }

    fn set(shared: &Shared, pairs: &[(&str, &str)]) -> Result<(), String> {
        let pairs: Vec<_> = pairs.iter().map(|(n, v)| (n.as_bytes(), v.as_bytes())).collect();
        shared.set_parameters(&pairs)
    }

    #[test]
    fn what_tools_ask_for_has_redis_names_and_forms() {
        let shared = testing::shared("--max-memory 64MB --threads 2");
        for (name, value) in [
            ("save", ""),
            ("appendonly", "no"),
            ("databases", "16"),
            ("timeout", "0"),
            ("maxmemory", "64000000"),
            ("maxmemory-policy", "allkeys-lru"),
            ("replica-read-only", "yes"),
            ("proto-max-bulk-len", "16000000"),
            ("bind", "* -::*"),
        ] {
            assert_eq!(get(&shared, name), value, "{name}");
        }
        let mut names: Vec<_> = shared.parameters().iter().map(|(name, _)| *name).collect();
        let given = names.clone();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names, given, "in order, each once");
    }

    #[test]
    fn live_parameters_change_and_are_seen() {
        let shared = testing::shared("--max-memory 64MB --max-clients 100");
        set(&shared, &[("MaxMemory", "32mb"), ("timeout", "300"), ("requirepass", "secret")]).unwrap();
        assert_eq!(shared.store.budget().limit(), 32 << 20);
        assert_eq!(
            get(&shared, "proto-max-bulk-len"),
            (8 << 20).to_string(),
            "a value is at most a quarter of memory"
        );
        assert_eq!(shared.parse_limits().max_bulk, 8 << 20);
        assert_eq!(shared.idle_timeout_ms(), 300_000);
        assert!(shared.password_is_set() && get(&shared, "requirepass") == "secret");
        set(&shared, &[("maxclients", "50"), ("protected-mode", "no"), ("requirepass", "")]).unwrap();
        assert_eq!(shared.settings.max_clients(), 50);
        assert!(!shared.settings.protected_mode() && !shared.password_is_set());
    }

    #[test]
    fn all_or_nothing_with_redis_error_texts() {
        let shared = testing::shared("--max-memory 64MB");
        let failed = |name: &str, why: &str| {
            format!("CONFIG SET failed (possibly related to argument '{name}') - {why}")
        };
        for (pairs, text) in [
            (
                vec![("timeout", "5"), ("nosuch", "1")],
                "Unknown option or number of arguments for CONFIG SET - 'nosuch'".into(),
            ),
            (vec![("timeout", "5"), ("port", "1")], failed("port", "can't set immutable config")),
            (vec![("timeout", "5"), ("TIMEOUT", "6")], failed("timeout", "duplicate parameter")),
            (
                vec![("timeout", "5"), ("maxmemory", "much")],
                failed("maxmemory", "argument must be a memory value"),
            ),
            (vec![("timeout", "-1")], failed("timeout", "argument must be between 0 and 31536000 inclusive")),
            (vec![("timeout", "5"), ("save", "900 1")], failed("save", "can't set immutable config")),
            (
                vec![("timeout", "5"), ("protected-mode", "maybe")],
                failed("protected-mode", "argument must be 'yes' or 'no'"),
            ),
        ] {
            assert_eq!(set(&shared, &pairs).unwrap_err(), text);
        }
        assert!(set(&shared, &[("maxmemory", "0")]).unwrap_err().contains("no unlimited cache"));
        assert!(set(&shared, &[("maxmemory", "900000gb")]).unwrap_err().contains("only"));
        assert!(set(&shared, &[("maxclients", "3999999")]).unwrap_err().contains("not able to handle"));
        assert_eq!(shared.idle_timeout_ms(), 0, "nothing of a failed SET happened");
        set(&shared, &[("save", ""), ("appendonly", "no")]).expect("setting what is so already succeeds");
    }

    #[test]
    fn no_parameter_names_a_file() {
        let shared = testing::shared("");
        for name in [
            "dir",
            "dbfilename",
            "logfile",
            "pidfile",
            "unixsocket",
            "appendfilename",
            "aclfile",
            "loadmodule",
        ] {
            assert!(set(&shared, &[(name, "/tmp/x")]).unwrap_err().starts_with("Unknown option"));
        }
    }
}
