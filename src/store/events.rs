//! What happened to keys, for those who want to be told: keyspace notifications and clients that cache on their own side.
//!
//! ```text
//!   partition, under its lock ── note ──► Journal: keys in one run of bytes, changes in their order ── take ──► whoever tells others
//! ```
//!
//! While nobody listens, a change costs one load and one branch. What was noted and not yet taken is bounded: beyond that it is dropped, and
//! whoever takes learns that something is missing. The names of events and the letters of their classes are Redis's.

use crate::limits::JOURNAL_BYTES;
use parking_lot::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};

/// What happened to a key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Happening {
    #[default]
    Set,
    IncrBy,
    IncrByFloat,
    Append,
    SetRange,
    SetBit,
    Del,
    Expire,
    Persist,
    RenameFrom,
    RenameTo,
    CopyTo,
    MoveFrom,
    MoveTo,
    Expired,
    Evicted,
    /// The key did not exist before. Comes before what it was made by.
    New,
    /// It was asked for and did not exist: no change.
    Miss,
    /// A change that goes by no name of its own: its command tells it by others.
    Unnamed,
}

/// Classes of events as bits: those that somebody wants.
pub mod class {
    /// `g`
    pub const GENERIC: u32 = 1;
    /// `$`
    pub const STRING: u32 = 1 << 1;
    /// `x`
    pub const EXPIRED: u32 = 1 << 2;
    /// `e`
    pub const EVICTED: u32 = 1 << 3;
    /// `n`
    pub const NEW: u32 = 1 << 4;
    /// `m`
    pub const MISS: u32 = 1 << 5;
    /// Every change, whatever it is called: clients track keys.
    pub const TRACKED: u32 = 1 << 31;
}

impl Happening {
    /// As the event's channel or message has it.
    pub fn name(self) -> &'static str {
        match self {
            Happening::Set => "set",
            Happening::IncrBy => "incrby",
            Happening::IncrByFloat => "incrbyfloat",
            Happening::Append => "append",
            Happening::SetRange => "setrange",
            Happening::SetBit => "setbit",
            Happening::Del => "del",
            Happening::Expire => "expire",
            Happening::Persist => "persist",
            Happening::RenameFrom => "rename_from",
            Happening::RenameTo => "rename_to",
            Happening::CopyTo => "copy_to",
            Happening::MoveFrom => "move_from",
            Happening::MoveTo => "move_to",
            Happening::Expired => "expired",
            Happening::Evicted => "evicted",
            Happening::New => "new",
            Happening::Miss => "keymiss",
            Happening::Unnamed => "",
        }
    }

    /// The class under which it is asked for; 0: none.
    pub fn class(self) -> u32 {
        match self {
            Happening::Set
            | Happening::IncrBy
            | Happening::IncrByFloat
            | Happening::Append
            | Happening::SetRange
            | Happening::SetBit => class::STRING,
            Happening::Del
            | Happening::Expire
            | Happening::Persist
            | Happening::RenameFrom
            | Happening::RenameTo
            | Happening::CopyTo
            | Happening::MoveFrom
            | Happening::MoveTo => class::GENERIC,
            Happening::Expired => class::EXPIRED,
            Happening::Evicted => class::EVICTED,
            Happening::New => class::NEW,
            Happening::Miss => class::MISS,
            Happening::Unnamed => 0,
        }
    }

    /// Whether what a client remembers of the key is no longer true.
    pub fn is_change(self) -> bool {
        !matches!(self, Happening::New | Happening::Miss)
    }

    fn bits(self) -> u32 {
        self.class() | if self.is_change() { class::TRACKED } else { 0 }
    }
}

/// Why a partition changes: what its changes are called until the next cause is given, and whose they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cause {
    pub written: Happening,
    pub removed: Happening,
    /// The client that wants to hear nothing of its own changes (NOLOOP), see `conn::Session::origin`; 0: anybody.
    pub origin: u32,
}

impl Default for Cause {
    fn default() -> Cause {
        Cause { written: Happening::Set, removed: Happening::Del, origin: 0 }
    }
}

/// One change in [`Changes`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    pub what: Happening,
    pub db: u8,
    key_len: u16,
    key_at: u32,
    pub origin: u32,
}

/// Changes in the order in which they happened.
#[derive(Debug, Default)]
pub struct Changes {
    keys: Vec<u8>,
    changes: Vec<Change>,
    /// Some were dropped.
    pub lost: bool,
    /// A database was emptied, or is another now: of that no key is told.
    pub flushed: bool,
}

impl Changes {
    pub fn iter(&self) -> impl Iterator<Item = (&Change, &[u8])> {
        self.changes.iter().map(|change| {
            let at = change.key_at as usize;
            (change, &self.keys[at..at + usize::from(change.key_len)])
        })
    }

    /// Forgets them. Memory is kept up to a moderate size.
    pub fn clear(&mut self) {
        const KEPT: usize = 256 << 10;
        if self.bytes() > KEPT {
            *self = Changes::default();
        }
        self.keys.clear();
        self.changes.clear();
        self.lost = false;
        self.flushed = false;
    }

    fn bytes(&self) -> usize {
        self.keys.len() + self.changes.len() * size_of::<Change>()
    }

    fn push(&mut self, what: Happening, db: u8, origin: u32, key: &[u8]) {
        let (Ok(key_len), Ok(key_at)) = (u16::try_from(key.len()), u32::try_from(self.keys.len())) else {
            self.lost = true;
            return;
        };
        if self.bytes() + key.len() > JOURNAL_BYTES {
            self.lost = true;
            return;
        }
        self.keys.extend_from_slice(key);
        self.changes.push(Change { what, db, key_len, key_at, origin });
    }
}

/// Read by every write, written rarely: alone in its cache lines.
#[repr(align(128))]
#[derive(Debug, Default)]
struct Wanted(AtomicU32);

/// The changes of all partitions. Its lock is the last that anybody takes, and held for a copy of one key.
#[derive(Debug, Default)]
pub struct Journal {
    wanted: Wanted,
    pending: AtomicBool,
    changes: Mutex<Changes>,
}

impl Journal {
    /// What is noted from now on. A read that comes after this (by the partition's lock) is followed by no change that is not noted.
    pub fn want(&self, classes: u32) {
        self.wanted.0.store(classes, Relaxed);
    }

    /// Whether anything is noted at all.
    #[inline]
    pub fn is_on(&self) -> bool {
        self.wanted.0.load(Relaxed) != 0
    }

    #[inline]
    pub fn note(&self, what: Happening, db: u8, origin: u32, key: &[u8]) {
        if self.wanted.0.load(Relaxed) & what.bits() != 0 {
            self.put(what, db, origin, key);
        }
    }

    /// All keys of a database are gone, or others.
    pub fn note_flush(&self) {
        if self.wanted.0.load(Relaxed) & class::TRACKED != 0 {
            self.changes.lock().flushed = true;
            self.pending.store(true, Relaxed);
        }
    }

    #[cold]
    fn put(&self, what: Happening, db: u8, origin: u32, key: &[u8]) {
        self.changes.lock().push(what, db, origin, key);
        self.pending.store(true, Relaxed);
    }

    /// Whether there may be something to take. What this thread has noted is seen.
    #[inline]
    pub fn is_pending(&self) -> bool {
        self.pending.load(Relaxed)
    }

    /// Exchanges what was noted for an empty record.
    pub fn take(&self, into: &mut Changes) {
        into.clear();
        self.pending.store(false, Relaxed);
        std::mem::swap(&mut *self.changes.lock(), into);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(journal: &Journal) -> Vec<(&'static str, String)> {
        let mut changes = Changes::default();
        journal.take(&mut changes);
        changes.iter().map(|(c, key)| (c.what.name(), String::from_utf8_lossy(key).into_owned())).collect()
    }

    #[test]
    fn only_what_is_wanted_is_noted() {
        let journal = Journal::default();
        let all = |journal: &Journal| {
            for what in [Happening::Set, Happening::Miss, Happening::Expired, Happening::Unnamed] {
                journal.note(what, 0, 0, b"k");
            }
        };
        all(&journal);
        assert!(!journal.is_pending() && !journal.is_on());
        journal.want(class::EXPIRED);
        all(&journal);
        assert_eq!(names(&journal), [("expired", "k".to_owned())]);
        journal.want(class::TRACKED);
        all(&journal);
        assert_eq!(names(&journal).iter().map(|(name, _)| *name).collect::<Vec<_>>(), ["set", "expired", ""]);
        assert!(!journal.is_pending() && names(&journal).is_empty());
    }

    #[test]
    fn what_nobody_takes_is_bounded() {
        let journal = Journal::default();
        journal.want(class::STRING);
        let key = vec![b'k'; 60_000];
        for _ in 0..400 {
            journal.note(Happening::Set, 0, 0, &key);
        }
        let mut changes = Changes::default();
        journal.take(&mut changes);
        assert!(changes.lost && changes.bytes() <= JOURNAL_BYTES && changes.iter().count() > 200);
        changes.clear();
        assert!(!changes.lost && changes.keys.capacity() == 0);
    }
}
