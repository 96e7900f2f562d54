//! What other threads leave for a worker: requests to it, and what is to be sent to its connections. It takes both in its next turn.
//!
//! ```text
//!   PUBLISH, a changed key, MONITOR ──► deliveries ─┐
//!   CLIENT KILL, drain ───────────────► messages ───┴─ wake ──► worker: outboxes ──► owned sends
//! ```
//!
//! Deliveries are bounded: for what does not fit, the connections that would have got it are marked and closed, as any that do not keep up.
//! Wakes are system calls, so they come last, when no lock is held: see [`Wakes`]; and while a transaction or a script holds partitions they
//! wait for its end ([`hold_wakes`]).

use super::clients::ClientEntry;
use super::shared::Shared;
use crate::conn::ChannelKind;
use crate::limits;
use crate::store::Budget;
use bytes::Bytes;
use parking_lot::Mutex;
use smallvec::SmallVec;
use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// What other threads ask of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message {
    /// CLIENT KILL has marked connections of this worker: close them.
    Kill,
    /// Stop accepting, finish what has arrived, flush, end.
    Drain,
    /// Something for marked connections did not fit into the box: close them.
    Overrun,
    /// What this client waits for has changed.
    Unpark(u64),
}

/// Something to be sent to connections of a worker that did not just ask.
#[derive(Clone, Debug)]
pub enum Delivery {
    /// To whoever subscribes when it arrives.
    Publish(Publication),
    /// To one connection.
    Push { to: Arc<ClientEntry>, what: Push },
}

/// A published message, encoded once for all its subscribers.
#[derive(Clone, Debug)]
pub struct Publication {
    /// Plain or sharded.
    pub kind: ChannelKind,
    pub channel: Bytes,
    pub message: Bytes,
    /// The whole push as RESP3 has it; in RESP2 only the first byte differs.
    pub encoded: Bytes,
}

/// What one connection is sent.
#[derive(Clone, Debug)]
pub enum Push {
    /// Bytes that are the same in both versions of the protocol.
    Raw(Bytes),
    /// Keys, as an array, are not what they were; `None`: all of them.
    Invalidate { keys: Option<Bytes>, redirected: bool },
    /// Keys, as an array, are not what they were, or (`None`) all are not: to be told to the connection that this one has named for that.
    Redirect(Option<Bytes>),
    /// The connection of this number, which was to be told of invalidations, is gone.
    RedirectBroken(u64),
}

/// What a delivery takes beside its bytes.
const DELIVERY_OVERHEAD: usize = 96;

impl Delivery {
    fn cost(&self) -> usize {
        let bytes = match self {
            Delivery::Publish(publication) => publication.encoded.len(),
            Delivery::Push { what: Push::Raw(bytes), .. } => bytes.len(),
            Delivery::Push { what: Push::Invalidate { keys, .. } | Push::Redirect(keys), .. } => {
                keys.as_ref().map_or(0, Bytes::len)
            }
            Delivery::Push { what: Push::RedirectBroken(_), .. } => 0,
        };
        bytes + DELIVERY_OVERHEAD
    }
}

#[derive(Debug, Default)]
struct Deliveries {
    waiting: Vec<Delivery>,
    bytes: usize,
}

/// One worker's box.
#[derive(Debug, Default)]
pub struct Mailbox {
    /// Each at most once, but for `Unpark`: of those there is one for each who waits, as it waits no more then.
    messages: Mutex<Vec<Message>>,
    deliveries: Mutex<Deliveries>,
    /// Keys that the worker reads in this round for clients whose invalidations go elsewhere.
    pub(super) rechecks: Mutex<Rechecks>,
}

/// Reads to be looked at again; bounded in bytes.
#[derive(Debug, Default)]
pub(super) struct Rechecks {
    pub keys: Vec<(Arc<ClientEntry>, Box<[u8]>)>,
    bytes: usize,
    /// Clients that have read more than there is room for: for them everything counts as changed.
    pub all: Vec<Arc<ClientEntry>>,
}

impl Rechecks {
    pub fn note(&mut self, client: Arc<ClientEntry>, key: &[u8]) {
        if self.bytes + key.len() <= limits::TRACKING_RECHECK_BYTES {
            self.bytes += key.len() + DELIVERY_OVERHEAD;
            self.keys.push((client, key.into()));
        } else if self.all.iter().all(|other| other.id != client.id) {
            self.all.push(client);
        }
    }
}

impl Mailbox {
    fn note(&self, message: Message) {
        let mut messages = self.messages.lock();
        if matches!(message, Message::Unpark(_)) || !messages.contains(&message) {
            messages.push(message);
        }
    }

    /// False: it does not fit.
    fn leave(&self, delivery: Delivery, most: usize) -> bool {
        let cost = delivery.cost();
        let mut deliveries = self.deliveries.lock();
        // One at least fits, however large.
        if deliveries.bytes > 0 && deliveries.bytes + cost > most {
            return false;
        }
        deliveries.bytes += cost;
        deliveries.waiting.push(delivery);
        true
    }
}

thread_local! {
    /// Whom this thread is to wake when it holds no partitions any more; `None`: it holds none.
    static HELD: RefCell<Option<SmallVec<[usize; 8]>>> = const { RefCell::new(None) };
}

/// From now on this thread holds partitions: it wakes nobody.
pub(super) fn hold_wakes() {
    HELD.with(|held| _ = held.borrow_mut().get_or_insert_default());
}

/// It holds none any more; returns whom it has to wake.
pub(super) fn held_wakes() -> SmallVec<[usize; 8]> {
    HELD.with(|held| held.borrow_mut().take()).unwrap_or_default()
}

/// Whether waking this worker has been put off.
pub(super) fn wake_waits(worker: usize) -> bool {
    HELD.with(|held| {
        let mut held = held.borrow_mut();
        let Some(workers) = held.as_mut() else { return false };
        if !workers.contains(&worker) {
            workers.push(worker);
        }
        true
    })
}

/// Workers to be woken when this is dropped: hold no lock then.
pub struct Wakes<'s> {
    shared: &'s Shared,
    workers: SmallVec<[usize; 8]>,
}

impl Wakes<'_> {
    pub fn add(&mut self, worker: usize) {
        if !self.workers.contains(&worker) {
            self.workers.push(worker);
        }
    }
}

impl Drop for Wakes<'_> {
    fn drop(&mut self) {
        for worker in &self.workers {
            self.shared.wake(*worker);
        }
    }
}

impl Shared {
    pub fn wakes(&self) -> Wakes<'_> {
        Wakes { shared: self, workers: SmallVec::new() }
    }

    /// Leaves a message for a worker and wakes it. Before it has its driver, it finds the message in its first turn.
    pub fn send(&self, worker: usize, message: Message) {
        self.workers[worker].mailbox.note(message);
        self.wake(worker);
    }

    /// As `send`, with others.
    pub(super) fn leave(&self, worker: usize, message: Message, wakes: &mut Wakes<'_>) {
        self.workers[worker].mailbox.note(message);
        wakes.add(worker);
    }

    /// What was left for this worker since it last asked, oldest first.
    pub fn take_messages(&self, worker: usize) -> Vec<Message> {
        std::mem::take(&mut *self.workers[worker].mailbox.messages.lock())
    }

    /// What is to be sent to this worker's connections, oldest first.
    pub fn take_deliveries(&self, worker: usize) -> Vec<Delivery> {
        std::mem::take(&mut *self.workers[worker].mailbox.deliveries.lock()).waiting
    }

    /// Leaves something for connections of a worker; false if its box is full. Then the caller marks those that miss it, and calls
    /// [`Shared::overrun`].
    pub(super) fn post(&self, worker: usize, delivery: Delivery, wakes: &mut Wakes<'_>) -> bool {
        let most = (self.store.budget().limit() / limits::MAILBOX_SHARE).min(limits::MAILBOX_BYTES);
        wakes.add(worker);
        self.workers[worker].mailbox.leave(delivery, most)
    }

    /// Leaves something for one connection, which is marked to be closed if its worker's box is full.
    pub(super) fn push_to(&self, to: &Arc<ClientEntry>, what: Push, wakes: &mut Wakes<'_>) {
        if !self.post(to.worker, Delivery::Push { to: Arc::clone(to), what }, wakes) {
            to.mark_overrun();
            self.overrun(to.worker, wakes);
        }
    }

    pub(super) fn overrun(&self, worker: usize, wakes: &mut Wakes<'_>) {
        self.leave(worker, Message::Overrun, wakes);
    }
}

/// Bytes that several outboxes and boxes share: in the memory account once, for as long as any of them has it.
pub fn shared_bytes(bytes: Vec<u8>, budget: &Arc<Budget>) -> Bytes {
    struct Charged {
        bytes: Vec<u8>,
        budget: Arc<Budget>,
    }
    impl AsRef<[u8]> for Charged {
        fn as_ref(&self) -> &[u8] {
            &self.bytes
        }
    }
    impl Drop for Charged {
        fn drop(&mut self) {
            self.budget.connections.fetch_sub(self.bytes.capacity(), Relaxed);
        }
    }
    budget.connections.fetch_add(bytes.capacity(), Relaxed);
    Bytes::from_owner(Charged { bytes, budget: Arc::clone(budget) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::testing;

    #[test]
    fn what_a_worker_does_not_take_is_bounded() {
        let shared = testing::shared("--threads 2 --max-memory 64MB");
        let client =
            shared.admit(1, "127.0.0.1:9".parse().unwrap(), "127.0.0.1:7171".parse().unwrap(), 0).unwrap();
        let before = shared.store.budget().connections.load(Relaxed);
        let bytes = shared_bytes(vec![b'x'; 1_000_000], shared.store.budget());
        assert!(shared.store.budget().connections.load(Relaxed) >= before + 1_000_000);
        for _ in 0..10 {
            shared.push_to(&client, Push::Raw(bytes.clone()), &mut shared.wakes());
        }
        assert!(client.is_overrun());
        assert_eq!(shared.take_messages(1), [Message::Overrun]);
        assert_eq!(shared.take_deliveries(1).len(), 1, "64 MB / 32 have room for one");
        drop(bytes);
        assert_eq!(shared.store.budget().connections.load(Relaxed), before, "nobody has it any more");
        shared.push_to(&client, Push::RedirectBroken(3), &mut shared.wakes());
        assert_eq!(shared.take_deliveries(1).len(), 1);
        assert!(shared.take_messages(1).is_empty() && shared.take_deliveries(0).is_empty());
    }
}
