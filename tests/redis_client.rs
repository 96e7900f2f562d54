//! The `redis` crate as an application uses it: RESP2 and RESP3, pipelines, scans, expiry.

mod support;

use redis::Commands;
use std::collections::{HashMap, HashSet};
use support::{Server, Setup};

on_every_engine!(an_application_over_resp2, an_application_over_resp3, pipelines_and_scans);

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
