//! The main thread once all runs: it waits for signals and for threads that end, and feeds the service manager's watchdog as long as every
//! thread moves. It takes no lock that a request may hold, so it tells a slow server from a stuck one.

use super::banner;
use super::heartbeats::Stuck;
use super::log;
use super::shared::Shared;
use super::start::{Happening, RunError, Threads};
use super::status::{self, tell};
use crate::sys::notify::Note;
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// Signals so close together are one request: `timeout`, and a shell that tells a whole process group, send two.
const SAME_SIGNAL: Duration = Duration::from_millis(300);

/// Workers close what is left at the drain timeout; they get so long to do it.
const DRAIN_GRACE: Duration = Duration::from_millis(250);

/// What is left to do then, before the process is gone, takes less.
const END_GRACE: Duration = Duration::from_secs(5);

/// Waits for a signal, then for the workers to drain. A worker or the control thread lost on the way is an error.
pub(super) fn serve(
    shared: &Shared,
    happenings: &mpsc::Receiver<Happening>,
    threads: Threads,
) -> Result<(), RunError> {
    let mut running = threads.len();
    let mut drain: Option<Drain> = None;
    let mut watchdog = Watchdog::of(shared);
    while running > 0 {
        match next(happenings, drain.as_ref(), watchdog.as_mut(), shared) {
            Some(Happening::Ended { result: Ok(()), .. }) if shared.is_draining() => running -= 1,
            Some(Happening::Ended { worker, result }) => {
                let reason = result.err().unwrap_or_else(|| "it ended without being asked to".into());
                return Err(RunError::Lost { thread: format!("worker {worker}"), reason });
            }
            Some(Happening::Signal(name)) => {
                let name = name?;
                match &drain {
                    None => drain = Some(Drain::begin(name, shared)),
                    Some(drain) if drain.began.elapsed() < SAME_SIGNAL => {}
                    Some(_) => {
                        log::warn(format_args!("{name} again: ending at once"));
                        std::process::exit(1);
                    }
                }
            }
            Some(Happening::ControlEnded(result)) => {
                let reason =
                    result.err().map_or_else(|| "it ended by itself".into(), |error| error.to_string());
                return Err(RunError::Lost { thread: "the control thread".into(), reason });
            }
            None => {
                log::warn(format_args!("{running} workers were not done in time: ending without them"));
                return Ok(());
            }
        }
    }
    for thread in threads {
        // Each has said that it ended; its panic, had there been one, was caught and told.
        let _ = thread.join();
    }
    log::info(format_args!("Ended: all connections are closed."));
    Ok(())
}

/// The next happening; `None`: the drain has taken too long. Meanwhile the watchdog is fed.
fn next(
    happenings: &mpsc::Receiver<Happening>,
    drain: Option<&Drain>,
    mut watchdog: Option<&mut Watchdog>,
    shared: &Shared,
) -> Option<Happening> {
    loop {
        let deadline = drain.map(|drain| drain.deadline);
        let Some(wake) = deadline.into_iter().chain(watchdog.as_ref().map(|dog| dog.next_look)).min() else {
            return happenings.recv().ok();
        };
        let now = Instant::now();
        match happenings.recv_timeout(wake.saturating_duration_since(now)) {
            Ok(happening) => return Some(happening),
            Err(mpsc::RecvTimeoutError::Disconnected) => return None,
            Err(mpsc::RecvTimeoutError::Timeout) => {}
        }
        let now = Instant::now();
        if deadline.is_some_and(|deadline| now >= deadline) {
            return None;
        }
        if let Some(watchdog) = watchdog.as_mut() {
            watchdog.look(now, shared);
        }
    }
}

/// The end, once it has begun.
struct Drain {
    began: Instant,
    deadline: Instant,
}

impl Drain {
    fn begin(signal: &str, shared: &Shared) -> Drain {
        let text = banner::draining(signal, shared);
        log::info(format_args!("{text}"));
        let longest = shared.config.drain_timeout + DRAIN_GRACE;
        shared.begin_drain();
        status::draining(shared, &text, longest + END_GRACE);
        let began = Instant::now();
        Drain { began, deadline: began + longest }
    }
}

/// Looks in each period at the counters.
const LOOKS_PER_PERIOD: u32 = 8;

/// Tells the service manager, twice in its period, that all is well; says nothing to it while it is not.
struct Watchdog {
    half_period: Duration,
    next_look: Instant,
    next_feeding: Instant,
    stuck: Option<Stuck>,
}

impl Watchdog {
    fn of(shared: &Shared) -> Option<Watchdog> {
        let half_period = shared.heartbeats.watchdog_period()? / 2;
        let now = Instant::now();
        Some(Watchdog { half_period, next_look: now, next_feeding: now, stuck: None })
    }

    fn look_period(&self) -> Duration {
        self.half_period * 2 / LOOKS_PER_PERIOD
    }

    fn look(&mut self, now: Instant, shared: &Shared) {
        if now < self.next_look {
            return;
        }
        let late = now - self.next_look;
        if late > self.look_period() {
            shared.heartbeats.forgive(late, now);
        }
        let stuck = shared.stuck();
        match (&self.stuck, &stuck) {
            (None, Some(stuck)) => {
                let text = format!("Stuck: {stuck}; the watchdog is not fed until it moves");
                log::error(format_args!("{text}"));
                tell(&[Note::Status(&text)]);
            }
            (Some(_), None) => {
                log::warn(format_args!("All threads move again; the watchdog is fed."));
                tell(&[Note::Status(&format!("{}, after a halt", shared.what_serves()))]);
            }
            _ => {}
        }
        self.stuck = stuck;
        if self.stuck.is_none() && now >= self.next_feeding {
            tell(&[Note::Watchdog]);
            // Late once is not late for ever; but what was missed is not made up for.
            self.next_feeding = (self.next_feeding + self.half_period).max(now);
        }
        // A look falls on the feeding, so that nothing else delays it.
        let next_look = now + self.look_period();
        let feeding = Some(self.next_feeding).filter(|_| self.stuck.is_none());
        self.next_look = feeding.map_or(next_look, |feeding| feeding.min(next_look));
    }
}
