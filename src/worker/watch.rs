//! How long commands take: noted for each round, told to the observer where somebody wants to know more.
//!
//! What is measured is the execution of a round's batch, shared among its commands, and each command that runs alone. So a round costs
//! two readings of the clock, however many commands it has.

use super::connections::Conn;
use super::parser::{Run, RunEnd};
use super::rounds::TurnEnv;
use crate::command::table::{self, Spec};
use crate::command::{Barrier, Changed, CommandStats, Op, Payload, Request};
use crate::observe::{LatencyEvent, Sighting};
use crate::proto::{ItemValue, Outcome, Scratch};

/// What is known of the calls that have been noted.
#[derive(Debug)]
pub struct Watch {
    /// Calls by row of the command table, as far as they are in a histogram.
    noted: Vec<u64>,
    /// Rows that have changed since they were last asked for.
    changed: Changed,
}

impl Watch {
    /// `commands` is the length of the command table.
    pub fn new(commands: usize) -> Watch {
        Watch { noted: vec![0; commands], changed: Changed::default() }
    }

    /// A round's batch has run. `stats` counts its commands, and those that will run alone, too.
    pub fn batch(
        &mut self,
        runs: &[Run<'_>],
        requests: &[Request<'_>],
        took_ns: u64,
        (scratch, stats): (&Scratch, &mut CommandStats),
        env: &TurnEnv<'_>,
    ) {
        for run in runs {
            if let RunEnd::Barrier(Barrier::Command { args, .. }) = &run.end
                && let Some(row) = table::lookup(args[0])
            {
                self.noted[usize::from(row)] += 1;
            }
        }
        let each_ns = took_ns / requests.len().max(1) as u64;
        let changed = stats.calls.take_changed();
        self.changed = self.changed.or(changed);
        let times = &env.shared.workers[env.worker].times;
        for row in changed.rows(self.noted.len()) {
            let calls = stats.calls[row];
            let new = calls.wrapping_sub(self.noted[row]);
            if new > 0 {
                times.note(row, each_ns, new);
                self.noted[row] = calls;
            }
        }
        let observer = &env.shared.observer;
        observer.events.note(LatencyEvent::FastCommand, took_ns, env.now_ms / 1000);
        if observer.slowlog.wants(took_ns) && !requests.is_empty() {
            slow_batch(requests, took_ns, each_ns, scratch, env);
        }
        if observer.hot_keys.is_active() {
            let keyed = requests.iter().filter(|request| !request.key.bytes.is_empty());
            let sightings = keyed.map(|request| Sighting {
                key: request.key.bytes,
                took_ns: each_ns,
                bytes: bytes_of(request, scratch),
            });
            observer.hot_keys.note(sightings, env.now_ms);
        }
    }

    /// A command has run alone.
    pub fn barrier(&mut self, conn: &Conn, barrier: &Barrier<'_>, took_ns: u64, env: &TurnEnv<'_>) {
        let observer = &env.shared.observer;
        observer.events.note(LatencyEvent::Command, took_ns, env.now_ms / 1000);
        let Barrier::Command { spec, args, .. } = barrier else { return };
        if let Some(row) = table::lookup(args[0]) {
            env.shared.workers[env.worker].times.note(usize::from(row), took_ns, 1);
        }
        if observer.slowlog.wants(took_ns) && !is_secret(spec, args) {
            let (addr, name) = (conn.client.addr.to_string(), &conn.session.name);
            observer.slowlog.add(env.now_ms / 1000, took_ns, args, addr, name);
        }
        if observer.hot_keys.is_active() {
            let keys: Vec<&[u8]> = keys_of(spec, args).collect();
            let bytes = args.iter().map(|arg| arg.len() as u64).sum::<u64>();
            let share = keys.len().max(1) as u64;
            let sightings =
                keys.iter().map(|key| Sighting { key, took_ns: took_ns / share, bytes: bytes / share });
            observer.hot_keys.note(sightings, env.now_ms);
        }
    }

    /// The rows of the command table whose calls have changed since this was last called.
    pub fn take_changed(&mut self, stats: &CommandStats) -> Changed {
        std::mem::take(&mut self.changed).or(stats.calls.changed())
    }

    /// A command that was counted will be looked at again.
    pub fn taken_back(&mut self, row: u16) {
        self.noted[usize::from(row)] -= 1;
    }
}

/// Commands whose arguments are passwords.
fn is_secret(spec: &Spec, args: &[&[u8]]) -> bool {
    match spec.name {
        "auth" | "hello" => true,
        "config|set" => args.iter().any(|arg| arg.eq_ignore_ascii_case(b"requirepass")),
        _ => false,
    }
}

/// Enters what made a batch slow: all of it if every command was, else the one that handled most.
#[cold]
fn slow_batch(requests: &[Request<'_>], took_ns: u64, each_ns: u64, scratch: &Scratch, env: &TurnEnv<'_>) {
    let slowlog = &env.shared.observer.slowlog;
    let enter = |request: &Request<'_>, took_ns: u64| {
        let mut args: Vec<&[u8]> = vec![request.op.name().as_bytes(), request.key.bytes];
        if let Op::Set { value: Payload::Inline(value), .. } = &request.op {
            args.push(value);
        }
        // Whose request it was, the batch does not say.
        slowlog.add(env.now_ms / 1000, took_ns, &args, String::new(), "");
    };
    let keyed = requests.iter().filter(|request| !request.key.bytes.is_empty());
    if slowlog.wants(each_ns) {
        keyed.for_each(|request| enter(request, each_ns));
    } else if let Some(request) =
        keyed.max_by_key(|request| (request.op.is_linear(), bytes_of(request, scratch)))
    {
        enter(request, took_ns);
    }
}

/// Bytes of key, value and reply.
fn bytes_of(request: &Request<'_>, scratch: &Scratch) -> u64 {
    let value = match &request.op {
        Op::Set { value, .. } | Op::SetIf { value, .. } | Op::Store { value, .. } => value.bytes().len(),
        Op::Scripted { value, .. } => value.bytes().len(),
        Op::Append(bytes) | Op::SetRange { bytes, .. } => bytes.len(),
        _ => 0,
    };
    let reply = match &request.outcome {
        Outcome::Value(span) | Outcome::Encoded(span) => span.len as usize,
        Outcome::Pinned(pin) | Outcome::PinnedInArray(pin) => scratch.pins[*pin as usize].len(),
        Outcome::Item(index) => match scratch.items[*index as usize].value {
            ItemValue::None => 0,
            ItemValue::Copied(span) => span.len as usize,
            ItemValue::Pinned(pin) => scratch.pins[pin as usize].len(),
        },
        _ => 0,
    };
    (request.key.bytes.len() + value + reply) as u64
}

/// The keys of a command line, as far as the table tells them by their position.
fn keys_of<'a>(spec: &Spec, args: &[&'a [u8]]) -> impl Iterator<Item = &'a [u8]> {
    let keys = spec.keys;
    let first = usize::try_from(keys.first).unwrap_or(0);
    let len = args.len();
    let last = match usize::try_from(keys.last) {
        Ok(last) => last,
        Err(_) => len.saturating_sub(usize::from(keys.last.unsigned_abs())),
    };
    let range = if first == 0 { 0..0 } else { first..(last + 1).min(len) };
    let step = usize::try_from(keys.step).unwrap_or(1).max(1);
    let found: Vec<&'a [u8]> = args.get(range).unwrap_or_default().iter().step_by(step).copied().collect();
    found.into_iter()
}
