//! SCAN, KEYS, RANDOMKEY.

use super::fake_host::FakeHost;
use crate::command::testing::{Client, play};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

#[test]
fn scan_arguments() {
    let mut client = super::client();
    play(
        &mut client,
        &[
            ("MSET a 1 a 1", "+OK"),
            ("SCAN x", "-ERR invalid cursor"),
            ("SCAN -1", "-ERR invalid cursor"),
            ("SCAN 0x", "-ERR invalid cursor"),
            ("SCAN 18446744073709551616", "-ERR invalid cursor"),
            ("SCAN 0 COUNT", "-ERR syntax error"),
            ("SCAN 0 COUNT 0", "-ERR syntax error"),
            ("SCAN 0 COUNT -1", "-ERR syntax error"),
            ("SCAN 0 COUNT x", "-ERR value is not an integer or out of range"),
            ("SCAN 0 MATCH", "-ERR syntax error"),
            ("SCAN 0 FOO 1", "-ERR syntax error"),
            ("SCAN 0 TYPE list", "*2 $1 0 *0"),
            ("SCAN 0 TYPE foo", "-ERR unknown type name 'foo'"),
            ("SCAN 0 TYPE STRING", "*2 $1 0 *1 $1 a"),
            ("SCAN +0", "*2 $1 0 *1 $1 a"),
            ("SCAN 00 MATCH a COUNT 10 TYPE string", "*2 $1 0 *1 $1 a"),
            ("SCAN 0 MATCH b", "*2 $1 0 *0"),
            ("KEYS *", "*1 $1 a"),
            ("KEYS b*", "*0"),
            ("RANDOMKEY", "$1 a"),
            ("FLUSHALL", "+OK"),
            ("RANDOMKEY", "$-1"),
            ("SCAN 0", "*2 $1 0 *0"),
        ],
    );
    // A cursor that no call returned is harmless.
    assert!(client.run("SCAN 18446744073709551615").starts_with("*2 "));
}

/// The keys in an array reply whose words have no spaces.
fn keys_in(words: &[&str]) -> Vec<String> {
    words.iter().skip(1).step_by(2).map(|key| key.to_string()).collect()
}

/// One SCAN call: the next cursor, and the keys.
fn scan(client: &mut Client<FakeHost>, cursor: &str, count: usize) -> (String, Vec<String>) {
    let reply = client.run(&format!("SCAN {cursor} COUNT {count}"));
    let words: Vec<&str> = reply.split(' ').collect();
    (words[2].to_owned(), keys_in(&words[4..]))
}

#[test]
fn keys_and_randomkey_reach_all_partitions() {
    let mut client = super::client();
    let names: BTreeSet<String> = (0..500).map(|n| format!("key:{n}")).collect();
    for name in &names {
        client.run(&format!("MSET {name} 1 {name} 1"));
    }
    let reply = client.run("KEYS key:*");
    let words: Vec<&str> = reply.split(' ').collect();
    let found = keys_in(&words[1..]);
    assert_eq!(found.len(), 500);
    assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), names);
    let drawn: BTreeSet<String> = (0..2000).map(|_| client.run("RANDOMKEY")).collect();
    assert!(drawn.len() >= 8, "{} different ones", drawn.len());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// What is there from the first call to the last is seen, however much comes and goes meanwhile.
    #[test]
    fn scan_sees_what_stays(count in 1_usize..60, steps in proptest::collection::vec((any::<bool>(), 0_u32..4000), 0..400)) {
        let mut client = super::client();
        let stay: BTreeSet<String> = (0..300).map(|n| format!("stay:{n}")).collect();
        for name in &stay {
            client.run(&format!("MSET {name} 1 {name} 1"));
        }
        let mut seen: BTreeMap<String, usize> = BTreeMap::new();
        let mut cursor = "0".to_owned();
        let mut changes = steps.into_iter();
        for calls in 0.. {
            prop_assert!(calls < 10_000, "the scan does not end");
            let (next, keys) = scan(&mut client, &cursor, count);
            keys.into_iter().for_each(|key| *seen.entry(key).or_default() += 1);
            if next == "0" {
                break;
            }
            cursor = next;
            // Between two calls many keys come, or go.
            for (come, n) in changes.by_ref().take(20) {
                for k in 0..20 {
                    let key = format!("passing:{}", n * 20 + k);
                    client.run(&if come { format!("MSET {key} 1 {key} 1") } else { format!("DEL {key} {key}") });
                }
            }
        }
        let missed: Vec<_> = stay.iter().filter(|key| !seen.contains_key(*key)).collect();
        prop_assert!(missed.is_empty(), "missed {:?}", missed);
    }
}

#[test]
fn cursors_are_small_numbers() {
    let mut client = super::client();
    for n in 0..2000 {
        client.run(&format!("MSET key:{n} 1 key:{n} 1"));
    }
    let (mut cursor, mut largest) = ("0".to_owned(), 0);
    loop {
        let (next, _) = scan(&mut client, &cursor, 10);
        if next == "0" {
            break;
        }
        largest = largest.max(next.parse::<u64>().unwrap());
        cursor = next;
    }
    // A few hundred buckets in four partitions.
    assert!((100..1 << 16).contains(&largest), "{largest}");
}

#[test]
fn keys_refuses_an_answer_that_would_fill_the_memory() {
    let mut client = super::client();
    let key = "k".repeat(60_000);
    // The limit is 256 MiB, and an answer may collect a sixty-fourth of it.
    for n in 0..80 {
        client.run(&format!("MSET {key}{n} 1 {key}{n} 1"));
    }
    assert_eq!(client.run("KEYS k*"), "-ERR too many keys match for one reply, please use SCAN");
    assert!(client.run("KEYS *k7").starts_with("*1 $60001 kkk"));
}
