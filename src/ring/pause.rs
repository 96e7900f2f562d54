//! A listener's rest when descriptors have run out: until a connection closes, or 100 ms have passed. Accepting again at
//! once would fail again at once, for ever.

use std::time::{Duration, Instant};

const REST: Duration = Duration::from_millis(100);

/// Reads no clock while there is no pause.
#[derive(Debug, Default)]
pub(super) struct AcceptPause {
    until: Option<Instant>,
}

impl AcceptPause {
    pub fn begin(&mut self) {
        self.until = Some(Instant::now() + REST);
    }

    /// A descriptor is free again.
    pub fn cut_short(&mut self) {
        if self.until.is_some() {
            self.until = Some(Instant::now());
        }
    }

    pub fn forget(&mut self) {
        self.until = None;
    }

    /// True once, when the pause is over.
    pub fn take_if_over(&mut self) -> bool {
        let over = self.until.is_some_and(|until| until <= Instant::now());
        if over {
            self.until = None;
        }
        over
    }

    /// What is left of it.
    pub fn left(&self) -> Option<Duration> {
        self.until.map(|until| until.saturating_duration_since(Instant::now()))
    }
}

/// A wait, cut to the earliest end of a pause.
pub(super) fn until_resume<'a>(
    timeout: Option<Duration>,
    pauses: impl Iterator<Item = &'a AcceptPause>,
) -> Option<Duration> {
    pauses.filter_map(AcceptPause::left).chain(timeout).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_bounds_the_wait_and_ends_once() {
        let mut pause = AcceptPause::default();
        assert!(!pause.take_if_over());
        assert_eq!(until_resume(None, [&pause].into_iter()), None);
        pause.begin();
        assert!(!pause.take_if_over());
        assert!(until_resume(None, [&pause].into_iter()).is_some_and(|left| left <= REST));
        assert_eq!(until_resume(Some(Duration::ZERO), [&pause].into_iter()), Some(Duration::ZERO));
        pause.cut_short();
        assert!(pause.take_if_over() && !pause.take_if_over());
    }
}
