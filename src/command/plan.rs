//! From a command line to something that can run: the row, the number of arguments, access, then the command's own checks.
//!
//! Nothing here touches the store's partitions. What is answered here is answered without a lock; what is not wrong here cannot
//! be wrong later, except for what depends on the stored value.

pub(super) mod bits;
mod common;
pub(super) mod counters;
pub(super) mod expiry;
pub(super) mod generic;
pub(super) mod lease;
mod queue;
pub(super) mod scripts;
pub(super) mod strings;

pub use common::plan_common;
pub use queue::{Queued, enqueue};

use super::table::{self, COMMANDS, ErrorText, Kind, PlanFn, Spec};
use super::{Barrier, BarrierFn, CommandStats, Op, Payload, Plan, PlanContext, Request};
use crate::proto::{Outcome, Refusal};
use crate::store::WriteError;

pub const SYNTAX: &str = "ERR syntax error";
pub const NOT_AN_INTEGER: &str = "ERR value is not an integer or out of range";
pub const NOT_AN_INT32: &str = "ERR value is out of range, value must between -2147483648 and 2147483647";
pub const NOT_A_FLOAT: &str = "ERR value is not a valid float";
const NO_AUTH: &str = "NOAUTH Authentication required.";

/// Bytes of a command's name, and of its arguments together, that an error repeats.
const ECHOED_BYTES: usize = 128;

/// Looks a request's command up, checks its arguments and access, hashes its key. `args[0]` is the command's name.
pub fn plan<'a>(args: &[&'a [u8]], ctx: &PlanContext<'a, '_>, stats: &mut CommandStats) -> Plan<'a> {
    let planned = match table::lookup(args[0]) {
        Some(row) => {
            let spec = &COMMANDS[usize::from(row)];
            stats.calls.count(row);
            plan_row(spec, args, ctx)
        }
        None => Err(unknown_command(args)),
    };
    planned.unwrap_or_else(|text| {
        stats.errors += 1;
        Plan::Reply(Outcome::Error(text))
    })
}

#[inline]
fn plan_row<'a>(
    spec: &'static Spec,
    args: &[&'a [u8]],
    ctx: &PlanContext<'a, '_>,
) -> Result<Plan<'a>, ErrorText> {
    if !spec.accepts(args.len()) {
        return Err(wrong_arity(spec));
    }
    if !ctx.session.authenticated && !spec.flags.has(table::Flags::NO_AUTH) && !has_subcommand(spec, args) {
        return Err(NO_AUTH.into());
    }
    if ctx.session.only_subscribes() && !may_subscriber(spec) {
        return Err(only_subscribes(spec));
    }
    match spec.kind {
        Kind::Keyed(op) => keyed(spec, op, args, ctx),
        Kind::KeyedIf(len, op, _) if args.len() == len => keyed(spec, op, args, ctx),
        Kind::KeyedWhere(holds, op, _) if holds(args) => keyed(spec, op, args, ctx),
        Kind::KeyedScript(op, run) => Ok(match op(args, ctx) {
            Some(op) => on_key(args[3], op, ctx),
            None => barrier(spec, run, args, ctx),
        }),
        Kind::KeyedIf(_, _, run) | Kind::KeyedWhere(_, _, run) | Kind::Barrier(run) => {
            Ok(barrier(spec, run, args, ctx))
        }
        Kind::ImmediateIfBare(reply, run) => {
            let bare = args.len() == 1 && !ctx.session.only_subscribes();
            Ok(if bare { Plan::Reply(reply()) } else { barrier(spec, run, args, ctx) })
        }
        Kind::Container { bare: Some(run), .. } if args.len() == 1 => Ok(barrier(spec, run, args, ctx)),
        Kind::Container { .. } => match args.get(1).and_then(|name| spec.subcommand(name)) {
            Some(sub) => plan_row(sub, args, ctx),
            None => Err(unknown_subcommand(spec, args)),
        },
    }
}

/// What a connection may do that has subscribed in RESP2. A container's subcommands are looked at themselves.
fn may_subscriber(spec: &Spec) -> bool {
    const ALLOWED: [&str; 9] = [
        "ping",
        "subscribe",
        "unsubscribe",
        "psubscribe",
        "punsubscribe",
        "ssubscribe",
        "sunsubscribe",
        "quit",
        "reset",
    ];
    ALLOWED.contains(&spec.name) || matches!(spec.kind, Kind::Container { .. })
}

fn only_subscribes(spec: &Spec) -> ErrorText {
    let name = spec.name;
    format!(
        "ERR Can't execute '{name}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context"
    )
    .into()
}

/// Whether access is up to the subcommand's row.
fn has_subcommand(spec: &Spec, args: &[&[u8]]) -> bool {
    matches!(spec.kind, Kind::Container { .. }) && args.len() > 1
}

#[inline]
fn keyed<'a>(
    spec: &Spec,
    op: PlanFn,
    args: &[&'a [u8]],
    ctx: &PlanContext<'a, '_>,
) -> Result<Plan<'a>, ErrorText> {
    let op = op(args, ctx)?;
    // Keyed rows have `first` 1 or 2, and an arity that guarantees the argument.
    let key = args[usize::from(spec.keys.first.unsigned_abs())];
    Ok(on_key(key, op, ctx))
}

#[inline]
fn on_key<'a>(key: &'a [u8], op: Op<'a>, ctx: &PlanContext<'a, '_>) -> Plan<'a> {
    let session = ctx.session;
    let key = ctx.store.key(session.db, key);
    ctx.store.prefetch(key.hash);
    Plan::Keyed(Request { key, op, form: session.form(), outcome: Outcome::Pending })
}

fn barrier<'a>(
    spec: &'static Spec,
    run: BarrierFn,
    args: &[&'a [u8]],
    ctx: &PlanContext<'a, '_>,
) -> Plan<'a> {
    Plan::Barrier(Barrier::Command { run, spec, args: ctx.bump.alloc_slice_copy(args) })
}

fn unknown_command(args: &[&[u8]]) -> ErrorText {
    let mut begin = Vec::new();
    for arg in &args[1..] {
        if begin.len() >= ECHOED_BYTES {
            break;
        }
        let room = ECHOED_BYTES - begin.len();
        begin.push(b'\'');
        begin.extend_from_slice(echoed(arg, room));
        begin.extend_from_slice(b"' ");
    }
    let name = String::from_utf8_lossy(echoed(args[0], ECHOED_BYTES));
    format!("ERR unknown command '{name}', with args beginning with: {}", String::from_utf8_lossy(&begin))
        .into()
}

fn unknown_subcommand(spec: &Spec, args: &[&[u8]]) -> ErrorText {
    let name = args.get(1).map(|name| echoed(name, ECHOED_BYTES)).unwrap_or_default();
    let container = spec.name.to_ascii_uppercase();
    format!("ERR unknown subcommand '{}'. Try {container} HELP.", String::from_utf8_lossy(name)).into()
}

/// What an error repeats of an argument: up to a NUL, as C would.
fn echoed(arg: &[u8], most: usize) -> &[u8] {
    let end = memchr::memchr(0, arg).unwrap_or(arg.len());
    &arg[..end.min(most)]
}

/// The error for a wrong number of arguments.
pub fn wrong_arity(spec: &Spec) -> ErrorText {
    // Where EXEC itself is wrong there is nothing left to run.
    let code = if spec.name == "exec" { "EXECABORT Transaction discarded because of:" } else { "ERR" };
    format!("{code} wrong number of arguments for '{}' command", spec.name).into()
}

/// What a client is told of a write that the store refused.
pub fn refusal(error: WriteError) -> Refusal {
    match error {
        WriteError::TooLarge => Refusal::TooLarge,
        WriteError::KeyTooLong => Refusal::KeyTooLong,
        WriteError::OutOfMemory | WriteError::NeedsRoom => Refusal::OutOfMemory,
    }
}

/// The same in Redis's words.
pub fn refused(error: WriteError) -> &'static str {
    refusal(error).text()
}

/// A value ready to be written; a large one is copied to its place now, outside of any lock, unless it can stay where it arrived.
#[inline]
pub fn payload<'a>(value: &'a [u8], ctx: &PlanContext<'a, '_>) -> Result<Payload<'a>, ErrorText> {
    if value.len() <= ctx.store.large_threshold() {
        return Ok(Payload::Inline(value));
    }
    let placed = if ctx.held {
        ctx.store.large_value_by(value, &mut |_| Err(WriteError::OutOfMemory))
    } else {
        ctx.store.large_value_in(value, ctx.buffer)
    };
    match placed {
        Ok(bytes) => Ok(Payload::Large(Box::new(bytes))),
        Err(error) => Err(refused(error).into()),
    }
}

/// A 64-bit integer argument.
#[inline]
pub fn integer(arg: &[u8]) -> Result<i64, ErrorText> {
    super::number::parse_i64(arg).ok_or(ErrorText::Borrowed(NOT_AN_INTEGER))
}

#[cfg(test)]
mod tests;
