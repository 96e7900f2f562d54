//! Numbers that are counted up and down.

use super::*;
use crate::command::long_double::LongDouble;

pub fn incr<'a>(_args: &[&'a [u8]], _ctx: &PlanContext<'a, '_>) -> Result<Op<'a>, ErrorText> {
    Ok(Op::IncrBy(1))
}

pub fn decr<'a>(_args: &[&'a [u8]], _ctx: &PlanContext<'a, '_>) -> Result<Op<'a>, ErrorText> {
    Ok(Op::IncrBy(-1))
}

pub fn incrby<'a>(args: &[&'a [u8]], _ctx: &PlanContext<'a, '_>) -> Result<Op<'a>, ErrorText> {
    Ok(Op::IncrBy(integer(args[2])?))
}

pub fn decrby<'a>(args: &[&'a [u8]], _ctx: &PlanContext<'a, '_>) -> Result<Op<'a>, ErrorText> {
    let amount = integer(args[2])?;
    Ok(Op::IncrBy(amount.checked_neg().ok_or("ERR decrement would overflow")?))
}

pub fn incrbyfloat<'a>(args: &[&'a [u8]], _ctx: &PlanContext<'a, '_>) -> Result<Op<'a>, ErrorText> {
    Ok(Op::IncrByFloat(LongDouble::parse(args[2]).ok_or(NOT_A_FLOAT)?))
}
