//! What a running thread shows: counters that it stores once per turn, and the latencies since somebody last took them.

use super::new_histogram;
use hdrhistogram::Histogram;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// One stretch of a slice, over all threads.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tick {
    /// Since the slice began, at the end of the stretch.
    pub at: Duration,
    pub span: Duration,
    /// Answered in this stretch.
    pub requests: u64,
    pub errors: u64,
    /// Latencies of this stretch in nanoseconds; 0 when nothing was answered.
    pub p50: u64,
    pub p99: u64,
    pub max: u64,
}

impl Tick {
    /// Requests per second.
    pub fn rate(&self) -> f64 {
        self.requests as f64 / self.span.as_secs_f64().max(1e-9)
    }
}

/// One thread's board. Written by that thread only, but for the histogram, which is emptied by whoever reads it.
#[derive(Debug)]
pub struct Board {
    answered: AtomicU64,
    errors: AtomicU64,
    latencies: Mutex<Histogram<u64>>,
}

impl Board {
    pub fn new() -> Self {
        Self {
            answered: AtomicU64::new(0),
            errors: AtomicU64::new(0),
            latencies: Mutex::new(new_histogram()),
        }
    }

    /// Totals of the current slice.
    pub fn show(&self, answered: u64, errors: u64) {
        self.answered.store(answered, Relaxed);
        self.errors.store(errors, Relaxed);
    }

    pub fn counts(&self) -> (u64, u64) {
        (self.answered.load(Relaxed), self.errors.load(Relaxed))
    }

    /// Moves the thread's latencies here.
    pub fn fold(&self, from: &mut Histogram<u64>) {
        if !from.is_empty() {
            let mut latencies = self.latencies.lock().unwrap_or_else(PoisonError::into_inner);
            latencies.add(&*from).expect("histograms of the same bounds");
            from.reset();
        }
    }

    /// Moves them on.
    pub fn take(&self, into: &mut Histogram<u64>) {
        let mut latencies = self.latencies.lock().unwrap_or_else(PoisonError::into_inner);
        into.add(&*latencies).expect("histograms of the same bounds");
        latencies.reset();
    }
}
