//! Transactions: what is queued, what is refused, and what WATCH notices.

use crate::command::testing::{Client, play, script};
use crate::store::Eviction;

#[test]
fn commands_wait_for_exec() {
    script(&[
        ("EXEC", "-ERR EXEC without MULTI"),
        ("DISCARD", "-ERR DISCARD without MULTI"),
        ("MULTI", "+OK"),
        ("SET a 1", "+QUEUED"),
        ("INCR a", "+QUEUED"),
        ("MGET a b", "+QUEUED"),
        ("LPUSH a", "-ERR unknown command 'LPUSH', with args beginning with: 'a' "),
        ("EXEC", "-EXECABORT Transaction discarded because of previous errors."),
        ("GET a", "$-1"),
        ("MULTI", "+OK"),
        ("SET a 1", "+QUEUED"),
        ("INCR a", "+QUEUED"),
        ("MGET a b", "+QUEUED"),
        ("SET a x GT", "+QUEUED"),
        ("PING", "+QUEUED"),
        ("EXEC", "*5 +OK :2 *2 $1 2 $-1 -ERR syntax error +PONG"),
        ("MULTI", "+OK"),
        ("EXEC", "*0"),
        ("MULTI", "+OK"),
        ("SET a 5", "+QUEUED"),
        (
            "EXEC x",
            "-EXECABORT Transaction discarded because of: wrong number of arguments for 'exec' command",
        ),
        ("EXEC", "-ERR EXEC without MULTI"),
        ("MULTI", "+OK"),
        ("SET a 5", "+QUEUED"),
        ("DISCARD", "+OK"),
        ("GET a", "$1 2"),
    ]);
}

#[test]
fn what_cannot_be_queued_spoils_the_transaction() {
    for (line, error) in [
        ("MULTI", "-ERR Command 'multi' not allowed inside a transaction"),
        ("WATCH a", "-ERR Command 'watch' not allowed inside a transaction"),
        ("CLIENT REPLY OFF", "-ERR Command 'client|reply' not allowed inside a transaction"),
        ("GET", "-ERR wrong number of arguments for 'get' command"),
        ("CLIENT NOSUCH", "-ERR unknown subcommand 'NOSUCH'. Try CLIENT HELP."),
    ] {
        script(&[
            ("MULTI", "+OK"),
            ("SET a 1", "+QUEUED"),
            (line, error),
            ("SET a 2", "+QUEUED"),
            ("EXEC", "-EXECABORT Transaction discarded because of previous errors."),
            ("EXISTS a", ":0"),
        ]);
    }
}

#[test]
fn every_kind_of_command_runs_inside() {
    let mut client = Client::new();
    play(
        &mut client,
        &[
            ("MSET a 1 b 2", "+OK"),
            ("MULTI", "+OK"),
            ("SELECT 1", "+QUEUED"),
            ("SET a one", "+QUEUED"),
            ("SELECT 0", "+QUEUED"),
            ("RENAME a c", "+QUEUED"),
            ("COPY c d", "+QUEUED"),
            ("DEL b c nosuch", "+QUEUED"),
            ("MSETNX b 1 e 2", "+QUEUED"),
            ("BITOP NOT f b", "+QUEUED"),
            ("LCS b d", "+QUEUED"),
            ("DBSIZE", "+QUEUED"),
            ("KEYS d", "+QUEUED"),
            ("SCAN 0 COUNT 100 MATCH e", "+QUEUED"),
            ("SWAPDB 0 1", "+QUEUED"),
            ("GET a", "+QUEUED"),
            ("INFO", "+QUEUED"),
            ("CONFIG RESETSTAT", "+QUEUED"),
            ("FLUSHALL", "+QUEUED"),
            ("RANDOMKEY", "+QUEUED"),
            (
                "EXEC",
                "*18 +OK +OK +OK +OK :1 :2 :1 :1 $1 1 :4 *1 $1 d *2 $1 0 *1 $1 e +OK $3 one $0  +OK +OK $-1",
            ),
        ],
    );
    assert!(client.session.watched.is_empty() && client.session.memory() == 0);
}

#[test]
fn a_watched_key_that_changed_stops_exec() {
    for (change, reply) in [
        ("SET w 1", "+OK"),
        ("APPEND w x", ":2"),
        ("EXPIRE w 100", ":1"),
        ("DEL w", ":1"),
        ("RENAME other w", "+OK"),
        ("FLUSHALL", "+OK"),
        ("SWAPDB 0 1", "+OK"),
        ("SETRANGE w 0 2", ":1"),
        ("@+5000", ""),
    ] {
        script(&[
            ("SET w 1 PX 4000", "+OK"),
            ("SET other 1", "+OK"),
            ("WATCH w missing", "+OK"),
            (change, reply),
            ("MULTI", "+OK"),
            ("SET done 1", "+QUEUED"),
            ("EXEC", "*-1"),
            ("EXISTS done", ":0"),
            ("MULTI", "+OK"),
            ("SET done 1", "+QUEUED"),
            ("EXEC", "*1 +OK"),
        ]);
    }
}

#[test]
fn what_changes_nothing_lets_exec_run() {
    for (line, reply) in [
        ("GET w", "$1 1"),
        ("EXISTS w", ":1"),
        ("SET other 2", "+OK"),
        ("SETNX w 2", ":0"),
        ("DEL missing", ":0"),
        ("DELIFEQ w 2", ":0"),
        ("@+1000", ""),
    ] {
        script(&[
            ("SET w 1", "+OK"),
            ("WATCH w missing", "+OK"),
            (line, reply),
            ("MULTI", "+OK"),
            ("GET w", "+QUEUED"),
            ("EXEC", "*1 $1 1"),
        ]);
    }
}

#[test]
fn unwatch_discard_and_reset_forget() {
    for forget in
        [&["UNWATCH"][..], &["MULTI", "DISCARD"], &["RESET"], &["MULTI", "RESET"], &["MULTI", "EXEC"]]
    {
        let mut client = Client::new();
        client.run("SET w 1");
        client.run("WATCH w");
        for line in forget {
            client.run(line);
        }
        play(&mut client, &[("SET w 2", "+OK"), ("MULTI", "+OK"), ("GET w", "+QUEUED"), ("EXEC", "*1 $1 2")]);
    }
}

#[test]
fn watching_counts_from_the_first_look() {
    script(&[
        ("WATCH w", "+OK"),
        ("SET w 1", "+OK"),
        ("WATCH w", "+OK"),
        ("MULTI", "+OK"),
        ("PING", "+QUEUED"),
        ("EXEC", "*-1"),
    ]);
}

#[test]
fn a_transaction_that_is_too_large_is_refused() {
    let mut client = Client::with(crate::command::testing::QuietHost, Eviction::Lru, 512 << 20);
    client.run("MULTI");
    let value = vec![b'v'; 1 << 20];
    let replies: Vec<Vec<u8>> = (0..20).map(|_| client.run_args(&[b"SET", b"k", &value])).collect();
    assert_eq!(replies[0], b"+QUEUED\r\n");
    assert!(replies.iter().any(|reply| reply.starts_with(b"-ERR the transaction has too many")));
    assert!(client.session.memory() < 1024, "what will not run is not kept");
    assert!(client.run("EXEC").starts_with("-EXECABORT"));
}

/// All partitions are held, nothing else can give way: writes evict from what is held, large ones too.
#[test]
fn writes_inside_make_room_for_themselves() {
    let mut client = Client::with(crate::command::testing::QuietHost, Eviction::Lru, 8 << 20);
    let (small, large) = (vec![b's'; 4000], vec![b'l'; 3 << 20]);
    for n in 0..80_000 {
        client.run_args(&[b"SET", format!("fill:{n}").as_bytes(), &small]);
    }
    for round in 0..30 {
        client.run("MULTI");
        let key = format!("large:{round}");
        client.run_args(&[b"SET", key.as_bytes(), &large]);
        client.run_args(&[b"MSET", b"x", &large, b"y", &small]);
        for n in 0..500 {
            client.run_args(&[b"SET", format!("more:{round}:{n}").as_bytes(), &small]);
        }
        let reply = client.run_args(&[b"EXEC"]);
        assert!(reply.starts_with(b"*502\r\n+OK\r\n"), "{:?}", &reply[..60]);
        let refused = reply.windows(3).filter(|part| *part == b"OOM").count();
        assert_eq!(refused, 0);
        assert!(client.store.budget().used() <= client.store.budget().limit());
    }
}
