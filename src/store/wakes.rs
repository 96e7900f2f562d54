//! Whose wait is over: keys that somebody waits for (see `fields::State::waited`) and that have been written, removed or lost.
//!
//! A partition notes the hash of such a key under its lock; a worker takes the notes once a turn and wakes who waits. Keys that nobody
//! waits for cost nothing. A wake may come without cause: who is woken looks again.

use crate::limits::WAKES;
use parking_lot::Mutex;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// Notes of all partitions. Its lock is the last that anybody takes, and held for one push.
#[derive(Debug, Default)]
pub struct Wakes {
    pending: AtomicBool,
    notes: Mutex<Notes>,
}

/// What has been noted since it was last taken.
#[derive(Debug, Default)]
pub struct Notes {
    pub hashes: Vec<u64>,
    /// Everybody's: a database was emptied, or there were too many notes.
    pub all: bool,
}

impl Wakes {
    #[cold]
    pub(super) fn note(&self, hash: u64) {
        let mut notes = self.notes.lock();
        if notes.hashes.len() < WAKES {
            notes.hashes.push(hash);
        } else {
            notes.all = true;
        }
        self.pending.store(true, Relaxed);
    }

    pub(super) fn note_all(&self) {
        self.notes.lock().all = true;
        self.pending.store(true, Relaxed);
    }

    /// Whether there may be something to take. What this thread has noted is seen.
    #[inline]
    pub fn is_pending(&self) -> bool {
        self.pending.load(Relaxed)
    }

    pub fn take(&self) -> Notes {
        self.pending.store(false, Relaxed);
        std::mem::take(&mut *self.notes.lock())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_are_taken_once_and_bounded() {
        let wakes = Wakes::default();
        assert!(!wakes.is_pending());
        wakes.note(7);
        assert!(wakes.is_pending());
        let notes = wakes.take();
        assert_eq!((notes.hashes.as_slice(), notes.all, wakes.is_pending()), (&[7][..], false, false));
        for hash in 0..=WAKES as u64 {
            wakes.note(hash);
        }
        let notes = wakes.take();
        assert_eq!((notes.hashes.len(), notes.all), (WAKES, true));
    }
}
