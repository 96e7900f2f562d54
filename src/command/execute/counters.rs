//! Numbers that are counted up and down.

use super::*;
use crate::command::long_double::LongDouble;
use crate::command::number::parse_i64;
use crate::command::plan::{NOT_A_FLOAT, NOT_AN_INTEGER};

pub fn incr_by(place: &mut Place<'_, '_>, amount: i64) -> Result<Outcome, WriteError> {
    let old = place.current().map_or(Some(0), |entry| parse_i64(entry.value));
    let Some(old) = old else { return Ok(Outcome::Error(NOT_AN_INTEGER.into())) };
    let Some(new) = old.checked_add(amount) else {
        return Ok(Outcome::Error("ERR increment or decrement would overflow".into()));
    };
    let mut digits = itoa::Buffer::new();
    let digits = digits.format(new).as_bytes();
    place.modify(digits.len(), &mut |value| value.copy_from_slice(digits))?;
    Ok(Outcome::Int(new))
}

pub fn incr_by_float(
    place: &mut Place<'_, '_>,
    scratch: &mut Scratch,
    amount: LongDouble,
) -> Result<Outcome, WriteError> {
    let old = place.current().map_or(Some(LongDouble::ZERO), |entry| LongDouble::parse(entry.value));
    let Some(old) = old else { return Ok(Outcome::Error(NOT_A_FLOAT.into())) };
    let new = old.add(amount);
    if new.is_infinite() {
        return Ok(Outcome::Error("ERR increment would produce NaN or Infinity".into()));
    }
    let digits = new.to_string();
    place.modify(digits.len(), &mut |value| value.copy_from_slice(digits.as_bytes()))?;
    Ok(Outcome::Value(copied(digits.as_bytes(), scratch)))
}
