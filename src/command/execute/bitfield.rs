//! BITFIELD: integers of 1 to 64 bits at any bit of a value.

use super::*;
use crate::command::ops::{FieldAction, FieldOp, Overflow};

/// Runs all operations in order and answers an array, null where FAIL met an overflow. If any operation writes, the value first
/// grows to hold the furthest of them.
pub fn bit_field(
    place: &mut Place<'_, '_>,
    scratch: &mut Scratch,
    ops: &[FieldOp],
    resp3: bool,
) -> Result<Outcome, WriteError> {
    let start = scratch.bytes.len();
    let writes = ops.iter().filter(|op| op.action != FieldAction::Get);
    let written = writes.map(|op| bytes_to(op.offset + u64::from(op.bits))).max();
    write_header(&mut scratch.bytes, b'*', ops.len());
    match written {
        Some(written) => {
            let len = place.current().map_or(0, |entry| entry.value.len());
            place.modify(len.max(written), &mut |value| {
                for op in ops {
                    write_reply(&mut scratch.bytes, apply(value, op), resp3);
                }
            })?;
        }
        None => {
            let entry = place.read();
            let value = entry.as_ref().map_or(&b""[..], |entry| entry.value);
            for op in ops {
                write_reply(&mut scratch.bytes, Some(get(value, op)), resp3);
            }
        }
    }
    Ok(Outcome::Encoded(since(start, scratch)))
}

/// Bytes that hold this many bits.
fn bytes_to(bits: u64) -> usize {
    usize::try_from(bits.div_ceil(8)).unwrap_or(usize::MAX)
}

fn write_header(out: &mut Vec<u8>, kind: u8, number: impl itoa::Integer) {
    out.push(kind);
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
    out.extend_from_slice(b"\r\n");
}

fn write_reply(out: &mut Vec<u8>, reply: Option<i64>, resp3: bool) {
    match reply {
        Some(number) => write_header(out, b':', number),
        None if resp3 => out.extend_from_slice(b"_\r\n"),
        None => out.extend_from_slice(b"$-1\r\n"),
    }
}

/// Runs one operation on a value that is long enough for it, if it writes.
fn apply(value: &mut [u8], op: &FieldOp) -> Option<i64> {
    let old = get(value, op);
    let (wanted, overflow) = match op.action {
        FieldAction::Get => return Some(old),
        FieldAction::Set(new, overflow) => (set_operand(new, op), overflow),
        FieldAction::IncrBy(amount, overflow) => (i128::from(old) + i128::from(amount), overflow),
    };
    let new = fit(wanted, op, overflow)?;
    put(value, op, new);
    Some(if let FieldAction::Set(..) = op.action { old } else { new })
}

/// The number that SET means: for an unsigned field the operand's bits, so that -1 is the greatest number there is.
fn set_operand(new: i64, op: &FieldOp) -> i128 {
    if op.signed { i128::from(new) } else { i128::from(new.cast_unsigned()) }
}

/// The number that goes into the field for the wanted one; `None` if it does not fit and must not be made to.
fn fit(wanted: i128, op: &FieldOp, overflow: Overflow) -> Option<i64> {
    let (least, most) = if op.signed {
        (-(1_i128 << (op.bits - 1)), (1_i128 << (op.bits - 1)) - 1)
    } else {
        (0, (1_i128 << op.bits) - 1)
    };
    let fitted = match overflow {
        _ if (least..=most).contains(&wanted) => wanted,
        Overflow::Fail => return None,
        Overflow::Saturate => wanted.clamp(least, most),
        Overflow::Wrap => (wanted - least).rem_euclid(most - least + 1) + least,
    };
    // At most 64 bits signed and 63 unsigned.
    i64::try_from(fitted).ok()
}

/// Reads the field; bits behind the value's end are zeros.
fn get(value: &[u8], op: &FieldOp) -> i64 {
    let window = window(value, op.offset);
    let bits = u32::from(op.bits);
    let raw = (window << (op.offset % 8) >> (128 - bits)) as u64;
    if op.signed { (raw << (64 - bits)).cast_signed() >> (64 - bits) } else { raw.cast_signed() }
}

fn put(value: &mut [u8], op: &FieldOp, new: i64) {
    let first = bytes_to(op.offset + 1) - 1;
    let shift = 128 - u32::from(op.bits) - (op.offset % 8) as u32;
    let mask = ((1_u128 << op.bits) - 1) << shift;
    let window = window(value, op.offset) & !mask | (u128::from(new.cast_unsigned()) << shift) & mask;
    let end = bytes_to(op.offset + u64::from(op.bits));
    value[first..end].copy_from_slice(&window.to_be_bytes()[..end - first]);
}

/// Sixteen bytes from the one that has this bit, as a number; zeros behind the end.
fn window(value: &[u8], offset: u64) -> u128 {
    let first = bytes_to(offset + 1) - 1;
    let rest = value.get(first..).unwrap_or_default();
    let mut bytes = [0; 16];
    let len = rest.len().min(16);
    bytes[..len].copy_from_slice(&rest[..len]);
    u128::from_be_bytes(bytes)
}
