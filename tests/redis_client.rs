//! The `redis` crate as an application uses it: RESP2 and RESP3, pipelines, scans, expiry, transactions, scripts, messages. The last
//! three run against Valkey too, so that what is expected here is what Valkey does.

mod support;

use redis::Commands;
use std::collections::{HashMap, HashSet};
use support::{Server, Setup, valkey_binary};

on_every_engine!(
    an_application_over_resp2,
    an_application_over_resp3,
    pipelines_and_scans,
    transactions_scripts_and_messages
);

fn client(server: &Server, query: &str) -> redis::Connection {
    let url = format!("redis://{}/1{query}", server.address());
    let client = redis::Client::open(url).expect("a correct URL");
    client.get_connection().expect("the handshake and SELECT 1 succeed")
}

fn an_application_over_resp2(setup: Setup) {
    let server = setup.start(&[]);
    application(client(&server, ""));
}

fn an_application_over_resp3(setup: Setup) {
    let server = setup.start(&[]);
    application(client(&server, "?protocol=resp3"));
}

fn application(mut conn: redis::Connection) {
    let () = conn.set("text", "wörld").expect("SET");
    assert_eq!(conn.get::<_, String>("text").expect("GET"), "wörld");
    assert_eq!(conn.get::<_, Option<String>>("none").expect("GET"), None);
    let binary: Vec<u8> = (0..=255).collect();
    let () = conn.set("binary", &binary).expect("SET");
    assert_eq!(conn.get::<_, Vec<u8>>("binary").expect("GET"), binary);
    assert_eq!(conn.incr::<_, _, i64>("n", 41).expect("INCRBY"), 41);
    assert_eq!(conn.incr::<_, _, i64>("n", 1).expect("INCRBY"), 42);
    assert!((conn.incr::<_, _, f64>("f", 0.5).expect("INCRBYFLOAT") - 0.5).abs() < 1e-9);
    let () = conn.mset(&[("a", 1), ("b", 2)]).expect("MSET");
    let values: Vec<Option<i64>> = conn.mget(&["a", "none", "b"]).expect("MGET");
    assert_eq!(values, [Some(1), None, Some(2)]);
    let () = conn.set_ex("session", "s", 1_000).expect("SETEX");
    assert!((990..=1_000).contains(&conn.ttl::<_, i64>("session").expect("TTL")));
    assert!(conn.persist::<_, bool>("session").expect("PERSIST"));
    assert_eq!(conn.ttl::<_, i64>("session").expect("TTL"), -1);
    assert!(!conn.set_nx::<_, _, bool>("a", 9).expect("SETNX"));
    assert_eq!(conn.del::<_, i64>(&["a", "b", "none"]).expect("DEL"), 2);
    assert!(conn.exists::<_, bool>("n").expect("EXISTS"));
    assert_eq!(conn.get_del::<_, Option<i64>>("n").expect("GETDEL"), Some(42));
    let error = conn.lpush::<_, _, i64>("list", 1).expect_err("there are no lists");
    assert!(error.to_string().contains("unknown command"), "{error}");
    let config: HashMap<String, String> =
        redis::cmd("CONFIG").arg("GET").arg("maxmemory").query(&mut conn).expect("CONFIG GET");
    assert!(config.contains_key("maxmemory"), "{config:?}");
}

fn pipelines_and_scans(setup: Setup) {
    let server = setup.start(&[]);
    let mut conn = client(&server, "");
    let mut pipe = redis::pipe();
    for i in 0..1_000 {
        pipe.set(format!("user:{i}"), i).ignore();
        pipe.get(format!("user:{i}"));
    }
    let values: Vec<i64> = pipe.query(&mut conn).expect("a pipeline");
    assert_eq!(values, (0..1_000).collect::<Vec<_>>());
    let found: HashSet<String> =
        conn.scan_match::<_, String>("user:*").expect("SCAN").map(|key| key.expect("a key")).collect();
    assert_eq!(found.len(), 1_000);
    let keys: Vec<String> = conn.keys("user:99?").expect("KEYS");
    assert_eq!(keys.len(), 10);
    let () = redis::cmd("FLUSHDB").query(&mut conn).expect("FLUSHDB");
    assert_eq!(redis::cmd("DBSIZE").query::<i64>(&mut conn).expect("DBSIZE"), 0);
}

fn transactions_scripts_and_messages(setup: Setup) {
    let server = setup.start(&[]);
    for query in ["", "?protocol=resp3"] {
        transactions(client(&server, query));
        scripts(client(&server, query));
        messages(client(&server, query), client(&server, query));
    }
}

#[test]
fn the_same_with_valkey() {
    let Some(binary) = valkey_binary() else { return };
    let valkey = Server::start_valkey(&binary, &[]);
    for query in ["", "?protocol=resp3"] {
        transactions(client(&valkey, query));
        scripts(client(&valkey, query));
        messages(client(&valkey, query), client(&valkey, query));
    }
}

fn transactions(mut conn: redis::Connection) {
    let () = conn.del("n").expect("DEL");
    let (n, text): (i64, String) = redis::pipe()
        .atomic()
        .incr("n", 41)
        .set("text", "x")
        .ignore()
        .get("text")
        .query(&mut conn)
        .expect("MULTI");
    assert_eq!((n, text.as_str()), (41, "x"));
    // WATCH, and again from the start if the key has changed in between.
    let (n,): (i64,) = redis::transaction(&mut conn, &["n"], |conn, pipe| {
        let n: i64 = conn.get("n")?;
        pipe.set("n", n + 1).ignore().get("n").query(conn)
    })
    .expect("a transaction");
    assert_eq!(n, 42);
}

fn scripts(mut conn: redis::Connection) {
    // EVALSHA, and SCRIPT LOAD when the server does not know it.
    let unlock = redis::Script::new(
        "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) else return 0 end",
    );
    let () = conn.set("lock", "me").expect("SET");
    assert_eq!(unlock.key("lock").arg("you").invoke::<i64>(&mut conn).expect("EVALSHA"), 0);
    assert_eq!(unlock.key("lock").arg("me").invoke::<i64>(&mut conn).expect("EVALSHA"), 1);
    assert!(!conn.exists::<_, bool>("lock").expect("EXISTS"));
}

fn messages(mut listener: redis::Connection, mut speaker: redis::Connection) {
    let mut news = listener.as_pubsub();
    news.set_read_timeout(Some(support::PATIENCE)).expect("a timeout");
    news.subscribe("news").expect("SUBSCRIBE");
    news.psubscribe("new?").expect("PSUBSCRIBE");
    assert_eq!(speaker.publish::<_, _, i64>("news", "hello").expect("PUBLISH"), 2);
    let first = news.get_message().expect("a message");
    assert_eq!((first.get_channel_name(), first.get_payload_bytes()), ("news", &b"hello"[..]));
    let second = news.get_message().expect("a message");
    assert_eq!(second.get_pattern::<String>().expect("a pattern"), "new?");
}
