//! MULTI, EXEC, DISCARD, WATCH, UNWATCH.
//!
//! Between MULTI and EXEC commands are only checked and kept (plan/queue.rs). EXEC locks the partitions of all of their keys, or, if
//! one of them is not about a single key, all partitions; then it runs them one after the other, and nobody sees anything between.
//!
//! WATCH remembers the version of a key, which changes with every change of the item ([`Partition::version`]); EXEC compares under
//! the same locks under which it runs. A watched key that was missing and is missing again counts as unchanged, even if it existed
//! in between; one that was evicted has changed.
//!
//! [`Partition::version`]: crate::store::Partition::version

use super::locked::{Keys, LockedSet, keys, with_room};
use super::reply;
use crate::command::held::Runner;
use crate::command::table::{self, COMMANDS, ErrorText, Kind};
use crate::command::{Context, Flow, reads, refused};
use crate::conn::{Transaction, Watched};
use crate::limits::WATCHED_KEYS;
use crate::proto::resp::Writer;
use crate::store::Key;

/// What giving an item a version may take.
const VERSION_BYTES: usize = 256;

/// MULTI.
pub fn multi(_args: &[&[u8]], ctx: &mut Context<'_>, out: &mut Writer<'_>) -> Flow {
    // One that is in a transaction already does not get here (see `plan::enqueue`).
    ctx.session.transaction = Some(Box::default());
    out.ok();
    Flow::Continue
}

/// DISCARD: forgets what was queued, and what is watched.
pub fn discard(_args: &[&[u8]], ctx: &mut Context<'_>, out: &mut Writer<'_>) -> Flow {
    if ctx.session.transaction.take().is_none() {
        out.error("ERR DISCARD without MULTI");
        return Flow::Continue;
    }
    ctx.session.watched = Vec::new();
    out.ok();
    Flow::Continue
}

/// WATCH key...
pub fn watch(args: &[&[u8]], ctx: &mut Context<'_>, out: &mut Writer<'_>) -> Flow {
    reply(out, |out| {
        let keys = keys(ctx, &args[1..]);
        if ctx.session.watched.len() + keys.len() > WATCHED_KEYS {
            return Err(format!("ERR more than {WATCHED_KEYS} watched keys").into());
        }
        let (db, now_ms) = (ctx.session.db, ctx.now_ms);
        let versions = with_room(ctx, &keys, keys.len() * VERSION_BYTES, |locked| {
            keys.iter().map(|key| locked.partition(key).version(key, now_ms)).collect::<Result<Vec<_>, _>>()
        });
        let versions: Vec<Option<u64>> = versions.map_err(|error| ErrorText::from(refused(error)))?;
        let watched = &mut ctx.session.watched;
        for (key, version) in keys.iter().zip(versions) {
            // A key that is watched already stays as it was first seen.
            if !watched.iter().any(|one| one.db == db && *one.key == *key.bytes) {
                watched.push(Watched { db, key: key.bytes.into(), version });
            }
        }
        out.ok();
        Ok(())
    })
}

/// UNWATCH.
pub fn unwatch(_args: &[&[u8]], ctx: &mut Context<'_>, out: &mut Writer<'_>) -> Flow {
    ctx.session.watched = Vec::new();
    out.ok();
    Flow::Continue
}

/// EXEC: the replies of all commands; null if a watched key has changed.
pub fn exec(_args: &[&[u8]], ctx: &mut Context<'_>, out: &mut Writer<'_>) -> Flow {
    let Some(transaction) = ctx.session.transaction.take() else {
        out.error("ERR EXEC without MULTI");
        return Flow::Continue;
    };
    let watched = std::mem::take(&mut ctx.session.watched);
    if transaction.has_failed() {
        out.error("EXECABORT Transaction discarded because of previous errors.");
        return Flow::Continue;
    }
    let store = ctx.store;
    let watched_keys: Keys<'_> = watched.iter().map(|one| store.key(one.db, &one.key)).collect();
    ctx.hold(|ctx| partitions(&transaction, &watched_keys, ctx));
    let mut flow = Flow::Continue;
    if unchanged(&watched, &watched_keys, ctx) {
        flow = run_all(&transaction, ctx, out);
    } else {
        out.null_array();
    }
    ctx.free();
    if let Some(scripts) = &mut ctx.scripts {
        scripts.tidy();
    }
    flow
}

/// All run, whatever one of them says of the connection: it may have killed itself.
fn run_all(transaction: &Transaction, ctx: &mut Context<'_>, out: &mut Writer<'_>) -> Flow {
    let mut flow = Flow::Continue;
    out.array(transaction.len());
    let mut runner = Runner::default();
    let mut args = Vec::new();
    for index in 0..transaction.len() {
        transaction.command(index, &mut args);
        reads::note(ctx.session, &args, ctx.host.pushes());
        if runner.run(&args, ctx, out.buffer()) == Flow::Close {
            flow = Flow::Close;
        }
    }
    flow
}

fn unchanged(watched: &[Watched], keys: &Keys<'_>, ctx: &mut Context<'_>) -> bool {
    let now_ms = ctx.now_ms;
    let mut held = ctx.lock(keys);
    watched.iter().zip(keys).all(|(one, key)| held.partition(key).known_version(key, now_ms) == one.version)
}

/// Which partitions a command of a transaction works on.
enum Needs<'a> {
    Nothing,
    Key(&'a [u8]),
    All,
}

/// Locks what the transaction needs.
fn partitions<'s>(transaction: &Transaction, watched: &Keys<'_>, ctx: &Context<'s>) -> LockedSet<'s> {
    let mut keys: Vec<Key<'_>> = watched.to_vec();
    let mut args = Vec::new();
    for index in 0..transaction.len() {
        transaction.command(index, &mut args);
        match needs(&args) {
            Needs::Nothing => {}
            Needs::Key(key) => keys.push(ctx.store.key(ctx.session.db, key)),
            Needs::All => return LockedSet::all(ctx.store),
        }
    }
    LockedSet::of(ctx.store, &keys)
}

fn needs<'a>(args: &[&'a [u8]]) -> Needs<'a> {
    // It was there when the command was queued.
    let Some(row) = table::lookup(args[0]) else { return Needs::All };
    let mut spec = &COMMANDS[usize::from(row)];
    if let [_, name, ..] = args {
        spec = spec.subcommand(name).unwrap_or(spec);
    }
    match spec.kind {
        Kind::Keyed(_) => Needs::Key(args[usize::from(spec.keys.first.unsigned_abs())]),
        Kind::KeyedIf(len, ..) if args.len() == len => Needs::Key(args[1]),
        Kind::ImmediateIfBare(..) if args.len() == 1 => Needs::Nothing,
        _ => Needs::All,
    }
}
