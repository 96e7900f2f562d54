//! The same figures as INFO's, as Prometheus text (exposition format 0.0.4).
//!
//! Counters never go back while the process lives: CONFIG RESETSTAT does not touch them. Ratios are gauges over the whole run; for a
//! recent one, divide the rates of the counters.

use crate::command::COMMANDS;
use crate::observe::Histogram;
use crate::server::{Figures, Shared, ratio};
use crate::stats::StatsSnapshot;
use std::fmt::{Display, Write};

/// All metrics, each family with its HELP and TYPE.
pub fn render(shared: &Shared, f: &Figures) -> String {
    let mut page = Page(String::with_capacity(16 << 10));
    about(&mut page, shared, f);
    requests(&mut page, f);
    durations(&mut page, &shared.times());
    keyspace(&mut page, f);
    memory(&mut page, f);
    connections(&mut page, f);
    efficiency(&mut page, f);
    page.0
}

/// The text under construction.
struct Page(String);

impl Page {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        let _ = write!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    /// `labels` as they stand between the braces; values of ours need no escaping.
    fn sample(&mut self, name: &str, labels: &str, value: impl Display) {
        let _ = if labels.is_empty() {
            writeln!(self.0, "{name} {value}")
        } else {
            writeln!(self.0, "{name}{{{labels}}} {value}")
        };
    }

    fn counter(&mut self, name: &str, help: &str, value: impl Display) {
        self.family(name, "counter", help);
        self.sample(name, "", value);
    }

    fn gauge(&mut self, name: &str, help: &str, value: impl Display) {
        self.family(name, "gauge", help);
        self.sample(name, "", value);
    }

    /// One sample for each value of one label.
    fn labelled(&mut self, name: &str, kind: &str, help: &str, label: &str, samples: &[(&str, u64)]) {
        self.family(name, kind, help);
        for (value, n) in samples {
            self.sample(name, &format!("{label}=\"{value}\""), n);
        }
    }

    /// One sample for each worker.
    fn per_worker(&mut self, name: &str, kind: &str, help: &str, f: &Figures, of: fn(&StatsSnapshot) -> u64) {
        self.family(name, kind, help);
        for (worker, stats) in f.workers.iter().enumerate() {
            self.sample(name, &format!("worker=\"{worker}\""), of(stats));
        }
    }
}

fn about(page: &mut Page, shared: &Shared, f: &Figures) {
    page.family("kv_info", "gauge", "What runs, as labels.");
    page.sample("kv_info", &format!("version=\"{}\"", env!("CARGO_PKG_VERSION")), 1);
    page.family("kv_worker_info", "gauge", "Each worker's way to the kernel, as a label.");
    for worker in 0..shared.workers.len() {
        page.sample(
            "kv_worker_info",
            &format!("worker=\"{worker}\",engine=\"{}\"", shared.engine(worker)),
            1,
        );
    }
    page.gauge("kv_uptime_seconds", "Seconds since the start.", f.uptime_s);
    page.gauge("kv_draining", "1 while the server ends.", u8::from(shared.is_draining()));
    page.family("kv_worker_heartbeat_age_seconds", "gauge", "Since each worker was last seen moving.");
    for (worker, age) in shared.heartbeat_ages().iter().take(shared.workers.len()).enumerate() {
        page.sample("kv_worker_heartbeat_age_seconds", &format!("worker=\"{worker}\""), age.as_secs_f64());
    }
    page.gauge(
        "kv_worker_stuck_after_seconds",
        "The age from which on /healthz calls a worker stuck.",
        shared.heartbeats.stuck_after().as_secs_f64(),
    );
    page.family("kv_cpu_seconds_total", "counter", "CPU time of the process.");
    for (mode, us) in [("user", f.cpu.user_us), ("system", f.cpu.system_us)] {
        page.sample(
            "kv_cpu_seconds_total",
            &format!("mode=\"{mode}\""),
            format_args!("{:.6}", us as f64 / 1e6),
        );
    }
}

fn requests(page: &mut Page, f: &Figures) {
    page.per_worker("kv_requests_total", "counter", "Requests executed, whatever they answered.", f, |s| {
        s.requests
    });
    let t = &f.totals;
    page.labelled(
        "kv_requests_by_protocol_total",
        "counter",
        "Requests by protocol.",
        "protocol",
        &[
            ("resp", t.requests_resp),
            ("json", t.requests_json),
            ("memcached_text", t.requests_text),
            ("memcached_binary", t.requests_binary),
            ("http", t.requests_http),
            ("protobuf", t.requests_protobuf),
        ],
    );
    page.family("kv_commands_total", "counter", "Calls by command; commands never called are left out.");
    for (spec, calls) in COMMANDS.iter().zip(&f.totals.calls).filter(|(_, calls)| **calls > 0) {
        page.sample("kv_commands_total", &format!("command=\"{}\"", spec.name), calls);
    }
    page.counter("kv_hits_total", "Keys that were found by reads.", f.totals.hits);
    page.counter("kv_misses_total", "Keys that were not found by reads.", f.totals.misses);
    page.counter("kv_errors_total", "Error replies.", f.totals.errors);
    page.counter(
        "kv_protocol_errors_total",
        "Connections closed for bytes that are no request.",
        f.totals.protocol_errors,
    );
    page.counter(
        "kv_scripts_stopped_total",
        "Lua scripts that passed --lua-time-limit or their memory.",
        f.totals.scripts_stopped,
    );
    page.gauge("kv_requests_per_second", "Requests per second over the last 1.6 seconds.", f.rates.requests);
}

/// Of each command that was called. All buckets are there from the first call on: a rate over a bucket that came later would be wrong.
fn durations(page: &mut Page, times: &[Histogram]) {
    let name = "kv_command_duration_seconds";
    page.family(
        name,
        "histogram",
        "Time that commands took inside the server; of a batch each has its share. Commands never called are left out.",
    );
    for (spec, times) in COMMANDS.iter().zip(times).filter(|(_, times)| times.calls() > 0) {
        let command = format!("command=\"{}\"", spec.name);
        let mut calls = 0;
        for (bucket, count) in times.counts.iter().enumerate() {
            calls += count;
            // The last is for all that took longer than the one before it holds.
            let le = match bucket == times.counts.len() - 1 {
                true => "+Inf".to_string(),
                false => format!("{}", (1_u64 << bucket) as f64 / 1e6),
            };
            page.sample(&format!("{name}_bucket"), &format!("{command},le=\"{le}\""), calls);
        }
        page.sample(&format!("{name}_sum"), &command, format_args!("{:.9}", times.total_ns as f64 / 1e9));
        page.sample(&format!("{name}_count"), &command, calls);
    }
}

fn keyspace(page: &mut Page, f: &Figures) {
    let k = &f.keyspace;
    for (name, help, counts) in [
        ("kv_keys", "Keys by database; empty databases are left out.", &k.keys),
        ("kv_keys_with_expiry", "Keys with an expiry time by database.", &k.keys_with_expiry),
    ] {
        page.family(name, "gauge", help);
        for (db, n) in counts.iter().enumerate().filter(|(db, _)| *db == 0 || k.keys[*db] > 0) {
            page.sample(name, &format!("db=\"{db}\""), n);
        }
    }
    page.counter("kv_evicted_keys_total", "Keys removed because memory was full.", k.evicted);
    page.counter("kv_expired_keys_total", "Keys removed because their time was over.", k.expired);
    page.counter(
        "kv_reinserted_keys_total",
        "Keys that eviction kept because they had been used.",
        k.reinserted,
    );
    page.counter("kv_write_stalls_total", "Writes that had to empty a segment themselves.", k.stalls);
}

fn memory(page: &mut Page, f: &Figures) {
    let m = &f.memory;
    let parts = [
        ("segments", m.segments),
        ("index", m.index),
        ("large_values", m.large),
        ("connections", m.connections),
        ("fixed", m.fixed),
    ]
    .map(|(part, bytes)| (part, bytes as u64));
    page.labelled(
        "kv_memory_used_bytes",
        "gauge",
        "Memory that counts against the limit, by part.",
        "part",
        &parts,
    );
    page.gauge("kv_memory_limit_bytes", "The limit: --max-memory, or CONFIG SET maxmemory.", m.limit);
    page.gauge("kv_memory_resident_bytes", "Resident memory of the process.", m.resident);
    page.gauge("kv_memory_resident_peak_bytes", "Its peak.", m.resident_peak);
    page.gauge("kv_memory_live_bytes", "Live items with their headers.", f.keyspace.live_bytes);
    page.gauge("kv_memory_dead_bytes", "Dead items that still take room in segments.", f.keyspace.dead_bytes);
}

fn connections(page: &mut Page, f: &Figures) {
    let t = &f.totals;
    page.per_worker("kv_connections", "gauge", "Open client connections.", f, |s| s.connections);
    page.gauge("kv_connections_limit", "Most client connections at once.", f.max_clients);
    page.counter("kv_connections_accepted_total", "Client connections let in.", t.accepted);
    page.labelled(
        "kv_connections_refused_total",
        "counter",
        "Client connections refused, by reason.",
        "reason",
        &[("max_clients", t.refused_max_clients), ("protected_mode", t.refused_protected)],
    );
    page.labelled(
        "kv_connections_closed_total",
        "counter",
        "Client connections closed by the server, by reason.",
        "reason",
        &[
            ("idle", t.closed_idle),
            ("slow_reader", t.closed_slow_reader),
            ("inbox", t.closed_inbox),
            ("protocol_error", t.protocol_errors),
        ],
    );
    page.counter(
        "kv_slow_reader_pauses_total",
        "Times that reading from a connection paused because it did not take its replies.",
        t.paused_slow_reader,
    );
    page.counter(
        "kv_pushes_total",
        "Messages, invalidations and lines for connections that did not just ask.",
        t.pushes,
    );
    page.labelled(
        "kv_listeners",
        "gauge",
        "Client connections that are sent what they did not just ask for, by reason.",
        "reason",
        &[("pubsub", f.pubsub.clients as u64), ("tracking", f.tracking.clients as u64)],
    );
    page.gauge(
        "kv_pubsub_channels",
        "Channels with subscribers.",
        f.pubsub.channels + f.pubsub.shard_channels,
    );
    page.gauge("kv_pubsub_patterns", "Patterns with subscribers.", f.pubsub.patterns);
    page.gauge("kv_tracking_keys", "Keys remembered for clients that cache them.", f.tracking.keys);
    page.gauge("kv_tracking_bytes", "Memory of that table.", f.tracking.bytes);
    page.counter(
        "kv_keyspace_events_lost_total",
        "Times that more happened to keys at once than could be told.",
        f.events_lost,
    );
    page.gauge("kv_buffered_bytes", "Bytes in inboxes and outboxes.", t.buffered_bytes);
    page.counter("kv_received_bytes_total", "Bytes from clients.", t.bytes_received);
    page.counter("kv_sent_bytes_total", "Bytes to clients.", t.bytes_sent);
}

fn efficiency(page: &mut Page, f: &Figures) {
    let t = &f.totals;
    page.per_worker("kv_syscalls_total", "counter", "System calls made to serve clients.", f, |s| s.syscalls);
    page.per_worker("kv_turns_total", "counter", "Turns of the loop that executed something.", f, |s| {
        s.turns
    });
    page.gauge(
        "kv_syscalls_per_request",
        "System calls per request since the start.",
        format_args!("{:.6}", ratio(t.syscalls, t.requests)),
    );
    page.gauge(
        "kv_requests_per_turn",
        "Requests per turn since the start.",
        format_args!("{:.6}", ratio(t.requests, t.turns)),
    );
    page.counter("kv_lock_groups_total", "Groups of requests executed under one partition lock.", t.groups);
    page.counter(
        "kv_cross_worker_requests_total",
        "Requests for another worker's keys.",
        t.cross_worker_requests,
    );
    page.counter("kv_completions_total", "Completions taken from the rings.", t.completions);
    page.counter("kv_short_sends_total", "Sends that the kernel did not take whole.", t.short_sends);
    page.counter(
        "kv_recv_buffers_exhausted_total",
        "Receives that had to wait for a free buffer.",
        t.recv_buffers_exhausted,
    );
    page.counter("kv_completion_overflows_total", "Overflows of a completion queue.", t.completion_overflows);
    page.counter(
        "kv_accepts_paused_total",
        "Times that accepting paused for want of descriptors.",
        t.accepts_paused,
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::testing;
    use std::collections::HashSet;
    use std::sync::atomic::Ordering::Relaxed;

    /// Checks the text as a scraper reads it and returns its samples.
    fn parse(text: &str) -> Vec<(String, f64)> {
        let mut families = HashSet::new();
        let mut current = String::new();
        let mut suffixes: &[&str] = &[];
        let mut samples = Vec::new();
        let name_of = |c: char| c.is_ascii_lowercase() || c == '_';
        for line in text.lines() {
            if let Some(help) = line.strip_prefix("# HELP ") {
                let (name, help) = help.split_once(' ').unwrap();
                assert!(name.starts_with("kv_") && name.chars().all(name_of) && !help.is_empty(), "{line}");
                assert!(families.insert(name.to_string()), "{name} is there twice");
                current = name.to_string();
            } else if let Some(kind) = line.strip_prefix("# TYPE ") {
                let (name, kind) = kind.split_once(' ').unwrap();
                assert_eq!(name, current);
                assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
                assert!(matches!(kind, "counter" | "gauge" | "histogram"));
                suffixes = if kind == "histogram" { &["_bucket", "_sum", "_count"] } else { &[""] };
            } else {
                let (series, value) = line.rsplit_once(' ').unwrap();
                let name = series.split('{').next().unwrap();
                let suffix = name.strip_prefix(&current).expect("samples stand under their family");
                assert!(suffixes.contains(&suffix), "{line}");
                if let Some(labels) = series.strip_prefix(name).filter(|labels| !labels.is_empty()) {
                    let labels = labels.strip_prefix('{').unwrap().strip_suffix('}').unwrap();
                    for label in labels.split(',') {
                        let (_, quoted) = label.split_once('=').unwrap();
                        assert!(
                            quoted.len() > 2 && quoted.starts_with('"') && quoted.ends_with('"'),
                            "{line}"
                        );
                    }
                }
                samples.push((series.to_string(), value.parse().unwrap()));
            }
        }
        assert!(text.ends_with('\n'));
        let distinct: HashSet<_> = samples.iter().map(|(series, _)| series).collect();
        assert_eq!(distinct.len(), samples.len(), "each series once");
        samples
    }

    #[test]
    fn the_text_is_valid_and_has_the_figures() {
        let shared = testing::shared("--threads 2 --max-memory 64MB");
        let stats = &shared.workers[1].stats;
        stats.requests.store(200, Relaxed);
        stats.requests_http.store(7, Relaxed);
        stats.syscalls.store(10, Relaxed);
        stats.turns.store(50, Relaxed);
        stats.refused_protected.store(3, Relaxed);
        stats.calls[usize::from(crate::command::table::lookup(b"set").unwrap())].store(4, Relaxed);
        let samples = parse(&render(&shared, &shared.figures()));
        let value = |series: &str| {
            samples.iter().find(|(name, _)| name == series).unwrap_or_else(|| panic!("{series}")).1
        };
        assert_eq!(value("kv_requests_total{worker=\"1\"}"), 200.0);
        assert_eq!(value("kv_requests_total{worker=\"0\"}"), 0.0);
        assert_eq!(value("kv_requests_by_protocol_total{protocol=\"http\"}"), 7.0);
        assert_eq!(value("kv_commands_total{command=\"set\"}"), 4.0);
        assert_eq!(value("kv_connections_refused_total{reason=\"protected_mode\"}"), 3.0);
        assert_eq!(value("kv_memory_limit_bytes"), 64e6);
        assert_eq!(value("kv_syscalls_per_request"), 0.05);
        assert_eq!(value("kv_requests_per_turn"), 4.0);
        assert!(value("kv_worker_heartbeat_age_seconds{worker=\"1\"}") < 60.0);
        assert_eq!(value("kv_worker_stuck_after_seconds"), 5.2);
        assert_eq!(value("kv_keys{db=\"0\"}"), 0.0);
        assert!(value("kv_memory_resident_bytes") > 0.0);
    }

    #[test]
    fn durations_are_a_histogram_with_all_of_its_buckets() {
        let shared = testing::shared("");
        let row = usize::from(crate::command::table::lookup(b"get").unwrap());
        shared.workers[0].times.note(row, 1_500, 3);
        shared.workers[0].times.note(row, u64::from(u32::MAX) * 1000, 1);
        let samples = parse(&render(&shared, &shared.figures()));
        let of_get: Vec<_> =
            samples.iter().filter(|(name, _)| name.starts_with("kv_command_duration")).collect();
        assert_eq!(of_get.len(), crate::observe::BUCKETS + 2, "{of_get:?}");
        for (le, calls) in [("0.000001", 0.0), ("0.000002", 3.0), ("4.194304", 3.0), ("+Inf", 4.0)] {
            let series = format!("kv_command_duration_seconds_bucket{{command=\"get\",le=\"{le}\"}}");
            assert!(
                of_get.iter().any(|(name, value)| *name == series && *value == calls),
                "{series}: {of_get:?}"
            );
        }
        assert_eq!(
            of_get[crate::observe::BUCKETS + 1],
            &("kv_command_duration_seconds_count{command=\"get\"}".into(), 4.0)
        );
    }

    #[test]
    fn counters_survive_a_reset_of_the_statistics() {
        let shared = testing::shared("");
        shared.workers[0].stats.hits.store(5, Relaxed);
        crate::command::Host::reset_stats(&shared, &mut |partition| shared.store.lock(partition).stats());
        assert!(render(&shared, &shared.figures()).contains("\nkv_hits_total 5\n"));
    }
}
