//! A value under another key: RENAME, RENAMENX, COPY.

use super::locked::with_room;
use super::multi_write::as_value;
use super::{database, reply};
use crate::command::plan::SYNTAX;
use crate::command::table::ErrorText;
use crate::command::{Context, Flow, integer, refused};
use crate::proto::resp::Writer;
use crate::store::{Cause, Expiry, Happening, Key, WriteError};

/// How a transfer ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Transfer {
    Done,
    NoSource,
    /// The destination exists and may not be replaced.
    Occupied,
}

/// What a transfer does beside writing the destination.
#[derive(Clone, Copy)]
struct Manner {
    replace: bool,
    keep_source: bool,
}

/// RENAME key newkey.
pub fn rename(args: &[&[u8]], ctx: &mut Context<'_>, out: &mut Writer<'_>) -> Flow {
    reply(out, |out| {
        let manner = Manner { replace: true, keep_source: false };
        match rename_to(args, ctx, manner)? {
            Transfer::NoSource => return Err("ERR no such key".into()),
            Transfer::Done | Transfer::Occupied => out.ok(),
        }
        Ok(())
    })
}

/// RENAMENX key newkey: 0 if the new key exists.
pub fn renamenx(args: &[&[u8]], ctx: &mut Context<'_>, out: &mut Writer<'_>) -> Flow {
    reply(out, |out| {
        let manner = Manner { replace: false, keep_source: false };
        match rename_to(args, ctx, manner)? {
            Transfer::NoSource => return Err("ERR no such key".into()),
            outcome => out.int(i64::from(outcome == Transfer::Done)),
        }
        Ok(())
    })
}

/// COPY source destination [DB number] [REPLACE]: 1 if copied.
pub fn copy(args: &[&[u8]], ctx: &mut Context<'_>, out: &mut Writer<'_>) -> Flow {
    reply(out, |out| {
        let (mut db, mut replace) = (ctx.session.db, false);
        let mut options = args[3..].iter();
        while let Some(option) = options.next() {
            if option.eq_ignore_ascii_case(b"REPLACE") {
                replace = true;
            } else if option.eq_ignore_ascii_case(b"DB") {
                let number = options.next().ok_or(ErrorText::Borrowed(SYNTAX))?;
                db = database(integer(number)?)?;
            } else {
                return Err(SYNTAX.into());
            }
        }
        let source = ctx.store.key(ctx.session.db, args[1]);
        let destination = ctx.store.key(db, args[2]);
        if (source.db, source.bytes) == (destination.db, destination.bytes) {
            return Err("ERR source and destination objects are the same".into());
        }
        let outcome = transfer(source, destination, Manner { replace, keep_source: true }, ctx)?;
        out.int(i64::from(outcome == Transfer::Done));
        Ok(())
    })
}

fn rename_to(args: &[&[u8]], ctx: &mut Context<'_>, manner: Manner) -> Result<Transfer, ErrorText> {
    let db = ctx.session.db;
    transfer(ctx.store.key(db, args[1]), ctx.store.key(db, args[2]), manner, ctx)
}

/// Writes the source's value, expiry and client flags to the destination. The value is pinned, not copied, and written again.
fn transfer(
    source: Key<'_>,
    destination: Key<'_>,
    manner: Manner,
    ctx: &mut Context<'_>,
) -> Result<Transfer, ErrorText> {
    let (store, now_ms) = (ctx.store, ctx.now_ms);
    // The most that is copied: a value in memory of its own only changes hands.
    let bytes = destination.bytes.len() + store.large_threshold();
    let cause = Cause { written: Happening::Unnamed, removed: Happening::Unnamed, ..ctx.cause() };
    let result: Result<Transfer, WriteError> = with_room(ctx, &[source, destination], bytes, |locked| {
        locked.set_cause(cause);
        let Some(entry) = locked.partition(&source).peek(&source, now_ms) else {
            return Ok(Transfer::NoSource);
        };
        let (value, expire_at_ms, extra) = (entry.pin(), entry.expire_at_ms(), entry.extra().moved());
        let target = locked.partition(&destination);
        if !manner.replace && target.peek(&destination, now_ms).is_some() {
            return Ok(Transfer::Occupied);
        }
        if (source.db, source.bytes) == (destination.db, destination.bytes) {
            return Ok(Transfer::Done);
        }
        let expiry = expire_at_ms.map_or(Expiry::None, Expiry::At);
        target.set_item(&destination, as_value(&value, store), expiry, &extra, now_ms)?;
        if manner.keep_source {
            locked.partition(&destination).note(Happening::CopyTo, &destination);
        } else {
            locked.partition(&source).remove(&source, now_ms);
            locked.partition(&source).note(Happening::RenameFrom, &source);
            locked.partition(&destination).note(Happening::RenameTo, &destination);
        }
        Ok(Transfer::Done)
    });
    result.map_err(|error| refused(error).into())
}
