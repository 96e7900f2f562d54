//! Commands that see a value as a run of bits, the highest of each byte first.

use super::*;
use crate::command::number::parse_i64;
use crate::command::ops::{BitPosRange, BitRange, FieldAction, FieldOp, Overflow};

const BAD_OFFSET: &str = "ERR bit offset is not an integer or out of range";
const BAD_BIT: &str = "ERR bit is not an integer or out of range";
const BAD_FIELD: &str =
    "ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.";

/// Bits in the largest value that the protocol can carry, 512 MiB.
const MAX_BITS: u64 = (512 << 20) * 8;

pub fn getbit<'a>(args: &[&'a [u8]], _ctx: &PlanContext<'a, '_>) -> Result<Op<'a>, ErrorText> {
    Ok(Op::GetBit(bit_offset(args[2], None)?))
}

pub fn setbit<'a>(args: &[&'a [u8]], _ctx: &PlanContext<'a, '_>) -> Result<Op<'a>, ErrorText> {
    let offset = bit_offset(args[2], None)?;
    match parse_i64(args[3]) {
        Some(bit @ 0..=1) => Ok(Op::SetBit { offset, on: bit == 1 }),
        _ => Err(BAD_BIT.into()),
    }
}

/// A bit's position; with `width`, "#3" is the fourth integer of that many bits.
fn bit_offset(arg: &[u8], width: Option<u8>) -> Result<u64, ErrorText> {
    let (digits, unit) = match (arg, width) {
        ([b'#', digits @ ..], Some(width)) => (digits, u64::from(width)),
        _ => (arg, 1),
    };
    let number = parse_i64(digits).and_then(|number| u64::try_from(number).ok());
    number
        .and_then(|number| number.checked_mul(unit))
        .filter(|offset| *offset < MAX_BITS)
        .ok_or(ErrorText::Borrowed(BAD_OFFSET))
}

/// BITCOUNT key [start [end [BYTE | BIT]]]
pub fn bitcount<'a>(args: &[&'a [u8]], _ctx: &PlanContext<'a, '_>) -> Result<Op<'a>, ErrorText> {
    match args.len() {
        2 => Ok(Op::BitCount(None)),
        3..=5 => {
            let start = integer(args[2])?;
            let bits = args.get(4).map_or(Ok(false), |unit| in_bits(unit))?;
            let end = args.get(3).map_or(Ok(-1), |end| integer(end))?;
            Ok(Op::BitCount(Some(BitRange { start, end, bits })))
        }
        _ => Err(SYNTAX.into()),
    }
}

/// BITPOS key bit [start [end [BYTE | BIT]]]
pub fn bitpos<'a>(args: &[&'a [u8]], ctx: &PlanContext<'a, '_>) -> Result<Op<'a>, ErrorText> {
    let bit = match integer(args[2])? {
        bit @ 0..=1 => bit == 1,
        _ => return Err("ERR The bit argument must be 1 or 0.".into()),
    };
    if args.len() > 6 {
        return Err(SYNTAX.into());
    }
    let start = args.get(3).map_or(Ok(0), |start| integer(start))?;
    let bits = args.get(5).map_or(Ok(false), |unit| in_bits(unit))?;
    let end = args.get(4).map_or(Ok(-1), |end| integer(end))?;
    let range = BitRange { start, end, bits };
    Ok(Op::BitPos { bit, range: ctx.bump.alloc(BitPosRange { range, end_given: args.len() > 4 }) })
}

fn in_bits(unit: &[u8]) -> Result<bool, ErrorText> {
    match unit {
        _ if unit.eq_ignore_ascii_case(b"bit") => Ok(true),
        _ if unit.eq_ignore_ascii_case(b"byte") => Ok(false),
        _ => Err(SYNTAX.into()),
    }
}

/// BITFIELD key [GET type offset | [OVERFLOW WRAP | SAT | FAIL] SET type offset value | INCRBY type offset amount] …
pub fn bitfield<'a>(args: &[&'a [u8]], ctx: &PlanContext<'a, '_>) -> Result<Op<'a>, ErrorText> {
    fields(args, ctx, false)
}

/// BITFIELD_RO key [GET type offset] …
pub fn bitfield_ro<'a>(args: &[&'a [u8]], ctx: &PlanContext<'a, '_>) -> Result<Op<'a>, ErrorText> {
    fields(args, ctx, true)
}

fn fields<'a>(args: &[&'a [u8]], ctx: &PlanContext<'a, '_>, read_only: bool) -> Result<Op<'a>, ErrorText> {
    let mut ops = Vec::new();
    let mut overflow = Overflow::Wrap;
    let mut rest = args[2..].iter().copied();
    while let Some(name) = rest.next() {
        if name.eq_ignore_ascii_case(b"overflow") {
            overflow = overflow_of(rest.next().ok_or(SYNTAX)?)?;
            continue;
        }
        let write = match name {
            _ if name.eq_ignore_ascii_case(b"get") => None,
            _ if name.eq_ignore_ascii_case(b"set") => {
                Some(FieldAction::Set as fn(i64, Overflow) -> FieldAction)
            }
            _ if name.eq_ignore_ascii_case(b"incrby") => {
                Some(FieldAction::IncrBy as fn(i64, Overflow) -> FieldAction)
            }
            _ => return Err(SYNTAX.into()),
        };
        let operands = (rest.next(), rest.next(), write.map(|_| rest.next()));
        let (Some(kind), Some(offset)) = (operands.0, operands.1) else { return Err(SYNTAX.into()) };
        if operands.2 == Some(None) {
            return Err(SYNTAX.into());
        }
        let (signed, bits) = field_type(kind)?;
        let offset = bit_offset(offset, Some(bits))?;
        let action = match (write, operands.2.flatten()) {
            (Some(write), Some(amount)) => write(integer(amount)?, overflow),
            _ => FieldAction::Get,
        };
        ops.push(FieldOp { offset, bits, signed, action });
    }
    if read_only && ops.iter().any(|op| op.action != FieldAction::Get) {
        return Err("ERR BITFIELD_RO only supports the GET subcommand".into());
    }
    Ok(Op::BitField(ctx.bump.alloc_slice_copy(&ops)))
}

fn overflow_of(name: &[u8]) -> Result<Overflow, ErrorText> {
    match name {
        _ if name.eq_ignore_ascii_case(b"wrap") => Ok(Overflow::Wrap),
        _ if name.eq_ignore_ascii_case(b"sat") => Ok(Overflow::Saturate),
        _ if name.eq_ignore_ascii_case(b"fail") => Ok(Overflow::Fail),
        _ => Err("ERR Invalid OVERFLOW type specified".into()),
    }
}

/// "i1" to "i64", "u1" to "u63": whether it is signed, and its width.
fn field_type(kind: &[u8]) -> Result<(bool, u8), ErrorText> {
    let (signed, digits, most) = match kind {
        [b'i', digits @ ..] => (true, digits, 64),
        [b'u', digits @ ..] => (false, digits, 63),
        _ => return Err(BAD_FIELD.into()),
    };
    let bits = parse_i64(digits).and_then(|bits| u8::try_from(bits).ok());
    bits.filter(|bits| (1..=most).contains(bits)).map(|bits| (signed, bits)).ok_or(BAD_FIELD.into())
}
