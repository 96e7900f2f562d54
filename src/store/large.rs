//! Large values: each in memory of its own, so that its bytes go back to the kernel with the last reader.
//!
//! They are counted in `Budget::large` from the moment the memory exists until the last pin is dropped, whoever holds it; or in
//! `Budget::connections` as long as it is lent to a connection whose request is still arriving (buffer.rs).
//! The partition's item holds an index into its [`LargeTable`].

use super::arena::OwnMemory;
use super::item::{self, Draft};
use super::partition::Found;
use super::{Budget, Key, Partition, WriteError};
use bytes::Bytes;
use slab::Slab;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

/// Memory of one large value, counted in the budget while it lives.
pub(super) struct LargeMemory {
    /// Until it is dropped.
    memory: Option<OwnMemory>,
    budget: Arc<Budget>,
    /// Counted as a connection's.
    lent: AtomicBool,
}

impl LargeMemory {
    /// Zeroes. `NeedsRoom` if the budget has no room, `OutOfMemory` if the kernel refuses (vm.max_map_count, overcommit).
    pub fn new(len: usize, budget: &Arc<Budget>) -> Result<LargeMemory, WriteError> {
        let resident = len.max(1).next_multiple_of(4096);
        take(budget, &budget.large, resident, false)?;
        LargeMemory::mapped(resident, false, budget)
    }

    /// As `new`, lent to a connection; `granted`: whatever room there is.
    pub fn lent(len: usize, granted: bool, budget: &Arc<Budget>) -> Result<LargeMemory, WriteError> {
        let resident = len.max(1).next_multiple_of(4096);
        take(budget, &budget.connections, resident, granted)?;
        LargeMemory::mapped(resident, true, budget)
    }

    /// Memory that has been counted.
    fn mapped(resident: usize, lent: bool, budget: &Arc<Budget>) -> Result<LargeMemory, WriteError> {
        match OwnMemory::new(resident) {
            Ok(memory) => {
                Ok(LargeMemory { memory: Some(memory), budget: budget.clone(), lent: AtomicBool::new(lent) })
            }
            Err(_) => {
                part(budget, lent).fetch_sub(resident, Relaxed);
                Err(WriteError::OutOfMemory)
            }
        }
    }

    pub fn copy_of(bytes: &[u8], budget: &Arc<Budget>) -> Result<Bytes, WriteError> {
        let mut memory = match LargeMemory::spare(bytes.len(), budget) {
            Some(spare) => spare,
            None => LargeMemory::new(bytes.len(), budget)?,
        };
        memory.bytes_mut()[..bytes.len()].copy_from_slice(bytes);
        Ok(Bytes::from_owner(View { memory: Arc::new(memory), start: 0, len: bytes.len() }))
    }

    /// What somebody has freed: at least `len` bytes, with whatever is in them.
    pub fn spare(len: usize, budget: &Arc<Budget>) -> Option<LargeMemory> {
        let memory = Some(budget.take_spare(len)?);
        Some(LargeMemory { memory, budget: budget.clone(), lent: AtomicBool::new(false) })
    }

    /// Makes it `len` bytes long at least, keeping what is in it. Errors as those of `new`; `granted`: whatever room there is.
    pub fn grow(&mut self, len: usize, granted: bool) -> Result<(), WriteError> {
        let growth = len.next_multiple_of(4096).saturating_sub(self.bytes().len());
        let part = part(&self.budget, *self.lent.get_mut());
        take(&self.budget, part, growth, granted)?;
        let grown = self.memory.as_mut().is_some_and(|memory| memory.grow(len).is_ok());
        if !grown {
            part.fetch_sub(growth, Relaxed);
            return Err(WriteError::OutOfMemory);
        }
        Ok(())
    }

    /// Counts it as a connection's from now on.
    pub fn lend(&self) {
        if !self.lent.swap(true, Relaxed) {
            self.recount(&self.budget.large, &self.budget.connections);
        }
    }

    /// Counts it as a value's from now on.
    pub fn keep(&self) {
        if self.lent.swap(false, Relaxed) {
            self.recount(&self.budget.connections, &self.budget.large);
        }
    }

    fn recount(&self, from: &AtomicUsize, to: &AtomicUsize) {
        to.fetch_add(self.bytes().len(), Relaxed);
        from.fetch_sub(self.bytes().len(), Relaxed);
    }

    /// Whole pages: more than was asked for, and beyond what its user has written there may be what an earlier one left.
    pub fn bytes(&self) -> &[u8] {
        self.memory.as_ref().expect("only `drop` takes it").bytes()
    }

    pub fn bytes_mut(&mut self) -> &mut [u8] {
        self.memory.as_mut().expect("only `drop` takes it").bytes_mut()
    }
}

impl Drop for LargeMemory {
    fn drop(&mut self) {
        self.keep();
        if let Some(memory) = self.memory.take() {
            self.budget.retire(memory);
        }
    }
}

fn part(budget: &Budget, lent: bool) -> &AtomicUsize {
    if lent { &budget.connections } else { &budget.large }
}

fn take(budget: &Budget, part: &AtomicUsize, bytes: usize, granted: bool) -> Result<(), WriteError> {
    if granted {
        part.fetch_add(bytes, Relaxed);
        return Ok(());
    }
    if budget.try_take(part, bytes) { Ok(()) } else { Err(WriteError::NeedsRoom) }
}

/// What a pin of a large value owns.
pub(super) struct View {
    pub memory: Arc<LargeMemory>,
    pub start: usize,
    pub len: usize,
}

impl AsRef<[u8]> for View {
    fn as_ref(&self) -> &[u8] {
        &self.memory.bytes()[self.start..][..self.len]
    }
}

enum LargeValue {
    /// As it was moved in.
    Given(Bytes),
    /// Made here by `modify`: editable in place while nobody has it pinned, with room to grow.
    Editable { memory: Arc<LargeMemory>, len: usize },
}

impl LargeValue {
    fn bytes(&self) -> &[u8] {
        match self {
            LargeValue::Given(bytes) => bytes,
            LargeValue::Editable { memory, len } => &memory.bytes()[..*len],
        }
    }

    fn into_bytes(self) -> Bytes {
        match self {
            LargeValue::Given(bytes) => bytes,
            LargeValue::Editable { memory, len } => Bytes::from_owner(View { memory, start: 0, len }),
        }
    }
}

/// A partition's large values.
#[derive(Default)]
pub(super) struct LargeTable {
    values: Slab<LargeValue>,
    total: usize,
}

impl LargeTable {
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Sum of their lengths in bytes.
    pub fn total(&self) -> usize {
        self.total
    }

    pub fn insert(&mut self, bytes: Bytes) -> u32 {
        self.total += bytes.len();
        // The slab grows with items in memory, of which 2^32 do not fit into a partition.
        u32::try_from(self.values.insert(LargeValue::Given(bytes))).expect("fewer than 2^32 large values")
    }

    pub fn value(&self, slot: usize) -> &[u8] {
        self.values[slot].bytes()
    }

    /// Another handle to the value.
    pub fn bytes(&self, slot: usize) -> Bytes {
        match &self.values[slot] {
            LargeValue::Given(bytes) => bytes.clone(),
            LargeValue::Editable { memory, len } => {
                Bytes::from_owner(View { memory: memory.clone(), start: 0, len: *len })
            }
        }
    }

    pub fn remove(&mut self, slot: usize) -> Bytes {
        let bytes = self.values.remove(slot).into_bytes();
        self.total -= bytes.len();
        bytes
    }

    /// The value resized in place, if it is editable, unpinned and its memory fits the new length.
    fn resize(&mut self, slot: usize, new_len: usize) -> Option<&mut [u8]> {
        let LargeValue::Editable { memory, len } = &mut self.values[slot] else { return None };
        let bytes = Arc::get_mut(memory)?.bytes_mut();
        if new_len > bytes.len() || new_len < bytes.len() / 2 {
            return None;
        }
        // Beyond the old length there may be what an earlier, longer value left.
        if new_len > *len {
            bytes[*len..new_len].fill(0);
        }
        self.total = self.total - *len + new_len;
        *len = new_len;
        Some(&mut bytes[..new_len])
    }

    fn replace(&mut self, slot: usize, memory: LargeMemory, len: usize) -> Bytes {
        let new = LargeValue::Editable { memory: Arc::new(memory), len };
        let old = std::mem::replace(&mut self.values[slot], new).into_bytes();
        self.total = self.total - old.len() + len;
        old
    }
}

impl Partition {
    pub(super) fn large_copy(&mut self, bytes: &[u8]) -> Result<Bytes, WriteError> {
        if bytes.len() > self.limits.max_value_size {
            return Err(WriteError::TooLarge);
        }
        self.room_wanted = bytes.len();
        LargeMemory::copy_of(bytes, &self.budget)
    }

    fn large_memory(&mut self, len: usize) -> Result<LargeMemory, WriteError> {
        self.room_wanted = len;
        LargeMemory::new(len, &self.budget)
    }

    /// `modify` of a value that is large before and after. Memory may be mapped and copied under the lock here: the edit has
    /// to be atomic, and with an eighth to spare a growing value pays for it only now and then.
    pub(super) fn modify_large(
        &mut self,
        found: Found,
        new_len: usize,
        edit: &mut dyn FnMut(&mut [u8]),
    ) -> Result<(), WriteError> {
        let slot = found.header.large_ref(&self.arena, found.offset);
        let old_len = self.large.value(slot).len();
        if let Some(bytes) = self.large.resize(slot, new_len) {
            edit(bytes);
        } else {
            let spare = if new_len > old_len { new_len / 8 } else { 0 };
            let mut memory = self.large_memory(new_len + spare)?;
            let kept = old_len.min(new_len);
            let bytes = &mut memory.bytes_mut()[..new_len];
            bytes[..kept].copy_from_slice(&self.large.value(slot)[..kept]);
            edit(bytes);
            let old = self.large.replace(slot, memory, new_len);
            self.graveyard.large.push(old);
        }
        let counts = &mut self.counts[found.header.db(&self.arena, found.offset) as usize];
        counts.live_bytes = counts.live_bytes - old_len as u64 + new_len as u64;
        let recency = found.header.recency() + 1;
        found.header.set_recency(&mut self.arena, found.offset, recency);
        Ok(())
    }

    /// `modify` of a value that becomes large, or is and gets other fields.
    pub(super) fn become_large(
        &mut self,
        key: &Key,
        found: Option<Found>,
        draft: &Draft,
        new_len: usize,
        now_ms: u64,
        edit: &mut dyn FnMut(&mut [u8]),
    ) -> Result<(), WriteError> {
        let mut memory = self.large_memory(new_len)?;
        let (offset, header, found) = self.write_over(key, found, draft, now_ms)?;
        let bytes = &mut memory.bytes_mut()[..new_len];
        if let Some(old) = found {
            let value = self.entry(old.offset, old.header, now_ms).value;
            let kept = value.len().min(new_len);
            bytes[..kept].copy_from_slice(&value[..kept]);
        }
        edit(bytes);
        let slot = self.large.insert(Bytes::new());
        self.large.replace(slot as usize, memory, new_len);
        let at = offset.at() + header.value_at();
        self.arena.bytes_mut(at, item::LARGE_REF).copy_from_slice(&slot.to_le_bytes());
        self.link(key.hash, offset, header, found);
        Ok(())
    }
}
