//! Several partitions held at once: what makes a command over several keys one step to everybody else.
//!
//! Partitions are always locked in index order, by everyone, so two commands never wait for each other. Nothing slow happens
//! while they are held: no system call, no waiting for room (see [`with_room`]).
//!
//! A command inside a transaction or a script finds its partitions held already. It cannot know: it asks [`Context`] for them, which
//! locks them or lends what is held. There, room is made in the held partitions themselves ([`LockedSet::make_room`]).

use crate::command::Context;
use crate::store::{Cause, Key, Partition, PartitionGuard, Remains, Store, WriteError};
use bytes::Bytes;
use smallvec::SmallVec;
use std::ops::{Deref, DerefMut};

/// The hashed keys of one command, without allocating for the usual few.
pub type Keys<'a> = SmallVec<[Key<'a>; 16]>;

/// Keys whose buckets and items are fetched into the cache together: about as many misses as a core keeps in flight, twice.
const BATCH: usize = 32;

/// How often a write asks for room before it gives up.
const ROOM_ATTEMPTS: usize = 8;

/// Locked partitions, in index order.
pub struct LockedSet<'s> {
    store: &'s Store,
    guards: SmallVec<[(usize, PartitionGuard<'s>); 8]>,
}

impl<'s> LockedSet<'s> {
    /// Locks the partitions of these keys, each once.
    pub fn of(store: &'s Store, keys: &[Key<'_>]) -> LockedSet<'s> {
        let mut wanted: SmallVec<[u64; 4]> = SmallVec::from_elem(0, store.partitions().div_ceil(64));
        for key in keys {
            let partition = store.partition_of(key.hash);
            wanted[partition / 64] |= 1 << (partition % 64);
        }
        let mut guards = SmallVec::new();
        for (word, mut bits) in wanted.into_iter().enumerate() {
            while bits != 0 {
                let partition = word * 64 + bits.trailing_zeros() as usize;
                guards.push((partition, store.lock(partition)));
                bits &= bits - 1;
            }
        }
        let mut locked = LockedSet { store, guards };
        locked.set_cause(Cause::default());
        locked
    }

    /// Locks all partitions.
    pub fn all(store: &'s Store) -> LockedSet<'s> {
        LockedSet { store, guards: (0..store.partitions()).map(|p| (p, store.lock(p))).collect() }
    }

    /// Makes room for `bytes` by eviction from the partitions that are held. What they give up is freed at once: a system call under their
    /// locks, for want of any other way.
    pub fn make_room(&mut self, bytes: usize) -> Result<(), WriteError> {
        let guards = &mut self.guards;
        self.store.make_room_by(bytes, usize::MAX, &mut |missing| {
            let mut order: SmallVec<[usize; 8]> = (0..guards.len()).collect();
            order.sort_by_key(|slot| std::cmp::Reverse(guards[*slot].1.held_bytes()));
            order.into_iter().any(|slot| guards[slot].1.shed_now(missing))
        })
    }

    /// The partition of this number, which is held.
    fn numbered(&mut self, partition: usize) -> &mut Partition {
        let slot = self.guards.iter().position(|(number, _)| *number == partition);
        &mut self.guards[slot.expect("a partition that the set was made for")].1
    }

    /// What the changes from here on are called, and whose they are.
    pub fn set_cause(&mut self, cause: Cause) {
        if self.store.journal().is_on() {
            self.iter_mut().for_each(|partition| partition.set_cause(cause));
        }
    }

    pub fn store(&self) -> &'s Store {
        self.store
    }

    /// The partition of a key that the set was made for.
    #[inline]
    pub fn partition(&mut self, key: &Key<'_>) -> &mut Partition {
        let slot = self.slot(key);
        &mut self.guards[slot].1
    }

    /// All of them, in index order.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Partition> {
        self.guards.iter_mut().map(|(_, guard)| &mut **guard)
    }

    /// Visits the keys in order, each with its partition, having fetched buckets and items ahead so that their cache misses overlap.
    pub fn for_each<'k>(&mut self, keys: &[Key<'k>], mut visit: impl FnMut(&mut Partition, &Key<'k>)) {
        for batch in keys.chunks(BATCH) {
            self.prefetch(batch);
            for key in batch {
                visit(self.partition(key), key);
            }
        }
    }

    /// Fetches the buckets of these keys, then their items.
    pub fn prefetch(&self, keys: &[Key<'_>]) {
        for key in keys {
            self.guards[self.slot(key)].1.prefetch_bucket(key.hash);
        }
        for key in keys {
            self.guards[self.slot(key)].1.prefetch_item(key.hash);
        }
    }

    #[inline]
    fn slot(&self, key: &Key<'_>) -> usize {
        let partition = self.store.partition_of(key.hash);
        if self.guards.len() == self.store.partitions() {
            return partition;
        }
        let found = self.guards.binary_search_by_key(&partition, |(p, _)| *p);
        found.unwrap_or_else(|_| panic!("the partition of a key that the set was not made for"))
    }
}

impl Drop for LockedSet<'_> {
    fn drop(&mut self) {
        // All are unlocked before anything is freed: that may be a system call.
        let _remains: SmallVec<[Remains; 2]> =
            self.guards.drain(..).filter_map(|(_, guard)| guard.unlock()).collect();
    }
}

/// The partitions that a command works on.
#[expect(clippy::large_enum_variant, reason = "it lives on the stack for one command")]
pub enum Locked<'h, 's> {
    /// Locked for it.
    Own(LockedSet<'s>),
    /// Held by the transaction or script that it is part of.
    Held(&'h mut LockedSet<'s>),
}

impl<'s> Deref for Locked<'_, 's> {
    type Target = LockedSet<'s>;
    fn deref(&self) -> &LockedSet<'s> {
        match self {
            Locked::Own(set) => set,
            Locked::Held(set) => set,
        }
    }
}

impl<'s> DerefMut for Locked<'_, 's> {
    fn deref_mut(&mut self) -> &mut LockedSet<'s> {
        match self {
            Locked::Own(set) => set,
            Locked::Held(set) => set,
        }
    }
}

/// One partition, likewise.
pub enum LockedOne<'h, 's> {
    Own(PartitionGuard<'s>),
    Held(&'h mut Partition),
}

impl Deref for LockedOne<'_, '_> {
    type Target = Partition;
    fn deref(&self) -> &Partition {
        match self {
            LockedOne::Own(guard) => guard,
            LockedOne::Held(partition) => partition,
        }
    }
}

impl DerefMut for LockedOne<'_, '_> {
    fn deref_mut(&mut self) -> &mut Partition {
        match self {
            LockedOne::Own(guard) => guard,
            LockedOne::Held(partition) => partition,
        }
    }
}

impl<'c> Context<'c> {
    /// The partitions of these keys.
    pub fn lock(&mut self, keys: &[Key<'_>]) -> Locked<'_, 'c> {
        match &mut self.held {
            Some(held) => Locked::Held(held),
            None => Locked::Own(LockedSet::of(self.store, keys)),
        }
    }

    /// All partitions.
    pub fn lock_all(&mut self) -> Locked<'_, 'c> {
        match &mut self.held {
            Some(held) => Locked::Held(held),
            None => Locked::Own(LockedSet::all(self.store)),
        }
    }

    /// One partition, for walks through all of them.
    pub fn lock_one(&mut self, partition: usize) -> LockedOne<'_, 'c> {
        match &mut self.held {
            Some(held) => LockedOne::Held(held.numbered(partition)),
            None => LockedOne::Own(self.store.lock(partition)),
        }
    }

    /// Holds partitions for a transaction or a script, until [`Context::free`].
    pub fn hold(&mut self, partitions: impl FnOnce(&Self) -> LockedSet<'c>) {
        self.host.partitions_held();
        self.held = Some(partitions(self));
    }

    /// Lets them go.
    pub fn free(&mut self) {
        self.held = None;
        self.host.partitions_free();
    }

    /// Makes room for `bytes`, wherever that is possible now.
    pub fn make_room(&mut self, bytes: usize) -> Result<(), WriteError> {
        match &mut self.held {
            Some(held) => held.make_room(bytes),
            None => self.store.make_room(bytes),
        }
    }

    /// A large value in memory of its own, for which room is made.
    pub fn large_value(&mut self, bytes: &[u8]) -> Result<Bytes, WriteError> {
        match &mut self.held {
            Some(held) => self.store.large_value_by(bytes, &mut |len| held.make_room(len)),
            None => self.store.large_value(bytes),
        }
    }
}

/// Hashes a command's keys, once.
pub fn keys<'a>(ctx: &Context<'_>, names: impl IntoIterator<Item = &'a &'a [u8]>) -> Keys<'a> {
    names.into_iter().map(|name| ctx.store.key(ctx.session.db, name)).collect()
}

/// Runs `attempt` with the partitions of `keys` locked. Where one has nothing left to evict, lets all go, makes room for `bytes` in the
/// others, and tries again: `attempt` must have undone what it did before it returns [`WriteError::NeedsRoom`].
pub fn with_room<T>(
    ctx: &mut Context<'_>,
    keys: &[Key<'_>],
    bytes: usize,
    mut attempt: impl FnMut(&mut LockedSet<'_>) -> Result<T, WriteError>,
) -> Result<T, WriteError> {
    for _ in 0..ROOM_ATTEMPTS {
        // In a statement of its own: the locks must be gone before room is made.
        let outcome = attempt(&mut ctx.lock(keys));
        match outcome {
            Err(WriteError::NeedsRoom) => ctx.make_room(bytes)?,
            done => return done,
        }
    }
    Err(WriteError::OutOfMemory)
}
