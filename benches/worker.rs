//! All that a worker does for a request except the kernel's part: parse, plan, execute, answer.
//!
//!     cargo bench --bench worker               all
//!     cargo bench --bench worker -- get/64     what matches
//!
//! A driver without a kernel lends prepared pipelines of 50 connections and forgets the replies. So the figures are user time
//! of `Worker::turn`, and under callgrind exact counts.

mod support;

use bytes::Bytes;
use kv_server::config::Config;
use kv_server::proto::{ParseLimits, Parsed, json, resp};
use kv_server::ring::{ConnId, Driver, DriverStats, Event, Outgoing, RecvRef, Waker};
use kv_server::server::Shared;
use kv_server::store::Eviction;
use kv_server::sys::machine::Machine;
use kv_server::worker::{Clock, Worker};
use std::hint::black_box;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;
use support::{Random, VALUE, Work, fill, store};

const CONNECTIONS: u32 = 50;
/// Distinct requests, about.
const REQUESTS: usize = 200_000;

fn main() {
    let mut works = Vec::new();
    for (label, keys) in [("100k", 100_000), ("4M", 4_000_000)] {
        for pipeline in [1, 16, 64, 256] {
            works.push(work(&format!("get/{pipeline}/{label}"), keys, pipeline, get));
            works.push(work(&format!("set/{pipeline}/{label}"), keys, pipeline, set));
        }
    }
    for pipeline in [1, 16, 64] {
        works.push(work(&format!("get-text/{pipeline}/100k"), 100_000, pipeline, get_text));
        works.push(work(&format!("set-text/{pipeline}/100k"), 100_000, pipeline, set_text));
    }
    works.push(work("get-json/64/100k", 100_000, 64, get_json));
    works.push(parsing("parse/get", get, resp));
    works.push(parsing("parse/set", set, resp));
    works.push(parsing("parse/inline", |key| format!("get key:{key:012}\r\n"), resp));
    works.push(parsing("parse/get-json", get_json, json));
    support::run(works);
}

fn get(key: u64) -> String {
    format!("*2\r\n$3\r\nGET\r\n$16\r\nkey:{key:012}\r\n")
}

fn set(key: u64) -> String {
    format!("*3\r\n$3\r\nSET\r\n$16\r\nkey:{key:012}\r\n${VALUE}\r\n{}\r\n", "v".repeat(VALUE))
}

/// memcached's text protocol.
fn get_text(key: u64) -> String {
    format!("get key:{key:012}\r\n")
}

fn set_text(key: u64) -> String {
    format!("set key:{key:012} 0 0 {VALUE}\r\n{}\r\n", "v".repeat(VALUE))
}

fn get_json(key: u64) -> String {
    format!("{{\"key\":\"key:{key:012}\"}}")
}

/// One call is a turn in which every connection has sent a pipeline.
fn work(label: &str, keys: u64, pipeline: usize, request: fn(u64) -> String) -> Work {
    let prepare = move || -> Box<dyn FnMut()> {
        let mut random = Random(1);
        let lots = (REQUESTS / pipeline).max(1);
        let mut lot = || (0..pipeline).map(|_| request(random.below(keys))).collect::<String>().into_bytes();
        let driver = Prepared::new((0..lots).map(|_| lot()).collect());
        let store = store(4 << 30, 4, Eviction::Lru);
        fill(&store, keys);
        let flags = ["kv-server", "--threads", "1", "--max-memory", "4gb"].map(Into::into);
        let machine = Machine::probe().expect("the facts of this machine");
        let config = Config::parse(flags, &machine).expect("flags that hold");
        let shared = Arc::new(Shared::new(Arc::new(config), store, Vec::new(), Vec::new(), [1, 2, 3]));
        let mut worker = Worker::new(driver, Still, 0, shared);
        Box::new(move || worker.turn(None).expect("a driver that cannot fail"))
    };
    Work {
        name: label.into(),
        operations: pipeline as u64 * u64::from(CONNECTIONS),
        prepare: Box::new(prepare),
    }
}

type Parse = for<'a> fn(&'a [u8], &ParseLimits, &'a bumpalo::Bump, &mut Vec<&'a [u8]>) -> Parsed;

fn resp<'a>(
    bytes: &'a [u8],
    limits: &ParseLimits,
    bump: &'a bumpalo::Bump,
    args: &mut Vec<&'a [u8]>,
) -> Parsed {
    resp::parse(bytes, limits, &mut resp::Resume::default(), bump, args)
}

fn json<'a>(
    bytes: &'a [u8],
    limits: &ParseLimits,
    bump: &'a bumpalo::Bump,
    args: &mut Vec<&'a [u8]>,
) -> Parsed {
    json::parse(bytes, limits, &mut json::Resume::default(), bump, args)
}

/// Parsing alone, the long way that every request can go; one call is a pipeline of 64.
fn parsing(label: &str, request: fn(u64) -> String, parse: Parse) -> Work {
    const LIMITS: ParseLimits = ParseLimits {
        max_bulk: 512 << 20,
        max_request: 1 << 30,
        max_args: 1 << 20,
        max_inline: 64 << 10,
        authenticated: true,
    };
    let prepare = move || -> Box<dyn FnMut()> {
        let pipeline: String = (0..64).map(request).collect();
        let mut bump = bumpalo::Bump::new();
        Box::new(move || {
            let mut args = Vec::with_capacity(4);
            let mut rest = black_box(pipeline.as_bytes());
            while let Parsed::Request { consumed } = parse(rest, &LIMITS, &bump, &mut args) {
                black_box(&args);
                rest = &rest[consumed..];
            }
            assert!(rest.is_empty());
            drop(args);
            bump.reset();
        })
    };
    Work { name: label.into(), operations: 64, prepare: Box::new(prepare) }
}

/// Time does not pass.
struct Still;

impl Clock for Still {
    fn now_ms(&self) -> u64 {
        1 << 40
    }

    fn ticks_ns(&self) -> u64 {
        0
    }
}

/// Delivers one lot of bytes on every connection and turn.
struct Prepared {
    lots: Vec<Vec<u8>>,
    next: usize,
    /// The lots of this turn, as a kernel would have copied them into its receive buffers.
    buffers: Vec<Vec<u8>>,
    events: Vec<Event>,
    accepted: bool,
}

impl Prepared {
    fn new(lots: Vec<Vec<u8>>) -> Prepared {
        let buffers = (0..CONNECTIONS).map(|_| Vec::new()).collect();
        Prepared { lots, next: 0, buffers, events: Vec::new(), accepted: false }
    }
}

impl Driver for Prepared {
    fn name(&self) -> &'static str {
        "prepared"
    }

    fn turn(&mut self, _: &mut Outgoing, _: Option<Duration>) -> io::Result<()> {
        for slot in 0..CONNECTIONS {
            let conn = ConnId { slot, generation: 1 };
            if !self.accepted {
                self.events.push(Event::Accepted { conn, listener: 0 });
            }
            let lot = &self.lots[self.next];
            self.next = (self.next + 1) % self.lots.len();
            let buffer = &mut self.buffers[slot as usize];
            buffer.clear();
            buffer.extend_from_slice(lot);
            let len = u32::try_from(lot.len()).expect("a short lot");
            self.events.push(Event::Received { conn, data: RecvRef { buffer: slot, offset: 0, len } });
        }
        self.accepted = true;
        Ok(())
    }

    fn take_events(&mut self, into: &mut Vec<Event>) {
        std::mem::swap(&mut self.events, into);
    }

    fn received(&self, data: RecvRef) -> &[u8] {
        &self.buffers[data.buffer as usize]
    }

    fn addresses(&self, _: ConnId) -> io::Result<(SocketAddr, SocketAddr)> {
        let address = SocketAddr::from(([127, 0, 0, 1], 7171));
        Ok((address, address))
    }

    fn waker(&self) -> Arc<dyn Waker> {
        unreachable!("nobody wakes a bench")
    }

    fn stats(&self) -> DriverStats {
        DriverStats::default()
    }

    // Nothing of this has to be done without a kernel.
    fn listen(&mut self, _: OwnedFd, _: u8) -> io::Result<()> {
        Ok(())
    }
    fn adopt(&mut self, _socket: OwnedFd) -> io::Result<ConnId> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn stop_listening(&mut self) {}
    fn release(&mut self) {}
    fn start_recv(&mut self, _: ConnId) {}
    fn pause_recv(&mut self, _: ConnId) {}
    fn send_owned(&mut self, _: ConnId, _: Vec<Bytes>) {}
    fn close(&mut self, _: ConnId, _: bool) {}
}
