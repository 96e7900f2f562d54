//! Scripts between clients: one at a time, known to all workers, and never for long.

mod support;

use std::time::{Duration, Instant};
use support::{Setup, Value, bulk};

on_every_engine!(
    scripts_are_atomic,
    a_script_is_known_to_all_connections,
    an_endless_script_is_stopped_for_everybody,
    a_locked_resource_has_one_owner,
    a_pause_of_writes_holds_scripts,
);

/// Scripts move amounts between keys of any partition, and look at all of them.
fn scripts_are_atomic(setup: Setup) {
    const MOVE: &str = "redis.call('decrby', KEYS[1], ARGV[1]) redis.call('incrby', KEYS[2], ARGV[1])";
    const SUM: &str = "local sum = 0 for i = 0, 9 do sum = sum + tonumber(redis.call('get', 'account:' .. i)) end return sum";
    let server = setup.start(&[]);
    let mut conn = server.connect();
    for account in 0..10 {
        conn.run(&format!("SET account:{account} 100"));
    }
    std::thread::scope(|scope| {
        for mover in 0..3 {
            let mut conn = server.connect();
            scope.spawn(move || {
                for round in 0..400 {
                    let (from, to) =
                        (format!("account:{}", (mover + round) % 10), format!("account:{}", round * 3 % 10));
                    let reply = conn.command(&["EVAL", MOVE, "2", &from, &to, "5"]);
                    assert_eq!(reply, Value::Nil);
                }
            });
        }
        for _ in 0..200 {
            assert_eq!(conn.command(&["EVAL", SUM, "0"]), Value::Int(1000));
        }
    });
}

fn a_script_is_known_to_all_connections(setup: Setup) {
    let server = setup.start(&[]);
    // So many that every worker has some.
    let mut conns: Vec<_> = (0..16).map(|_| server.connect()).collect();
    let sha = conns[0].command(&["SCRIPT", "LOAD", "return KEYS[1] .. ARGV[1]"]).text();
    for conn in &mut conns {
        assert_eq!(conn.command(&["EVALSHA", &sha, "1", "a", "b"]), bulk("ab"));
    }
    assert_eq!(conns[3].run("SCRIPT FLUSH"), Value::Simple("OK".into()));
    for conn in &mut conns {
        let reply = conn.command(&["EVALSHA", &sha, "1", "a", "b"]);
        assert_eq!(reply, Value::Error("NOSCRIPT No matching script. Please use EVAL.".into()));
    }
}

fn an_endless_script_is_stopped_for_everybody(setup: Setup) {
    let server = setup.start(&["--lua-time-limit", "100"]);
    let mut conn = server.connect();
    assert_eq!(
        conn.run("CONFIG GET lua-time-limit"),
        Value::Array(vec![bulk("lua-time-limit"), bulk("100")])
    );
    for source in [
        "while true do pcall(function() while true do end end) end",
        "return string.find(string.rep('a', 100), string.rep('a-', 40) .. 'b')",
        "redis.call('set', 'big', string.rep('x', 400000)) while true do redis.call('get', 'big') end",
        "local a, t = string.rep('x', 200000), {} for i = 1, 100000 do t[i] = a .. (i % 3) if i > 3 then t[i] = t[i % 3 + 1] end end \
         table.sort(t) return 1",
    ] {
        let begun = Instant::now();
        let reply = conn.command(&["EVAL", source, "0"]);
        let Value::Error(text) = reply else { panic!("{source}: {reply:?}") };
        assert!(
            text.starts_with("ERR the script was stopped: it ran for longer than lua-time-limit (100 ms)."),
            "{text}"
        );
        // A hundred milliseconds; the rest is for a machine that does much else.
        assert!(begun.elapsed() < Duration::from_secs(5), "{source}: {:?}", begun.elapsed());
        assert_eq!(server.connect().run("PING"), Value::Simple("PONG".into()));
    }
    let metrics = support::Metrics::read(server.admin_address());
    assert_eq!(metrics.sum("kv_scripts_stopped_total"), Some(4.0));
    // A few tables that stand for more values than there is time, or room, for.
    for source in [
        "local t = {} for _ = 1, 60 do t = {t, t} end return t",
        "local t = {} for _ = 1, 60 do t = {map = {[1] = t, [2] = t}} end return t",
    ] {
        let begun = Instant::now();
        assert!(conn.command(&["EVAL", source, "0"]).is_error(), "{source}");
        assert!(begun.elapsed() < Duration::from_secs(5), "{source}: {:?}", begun.elapsed());
    }
}

/// What a lock is for: whoever has it is alone.
fn a_locked_resource_has_one_owner(setup: Setup) {
    const UNLOCK: &str =
        "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) else return 0 end";
    let server = setup.start(&[]);
    std::thread::scope(|scope| {
        for client in 0..4 {
            let mut conn = server.connect();
            scope.spawn(move || {
                let token = format!("token-{client}");
                let mut owned = 0;
                while owned < 50 {
                    if conn.command(&["SET", "lock", &token, "NX", "PX", "60000"]) == Value::Nil {
                        assert_eq!(conn.command(&["EVAL", UNLOCK, "1", "lock", "not-mine"]), Value::Int(0));
                        continue;
                    }
                    assert_eq!(conn.run("INCR inside"), Value::Int(1));
                    assert_eq!(conn.run("DECR inside"), Value::Int(0));
                    assert_eq!(conn.command(&["EVAL", UNLOCK, "1", "lock", &token]), Value::Int(1));
                    owned += 1;
                }
            });
        }
    });
}

fn a_pause_of_writes_holds_scripts(setup: Setup) {
    let server = setup.start(&[]);
    let (mut conn, mut other) = (server.connect(), server.connect());
    other.run("CLIENT PAUSE 60000 WRITE");
    assert_eq!(conn.command(&["EVAL_RO", "return 1", "0"]), Value::Int(1));
    conn.send(&support::encode(&["EVAL", "return 2", "0"]));
    conn.expect_silence(Duration::from_millis(100));
    other.run("CLIENT UNPAUSE");
    assert_eq!(conn.read(), Value::Int(2));
}
