//! One listening socket and several drivers, as when a service manager has passed it: each gets its share of the connections, and who has
//! stopped listening is left alone, although the socket lives on.

use super::beds::{LISTENER, uring};
use super::cases::options;
use crate::ring::epoll::Epoll;
use crate::ring::{Driver, Event, Outgoing};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

const CONNECTIONS: usize = 32;

/// One turn, and how many connections it accepted.
fn accepted(driver: &mut impl Driver, wait: Duration) -> usize {
    let mut events = Vec::new();
    driver.turn(&mut Outgoing::default(), Some(wait)).unwrap();
    driver.take_events(&mut events);
    events.iter().filter(|event| matches!(event, Event::Accepted { listener: LISTENER, .. })).count()
}

fn another(listener: &TcpListener) -> OwnedFd {
    listener.try_clone().unwrap().into()
}

/// Connections that come one by one wake those who wait in turn.
fn all_get_their_share<D: Driver>(make: impl Fn() -> D + Sync) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let shares = [AtomicUsize::new(0), AtomicUsize::new(0)];
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for share in &shares {
            scope.spawn(|| {
                let mut driver = make();
                driver.listen_with_others(another(&listener), LISTENER).unwrap();
                while !done.load(SeqCst) {
                    share.fetch_add(accepted(&mut driver, Duration::from_millis(20)), SeqCst);
                }
            });
        }
        let patience = Instant::now() + Duration::from_secs(20);
        let mut clients = Vec::new();
        for n in 1..=CONNECTIONS {
            // Both wait again by now.
            std::thread::sleep(Duration::from_millis(3));
            clients.push(TcpStream::connect(address).unwrap());
            while shares.iter().map(|share| share.load(SeqCst)).sum::<usize>() < n
                && Instant::now() < patience
            {
                std::thread::yield_now();
            }
        }
        done.store(true, SeqCst);
    });
    let shares = shares.map(AtomicUsize::into_inner);
    assert_eq!(shares[0] + shares[1], CONNECTIONS);
    // Half each, if nothing else runs here; who was there first would have all of them without taking turns.
    assert!(shares.iter().all(|share| *share > 0), "{shares:?}");
}

fn who_stops_is_left_alone([mut first, mut second]: [impl Driver; 2]) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    for driver in [&mut first, &mut second] {
        driver.listen_with_others(another(&listener), LISTENER).unwrap();
        accepted(driver, Duration::ZERO);
    }
    first.stop_listening();
    accepted(&mut first, Duration::from_millis(1));
    let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let asked = Instant::now();
    assert_eq!(accepted(&mut first, Duration::from_millis(50)), 0, "it listens no more");
    assert!(asked.elapsed() >= Duration::from_millis(49), "it is woken although it has stopped");
    assert_eq!(accepted(&mut second, Duration::from_secs(10)), 1, "the other has it");
}

#[test]
fn urings_share_a_socket() {
    if let (Some(first), Some(second)) = (uring(&options()), uring(&options())) {
        who_stops_is_left_alone([first, second]);
        all_get_their_share(|| uring(&options()).expect("there was one a moment ago"));
    }
}

#[test]
fn epolls_share_a_socket() {
    let make = || Epoll::new(&options()).unwrap();
    who_stops_is_left_alone([make(), make()]);
    all_get_their_share(make);
}
