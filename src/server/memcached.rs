//! memcached's `stats`, and its scheduled flush.
//!
//! Only what is measured is told; the names and their meaning are those of protocol.txt, "Statistics". Counters are those of the whole
//! server, whatever protocol was spoken, since the start or since `stats reset`.

use super::figures::Figures;
use super::shared::{Shared, unix_us};
use crate::command::memcached::text::VERSION;
use crate::command::{COMMANDS, ClientFilter, StatsOf, barrier};
use crate::limits::MEMCACHED_KEY_LEN;
use crate::proto::Spoken;
use crate::store::Eviction;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

/// Commands that store a value.
const STORING: &[&str] =
    &["set", "setnx", "setex", "psetex", "getset", "append", "mset", "msetnx", "setrange"];

/// `name => value` pairs.
macro_rules! figures {
    ($($name:expr => $value:expr,)*) => { vec![$(($name.to_string(), $value.to_string()),)*] };
}

pub(super) fn stats(shared: &Shared, of: StatsOf) -> Vec<(String, String)> {
    match of {
        StatsOf::General => general(shared, &shared.figures()),
        StatsOf::Settings => settings(shared),
        StatsOf::Items => items(&shared.figures()),
        StatsOf::Slabs => slabs(&shared.figures()),
        StatsOf::Connections => connections(shared),
    }
}

fn general(shared: &Shared, f: &Figures) -> Vec<(String, String)> {
    let s = &f.since_reset;
    let calls = |names: &[&str]| -> u64 {
        let rows = COMMANDS.iter().zip(&s.calls);
        rows.filter(|(spec, _)| names.contains(&spec.name)).map(|(_, calls)| calls).sum()
    };
    let seconds = |us: u64| format!("{}.{:06}", us / 1_000_000, us % 1_000_000);
    figures! {
        "pid" => std::process::id(),
        "uptime" => f.uptime_s,
        "time" => unix_us() / 1_000_000,
        "version" => VERSION,
        "pointer_size" => usize::BITS,
        "rusage_user" => seconds(f.cpu.user_us),
        "rusage_system" => seconds(f.cpu.system_us),
        "max_connections" => f.max_clients,
        "curr_connections" => f.clients,
        "total_connections" => s.accepted,
        "rejected_connections" => s.refused_max_clients + s.refused_protected,
        "cmd_get" => s.hits + s.misses,
        "cmd_set" => calls(STORING),
        "cmd_flush" => calls(&["flushdb", "flushall"]),
        "cmd_touch" => calls(&["touch"]),
        "get_hits" => s.hits,
        "get_misses" => s.misses,
        "idle_kicks" => s.closed_idle,
        "bytes_read" => s.bytes_received,
        "bytes_written" => s.bytes_sent,
        "limit_maxbytes" => f.memory.limit,
        "accepting_conns" => u8::from(!shared.is_draining()),
        "listen_disabled_num" => s.accepts_paused,
        "threads" => shared.workers.len(),
        "hash_bytes" => f.memory.index,
        "bytes" => f.keyspace.live_bytes,
        "curr_items" => f.keyspace.keys[0],
        "evictions" => f.evicted_since_reset,
        "reclaimed" => f.expired_since_reset,
    }
}

fn settings(shared: &Shared) -> Vec<(String, String)> {
    let config = &shared.config;
    // Its own port, if it has one.
    let own = shared.addresses.iter().zip(&shared.spoken).find(|(_, spoken)| **spoken == Spoken::Memcached);
    let port = own.map(|(address, _)| address).or(shared.addresses.first());
    let interfaces: Vec<String> = config.bind.iter().map(ToString::to_string).collect();
    let evicts = config.eviction != Eviction::None;
    figures! {
        "maxbytes" => shared.store.budget().limit(),
        "maxconns" => shared.settings.max_clients(),
        "tcpport" => port.map_or(config.port, |address| address.port()),
        "udpport" => 0,
        "inter" => interfaces.join(","),
        "evictions" => if evicts { "on" } else { "off" },
        "num_threads" => shared.workers.len(),
        "cas_enabled" => "yes",
        "tcp_backlog" => config.tcp_backlog,
        "binding_protocol" => "auto-negotiate",
        "auth_enabled_sasl" => if shared.password_is_set() { "yes" } else { "no" },
        "auth_enabled_ascii" => if shared.password_is_set() { "yes" } else { "no" },
        "item_size_max" => shared.max_value_size(),
        "key_size_max" => MEMCACHED_KEY_LEN,
        "maxconns_fast" => "yes",
        "idle_timeout" => shared.settings.idle_timeout_s(),
        "flush_enabled" => "yes",
        "dump_enabled" => "no",
        "track_sizes" => "no",
        "shutdown_command" => if config.memcached_shutdown { "yes" } else { "no" },
    }
}

/// There are no slab classes: all items are in one, the first.
fn items(f: &Figures) -> Vec<(String, String)> {
    if f.keyspace.keys[0] == 0 {
        return Vec::new();
    }
    figures! {
        "items:1:number" => f.keyspace.keys[0],
        "items:1:mem_requested" => f.keyspace.live_bytes,
        "items:1:evicted" => f.evicted_since_reset,
        "items:1:reclaimed" => f.expired_since_reset,
    }
}

fn slabs(f: &Figures) -> Vec<(String, String)> {
    figures! {
        "1:used_chunks" => f.keyspace.keys[0],
        "1:mem_requested" => f.keyspace.live_bytes,
        "active_slabs" => 1,
        "total_malloced" => f.memory.segments + f.memory.large,
    }
}

/// Under the number that CLIENT LIST shows, where memcached has a descriptor's.
fn connections(shared: &Shared) -> Vec<(String, String)> {
    let now_ms = unix_us() / 1000;
    let mut found = Vec::new();
    for client in shared.clients.matching(&ClientFilter::default(), now_ms) {
        let id = client.id;
        found.extend(figures! {
            format_args!("{id}:addr") => format_args!("tcp:{}", client.addr),
            format_args!("{id}:listen_addr") => format_args!("tcp:{}", client.laddr),
            format_args!("{id}:secs_since_last_cmd") => client.idle_ms(now_ms) / 1000,
        });
    }
    found
}

/// When database 0 is to be emptied, Unix milliseconds; 0: not.
#[derive(Debug, Default)]
pub struct ScheduledFlush(AtomicU64);

impl ScheduledFlush {
    pub fn set(&self, at_ms: Option<u64>) {
        self.0.store(at_ms.unwrap_or(0), SeqCst);
    }

    /// Whether it is time now, which is said once.
    fn is_due(&self, now_ms: u64) -> bool {
        let at_ms = self.0.load(SeqCst);
        // One that was set meanwhile stays.
        at_ms != 0 && at_ms <= now_ms && self.0.compare_exchange(at_ms, 0, SeqCst, SeqCst).is_ok()
    }
}

impl Shared {
    /// Does what flush_all with a delay has asked for, when its time has come. Called by the clock; hold no partition.
    pub fn flush_if_due(&self) {
        if self.flush.is_due(unix_us() / 1000) {
            barrier::flush_store(&self.store, Some(0));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::testing;
    use std::collections::HashMap;
    use std::sync::atomic::Ordering::Relaxed;

    #[test]
    fn figures_are_the_servers() {
        let shared = testing::shared("--max-memory 64MB --threads 2 --max-clients 7");
        shared.workers[0].stats.hits.store(5, Relaxed);
        shared.workers[1].stats.misses.store(2, Relaxed);
        let set = usize::from(crate::command::table::lookup(b"set").unwrap());
        shared.workers[1].stats.calls[set].store(9, Relaxed);
        let general: HashMap<_, _> = stats(&shared, StatsOf::General).into_iter().collect();
        for (name, value) in [
            ("cmd_get", "7"),
            ("get_hits", "5"),
            ("get_misses", "2"),
            ("cmd_set", "9"),
            ("limit_maxbytes", "64000000"),
            ("threads", "2"),
            ("max_connections", "7"),
            ("curr_items", "0"),
            ("pointer_size", "64"),
            ("version", VERSION),
        ] {
            assert_eq!(general[name], value, "{name}");
        }
        let settings: HashMap<_, _> = stats(&shared, StatsOf::Settings).into_iter().collect();
        assert_eq!((settings["tcpport"].as_str(), settings["maxconns"].as_str()), ("7171", "7"));
        assert_eq!((settings["shutdown_command"].as_str(), settings["evictions"].as_str()), ("no", "on"));
        assert!(stats(&shared, StatsOf::Items).is_empty());
        assert_eq!(stats(&shared, StatsOf::Connections), []);
    }

    #[test]
    fn a_flush_is_due_once_and_the_last_one_counts() {
        let flush = ScheduledFlush::default();
        assert!(!flush.is_due(u64::MAX));
        flush.set(Some(100));
        assert!(!flush.is_due(99) && flush.is_due(100) && !flush.is_due(101));
        flush.set(Some(100));
        flush.set(Some(200));
        assert!(!flush.is_due(150));
        flush.set(None);
        assert!(!flush.is_due(300));
    }
}
