//! From received bytes to encoded replies: parse, execute, answer, in rounds.
//!
//! A round takes requests from every connection that has bytes left, up to each one's first barrier command, executes them as one
//! batch, encodes the replies connection by connection, and then runs the barriers. Rounds repeat until the bytes are used up or a
//! connection has had its share of the turn. Requests borrow their keys and values from the receive buffers; nothing is allocated
//! for a common command.

use super::Clock;
use super::batch::Batcher;
use super::connections::{Conn, Connections};
use super::observe;
use super::parser::{Parser, Place, Run, RunEnd};
use super::watch::Watch;
use crate::command::script::Scripts;
use crate::command::{self, Barrier, COMMANDS, Calls, CommandStats, Context, Flow, Request, table};
use crate::conn::{Inbox, ReplyMode};
use crate::limits::{GROUP_REQUESTS, ROUND_REQUESTS, RUN_REQUESTS};
use crate::proto::{self, Form, Outcome, ParseLimits, Protocol, ReplyBuf, Scratch, json};
use crate::ring::{ConnId, RecvRef};
use crate::server::Shared;
use crate::store::Buffer;
use bumpalo::Bump;
use std::ops::Range;

/// Memory for arguments that a round needed is kept for the next up to here, each of its parts.
const KEPT_BYTES: usize = 1 << 20;
/// Memory for replies is kept up to this multiple of a turn's output: a round may pass that by as much again, and a vector that grows
/// doubles. Freeing it with every round costs half of the speed at values of some kilobytes.
pub const KEPT_OUTPUTS: usize = 4;

/// Where a connection's bytes of this turn are.
#[derive(Debug)]
pub enum SourceBytes {
    /// Where the kernel put them.
    Fresh(RecvRef),
    /// In the connection's own inbox, taken out of it for the turn.
    Inbox(Inbox),
}

impl SourceBytes {
    /// What a large request lies in.
    fn large(&self) -> Option<&Buffer> {
        match self {
            SourceBytes::Fresh(_) => None,
            SourceBytes::Inbox(inbox) => inbox.large(),
        }
    }
}

/// A connection that has bytes to parse in this turn.
#[derive(Debug)]
pub struct Source {
    pub conn: ConnId,
    pub bytes: SourceBytes,
}

/// How far a source has come.
#[derive(Debug, Default)]
pub struct Progress {
    /// Bytes consumed.
    pub at: usize,
    /// Requests answered in this turn.
    pub requests: u32,
    /// Bytes of replies in this turn.
    pub reply_bytes: usize,
    pub state: SourceState,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SourceState {
    /// There may be another whole request.
    #[default]
    Active,
    /// What is left is less than a request; this total length is worth parsing again.
    Waiting { need: usize },
    /// The rest is beyond this turn's share.
    Deferred,
    /// The next request is held back by CLIENT PAUSE.
    Paused,
    /// The next request waits for a key, at most until this Unix time in milliseconds.
    Parked { until_ms: u64 },
    /// QUIT, or framing is lost: close after the replies.
    Closing,
}

/// One stretch of replies of one source.
#[derive(Clone, Debug)]
pub struct Output {
    pub source: u32,
    /// In [`ReplyBuf::bytes`].
    pub bytes: Range<usize>,
    /// In [`ReplyBuf::pins`].
    pub pins: Range<usize>,
}

/// What rounds work with; every vector keeps its memory from turn to turn.
#[derive(Debug)]
pub struct Rounds {
    requests: Vec<Request<'static>>,
    args: Vec<&'static [u8]>,
    runs: Vec<Run<'static>>,
    bump: Bump,
    scratch: Scratch,
    pub batcher: Batcher,
    pub stats: CommandStats,
    pub watch: Watch,
    pub scripts: Scripts,
    pub replies: ReplyBuf,
    pub outputs: Vec<Output>,
    pub requests_done: u64,
    /// The same by [`Protocol`].
    pub by_protocol: [u64; Protocol::COUNT],
    pub protocol_errors: u64,
    /// What this round has for those who monitor.
    lines: Vec<u8>,
    /// Reply bytes after which a turn starts no further round.
    turn_output: usize,
    /// Bytes of a reply lately: the largest average of a round, fading.
    reply_bytes: usize,
}

/// What stays the same over a turn.
pub struct TurnEnv<'t> {
    pub shared: &'t Shared,
    /// The number of the worker whose turn it is.
    pub worker: usize,
    pub clock: &'t dyn Clock,
    pub limits: &'t ParseLimits,
    /// Reply bytes of one turn.
    pub turn_output: usize,
    pub now_ms: u64,
}

/// Takes an empty vector's memory over to another lifetime.
pub fn recycle<T, U>(mut vec: Vec<T>) -> Vec<U> {
    vec.clear();
    // Collecting an emptied vector reuses its allocation when the layouts agree, which those of one type with two lifetimes do.
    vec.into_iter().map(|_| unreachable!("the vector is empty")).collect()
}

impl Rounds {
    pub fn new(batcher: Batcher, turn_output: usize) -> Rounds {
        Rounds {
            requests: Vec::new(),
            args: Vec::new(),
            runs: Vec::new(),
            bump: Bump::new(),
            scratch: Scratch::default(),
            batcher,
            stats: CommandStats { calls: Calls::new(COMMANDS.len()), ..CommandStats::default() },
            watch: Watch::new(COMMANDS.len()),
            scripts: Scripts::default(),
            replies: ReplyBuf::default(),
            outputs: Vec::new(),
            requests_done: 0,
            by_protocol: [0; Protocol::COUNT],
            protocol_errors: 0,
            lines: Vec::new(),
            turn_output,
            reply_bytes: 0,
        }
    }

    /// Plays rounds until no source is active. `slices[i]` are the bytes of `sources[i]`.
    pub fn play(
        &mut self,
        conns: &mut Connections,
        sources: &[Source],
        slices: &[&[u8]],
        progress: &mut [Progress],
        env: &TurnEnv<'_>,
    ) {
        while progress.iter().any(|p| p.state == SourceState::Active) {
            if self.is_full() {
                for progress in progress.iter_mut().filter(|p| p.state == SourceState::Active) {
                    progress.state = SourceState::Deferred;
                }
                return;
            }
            let before = self.replies.bytes.len();
            let requests = self.round(conns, sources, slices, progress, env);
            let average = (self.replies.bytes.len() - before) / requests.max(1);
            self.reply_bytes = average.max(self.reply_bytes - self.reply_bytes / 8);
        }
    }

    /// What rounds hold of the process's memory from one turn to the next, bytes.
    pub fn memory(&self) -> usize {
        self.replies.bytes.capacity()
            + self.scratch.bytes.capacity()
            + self.args.capacity() * size_of::<&[u8]>()
            + self.bump.allocated_bytes()
            + self.scripts.memory()
    }

    /// Gives back what one unusual request took: a million arguments, a batch of the largest values that are copied.
    fn trim(&mut self) {
        if self.scratch.bytes.capacity() > KEPT_OUTPUTS * self.turn_output {
            self.scratch.bytes = Vec::new();
        }
        if self.args.capacity() * size_of::<&[u8]>() > KEPT_BYTES {
            self.args = Vec::new();
        }
        if self.bump.allocated_bytes() > KEPT_BYTES {
            self.bump = Bump::new();
        }
    }

    /// One round; returns how many requests it answered.
    fn round(
        &mut self,
        conns: &mut Connections,
        sources: &[Source],
        slices: &[&[u8]],
        progress: &mut [Progress],
        env: &TurnEnv<'_>,
    ) -> usize {
        // Fewer at a time when replies have been large: their sum is the turn's memory.
        let most = (self.turn_output / self.reply_bytes.max(1)).clamp(GROUP_REQUESTS, ROUND_REQUESTS);
        let mut bump = std::mem::take(&mut self.bump);
        let mut requests = recycle(std::mem::take(&mut self.requests));
        let mut args = recycle(std::mem::take(&mut self.args));
        let mut runs: Vec<Run<'_>> = recycle(std::mem::take(&mut self.runs));

        for (source, progress) in progress.iter_mut().enumerate() {
            if progress.state != SourceState::Active {
                continue;
            }
            if requests.len() >= most {
                break;
            }
            let Some(conn) = conns.get(sources[source].conn) else {
                progress.state = SourceState::Closing;
                continue;
            };
            let start = requests.len();
            let done_before = progress.requests;
            let mut parser = Parser {
                requests: &mut requests,
                args: &mut args,
                last_name: b"",
                before_last: Place::default(),
                buffer: sources[source].bytes.large(),
                bump: &bump,
                stats: &mut self.stats,
                lines: &mut self.lines,
                env,
            };
            let end = parser.run(conn, slices[source], progress, most.min(RUN_REQUESTS));
            conn.client.note_commands(parser.last_name, progress.requests - done_before);
            let before_last = parser.before_last;
            if conn.session.in_multi() {
                conn.client.note_transaction(&conn.session);
            }
            runs.push(Run { source, requests: start..requests.len(), end, before_last });
        }

        // Without requests there is nothing to be timed: who sends one command at a time that runs alone pays for its own readings only.
        let has_requests = !requests.is_empty();
        let ticks = || if has_requests { env.clock.ticks_ns() } else { 0 };
        let began = ticks();
        self.batcher.execute(
            &env.shared.store,
            &mut requests,
            &mut self.scratch,
            &mut self.stats,
            env.now_ms,
        );
        let took_ns = ticks().saturating_sub(began);
        self.watch.batch(&runs, &requests, took_ns, (&self.scratch, &mut self.stats), env);
        let answered = requests.len();
        self.requests_done += answered as u64;

        for run in &runs {
            if let Some(conn) = conns.get(sources[run.source].conn) {
                self.answer(conn, run, &requests[run.requests.clone()], &mut progress[run.source], env);
            }
        }

        // Before the replies leave: who reads one and asks for more is not told of less than that.
        env.shared.tell_changes();
        env.shared.recheck_reads(env.worker);
        env.shared.show_monitors(&mut self.lines);

        self.runs = recycle(runs);
        self.args = recycle(args);
        self.requests = recycle(requests);
        bump.reset();
        self.bump = bump;
        self.scratch.clear();
        self.trim();
        answered
    }

    /// Encodes a run's replies in its connection's order, then runs its barrier. Where the turn's output is full, what may answer with
    /// much and has changed nothing yet goes back to its source: one reply at a time may be large, not one of every connection.
    fn answer(
        &mut self,
        conn: &mut Conn,
        run: &Run<'_>,
        requests: &[Request<'_>],
        progress: &mut Progress,
        env: &TurnEnv<'_>,
    ) {
        let start = self.replies.mark();
        if let Some(protocol) = conn.codec.protocol() {
            let alone = matches!(run.end, RunEnd::Barrier(_));
            self.by_protocol[protocol as usize] += requests.len() as u64 + u64::from(alone);
        }
        for request in requests {
            match conn.session.reply_mode {
                ReplyMode::On => match &request.form {
                    Form::Json => {
                        if self.is_full() && matches!(request.outcome, Outcome::Pinned(_)) {
                            // A get, so the last of its run (see `Parser::run`).
                            self.put_back(progress, run);
                            break;
                        }
                        self.encode_json(request, env);
                    }
                    form => {
                        let (key, outcome) = (request.key.bytes, &request.outcome);
                        proto::encode(form, key, outcome, &self.scratch, &mut self.replies);
                    }
                },
                ReplyMode::Off => {}
                ReplyMode::SkipNext | ReplyMode::SkipThis => conn.session.reply_mode = ReplyMode::On,
            }
        }
        match &run.end {
            RunEnd::Nothing => {}
            RunEnd::Barrier(_) if self.is_full() => self.put_back(progress, run),
            RunEnd::Barrier(barrier) => {
                self.requests_done += 1;
                let began = env.clock.ticks_ns();
                let flow = self.run_barrier(conn, barrier, env);
                let took_ns = env.clock.ticks_ns().saturating_sub(began);
                if let Flow::Park { until_ms } = flow {
                    self.requests_done -= 1;
                    self.put_back(progress, run);
                    progress.state = SourceState::Parked { until_ms };
                } else {
                    self.watch.barrier(conn, barrier, took_ns, env);
                    if flow == Flow::Close {
                        progress.state = SourceState::Closing;
                    }
                }
            }
            RunEnd::Fatal(reply) => {
                self.protocol_errors += 1;
                self.replies.put(reply);
            }
        }
        let end = self.replies.mark();
        if end != start {
            progress.reply_bytes += self.replies.len_since(start);
            self.outputs.push(Output {
                source: run.source as u32,
                bytes: start.bytes..end.bytes,
                pins: start.pins..end.pins,
            });
        }
    }

    fn run_barrier(&mut self, conn: &mut Conn, barrier: &Barrier<'_>, env: &TurnEnv<'_>) -> Flow {
        let start = self.replies.mark();
        let observed = match barrier {
            Barrier::Command { args, .. } if observe::is_observed(conn, env) => Some(*args),
            _ => None,
        };
        if let Some(args) = observed {
            observe::barrier(conn, args, env, &mut self.lines);
        }
        conn.session.command_begins();
        let mut context = Context {
            store: &env.shared.store,
            session: &mut conn.session,
            host: env.shared,
            stats: &mut self.stats,
            scripts: Some(&mut self.scripts),
            held: None,
            now_ms: env.now_ms,
        };
        self.replies.limit(env.shared.config.reply_memory());
        let mut flow = command::run(barrier, &mut context, &mut self.replies);
        drop(context);
        conn.client.note_transaction(&conn.session);
        if self.replies.unlimit() {
            self.replies.truncate(start);
            match barrier {
                Barrier::Command { .. } => self.replies.put(REPLY_TOO_LARGE),
                Barrier::Other(deferred) => flow = deferred.too_large(&mut self.replies),
            }
            self.stats.errors += 1;
        }
        if conn.session.command_ends() {
            self.replies.truncate(start);
        }
        if let Some(args) = observed {
            observe::executed(conn, args);
        }
        flow
    }

    /// A value that needs escapes grows by being encoded, to six times its length at worst.
    fn encode_json(&mut self, request: &Request<'_>, env: &TurnEnv<'_>) {
        let start = self.replies.mark();
        self.replies.limit(env.shared.config.reply_memory());
        json::encode(request.key.bytes, &request.outcome, &self.scratch, &mut self.replies);
        if self.replies.unlimit() {
            self.replies.truncate(start);
            json::put_error(JSON_REPLY_TOO_LARGE, &mut self.replies);
            self.stats.errors += 1;
        }
    }

    /// Makes the last request of a run the first of its source's next turn, as if it had not been looked at.
    fn put_back(&mut self, progress: &mut Progress, run: &Run<'_>) {
        let name = match &run.end {
            RunEnd::Barrier(Barrier::Command { args, .. }) => Some(args[0]),
            RunEnd::Barrier(Barrier::Other(_)) => None,
            _ => {
                self.stats.hits -= 1;
                self.requests_done -= 1;
                Some(&b"get"[..])
            }
        };
        if let Some(row) = name.and_then(table::lookup) {
            self.stats.calls[usize::from(row)] -= 1;
            self.watch.taken_back(row);
        }
        progress.at = run.before_last.at;
        progress.requests = run.before_last.requests;
        progress.state = SourceState::Deferred;
    }

    /// Whether the turn's output has all that it should hold.
    fn is_full(&self) -> bool {
        self.replies.bytes.len() >= self.turn_output
    }
}

/// Instead of a reply that one client may not hold unread.
const REPLY_TOO_LARGE: &[u8] =
    b"-ERR the reply is larger than --max-memory leaves room for, ask for fewer keys at a time\r\n";
const JSON_REPLY_TOO_LARGE: &str = "The value is larger as JSON than --max-memory leaves room for.";
