//! One source's share of a round: its bytes become requests, up to its first barrier.
//!
//! ```text
//!   bytes of a source   SET GET GET  MGET   GET GET …
//!                       └─ batch ─┘ barrier └─ the next round's run
//! ```

use super::connections::{Codec, Conn};
use super::observe;
use super::rounds::{Progress, SourceState, TurnEnv};
use crate::command::memcached::text::plan_common as text_plan_common;
use crate::command::{self, Barrier, CommandStats, Op, Plan, PlanContext, Queued, Request, Step};
use crate::conn::Session;
use crate::limits::{MAX_KEY_LEN, MIN_REQUEST, TURN_REPLY_BYTES, TURN_REQUESTS};
use crate::proto::memcached::text;
use crate::proto::{Form, Outcome, ParseLimits, Parsed, detect, json, resp};
use crate::store::Buffer;
use bumpalo::Bump;
use std::ops::Range;

// The short way looks at no limit: none can be set so low that it would matter (see `Config::parse_limits`).
const _: () = assert!(resp::COMMON_LONGEST <= MAX_KEY_LEN && 2 * resp::COMMON_LONGEST + 64 <= MIN_REQUEST);

/// A source's requests in one round.
#[derive(Debug)]
pub struct Run<'a> {
    pub source: usize,
    pub requests: Range<usize>,
    pub end: RunEnd<'a>,
    /// How far the source was before the run's last request: to here it goes back when the turn has no room for that one's reply.
    pub before_last: Place,
}

/// A place between two requests of a source.
#[derive(Clone, Copy, Debug, Default)]
pub struct Place {
    /// Bytes consumed.
    pub at: usize,
    /// Requests counted.
    pub requests: u32,
}

/// Why a run ended.
#[derive(Debug)]
pub enum RunEnd<'a> {
    /// The source's state says it.
    Nothing,
    Barrier(Barrier<'a>),
    /// Framing is lost: this reply, then close.
    Fatal(Vec<u8>),
}

/// What parsing found: a request to be planned, or, in protocols that plan by themselves, what has become of it.
enum Found<'a> {
    Parsed(Parsed),
    Step(Step<'a>),
}

/// How replies of a connection are written whose requests are planned by the command table.
fn form_of<'a>(conn: &Conn) -> Form<'a> {
    match conn.codec {
        Codec::Json(_) => Form::Json,
        _ => conn.session.form(),
    }
}

/// Turns one source's bytes into requests.
pub struct Parser<'p, 'a> {
    pub requests: &'p mut Vec<Request<'a>>,
    pub args: &'p mut Vec<&'a [u8]>,
    /// The name of the last planned request, for CLIENT LIST.
    pub last_name: &'a [u8],
    pub before_last: Place,
    /// What the bytes lie in, if that is memory for one large request.
    pub buffer: Option<&'p Buffer>,
    pub bump: &'a Bump,
    pub stats: &'p mut CommandStats,
    /// For those who monitor.
    pub lines: &'p mut Vec<u8>,
    pub env: &'p TurnEnv<'p>,
}

impl<'a> Parser<'_, 'a> {
    /// Parses until the bytes, the connection's share of the round or of the turn are used up, or a barrier is met.
    pub fn run(
        &mut self,
        conn: &mut Conn,
        bytes: &'a [u8],
        progress: &mut Progress,
        most: usize,
    ) -> RunEnd<'a> {
        let full = self.requests.len() + most;
        // AUTH is a barrier: what it changes holds from the next run on.
        let limits = ParseLimits { authenticated: conn.session.authenticated, ..*self.env.limits };
        while self.requests.len() < full {
            if progress.requests >= TURN_REQUESTS
                || progress.reply_bytes >= TURN_REPLY_BYTES.min(self.env.turn_output)
            {
                progress.state = SourceState::Deferred;
                return RunEnd::Nothing;
            }
            self.common(conn, bytes, progress, full, &limits);
            if self.requests.len() >= full || progress.requests >= TURN_REQUESTS {
                continue;
            }
            let rest = &bytes[progress.at..];
            let before = self.requests.len();
            let parsed = match self.parse(conn, rest, &limits) {
                Found::Parsed(parsed) => parsed,
                Found::Step(step) => {
                    if self.env.shared.monitors.any() {
                        observe::requests(conn, &self.requests[before..], self.env, self.lines);
                    }
                    match self.took(step, self.requests.len() - before, progress) {
                        Some(end) => return end,
                        None => continue,
                    }
                }
            };
            match parsed {
                Parsed::Request { consumed } => {
                    if self.env.shared.pause.holds(self.args, &conn.session, self.env.now_ms) {
                        progress.state = SourceState::Paused;
                        return RunEnd::Nothing;
                    }
                    self.before_last = Place { at: progress.at, requests: progress.requests };
                    progress.at += consumed;
                    progress.requests += 1;
                    if let Some(barrier) = self.plan(conn) {
                        return RunEnd::Barrier(barrier);
                    }
                    if self.may_be_put_back(conn) {
                        return RunEnd::Nothing;
                    }
                }
                Parsed::Malformed { consumed, error } => {
                    progress.at += consumed;
                    progress.requests += 1;
                    self.stats.errors += 1;
                    let form = form_of(conn);
                    self.requests.push(Request::answered(Outcome::Error(error.into()), form));
                }
                Parsed::Skip { consumed } => progress.at += consumed,
                Parsed::Incomplete { need } => {
                    progress.state = SourceState::Waiting { need };
                    return RunEnd::Nothing;
                }
                Parsed::Fatal { reply } => {
                    progress.state = SourceState::Closing;
                    return RunEnd::Fatal(reply);
                }
            }
        }
        RunEnd::Nothing
    }

    /// Takes reads and writes of one key the short way, as long as one follows the other and there is room for them.
    #[inline]
    fn common(
        &mut self,
        conn: &mut Conn,
        bytes: &'a [u8],
        progress: &mut Progress,
        full: usize,
        limits: &ParseLimits,
    ) {
        if !limits.authenticated || self.env.shared.pause.active(self.env.now_ms) {
            return;
        }
        let store = &self.env.shared.store;
        let room = (full - self.requests.len()).min((TURN_REQUESTS - progress.requests) as usize);
        let (from, mut at) = (self.requests.len(), progress.at);
        match &mut conn.codec {
            Codec::Resp(resume) if resume.is_fresh() && self.is_plain(&conn.session) => {
                let (db, form) = (conn.session.db, conn.session.form());
                let mut last = None;
                while self.requests.len() - from < room {
                    let Some(common) = resp::common(&bytes[at..]) else { break };
                    if !command::plan_common(&common, store, db, form, self.stats, self.requests) {
                        break;
                    }
                    last = Some(at);
                    at += common.consumed;
                }
                if let Some(at) = last {
                    self.last_name = &bytes[at..][resp::COMMON_NAME];
                }
            }
            Codec::Text(state) if state.is_fresh() && !self.env.shared.monitors.any() => {
                let now_ms = self.env.now_ms;
                while self.requests.len() - from < room {
                    let Some(common) = text::common(&bytes[at..]) else { break };
                    if !text_plan_common(&common, store, self.bump, now_ms, self.stats, self.requests) {
                        break;
                    }
                    at += common.consumed;
                }
                if at > progress.at {
                    state.moved_on();
                }
            }
            _ => return,
        }
        progress.at = at;
        progress.requests += (self.requests.len() - from) as u32;
    }

    /// Whether a command of RESP is no more than the command itself: it is not queued, and nobody is told of it.
    #[inline]
    fn is_plain(&self, session: &Session) -> bool {
        !session.in_multi() && session.is_plain() && !self.env.shared.monitors.any()
    }

    /// A get in JSON, whose reply may be a large copy: it ends its run, so that it can be read again in another turn.
    fn may_be_put_back(&self, conn: &Conn) -> bool {
        matches!(conn.codec, Codec::Json(_))
            && self.requests.last().is_some_and(|request| matches!(request.op, Op::Get))
    }

    fn parse(&mut self, conn: &mut Conn, rest: &'a [u8], limits: &ParseLimits) -> Found<'a> {
        self.args.clear();
        if rest.is_empty() {
            return Found::Parsed(Parsed::Incomplete { need: 0 });
        }
        if let Codec::Unknown = conn.codec {
            match detect::detect(conn.spoken, rest) {
                Some(protocol) => conn.codec = Codec::of(protocol),
                None => return Found::Parsed(Parsed::Incomplete { need: 0 }),
            }
        }
        let context = self.context(&conn.session);
        let (stats, requests) = (&mut *self.stats, &mut *self.requests);
        match &mut conn.codec {
            Codec::Resp(resume) => Found::Parsed(resp::parse(rest, limits, resume, self.bump, self.args)),
            Codec::Json(resume) => Found::Parsed(json::parse(rest, limits, resume, self.bump, self.args)),
            Codec::Text(state) => {
                Found::Step(command::memcached::text::next(rest, state, limits, &context, stats, requests))
            }
            Codec::Binary(state) => {
                Found::Step(command::memcached::binary::next(rest, state, limits, &context, stats, requests))
            }
            Codec::Http(state) => {
                Found::Step(command::http::next(rest, state, limits, &context, stats, requests))
            }
            Codec::Protobuf(state) => {
                Found::Step(command::protobuf::next(rest, state, limits, &context, stats, requests))
            }
            Codec::Unknown => unreachable!("chosen above"),
        }
    }

    /// Notes what a protocol that plans by itself has taken, which became so many requests. `Some`: the run ends.
    fn took(&mut self, step: Step<'a>, planned: usize, progress: &mut Progress) -> Option<RunEnd<'a>> {
        let before = Place { at: progress.at, requests: progress.requests };
        match step {
            Step::Planned { consumed } => {
                progress.at += consumed;
                progress.requests += u32::try_from(planned).unwrap_or(u32::MAX).max(1);
                return None;
            }
            Step::Last { consumed } => {
                progress.at += consumed;
                progress.requests += 1;
                progress.state = SourceState::Closing;
            }
            Step::Barrier { consumed, barrier } => {
                self.before_last = before;
                progress.at += consumed;
                progress.requests += 1;
                return Some(RunEnd::Barrier(barrier));
            }
            Step::Incomplete { need } => progress.state = SourceState::Waiting { need },
            Step::Paused => progress.state = SourceState::Paused,
            Step::Fatal { reply } => {
                progress.state = SourceState::Closing;
                return Some(RunEnd::Fatal(reply));
            }
        }
        Some(RunEnd::Nothing)
    }

    fn context<'s>(&self, session: &'s Session) -> PlanContext<'a, 's>
    where
        Self: 's,
    {
        PlanContext {
            store: &self.env.shared.store,
            buffer: self.buffer,
            bump: self.bump,
            session,
            host: self.env.shared,
            paused: self.env.shared.pause.mode(self.env.now_ms),
            held: false,
            now_ms: self.env.now_ms,
        }
    }

    /// Plans the request in `args`: into the batch, or back to the caller as a barrier.
    fn plan(&mut self, conn: &mut Conn) -> Option<Barrier<'a>> {
        self.last_name = self.args.first().copied().unwrap_or_default();
        if conn.session.in_multi() {
            match command::enqueue(self.args, &mut conn.session, &self.env.shared.store, self.stats) {
                Queued::Kept => {
                    self.requests.push(Request::answered(Outcome::Ok, Queued::form()));
                    return None;
                }
                Queued::Refused(outcome) => {
                    self.requests.push(Request::answered(outcome, form_of(conn)));
                    return None;
                }
                Queued::Now => {}
            }
        }
        let context = self.context(&conn.session);
        let plan = command::plan(self.args, &context, self.stats);
        // A barrier is looked at when it runs: it may be put back.
        if observe::is_observed(conn, self.env) && !matches!(plan, Plan::Barrier(_)) {
            if !matches!(plan, Plan::Reply(Outcome::Error(_))) {
                observe::command(conn, self.args, self.env, self.lines);
            }
            observe::executed(conn, self.args);
        }
        match plan {
            Plan::Keyed(request) => self.requests.push(Request { form: form_of(conn), ..request }),
            Plan::Reply(outcome) => self.requests.push(Request::answered(outcome, form_of(conn))),
            Plan::Barrier(barrier) => return Some(barrier),
        }
        None
    }
}
