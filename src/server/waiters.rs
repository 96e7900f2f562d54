//! Connections that wait for a key to change, by the key's hash. See `store::Wakes` for how a change is noticed.

use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Hashes are spread over so many maps, so that workers seldom meet.
const SHARDS: usize = 16;

/// A connection: its worker, and its client id.
pub type Waiter = (usize, u64);

#[derive(Debug, Default)]
pub struct Waiters {
    shards: [Mutex<HashMap<u64, Vec<Waiter>>>; SHARDS],
    count: AtomicUsize,
}

impl Waiters {
    /// Enters a connection; once, however often this is called.
    pub fn add(&self, hash: u64, waiter: Waiter) {
        let mut shard = self.shard(hash).lock();
        let waiting = shard.entry(hash).or_default();
        if !waiting.contains(&waiter) {
            waiting.push(waiter);
            self.count.fetch_add(1, Relaxed);
        }
    }

    pub fn remove(&self, hash: u64, waiter: Waiter) {
        let mut shard = self.shard(hash).lock();
        let Some(waiting) = shard.get_mut(&hash) else { return };
        let before = waiting.len();
        waiting.retain(|other| *other != waiter);
        self.count.fetch_sub(before - waiting.len(), Relaxed);
        if waiting.is_empty() {
            shard.remove(&hash);
        }
    }

    /// Takes all out who wait for a key.
    pub fn take(&self, hash: u64) -> Vec<Waiter> {
        let taken = self.shard(hash).lock().remove(&hash).unwrap_or_default();
        self.count.fetch_sub(taken.len(), Relaxed);
        taken
    }

    /// Takes all out.
    pub fn take_all(&self) -> Vec<Waiter> {
        let taken: Vec<Waiter> = self
            .shards
            .iter()
            .flat_map(|shard| std::mem::take(&mut *shard.lock()))
            .flat_map(|(_, all)| all)
            .collect();
        self.count.fetch_sub(taken.len(), Relaxed);
        taken
    }

    /// How many wait.
    pub fn count(&self) -> usize {
        self.count.load(Relaxed)
    }

    fn shard(&self, hash: u64) -> &Mutex<HashMap<u64, Vec<Waiter>>> {
        &self.shards[hash as usize % SHARDS]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_is_found_once() {
        let waiters = Waiters::default();
        waiters.add(7, (0, 1));
        waiters.add(7, (0, 1));
        waiters.add(7, (1, 2));
        waiters.add(23, (1, 3));
        assert_eq!(waiters.count(), 3);
        waiters.remove(7, (0, 1));
        waiters.remove(8, (0, 1));
        assert_eq!((waiters.take(7), waiters.take(7), waiters.count()), (vec![(1, 2)], vec![], 1));
        assert_eq!((waiters.take_all(), waiters.count()), (vec![(1, 3)], 0));
    }
}
