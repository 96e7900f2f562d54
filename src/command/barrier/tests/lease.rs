//! Leases: KV.GET, KV.SET, KV.STALE, KV.RELEASE.

use super::client;
use crate::command::testing::{Client, play};
use crate::command::{Flow, Host};

/// Value, lease, stale and CAS of a KV.GET.
fn get<H: Host>(client: &mut Client<H>, line: &str) -> (String, String, String, String) {
    let reply = client.run(line);
    let words: Vec<&str> = reply.split(' ').collect();
    let field = |name: &str| {
        let at = words.iter().position(|word| *word == name).unwrap_or_else(|| panic!("{name} in {reply}"));
        if words[at + 1].starts_with('$') && words[at + 1] != "$-1" { words[at + 2] } else { words[at + 1] }
            .to_owned()
    };
    (field("value"), field("lease"), field("stale"), field("cas"))
}

fn text(value: &str, lease: &str, stale: &str) -> (String, String, String) {
    (value.to_owned(), lease.to_owned(), stale.to_owned())
}

fn seen<H: Host>(client: &mut Client<H>, line: &str) -> (String, String, String) {
    let (value, lease, stale, _) = get(client, line);
    (value, lease, stale)
}

#[test]
fn one_wins_a_miss_and_the_others_are_told() {
    let mut client = client();
    assert_eq!(client.run("KV.GET k"), "$-1");
    let (value, lease, _, cas) = get(&mut client, "KV.GET k LEASE 1000");
    assert_eq!((value.as_str(), lease.as_str()), ("$-1", "won"));
    assert_eq!(seen(&mut client, "KV.GET k LEASE 1000"), text("$-1", "taken", ":0"));
    // To commands that know nothing of leases there is no such key yet.
    play(&mut client, &[("GET k", "$-1"), ("EXISTS k", ":0"), ("TTL k", ":-2"), ("DBSIZE", ":0")]);
    assert_eq!(client.run("KV.SET k v CAS 1"), "$-1", "somebody else's");
    assert_eq!(client.run(&format!("KV.SET k v CAS {cas} EX 100")), "+OK");
    assert_eq!(seen(&mut client, "KV.GET k LEASE 1000"), text("v", "none", ":0"));
    assert_eq!(client.run(&format!("KV.SET k w CAS {cas}")), "$-1", "once is enough");
    play(
        &mut client,
        &[("GET k", "$1 v"), ("TTL k", ":100"), ("DBSIZE", ":1"), ("DEL k", ":1"), ("DBSIZE", ":0")],
    );
}

#[test]
fn a_lease_ends_and_can_be_given_back() {
    let mut client = client();
    let (_, _, _, cas) = get(&mut client, "KV.GET k LEASE 1000");
    assert_eq!(client.run("KV.RELEASE k 1"), "$-1");
    assert_eq!(client.run(&format!("KV.RELEASE k {cas}")), "+OK");
    assert_eq!(seen(&mut client, "KV.GET k LEASE 1000"), text("$-1", "won", ":0"));
    client.run("@+1001");
    assert_eq!(client.run("KV.GET k"), "$-1");
    let (_, lease, _, cas) = get(&mut client, "KV.GET k LEASE 1000");
    assert_eq!(lease, "won");
    // A plain SET fills it as well, and takes the lease away.
    play(&mut client, &[("SET k other", "+OK")]);
    assert_eq!(client.run(&format!("KV.SET k late CAS {cas}")), "$-1");
    assert_eq!(client.run("GET k"), "$5 other");
}

#[test]
fn stale_values_are_served_while_one_computes_anew() {
    let mut client = client();
    play(
        &mut client,
        &[
            ("KV.STALE k", "$-1"),
            ("SET k old EX 100", "+OK"),
            ("KV.STALE k PX 5000", "+OK"),
            ("PTTL k", ":5000"),
        ],
    );
    let (value, lease, stale, cas) = get(&mut client, "KV.GET k");
    assert_eq!((value.as_str(), lease.as_str(), stale.as_str()), ("old", "won", ":1"));
    assert_eq!(seen(&mut client, "KV.GET k LEASE 9 WAIT 5000"), text("old", "taken", ":1"));
    assert_eq!(client.flow, Flow::Continue, "there is something to serve: nobody waits");
    assert_eq!(client.run("GET k"), "$3 old");
    assert_eq!(client.run(&format!("KV.SET k new CAS {cas} PX 9000")), "+OK");
    assert_eq!(seen(&mut client, "KV.GET k"), text("new", "none", ":0"));
}

#[test]
fn what_expires_soon_is_computed_ahead_by_one() {
    let mut client = client();
    play(&mut client, &[("SET k v PX 10000", "+OK")]);
    assert_eq!(seen(&mut client, "KV.GET k RECACHE 5000"), text("v", "none", ":0"));
    client.run("@+6000");
    assert_eq!(seen(&mut client, "KV.GET k RECACHE 5000"), text("v", "won", ":0"));
    assert_eq!(seen(&mut client, "KV.GET k RECACHE 5000"), text("v", "taken", ":0"));
}

#[test]
fn who_has_not_won_is_parked() {
    let mut client = client();
    let begin = client.now_ms;
    let (_, _, _, cas) = get(&mut client, "KV.GET k LEASE 1000");
    assert_eq!(client.run("KV.GET k LEASE 1000 WAIT 300"), "");
    assert_eq!(client.flow, Flow::Park { until_ms: begin + 300 });
    client.run("@+200");
    assert_eq!(client.run("KV.GET k LEASE 1000 WAIT 300"), "");
    assert_eq!(client.flow, Flow::Park { until_ms: begin + 300 }, "the time goes on");
    client.run("@+100");
    assert_eq!(seen(&mut client, "KV.GET k LEASE 1000 WAIT 300"), text("$-1", "taken", ":0"));
    // No longer than the lease: then it may win itself.
    assert_eq!(client.run("KV.GET k LEASE 1000 WAIT 5000"), "");
    assert_eq!(client.flow, Flow::Park { until_ms: begin + 1000 });
    assert!(!client.store.wakes().is_pending());
    assert_eq!(client.run(&format!("KV.SET k v CAS {cas}")), "+OK");
    let hash = client.store.key(0, b"k").hash;
    assert_eq!(client.store.wakes().take().hashes, [hash]);
    assert_eq!(seen(&mut client, "KV.GET k LEASE 1000 WAIT 5000"), text("v", "none", ":0"));
    assert_eq!(client.session.wait_until_ms, None);
}

#[test]
fn whatever_ends_a_lease_wakes_who_waits() {
    let endings = ["SET k v", "DEL k", "FLUSHALL", "APPEND k v", "RENAME other k", "@+1001", "KV.RELEASE"];
    for ending in endings {
        let mut client = client();
        client.run("SET other v");
        let (_, _, _, cas) = get(&mut client, "KV.GET k LEASE 1000");
        assert_eq!(client.run("KV.GET k LEASE 1000 WAIT 900"), "", "{ending}");
        assert!(!client.store.wakes().is_pending(), "{ending}");
        if ending == "KV.RELEASE" {
            client.run(&format!("KV.RELEASE k {cas}"));
        } else {
            client.run(ending);
        }
        client.run("GET k");
        assert!(client.store.wakes().is_pending(), "{ending}");
        // What was computed before is not to be stored any more.
        assert_eq!(client.run(&format!("KV.SET k outdated CAS {cas}")), "$-1", "{ending}");
    }
}

#[test]
fn bad_options_are_named() {
    let mut client = client();
    play(
        &mut client,
        &[
            ("KV.GET k LEASE", "-ERR syntax error"),
            ("KV.GET k LEASE x", "-ERR value is not an integer or out of range"),
            ("KV.GET k LEASE -1", "-ERR LEASE takes 0 to 86400000 milliseconds"),
            ("KV.GET k WAIT 700000", "-ERR WAIT takes 0 to 600000 milliseconds"),
            ("KV.GET k LEASE 1 LEASE 2", "-ERR syntax error"),
            ("KV.GET k NOPE 1", "-ERR syntax error"),
            ("KV.SET k v CAS -1", "-ERR CAS is not a number of 64 bits without sign"),
            ("KV.SET k v EX 0", "-ERR invalid expire time in 'kv.set' command"),
            ("KV.SET k v EX 1 PX 1", "-ERR syntax error"),
            ("KV.STALE k PX", "-ERR syntax error"),
            ("KV.RELEASE k x", "-ERR CAS is not a number of 64 bits without sign"),
        ],
    );
}

#[test]
fn what_gives_others_a_chance_wakes_them() {
    for chance in ["SWAPDB 0 1", "KV.STALE k"] {
        let mut client = client();
        get(&mut client, "KV.GET k LEASE 1000");
        assert_eq!(client.run("KV.GET k LEASE 1000 WAIT 900"), "");
        client.run(chance);
        let notes = client.store.wakes().take();
        assert!(notes.all || notes.hashes == [client.store.key(0, b"k").hash], "{chance}");
        assert_eq!(seen(&mut client, "KV.GET k LEASE 1000 WAIT 900").1, "won", "{chance}");
    }
}

/// An item that is filled where its placeholder lies is counted as one from then on.
#[test]
fn a_filled_placeholder_is_counted() {
    let mut client = client();
    let (_, _, _, cas) = get(&mut client, "KV.GET k LEASE 1000");
    assert_eq!(client.run(&format!("KV.SET k \"\" CAS {cas} PX 900")), "+OK");
    play(&mut client, &[("DBSIZE", ":1"), ("PTTL k", ":900"), ("DEL k", ":1"), ("DBSIZE", ":0")]);
}
