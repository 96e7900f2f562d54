//! What only the simulation can show: the same seed gives the same history, and connections that break at any point.

use super::beds::{Announce, LISTENER};
use super::cases::options;
use super::server::{Server, echo};
use super::talk::pattern;
use crate::ring::sim::{Faults, Sim, SimClient, SimNet};
use crate::ring::{ConnId, Driver, Event, Outgoing};
use std::time::Duration;

fn listening(faults: Faults, seed: u64) -> (Sim, SimNet) {
    let (mut sim, net) = Sim::new(&options(), faults, seed);
    sim.listen(net.listening_socket().unwrap(), LISTENER).unwrap();
    (sim, net)
}

/// One event, as far as two runs can be compared.
fn describe(sim: &Sim, event: &Event) -> String {
    match event {
        Event::Received { conn, data } => format!("received {conn:?} {:?}", sim.received(*data)),
        other => format!("{other:?}"),
    }
}

fn history(seed: u64) -> Vec<String> {
    let (mut sim, net) = listening(Faults::HOSTILE, seed);
    let mut clients: Vec<SimClient> = (0..10).map(|_| net.connect(LISTENER).unwrap()).collect();
    let mut outgoing = Outgoing::default();
    let (mut events, mut history) = (Vec::new(), Vec::new());
    for round in 0..200 {
        if let Some(client) = clients.get_mut(round % 10) {
            let _ = client.write(&pattern(round, 100));
        }
        sim.turn(&mut outgoing, Some(Duration::from_millis(1))).unwrap();
        sim.take_events(&mut events);
        for event in &events {
            history.push(format!("{:?} {}", net.now(), describe(&sim, event)));
        }
        for event in events.drain(..) {
            match event {
                Event::Accepted { conn, .. } => sim.start_recv(conn),
                Event::Ended { conn, .. } => sim.close(conn, false),
                _ => {}
            }
        }
    }
    history
}

#[test]
fn the_same_seed_gives_the_same_history() {
    let first = history(1);
    assert!(first.len() > 50);
    assert_eq!(first, history(1));
    assert_ne!(first, history(2));
}

/// Connections are cut at any operation: the contract holds (the server asserts it), and every slot comes free.
#[test]
fn broken_connections_leave_nothing_behind() {
    for seed in 0..200 {
        let announce = Announce(seed);
        let (mut sim, net) = listening(Faults::HOSTILE, seed);
        let mut clients: Vec<_> = (0..30).map(|_| net.connect(LISTENER).unwrap()).collect();
        let mut server = Server::new(echo);
        for round in 0..60 {
            for client in &mut clients {
                let _ = client.write(&pattern(round, 700)); // Fails where the connection has broken.
                client.read(500);
            }
            server.turn(&mut sim, Duration::from_millis(1));
        }
        drop(clients);
        server.until(&mut sim, |server, _| server.accepted.len() == server.closed.len());
        let open: Vec<ConnId> = server.peers.keys().copied().collect();
        assert_eq!(open, []);
        drop(announce);
    }
}

#[test]
fn virtual_time_passes_only_in_waits() {
    let (mut sim, net) = listening(Faults::NONE, 0);
    let mut outgoing = Outgoing::default();
    sim.turn(&mut outgoing, Some(Duration::from_secs(3600))).unwrap();
    assert_eq!(net.now(), Duration::from_secs(3600));
    sim.turn(&mut outgoing, None).unwrap();
    sim.turn(&mut outgoing, Some(Duration::ZERO)).unwrap();
    assert_eq!(net.now(), Duration::from_secs(3600));
    net.advance(Duration::from_secs(1));
    let _client = net.connect(LISTENER).unwrap();
    sim.turn(&mut outgoing, Some(Duration::from_secs(10))).unwrap();
    assert_eq!(net.now(), Duration::from_secs(3601), "an event ends the wait");
}
