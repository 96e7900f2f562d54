//! Connections whose command waits for a key (KV.GET … WAIT): parked until the key changes or their time is up.

use super::{Clock, Worker};
use crate::ring::{ConnId, Driver};
use std::collections::{BTreeSet, HashMap};

/// The parked connections of a worker.
#[derive(Debug, Default)]
pub struct Parked {
    /// By client id, with Unix milliseconds at which they look again.
    waiting: HashMap<u64, (ConnId, u64)>,
    /// These times, and whose they are.
    times: BTreeSet<(u64, u64)>,
}

impl Parked {
    pub fn add(&mut self, conn: ConnId, client: u64, until_ms: u64) {
        self.remove(client);
        self.waiting.insert(client, (conn, until_ms));
        self.times.insert((until_ms, client));
    }

    /// When the next one looks again, Unix milliseconds.
    pub fn next_ms(&self) -> Option<u64> {
        self.times.first().map(|(until_ms, _)| *until_ms)
    }

    /// Takes a client's connection out, if it is parked.
    pub fn remove(&mut self, client: u64) -> Option<ConnId> {
        let (conn, until_ms) = self.waiting.remove(&client)?;
        self.times.remove(&(until_ms, client));
        Some(conn)
    }

    /// Takes one out whose time has come.
    fn take_due(&mut self, now_ms: u64) -> Option<ConnId> {
        let (until_ms, client) = *self.times.first()?;
        if until_ms <= now_ms { self.remove(client) } else { None }
    }
}

impl<D: Driver, C: Clock> Worker<D, C> {
    /// Tells those who wait for keys that have changed.
    pub(super) fn dispatch_wakes(&mut self) {
        if self.shared.store.wakes().is_pending() {
            self.shared.wake_waiters();
        }
    }

    /// Lets connections go on whose time is up; all of them when the server drains.
    pub(super) fn unpark_due(&mut self) {
        if self.parked.next_ms().is_none() {
            return;
        }
        let until_ms = if self.shared.is_draining() { u64::MAX } else { self.now_ms };
        while let Some(id) = self.parked.take_due(until_ms) {
            self.go_on(id);
        }
    }

    /// Lets one go on whose key has changed.
    pub(super) fn unpark(&mut self, client: u64) {
        if let Some(id) = self.parked.remove(client) {
            self.go_on(id);
        }
    }

    fn go_on(&mut self, id: ConnId) {
        if let Some(conn) = self.conns.get(id) {
            conn.waits = false;
            self.make_ready(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_taken_once_by_name_or_by_time() {
        let id = |slot| ConnId { slot, generation: 1 };
        let mut parked = Parked::default();
        parked.add(id(1), 11, 500);
        parked.add(id(2), 12, 300);
        parked.add(id(3), 13, 300);
        assert_eq!((parked.next_ms(), parked.take_due(299)), (Some(300), None));
        assert_eq!((parked.remove(12), parked.remove(12)), (Some(id(2)), None));
        assert_eq!((parked.take_due(300), parked.take_due(300)), (Some(id(3)), None));
        parked.add(id(1), 11, 700);
        assert_eq!(parked.next_ms(), Some(700), "a later time takes the place of an earlier one");
        assert_eq!((parked.take_due(u64::MAX), parked.next_ms()), (Some(id(1)), None));
        assert!(parked.waiting.is_empty());
    }
}
