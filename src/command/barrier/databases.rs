//! Whole databases: DBSIZE, FLUSHDB, FLUSHALL, SELECT, SWAPDB.

use super::{database, reply};
use crate::command::plan::SYNTAX;
use crate::command::table::ErrorText;
use crate::command::{Context, Flow, integer};
use crate::proto::resp::Writer;
use crate::store::Store;

/// DBSIZE: how many items the selected database has, those included that have expired and were not swept yet, but no placeholders.
pub fn dbsize(_args: &[&[u8]], ctx: &mut Context<'_>, out: &mut Writer<'_>) -> Flow {
    let db = usize::from(ctx.session.db);
    let items: u64 = ctx.lock_all().iter_mut().map(|partition| partition.stats().items[db]).sum();
    out.int(i64::try_from(items).unwrap_or(i64::MAX));
    Flow::Continue
}

/// FLUSHDB [ASYNC|SYNC].
pub fn flushdb(args: &[&[u8]], ctx: &mut Context<'_>, out: &mut Writer<'_>) -> Flow {
    flush(args, Some(ctx.session.db), ctx, out)
}

/// FLUSHALL [ASYNC|SYNC].
pub fn flushall(args: &[&[u8]], ctx: &mut Context<'_>, out: &mut Writer<'_>) -> Flow {
    flush(args, None, ctx, out)
}

/// Empties one database, or all. All partitions are held: nobody sees it half done.
pub fn flush_store(store: &Store, db: Option<u8>) {
    super::LockedSet::all(store).iter_mut().for_each(|partition| partition.flush(db));
    store.journal().note_flush();
}

/// Constant time either way, so ASYNC and SYNC are one.
fn flush(args: &[&[u8]], db: Option<u8>, ctx: &mut Context<'_>, out: &mut Writer<'_>) -> Flow {
    reply(out, |out| {
        let known = |how: &[u8]| how.eq_ignore_ascii_case(b"ASYNC") || how.eq_ignore_ascii_case(b"SYNC");
        if args.len() > 2 || !args.get(1).is_none_or(|how| known(how)) {
            return Err(SYNTAX.into());
        }
        ctx.lock_all().iter_mut().for_each(|partition| partition.flush(db));
        ctx.store.journal().note_flush();
        out.ok();
        Ok(())
    })
}

/// SELECT index.
pub fn select(args: &[&[u8]], ctx: &mut Context<'_>, out: &mut Writer<'_>) -> Flow {
    reply(out, |out| {
        ctx.session.db = database(integer(args[1])?)?;
        ctx.host.client_changed(ctx.session);
        out.ok();
        Ok(())
    })
}

/// SWAPDB index index: what was in one database is in the other, for all clients at once.
pub fn swapdb(args: &[&[u8]], ctx: &mut Context<'_>, out: &mut Writer<'_>) -> Flow {
    reply(out, |out| {
        let number = |arg| integer(arg).ok().filter(|n| i32::try_from(*n).is_ok());
        let first = number(args[1]).ok_or(ErrorText::Borrowed("ERR invalid first DB index"))?;
        let second = number(args[2]).ok_or(ErrorText::Borrowed("ERR invalid second DB index"))?;
        let (first, second) = (database(first)?, database(second)?);
        ctx.lock_all().iter_mut().for_each(|partition| partition.swap_databases(first, second));
        // Redis tells nobody, and clients go on with what was in the other database.
        if first != second {
            ctx.store.journal().note_flush();
        }
        out.ok();
        Ok(())
    })
}
