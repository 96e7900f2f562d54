//! Leases: who misses a key, or finds it stale, may win the right to compute it anew; the others are told, or wait (KV.GET and its
//! like).
//!
//! The state is the item's own, and the same that memcached's meta commands use: a lease that a RESP client has won shows as `W` and
//! `Z` there.

use super::*;
use crate::command::ops::{Fetch, RemoveItem, StoreItem, StoreMode};
use crate::command::plan::expiry::{Deadline, Unit};
use crate::limits;
use crate::store::Expiry;

/// KV.GET's options.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeaseOptions {
    /// On a miss the finder wins, for so many milliseconds.
    pub lease_ms: Option<u64>,
    /// With so little time left the finder wins.
    pub recache_ms: Option<u64>,
    /// How long to wait for who has won.
    pub wait_ms: Option<u64>,
}

impl LeaseOptions {
    /// KV.GET key [LEASE milliseconds] [RECACHE milliseconds] [WAIT milliseconds]
    ///
    /// # Errors
    /// Redis's syntax error; a number that is none, negative or too large.
    pub fn parse(args: &[&[u8]]) -> Result<LeaseOptions, ErrorText> {
        let mut options = LeaseOptions::default();
        let (pairs, odd) = args.as_chunks::<2>();
        if !odd.is_empty() {
            return Err(SYNTAX.into());
        }
        for [name, value] in pairs {
            let (place, most) = match &name.to_ascii_uppercase()[..] {
                b"LEASE" => (&mut options.lease_ms, limits::LEASE_MS),
                b"RECACHE" => (&mut options.recache_ms, limits::LEASE_MS),
                b"WAIT" => (&mut options.wait_ms, limits::LEASE_WAIT_MS),
                _ => return Err(SYNTAX.into()),
            };
            let ms = u64::try_from(integer(value)?).ok().filter(|ms| *ms <= most);
            let ms = ms.ok_or_else(|| {
                let name = String::from_utf8_lossy(name).to_ascii_uppercase();
                ErrorText::from(format!("ERR {name} takes 0 to {most} milliseconds"))
            })?;
            if place.replace(ms).is_some() {
                return Err(SYNTAX.into());
            }
        }
        Ok(options)
    }

    /// The operation that this asks for.
    pub fn fetch(self, now_ms: u64) -> Fetch {
        let vivify = self.lease_ms.filter(|ms| *ms > 0).map(|ms| Expiry::At(now_ms.saturating_add(ms)));
        Fetch { value: true, cas: true, vivify, recache_below_ms: self.recache_ms, ..Fetch::default() }
    }
}

/// Whether KV.GET may be answered at once.
pub fn waits_for_nobody(args: &[&[u8]]) -> bool {
    !args[2..].iter().step_by(2).any(|name| name.eq_ignore_ascii_case(b"wait"))
}

pub fn get<'a>(args: &[&'a [u8]], ctx: &PlanContext<'a, '_>) -> Result<Op<'a>, ErrorText> {
    Ok(Op::Fetch(ctx.bump.alloc(LeaseOptions::parse(&args[2..])?.fetch(ctx.now_ms))))
}

/// KV.SET key value [CAS cas] [EX s | PX ms | EXAT s | PXAT ms | KEEPTTL]: with a CAS only if the item still has it.
pub fn set<'a>(args: &[&'a [u8]], ctx: &PlanContext<'a, '_>) -> Result<Op<'a>, ErrorText> {
    let (mut compare, mut expiry) = (None, None);
    let mut rest = args[3..].iter().copied();
    while let Some(option) = rest.next() {
        if option.eq_ignore_ascii_case(b"cas") && compare.is_none() {
            compare = Some(cas(rest.next().ok_or(SYNTAX)?)?);
        } else if option.eq_ignore_ascii_case(b"keepttl") && expiry.is_none() {
            expiry = Some(Expiry::Keep);
        } else if let Some(unit) = Unit::of_option(option).filter(|_| expiry.is_none()) {
            let amount = rest.next().ok_or(SYNTAX)?;
            expiry = Some(Expiry::At(Deadline { unit, amount }.at_ms(ctx.now_ms, "kv.set")?));
        } else {
            return Err(SYNTAX.into());
        }
    }
    let value = payload(args[2], ctx)?;
    let how = StoreItem {
        flags: 0,
        expiry: expiry.unwrap_or(Expiry::None),
        mode: StoreMode::Set,
        compare,
        invalidate: false,
        new_cas: None,
        cas: false,
        vivify: None,
    };
    Ok(Op::Store { value, how: ctx.bump.alloc(how) })
}

/// KV.STALE key [PX milliseconds]: served on until somebody writes it anew, whoever reads it first has won; at most so long.
pub fn stale<'a>(args: &[&'a [u8]], ctx: &PlanContext<'a, '_>) -> Result<Op<'a>, ErrorText> {
    let touch = match args[2..] {
        [] => None,
        [option, amount] => {
            let unit = Unit::of_option(option).ok_or(SYNTAX)?;
            Some(Expiry::At(Deadline { unit, amount }.at_ms(ctx.now_ms, "kv.stale")?))
        }
        _ => return Err(SYNTAX.into()),
    };
    Ok(Op::Remove(ctx.bump.alloc(RemoveItem { invalidate: true, touch, ..RemoveItem::default() })))
}

/// KV.RELEASE key cas: gives a lease back that was won on a miss; the next who asks wins.
pub fn release<'a>(args: &[&'a [u8]], ctx: &PlanContext<'a, '_>) -> Result<Op<'a>, ErrorText> {
    let compare = Some(cas(args[2])?);
    Ok(Op::Remove(ctx.bump.alloc(RemoveItem { compare, ..RemoveItem::default() })))
}

/// Without sign, of 64 bits.
fn cas(digits: &[u8]) -> Result<u64, ErrorText> {
    let number =
        std::str::from_utf8(digits).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    number
        .and_then(|text| text.parse().ok())
        .ok_or(ErrorText::Borrowed("ERR CAS is not a number of 64 bits without sign"))
}
