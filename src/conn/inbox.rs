//! What a connection has sent and its worker has not consumed: the start of a request that is not whole yet,
//! or requests beyond the connection's share of a turn.
//!
//! Most requests are parsed where the kernel put them and never come here. An idle connection's inbox holds
//! next to no memory.
//!
//! ```text
//!   ┌──────────┬───────────────────┬─────────────┐
//!   │ consumed │ unread            │ room        │
//!   └──────────┴───────────────────┴─────────────┘
//! ```
//!
//! A large request arrives in a [`Buffer`] instead.

use crate::store::{self, Buffer, Store, WriteError};

/// An empty inbox keeps at most this much memory, bytes: enough for the half of a small request that a busy
/// connection leaves behind turn after turn.
const KEEP: usize = 1 << 10;

/// Up to here, bytes, room for an announced request is taken at once; beyond, never more than has arrived: an
/// announcement alone must not cost us memory.
const EAGER: usize = 64 << 10;

/// A request longer than this arrives in memory of its own, where its value can stay. It is beyond what is kept in segments.
const OWN_FROM: usize = store::LONGEST_INLINE;

#[derive(Debug, Default)]
pub struct Inbox {
    bytes: Vec<u8>,
    consumed: usize,
    /// A large request and what has come behind it; then nothing is in `bytes`.
    large: Option<Buffer>,
}

impl Inbox {
    /// Bytes that wait to be parsed.
    #[inline]
    pub fn unread(&self) -> &[u8] {
        match &self.large {
            None => &self.bytes[self.consumed..],
            Some(buffer) => buffer.bytes(),
        }
    }

    #[inline]
    pub fn len(&self) -> usize {
        self.unread().len()
    }

    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Memory held beside the buffer of a large request, bytes: for the memory account.
    #[inline]
    pub fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// Memory of a large request, bytes. It accounts for itself.
    #[inline]
    pub fn large_capacity(&self) -> usize {
        self.large.as_ref().map_or(0, Buffer::capacity)
    }

    /// What a large request lies in.
    #[inline]
    pub fn large(&self) -> Option<&Buffer> {
        self.large.as_ref()
    }

    /// Appends received bytes. `need` is the total length that the parser waits for (`Parsed::Incomplete`), 0
    /// if unknown: room grows towards exactly that. Errors: there is no memory for a large request.
    pub fn push(&mut self, received: &[u8], need: usize, store: &Store) -> Result<(), WriteError> {
        if need > OWN_FROM && self.large.is_none() {
            let mut buffer = Buffer::default();
            buffer.extend(self.unread(), need, store)?;
            *self = Inbox { large: Some(buffer), ..Inbox::default() };
        }
        if let Some(buffer) = &mut self.large {
            return buffer.extend(received, need, store);
        }
        let len = self.len() + received.len();
        let least = len.max(need.min(EAGER));
        if self.bytes.capacity() - self.consumed < least {
            self.grow(len, least, need);
        }
        self.bytes.extend_from_slice(received);
        Ok(())
    }

    /// Marks the first `count` unread bytes as done with. Memory is given back when nothing is left.
    pub fn consume(&mut self, count: usize) {
        assert!(count <= self.len(), "consumed more than was there");
        if let Some(mut buffer) = self.large.take() {
            if count == 0 && buffer.reclaim() {
                self.large = Some(buffer);
            } else {
                self.bytes.extend_from_slice(&buffer.bytes()[count..]);
            }
            return;
        }
        self.consumed += count;
        if self.consumed == self.bytes.len() {
            self.consumed = 0;
            self.bytes.clear();
            if self.bytes.capacity() > KEEP {
                self.bytes = Vec::new();
            }
        } else if self.bytes.capacity() > EAGER.max(4 * self.len()) {
            // A little of the next request came behind a large one, whose memory is not kept for it.
            self.bytes = self.unread().to_vec();
            self.consumed = 0;
        }
    }

    /// Makes room for `len` bytes in all, `least` of them at once, of the `need` that are announced.
    fn grow(&mut self, len: usize, least: usize, need: usize) {
        // What is unread moves to the front only when it is the smaller part: so a byte moves less than once
        // on average.
        if self.len() <= self.consumed {
            self.bytes.drain(..self.consumed);
            self.consumed = 0;
        }
        if need > len {
            let target = least.max(need.min(2 * len));
            self.bytes.reserve_exact(target - self.len());
        } else {
            self.bytes.reserve(least - self.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Budget, Eviction, StoreConfig};
    use proptest::prelude::*;
    use std::sync::Arc;

    fn store() -> Store {
        let eviction = Eviction::None;
        let config = StoreConfig {
            partitions: 1,
            eviction,
            max_value_size: 8 << 20,
            prefault: false,
            seeds: [1, 2, 3, 4],
        };
        Store::new(config, Arc::new(Budget::new(64 << 20))).unwrap()
    }

    #[test]
    fn an_announced_length_is_reserved_once() {
        let (mut inbox, store) = (Inbox::default(), store());
        inbox.push(&[b'x'; 10], 40_000, &store).unwrap();
        assert_eq!(inbox.capacity(), 40_000);
        for _ in 0..39 {
            inbox.push(&[b'x'; 1_000], 40_000, &store).unwrap();
        }
        assert_eq!((inbox.capacity(), inbox.len()), (40_000, 39_010));
    }

    #[test]
    fn an_announcement_alone_takes_little() {
        let (mut inbox, store) = (Inbox::default(), store());
        inbox.push(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$536870912\r\n", 536_870_946, &store).unwrap();
        assert_eq!((inbox.capacity(), inbox.large_capacity()), (0, EAGER));
        let mut arrived = inbox.len();
        while arrived < 10 << 20 {
            inbox.push(&[b'v'; 16 << 10], 536_870_946, &store).unwrap();
            arrived += 16 << 10;
            assert!(inbox.capacity() + inbox.large_capacity() <= 2 * arrived.max(EAGER) + 4096);
        }
    }

    #[test]
    fn memory_comes_back_when_all_is_consumed() {
        let (mut inbox, store) = (Inbox::default(), store());
        inbox.push(&[b'x'; 100_000], 0, &store).unwrap();
        inbox.consume(70_000);
        assert!(inbox.capacity() >= 100_000);
        inbox.consume(29_900);
        assert_eq!((inbox.capacity(), inbox.len()), (100, 100));
        inbox.push(&[b'x'; 10_000], 0, &store).unwrap();
        inbox.consume(10_100);
        assert_eq!((inbox.capacity(), inbox.is_empty()), (0, true));
        inbox.push(b"small", 0, &store).unwrap();
        inbox.consume(5);
        assert!(inbox.capacity() <= KEEP);
    }

    #[test]
    fn a_large_request_leaves_only_what_came_behind_it() {
        let (mut inbox, store) = (Inbox::default(), store());
        inbox.push(&[b'x'; 60_000], 300_000, &store).unwrap();
        inbox.push(&[b'y'; 250_000], 300_000, &store).unwrap();
        let value = store.large_value_in(&inbox.unread()[..290_000], inbox.large()).unwrap();
        inbox.consume(300_000);
        assert_eq!((inbox.unread(), inbox.large_capacity()), (&[b'y'; 10_000][..], 0));
        assert_eq!((value.len(), value[59_999], value[60_000]), (290_000, b'x', b'y'));
        inbox.consume(0);
        assert_eq!(inbox.len(), 10_000);
    }

    #[test]
    fn a_pipeline_that_is_consumed_as_it_comes_does_not_grow() {
        let (mut inbox, store) = (Inbox::default(), store());
        inbox.push(&[b'x'; 1_000], 0, &store).unwrap();
        for _ in 0..10_000 {
            inbox.push(&[b'x'; 1_000], 0, &store).unwrap();
            inbox.consume(1_000);
        }
        assert!(inbox.capacity() <= 8_000, "{}", inbox.capacity());
    }

    #[derive(Clone, Debug)]
    enum Step {
        Push(Vec<u8>, usize),
        Consume(prop::sample::Index),
    }

    proptest! {
        #[test]
        fn what_goes_in_comes_out_in_order(steps in prop::collection::vec(prop_oneof![
            (prop::collection::vec(any::<u8>(), 0..200), prop_oneof![0..5000usize, Just(200_000)]).prop_map(|(bytes, need)| Step::Push(bytes, need)),
            any::<prop::sample::Index>().prop_map(Step::Consume),
        ], 0..60)) {
            let (mut inbox, mut model, store) = (Inbox::default(), Vec::new(), store());
            for step in steps {
                match step {
                    Step::Push(bytes, need) => {
                        inbox.push(&bytes, need, &store).unwrap();
                        model.extend_from_slice(&bytes);
                    }
                    Step::Consume(share) => {
                        let count = share.index(model.len() + 1);
                        inbox.consume(count);
                        model.drain(..count);
                    }
                }
                prop_assert_eq!(inbox.unread(), &model[..]);
            }
        }
    }
}
