//! Whole connections over planning and execution: what a client sends, cut anywhere, and the responses that it gets.

use super::*;
use crate::command::testing::{BEGIN_MS, QuietHost};
use crate::command::{COMMANDS, Calls, Context, Flow, PauseMode, execute_now, run};
use crate::conn::Session;
use crate::limits;
use crate::proto::Scratch;
use crate::proto::detect::PROTOBUF_MAGIC;
use crate::proto::protobuf::messages::{self, Call as Ask, Message, Response, Status as Said, get, set};
use crate::store::{Budget, Eviction, StoreConfig};
use std::sync::Arc;

const LIMITS: ParseLimits = ParseLimits {
    max_bulk: 1 << 20,
    max_request: 2 << 20,
    max_args: 1000,
    max_inline: 200,
    authenticated: true,
};

/// One connection to a store that nobody else uses.
struct Client {
    store: Store,
    session: Session,
    stats: CommandStats,
    state: State,
    inbox: Vec<u8>,
    paused: Option<PauseMode>,
    /// Bytes that a barrier's response may have.
    reply_limit: usize,
    now_ms: u64,
    closed: bool,
}

impl Client {
    fn new() -> Client {
        let config = StoreConfig {
            partitions: 4,
            eviction: Eviction::Lru,
            max_value_size: 1 << 20,
            prefault: false,
            seeds: [1, 2, 3, 4],
        };
        Client {
            store: Store::new(config, Arc::new(Budget::new(256 << 20))).unwrap(),
            session: Session::new(1, true),
            stats: CommandStats { calls: Calls::new(COMMANDS.len()), ..CommandStats::default() },
            state: State::default(),
            inbox: Vec::new(),
            paused: None,
            reply_limit: usize::MAX,
            now_ms: BEGIN_MS,
            closed: false,
        }
    }

    /// Past its magic.
    fn begun() -> Client {
        let mut client = Client::new();
        assert!(client.receive(&PROTOBUF_MAGIC).is_empty());
        client
    }

    /// Takes bytes as the worker does, and returns the responses.
    fn receive(&mut self, bytes: &[u8]) -> Vec<Response> {
        self.inbox.extend_from_slice(bytes);
        let inbox = std::mem::take(&mut self.inbox);
        let (mut at, mut sent) = (0, Vec::new());
        while at < inbox.len() {
            let (bump, mut requests, mut scratch) = (Bump::new(), Vec::new(), Scratch::default());
            let limits = ParseLimits { authenticated: self.session.authenticated, ..LIMITS };
            let ctx = PlanContext {
                store: &self.store,
                buffer: None,
                bump: &bump,
                session: &self.session,
                host: &QuietHost,
                held: false,
                paused: self.paused,
                now_ms: self.now_ms,
            };
            let rest = &inbox[at..];
            let step = next(rest, &mut self.state, &limits, &ctx, &mut self.stats, &mut requests);
            let mut out = ReplyBuf::default();
            execute_now(&self.store, &mut requests, &mut scratch, &mut self.stats, self.now_ms);
            for request in &requests {
                proto::encode(&request.form, request.key.bytes, &request.outcome, &scratch, &mut out);
            }
            match step {
                Step::Planned { consumed } => at += consumed,
                Step::Barrier { consumed, barrier } => {
                    at += consumed;
                    self.run(&barrier, &mut out);
                }
                Step::Incomplete { need } => {
                    assert!(need == 0 || need > rest.len());
                    break;
                }
                Step::Paused => break,
                Step::Fatal { reply } => {
                    out.put(&reply);
                    self.closed = true;
                    at = inbox.len();
                }
                Step::Last { .. } => panic!("no request of this protocol ends its connection"),
            }
            flatten(&out, &mut sent);
        }
        self.inbox = inbox[at..].to_vec();
        responses(&sent)
    }

    fn run(&mut self, barrier: &Barrier<'_>, out: &mut ReplyBuf) {
        let mut ctx = Context {
            store: &self.store,
            session: &mut self.session,
            host: &QuietHost,
            stats: &mut self.stats,
            scripts: None,
            held: None,
            now_ms: self.now_ms,
        };
        out.limit(self.reply_limit);
        assert_eq!(run(barrier, &mut ctx, out), Flow::Continue);
        if out.unlimit() {
            out.clear();
            let Barrier::Other(deferred) = barrier else { panic!("another protocol's") };
            assert_eq!(deferred.too_large(out), Flow::Continue);
        }
    }

    fn ask(&mut self, op: Ask) -> Response {
        let request = messages::Request::new(77, op).encode_length_delimited_to_vec();
        let mut responses = self.receive(&request);
        assert_eq!((responses.len(), responses[0].id), (1, 77));
        responses.remove(0)
    }

    fn calls(&self, command: &str) -> u64 {
        self.stats.calls[usize::from(row(command))]
    }
}

fn flatten(out: &ReplyBuf, sent: &mut Vec<u8>) {
    let mut done = 0;
    for (at, pin) in &out.pins {
        sent.extend_from_slice(&out.bytes[done..*at]);
        sent.extend_from_slice(pin);
        done = *at;
    }
    sent.extend_from_slice(&out.bytes[done..]);
}

fn responses(mut sent: &[u8]) -> Vec<Response> {
    let mut responses = Vec::new();
    while !sent.is_empty() {
        responses.push(Response::decode_length_delimited(&mut sent).expect("whole responses"));
    }
    responses
}

fn key_of(key: &str) -> Vec<u8> {
    key.as_bytes().to_vec()
}

fn delete(key: &str) -> messages::Delete {
    messages::Delete { key: key_of(key), cas: 0 }
}

fn multi_get(keys: &[&str]) -> Ask {
    Ask::MultiGet(messages::MultiGet { keys: keys.iter().map(|key| key_of(key)).collect(), want_cas: false })
}

fn batch(ops: Vec<messages::One>) -> Ask {
    Ask::Batch(messages::Batch { ops: ops.into_iter().map(|one| messages::Op { op: Some(one) }).collect() })
}

fn said(response: &Response) -> (Said, &[u8]) {
    (response.status(), &response.value)
}

#[test]
fn one_key_after_the_other() {
    let mut client = Client::begun();
    assert_eq!(said(&client.ask(Ask::Get(get("k")))), (Said::NotFound, &b""[..]));
    assert_eq!(client.ask(Ask::Set(set("k", "v"))).status(), Said::Ok);
    assert_eq!(said(&client.ask(Ask::Get(get("k")))), (Said::Ok, &b"v"[..]));
    assert_eq!(client.ask(Ask::Delete(delete("k"))).status(), Said::Ok);
    assert_eq!(client.ask(Ask::Delete(delete("k"))).status(), Said::NotFound);
    assert_eq!(client.ask(Ask::Ping(messages::Ping {})).status(), Said::Ok);
    assert_eq!(["get", "set", "del", "ping"].map(|command| client.calls(command)), [2, 1, 2, 1]);
    assert_eq!((client.stats.hits, client.stats.misses, client.stats.errors), (1, 1, 0));
}

#[test]
fn a_ttl_runs_down() {
    let mut client = Client::begun();
    client.ask(Ask::Set(messages::Set { ttl_ms: 1500, ..set("k", "v") }));
    client.now_ms += 600;
    assert_eq!(client.ask(Ask::Get(get("k"))).ttl_ms, 900);
    client.now_ms += 900;
    assert_eq!(client.ask(Ask::Get(get("k"))).status(), Said::NotFound);
    // Farther than an item can say: brought forward, not wrapped round.
    client.ask(Ask::Set(messages::Set { ttl_ms: u64::MAX, ..set("k", "v") }));
    assert!(client.ask(Ask::Get(get("k"))).ttl_ms > 1 << 47);
    client.ask(Ask::Set(set("k", "v")));
    assert_eq!(client.ask(Ask::Get(get("k"))).ttl_ms, 0);
}

#[test]
fn several_keys_answer_in_their_order() {
    let mut client = Client::begun();
    let large = vec![b'x'; 40_000];
    client.ask(Ask::Set(set("a", "1")));
    client.ask(Ask::Set(set("large", &large)));
    let response = client.ask(multi_get(&["a", "none", "large", "a"]));
    let results: Vec<_> = response.results.iter().map(said).collect();
    let expected = [(Said::Ok, &b"1"[..]), (Said::NotFound, b""), (Said::Ok, &large), (Said::Ok, b"1")];
    assert_eq!(results, expected);
    assert!(client.ask(multi_get(&[])).results.is_empty());
    // More than one portion.
    let keys: Vec<&str> = (0..200).map(|i| if i % 2 == 0 { "a" } else { "none" }).collect();
    let response = client.ask(multi_get(&keys));
    assert_eq!(response.results.len(), 200);
    for (i, result) in response.results.iter().enumerate() {
        let expected = if i % 2 == 0 { (Said::Ok, &b"1"[..]) } else { (Said::NotFound, &b""[..]) };
        assert_eq!(said(result), expected, "{i}");
    }
    assert_eq!((client.calls("mget"), client.stats.hits, client.stats.misses), (3, 103, 101));
}

#[test]
fn a_batch_runs_in_order() {
    let mut client = Client::begun();
    let mut ops = vec![messages::One::Get(get("k")), messages::One::Set(set("k", "1"))];
    ops.push(messages::One::Get(get("k")));
    ops.push(messages::One::Delete(delete("k")));
    ops.push(messages::One::Get(get("k")));
    let response = client.ask(batch(ops.clone()));
    let results: Vec<_> = response.results.iter().map(said).collect();
    let (ok, none) = ((Said::Ok, &b""[..]), (Said::NotFound, &b""[..]));
    assert_eq!(results, [none, ok, (Said::Ok, b"1"), ok, none]);
    assert_eq!(["get", "set", "del"].map(|command| client.calls(command)), [3, 1, 1]);
    // What is too large is one result's trouble, what cannot be understood is the whole batch's.
    let huge = messages::One::Set(set("huge", vec![b'x'; (1 << 20) + 1]));
    let response = client.ask(batch(vec![huge, messages::One::Set(set("k", "2"))]));
    let statuses: Vec<_> = response.results.iter().map(Response::status).collect();
    assert_eq!(statuses, [Said::TooLarge, Said::Ok]);
    let response = client.ask(batch(vec![messages::One::Set(set("k", "3")), messages::One::Get(get(""))]));
    assert_eq!((response.status(), response.results.len()), (Said::Invalid, 0));
    assert_eq!(client.ask(Ask::Get(get("k"))).value, b"2");
}

#[test]
fn a_response_has_a_bound() {
    let mut client = Client::begun();
    client.ask(Ask::Set(set("k", [b'x'; 1000])));
    client.reply_limit = 10_000;
    let response = client.ask(multi_get(&["k"; 9]));
    assert_eq!(response.results.len(), 9);
    let hits = client.stats.hits;
    let response = client.ask(multi_get(&["k"; 500]));
    assert_eq!((response.status(), response.results.len()), (Said::TooLarge, 0));
    assert!(client.stats.hits < hits + 500, "the rest is not read in vain");
    // A batch that writes is run to its end.
    let mut ops = vec![messages::One::Get(get("k")); 500];
    ops.push(messages::One::Set(set("last", "1")));
    let response = client.ask(batch(ops));
    assert_eq!(response.status(), Said::TooLarge);
    assert_eq!(client.ask(Ask::Get(get("last"))).value, b"1");
}

#[test]
fn a_stream_may_be_cut_anywhere() {
    let mut stream = PROTOBUF_MAGIC.to_vec();
    let asks = [
        Ask::Set(set("key", [b'v'; 150])),
        Ask::Get(get("key")),
        multi_get(&["key", "none"]),
        batch(vec![messages::One::Set(set("b", "1")), messages::One::Get(get("b"))]),
        Ask::Ping(messages::Ping {}),
        Ask::Delete(delete("key")),
    ];
    for (id, ask) in asks.into_iter().enumerate() {
        messages::Request::new(id as u64, ask).encode_length_delimited(&mut stream).unwrap();
    }
    // A frame with nothing in it, and one that is malformed.
    stream.extend([0, 3, 0x08, 0x2a, 0xff]);
    let whole = Client::new().receive(&stream);
    let statuses: Vec<_> = whole.iter().map(|response| (response.id, response.status())).collect();
    let mut expected: Vec<_> = (0..6).map(|id| (id, Said::Ok)).collect();
    expected.extend([(0, Said::Invalid), (42, Said::Invalid)]);
    assert_eq!(statuses, expected);
    for cut in 0..=stream.len() {
        let mut client = Client::new();
        let mut heard = client.receive(&stream[..cut]);
        heard.extend(client.receive(&stream[cut..]));
        assert_eq!(heard, whole, "cut at {cut}");
    }
    let mut client = Client::new();
    let heard: Vec<_> = stream.iter().flat_map(|byte| client.receive(&[*byte])).collect();
    assert_eq!(heard, whole);
    assert!(client.inbox.is_empty() && !client.closed);
}

#[test]
fn framing_lost_ends_the_connection() {
    for (bytes, status) in [
        (&b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"[..], Said::Invalid),
        (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", Said::TooLarge),
        (b"\x81\x80\x80\x01", Said::TooLarge),
    ] {
        let mut client = Client::begun();
        let responses = client.receive(bytes);
        assert_eq!((responses.len(), responses[0].status(), client.closed), (1, status, true));
        assert_eq!(client.stats.errors, 1);
    }
    let mut client = Client::new();
    assert_eq!(client.receive(b"\x02\x08\x01")[0].status(), Said::Invalid);
    assert!(client.closed);
}

#[test]
fn before_authentication_little_is_allowed() {
    let mut client = Client::begun();
    client.session.authenticated = false;
    assert_eq!(client.ask(Ask::Ping(messages::Ping {})).status(), Said::Ok);
    for ask in [Ask::Get(get("k")), multi_get(&["k"]), batch(vec![])] {
        assert_eq!(client.ask(ask).status(), Said::Unauthenticated);
    }
    // This host lets everybody in; tests/protobuf.rs has one that does not.
    assert_eq!(client.ask(Ask::Auth(messages::Auth::default())).status(), Said::Ok);
    assert_eq!(client.ask(Ask::Get(get("k"))).status(), Said::NotFound);
    assert_eq!(client.calls("auth"), 1);

    let mut client = Client::begun();
    client.session.authenticated = false;
    assert_eq!(client.receive(&[201, 1])[0].status(), Said::TooLarge);
    assert!(client.closed);
}

#[test]
fn a_pause_holds_requests_back() {
    let request = |ask: Ask| messages::Request::new(1, ask).encode_length_delimited_to_vec();
    let writes = [
        Ask::Set(set("k", "v")),
        Ask::Delete(delete("k")),
        batch(vec![messages::One::Get(get("k")), messages::One::Set(set("k", "v"))]),
    ];
    for ask in writes {
        let mut client = Client::begun();
        client.paused = Some(PauseMode::Write);
        assert!(client.receive(&request(ask)).is_empty());
        client.paused = None;
        assert_eq!(client.receive(&[]).len(), 1);
    }
    for ask in [Ask::Get(get("k")), multi_get(&["k"]), batch(vec![messages::One::Get(get("k"))])] {
        let mut client = Client::begun();
        client.paused = Some(PauseMode::Write);
        assert_eq!(client.receive(&request(ask.clone())).len(), 1);
        client.paused = Some(PauseMode::All);
        assert!(client.receive(&request(ask)).is_empty());
    }
}

#[test]
fn keys_beyond_the_stores_bound_are_refused() {
    let mut client = Client::begun();
    let key = vec![b'k'; limits::MAX_KEY_LEN + 1];
    assert_eq!(client.ask(Ask::Set(set(&key, "v"))).status(), Said::TooLarge);
    assert_eq!(client.ask(Ask::Get(get(&key))).status(), Said::NotFound);
}

#[test]
fn conditions_cas_and_flags_are_those_of_the_store() {
    let mut client = Client::begun();
    let conditional = |value: &str, condition| Ask::Set(messages::Set { condition, ..set("k", value) });
    assert_eq!(client.ask(conditional("0", 2)).status(), Said::NotStored);
    assert_eq!(client.ask(conditional("1", 1)).status(), Said::Ok);
    assert_eq!(client.ask(conditional("2", 1)).status(), Said::NotStored);
    let stored = client.ask(Ask::Set(messages::Set { flags: 7, want_cas: true, ..set("k", "3") }));
    assert!(stored.cas != 0);
    let got = client.ask(Ask::Get(messages::Get { want_cas: true, ..get("k") }));
    assert_eq!((got.flags, got.cas, &got.value[..]), (7, stored.cas, &b"3"[..]));
    let compared = |cas| Ask::Set(messages::Set { cas, ..set("k", "4") });
    assert_eq!(client.ask(compared(stored.cas + 1)).status(), Said::Exists);
    assert_eq!(client.ask(compared(stored.cas)).status(), Said::Ok);
    assert_eq!(client.ask(Ask::Get(get("k"))).flags, 0, "a set replaces them too");
    let removed = messages::Delete { cas: stored.cas, ..delete("k") };
    assert_eq!(client.ask(Ask::Delete(removed)).status(), Said::Exists);
    assert_eq!(client.ask(Ask::Delete(delete("k"))).status(), Said::Ok);
    assert_eq!(client.ask(compared(stored.cas)).status(), Said::NotFound);
}

#[test]
fn counters_are_memcacheds() {
    let mut client = Client::begun();
    let incr = |delta| messages::Incr { key: key_of("n"), delta, ..Default::default() };
    assert_eq!(client.ask(Ask::Incr(incr(1))).status(), Said::NotFound);
    let made = messages::Incr { initial: Some(10), ttl_ms: 5000, want_cas: true, ..incr(1) };
    let response = client.ask(Ask::Incr(made));
    assert!(response.number == 10 && response.cas != 0 && response.value.is_empty(), "{response:?}");
    assert_eq!(client.ask(Ask::Incr(incr(-1))).number, 9);
    assert_eq!(client.ask(Ask::Incr(incr(i64::MIN))).number, 0);
    client.ask(Ask::Set(set("n", "text")));
    assert_eq!(client.ask(Ask::Incr(incr(1))).status(), Said::NotANumber);
    assert_eq!(client.calls("incrby"), 5);
}
