//! Publish/subscribe: SUBSCRIBE, PSUBSCRIBE, SSUBSCRIBE and their opposites, PUBLISH, SPUBLISH, PUBSUB; and MONITOR, which listens too.
//!
//! A confirmation is a push of its own for each channel, so that these commands have as many replies as arguments. Messages themselves are
//! written elsewhere: they come between replies, when the connection's worker has time for them.

use super::reply;
use crate::command::table::ErrorText;
use crate::command::{Context, Flow, Pushes};
use crate::conn::{ChannelKind, Session};
use crate::limits;
use crate::proto::resp::Writer;
use bytes::Bytes;

/// SUBSCRIBE channel...
pub fn subscribe(args: &[&[u8]], ctx: &mut Context<'_>, out: &mut Writer<'_>) -> Flow {
    add(ChannelKind::Plain, "subscribe", args, ctx, out)
}

/// PSUBSCRIBE pattern...
pub fn psubscribe(args: &[&[u8]], ctx: &mut Context<'_>, out: &mut Writer<'_>) -> Flow {
    add(ChannelKind::Pattern, "psubscribe", args, ctx, out)
}

/// SSUBSCRIBE channel...: a single server has all shards.
pub fn ssubscribe(args: &[&[u8]], ctx: &mut Context<'_>, out: &mut Writer<'_>) -> Flow {
    add(ChannelKind::Shard, "ssubscribe", args, ctx, out)
}

/// UNSUBSCRIBE [channel...]: without any, from all.
pub fn unsubscribe(args: &[&[u8]], ctx: &mut Context<'_>, out: &mut Writer<'_>) -> Flow {
    remove(ChannelKind::Plain, "unsubscribe", args, ctx, out)
}

/// PUNSUBSCRIBE [pattern...].
pub fn punsubscribe(args: &[&[u8]], ctx: &mut Context<'_>, out: &mut Writer<'_>) -> Flow {
    remove(ChannelKind::Pattern, "punsubscribe", args, ctx, out)
}

/// SUNSUBSCRIBE [channel...].
pub fn sunsubscribe(args: &[&[u8]], ctx: &mut Context<'_>, out: &mut Writer<'_>) -> Flow {
    remove(ChannelKind::Shard, "sunsubscribe", args, ctx, out)
}

fn add(kind: ChannelKind, word: &str, args: &[&[u8]], ctx: &mut Context<'_>, out: &mut Writer<'_>) -> Flow {
    reply(out, |out| {
        check_limits(ctx.session, &args[1..])?;
        let session = &mut *ctx.session;
        for name in &args[1..] {
            let subscriptions = &mut session.listening_mut().subscriptions;
            if !subscriptions.contains(kind, name) {
                let name = Bytes::copy_from_slice(name);
                subscriptions.insert(kind, name.clone());
                ctx.host.pushes().subscribe(session.id, kind, &name);
            }
            confirm(word, Some(name), counted(session, kind), out);
        }
        ctx.host.client_changed(session);
        Ok(())
    })
}

fn remove(
    kind: ChannelKind,
    word: &str,
    args: &[&[u8]],
    ctx: &mut Context<'_>,
    out: &mut Writer<'_>,
) -> Flow {
    let session = &mut *ctx.session;
    if session.subscribed(kind) == 0 && args.len() == 1 {
        confirm(word, None, counted(session, kind), out);
        return Flow::Continue;
    }
    let names: Vec<Bytes> = if args.len() == 1 {
        session.listening_mut().subscriptions.names(kind)
    } else {
        args[1..].iter().map(|name| Bytes::copy_from_slice(name)).collect()
    };
    for name in names {
        if session.subscribed(kind) > 0 && session.listening_mut().subscriptions.remove(kind, &name) {
            ctx.host.pushes().unsubscribe(session.id, kind, &name);
        }
        confirm(word, Some(&name), counted(session, kind), out);
    }
    ctx.host.client_changed(session);
    Flow::Continue
}

/// What a connection may make the server keep is bounded.
fn check_limits(session: &Session, names: &[&[u8]]) -> Result<(), ErrorText> {
    let (mut count, mut bytes) = (names.len(), names.iter().map(|name| name.len()).sum::<usize>());
    if let Some(listening) = &session.listening {
        count += listening.subscriptions.total();
        bytes += listening.subscriptions.name_bytes();
    }
    if count > limits::SUBSCRIPTIONS {
        return Err(format!("ERR a client may have {} subscriptions at most", limits::SUBSCRIPTIONS).into());
    }
    if bytes > limits::SUBSCRIPTION_BYTES {
        let most = limits::SUBSCRIPTION_BYTES;
        return Err(format!("ERR the names of a client's subscriptions may have {most} bytes at most").into());
    }
    Ok(())
}

/// What confirmations count: shard channels are counted apart.
fn counted(session: &Session, kind: ChannelKind) -> usize {
    match kind {
        ChannelKind::Shard => session.subscribed(ChannelKind::Shard),
        _ => session.subscribed(ChannelKind::Plain) + session.subscribed(ChannelKind::Pattern),
    }
}

fn confirm(word: &str, name: Option<&[u8]>, count: usize, out: &mut Writer<'_>) {
    out.push(3);
    out.bulk(word.as_bytes());
    match name {
        Some(name) => out.bulk(name),
        None => out.null(),
    }
    out.int(count as i64);
}

/// Takes a connection off all lists: it is reset, or gone.
pub fn forget(session: &mut Session, pushes: &dyn Pushes) {
    let Some(mut listening) = session.listening.take() else { return };
    for kind in ChannelKind::ALL {
        for name in listening.subscriptions.take(kind) {
            pushes.unsubscribe(session.id, kind, &name);
        }
    }
    if listening.tracking.is_some() {
        pushes.track(session.id, None);
    }
    if listening.monitor {
        pushes.monitor(session.id, false);
    }
}

/// PUBLISH channel message: how many got it.
pub fn publish(args: &[&[u8]], ctx: &mut Context<'_>, out: &mut Writer<'_>) -> Flow {
    out.int(ctx.host.pushes().publish(ChannelKind::Plain, args[1], args[2]) as i64);
    Flow::Continue
}

/// SPUBLISH channel message.
pub fn spublish(args: &[&[u8]], ctx: &mut Context<'_>, out: &mut Writer<'_>) -> Flow {
    out.int(ctx.host.pushes().publish(ChannelKind::Shard, args[1], args[2]) as i64);
    Flow::Continue
}

/// PUBSUB CHANNELS [pattern].
pub fn pubsub_channels(args: &[&[u8]], ctx: &mut Context<'_>, out: &mut Writer<'_>) -> Flow {
    channels(ChannelKind::Plain, args, ctx, out)
}

/// PUBSUB SHARDCHANNELS [pattern].
pub fn pubsub_shardchannels(args: &[&[u8]], ctx: &mut Context<'_>, out: &mut Writer<'_>) -> Flow {
    channels(ChannelKind::Shard, args, ctx, out)
}

fn channels(kind: ChannelKind, args: &[&[u8]], ctx: &mut Context<'_>, out: &mut Writer<'_>) -> Flow {
    if args.len() > 3 {
        let name = String::from_utf8_lossy(args[1]).into_owned();
        out.error(&format!(
            "ERR unknown subcommand or wrong number of arguments for '{name}'. Try PUBSUB HELP."
        ));
        return Flow::Continue;
    }
    let found = ctx.host.pushes().channels(kind, args.get(2).copied());
    out.array(found.len());
    found.iter().for_each(|channel| out.bulk(channel));
    Flow::Continue
}

/// PUBSUB NUMSUB [channel...].
pub fn pubsub_numsub(args: &[&[u8]], ctx: &mut Context<'_>, out: &mut Writer<'_>) -> Flow {
    subscribers(ChannelKind::Plain, args, ctx, out)
}

/// PUBSUB SHARDNUMSUB [channel...].
pub fn pubsub_shardnumsub(args: &[&[u8]], ctx: &mut Context<'_>, out: &mut Writer<'_>) -> Flow {
    subscribers(ChannelKind::Shard, args, ctx, out)
}

fn subscribers(kind: ChannelKind, args: &[&[u8]], ctx: &mut Context<'_>, out: &mut Writer<'_>) -> Flow {
    out.array(2 * (args.len() - 2));
    for channel in &args[2..] {
        out.bulk(channel);
        out.int(ctx.host.pushes().subscribers(kind, channel) as i64);
    }
    Flow::Continue
}

/// PUBSUB NUMPAT.
pub fn pubsub_numpat(_args: &[&[u8]], ctx: &mut Context<'_>, out: &mut Writer<'_>) -> Flow {
    out.int(ctx.host.pushes().patterns() as i64);
    Flow::Continue
}

/// MONITOR: from now on every command that is executed, as a line. Said again, it is not answered, as in Redis.
pub fn monitor(_args: &[&[u8]], ctx: &mut Context<'_>, out: &mut Writer<'_>) -> Flow {
    let listening = ctx.session.listening_mut();
    if !listening.monitor {
        listening.monitor = true;
        ctx.host.pushes().monitor(ctx.session.id, true);
        ctx.host.client_changed(ctx.session);
        out.ok();
    }
    Flow::Continue
}
