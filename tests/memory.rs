//! One true memory number: resident memory stays below 1.05 times the limit, whatever is stored.
//!
//! Resident memory is the kernel's `VmRSS` of the whole process: program, stacks, rings, buffers, index and items alike.

mod support;

use support::{Conn, Metrics, Server, Setup, Value, encode, http_get, wait_until};

on_every_engine!(
    three_times_the_limit_fits,
    the_limit_moves_while_running,
    what_connections_held_comes_back,
    without_eviction_writes_are_refused,
    expired_memory_comes_back,
    three_windows_show_the_same_figures,
);

const MB: u64 = 1_000_000;

fn assert_within(server: &Server, limit: u64, when: &str) {
    let rss = server.rss_bytes();
    assert!(rss * 100 <= limit * 105, "{when}: {rss} bytes resident with a limit of {limit}");
}

/// Stores `bytes` in values of this size under fresh keys, in pipelines; returns how many were taken.
fn fill(conn: &mut Conn, name: &str, bytes: u64, size: usize) -> u64 {
    let value = vec![b'v'; size];
    let total = bytes / (size as u64 + 40);
    let mut taken = 0;
    let mut sent = 0;
    while sent < total {
        let batch = (total - sent).min(1 + 500_000 / size as u64);
        let script: Vec<u8> = (sent..sent + batch)
            .flat_map(|i| encode(&[b"SET", format!("{name}:{size}:{i}").as_bytes(), &value]))
            .collect();
        conn.send(&script);
        taken += (0..batch).filter(|_| !conn.read().is_error()).count() as u64;
        sent += batch;
    }
    taken
}

fn three_times_the_limit_fits(setup: Setup) {
    let limit = 64 * MB;
    let server = setup.start(&["--max-memory", "64MB"]);
    let mut conn = server.connect();
    // Changing sizes are what breaks allocators: each wave must live in what the one before it left.
    for size in [64, 600, 2_000, 20_000, 300_000, 64] {
        fill(&mut conn, "wave", 3 * limit, size);
        assert_within(&server, limit, &format!("after values of {size} bytes"));
        let items = conn.run("DBSIZE").int();
        assert!(items > 0, "values of {size} bytes leave nothing behind");
        // A cache that evicts far more than it must is no use: at least 40 % of the limit holds the last wave's values. Of
        // values that are a large part of a partition, the last one that does not fit wastes more.
        let held = items as u64 * (size as u64 + 40);
        let percent = if size < 100_000 { 40 } else { 30 };
        assert!(held * 100 >= limit * percent, "{items} values of {size} bytes are held in {limit}");
    }
    // The latest write is there.
    conn.run("SET latest v");
    assert_eq!(conn.run("GET latest").text(), "v");
}

fn what_connections_held_comes_back(setup: Setup) {
    let server = setup.start(&["--max-memory", "256MB"]);
    let idle = server.rss_bytes();
    // Requests of growing sizes, each cut short of its end: allocators that keep freed blocks keep these.
    for size in [20_000_000, 23_000_000, 26_000_000, 29_000_000] {
        let mut clients: Vec<Conn> = (0..4).map(|_| server.connect()).collect();
        for client in &mut clients {
            client.send(format!("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n${size}\r\n").as_bytes());
            client.send(&vec![b'v'; size - 1_000]);
        }
        wait_until("the requests to arrive", || server.rss_bytes() > idle + 4 * size as u64 * 9 / 10);
        assert_within(&server, 256 * MB, "with half requests");
        drop(clients);
        wait_until("memory to come back", || server.rss_bytes() < idle + 16 * MB);
    }
}

fn the_limit_moves_while_running(setup: Setup) {
    let server = setup.start(&["--max-memory", "128MB"]);
    let mut conn = server.connect();
    fill(&mut conn, "before", 200 * MB, 500);
    assert_within(&server, 128 * MB, "full");
    let before = conn.run("DBSIZE").int();
    assert_eq!(conn.run("CONFIG SET maxmemory 64mb"), Value::Simple("OK".into()));
    assert_eq!(conn.run("CONFIG GET maxmemory").array()[1].text(), (64 << 20).to_string());
    // In bounded steps: clients are served meanwhile.
    wait_until("memory to shrink to the new limit", || {
        assert_eq!(conn.run("PING"), Value::Simple("PONG".into()));
        server.rss_bytes() * 100 <= (64 << 20) * 105
    });
    let after = conn.run("DBSIZE").int();
    assert!(after > 0 && after < before, "{before} items before, {after} after");
    fill(&mut conn, "small", 200 * MB, 500);
    assert_within(&server, 64 << 20, "full again at the smaller limit");
    assert_eq!(conn.run("CONFIG SET maxmemory 120mb"), Value::Simple("OK".into()));
    let small = conn.run("DBSIZE").int();
    fill(&mut conn, "grown", 250 * MB, 500);
    let grown = conn.run("DBSIZE").int();
    assert!(grown * 10 > small * 14, "a limit of nearly twice holds {grown} items, where {small} were");
    assert_within(&server, 120 << 20, "full at the larger limit");
    assert!(conn.run("CONFIG SET maxmemory nonsense").is_error());
}

fn without_eviction_writes_are_refused(setup: Setup) {
    let server = setup.start(&["--max-memory", "64MB", "--eviction", "none"]);
    let mut conn = server.connect();
    let first = conn.run("SET first v");
    assert_eq!(first, Value::Simple("OK".into()));
    let taken = fill(&mut conn, "fill", 200 * MB, 1_000);
    let oom = Value::Error("OOM command not allowed when used memory > 'maxmemory'.".into());
    let value = "x".repeat(1_000);
    wait_until("a write to be refused", || conn.command(&["SET", "one-more", &value]) == oom);
    assert_eq!(conn.command(&["APPEND", "one-more-2", &value]), oom);
    assert_eq!(conn.run("GET first").text(), "v", "nothing was evicted");
    assert!(taken > 20_000, "only {taken} values of 1,000 bytes fit into 64 MB");
    let items = conn.run("DBSIZE").int();
    assert!(items as u64 > taken, "{items} items of the {taken} that were taken and the first one");
    assert_within(&server, 64 * MB, "full without eviction");
    // Reads and deletes go on, and make room.
    for i in 0..5_000 {
        conn.run(&format!("DEL fill:1000:{i}"));
    }
    wait_until("deletes to make room", || !conn.command(&["SET", "one-more", &value]).is_error());
}

fn expired_memory_comes_back(setup: Setup) {
    let server = setup.start(&["--max-memory", "64MB", "--eviction", "none"]);
    let mut conn = server.connect();
    for round in 0..4 {
        // 30 MB that nobody will ever look at again: only the background sweep can free it.
        for i in 0..300 {
            let key = format!("{round}:{i}");
            let reply = conn.command(&[b"SET", key.as_bytes(), &[b'v'; 100_000], b"PX", b"50"]);
            if reply.is_error() {
                wait_until("expired values to make room", || {
                    conn.command(&[b"SET", key.as_bytes(), &[b'v'; 100_000], b"PX", b"50"])
                        == Value::Simple("OK".into())
                });
            }
        }
    }
    wait_until("all keys to expire unasked", || conn.run("DBSIZE") == Value::Int(0));
    assert_within(&server, 64 * MB, "after all has expired");
}

/// INFO, `/metrics` and CONFIG are windows to the same counters.
fn three_windows_show_the_same_figures(setup: Setup) {
    let server = setup.start(&["--max-memory", "64MB"]);
    let (status, body) = http_get(server.admin_address(), "/healthz");
    assert_eq!(status, 200, "{body}");
    let mut conn = server.connect();
    for i in 0..100 {
        conn.run(&format!("SET k{i} v"));
        // Every other read misses.
        conn.run(&format!("GET {}{i}", if i % 2 == 0 { "k" } else { "none" }));
    }
    let info = |conn: &mut Conn, field: &str| {
        let text = conn.run("INFO").text();
        let value = text.lines().find_map(|l| l.strip_prefix(&format!("{field}:"))).map(str::to_owned);
        value.unwrap_or_else(|| panic!("INFO has no {field}:\n{text}"))
    };
    // Workers publish once per turn: wait for the figures to arrive rather than for a time.
    wait_until("INFO to count the hits", || info(&mut conn, "keyspace_hits") == "50");
    assert_eq!(info(&mut conn, "keyspace_misses"), "50");
    assert_eq!(info(&mut conn, "maxmemory"), (64 * MB).to_string());
    assert!(info(&mut conn, "db0").starts_with("keys=100,"), "{}", info(&mut conn, "db0"));
    let metrics = Metrics::read(server.admin_address());
    for (metric, expected) in [("kv_hits_total", 50.0), ("kv_misses_total", 50.0), ("kv_connections", 1.0)] {
        let found = metrics.sum(metric).unwrap_or_else(|| panic!("no {metric} in\n{}", metrics.text()));
        assert!((found - expected).abs() < 0.5, "{metric} is {found}, INFO says {expected}");
    }
    let (status, _) = http_get(server.admin_address(), "/no-such-page");
    assert_eq!(status, 404);
}
