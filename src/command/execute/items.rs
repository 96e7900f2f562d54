//! The operations of protocols that know more of an item than its value: client flags, CAS, staleness.

use super::*;
use crate::command::ops::{Count, Fetch, RemoveItem, StoreItem};
use crate::proto::{Item, ItemValue};

pub fn fetch(place: &mut Place<'_, '_>, scratch: &mut Scratch, how: &Fetch) -> Result<Outcome, WriteError> {
    let Some(entry) = place.read() else { return Ok(Outcome::Nil) };
    let value = if !how.value {
        ItemValue::None
    } else if entry.value.len() < PIN_THRESHOLD {
        ItemValue::Copied(copied(entry.value, scratch))
    } else {
        ItemValue::Pinned(left(&entry, scratch))
    };
    let item =
        Item { value, value_len: entry.value.len(), expire_at_ms: entry.expire_at_ms(), ..Item::default() };
    scratch.items.push(item);
    Ok(Outcome::Item(small(scratch.items.len() - 1)))
}

pub fn store(
    place: &mut Place<'_, '_>,
    _scratch: &mut Scratch,
    item: &StoreItem<'_>,
) -> Result<Outcome, WriteError> {
    place.write(&item.value, item.expiry).map(|()| Outcome::Ok)
}

pub fn remove(place: &mut Place<'_, '_>, _how: &RemoveItem) -> Result<Outcome, WriteError> {
    Ok(if place.remove() { Outcome::Ok } else { Outcome::Nil })
}

pub fn count(
    _place: &mut Place<'_, '_>,
    _scratch: &mut Scratch,
    _how: &Count,
) -> Result<Outcome, WriteError> {
    Ok(Outcome::Nil)
}
