//! Clients' own scripts are recognised, and what runs without Lua answers and leaves what Lua does.

use super::*;
use crate::command::script::Script;
use crate::command::testing::{Client, scripts};
use crate::store::Changes;
use std::sync::atomic::Ordering::Relaxed;

/// redis-py's and valkey-py's, with their indentation.
const RELEASE: &str = "
        local token = redis.call('get', KEYS[1])
        if not token or token ~= ARGV[1] then
            return 0
        end
        redis.call('del', KEYS[1])
        return 1
    ";
const EXTEND_LOCK: &str = "
        local token = redis.call('get', KEYS[1])
        if not token or token ~= ARGV[1] then
            return 0
        end
        local expiration = redis.call('pttl', KEYS[1])
        if not expiration then
            expiration = 0
        end
        if expiration < 0 then
            return 0
        end

        local newttl = ARGV[2]
        if ARGV[3] == \"0\" then
            newttl = ARGV[2] + expiration
        end
        redis.call('pexpire', KEYS[1], newttl)
        return 1
    ";
const REACQUIRE: &str = "
        local token = redis.call('get', KEYS[1])
        if not token or token ~= ARGV[1] then
            return 0
        end
        redis.call('pexpire', KEYS[1], ARGV[2])
        return 1
    ";
/// limits' fixed window.
const LIMITS: &str = "local current\nlocal amount = tonumber(ARGV[2])\ncurrent = redis.call(\"incrby\", KEYS[1], amount)\n\n\
    if tonumber(current) == amount then\n    redis.call(\"expire\", KEYS[1], ARGV[1])\nend\n\nreturn current\n";
const LIMITS_OLD: &str = "local current\ncurrent = redis.call(\"incr\",KEYS[1])\n\nif tonumber(current) == 1 then\n    \
    redis.call(\"expire\",KEYS[1],ARGV[1])\nend\n\nreturn current\n";
/// django-redis'.
const DJANGO: &str = "
                    local exists = redis.call('EXISTS', KEYS[1])
                    if (exists == 1) then
                        return redis.call('INCRBY', KEYS[1], ARGV[1])
                    else return false end
                    ";
/// Laravel's.
const LARAVEL: &str = "return redis.call('exists',KEYS[1])<1 and redis.call('setex',KEYS[1],ARGV[2],ARGV[1])";
const LARAVEL_UNLOCK: &str = "if redis.call(\"get\",KEYS[1]) == ARGV[1] then\n    return redis.call(\"del\",KEYS[1])\nelse\n    return 0\nend";
/// The manual's; redlock-py, aiocache, cashews, pottery and most others differ from it in white space and quotes.
const UNLOCK_CASHEWS: &str = " if redis.call(\"GET\", KEYS[1]) == ARGV[1] then     return redis.call(\"DEL\", KEYS[1]) else     return 0 end ";
const POTTERY_RELEASE: &str = "
                if redis.call('get', KEYS[1]) == ARGV[1] then
                    return redis.call('del', KEYS[1])
                else
                    return 0
                end
            ";
const POTTERY_EXTEND: &str = "
                if redis.call('get', KEYS[1]) == ARGV[1] then
                    return redis.call('pexpire', KEYS[1], ARGV[2])
                else
                    return 0
                end
            ";
const COUNTER: &str =
    "local c = redis.call('incr',KEYS[1]) if c == 1 then redis.call('expire',KEYS[1],ARGV[1]) end return c";
const FIXED_WINDOW: &str = "-- one minute\nlocal n = server.call('INCR', KEYS[1]); if n == 1 then server.call('PEXPIRE', KEYS[1], 60000); end; return n;";
const INCRBY_FROM_ONE: &str = "local key = KEYS[1]\nlocal c = redis.call('incrby', key, tonumber(ARGV[1]))\nif c == 1 then\n\
    redis.call('expire', key, tonumber(ARGV[2]))\nend\nreturn c";

const KNOWN: [&str; 16] = [
    RELEASE,
    EXTEND_LOCK,
    REACQUIRE,
    LIMITS,
    LIMITS_OLD,
    DJANGO,
    LARAVEL,
    LARAVEL_UNLOCK,
    UNLOCK_CASHEWS,
    POTTERY_RELEASE,
    POTTERY_EXTEND,
    COUNTER,
    FIXED_WINDOW,
    INCRBY_FROM_ONE,
    "local v = redis.call('get', KEYS[1]) if v == ARGV[1] then redis.call('unlink', KEYS[1]) return 1 end return nil",
    "if redis.call('exists', KEYS[1]) == 1 then\nreturn redis.call('incr', KEYS[1])\nend",
];

fn shape(source: &str) -> Option<Shape> {
    Shape::of(source.as_bytes(), [0; 20])
}

#[test]
fn every_template_is_understood() {
    for source in WHOLE.iter().map(|(_, source)| source.replace("EXPIRE", EXTEND)) {
        assert!(canonical(source.as_bytes()).is_some() && shape(&source).is_some(), "{source}");
    }
    let owned = 2 * (OWNED.len() * OTHERWISE.len() * 2 + NOT_OWNED.len() * 2);
    assert_eq!(TEMPLATES.len(), WHOLE.len() + owned);
}

#[test]
fn clients_own_scripts_are_known() {
    for source in KNOWN {
        assert!(shape(source).is_some(), "{source}");
    }
    for (source, sha) in SEEN {
        assert_eq!(hex(&Script::digest(source.as_bytes())), *sha, "{source}");
    }
}

/// Digests that clients were seen to send.
const SEEN: &[(&str, &str)] = &[
    (RELEASE, "c3f8721cbb97f72bc19e972846bd7aaf91901658"),
    (EXTEND_LOCK, "a4e8783852e6b949f9ef3a97212805108459a890"),
    (REACQUIRE, "1cac51482acf5858da00f6d685d68f886cd6b6b2"),
    (LIMITS, "628bd136a573a06b346879695681af12ccef300f"),
    (UNLOCK_CASHEWS, "b948f76fda6b97319d3426a2fb42b0d4f02c7146"),
    (POTTERY_RELEASE, "a4aada0b36710970eedaaaeec4a6b7d8c78c4f80"),
    (POTTERY_EXTEND, "ba015a80261b616e7a62d35df0b8e3edbe6c9414"),
];

#[test]
fn what_means_something_else_is_not_known() {
    for source in [
        "return 1",
        "",
        // A number never equals a string.
        "local c = redis.call('incrby',KEYS[1],ARGV[1]) if c == ARGV[1] then redis.call('expire',KEYS[1],ARGV[2]) end return c",
        "if redis.call('get',KEYS[1]) == tonumber(ARGV[1]) then return redis.call('del',KEYS[1]) else return 0 end",
        "if redis.call('get',KEYS[1]) == 5 then return redis.call('del',KEYS[1]) else return 0 end",
        "if redis.call('get',KEYS[1]) == ARGV[1] then return redis.call('del',KEYS[2]) else return 0 end",
        "if redis.call('get',KEYS[1]) == ARGV[1] then return redis.pcall('del',KEYS[1]) else return 0 end",
        "if redis.call('get',KEYS[1]) == ARGV[1] then return redis.call('del',KEYS[1]) else return 1 end",
        "if redis.call('get',KEYS[1]) == 'ARGV[1]' then return redis.call('del',KEYS[1]) else return 0 end",
        "if redis.call('get','KEYS[1]') == ARGV[1] then return redis.call('del',KEYS[1]) else return 0 end",
        "if redis.call('get',KEYS[1]) == ARGV[1] then return redis.call('del',KEYS[1],KEYS[1]) else return 0 end",
        "local redis = 1 if redis.call('get',KEYS[1]) == ARGV[1] then return redis.call('del',KEYS[1]) else return 0 end",
        "local ARGV = KEYS if redis.call('get',KEYS[1]) == ARGV[1] then return redis.call('del',KEYS[1]) else return 0 end",
        "local t = ARGV[1] t = ARGV[2] if redis.call('get',KEYS[1]) == t then return redis.call('del',KEYS[1]) else return 0 end",
        "local t = ARGV[1] .. 'x' if redis.call('get',KEYS[1]) == t then return redis.call('del',KEYS[1]) else return 0 end",
        "c = redis.call('incr',KEYS[1]) if c == 1 then redis.call('expire',KEYS[1],ARGV[1]) end return c",
        "local c = redis.call('incr',KEYS[1]) if c == 2 then redis.call('expire',KEYS[1],ARGV[1]) end return c",
        "local c = redis.call('incr',KEYS[1]) local c = 1 if c == 1 then redis.call('expire',KEYS[1],ARGV[1]) end return c",
        "local c = redis.call('incr',KEYS[1]) if c == 1 then redis.call('expire',KEYS[1],ARGV[1],'NX') end return c",
        "local c = redis.call('incr',KEYS[1]) if c == 1 then redis.call('expire',KEYS[1],1.5) end return c",
        "local c = redis.call('incr',KEYS[1]) if c == 1 then redis.call('expire',KEYS[1],-5) end return c",
        "return redis.call('exists',KEYS[1])<1 and redis.call('setex',KEYS[1],ARGV[2],tonumber(ARGV[1]))",
        "--[[ x\n]] if redis.call('get',KEYS[1]) == ARGV[1] then return redis.call('del',KEYS[1]) else return 0 end",
        "#!lua\nif redis.call('get',KEYS[1]) == ARGV[1] then return redis.call('del',KEYS[1]) else return 0 end",
    ] {
        assert_eq!(shape(source), None, "{source}");
    }
}

/// What a call answers, what it leaves, and whether Lua ran it.
#[derive(Debug, PartialEq)]
struct Seen {
    reply: String,
    value: String,
    ttl: String,
    hits: (u64, u64),
    /// In the order of the alphabet: what is told of a miss comes last without Lua.
    events: Vec<&'static str>,
}

fn played(
    client: &mut Client,
    (source, by_digest, resp3): (&str, bool, bool),
    before: &[&str],
    args: &[&str],
    native: bool,
) -> (Seen, bool) {
    client.session.resp3 = resp3;
    scripts().lua_only.store(!native, Relaxed);
    client.run("DEL k");
    for line in before {
        client.run(line);
    }
    let calls = |client: &Client| client.stats.calls.as_slice().iter().sum::<u64>();
    let (before, hits, misses) = (calls(client), client.stats.hits, client.stats.misses);
    let digest = hex(&Script::digest(source.as_bytes()));
    let mut line: Vec<&[u8]> =
        if by_digest { vec![b"EVALSHA", digest.as_bytes()] } else { vec![b"EVAL", source.as_bytes()] };
    line.extend([&b"1"[..], b"k"]);
    line.extend(args.iter().map(|arg| arg.as_bytes()));
    let mut changes = Changes::default();
    client.store.journal().take(&mut changes);
    let reply = String::from_utf8_lossy(&client.run_args(&line)).into_owned();
    client.store.journal().take(&mut changes);
    let mut events: Vec<_> = changes.iter().map(|(change, _)| change.what.name()).collect();
    events.sort_unstable();
    // Some scripts fail before their first command.
    let in_lua = calls(client) > before + 1 || reply.starts_with('-');
    let hits = (client.stats.hits - hits, client.stats.misses - misses);
    (Seen { reply, value: client.run("GET k"), ttl: client.run("PTTL k"), hits, events }, in_lua)
}

/// Everything that a script can meet.
const BEFORE: [&[&str]; 10] = [
    &[],
    &["SET k token"],
    &["SET k token PX 5000"],
    &["SET k 0 EX 77"],
    &["SET k 0"],
    &["SET k 5 EX 77"],
    &["SET k -4"],
    &["SET k 9223372036854775806"],
    &["SET k 9007199254740992 PX 7"],
    &["SET k 007"],
];

const ARGS: [&str; 11] = [
    "token",
    "0",
    "5",
    "60",
    "-1",
    "1.5",
    "0x10",
    "",
    "9007199254740993",
    "9223372036854775807",
    "-9223372036854775808",
];

#[test]
fn replies_and_values_are_those_of_lua() {
    let mut native_runs = 0;
    for source in KNOWN {
        let mut native_here = 0;
        let mut client = Client::new();
        client.store.journal().want(u32::MAX);
        client.run_args(&[b"SCRIPT", b"LOAD", source.as_bytes()]);
        for before in BEFORE {
            let mut all: Vec<Vec<&str>> = vec![vec![]];
            for first in ARGS {
                all.push(vec![first]);
                if !source.contains("ARGV[2]") {
                    continue;
                }
                all.extend(ARGS.iter().map(|second| vec![first, second]));
            }
            if source == EXTEND_LOCK {
                all = ARGS.iter().flat_map(|ms| [vec!["token", ms, "0"], vec!["token", ms, "1"]]).collect();
                all.extend([vec!["token", "60"], vec!["other", "60", "0"]]);
            }
            for (n, args) in all.into_iter().enumerate() {
                let how = (source, n % 2 == 0, n % 3 == 0);
                let (with_lua, in_lua) = played(&mut client, how, before, &args, false);
                let (without, still_in_lua) = played(&mut client, how, before, &args, true);
                assert_eq!(without, with_lua, "{source}\n{before:?} {args:?}");
                assert!(in_lua, "{source} {args:?}");
                native_here += u32::from(!still_in_lua);
            }
        }
        assert!(native_here > 0, "{source}");
        native_runs += native_here;
    }
    assert!(native_runs > 1000, "{native_runs}");
}

#[test]
fn errors_have_their_place() {
    let long = "k".repeat(70_000);
    for (source, args, value) in [
        (COUNTER, "60", "x"),
        (LIMITS, "60 5", "9223372036854775807"),
        (DJANGO, "1", "1.5"),
        (INCRBY_FROM_ONE, "1 60", ""),
    ] {
        let mut client = Client::new();
        let digest = Script::digest(source.as_bytes());
        client.run_args(&[b"SCRIPT", b"LOAD", source.as_bytes()]);
        let mut play = |key: &str, lua: bool| {
            client.run_args(&[b"SET", b"k", value.as_bytes()]);
            scripts().lua_only.store(lua, Relaxed);
            let calls = client.stats.calls.as_slice().iter().sum::<u64>();
            let reply = client.run(&format!("EVALSHA {} 1 {key} {args}", hex(&digest)));
            assert_eq!(client.stats.calls.as_slice().iter().sum::<u64>() > calls + 1, lua);
            reply
        };
        let native = play("k", false);
        assert!(native.starts_with("-ERR ") && native.contains(" script: "), "{native}");
        assert_eq!(native, play("k", true));
        let native = play(&long, false);
        assert_eq!(native, play(&long, true));
        assert_eq!(native.contains("ERR key is longer"), source != DJANGO, "{native}");
    }
}

#[test]
fn transactions_and_flushed_scripts() {
    let mut client = Client::new();
    let digest = hex(&Script::digest(COUNTER.as_bytes()));
    let call = format!("EVALSHA {digest} 1 k 60");
    assert_eq!(client.run(&call), "-NOSCRIPT No matching script. Please use EVAL.");
    client.run_args(&[b"EVAL", COUNTER.as_bytes(), b"1", b"k", b"60"]);
    assert_eq!(client.run("MULTI"), "+OK");
    assert_eq!(client.run(&call), "+QUEUED");
    assert_eq!(client.run("TTL k"), "+QUEUED");
    assert_eq!(client.run("EXEC"), "*2 :2 :60");
    assert_eq!(client.run(&call), ":3");
    client.run("SCRIPT FLUSH");
    assert_eq!(client.run(&call), "-NOSCRIPT No matching script. Please use EVAL.");
}
