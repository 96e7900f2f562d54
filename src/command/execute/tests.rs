//! Command lines and the replies that Valkey 9.1 gives to them.

use crate::command::testing::script;

#[test]
fn first_slice() {
    script(&[
        ("PING", "+PONG"),
        ("get k", "$-1"),
        ("SET k v", "+OK"),
        ("GET k", "$1 v"),
        ("TTL k", ":-1"),
        ("EXPIRE k 10", ":1"),
        ("TTL k", ":10"),
        ("@+9600", ""),
        ("TTL k", ":0"),
        ("PTTL k", ":400"),
        ("@+400", ""),
        ("GET k", "$-1"),
        ("TTL k", ":-2"),
        ("INCR n", ":1"),
        ("INCRBY n -5", ":-4"),
        ("DEL n", ":1"),
        ("DEL n", ":0"),
    ]);
}
