//! The server itself, over TCP on a free port, in every design that this kernel can do.

use super::{Choices, Error, Options, Server};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};

/// One of each knob's values at least, and the combinations that differ in what owns memory.
const DESIGNS: &[&str] = &[
    "",
    "epoll",
    "epoll,spin=0",
    "setup=none,receive=single,direct=no,arena=no,skip=no,spin=0",
    "setup=coop,receive=single",
    "setup=none,direct=no",
    "setup=coop,direct=no,spin=0",
    "direct=no,arena=no,skip=no",
    "arena=no",
    "skip=no",
    "flush=0",
    "flush=1000,skip=no,direct=no",
    "send=linked",
    "send=linked,direct=no,receive=single",
    "send=vectored",
    "send=vectored,setup=none",
    "send=zerocopy",
    "send=writefixed",
    "send=writefixed,direct=no",
    "receive=bundle,buffers=64x512",
    "receive=bundle,buffers=4x1k",
    "incremental=yes,buffers=16x64k",
    "incremental=yes,buffers=2x512",
    "buffers=2x512",
    "buffers=1024x1k",
];

/// Starts one, or says loudly what the kernel lacks.
fn start(design: &str, value_size: usize) -> Option<Server> {
    let choices: Choices = design.parse().expect("a sound design");
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    match Server::start(&Options { address, value_size, choices, cpu: None }) {
        Ok(server) => Some(server),
        Err(lacks @ Error::Lacks { .. }) => {
            eprintln!("SKIPPED {design}: {lacks}");
            None
        }
        Err(error) => panic!("{design}: {error}"),
    }
}

fn each_design(value_size: usize, play: impl Fn(&str, &Server)) {
    for design in DESIGNS {
        if let Some(server) = start(design, value_size) {
            play(design, &server);
            server.stop().unwrap_or_else(|error| panic!("{design}: {error}"));
        }
    }
}

fn connect(server: &Server) -> TcpStream {
    let socket = TcpStream::connect(server.address()).expect("it listens");
    socket.set_nodelay(true).expect("a TCP socket");
    // Only so that a defect shows as a failure instead of a hanging test.
    socket.set_read_timeout(Some(std::time::Duration::from_secs(60))).expect("a socket");
    socket
}

fn value(size: usize) -> Vec<u8> {
    [format!("${size}\r\n").as_bytes(), &vec![b'v'; size], b"\r\n"].concat()
}

fn read_exactly(design: &str, socket: &mut TcpStream, expected: &[u8]) {
    let mut got = vec![0; expected.len()];
    socket.read_exact(&mut got).unwrap_or_else(|error| panic!("{design}: {error}"));
    assert!(got == expected, "{design}: {} … differs", got[..got.len().min(200)].escape_ascii());
}

const GET: &[u8] = b"*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n";

/// GET, SET, PING and an unknown command, and their replies.
fn mixed(size: usize) -> (Vec<u8>, Vec<u8>) {
    let unknown: &[u8] = b"-ERR this server has no store: it knows GET, SET and PING\r\n";
    let requests = [
        GET,
        b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$3\r\nabc\r\n",
        b"*1\r\n$4\r\nPING\r\n",
        b"*1\r\n$4\r\nINFO\r\n",
        GET,
    ];
    let replies = [&value(size), &b"+OK\r\n"[..], b"+PONG\r\n", unknown, &value(size)];
    (requests.concat(), replies.concat())
}

#[test]
fn every_design_answers_a_pipeline_cut_at_every_byte() {
    each_design(5, |design, server| {
        let (requests, replies) = mixed(5);
        let mut socket = connect(server);
        for at in 1..requests.len() {
            let (head, tail) = requests.split_at(at);
            socket.write_all(head).expect("sent");
            // The reply of the first GET says that the head was received by itself, where it holds that much.
            if at >= GET.len() {
                read_exactly(design, &mut socket, &value(5));
            }
            socket.write_all(tail).expect("sent");
            let from = if at >= GET.len() { value(5).len() } else { 0 };
            read_exactly(design, &mut socket, &replies[from..]);
        }
    });
}

#[test]
fn every_design_keeps_connections_apart() {
    each_design(64, |design, server| {
        let (requests, replies) = mixed(64);
        let mut sockets: Vec<TcpStream> = (0..20).map(|_| connect(server)).collect();
        for round in 1..30 {
            for socket in &mut sockets {
                socket.write_all(&requests.repeat(round)).expect("sent");
            }
            for socket in &mut sockets {
                read_exactly(design, socket, &replies.repeat(round));
            }
        }
    });
}

#[test]
fn a_slow_reader_gets_every_byte_of_every_design() {
    const SIZE: usize = 100_000;
    const GETS: usize = 300;
    each_design(SIZE, |design, server| {
        let mut slow = connect(server);
        slow.write_all(&GET.repeat(GETS)).expect("sent");
        slow.shutdown(Shutdown::Write).expect("half closed");
        // Others are served meanwhile, and show that the server has taken the slow one's requests.
        let mut other = connect(server);
        other.write_all(&GET.repeat(3)).expect("sent");
        read_exactly(design, &mut other, &value(SIZE).repeat(3));
        let mut got = Vec::new();
        slow.read_to_end(&mut got).unwrap_or_else(|error| panic!("{design}: {error}"));
        assert_eq!(got.len(), value(SIZE).len() * GETS, "{design}");
        assert!(got == value(SIZE).repeat(GETS), "{design}: replies are mixed up");
    });
}

#[test]
fn slots_are_reused_and_connections_closed() {
    each_design(64, |design, server| {
        for _ in 0..200 {
            let mut socket = connect(server);
            socket.write_all(GET).expect("sent");
            read_exactly(design, &mut socket, &value(64));
        }
        let mut socket = connect(server);
        socket.write_all(b"*1\r\n+what\r\n").expect("sent");
        let mut got = Vec::new();
        socket.read_to_end(&mut got).unwrap_or_else(|error| panic!("{design}: {error}"));
        assert!(got.is_empty() || got.starts_with(b"-ERR Protocol"), "{design}");
    });
}

#[test]
fn stopping_under_load_ends_every_connection() {
    each_design(1000, |design, server| {
        let mut socket = connect(server);
        socket.write_all(&GET.repeat(2000)).expect("sent");
        read_exactly(design, &mut socket, &value(1000));
        // `each_design` stops it with most replies unread.
    });
}

#[test]
fn a_design_that_cannot_be_is_refused_before_anything_starts() {
    let choices = Choices { send: super::SendBy::Linked, ..Choices::default() };
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let refused = Server::start(&Options { address, value_size: 1, choices, cpu: None });
    assert!(refused.is_err_and(|error| error.to_string().contains("arena=no,skip=no")));
}

#[test]
fn a_taken_port_is_named() {
    let Some(server) = start("", 1) else { return };
    let options =
        Options { address: server.address(), value_size: 1, choices: Choices::default(), cpu: None };
    let message = Server::start(&options).map(|_| ()).expect_err("taken").to_string();
    assert!(message.contains(&server.address().to_string()) && message.contains("--port"), "{message}");
}

#[test]
fn its_thread_is_timed_and_its_calls_counted() {
    let Some(server) = start("", 64) else { return };
    let mut socket = connect(&server);
    let before = server.cpu().expect("a living thread");
    for _ in 0..100 {
        socket.write_all(GET).expect("sent");
        read_exactly("", &mut socket, &value(64));
    }
    assert!(server.cpu().expect("a living thread") > before && server.calls() > 0);
}
