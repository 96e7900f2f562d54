//! Walking through the keys: SCAN, KEYS, RANDOMKEY.
//!
//! One cursor covers all partitions:
//!
//! ```text
//!  cursor = the partition's own cursor, mirrored × number of partitions + the partition
//! ```
//!
//! A partition's cursor is 48 bits of which only the upper ones are used, about as many as the number of buckets has. Mirrored it is a
//! small number, as in Redis: some clients keep cursors in a double.
//!
//! Partitions are walked one after the other, each under the guarantee of [`Partition::scan`]: what is there from the first call to the
//! last is seen at least once, whatever grows and shrinks meanwhile. No lock is held for longer than one bounded step, so KEYS is not
//! one moment's picture: a key that is written or renamed while it runs may or may not be in it.

use super::reply;
use crate::command::glob::Glob;
use crate::command::plan::SYNTAX;
use crate::command::table::ErrorText;
use crate::command::{Context, Flow, integer};
use crate::limits::{KEYS_SHARE, SCAN_COUNT};
use crate::proto::resp::Writer;
use crate::store::{Entry, Partition, Store};

/// Items visited under one hold of a partition's lock.
const STEP: usize = 64;

/// Steps of one call that may find nothing, where a database is nearly empty and another full.
const FRUITLESS_STEPS: usize = 32;

/// The kinds of values that Redis has; all of ours are the first.
const TYPES: [&str; 6] = ["string", "list", "set", "zset", "hash", "stream"];

/// What SCAN is asked for.
struct Wanted {
    count: usize,
    pattern: Option<Glob>,
    strings: bool,
}

/// SCAN cursor [MATCH pattern] [COUNT count] [TYPE type].
pub fn scan(args: &[&[u8]], ctx: &mut Context<'_>, out: &mut Writer<'_>) -> Flow {
    reply(out, |out| {
        let cursor = parse_cursor(args[1]).ok_or(ErrorText::Borrowed("ERR invalid cursor"))?;
        let wanted = options(&args[2..])?;
        let mut found = Found::default();
        let next = walk(cursor, &wanted, ctx, &mut found);
        out.array(2);
        out.bulk(itoa::Buffer::new().format(next).as_bytes());
        found.write(out);
        Ok(())
    })
}

/// KEYS pattern. Refused where the answer would take a large part of the memory limit: that is what SCAN is for.
pub fn keys(args: &[&[u8]], ctx: &mut Context<'_>, out: &mut Writer<'_>) -> Flow {
    reply(out, |out| {
        let pattern = Glob::new(args[1]);
        let most_bytes = ctx.store.budget().limit() / KEYS_SHARE;
        let mut found = Found::default();
        for partition in 0..ctx.store.partitions() {
            let first = found.ends.len();
            let mut cursor = 0;
            loop {
                let (db, now_ms) = (ctx.session.db, ctx.now_ms);
                let mut locked = ctx.lock_one(partition);
                cursor = locked.scan(cursor, db, STEP, now_ms, &mut |key, _| {
                    if pattern.matches(key) {
                        found.push(key);
                    }
                });
                drop(locked);
                if found.memory() > most_bytes {
                    return Err("ERR too many keys match for one reply, please use SCAN".into());
                }
                if cursor == 0 {
                    break;
                }
            }
            found.drop_repeated(first);
        }
        found.write(out);
        Ok(())
    })
}

/// RANDOMKEY: each partition is as likely as it has items.
pub fn randomkey(_args: &[&[u8]], ctx: &mut Context<'_>, out: &mut Writer<'_>) -> Flow {
    let (store, db, now_ms) = (ctx.store, ctx.session.db, ctx.now_ms);
    let items: Vec<u64> = (0..store.partitions()).map(|p| items_of(&ctx.lock_one(p), db)).collect();
    let total: u64 = items.iter().sum();
    let mut ticket = ctx.host.random() % total.max(1);
    let start = items.iter().position(|n| {
        let here = ticket < *n;
        ticket = ticket.saturating_sub(*n);
        here
    });
    // What was counted may have expired: then the next partition that has one.
    let order = (0..items.len()).map(|p| (p + start.unwrap_or(0)) % items.len());
    let key = order.filter(|p| items[*p] > 0).find_map(|p| {
        let random = ctx.host.random();
        ctx.lock_one(p).random_key(db, random, now_ms)
    });
    match key {
        Some(key) => out.bulk(&key),
        None => out.null(),
    }
    Flow::Continue
}

/// As strtoull reads it: leading spaces and a plus are let pass, a minus is not.
fn parse_cursor(text: &[u8]) -> Option<u64> {
    let text = text.trim_ascii_start();
    let digits = text.strip_prefix(b"+").unwrap_or(text);
    if !digits.first()?.is_ascii_digit() {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

fn options(options: &[&[u8]]) -> Result<Wanted, ErrorText> {
    let mut wanted = Wanted { count: 10, pattern: None, strings: true };
    for pair in options.chunks(2) {
        let [option, value] = pair else { return Err(SYNTAX.into()) };
        if option.eq_ignore_ascii_case(b"COUNT") {
            let count = integer(value)?;
            if count < 1 {
                return Err(SYNTAX.into());
            }
            wanted.count = usize::try_from(count).unwrap_or(SCAN_COUNT).min(SCAN_COUNT);
        } else if option.eq_ignore_ascii_case(b"MATCH") {
            wanted.pattern = Some(Glob::new(value)).filter(|pattern| !pattern.matches_all());
        } else if option.eq_ignore_ascii_case(b"TYPE") {
            let known = TYPES.iter().position(|name| value.eq_ignore_ascii_case(name.as_bytes()));
            let Some(known) = known else {
                return Err(format!("ERR unknown type name '{}'", String::from_utf8_lossy(value)).into());
            };
            wanted.strings = known == 0;
        } else {
            return Err(SYNTAX.into());
        }
    }
    Ok(wanted)
}

/// Visits about `count` items from the cursor on; returns the next cursor, 0 at the end.
fn walk(cursor: u64, wanted: &Wanted, ctx: &mut Context<'_>, found: &mut Found) -> u64 {
    let (store, db, now_ms) = (ctx.store, ctx.session.db, ctx.now_ms);
    let (mut partition, mut inner) = split(cursor, store);
    let (mut visited, mut fruitless) = (0, 0);
    while visited < wanted.count && fruitless < FRUITLESS_STEPS {
        let step = STEP.min(wanted.count - visited);
        let before = visited;
        let mut visit = |key: &[u8], _: &Entry<'_>| {
            visited += 1;
            if wanted.strings && wanted.pattern.as_ref().is_none_or(|pattern| pattern.matches(key)) {
                found.push(key);
            }
        };
        let mut locked = ctx.lock_one(partition);
        // A database that is empty here is not walked bucket by bucket.
        inner = if items_of(&locked, db) == 0 { 0 } else { locked.scan(inner, db, step, now_ms, &mut visit) };
        drop(locked);
        if inner == 0 {
            partition += 1;
            if partition == store.partitions() {
                return 0;
            }
        } else {
            fruitless += usize::from(visited == before);
        }
    }
    mirror(inner) * store.partitions() as u64 + partition as u64
}

fn items_of(partition: &Partition, db: u8) -> u64 {
    partition.stats().items[usize::from(db)]
}

/// Any number is a cursor: what no call returned leads somewhere harmless.
fn split(cursor: u64, store: &Store) -> (usize, u64) {
    let partitions = store.partitions() as u64;
    ((cursor % partitions) as usize, mirror(cursor / partitions % (1 << 48)))
}

/// The lower 48 bits in the opposite order.
fn mirror(bits: u64) -> u64 {
    bits.reverse_bits() >> 16
}

/// Keys that were found, one after the other in one run of bytes.
#[derive(Default)]
struct Found {
    bytes: Vec<u8>,
    /// Where each key ends.
    ends: Vec<usize>,
}

impl Found {
    fn push(&mut self, key: &[u8]) {
        self.bytes.extend_from_slice(key);
        self.ends.push(self.bytes.len());
    }

    fn get(&self, index: usize) -> &[u8] {
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        &self.bytes[start..self.ends[index]]
    }

    /// Bytes that this takes.
    fn memory(&self) -> usize {
        self.bytes.len() + self.ends.len() * size_of::<usize>()
    }

    fn write(&self, out: &mut Writer<'_>) {
        out.array(self.ends.len());
        (0..self.ends.len()).for_each(|index| out.bulk(self.get(index)));
    }

    /// Drops what occurs again from the key of this index on: an index that changed its size may have shown a key twice.
    fn drop_repeated(&mut self, first: usize) {
        let mut order: Vec<usize> = (first..self.ends.len()).collect();
        order.sort_unstable_by(|a, b| self.get(*a).cmp(self.get(*b)));
        let unique = order.len();
        order.dedup_by(|a, b| self.get(*a) == self.get(*b));
        if order.len() == unique {
            return;
        }
        let mut rest = Found::default();
        order.iter().for_each(|index| rest.push(self.get(*index)));
        let kept = if first == 0 { 0 } else { self.ends[first - 1] };
        self.ends.truncate(first);
        self.bytes.truncate(kept);
        (0..rest.ends.len()).for_each(|index| self.push(rest.get(index)));
    }
}
