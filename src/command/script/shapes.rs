//! The few scripts that nearly all clients of caches send, recognised by their form and run as one operation on one key.
//!
//! Locks are released and extended, counters get a time to live with their first hit, what exists is counted up, what is missing is
//! set. Each of these is a line or two of Lua in many spellings. A script whose canonical form (tokens.rs) is that of a template here
//! needs no Lua and no other partition than its key's. Its replies are those that Lua would give, errors included; where its arguments
//! are such that this is not certain, Lua runs it.

use super::cache::{Digest, hex};
use super::raise::CHUNK;
use super::tokens::{Atom, Operand, canonical};
use crate::command::ops::{Scripted, ScriptedStep};
use crate::command::plan::expiry::Unit;
use crate::command::{Op, Payload, PlanContext, integer, payload};
use std::sync::LazyLock;

/// Longer sources are not looked at, bytes.
pub const SHAPE_BYTES: usize = 2048;

/// Arguments that a template may name.
const SLOTS: usize = 3;

/// Whole numbers up to here are the same in Lua as in a string.
const EXACT: i64 = 1 << 53;

/// What a recognised script does with its key. Numbers in comments are the slots: `ARGV[n]` of the template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Removes the key if its value is 1; answers nil otherwise, or 0.
    Unlock { nil: bool },
    /// Expires it in 2 if its value is 1.
    Extend { nil: bool },
    /// redis-py's: adds 2 to the time it has if 3 is "0"; answers 0 if it has none.
    ExtendBy,
    /// Adds 1; when that is the result it expires in 2.
    CountBy,
    /// Adds one; when one is the result it expires in 2.
    Count,
    /// Adds 1; when one is the result it expires in 2.
    CountByFromOne,
    /// Adds 1 if it is there.
    CountIfExists,
    /// Adds one if it is there.
    CountOneIfExists,
    /// Sets it to 1, to expire in 2, if it is missing.
    SetIfMissing,
}

/// A script that can run without Lua.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    kind: Kind,
    /// What the template's arguments are in the script.
    slots: [Option<Operand>; SLOTS],
    unit: Option<ShapeUnit>,
    /// How many arguments it names.
    args: usize,
    /// Of its first command that writes: the place that an error names.
    line: usize,
    digest: Digest,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ShapeUnit {
    Seconds,
    Millis,
}

struct Template {
    kind: Kind,
    atoms: Vec<Atom>,
}

/// How scripts ask whether the value is the owner's; each is followed by what happens if it is.
const OWNED: [&str; 3] = [
    "if redis.call('get',KEYS[1]) == ARGV[1] then",
    "if ARGV[1] == redis.call('get',KEYS[1]) then",
    "local v = redis.call('get',KEYS[1]) if v == ARGV[1] then",
];

/// The same the other way round; each is followed by what happens if it is the owner's.
const NOT_OWNED: [&str; 3] = [
    "local v = redis.call('get',KEYS[1]) if not v or v ~= ARGV[1] then return 0 end",
    "local v = redis.call('get',KEYS[1]) if v ~= ARGV[1] then return 0 end",
    "if redis.call('get',KEYS[1]) ~= ARGV[1] then return 0 end",
];

const UNLOCK: &str = "redis.call('del',KEYS[1])";
const EXTEND: &str = "redis.call('expire',KEYS[1],tonumber(ARGV[2]))";

/// What is answered to others than the owner, and whether that is nil.
const OTHERWISE: [(&str, bool); 7] = [
    ("else return 0 end", false),
    ("end return 0", false),
    ("else return false end", true),
    ("end return false", true),
    ("else return nil end", true),
    ("end return nil", true),
    ("end", true),
];

/// A number slot is written as `tonumber(ARGV[n])`: it stands for `ARGV[n]` and for a number as well. `expire` stands for `pexpire` and
/// `setex` for `psetex` too, `del` for `unlink`.
const WHOLE: [(Kind, &str); 22] = [
    (
        Kind::ExtendBy,
        "local v = redis.call('get',KEYS[1]) if not v or v ~= ARGV[1] then return 0 end \
         local left = redis.call('pttl',KEYS[1]) if not left then left = 0 end if left < 0 then return 0 end \
         local new = ARGV[2] if ARGV[3] == '0' then new = ARGV[2] + left end redis.call('pexpire',KEYS[1],new) return 1",
    ),
    (Kind::Count, "local c = redis.call('incr',KEYS[1]) if c == 1 then EXPIRE end return c"),
    (Kind::Count, "local c = redis.call('incr',KEYS[1]) if tonumber(c) == 1 then EXPIRE end return c"),
    (Kind::Count, "local c = redis.call('incr',KEYS[1]) if 1 == c then EXPIRE end return c"),
    (
        Kind::CountByFromOne,
        "local c = redis.call('incrby',KEYS[1],tonumber(ARGV[1])) if c == 1 then EXPIRE end return c",
    ),
    (
        Kind::CountByFromOne,
        "local c = redis.call('incrby',KEYS[1],tonumber(ARGV[1])) if tonumber(c) == 1 then EXPIRE end return c",
    ),
    (
        Kind::CountBy,
        "local c = redis.call('incrby',KEYS[1],tonumber(ARGV[1])) if c == tonumber(ARGV[1]) then EXPIRE end return c",
    ),
    (
        Kind::CountBy,
        "local c = redis.call('incrby',KEYS[1],tonumber(ARGV[1])) if tonumber(c) == tonumber(ARGV[1]) then EXPIRE end return c",
    ),
    (
        Kind::CountIfExists,
        "if redis.call('exists',KEYS[1]) == 1 then return redis.call('incrby',KEYS[1],tonumber(ARGV[1])) else return false end",
    ),
    (
        Kind::CountIfExists,
        "if redis.call('exists',KEYS[1]) == 1 then return redis.call('incrby',KEYS[1],tonumber(ARGV[1])) else return nil end",
    ),
    (
        Kind::CountIfExists,
        "if redis.call('exists',KEYS[1]) == 1 then return redis.call('incrby',KEYS[1],tonumber(ARGV[1])) end",
    ),
    (
        Kind::CountIfExists,
        "if redis.call('exists',KEYS[1]) == 1 then return redis.call('incrby',KEYS[1],tonumber(ARGV[1])) end return false",
    ),
    (
        Kind::CountIfExists,
        "if redis.call('exists',KEYS[1]) == 1 then return redis.call('incrby',KEYS[1],tonumber(ARGV[1])) end return nil",
    ),
    (
        Kind::CountIfExists,
        "local e = redis.call('exists',KEYS[1]) if e == 1 then return redis.call('incrby',KEYS[1],tonumber(ARGV[1])) \
         else return false end",
    ),
    (
        Kind::CountIfExists,
        "local e = redis.call('exists',KEYS[1]) if e == 1 then return redis.call('incrby',KEYS[1],tonumber(ARGV[1])) end \
         return false",
    ),
    (
        Kind::CountOneIfExists,
        "if redis.call('exists',KEYS[1]) == 1 then return redis.call('incr',KEYS[1]) else return false end",
    ),
    (
        Kind::CountOneIfExists,
        "if redis.call('exists',KEYS[1]) == 1 then return redis.call('incr',KEYS[1]) else return nil end",
    ),
    (
        Kind::CountOneIfExists,
        "if redis.call('exists',KEYS[1]) == 1 then return redis.call('incr',KEYS[1]) end",
    ),
    (
        Kind::CountOneIfExists,
        "if redis.call('exists',KEYS[1]) == 1 then return redis.call('incr',KEYS[1]) end return false",
    ),
    (
        Kind::SetIfMissing,
        "return redis.call('exists',KEYS[1]) < 1 and redis.call('setex',KEYS[1],tonumber(ARGV[2]),ARGV[1])",
    ),
    (
        Kind::SetIfMissing,
        "return redis.call('exists',KEYS[1]) == 0 and redis.call('setex',KEYS[1],tonumber(ARGV[2]),ARGV[1])",
    ),
    (
        Kind::SetIfMissing,
        "if redis.call('exists',KEYS[1]) == 0 then return redis.call('setex',KEYS[1],tonumber(ARGV[2]),ARGV[1]) end return false",
    ),
];

static TEMPLATES: LazyLock<Vec<Template>> = LazyLock::new(|| {
    let mut all: Vec<(Kind, String)> =
        WHOLE.iter().map(|(kind, source)| (*kind, source.replace("EXPIRE", EXTEND))).collect();
    for (kind, action) in [(Kind::Unlock { nil: false }, UNLOCK), (Kind::Extend { nil: false }, EXTEND)] {
        for guard in OWNED {
            for (otherwise, nil) in OTHERWISE {
                let kind = match kind {
                    Kind::Unlock { .. } => Kind::Unlock { nil },
                    _ => Kind::Extend { nil },
                };
                all.push((kind, format!("{guard} return {action} {otherwise}")));
                all.push((kind, format!("{guard} {action} return 1 {otherwise}")));
            }
        }
        for guard in NOT_OWNED {
            all.push((kind, format!("{guard} {action} return 1")));
            all.push((kind, format!("{guard} return {action}")));
        }
    }
    let canonical = |(kind, source): (Kind, String)| {
        let (atoms, _) = canonical(source.as_bytes())?;
        Some(Template { kind, atoms })
    };
    all.into_iter().filter_map(canonical).collect()
});

impl Shape {
    /// What a script does, if it is one of the known ones.
    pub fn of(source: &[u8], digest: Digest) -> Option<Shape> {
        if source.len() > SHAPE_BYTES || source.starts_with(b"#!") {
            return None;
        }
        let (atoms, args) = canonical(source)?;
        let line = atoms.iter().find_map(|atom| match atom {
            Atom::Call(name, line) if !matches!(name.as_str(), "get" | "exists" | "pttl") => Some(*line),
            _ => None,
        })?;
        TEMPLATES.iter().find_map(|template| {
            let (slots, unit) = matched(&template.atoms, &atoms)?;
            Some(Shape { kind: template.kind, slots, unit, args, line, digest })
        })
    }

    /// The operation that a call of it is, `args` being those behind the key; `None` if Lua has to see to it.
    pub fn op<'a>(&self, args: &[&'a [u8]], ctx: &PlanContext<'a, '_>) -> Option<Op<'a>> {
        if args.len() < self.args {
            return None;
        }
        let nothing = Payload::Inline(b"");
        let (step, value) = match self.kind {
            Kind::Unlock { nil } => (ScriptedStep::Unlock { nil }, Payload::Inline(self.text(0, args)?)),
            Kind::Extend { nil } => {
                let at_ms = self.deadline(self.number(1, args)?, ctx.now_ms)?;
                (ScriptedStep::Extend { at_ms, nil }, Payload::Inline(self.text(0, args)?))
            }
            Kind::ExtendBy => {
                let ms = integer(self.text(1, args)?).ok().filter(|ms| (1..EXACT / 4).contains(ms))?;
                let ms = u64::try_from(ms).ok()?;
                let add = self.text(2, args)? == b"0";
                (ScriptedStep::ExtendBy { ms, add }, Payload::Inline(self.text(0, args)?))
            }
            Kind::Count | Kind::CountBy | Kind::CountByFromOne => {
                let by = if self.kind == Kind::Count { 1 } else { self.number(0, args)? };
                let first = if self.kind == Kind::CountBy { by } else { 1 };
                let at_ms = self.deadline(self.number(1, args)?, ctx.now_ms)?;
                (ScriptedStep::Count { by, first, at_ms }, nothing)
            }
            Kind::CountIfExists => (ScriptedStep::CountIfExists(self.number(0, args)?), nothing),
            Kind::CountOneIfExists => (ScriptedStep::CountIfExists(1), nothing),
            Kind::SetIfMissing => {
                let at_ms = self.deadline(self.number(1, args)?, ctx.now_ms)?;
                (ScriptedStep::SetIfMissing { at_ms }, payload(self.text(0, args)?, ctx).ok()?)
            }
        };
        Some(Op::Scripted {
            value,
            how: ctx.bump.alloc(Scripted { step, digest: self.digest, line: self.line }),
        })
    }

    fn text<'a>(&self, slot: usize, args: &[&'a [u8]]) -> Option<&'a [u8]> {
        match self.slots[slot]? {
            Operand::Arg { index, number: false } => args.get(index - 1).copied(),
            _ => None,
        }
    }

    fn number(&self, slot: usize, args: &[&[u8]]) -> Option<i64> {
        match self.slots[slot]? {
            Operand::Literal(number) => Some(number),
            Operand::Arg { index, number } => {
                let value = integer(args.get(index - 1)?).ok()?;
                (!number || value.unsigned_abs() < EXACT.unsigned_abs()).then_some(value)
            }
        }
    }

    /// Unix milliseconds of a time to live, which must lie ahead.
    fn deadline(&self, amount: i64, now_ms: u64) -> Option<u64> {
        let unit = match self.unit? {
            ShapeUnit::Seconds => Unit::Seconds,
            ShapeUnit::Millis => Unit::Millis,
        };
        unit.ahead(amount, now_ms)
    }
}

type Matched = ([Option<Operand>; SLOTS], Option<ShapeUnit>);

/// Compares a script with a template.
fn matched(template: &[Atom], script: &[Atom]) -> Option<Matched> {
    if template.len() != script.len() {
        return None;
    }
    let mut slots = [None; SLOTS];
    let mut unit = None;
    for (at, (wanted, found)) in template.iter().zip(script).enumerate() {
        match (wanted, found) {
            (Atom::Operand(Operand::Arg { index, number }), Atom::Operand(found)) => {
                let plain = matches!(found, Operand::Arg { number: false, .. });
                let next_to = |at: Option<usize>| {
                    at.and_then(|at| script.get(at)).is_some_and(|a| *a == Atom::Word("==".to_owned()))
                };
                let compared = next_to(at.checked_sub(1)) || next_to(Some(at + 1));
                // A number never equals a string.
                if if *number { plain && compared } else { !plain } {
                    return None;
                }
                bind(slots.get_mut(index - 1)?, *found)?;
            }
            (Atom::Call(wanted, _), Atom::Call(found, _)) => match (wanted.as_str(), found.as_str()) {
                ("expire", "expire") | ("setex", "setex") => unit = Some(ShapeUnit::Seconds),
                ("expire", "pexpire") | ("setex", "psetex") => unit = Some(ShapeUnit::Millis),
                ("del", "unlink") => {}
                (wanted, found) if wanted == found => {}
                _ => return None,
            },
            (wanted, found) if wanted == found => {}
            _ => return None,
        }
    }
    Some((slots, unit))
}

/// One slot is the same argument everywhere; a number if it is one anywhere.
fn bind(slot: &mut Option<Operand>, found: Operand) -> Option<()> {
    *slot = Some(match (*slot, found) {
        (None, found) => found,
        (Some(Operand::Arg { index, number }), Operand::Arg { index: same, number: also })
            if index == same =>
        {
            Operand::Arg { index, number: number || also }
        }
        (Some(earlier), found) if earlier == found => found,
        _ => return None,
    });
    Some(())
}

/// An error of a command as Lua would answer it.
pub fn decorated(text: &str, how: &Scripted) -> String {
    format!("{text} script: {}, on {CHUNK}:{}.", hex(&how.digest), how.line)
}

#[cfg(test)]
mod tests;
