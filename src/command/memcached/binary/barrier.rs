//! What runs alone: FLUSH, STAT, and the password.

use crate::command::{Context, Deferred, Flow};
use crate::proto::ReplyBuf;
use crate::proto::memcached::binary::{Form, Status, put_error, put_stat, put_success, put_with_value};

const DEFAULT_USER: &[u8] = b"default";

/// FLUSH and FLUSHQ.
#[derive(Debug)]
pub struct Flush<'a> {
    pub form: Form<'a>,
    /// Unix milliseconds; `None`: now.
    pub at_ms: Option<u64>,
}

impl Deferred for Flush<'_> {
    fn run(&self, ctx: &mut Context<'_>, out: &mut ReplyBuf) -> Flow {
        // All partitions are held: nobody sees it half done.
        let mut partitions: Vec<_> = (0..ctx.store.partitions()).map(|p| ctx.store.lock(p)).collect();
        partitions.iter_mut().for_each(|partition| partition.flush(Some(0)));
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
        match self.what {
            b"" => {}
            b"reset" => ctx.host.reset_stats(),
            _ => {
                ctx.stats.errors += 1;
                put_error(&self.form, Status::NotFound, out);
                return Flow::Continue;
            }
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
