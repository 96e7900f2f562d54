//! When to spin before blocking. A blocking wake costs about 30 µs on a virtual machine, so a worker that serves one or
//! two clients spends most of its time waking up; spinning a little halves their latency. Under load there is always
//! something to do and no spin happens; after one silence longer than the limit there is none until traffic returns.

use std::time::{Duration, Instant};

/// A turn that brought more completions than this is no idle worker's.
const FEW_COMPLETIONS: usize = 8;

/// Decides, from the last turn, whether the next wait begins with a spin.
#[derive(Debug)]
pub(super) struct Spin {
    limit: Duration,
    worth_it: bool,
}

impl Spin {
    pub fn new(busy_poll_us: u32) -> Self {
        Self { limit: Duration::from_micros(busy_poll_us.into()), worth_it: false }
    }

    pub fn worth_it(&self) -> bool {
        self.worth_it
    }

    /// False when the option is 0: then no clock is read either.
    pub fn enabled(&self) -> bool {
        !self.limit.is_zero()
    }

    /// Spins until `ready`, for the limit at most. Returns whether it became ready.
    pub fn spin(&self, started: Instant, timeout: Option<Duration>, mut ready: impl FnMut() -> bool) -> bool {
        let limit = timeout.map_or(self.limit, |timeout| timeout.min(self.limit));
        loop {
            // Several looks per clock read: the look is a load, the clock 27 ns.
            for _ in 0..8 {
                if ready() {
                    return true;
                }
                std::hint::spin_loop();
            }
            if started.elapsed() >= limit {
                return false;
            }
        }
    }

    /// Learns from a turn: how many completions it brought and how long it waited for them.
    ///
    /// Twice the limit counts as "would have paid": a wait that blocked includes the wake-up, which a spin saves.
    pub fn learn(&mut self, completions: usize, waited: Duration) {
        self.worth_it = (1..=FEW_COMPLETIONS).contains(&completions) && waited < self.limit * 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spins_only_when_nearly_idle_and_recently_busy() {
        let mut spin = Spin::new(50);
        assert!(!spin.worth_it(), "the first wait blocks");
        spin.learn(1, Duration::from_micros(60));
        assert!(spin.worth_it());
        spin.learn(200, Duration::from_micros(1));
        assert!(!spin.worth_it(), "under load");
        spin.learn(1, Duration::from_millis(1));
        assert!(!spin.worth_it(), "after a silence");
        spin.learn(0, Duration::from_micros(1));
        assert!(!spin.worth_it(), "after a timeout");
    }

    #[test]
    fn never_spins_longer_than_the_limit_or_the_timeout() {
        let spin = Spin::new(2_000);
        let start = Instant::now();
        assert!(!spin.spin(start, None, || false));
        assert!(start.elapsed() >= Duration::from_micros(2_000));
        let start = Instant::now();
        assert!(!spin.spin(start, Some(Duration::from_micros(1)), || false));
        assert!(start.elapsed() < Duration::from_micros(2_000));
        assert!(spin.spin(Instant::now(), None, || true));
        assert!(!Spin::new(0).enabled());
    }
}
