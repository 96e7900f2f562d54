//! What does not depend on the value. The replies are those of Valkey 9.1.

use crate::command::testing::script;

#[test]
fn existence_and_kind() {
    script(&[
        ("SET k v", "+OK"),
        ("EXISTS k", ":1"),
        ("EXISTS nope", ":0"),
        ("TOUCH k", ":1"),
        ("TOUCH nope", ":0"),
        ("TYPE k", "+string"),
        ("TYPE nope", "+none"),
        ("DEL k", ":1"),
        ("DEL k", ":0"),
        ("SET k v", "+OK"),
        ("UNLINK k", ":1"),
        ("UNLINK k", ":0"),
        ("DEL", "-ERR wrong number of arguments for 'del' command"),
    ]);
}

#[test]
fn object() {
    script(&[
        ("OBJECT ENCODING nope", "$-1"),
        ("OBJECT FREQ nope", "$-1"),
        ("SET k 123", "+OK"),
        ("OBJECT ENCODING k", "$3 int"),
        ("SET k 0123", "+OK"),
        ("OBJECT ENCODING k", "$6 embstr"),
        ("SET k abc", "+OK"),
        ("OBJECT ENCODING k", "$6 embstr"),
        (
            "SET k aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
            "+OK",
        ),
        ("OBJECT ENCODING k", "$6 embstr"),
        (
            "SET k aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
            "+OK",
        ),
        ("OBJECT ENCODING k", "$3 raw"),
        (
            "OBJECT FREQ k",
            "-ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when switching between policies at runtime LRU and LFU data will take some time to adjust.",
        ),
        ("OBJECT REFCOUNT k", ":1"),
        ("OBJECT IDLETIME k", ":0"),
        ("OBJECT IDLETIME nope", "$-1"),
        ("OBJECT FOO k", "-ERR unknown subcommand 'FOO'. Try OBJECT HELP."),
        ("OBJECT ENCODING", "-ERR wrong number of arguments for 'object|encoding' command"),
        ("OBJECT", "-ERR wrong number of arguments for 'object' command"),
        ("object encoding k", "$3 raw"),
    ]);
}

#[test]
fn memory() {
    script(&[
        ("MEMORY USAGE nope", "$-1"),
        ("MEMORY USAGE nope SAMPLES 5", "$-1"),
        ("MEMORY USAGE nope SAMPLES", "-ERR syntax error"),
        ("MEMORY USAGE nope SAMPLES x", "-ERR value is not an integer or out of range"),
        ("MEMORY USAGE nope SAMPLES -1", "-ERR syntax error"),
        ("MEMORY USAGE nope FOO 1", "-ERR syntax error"),
        ("MEMORY USAGE", "-ERR wrong number of arguments for 'memory|usage' command"),
        ("MEMORY FOO", "-ERR unknown subcommand 'FOO'. Try MEMORY HELP."),
    ]);
}

#[test]
fn move_between_databases() {
    script(&[
        ("MOVE k 1", ":0"),
        ("SET k v EX 100", "+OK"),
        ("MOVE k 0", "-ERR source and destination objects are the same"),
        ("MOVE k 16", "-ERR DB index is out of range"),
        ("MOVE k -1", "-ERR DB index is out of range"),
        ("MOVE k abc", "-ERR value is not an integer or out of range"),
        ("MOVE k 3000000000", "-ERR value is out of range, value must between -2147483648 and 2147483647"),
        ("MOVE k 1", ":1"),
        ("EXISTS k", ":0"),
        ("SELECT 1", "+OK"),
        ("TTL k", ":100"),
        ("GET k", "$1 v"),
        ("MOVE k 0", ":1"),
        ("SET k here", "+OK"),
        ("MOVE k 0", ":0"),
        ("SELECT 0", "+OK"),
        ("GET k", "$1 v"),
    ]);
}
