//! The JSON lines of the first SDK: one object in, one object out, no newline after it; now with real framing.

mod support;

use serde_json::{Value as Json, json};
use support::{Conn, Setup, Value, bulk};

on_every_engine!(
    sets_and_gets_as_the_first_sdk_does,
    replies_end_at_their_brace,
    requests_may_be_cut_anywhere,
    requests_may_be_pipelined,
    large_values_pass,
    malformed_requests_are_answered,
    both_protocols_see_one_store,
);

/// Reads one JSON object: up to its closing brace, as nothing follows it.
fn read_object(conn: &mut Conn) -> Json {
    let mut text = Vec::new();
    let (mut depth, mut quoted, mut escaped) = (0, false, false);
    loop {
        let byte = conn.read_exact(1)[0];
        text.push(byte);
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'{' if !quoted => depth += 1,
            b'}' if !quoted => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return serde_json::from_slice(&text).unwrap_or_else(|e| panic!("{e}: {}", text.escape_ascii()));
        }
    }
}

fn ask(conn: &mut Conn, request: &Json) -> Json {
    conn.send(request.to_string().as_bytes());
    read_object(conn)
}

fn stored() -> Json {
    json!({"status": "OK", "message": "Key inserted/updated successfully.", "key": null, "value": null})
}

fn found(key: &str, value: &str) -> Json {
    json!({"status": "OK", "message": "", "key": key, "value": value})
}

fn not_found() -> Json {
    json!({"status": "OK", "message": "Key not found.", "key": null, "value": null})
}

fn malformed() -> Json {
    json!({"status": "ERROR", "message": "Invalid request format.", "key": null, "value": null})
}

fn sets_and_gets_as_the_first_sdk_does(setup: Setup) {
    let server = setup.start(&[]);
    let mut conn = server.connect();
    assert_eq!(ask(&mut conn, &json!({"key": "k"})), not_found());
    assert_eq!(ask(&mut conn, &json!({"key": "k", "value": "v"})), stored());
    assert_eq!(ask(&mut conn, &json!({"key": "k"})), found("k", "v"));
    assert_eq!(ask(&mut conn, &json!({"value": "again", "key": "k"})), stored());
    assert_eq!(ask(&mut conn, &json!({"key": "k"})), found("k", "again"));
    for text in [
        "",
        "quotes \" and \\ and /",
        "new\nline\ttab\r\u{8}\u{c}",
        "ümläut 😀 \u{1}\u{7f}",
        "{\"a\": [1, \"}\"]}",
    ] {
        assert_eq!(ask(&mut conn, &json!({"key": text, "value": text})), stored());
        assert_eq!(ask(&mut conn, &json!({"key": text})), found(text, text));
    }
    // Escapes that a serializer need not use, but may.
    conn.send(br#"{"key": "\u006b\u0065\u0079", "value": "\ud83d\ude00\/\u00e9"}"#);
    assert_eq!(read_object(&mut conn), stored());
    assert_eq!(ask(&mut conn, &json!({"key": "key"})), found("key", "😀/é"));
}

fn replies_end_at_their_brace(setup: Setup) {
    let server = setup.start(&[]);
    let mut conn = server.connect();
    conn.send(b"{\"key\": \"k\", \"value\": \"v\"}\n{\"key\": \"k\"}\r\n  {\"key\":\"k\"}");
    assert_eq!(read_object(&mut conn), stored());
    // The next reply starts with the very next byte: no newline stands between them.
    assert_eq!(conn.read_exact(1), b"{");
    while conn.read_exact(1) != b"}" {}
    assert_eq!(read_object(&mut conn), found("k", "v"));
    conn.stream.shutdown(std::net::Shutdown::Write).expect("half a close");
    conn.expect_closed();
}

fn requests_may_be_cut_anywhere(setup: Setup) {
    let server = setup.start(&[]);
    let mut conn = server.connect();
    let script = r#"{"key": "k\"}{", "value": "ü}\\"}{"key":"k\"}{"}"#.as_bytes();
    for cut in 0..=script.len() {
        conn.send(&script[..cut]);
        // So that the two parts arrive apart. If the kernel joins them all the same, the test is weaker, not wrong.
        std::thread::sleep(std::time::Duration::from_millis(2));
        conn.send(&script[cut..]);
        assert_eq!(read_object(&mut conn), stored(), "cut at {cut}");
        assert_eq!(read_object(&mut conn), found("k\"}{", "ü}\\"), "cut at {cut}");
    }
}

fn requests_may_be_pipelined(setup: Setup) {
    let server = setup.start(&[]);
    let mut conn = server.connect();
    let script: String = (0..2_000)
        .map(|i| {
            format!(
                "{}{}",
                json!({"key": format!("k{}", i % 10), "value": i.to_string()}),
                json!({"key": format!("k{}", i % 10)})
            )
        })
        .collect();
    let mut stream = conn.stream.try_clone().expect("a second handle of the socket");
    let sender = std::thread::spawn(move || std::io::Write::write_all(&mut stream, script.as_bytes()));
    for i in 0..2_000 {
        assert_eq!(read_object(&mut conn), stored());
        assert_eq!(read_object(&mut conn), found(&format!("k{}", i % 10), &i.to_string()));
    }
    sender.join().expect("no panic").expect("the server takes it all");
}

fn large_values_pass(setup: Setup) {
    let server = setup.start(&["--max-memory", "256MB"]);
    let mut conn = server.connect();
    for length in [20_000, 3_000_000] {
        let value: String =
            (0..length).map(|i| if i % 97 == 0 { '"' } else { char::from(b'a' + (i % 26) as u8) }).collect();
        assert_eq!(ask(&mut conn, &json!({"key": "large", "value": value})), stored());
        conn.send(b"{\"key\":\"large\"}");
        assert!(
            read_object(&mut conn) == found("large", &value),
            "a value of {length} characters comes back changed"
        );
    }
}

fn malformed_requests_are_answered(setup: Setup) {
    let server = setup.start(&[]);
    for request in [
        "{}",
        "{\"value\": \"v\"}",
        "{\"key\": 7}",
        "{\"key\": \"k\", \"value\": }",
        "{key: 1}",
        "{\"key\" \"k\"}",
    ] {
        let mut conn = server.connect();
        conn.send(request.as_bytes());
        assert_eq!(read_object(&mut conn), malformed(), "{request}");
    }
    // Who cannot be understood harms nobody else.
    assert_eq!(ask(&mut server.connect(), &json!({"key": "k", "value": "v"})), stored());
}

fn both_protocols_see_one_store(setup: Setup) {
    let server = setup.start(&[]);
    let (mut json, mut redis) = (server.connect(), server.connect());
    assert_eq!(ask(&mut json, &json!({"key": "from-json", "value": "1"})), stored());
    assert_eq!(redis.run("INCR from-json"), Value::Int(2));
    assert_eq!(redis.run("SET from-redis v"), Value::Simple("OK".into()));
    assert_eq!(ask(&mut json, &json!({"key": "from-json"})), found("from-json", "2"));
    assert_eq!(ask(&mut json, &json!({"key": "from-redis"})), found("from-redis", "v"));
    assert_eq!(redis.run("GET from-json"), bulk("2"));
}
