//! Changing items: set, modify, expiry, remove.
//!
//! A change of the same shape happens where the item lies. Otherwise the new item is written behind the newest of its queue
//! and class, the index is pointed to it, and the old one is marked dead: in this order, so that an error on the way leaves
//! the old item as it was. Making room may evict or move any item, also the one being replaced, so it is looked up again.

use super::arena::Offset;
use super::events::Happening;
use super::fields::{Extra, seconds};
use super::item::{self, Draft, Fields, Header};
use super::log::{Queue, class_of};
use super::partition::{Found, Partition};
use super::{Expiry, Key, Value, WriteError};
use bytes::Bytes;

/// The optional fields that a write asks for.
#[derive(Clone, Copy)]
struct Wanted<'a> {
    expiry: Expiry,
    extra: Option<&'a Extra>,
}

impl Partition {
    /// Writes an item, replacing what was there. On an error the old item is untouched (unless the attempt to make room
    /// evicted it). A time that has passed removes it. Client flags and META (fields.rs) are gone then.
    #[inline]
    pub fn set(
        &mut self,
        key: &Key,
        value: Value<'_>,
        expiry: Expiry,
        now_ms: u64,
    ) -> Result<(), WriteError> {
        self.set_with(key, value, Wanted { expiry, extra: None }, now_ms)
    }

    /// As [`Partition::set`], with client flags and META.
    pub fn set_item(
        &mut self,
        key: &Key,
        value: Value<'_>,
        expiry: Expiry,
        extra: &Extra,
        now_ms: u64,
    ) -> Result<(), WriteError> {
        self.set_with(key, value, Wanted { expiry, extra: Some(extra) }, now_ms)
    }

    #[inline(always)]
    fn set_with(
        &mut self,
        key: &Key,
        value: Value<'_>,
        wanted: Wanted<'_>,
        now_ms: u64,
    ) -> Result<(), WriteError> {
        match value {
            Value::Inline(bytes)
                if bytes.len() <= self.limits.large_threshold.min(self.limits.max_value_size) =>
            {
                self.set_inline(key, bytes, wanted, now_ms)
            }
            Value::Inline(bytes) if bytes.len() > self.limits.max_value_size => Err(WriteError::TooLarge),
            // A caller that did not ask for the threshold: correct, but it maps memory under the lock.
            Value::Inline(bytes) => {
                let copy = self.large_copy(bytes)?;
                self.set_large(key, copy, wanted, now_ms)
            }
            Value::Large(bytes) => self.set_large(key, bytes, wanted, now_ms),
        }
    }

    /// Inlined, with [`Partition::overwrite`], into those who write with client flags and META and those who write without: the latter, a
    /// plain SET, then does not look for what it has not got.
    #[inline(always)]
    fn set_inline(
        &mut self,
        key: &Key,
        value: &[u8],
        wanted: Wanted<'_>,
        now_ms: u64,
    ) -> Result<(), WriteError> {
        let found = self.lookup(key, now_ms);
        let told = self.told_of(found, wanted.extra);
        let expire_at_ms = self.expiry_of(found, wanted.expiry);
        if expire_at_ms.is_some_and(|at| at <= now_ms) {
            if let Some(found) = found {
                self.note(self.cause.removed, key);
                self.erase(found, key.hash);
            }
            return Ok(());
        }
        let fields = Fields { expire_at_ms, extra: wanted.extra };
        let draft = self.draft(key, found, fields, false, value.len());
        if let Some(found) = found
            && self.overwrite(found, &draft, now_ms)
        {
            let at = found.offset.at() + found.header.value_at();
            self.arena.bytes_mut(at, value.len()).copy_from_slice(value);
            self.note_write(key, told, wanted.expiry);
            return Ok(());
        }
        let (offset, header, found) = self.write(key, found, &draft, now_ms)?;
        self.arena.bytes_mut(offset.at() + header.value_at(), value.len()).copy_from_slice(value);
        self.link(key.hash, offset, header, found);
        self.note_write(key, told, wanted.expiry);
        Ok(())
    }

    #[inline(never)]
    fn set_large(
        &mut self,
        key: &Key,
        value: Bytes,
        wanted: Wanted<'_>,
        now_ms: u64,
    ) -> Result<(), WriteError> {
        if value.len() > self.limits.max_value_size {
            return Err(WriteError::TooLarge);
        }
        let found = self.lookup(key, now_ms);
        let told = self.told_of(found, wanted.extra);
        let expire_at_ms = self.expiry_of(found, wanted.expiry);
        if expire_at_ms.is_some_and(|at| at <= now_ms) {
            if let Some(found) = found {
                self.note(self.cause.removed, key);
                self.erase(found, key.hash);
            }
            return Ok(());
        }
        let fields = Fields { expire_at_ms, extra: wanted.extra };
        let draft = self.draft(key, found, fields, true, item::LARGE_REF);
        let (offset, header, found) = self.write(key, found, &draft, now_ms)?;
        let slot = self.large.insert(value);
        let at = offset.at() + header.value_at();
        self.arena.bytes_mut(at, item::LARGE_REF).copy_from_slice(&slot.to_le_bytes());
        self.link(key.hash, offset, header, found);
        self.note_write(key, told, wanted.expiry);
        Ok(())
    }

    /// When the item that replaces a found one expires.
    #[inline]
    fn expiry_of(&self, found: Option<Found>, expiry: Expiry) -> Option<u64> {
        match expiry {
            Expiry::None => None,
            Expiry::At(at) => Some(at),
            Expiry::Keep => {
                let kept = found.filter(|f| !f.header.is_placeholder(&self.arena, f.offset));
                kept.and_then(|f| f.header.expiry_ms(&self.arena, f.offset))
            }
        }
    }

    /// The item that replaces a found one.
    #[inline(always)]
    fn draft<'k>(
        &self,
        key: &Key<'k>,
        found: Option<Found>,
        fields: Fields<'k>,
        large: bool,
        value_len: usize,
    ) -> Draft<'k> {
        let recency = found.map_or(0, |f| f.header.recency());
        Draft { key: key.bytes, db: self.physical(key.db), fields, recency, large, value_len }
    }

    /// Turns a found item into the draft where it lies, all but its value, if it has the same shape: then nothing dies,
    /// and overwriting a key with a value of like size costs no log space.
    #[inline(always)]
    fn overwrite(&mut self, found: Found, draft: &Draft, now_ms: u64) -> bool {
        let (old, new) = (found.header, draft.header());
        // Key and database are the same: with the same flags, the same fields lie at the same places.
        let same_shape = (old.flags() ^ new.flags()) & item::SHAPE == 0
            && !new.has(item::LARGE)
            && old.size() == new.size();
        let segment = self.arena.segment_of(found.offset);
        if !same_shape || self.arena.is_pinned(segment) {
            return false;
        }
        if let Some(at) = draft.fields.expire_at_ms {
            // What never expires is all of one class.
            if usize::from(self.log.segments[segment as usize].class) != class_of(Some(at), now_ms) {
                return false;
            }
            new.set_expiry_ms(&mut self.arena, found.offset, at);
            self.note_expiry(segment, at);
        }
        if let Some(extra) = draft.fields.extra {
            self.wake_waiters(found.offset, old);
            self.change_extra(found.offset, new, extra);
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
        let class = class_of(draft.fields.expire_at_ms, now_ms);
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
        let real = u64::from(!header.is_placeholder(&self.arena, offset));
        let counts = &mut self.counts[header.db(&self.arena, offset) as usize];
        counts.items += real;
        counts.with_expiry += real & u64::from(header.has(item::TTL));
        counts.live_bytes += bytes;
    }

    /// Gives a live item of the same shape other client flags and another META, where it lies.
    fn change_extra(&mut self, offset: Offset, header: Header, extra: &Extra) {
        let was_none = header.is_placeholder(&self.arena, offset);
        header.set_extra(&mut self.arena, offset, extra);
        if was_none && !header.is_placeholder(&self.arena, offset) {
            let counts = &mut self.counts[header.db(&self.arena, offset) as usize];
            counts.items += 1;
            counts.with_expiry += u64::from(header.has(item::TTL));
        }
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

    /// Notes that an item is about to change, if somebody waits for that.
    pub(super) fn wake_waiters(&self, offset: Offset, header: Header) {
        if header.meta(&self.arena, offset).is_some_and(|meta| meta.state.waited) {
            self.wakes.note(Self::hash_of(&self.arena, &self.hasher, offset));
        }
    }

    /// Marks an item dead that the index no longer points to.
    pub(super) fn bury(&mut self, offset: Offset, header: Header) {
        let bytes = self.bytes_of(offset, header);
        if !self.is_flushed(offset, header) {
            let real = u64::from(!header.is_placeholder(&self.arena, offset));
            let counts = &mut self.counts[header.db(&self.arena, offset) as usize];
            counts.items -= real;
            counts.with_expiry -= real & u64::from(header.has(item::TTL));
            counts.live_bytes -= bytes;
        }
        if header.has(item::LARGE) {
            let slot = header.large_ref(&self.arena, offset);
            self.graveyard.large.push(self.large.remove(slot));
        }
        if header.has(item::META) {
            self.wake_waiters(offset, header);
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
    /// empty), then calls `edit` on its bytes. Expiry and client flags stay; a CAS changes. On an error nothing has changed and `edit`
    /// was not called. `NeedsRoom` also means that the item itself was evicted to make room: what the caller knew of it is over.
    pub fn modify(
        &mut self,
        key: &Key,
        new_len: usize,
        now_ms: u64,
        edit: &mut dyn FnMut(&mut [u8]),
    ) -> Result<(), WriteError> {
        let found = self.lookup(key, now_ms);
        let expire_at_ms = self.expiry_of(found, Expiry::Keep);
        let extra = found.and_then(|found| self.changed_extra(found));
        let fields = Fields { expire_at_ms, extra: extra.as_ref() };
        let told = self.told_of(found, None);
        self.edit(key, found, fields, new_len, now_ms, edit)?;
        self.note_write(key, told, Expiry::Keep);
        Ok(())
    }

    /// As [`Partition::modify`], with this expiry, these client flags and this META. A time that has passed is for the caller to see.
    pub fn modify_item(
        &mut self,
        key: &Key,
        new_len: usize,
        (expiry, extra): (Expiry, &Extra),
        now_ms: u64,
        edit: &mut dyn FnMut(&mut [u8]),
    ) -> Result<(), WriteError> {
        let found = self.lookup(key, now_ms);
        let fields = Fields { expire_at_ms: self.expiry_of(found, expiry), extra: Some(extra) };
        let told = self.told_of(found, Some(extra));
        self.edit(key, found, fields, new_len, now_ms, edit)?;
        self.note_write(key, told, Expiry::Keep);
        Ok(())
    }

    fn edit(
        &mut self,
        key: &Key,
        found: Option<Found>,
        fields: Fields<'_>,
        new_len: usize,
        now_ms: u64,
        edit: &mut dyn FnMut(&mut [u8]),
    ) -> Result<(), WriteError> {
        if new_len > self.limits.max_value_size {
            return Err(WriteError::TooLarge);
        }
        let large = new_len > self.limits.large_threshold;
        let value_len = if large { item::LARGE_REF } else { new_len };
        let draft = self.draft(key, found, fields, large, value_len);
        if let Some(found) = found {
            if large && self.has_fields(found, &draft) {
                self.modify_large(found, new_len, edit)?;
                if let Some(extra) = fields.extra {
                    self.wake_waiters(found.offset, found.header);
                    self.change_extra(found.offset, found.header, extra);
                }
                return Ok(());
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
        let (offset, header, found) = self.write_over(key, found, &draft, now_ms)?;
        self.copy_old_value(offset, header, found);
        edit(self.arena.bytes_mut(offset.at() + header.value_at(), new_len));
        self.link(key.hash, offset, header, found);
        Ok(())
    }

    /// As `write`, for what depends on the old item: if that is evicted on the way, nothing is written.
    pub(super) fn write_over(
        &mut self,
        key: &Key,
        found: Option<Found>,
        draft: &Draft,
        now_ms: u64,
    ) -> Result<(Offset, Header, Option<Found>), WriteError> {
        let existed = found.is_some();
        let (offset, header, found) = self.write(key, found, draft, now_ms)?;
        if existed && found.is_none() {
            self.abandon(offset, header);
            self.room_wanted = header.size();
            return Err(WriteError::NeedsRoom);
        }
        Ok((offset, header, found))
    }

    /// Whether a found item has the draft's shape, and its expiry.
    fn has_fields(&self, found: Found, draft: &Draft) -> bool {
        (found.header.flags() ^ draft.header().flags()) & item::SHAPE == 0
            && found.header.expiry_ms(&self.arena, found.offset) == draft.fields.expire_at_ms
    }

    /// What a change leaves of an item's client flags and META: `None` where it has neither, or is a placeholder, which is nothing to those
    /// who change without knowing of leases.
    #[inline]
    fn changed_extra(&mut self, found: Found) -> Option<Extra> {
        if found.header.flags() & (item::FLAGS | item::META) == 0 {
            return None;
        }
        let mut extra = found.header.extra(&self.arena, found.offset);
        if let Some(meta) = &mut extra.meta {
            if meta.state.placeholder {
                return None;
            }
            meta.cas = self.next_cas();
        }
        Some(extra)
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

    /// Sets (`Some`, Unix milliseconds) or removes (`None`) the expiry of a live item; a CAS changes. `Ok(false)` if there is no such
    /// item. A time that has passed removes the item.
    pub fn set_expiry(
        &mut self,
        key: &Key,
        expire_at_ms: Option<u64>,
        now_ms: u64,
    ) -> Result<bool, WriteError> {
        // To take away what is not there is no event.
        let named = expire_at_ms.is_some()
            || self.journal.is_on() && self.peek(key, now_ms).is_some_and(|e| e.expire_at_ms().is_some());
        let there = self.expire_item(key, expire_at_ms, now_ms)?;
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

    fn expire_item(&mut self, key: &Key, expire_at_ms: Option<u64>, now_ms: u64) -> Result<bool, WriteError> {
        let Some(found) = self.lookup(key, now_ms) else { return Ok(false) };
        if found.header.is_placeholder(&self.arena, found.offset) {
            return Ok(false);
        }
        if expire_at_ms.is_some_and(|at| at <= now_ms) {
            self.erase(found, key.hash);
            return Ok(true);
        }
        let extra = self.changed_extra(found);
        self.refit(key, found, Fields { expire_at_ms, extra: extra.as_ref() }, now_ms)
    }

    /// Gives a live item, placeholder or not, this expiry, these client flags and this META; its value stays. `Ok(false)` if there is no
    /// such item. A time that has passed removes it.
    pub fn refit_item(
        &mut self,
        key: &Key,
        expire_at_ms: Option<u64>,
        extra: &Extra,
        now_ms: u64,
    ) -> Result<bool, WriteError> {
        let Some(found) = self.lookup(key, now_ms) else { return Ok(false) };
        if expire_at_ms.is_some_and(|at| at <= now_ms) {
            self.erase(found, key.hash);
            self.note(self.cause.removed, key);
            return Ok(true);
        }
        // Where nobody has the right to fill it any more, somebody who waits may have it.
        if extra.meta.is_some_and(|meta| meta.state.waited && !meta.state.won) {
            self.wake_waiters(found.offset, found.header);
        }
        self.refit(key, found, Fields { expire_at_ms, extra: Some(extra) }, now_ms)
    }

    /// In place where the shape stays; otherwise the item is written again.
    fn refit(
        &mut self,
        key: &Key,
        found: Found,
        fields: Fields<'_>,
        now_ms: u64,
    ) -> Result<bool, WriteError> {
        let Found { offset, header, .. } = found;
        let draft = self.draft(key, Some(found), fields, header.has(item::LARGE), header.value_len());
        if (header.flags() ^ draft.header().flags()) & item::SHAPE == 0
            && self.change_expiry(found, fields.expire_at_ms, now_ms)
        {
            if let Some(extra) = fields.extra {
                self.change_extra(offset, header, extra);
            }
            return Ok(true);
        }
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

    /// Changes the expiry of an item that has one where it lies, if its class allows it and no pin forbids it; true also if there is
    /// nothing to change.
    fn change_expiry(&mut self, found: Found, expire_at_ms: Option<u64>, now_ms: u64) -> bool {
        let Found { offset, header, .. } = found;
        if expire_at_ms == header.expiry_ms(&self.arena, offset) {
            return true;
        }
        let segment = self.arena.segment_of(offset);
        let class = usize::from(self.log.segments[segment as usize].class);
        let Some(at) = expire_at_ms else { return false };
        if class != class_of(expire_at_ms, now_ms) || self.arena.is_pinned(segment) {
            return false;
        }
        header.set_expiry_ms(&mut self.arena, offset, at);
        self.note_expiry(segment, at);
        true
    }

    /// Kills a written item that was never linked.
    fn abandon(&mut self, offset: Offset, header: Header) {
        header.set_dead(&mut self.arena, offset);
        let segment = self.arena.segment_of(offset);
        if self.log.bury(segment, header.size()) {
            self.release(segment);
        }
    }

    /// Removes a live item; false if there was none. A placeholder goes too, but was none.
    pub fn remove(&mut self, key: &Key, now_ms: u64) -> bool {
        let Some(found) = self.lookup(key, now_ms) else { return false };
        let real = !found.header.is_placeholder(&self.arena, found.offset);
        self.erase(found, key.hash);
        if real {
            self.note(self.cause.removed, key);
        }
        real
    }

    /// A CAS that no item of this partition has had.
    pub fn next_cas(&mut self) -> u64 {
        self.last_cas += 1;
        self.last_cas
    }

    /// The CAS of a live item, which changes with every change of it; an item that has none gets one. `None`: there is no such item.
    /// Errors as those of any write: giving it one may take room. For optimistic locking: see also [`Partition::known_version`].
    pub fn version(&mut self, key: &Key, now_ms: u64) -> Result<Option<u64>, WriteError> {
        let Some(entry) = self.peek(key, now_ms) else { return Ok(None) };
        let mut extra = entry.extra();
        if let Some(meta) = extra.meta {
            return Ok(Some(meta.cas));
        }
        let expire_at_ms = entry.expire_at_ms();
        let mut meta = entry.account();
        meta.cas = self.next_cas();
        extra.meta = Some(meta);
        Ok(self.refit_item(key, expire_at_ms, &extra, now_ms)?.then_some(meta.cas))
    }

    /// The CAS of a live item, 0 if it has none: then it has been written since anybody asked. `None`: there is no such item.
    pub fn known_version(&mut self, key: &Key, now_ms: u64) -> Option<u64> {
        self.peek(key, now_ms).map(|entry| entry.extra().meta.map_or(0, |meta| meta.cas))
    }

    /// Finds what [`Partition::read`] does not let through, or notes a use where an account is kept.
    #[inline(never)]
    pub(super) fn note_read(&mut self, found: Found, now_ms: u64, use_: bool) -> bool {
        let Found { offset, header, .. } = found;
        let mut extra = header.extra(&self.arena, offset);
        let Some(meta) = &mut extra.meta else { return true };
        if meta.state.placeholder {
            return false;
        }
        if use_ {
            meta.state.fetched = true;
            meta.access_s = seconds(now_ms);
            header.set_extra(&mut self.arena, offset, &extra);
        }
        true
    }
}
