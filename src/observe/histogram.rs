//! How long each command took, in buckets of powers of two of a microsecond (Redis's LATENCY HISTOGRAM).
//!
//! A worker writes its own, with plain loads and stores; everyone else reads and adds. A command that runs in a batch is noted with
//! its share of the batch: what is measured is the batch.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The last holds all that took longer than 2^22 µs, four seconds.
pub const BUCKETS: usize = 24;

/// One command's times. Bucket `n` counts calls of at most 2^n µs that the one before does not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    pub counts: [u64; BUCKETS],
    pub total_ns: u64,
}

#[derive(Debug, Default)]
struct Row {
    counts: [AtomicU64; BUCKETS],
    total_ns: AtomicU64,
}

/// One worker's, by row of the command table.
#[derive(Debug)]
pub struct Histograms(Box<[Row]>);

impl Histograms {
    /// `commands` is the length of the command table.
    pub fn new(commands: usize) -> Histograms {
        Histograms((0..commands).map(|_| Row::default()).collect())
    }

    /// Notes `calls` that took `each_ns` each. Only for the owning worker.
    #[inline]
    pub fn note(&self, row: usize, each_ns: u64, calls: u64) {
        let Some(row) = self.0.get(row) else { return };
        let add = |to: &AtomicU64, more: u64| to.store(to.load(Relaxed).wrapping_add(more), Relaxed);
        add(&row.counts[bucket(each_ns)], calls);
        add(&row.total_ns, each_ns * calls);
    }

    /// Adds these to `sums`, which has a place for each row.
    pub fn add_to(&self, sums: &mut [Histogram]) {
        for (sum, row) in sums.iter_mut().zip(&self.0) {
            for (count, more) in sum.counts.iter_mut().zip(&row.counts) {
                *count += more.load(Relaxed);
            }
            sum.total_ns += row.total_ns.load(Relaxed);
        }
    }
}

impl Histogram {
    pub fn calls(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// What came since `earlier`.
    pub fn since(&self, earlier: &Histogram) -> Histogram {
        let mut since = *self;
        for (count, before) in since.counts.iter_mut().zip(earlier.counts) {
            *count = count.saturating_sub(before);
        }
        since.total_ns = since.total_ns.saturating_sub(earlier.total_ns);
        since
    }

    /// Pairs of a bucket's upper bound in µs and the calls up to there, for buckets in which there are any.
    pub fn cumulative(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        let mut sum = 0;
        self.counts.iter().enumerate().filter(|(_, count)| **count > 0).map(move |(bucket, count)| {
            sum += count;
            (1 << bucket, sum)
        })
    }
}

/// The bucket of a time: the exponent of the least power of two in µs that is not less.
#[inline]
fn bucket(ns: u64) -> usize {
    let us = ns.div_ceil(1000).max(1);
    (us.next_power_of_two().trailing_zeros() as usize).min(BUCKETS - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_fall_into_powers_of_two() {
        for (ns, expected) in [
            (0, 0),
            (999, 0),
            (1_000, 0),
            (1_001, 1),
            (2_000, 1),
            (2_001, 2),
            (4_100, 3),
            (u64::MAX / 2, BUCKETS - 1),
        ] {
            assert_eq!(bucket(ns), expected, "{ns}");
        }
    }

    #[test]
    fn workers_add_up_and_a_reset_is_a_difference() {
        let (a, b) = (Histograms::new(2), Histograms::new(2));
        a.note(1, 500, 3);
        b.note(1, 3_000, 1);
        b.note(7, 1, 1);
        let mut sums = vec![Histogram::default(); 2];
        a.add_to(&mut sums);
        b.add_to(&mut sums);
        assert_eq!((sums[0].calls(), sums[1].calls(), sums[1].total_ns), (0, 4, 4_500));
        assert_eq!(sums[1].cumulative().collect::<Vec<_>>(), [(1, 3), (4, 4)]);
        let mut alone = vec![Histogram::default(); 2];
        a.add_to(&mut alone);
        assert_eq!(sums[1].since(&alone[1]).cumulative().collect::<Vec<_>>(), [(4, 1)]);
    }
}
