//! Latency events: what kept a worker longer than a threshold, and when (Redis's LATENCY LATEST, HISTORY, RESET, DOCTOR).

use crate::limits;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What took long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LatencyEvent {
    /// A command that runs alone: several keys, a script, the keyspace.
    Command,
    /// A batch of commands on single keys.
    FastCommand,
    /// A step of expiry, eviction and compaction.
    Upkeep,
    /// A whole turn of a worker's loop, without its waiting.
    Turn,
}

impl LatencyEvent {
    pub const ALL: [LatencyEvent; 4] =
        [LatencyEvent::Command, LatencyEvent::FastCommand, LatencyEvent::Upkeep, LatencyEvent::Turn];

    /// Redis's name, where it has one.
    pub fn name(self) -> &'static str {
        match self {
            LatencyEvent::Command => "command",
            LatencyEvent::FastCommand => "fast-command",
            LatencyEvent::Upkeep => "expire-cycle",
            LatencyEvent::Turn => "eventloop",
        }
    }

    pub fn named(name: &[u8]) -> Option<LatencyEvent> {
        LatencyEvent::ALL.into_iter().find(|event| event.name().as_bytes().eq_ignore_ascii_case(name))
    }
}

/// One event's past.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Series {
    /// Unix seconds, and the longest in that second in milliseconds; oldest first.
    pub samples: VecDeque<(u64, u64)>,
    /// The longest since the last reset, milliseconds.
    pub max_ms: u64,
    /// All since the last reset: how many seconds had one, and their sum in milliseconds.
    pub count: u64,
    pub sum_ms: u64,
}

/// All events of the server.
#[derive(Debug, Default)]
pub struct Events {
    /// Milliseconds; 0: nothing is noted.
    threshold_ms: AtomicU64,
    series: [Mutex<Series>; LatencyEvent::ALL.len()],
}

impl Events {
    /// Milliseconds; 0: nothing is noted.
    pub fn threshold_ms(&self) -> u64 {
        self.threshold_ms.load(Relaxed)
    }

    pub fn set_threshold_ms(&self, ms: u64) {
        self.threshold_ms.store(ms, Relaxed);
    }

    /// Notes what took long enough.
    #[inline]
    pub fn note(&self, event: LatencyEvent, took_ns: u64, at_s: u64) {
        let threshold_ms = self.threshold_ms();
        if threshold_ms > 0 && took_ns / 1_000_000 >= threshold_ms {
            self.add(event, took_ns / 1_000_000, at_s);
        }
    }

    #[cold]
    fn add(&self, event: LatencyEvent, ms: u64, at_s: u64) {
        let mut series = self.series[event as usize].lock();
        series.max_ms = series.max_ms.max(ms);
        if let Some((_, longest)) = series.samples.back_mut().filter(|(second, _)| *second == at_s) {
            *longest = ms.max(*longest);
            return;
        }
        series.count += 1;
        series.sum_ms += ms;
        if series.samples.len() == limits::LATENCY_SAMPLES {
            series.samples.pop_front();
        }
        series.samples.push_back((at_s, ms));
    }

    pub fn series(&self, event: LatencyEvent) -> Series {
        self.series[event as usize].lock().clone()
    }

    /// Forgets an event's past; false if it has none.
    pub fn reset(&self, event: LatencyEvent) -> bool {
        let forgotten = std::mem::take(&mut *self.series[event as usize].lock());
        !forgotten.samples.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_of_a_second_counts() {
        let events = Events::default();
        events.note(LatencyEvent::Command, 900_000_000, 10);
        assert_eq!(events.series(LatencyEvent::Command), Series::default(), "off until there is a threshold");
        events.set_threshold_ms(100);
        for (ms, at_s) in [(99, 10), (120, 10), (150, 10), (110, 12)] {
            events.note(LatencyEvent::Command, ms * 1_000_000, at_s);
        }
        let series = events.series(LatencyEvent::Command);
        assert_eq!(series.samples, [(10, 150), (12, 110)]);
        assert_eq!((series.max_ms, series.count), (150, 2));
        assert!(
            events.reset(LatencyEvent::Command)
                && !events.reset(LatencyEvent::Command)
                && !events.reset(LatencyEvent::Turn)
        );
    }

    #[test]
    fn the_past_is_bounded() {
        let events = Events::default();
        events.set_threshold_ms(1);
        for second in 0..1_000 {
            events.note(LatencyEvent::Turn, 2_000_000, second);
        }
        let series = events.series(LatencyEvent::Turn);
        assert_eq!((series.samples.len(), series.count), (limits::LATENCY_SAMPLES, 1_000));
        assert_eq!(series.samples.back(), Some(&(999, 2)));
        assert_eq!(LatencyEvent::named(b"EVENTLOOP"), Some(LatencyEvent::Turn));
        assert_eq!(LatencyEvent::named(b"fork"), None);
    }
}
