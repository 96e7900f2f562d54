//! The cases about sending: full sockets, pieces, closes behind a reply, memory that must outlive the kernel's use of it.

use super::beds::{Bed, Client};
use super::cases::options;
use super::server::{Server, keep};
use super::talk::{Talk, pattern};
use crate::ring::{ConnId, Driver, End};
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// A slow reader gets every byte of a reply far larger than the socket's buffers, and nothing that the arena held later.
pub fn slow_reader_gets_every_byte<B: Bed>() {
    for pinned in [false, true] {
        B::each(options(), |mut bed| {
            let size = if B::REAL { 16 << 20 } else { 300_000 };
            let mut client = bed.connect();
            client.read_slowly();
            let mut talk = Talk::echo(client, vec![b'?'], 64 << 10);
            talk.expect = pattern(9, size);
            let reply = Bytes::from(talk.expect.clone());
            let mut server = Server::new(move |peer| match pinned {
                true => peer.pins.extend([reply.slice(..5), reply.slice(5..5), reply.slice(5..)]),
                false => peer.outbox.extend_from_slice(&reply),
            });
            server.until(bed.parts(), |_, _| talk.step());
            let client = talk.check();
            assert!(bed.parts().stats().short_sends > 0, "the case must meet a full socket");
            assert_eq!(bed.parts().stats().bytes_sent, size as u64);
            server.until(bed.parts(), |server, _| matches!(server.only().1.sent[..], [Ok(_)]));
            drop(client);
            server.until(bed.parts(), |server, _| server.peers.is_empty());
        });
    }
}

/// The last reply and the close of one turn: all bytes, then the end, also when the reader is slow.
pub fn close_after_sends_delivers_the_last_bytes<B: Bed>() {
    for size in [5, 20_000, 16 << 20] {
        B::each(options(), |mut bed| {
            let size = if B::REAL { size } else { size.min(200_000) };
            let mut server = Server::new(keep);
            let mut client = bed.connect();
            client.read_slowly();
            client.write(b"QUIT");
            server.until(bed.parts(), |server, _| {
                server.peers.values().next().is_some_and(|peer| peer.received == b"QUIT")
            });
            let (conn, peer) = server.only();
            peer.outbox = pattern(3, size);
            server.close(bed.parts(), conn, true);
            let mut got = Vec::new();
            server.until(bed.parts(), |_, _| {
                got.extend(client.read(1 << 20));
                got.len() >= size && client.end().is_some()
            });
            assert_eq!(client.end(), Some(End::Eof));
            assert!(got == pattern(3, size), "{} of {size} bytes, or wrong ones", got.len());
            server.until(bed.parts(), |server, _| server.closed.contains(&conn));
        });
    }
}

/// As above with more pieces than one message takes, and with nothing to send at all.
pub fn close_after_sends_of_many_pieces_or_none<B: Bed>() {
    for count in [0, 3_000] {
        B::each(options(), |mut bed| {
            let mut server = Server::new(keep);
            let mut client = bed.connect();
            server.until(bed.parts(), |server, _| !server.peers.is_empty());
            let (conn, peer) = server.only();
            let reply = Bytes::from(pattern(8, count * 3));
            peer.pins.extend((0..count).map(|at| reply.slice(at * 3..at * 3 + 3)));
            server.close(bed.parts(), conn, true);
            let mut got = Vec::new();
            server.until(bed.parts(), |_, _| {
                got.extend(client.read(1 << 20));
                client.end().is_some()
            });
            assert_eq!(client.end(), Some(End::Eof));
            assert!(got == reply, "{} of {} bytes, or wrong ones", got.len(), reply.len());
            server.until(bed.parts(), |server, _| server.closed.contains(&conn));
        });
    }
}

/// `close` at once does not wait for a reader that never reads; the pieces are given up, and no `Sent` follows.
pub fn close_now_cancels_a_send<B: Bed>() {
    for patient_first in [false, true] {
        B::each(options(), |mut bed| {
            let freed = Arc::new(AtomicBool::new(false));
            let mut client = bed.connect();
            client.read_slowly();
            let mut server = Server::new(keep);
            server.until(bed.parts(), |server, _| !server.peers.is_empty());
            let (conn, peer) = server.only();
            peer.sending = true;
            bed.parts().send_owned(conn, vec![Bytes::from_owner(Watched(vec![7; 32 << 20], freed.clone()))]);
            (0..3).for_each(|_| server.turn(bed.parts(), Duration::from_millis(1)));
            if patient_first {
                server.close(bed.parts(), conn, true);
                (0..3).for_each(|_| server.turn(bed.parts(), Duration::from_millis(1)));
                assert!(server.closed.is_empty(), "closed before its send was over");
            }
            server.close(bed.parts(), conn, false);
            server.until(bed.parts(), |server, _| server.closed.contains(&conn));
            assert!(freed.load(Ordering::Relaxed), "the pieces are still held");
        });
    }
}

/// Memory that tells when it is freed.
struct Watched(Vec<u8>, Arc<AtomicBool>);

impl AsRef<[u8]> for Watched {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.0.fill(0xDD);
        self.1.store(true, Ordering::Relaxed);
    }
}

/// Dropping a driver with everything under way: it ends, and frees what it owned only then.
pub fn drop_with_sends_in_flight<B: Bed>() {
    B::each(options(), |mut bed| {
        let freed = Arc::new(AtomicBool::new(false));
        let mut clients: Vec<_> = (0..10).map(|_| bed.connect()).collect();
        let mut server = Server::new(keep);
        server.until(bed.parts(), |server, _| server.peers.len() == 10);
        let conns: Vec<ConnId> = server.accepted.clone();
        for &conn in &conns[..5] {
            server.peers.get_mut(&conn).unwrap().sending = true;
            let owner = Watched(vec![7; 32 << 20], freed.clone());
            bed.parts().send_owned(conn, vec![Bytes::from_owner(owner)]);
        }
        (0..3).for_each(|_| server.turn(bed.parts(), Duration::from_millis(1)));
        assert!(!freed.load(Ordering::Relaxed));
        clients.iter_mut().for_each(|client| {
            client.write(b"more");
        });
        drop(bed);
        assert!(freed.load(Ordering::Relaxed), "leaked");
    });
}

/// A send of nothing is answered, and pieces come back as they went.
pub fn owned_sends_answer_once<B: Bed>() {
    B::each(options(), |mut bed| {
        let mut talk = Talk::echo(bed.connect(), Vec::new(), 4096);
        let mut server = Server::new(keep);
        server.until(bed.parts(), |server, _| !server.peers.is_empty());
        let (conn, peer) = server.only();
        peer.sending = true;
        bed.parts().send_owned(conn, Vec::new());
        server.until(bed.parts(), |server, _| server.only().1.sent == [Ok(0)]);
        // More pieces than one message takes.
        let pieces: Vec<_> = (0..3_000).map(|at| Bytes::from(vec![at as u8; at % 5])).collect();
        talk.expect = pieces.concat();
        server.only().1.sending = true;
        bed.parts().send_owned(conn, pieces);
        server.until(bed.parts(), |server, _| talk.step() && server.only().1.sent.len() == 2);
        talk.check();
    });
}
