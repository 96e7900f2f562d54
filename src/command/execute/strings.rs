//! Whole values and parts of them.

use super::*;
use crate::command::ops::{Condition, SetIf, SetReply};

/// The value, as an outcome that is written where it stays: one that comes back through memory in pieces and is copied in wide
/// words makes the processor wait for the stores.
#[inline(always)]
pub fn get(place: &mut Place<'_, '_>, scratch: &mut Scratch, outcome: &mut Outcome) {
    match place.partition.read(&place.key, place.now_ms, !place.no_touch) {
        Some(entry) => {
            place.stats.hits += 1;
            if entry.value.len() < PIN_THRESHOLD {
                *outcome = Outcome::Value(copied(entry.value, scratch));
            } else {
                *outcome = Outcome::Pinned(left(&entry, scratch));
            }
        }
        None => {
            place.stats.misses += 1;
            *outcome = Outcome::Nil;
        }
    }
}

pub fn set_if(
    place: &mut Place<'_, '_>,
    scratch: &mut Scratch,
    value: &Payload<'_>,
    how: &SetIf<'_>,
) -> Result<Outcome, WriteError> {
    let entry = if how.reply == SetReply::Old { place.read() } else { place.current() };
    let holds = holds(&how.condition, entry.as_ref());
    let old = match entry {
        Some(entry) if how.reply == SetReply::Old => value_of(&entry, scratch),
        _ => Outcome::Nil,
    };
    if holds {
        place.write(value, how.expiry)?;
    }
    Ok(match how.reply {
        SetReply::Old => old,
        SetReply::Count => Outcome::Int(holds.into()),
        SetReply::Status if holds => Outcome::Ok,
        SetReply::Status => Outcome::Nil,
    })
}

fn holds(condition: &Condition<'_>, entry: Option<&Entry<'_>>) -> bool {
    match (*condition, entry) {
        (Condition::Always, _) => true,
        (Condition::Missing | Condition::Differs(_) | Condition::DigestDiffers(_), None) => true,
        (Condition::Exists | Condition::Equals(_) | Condition::DigestEquals(_), None) => false,
        (Condition::Missing, Some(_)) => false,
        (Condition::Exists, Some(_)) => true,
        (Condition::Equals(value), Some(entry)) => entry.value == value,
        (Condition::Differs(value), Some(entry)) => entry.value != value,
        (Condition::DigestEquals(digest), Some(entry)) => has_digest(entry, digest),
        (Condition::DigestDiffers(digest), Some(entry)) => !has_digest(entry, digest),
    }
}

fn has_digest(entry: &Entry<'_>, digest: &[u8]) -> bool {
    digest.eq_ignore_ascii_case(digest_of(entry.value).as_bytes())
}

fn digest_of(value: &[u8]) -> String {
    format!("{:016x}", xxhash_rust::xxh3::xxh3_64(value))
}

pub fn digest(place: &mut Place<'_, '_>, scratch: &mut Scratch) -> Outcome {
    match place.read() {
        Some(entry) => Outcome::Value(copied(digest_of(entry.value).as_bytes(), scratch)),
        None => Outcome::Nil,
    }
}

/// Removes the key if it is there and the condition holds.
pub fn del_if(place: &mut Place<'_, '_>, condition: &Condition<'_>) -> Outcome {
    let remove = place.current().is_some_and(|entry| holds(condition, Some(&entry)));
    Outcome::Int((remove && place.remove()).into())
}

pub fn get_del(place: &mut Place<'_, '_>, scratch: &mut Scratch) -> Outcome {
    let outcome = place.read().map_or(Outcome::Nil, |entry| value_of(&entry, scratch));
    if outcome != Outcome::Nil {
        place.remove();
    }
    outcome
}

pub fn get_ex(
    place: &mut Place<'_, '_>,
    scratch: &mut Scratch,
    change: Option<Expiry>,
) -> Result<Outcome, WriteError> {
    let outcome = place.read().map_or(Outcome::Nil, |entry| value_of(&entry, scratch));
    if outcome == Outcome::Nil {
        return Ok(outcome);
    }
    match change {
        Some(Expiry::At(at_ms)) if at_ms <= place.now_ms => {
            place.remove();
        }
        Some(Expiry::At(at_ms)) => {
            place.set_expiry(Some(at_ms))?;
        }
        Some(Expiry::None) => {
            place.set_expiry(None)?;
        }
        Some(Expiry::Keep) | None => {}
    }
    Ok(outcome)
}

/// MGET of one key.
pub fn get_in_array(place: &mut Place<'_, '_>, scratch: &mut Scratch, resp3: bool) -> Outcome {
    let start = scratch.bytes.len();
    match place.read() {
        Some(entry) if entry.value.len() < PIN_THRESHOLD => {
            let mut digits = itoa::Buffer::new();
            scratch.bytes.extend_from_slice(b"*1\r\n$");
            scratch.bytes.extend_from_slice(digits.format(entry.value.len()).as_bytes());
            scratch.bytes.extend_from_slice(b"\r\n");
            scratch.bytes.extend_from_slice(entry.value);
            scratch.bytes.extend_from_slice(b"\r\n");
        }
        Some(entry) => return Outcome::PinnedInArray(left(&entry, scratch)),
        None if resp3 => scratch.bytes.extend_from_slice(b"*1\r\n_\r\n"),
        None => scratch.bytes.extend_from_slice(b"*1\r\n$-1\r\n"),
    }
    Outcome::Encoded(since(start, scratch))
}

pub fn strlen(place: &mut Place<'_, '_>) -> Outcome {
    length(place.read().map_or(0, |entry| entry.value.len()))
}

pub fn get_range(place: &mut Place<'_, '_>, scratch: &mut Scratch, start: i64, end: i64) -> Outcome {
    let Some(entry) = place.read() else { return Outcome::Value(copied(b"", scratch)) };
    let range = range_of(start, end, entry.value.len());
    if range.len() < PIN_THRESHOLD {
        return Outcome::Value(copied(&entry.value[range], scratch));
    }
    Outcome::Pinned(pinned(entry.pin().slice(range), scratch))
}

/// Resolves two inclusive positions, negative ones counted from the end, against a length.
pub fn range_of(start: i64, end: i64, len: usize) -> std::ops::Range<usize> {
    // A length that does not fit could not have been allocated.
    let len = i64::try_from(len).unwrap_or(i64::MAX);
    if start < 0 && end < 0 && start > end {
        return 0..0;
    }
    let from_end = |position: i64| if position < 0 { position.saturating_add(len).max(0) } else { position };
    let (start, end) = (from_end(start), from_end(end).min(len - 1));
    if start > end {
        return 0..0;
    }
    // Both lie between 0 and the length now.
    usize::try_from(start).unwrap_or(0)..usize::try_from(end + 1).unwrap_or(0)
}

pub fn append(place: &mut Place<'_, '_>, bytes: &[u8]) -> Result<Outcome, WriteError> {
    let len = place.current().map_or(0, |entry| entry.value.len());
    let new_len = len.saturating_add(bytes.len());
    place.modify(new_len, &mut |value| value[len..].copy_from_slice(bytes))?;
    Ok(length(new_len))
}

pub fn set_range(place: &mut Place<'_, '_>, offset: usize, bytes: &[u8]) -> Result<Outcome, WriteError> {
    let len = place.current().map_or(0, |entry| entry.value.len());
    if bytes.is_empty() {
        return Ok(length(len));
    }
    // Planning bounds the end to the longest value there may be.
    let end = offset.saturating_add(bytes.len());
    let new_len = len.max(end);
    place.modify(new_len, &mut |value| value[offset..end].copy_from_slice(bytes))?;
    Ok(length(new_len))
}

fn length(len: usize) -> Outcome {
    Outcome::Int(i64::try_from(len).unwrap_or(i64::MAX))
}
