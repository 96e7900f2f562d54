//! Commands that do not care what the value is.

use super::*;
use crate::command::ops::ObjectField;
use crate::store::DATABASES;

pub fn pong() -> Outcome {
    Outcome::Pong
}

/// DEL and UNLINK of one key.
pub fn del<'a>(_args: &[&'a [u8]], _ctx: &PlanContext<'a, '_>) -> Result<Op<'a>, ErrorText> {
    Ok(Op::Del)
}

/// EXISTS of one key.
pub fn exists<'a>(_args: &[&'a [u8]], _ctx: &PlanContext<'a, '_>) -> Result<Op<'a>, ErrorText> {
    Ok(Op::Exists)
}

/// TOUCH of one key.
pub fn touch<'a>(_args: &[&'a [u8]], _ctx: &PlanContext<'a, '_>) -> Result<Op<'a>, ErrorText> {
    Ok(Op::Touch)
}

pub fn type_of<'a>(_args: &[&'a [u8]], _ctx: &PlanContext<'a, '_>) -> Result<Op<'a>, ErrorText> {
    Ok(Op::TypeOf)
}

pub fn move_key<'a>(args: &[&'a [u8]], ctx: &PlanContext<'a, '_>) -> Result<Op<'a>, ErrorText> {
    let db = integer(args[2])?;
    let db = i32::try_from(db).map_err(|_| NOT_AN_INT32)?;
    let db = u8::try_from(db).ok().filter(|db| *db < DATABASES).ok_or("ERR DB index is out of range")?;
    if db == ctx.session.db {
        return Err("ERR source and destination objects are the same".into());
    }
    Ok(Op::Move { db, large_threshold: ctx.store.large_threshold() })
}

pub fn object_encoding<'a>(_args: &[&'a [u8]], _ctx: &PlanContext<'a, '_>) -> Result<Op<'a>, ErrorText> {
    Ok(Op::Object(ObjectField::Encoding))
}

pub fn object_freq<'a>(_args: &[&'a [u8]], _ctx: &PlanContext<'a, '_>) -> Result<Op<'a>, ErrorText> {
    Ok(Op::Object(ObjectField::Freq))
}

pub fn object_idletime<'a>(_args: &[&'a [u8]], _ctx: &PlanContext<'a, '_>) -> Result<Op<'a>, ErrorText> {
    Ok(Op::Object(ObjectField::IdleTime))
}

pub fn object_refcount<'a>(_args: &[&'a [u8]], _ctx: &PlanContext<'a, '_>) -> Result<Op<'a>, ErrorText> {
    Ok(Op::Object(ObjectField::RefCount))
}

/// MEMORY USAGE key [SAMPLES count]: the count is checked, and means nothing for values that have no parts.
pub fn memory_usage<'a>(args: &[&'a [u8]], _ctx: &PlanContext<'a, '_>) -> Result<Op<'a>, ErrorText> {
    let mut rest = args[3..].iter();
    while let Some(option) = rest.next() {
        if !option.eq_ignore_ascii_case(b"samples") {
            return Err(SYNTAX.into());
        }
        if integer(rest.next().ok_or(SYNTAX)?)? < 0 {
            return Err(SYNTAX.into());
        }
    }
    Ok(Op::MemoryUsage)
}
