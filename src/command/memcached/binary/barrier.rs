//! What runs alone: FLUSH, STAT, and the password.

use crate::command::memcached::text::flush_all;
use crate::command::{Context, Deferred, Flow, StatsOf};
use crate::proto::ReplyBuf;
use crate::proto::memcached::binary::{Form, Status, put_error, put_stat, put_success, put_with_value};

const DEFAULT_USER: &[u8] = b"default";

/// FLUSH and FLUSHQ.
#[derive(Debug)]
pub struct Flush<'a> {
    pub form: Form<'a>,
    /// Read as an expiry is; 0: now.
    pub delay_s: u32,
}

impl Deferred for Flush<'_> {
    fn run(&self, ctx: &mut Context<'_>, out: &mut ReplyBuf) -> Flow {
        flush_all(u64::from(self.delay_s), ctx);
        if !self.form.opcode().is_quiet() {
            put_success(&self.form, 0, out);
        }
        Flow::Continue
    }
}

/// STAT: one packet for each figure, then an empty one.
#[derive(Debug)]
pub struct Stat<'a> {
    pub form: Form<'a>,
    pub what: &'a [u8],
}

impl Deferred for Stat<'_> {
    fn run(&self, ctx: &mut Context<'_>, out: &mut ReplyBuf) -> Flow {
        let of = match self.what {
            b"" => Some(StatsOf::General),
            b"settings" => Some(StatsOf::Settings),
            b"items" => Some(StatsOf::Items),
            b"slabs" => Some(StatsOf::Slabs),
            b"conns" => Some(StatsOf::Connections),
            b"reset" => None,
            // As in a memcached that keeps no histogram of sizes.
            b"sizes" => {
                put_stat(&self.form, b"sizes_status", b"disabled", out);
                None
            }
            _ => {
                ctx.stats.errors += 1;
                put_error(&self.form, Status::NotFound, out);
                return Flow::Continue;
            }
        };
        if self.what == b"reset" {
            let store = ctx.store;
            ctx.host.reset_stats(&mut |partition| store.lock(partition).stats());
        }
        for (name, value) in of.map(|of| ctx.host.memcached_stats(of)).unwrap_or_default() {
            put_stat(&self.form, name.as_bytes(), value.as_bytes(), out);
        }
        put_stat(&self.form, b"", b"", out);
        Flow::Continue
    }
}

/// A message of SASL's PLAIN (RFC 4616): whom to act as, whose password this is, the password, with a zero byte between them.
#[derive(Debug)]
pub struct LogIn<'a> {
    pub form: Form<'a>,
    pub message: &'a [u8],
}

impl Deferred for LogIn<'_> {
    fn run(&self, ctx: &mut Context<'_>, out: &mut ReplyBuf) -> Flow {
        // One who was in and comes with a wrong password is out.
        ctx.session.authenticated = is_right(self.message, ctx);
        if ctx.session.authenticated {
            put_with_value(&self.form, Status::Ok, b"Authenticated", out);
        } else {
            ctx.stats.errors += 1;
            put_error(&self.form, Status::AuthFailure, out);
        }
        Flow::Continue
    }
}

fn is_right(message: &[u8], ctx: &Context<'_>) -> bool {
    let mut parts = message.splitn(3, |byte| *byte == 0);
    let (Some(acting_as), Some(user), Some(password)) = (parts.next(), parts.next(), parts.next()) else {
        return false;
    };
    let user = if user.is_empty() { DEFAULT_USER } else { user };
    // Nobody may act as somebody else.
    (acting_as.is_empty() || acting_as == user) && ctx.host.authenticate(user, password)
}
