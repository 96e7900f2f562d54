//! What befalls a server from outside: stopped, killed, cut off, started twice.

mod support;

use nix::sys::signal::Signal;
use std::process::Command;
use std::time::Duration;
use support::{
    Conn, Engine, Ports, Server, Setup, Value, bulk, encode, engine_available, resp, server_binary,
    wait_until,
};

on_every_engine!(
    stopped_and_continued,
    killed_and_started_again_at_once,
    clients_that_vanish,
    resets_amid_large_replies,
    a_taken_port_is_said,
);

/// The signals that a debugger, a container runtime or a job control sends interrupt every wait with EINTR.
fn stopped_and_continued(setup: Setup) {
    let server = setup.start(&[]);
    let mut conns: Vec<Conn> = (0..8).map(|_| server.connect()).collect();
    conns[0].run("SET k v");
    for _ in 0..5 {
        server.signal(Signal::SIGSTOP);
        for conn in &mut conns {
            conn.send(&resp("GET k"));
        }
        server.signal(Signal::SIGCONT);
        for conn in &mut conns {
            assert_eq!(conn.read(), bulk("v"));
        }
        // Also when nothing waits to be done.
        server.signal(Signal::SIGSTOP);
        server.signal(Signal::SIGCONT);
        server.signal(Signal::SIGWINCH);
        assert_eq!(server.connect().run("PING"), Value::Simple("PONG".into()));
    }
}

fn killed_and_started_again_at_once(setup: Setup) {
    let mut server = setup.start(&[]);
    for round in 0..4 {
        let mut conns: Vec<Conn> = (0..50).map(|_| server.connect()).collect();
        for conn in &mut conns {
            assert_eq!(conn.run("PING"), Value::Simple("PONG".into()));
        }
        conns[0].run("SET k v");
        // With clients connected: their half-closed connections linger on the port.
        let port = server.kill();
        let number = port.port;
        server = Server::start_on(port, setup.engine, setup.threads, &[]);
        assert_eq!(server.address().port(), number, "round {round}");
        // The kernel closes the listener of a killed io_uring process a moment after the process has ended: until then it
        // takes some of the new connections and closes them.
        let mut in_a_row = 0;
        wait_until("the killed server's listener to be gone", || {
            let mut conn = server.connect();
            let served = conn.try_send(&resp("PING")).is_ok() && conn.try_read().is_ok();
            in_a_row = if served { in_a_row + 1 } else { 0 };
            in_a_row == 50
        });
        assert_eq!(server.connect().run("GET k"), Value::Nil, "a cache starts empty");
    }
}

fn clients_that_vanish(setup: Setup) {
    let server = setup.start(&[]);
    let mut bystander = server.connect();
    let set = encode(&[b"SET", &b"k"[..], &[b'v'; 3_000]]);
    bystander.send(&set);
    bystander.read();
    for round in 0..300 {
        let mut conn = server.connect();
        // Replies in flight, half a frame at the end, and a close (a reset, since there are unread replies) at any moment.
        conn.send(&resp("GET k").repeat(round % 40));
        conn.send(&set[..round * 10 % set.len()]);
        if round % 3 == 0 && round % 40 > 0 {
            let _ = conn.try_read();
        }
        drop(conn);
        assert_eq!(bystander.run("STRLEN k"), Value::Int(3_000));
    }
    wait_until("the vanished clients to be forgotten", || {
        bystander.run("CLIENT LIST").text().lines().count() == 1
    });
}

/// The kernel may still read a large value's memory while its client is gone and the key is overwritten.
fn resets_amid_large_replies(setup: Setup) {
    let server = setup.start(&["--max-memory", "128MB"]);
    let mut writer = server.connect();
    for round in 0..60_u8 {
        let value = vec![round; 2_000_000];
        assert_eq!(writer.command(&[b"SET", &b"large"[..], &value]), Value::Simple("OK".into()));
        let mut leaver = server.connect();
        leaver.send(&resp("GET large").repeat(3));
        let mut reader = server.connect();
        reader.send(&resp("GET large"));
        // Starts to receive, then leaves.
        leaver.read_exact(1_000);
        drop(leaver);
        // What is being sent must stay what it was, whatever is written meanwhile.
        assert!(!writer.command(&[b"SET", &b"large"[..], &vec![round + 100; 1_500_000]]).is_error());
        let reply = reader.read();
        let first = reply.bytes()[0];
        assert!(reply.bytes().iter().all(|b| *b == first), "a value that is a mixture of two");
    }
    let rss = server.rss_bytes();
    assert!(rss * 100 <= 128_000_000 * 105, "{rss} bytes resident: pinned values of gone clients are kept");
}

/// Two servers that share a port without knowing would each hold half of the keys.
fn a_taken_port_is_said(setup: Setup) {
    let server = setup.start(&[]);
    let port = server.address().port();
    let mut second = Command::new(server_binary());
    let admin = Ports::reserve();
    let output = second
        .args(["--io-engine", setup.engine.flag(), "--no-pin", "--threads", &setup.threads.to_string()])
        .args(["--max-memory", "64MB", "--port", &port.to_string(), "--admin-port", &admin.port.to_string()])
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("a second server starts");
    let output = wait_with_patience(output);
    assert!(!output.status.success(), "a second server took the same port");
    let said =
        String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert!(said.contains(&port.to_string()), "the error should name the port: {said}");
    for _ in 0..20 {
        assert_eq!(server.connect().run("PING"), Value::Simple("PONG".into()));
    }
}

/// Waits for a process that must end by itself; kills it if it does not.
fn wait_with_patience(mut child: std::process::Child) -> std::process::Output {
    let started = std::time::Instant::now();
    while child.try_wait().expect("our own child").is_none() {
        if started.elapsed() > Duration::from_secs(20) {
            child.kill().expect("our own child");
            let output = child.wait_with_output().expect("our own child");
            panic!("still running: {}", String::from_utf8_lossy(&output.stderr));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    child.wait_with_output().expect("our own child")
}

/// Wrong options end the start with a text and without a listener.
#[test]
fn wrong_options_are_refused() {
    for options in [
        &["--max-memory", "lots"][..],
        &["--max-memory", "0"],
        &["--threads", "0"],
        &["--port", "65536"],
        &["--io-engine", "carrier-pigeon"],
        &["--eviction", "at-random"],
        &["--no-such-option"],
        &["--max-memory", "64MB", "--max-value-size", "1GB"],
    ] {
        let child = Command::new(server_binary())
            .args(options)
            .args(if options.contains(&"--port") { &[][..] } else { &["--port", "0"] })
            .stdin(std::process::Stdio::null())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let output = wait_with_patience(child);
        assert!(!output.status.success(), "{options:?} was taken");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.lines().count() >= 1 && !said.contains("panicked"), "{options:?}: {said}");
    }
}

/// Both engines refuse nothing that the other takes: the same server, the same words.
#[test]
fn both_engines_describe_themselves() {
    for engine in [Engine::IoUring, Engine::Epoll] {
        if engine_available(engine) {
            let server = Setup { engine, threads: 1 }.start(&[]);
            // It may answer a moment before it has said so.
            wait_until("the start says the engine", || server.log().contains(engine.flag()));
            assert!(server.connect().run("INFO server").text().contains(engine.flag()), "and INFO does");
        }
    }
}
