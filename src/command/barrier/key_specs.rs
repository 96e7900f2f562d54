//! Where a command's keys stand among its arguments, and what it does to them: what COMMAND INFO and COMMAND GETKEYS tell.

use crate::command::integer;
use crate::command::table::{Flags, Group, Spec};

/// A key of a command line, and what is done to it.
pub type UsedKey<'a> = (&'a [u8], &'static [&'static str]);

/// Some of a command's keys.
#[derive(Clone, Copy, Debug)]
pub struct KeySpec {
    /// Redis's words: `RO` reads, `RW` changes, `OW` overwrites, `RM` removes; then what happens to the value.
    pub flags: &'static [&'static str],
    /// The argument that is the first of them, or their number.
    pub first: usize,
    pub find: Find,
}

#[derive(Clone, Copy, Debug)]
pub enum Find {
    /// Up to `last` (counted from `first`; negative: from the end) in steps.
    Range { last: i8, step: u8 },
    /// `first` holds their number; each is followed by its value.
    Counted,
    /// `first` holds their number; they follow.
    Numbered,
}

const READ: &[&str] = &["RO", "access"];
const LOOK: &[&str] = &["RO"];
const CHANGE: &[&str] = &["RW", "access", "update"];
const ADJUST: &[&str] = &["RW", "update"];
const EXTEND: &[&str] = &["RW", "insert"];
const TAKE: &[&str] = &["RW", "access", "delete"];
const OVERWRITE: &[&str] = &["OW", "update"];
const CREATE: &[&str] = &["OW", "insert"];
const REMOVE: &[&str] = &["RM", "delete"];
/// The name of a channel.
const NO_KEY: &[&str] = &["not_key"];

/// What a command does to its first keys.
fn flags(spec: &Spec) -> &'static [&'static str] {
    match spec.name {
        "exists" | "touch" | "strlen" | "type" | "watch" => LOOK,
        "spublish" | "ssubscribe" | "sunsubscribe" => NO_KEY,
        name if name.starts_with("object|") || name.starts_with("memory|") => LOOK,
        "append" => EXTEND,
        "eval" | "evalsha" | "fcall" => CHANGE,
        "mset" | "msetex" | "setex" | "psetex" | "bitop" => OVERWRITE,
        "msetnx" | "setnx" => CREATE,
        "del" | "unlink" | "delifeq" | "delex" => REMOVE,
        "getdel" | "rename" | "renamenx" => TAKE,
        "expire" | "expireat" | "pexpire" | "pexpireat" | "persist" | "setrange" => ADJUST,
        _ if spec.flags.has(Flags::WRITE) && spec.name != "copy" => CHANGE,
        _ => READ,
    }
}

/// Some commands do with their options what others do by name.
fn flags_with(spec: &Spec, args: &[&[u8]]) -> &'static [&'static str] {
    let any =
        |words: &[&[u8]]| args.iter().any(|arg| words.iter().any(|word| arg.eq_ignore_ascii_case(word)));
    match spec.name {
        "set" if !any(&[b"GET"]) => OVERWRITE,
        "bitfield" if !any(&[b"SET", b"INCRBY"]) => READ,
        _ => flags(spec),
    }
}

/// All keys of a command, in the order of its arguments.
pub fn key_specs(spec: &Spec) -> Vec<KeySpec> {
    if spec.name == "msetex" {
        return vec![KeySpec { flags: flags(spec), first: 1, find: Find::Counted }];
    }
    if spec.group == Group::Scripting && spec.flags.has(Flags::MOVABLEKEYS) {
        return vec![KeySpec { flags: flags(spec), first: 2, find: Find::Numbered }];
    }
    let first = usize::from(spec.keys.first.unsigned_abs());
    if first == 0 {
        return Vec::new();
    }
    let one = Find::Range { last: 0, step: 1 };
    let and_second = |flags, find| {
        vec![
            KeySpec { flags: self::flags(spec), first, find: one },
            KeySpec { flags, first: first + 1, find },
        ]
    };
    match spec.name {
        "copy" | "rename" => and_second(OVERWRITE, one),
        "renamenx" => and_second(CREATE, one),
        "bitop" => and_second(READ, Find::Range { last: -1, step: 1 }),
        _ => {
            let last = if spec.keys.last < 0 { spec.keys.last } else { spec.keys.last - spec.keys.first };
            let find = Find::Range { last, step: spec.keys.step.unsigned_abs() };
            vec![KeySpec { flags: flags(spec), first, find }]
        }
    }
}

/// The keys of one command line, each with what is done to it. `None` if the line does not say how many it has.
pub fn keys_of<'a>(spec: &Spec, args: &[&'a [u8]]) -> Option<Vec<UsedKey<'a>>> {
    let mut keys = Vec::new();
    for (n, part) in key_specs(spec).into_iter().enumerate() {
        let flags = if n == 0 { flags_with(spec, args) } else { part.flags };
        match part.find {
            Find::Range { last, step } => {
                let end = match usize::try_from(last) {
                    Ok(last) => part.first + last + 1,
                    Err(_) => (args.len() + 1).saturating_sub(usize::from(last.unsigned_abs())),
                };
                let range = args.get(part.first..end).unwrap_or_default();
                keys.extend(range.iter().step_by(usize::from(step)).map(|key| (*key, flags)));
            }
            Find::Numbered => {
                let count = usize::try_from(integer(args[part.first]).ok()?).ok()?;
                let named = args[part.first + 1..].get(..count)?;
                keys.extend(named.iter().map(|key| (*key, flags)));
            }
            Find::Counted => {
                let pairs = super::multi_write::msetex_pairs(args).ok()?;
                keys.extend(pairs.iter().step_by(2).map(|key| (*key, flags)));
            }
        }
    }
    Some(keys)
}
