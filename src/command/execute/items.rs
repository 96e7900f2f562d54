//! The operations of protocols that know more of an item than its value: client flags, CAS, staleness, leases.
//!
//! They do what memcached 1.6 does in its meta commands (doc/protocol.txt there: mg, ms, md, ma). An item goes through these states:
//!
//! ```text
//!  miss ── vivify ──► placeholder, won ──┐
//!  fresh ── nearly expired, recache ──► won ──┼── store ──► fresh
//!  fresh ── invalidate ──► stale ── first reader ──► stale, won ──┘
//! ```
//!
//! Who finds an item won by another is told so (`taken`) and gets what there is: the old value, or the placeholder's empty one.
//!
//! An item keeps an account of its CAS and its use only from when somebody first asks. Until then its CAS is one that nobody holds: greater
//! than all that were given out, and equal to none.

use super::*;
use crate::command::ops::{Count, Fetch, RemoveItem, StoreItem, StoreMode};
use crate::proto::{Item, ItemValue};
use crate::store::{Extra, Meta, State, Value};

/// Digits of the greatest number that counting knows.
const MOST_DIGITS: usize = 20;

/// An item as an operation found it.
struct Old {
    extra: Extra,
    expire_at_ms: Option<u64>,
    value_len: usize,
    /// What its META would be if it kept one.
    account: Meta,
}

impl Old {
    fn of(entry: &Entry<'_>) -> Old {
        let extra = entry.extra();
        let account = extra.meta.unwrap_or_else(|| entry.account());
        Old { extra, expire_at_ms: entry.expire_at_ms(), value_len: entry.value.len(), account }
    }

    fn cas(&self) -> Option<u64> {
        self.extra.meta.map(|meta| meta.cas)
    }

    fn state(&self) -> State {
        self.account.state
    }

    /// Whether its CAS is another than the one asked for.
    fn differs(&self, compare: Option<u64>) -> bool {
        compare.is_some() && self.cas() != compare
    }

    /// When it expires after a touch.
    fn touched(&self, touch: Option<Expiry>) -> Option<u64> {
        at(touch.unwrap_or(Expiry::Keep), self.expire_at_ms)
    }
}

fn at(expiry: Expiry, kept: Option<u64>) -> Option<u64> {
    match expiry {
        Expiry::None => None,
        Expiry::Keep => kept,
        Expiry::At(at_ms) => Some(at_ms),
    }
}

fn expiry(expire_at_ms: Option<u64>) -> Expiry {
    expire_at_ms.map_or(Expiry::None, Expiry::At)
}

fn seconds(ms: u64) -> u32 {
    u32::try_from(ms / 1000).unwrap_or(u32::MAX)
}

/// Leaves an item in the scratch.
fn answer(item: Item, scratch: &mut Scratch) -> Outcome {
    scratch.items.push(item);
    Outcome::Item(small(scratch.items.len() - 1))
}

impl Place<'_, '_> {
    /// The item as those find it who know of leases; no hit, no miss.
    fn old(&mut self) -> Option<Old> {
        self.partition.item(&self.key, self.now_ms, false).map(|entry| Old::of(&entry))
    }

    fn is_over(&self, expire_at_ms: Option<u64>) -> bool {
        expire_at_ms.is_some_and(|at_ms| at_ms <= self.now_ms)
    }

    /// META of an item written now; `None` if there is no reason for it to have one.
    fn new_meta(&mut self, wanted: bool, new_cas: Option<u64>, state: State) -> Option<Meta> {
        if !wanted && new_cas.is_none() {
            return None;
        }
        let cas = new_cas.unwrap_or_else(|| self.partition.next_cas());
        Some(Meta { cas, state, access_s: seconds(self.now_ms) })
    }
}

/// What [`crate::command::Op::GetItem`] is short for.
pub static GET: Fetch = Fetch {
    waits: false,
    value: true,
    cas: false,
    access: false,
    no_bump: false,
    bystander: true,
    filled: false,
    touch: None,
    vivify: None,
    recache_below_ms: None,
    new_cas: None,
};

/// Reads an item that keeps no account, as most do. False: it keeps one, and is for [`fetch`]. (It has then counted as used once more than
/// it was, which only keeps it a little longer.)
#[inline(always)]
pub fn get(place: &mut Place<'_, '_>, scratch: &mut Scratch, outcome: &mut Outcome) -> bool {
    let Some(entry) = place.partition.item(&place.key, place.now_ms, !place.no_touch) else {
        place.stats.misses += 1;
        *outcome = Outcome::Nil;
        return true;
    };
    if entry.has_meta() {
        return false;
    }
    place.stats.hits += 1;
    let flags = entry.extra().flags;
    if flags != 0 {
        *outcome = answer(Item { flags, ..with_value(&entry, true, scratch) }, scratch);
    } else if entry.value.len() < PIN_THRESHOLD {
        *outcome = Outcome::Value(copied(entry.value, scratch));
    } else {
        *outcome = Outcome::Pinned(left(&entry, scratch));
    }
    true
}

/// Reads an item, as mg does.
pub fn fetch(place: &mut Place<'_, '_>, scratch: &mut Scratch, how: &Fetch) -> Result<Outcome, WriteError> {
    let use_ = !how.no_bump && !place.no_touch;
    let Some(entry) = place.partition.item(&place.key, place.now_ms, use_) else {
        place.stats.misses += 1;
        return vivify(place, scratch, how);
    };
    if how.filled && entry.has_meta() && entry.extra().meta.is_some_and(|meta| meta.state.placeholder) {
        place.stats.misses += 1;
        return Ok(Outcome::Nil);
    }
    place.stats.hits += 1;
    // Most items keep no account, and most readers ask for none.
    let asks = how.cas || how.access || how.touch.is_some() || how.recache_below_ms.is_some();
    if !entry.has_meta() && !asks {
        let (flags, expire_at_ms) = (entry.extra().flags, entry.expire_at_ms());
        let expire_at_ms_before = expire_at_ms;
        let value = with_value(&entry, how.value, scratch);
        let item = Item { flags, expire_at_ms, expire_at_ms_before, ..value };
        return Ok(answer(item, scratch));
    }
    let old = Old::of(&entry);
    let mut item = described(place, &old, how);
    let mut extra = old.extra;
    if extra.meta.is_some() || how.cas || how.access || item.won {
        let mut meta = old.account;
        if extra.meta.is_none() {
            meta.cas = place.partition.next_cas();
        }
        meta.state.won |= item.won;
        meta.state.waited |= how.waits && item.placeholder && item.taken;
        if use_ {
            meta.state.fetched = true;
            meta.access_s = seconds(place.now_ms);
        }
        extra.meta = Some(meta);
        item.cas = if how.cas { meta.cas } else { 0 };
    }
    // Read before the touch: it may be one that ends the item.
    let marks = (scratch.bytes.len(), scratch.pins.len());
    let Some(entry) = place.partition.item(&place.key, place.now_ms, false) else { return Ok(Outcome::Nil) };
    let read = with_value(&entry, how.value, scratch);
    (item.value, item.value_len) = (read.value, read.value_len);
    if extra != old.extra || item.expire_at_ms != old.expire_at_ms {
        match place.partition.refit_item(&place.key, item.expire_at_ms, &extra, place.now_ms) {
            // Evicted to make room for what it was to keep.
            Ok(false) => {
                scratch.bytes.truncate(marks.0);
                scratch.pins.truncate(marks.1);
                place.stats.hits -= 1;
                place.stats.misses += 1;
                return vivify(place, scratch, how);
            }
            // Without memory for an account the item is served all the same, with a CAS that nothing will ever equal.
            Err(WriteError::OutOfMemory) if item.expire_at_ms == old.expire_at_ms && !item.won => {}
            result => _ = result?,
        }
    }
    Ok(answer(item, scratch))
}

/// What a read tells of an item, its value and CAS left out.
fn described(place: &Place<'_, '_>, old: &Old, how: &Fetch) -> Item {
    let state = old.state();
    let left_ms = old.expire_at_ms.map(|at_ms| at_ms.saturating_sub(place.now_ms));
    let early =
        how.recache_below_ms.is_some_and(|below_ms| left_ms.is_some_and(|left_ms| left_ms < below_ms));
    Item {
        flags: old.extra.flags,
        expire_at_ms: old.touched(how.touch),
        expire_at_ms_before: old.expire_at_ms,
        idle_s: seconds(place.now_ms).saturating_sub(old.account.access_s),
        hit_before: state.fetched,
        stale: state.stale,
        won: !how.bystander && !state.won && (early || state.stale),
        taken: state.won,
        placeholder: state.placeholder,
        ..Item::default()
    }
}

fn with_value(entry: &Entry<'_>, wanted: bool, scratch: &mut Scratch) -> Item {
    let value = if !wanted {
        ItemValue::None
    } else if entry.value.len() < PIN_THRESHOLD {
        ItemValue::Copied(copied(entry.value, scratch))
    } else {
        ItemValue::Pinned(left(entry, scratch))
    };
    Item { value, value_len: entry.value.len(), ..Item::default() }
}

/// After a miss: makes a placeholder, if one is asked for, and says that this request has won.
fn vivify(place: &mut Place<'_, '_>, scratch: &mut Scratch, how: &Fetch) -> Result<Outcome, WriteError> {
    let Some(expiry) = how.vivify else { return Ok(Outcome::Nil) };
    let state = State { won: true, placeholder: true, fetched: !how.no_bump, ..State::default() };
    let meta = place.new_meta(true, how.new_cas, state);
    let cas = meta.map_or(0, |meta| meta.cas);
    let extra = Extra { flags: 0, meta };
    place.partition.set_item(&place.key, Value::Inline(b""), expiry, &extra, place.now_ms)?;
    let value = if how.value { ItemValue::Copied(copied(b"", scratch)) } else { ItemValue::None };
    let cas = if how.cas { cas } else { 0 };
    let item =
        Item { value, cas, expire_at_ms: at(expiry, None), won: true, placeholder: true, ..Item::default() };
    Ok(answer(item, scratch))
}

/// Writes an item, as ms does.
pub fn store(
    place: &mut Place<'_, '_>,
    scratch: &mut Scratch,
    value: &Payload<'_>,
    how: &StoreItem,
) -> Result<Outcome, WriteError> {
    use StoreMode::{Add, Append, Prepend, Replace, Set};
    let old = place.old();
    match (how.mode, &old) {
        (Add, Some(_)) => {
            // As there: not written, but in demand.
            place.partition.item(&place.key, place.now_ms, true);
            Ok(Outcome::NotStored)
        }
        (Append | Prepend, Some(old)) if old.differs(how.compare) => Ok(Outcome::Exists),
        (Append | Prepend, Some(old)) => extend(place, scratch, value, how, old),
        (Append | Prepend, None) => match how.vivify {
            Some(expiry) => replace(place, scratch, value, how, expiry, None, State::default()),
            None => Ok(Outcome::NotStored),
        },
        (Set | Replace, None) if how.compare.is_some() => Ok(Outcome::Nil),
        (Replace, None) => Ok(Outcome::NotStored),
        (Set | Replace, Some(old)) if old.differs(how.compare) => {
            let older = how.compare < Some(old.cas().unwrap_or_else(|| place.partition.next_cas()));
            if !how.invalidate || !older {
                return Ok(Outcome::Exists);
            }
            // Outdated when it arrives: the time that is left, and whose turn it is, stay.
            let state = State { stale: true, won: old.state().won, ..State::default() };
            replace(place, scratch, value, how, expiry(old.expire_at_ms), Some(old), state)
        }
        (Set | Add | Replace, old) => {
            let kept = old.as_ref().and_then(|old| old.expire_at_ms);
            let expiry = expiry(at(how.expiry, kept));
            replace(place, scratch, value, how, expiry, old.as_ref(), State::default())
        }
    }
}

/// Writes the whole value. An item that had META keeps having one.
fn replace(
    place: &mut Place<'_, '_>,
    scratch: &mut Scratch,
    value: &Payload<'_>,
    how: &StoreItem,
    expiry: Expiry,
    old: Option<&Old>,
    state: State,
) -> Result<Outcome, WriteError> {
    let wanted = how.cas || state.stale || old.is_some_and(|old| old.extra.meta.is_some());
    let extra = Extra { flags: how.flags, meta: place.new_meta(wanted, how.new_cas, state) };
    place.partition.set_item(&place.key, value.value(), expiry, &extra, place.now_ms)?;
    Ok(stored(how.cas, value.bytes().len(), &extra, at(expiry, None), scratch))
}

/// Appends or prepends: flags and expiry stay.
fn extend(
    place: &mut Place<'_, '_>,
    scratch: &mut Scratch,
    value: &Payload<'_>,
    how: &StoreItem,
    old: &Old,
) -> Result<Outcome, WriteError> {
    let (added, old_len) = (value.bytes(), old.value_len);
    let new_len = old_len.saturating_add(added.len());
    let wanted = how.cas || old.extra.meta.is_some();
    let meta = place.new_meta(wanted, how.new_cas, State::default());
    let extra = Extra { flags: old.extra.flags, meta };
    let fields = (expiry(old.expire_at_ms), &extra);
    place.partition.modify_item(&place.key, new_len, fields, place.now_ms, &mut |value| {
        if how.mode == StoreMode::Append {
            value[old_len..].copy_from_slice(added);
        } else {
            value.copy_within(..old_len, added.len());
            value[..added.len()].copy_from_slice(added);
        }
    })?;
    Ok(stored(how.cas, new_len, &extra, old.expire_at_ms, scratch))
}

fn stored(
    cas: bool,
    value_len: usize,
    extra: &Extra,
    expire_at_ms: Option<u64>,
    scratch: &mut Scratch,
) -> Outcome {
    if !cas {
        return Outcome::Ok;
    }
    let cas = extra.meta.map_or(0, |meta| meta.cas);
    answer(Item { value_len, flags: extra.flags, cas, expire_at_ms, ..Item::default() }, scratch)
}

/// Removes an item, marks it stale, or takes its value away, as md does.
pub fn remove(place: &mut Place<'_, '_>, how: &RemoveItem) -> Result<Outcome, WriteError> {
    let Some(old) = place.old() else { return Ok(Outcome::Nil) };
    if old.differs(how.compare) {
        return Ok(Outcome::Exists);
    }
    if !how.invalidate && !how.drop_value {
        place.remove();
        return Ok(Outcome::Ok);
    }
    let kept = if how.drop_value { State::default() } else { old.state() };
    let state = State { stale: how.invalidate, won: kept.won && !how.invalidate, ..kept };
    let wanted = how.invalidate || old.extra.meta.is_some();
    let mut meta = place.new_meta(wanted, how.new_cas, state);
    if let Some(meta) = &mut meta {
        meta.access_s = old.account.access_s;
    }
    let extra = Extra { flags: if how.drop_value { 0 } else { old.extra.flags }, meta };
    let expire_at_ms = old.touched(how.touch);
    if how.drop_value {
        let value = Value::Inline(b"");
        place.partition.set_item(&place.key, value, expiry(expire_at_ms), &extra, place.now_ms)?;
        return Ok(Outcome::Ok);
    }
    let there = place.partition.refit_item(&place.key, expire_at_ms, &extra, place.now_ms)?;
    Ok(if there { Outcome::Ok } else { Outcome::Nil })
}

/// Counts up or down, as ma does.
pub fn count(place: &mut Place<'_, '_>, scratch: &mut Scratch, how: &Count) -> Result<Outcome, WriteError> {
    let found = place.partition.item(&place.key, place.now_ms, true);
    let Some((old, number)) = found.map(|entry| (Old::of(&entry), number(entry.value))) else {
        return create(place, scratch, how);
    };
    // That nothing is no number is found first, as in memcached.
    if old.value_len > 0 && old.differs(how.compare) {
        return Ok(Outcome::Exists);
    }
    let Some(number) = number else { return Ok(Outcome::NotANumber) };
    let new = if how.down { number.saturating_sub(how.delta) } else { number.wrapping_add(how.delta) };
    let wanted = how.cas || old.extra.meta.is_some();
    let meta = place.new_meta(wanted, how.new_cas, old.state());
    let extra = Extra { flags: old.extra.flags, meta };
    let expire_at_ms = old.touched(how.touch);
    if place.is_over(expire_at_ms) {
        place.remove();
    } else {
        let mut digits = itoa::Buffer::new();
        let digits = digits.format(new).as_bytes();
        let fields = (expiry(expire_at_ms), &extra);
        let write = &mut |value: &mut [u8]| value.copy_from_slice(digits);
        place.partition.modify_item(&place.key, digits.len(), fields, place.now_ms, write)?;
    }
    Ok(counted(new, how.cas, &extra, (old.expire_at_ms, expire_at_ms), scratch))
}

/// Begins to count where there is nothing.
fn create(place: &mut Place<'_, '_>, scratch: &mut Scratch, how: &Count) -> Result<Outcome, WriteError> {
    let Some((number, expiry)) = how.create else { return Ok(Outcome::Nil) };
    let extra = Extra { flags: 0, meta: place.new_meta(how.cas, how.new_cas, State::default()) };
    let mut digits = itoa::Buffer::new();
    let value = Value::Inline(digits.format(number).as_bytes());
    place.partition.set_item(&place.key, value, expiry, &extra, place.now_ms)?;
    Ok(counted(number, how.cas, &extra, (None, at(expiry, None)), scratch))
}

/// `expire_at_ms`: before and after.
fn counted(
    number: u64,
    cas: bool,
    extra: &Extra,
    expire_at_ms: (Option<u64>, Option<u64>),
    scratch: &mut Scratch,
) -> Outcome {
    let (expire_at_ms_before, expire_at_ms) = expire_at_ms;
    let mut digits = itoa::Buffer::new();
    let digits = copied(digits.format(number).as_bytes(), scratch);
    let cas = if cas { extra.meta.map_or(0, |meta| meta.cas) } else { 0 };
    let item = Item {
        value: ItemValue::Copied(digits),
        value_len: digits.len as usize,
        flags: extra.flags,
        cas,
        expire_at_ms,
        expire_at_ms_before,
        ..Item::default()
    };
    answer(item, scratch)
}

/// Decimal digits, which may have spaces behind them: memcached pads a number that loses a digit (protocol.txt, "Increment/Decrement"),
/// and a value that was copied from there may have them.
fn number(value: &[u8]) -> Option<u64> {
    if value.len() > MOST_DIGITS {
        return None;
    }
    let digits = value.iter().rposition(|byte| *byte != b' ').map_or(&[][..], |last| &value[..=last]);
    let sound = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    if sound { str::from_utf8(digits).ok()?.parse().ok() } else { None }
}
