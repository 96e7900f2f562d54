//! Commands that read and write whole values and parts of them.

use super::*;
use crate::command::ops::{Condition, SetIf, SetReply};
use crate::command::plan::expiry::{Deadline, Unit};
use crate::proto::Refusal;
use crate::store::Expiry;

pub fn get<'a>(_args: &[&'a [u8]], _ctx: &PlanContext<'a, '_>) -> Result<Op<'a>, ErrorText> {
    Ok(Op::Get)
}

/// SET key value [NX | XX | IFEQ v | IFNE v | IFDEQ d | IFDNE d] [GET] [EX s | PX ms | EXAT s | PXAT ms | KEEPTTL]
#[inline]
pub fn set<'a>(args: &[&'a [u8]], ctx: &PlanContext<'a, '_>) -> Result<Op<'a>, ErrorText> {
    if args.len() == 3 {
        return Ok(Op::Set { value: payload(args[2], ctx)?, expiry: Expiry::None });
    }
    set_with_options(args, ctx)
}

fn set_with_options<'a>(args: &[&'a [u8]], ctx: &PlanContext<'a, '_>) -> Result<Op<'a>, ErrorText> {
    let mut condition = Condition::Always;
    let mut deadline: Option<Deadline> = None;
    let (mut keep, mut old) = (false, false);
    let mut rest = args[3..].iter().copied();
    while let Some(option) = rest.next() {
        if option.eq_ignore_ascii_case(b"get") {
            old = true;
        } else if option.eq_ignore_ascii_case(b"keepttl") && deadline.is_none() {
            keep = true;
        } else if let Some(unit) = Unit::of_option(option).filter(|_| !keep) {
            let amount = rest.next().ok_or(SYNTAX)?;
            if deadline.is_some_and(|earlier| earlier.unit != unit) {
                return Err(SYNTAX.into());
            }
            deadline = Some(Deadline { unit, amount });
        } else {
            condition = one_condition(condition, option, &mut rest)?;
        }
    }
    let expiry = match deadline {
        Some(deadline) => Expiry::At(deadline.at_ms(ctx.now_ms, "set")?),
        None if keep => Expiry::Keep,
        None => Expiry::None,
    };
    let value = payload(args[2], ctx)?;
    if condition == Condition::Always && !old {
        return Ok(Op::Set { value, expiry });
    }
    let reply = if old { SetReply::Old } else { SetReply::Status };
    Ok(Op::SetIf { value, how: ctx.bump.alloc(SetIf { expiry, condition, reply }) })
}

/// Reads one condition; NX or XX may be repeated, others may not meet.
fn one_condition<'a>(
    earlier: Condition<'a>,
    option: &[u8],
    rest: &mut impl Iterator<Item = &'a [u8]>,
) -> Result<Condition<'a>, ErrorText> {
    let plain = match option {
        _ if option.eq_ignore_ascii_case(b"nx") => Some(Condition::Missing),
        _ if option.eq_ignore_ascii_case(b"xx") => Some(Condition::Exists),
        _ => None,
    };
    if let Some(condition) = plain {
        return if earlier == Condition::Always || earlier == condition {
            Ok(condition)
        } else {
            Err(SYNTAX.into())
        };
    }
    if earlier != Condition::Always {
        return Err(SYNTAX.into());
    }
    comparison(option, rest.next().ok_or(SYNTAX)?)
}

/// IFEQ, IFNE, IFDEQ, IFDNE with their operand.
fn comparison<'a>(option: &[u8], operand: &'a [u8]) -> Result<Condition<'a>, ErrorText> {
    let condition = match option {
        _ if option.eq_ignore_ascii_case(b"ifeq") => Condition::Equals(operand),
        _ if option.eq_ignore_ascii_case(b"ifne") => Condition::Differs(operand),
        _ if option.eq_ignore_ascii_case(b"ifdeq") => Condition::DigestEquals(operand),
        _ if option.eq_ignore_ascii_case(b"ifdne") => Condition::DigestDiffers(operand),
        _ => return Err(SYNTAX.into()),
    };
    if let Condition::DigestEquals(_) | Condition::DigestDiffers(_) = condition
        && operand.len() != 16
    {
        return Err("ERR must be exactly 16 hexadecimal characters".into());
    }
    Ok(condition)
}

pub fn setex<'a>(args: &[&'a [u8]], ctx: &PlanContext<'a, '_>) -> Result<Op<'a>, ErrorText> {
    set_for(Unit::Seconds, "setex", args, ctx)
}

pub fn psetex<'a>(args: &[&'a [u8]], ctx: &PlanContext<'a, '_>) -> Result<Op<'a>, ErrorText> {
    set_for(Unit::Millis, "psetex", args, ctx)
}

fn set_for<'a>(
    unit: Unit,
    command: &str,
    args: &[&'a [u8]],
    ctx: &PlanContext<'a, '_>,
) -> Result<Op<'a>, ErrorText> {
    let expiry = Expiry::At(Deadline { unit, amount: args[2] }.at_ms(ctx.now_ms, command)?);
    Ok(Op::Set { value: payload(args[3], ctx)?, expiry })
}

pub fn setnx<'a>(args: &[&'a [u8]], ctx: &PlanContext<'a, '_>) -> Result<Op<'a>, ErrorText> {
    const HOW: SetIf<'_> =
        SetIf { expiry: Expiry::None, condition: Condition::Missing, reply: SetReply::Count };
    Ok(Op::SetIf { value: payload(args[2], ctx)?, how: &HOW })
}

pub fn getset<'a>(args: &[&'a [u8]], ctx: &PlanContext<'a, '_>) -> Result<Op<'a>, ErrorText> {
    const HOW: SetIf<'_> = SetIf { expiry: Expiry::None, condition: Condition::Always, reply: SetReply::Old };
    Ok(Op::SetIf { value: payload(args[2], ctx)?, how: &HOW })
}

/// MSET of one pair.
pub fn mset<'a>(args: &[&'a [u8]], ctx: &PlanContext<'a, '_>) -> Result<Op<'a>, ErrorText> {
    Ok(Op::Set { value: payload(args[2], ctx)?, expiry: Expiry::None })
}

/// MGET of one key.
pub fn mget<'a>(_args: &[&'a [u8]], _ctx: &PlanContext<'a, '_>) -> Result<Op<'a>, ErrorText> {
    Ok(Op::GetInArray)
}

pub fn getdel<'a>(_args: &[&'a [u8]], _ctx: &PlanContext<'a, '_>) -> Result<Op<'a>, ErrorText> {
    Ok(Op::GetDel)
}

pub fn strlen<'a>(_args: &[&'a [u8]], _ctx: &PlanContext<'a, '_>) -> Result<Op<'a>, ErrorText> {
    Ok(Op::Strlen)
}

pub fn append<'a>(args: &[&'a [u8]], _ctx: &PlanContext<'a, '_>) -> Result<Op<'a>, ErrorText> {
    Ok(Op::Append(args[2]))
}

pub fn getrange<'a>(args: &[&'a [u8]], _ctx: &PlanContext<'a, '_>) -> Result<Op<'a>, ErrorText> {
    Ok(Op::GetRange { start: integer(args[2])?, end: integer(args[3])? })
}

pub fn setrange<'a>(args: &[&'a [u8]], ctx: &PlanContext<'a, '_>) -> Result<Op<'a>, ErrorText> {
    let offset = integer(args[2])?;
    let offset = usize::try_from(offset).map_err(|_| "ERR offset is out of range")?;
    let end = offset.saturating_add(args[3].len());
    if end > ctx.store.config().max_value_size && !args[3].is_empty() {
        return Err(Refusal::TooLarge.text().into());
    }
    Ok(Op::SetRange { offset, bytes: args[3] })
}

pub fn digest<'a>(_args: &[&'a [u8]], _ctx: &PlanContext<'a, '_>) -> Result<Op<'a>, ErrorText> {
    Ok(Op::Digest)
}

pub fn delifeq<'a>(args: &[&'a [u8]], _ctx: &PlanContext<'a, '_>) -> Result<Op<'a>, ErrorText> {
    Ok(Op::DelIf(Condition::Equals(args[2])))
}

/// DELEX key [IFEQ v | IFNE v | IFDEQ d | IFDNE d]
pub fn delex<'a>(args: &[&'a [u8]], _ctx: &PlanContext<'a, '_>) -> Result<Op<'a>, ErrorText> {
    match args.len() {
        2 => Ok(Op::Del),
        4 => Ok(Op::DelIf(comparison(args[2], args[3])?)),
        _ => Err("ERR wrong number of arguments for 'delex' command".into()),
    }
}
