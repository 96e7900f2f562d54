//! Plays command lines against a store of its own and shows what a client would get: for the tests of all commands.
//!
//! A line is split at spaces; "double quotes" keep them, and `\xhh`, `\n`, `\r`, `\\`, `\"` work inside and outside of quotes.
//! A reply is shown as RESP with a space for every line break: `+OK`, `:1`, `$3 abc`, `$-1`, `*2 $1 a :5`, `-ERR syntax error`.
//! Without a protocol version the lines run in RESP2.

use super::script::ScriptCache;
use super::*;
use crate::conn::{ChannelKind, Tracking};
use crate::observe::{Histogram, Observer};
use crate::proto::Scratch;
use crate::store::{Budget, Eviction, PartitionStats, StoreConfig};
use bytes::Bytes;
use std::sync::Arc;

/// 2024-01-01 in Unix milliseconds: when every test begins.
pub const BEGIN_MS: u64 = 1_704_067_200_000;

/// One client of a store that nobody else uses.
pub struct Client<H: Host = QuietHost> {
    pub store: Store,
    pub session: Session,
    pub stats: CommandStats,
    pub now_ms: u64,
    pub host: H,
    pub scripts: Scripts,
    /// What the last barrier wanted to become of the connection.
    pub flow: Flow,
}

impl Client {
    /// A client of an empty store, with a host that has nothing to tell.
    pub fn new() -> Client {
        Client::with_host(QuietHost)
    }
}

impl Default for Client {
    fn default() -> Client {
        Client::new()
    }
}

impl<H: Host> Client<H> {
    pub fn with_host(host: H) -> Client<H> {
        Client::with(host, Eviction::Lru, 512 << 20)
    }

    pub fn with(host: H, eviction: Eviction, max_value_size: usize) -> Client<H> {
        let config =
            StoreConfig { partitions: 4, eviction, max_value_size, prefault: false, seeds: [1, 2, 3, 4] };
        Client {
            store: Store::new(config, Arc::new(Budget::new(256 << 20))).unwrap(),
            session: Session::new(1, true),
            stats: CommandStats { calls: Calls::new(COMMANDS.len()), ..CommandStats::default() },
            now_ms: BEGIN_MS,
            host,
            scripts: Scripts::default(),
            flow: Flow::Continue,
        }
    }

    /// Runs one line; `@+1500` instead of a command lets that many milliseconds pass.
    pub fn run(&mut self, line: &str) -> String {
        if let Some(ms) = line.strip_prefix("@+") {
            self.now_ms += ms.parse::<u64>().unwrap();
            return String::new();
        }
        let args = split(line);
        let args: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
        show(&self.run_args(&args))
    }

    /// Runs one command as the worker would, and returns the reply's bytes.
    pub fn run_args(&mut self, args: &[&[u8]]) -> Vec<u8> {
        let bump = Bump::new();
        let mut out = ReplyBuf::default();
        match enqueue(args, &mut self.session, &self.store, &mut self.stats) {
            Queued::Kept => return b"+QUEUED\r\n".to_vec(),
            Queued::Refused(outcome) => {
                crate::proto::resp::encode(&outcome, &Scratch::default(), self.session.resp3, &mut out);
                return flatten(&out);
            }
            Queued::Now => {}
        }
        let ctx = PlanContext {
            store: &self.store,
            buffer: None,
            bump: &bump,
            session: &self.session,
            host: &self.host,
            paused: None,
            held: false,
            now_ms: self.now_ms,
        };
        let (outcome, scratch) = match plan(args, &ctx, &mut self.stats) {
            Plan::Reply(outcome) => (outcome, Scratch::default()),
            Plan::Keyed(request) => execute_one(&self.store, request, &mut self.stats, self.now_ms),
            Plan::Barrier(barrier) => {
                let mut ctx = Context {
                    store: &self.store,
                    session: &mut self.session,
                    host: &self.host,
                    stats: &mut self.stats,
                    scripts: Some(&mut self.scripts),
                    held: None,
                    now_ms: self.now_ms,
                };
                self.flow = run(&barrier, &mut ctx, &mut out);
                return flatten(&out);
            }
        };
        crate::proto::resp::encode(&outcome, &scratch, self.session.resp3, &mut out);
        flatten(&out)
    }
}

/// Runs each line and compares its reply; the position of the first difference is in the failure's text.
#[track_caller]
pub fn script(lines: &[(&str, &str)]) {
    play(&mut Client::new(), lines);
}

/// As [`script`], with a client that may have a past.
#[track_caller]
pub fn play<H: Host>(client: &mut Client<H>, lines: &[(&str, &str)]) {
    for (i, (line, expected)) in lines.iter().enumerate() {
        assert_eq!(client.run(line), *expected, "line {i}: {line}");
    }
}

fn execute_one(
    store: &Store,
    request: Request<'_>,
    stats: &mut CommandStats,
    now_ms: u64,
) -> (Outcome, Scratch) {
    let mut scratch = Scratch::default();
    let mut partition = store.lock(store.partition_of(request.key.hash));
    let mut requests = [request];
    assert_eq!(execute(&mut partition, &mut requests, &[0], &mut scratch, stats, now_ms, true), 1);
    let [request] = requests;
    (request.outcome, scratch)
}

/// The reply as it would leave, pinned values in their places.
pub fn flatten(out: &ReplyBuf) -> Vec<u8> {
    let mut flat = Vec::new();
    let mut done = 0;
    for (at, pin) in &out.pins {
        flat.extend_from_slice(&out.bytes[done..*at]);
        flat.extend_from_slice(pin);
        done = *at;
    }
    flat.extend_from_slice(&out.bytes[done..]);
    flat
}

fn show(reply: &[u8]) -> String {
    let text: String = reply
        .split(|byte| *byte == b'\n')
        .map(|line| String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(line)).into_owned())
        .collect::<Vec<_>>()
        .join(" ");
    text.strip_suffix(' ').unwrap_or(&text).to_owned()
}

/// Splits a line into arguments.
fn split(line: &str) -> Vec<Vec<u8>> {
    let mut args = Vec::new();
    let mut arg: Option<Vec<u8>> = None;
    let mut quoted = false;
    let mut rest = line.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b' ' if !quoted => args.extend(arg.take()),
            b'"' => {
                quoted = !quoted;
                arg.get_or_insert_default();
            }
            b'\\' => arg.get_or_insert_default().push(escape(&mut rest)),
            _ => arg.get_or_insert_default().push(byte),
        }
    }
    args.extend(arg);
    args
}

fn escape(rest: &mut std::str::Bytes<'_>) -> u8 {
    match rest.next().expect("something after the backslash") {
        b'n' => b'\n',
        b'r' => b'\r',
        b'x' => {
            let digits = [rest.next().unwrap(), rest.next().unwrap()];
            u8::from_str_radix(str::from_utf8(&digits).unwrap(), 16).unwrap()
        }
        other => other,
    }
}

/// The scripts of the test that runs in this thread.
pub fn scripts() -> &'static ScriptCache {
    thread_local!(static SCRIPTS: &'static ScriptCache = Box::leak(Box::default()));
    SCRIPTS.with(|scripts| *scripts)
}

/// A clock on which twenty microseconds go by from one look to the next.
pub fn clock() -> u64 {
    thread_local!(static NOW_US: std::cell::Cell<u64> = const { std::cell::Cell::new(0) });
    NOW_US.with(|now_us| now_us.replace(now_us.get() + 20))
}

/// Registries in which nobody is.
pub struct NobodyListens;

impl Pushes for NobodyListens {
    fn subscribe(&self, _id: u64, _kind: ChannelKind, _name: &Bytes) {}
    fn unsubscribe(&self, _id: u64, _kind: ChannelKind, _name: &Bytes) {}
    fn publish(&self, _kind: ChannelKind, _channel: &[u8], _message: &[u8]) -> usize {
        0
    }
    fn channels(&self, _kind: ChannelKind, _pattern: Option<&[u8]>) -> Channels {
        Vec::new()
    }
    fn subscribers(&self, _kind: ChannelKind, _channel: &[u8]) -> usize {
        0
    }
    fn patterns(&self) -> usize {
        0
    }
    fn track(&self, _id: u64, _how: Option<&Tracking>) {}
    fn reads(&self, _id: u64, _key: &[u8], _redirects: bool) {}
    fn redirect_is_broken(&self, _id: u64) -> bool {
        false
    }
    fn is_connected(&self, id: u64) -> bool {
        id == 1
    }
    fn monitor(&self, _id: u64, _on: bool) {}
}

/// A server that has nothing to tell and asks for no password.
pub struct QuietHost;

impl Host for QuietHost {
    fn info(&self, _sections: &[String], _stats: &mut dyn FnMut(usize) -> PartitionStats) -> String {
        String::new()
    }

    fn config_get(&self, _pattern: &[u8]) -> Vec<(String, String)> {
        Vec::new()
    }

    fn config_set(&self, _pairs: &[(&[u8], &[u8])]) -> Result<(), String> {
        Ok(())
    }

    fn reset_stats(&self, _stats: &mut dyn FnMut(usize) -> PartitionStats) {}

    fn client_list(&self, _filter: &ClientFilter) -> String {
        String::new()
    }

    fn client_info(&self, id: u64) -> String {
        format!("id={id}\n")
    }

    fn client_kill(&self, _filter: &ClientFilter) -> usize {
        0
    }

    fn client_changed(&self, _session: &Session) {}

    fn client_pause(&self, _pause: Option<(u64, PauseMode)>) {}

    fn password_required(&self) -> bool {
        false
    }

    fn authenticate(&self, _user: &[u8], _password: &[u8]) -> bool {
        true
    }

    fn pushes(&self) -> &dyn Pushes {
        &NobodyListens
    }

    fn time_us(&self) -> u64 {
        BEGIN_MS * 1000
    }

    fn random(&self) -> u64 {
        4
    }

    fn clock(&self) -> fn() -> u64 {
        crate::command::testing::clock
    }

    fn scripts(&self) -> &ScriptCache {
        crate::command::testing::scripts()
    }

    fn script_time_limit_ms(&self) -> u64 {
        200
    }

    fn started_at_s(&self) -> u64 {
        BEGIN_MS / 1000
    }

    fn observer(&self) -> &Observer {
        static QUIET: std::sync::LazyLock<Observer> = std::sync::LazyLock::new(Observer::default);
        &QUIET
    }

    fn command_times(&self) -> Vec<Histogram> {
        Vec::new()
    }

    fn hotkeys_begin(&self) {}

    fn hotkeys_cpu_us(&self) -> (u64, u64) {
        (0, 0)
    }

    fn may_wait(&self) -> bool {
        true
    }

    fn wait_begins(&self, _hash: u64, _client: u64) {}

    fn wait_ends(&self, _hash: u64, _client: u64) {}

    fn debug_allowed(&self, _client: u64) -> bool {
        false
    }

    fn sleep_ms(&self, _ms: u64) {}

    fn memcached_stats(&self, of: StatsOf) -> Vec<(String, String)> {
        vec![("of".into(), format!("{of:?}"))]
    }

    fn flush_at(&self, _at_ms: Option<u64>) {}

    fn shut_down(&self) -> bool {
        false
    }
}
