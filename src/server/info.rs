//! INFO, in Redis's sections, names and order, with our own lines among them. Written from [`Figures`], like /metrics.

use super::figures::{Figures, ratio};
use super::parameters::policy_name;
use super::shared::{Shared, unix_us};
use crate::command::{COMMANDS, REDIS_VERSION};
use crate::config::format_bytes;
use crate::store::PartitionStats;
use crate::sys::machine;
use std::fmt::Write;

type Section = fn(&mut String, &Shared, &Figures);

/// Name, whether it is among the default ones, and its lines.
const SECTIONS: &[(&str, bool, Section)] = &[
    ("Server", true, server),
    ("Clients", true, clients),
    ("Memory", true, memory),
    ("Persistence", true, persistence),
    ("Stats", true, stats),
    ("Replication", true, replication),
    ("CPU", true, cpu),
    ("Commandstats", false, commandstats),
    ("Errorstats", true, errorstats),
    ("Cluster", true, cluster),
    ("Keyspace", true, keyspace),
];

/// The named sections (any case; none: the default ones), each under its heading, with CRLF line ends.
pub fn render(shared: &Shared, wanted: &[String], stats: &mut dyn FnMut(usize) -> PartitionStats) -> String {
    let names = |all: &[&str]| wanted.iter().any(|name| all.iter().any(|one| name.eq_ignore_ascii_case(one)));
    let all = names(&["all", "everything"]);
    let default = wanted.is_empty() || names(&["default"]);
    let figures = shared.figures_by(stats);
    let mut out = String::with_capacity(4096);
    for (name, is_default, write) in SECTIONS {
        if all || (default && *is_default) || names(&[name]) {
            if !out.is_empty() {
                out.push_str("\r\n");
            }
            let _ = write!(out, "# {name}\r\n");
            write(&mut out, shared, &figures);
        }
    }
    out
}

/// `name:value` lines.
macro_rules! lines {
    ($out:expr, $($name:literal: $value:expr,)*) => {
        $(let _ = write!($out, concat!($name, ":{}\r\n"), $value);)*
    };
}

fn server(out: &mut String, shared: &Shared, f: &Figures) {
    let port = shared.addresses.first().map_or(shared.config.port, |address| address.port());
    let engines: Vec<&str> = (0..shared.workers.len()).map(|worker| shared.engine(worker)).collect();
    let mut distinct = engines.clone();
    distinct.dedup();
    let executable =
        std::env::current_exe().map_or_else(|_| String::new(), |path| path.display().to_string());
    lines!(out,
        "redis_version": REDIS_VERSION,
        "kv_cache_version": env!("CARGO_PKG_VERSION"),
        "redis_git_sha1": "00000000",
        "redis_git_dirty": 0,
        "redis_mode": "standalone",
        "os": machine::kernel(),
        "arch_bits": usize::BITS,
        "monotonic_clock": "POSIX clock_gettime",
        "multiplexing_api": distinct.join(","),
        "io_engine": distinct.join(","),
        "workers": shared.workers.len(),
        "process_id": std::process::id(),
        "run_id": shared.run_id,
        "tcp_port": port,
        "server_time_usec": unix_us(),
        "uptime_in_seconds": f.uptime_s,
        "uptime_in_days": f.uptime_s / 86_400,
        "hz": 10,
        "configured_hz": 10,
        "executable": executable,
        "config_file": "",
        "io_threads_active": u8::from(shared.workers.len() > 1),
    );
}

fn clients(out: &mut String, shared: &Shared, f: &Figures) {
    let (inbox, outbox) = shared.clients.largest_buffers();
    lines!(out,
        "connected_clients": f.clients,
        "cluster_connections": 0,
        "maxclients": f.max_clients,
        "client_recent_max_input_buffer": inbox,
        "client_recent_max_output_buffer": outbox,
        "blocked_clients": shared.waiters.count(),
        "tracking_clients": f.tracking.clients,
        "pubsub_clients": f.pubsub.clients,
        "watching_clients": 0,
    );
}

fn memory(out: &mut String, shared: &Shared, f: &Figures) {
    let m = &f.memory;
    let live = usize::try_from(f.keyspace.live_bytes).unwrap_or(usize::MAX);
    let overhead = m.used.saturating_sub(live);
    lines!(out,
        "used_memory": m.used,
        "used_memory_human": format_bytes(m.used),
        "used_memory_rss": m.resident,
        "used_memory_rss_human": format_bytes(m.resident),
        "used_memory_rss_peak": m.resident_peak,
        "used_memory_peak": m.used_peak,
        "used_memory_peak_human": format_bytes(m.used_peak),
        "used_memory_overhead": overhead,
        "used_memory_startup": m.fixed,
        "used_memory_dataset": live,
        "used_memory_dataset_perc": format_args!("{:.2}%", 100.0 * ratio(live as u64, m.used as u64)),
        "used_memory_dead": f.keyspace.dead_bytes,
        "used_memory_segments": m.segments,
        "used_memory_index": m.index,
        "used_memory_large_values": m.large,
        "used_memory_connections": m.connections,
        "used_memory_fixed": m.fixed,
        "used_memory_scripts": shared.scripts.size().1,
        "number_of_cached_scripts": shared.scripts.size().0,
        "total_system_memory": m.machine,
        "total_system_memory_human": format_bytes(m.machine),
        "maxmemory": m.limit,
        "maxmemory_human": format_bytes(m.limit),
        "maxmemory_policy": policy_name(shared.store.config().eviction),
        "mem_fragmentation_ratio": format_args!("{:.2}", ratio(m.resident as u64, m.used as u64)),
        "mem_fragmentation_bytes": m.resident as i128 - m.used as i128,
        "mem_clients_normal": m.connections,
        "mem_allocator": "log-segments",
        "active_defrag_running": 0,
        "lazyfree_pending_objects": 0,
    );
}

/// Nothing is written to disk, and nothing is loaded: clients that wait for `loading:0` need not.
fn persistence(out: &mut String, shared: &Shared, _: &Figures) {
    lines!(out,
        "loading": 0,
        "async_loading": 0,
        "rdb_changes_since_last_save": 0,
        "rdb_bgsave_in_progress": 0,
        "rdb_last_save_time": shared.started_us / 1_000_000,
        "rdb_last_bgsave_status": "ok",
        "aof_enabled": 0,
        "aof_rewrite_in_progress": 0,
        "aof_last_write_status": "ok",
    );
}

fn stats(out: &mut String, _: &Shared, f: &Figures) {
    let s = &f.since_reset;
    lines!(out,
        "total_connections_received": s.accepted,
        "total_commands_processed": s.requests,
        "instantaneous_ops_per_sec": f.rates.requests,
        "total_net_input_bytes": s.bytes_received,
        "total_net_output_bytes": s.bytes_sent,
        "instantaneous_input_kbps": format_args!("{:.2}", f.rates.bytes_received as f64 / 1024.0),
        "instantaneous_output_kbps": format_args!("{:.2}", f.rates.bytes_sent as f64 / 1024.0),
        "rejected_connections": s.refused_max_clients + s.refused_protected,
        "rejected_max_clients": s.refused_max_clients,
        "rejected_protected_mode": s.refused_protected,
        "sync_full": 0,
        "sync_partial_ok": 0,
        "sync_partial_err": 0,
        "expired_keys": f.expired_since_reset,
        "evicted_keys": f.evicted_since_reset,
        "evicted_clients": s.closed_slow_reader + s.closed_inbox,
        "closed_idle": s.closed_idle,
        "closed_slow_reader": s.closed_slow_reader,
        "closed_inbox": s.closed_inbox,
        "client_output_buffer_limit_disconnections": s.closed_slow_reader,
        "client_query_buffer_limit_disconnections": s.closed_inbox,
        "paused_slow_reader": s.paused_slow_reader,
        "keyspace_hits": s.hits,
        "keyspace_misses": s.misses,
        "pubsub_channels": f.pubsub.channels,
        "pubsub_patterns": f.pubsub.patterns,
        "pubsubshard_channels": f.pubsub.shard_channels,
        "pushes": s.pushes,
        "keyspace_events_lost": f.events_lost,
        "tracking_total_keys": f.tracking.keys,
        "tracking_total_items": f.tracking.items,
        "tracking_total_prefixes": f.tracking.prefixes,
        "latest_fork_usec": 0,
        "total_forks": 0,
        "total_error_replies": s.errors,
        "protocol_errors": s.protocol_errors,
        "total_syscalls": s.syscalls,
        "syscalls_per_request": format_args!("{:.4}", ratio(s.syscalls, s.requests)),
        "turns": s.turns,
        "requests_per_turn": format_args!("{:.2}", ratio(s.requests, s.turns)),
        "requests_per_group": format_args!("{:.2}", ratio(s.requests, s.groups)),
        "cross_worker_requests": s.cross_worker_requests,
        "completions": s.completions,
        "short_sends": s.short_sends,
        "recv_buffers_exhausted": s.recv_buffers_exhausted,
        "completion_overflows": s.completion_overflows,
        "accepts_paused": s.accepts_paused,
    );
}

fn replication(out: &mut String, shared: &Shared, _: &Figures) {
    lines!(out,
        "role": "master",
        "connected_slaves": 0,
        "master_failover_state": "no-failover",
        "master_replid": format_args!("{:0<40}", shared.run_id),
        "master_replid2": format_args!("{:0<40}", ""),
        "master_repl_offset": 0,
        "second_repl_offset": -1,
        "repl_backlog_active": 0,
    );
}

fn cpu(out: &mut String, _: &Shared, f: &Figures) {
    let seconds = |us: u64| format!("{}.{:06}", us / 1_000_000, us % 1_000_000);
    lines!(out,
        "used_cpu_sys": seconds(f.cpu.system_us),
        "used_cpu_user": seconds(f.cpu.user_us),
        "used_cpu_sys_children": "0.000000",
        "used_cpu_user_children": "0.000000",
    );
}

/// Times are of batches, shared among their commands, and of what runs alone.
fn commandstats(out: &mut String, shared: &Shared, f: &Figures) {
    let times = shared.times_since_reset();
    let rows = COMMANDS.iter().zip(&f.since_reset.calls).zip(times);
    for ((spec, calls), times) in rows.filter(|((_, calls), _)| **calls > 0) {
        let (name, us) = (spec.name, times.total_ns / 1000);
        let each = times.total_ns as f64 / 1000.0 / *calls as f64;
        let _ = write!(
            out,
            "cmdstat_{name}:calls={calls},usec={us},usec_per_call={each:.2},rejected_calls=0,failed_calls=0\r\n"
        );
    }
}

fn errorstats(out: &mut String, _: &Shared, f: &Figures) {
    if f.since_reset.errors > 0 {
        let _ = write!(out, "errorstat_ERR:count={}\r\n", f.since_reset.errors);
    }
}

fn cluster(out: &mut String, _: &Shared, _: &Figures) {
    lines!(out, "cluster_enabled": 0,);
}

fn keyspace(out: &mut String, _: &Shared, f: &Figures) {
    let k = &f.keyspace;
    for (db, (keys, expires)) in
        k.keys.iter().zip(&k.keys_with_expiry).enumerate().filter(|(_, (keys, _))| **keys > 0)
    {
        let _ = write!(out, "db{db}:keys={keys},expires={expires},avg_ttl=0\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::testing;
    use std::collections::HashMap;
    use std::sync::atomic::Ordering::Relaxed;

    fn sections(text: &str) -> Vec<&str> {
        text.lines().filter_map(|line| line.strip_prefix("# ")).collect()
    }

    fn fields(text: &str) -> HashMap<String, String> {
        let pairs = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        pairs
            .map(|line| line.split_once(':').expect("name:value"))
            .map(|(n, v)| (n.into(), v.into()))
            .collect()
    }

    fn render_all(shared: &Shared, wanted: &[String]) -> String {
        render(shared, wanted, &mut |partition| shared.store.lock(partition).stats())
    }

    #[test]
    fn sections_are_chosen_as_in_redis() {
        let shared = testing::shared("");
        let of = |names: &[&str]| {
            render_all(&shared, &names.iter().map(|name| name.to_string()).collect::<Vec<_>>())
        };
        let default = of(&[]);
        assert!(sections(&default).contains(&"Server") && !sections(&default).contains(&"Commandstats"));
        assert_eq!(sections(&of(&["default"])), sections(&default));
        assert_eq!(sections(&of(&["everything"])).len(), SECTIONS.len());
        assert_eq!(sections(&of(&["keyspace", "SERVER"])), ["Server", "Keyspace"]);
        assert_eq!(of(&["nosuch"]), "");
        assert!(default.ends_with("\r\n") && !default.replace("\r\n", "").contains('\n'));
    }

    #[test]
    fn what_clients_look_for_is_there() {
        let shared = testing::shared("--max-memory 64MB --threads 2");
        let f = fields(&render_all(&shared, &["all".into()]));
        for (name, value) in [
            ("redis_version", REDIS_VERSION),
            ("kv_cache_version", env!("CARGO_PKG_VERSION")),
            ("redis_mode", "standalone"),
            ("tcp_port", "7171"),
            ("loading", "0"),
            ("role", "master"),
            ("maxmemory", "64000000"),
            ("maxmemory_policy", "allkeys-lru"),
            ("workers", "2"),
            ("cluster_enabled", "0"),
            ("connected_clients", "0"),
        ] {
            assert_eq!(f[name], value, "{name}");
        }
        assert_eq!((f["run_id"].len(), f["master_replid"].len()), (40, 40));
        assert!(f["used_memory_rss"].parse::<usize>().unwrap() > 0);
        assert!(f["used_cpu_user"].parse::<f64>().is_ok());
    }

    #[test]
    fn counters_and_ratios() {
        let shared = testing::shared("");
        let stats = &shared.workers[0].stats;
        stats.requests.store(1000, Relaxed);
        stats.syscalls.store(50, Relaxed);
        stats.turns.store(40, Relaxed);
        stats.hits.store(7, Relaxed);
        stats.refused_protected.store(2, Relaxed);
        stats.refused_max_clients.store(1, Relaxed);
        let get = usize::from(crate::command::table::lookup(b"get").unwrap());
        stats.calls[get].store(9, Relaxed);
        let text = render_all(&shared, &["all".into()]);
        let f = fields(&text);
        assert_eq!(f["syscalls_per_request"], "0.0500");
        assert_eq!(f["requests_per_turn"], "25.00");
        assert_eq!((f["keyspace_hits"].as_str(), f["rejected_connections"].as_str()), ("7", "3"));
        assert!(f["cmdstat_get"].starts_with("calls=9,usec=0,"));
        assert_eq!(text.matches("cmdstat_").count(), 1, "commands never called are left out");
    }

    #[test]
    fn databases_with_keys_are_listed() {
        let mut figures = Figures::default();
        (figures.keyspace.keys[0], figures.keyspace.keys_with_expiry[0]) = (3, 1);
        figures.keyspace.keys[15] = 8;
        let mut out = String::new();
        keyspace(&mut out, &testing::shared(""), &figures);
        assert_eq!(out, "db0:keys=3,expires=1,avg_ttl=0\r\ndb15:keys=8,expires=0,avg_ttl=0\r\n");
    }
}
