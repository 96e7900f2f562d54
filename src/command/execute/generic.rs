//! What does not depend on the value: expiry, kind, memory.

use super::*;
use crate::command::number::parse_i64;
use crate::command::ops::{ExpireWhen, ObjectField, TtlForm};
use crate::command::plan::expiry::latest;
use crate::store::Value;

/// Bytes of key and value that Valkey keeps in one allocation with their header ("embstr"), for keys of up to 31 bytes.
const EMBEDDED_BYTES: usize = 113;

pub fn expire_at(place: &mut Place<'_, '_>, at_ms: i64, when: ExpireWhen) -> Result<Outcome, WriteError> {
    let Some(entry) = place.current() else { return Ok(Outcome::Int(0)) };
    // No item expires later than 2^48 ms, so that the comparison is exact.
    let current = entry.expire_at_ms().map(|ms| i64::try_from(ms).unwrap_or(i64::MAX));
    let refused = when.nx && current.is_some()
        || when.xx && current.is_none()
        || when.gt && current.is_none_or(|current| at_ms <= current)
        || when.lt && current.is_some_and(|current| at_ms >= current);
    if refused {
        return Ok(Outcome::Int(0));
    }
    match latest(at_ms).filter(|at_ms| *at_ms > place.now_ms) {
        Some(at_ms) => place.set_expiry(Some(at_ms)).map(|there| Outcome::Int(there.into())),
        None => Ok(Outcome::Int(place.remove().into())),
    }
}

pub fn ttl(place: &mut Place<'_, '_>, form: TtlForm) -> Outcome {
    let now_ms = place.now_ms;
    let Some(entry) = place.look() else { return Outcome::Int(-2) };
    let Some(at_ms) = entry.expire_at_ms() else { return Outcome::Int(-1) };
    let ms = match form {
        TtlForm::Seconds | TtlForm::Millis => at_ms.saturating_sub(now_ms),
        TtlForm::AtSeconds | TtlForm::AtMillis => at_ms,
    };
    let shown = match form {
        TtlForm::Seconds | TtlForm::AtSeconds => ms.saturating_add(500) / 1000,
        TtlForm::Millis | TtlForm::AtMillis => ms,
    };
    Outcome::Int(i64::try_from(shown).unwrap_or(i64::MAX))
}

pub fn persist(place: &mut Place<'_, '_>) -> Result<Outcome, WriteError> {
    if place.current().is_none_or(|entry| entry.expire_at_ms().is_none()) {
        return Ok(Outcome::Int(0));
    }
    place.set_expiry(None).map(|there| Outcome::Int(there.into()))
}

pub fn type_of(place: &mut Place<'_, '_>, scratch: &mut Scratch) -> Outcome {
    let kind: &[u8] = if place.look().is_some() { b"+string\r\n" } else { b"+none\r\n" };
    Outcome::Encoded(copied(kind, scratch))
}

pub fn object(place: &mut Place<'_, '_>, scratch: &mut Scratch, field: ObjectField) -> Outcome {
    let key_len = place.key.bytes.len();
    let Some(entry) = place.look() else { return Outcome::Nil };
    match field {
        ObjectField::Encoding => {
            let encoding: &[u8] = match entry.value {
                value if parse_i64(value).is_some() => b"int",
                value if key_len + 2 * usize::from(key_len > 31) + value.len() <= EMBEDDED_BYTES => b"embstr",
                _ => b"raw",
            };
            Outcome::Value(copied(encoding, scratch))
        }
        ObjectField::Freq => Outcome::Error(
            "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when switching \
             between policies at runtime LRU and LFU data will take some time to adjust."
                .into(),
        ),
        ObjectField::IdleTime => Outcome::Int(i64::try_from(entry.age_ms() / 1000).unwrap_or(i64::MAX)),
        ObjectField::RefCount => Outcome::Int(1),
    }
}

pub fn memory_usage(place: &mut Place<'_, '_>) -> Outcome {
    match place.partition.peek(&place.key, place.now_ms) {
        Some(entry) => Outcome::Int(i64::try_from(entry.footprint()).unwrap_or(i64::MAX)),
        None => Outcome::Nil,
    }
}

/// Moves the item to another database, which is in the same partition: the hash does not depend on the database.
pub fn move_to(place: &mut Place<'_, '_>, db: u8, large_threshold: usize) -> Result<Outcome, WriteError> {
    let target = Key { db, ..place.key };
    if place.partition.peek(&target, place.now_ms).is_some() {
        return Ok(Outcome::Int(0));
    }
    let Some(entry) = place.current() else { return Ok(Outcome::Int(0)) };
    let expiry = entry.expire_at_ms().map_or(Expiry::None, Expiry::At);
    let extra = entry.extra().moved();
    let copy;
    let value = if entry.value.len() > large_threshold {
        Value::Large(entry.pin())
    } else {
        copy = entry.value.to_vec();
        Value::Inline(&copy)
    };
    place.partition.set_item(&target, value, expiry, &extra, place.now_ms)?;
    place.remove();
    place.partition.note(Happening::MoveFrom, &place.key);
    place.partition.note(Happening::MoveTo, &target);
    Ok(Outcome::Int(1))
}
