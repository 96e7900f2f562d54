//! What only a kernel can show: running out of descriptors, queues that overflow, signals, stopped processes, limits.
//!
//! Cases that change the whole process (limits, stops) run in a child: the test binary again, told to run one test only.

use super::beds::{Bed, Client, EpollBed, LISTENER, TcpClient, UringBed, uring};
use super::cases::options;
use super::server::{Server, echo, keep};
use super::talk::pattern;
use crate::ring::epoll::Epoll;
use crate::ring::{Driver, DriverOptions, End};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Set in a child, which then plays the test's other half.
const CHILD: &str = "KV_RING_TEST_CHILD";

pub fn is_child() -> bool {
    std::env::var_os(CHILD).is_some()
}

/// This binary once more, running only `test` of this suite, under another program.
pub fn spawn(mut under: Command, test: &str) -> Child {
    let name = format!("ring::conformance::{test}");
    under
        .arg(std::env::current_exe().unwrap())
        .args([&name, "--exact", "--nocapture", "--test-threads", "1"])
        .env(CHILD, "1")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

fn spawn_child(test: &str) -> Child {
    spawn(Command::new("env"), &format!("real::{test}"))
}

fn wait_for(mut child: Child) {
    let mut output = String::new();
    child.stdout.take().unwrap().read_to_string(&mut output).unwrap();
    assert!(child.wait().unwrap().success() && output.contains("1 passed"), "the child failed: {output}");
}

#[test]
fn uring_survives_running_out_of_descriptors() {
    match is_child() {
        true => out_of_descriptors::<UringBed>(),
        false => wait_for(spawn_child("uring_survives_running_out_of_descriptors")),
    }
}

#[test]
fn epoll_survives_running_out_of_descriptors() {
    match is_child() {
        true => out_of_descriptors::<EpollBed>(),
        false => wait_for(spawn_child("epoll_survives_running_out_of_descriptors")),
    }
}

/// At the limit the listener pauses instead of spinning; a close makes room at once, and so does time.
fn out_of_descriptors<B: Bed>() {
    B::each(options(), |mut bed| {
        let mut server = Server::new(echo);
        let mut clients: Vec<_> = (0..8).map(|_| bed.connect()).collect();
        // The next accepted descriptor is the first over the limit, after three more.
        let next = std::fs::File::open("/dev/null").unwrap();
        let limit = std::os::fd::AsRawFd::as_raw_fd(&next) as u64 + 3;
        drop(next);
        let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        setrlimit(Resource::RLIMIT_NOFILE, limit, hard).unwrap();
        server.until(bed.parts(), |_, driver| driver.stats().accepts_paused > 0);
        assert_eq!(server.accepted.len(), 3);
        let start = Instant::now();
        let before = bed.parts().stats();
        while start.elapsed() < Duration::from_millis(350) {
            server.turn(bed.parts(), Duration::from_millis(500));
        }
        let after = bed.parts().stats();
        assert!((2..=5).contains(&(after.accepts_paused - before.accepts_paused)), "{after:?}");
        assert!(after.syscalls - before.syscalls < 60, "spins: {before:?} {after:?}");
        // A close makes room, long before the pause is over.
        let start = Instant::now();
        let conn = server.accepted[0];
        server.close(bed.parts(), conn, false);
        server.until(bed.parts(), |server, _| server.accepted.len() > 3);
        assert!(start.elapsed() < Duration::from_millis(90), "{:?}", start.elapsed());
        // And so does a higher limit, after at most one pause.
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap();
        server.until(bed.parts(), |server, _| server.accepted.len() == 8);
        clients.iter_mut().for_each(|client| assert_eq!(client.write(b"hello"), 5));
        let mut alive = 0;
        server.until(bed.parts(), |_, _| {
            alive +=
                clients.iter_mut().filter_map(|client| (client.read(5) == b"hello").then_some(())).count();
            alive == 7
        });
    });
}

/// A worker that is stopped and continued, and interrupted by signals, goes on: neither ends `turn` with an error.
#[test]
fn uring_survives_stop_and_continue() {
    match is_child() {
        true => echo_until_closed::<UringBed>(),
        false if uring(&options()).is_some() => stop_and_continue("uring_survives_stop_and_continue"),
        false => {}
    }
}

#[test]
fn epoll_survives_stop_and_continue() {
    match is_child() {
        true => echo_until_closed::<EpollBed>(),
        false => stop_and_continue("epoll_survives_stop_and_continue"),
    }
}

/// The child's half: prints its port, echoes, and ends with its first connection.
fn echo_until_closed<B: Bed<Client = TcpClient>>() {
    B::each(options(), |mut bed| {
        let probe = bed.connect();
        println!("port {}", probe.server_port());
        let mut server = Server::new(echo);
        server.until(bed.parts(), |server, _| server.peers.len() == 1);
        drop(probe);
        while server.closed.len() < 2 {
            server.turn(bed.parts(), Duration::from_secs(5));
        }
    });
}

fn stop_and_continue(test: &str) {
    let mut child = spawn_child(test);
    let pid = Pid::from_raw(child.id() as i32);
    let port = read_port(child.stdout.as_mut().unwrap());
    let mut client = TcpStream::connect(("127.0.0.1", port)).unwrap();
    for round in 0..20u8 {
        kill(pid, Signal::SIGSTOP).unwrap();
        client.write_all(&[round; 100]).unwrap();
        std::thread::sleep(Duration::from_millis(5));
        kill(pid, Signal::SIGCONT).unwrap();
        // Ignored by default, but it interrupts a wait.
        kill(pid, Signal::SIGWINCH).unwrap();
        let mut reply = [0; 100];
        client.read_exact(&mut reply).unwrap();
        assert_eq!(reply, [round; 100]);
    }
    drop(client);
    wait_for(child);
}

fn read_port(output: &mut impl Read) -> u16 {
    let mut seen = String::new();
    let mut byte = [0];
    loop {
        output.read_exact(&mut byte).expect("the child ended before it listened");
        seen.push(char::from(byte[0]));
        if let Some((_, port)) = seen.strip_suffix('\n').and_then(|line| line.rsplit_once("port ")) {
            return port.parse().unwrap();
        }
    }
}

/// A completion queue of 8 and 100 connections with bytes: the overflow ends multishots, nothing is lost.
#[test]
fn completion_queue_overflow_loses_nothing() {
    let tiny = DriverOptions { sq_entries: 8, cq_entries: 8, ..options() };
    UringBed::each(tiny, |mut bed| {
        let mut server = Server::new(echo);
        let mut clients: Vec<_> = (0..100).map(|_| bed.connect()).collect();
        server.until(bed.parts(), |server, _| server.peers.len() == 100);
        for round in 0..20 {
            clients.iter_mut().for_each(|client| assert_eq!(client.write(&pattern(round, 50)), 50));
            let mut replies = 0;
            server.until(bed.parts(), |_, _| {
                let whole = clients.iter().filter(|client| client.peek(50) == pattern(round, 50));
                replies = whole.count();
                replies == 100
            });
            clients.iter_mut().for_each(|client| assert_eq!(client.read(50).len(), 50));
        }
        assert!(bed.parts().stats().overflows > 0, "the case must overflow: {:?}", bed.parts().stats());
        drop(clients);
        server.until(bed.parts(), |server, _| server.peers.is_empty());
    });
}

/// More sends and closes in a turn than the submission queue holds: several rounds, chains unbroken.
#[test]
fn a_turn_larger_than_the_submission_queue() {
    let tiny = DriverOptions { sq_entries: 8, ..options() };
    UringBed::each(tiny, |mut bed| {
        let mut server = Server::new(keep);
        let mut clients = Vec::new();
        while clients.len() < 300 {
            clients.extend((0..100).map(|_| bed.connect())); // Fewer than the listener's backlog.
            server.until(bed.parts(), |server, _| server.peers.len() == clients.len());
        }
        let conns = server.accepted.clone();
        for (index, conn) in conns.iter().enumerate() {
            let peer = server.peers.get_mut(conn).unwrap();
            // Some are large, so that sends fall short in the first rounds too; every other closes after it.
            peer.outbox = pattern(index, if index % 50 == 0 { 8 << 20 } else { 200 });
            if index % 2 == 0 {
                server.close(bed.parts(), *conn, true);
            }
        }
        let mut got = vec![Vec::new(); clients.len()];
        server.until(bed.parts(), |_, _| {
            for (client, got) in clients.iter_mut().zip(&mut got) {
                got.extend(client.read(1 << 20));
            }
            got.iter().enumerate().all(|(at, got)| got.len() == if at % 50 == 0 { 8 << 20 } else { 200 })
        });
        for (index, got) in got.iter().enumerate() {
            assert!(*got == pattern(index, got.len()), "connection {index}");
        }
        server.until(bed.parts(), |server, _| server.closed.len() == 150);
        for (index, client) in clients.iter_mut().enumerate() {
            assert_eq!(client.end(), (index % 2 == 0).then_some(End::Eof));
        }
    });
}

/// The kernel refuses what this driver never submits: the restriction is in force.
#[test]
fn the_ring_is_restricted_to_its_operations() {
    if let Some(mut driver) = uring(&options()) {
        assert_eq!(driver.submit_forbidden_operation(), -nix::libc::EACCES);
    }
}

/// Rings come and go in one thread without leaving anything behind: no registered slots, no locked memory, no descriptors.
#[test]
fn rings_can_be_made_again_and_again() {
    for _ in 0..200 {
        UringBed::each(options(), |mut bed| {
            let mut server = Server::new(echo);
            let _client = bed.connect();
            server.until(bed.parts(), |server, _| server.peers.len() == 1);
        });
    }
}

/// No operation is handed to a kernel thread: not a send that must wait, not a close, not an accept.
#[test]
fn nothing_runs_on_kernel_worker_threads() {
    UringBed::each(options(), |mut bed| {
        let mut server = Server::new(echo);
        let mut clients: Vec<_> = (0..20).map(|_| bed.connect()).collect();
        clients.iter_mut().for_each(|client| client.read_slowly());
        server.until(bed.parts(), |server, _| server.peers.len() == 20);
        let conns = server.accepted.clone();
        for conn in &conns {
            server.peers.get_mut(conn).unwrap().outbox = pattern(1, 8 << 20);
        }
        (0..5).for_each(|_| server.turn(bed.parts(), Duration::from_millis(2)));
        assert!(bed.parts().stats().short_sends > 0, "sends must be waiting");
        conns.iter().for_each(|conn| server.close(bed.parts(), *conn, false));
        server.until(bed.parts(), |server, _| server.closed.len() == 20);
        let threads = std::fs::read_dir("/proc/self/task").unwrap();
        let names = threads.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
        let workers: Vec<String> = names.filter(|name| name.starts_with("iou-wrk")).collect();
        assert!(workers.is_empty(), "{workers:?}");
    });
}

/// A nearly idle worker with the busy poll on still sleeps, and answers.
#[test]
fn busy_poll_ends_in_sleep() {
    let spinning = DriverOptions { busy_poll_us: 200, ..options() };
    UringBed::each(spinning.clone(), busy_poll_sleeps);
    EpollBed::each(spinning, busy_poll_sleeps);
}

fn busy_poll_sleeps<B: Bed>(mut bed: B) {
    let mut server = Server::new(echo);
    let mut client = bed.connect();
    for _ in 0..200 {
        client.write(b"ping");
        server.until(bed.parts(), |_, _| client.read(4) == b"ping");
    }
    let before = thread_cpu_time();
    for _ in 0..4 {
        server.turn(bed.parts(), Duration::from_millis(100));
    }
    let used = thread_cpu_time() - before;
    assert!(used < Duration::from_millis(20), "400 ms of silence cost {used:?}");
}

fn thread_cpu_time() -> Duration {
    let time = nix::time::clock_gettime(nix::time::ClockId::CLOCK_THREAD_CPUTIME_ID).unwrap();
    Duration::new(time.tv_sec() as u64, time.tv_nsec() as u32)
}

#[test]
fn addresses_are_the_sockets() {
    UringBed::each(options(), addresses);
    EpollBed::each(options(), addresses);
}

fn addresses<B: Bed<Client = TcpClient>>(mut bed: B) {
    let mut server = Server::new(keep);
    let client = bed.connect();
    server.until(bed.parts(), |server, _| !server.peers.is_empty());
    let (conn, _) = server.only();
    let (peer, local) = bed.parts().addresses(conn).unwrap();
    assert_eq!((peer.port(), local.port()), (client.client_port(), client.server_port()));
}

/// Unix sockets are served like the others, and have no addresses.
#[test]
fn unix_sockets_are_served() {
    if let Some(driver) = uring(&options()) {
        unix_socket(driver);
    }
    unix_socket(Epoll::new(&options()).unwrap());
}

fn unix_socket(mut driver: impl Driver) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    driver.listen(UnixListener::bind(&path).unwrap().into(), LISTENER).unwrap();
    let mut client = UnixStream::connect(&path).unwrap();
    client.write_all(b"hello").unwrap();
    client.set_nonblocking(true).unwrap();
    let mut server = Server::new(echo);
    let mut reply = [0; 5];
    server.until(&mut driver, |_, _| client.read(&mut reply).is_ok_and(|count| count == 5));
    assert_eq!(&reply, b"hello");
    let (conn, _) = server.only();
    assert!(driver.addresses(conn).is_err());
}

/// Two listeners, told apart by their numbers.
#[test]
fn several_listeners() {
    fn check(mut driver: impl Driver) {
        let (one, two) =
            (TcpListener::bind("127.0.0.1:0").unwrap(), TcpListener::bind("127.0.0.1:0").unwrap());
        let addresses = [one.local_addr().unwrap(), two.local_addr().unwrap()];
        driver.listen(one.into(), 10).unwrap();
        driver.listen(two.into(), 20).unwrap();
        let mut outgoing = crate::ring::Outgoing::default();
        let mut events = Vec::new();
        for (address, number) in [(addresses[1], 20), (addresses[0], 10)] {
            let _client = TcpStream::connect(address).unwrap();
            let accepted = (0..100).find_map(|_| {
                driver.turn(&mut outgoing, Some(Duration::from_millis(50))).unwrap();
                driver.take_events(&mut events);
                events.iter().find_map(|event| match event {
                    crate::ring::Event::Accepted { listener, .. } => Some(*listener),
                    _ => None,
                })
            });
            assert_eq!(accepted, Some(number));
        }
    }
    if let Some(driver) = uring(&options()) {
        check(driver);
    }
    check(Epoll::new(&options()).unwrap());
}
