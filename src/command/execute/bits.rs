//! A value as a run of bits, the highest of each byte first.

use super::*;
use crate::command::ops::{BitPosRange, BitRange};
use std::ops::Range;

/// A bit's byte in a value and its mask there.
fn locate(offset: u64) -> (usize, u8) {
    // Planning bounds offsets to 2^32.
    (usize::try_from(offset / 8).unwrap_or(usize::MAX), 0x80 >> (offset % 8))
}

pub fn get_bit(place: &mut Place<'_, '_>, offset: u64) -> Outcome {
    let (byte, mask) = locate(offset);
    let bit = place.read().and_then(|entry| entry.value.get(byte).copied()).unwrap_or(0) & mask != 0;
    Outcome::Int(bit.into())
}

pub fn set_bit(place: &mut Place<'_, '_>, offset: u64, on: bool) -> Result<Outcome, WriteError> {
    let (byte, mask) = locate(offset);
    let len = place.current().map_or(0, |entry| entry.value.len());
    let mut old = false;
    place.modify(len.max(byte + 1), &mut |value| {
        old = value[byte] & mask != 0;
        if on {
            value[byte] |= mask;
        } else {
            value[byte] &= !mask;
        }
    })?;
    Ok(Outcome::Int(old.into()))
}

pub fn bit_count(place: &mut Place<'_, '_>, range: Option<BitRange>) -> Outcome {
    let Some(entry) = place.read() else { return Outcome::Int(0) };
    let bits = range.map_or(0..entry.value.len() as u64 * 8, |range| bits_of(range, entry.value.len()));
    Outcome::Int(i64::try_from(ones(entry.value, bits)).unwrap_or(i64::MAX))
}

/// The bits that a range names in a value of `len` bytes, as positions from its first bit.
fn bits_of(range: BitRange, len: usize) -> Range<u64> {
    let units = if range.bits { len.saturating_mul(8) } else { len };
    // As in Redis, a range that is reversed before it is resolved is empty even where clamping would mend it.
    let found = super::strings::range_of(range.start, range.end, units);
    let unit = if range.bits { 1 } else { 8 };
    found.start as u64 * unit..found.end as u64 * unit
}

/// How many bits of the range are set.
fn ones(value: &[u8], bits: Range<u64>) -> u64 {
    let (first, last) = locate_range(&bits);
    if first.0 >= last.0 {
        return match value.get(first.0) {
            Some(byte) => u64::from((byte & first.1 & !last.1).count_ones()),
            None => 0,
        };
    }
    let mut count = u64::from((value[first.0] & first.1).count_ones());
    count += popcount(&value[first.0 + 1..last.0]);
    count + value.get(last.0).map_or(0, |byte| u64::from((byte & !last.1).count_ones()))
}

/// The byte of the first bit with a mask of it and all after it, and the same for the end of the range.
fn locate_range(bits: &Range<u64>) -> ((usize, u8), (usize, u8)) {
    let tail = |at: u64| (usize::try_from(at / 8).unwrap_or(usize::MAX), 0xff >> (at % 8));
    (tail(bits.start), tail(bits.end))
}

fn popcount(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let whole: u64 = words.iter().map(|word| u64::from(u64::from_ne_bytes(*word).count_ones())).sum();
    whole + rest.iter().map(|byte| u64::from(byte.count_ones())).sum::<u64>()
}

pub fn bit_pos(place: &mut Place<'_, '_>, bit: bool, asked: &BitPosRange) -> Outcome {
    let Some(entry) = place.read() else { return Outcome::Int(if bit { -1 } else { 0 }) };
    let len = entry.value.len();
    let units = i64::try_from(if asked.range.bits { len.saturating_mul(8) } else { len }).unwrap_or(i64::MAX);
    let start = asked.range.start;
    // Unlike BITCOUNT's, a range that is reversed before it is resolved is not empty here, as in Redis: its start is resolved first.
    let start = if start < 0 { start.saturating_add(units).max(0) } else { start };
    let bits = bits_of(BitRange { start, ..asked.range }, len);
    let end = bits.end;
    let found = if bits.is_empty() { None } else { first_bit(entry.value, bits, bit) };
    Outcome::Int(match found {
        Some(at) => i64::try_from(at).unwrap_or(i64::MAX),
        // Without a given end the value counts as followed by zeros.
        None if !bit && !asked.end_given && end > 0 => i64::try_from(end).unwrap_or(i64::MAX),
        None => -1,
    })
}

/// The first bit in the range that is set (or clear).
fn first_bit(value: &[u8], bits: Range<u64>, bit: bool) -> Option<u64> {
    let flip = if bit { 0 } else { 0xff };
    let (first, last) = locate_range(&bits);
    let position = |byte: usize, of: u8| byte as u64 * 8 + u64::from(of.leading_zeros());
    let masked = |byte: usize, mask: u8| Some((value[byte] ^ flip) & mask).filter(|rest| *rest != 0);
    if first.0 == last.0 {
        return masked(first.0, first.1 & !last.1).map(|rest| position(first.0, rest));
    }
    if let Some(rest) = masked(first.0, first.1) {
        return Some(position(first.0, rest));
    }
    let (words, _) = value[first.0 + 1..last.0].as_chunks::<8>();
    let skip = words.iter().take_while(|word| word.iter().all(|byte| *byte == flip)).count() * 8;
    let whole = (first.0 + 1 + skip..last.0).find_map(|byte| Some(position(byte, masked(byte, 0xff)?)));
    whole.or_else(|| {
        let tail = !last.1;
        if tail == 0 { None } else { masked(last.0, tail).map(|rest| position(last.0, rest)) }
    })
}
