//! Connection slots with generations: a slab reuses a key at once, so every id also carries how often its slot was
//! used. A late completion or a stale handle names an old generation and finds nothing.

use super::ConnId;
use slab::Slab;

/// A table of `T`, indexed by [`ConnId`].
#[derive(Debug)]
pub(super) struct Slots<T> {
    live: Slab<(u32, T)>,
    /// The generation that each slot used last.
    generations: Vec<u32>,
}

impl<T> Slots<T> {
    pub fn new() -> Self {
        Self { live: Slab::new(), generations: Vec::new() }
    }

    pub fn insert(&mut self, value: T) -> ConnId {
        let entry = self.live.vacant_entry();
        let index = entry.key();
        if index == self.generations.len() {
            self.generations.push(0);
        }
        let generation = self.generations[index].wrapping_add(1);
        self.generations[index] = generation;
        entry.insert((generation, value));
        let slot =
            u32::try_from(index).expect("file descriptors are fewer than 2^32, and each slot holds one");
        ConnId { slot, generation }
    }

    pub fn get(&self, conn: ConnId) -> Option<&T> {
        self.live
            .get(conn.slot as usize)
            .filter(|(generation, _)| *generation == conn.generation)
            .map(|(_, t)| t)
    }

    pub fn get_mut(&mut self, conn: ConnId) -> Option<&mut T> {
        let entry = self.live.get_mut(conn.slot as usize)?;
        (entry.0 == conn.generation).then_some(&mut entry.1)
    }

    pub fn remove(&mut self, conn: ConnId) -> Option<T> {
        self.get(conn)?;
        Some(self.live.remove(conn.slot as usize).1)
    }

    pub fn len(&self) -> usize {
        self.live.len()
    }

    /// The ids of all live entries.
    pub fn ids(&self) -> Vec<ConnId> {
        self.live
            .iter()
            .map(|(slot, (generation, _))| ConnId { slot: slot as u32, generation: *generation })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reused_slot_has_a_new_generation_and_the_old_id_finds_nothing() {
        let mut slots = Slots::new();
        let first = slots.insert("first");
        assert_eq!(slots.remove(first), Some("first"));
        let second = slots.insert("second");
        assert_eq!(first.slot, second.slot);
        assert_ne!(first.generation, second.generation);
        assert!(
            slots.get(first).is_none() && slots.get_mut(first).is_none() && slots.remove(first).is_none()
        );
        assert_eq!(slots.get(second), Some(&"second"));
        assert_eq!((slots.len(), slots.ids()), (1, vec![second]));
    }
}
