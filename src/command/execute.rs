//! Runs the requests of one partition, under its lock.
//!
//! The cache misses of a batch overlap instead of following each other:
//!
//! ```text
//! as each is planned: fetch its index bucket      (one cache line, from memory; before any lock)
//! for each:           fetch the item it points to (the bucket has arrived by now)
//! for each, in order: run it                      (everything is near)
//! ```

mod bitfield;
mod bits;
mod counters;
mod generic;
mod items;
mod scripted;
mod strings;

use super::ops::{Op, Payload, ScriptedStep, StoreMode};
use super::plan::refusal;
use super::script::decorated;
use super::{CommandStats, Request};
use crate::proto::reply::PIN_THRESHOLD;
use crate::proto::{Form, Outcome, Scratch, Span};
use crate::store::{Cause, Entry, Expiry, Happening, Key, Partition, Store, WriteError};

/// Times a group whose partition is out of memory makes room elsewhere before it fails.
const ROOM_ATTEMPTS: usize = 16;

/// Executes the requests `order[..]` of one partition, in that order, under its lock: prefetches their items, then runs them,
/// leaving an [`Outcome`] in each. Returns how many are done: fewer than given when one met
/// [`crate::store::WriteError::NeedsRoom`]; the caller then unlocks, makes room and goes on from there, with `last_try` set when it
/// will not try again (the request then fails with the OOM error).
pub fn execute(
    partition: &mut Partition,
    requests: &mut [Request<'_>],
    order: &[u32],
    scratch: &mut Scratch,
    stats: &mut CommandStats,
    now_ms: u64,
    last_try: bool,
) -> usize {
    for &index in order {
        partition.prefetch_item(requests[index as usize].key.hash);
    }
    // Two loops: while nobody watches, as is usual, no request is asked whether anybody does.
    if partition.is_watched() {
        run_in_order::<true>(partition, requests, order, scratch, stats, now_ms, last_try)
    } else {
        run_in_order::<false>(partition, requests, order, scratch, stats, now_ms, last_try)
    }
}

/// The second half of [`execute`]. `WATCHED`: the journal is on.
#[inline(always)]
fn run_in_order<const WATCHED: bool>(
    partition: &mut Partition,
    requests: &mut [Request<'_>],
    order: &[u32],
    scratch: &mut Scratch,
    stats: &mut CommandStats,
    now_ms: u64,
    last_try: bool,
) -> usize {
    for (done, &index) in order.iter().enumerate() {
        let request = &mut requests[index as usize];
        let misses_before = stats.misses;
        if WATCHED {
            partition.set_cause(cause_of(&request.op, &request.form));
        }
        let mut place = Place {
            partition: &mut *partition,
            stats: &mut *stats,
            key: request.key,
            now_ms,
            no_touch: !request.form.touches(),
        };
        let result = match &request.op {
            Op::Get => {
                strings::get(&mut place, scratch, &mut request.outcome);
                if WATCHED && stats.misses > misses_before {
                    partition.note(Happening::Miss, &request.key);
                }
                continue;
            }
            Op::GetItem => {
                if items::get(&mut place, scratch, &mut request.outcome) {
                    if WATCHED && stats.misses > misses_before {
                        partition.note(Happening::Miss, &request.key);
                    }
                    continue;
                }
                run_or_undo(&Op::Fetch(&items::GET), &mut place, scratch, false)
            }
            Op::Set { value, expiry } => place.write(value, *expiry).map(|()| Outcome::Ok),
            op => run_or_undo(op, &mut place, scratch, request.form.is_resp3()),
        };
        request.outcome = match result {
            Ok(outcome) => outcome,
            Err(WriteError::NeedsRoom) if !last_try => return done,
            Err(error) => {
                stats.errors += 1;
                refused(&request.op, error)
            }
        };
        if WATCHED {
            tell_more(partition, request, stats.misses > misses_before);
        }
    }
    order.len()
}

/// What is answered to a request that the store refused.
#[cold]
fn refused(op: &Op<'_>, error: WriteError) -> Outcome {
    match op {
        Op::Scripted { how, .. } => Outcome::Error(decorated(refusal(error).text(), how).into()),
        _ => Outcome::Refused(refusal(error)),
    }
}

/// Tells what a partition cannot know by itself.
#[cold]
fn tell_more(partition: &Partition, request: &Request<'_>, missed: bool) {
    let what = match (&request.op, &request.outcome) {
        _ if missed => Happening::Miss,
        (Op::Fetch(how), Outcome::Item(_)) if how.touch.is_some() => Happening::Expire,
        // It is there, but no longer true.
        (Op::Remove(how), Outcome::Ok) if how.invalidate && !how.drop_value => Happening::Set,
        _ => return,
    };
    partition.note(what, &request.key);
}

/// What the changes that an operation makes are called, and whose they are.
#[cold]
fn cause_of(op: &Op<'_>, form: &Form<'_>) -> Cause {
    let written = match op {
        Op::IncrBy(_) | Op::Count(_) => Happening::IncrBy,
        Op::Scripted { how, .. }
            if matches!(how.step, ScriptedStep::Count { .. } | ScriptedStep::CountIfExists(_)) =>
        {
            Happening::IncrBy
        }
        Op::IncrByFloat(_) => Happening::IncrByFloat,
        Op::Append(_) => Happening::Append,
        Op::Store { how, .. } if matches!(how.mode, StoreMode::Append | StoreMode::Prepend) => {
            Happening::Append
        }
        Op::SetRange { .. } => Happening::SetRange,
        Op::SetBit { .. } | Op::BitField(_) => Happening::SetBit,
        Op::Move { .. } => Happening::Unnamed,
        _ => Happening::Set,
    };
    let removed = match op {
        // A time of expiry that is over already.
        Op::Set { .. }
        | Op::SetIf { .. }
        | Op::Store { .. }
        | Op::ExpireAt { .. }
        | Op::GetEx(_)
        | Op::Fetch(_) => Happening::Expired,
        Op::Move { .. } => Happening::Unnamed,
        Op::Scripted { how, .. } if !matches!(how.step, ScriptedStep::Unlock { .. }) => Happening::Expired,
        _ => Happening::Del,
    };
    Cause { written, removed, origin: form.origin() }
}

/// Executes the requests `order[..]` of one partition, which it locks, and makes room where that is wanted. Leaves an outcome in each.
pub fn execute_group(
    store: &Store,
    partition: usize,
    requests: &mut [Request<'_>],
    order: &[u32],
    scratch: &mut Scratch,
    stats: &mut CommandStats,
    now_ms: u64,
) {
    let mut done = 0;
    let mut attempts = 0;
    while done < order.len() {
        let last_try = attempts == ROOM_ATTEMPTS;
        let (executed, room_wanted) = {
            let mut held = store.lock(partition);
            let executed = execute(&mut held, requests, &order[done..], scratch, stats, now_ms, last_try);
            (executed, held.room_wanted())
        };
        done += executed;
        if done < order.len() {
            // Nothing of this partition is left to evict: the others give way, with no lock held here.
            attempts = if executed > 0 { 1 } else { attempts + 1 };
            if store.make_room(room_wanted).is_err() {
                attempts = ROOM_ATTEMPTS;
            }
        }
    }
}

/// Executes requests that are not part of a turn's batch, one after the other: for barriers that are made of them. Hold no partition.
pub fn execute_now(
    store: &Store,
    requests: &mut [Request<'_>],
    scratch: &mut Scratch,
    stats: &mut CommandStats,
    now_ms: u64,
) {
    for index in 0..requests.len() {
        if requests[index].outcome == Outcome::Pending {
            let partition = store.partition_of(requests[index].key.hash);
            execute_group(store, partition, requests, &[index as u32], scratch, stats, now_ms);
        }
    }
}

/// Runs one of the less common operations. One that needs room leaves no trace: it will run again from its beginning.
#[inline(never)]
fn run_or_undo(
    op: &Op<'_>,
    place: &mut Place<'_, '_>,
    scratch: &mut Scratch,
    resp3: bool,
) -> Result<Outcome, WriteError> {
    let marks = (scratch.bytes.len(), scratch.pins.len(), scratch.items.len());
    let counts = (place.stats.hits, place.stats.misses);
    let result = run(op, place, scratch, resp3);
    if result == Err(WriteError::NeedsRoom) {
        scratch.bytes.truncate(marks.0);
        scratch.pins.truncate(marks.1);
        scratch.items.truncate(marks.2);
        (place.stats.hits, place.stats.misses) = counts;
    }
    place.stats.errors += u64::from(matches!(result, Ok(Outcome::Error(_))));
    result
}

fn run(
    op: &Op<'_>,
    place: &mut Place<'_, '_>,
    scratch: &mut Scratch,
    resp3: bool,
) -> Result<Outcome, WriteError> {
    match op {
        Op::Get | Op::GetItem | Op::Set { .. } => unreachable!("run by their own short paths"),
        Op::IncrBy(amount) => counters::incr_by(place, *amount),
        Op::Del => Ok(Outcome::Int(place.remove().into())),
        Op::Exists => Ok(Outcome::Int(place.look().is_some().into())),
        Op::ExpireAt { at_ms, when } => generic::expire_at(place, *at_ms, *when),
        Op::Ttl(form) => Ok(generic::ttl(place, *form)),
        Op::SetIf { value, how } => strings::set_if(place, scratch, value, how),
        Op::GetDel => Ok(strings::get_del(place, scratch)),
        Op::GetEx(change) => strings::get_ex(place, scratch, *change),
        Op::GetInArray => Ok(strings::get_in_array(place, scratch, resp3)),
        Op::Strlen => Ok(strings::strlen(place)),
        Op::GetRange { start, end } => Ok(strings::get_range(place, scratch, *start, *end)),
        Op::Digest => Ok(strings::digest(place, scratch)),
        Op::Append(bytes) => strings::append(place, bytes),
        Op::SetRange { offset, bytes } => strings::set_range(place, *offset, bytes),
        Op::IncrByFloat(amount) => counters::incr_by_float(place, scratch, *amount),
        Op::DelIf(condition) => Ok(strings::del_if(place, condition)),
        Op::Touch => Ok(Outcome::Int(place.read().is_some().into())),
        Op::TypeOf => Ok(generic::type_of(place, scratch)),
        Op::Persist => generic::persist(place),
        Op::Object(field) => Ok(generic::object(place, scratch, *field)),
        Op::MemoryUsage => Ok(generic::memory_usage(place)),
        Op::Move { db, large_threshold } => generic::move_to(place, *db, *large_threshold),
        Op::GetBit(offset) => Ok(bits::get_bit(place, *offset)),
        Op::SetBit { offset, on } => bits::set_bit(place, *offset, *on),
        Op::BitCount(range) => Ok(bits::bit_count(place, *range)),
        Op::BitPos { bit, range } => Ok(bits::bit_pos(place, *bit, range)),
        Op::BitField(ops) => bitfield::bit_field(place, scratch, ops, resp3),
        Op::Fetch(how) => items::fetch(place, scratch, how),
        Op::Store { value, how } => items::store(place, scratch, value, how),
        Op::Remove(how) => items::remove(place, how),
        Op::Count(how) => items::count(place, scratch, how),
        Op::Scripted { value, how } => scripted::run(place, value, how),
    }
}

/// One key in its partition, while one request runs on it.
struct Place<'r, 'k> {
    partition: &'r mut Partition,
    stats: &'r mut CommandStats,
    key: Key<'k>,
    now_ms: u64,
    no_touch: bool,
}

impl Place<'_, '_> {
    /// The item as a reading command finds it: counts a hit or a miss, and is a use.
    fn read(&mut self) -> Option<Entry<'_>> {
        let found = self.partition.read(&self.key, self.now_ms, !self.no_touch);
        count(self.stats, found)
    }

    /// The item as commands find it that ask about a key rather than for its value: counts, and is no use.
    fn look(&mut self) -> Option<Entry<'_>> {
        let found = self.partition.peek(&self.key, self.now_ms);
        count(self.stats, found)
    }

    /// The item as a writing command finds it: no hit, no miss.
    fn current(&mut self) -> Option<Entry<'_>> {
        self.partition.read(&self.key, self.now_ms, !self.no_touch)
    }

    /// Writes the value. An expiry that is over removes what is there instead.
    #[inline(always)]
    fn write(&mut self, value: &Payload<'_>, expiry: Expiry) -> Result<(), WriteError> {
        if let Expiry::At(at_ms) = expiry
            && at_ms <= self.now_ms
        {
            self.remove();
            return Ok(());
        }
        self.partition.set(&self.key, value.value(), expiry, self.now_ms)
    }

    fn remove(&mut self) -> bool {
        self.partition.remove(&self.key, self.now_ms)
    }

    fn set_expiry(&mut self, at_ms: Option<u64>) -> Result<bool, WriteError> {
        self.partition.set_expiry(&self.key, at_ms, self.now_ms)
    }

    fn modify(&mut self, new_len: usize, edit: &mut dyn FnMut(&mut [u8])) -> Result<(), WriteError> {
        self.partition.modify(&self.key, new_len, self.now_ms, edit)
    }
}

#[inline]
fn count<'p>(stats: &mut CommandStats, found: Option<Entry<'p>>) -> Option<Entry<'p>> {
    match found {
        Some(_) => stats.hits += 1,
        None => stats.misses += 1,
    }
    found
}

/// Answers with an entry's value: copied if it is small, left where it is if not.
#[inline]
fn value_of(entry: &Entry<'_>, scratch: &mut Scratch) -> Outcome {
    if entry.value.len() < PIN_THRESHOLD {
        return Outcome::Value(copied(entry.value, scratch));
    }
    Outcome::Pinned(left(entry, scratch))
}

/// Leaves an entry's value where it is, and has it fetched: the kernel copies it only when the whole batch has run.
fn left(entry: &Entry<'_>, scratch: &mut Scratch) -> u32 {
    entry.prefetch_value();
    pinned(entry.pin(), scratch)
}

/// The index of a value that stays where it is.
fn pinned(value: bytes::Bytes, scratch: &mut Scratch) -> u32 {
    let index = small(scratch.pins.len());
    scratch.pins.push(value);
    index
}

#[inline]
fn copied(bytes: &[u8], scratch: &mut Scratch) -> Span {
    let start = scratch.bytes.len();
    scratch.bytes.extend_from_slice(bytes);
    since(start, scratch)
}

/// What was appended to the scratch since it had `start` bytes.
#[inline]
fn since(start: usize, scratch: &Scratch) -> Span {
    Span { start: small(start), len: small(scratch.bytes.len() - start) }
}

/// A position in the scratch, which holds one turn's small values: far below 4 GiB.
#[inline]
fn small(position: usize) -> u32 {
    u32::try_from(position).expect("a turn's replies stay under 4 GiB")
}

#[cfg(test)]
mod tests;
