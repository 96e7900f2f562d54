//! What is refused before it runs. The replies are those of Valkey 9.1.

use super::*;
use crate::command::testing::{Client, script};

#[test]
fn what_cannot_be_planned() {
    script(&[
        ("FOO", "-ERR unknown command 'FOO', with args beginning with: "),
        ("foo a b", "-ERR unknown command 'foo', with args beginning with: 'a' 'b' "),
        ("HSET h f v", "-ERR unknown command 'HSET', with args beginning with: 'h' 'f' 'v' "),
        ("GET", "-ERR wrong number of arguments for 'get' command"),
        ("get a b", "-ERR wrong number of arguments for 'get' command"),
        ("SET k", "-ERR wrong number of arguments for 'set' command"),
        ("set", "-ERR wrong number of arguments for 'set' command"),
        ("DEL", "-ERR wrong number of arguments for 'del' command"),
        ("CLIENT", "-ERR wrong number of arguments for 'client' command"),
        ("client foo", "-ERR unknown subcommand 'foo'. Try CLIENT HELP."),
        ("OBJECT FOO k", "-ERR unknown subcommand 'FOO'. Try OBJECT HELP."),
        ("MEMORY usage", "-ERR wrong number of arguments for 'memory|usage' command"),
        ("CONFIG", "-ERR wrong number of arguments for 'config' command"),
        ("ping a b", "-ERR wrong number of arguments for 'ping' command"),
        ("FOO \"a\\x00b\"", "-ERR unknown command 'FOO', with args beginning with: 'a' "),
    ]);
}

#[test]
fn errors_repeat_only_so_much_of_the_command() {
    let mut client = Client::new();
    let (long, cut) = ("a".repeat(140), |len| "a".repeat(len));
    let begin = "-ERR unknown command";
    for (line, expected) in [
        (format!("FOO {long} b"), format!("{begin} 'FOO', with args beginning with: '{}' ", cut(128))),
        (
            format!("FOO bb {long} c"),
            format!("{begin} 'FOO', with args beginning with: 'bb' '{}' ", cut(123)),
        ),
        (format!("{long} x"), format!("{begin} '{}', with args beginning with: 'x' ", cut(128))),
        (format!("CLIENT {long}"), format!("-ERR unknown subcommand '{}'. Try CLIENT HELP.", cut(128))),
    ] {
        assert_eq!(client.run(&line), expected);
    }
}

#[test]
fn without_authentication_only_what_leads_to_it_is_allowed() {
    let mut client = Client::new();
    client.session.authenticated = false;
    for line in ["PING", "GET k", "SET k v", "DEL a b", "CLIENT ID", "COMMAND", "INFO", "OBJECT ENCODING k"] {
        assert_eq!(client.run(line), "-NOAUTH Authentication required.", "{line}");
    }
    // What is wrong in itself is told anybody.
    assert_eq!(client.run("GET"), "-ERR wrong number of arguments for 'get' command");
    assert_eq!(client.run("FOO"), "-ERR unknown command 'FOO', with args beginning with: ");
    assert_eq!(client.run("RESET"), "+RESET");
    let stats = &client.stats;
    assert_eq!((stats.errors, stats.hits, stats.misses), (10, 0, 0));
}

#[test]
fn calls_are_counted_by_row() {
    let mut client = Client::new();
    for line in ["GET k", "get k", "SET k v", "MEMORY USAGE k", "FOO", "GET"] {
        client.run(line);
    }
    let calls = |name: &str| client.stats.calls[COMMANDS.iter().position(|spec| spec.name == name).unwrap()];
    assert_eq!((calls("get"), calls("set"), calls("memory"), calls("del")), (3, 1, 1, 0));
}
