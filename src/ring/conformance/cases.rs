//! The cases that every driver must pass. One thread plays server and clients, so that nothing depends on scheduling.

use super::beds::{Bed, Client};
use super::server::{Peer, Server, echo, keep};
use super::talk::{Talk, pattern, step_all};
use crate::ring::{Driver, DriverOptions, DriverStats, End, Event, Outgoing};
use bytes::Bytes;
use nix::errno::Errno;
use std::time::{Duration, Instant};

pub fn options() -> DriverOptions {
    DriverOptions {
        sq_entries: 64,
        cq_entries: 512,
        recv_buffers: 16,
        recv_buffer_size: 4096,
        busy_poll_us: 0,
    }
}

/// Every byte comes back, in order, however it was cut on its way.
pub fn echoes_split_frames<B: Bed>() {
    B::each(options(), |mut bed| {
        for step in [1, 7, 1000] {
            let mut talk = Talk::echo(bed.connect(), pattern(step, step * 40), step);
            let mut server = Server::new(echo);
            server.until(bed.parts(), |_, _| talk.step());
            drop(talk.check());
            server.until(bed.parts(), |server, _| server.peers.is_empty());
        }
    });
}

/// Many connections with much under way each: nobody gets another's bytes. Mixes pins and arena, more pieces than one
/// message may have.
pub fn pipelines_of_many_connections_stay_apart<B: Bed>() {
    B::each(options(), |mut bed| {
        let mut talks: Vec<_> =
            (0..20).map(|seed| Talk::echo(bed.connect(), pattern(seed, 30_000), 1_500 + seed)).collect();
        let mut server = Server::new(|peer| {
            let bytes = Bytes::from(std::mem::take(&mut peer.received));
            if bytes.len() % 3 == 0 && peer.pins.is_empty() {
                peer.outbox.extend_from_slice(&bytes);
            } else {
                peer.pins.extend((0..bytes.len()).map(|at| bytes.slice(at..at + 1)));
            }
        });
        server.until(bed.parts(), |_, _| step_all(&mut talks));
        talks.into_iter().for_each(|talk| drop(talk.check()));
        server.until(bed.parts(), |server, _| server.peers.is_empty());
    });
}

/// A socket from elsewhere has a slot of its own beside the accepted ones, and receives, sends and closes as they do.
pub fn adopted_sockets_are_served_like_accepted_ones<B: Bed>() {
    B::each(options(), |mut bed| {
        let mut server = Server::new(echo);
        let (mut talks, mut adopted) = (Vec::new(), Vec::new());
        for seed in 0..6 {
            let (socket, client) = bed.pair();
            adopted.push(server.adopt(bed.parts(), socket));
            talks.push(Talk::echo(client, pattern(seed, 20_000), 900));
            talks.push(Talk::echo(bed.connect(), pattern(seed + 100, 20_000), 900));
        }
        server.until(bed.parts(), |_, _| step_all(&mut talks));
        assert!(server.accepted.iter().all(|conn| !adopted.contains(conn)), "one id, two connections");
        talks.into_iter().for_each(|talk| drop(talk.check()));
        server.until(bed.parts(), |server, _| server.peers.is_empty());
        assert!(adopted.iter().all(|conn| server.closed.contains(conn)));
    });
}

/// After the peer's FIN the other direction stays open until `close`.
pub fn half_closed_peer_still_gets_its_reply<B: Bed>() {
    B::each(options(), |mut bed| {
        let mut server = Server::new(keep);
        server.close_ended = false;
        let mut talk = Talk::echo(bed.connect(), b"last words".to_vec(), 4);
        server.until(bed.parts(), |server, _| {
            talk.step();
            talk.written == talk.to_write.len() && !server.peers.is_empty()
        });
        talk.client.half_close();
        server.until(bed.parts(), |server, _| server.only().1.ended.is_some());
        let (conn, peer) = server.only();
        assert_eq!((peer.ended, peer.received.as_slice()), (Some(End::Eof), b"last words".as_slice()));
        peer.outbox.append(&mut peer.received);
        server.until(bed.parts(), |_, _| talk.step());
        let mut client = talk.check();
        assert_eq!(client.end(), None);
        server.close(bed.parts(), conn, false);
        server
            .until(bed.parts(), |server, _| server.closed.contains(&conn) && client.end() == Some(End::Eof));
    });
}

/// A reset ends the connection with its error; closing it still gives one `Closed`.
pub fn reset_is_reported<B: Bed>() {
    B::each(options(), |mut bed| {
        let mut server = Server::new(echo);
        let mut talk = Talk::echo(bed.connect(), b"x".to_vec(), 1);
        server.until(bed.parts(), |_, _| talk.step());
        server.close_ended = false;
        talk.check().reset();
        server.until(bed.parts(), |server, _| server.only().1.ended.is_some());
        let (conn, peer) = server.only();
        assert_eq!(peer.ended, Some(End::Error(Errno::ECONNRESET as i32)));
        // A reply to a dead peer fails, and says so.
        peer.outbox.extend_from_slice(b"nobody reads this");
        server.until(bed.parts(), |server, _| server.only().1.sent.iter().any(Result::is_err));
        server.close(bed.parts(), conn, true);
        server.until(bed.parts(), |server, _| server.closed.contains(&conn));
    });
}

/// Thousands of connections come and go; slots are reused, ids never.
pub fn thousands_of_connections<B: Bed>() {
    B::each(options(), |mut bed| {
        let (waves, wave) = if B::REAL { (40, 100) } else { (4, 50) };
        let mut server = Server::new(echo);
        for _ in 0..waves {
            let mut talks: Vec<_> =
                (0..wave).map(|seed| Talk::echo(bed.connect(), pattern(seed, 100), 100)).collect();
            server.until(bed.parts(), |_, _| step_all(&mut talks));
            talks.into_iter().for_each(|talk| drop(talk.check()));
            server.until(bed.parts(), |server, _| server.peers.is_empty());
        }
        assert_eq!(server.closed.len(), waves * wave);
        assert!(server.accepted.iter().all(|conn| (conn.slot as usize) < wave), "slots are reused");
    });
}

/// Calls with the id of a closed connection do nothing to the one that has its slot now.
pub fn stale_ids_touch_nobody<B: Bed>() {
    B::each(options(), |mut bed| {
        let mut server = Server::new(echo);
        let mut first = bed.connect();
        server.until(bed.parts(), |server, _| !server.peers.is_empty());
        let (old, _) = server.only();
        // Bytes that arrive while it closes must not reach the next owner of the slot.
        first.write(&pattern(1, 3000));
        server.close(bed.parts(), old, false);
        let mut talk = Talk::echo(bed.connect(), pattern(2, 500), 100);
        server.until(bed.parts(), |server, _| server.closed.contains(&old) && server.accepted.len() == 2);
        let (new, _) = server.only();
        let driver = bed.parts();
        driver.pause_recv(old);
        driver.close(old, false);
        driver.send_owned(old, vec![Bytes::from_static(b"intruder")]);
        assert!(driver.addresses(old).is_err());
        server.until(bed.parts(), |_, _| talk.step());
        drop(talk.check());
        server.until(bed.parts(), |server, _| server.closed.contains(&new));
        let mut talk = Talk::echo(bed.connect(), pattern(4, 50), 100);
        server.until(bed.parts(), |_, _| talk.step());
        let (third, _) = server.only();
        assert_eq!(third.slot, new.slot, "the case wants a reused slot");
        assert_ne!(third.generation, new.generation);
    });
}

/// A paused connection delivers nothing once things have settled, and everything after it is started again.
pub fn pause_holds_bytes_back<B: Bed>() {
    B::each(options(), |mut bed| {
        let mut server = Server::new(keep);
        let mut talk = Talk::echo(bed.connect(), pattern(5, 9_000), 900);
        server.until(bed.parts(), |server, _| !server.peers.is_empty());
        let (conn, _) = server.only();
        bed.parts().pause_recv(conn);
        bed.parts().pause_recv(conn);
        // What was under way may still come; after some turns nothing does.
        (0..3).for_each(|_| server.turn(bed.parts(), Duration::from_millis(1)));
        while talk.written < talk.to_write.len() {
            talk.step();
        }
        let before = server.only().1.received.len();
        (0..5).for_each(|_| server.turn(bed.parts(), Duration::from_millis(2)));
        assert_eq!(server.only().1.received.len(), before);
        // Every flip within a turn, and across turns.
        for _ in 0..5 {
            bed.parts().start_recv(conn);
            bed.parts().pause_recv(conn);
            bed.parts().start_recv(conn);
            bed.parts().start_recv(conn);
            server.turn(bed.parts(), Duration::ZERO);
            bed.parts().pause_recv(conn);
            server.turn(bed.parts(), Duration::ZERO);
            bed.parts().start_recv(conn);
        }
        server.until(bed.parts(), |server, _| server.only().1.received.len() == 9_000);
        assert_eq!(server.only().1.received, pattern(5, 9_000));
    });
}

/// More connections with bytes than buffers: all are served, and nobody spins.
pub fn few_buffers_serve_everyone<B: Bed>() {
    let tiny = DriverOptions { recv_buffers: 2, recv_buffer_size: 512, ..options() };
    B::each(tiny, |mut bed| {
        let mut talks: Vec<_> =
            (0..40).map(|seed| Talk::echo(bed.connect(), pattern(seed, 20_000), 5_000)).collect();
        let mut server = Server::new(echo);
        server.until(bed.parts(), |_, _| step_all(&mut talks));
        talks.into_iter().for_each(|talk| drop(talk.check()));
        let stats = bed.parts().stats();
        assert!(stats.buffers_exhausted > 0, "the case must run out of buffers");
        server.until(bed.parts(), |server, _| server.peers.is_empty());
        // Each exhaustion is followed by a wait for buffers, not by a blind attempt.
        assert!(stats.buffers_exhausted < 50_000, "{stats:?}");
    });
}

/// A wait ends at its timeout, not before and not much later; a zero timeout does not block.
pub fn timeouts_are_kept<B: Bed>() {
    B::each(options(), |mut bed| {
        let mut out = Outgoing::default();
        let driver = bed.parts();
        driver.turn(&mut out, Some(Duration::ZERO)).unwrap();
        let start = Instant::now();
        driver.turn(&mut out, Some(Duration::ZERO)).unwrap();
        assert!(start.elapsed() < Duration::from_millis(500));
        let start = Instant::now();
        driver.turn(&mut out, Some(Duration::from_millis(30))).unwrap();
        let waited = start.elapsed();
        assert!(waited < Duration::from_secs(5));
        assert!(!B::REAL || waited >= Duration::from_millis(29), "{waited:?}");
        let mut events = Vec::new();
        driver.take_events(&mut events);
        assert!(events.is_empty());
    });
}

/// Another thread ends a wait; wakes before the worker has looked are one.
pub fn waker_ends_a_wait<B: Bed>() {
    B::each(options(), |mut bed| {
        let waker = bed.parts().waker();
        let mut server = Server::new(keep);
        for _ in 0..50 {
            let before = server.woken;
            let waker = waker.clone();
            let thread = std::thread::spawn(move || (0..1000).for_each(|_| waker.wake()));
            let start = Instant::now();
            while server.woken == before {
                server.turn(bed.parts(), Duration::from_secs(20));
            }
            assert!(start.elapsed() < Duration::from_secs(10), "woken by the timeout");
            thread.join().unwrap();
            // The last wake is never lost, and then there is silence.
            waker_is_silent_after(&mut server, &mut bed);
        }
        let syscalls = bed.parts().stats().syscalls;
        assert!(!B::REAL || syscalls < 50 * 1000, "repeated wakes must be cheap: {syscalls}");
    });
}

fn waker_is_silent_after<B: Bed, F: FnMut(&mut Peer)>(server: &mut Server<F>, bed: &mut B) {
    for _ in 0..20 {
        let before = server.woken;
        server.turn(bed.parts(), Duration::ZERO);
        server.turn(bed.parts(), Duration::ZERO);
        if server.woken == before {
            return;
        }
    }
    panic!("woken again and again");
}

/// After `stop_listening` nobody new is served, and the connected are.
pub fn stop_listening_keeps_the_connected<B: Bed>(refused: impl Fn(&mut B) -> bool) {
    B::each(options(), |mut bed| {
        let mut server = Server::new(echo);
        let mut talk = Talk::echo(bed.connect(), pattern(1, 10_000), 100);
        server.until(bed.parts(), |_, _| {
            talk.step();
            talk.read.len() > 1_000
        });
        bed.parts().stop_listening();
        (0..3).for_each(|_| server.turn(bed.parts(), Duration::from_millis(1)));
        assert!(refused(&mut bed), "still listening");
        server.until(bed.parts(), |_, _| talk.step());
        drop(talk.check());
        server.until(bed.parts(), |server, _| server.peers.is_empty());
    });
}

/// The counters that the worker shows mean what they say.
pub fn stats_count_bytes<B: Bed>() {
    B::each(options(), |mut bed| {
        let mut talk = Talk::echo(bed.connect(), pattern(1, 5_000), 500);
        let mut server = Server::new(echo);
        server.until(bed.parts(), |_, _| talk.step());
        talk.check();
        let DriverStats { bytes_received, bytes_sent, syscalls, submissions, completions, .. } =
            bed.parts().stats();
        assert_eq!((bytes_received, bytes_sent), (5_000, 5_000));
        assert!(syscalls > 0 && submissions > 0 && completions > 0);
        let mut events = vec![Event::Woken];
        bed.parts().take_events(&mut events);
        assert!(events.is_empty(), "take_events replaces what it is given");
    });
}
