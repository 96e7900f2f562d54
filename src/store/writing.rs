//! Changing items: set, modify, expiry, remove.
//!
//! A change of the same shape happens where the item lies. Otherwise the new item is written behind the newest of its queue
//! and class, the index is pointed to it, and the old one is marked dead: in this order, so that an error on the way leaves
//! the old item as it was. Making room may evict or move any item, also the one being replaced, so it is looked up again.

use super::arena::Offset;
use super::events::Happening;
use super::item::{self, Draft, Header};
use super::log::{Queue, class_of};
use super::partition::{Found, Partition};
use super::{Expiry, Key, Value, WriteError};
use bytes::Bytes;

impl Partition {
    /// Writes an item, replacing what was there. On an error the old item is untouched (unless the attempt to make room
    /// evicted it). A time that has passed removes it.
    #[inline]
    pub fn set(
        &mut self,
        key: &Key,
        value: Value<'_>,
        expiry: Expiry,
        now_ms: u64,
    ) -> Result<(), WriteError> {
        match value {
            Value::Inline(bytes)
                if bytes.len() <= self.limits.large_threshold.min(self.limits.max_value_size) =>
            {
                self.set_inline(key, bytes, expiry, now_ms)
            }
            Value::Inline(bytes) if bytes.len() > self.limits.max_value_size => Err(WriteError::TooLarge),
            // A caller that did not ask for the threshold: correct, but it maps memory under the lock.
            Value::Inline(bytes) => {
                let copy = self.large_copy(bytes)?;
                self.set_large(key, copy, expiry, now_ms)
            }
            Value::Large(bytes) => self.set_large(key, bytes, expiry, now_ms),
        }
    }

    fn set_inline(&mut self, key: &Key, value: &[u8], expiry: Expiry, now_ms: u64) -> Result<(), WriteError> {
        let found = self.lookup(key, now_ms);
        let expire_at_ms = self.expiry_of(found, expiry);
        if expire_at_ms.is_some_and(|at| at <= now_ms) {
            if let Some(found) = found {
                self.note(self.cause.removed, key);
                self.erase(found, key.hash);
            }
            return Ok(());
        }
        let draft = self.draft(key, found, expire_at_ms, false, value.len());
        if let Some(found) = found
            && self.overwrite(found, &draft, now_ms)
        {
            let at = found.offset.at() + found.header.value_at();
            self.arena.bytes_mut(at, value.len()).copy_from_slice(value);
            self.note_write(key, false, expiry);
            return Ok(());
        }
        let (offset, header, found) = self.write(key, found, &draft, now_ms)?;
        self.arena.bytes_mut(offset.at() + header.value_at(), value.len()).copy_from_slice(value);
        self.link(key.hash, offset, header, found);
        self.note_write(key, found.is_none(), expiry);
        Ok(())
    }

    #[inline(never)]
    fn set_large(&mut self, key: &Key, value: Bytes, expiry: Expiry, now_ms: u64) -> Result<(), WriteError> {
        if value.len() > self.limits.max_value_size {
            return Err(WriteError::TooLarge);
        }
        let found = self.lookup(key, now_ms);
        let expire_at_ms = self.expiry_of(found, expiry);
        if expire_at_ms.is_some_and(|at| at <= now_ms) {
            if let Some(found) = found {
                self.note(self.cause.removed, key);
                self.erase(found, key.hash);
            }
            return Ok(());
        }
        let draft = self.draft(key, found, expire_at_ms, true, item::LARGE_REF);
        let (offset, header, found) = self.write(key, found, &draft, now_ms)?;
        let slot = self.large.insert(value);
        let at = offset.at() + header.value_at();
        self.arena.bytes_mut(at, item::LARGE_REF).copy_from_slice(&slot.to_le_bytes());
        self.link(key.hash, offset, header, found);
        self.note_write(key, found.is_none(), expiry);
        Ok(())
    }

    /// When the item that replaces a found one expires.
    #[inline]
    fn expiry_of(&self, found: Option<Found>, expiry: Expiry) -> Option<u64> {
        match expiry {
            Expiry::None => None,
            Expiry::At(at) => Some(at),
            Expiry::Keep => found.and_then(|f| f.header.expiry_ms(&self.arena, f.offset)),
        }
    }

    /// The item that replaces a found one.
    #[inline]
    fn draft<'k>(
        &self,
        key: &Key<'k>,
        found: Option<Found>,
        expire_at_ms: Option<u64>,
        large: bool,
        value_len: usize,
    ) -> Draft<'k> {
        let recency = found.map_or(0, |f| f.header.recency());
        Draft { key: key.bytes, db: self.physical(key.db), expire_at_ms, recency, large, value_len }
    }

    /// Turns a found item into the draft where it lies, all but its value, if it has the same shape: then nothing dies,
    /// and overwriting a key with a value of like size costs no log space.
    #[inline]
    fn overwrite(&mut self, found: Found, draft: &Draft, now_ms: u64) -> bool {
        let (old, new) = (found.header, draft.header());
        // Key and database are the same: with the same flags, the same fields lie at the same places.
        let same_shape = (old.flags() ^ new.flags()) & (item::TTL | item::LARGE) == 0
            && !new.has(item::LARGE)
            && old.size() == new.size();
        let segment = self.arena.segment_of(found.offset);
        if !same_shape || self.arena.is_pinned(segment) {
            return false;
        }
        if let Some(at) = draft.expire_at_ms {
            // What never expires is all of one class.
            if usize::from(self.log.segments[segment as usize].class) != class_of(Some(at), now_ms) {
                return false;
            }
            new.set_expiry_ms(&mut self.arena, found.offset, at);
            self.note_expiry(segment, at);
        }
        old.set_value_len(&mut self.arena, found.offset, draft.value_len);
        true
    }

    /// Allocates room for an item and writes all but its value. The item is not reachable until [`Partition::link`], which
    /// must follow. Returns the old item afresh, since making room may have moved or evicted it.
    pub(super) fn write(
        &mut self,
        key: &Key,
        found: Option<Found>,
        draft: &Draft,
        now_ms: u64,
    ) -> Result<(Offset, Header, Option<Found>), WriteError> {
        if key.bytes.len() > self.limits.max_key_len {
            return Err(WriteError::KeyTooLong);
        }
        if !self.index.reserve() {
            return Err(WriteError::OutOfMemory);
        }
        let queue = match found {
            Some(found) => self.log.segments[self.arena.segment_of(found.offset) as usize].queue,
            None => self.queue_of_new(key.hash),
        };
        let moves = self.moves;
        let class = class_of(draft.expire_at_ms, now_ms);
        let offset = self.allocate(queue, class, draft.header().size(), now_ms)?;
        let found = if moves == self.moves { found } else { self.lookup(key, now_ms) };
        let header = draft.write(&mut self.arena, offset);
        Ok((offset, header, found))
    }

    fn queue_of_new(&mut self, hash: u64) -> Queue {
        let remembered = self.policy.recall(hash);
        self.totals.ghost_hits += u64::from(remembered == Some(true));
        if remembered == Some(false) { Queue::Small } else { Queue::Main }
    }

    /// Makes a written item the one of its key.
    pub(super) fn link(&mut self, hash: u64, offset: Offset, header: Header, found: Option<Found>) {
        self.count_in(offset, header);
        if let Some(at) = header.expiry_ms(&self.arena, offset) {
            self.note_expiry(self.arena.segment_of(offset), at);
        }
        match found {
            Some(old) => {
                self.index.redirect(old.slot, offset);
                self.bury(old.offset, old.header);
            }
            None => {
                let (arena, hasher) = (&self.arena, &self.hasher);
                let prefetch = |offset: Offset| arena.prefetch(offset.at());
                self.index.insert(hash, offset, prefetch, |offset| Self::hash_of(arena, hasher, offset));
            }
        }
    }

    fn count_in(&mut self, offset: Offset, header: Header) {
        let bytes = self.bytes_of(offset, header);
        let counts = &mut self.counts[header.db(&self.arena, offset) as usize];
        counts.items += 1;
        counts.with_expiry += u64::from(header.has(item::TTL));
        counts.live_bytes += bytes;
    }

    fn bytes_of(&self, offset: Offset, header: Header) -> u64 {
        let mut bytes = header.size();
        if header.has(item::LARGE) {
            bytes += self.large.value(header.large_ref(&self.arena, offset)).len();
        }
        bytes as u64
    }

    /// Removes an item from the index and the log.
    pub(super) fn erase(&mut self, found: Found, hash: u64) {
        self.index.remove(found.slot, hash);
        self.bury(found.offset, found.header);
    }

    /// Marks an item dead that the index no longer points to.
    pub(super) fn bury(&mut self, offset: Offset, header: Header) {
        let bytes = self.bytes_of(offset, header);
        if !self.is_flushed(offset, header) {
            let counts = &mut self.counts[header.db(&self.arena, offset) as usize];
            counts.items -= 1;
            counts.with_expiry -= u64::from(header.has(item::TTL));
            counts.live_bytes -= bytes;
        }
        if header.has(item::LARGE) {
            let slot = header.large_ref(&self.arena, offset);
            self.graveyard.large.push(self.large.remove(slot));
        }
        // The recency bits may have changed since the header was read; in a dead item they mean nothing.
        header.set_dead(&mut self.arena, offset);
        self.moves += 1;
        let segment = self.arena.segment_of(offset);
        if self.log.bury(segment, header.size()) {
            self.release(segment);
        }
    }

    /// Edits a value in place or by rewriting it: resizes it to `new_len` (zero-extended or cut; a missing item starts
    /// empty), then calls `edit` on its bytes. The expiry stays. On an error nothing has changed and `edit` was not called.
    pub fn modify(
        &mut self,
        key: &Key,
        new_len: usize,
        now_ms: u64,
        edit: &mut dyn FnMut(&mut [u8]),
    ) -> Result<(), WriteError> {
        let is_new = self.journal.is_on() && self.lookup(key, now_ms).is_none();
        self.modify_item(key, new_len, now_ms, edit)?;
        self.note_write(key, is_new, Expiry::Keep);
        Ok(())
    }

    fn modify_item(
        &mut self,
        key: &Key,
        new_len: usize,
        now_ms: u64,
        edit: &mut dyn FnMut(&mut [u8]),
    ) -> Result<(), WriteError> {
        if new_len > self.limits.max_value_size {
            return Err(WriteError::TooLarge);
        }
        let found = self.lookup(key, now_ms);
        let large = new_len > self.limits.large_threshold;
        let expire_at_ms = self.expiry_of(found, Expiry::Keep);
        let value_len = if large { item::LARGE_REF } else { new_len };
        let draft = self.draft(key, found, expire_at_ms, large, value_len);
        if let Some(found) = found {
            if large && found.header.has(item::LARGE) {
                return self.modify_large(found, new_len, edit);
            }
            if self.overwrite(found, &draft, now_ms) {
                let old_len = found.header.value_len().min(new_len);
                let at = found.offset.at() + found.header.value_at();
                let value = self.arena.bytes_mut(at, new_len);
                value[old_len..].fill(0);
                edit(value);
                return Ok(());
            }
        }
        if large {
            return self.become_large(key, found, &draft, new_len, now_ms, edit);
        }
        let (offset, header, found) = self.write(key, found, &draft, now_ms)?;
        self.copy_old_value(offset, header, found);
        edit(self.arena.bytes_mut(offset.at() + header.value_at(), new_len));
        self.link(key.hash, offset, header, found);
        Ok(())
    }

    /// Fills a new inline value with the old one, cut or extended with zeroes.
    fn copy_old_value(&mut self, offset: Offset, header: Header, old: Option<Found>) {
        let at = offset.at() + header.value_at();
        let mut copied = 0;
        if let Some(old) = old {
            if old.header.has(item::LARGE) {
                let value = self.large.value(old.header.large_ref(&self.arena, old.offset));
                copied = value.len().min(header.value_len());
                self.arena.bytes_mut(at, copied).copy_from_slice(&value[..copied]);
            } else {
                copied = old.header.value_len().min(header.value_len());
                self.arena.copy(old.offset.at() + old.header.value_at(), at, copied);
            }
        }
        self.arena.bytes_mut(at + copied, header.value_len() - copied).fill(0);
    }

    /// Sets (`Some`, Unix milliseconds) or removes (`None`) the expiry of a live item. `Ok(false)` if there is no such item.
    /// A time that has passed removes the item.
    pub fn set_expiry(
        &mut self,
        key: &Key,
        expire_at_ms: Option<u64>,
        now_ms: u64,
    ) -> Result<bool, WriteError> {
        // To take away what is not there is no event.
        let named = expire_at_ms.is_some()
            || self.journal.is_on() && self.peek(key, now_ms).is_some_and(|e| e.expire_at_ms().is_some());
        let there = self.change_expiry(key, expire_at_ms, now_ms)?;
        if there && named {
            self.note(
                match expire_at_ms {
                    None => Happening::Persist,
                    Some(at) if at <= now_ms => self.cause.removed,
                    Some(_) => Happening::Expire,
                },
                key,
            );
        }
        Ok(there)
    }

    fn change_expiry(
        &mut self,
        key: &Key,
        expire_at_ms: Option<u64>,
        now_ms: u64,
    ) -> Result<bool, WriteError> {
        let Some(found) = self.lookup(key, now_ms) else { return Ok(false) };
        let Found { offset, header, .. } = found;
        if expire_at_ms.is_some_and(|at| at <= now_ms) {
            self.erase(found, key.hash);
            return Ok(true);
        }
        if expire_at_ms == header.expiry_ms(&self.arena, offset) {
            return Ok(true);
        }
        let segment = self.arena.segment_of(offset);
        let class = usize::from(self.log.segments[segment as usize].class);
        if let Some(at) = expire_at_ms
            && header.has(item::TTL)
            && class == class_of(expire_at_ms, now_ms)
            && !self.arena.is_pinned(segment)
        {
            header.set_expiry_ms(&mut self.arena, offset, at);
            self.note_expiry(segment, at);
            return Ok(true);
        }
        let draft = Draft {
            key: key.bytes,
            db: self.physical(key.db),
            expire_at_ms,
            recency: header.recency(),
            large: header.has(item::LARGE),
            value_len: header.value_len(),
        };
        let (offset, header, found) = self.write(key, Some(found), &draft, now_ms)?;
        // Making room may have evicted it: then the new place stays dead, and there is no such item.
        let Some(old) = found else {
            self.abandon(offset, header);
            return Ok(false);
        };
        let from = old.offset.at() + old.header.value_at();
        self.arena.copy(from, offset.at() + header.value_at(), header.value_len());
        if header.has(item::LARGE) {
            // The new item takes the value over; the old one must not free it.
            let slot = old.header.large_ref(&self.arena, old.offset);
            let bytes = self.large.bytes(slot);
            let copy = self.large.insert(bytes);
            self.arena
                .bytes_mut(offset.at() + header.value_at(), item::LARGE_REF)
                .copy_from_slice(&copy.to_le_bytes());
        }
        self.link(key.hash, offset, header, Some(old));
        Ok(true)
    }

    /// Kills a written item that was never linked.
    fn abandon(&mut self, offset: Offset, header: Header) {
        header.set_dead(&mut self.arena, offset);
        let segment = self.arena.segment_of(offset);
        if self.log.bury(segment, header.size()) {
            self.release(segment);
        }
    }

    /// Removes a live item; false if there was none.
    pub fn remove(&mut self, key: &Key, now_ms: u64) -> bool {
        let found = self.lookup(key, now_ms);
        let Some(found) = found else { return false };
        self.erase(found, key.hash);
        self.note(self.cause.removed, key);
        true
    }
}
