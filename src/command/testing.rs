//! What command tests need around a command: a server that only remembers, and a connection that answers in one line.

use super::{
    ClientFilter, ClientView, CommandStats, Context, Flow, Host, PauseMode, Plan, PlanContext, execute, plan,
    run,
};
use crate::command::glob::Glob;
use crate::conn::Session;
use crate::proto::{Outcome, ReplyBuf, Scratch};
use crate::store::{Budget, Eviction, Store, StoreConfig};
use bumpalo::Bump;
use std::cell::RefCell;
use std::sync::Arc;

/// A server that notes what it was asked for.
#[derive(Default)]
pub struct FakeHost {
    pub password: Option<&'static str>,
    /// One line for each thing that was done.
    pub log: RefCell<Vec<String>>,
    /// The sessions of all connections, by id.
    pub sessions: RefCell<Vec<Session>>,
    random: RefCell<u64>,
}

impl FakeHost {
    fn note(&self, what: String) {
        self.log.borrow_mut().push(what);
    }

    fn matching(&self, filter: &ClientFilter) -> Vec<u64> {
        let sessions = self.sessions.borrow();
        let matches = |session: &&Session| {
            filter.accepts(&ClientView {
                id: session.id,
                addr: &format!("127.0.0.1:{}", 5000 + session.id),
                laddr: "127.0.0.1:7171",
                name: &session.name,
                lib_name: &session.lib_name,
                lib_version: &session.lib_version,
                flags: "N",
                db: session.db,
                age_s: session.id * 10,
                idle_s: session.id,
            })
        };
        sessions.iter().filter(matches).map(|session| session.id).collect()
    }
}

const PARAMETERS: [(&str, &str); 3] = [("appendonly", "no"), ("maxmemory", "1000"), ("save", "")];

impl Host for FakeHost {
    fn info(&self, sections: &[String]) -> String {
        format!("sections:{}\r\n", sections.join(","))
    }

    fn config_get(&self, pattern: &[u8]) -> Vec<(String, String)> {
        let pattern = Glob::ignoring_case(pattern);
        let matching = PARAMETERS.iter().filter(|(name, _)| pattern.matches(name.as_bytes()));
        matching.map(|(name, value)| (name.to_string(), value.to_string())).collect()
    }

    fn config_set(&self, pairs: &[(&[u8], &[u8])]) -> Result<(), String> {
        for (name, value) in pairs {
            let (name, value) = (String::from_utf8_lossy(name), String::from_utf8_lossy(value));
            if !PARAMETERS.iter().any(|(known, _)| *known == name) {
                return Err(format!("Unknown option or number of arguments for CONFIG SET - '{name}'"));
            }
            self.note(format!("{name} = {value}"));
        }
        Ok(())
    }

    fn reset_stats(&self) {
        self.note("reset stats".to_owned());
    }

    fn client_list(&self, filter: &ClientFilter) -> String {
        self.matching(filter).iter().map(|id| self.client_info(*id)).collect()
    }

    fn client_info(&self, id: u64) -> String {
        format!("id={id}\n")
    }

    fn client_kill(&self, filter: &ClientFilter) -> usize {
        let killed = self.matching(filter);
        self.note(format!("kill {killed:?}"));
        killed.len()
    }

    fn client_changed(&self, session: &Session) {
        let mut sessions = self.sessions.borrow_mut();
        sessions.retain(|known| known.id != session.id);
        sessions.push(session.clone());
        sessions.sort_by_key(|session| session.id);
    }

    fn client_pause(&self, pause: Option<(u64, PauseMode)>) {
        self.note(format!("pause {pause:?}"));
    }

    fn password_required(&self) -> bool {
        self.password.is_some()
    }

    fn authenticate(&self, user: &[u8], password: &[u8]) -> bool {
        user == b"default" && self.password.is_none_or(|wanted| wanted.as_bytes() == password)
    }

    fn time_us(&self) -> u64 {
        1_700_000_000_000_042
    }

    fn random(&self) -> u64 {
        let mut state = self.random.borrow_mut();
        *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        *state >> 11
    }

    fn started_at_s(&self) -> u64 {
        1_700_000_000
    }
}

/// One connection to a store of its own.
pub struct Bench {
    pub store: Store,
    pub host: FakeHost,
    pub session: Session,
    pub stats: CommandStats,
    pub now_ms: u64,
    pub flow: Flow,
}

/// When every test begins, Unix milliseconds.
pub const NOW_MS: u64 = 1_700_000_000_000;

impl Bench {
    pub fn new() -> Bench {
        Bench::with(8, Eviction::Lru)
    }

    pub fn with(partitions: usize, eviction: Eviction) -> Bench {
        let config = StoreConfig {
            partitions,
            eviction,
            max_value_size: 8 << 20,
            prefault: false,
            seeds: [1, 2, 3, 4],
        };
        let host = FakeHost::default();
        let session = Session::new(7, true);
        host.client_changed(&session);
        Bench {
            store: Store::new(config, Arc::new(Budget::new(64 << 20))).unwrap(),
            host,
            session,
            stats: CommandStats::default(),
            now_ms: NOW_MS,
            flow: Flow::Continue,
        }
    }

    /// Runs one command and returns its reply's bytes.
    pub fn run(&mut self, args: &[&[u8]]) -> Vec<u8> {
        let bump = Bump::new();
        let mut out = ReplyBuf::default();
        let ctx = PlanContext {
            store: &self.store,
            bump: &bump,
            session: &self.session,
            host: &self.host,
            now_ms: self.now_ms,
        };
        match plan(args, &ctx, &mut self.stats) {
            Plan::Barrier(barrier) => {
                let mut ctx = Context {
                    store: &self.store,
                    session: &mut self.session,
                    host: &self.host,
                    stats: &mut self.stats,
                    now_ms: self.now_ms,
                };
                self.flow = run(&barrier, &mut ctx, &mut out);
                flatten(&out)
            }
            Plan::Keyed(request) => {
                let partition = self.store.partition_of(request.key.hash);
                let (mut requests, mut scratch) = ([request], Scratch::default());
                let mut locked = self.store.lock(partition);
                execute(&mut locked, &mut requests, &[0], &mut scratch, &mut self.stats, self.now_ms, true);
                encode(&requests[0].outcome, &scratch, self.session.resp3)
            }
            Plan::Reply(outcome) => encode(&outcome, &Scratch::default(), self.session.resp3),
        }
    }

    /// Runs a command line (words parted by one space, `''` for an empty one) and returns the reply with its line ends as spaces.
    pub fn say(&mut self, line: &str) -> String {
        let words: Vec<&[u8]> =
            line.split(' ').map(|word| if word == "''" { &b""[..] } else { word.as_bytes() }).collect();
        String::from_utf8_lossy(&self.run(&words)).replace("\r\n", " ").trim_end().to_owned()
    }

    /// Runs lines and compares each reply.
    #[track_caller]
    pub fn script(&mut self, lines: &[(&str, &str)]) {
        for (line, expected) in lines {
            assert_eq!(self.say(line), *expected, "{line}");
        }
    }
}

/// The bytes with the pinned values in their places.
fn flatten(out: &ReplyBuf) -> Vec<u8> {
    let mut whole = Vec::new();
    let mut from = 0;
    for (at, pin) in &out.pins {
        whole.extend_from_slice(&out.bytes[from..*at]);
        whole.extend_from_slice(pin);
        from = *at;
    }
    whole.extend_from_slice(&out.bytes[from..]);
    whole
}

fn encode(outcome: &Outcome, scratch: &Scratch, resp3: bool) -> Vec<u8> {
    let mut out = ReplyBuf::default();
    let mut writer = crate::proto::resp::Writer::new(&mut out, resp3);
    let bytes = |span: &crate::proto::Span| {
        let start = span.start as usize;
        &scratch.bytes[start..start + span.len as usize]
    };
    match outcome {
        Outcome::Pending => writer.raw(b"(pending)"),
        Outcome::Ok => writer.ok(),
        Outcome::Pong => writer.simple("PONG"),
        Outcome::Nil => writer.null(),
        Outcome::Int(value) => writer.int(*value),
        Outcome::Value(span) => writer.bulk(bytes(span)),
        Outcome::Pinned(index) => writer.bulk(&scratch.pins[*index as usize]),
        Outcome::Encoded(span) => writer.raw(bytes(span)),
        Outcome::Error(text) => writer.error(text),
    }
    out.bytes
}
