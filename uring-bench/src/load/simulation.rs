//! The client's loop over a simulated network, in many seeds: sends that go out in parts, replies cut anywhere, connections
//! that break. Whatever happens, each request is answered once or lost with its connection, and no answer goes to another.

use super::board::Board;
use super::client::{Client, Job, Report, Work};
use super::pace::Pace;
use super::requests::Requests;
use super::{Spec, new_histogram};
use crate::proto::Resp;
use crate::workload::{Mix, Names, Picker, Ratio, Sizes, Values};
use bumpalo::Bump;
use bytes::Bytes;
use kv_server::proto::{ParseLimits, Parsed, resp};
use kv_server::ring::sim::{Faults, Sim, SimClient, SimNet};
use kv_server::ring::{ConnId, Driver, DriverOptions, DriverStats, Event, Outgoing, RecvRef, Waker};
use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A store behind simulated connections, as simple as can be.
#[derive(Default)]
struct Model {
    peers: Vec<Peer>,
    items: HashMap<Vec<u8>, Vec<u8>>,
}

struct Peer {
    end: SimClient,
    received: Vec<u8>,
    replies: Vec<u8>,
}

impl Model {
    fn step(&mut self) {
        for Peer { end, received, replies } in &mut self.peers {
            received.extend(end.read(1000));
            while let Some(length) = answer(received, &mut self.items, replies) {
                received.drain(..length);
            }
            // A connection that is gone takes nothing any more.
            let taken = end.write(replies).unwrap_or(0);
            replies.drain(..taken);
        }
        self.peers.retain_mut(|peer| peer.end.end().is_none());
    }
}

/// Answers the request at the start of `bytes`, read by the server's own parser; returns its length.
fn answer(bytes: &[u8], items: &mut HashMap<Vec<u8>, Vec<u8>>, replies: &mut Vec<u8>) -> Option<usize> {
    let limits = ParseLimits {
        max_bulk: 1 << 20,
        max_request: 1 << 20,
        max_args: 10,
        max_inline: 1000,
        authenticated: true,
    };
    let (bump, mut words) = (Bump::new(), Vec::new());
    match resp::parse(bytes, &limits, &mut Default::default(), &bump, &mut words) {
        Parsed::Request { consumed } => {
            match (words[0], items.get(words[1])) {
                (b"SET", _) => {
                    items.insert(words[1].to_vec(), words[2].to_vec());
                    replies.extend_from_slice(b"+OK\r\n");
                }
                (_, Some(value)) => {
                    replies.extend_from_slice(format!("${}\r\n", value.len()).as_bytes());
                    replies.extend_from_slice(value);
                    replies.extend_from_slice(b"\r\n");
                }
                (_, None) => replies.extend_from_slice(b"$-1\r\n"),
            }
            Some(consumed)
        }
        Parsed::Incomplete { .. } => None,
        other => panic!("a request of ours is {other:?}"),
    }
}

/// The simulated driver, with the model on the other side of its network.
struct Served {
    sim: Sim,
    model: Rc<RefCell<Model>>,
}

impl Driver for Served {
    fn name(&self) -> &'static str {
        self.sim.name()
    }
    fn listen(&mut self, socket: OwnedFd, listener: u8) -> io::Result<()> {
        self.sim.listen(socket, listener)
    }
    fn adopt(&mut self, socket: OwnedFd) -> io::Result<ConnId> {
        self.sim.adopt(socket)
    }
    fn stop_listening(&mut self) {
        self.sim.stop_listening();
    }
    fn turn(&mut self, outgoing: &mut Outgoing, timeout: Option<Duration>) -> io::Result<()> {
        self.model.borrow_mut().step();
        self.sim.turn(outgoing, timeout)
    }
    fn take_events(&mut self, into: &mut Vec<Event>) {
        self.sim.take_events(into);
    }
    fn received(&self, data: RecvRef) -> &[u8] {
        self.sim.received(data)
    }
    fn release(&mut self) {
        self.sim.release();
    }
    fn start_recv(&mut self, conn: ConnId) {
        self.sim.start_recv(conn);
    }
    fn pause_recv(&mut self, conn: ConnId) {
        self.sim.pause_recv(conn);
    }
    fn send_owned(&mut self, conn: ConnId, pieces: Vec<Bytes>) {
        self.sim.send_owned(conn, pieces);
    }
    fn close(&mut self, conn: ConnId, after_sends: bool) {
        self.sim.close(conn, after_sends);
    }
    fn addresses(&self, conn: ConnId) -> io::Result<(SocketAddr, SocketAddr)> {
        self.sim.addresses(conn)
    }
    fn waker(&self) -> Arc<dyn Waker> {
        self.sim.waker()
    }
    fn stats(&self) -> DriverStats {
        self.sim.stats()
    }
}

fn client(faults: Faults, seed: u64, verify: bool, board: &Arc<Board>) -> Client<Served, Resp> {
    let spec = Spec {
        keys: 50,
        value_size: Sizes::Range(0, 3000),
        ratio: Ratio { gets: 2, sets: 1 },
        verify,
        ..Spec::default()
    };
    let options = DriverOptions { recv_buffers: 4, recv_buffer_size: 700, ..DriverOptions::default() };
    let (sim, net) = Sim::new(&options, faults, seed);
    let model = Rc::new(RefCell::new(Model::default()));
    let names = Names::new(spec.keys, 16).unwrap();
    let values = Values::new(spec.value_size.max(), names);
    let requests = Requests::new(Resp::new(names, None), values, verify, seed);
    let mix = Mix::new(spec.keys, &spec.dist, spec.ratio, &spec.value_size);
    let connector = connector(net, Rc::clone(&model));
    let (driver, picker) = (Served { sim, model }, Picker::new(mix, seed));
    Client::connect(driver, requests, picker, Arc::new(spec), connector, Arc::clone(board), 5).unwrap()
}

fn connector(net: SimNet, model: Rc<RefCell<Model>>) -> super::client::Connector {
    Box::new(move |_| {
        let (socket, end) = net.pair()?;
        model.borrow_mut().peers.push(Peer { end, received: Vec::new(), replies: Vec::new() });
        Ok(socket)
    })
}

/// Two slices of 400 requests; returns their reports.
fn play(faults: &Faults, seed: u64, verify: bool, rate: Option<f64>) -> Vec<Report> {
    let board = Arc::new(Board::new());
    let mut client = client(faults.clone(), seed, verify, &board);
    let slice = |_| {
        let report = client.play(Job {
            work: Work::Mix,
            start: Instant::now(),
            length: None,
            budget: 400,
            pipeline: 6,
            pace: rate.map(|rate| Pace::new(rate, 0, 1)),
        });
        let report = report.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        let mut latencies = new_histogram();
        board.take(&mut latencies);
        assert_eq!(latencies.len(), report.answers.requests, "seed {seed}: a latency for each answer");
        report
    };
    (0..2).map(slice).collect()
}

fn check(faults: &Faults, seeds: std::ops::Range<u64>) {
    let mut lost = 0;
    for seed in seeds {
        for (verify, rate) in [(false, None), (true, None), (false, Some(1e6)), (true, Some(1e6))] {
            for Report { answers, .. } in play(faults, seed, verify, rate) {
                let context = format!("seed {seed}, verify {verify}, rate {rate:?}: {answers:?}");
                assert_eq!(answers.requests + answers.errors, 400, "{context}");
                assert_eq!(answers.stored + answers.hits + answers.misses, answers.requests, "{context}");
                assert_eq!(answers.wrong, 0, "{context}");
                lost += answers.errors;
            }
        }
    }
    assert_eq!(lost > 0, faults.reset > 0, "connections break where they should, and only there");
}

#[test]
fn a_good_network_answers_everything() {
    check(&Faults::NONE, 0..3);
}

#[test]
fn a_rough_network_answers_everything() {
    check(&Faults::ROUGH, 0..30);
}

#[test]
fn a_hostile_network_answers_or_loses_each_request() {
    check(&Faults::HOSTILE, 0..30);
}
