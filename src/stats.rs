//! Counters that leave a worker: each worker publishes its plain integers here once per turn, everyone else only reads.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

macro_rules! worker_stats {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// One worker's published counters. All but the gauges (`connections`, `buffered_bytes`) only grow.
        #[derive(Debug, Default)]
        pub struct WorkerStats { $($(#[$doc])* pub $name: AtomicU64,)* pub calls: Vec<AtomicU64> }

        /// A copy of [`WorkerStats`], addable over workers.
        #[derive(Clone, Debug, Default)]
        pub struct StatsSnapshot { $($(#[$doc])* pub $name: u64,)* pub calls: Vec<u64> }

        impl WorkerStats {
            /// `commands` is the length of the command table.
            pub fn new(commands: usize) -> WorkerStats {
                WorkerStats { calls: (0..commands).map(|_| AtomicU64::new(0)).collect(), ..WorkerStats::default() }
            }

            /// Called by the owning worker only, once per turn. Of the calls, those in the rows that have `changed`.
            pub fn publish(&self, now: &StatsSnapshot, calls: &[u64], changed: impl Iterator<Item = usize>) {
                $(self.$name.store(now.$name, Relaxed);)*
                for row in changed {
                    self.calls[row].store(calls[row], Relaxed);
                }
            }

            pub fn snapshot(&self) -> StatsSnapshot {
                StatsSnapshot {
                    $($name: self.$name.load(Relaxed),)*
                    calls: self.calls.iter().map(|c| c.load(Relaxed)).collect(),
                }
            }
        }

        impl StatsSnapshot {
            pub fn add(&mut self, other: &StatsSnapshot) {
                $(self.$name += other.$name;)*
                self.calls.resize(self.calls.len().max(other.calls.len()), 0);
                for (sum, n) in self.calls.iter_mut().zip(&other.calls) {
                    *sum += n;
                }
            }

            /// What was counted since `earlier`; gauges keep their present value.
            pub fn since(&self, earlier: &StatsSnapshot) -> StatsSnapshot {
                let mut d = self.clone();
                $(d.$name = d.$name.saturating_sub(earlier.$name);)*
                d.connections = self.connections;
                d.buffered_bytes = self.buffered_bytes;
                for (n, e) in d.calls.iter_mut().zip(&earlier.calls) {
                    *n = n.saturating_sub(*e);
                }
                d
            }
        }
    };
}

worker_stats! {
    /// Requests executed, whatever they answered.
    requests,
    /// The same by protocol.
    requests_resp,
    requests_json,
    requests_text,
    requests_binary,
    requests_http,
    requests_protobuf,
    hits,
    misses,
    /// Error replies.
    errors,
    /// Connections that lost framing and were closed.
    protocol_errors,
    /// Scripts that passed their time or memory.
    scripts_stopped,
    /// Gauge.
    connections,
    accepted,
    /// Refused because of `--max-clients`.
    refused_max_clients,
    /// Refused by protected mode.
    refused_protected,
    /// Closed by the idle timeout.
    closed_idle,
    /// Closed because their unread replies passed the hard cap.
    closed_slow_reader,
    /// Closed because a request passed the inbox limit.
    closed_inbox,
    /// Times a connection's reading was paused by the slow-reader watermark.
    paused_slow_reader,
    /// Messages, invalidations and lines handed to connections that did not just ask.
    pushes,
    /// Gauge: bytes in inboxes and outboxes.
    buffered_bytes,
    /// Turns of the loop that executed something.
    turns,
    /// All turns: it moves as long as the worker does, at least ten times a second.
    beats,
    /// Lock holds: groups of requests executed under one partition lock.
    groups,
    /// Requests whose partition belongs to another worker.
    cross_worker_requests,
    syscalls,
    completions,
    bytes_received,
    bytes_sent,
    short_sends,
    recv_buffers_exhausted,
    completion_overflows,
    accepts_paused,
}
