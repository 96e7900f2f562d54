//! The memory that one large request arrives in, and that its value stays in.
//!
//! ```text
//!   ┌──────────────────────────┬─────────────────────────────────┬──────┬──────┐
//!   │ SET, key, value's length │ value                           │ \r\n │ room │
//!   └──────────────────────────┴─────────────────────────────────┴──────┴──────┘
//!                               └── what is stored: a view of the buffer's memory
//! ```
//!
//! It is counted in `Budget::connections` while the request arrives, in `Budget::large` from when its value is taken. It grows with what
//! has arrived; only a spare, which is resident already, is taken whole.

use super::large::{LargeMemory, View};
use super::{Store, WriteError};
use bytes::Bytes;
use std::sync::Arc;

/// A value stays where it arrived when at most this fraction of the memory is something else.
const WASTE: usize = 8;
/// The least memory of a buffer, bytes.
const LEAST: usize = 64 << 10;
/// Growth of up to so many bytes is granted even where the store can make no room: the request's error should reach its client.
const GRANTED: usize = 256 << 10;

/// Received bytes of one connection in memory of their own.
#[derive(Default)]
pub struct Buffer {
    memory: Option<Arc<LargeMemory>>,
    len: usize,
}

impl std::fmt::Debug for Buffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Buffer").field("len", &self.len).field("capacity", &self.capacity()).finish()
    }
}

impl Buffer {
    pub fn bytes(&self) -> &[u8] {
        self.memory.as_ref().map_or(&[], |memory| &memory.bytes()[..self.len])
    }

    /// Memory held, bytes; the budget knows of it already.
    pub fn capacity(&self) -> usize {
        self.memory.as_ref().map_or(0, |memory| memory.bytes().len())
    }

    /// Appends bytes of a request that takes `need` in all (0: unknown). Errors: the store could not make room, or the kernel refuses.
    /// Call without holding any partition, and while no value is taken.
    pub fn extend(&mut self, bytes: &[u8], need: usize, store: &Store) -> Result<(), WriteError> {
        if bytes.is_empty() {
            return Ok(());
        }
        let arrived = self.len + bytes.len();
        if arrived > self.capacity() {
            self.grow(arrived, need, store)?;
        }
        let memory = self.memory.as_mut().and_then(Arc::get_mut).ok_or(WriteError::OutOfMemory)?;
        memory.bytes_mut()[self.len..arrived].copy_from_slice(bytes);
        self.len = arrived;
        Ok(())
    }

    fn grow(&mut self, arrived: usize, need: usize, store: &Store) -> Result<(), WriteError> {
        let wanted = need.max(arrived);
        let target = if need >= arrived { need.min(2 * arrived) } else { 2 * arrived }.max(LEAST);
        let growth = target - self.capacity();
        let mut granted = false;
        loop {
            if let Some(mut memory) = LargeMemory::spare(wanted, store.budget()) {
                memory.bytes_mut()[..self.len].copy_from_slice(self.bytes());
                memory.lend();
                self.memory = Some(Arc::new(memory));
                return Ok(());
            }
            match self.grow_to(target, granted, store) {
                Err(WriteError::NeedsRoom) => {}
                result => return result,
            }
            match store.make_room_or_spare(growth, wanted) {
                Err(_) if growth <= GRANTED => granted = true,
                result => result?,
            }
        }
    }

    fn grow_to(&mut self, target: usize, granted: bool, store: &Store) -> Result<(), WriteError> {
        if let Some(memory) = &mut self.memory {
            return Arc::get_mut(memory).ok_or(WriteError::OutOfMemory)?.grow(target, granted);
        }
        self.memory = Some(Arc::new(LargeMemory::lent(target, granted, store.budget())?));
        Ok(())
    }

    /// The value as a view of this memory, if it lies here and is most of it. While it lives nothing can be appended.
    pub(super) fn take_value(&self, value: &[u8]) -> Option<Bytes> {
        let memory = self.memory.as_ref()?;
        let start = (value.as_ptr() as usize).checked_sub(self.bytes().as_ptr() as usize)?;
        let is_here = start < self.len && value.len() <= self.len - start;
        if !is_here || value.len() < self.capacity() - self.capacity() / WASTE {
            return None;
        }
        memory.keep();
        Some(Bytes::from_owner(View { memory: memory.clone(), start, len: value.len() }))
    }

    /// Takes the memory back if no value of it was stored. False if one was.
    pub fn reclaim(&mut self) -> bool {
        match self.memory.as_mut().map(Arc::get_mut) {
            Some(None) => false,
            Some(Some(memory)) => {
                memory.lend();
                true
            }
            None => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Budget, Eviction, StoreConfig};
    use std::sync::atomic::Ordering::Relaxed;

    fn store(limit: usize) -> Store {
        let config = StoreConfig {
            partitions: 1,
            eviction: Eviction::None,
            max_value_size: 8 << 20,
            prefault: false,
            seeds: [1, 2, 3, 4],
        };
        Store::new(config, Arc::new(Budget::new(limit))).unwrap()
    }

    fn counted(store: &Store) -> (usize, usize) {
        (store.budget().connections.load(Relaxed), store.budget().large.load(Relaxed))
    }

    #[test]
    fn the_value_stays_where_it_arrived() {
        let store = store(256 << 20);
        let request = vec![b'v'; 300_000];
        let mut buffer = Buffer::default();
        for chunk in request.chunks(60_000) {
            buffer.extend(chunk, 300_000, &store).unwrap();
        }
        let capacity = 300_000_usize.next_multiple_of(4096);
        assert_eq!((buffer.capacity(), counted(&store)), (capacity, (capacity, 0)));
        let value = store.large_value_in(&buffer.bytes()[40..299_998], Some(&buffer)).unwrap();
        assert_eq!(counted(&store), (0, capacity), "counted once, as what it is now");
        assert!(!buffer.reclaim() && buffer.extend(b"x", 0, &store).is_err(), "pinned");
        drop(buffer);
        assert_eq!(value, request[40..299_998]);
        drop(value);
        assert_eq!(counted(&store), (0, capacity), "a spare");
        let mut next = Buffer::default();
        next.extend(b"start", 299_000, &store).unwrap();
        assert_eq!((next.bytes(), next.capacity()), (&b"start"[..], capacity));
        assert_eq!(counted(&store), (capacity, 0), "taken whole at once");
    }

    #[test]
    fn a_value_that_is_not_stored_leaves_the_memory_to_its_connection() {
        let store = store(64 << 20);
        let mut buffer = Buffer::default();
        buffer.extend(&[b'v'; 200_000], 200_000, &store).unwrap();
        let capacity = buffer.capacity();
        drop(store.large_value_in(buffer.bytes(), Some(&buffer)).unwrap());
        assert!(buffer.reclaim());
        assert_eq!(counted(&store), (capacity, 0));
        let small = store.large_value_in(&buffer.bytes()[..100_000], Some(&buffer)).unwrap();
        assert!(buffer.reclaim(), "a small part is copied");
        assert_eq!((small.len(), counted(&store)), (100_000, (capacity, 102_400)));
    }

    #[test]
    fn an_announcement_alone_takes_little() {
        let store = store(64 << 20);
        let mut buffer = Buffer::default();
        buffer.extend(b"SET", 8 << 20, &store).unwrap();
        assert_eq!(buffer.capacity(), LEAST);
        let mut arrived = 3;
        while arrived < 4 << 20 {
            buffer.extend(&[b'v'; 10_000], 8 << 20, &store).unwrap();
            arrived += 10_000;
            assert!(buffer.capacity() <= (2 * arrived + 4096).max(LEAST));
        }
        assert!(buffer.bytes()[3..].iter().all(|b| *b == b'v'));
    }

    #[test]
    fn without_room_only_a_little_is_granted() {
        let store = store(16 << 20);
        store.budget().fixed.store(16 << 20, Relaxed);
        let mut buffer = Buffer::default();
        buffer.extend(&[b'v'; 100_000], 8 << 20, &store).unwrap();
        assert!(buffer.extend(&vec![b'v'; 400_000], 8 << 20, &store).is_err());
        assert_eq!(buffer.bytes().len(), 100_000);
    }
}
