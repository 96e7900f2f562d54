//! Clients that ask for too much, too slowly, or too many at once: each is answered or closed, and nobody else notices.

mod support;

use std::io::Read;
use std::net::TcpStream;
use std::sync::Mutex;
use std::time::{Duration, Instant};
use support::{
    Conn, PATIENCE, Server, Setup, Value, bulk, cpu_ticks, encode, open_files, raise_file_limit, resp,
    wait_until,
};

on_every_engine!(
    garbage_ends_only_its_own_connection,
    announced_lengths_cost_nothing,
    a_client_that_never_reads_costs_little,
    a_crowd_that_never_reads_stays_within_the_limit,
    a_reply_larger_than_all_memory,
    a_reply_beyond_the_hard_cap_is_not_kept,
    a_slow_sender_delays_only_itself,
    clients_beyond_the_limit_are_told,
    idle_clients_are_closed,
    ten_thousand_connects_in_a_burst,
    out_of_descriptors,
);

const LIMIT: u64 = 64_000_000;

/// The promise of `--max-memory`: resident memory stays below 1.05 times the limit.
fn assert_memory_within(server: &Server, limit: u64) {
    let rss = server.rss_bytes();
    assert!(rss * 100 <= limit * 105, "{rss} bytes resident with a limit of {limit}");
}

fn assert_alive(server: &Server) {
    let mut conn = server.connect();
    assert_eq!(conn.run("PING"), Value::Simple("PONG".into()));
}

fn garbage_ends_only_its_own_connection(setup: Setup) {
    let server = setup.start(&[]);
    let mut bystander = server.connect();
    let mut seed = 0x1234_5678_9ABC_DEF0_u64;
    for round in 0..300 {
        let garbage: Vec<u8> = (0..1 + round * 7)
            .map(|_| {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (seed >> 56) as u8
            })
            .collect();
        // Half of it behind the first byte of a frame, to get past the choice of a protocol.
        let prefix: &[u8] = [&b"*3\r\n"[..], b"$", b"{", b"*1\r\n$3\r\n", b"", b"\r\n"][round % 6];
        let mut conn = server.connect();
        // The server may close while we still send.
        let _ = conn.try_send(&[prefix, &garbage].concat());
        let _ = conn.stream.shutdown(std::net::Shutdown::Write);
        // Whatever it answers, it ends: the garbage is no endless request.
        conn.read_to_close().expect("a close after garbage and the end of input");
        assert_eq!(bystander.run("PING"), Value::Simple("PONG".into()));
    }
}

/// A length is a claim. Memory is spent on bytes that have come.
fn announced_lengths_cost_nothing(setup: Setup) {
    let server = setup.start(&["--max-memory", "64MB"]);
    let mut claims: Vec<Conn> = Vec::new();
    for i in 0..200 {
        let mut conn = server.connect();
        let claim = [
            &b"*2\r\n$4\r\nECHO\r\n$10000000\r\nshort"[..],
            b"*1048576\r\n$1\r\na\r\n",
            b"*3\r\n$3\r\nSET\r\n$1000\r\nk",
        ];
        conn.send(claim[i % 3]);
        claims.push(conn);
    }
    assert_alive(&server);
    assert_memory_within(&server, LIMIT);
    drop(claims);
    assert_alive(&server);
}

/// Replies that nobody reads are kept only up to a watermark; then the server stops reading that client's requests.
fn a_client_that_never_reads_costs_little(setup: Setup) {
    let server = setup.start(&["--max-memory", "64MB"]);
    let mut bystander = server.connect();
    let value = vec![b'v'; 8_000];
    assert_eq!(bystander.command(&[b"SET", &b"k"[..], &value]), Value::Simple("OK".into()));
    // Each deaf client asks for 80 MB: more than the whole limit.
    let script = resp("GET k").repeat(10_000);
    let mut deaf: Vec<Conn> = (0..4).map(|_| server.connect()).collect();
    for conn in &mut deaf {
        // Requests need 220 KB: the kernel's buffers take them even when the server reads no more.
        conn.send(&script);
    }
    for _ in 0..2_000 {
        assert_eq!(bystander.run("GET k").bytes().len(), value.len());
    }
    assert_memory_within(&server, LIMIT);
    // Once it reads, a client gets every reply, or it was closed at the hard cap: never a wrong byte.
    for conn in &mut deaf {
        let mut received = 0;
        let mut reply = Ok(());
        while received < 10_000 && reply.is_ok() {
            reply = conn.try_read().map(|(found, _)| {
                assert_eq!(found, bulk(&value));
                received += 1;
            });
        }
        assert!(
            received == 10_000 || reply == Err(support::WireError::Closed),
            "{received} replies, then {reply:?}"
        );
    }
    assert_memory_within(&server, LIMIT);
}

/// Each within its own bounds, together far beyond the limit: the server closes some rather than pass it.
fn a_crowd_that_never_reads_stays_within_the_limit(setup: Setup) {
    let server = setup.start(&["--max-memory", "64MB"]);
    let mut bystander = server.connect();
    bystander.command(&[b"SET", &b"k"[..], &[b'v'; 8_000]]);
    let script = resp("GET k").repeat(2_000);
    for _ in 0..2 {
        let mut crowd: Vec<Conn> = (0..150).map(|_| server.connect()).collect();
        for conn in &mut crowd {
            // A server that is crowded may close at any moment.
            let _ = conn.try_send(&script);
            assert_memory_within(&server, LIMIT);
        }
        for _ in 0..500 {
            assert!(!bystander.run("GET k").is_error());
            assert_memory_within(&server, LIMIT);
        }
    }
}

/// One request whose reply is larger than all the memory there is.
fn a_reply_larger_than_all_memory(setup: Setup) {
    let server = setup.start(&["--max-memory", "64MB"]);
    let mut bystander = server.connect();
    bystander.command(&[b"SET", &b"k"[..], &[b'v'; 4_000]]);
    let mut args = vec!["MGET"];
    args.resize(50_001, "k");
    let mut greedy = server.connect();
    // 200 MB of reply to one request of 350 KB.
    greedy.send(&encode(&args));
    for _ in 0..500 {
        assert_eq!(bystander.run("PING"), Value::Simple("PONG".into()));
        assert_memory_within(&server, LIMIT);
    }
    // Either it is streamed as the client reads, or the client is closed; it is never kept whole.
    match greedy.try_read() {
        Ok((reply, _)) => assert!(reply.is_error() || reply.array().len() == 50_000),
        Err(error) => assert_eq!(error, support::WireError::Closed),
    }
    assert_memory_within(&server, LIMIT);
    assert_alive(&server);
}

/// A reply of 80 MB, where 4 MB are the most that may wait unread: refused by an error before it is made, or cut by a close.
fn a_reply_beyond_the_hard_cap_is_not_kept(setup: Setup) {
    let caps = ["--max-value-size", "1MB", "--output-watermark", "64KB", "--output-cap", "4MB"];
    let server = setup.start(&caps);
    let mut bystander = server.connect();
    bystander.command(&[b"SET", &b"k"[..], &[b'v'; 4_000]]);
    let mut args = vec!["MGET"];
    args.resize(20_001, "k");
    let mut greedy = server.connect();
    greedy.send(&encode(&args));
    match greedy.try_read() {
        Ok((Value::Error(text), _)) => assert!(text.contains("--max-memory"), "what to do about it: {text}"),
        Ok(_) => panic!("80 MB passed a cap of 4 MB"),
        Err(error) => {
            assert_eq!(error, support::WireError::Closed);
            let stats = bystander.run("INFO stats").text();
            assert!(stats.contains("closed_slow_reader:1\r\n"), "{stats}");
        }
    }
    assert_eq!(bystander.run("PING"), Value::Simple("PONG".into()));
}

fn a_slow_sender_delays_only_itself(setup: Setup) {
    let server = setup.start(&[]);
    let mut slow: Vec<Conn> = (0..20).map(|_| server.connect()).collect();
    let mut bystander = server.connect();
    let script = encode(&["APPEND", "k", "x"]);
    for byte in &script {
        slow.iter_mut().for_each(|conn| conn.send(&[*byte]));
        for _ in 0..20 {
            assert_eq!(bystander.run("PING"), Value::Simple("PONG".into()));
        }
    }
    let mut lengths: Vec<i64> = slow.iter_mut().map(|conn| conn.read().int()).collect();
    lengths.sort_unstable();
    assert_eq!(lengths, (1..=20).collect::<Vec<_>>());
}

fn clients_beyond_the_limit_are_told(setup: Setup) {
    let server = setup.start(&["--max-clients", "12"]);
    let mut admitted: Vec<Conn> = Vec::new();
    // The connection that looked whether the server is up may count for a moment longer: try until twelve are in.
    wait_until("twelve clients to be admitted", || {
        let mut conn = server.connect();
        if conn.try_send(&resp("PING")).is_ok()
            && conn.try_read().is_ok_and(|(v, _)| v == Value::Simple("PONG".into()))
        {
            admitted.push(conn);
        }
        admitted.len() == 12
    });
    for _ in 0..5 {
        let mut conn = server.connect();
        let refusal = conn.read_to_close().expect("a refused client is closed");
        assert_eq!(refusal.escape_ascii().to_string(), "-ERR max number of clients reached\\r\\n");
    }
    for conn in &mut admitted {
        assert_eq!(conn.run("PING"), Value::Simple("PONG".into()), "a refusal harms no admitted client");
    }
    admitted.pop();
    wait_until("a place to become free", || {
        let mut conn = server.connect();
        conn.try_send(&resp("PING")).is_ok()
            && conn.try_read().is_ok_and(|(v, _)| v == Value::Simple("PONG".into()))
    });
}

fn idle_clients_are_closed(setup: Setup) {
    let server = setup.start(&["--timeout", "2"]);
    let mut idle = server.connect();
    let mut busy = server.connect();
    assert_eq!(idle.run("PING"), Value::Simple("PONG".into()));
    let started = Instant::now();
    let mut longest_pause = Duration::ZERO;
    let mut last = Instant::now();
    idle.set_patience(Duration::from_millis(100));
    while idle.read_to_close() != Ok(Vec::new()) {
        assert!(started.elapsed() < PATIENCE, "an idle client stays");
        longest_pause = longest_pause.max(last.elapsed());
        last = Instant::now();
        // A machine that stopped for seconds makes this client idle too: then its close is right.
        let alive = busy.try_send(&resp("PING")).is_ok() && busy.try_read().is_ok();
        assert!(alive || longest_pause > Duration::from_secs(1), "an active client was closed");
    }
    assert!(started.elapsed() >= Duration::from_millis(1_500), "closed long before its time");
}

/// One at a time: each of these needs most of the descriptors that this process may have.
static DESCRIPTORS: Mutex<()> = Mutex::new(());

fn ten_thousand_connects_in_a_burst(setup: Setup) {
    let _alone = DESCRIPTORS.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let allowed = usize::try_from(raise_file_limit()).expect("a number of descriptors");
    // Leaves room for what other tests of this process hold.
    let count = 10_000.min(allowed.saturating_sub(1_500));
    let server = setup.start(&["--max-memory", "256MB", "--max-clients", "11000"]);
    let mut conns: Vec<TcpStream> = Vec::with_capacity(count);
    for i in 0..count {
        conns.push(TcpStream::connect(server.address()).unwrap_or_else(|e| panic!("connect {i}: {e}")));
    }
    for (i, stream) in conns.iter_mut().enumerate() {
        std::io::Write::write_all(stream, b"PING\r\n").unwrap_or_else(|e| panic!("connection {i}: {e}"));
    }
    for (i, stream) in conns.iter_mut().enumerate() {
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
        let mut reply = [0; 7];
        stream.read_exact(&mut reply).unwrap_or_else(|e| panic!("connection {i} of {count}: {e}"));
        assert_eq!(&reply, b"+PONG\r\n", "connection {i}");
    }
    assert_memory_within(&server, 256_000_000);
    let held = open_files(server.pid());
    drop(conns);
    wait_until("the descriptors of closed clients to be given back", || {
        open_files(server.pid()) + count / 2 < held
    });
    assert_alive(&server);
}

/// EMFILE: who is connected is served, who is not waits or is refused, and the server does not spin meanwhile.
fn out_of_descriptors(setup: Setup) {
    let server = Server::start_under("ulimit -n 64", setup.engine, setup.threads, &[]);
    let mut served: Vec<Conn> = (0..5).map(|_| server.connect()).collect();
    for conn in &mut served {
        assert_eq!(conn.run("PING"), Value::Simple("PONG".into()));
    }
    let crowd: Vec<TcpStream> =
        (0..200).map(|_| TcpStream::connect(server.address()).expect("the backlog takes it")).collect();
    for _ in 0..200 {
        for conn in &mut served {
            assert_eq!(
                conn.run("PING"),
                Value::Simple("PONG".into()),
                "a served client suffers from the crowd"
            );
        }
    }
    let before = cpu_ticks(server.pid());
    std::thread::sleep(Duration::from_secs(1));
    let spent = cpu_ticks(server.pid()) - before;
    assert!(spent < 40, "{spent} ticks of processor time in one second of being out of descriptors");
    drop(crowd);
    wait_until("a new client to be served after the crowd has gone", || {
        let mut conn = server.connect();
        conn.set_patience(Duration::from_millis(500));
        conn.try_send(&resp("PING")).is_ok() && matches!(conn.try_read(), Ok((Value::Simple(_), _)))
    });
}
