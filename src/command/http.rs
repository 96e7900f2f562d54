//! Plans HTTP requests: `/v1/keys/{key}` becomes one request of the batch, `/v1/batch` a barrier, all else a reply that is known at once.
//!
//! What a head alone decides is decided before its body is waited for: a client whose password is wrong, or whose value will not be
//! taken, need not send it.

mod auth;
mod batch;
mod browser;
mod keys;
mod target;

use super::{Barrier, CommandStats, Flow, PlanContext, Request, Step};
use crate::limits::{HTTP_BATCH_BYTES, HTTP_UNWANTED_BODY};
use crate::proto::http::{
    self, Body, Connection, Found, Framing, Head, Manner, Method, Problem, Read, State, problem, put_empty,
    put_head, put_problem,
};
use crate::proto::{ParseLimits, ReplyBuf};
use target::Target;

/// What a head asks for.
enum Asked<'a> {
    Key(keys::KeyRequest<'a>),
    Batch,
    /// Further fields of a reply without a body.
    Nothing(&'a str),
    Page(&'static str),
}

impl Asked<'_> {
    fn writes(&self) -> bool {
        match self {
            Asked::Key(key) => key.writes(),
            Asked::Batch => true,
            Asked::Nothing(_) | Asked::Page(_) => false,
        }
    }

    /// The longest body that belongs to it, bytes.
    fn longest_body(&self, limits: &ParseLimits) -> usize {
        match self {
            Asked::Key(key) if key.takes_body() => limits.max_bulk,
            Asked::Batch => HTTP_BATCH_BYTES.min(limits.max_bulk),
            _ => 0,
        }
    }
}

/// Parses what is at the start of `rest`, all that this connection has sent and that has not been consumed, and plans it.
pub fn next<'a>(
    rest: &'a [u8],
    state: &mut State,
    limits: &ParseLimits,
    ctx: &PlanContext<'a, '_>,
    stats: &mut CommandStats,
    requests: &mut Vec<Request<'a>>,
) -> Step<'a> {
    let head = match http::find(rest, state, limits.max_request) {
        Found::Head(head) => head,
        Found::Skip { consumed } => return Step::Planned { consumed },
        Found::Incomplete { need } => return Step::Incomplete { need },
        Found::Lost(problem) => {
            // There may be more of what was too long. Behind a head or a chunk that is broken there is no telling.
            if matches!(problem.status, 413 | 414 | 431) {
                state.abandon(usize::MAX);
            }
            return lost(&problem, &Manner::default(), stats);
        }
    };
    let mut manner =
        Manner { connection: head.connection, origin: None, head_only: head.method == Method::Head };
    let turn = Turn { rest, head: &head, ctx, requests };
    match browser::origin(&head.fields, ctx.host) {
        Ok(origin) => manner.origin = origin,
        Err(problem) => return turn.refuse(&problem, manner, state, stats),
    }
    match asked(&head, ctx) {
        Ok(asked) => turn.go_on(asked, manner, state, limits, stats),
        Err(problem) => turn.refuse(&problem, manner, state, stats),
    }
}

/// What a head asks for, or why it will not get it.
#[inline]
fn asked<'a>(head: &Head<'a>, ctx: &PlanContext<'a, '_>) -> Result<Asked<'a>, Problem> {
    let target = target::find(head.target);
    // A browser asks whether it may send the password without sending it.
    let open = matches!(target, Ok(Target::Health | Target::Readiness)) || head.method == Method::Options;
    if !open && ctx.host.password_required() && !auth::is_right(head.fields.authorization, ctx.host) {
        return Err(problem::UNAUTHORIZED);
    }
    let target = target?;
    let asked = match (head.method, target) {
        (Method::Unknown, _) => return Err(problem::NO_SUCH_METHOD),
        (Method::Options, target) => Asked::Nothing(options(head, target, ctx)),
        (Method::Post, Target::Batch) => Asked::Batch,
        (Method::Get | Method::Head, Target::Readiness) if !ctx.host.may_wait() => {
            return Err(problem::DRAINING);
        }
        (Method::Get | Method::Head, Target::Health | Target::Readiness) => Asked::Page("ok\n"),
        (Method::Get | Method::Head, Target::Root) => Asked::Page(ROOT),
        (Method::Get | Method::Head | Method::Put | Method::Delete, Target::Key(text)) => {
            Asked::Key(keys::asked(text, head, ctx)?)
        }
        (_, target) => return Err(problem::method_not_allowed(target.allow())),
    };
    if asked_for_body(&asked) && head.framing == Framing::None {
        return Err(problem::LENGTH_REQUIRED);
    }
    Ok(asked)
}

fn asked_for_body(asked: &Asked<'_>) -> bool {
    match asked {
        Asked::Key(key) => key.takes_body(),
        Asked::Batch => true,
        Asked::Nothing(_) | Asked::Page(_) => false,
    }
}

const ROOT: &str = concat!(
    "KV-Cache ",
    env!("CARGO_PKG_VERSION"),
    "\n\n\
     GET, HEAD, PUT, DELETE  /v1/keys/{key}  one value; escape bytes of the key as %2F\n\
     POST                    /v1/batch       {\"ops\":[{\"op\":\"get\",\"key\":\"a\"}]}\n\
     GET                     /healthz        ok, without a password\n\
     GET                     /readyz         the same, and 503 while the server ends\n\n\
     This port speaks Redis's and memcached's protocols, JSON lines and protobuf too. Metrics are on the admin port.\n"
);

/// The fields of a reply to OPTIONS; to a browser that asks before it sends (a preflight of the Fetch standard), its own.
fn options<'a>(head: &Head<'a>, target: Target<'_>, ctx: &PlanContext<'a, '_>) -> &'a str {
    if head.fields.origin.is_none() {
        return target.allow();
    }
    ctx.bump.alloc_str(&format!(
        "{}Access-Control-Allow-Methods: GET, HEAD, PUT, DELETE, POST\r\n\
         Access-Control-Allow-Headers: Authorization, Cache-Control, Content-Type, If-Match, If-None-Match, X-TTL-Ms\r\n\
         Access-Control-Max-Age: 600\r\n",
        target.allow()
    ))
}

/// Framing is lost: the reply, then the end.
#[cold]
fn lost<'a>(problem: &Problem, manner: &Manner<'_>, stats: &mut CommandStats) -> Step<'a> {
    stats.errors += 1;
    let mut out = ReplyBuf::default();
    put_problem(problem, &Manner { connection: Connection::Close, ..*manner }, &mut out);
    Step::Fatal { reply: out.bytes }
}

/// One request whose head is known.
struct Turn<'t, 'a, 'c> {
    rest: &'a [u8],
    head: &'t Head<'a>,
    ctx: &'t PlanContext<'a, 'c>,
    requests: &'t mut Vec<Request<'a>>,
}

impl<'a> Turn<'_, 'a, '_> {
    /// Waits for the body, then plans.
    #[inline]
    fn go_on(
        self,
        asked: Asked<'a>,
        manner: Manner<'a>,
        state: &mut State,
        limits: &ParseLimits,
        stats: &mut CommandStats,
    ) -> Step<'a> {
        if self.ctx.holds(asked.writes()) {
            return Step::Paused;
        }
        let mut manner = manner;
        let (consumed, body, skip) = if asked_for_body(&asked) {
            let most = asked.longest_body(limits);
            match http::read(self.rest, self.head, state, limits, most) {
                Read::Whole { consumed, body } => (consumed, body, 0),
                Read::Incomplete { need } => return self.wait(need, state),
                Read::Lost(problem::TOO_LARGE) if matches!(asked, Asked::Batch) => {
                    return self.lost(&problem::BATCH_TOO_LARGE, &manner, state, stats);
                }
                Read::Lost(problem) => return self.lost(&problem, &manner, state, stats),
            }
        } else {
            match self.without_body() {
                Some((consumed, skip)) => {
                    if skip > 0 && self.head.expects_continue {
                        // As in `refuse`.
                        manner.connection = Connection::Close;
                    }
                    (consumed, Body::Whole(b""), skip)
                }
                None => return self.lost(&problem::TOO_LARGE, &manner, state, stats),
            }
        };
        state.done(skip);
        match asked {
            Asked::Key(key) => match key.request(body, manner, self.ctx) {
                Ok(request) => self.requests.push(request),
                Err(problem) => {
                    stats.errors += 1;
                    self.answer(|out| put_problem(&problem, &manner, out));
                }
            },
            Asked::Batch => {
                let batch = batch::Batch { body: joined(body, self.ctx), manner };
                return Step::Barrier { consumed, barrier: Barrier::Other(self.ctx.bump.alloc(batch)) };
            }
            Asked::Nothing(fields) => self.answer(|out| put_empty(204, fields, &manner, out)),
            Asked::Page(text) => self.answer(|out| put_page(text, &manner, out)),
        }
        end(consumed, &manner)
    }

    /// Where a request ends that needs no body, and how much of one is still to come; `None`: too much.
    #[inline]
    fn without_body(&self) -> Option<(usize, usize)> {
        let len = self.head.len;
        let body = match self.head.framing {
            Framing::None => return Some((len, 0)),
            Framing::Length(body) if body <= HTTP_UNWANTED_BODY => body,
            Framing::Length(_) | Framing::Chunked => return None,
        };
        let here = body.min(self.rest.len() - len);
        Some((len + here, body - here))
    }

    /// The body has not come yet: tells a client that waits for leave to send it, once.
    #[cold]
    fn wait(self, need: usize, state: &mut State) -> Step<'a> {
        if self.head.expects_continue && self.rest.len() == self.head.len && state.may_continue() {
            self.requests.push(Request::ready(&CONTINUE));
            return Step::Planned { consumed: 0 };
        }
        Step::Incomplete { need }
    }

    /// Answers an error. The connection goes on if the body is short, or if there is none.
    #[cold]
    fn refuse(
        self,
        problem: &Problem,
        mut manner: Manner<'a>,
        state: &mut State,
        stats: &mut CommandStats,
    ) -> Step<'a> {
        // Who waits for leave to send the body will not send it, or will: nobody can tell what the next bytes are.
        let Some((consumed, skip)) = self.without_body().filter(|_| !self.head.expects_continue) else {
            return self.lost(problem, &manner, state, stats);
        };
        if self.head.method == Method::Unknown {
            manner.connection = Connection::Close;
        }
        stats.errors += 1;
        state.done(skip);
        self.answer(|out| put_problem(problem, &manner, out));
        end(consumed, &manner)
    }

    /// The reply, then the end, while a body may still be arriving.
    #[cold]
    fn lost(
        &self,
        problem: &Problem,
        manner: &Manner<'_>,
        state: &mut State,
        stats: &mut CommandStats,
    ) -> Step<'a> {
        state.abandon(match self.head.framing {
            Framing::None => 0,
            Framing::Length(body) => body.saturating_sub(self.rest.len() - self.head.len),
            Framing::Chunked => usize::MAX,
        });
        lost(problem, manner, stats)
    }

    fn answer(self, write: impl FnOnce(&mut ReplyBuf)) {
        let mut out = ReplyBuf::default();
        write(&mut out);
        let reply: &'a [u8] = self.ctx.bump.alloc_slice_copy(&out.bytes);
        self.requests.push(Request::ready(self.ctx.bump.alloc(reply)));
    }
}

static CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

#[inline]
fn end<'a>(consumed: usize, manner: &Manner<'_>) -> Step<'a> {
    match manner.connection {
        Connection::Close => Step::Last { consumed },
        Connection::Keep | Connection::KeepSaid => Step::Planned { consumed },
    }
}

/// What becomes of the connection after a barrier.
fn flow(manner: &Manner<'_>) -> Flow {
    match manner.connection {
        Connection::Close => Flow::Close,
        Connection::Keep | Connection::KeepSaid => Flow::Continue,
    }
}

/// A body in one piece.
fn joined<'a>(body: Body<'a>, ctx: &PlanContext<'a, '_>) -> &'a [u8] {
    match body {
        Body::Whole(bytes) => bytes,
        Body::Pieces { pieces, len } => {
            let bytes = ctx.bump.alloc_slice_fill_copy(len, 0);
            let mut at = 0;
            for piece in pieces {
                bytes[at..at + piece.len()].copy_from_slice(piece);
                at += piece.len();
            }
            bytes
        }
    }
}

fn put_page(text: &str, manner: &Manner<'_>, out: &mut ReplyBuf) {
    put_head(200, manner, out);
    let fields = format!("Content-Type: text/plain\r\nContent-Length: {}\r\n\r\n", text.len());
    out.put(fields.as_bytes());
    if !manner.head_only {
        out.put(text.as_bytes());
    }
}

#[cfg(test)]
mod tests;
