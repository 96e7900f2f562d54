//! HTTP over TCP: the common port and the one of its own, beside other protocols, at every cut; and curl, where there is one.

mod support;

use support::{Conn, Server, Setup, Value, resp, skip};

on_every_engine!(
    a_key_lives_its_life,
    requests_may_be_cut_anywhere,
    a_deep_pipeline_keeps_its_order,
    large_values_go_both_ways,
    the_body_is_waited_for_with_leave,
    framing_that_is_lost_ends_the_connection,
    passwords_origins_and_batches,
    a_batch_may_answer_with_much,
    a_port_of_its_own_speaks_nothing_else,
    a_refused_upload_is_let_finish,
    a_port_of_its_own_refuses_in_its_words,
    entity_tags_guard_writes,
);

/// A reply: status, head, body.
#[derive(Debug, PartialEq, Eq)]
struct Reply {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Reply {
    fn field(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

fn read(conn: &mut Conn) -> Reply {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.extend(conn.read_exact(1));
    }
    let head = String::from_utf8(head).expect("a head is text");
    let status = head[9..12].parse().expect("a status");
    let mut reply = Reply { status, head, body: Vec::new() };
    let length = reply.field("Content-Length").map_or(0, |length| length.parse().expect("a length"));
    reply.body = conn.read_exact(length);
    reply
}

fn request(line: &str, fields: &[&str], body: &[u8]) -> Vec<u8> {
    let mut text = format!("{line} HTTP/1.1\r\nHost: 127.0.0.1\r\n");
    fields.iter().for_each(|field| text += &format!("{field}\r\n"));
    if line.starts_with('P') {
        text += &format!("Content-Length: {}\r\n", body.len());
    }
    [text.as_bytes(), b"\r\n", body].concat()
}

fn ask(conn: &mut Conn, line: &str, fields: &[&str], body: &[u8]) -> Reply {
    conn.send(&request(line, fields, body));
    read(conn)
}

fn a_key_lives_its_life(setup: Setup) {
    let server = setup.start(&[]);
    let (mut conn, mut redis) = (server.connect(), server.connect());
    let all: Vec<u8> = (0..=255).collect();
    assert_eq!(ask(&mut conn, "GET /v1/keys/a", &[], b"").status, 404);
    assert_eq!(ask(&mut conn, "PUT /v1/keys/a", &[], &all).status, 204);
    let reply = ask(&mut conn, "GET /v1/keys/a", &[], b"");
    assert_eq!((reply.status, reply.field("Content-Type")), (200, Some("application/octet-stream")));
    assert_eq!(reply.body, all);
    assert_eq!(redis.run("STRLEN a"), Value::Int(256));
    assert_eq!(ask(&mut conn, "PUT /v1/keys/%00%ff", &["X-TTL-Ms: 60000"], b"v").status, 204);
    assert!(matches!(redis.command(&[&b"PTTL"[..], b"\x00\xff"]), Value::Int(59_000..=60_000)));
    assert_eq!(ask(&mut conn, "DELETE /v1/keys/a", &[], b"").status, 204);
    assert_eq!(ask(&mut conn, "DELETE /v1/keys/a", &[], b"").status, 404);
    conn.send(b"GET /healthz HTTP/1.0\r\n\r\n");
    let last = conn.read_to_close().expect("HTTP/1.0 ends with its reply");
    assert!(last.starts_with(b"HTTP/1.1 200 OK\r\nConnection: close\r\n") && last.ends_with(b"ok\n"));
}

fn requests_may_be_cut_anywhere(setup: Setup) {
    let server = setup.start(&[]);
    let script = [
        &request("PUT /v1/keys/k", &[], b"a\r\nb")[..],
        b"PUT /v1/keys/k HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nxy\r\n1\r\nz\r\n0\r\n\r\n",
        &request("GET /v1/keys/k", &[], b""),
    ]
    .concat();
    let mut conn = server.connect();
    for cut in 0..=script.len() {
        conn.send(&script[..cut]);
        // So that the two parts arrive apart. If the kernel joins them all the same, the test is weaker, not wrong.
        std::thread::sleep(std::time::Duration::from_millis(2));
        conn.send(&script[cut..]);
        assert_eq!([read(&mut conn).status, read(&mut conn).status], [204, 204], "cut at {cut}");
        assert_eq!(read(&mut conn).body, b"xyz", "cut at {cut}");
    }
    // The protocol is told from the first bytes alone.
    let mut slow = server.connect();
    script.iter().for_each(|byte| slow.send(std::slice::from_ref(byte)));
    assert_eq!([read(&mut slow).status, read(&mut slow).status, read(&mut slow).status], [204, 204, 200]);
}

fn a_deep_pipeline_keeps_its_order(setup: Setup) {
    const REQUESTS: usize = 20_000;
    let server = setup.start(&[]);
    let mut conn = server.connect();
    let mut sender = conn.stream.try_clone().expect("a second handle of the socket");
    let writer = std::thread::spawn(move || {
        let script: Vec<u8> = (0..REQUESTS)
            .flat_map(|i| {
                let put = request(&format!("PUT /v1/keys/{}", i % 100), &[], i.to_string().as_bytes());
                [put, request(&format!("GET /v1/keys/{}", i % 100), &[], b"")].concat()
            })
            .collect();
        std::io::Write::write_all(&mut sender, &script).expect("the server takes it all");
    });
    for i in 0..REQUESTS {
        assert_eq!(read(&mut conn).status, 204);
        assert_eq!(read(&mut conn).body, i.to_string().into_bytes());
    }
    writer.join().expect("the writer has written all");
}

fn large_values_go_both_ways(setup: Setup) {
    let server = setup.start(&[]);
    let mut conn = server.connect();
    let value: Vec<u8> = (0..3_000_000_u32).map(|i| (i % 251) as u8).collect();
    assert_eq!(ask(&mut conn, "PUT /v1/keys/a", &[], &value).status, 204);
    assert!(ask(&mut conn, "GET /v1/keys/a", &[], b"").body == value);
    conn.send(
        b"PUT /v1/keys/b HTTP/1.1\r\nHost: h\r\nIf-None-Match: *\r\nTransfer-Encoding: chunked\r\n\r\n",
    );
    for chunk in value.chunks(70_000) {
        conn.send(&[format!("{:x}\r\n", chunk.len()).as_bytes(), chunk, b"\r\n"].concat());
    }
    conn.send(b"0\r\n\r\n");
    assert_eq!(read(&mut conn).status, 204);
    assert!(ask(&mut conn, "GET /v1/keys/b", &[], b"").body == value);
    // Beyond a quarter of 64 MB.
    conn.send(b"PUT /v1/keys/c HTTP/1.1\r\nHost: h\r\nContent-Length: 20000000\r\n\r\n");
    assert_eq!(read(&mut conn).status, 413);
    conn.expect_closed();
}

fn the_body_is_waited_for_with_leave(setup: Setup) {
    let server = setup.start(&[]);
    let mut conn = server.connect();
    for i in 0..3 {
        let body = vec![b'0' + i; 100_000];
        let whole = request("PUT /v1/keys/a", &["Expect: 100-continue"], &body);
        let (head, body) = whole.split_at(whole.len() - body.len());
        conn.send(head);
        assert_eq!(read(&mut conn).head, "HTTP/1.1 100 Continue\r\n\r\n");
        conn.send(body);
        assert_eq!(read(&mut conn).status, 204);
    }
    assert_eq!(ask(&mut conn, "GET /v1/keys/a", &[], b"").body, [b'2'; 100_000]);
}

fn framing_that_is_lost_ends_the_connection(setup: Setup) {
    let server = setup.start(&[]);
    let set = String::from_utf8(request("PUT /v1/keys/smuggled", &[], b"v")).expect("text");
    for (bytes, status) in [
        (
            format!(
                "POST /v1/batch HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{set}"
            ),
            400,
        ),
        (
            format!(
                "GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\nContent-Length: {}\r\n\r\n{set}",
                set.len()
            ),
            400,
        ),
        (
            format!(
                "PUT /v1/keys/a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\nx\r\n0\r\n\r\n{set}"
            ),
            400,
        ),
        (
            format!(
                "PUT /v1/keys/a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n{set}"
            ),
            501,
        ),
        (format!("GET / HTTP/1.1\r\nHost: h\r\nX: y\r\n folded\r\n\r\n{set}"), 400),
        (format!("GET /{} HTTP/1.1\r\nHost: h\r\n\r\n{set}", "x".repeat(20_000)), 414),
        (format!("GET / HTTP/1.1\r\nHost: h\r\n{}\r\n{set}", "A: b\r\n".repeat(64)), 431),
        (format!("GET / HTTP/3.0\r\nHost: h\r\n\r\n{set}"), 505),
    ] {
        let mut conn = server.connect();
        conn.send(bytes.as_bytes());
        let reply = read(&mut conn);
        assert_eq!(reply.status, status, "{bytes:.80}");
        assert_eq!(reply.field("Connection"), Some("close"));
        conn.expect_closed();
    }
    assert_eq!(server.connect().run("EXISTS smuggled"), Value::Int(0));
}

fn passwords_origins_and_batches(setup: Setup) {
    let server = setup.start(&["--requirepass", "secret", "--http-allow-origin", "https://app.example"]);
    let mut conn = server.connect();
    let bearer = "Authorization: Bearer secret";
    let refused = ask(&mut conn, "GET /v1/keys/a", &[], b"");
    assert_eq!((refused.status, refused.field("WWW-Authenticate").is_some()), (401, true));
    assert_eq!(ask(&mut conn, "GET /v1/keys/a", &[bearer], b"").status, 404);
    // The password holds for its request only.
    assert_eq!(ask(&mut conn, "PUT /v1/keys/a", &[], b"v").status, 401);
    let ops =
        br#"{"ops":[{"op":"set","key":"a","value":"1"},{"op":"incr","key":"a"},{"op":"get","key":"a"}]}"#;
    let batch = ask(&mut conn, "POST /v1/batch", &[bearer], ops);
    let expected = r#"{"results":[{"status":204},{"status":200,"value":2},{"status":200,"value":"2"}]}"#;
    assert_eq!(String::from_utf8_lossy(&batch.body), expected);
    assert_eq!(ask(&mut conn, "GET /v1/keys/a", &[bearer, "Origin: https://evil.example"], b"").status, 403);
    let allowed = ask(&mut conn, "GET /v1/keys/a", &[bearer, "Origin: https://app.example"], b"");
    assert_eq!(allowed.field("Access-Control-Allow-Origin"), Some("https://app.example"));
    assert_eq!(ask(&mut conn, "GET /healthz", &[], b"").body, b"ok\n");
}

fn a_batch_may_answer_with_much(setup: Setup) {
    let server = setup.start(&[]);
    let mut conn = server.connect();
    ask(&mut conn, "PUT /v1/keys/a", &[], &[b'v'; 500_000]);
    let gets =
        |count: usize| format!(r#"{{"ops":[{}]}}"#, vec![r#"{"op":"get","key":"a"}"#; count].join(","));
    let reply = ask(&mut conn, "POST /v1/batch", &[], gets(4).as_bytes());
    assert_eq!((reply.status, reply.body.len()), (200, 14 + 4 * (500_000 + 25) + 3));
    // 50 MB of replies, in 64 MB of memory in all.
    let reply = ask(&mut conn, "POST /v1/batch", &[], gets(100).as_bytes());
    assert_eq!(reply.status, 507);
    assert_eq!(ask(&mut conn, "GET /healthz", &[], b"").status, 200);
}

fn a_port_of_its_own_speaks_nothing_else(setup: Setup) {
    let port = support::Ports::reserve();
    let server = setup.start(&["--http-port", &port.port.to_string()]);
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], port.port));
    let mut conn = Conn::connect(address);
    assert_eq!(ask(&mut conn, "PUT http://127.0.0.1/v1/keys/a", &[], b"v").status, 204);
    assert_eq!(server.connect().run("STRLEN a"), Value::Int(1));
    let mut redis = Conn::connect(address);
    redis.send(&[&resp("DEL a")[..], b"\r\n\r\n"].concat());
    assert_eq!(read(&mut redis).status, 400);
    redis.expect_closed();
    assert_eq!(server.connect().run("STRLEN a"), Value::Int(1));
}

fn a_refused_upload_is_let_finish(setup: Setup) {
    let server = setup.start(&["--requirepass", "secret"]);
    let auth = "Authorization: Bearer secret";
    // Beyond a quarter of 64 MB; without a password; a first line without an end.
    let body = vec![b'x'; 20_000_000];
    let mut chunked =
        b"PUT /v1/keys/a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1312d00\r\n".to_vec();
    chunked.extend(&body);
    for (upload, status) in [
        (request("PUT /v1/keys/a", &[auth], &body), 413),
        (request("PUT /v1/keys/a", &[], &body), 401),
        (chunked, 401),
        ([&b"GET /"[..], &body].concat(), 414),
    ] {
        let mut conn = server.connect();
        // The client that writes all before it reads.
        conn.send(&upload);
        let reply = read(&mut conn);
        assert_eq!((reply.status, reply.field("Connection")), (status, Some("close")));
        conn.expect_closed();
    }
    // Who sends nothing is not waited for.
    let mut silent = server.connect();
    silent.send(b"PUT /v1/keys/a HTTP/1.1\r\nHost: h\r\nContent-Length: 20000000\r\n\r\n");
    assert_eq!(read(&mut silent).status, 401);
    silent.expect_closed();
    assert_eq!(ask(&mut server.connect(), "GET /v1/keys/a", &[auth], b"").status, 404);
}

fn a_port_of_its_own_refuses_in_its_words(setup: Setup) {
    let (http, memcached) = (support::Ports::reserve(), support::Ports::reserve());
    let ports = [http.port.to_string(), memcached.port.to_string()];
    let server =
        setup.start(&["--max-clients", "1", "--http-port", &ports[0], "--memcached-port", &ports[1]]);
    let mut first = server.connect();
    // Who looked whether the server is up may still have the place.
    support::wait_until("the one place to become free", || {
        first = server.connect();
        first.run("PING") == Value::Simple("PONG".into())
    });
    let to = |port| Conn::connect(std::net::SocketAddr::from(([127, 0, 0, 1], port)));
    let mut refused = to(http.port);
    let reply = read(&mut refused);
    assert_eq!((reply.status, reply.field("Connection")), (503, Some("close")));
    refused.expect_closed();
    let said = to(memcached.port).read_to_close().expect("a refused client is closed");
    assert_eq!(said, b"SERVER_ERROR max number of clients reached\r\n");
}

fn entity_tags_guard_writes(setup: Setup) {
    let server = setup.start(&[]);
    let mut conn = server.connect();
    let mut ask = |line: &str, field: &str, body: &[u8]| ask(&mut conn, line, &[field], body);
    assert_eq!(ask("PUT /v1/keys/a", "If-Match: *", b"0").status, 412);
    let made = ask("PUT /v1/keys/a", "If-None-Match: *", b"1");
    assert_eq!(made.status, 204);
    assert_eq!(ask("PUT /v1/keys/a", "If-None-Match: *", b"2").status, 412);
    let read = ask("GET /v1/keys/a", "X: y", b"");
    let tag = read.field("ETag").expect("a read shows the tag").to_owned();
    assert_eq!((made.field("ETag"), &read.body[..]), (Some(&tag[..]), &b"1"[..]));
    assert_eq!(ask("GET /v1/keys/a", &format!("If-None-Match: W/{tag}, \"x\""), b"").status, 304);
    assert_eq!(ask("HEAD /v1/keys/a", &format!("If-None-Match: {tag}"), b"").status, 304);
    assert_eq!(ask("GET /v1/keys/a", &format!("If-Match: {tag}"), b"").status, 200);
    let written = ask("PUT /v1/keys/a", &format!("If-Match: {tag}"), b"3");
    assert_eq!(written.status, 204);
    assert_ne!(written.field("ETag"), Some(&tag[..]));
    assert_eq!(ask("PUT /v1/keys/a", &format!("If-Match: {tag}"), b"4").status, 412);
    assert_eq!(ask("PUT /v1/keys/a", &format!("If-Match: {tag}"), &[b'4'; 300_000]).status, 412);
    assert_eq!(ask("DELETE /v1/keys/a", &format!("If-Match: {tag}"), b"").status, 412);
    assert_eq!(ask("GET /v1/keys/a", &format!("If-Match: {tag}"), b"").status, 412);
    let tag = written.field("ETag").expect("a conditional write shows the tag").to_owned();
    assert_eq!(ask("DELETE /v1/keys/a", &format!("If-Match: {tag}"), b"").status, 204);
    assert_eq!(ask("DELETE /v1/keys/a", "If-Match: *", b"").status, 412);
}

#[test]
fn curl_and_the_server_understand_each_other() {
    let curl = |arguments: &[&str]| {
        let output =
            std::process::Command::new("curl").args(["-sS", "--max-time", "30"]).args(arguments).output()?;
        Ok::<_, std::io::Error>(String::from_utf8_lossy(&output.stdout).into_owned())
    };
    if let Err(error) = curl(&["--version"]) {
        return skip("KV_REQUIRE_CURL", &format!("curl does not start: {error}"));
    }
    let server = Server::start(support::Engine::Epoll, 1, &["--requirepass", "secret"]);
    let base = format!("http://{}", server.address());
    let url = |path: &str| format!("{base}{path}");
    let status = ["-o", "/dev/null", "-w", "%{http_code}"];
    let run = |arguments: &[&str]| curl(arguments).expect("curl has just run");
    let user = ["-u", "default:secret"];
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), vec![b'c'; 2_000_000]).expect("the file can be written");
    let path = file.path().to_str().expect("a path of text");
    let key = url("/v1/keys/a%20b");
    assert_eq!(run(&[&status[..], &[&key]].concat()), "401");
    // curl waits for leave before it sends so much.
    assert_eq!(run(&[&user[..], &status, &["-T", path, &key]].concat()), "204");
    let chunked = ["-H", "Transfer-Encoding: chunked", "-T", path];
    assert_eq!(run(&[&user[..], &status, &chunked, &[&url("/v1/keys/c")]].concat()), "204");
    assert_eq!(run(&[&user[..], &[&key]].concat()).len(), 2_000_000);
    assert!(run(&[&user[..], &["-I", &url("/v1/keys/c")]].concat()).contains("Content-Length: 2000000"));
    assert_eq!(run(&[&user[..], &status, &["--http1.0", &key]].concat()), "200");
    assert_eq!(run(&[&user[..], &status, &["-X", "DELETE", &key]].concat()), "204");
    assert_eq!(run(&[&user[..], &status, &[&key]].concat()), "404");
}
