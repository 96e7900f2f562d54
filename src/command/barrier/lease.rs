//! KV.GET with WAIT: who has not won the right to compute a missing value waits until it is there.
//!
//! A connection that waits is parked: the command stays where it came from and runs again when the key has changed, when the lease is
//! over (then it may win itself), or when its time is up. It costs nothing meanwhile.

use crate::command::held::execute_one;
use crate::command::plan::lease::LeaseOptions;
use crate::command::{Context, Flow, Op, Request};
use crate::proto::resp::{Writer, encode_into};
use crate::proto::{Outcome, Scratch};

/// KV.GET key … WAIT milliseconds
pub fn kv_get(args: &[&[u8]], ctx: &mut Context<'_>, out: &mut Writer<'_>) -> Flow {
    let options = match LeaseOptions::parse(&args[2..]) {
        Ok(options) => options,
        Err(text) => {
            out.error(&text);
            return Flow::Continue;
        }
    };
    let until_ms = *ctx
        .session
        .wait_until_ms
        .get_or_insert_with(|| ctx.now_ms.saturating_add(options.wait_ms.unwrap_or_default()));
    // Whoever holds partitions, in a transaction or a script, waits for nobody.
    let may_wait = until_ms > ctx.now_ms && ctx.held.is_none() && ctx.host.may_wait();
    let key = ctx.store.key(ctx.session.db, args[1]);
    if may_wait {
        // Before the item is looked at: what changes it from now on finds who waits.
        ctx.host.wait_begins(key.hash, ctx.session.id);
        ctx.session.waits_for = Some(key.hash);
    }
    let counts = (ctx.stats.hits, ctx.stats.misses);
    let mut fetch = options.fetch(ctx.now_ms);
    fetch.waits = may_wait;
    let request = Request { key, op: Op::Fetch(&fetch), form: ctx.session.form(), outcome: Outcome::Pending };
    let mut scratch = Scratch::default();
    let outcome = execute_one(request, &mut scratch, ctx);
    if may_wait
        && let Outcome::Item(index) = outcome
        && let item = &scratch.items[index as usize]
        && item.placeholder
        && item.taken
    {
        // It will look again, and counts then.
        (ctx.stats.hits, ctx.stats.misses) = counts;
        let lease_ends_ms = item.expire_at_ms.unwrap_or(until_ms);
        return Flow::Park { until_ms: until_ms.min(lease_ends_ms) };
    }
    // Also where it may not wait any more: nobody else takes out who was not woken.
    if let Some(hash) = ctx.session.waits_for.take() {
        ctx.host.wait_ends(hash, ctx.session.id);
    }
    ctx.session.wait_until_ms = None;
    encode_into(&outcome, &scratch, out);
    Flow::Continue
}
