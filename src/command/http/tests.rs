//! Requests over HTTP against a store: what each answers, whoever asks, and what becomes of the connection.

use super::*;
use crate::command::barrier::tests::fake_host::FakeHost;
use crate::command::testing::Client;
use crate::command::{Context, Deferred, PauseMode, execute_now, run};
use crate::proto::{self, Scratch};
use bumpalo::Bump;

/// One connection.
struct Peer {
    client: Client<FakeHost>,
    state: State,
    paused: Option<PauseMode>,
    inbox: Vec<u8>,
    closed: bool,
}

impl Peer {
    fn new(host: FakeHost) -> Peer {
        Peer {
            client: Client::with_host(host),
            state: State::default(),
            paused: None,
            inbox: Vec::new(),
            closed: false,
        }
    }

    /// Sends bytes; returns what comes back.
    fn send(&mut self, bytes: &[u8]) -> String {
        self.inbox.extend_from_slice(bytes);
        let limits = ParseLimits {
            max_bulk: 4 << 20,
            max_request: 5 << 20,
            max_args: 20,
            max_inline: 64 << 10,
            authenticated: true,
        };
        let mut out = ReplyBuf::default();
        while !self.closed && !self.inbox.is_empty() {
            let client = &mut self.client;
            let (bump, mut requests) = (Bump::new(), Vec::new());
            let ctx = PlanContext {
                store: &client.store,
                buffer: None,
                bump: &bump,
                session: &client.session,
                host: &client.host,
                held: false,
                paused: self.paused,
                now_ms: client.now_ms,
            };
            let step = next(&self.inbox, &mut self.state, &limits, &ctx, &mut client.stats, &mut requests);
            let mut scratch = Scratch::default();
            execute_now(&client.store, &mut requests, &mut scratch, &mut client.stats, client.now_ms);
            for request in &requests {
                proto::encode(&request.form, request.key.bytes, &request.outcome, &scratch, &mut out);
            }
            let consumed = match step {
                Step::Planned { consumed } => consumed,
                Step::Last { consumed } => {
                    self.closed = true;
                    consumed
                }
                Step::Barrier { consumed, barrier } => {
                    let mut ctx = Context {
                        store: &client.store,
                        session: &mut client.session,
                        host: &client.host,
                        stats: &mut client.stats,
                        scripts: None,
                        held: None,
                        now_ms: client.now_ms,
                    };
                    self.closed = run(&barrier, &mut ctx, &mut out) == Flow::Close;
                    consumed
                }
                Step::Incomplete { .. } | Step::Paused => break,
                Step::Fatal { reply } => {
                    out.put(&reply);
                    self.closed = true;
                    0
                }
            };
            drop(requests);
            self.inbox.drain(..consumed);
        }
        let mut flat = Vec::new();
        let mut done = 0;
        for (at, pin) in &out.pins {
            flat.extend_from_slice(&out.bytes[done..*at]);
            flat.extend_from_slice(pin);
            done = *at;
        }
        flat.extend_from_slice(&out.bytes[done..]);
        String::from_utf8_lossy(&flat).into_owned()
    }

    /// Sends a request with further header lines and a body; returns status, head and body of the reply.
    fn ask(&mut self, line: &str, fields: &[&str], body: &str) -> Answer {
        let mut text = format!("{line} HTTP/1.1\r\nHost: 127.0.0.1\r\n");
        fields.iter().for_each(|field| text += &format!("{field}\r\n"));
        if !body.is_empty() || line.starts_with("PUT") || line.starts_with("POST") {
            text += &format!("Content-Length: {}\r\n", body.len());
        }
        let reply = self.send(format!("{text}\r\n{body}").as_bytes());
        let (head, body) = reply.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{line}: {reply:?}"));
        let status = head[9..12].parse().unwrap();
        Answer { status, head: head.to_owned(), body: body.to_owned() }
    }

    fn status(&mut self, line: &str, fields: &[&str], body: &str) -> u16 {
        self.ask(line, fields, body).status
    }
}

struct Answer {
    status: u16,
    head: String,
    body: String,
}

fn peer() -> Peer {
    Peer::new(FakeHost::default())
}

#[test]
fn keys_are_written_read_and_removed() {
    let mut peer = peer();
    assert_eq!(peer.status("GET /v1/keys/a", &[], ""), 404);
    assert_eq!(peer.status("PUT /v1/keys/a", &[], "value"), 204);
    let answer = peer.ask("GET /v1/keys/a", &[], "");
    assert_eq!((answer.status, &answer.body[..]), (200, "value"));
    let head = peer.ask("HEAD /v1/keys/a", &[], "");
    assert_eq!((head.status, &head.body[..]), (200, ""));
    assert!(head.head.contains("Content-Length: 5"), "{}", head.head);
    assert_eq!(peer.status("DELETE /v1/keys/a", &[], ""), 204);
    assert_eq!(peer.status("DELETE /v1/keys/a", &[], ""), 404);
    assert_eq!(peer.status("PUT /v1/keys/%00%FF%2F/b", &[], "bytes"), 204);
    assert_eq!(peer.client.run("GET \\x00\\xff//b"), "$5 bytes");
    assert!(!peer.closed);
}

#[test]
fn values_expire() {
    let mut peer = peer();
    let mut get = |fields: &[&str]| {
        assert_eq!(peer.status("PUT /v1/keys/a", fields, "v"), 204, "{fields:?}");
        let answer = peer.ask("GET /v1/keys/a", &[], "");
        (answer.status, answer.head)
    };
    let (_, head) = get(&["Cache-Control: max-age=60"]);
    assert!(head.contains("Cache-Control: max-age=60\r\nX-TTL-Ms: 60000"), "{head}");
    let (_, head) = get(&["Cache-Control: max-age=60", "X-TTL-Ms: 1500"]);
    assert!(head.contains("Cache-Control: max-age=1\r\nX-TTL-Ms: 1500"), "{head}");
    assert_eq!(get(&["Cache-Control: max-age=0"]).0, 404);
    let (_, head) = get(&["Cache-Control: no-store"]);
    assert!(!head.contains("Cache-Control"), "{head}");
    assert_eq!(get(&["X-TTL-Ms: 18446744073709551615"]).0, 200);
    for bad in ["X-TTL-Ms: -1", "X-TTL-Ms: 1s", "Cache-Control: max-age=x", "X-TTL-Ms:"] {
        assert_eq!(peer.status("PUT /v1/keys/a", &[bad], "w"), 400, "{bad}");
    }
    peer.status("PUT /v1/keys/b", &["X-TTL-Ms: 1000"], "v");
    peer.client.now_ms += 1001;
    assert_eq!(peer.status("GET /v1/keys/b", &[], ""), 404);
}

#[test]
fn what_is_wrong_is_said_and_the_connection_goes_on() {
    let mut peer = peer();
    for (line, body, status) in [
        ("GET /", "", 200),
        ("GET /healthz", "", 200),
        ("HEAD /readyz?x", "", 200),
        ("GET /nothing", "", 404),
        ("GET /metrics", "", 404),
        ("GET /v1/keys/", "", 400),
        ("GET /v1/keys", "", 400),
        ("GET /v1/keys/%1", "", 400),
        ("GET /v1/keys/a?b=c", "", 400),
        ("PUT /v1/keys/%zz", "body that is skipped", 400),
        ("POST /v1/keys/a", "body", 405),
        ("PATCH /v1/keys/a", "body", 405),
        ("GET /v1/batch", "", 405),
        ("PUT /healthz", "", 405),
        ("OPTIONS /v1/keys/a", "", 204),
        ("OPTIONS *", "", 204),
        ("GET /v1/keys/a", "a body that GET has no use for", 404),
        ("POST /v1/batch", "no json", 400),
    ] {
        let answer = peer.ask(line, &[], body);
        assert_eq!(answer.status, status, "{line}: {}", answer.head);
        assert!(!peer.closed, "{line}");
    }
    let allow = peer.ask("POST /v1/keys/a", &[], "").head;
    assert!(allow.contains("Allow: GET, HEAD, PUT, DELETE, OPTIONS"), "{allow}");
    assert!(peer.send(b"PUT /v1/keys/a HTTP/1.1\r\nHost: h\r\n\r\n").starts_with("HTTP/1.1 411 "));
    assert_eq!(peer.status("PUT /v1/keys/a", &["Content-Range: bytes 0-1/2"], "ab"), 400);
    assert_eq!(peer.status("PUT /v1/keys/a", &["If-Match: \"1\", \"2\""], "ab"), 400);
    assert_eq!(peer.status("PUT /v1/keys/a", &["If-None-Match: \"1\""], "ab"), 400);
    assert_eq!(peer.status("PUT /v1/keys/a", &["If-Match: 1"], "ab"), 400);
    assert!(!peer.closed);
    assert_eq!(peer.status("FETCH /v1/keys/a", &[], ""), 501);
    assert!(peer.closed);
}

#[test]
fn pipelines_keep_their_order_and_end_with_close() {
    let mut peer = peer();
    let put = "PUT /v1/keys/a HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\n1";
    let get = "GET /v1/keys/a HTTP/1.1\r\nHost: h\r\n\r\n";
    let last = "GET /v1/keys/a HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
    let reply = peer.send(format!("{get}{put}{get}\r\n{last}{put}").as_bytes());
    let statuses: Vec<&str> = reply.split("HTTP/1.1 ").skip(1).map(|part| &part[..3]).collect();
    assert_eq!(statuses, ["404", "204", "200", "200"], "{reply}");
    assert!(peer.closed && reply.contains("Connection: close"));
}

#[test]
fn the_interim_reply_comes_once_and_only_when_it_is_waited_for() {
    let mut peer = peer();
    let head = "PUT /v1/keys/a HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nExpect: 100-Continue\r\n\r\n";
    assert_eq!(peer.send(head.as_bytes()), "HTTP/1.1 100 Continue\r\n\r\n");
    assert_eq!(peer.send(b"a"), "");
    assert!(peer.send(b"b").starts_with("HTTP/1.1 204 "));
    assert!(peer.send(format!("{head}ab").as_bytes()).starts_with("HTTP/1.1 204 "));
    let chunked = head.replace("Content-Length: 2", "Transfer-Encoding: chunked");
    assert_eq!(peer.send(chunked.as_bytes()), "HTTP/1.1 100 Continue\r\n\r\n");
    assert!(peer.send(b"1\r\nx\r\n0\r\n\r\n").starts_with("HTTP/1.1 204 "));
    assert!(peer.send(head.replace("/v1/keys/a", "/nothing").as_bytes()).starts_with("HTTP/1.1 404 "));
    assert!(peer.closed);
}

#[test]
fn bodies_that_are_too_long_end_the_connection() {
    for (line, length, status) in [
        ("PUT /v1/keys/a", "Content-Length: 4194305", "413"),
        ("POST /v1/batch", "Content-Length: 4194305", "413"),
        ("GET /v1/keys/a", "Content-Length: 65537", "413"),
        ("GET /v1/keys/a", "Transfer-Encoding: chunked", "413"),
        ("PUT /nothing", "Content-Length: 65537", "404"),
    ] {
        let mut peer = peer();
        let reply = peer.send(format!("{line} HTTP/1.1\r\nHost: h\r\n{length}\r\n\r\n").as_bytes());
        assert!(reply.starts_with(&format!("HTTP/1.1 {status} ")) && peer.closed, "{line}: {reply}");
        assert!(reply.contains("Connection: close"));
        // It is let come before the connection is closed.
        let unread = length.strip_prefix("Content-Length: ").map_or(usize::MAX, |len| len.parse().unwrap());
        assert_eq!(peer.state.unread(), unread, "{line}");
    }
}

#[test]
fn large_values_go_in_whole_or_in_chunks() {
    let mut peer = peer();
    let value = "0123456789abcdef".repeat(1 << 16);
    assert_eq!(peer.status("PUT /v1/keys/a", &[], &value), 204);
    assert!(peer.ask("GET /v1/keys/a", &[], "").body == value);
    let chunks: String = value
        .as_bytes()
        .chunks(100_000)
        .map(|chunk| format!("{:x}\r\n{}\r\n", chunk.len(), str::from_utf8(chunk).unwrap()))
        .collect();
    let put =
        format!("PUT /v1/keys/b HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}0\r\n\r\n");
    assert!(peer.send(put.as_bytes()).starts_with("HTTP/1.1 204 "));
    assert!(peer.ask("GET /v1/keys/b", &[], "").body == value);
}

#[test]
fn a_password_is_asked_for_with_every_request() {
    let mut peer = Peer::new(FakeHost { password: Some("secret"), ..FakeHost::default() });
    for (field, status) in [
        ("X: y", 401),
        ("Authorization: Bearer secret", 404),
        ("authorization: bearer  secret", 404),
        ("Authorization: Bearer wrong", 401),
        ("Authorization: Basic ZGVmYXVsdDpzZWNyZXQ=", 404), // default:secret
        ("Authorization: Basic OnNlY3JldA==", 404),         // :secret
        ("Authorization: Basic YWRtaW46c2VjcmV0", 401),     // admin:secret
        ("Authorization: Basic ZGVmYXVsdDpzZWNyZQ==", 401), // default:secre
        ("Authorization: Basic secret", 401),
        ("Authorization: Digest secret", 401),
        ("Authorization: Bearer", 401),
    ] {
        let answer = peer.ask("GET /v1/keys/a", &[field], "");
        assert_eq!(answer.status, status, "{field}");
        assert_eq!(answer.head.contains("WWW-Authenticate: Basic"), status == 401, "{field}");
    }
    assert_eq!(peer.status("GET /healthz", &[], ""), 200);
    assert_eq!(peer.status("PUT /v1/keys/a", &[], "v"), 401);
    assert_eq!(peer.status("POST /v1/batch", &[], "{}"), 401);
    // What there is, and what there is not, is for those who may know.
    assert_eq!(peer.status("GET /nothing", &[], ""), 401);
    assert_eq!(peer.client.run("EXISTS a"), ":0");
}

#[test]
fn a_server_that_ends_is_well_but_not_ready() {
    let mut peer = Peer::new(FakeHost { password: Some("secret"), ..FakeHost::default() });
    assert_eq!(peer.status("GET /readyz", &[], ""), 200);
    peer.client.host.draining = true;
    assert_eq!(peer.status("GET /readyz", &[], ""), 503);
    assert_eq!(peer.status("GET /healthz", &[], ""), 200);
}

#[test]
fn a_body_that_nobody_waits_for_and_that_may_not_come_ends_the_connection() {
    for (line, status) in [("GET /v1/keys/a", "404"), ("DELETE /v1/keys/a", "404"), ("PUT /nothing", "404")] {
        let mut peer = peer();
        let head = format!("{line} HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n");
        let reply = peer.send(head.as_bytes());
        assert!(reply.starts_with(&format!("HTTP/1.1 {status} ")) && peer.closed, "{line}: {reply}");
        assert!(reply.contains("Connection: close"), "{reply}");
        assert!(peer.state.unread() <= 9);
    }
    // It has come already.
    let mut peer = peer();
    let whole = "GET /v1/keys/a HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\nab";
    assert!(peer.send(whole.as_bytes()).starts_with("HTTP/1.1 404 ") && !peer.closed);
}

#[test]
fn web_pages_are_refused_unless_their_site_is_allowed() {
    let site = "https://app.example";
    let status = |origins: &[&'static str], fields: &[&str]| {
        let mut peer = Peer::new(FakeHost { origins: origins.to_vec(), ..FakeHost::default() });
        peer.status("GET /v1/keys/a", fields, "")
    };
    for (fields, none, one, all) in [
        (&["Origin: https://app.example"][..], 403, 404, 404),
        (&["Origin: https://app.example.evil"], 403, 403, 404),
        (&["Origin: http://127.0.0.1"], 403, 403, 404),
        (&["Origin: null"], 403, 403, 404),
        (&["Origin: *"], 403, 403, 404),
        (&["Sec-Fetch-Site: cross-site"], 403, 403, 404),
        (&["Sec-Fetch-Site: same-site"], 403, 403, 404),
        (&["Sec-Fetch-Site: same-origin"], 403, 403, 404),
        (&["Sec-Fetch-Site: none", "User-Agent: Mozilla/5.0"], 404, 404, 404),
        (&["User-Agent: curl/8"], 404, 404, 404),
    ] {
        assert_eq!(status(&[], fields), none, "{fields:?}");
        assert_eq!(status(&[site], fields), one, "{fields:?}");
        assert_eq!(status(&["*"], fields), all, "{fields:?}");
    }
    // A page whose name has been made to lead here.
    for (host, field, expected) in [
        ("evil.example:7171", "User-Agent: Mozilla/5.0", "403"),
        ("evil.example:7171", "Accept-Language: en", "403"),
        ("evil.example:7171", "Referer: http://evil.example:7171/", "403"),
        ("cache.example:7171", "User-Agent: curl/8", "404"),
        ("app.example", "Accept-Language: en", "404"),
        ("app.example", "Sec-Fetch-Site: same-origin", "404"),
        ("[::1]:7171", "Accept-Language: en", "404"),
        ("localhost:7171", "Accept-Language: en", "404"),
    ] {
        let mut peer = Peer::new(FakeHost { origins: vec![site], ..FakeHost::default() });
        let request = format!("GET /v1/keys/a HTTP/1.1\r\nHost: {host}\r\n{field}\r\n\r\n");
        assert_eq!(&peer.send(request.as_bytes())[9..12], expected, "{host} {field}");
    }
}

#[test]
fn a_preflight_is_answered_without_a_password() {
    let host =
        FakeHost { password: Some("secret"), origins: vec!["https://app.example"], ..FakeHost::default() };
    let mut peer = Peer::new(host);
    let fields = ["Origin: https://app.example", "Access-Control-Request-Method: PUT"];
    let answer = peer.ask("OPTIONS /v1/keys/a", &fields, "");
    assert_eq!(answer.status, 204);
    for line in [
        "Access-Control-Allow-Origin: https://app.example",
        "Access-Control-Allow-Methods: GET, HEAD, PUT, DELETE, POST",
        "Access-Control-Allow-Headers: Authorization, ",
        "Vary: Origin",
    ] {
        assert!(answer.head.contains(line), "{}", answer.head);
    }
    let refused = peer.ask("OPTIONS /v1/keys/a", &["Origin: https://other.example"], "");
    assert_eq!(refused.status, 403);
    assert!(!refused.head.contains("Access-Control"), "{}", refused.head);
    // The page may read what went wrong.
    let denied = peer.ask("GET /v1/keys/a", &["Origin: https://app.example"], "");
    assert_eq!(denied.status, 401);
    assert!(denied.head.contains("Access-Control-Allow-Origin: https://app.example"));
}

#[test]
fn a_pause_holds_requests_back() {
    let mut peer = peer();
    peer.paused = Some(PauseMode::Write);
    assert_eq!(peer.status("GET /v1/keys/a", &[], ""), 404);
    let put = b"PUT /v1/keys/a HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\n1";
    assert_eq!(peer.send(put), "");
    peer.paused = None;
    assert!(peer.send(b"\r\n").starts_with("HTTP/1.1 204 "));
    peer.paused = Some(PauseMode::All);
    assert_eq!(peer.send(b"GET /v1/keys/a HTTP/1.1\r\nHost: h\r\n\r\n"), "");
}

#[test]
fn a_batch_answers_each_of_its_operations() {
    let mut peer = peer();
    peer.client.run("SET bin \\xff\\x00");
    peer.client.run("SET text word");
    let ops = r#"{"ops":[
        {"op":"set","key":"a","value":"x\"y","ttl_ms":1000}, {"op":"get","key":"a"}, {"op":"get","key":"none"},
        {"op":"get","key_base64":"Ymlu"}, {"op":"set","key":"b","value_base64":"/wA="}, {"op":"delete","key":"b"},
        {"op":"delete","key":"b"}, {"op":"incr","key":"n"}, {"op":"incr","key":"n","by":-3},
        {"op":"incr","key":"text"}, {"op":"set","key":"c"}, {"op":"get","key":""}, {"op":"get"},
        {"op":"move","key":"a"}, {"op":"get","key":"a","by":1}, {"op":"set","key":"a","value_base64":"?"},
        {"op":"get","key":"a","key_base64":"YQ=="}, {"op":"set","key":"a","value":"","if_match":"7"}
    ]}"#;
    let answer = peer.ask("POST /v1/batch", &[], ops);
    assert_eq!(answer.status, 200);
    assert!(answer.head.ends_with(&format!("Content-Length: {}", answer.body.len())), "{}", answer.head);
    let json: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
    let results = json["results"].as_array().unwrap();
    let statuses: Vec<u64> = results.iter().map(|result| result["status"].as_u64().unwrap()).collect();
    let expected = [204, 200, 404, 200, 204, 204, 404, 200, 200, 409, 400, 400, 400, 400, 400, 400, 400, 400];
    assert_eq!(statuses, expected, "{}", answer.body);
    assert_eq!(results[1], serde_json::json!({"status": 200, "value": "x\"y", "ttl_ms": 1000}));
    assert_eq!(results[2]["error"]["code"], "not_found");
    assert_eq!(results[3]["value_base64"], "/wA=");
    assert_eq!((&results[7]["value"], &results[8]["value"]), (&1.into(), &(-2).into()));
}

#[test]
fn a_batch_that_is_none_runs_nothing() {
    let mut peer = peer();
    let set = r#"{"op":"set","key":"a","value":"v"}"#;
    let many = format!(r#"{{"ops":[{}]}}"#, vec![set; crate::limits::HTTP_BATCH_OPS + 1].join(","));
    for body in [
        "",
        "[]",
        "{}",
        &format!(r#"{{"ops":[{set}]"#),
        &format!(r#"{{"ops":[{set}]}} x"#),
        &format!(r#"{{"ops":[{set}],"more":1}}"#),
        &format!(r#"{{"ops":[{set},{{"op":"get","key":5}}]}}"#),
        &format!(r#"{{"ops":[{set},{{"op":"get","key":"a","ttl":5}}]}}"#),
        &many,
    ] {
        assert_eq!(peer.status("POST /v1/batch", &[], body), 400, "{}", &body[..body.len().min(99)]);
    }
    assert_eq!(peer.client.run("EXISTS a"), ":0");
    assert_eq!(peer.ask("POST /v1/batch", &[], r#"{"ops":[]}"#).body, r#"{"results":[]}"#);
}

#[test]
fn a_batch_reply_that_is_too_large_is_replaced() {
    let batch = batch::Batch { body: b"", manner: Manner::default() };
    let mut out = ReplyBuf::default();
    assert_eq!(batch.too_large(&mut out), Flow::Continue);
    assert!(out.bytes.starts_with(b"HTTP/1.1 507 "));
}
