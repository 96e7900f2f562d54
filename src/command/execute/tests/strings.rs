//! Values set, read and changed in parts. The replies are those of Valkey 9.1.

use crate::command::testing::script;

#[test]
fn set_and_its_conditions() {
    script(&[
        ("SET k v", "+OK"),
        ("GET k", "$1 v"),
        ("SET k w NX", "$-1"),
        ("SET k w XX", "+OK"),
        ("GET k", "$1 w"),
        ("SET new w XX", "$-1"),
        ("SET new w nx", "+OK"),
        ("SET k x IFEQ nope", "$-1"),
        ("SET k x IFEQ w", "+OK"),
        ("SET gone x IFEQ w", "$-1"),
        ("SET k y GET", "$1 x"),
        ("SET k z GET NX", "$1 y"),
        ("SET gone z GET", "$-1"),
        ("GET gone", "$1 z"),
        ("SET k q IFEQ y GET", "$1 y"),
        ("SET k q NX XX", "-ERR syntax error"),
        ("SET k q NX IFEQ a", "-ERR syntax error"),
        ("SET k q IFEQ", "-ERR syntax error"),
        ("SET k q IFEQ a IFEQ b", "-ERR syntax error"),
        ("SET k q NX NX", "$-1"),
        ("SET k q FOO", "-ERR syntax error"),
        ("SET k q PERSIST", "-ERR syntax error"),
        ("SET k \"\" GET", "$1 q"),
        ("STRLEN k", ":0"),
        ("SET \"\\x00\\xff\" \"a\\r\\nb\"", "+OK"),
        ("GET \"\\x00\\xff\"", "$4 a b"),
    ]);
}

#[test]
fn set_and_its_expiry() {
    script(&[
        ("SET k v EX 100", "+OK"),
        ("TTL k", ":100"),
        ("SET k v KEEPTTL", "+OK"),
        ("TTL k", ":100"),
        ("SET k v PX 100000", "+OK"),
        ("TTL k", ":100"),
        ("SET k v", "+OK"),
        ("TTL k", ":-1"),
        ("SET k v EX 100 GET", "$1 v"),
        ("SET k v KEEPTTL EX 100", "-ERR syntax error"),
        ("SET k v EX 100 KEEPTTL", "-ERR syntax error"),
        ("SET k v EX 100 PX 100", "-ERR syntax error"),
        ("SET k v EX", "-ERR syntax error"),
        ("SET k v EX 0", "-ERR invalid expire time in 'set' command"),
        ("SET k v EX -1", "-ERR invalid expire time in 'set' command"),
        ("SET k v EX abc", "-ERR value is not an integer or out of range"),
        ("SET k v PX 0", "-ERR invalid expire time in 'set' command"),
        ("SET k v EX 9223372036854775807", "-ERR invalid expire time in 'set' command"),
        ("SET k v EXAT 0", "-ERR invalid expire time in 'set' command"),
        ("SET k v EXAT 4102444800", "+OK"),
        ("EXPIRETIME k", ":4102444800"),
        ("SET k v PXAT 4102444800123", "+OK"),
        ("PEXPIRETIME k", ":4102444800123"),
        ("SET k v EXAT 1", "+OK"),
        ("EXISTS k", ":0"),
    ]);
}

#[test]
fn set_variants() {
    script(&[
        ("SETEX k 100 v", "+OK"),
        ("TTL k", ":100"),
        ("SETEX k 0 v", "-ERR invalid expire time in 'setex' command"),
        ("SETEX k abc v", "-ERR value is not an integer or out of range"),
        ("PSETEX k 100000 v", "+OK"),
        ("PSETEX k -5 v", "-ERR invalid expire time in 'psetex' command"),
        ("TTL k", ":100"),
        ("SETNX k w", ":0"),
        ("SETNX m w", ":1"),
        ("GETSET m x", "$1 w"),
        ("TTL k", ":100"),
        ("GETSET k y", "$1 v"),
        ("TTL k", ":-1"),
        ("GETSET gone y", "$-1"),
        ("GETDEL gone", "$1 y"),
        ("GETDEL gone", "$-1"),
        ("MSET a 1", "+OK"),
        ("MSET a", "-ERR wrong number of arguments for 'mset' command"),
        ("MGET a", "*1 $1 1"),
        ("MGET nope", "*1 $-1"),
        ("MSET a 1 b", "-ERR wrong number of arguments for 'mset' command"),
    ]);
}

#[test]
fn getex() {
    script(&[
        ("SET k v", "+OK"),
        ("GETEX k", "$1 v"),
        ("GETEX k EX 100", "$1 v"),
        ("TTL k", ":100"),
        ("GETEX k", "$1 v"),
        ("TTL k", ":100"),
        ("GETEX k PERSIST", "$1 v"),
        ("TTL k", ":-1"),
        ("GETEX k EX 100 PERSIST", "-ERR syntax error"),
        ("GETEX k PERSIST EX 100", "-ERR syntax error"),
        ("GETEX k EX 0", "-ERR invalid expire time in 'getex' command"),
        ("GETEX nope EX 0", "-ERR invalid expire time in 'getex' command"),
        ("GETEX nope EX 10", "$-1"),
        ("GETEX k KEEPTTL", "-ERR syntax error"),
        ("GETEX k EX", "-ERR syntax error"),
        ("GETEX k PXAT 1", "$1 v"),
        ("EXISTS k", ":0"),
    ]);
}

#[test]
fn append_and_ranges() {
    script(&[
        ("APPEND k Hello", ":5"),
        ("APPEND k \" World\"", ":11"),
        ("GET k", "$11 Hello World"),
        ("STRLEN k", ":11"),
        ("STRLEN nope", ":0"),
        ("GETRANGE k 0 4", "$5 Hello"),
        ("GETRANGE k -5 -1", "$5 World"),
        ("GETRANGE k 0 -1", "$11 Hello World"),
        ("GETRANGE k 5 2", "$0 "),
        ("GETRANGE k -1 -5", "$0 "),
        ("GETRANGE k -100 3", "$4 Hell"),
        ("GETRANGE k 3 9223372036854775807", "$8 lo World"),
        ("GETRANGE k -9223372036854775808 -9223372036854775808", "$1 H"),
        ("GETRANGE nope 0 -1", "$0 "),
        ("GETRANGE k a 1", "-ERR value is not an integer or out of range"),
        ("SUBSTR k 0 1", "$2 He"),
        ("SETRANGE k 6 Redis", ":11"),
        ("GET k", "$11 Hello Redis"),
        ("SETRANGE k 15 x", ":16"),
        ("GET k", "$16 Hello Redis\u{0}\u{0}\u{0}\u{0}x"),
        ("SETRANGE n 3 ab", ":5"),
        ("GET n", "$5 \u{0}\u{0}\u{0}ab"),
        ("SETRANGE gone 5 \"\"", ":0"),
        ("EXISTS gone", ":0"),
        ("SETRANGE k 900 \"\"", ":16"),
        ("SETRANGE k -1 x", "-ERR offset is out of range"),
        ("SETRANGE k 536870912 x", "-ERR string exceeds maximum allowed size (proto-max-bulk-len)"),
        ("SETRANGE k 9223372036854775807 x", "-ERR string exceeds maximum allowed size (proto-max-bulk-len)"),
        ("SETRANGE k abc x", "-ERR value is not an integer or out of range"),
        ("SET e 1 EX 100", "+OK"),
        ("APPEND e 2", ":2"),
        ("SETRANGE e 0 3", ":2"),
        ("TTL e", ":100"),
        ("GET e", "$2 32"),
    ]);
}

#[test]
fn compare_and_delete() {
    script(&[
        ("SET k v", "+OK"),
        ("DELIFEQ k w", ":0"),
        ("DELIFEQ k v", ":1"),
        ("DELIFEQ k v", ":0"),
        ("DELIFEQ k", "-ERR wrong number of arguments for 'delifeq' command"),
    ]);
}
