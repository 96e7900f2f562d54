//! The whole worker over the simulated driver: the same loop, a network that misbehaves by a seed, and clients that know what
//! every reply must be, to the byte. A failure names its seed; `KV_SIM_SEED=n` plays that one alone.

mod pushes;

use super::{Clock, Worker};
use crate::command::Host;
use crate::limits::{RUN_REQUESTS, TURN_REPLY_BYTES};
use crate::ring::sim::{Faults, Sim, SimClient, SimNet};
use crate::ring::{Driver, DriverOptions};
use crate::server::{Message, Shared, testing};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// Virtual time, far from zero as real time is.
struct SimClock(SimNet);

impl Clock for SimClock {
    fn now_ms(&self) -> u64 {
        1_700_000_000_000 + u64::try_from(self.0.now().as_millis()).expect("tests are short")
    }

    fn ticks_ns(&self) -> u64 {
        u64::try_from(self.0.now().as_nanos()).expect("tests are short")
    }
}

/// xorshift64*, as good as a test needs.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % bound
    }
}

/// A client with a script: what it sends, what it must receive.
struct Scripted {
    client: SimClient,
    requests: Vec<u8>,
    written: usize,
    expected: Vec<u8>,
    received: Vec<u8>,
    broken: bool,
}

fn request(args: &[&[u8]]) -> Vec<u8> {
    let mut out = format!("*{}\r\n", args.len()).into_bytes();
    for arg in args {
        out.extend(format!("${}\r\n", arg.len()).bytes());
        out.extend(*arg);
        out.extend(b"\r\n");
    }
    out
}

fn bulk(value: Option<&Vec<u8>>) -> Vec<u8> {
    match value {
        None => b"$-1\r\n".to_vec(),
        Some(value) => [format!("${}\r\n", value.len()).as_bytes(), value, b"\r\n"].concat(),
    }
}

/// A random script over keys that only this client uses, with its replies by a hash map.
fn script(random: &mut Random, client: usize, commands: usize) -> (Vec<u8>, Vec<u8>) {
    let (mut requests, mut replies) = (Vec::new(), Vec::new());
    let mut model: HashMap<Vec<u8>, Vec<u8>> = HashMap::new();
    for _ in 0..commands {
        let key = format!("{client}:{}", random.below(6)).into_bytes();
        match random.below(8) {
            0 | 1 => {
                let len = [3, 60, 700, 17_000, 40_000][random.below(5)];
                let value = vec![b'a' + random.below(26) as u8; len];
                requests.extend(request(&[b"SET", &key, &value]));
                replies.extend(b"+OK\r\n");
                model.insert(key, value);
            }
            2..=4 => {
                requests.extend(request(&[b"GET", &key]));
                replies.extend(bulk(model.get(&key)));
            }
            5 => {
                let other = format!("{client}:{}", random.below(6)).into_bytes();
                requests.extend(request(&[b"MGET", &key, &other]));
                replies.extend(b"*2\r\n");
                replies.extend(bulk(model.get(&key)));
                replies.extend(bulk(model.get(&other)));
            }
            6 => {
                requests.extend(request(&[b"DEL", &key]));
                replies.extend(format!(":{}\r\n", usize::from(model.remove(&key).is_some())).bytes());
            }
            _ => {
                requests.extend(request(&[b"PING"]));
                replies.extend(b"+PONG\r\n");
            }
        }
    }
    (requests, replies)
}

impl Scripted {
    /// Writes and reads a little; returns whether everything has been written and answered.
    fn step(&mut self, random: &mut Random) -> bool {
        if self.written < self.requests.len() && !self.broken {
            let end = (self.written + 1 + random.below(30_000)).min(self.requests.len());
            match self.client.write(&self.requests[self.written..end]) {
                Ok(taken) => self.written += taken,
                Err(_) => self.broken = true,
            }
        }
        self.received.extend(self.client.read(random.below(60_000)));
        self.broken |= self.client.end().is_some();
        self.broken || self.received.len() == self.expected.len()
    }
}

fn worker(faults: Faults, seed: u64, flags: &str) -> (Worker<Sim, SimClock>, SimNet, Arc<Shared>) {
    let shared = Arc::new(testing::shared(flags));
    let options = DriverOptions { recv_buffers: 8, recv_buffer_size: 2048, ..DriverOptions::default() };
    let (mut sim, net) = Sim::new(&options, faults, seed);
    sim.listen(net.listening_socket().unwrap(), 0).unwrap();
    shared.worker_ready(0, sim.name(), sim.waker());
    (Worker::new(sim, SimClock(net.clone()), 0, shared.clone()), net, shared)
}

const FLAGS: &str = "--threads 1 --max-memory 64mb --output-watermark 65536";

/// Plays one seed and returns the clients as they ended.
fn play(seed: u64, faults: Faults) -> Vec<Scripted> {
    let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let (mut worker, net, shared) = worker(faults, seed, FLAGS);
    let mut clients = Vec::new();
    for number in 0..1 + random.below(5) {
        let mut client = net.connect(0).unwrap();
        if random.below(2) == 0 {
            client.set_window(1 + random.below(5_000));
        }
        let commands = 1 + random.below(60);
        let (requests, expected) = script(&mut random, number, commands);
        let (written, received) = (0, Vec::new());
        clients.push(Scripted { client, requests, written, expected, received, broken: false });
    }
    for turn in 0.. {
        assert!(turn < 200_000, "seed {seed}: the clients wait for ever");
        worker.turn(Some(Duration::from_millis(1))).unwrap();
        let done = clients.iter_mut().map(|client| client.step(&mut random)).filter(|done| *done).count();
        if done == clients.len() {
            break;
        }
    }
    // What is left of the connections ends with the drain, and so does what they held.
    shared.send(0, Message::Drain);
    for turn in 0.. {
        assert!(turn < 10_000, "seed {seed}: the drain does not end");
        if worker.drained() {
            break;
        }
        worker.turn(Some(Duration::from_millis(10))).unwrap();
    }
    assert_eq!(worker.memory, 0, "seed {seed}: closed connections still count");
    assert_eq!(shared.clients.count(), 0, "seed {seed}: closed connections are still registered");
    clients
}

fn seeds(count: u64) -> Vec<u64> {
    match std::env::var("KV_SIM_SEED") {
        Ok(seed) => vec![seed.parse().expect("KV_SIM_SEED is a number")],
        Err(_) => (1..=count).collect(),
    }
}

#[test]
fn every_reply_is_whole_and_in_order_on_a_rough_network() {
    for seed in seeds(150) {
        for (number, client) in play(seed, Faults::ROUGH).iter().enumerate() {
            assert!(!client.broken, "seed {seed}: client {number} was cut");
            assert!(client.received == client.expected, "seed {seed}: client {number} got other bytes");
        }
    }
}

#[test]
fn a_cut_connection_got_the_beginning_of_its_replies_and_harms_no_other() {
    for seed in seeds(150) {
        for (number, client) in play(seed, Faults::HOSTILE).iter().enumerate() {
            assert!(
                client.expected.starts_with(&client.received),
                "seed {seed}: client {number} got other bytes"
            );
        }
    }
}

#[test]
fn a_client_that_never_reads_is_paused_and_costs_little() {
    let (mut worker, net, _shared) = worker(Faults::NONE, 1, FLAGS);
    let mut client = net.connect(0).unwrap();
    client.set_window(1_000);
    let set = request(&[b"SET", b"big", &vec![b'x'; 10_000]]);
    let gets = request(&[b"GET", b"big"]).repeat(2_000);
    let (script, mut written) = ([set, gets].concat(), 0);
    for _ in 0..2_000 {
        written += client.write(&script[written..]).unwrap();
        worker.turn(Some(Duration::from_millis(1))).unwrap();
    }
    assert_eq!(worker.stats.paused_slow_reader, 1);
    // One turn's share of replies may pass the watermark; the other 18 MB must not be made before they are read.
    assert!(worker.memory < 3 << 20, "{} bytes are held for one slow reader", worker.memory);
    let mut received = client.read(usize::MAX);
    while received.len() < 5 + 2_000 * 10_010 {
        worker.turn(Some(Duration::from_millis(1))).unwrap();
        written += client.write(&script[written..]).unwrap();
        received.extend(client.read(usize::MAX));
    }
    assert_eq!(written, script.len());
    assert!(worker.memory < 64 << 10, "what was held is given back");
}

#[test]
fn a_client_that_never_reads_keeps_no_segment_from_being_reused() {
    let (mut worker, net, shared) = worker(Faults::NONE, 1, FLAGS);
    let mut client = net.connect(0).unwrap();
    client.set_window(1_000);
    let name = |n: usize| format!("value:{n}").into_bytes();
    // Of a size that is sent from where it lies, and so many that most lie in segments of their own.
    let sets: Vec<u8> = (0..400).flat_map(|n| request(&[b"SET", &name(n), &[b'x'; 30_000]])).collect();
    let gets: Vec<u8> = (0..40).flat_map(|n| request(&[b"GET", &name(n * 10)])).collect();
    let (script, mut written) = ([sets, gets].concat(), 0);
    for _ in 0..20_000 {
        written += client.write(&script[written..]).unwrap();
        worker.turn(Some(Duration::from_millis(1))).unwrap();
    }
    assert_eq!((written, worker.stats.paused_slow_reader), (script.len(), 1));
    let mut segments = 0;
    for partition in 0..shared.store.partitions() {
        shared.store.lock(partition).flush(None);
        while shared.store.lock(partition).maintain(worker.now_ms) {}
        segments += shared.store.lock(partition).stats().segments;
    }
    // Two are kept free by each partition.
    assert!(segments <= 2 * shared.store.partitions() as u64, "{segments} segments are held");
}

#[test]
fn one_large_request_leaves_little_memory_behind() {
    let (mut worker, net, shared) = worker(Faults::NONE, 1, FLAGS);
    let mut client = net.connect(0).unwrap();
    let args: Vec<&[u8]> =
        std::iter::once(&b"EXISTS"[..]).chain(std::iter::repeat_n(&b"k"[..], 200_000)).collect();
    let (script, mut written) = (request(&args), 0);
    while client.read(usize::MAX).is_empty() {
        written += client.write(&script[written..]).unwrap();
        worker.turn(Some(Duration::from_millis(1))).unwrap();
    }
    worker.turn(Some(Duration::from_millis(1))).unwrap();
    let counted = shared.store.budget().connections.load(std::sync::atomic::Ordering::Relaxed);
    assert!(counted < 3 << 20, "{counted} bytes are counted");
}

#[test]
fn a_half_closed_client_gets_all_replies_then_the_end() {
    for seed in seeds(20) {
        let (mut worker, net, _shared) = worker(Faults::ROUGH, seed, FLAGS);
        let mut client = net.connect(0).unwrap();
        client.set_window(3_000);
        let script =
            [request(&[b"SET", b"k", &vec![b'v'; 20_000]]), request(&[b"GET", b"k"]).repeat(9)].concat();
        let (mut written, mut received) = (0, 0);
        for turn in 0.. {
            assert!(turn < 50_000, "seed {seed}: the end never comes");
            if written < script.len() {
                written += client.write(&script[written..]).unwrap();
                if written == script.len() {
                    client.half_close();
                }
            }
            worker.turn(Some(Duration::from_millis(1))).unwrap();
            received += client.read(usize::MAX).len();
            if client.end().is_some() {
                break;
            }
        }
        assert_eq!(received, 5 + 9 * 20_010, "seed {seed}");
        assert!(worker.conns.is_empty());
    }
}

#[test]
fn idle_connections_are_closed_and_busy_ones_are_not() {
    let (mut worker, net, shared) = worker(Faults::NONE, 1, "--threads 1 --max-memory 64mb --timeout 10");
    let (mut idle, mut busy) = (net.connect(0).unwrap(), net.connect(0).unwrap());
    for _ in 0..30 {
        busy.write(b"PING\r\n").unwrap();
        for _ in 0..5 {
            worker.turn(Some(Duration::from_millis(1))).unwrap();
        }
        net.advance(Duration::from_secs(1));
    }
    assert!(idle.end().is_some());
    assert_eq!(busy.read(usize::MAX).len(), 30 * b"+PONG\r\n".len());
    assert_eq!((shared.clients.count(), worker.stats.closed_idle), (1, 1));
}

#[test]
fn a_reply_beyond_the_cap_is_an_error_and_the_connection_goes_on() {
    let flags =
        "--threads 1 --max-memory 64mb --max-value-size 1mb --output-watermark 65536 --output-cap 2mb";
    let (mut worker, net, _shared) = worker(Faults::NONE, 1, flags);
    let mut client = net.connect(0).unwrap();
    let mut mget: Vec<&[u8]> = vec![b"MGET"];
    mget.extend(std::iter::repeat_n(&b"k"[..], 10_000));
    let script = [request(&[b"SET", b"k", &[b'v'; 900]]), request(&mget), request(&[b"PING"])].concat();
    let (mut written, mut received) = (0, Vec::new());
    for _ in 0..1_000 {
        written += client.write(&script[written..]).unwrap();
        worker.turn(Some(Duration::from_millis(1))).unwrap();
        received.extend(client.read(usize::MAX));
    }
    let received = String::from_utf8(received).unwrap();
    assert!(received.starts_with("+OK\r\n-ERR the reply is larger"), "{received}");
    assert!(received.ends_with("\r\n+PONG\r\n"), "{received}");
}

#[test]
fn large_replies_to_many_at_once_are_made_one_at_a_time() {
    let flags = "--threads 1 --max-memory 128mb --max-value-size 4mb --output-cap 16mb";
    let (mut worker, net, _shared) = worker(Faults::NONE, 1, flags);
    let mut mget: Vec<&[u8]> = vec![b"MGET"];
    mget.extend(std::iter::repeat_n(&b"k"[..], 500));
    // The one is a reply of 5 MB; the other a value of 2 MB that JSON must escape.
    let scripts = [request(&mget), b"{\"key\":\"j\"}".repeat(3)];
    let value = "v\\n".repeat(1_000_000);
    let mut writer = net.connect(0).unwrap();
    let set = [b"{\"key\":\"j\",\"value\":\"", value.as_bytes(), b"\"}"].concat();
    let mut setter = net.connect(0).unwrap();
    setter.write(&request(&[b"SET", b"k", &[b'v'; 10_000]])).unwrap();
    let mut written = 0;
    for _ in 0..3_000 {
        written += writer.write(&set[written..]).unwrap();
        worker.turn(Some(Duration::from_millis(1))).unwrap();
    }
    assert!(writer.read(usize::MAX).starts_with(b"{\"status\":\"OK\""));
    let sizes =
        [6 + 500 * 10_010, 3 * (b"{'status':'OK','message':'','key':'j','value':''}".len() + value.len())];
    for (script, size) in scripts.iter().zip(sizes) {
        let mut clients: Vec<SimClient> = (0..12).map(|_| net.connect(0).unwrap()).collect();
        let (mut written, mut received) = (vec![0; clients.len()], vec![0; clients.len()]);
        let mut most = 0;
        for _ in 0..20_000 {
            for (i, client) in clients.iter_mut().enumerate() {
                written[i] += client.write(&script[written[i]..]).unwrap();
                received[i] += client.read(usize::MAX).len();
            }
            worker.turn(Some(Duration::from_millis(1))).unwrap();
            most = most.max(worker.outgoing.bytes.len());
            if received.iter().all(|n| *n == size) {
                break;
            }
        }
        assert_eq!(received, vec![size; clients.len()], "each got all of it");
        assert!(most < 8 << 20, "{most} bytes of replies were made in one turn");
    }
}

#[test]
fn who_asks_for_much_does_not_starve_others() {
    let (mut worker, net, _shared) = worker(Faults::NONE, 1, "--threads 1 --max-memory 64mb");
    let mut greedy: Vec<SimClient> = (0..8).map(|_| net.connect(0).unwrap()).collect();
    greedy.iter_mut().for_each(|client| client.set_window(64 << 20));
    let get = request(&[b"GET", b"k"]).repeat(100);
    greedy[0].write(&request(&[b"SET", b"k", &[b'v'; 16_000]])).unwrap();
    let mut modest = net.connect(0).unwrap();
    let mut answered = 0;
    for turn in 0..500 {
        for client in &mut greedy {
            let _ = client.write(&get).unwrap();
            client.read(usize::MAX);
        }
        if turn == 100 {
            // Behind so much that it never fits one turn with what the others ask for.
            modest.write(b"PING\r\n").unwrap();
        }
        worker.turn(Some(Duration::from_millis(1))).unwrap();
        if answered == 0 && !modest.read(usize::MAX).is_empty() {
            answered = turn;
        }
    }
    assert!((100..110).contains(&answered), "answered in turn {answered}");
}

#[test]
fn a_connection_has_no_more_than_its_share_of_a_turn() {
    let (mut worker, net, _shared) = worker(Faults::NONE, 1, "--threads 1 --max-memory 1gb");
    let (mut client, mut pauser) = (net.connect(0).unwrap(), net.connect(0).unwrap());
    client.set_window(64 << 20);
    client.write(&request(&[b"SET", b"k", &[b'v'; 3_000]])).unwrap();
    let mut turns = |count| (0..count).for_each(|_| worker.turn(Some(Duration::from_millis(1))).unwrap());
    turns(5);
    pauser.write(b"CLIENT PAUSE 100000\r\n").unwrap();
    turns(5);
    // Held back, they come together into one turn.
    client.write(&request(&[b"GET", b"k"]).repeat(4 * RUN_REQUESTS)).unwrap();
    turns(100);
    assert_eq!(client.read(usize::MAX), b"+OK\r\n");
    pauser.write(b"CLIENT UNPAUSE\r\n").unwrap();
    let (run, mut most, mut received) = (RUN_REQUESTS * 3_009, 0, 0);
    assert!(run > TURN_REPLY_BYTES && 2 * run < worker.shared.config.turn_output());
    while received < 4 * run {
        worker.turn(Some(Duration::from_millis(1))).unwrap();
        most = most.max(worker.outgoing.bytes.len());
        received += client.read(usize::MAX).len();
    }
    assert_eq!(most, run, "one run passes the share; a second may not follow it");
}

/// What a script answers and counts when it is delivered in such pieces.
fn told(script: &[u8], piece: usize) -> (String, [u64; 3], Vec<u64>) {
    let flags = "--threads 1 --max-memory 64mb --max-value-size 1kb --requirepass s";
    let (mut worker, net, _shared) = worker(Faults::NONE, 1, flags);
    let mut client = net.connect(0).unwrap();
    for piece in script.chunks(piece) {
        assert_eq!(client.write(piece).unwrap(), piece.len());
        worker.turn(Some(Duration::from_millis(1))).unwrap();
    }
    (0..20).for_each(|_| worker.turn(Some(Duration::from_millis(1))).unwrap());
    let stats = &worker.rounds.stats;
    let counts = [stats.hits, stats.misses, stats.errors];
    (String::from_utf8(client.read(usize::MAX)).unwrap(), counts, stats.calls.as_slice().to_vec())
}

/// Byte by byte every request takes the long way, in one piece every GET and SET that can takes the short one.
#[test]
fn the_short_way_answers_and_counts_as_the_long_one() {
    let (get, set) = (request(&[b"GET", b"k"]), request(&[b"SET", b"k", b"v"]));
    let script = [
        [&get[..], &set].concat(),
        request(&[b"AUTH", b"s"]),
        [&get[..], &set, &get, &request(&[b"SET", b"", b""]), &request(&[b"get", b""])].concat(),
        [&request(&[b"SELECT", b"3"])[..], &get, &set.repeat(2), &get.repeat(70)].concat(),
        [&request(&[b"CLIENT", b"REPLY", b"SKIP"])[..], &get, &get].concat(),
        [&request(&[b"CLIENT", b"REPLY", b"OFF"])[..], &set, &request(&[b"CLIENT", b"REPLY", b"ON"])]
            .concat(),
        [&request(&[b"SET", b"k", &[b'x'; 1_025]])[..], &get, &request(&[b"HELLO", b"3"])].concat(),
        [&request(&[b"GET", b"none"])[..], &request(&[b"SET", b"k", b"w", b"NX"]), &get, b"GET k\r\n"]
            .concat(),
        [&request(&[b"GET"])[..], &request(&[b"GET", b"a", b"b"]), &get, b"*2\r\n$3\r\nGET\r\n$+1\r\n"]
            .concat(),
    ]
    .concat();
    let (short, long) = (told(&script, script.len()), told(&script, 1));
    assert!(short.0.starts_with("-NOAUTH") && short.0.contains("+OK\r\n$1\r\nv\r\n"), "{}", short.0);
    assert!(short.0.contains("-ERR string exceeds") && short.0.contains("Protocol error"), "{}", short.0);
    assert_eq!(short, long);
}

/// The same for memcached's text.
#[test]
fn the_short_way_of_text_answers_and_counts_as_the_long_one() {
    let (get, set) = (&b"get k\r\n"[..], &b"set k 0 0 1\r\nv\r\n"[..]);
    let script = [
        b"set auth 0 0 9\r\ndefault s\r\n",
        get,
        set,
        &get.repeat(70),
        b"set k 7 60 2\r\nvw\r\nget k\r\nset k 0 0 1 noreply\r\nx\r\nget k k\r\n",
        b"set k 0 -1 1\r\nv\r\n",
        get,
        &set.repeat(3),
        &[b"set k 0 0 1025\r\n", &[b'x'; 1_025][..], b"\r\n"].concat(),
        get,
        b"set k 0 0 1\r\nvw\r\n",
        get,
        b"gets none\r\nget \x01\r\nnone\r\nquit\r\n",
    ]
    .concat();
    let (short, long) = (told(&script, script.len()), told(&script, 1));
    assert!(short.0.starts_with("STORED\r\nEND\r\nSTORED\r\nVALUE k 0 1\r\nv\r\nEND\r\n"), "{}", short.0);
    assert!(short.0.contains("VALUE k 7 2\r\nvw\r\nEND\r\nVALUE k 0 1\r\nx\r\n"), "{}", short.0);
    assert_eq!(short, long);
}

#[test]
fn a_killed_client_that_does_not_read_is_closed() {
    let (mut worker, net, shared) = worker(Faults::NONE, 1, FLAGS);
    let (mut slow, mut killer) = (net.connect(0).unwrap(), net.connect(0).unwrap());
    slow.set_window(200_000);
    let script = [request(&[b"SET", b"k", &vec![b'v'; 12_000_000]]), request(&[b"GET", b"k"])].concat();
    let mut written = 0;
    while written < script.len() {
        written += slow.write(&script[written..]).unwrap();
        worker.turn(Some(Duration::from_millis(1))).unwrap();
    }
    killer.write(b"CLIENT KILL TYPE normal\r\n").unwrap();
    for _ in 0..10 {
        worker.turn(Some(Duration::from_millis(1))).unwrap();
    }
    assert_eq!(killer.read(usize::MAX), b":1\r\n");
    assert_eq!((shared.clients.count(), worker.conns.len()), (1, 1), "only the killer is left");
}

#[test]
fn one_unusual_request_leaves_no_memory_behind() {
    let (mut worker, net, _shared) = worker(Faults::NONE, 1, "--threads 1 --max-memory 64mb");
    let mut client = net.connect(0).unwrap();
    let del = request(&vec![&b"DEL"[..]; 200_000]);
    let (mut written, mut received) = (0, Vec::new());
    while received.is_empty() {
        written += client.write(&del[written..]).unwrap();
        worker.turn(Some(Duration::from_millis(1))).unwrap();
        received.extend(client.read(usize::MAX));
    }
    assert_eq!(received, b":0\r\n");
    assert!(worker.rounds.memory() < 4 << 20, "{} bytes are kept", worker.rounds.memory());
}
