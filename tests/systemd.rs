//! The server under a service manager, which the tests play: what it is told (sd_notify(3)), the watchdog, and the sockets that it passes
//! (sd_listen_fds(3)).

mod support;

use nix::sys::signal::Signal;
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrIn, bind, listen, setsockopt, socket, sockopt,
};
use std::net::{TcpListener, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener};
use std::process::Command;
use std::sync::mpsc;
use std::time::{Duration, Instant};
use support::{
    Conn, Engine, Metrics, PATIENCE, Ports, Server, Setup, Value, http_get, resp, server_binary, wait_until,
};

on_every_engine!(
    it_says_that_it_is_ready_and_that_it_ends,
    the_watchdog_is_fed_twice_in_its_period,
    a_stuck_worker_starves_the_watchdog,
    a_halt_of_the_whole_machine_is_nobodys_fault,
    inherited_sockets_are_served_by_all_workers,
    nobody_is_refused_between_two_servers,
    sockets_of_one_port_are_dealt_out,
    a_socket_speaks_what_its_name_says,
);

/// A service manager's ear.
struct Manager {
    /// What the server has in NOTIFY_SOCKET.
    name: String,
    messages: mpsc::Receiver<(Instant, String)>,
    _folder: tempfile::TempDir,
}

impl Manager {
    fn by_path() -> Manager {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).expect("a socket");
        Manager::listening(socket, path.to_str().expect("plain text").into(), folder)
    }

    fn by_abstract_name(setup: Setup) -> Manager {
        let name = format!("kv-test-{}-{}-{}", std::process::id(), setup.engine.flag(), setup.threads);
        let address = SocketAddr::from_abstract_name(&name).expect("a name");
        let socket = UnixDatagram::bind_addr(&address).expect("a socket");
        Manager::listening(socket, format!("@{name}"), tempfile::tempdir().expect("a folder"))
    }

    fn listening(socket: UnixDatagram, name: String, folder: tempfile::TempDir) -> Manager {
        let (sender, messages) = mpsc::channel();
        // Ends with its receiver, or with the tests.
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(len) = socket.recv(&mut bytes) {
                let text = String::from_utf8_lossy(&bytes[..len]).into_owned();
                if sender.send((Instant::now(), text)).is_err() {
                    break;
                }
            }
        });
        Manager { name, messages, _folder: folder }
    }

    fn spawn(&self, setup: Setup, variables: &[(&str, &str)], options: &[&str]) -> Server {
        let mut command = Command::new(server_binary());
        command.env("NOTIFY_SOCKET", &self.name).envs(variables.iter().copied());
        Server::spawn(command, Ports::reserve(), setup.engine, setup.threads, options)
    }

    /// The next message that has this in it, and when it came.
    fn wait_for(&self, part: &str) -> (Instant, String) {
        let mut passed = Vec::new();
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.messages.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok((at, text)) if text.contains(part) => return (at, text),
                Ok((_, text)) => passed.push(text),
                Err(_) => panic!("no message has {part:?}, but there were {passed:?}"),
            }
        }
    }
}

/// The value of a variable in a message.
fn value<'a>(message: &'a str, name: &str) -> &'a str {
    let line = message.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    line.unwrap_or_else(|| panic!("{name} in {message:?}"))
}

fn it_says_that_it_is_ready_and_that_it_ends(setup: Setup) {
    for manager in [Manager::by_path(), Manager::by_abstract_name(setup)] {
        let mut server = manager.spawn(setup, &[], &["--drain-timeout", "700"]);
        let (_, ready) = manager.wait_for("READY=1\n");
        // At once: that is what ready means.
        assert_eq!(server.connect().run("PING"), Value::Simple("PONG".into()));
        assert_eq!(http_get(server.admin_address(), "/readyz").0, 200);
        let workers =
            if setup.threads == 1 { "1 worker".into() } else { format!("{} workers", setup.threads) };
        let status = format!("{}, {workers}, port {}", setup.engine.flag(), server.address().port());
        assert_eq!(value(&ready, "STATUS"), status);

        server.signal(Signal::SIGTERM);
        let (_, stopping) = manager.wait_for("STOPPING=1\n");
        assert!(value(&stopping, "STATUS").starts_with("SIGTERM: no new connections"), "{stopping}");
        let most: u64 = value(&stopping, "EXTEND_TIMEOUT_USEC").parse().expect("a number");
        assert!((700_000_000..710_000_000).contains(&most), "{stopping}");
        assert_eq!(server.wait().code(), Some(0), "{}", server.log());
    }
}

#[test]
fn the_status_is_kept_up_to_date() {
    let manager = Manager::by_path();
    let server = manager.spawn(Setup { engine: Engine::Epoll, threads: 1 }, &[], &[]);
    manager.wait_for("READY=1");
    let mut conn = server.connect();
    conn.run("MSET a 1 b 2 c 3");
    let (_, message) = manager.wait_for(" keys, ");
    let status = value(&message, "STATUS");
    assert!(
        status.starts_with("epoll, 1 worker, port ") && status.contains(": 1 clients, 3 keys, "),
        "{status}"
    );
    assert!(status.contains(" of 64 MB, "), "{status}");
}

#[test]
fn a_start_that_touches_all_memory_asks_for_time() {
    let manager = Manager::by_path();
    let setup = Setup { engine: Engine::Epoll, threads: 1 };
    let _server = manager.spawn(setup, &[], &["--prefault", "--max-memory", "256MB"]);
    // 30 s as for any start, and 100 MB in each second.
    let (_, message) = manager.wait_for("EXTEND_TIMEOUT_USEC=32000000\n");
    assert_eq!(value(&message, "STATUS"), "Preparing 256 MB of memory");
    manager.wait_for("READY=1");
}

#[test]
fn a_failed_start_reaches_the_manager() {
    let setup = Setup { engine: Engine::Epoll, threads: 1 };
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let manager = Manager::by_path();
    let mut command = Command::new(server_binary());
    command.env("NOTIFY_SOCKET", &manager.name);
    let mut server = Server::spawn(command, Ports::of(&taken), setup.engine, 1, &["--bind", "127.0.0.1"]);
    let (_, message) = manager.wait_for("ERRNO=98\n");
    assert!(value(&message, "STATUS").starts_with("cannot listen on 127.0.0.1:"), "{message}");
    assert!(value(&message, "STATUS").contains("Likely another server"), "hints too: {message}");
    assert_eq!(server.wait().code(), Some(1));

    for (option, part) in [(["--max-memory", "1KB"], "--max-memory"), (["--no-such", "1"], "--no-such")] {
        let mut server = manager.spawn(setup, &[], &option);
        let (_, message) = manager.wait_for("STATUS=");
        assert!(value(&message, "STATUS").contains(part), "{message}");
        assert!(server.wait().code().is_some_and(|code| code > 0));
    }
}

#[test]
fn a_manager_that_cannot_be_reached_stops_nothing() {
    for name in ["/nowhere/notify", "vsock:2:1234"] {
        let mut command = Command::new(server_binary());
        command.env("NOTIFY_SOCKET", name);
        let mut server = Server::spawn(command, Ports::reserve(), Engine::Epoll, 1, &[]).ready();
        wait_until("the warning", || server.log().contains("cannot be told that the server is ready"));
        server.signal(Signal::SIGTERM);
        assert_eq!(server.wait().code(), Some(0), "{}", server.log());
    }
}

fn the_watchdog_is_fed_twice_in_its_period(setup: Setup) {
    let manager = Manager::by_path();
    let server = manager.spawn(setup, &[("WATCHDOG_USEC", "2000000")], &[]);
    manager.wait_for("READY=1");
    let feedings: Vec<Instant> = (0..4).map(|_| manager.wait_for("WATCHDOG=1").0).collect();
    // The shortest: a busy machine may stretch the others.
    let gap = feedings.windows(2).map(|pair| pair[1] - pair[0]).min().expect("three gaps");
    assert!(gap < Duration::from_secs(2), "the manager would have ended it after {gap:?}");
    let all = feedings[3] - feedings[0];
    assert!(all > Duration::from_millis(2_500), "three halves of two seconds in {all:?}");
    drop(server);

    // Somebody else's watchdog.
    let server = manager.spawn(setup, &[("WATCHDOG_USEC", "100000"), ("WATCHDOG_PID", "1")], &[]);
    manager.wait_for("READY=1");
    let metrics = Metrics::read(server.admin_address());
    let stuck_after = metrics.sum("kv_worker_stuck_after_seconds").expect("the metric");
    assert!(stuck_after >= 5.0, "half of a period that is not ours: {stuck_after}");
    server.signal(Signal::SIGTERM);
    loop {
        let (_, text) = manager.messages.recv_timeout(PATIENCE).expect("it says that it ends");
        assert!(!text.contains("WATCHDOG"), "{text}");
        if text.contains("STOPPING=1") {
            break;
        }
    }
}

fn a_halt_of_the_whole_machine_is_nobodys_fault(setup: Setup) {
    let manager = Manager::by_path();
    let server = manager.spawn(setup, &[("WATCHDOG_USEC", "1500000")], &[]);
    manager.wait_for("WATCHDOG=1");
    for _ in 0..3 {
        server.signal(Signal::SIGSTOP);
        // Silent for more than half of the period, after which who has not moved is stuck.
        while manager.messages.recv_timeout(Duration::from_millis(1_200)).is_ok() {}
        server.signal(Signal::SIGCONT);
        manager.wait_for("WATCHDOG=1");
        assert!(!server.log().contains("Stuck: "), "{}", server.log());
    }
}

fn a_stuck_worker_starves_the_watchdog(setup: Setup) {
    let manager = Manager::by_path();
    let options = ["--enable-debug-command", "local"];
    let server = manager.spawn(setup, &[("WATCHDOG_USEC", "1500000")], &options);
    manager.wait_for("READY=1");
    manager.wait_for("WATCHDOG=1");
    assert_eq!(http_get(server.admin_address(), "/healthz").0, 200);

    let mut conn = server.connect();
    assert_eq!(conn.run("PING"), Value::Simple("PONG".into()));
    let asleep = Instant::now();
    conn.send(&resp("DEBUG SLEEP 4"));
    let mut last_fed = None;
    let (found, stuck) = loop {
        let (at, text) = manager.messages.recv_timeout(PATIENCE).expect("it is noticed");
        if text.contains("Stuck: worker ") {
            break (at, text);
        }
        last_fed = Some(at).filter(|_| text.contains("WATCHDOG=1")).or(last_fed);
    };
    // The figure depends on when the machine lets somebody look.
    let age = stuck.split(" has not moved for ").nth(1).and_then(|rest| rest.split(' ').next());
    let age: f64 = age.and_then(|age| age.parse().ok()).unwrap_or_else(|| panic!("{stuck}"));
    assert!((0.7..4.0).contains(&age), "{stuck}");
    let noticed_after = found - asleep;
    assert!(noticed_after >= Duration::from_millis(600), "noticed after {noticed_after:?}");
    // The manager's period began anew when the worker had already stopped: its whole length is left to it.
    assert!(last_fed.is_some_and(|at| at > asleep), "not fed since");

    let (status, body) = http_get(server.admin_address(), "/healthz");
    assert!(status == 503 && body.starts_with("stuck: worker "), "{status} {body}");
    let ages = Metrics::read(server.admin_address());
    let oldest = ages.samples("kv_worker_heartbeat_age_seconds").map(|(_, age)| age).fold(0.0, f64::max);
    assert!(oldest > 0.5, "{oldest}");
    assert!(server.log().contains("error: Stuck: worker "), "{}", server.log());

    let (fed_again, _) = manager.wait_for("WATCHDOG=1");
    let starved = fed_again - asleep;
    assert!(starved >= Duration::from_millis(3_900), "fed after {starved:?}, while it stood still");
    assert_eq!(conn.read(), Value::Simple("OK".into()));
    assert_eq!(http_get(server.admin_address(), "/healthz").0, 200);
}

/// A socket as a service manager makes it.
fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").expect("a port")
}

fn passed(listener: &TcpListener) -> OwnedFd {
    listener.try_clone().expect("a second descriptor").into()
}

fn connections_per_worker(server: &Server) -> Vec<f64> {
    let metrics = Metrics::read(server.admin_address());
    metrics.samples("kv_connections").map(|(_, n)| n).collect()
}

fn inherited_sockets_are_served_by_all_workers(setup: Setup) {
    let (clients, admin) = (listener(), listener());
    let mut server = Server::spawn_with_sockets(
        vec![passed(&clients), passed(&admin)],
        "kv:kv-admin",
        [Ports::of(&clients), Ports::of(&admin)],
        setup.engine,
        setup.threads,
        &[],
    )
    .ready();
    wait_until("the start lines", || server.log().contains("Ready."));
    let log = server.log();
    assert!(log.contains(&format!("listen   {} (inherited socket): Redis", server.address())), "{log}");
    assert!(log.contains(&format!("http://{}/ (inherited socket)", server.admin_address())), "{log}");

    let mut conns = Vec::new();
    for n in 0..60 {
        let mut conn = server.connect();
        assert_eq!(conn.run(&format!("SET key:{n} {n}")), Value::Simple("OK".into()));
        conns.push(conn);
    }
    let per_worker = connections_per_worker(&server);
    assert_eq!(per_worker.len(), setup.threads);
    assert_eq!(per_worker.iter().sum::<f64>(), 60.0);
    // They take turns; other work on the machine may disturb that a little.
    assert!(per_worker.iter().all(|n| *n > 0.0), "{per_worker:?}");

    let client = redis::Client::open(format!("redis://{}/", server.address())).expect("an address");
    let mut client = client.get_connection().expect("a connection");
    let got: String = redis::cmd("GET").arg("key:7").query(&mut client).expect("a value");
    assert_eq!(got, "7");
    // What accepted sockets inherit: keepalive's timer (02) is armed on the server's side.
    let tcp = std::fs::read_to_string("/proc/net/tcp").expect("the kernel lists sockets");
    let own = format!(":{:04X} ", server.address().port());
    let armed = tcp.lines().filter(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        format!("{} ", fields[1]).ends_with(&own) && fields[3] == "01" && fields[5].starts_with("02:")
    });
    assert!(armed.count() >= 60, "{tcp}");

    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait().code(), Some(0), "{}", server.log());
}

fn nobody_is_refused_between_two_servers(setup: Setup) {
    let clients = listener();
    let start = |admin: Ports| {
        let ports = [Ports::of(&clients), admin];
        let sockets = vec![passed(&clients)];
        Server::spawn_with_sockets(sockets, "kv-cache.socket", ports, setup.engine, setup.threads, &[])
    };
    let mut first = start(Ports::reserve()).ready();
    let mut conn = first.connect();
    assert_eq!(conn.run("PING"), Value::Simple("PONG".into()));
    first.signal(Signal::SIGTERM);
    assert_eq!(first.wait().code(), Some(0), "{}", first.log());
    conn.expect_closed();

    let mut early = Conn::connect(first.address());
    early.send(&resp("SET k waited"));
    let second = start(Ports::reserve());
    assert_eq!(early.read(), Value::Simple("OK".into()), "{}", second.log());
    assert_eq!(second.connect().run("GET k"), support::bulk("waited"));
}

/// Two sockets on one port, as two lines `ListenStream=` with `ReusePort=yes` make them.
fn sockets_of_one_port_are_dealt_out(setup: Setup) {
    let sibling = |port: u16| {
        let fd =
            socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).expect("a socket");
        setsockopt(&fd, sockopt::ReusePort, &true).expect("SO_REUSEPORT");
        bind(fd.as_raw_fd(), &SockaddrIn::new(127, 0, 0, 1, port)).expect("a free port");
        listen(&fd, Backlog::new(64).expect("few")).expect("it listens");
        TcpListener::from(fd)
    };
    let first = sibling(0);
    let second = sibling(first.local_addr().expect("an address").port());
    let ports = [Ports::of(&first), Ports::reserve()];
    let sockets = vec![first.into(), second.into()];
    let server =
        Server::spawn_with_sockets(sockets, "kv:kv", ports, setup.engine, setup.threads, &[]).ready();
    let mut conns: Vec<Conn> = (0..60).map(|_| server.connect()).collect();
    for conn in &mut conns {
        assert_eq!(conn.run("PING"), Value::Simple("PONG".into()));
    }
    let per_worker = connections_per_worker(&server);
    assert!(per_worker.iter().all(|n| *n > 0.0), "{per_worker:?}");
    let listening = server.log().matches("(inherited socket)").count();
    assert_eq!(listening, 1, "one address, once in the start lines: {}", server.log());
}

fn a_socket_speaks_what_its_name_says(setup: Setup) {
    for (name, request, reply) in [
        ("resp", &b"get k\r\n"[..], &b"$-1\r\n"[..]),
        ("memcached", b"get k\r\n", b"END\r\n"),
        ("http", b"GET /v1/keys/k HTTP/1.1\r\nHost: kv\r\n\r\n", b"HTTP/1.1 404 Not Found\r\n"),
        ("json", b"{\"key\":\"k\"}\n", b"{\"status\":"),
    ] {
        let own = listener();
        let server = Server::spawn_with_sockets(
            vec![passed(&own)],
            name,
            [Ports::reserve(), Ports::reserve()],
            setup.engine,
            setup.threads,
            &[],
        )
        .ready();
        let mut conn = Conn::connect(own.local_addr().expect("an address"));
        conn.send(request);
        assert_eq!(conn.read_exact(reply.len()), reply, "{name}: {}", server.log());
        // The common port is there beside it, the server's own.
        assert_eq!(server.connect().run("PING"), Value::Simple("PONG".into()));
    }
}

#[test]
fn a_protobuf_socket_is_announced_as_such() {
    let own = listener();
    let ports = [Ports::reserve(), Ports::reserve()];
    let server =
        Server::spawn_with_sockets(vec![passed(&own)], "protobuf", ports, Engine::Epoll, 1, &[]).ready();
    wait_until("the start lines", || server.log().contains("Ready."));
    let line = format!("listen   {} (inherited socket): protobuf", own.local_addr().expect("an address"));
    assert!(server.log().contains(&line), "{}", server.log());
}

/// Sockets that were passed to another process, whose environment this one has got.
#[test]
fn sockets_of_somebody_else_are_left_alone() {
    let mut command = Command::new(server_binary());
    command.env("LISTEN_PID", "1").env("LISTEN_FDS", "3").env("LISTEN_FDNAMES", "a:b:c");
    let server = Server::spawn(command, Ports::reserve(), Engine::Epoll, 1, &[]).ready();
    assert!(!server.log().contains("inherited"), "{}", server.log());
}

#[test]
fn what_cannot_be_used_is_refused_with_what_it_is() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = || OwnedFd::from(std::fs::File::open("/dev/null").expect("it is there"));
    let udp = || OwnedFd::from(UdpSocket::bind("127.0.0.1:0").expect("a port"));
    let unix = || OwnedFd::from(UnixListener::bind(folder.path().join("socket")).expect("a path"));
    let silent =
        || socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).expect("a socket");
    let tcp = || OwnedFd::from(listener());
    for (sockets, names, parts) in [
        (vec![file()], "kv", &["descriptor 3 (\"kv\")", "is no TCP socket", "ListenStream="][..]),
        (vec![udp()], "kv", &["is a UDP socket", "ListenDatagram="]),
        (vec![unix()], "kv", &["is a unix socket", "an address and a port"]),
        (vec![silent()], "kv", &["a socket that does not listen", "Accept=no"]),
        (
            vec![tcp()],
            "tls",
            &["\"tls\"", "FileDescriptorName=", "kv, kv-admin, resp, memcached, http, json, protobuf"],
        ),
        (vec![tcp()], "", &["\"\"", "FileDescriptorName="]),
        (vec![tcp()], "kv:kv-admin", &["LISTEN_FDS=1", "LISTEN_FDNAMES=kv:kv-admin"]),
        (vec![tcp(), tcp()], "kv-admin:kv-admin", &["two inherited sockets", "admin pages"]),
        (vec![tcp(), file()], "kv:resp", &["descriptor 4 (\"resp\")", "is no TCP socket"]),
    ] {
        let ports = [Ports::reserve(), Ports::reserve()];
        let mut server = Server::spawn_with_sockets(sockets, names, ports, Engine::Epoll, 1, &[]);
        assert_eq!(server.wait().code(), Some(1), "{}", server.log());
        let log = server.log();
        assert!(parts.iter().all(|part| log.contains(part)), "{parts:?} in {log}");
    }
}
