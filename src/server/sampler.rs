//! Rates and peaks that need a clock: the control thread feeds it ten times a second, INFO reads it.

use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

/// Rates are over so many samples: 1.6 seconds, as in Redis.
const WINDOW: usize = 16;

#[derive(Debug, Default)]
pub struct Sampler {
    samples: Mutex<VecDeque<Sample>>,
    ops_per_s: AtomicU64,
    input_per_s: AtomicU64,
    output_per_s: AtomicU64,
    resident: AtomicUsize,
    resident_peak: AtomicUsize,
    used_peak: AtomicUsize,
}

/// Counters at one moment.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sample {
    /// Milliseconds of a clock that is never set back.
    pub at_ms: u64,
    pub requests: u64,
    pub bytes_received: u64,
    pub bytes_sent: u64,
}

/// Per second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rates {
    pub requests: u64,
    pub bytes_received: u64,
    pub bytes_sent: u64,
}

impl Sampler {
    pub fn add(&self, sample: Sample) {
        let mut samples = self.samples.lock();
        if samples.len() > WINDOW {
            samples.pop_front();
        }
        samples.push_back(sample);
        let first = samples.front().copied().unwrap_or(sample);
        let elapsed_ms = sample.at_ms.saturating_sub(first.at_ms);
        let rate = |now: u64, then: u64| {
            now.saturating_sub(then).saturating_mul(1000).checked_div(elapsed_ms).unwrap_or(0)
        };
        self.ops_per_s.store(rate(sample.requests, first.requests), Relaxed);
        self.input_per_s.store(rate(sample.bytes_received, first.bytes_received), Relaxed);
        self.output_per_s.store(rate(sample.bytes_sent, first.bytes_sent), Relaxed);
    }

    /// Notes what memory the process has, and what of it the budget knows, both in bytes.
    pub fn memory(&self, resident: usize, used: usize) {
        self.resident.store(resident, Relaxed);
        self.resident_peak.fetch_max(resident, Relaxed);
        self.used_peak.fetch_max(used, Relaxed);
    }

    pub fn rates(&self) -> Rates {
        Rates {
            requests: self.ops_per_s.load(Relaxed),
            bytes_received: self.input_per_s.load(Relaxed),
            bytes_sent: self.output_per_s.load(Relaxed),
        }
    }

    /// Bytes, at the last sample.
    pub fn resident(&self) -> usize {
        self.resident.load(Relaxed)
    }

    pub fn resident_peak(&self) -> usize {
        self.resident_peak.load(Relaxed)
    }

    pub fn used_peak(&self) -> usize {
        self.used_peak.load(Relaxed)
    }

    /// CONFIG RESETSTAT: peaks and rates begin anew.
    pub fn reset(&self) {
        self.samples.lock().clear();
        self.resident_peak.store(self.resident(), Relaxed);
        self.used_peak.store(0, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_over_the_window() {
        let sampler = Sampler::default();
        assert_eq!(sampler.rates(), Rates::default());
        for n in 0..100u64 {
            sampler.add(Sample {
                at_ms: n * 100,
                requests: n * 500,
                bytes_received: n * 1_000,
                bytes_sent: 7,
            });
        }
        assert_eq!(sampler.rates(), Rates { requests: 5_000, bytes_received: 10_000, bytes_sent: 0 });
        // A burst long ago is forgotten.
        for n in 100..120 {
            sampler.add(Sample { at_ms: n * 100, requests: 50_000, ..Sample::default() });
        }
        assert_eq!(sampler.rates().requests, 0);
    }

    #[test]
    fn peaks_only_grow_until_reset() {
        let sampler = Sampler::default();
        sampler.memory(100, 80);
        sampler.memory(50, 40);
        assert_eq!((sampler.resident(), sampler.resident_peak(), sampler.used_peak()), (50, 100, 80));
        sampler.reset();
        assert_eq!(sampler.resident_peak(), 50);
    }
}
