//! What a command is, before and after it ran. One table serves every protocol.
//!
//! A parsed request becomes a [`Plan`]: most commands touch one key and are executed in batches grouped by partition
//! ([`Plan::Keyed`]); some are answered at once ([`Plan::Reply`]); the rest are barriers ([`Plan::Barrier`]): everything that
//! came before them on their connection is done before they start, and what comes after waits.

//!
//! ```text
//! args ─► plan: table row, arity, arguments ─┬► Keyed ──► (batch by partition) ──► execute ──► Outcome
//!                                            ├► Reply
//!                                            └► Barrier ► (alone, in its turn) ──► run ──────► bytes
//! ```

pub mod barrier;
mod execute;
pub mod glob;
mod host;
mod long_double;
pub mod number;
mod ops;
mod plan;
pub mod table;
#[cfg(test)]
pub(crate) mod testing;

pub use execute::execute;
pub use host::{ClientCondition, ClientFilter, ClientView, Host, PauseMode, REDIS_VERSION};
pub use ops::{Op, Payload};
pub use plan::{integer, payload, plan, plan_common, refused, wrong_arity};
pub use table::{COMMANDS, ErrorText, Spec};

use crate::conn::Session;
use crate::proto::resp::Writer;
use crate::proto::{Outcome, ReplyBuf};
use crate::store::{Buffer, Key, Store};
use bumpalo::Bump;
use table::BarrierFn;

/// Plain counters of one worker.
#[derive(Clone, Debug, Default)]
pub struct CommandStats {
    pub hits: u64,
    pub misses: u64,
    /// Calls by index into the command table.
    pub calls: Vec<u64>,
    /// Error replies.
    pub errors: u64,
}

/// One command on one key, ready to run under its partition's lock. Everything that can be wrong with its arguments has been
/// found before it exists.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    pub key: Key<'a>,
    pub op: Op<'a>,
    /// RESP3 rather than RESP2: decides the form of `Outcome::Encoded`.
    pub resp3: bool,
    /// CLIENT NO-TOUCH: reading does not count as use.
    pub no_touch: bool,
    pub outcome: Outcome,
}

impl Request<'_> {
    /// A request that is answered before it reached the store; it keeps its place among the replies.
    pub fn answered(outcome: Outcome, resp3: bool) -> Self {
        let key = Key { hash: 0, db: 0, bytes: &[] };
        Request { key, op: Op::Get, resp3, no_touch: false, outcome }
    }
}

const _: () = assert!(size_of::<Request<'_>>() <= 112, "a turn's requests should stay in the cache");

/// What a request turned out to be.
#[derive(Debug)]
pub enum Plan<'a> {
    /// One key: goes into the turn's batch.
    Keyed(Request<'a>),
    /// Answered without the store: PING, errors.
    Reply(Outcome),
    /// Runs alone, after all that came before it on its connection.
    Barrier(Barrier<'a>),
}

/// A command that is not a single-key one: several keys, the keyspace, the server, or the connection's own state.
#[derive(Clone, Copy, Debug)]
pub struct Barrier<'a> {
    pub run: BarrierFn,
    /// Its row of the table, or of its container's subcommands.
    pub spec: &'static Spec,
    pub args: &'a [&'a [u8]],
}

/// What planning needs to know.
pub struct PlanContext<'a, 'c> {
    pub store: &'c Store,
    /// What the arguments may lie in.
    pub buffer: Option<&'c Buffer>,
    /// Holds what a request needs beyond the received bytes; reset when the round is over.
    pub bump: &'a Bump,
    pub session: &'c Session,
    pub host: &'c dyn Host,
    pub now_ms: u64,
}

/// What a barrier needs to know.
pub struct Context<'c> {
    pub store: &'c Store,
    pub session: &'c mut Session,
    pub host: &'c dyn Host,
    pub stats: &'c mut CommandStats,
    pub now_ms: u64,
}

/// What becomes of the connection after a barrier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    Continue,
    /// Close once the reply is sent (QUIT).
    Close,
}

/// Runs a barrier and appends its whole reply, encoded for the session's protocol version.
pub fn run(barrier: &Barrier<'_>, ctx: &mut Context<'_>, out: &mut ReplyBuf) -> Flow {
    let start = out.bytes.len();
    let resp3 = ctx.session.resp3;
    let flow = (barrier.run)(barrier.args, ctx, &mut Writer::new(out, resp3));
    ctx.stats.errors += u64::from(out.bytes.get(start) == Some(&b'-'));
    flow
}
