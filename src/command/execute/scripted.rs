//! Scripts that are one operation (script/shapes.rs): each answers what Lua would.

use super::*;
use crate::command::ops::{ExpireWhen, Scripted, ScriptedStep};
use crate::command::script::{decorated, whole};

pub fn run(place: &mut Place<'_, '_>, value: &Payload<'_>, how: &Scripted) -> Result<Outcome, WriteError> {
    match how.step {
        ScriptedStep::Unlock { nil } => Ok(match owned(place, value) {
            None => otherwise(nil),
            Some(_) => Outcome::Int(place.remove().into()),
        }),
        ScriptedStep::Extend { at_ms, nil } => match owned(place, value) {
            None => Ok(otherwise(nil)),
            Some(_) => expire(place, at_ms),
        },
        ScriptedStep::ExtendBy { ms, add } => {
            let Some(expires) = owned(place, value) else { return Ok(Outcome::Int(0)) };
            // It asks for the time that is left as well.
            place.stats.hits += 1;
            match expires {
                Some(at_ms) => expire(place, if add { at_ms } else { place.now_ms }.saturating_add(ms)),
                None => Ok(Outcome::Int(0)),
            }
        }
        ScriptedStep::Count { by, first, at_ms } => counted(count_from(place, by, first, at_ms), how),
        ScriptedStep::CountIfExists(by) => {
            if place.look().is_none() {
                return Ok(Outcome::Nil);
            }
            counted(counters::incr_by(place, by), how)
        }
        ScriptedStep::SetIfMissing { at_ms } => {
            if place.look().is_some() {
                return Ok(Outcome::Nil);
            }
            place.write(value, Expiry::At(at_ms)).map(|()| Outcome::Ok)
        }
    }
}

fn otherwise(nil: bool) -> Outcome {
    if nil { Outcome::Nil } else { Outcome::Int(0) }
}

/// When the item expires, if its value is this one.
fn owned(place: &mut Place<'_, '_>, value: &Payload<'_>) -> Option<Option<u64>> {
    let entry = place.read()?;
    (entry.value == value.bytes()).then(|| entry.expire_at_ms())
}

fn expire(place: &mut Place<'_, '_>, at_ms: u64) -> Result<Outcome, WriteError> {
    generic::expire_at(place, i64::try_from(at_ms).unwrap_or(i64::MAX), ExpireWhen::default())
}

/// Counts up, and gives the item a time to live when the result is `first`. One that needs room must not have counted.
fn count_from(place: &mut Place<'_, '_>, by: i64, first: i64, at_ms: u64) -> Result<Outcome, WriteError> {
    let Some(entry) = place.current() else {
        let expiry = if by == first { Expiry::At(at_ms) } else { Expiry::None };
        let mut digits = itoa::Buffer::new();
        place.write(&Payload::Inline(digits.format(by).as_bytes()), expiry)?;
        return Ok(Outcome::Int(by));
    };
    let old = crate::command::number::parse_i64(entry.value);
    if old.is_some_and(|old| old.checked_add(by) == Some(first)) {
        place.set_expiry(Some(at_ms))?;
    }
    counters::incr_by(place, by)
}

/// A count has been a number of Lua's, an error has the script's name and place behind it.
fn counted(result: Result<Outcome, WriteError>, how: &Scripted) -> Result<Outcome, WriteError> {
    Ok(match result? {
        Outcome::Int(count) => Outcome::Int(whole(count as f64)),
        Outcome::Error(text) => Outcome::Error(decorated(&text, how).into()),
        other => other,
    })
}
