//! The commands that are not about single keys: they run alone.

use super::{PlanContext, Step};
use crate::command::barrier::flush_store;
use crate::command::table::row;
use crate::command::{Barrier, Context, Deferred, Flow, StatsOf};
use crate::proto::ReplyBuf;
use crate::proto::memcached::text;
use crate::store::Expiry;

const OK: &[u8] = b"OK\r\n";
const NOT_ENABLED: &[u8] = b"ERROR: shutdown not enabled\r\n";
const NOT_ADJUSTED: &[u8] = b"MEMLIMIT_ADJUST_FAILED out of bounds or unable to adjust\r\n";
const NO_DUMP: &[u8] = b"CLIENT_ERROR stats cachedump not allowed\r\n";
const NO_DETAIL: &[u8] = b"CLIENT_ERROR stats detail not allowed\r\n";
const END: &[u8] = b"END\r\n";

#[derive(Clone, Copy, Debug)]
pub enum Ask<'a> {
    Login { user: &'a [u8], password: &'a [u8] },
    FlushAll { delay_s: u64, noreply: bool },
    Stats(Option<&'a [u8]>),
    MemoryLimit { mebibytes: u64, noreply: bool },
    Shutdown,
}

impl<'a> Ask<'a> {
    pub fn barrier(self, consumed: usize, ctx: &PlanContext<'a, '_>) -> Step<'a> {
        Step::Barrier { consumed, barrier: Barrier::Other(ctx.bump.alloc(self)) }
    }
}

impl Deferred for Ask<'_> {
    fn run(&self, ctx: &mut Context<'_>, out: &mut ReplyBuf) -> Flow {
        match *self {
            Ask::Login { user, password } => login(user, password, ctx, out),
            Ask::FlushAll { delay_s, noreply } => {
                flush_all(delay_s, ctx);
                out.put(if noreply { b"" } else { OK });
            }
            Ask::Stats(what) => stats(what, ctx, out),
            Ask::MemoryLimit { mebibytes, noreply } => {
                let bytes = mebibytes.saturating_mul(1 << 20).to_string();
                let reply = match ctx.host.config_set(&[(b"maxmemory", bytes.as_bytes())]) {
                    Ok(()) => OK,
                    Err(_) => NOT_ADJUSTED,
                };
                out.put(if noreply { b"" } else { reply });
            }
            Ask::Shutdown => {
                if ctx.host.shut_down() {
                    return Flow::Close;
                }
                ctx.stats.errors += 1;
                out.put(NOT_ENABLED);
            }
        }
        Flow::Continue
    }
}

fn login(user: &[u8], password: &[u8], ctx: &mut Context<'_>, out: &mut ReplyBuf) {
    // Both orders cost the same: the host compares in constant time.
    if ctx.host.authenticate(user, password) {
        ctx.session.authenticated = true;
        ctx.host.client_changed(ctx.session);
        out.put(text::LOGIN_RIGHT);
    } else {
        ctx.stats.errors += 1;
        out.put(text::LOGIN_WRONG);
    }
}

/// At once, or at the time that the delay means: what there is then goes. A later command takes the place of one that still waits.
pub(in crate::command::memcached) fn flush_all(delay_s: u64, ctx: &mut Context<'_>) {
    ctx.stats.calls[usize::from(row("flushdb"))] += 1;
    match super::expiry(i64::try_from(delay_s).unwrap_or(i64::MAX), ctx.now_ms) {
        Expiry::At(at_ms) if at_ms > ctx.now_ms => ctx.host.flush_at(Some(at_ms)),
        _ => {
            ctx.host.flush_at(None);
            flush_store(ctx.store, Some(super::DB));
        }
    }
}

/// stats [<what>].
fn stats(what: Option<&[u8]>, ctx: &mut Context<'_>, out: &mut ReplyBuf) {
    let of = match what {
        None => StatsOf::General,
        Some(b"settings") => StatsOf::Settings,
        Some(b"items") => StatsOf::Items,
        Some(b"slabs") => StatsOf::Slabs,
        Some(b"conns") => StatsOf::Connections,
        // As in a memcached that keeps no histogram of sizes.
        Some(b"sizes" | b"sizes_enable" | b"sizes_disable") => {
            return out.put(b"STAT sizes_status disabled\r\nEND\r\n");
        }
        Some(b"reset") => {
            let store = ctx.store;
            ctx.host.reset_stats(&mut |partition| store.lock(partition).stats());
            return out.put(b"RESET\r\n");
        }
        Some(other) => {
            ctx.stats.errors += 1;
            return out.put(match other {
                b"cachedump" => NO_DUMP,
                b"detail" => NO_DETAIL,
                _ => text::ERROR,
            });
        }
    };
    for (name, value) in ctx.host.memcached_stats(of) {
        out.put(b"STAT ");
        out.put(name.as_bytes());
        out.put(b" ");
        out.put(value.as_bytes());
        out.put(b"\r\n");
    }
    out.put(END);
}
