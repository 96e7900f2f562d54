//! Whether every worker, and the control thread, still goes round its loop.
//!
//! Each counts its turns; whoever looks notes when a count last moved. A worker waits for 100 ms at most, so an idle one moves too, and
//! nobody needs to ask it. How old the last movement is, is what `/metrics` shows, what `/healthz` judges, and what the watchdog is fed by
//! (`supervisor.rs`).
//!
//! Being stuck is a matter of time only, as what takes long (a script, a barrier over all keys) looks the same from outside.

use super::shared::Shared;
use crate::limits;
use parking_lot::Mutex;
use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// See the top of this file.
#[derive(Debug)]
pub struct Heartbeats {
    /// Of the control thread.
    control: AtomicU64,
    /// Of the workers, then of the control thread. Never held over anything slow.
    seen: Mutex<Vec<Seen>>,
    /// Without a watchdog.
    stuck_after: Duration,
    watchdog_period: OnceLock<Duration>,
}

/// A count, and when it was first seen.
#[derive(Clone, Copy, Debug)]
struct Seen {
    beats: u64,
    since: Instant,
}

/// Who has not moved for too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stuck {
    /// `None`: the control thread.
    pub worker: Option<usize>,
    /// Since its last movement.
    pub age: Duration,
}

impl fmt::Display for Stuck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.worker {
            Some(worker) => write!(f, "worker {worker}")?,
            None => f.write_str("the control thread")?,
        }
        write!(f, " has not moved for {:.1} s", self.age.as_secs_f64())
    }
}

impl Heartbeats {
    pub fn new(workers: usize, script_limit: Duration) -> Heartbeats {
        let first = Seen { beats: 0, since: Instant::now() };
        Heartbeats {
            control: AtomicU64::new(0),
            seen: Mutex::new(vec![first; workers + 1]),
            stuck_after: script_limit + Duration::from_secs(limits::STUCK_AFTER_S),
            watchdog_period: OnceLock::new(),
        }
    }

    /// A service manager ends this process when it is not told of its life for so long.
    pub fn set_watchdog(&self, period: Duration) {
        // Only the start calls it.
        let _ = self.watchdog_period.set(period);
    }

    pub fn watchdog_period(&self) -> Option<Duration> {
        self.watchdog_period.get().copied()
    }

    /// How long a member may stand still without being stuck.
    ///
    /// With a watchdog, half of its period: it is fed once in every half, thus at least once after a member has stopped. So the process
    /// is ended no sooner than a whole period after that, and no later than one and a half.
    pub fn stuck_after(&self) -> Duration {
        self.watchdog_period().map_or(self.stuck_after, |period| period / 2)
    }

    /// Nothing that happened before counts.
    pub(super) fn begin(&self, now: Instant) {
        self.seen.lock().iter_mut().for_each(|seen| seen.since = now);
    }

    /// Who watches was itself kept from looking for so long, as when a virtual machine is halted or other programs have all CPUs: that
    /// nobody moved meanwhile says nothing of them.
    pub(super) fn forgive(&self, late: Duration, now: Instant) {
        self.seen.lock().iter_mut().for_each(|seen| seen.since = (seen.since + late).min(now));
    }

    /// The control thread moves.
    pub fn beat_control(&self) {
        self.control.fetch_add(1, Relaxed);
    }

    /// The ages of all members, the control thread's last.
    fn look(&self, now: Instant, beats: impl Iterator<Item = u64>) -> Vec<Duration> {
        let beats = beats.chain([self.control.load(Relaxed)]);
        let mut seen = self.seen.lock();
        let ages = seen.iter_mut().zip(beats).map(|(seen, beats)| {
            if seen.beats != beats {
                *seen = Seen { beats, since: now };
            }
            now.saturating_duration_since(seen.since)
        });
        ages.collect()
    }
}

impl Shared {
    /// How long ago each worker was seen moving; last, the control thread. Waits for nobody.
    pub fn heartbeat_ages(&self) -> Vec<Duration> {
        self.heartbeats
            .look(Instant::now(), self.workers.iter().map(|worker| worker.stats.beats.load(Relaxed)))
    }

    /// Who has stood still for longest, if that is too long. Nobody is stuck while the server starts or ends: both have limits of their own.
    pub fn stuck(&self) -> Option<Stuck> {
        let ages = self.heartbeat_ages();
        if !self.is_ready() || self.is_draining() {
            return None;
        }
        let (member, age) = ages.into_iter().enumerate().max_by_key(|(_, age)| *age)?;
        let worker = (member < self.workers.len()).then_some(member);
        (age >= self.heartbeats.stuck_after()).then_some(Stuck { worker, age })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::testing;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn an_age_is_since_the_last_movement() {
        let beats = Heartbeats::new(2, SECOND);
        let start = Instant::now();
        beats.begin(start);
        assert_eq!(beats.look(start + SECOND, [1, 1].into_iter()), [Duration::ZERO, Duration::ZERO, SECOND]);
        beats.beat_control();
        let ages = beats.look(start + 3 * SECOND, [1, 2].into_iter());
        assert_eq!(ages, [2 * SECOND, Duration::ZERO, Duration::ZERO]);
        // Looking by itself is no movement.
        assert_eq!(beats.look(start + 4 * SECOND, [1, 2].into_iter()), [3 * SECOND, SECOND, SECOND]);
    }

    #[test]
    fn what_stood_still_with_all_the_machine_is_forgiven() {
        let beats = Heartbeats::new(1, SECOND);
        let start = Instant::now();
        beats.begin(start);
        beats.look(start + SECOND, [1].into_iter());
        let woken = start + 60 * SECOND;
        beats.forgive(57 * SECOND, woken);
        assert_eq!(beats.look(woken, [1].into_iter()), [2 * SECOND, 3 * SECOND]);
        beats.forgive(57 * SECOND, woken);
        assert_eq!(beats.look(woken + SECOND, [1].into_iter()), [SECOND, SECOND], "never into the future");
    }

    #[test]
    fn the_watchdog_sets_the_measure() {
        let beats = Heartbeats::new(1, 2 * SECOND);
        assert_eq!(beats.stuck_after(), 2 * SECOND + Duration::from_secs(limits::STUCK_AFTER_S));
        beats.set_watchdog(10 * SECOND);
        assert_eq!((beats.stuck_after(), beats.watchdog_period()), (5 * SECOND, Some(10 * SECOND)));
    }

    #[test]
    fn only_a_server_that_serves_can_be_stuck() {
        let shared = testing::shared("--threads 2");
        shared.heartbeats.set_watchdog(Duration::from_nanos(2));
        assert_eq!(shared.stuck(), None, "it starts");
        shared.set_ready();
        std::thread::sleep(Duration::from_millis(1));
        // All stand still; one moves.
        let text = shared.stuck().unwrap().to_string();
        assert!(text.ends_with(" has not moved for 0.0 s"), "{text}");
        shared.begin_drain();
        assert_eq!(shared.stuck(), None, "it ends");
    }
}
