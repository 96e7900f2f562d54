//! Databases: what is in them and which one is meant.

use super::client;
use crate::command::testing::{BEGIN_MS, play};

#[test]
fn databases_are_apart() {
    let mut client = super::client();
    play(
        &mut client,
        &[
            ("MSET a 1 b 2", "+OK"),
            ("SELECT 15", "+OK"),
            ("MGET a b", "*2 $-1 $-1"),
            ("MSET a 3 c 4", "+OK"),
            ("DBSIZE", ":2"),
            ("SWAPDB 0 15", "+OK"),
            ("MGET a b", "*2 $1 1 $1 2"),
            ("SWAPDB 15 15", "+OK"),
            ("SELECT 0", "+OK"),
            ("MGET a c", "*2 $1 3 $1 4"),
            ("FLUSHDB", "+OK"),
            ("DBSIZE", ":0"),
            ("SELECT 15", "+OK"),
            ("DBSIZE", ":2"),
            ("FLUSHALL", "+OK"),
            ("DBSIZE", ":0"),
        ],
    );
}

#[test]
fn databases_that_are_not_there() {
    play(
        &mut client(),
        &[
            ("SELECT 16", "-ERR DB index is out of range"),
            ("SELECT -1", "-ERR DB index is out of range"),
            ("SELECT x", "-ERR value is not an integer or out of range"),
            ("SELECT 99999999999999999999", "-ERR value is not an integer or out of range"),
            ("SWAPDB 0 99", "-ERR DB index is out of range"),
            ("SWAPDB x 1", "-ERR invalid first DB index"),
            ("SWAPDB 0 x", "-ERR invalid second DB index"),
            ("FLUSHDB FOO", "-ERR syntax error"),
            ("FLUSHDB SYNC ASYNC", "-ERR syntax error"),
            ("FLUSHALL a b", "-ERR syntax error"),
            ("FLUSHALL sync", "+OK"),
            ("FLUSHDB ASYNC", "+OK"),
        ],
    );
}

#[test]
fn expired_keys_are_not_there() {
    let mut client = super::client();
    client.run("MSETEX 2 a 1 b 2 PX 5");
    client.now_ms = BEGIN_MS + 5;
    play(
        &mut client,
        &[
            ("EXISTS a b", ":0"),
            ("RANDOMKEY", "$-1"),
            ("KEYS *", "*0"),
            ("SCAN 0", "*2 $1 0 *0"),
            ("RENAME a c", "-ERR no such key"),
            ("DEL a b", ":0"),
        ],
    );
}
