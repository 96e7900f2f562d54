//! Plans the binary protocol of memcached.
//!
//! One packet is one request: reads and writes go into the batch, NOOP and VERSION are answered in their places in it, FLUSH, STAT and
//! SASL are barriers. So replies keep the order of their requests, quiet ones included, and a NOOP's reply ends what stood before it.

mod barrier;
#[cfg(test)]
mod tests;

use super::super::table::row;
use super::super::{
    Barrier, CommandStats, Count, Deferred, Fetch, Op, Payload, PlanContext, RemoveItem, Request, Step,
    StoreItem, StoreMode, refusal,
};
use super::text;
use crate::proto::memcached::binary::{
    Form, Found, Packet, State, Status, Verb, parse, put_error, put_with_value,
};
use crate::proto::{Form as AnyForm, Outcome, ParseLimits, Refusal, ReplyBuf};
use crate::store::Expiry;
use barrier::{Flush, LogIn, Stat};

/// The one mechanism that SASL offers (RFC 4616).
const PLAIN: &[u8] = b"PLAIN";

/// INCREMENT's expiry for "do not make an item".
const CREATE_NOTHING: u32 = u32::MAX;

/// Parses what is at the start of `rest`, all that this connection has sent and that has not been consumed, and plans it.
pub fn next<'a>(
    rest: &'a [u8],
    state: &mut State,
    limits: &ParseLimits,
    ctx: &PlanContext<'a, '_>,
    stats: &mut CommandStats,
    requests: &mut Vec<Request<'a>>,
) -> Step<'a> {
    if state.skip > 0 {
        return Step::Planned { consumed: state.skipped(rest) };
    }
    match parse(rest, limits) {
        Found::Incomplete { need } => Step::Incomplete { need },
        Found::Fatal { reply } => {
            stats.errors += u64::from(!reply.is_empty());
            Step::Fatal { reply }
        }
        Found::Packet { packet, .. } | Found::Refused { packet, .. } if ctx.holds(packet.verb.writes()) => {
            Step::Paused
        }
        Found::Refused { packet, status, consumed, skip } => {
            state.skip = skip;
            stats.errors += 1;
            requests.push(refused(&packet, status, ctx));
            Step::Planned { consumed }
        }
        Found::Packet { packet, consumed } => {
            let mut planner = Planner { packet, ctx, state, stats };
            match planner.plan() {
                Planned::Request(request) => {
                    requests.push(request);
                    Step::Planned { consumed }
                }
                Planned::Last(Some(request)) => {
                    requests.push(request);
                    Step::Last { consumed }
                }
                Planned::Last(None) => Step::Last { consumed },
                Planned::Barrier(deferred) => Step::Barrier { consumed, barrier: Barrier::Other(deferred) },
            }
        }
    }
}

/// What a packet turned out to be.
enum Planned<'a> {
    Request(Request<'a>),
    /// QUIT.
    Last(Option<Request<'a>>),
    Barrier(&'a dyn Deferred),
}

struct Planner<'p, 'a, 'c> {
    packet: Packet<'a>,
    ctx: &'p PlanContext<'a, 'c>,
    state: &'p mut State,
    stats: &'p mut CommandStats,
}

impl<'a> Planner<'_, 'a, '_> {
    #[inline]
    fn plan(&mut self) -> Planned<'a> {
        let form = self.packet.form;
        match self.packet.verb {
            Verb::Get { .. } => {
                const HOW: &Fetch = &Fetch { value: true, cas: true, ..FETCH };
                self.keyed(const { row("get") }, Op::Fetch(HOW))
            }
            Verb::Set | Verb::Add | Verb::Replace => self.store(),
            Verb::Append => self.extend(StoreMode::Append),
            Verb::Prepend => self.extend(StoreMode::Prepend),
            Verb::GetAndTouch { .. } => {
                let how = self.touching(true);
                self.keyed(const { row("touch") }, Op::Fetch(how))
            }
            Verb::Touch => {
                let how = self.touching(false);
                self.keyed(const { row("touch") }, Op::Fetch(how))
            }
            Verb::Delete => {
                let how = RemoveItem { compare: self.compare(), ..RemoveItem::default() };
                self.keyed(const { row("del") }, Op::Remove(self.ctx.bump.alloc(how)))
            }
            Verb::Increment => self.count(const { row("incrby") }, false),
            Verb::Decrement => self.count(const { row("decrby") }, true),
            // There is no log whose verbosity a client could change.
            Verb::Noop | Verb::Verbosity => Planned::Request(done(form)),
            Verb::Version => {
                self.ready(|out| put_with_value(&form, Status::Ok, text::VERSION.as_bytes(), out))
            }
            Verb::Quit => Planned::Last((!form.opcode().is_quiet()).then(|| done(form))),
            Verb::Flush => {
                let delay_s = self.seconds();
                Planned::Barrier(self.ctx.bump.alloc(Flush { form, delay_s }))
            }
            Verb::Stat => Planned::Barrier(self.ctx.bump.alloc(Stat { form, what: self.packet.key })),
            Verb::SaslListMechs | Verb::SaslAuth | Verb::SaslStep => self.sasl(),
            // The parser refuses it.
            Verb::Unknown => self.error(Status::UnknownCommand),
        }
    }

    /// A request on the packet's key, counted under a command of the table.
    #[inline]
    fn keyed(&mut self, row: u16, op: Op<'a>) -> Planned<'a> {
        self.stats.calls.count(row);
        Planned::Request(keyed(&self.packet, op, self.ctx))
    }

    fn compare(&self) -> Option<u64> {
        (self.packet.cas != 0).then_some(self.packet.cas)
    }

    /// SET, ADD, REPLACE. With a CAS all three are one: the item must be there and have it.
    #[inline]
    fn store(&mut self) -> Planned<'a> {
        let Packet { form, verb, extras, value, .. } = self.packet;
        let [f0, f1, f2, f3, e0, e1, e2, e3] = *extras else { return self.error(Status::InvalidArguments) };
        let flags = u32::from_be_bytes([f0, f1, f2, f3]);
        let expiry = expiry(u32::from_be_bytes([e0, e1, e2, e3]), self.ctx.now_ms);
        let compare = self.compare();
        let value = match self.payload(value) {
            Ok(value) => value,
            Err(status) => {
                self.stats.errors += 1;
                return Planned::Request(refused(&self.packet, status, self.ctx));
            }
        };
        let mode = match verb {
            Verb::Add if compare.is_none() => StoreMode::Add,
            Verb::Replace if compare.is_none() => StoreMode::Replace,
            _ => StoreMode::Set,
        };
        let quiet = form.opcode().is_quiet();
        let op = if quiet && flags == 0 && compare.is_none() && mode == StoreMode::Set {
            Op::Set { value, expiry }
        } else {
            let how = StoreItem { flags, expiry, mode, compare, cas: !quiet, ..STORE };
            Op::Store { value, how: self.ctx.bump.alloc(how) }
        };
        self.keyed(const { row("set") }, op)
    }

    /// APPEND, PREPEND: the item keeps its flags and its expiry.
    fn extend(&mut self, mode: StoreMode) -> Planned<'a> {
        let how = StoreItem {
            expiry: Expiry::Keep,
            mode,
            compare: self.compare(),
            cas: !self.packet.form.opcode().is_quiet(),
            ..STORE
        };
        // A part of what will be the value: it is copied there, whatever its length.
        let value = Payload::Inline(self.packet.value);
        self.keyed(const { row("append") }, Op::Store { value, how: self.ctx.bump.alloc(how) })
    }

    /// How TOUCH, GAT and GATK read.
    fn touching(&self, value: bool) -> &'a Fetch {
        let touch = Some(expiry(self.seconds(), self.ctx.now_ms));
        self.ctx.bump.alloc(Fetch { value, cas: true, touch, ..FETCH })
    }

    /// The only number in the extras; 0 if there is none.
    fn seconds(&self) -> u32 {
        self.packet.extras.first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes))
    }

    fn count(&mut self, row: u16, down: bool) -> Planned<'a> {
        let (numbers, rest) = self.packet.extras.as_chunks::<8>();
        let (&[delta, initial], Some(seconds)) = (numbers, rest.first_chunk()) else {
            return self.error(Status::InvalidArguments);
        };
        let seconds = u32::from_be_bytes(*seconds);
        let initial = u64::from_be_bytes(initial);
        let how = Count {
            delta: u64::from_be_bytes(delta),
            down,
            create: (seconds != CREATE_NOTHING).then(|| (initial, expiry(seconds, self.ctx.now_ms))),
            touch: None,
            compare: self.compare(),
            new_cas: None,
            cas: !self.packet.form.opcode().is_quiet(),
        };
        self.keyed(row, Op::Count(self.ctx.bump.alloc(how)))
    }

    /// A value ready to be written, a large one in memory of its own.
    #[inline]
    fn payload(&self, value: &'a [u8]) -> Result<Payload<'a>, Status> {
        let store = self.ctx.store;
        if value.len() <= store.large_threshold() {
            return Ok(Payload::Inline(value));
        }
        match store.large_value_in(value, self.ctx.buffer) {
            Ok(bytes) => Ok(Payload::Large(Box::new(bytes))),
            Err(error) => Err(match refusal(error) {
                Refusal::TooLarge => Status::TooLarge,
                Refusal::KeyTooLong => Status::InvalidArguments,
                Refusal::OutOfMemory => Status::OutOfMemory,
            }),
        }
    }

    /// A server without a password has no SASL, as a memcached that was started without it.
    fn sasl(&mut self) -> Planned<'a> {
        let Packet { form, verb, key: mechanism, value: message, .. } = self.packet;
        if !self.ctx.host.password_required() {
            return self.error(Status::UnknownCommand);
        }
        if verb == Verb::SaslListMechs {
            return self.ready(|out| put_with_value(&form, Status::Ok, PLAIN, out));
        }
        if verb == Verb::SaslAuth {
            self.state.sasl_begun = mechanism.eq_ignore_ascii_case(PLAIN);
        }
        if !self.state.sasl_begun || !mechanism.eq_ignore_ascii_case(PLAIN) {
            return self.error(Status::AuthFailure);
        }
        if verb == Verb::SaslAuth && message.is_empty() {
            // The client waits to be asked for its first message.
            return self.ready(|out| put_with_value(&form, Status::AuthContinue, b"", out));
        }
        Planned::Barrier(self.ctx.bump.alloc(LogIn { form, message }))
    }

    fn ready(&self, write: impl FnOnce(&mut ReplyBuf)) -> Planned<'a> {
        Planned::Request(answer(self.ctx, write))
    }

    #[cold]
    fn error(&mut self, status: Status) -> Planned<'a> {
        self.stats.errors += 1;
        let form = self.packet.form;
        self.ready(|out| put_error(&form, status, out))
    }
}

/// A read that asks for nothing: this protocol knows no leases.
const FETCH: Fetch = Fetch {
    waits: false,
    value: false,
    cas: false,
    access: false,
    no_bump: false,
    bystander: true,
    filled: false,
    touch: None,
    vivify: None,
    recache_below_ms: None,
    new_cas: None,
};

/// A plain set.
const STORE: StoreItem = StoreItem {
    flags: 0,
    expiry: Expiry::None,
    mode: StoreMode::Set,
    compare: None,
    invalidate: false,
    new_cas: None,
    cas: false,
    vivify: None,
};

#[inline]
fn keyed<'a>(packet: &Packet<'a>, op: Op<'a>, ctx: &PlanContext<'a, '_>) -> Request<'a> {
    let key = ctx.store.key(text::DB, packet.key);
    ctx.store.prefetch(key.hash);
    Request { key, op, form: AnyForm::Binary(packet.form), outcome: Outcome::Pending }
}

/// What says no more than that all is well.
fn done(form: Form<'_>) -> Request<'_> {
    Request::answered(Outcome::Ok, AnyForm::Binary(form))
}

/// A reply that is known already. Small ones only.
fn answer<'a>(ctx: &PlanContext<'a, '_>, write: impl FnOnce(&mut ReplyBuf)) -> Request<'a> {
    let mut out = ReplyBuf::default();
    write(&mut out);
    let reply: &'a [u8] = ctx.bump.alloc_slice_copy(&out.bytes);
    Request::ready(ctx.bump.alloc(reply))
}

/// Refuses a packet without looking at its value. A SET that fails must not leave the value that it was to replace.
fn refused<'a>(packet: &Packet<'a>, status: Status, ctx: &PlanContext<'a, '_>) -> Request<'a> {
    const HOW: &RemoveItem =
        &RemoveItem { compare: None, invalidate: false, touch: None, drop_value: false, new_cas: None };
    let reply = answer(ctx, |out| put_error(&packet.form, status, out));
    match packet.verb {
        Verb::Set => Request { form: reply.form, ..keyed(packet, Op::Remove(HOW), ctx) },
        _ => reply,
    }
}

/// Up to thirty days an expiry counts from now.
#[inline]
fn expiry(seconds: u32, now_ms: u64) -> Expiry {
    text::expiry(i64::from(seconds), now_ms)
}
