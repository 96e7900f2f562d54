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
mod calls;
mod execute;
pub mod glob;
pub(crate) mod held;
mod host;
pub mod http;
mod long_double;
pub mod memcached;
pub mod number;
mod ops;
mod plan;
pub mod protobuf;
mod pushes;
pub mod reads;
pub mod script;
pub mod table;
#[cfg(test)]
pub(crate) mod testing;

pub use barrier::forget as forget_listener;
pub use calls::{Calls, Changed};
pub use execute::{execute, execute_group, execute_now};
pub use host::{ClientCondition, ClientFilter, ClientView, Host, PauseMode, REDIS_VERSION, StatsOf};
pub use ops::{Count, Fetch, Op, Payload, RemoveItem, Scripted, ScriptedStep, StoreItem, StoreMode};
pub use plan::{Queued, enqueue, integer, payload, plan, plan_common, refusal, refused, wrong_arity};
pub use pushes::{Channels, Pushes};
pub use table::{COMMANDS, ErrorText, Spec};

use crate::conn::Session;
use crate::proto::resp::Writer;
use crate::proto::{Form, Outcome, ReplyBuf};
use crate::store::{Buffer, Cause, Key, Store};
use barrier::LockedSet;
use bumpalo::Bump;
use script::Scripts;
use table::BarrierFn;

/// Plain counters of one worker.
#[derive(Clone, Debug, Default)]
pub struct CommandStats {
    pub hits: u64,
    pub misses: u64,
    pub calls: Calls,
    /// Error replies.
    pub errors: u64,
}

/// One command on one key, ready to run under its partition's lock. Everything that can be wrong with its arguments has been
/// found before it exists.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    pub key: Key<'a>,
    pub op: Op<'a>,
    /// How the outcome is written.
    pub form: Form<'a>,
    pub outcome: Outcome,
}

impl<'a> Request<'a> {
    /// A request that is answered before it reached the store; it keeps its place among the replies.
    pub fn answered(outcome: Outcome, form: Form<'a>) -> Self {
        let key = Key { hash: 0, db: 0, bytes: &[] };
        Request { key, op: Op::Get, form, outcome }
    }

    /// A reply that is known already, whole.
    pub fn ready(reply: &'a &'a [u8]) -> Self {
        Request::answered(Outcome::Ok, Form::Ready(reply))
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
pub enum Barrier<'a> {
    /// A command of the table.
    Command {
        run: BarrierFn,
        /// Its row of the table, or of its container's subcommands.
        spec: &'static Spec,
        args: &'a [&'a [u8]],
    },
    /// A command of another protocol.
    Other(&'a dyn Deferred),
}

/// A command that runs alone and writes its whole reply in its own protocol.
pub trait Deferred: std::fmt::Debug {
    fn run(&self, ctx: &mut Context<'_>, out: &mut ReplyBuf) -> Flow;

    /// Its reply has passed the limit of one reply and has been taken back: writes another in its place, or closes.
    fn too_large(&self, _out: &mut ReplyBuf) -> Flow {
        Flow::Close
    }
}

/// What was found at the start of a connection's bytes, in a protocol that plans what it parses.
#[derive(Debug)]
pub enum Step<'a> {
    /// What is in the first `consumed` bytes has been appended to the batch: any number of requests, even none.
    Planned { consumed: usize },
    /// The same, and the client has asked to be gone once it is answered.
    Last { consumed: usize },
    /// A command that runs alone.
    Barrier { consumed: usize, barrier: Barrier<'a> },
    /// Not whole yet: see [`crate::proto::Parsed::Incomplete`].
    Incomplete { need: usize },
    /// CLIENT PAUSE holds it back; nothing is consumed.
    Paused,
    /// Framing is lost: send this, which may be empty, then close.
    Fatal { reply: Vec<u8> },
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
    /// CLIENT PAUSE is on, for these commands.
    pub paused: Option<PauseMode>,
    /// The command is part of a transaction or script whose partitions are held: room for large arguments has been made already.
    pub held: bool,
    pub now_ms: u64,
}

impl PlanContext<'_, '_> {
    /// Whether CLIENT PAUSE holds a command back.
    pub fn holds(&self, writes: bool) -> bool {
        self.paused.is_some_and(|mode| writes || mode == PauseMode::All)
    }
}

/// What a barrier needs to know.
pub struct Context<'c> {
    pub store: &'c Store,
    pub session: &'c mut Session,
    pub host: &'c dyn Host,
    pub stats: &'c mut CommandStats,
    /// The worker's scripts; `None` inside one.
    pub scripts: Option<&'c mut Scripts>,
    /// The partitions of the transaction or script that the command is part of. Take partitions by [`Context::lock`] and its like only:
    /// locks do not nest.
    pub held: Option<LockedSet<'c>>,
    pub now_ms: u64,
}

impl Context<'_> {
    /// What the changes of a command are called, unless it says otherwise, and whose they are.
    pub fn cause(&self) -> Cause {
        Cause { origin: self.session.origin, ..Cause::default() }
    }
}

/// What becomes of the connection after a barrier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    Continue,
    /// Close once the reply is sent (QUIT).
    Close,
    /// Nothing has been answered: the command runs again when what it waits for has happened, at this Unix time in milliseconds at the
    /// latest.
    Park {
        until_ms: u64,
    },
}

/// Runs a barrier and appends its whole reply, in the connection's protocol.
pub fn run(barrier: &Barrier<'_>, ctx: &mut Context<'_>, out: &mut ReplyBuf) -> Flow {
    match barrier {
        Barrier::Command { run, args, .. } => {
            let start = out.bytes.len();
            let resp3 = ctx.session.resp3;
            let flow = run(args, ctx, &mut Writer::new(out, resp3));
            ctx.stats.errors += u64::from(out.bytes.get(start) == Some(&b'-'));
            flow
        }
        Barrier::Other(deferred) => deferred.run(ctx, out),
    }
}
