//! One consistent copy of all figures, from which INFO and /metrics are both written: they can never disagree about what is counted.

use super::sampler::Rates;
use super::shared::{Baseline, Shared};
use super::tracking::TrackingFigures;
use crate::command::COMMANDS;
use crate::conn::ChannelKind;
use crate::observe::Histogram;
use crate::stats::StatsSnapshot;
use crate::store::{DATABASES, PartitionStats};
use crate::sys::machine::{self, CpuTimes};
use std::sync::atomic::Ordering::Relaxed;

/// What the keyspace holds, over all partitions.
#[derive(Clone, Debug, Default)]
pub struct Keyspace {
    /// Per database.
    pub keys: [u64; DATABASES as usize],
    pub keys_with_expiry: [u64; DATABASES as usize],
    /// Bytes of live items with their headers.
    pub live_bytes: u64,
    /// Bytes of dead items that still take room in segments.
    pub dead_bytes: u64,
    /// Since the start.
    pub evicted: u64,
    pub expired: u64,
    /// Items kept by second chance.
    pub reinserted: u64,
    /// Writes that had to empty a segment themselves.
    pub stalls: u64,
}

/// Memory in bytes, by part.
#[derive(Clone, Copy, Debug, Default)]
pub struct Memory {
    pub limit: usize,
    /// The sum of the parts: what the budget knows of.
    pub used: usize,
    pub used_peak: usize,
    pub segments: usize,
    pub index: usize,
    pub large: usize,
    pub connections: usize,
    pub fixed: usize,
    pub resident: usize,
    pub resident_peak: usize,
    /// What the machine or the control group has.
    pub machine: usize,
}

/// Publish/subscribe: different names, and who listens.
#[derive(Clone, Copy, Debug, Default)]
pub struct PubSubFigures {
    pub channels: usize,
    pub patterns: usize,
    pub shard_channels: usize,
    pub clients: usize,
}

/// See the top of this file. Counters are since the start; `since_reset` since CONFIG RESETSTAT.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    pub workers: Vec<StatsSnapshot>,
    pub totals: StatsSnapshot,
    pub since_reset: StatsSnapshot,
    pub evicted_since_reset: u64,
    pub expired_since_reset: u64,
    pub keyspace: Keyspace,
    pub memory: Memory,
    pub rates: Rates,
    pub cpu: CpuTimes,
    pub clients: usize,
    pub max_clients: usize,
    pub pubsub: PubSubFigures,
    pub tracking: TrackingFigures,
    /// Times that notifications were dropped.
    pub events_lost: u64,
    pub uptime_s: u64,
}

impl Shared {
    /// Collects them. Locks each partition for a moment, one after the other: never call it while holding one.
    pub fn figures(&self) -> Figures {
        self.figures_by(&mut |partition| self.store.lock(partition).stats())
    }

    /// As `figures`, for who holds partitions: `stats` gives those of the partition of a number.
    pub(super) fn figures_by(&self, stats: &mut dyn FnMut(usize) -> PartitionStats) -> Figures {
        let workers: Vec<StatsSnapshot> = self.workers.iter().map(|worker| worker.stats.snapshot()).collect();
        let mut totals = StatsSnapshot::default();
        for worker in &workers {
            totals.add(worker);
        }
        let keyspace = self.keyspace(stats);
        let baseline = self.baseline.lock();
        Figures {
            since_reset: totals.since(&baseline.workers),
            evicted_since_reset: keyspace.evicted.saturating_sub(baseline.evicted),
            expired_since_reset: keyspace.expired.saturating_sub(baseline.expired),
            memory: self.memory(),
            rates: self.sampler.rates(),
            cpu: machine::cpu_times(),
            clients: self.clients.count(),
            max_clients: self.settings.max_clients(),
            pubsub: PubSubFigures {
                channels: self.pubsub.channels(ChannelKind::Plain, None).len(),
                patterns: self.pubsub.patterns(),
                shard_channels: self.pubsub.channels(ChannelKind::Shard, None).len(),
                clients: self.clients.subscribers(),
            },
            tracking: self.tracking.figures(),
            events_lost: self.events.lost(),
            uptime_s: self.started.elapsed().as_secs(),
            workers,
            totals,
            keyspace,
        }
    }

    fn keyspace(&self, stats: &mut dyn FnMut(usize) -> PartitionStats) -> Keyspace {
        let mut sum = Keyspace::default();
        for partition in 0..self.store.partitions() {
            let stats = stats(partition);
            for db in 0..sum.keys.len() {
                sum.keys[db] += stats.items[db];
                sum.keys_with_expiry[db] += stats.items_with_expiry[db];
            }
            sum.live_bytes += stats.live_bytes;
            sum.dead_bytes += stats.dead_bytes;
            sum.reinserted += stats.reinserted;
            sum.stalls += stats.stalls;
            sum.evicted += stats.evicted;
            sum.expired += stats.expired;
        }
        sum
    }

    /// Measures the process's memory, so that peaks are seen without anyone asking.
    pub fn sample_memory(&self) {
        self.sampler.memory(machine::resident_bytes(), self.store.budget().used());
    }

    fn memory(&self) -> Memory {
        self.sample_memory();
        let budget = self.store.budget();
        Memory {
            limit: budget.limit(),
            used: budget.used(),
            used_peak: self.sampler.used_peak(),
            segments: budget.segments.load(Relaxed),
            index: budget.index.load(Relaxed),
            large: budget.large.load(Relaxed),
            connections: budget.connections.load(Relaxed),
            fixed: budget.fixed.load(Relaxed),
            resident: self.sampler.resident(),
            resident_peak: self.sampler.resident_peak(),
            machine: self.config.machine_memory,
        }
    }

    /// How long commands took since the start, by row of the command table.
    pub fn times(&self) -> Vec<Histogram> {
        let mut sums = vec![Histogram::default(); COMMANDS.len()];
        self.workers.iter().for_each(|worker| worker.times.add_to(&mut sums));
        sums
    }

    /// The same since CONFIG RESETSTAT.
    pub(super) fn times_since_reset(&self) -> Vec<Histogram> {
        let mut times = self.times();
        for (times, before) in times.iter_mut().zip(&self.baseline.lock().times) {
            *times = times.since(before);
        }
        times
    }

    /// CONFIG RESETSTAT: what INFO counts begins anew. /metrics goes on counting, as Prometheus expects of counters.
    pub(super) fn reset_baseline(&self, stats: &mut dyn FnMut(usize) -> PartitionStats) {
        let keyspace = self.keyspace(stats);
        *self.baseline.lock() = Baseline {
            workers: self.totals(),
            evicted: keyspace.evicted,
            expired: keyspace.expired,
            times: self.times(),
        };
        self.sampler.reset();
    }
}

/// A ratio for people: 0 where nothing has happened yet.
pub fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

#[cfg(test)]
mod tests {
    use crate::server::testing;
    use std::sync::atomic::Ordering::Relaxed;

    #[test]
    fn sums_over_workers_and_a_reset_that_leaves_the_totals() {
        let shared = testing::shared("--threads 2");
        for (worker, requests) in shared.workers.iter().zip([3, 4]) {
            worker.stats.requests.store(requests, Relaxed);
            worker.stats.connections.store(1, Relaxed);
            worker.stats.calls[0].store(requests, Relaxed);
        }
        assert_eq!(shared.figures().totals.requests, 7);
        shared.reset_baseline(&mut |partition| shared.store.lock(partition).stats());
        shared.workers[0].stats.requests.store(10, Relaxed);
        let figures = shared.figures();
        assert_eq!((figures.totals.requests, figures.since_reset.requests), (14, 7));
        assert_eq!((figures.totals.calls[0], figures.since_reset.calls[0]), (7, 0));
        assert_eq!(figures.since_reset.connections, 2, "a gauge is not reset");
    }
}
