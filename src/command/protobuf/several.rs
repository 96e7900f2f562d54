//! Requests that run alone: several keys, a batch, authentication.
//!
//! A response stands behind its length, so the results of several keys come first and their head is put in front of them. They run in
//! portions: what is rare about a batch's operations, and small values on their way, take the memory of one portion only.

use super::{called, note, planned};
use crate::command::table::row;
use crate::command::{Context, Deferred, Flow, Request, execute_now};
use crate::limits::GROUP_REQUESTS;
use crate::proto::protobuf::{Form, One, Status, put_head, put_plain, put_result, request};
use crate::proto::reply::Mark;
use crate::proto::{self, ReplyBuf, Scratch};
use bumpalo::Bump;

const REPLY_TOO_LARGE: &str =
    "the response is larger than --max-memory leaves room for; ask for fewer keys at a time";
const BATCH_TOO_LARGE: &str =
    "the operations were run, but the response is larger than --max-memory leaves room for";
const WRONG_PASSWORD: &str = "wrong user or password";

#[derive(Debug)]
pub struct MultiGet<'a> {
    pub id: u64,
    pub keys: request::MultiGet<'a>,
}

impl Deferred for MultiGet<'_> {
    fn run(&self, ctx: &mut Context<'_>, out: &mut ReplyBuf) -> Flow {
        note(row("mget"), ctx.stats);
        let want_cas = self.keys.want_cas;
        let gets = self.keys.keys().map(|key| One::Get(request::Get { key, want_cas }));
        respond(self.id, gets, true, ctx, out);
        Flow::Continue
    }

    fn too_large(&self, out: &mut ReplyBuf) -> Flow {
        put_plain(self.id, Status::TooLarge, REPLY_TOO_LARGE, out);
        Flow::Continue
    }
}

#[derive(Debug)]
pub struct Batch<'a> {
    pub id: u64,
    pub ops: request::Batch<'a>,
}

impl Deferred for Batch<'_> {
    fn run(&self, ctx: &mut Context<'_>, out: &mut ReplyBuf) -> Flow {
        self.ops.ops().for_each(|one| called(&one, ctx.stats));
        respond(self.id, self.ops.ops(), !self.ops.writes, ctx, out);
        Flow::Continue
    }

    fn too_large(&self, out: &mut ReplyBuf) -> Flow {
        put_plain(self.id, Status::TooLarge, BATCH_TOO_LARGE, out);
        Flow::Continue
    }
}

/// Runs the operations and writes the whole response. `stops`: where the response has no more room, the rest need not run.
fn respond<'a>(
    id: u64,
    ops: impl Iterator<Item = One<'a>>,
    stops: bool,
    ctx: &mut Context<'_>,
    out: &mut ReplyBuf,
) {
    let start = out.mark();
    let mut ops = ops.peekable();
    let (mut bump, mut scratch) = (Bump::new(), Scratch::default());
    while ops.peek().is_some() && !(stops && out.has_overflowed()) {
        portion(ops.by_ref().take(GROUP_REQUESTS), &bump, &mut scratch, ctx, out);
        scratch.clear();
        bump.reset();
    }
    finish(id, start, out);
}

fn portion<'b, 'a: 'b>(
    ops: impl Iterator<Item = One<'a>>,
    bump: &'b Bump,
    scratch: &mut Scratch,
    ctx: &mut Context<'_>,
    out: &mut ReplyBuf,
) {
    let mut requests: Vec<Request<'b>> = Vec::with_capacity(GROUP_REQUESTS);
    for one in ops {
        let form = Form { id: 0, now_ms: ctx.now_ms, counts: matches!(one, One::Incr(_)) };
        let form = proto::Form::Protobuf(bump.alloc(form));
        requests.push(planned(&one, form, ctx.store, None, bump, ctx.now_ms, ctx.stats));
    }
    execute_now(ctx.store, &mut requests, scratch, ctx.stats, ctx.now_ms);
    for request in &requests {
        if let proto::Form::Protobuf(form) = request.form {
            put_result(form, &request.outcome, scratch, out);
        }
    }
}

/// Puts the length and the number of a response in front of its results.
fn finish(id: u64, start: Mark, out: &mut ReplyBuf) {
    let (head, len) = put_head(id, out.len_since(start));
    out.insert(start, &head[..len]);
}

#[derive(Debug)]
pub struct Auth<'a> {
    pub id: u64,
    pub auth: request::Auth<'a>,
}

impl Deferred for Auth<'_> {
    fn run(&self, ctx: &mut Context<'_>, out: &mut ReplyBuf) -> Flow {
        note(row("auth"), ctx.stats);
        let user = if self.auth.user.is_empty() { "default" } else { self.auth.user };
        let known = ctx.host.authenticate(user.as_bytes(), self.auth.password);
        if known {
            ctx.session.authenticated = true;
            put_plain(self.id, Status::Ok, "", out);
        } else {
            ctx.stats.errors += 1;
            put_plain(self.id, Status::Unauthenticated, WRONG_PASSWORD, out);
        }
        Flow::Continue
    }

    fn too_large(&self, out: &mut ReplyBuf) -> Flow {
        put_plain(self.id, Status::TooLarge, REPLY_TOO_LARGE, out);
        Flow::Continue
    }
}
