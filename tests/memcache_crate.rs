//! The `memcache` crate as an application uses it, over memcached's text and its binary protocol. The same runs against memcached
//! itself, so that what is expected here is what memcached does.

mod support;

use memcache::{Client, CommandError, MemcacheError};
use std::collections::HashMap;
use std::time::Duration;
use support::{Server, Setup, memcached_binary};

on_every_engine!(the_text_protocol, the_binary_protocol);

fn the_text_protocol(setup: Setup) {
    let server = setup.start(&[]);
    application(&client(&server.address().to_string(), "ascii"));
}

fn the_binary_protocol(setup: Setup) {
    let server = setup.start(&[]);
    let cache = client(&server.address().to_string(), "binary");
    application(&cache);
    stats(&cache);
}

#[test]
fn memcached_itself() {
    let Some(binary) = memcached_binary() else { return };
    let memcached = Server::start_memcached(&binary);
    let address = memcached.address().to_string();
    application(&client(&address, "ascii"));
    let cache = client(&address, "binary");
    application(&cache);
    stats(&cache);
}

fn client(address: &str, protocol: &str) -> Client {
    Client::builder()
        .add_server(format!("memcache://{address}?protocol={protocol}&tcp_nodelay=true"))
        .expect("a correct URL")
        // No read timeout: with one, a read that a halt of the whole machine interrupts is not restarted (signal(7)), and this client fails.
        .with_connection_timeout(Duration::from_secs(5))
        .build()
        .expect("a connection")
}

fn application(cache: &Client) {
    cache.flush().expect("flush");
    values(cache);
    conditions(cache);
    counters(cache);
    for (_, version) in cache.version().expect("version") {
        assert!(!version.is_empty());
    }
    cache.flush().expect("flush");
    assert_eq!(cache.get::<String>("text").expect("get"), None);
}

/// Over the text protocol this client reads one line of them.
fn stats(cache: &Client) {
    for (_, stats) in cache.stats().expect("stats") {
        assert!(stats["cmd_get"].parse::<u64>().expect("a number") > 0, "{stats:?}");
    }
}

fn values(cache: &Client) {
    cache.set("text", "wörld", 100).expect("set");
    assert_eq!(cache.get::<String>("text").expect("get").as_deref(), Some("wörld"));
    assert_eq!(cache.get::<String>("none").expect("get"), None);
    let binary: Vec<u8> = (0..=255).cycle().take(500_000).collect();
    cache.set("binary", &binary[..], 0).expect("set");
    assert_eq!(cache.get::<Vec<u8>>("binary").expect("get"), Some(binary));
    cache.set("empty", "", 0).expect("set");
    assert_eq!(cache.get::<String>("empty").expect("get").as_deref(), Some(""));

    for i in 0..100 {
        cache.set(&format!("many:{i}"), i, 100).expect("set");
    }
    let keys: Vec<String> = (0..110).map(|i| format!("many:{i}")).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let found: HashMap<String, i32> = cache.gets(&keys).expect("gets");
    assert_eq!(found.len(), 100);
    assert!((0..100).all(|i| found[&format!("many:{i}")] == i));

    assert!(cache.touch("text", 100).expect("touch"));
    assert!(!cache.touch("none", 100).expect("touch"));
    assert!(cache.delete("binary").expect("delete"));
    assert!(!cache.delete("binary").expect("delete"));
    let key = "k".repeat(250);
    cache.set(&key, "long", 0).expect("set");
    assert_eq!(cache.get::<String>(&key).expect("get").as_deref(), Some("long"));
}

fn conditions(cache: &Client) {
    // Over text this client says the same whether a value was stored or not: the value tells.
    let get = || cache.get::<String>("fresh").expect("get");
    let _ = cache.replace("fresh", "0", 0);
    assert_eq!(get(), None);
    cache.add("fresh", "1", 0).expect("add");
    let _ = cache.add("fresh", "2", 0);
    assert_eq!(get().as_deref(), Some("1"));
    cache.replace("fresh", "3", 0).expect("replace");
    cache.append("fresh", "4").expect("append");
    cache.prepend("fresh", "2").expect("prepend");

    let mut found: HashMap<String, (Vec<u8>, u32, Option<u64>)> = cache.gets(&["fresh"]).expect("gets");
    let (value, _, token) = found.remove("fresh").expect("the key");
    let token = token.expect("a token");
    assert_eq!(value, b"234");
    assert!(cache.cas("fresh", "new", 0, token).expect("cas"));
    assert!(!cache.cas("fresh", "newer", 0, token).expect("cas"));
    assert_eq!(get().as_deref(), Some("new"));
}

fn counters(cache: &Client) {
    cache.set("n", 10, 0).expect("set");
    assert_eq!(cache.increment("n", 5).expect("increment"), 15);
    assert_eq!(cache.decrement("n", 1).expect("decrement"), 14);
    assert_eq!(cache.decrement("n", 100).expect("decrement"), 0);
    match cache.decrement("none", 1) {
        // Over the binary protocol this client asks for a new counter.
        Ok(value) => assert_eq!(value, 0),
        Err(MemcacheError::CommandError(error)) => assert_eq!(error, CommandError::KeyNotFound),
        Err(error) => panic!("{error}"),
    }
}
