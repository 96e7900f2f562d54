//! A small worker for the cases: it keeps its half of the contract, and asserts that the driver keeps the other.

use crate::ring::{ConnId, Driver, End, Event, Outgoing, Piece, Send};
use bytes::Bytes;
use std::collections::{HashMap, HashSet};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

/// How long a case may take to come to its end, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(40);

/// What a case wants to know of a connection.
#[derive(Default)]
pub struct Peer {
    pub received: Vec<u8>,
    /// To be sent from the arena in the next turn.
    pub outbox: Vec<u8>,
    /// To be sent after `outbox`, as pins.
    pub pins: Vec<Bytes>,
    pub ended: Option<End>,
    /// A `send_owned` is under way.
    pub sending: bool,
    pub sent: Vec<Result<usize, i32>>,
}

/// Serves connections by `on_data`, which is called with the peer after its new bytes were appended to `received`.
pub struct Server<F> {
    pub peers: HashMap<ConnId, Peer>,
    pub closed: HashSet<ConnId>,
    pub accepted: Vec<ConnId>,
    pub woken: usize,
    /// Whether accepted connections start to receive.
    pub start: bool,
    /// Whether a connection is closed when its peer has ended and all is sent.
    pub close_ended: bool,
    closing: HashSet<ConnId>,
    outgoing: Outgoing,
    events: Vec<Event>,
    on_data: F,
}

pub fn echo(peer: &mut Peer) {
    peer.outbox.append(&mut peer.received);
}

pub fn keep(_: &mut Peer) {}

impl<F: FnMut(&mut Peer)> Server<F> {
    pub fn new(on_data: F) -> Self {
        Self {
            peers: HashMap::new(),
            closed: HashSet::new(),
            accepted: Vec::new(),
            woken: 0,
            start: true,
            close_ended: true,
            closing: HashSet::new(),
            outgoing: Outgoing::default(),
            events: Vec::new(),
            on_data,
        }
    }

    /// The only connection.
    pub fn only(&mut self) -> (ConnId, &mut Peer) {
        assert_eq!(self.peers.len(), 1);
        self.peers.iter_mut().map(|(id, peer)| (*id, peer)).next().unwrap()
    }

    pub fn close(&mut self, driver: &mut impl Driver, conn: ConnId, after_sends: bool) {
        self.closing.insert(conn);
        driver.close(conn, after_sends);
    }

    /// One turn: what is in the outboxes goes out, events are taken and judged.
    pub fn turn(&mut self, driver: &mut impl Driver, timeout: Duration) {
        self.fill_outgoing();
        driver.turn(&mut self.outgoing, Some(timeout)).unwrap();
        for unfinished in std::mem::take(&mut self.outgoing.unfinished) {
            let send = self.outgoing.sends[unfinished.send as usize].clone();
            assert!(!self.closing.contains(&send.conn), "closing connections are the driver's to finish");
            let peer = self.peers.get_mut(&send.conn).unwrap();
            match unfinished.result {
                Ok(sent) => {
                    let rest = self.outgoing.rest(&send, sent);
                    assert!(!rest.is_empty(), "an unfinished send that is whole");
                    peer.sending = true;
                    driver.send_owned(send.conn, rest);
                }
                Err(errno) => peer.sent.push(Err(errno)),
            }
        }
        // The kernel must be done with the arena: a late read of it would send this.
        self.outgoing.bytes.fill(0xEE);
        self.outgoing.clear();
        driver.take_events(&mut self.events);
        for event in std::mem::take(&mut self.events) {
            self.judge(driver, event);
        }
        driver.release();
        self.close_the_ended(driver);
    }

    /// Turns until `done`, which looks at this server and may play the clients.
    pub fn until<D: Driver>(&mut self, driver: &mut D, mut done: impl FnMut(&mut Self, &mut D) -> bool) {
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            if done(self, driver) {
                return;
            }
            self.turn(driver, Duration::from_millis(1));
        }
        panic!("the case did not come to its end; stats: {:?}", driver.stats());
    }

    fn fill_outgoing(&mut self) {
        for (&conn, peer) in &mut self.peers {
            if peer.sending || (peer.outbox.is_empty() && peer.pins.is_empty()) {
                continue;
            }
            let first = self.outgoing.pieces.len() as u32;
            if !peer.outbox.is_empty() {
                let start = self.outgoing.bytes.len() as u32;
                self.outgoing.bytes.append(&mut peer.outbox);
                self.outgoing.pieces.push(Piece::Bytes(start..self.outgoing.bytes.len() as u32));
            }
            for pin in peer.pins.drain(..) {
                self.outgoing.pieces.push(Piece::Pin(self.outgoing.pins.len() as u32));
                self.outgoing.pins.push(pin);
            }
            self.outgoing.sends.push(Send { conn, pieces: first..self.outgoing.pieces.len() as u32 });
        }
    }

    fn judge(&mut self, driver: &mut impl Driver, event: Event) {
        match event {
            Event::Accepted { conn, listener } => {
                assert_eq!(listener, super::beds::LISTENER);
                assert!(self.peers.insert(conn, Peer::default()).is_none() && !self.closed.contains(&conn));
                self.accepted.push(conn);
                if self.start {
                    driver.start_recv(conn);
                }
            }
            Event::Received { conn, data } => {
                let peer = self.open_peer(conn);
                assert!(peer.ended.is_none() && data.len > 0);
                peer.received.extend_from_slice(driver.received(data));
                assert_eq!(driver.received(data).len(), data.len as usize);
                let peer = self.peers.get_mut(&conn).unwrap();
                (self.on_data)(peer);
            }
            Event::Ended { conn, end } => {
                let peer = self.open_peer(conn);
                assert!(peer.ended.replace(end).is_none(), "ended twice");
            }
            Event::Sent { conn, result, pieces } => {
                let peer = self.open_peer(conn);
                assert!(std::mem::take(&mut peer.sending), "sent without a send");
                if let Ok(count) = result {
                    assert_eq!(count, pieces.iter().map(Bytes::len).sum::<usize>());
                }
                peer.sent.push(result);
            }
            Event::Closed { conn } => {
                assert!(self.closing.remove(&conn), "closed unasked");
                assert!(self.peers.remove(&conn).is_some() && self.closed.insert(conn));
            }
            Event::Woken => self.woken += 1,
        }
    }

    /// Hands a connected socket to the driver, and serves it as an accepted one.
    pub fn adopt(&mut self, driver: &mut impl Driver, socket: OwnedFd) -> ConnId {
        let conn = driver.adopt(socket).unwrap();
        assert!(self.peers.insert(conn, Peer::default()).is_none());
        driver.start_recv(conn);
        conn
    }

    /// Events may name only connections that are open: accepted, and not asked to close.
    fn open_peer(&mut self, conn: ConnId) -> &mut Peer {
        assert!(!self.closing.contains(&conn), "an event after close");
        self.peers.get_mut(&conn).expect("an event for an unknown connection")
    }

    fn close_the_ended(&mut self, driver: &mut impl Driver) {
        if !self.close_ended {
            return;
        }
        for (&conn, peer) in &self.peers {
            let idle = !peer.sending && peer.outbox.is_empty() && peer.pins.is_empty();
            let failed = peer.sent.iter().any(Result::is_err);
            if (failed || (peer.ended.is_some() && idle)) && self.closing.insert(conn) {
                driver.close(conn, true);
            }
        }
    }
}
