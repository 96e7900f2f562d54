//! Commands about when keys expire, and the times that others take as options.

use super::*;
use crate::command::ops::{ExpireWhen, TtlForm};
use crate::store::Expiry;

/// The latest expiry that an item can carry: 48 bits of milliseconds, in the year 10889. Later ones are brought forward to it.
const LATEST_MS: u64 = (1 << 48) - 1;

/// What a time argument counts, and from when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// From now.
    Seconds,
    /// From now.
    Millis,
    /// Since 1970.
    AtSeconds,
    /// Since 1970.
    AtMillis,
}

impl Unit {
    /// EX, PX, EXAT, PXAT.
    pub fn of_option(option: &[u8]) -> Option<Unit> {
        match option {
            _ if option.eq_ignore_ascii_case(b"ex") => Some(Unit::Seconds),
            _ if option.eq_ignore_ascii_case(b"px") => Some(Unit::Millis),
            _ if option.eq_ignore_ascii_case(b"exat") => Some(Unit::AtSeconds),
            _ if option.eq_ignore_ascii_case(b"pxat") => Some(Unit::AtMillis),
            _ => None,
        }
    }

    /// Unix milliseconds that an item can carry and that lie ahead.
    pub fn ahead(self, amount: i64, now_ms: u64) -> Option<u64> {
        self.resolve(amount, now_ms).filter(|_| amount > 0).and_then(latest)
    }

    /// Unix milliseconds; `None` if they do not fit. Times before 1970 are negative.
    fn resolve(self, amount: i64, now_ms: u64) -> Option<i64> {
        let ms = match self {
            Unit::Seconds | Unit::AtSeconds => amount.checked_mul(1000)?,
            Unit::Millis | Unit::AtMillis => amount,
        };
        match self {
            Unit::Seconds | Unit::Millis => ms.checked_add_unsigned(now_ms),
            Unit::AtSeconds | Unit::AtMillis => Some(ms),
        }
    }
}

/// A time as the client wrote it, after an option such as EX.
#[derive(Clone, Copy, Debug)]
pub struct Deadline<'a> {
    pub unit: Unit,
    pub amount: &'a [u8],
}

impl Deadline<'_> {
    /// Unix milliseconds of a time that must lie after 1970 and, if it counts from now, ahead.
    ///
    /// # Errors
    /// Not an integer, not positive, or too large; the text names the command.
    pub fn at_ms(self, now_ms: u64, command: &str) -> Result<u64, ErrorText> {
        let amount = integer(self.amount)?;
        let at_ms = self.unit.resolve(amount, now_ms).filter(|_| amount > 0);
        at_ms.and_then(latest).ok_or_else(|| invalid_time(command))
    }
}

/// A time that an item can carry; `None` for negative ones.
pub fn latest(at_ms: i64) -> Option<u64> {
    u64::try_from(at_ms).ok().map(|at_ms| at_ms.min(LATEST_MS))
}

fn invalid_time(command: &str) -> ErrorText {
    format!("ERR invalid expire time in '{command}' command").into()
}

/// GETEX key [EX s | PX ms | EXAT s | PXAT ms | PERSIST]
pub fn getex<'a>(args: &[&'a [u8]], ctx: &PlanContext<'a, '_>) -> Result<Op<'a>, ErrorText> {
    let mut deadline: Option<Deadline> = None;
    let mut persist = false;
    let mut rest = args[2..].iter().copied();
    while let Some(option) = rest.next() {
        if option.eq_ignore_ascii_case(b"persist") && deadline.is_none() {
            persist = true;
        } else if let Some(unit) = Unit::of_option(option).filter(|_| !persist) {
            let amount = rest.next().ok_or(SYNTAX)?;
            if deadline.is_some_and(|earlier| earlier.unit != unit) {
                return Err(SYNTAX.into());
            }
            deadline = Some(Deadline { unit, amount });
        } else {
            return Err(SYNTAX.into());
        }
    }
    Ok(Op::GetEx(match deadline {
        Some(deadline) => Some(Expiry::At(deadline.at_ms(ctx.now_ms, "getex")?)),
        None if persist => Some(Expiry::None),
        None => None,
    }))
}

pub fn expire<'a>(args: &[&'a [u8]], ctx: &PlanContext<'a, '_>) -> Result<Op<'a>, ErrorText> {
    expire_at(Unit::Seconds, "expire", args, ctx)
}

pub fn pexpire<'a>(args: &[&'a [u8]], ctx: &PlanContext<'a, '_>) -> Result<Op<'a>, ErrorText> {
    expire_at(Unit::Millis, "pexpire", args, ctx)
}

pub fn expireat<'a>(args: &[&'a [u8]], ctx: &PlanContext<'a, '_>) -> Result<Op<'a>, ErrorText> {
    expire_at(Unit::AtSeconds, "expireat", args, ctx)
}

pub fn pexpireat<'a>(args: &[&'a [u8]], ctx: &PlanContext<'a, '_>) -> Result<Op<'a>, ErrorText> {
    expire_at(Unit::AtMillis, "pexpireat", args, ctx)
}

fn expire_at<'a>(
    unit: Unit,
    command: &str,
    args: &[&'a [u8]],
    ctx: &PlanContext<'a, '_>,
) -> Result<Op<'a>, ErrorText> {
    let when = expire_when(&args[3..])?;
    let at_ms = unit.resolve(integer(args[2])?, ctx.now_ms).ok_or_else(|| invalid_time(command))?;
    Ok(Op::ExpireAt { at_ms, when })
}

fn expire_when(options: &[&[u8]]) -> Result<ExpireWhen, ErrorText> {
    let mut when = ExpireWhen::default();
    for option in options {
        match option {
            _ if option.eq_ignore_ascii_case(b"nx") => when.nx = true,
            _ if option.eq_ignore_ascii_case(b"xx") => when.xx = true,
            _ if option.eq_ignore_ascii_case(b"gt") => when.gt = true,
            _ if option.eq_ignore_ascii_case(b"lt") => when.lt = true,
            _ => return Err(format!("ERR Unsupported option {}", String::from_utf8_lossy(option)).into()),
        }
    }
    if when.nx && (when.xx || when.gt || when.lt) {
        return Err("ERR NX and XX, GT or LT options at the same time are not compatible".into());
    }
    if when.gt && when.lt {
        return Err("ERR GT and LT options at the same time are not compatible".into());
    }
    Ok(when)
}

pub fn ttl<'a>(_args: &[&'a [u8]], _ctx: &PlanContext<'a, '_>) -> Result<Op<'a>, ErrorText> {
    Ok(Op::Ttl(TtlForm::Seconds))
}

pub fn pttl<'a>(_args: &[&'a [u8]], _ctx: &PlanContext<'a, '_>) -> Result<Op<'a>, ErrorText> {
    Ok(Op::Ttl(TtlForm::Millis))
}

pub fn expiretime<'a>(_args: &[&'a [u8]], _ctx: &PlanContext<'a, '_>) -> Result<Op<'a>, ErrorText> {
    Ok(Op::Ttl(TtlForm::AtSeconds))
}

pub fn pexpiretime<'a>(_args: &[&'a [u8]], _ctx: &PlanContext<'a, '_>) -> Result<Op<'a>, ErrorText> {
    Ok(Op::Ttl(TtlForm::AtMillis))
}

pub fn persist<'a>(_args: &[&'a [u8]], _ctx: &PlanContext<'a, '_>) -> Result<Op<'a>, ErrorText> {
    Ok(Op::Persist)
}
