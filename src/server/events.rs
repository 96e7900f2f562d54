//! From the store's journal to those who want to know: invalidations for clients that track keys, and keyspace notifications.
//!
//! A worker tells what has happened once per round, after it has executed its batch and before the replies leave. Whoever comes first tells
//! for all, in the order in which it happened.

use super::shared::Shared;
use crate::config::notify::flag;
use crate::conn::ChannelKind;
use crate::store::Changes;
use crate::store::events::class;
use parking_lot::Mutex;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

/// What telling works with.
#[derive(Debug, Default)]
pub struct Events {
    /// `notify-keyspace-events`.
    flags: AtomicU32,
    refresh: Mutex<()>,
    /// Held by the one who tells.
    changes: Mutex<Changes>,
    /// Notifications that were dropped because more happened at once than the journal holds.
    lost: AtomicU64,
}

impl Events {
    pub fn flags(&self) -> u32 {
        self.flags.load(Relaxed)
    }

    /// Times that notifications were dropped.
    pub fn lost(&self) -> u64 {
        self.lost.load(Relaxed)
    }
}

impl Shared {
    /// `notify-keyspace-events`.
    pub(super) fn set_notify_flags(&self, flags: u32) {
        self.events.flags.store(flags, Relaxed);
        self.refresh_journal();
    }

    /// Has the store note what anybody wants to know, and nothing else.
    pub(super) fn refresh_journal(&self) {
        // Under a lock, so that the last to change something is the last to say what is wanted.
        let _turn = self.events.refresh.lock();
        let flags = self.events.flags();
        let told = flags & (flag::KEYSPACE | flag::KEYEVENT) != 0;
        let classes =
            class::GENERIC | class::STRING | class::EXPIRED | class::EVICTED | class::NEW | class::MISS;
        let notified = if told { flags & classes } else { 0 };
        let tracked = if self.tracking.any() { class::TRACKED } else { 0 };
        self.store.journal().want(notified | tracked);
    }

    /// Tells what has happened to keys. Hold no partition.
    #[inline]
    pub fn tell_changes(&self) {
        if self.store.journal().is_pending() {
            self.tell_pending();
        }
    }

    #[cold]
    fn tell_pending(&self) {
        // Declared first, dropped last: waking is a system call.
        let mut wakes = self.wakes();
        let mut changes = self.events.changes.lock();
        self.store.journal().take(&mut changes);
        if self.tracking.any() {
            if changes.lost {
                self.tell_flushed(&mut wakes);
            } else {
                let mut told = Vec::new();
                self.tracking.changed(&changes, self.store.budget(), &mut told);
                self.tell(told, &mut wakes);
            }
        }
        if changes.lost {
            self.events.lost.fetch_add(1, Relaxed);
        }
        let flags = self.events.flags();
        if flags & (flag::KEYSPACE | flag::KEYEVENT) == 0 || !self.pubsub.any() {
            return;
        }
        let mut channel = Vec::new();
        for (change, key) in changes.iter().filter(|(change, _)| change.what.class() & flags != 0) {
            let (db, name) = (change.db, change.what.name().as_bytes());
            for (wanted, kind, subject, message) in
                [(flag::KEYSPACE, "keyspace", key, name), (flag::KEYEVENT, "keyevent", name, key)]
            {
                if flags & wanted != 0 {
                    channel.clear();
                    channel.extend_from_slice(format!("__{kind}@{db}__:").as_bytes());
                    channel.extend_from_slice(subject);
                    self.publish_to_all(ChannelKind::Plain, &channel, message, &mut wakes);
                }
            }
        }
    }
}
