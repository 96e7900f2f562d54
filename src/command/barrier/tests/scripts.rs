//! Scripts: what they return, what they may do, and what stops them.

use crate::command::testing::{Client, play, script};

/// `EVAL script 0`, in the form of a test's line.
fn eval(client: &mut Client, source: &str) -> String {
    let reply = client.run_args(&[b"EVAL", source.as_bytes(), b"0"]);
    String::from_utf8_lossy(&reply).replace("\r\n", " ").trim_end().to_owned()
}

/// Each script with its reply; of an error's place only the line.
#[track_caller]
fn all(cases: &[(&str, &str)]) {
    let mut client = Client::new();
    for (source, expected) in cases {
        let reply = eval(&mut client, source);
        let reply = match (reply.find(" script: "), reply.find(", on ")) {
            (Some(from), Some(to)) => format!("{}{}", &reply[..from], &reply[to..]),
            _ => reply,
        };
        assert_eq!(reply, *expected, "{source}");
    }
}

#[test]
fn values_become_replies() {
    all(&[
        ("return 1", ":1"),
        ("return 3.99", ":3"),
        ("return -3.99", ":-3"),
        ("return 1e300", ":-9223372036854775808"),
        ("return 'text'", "$4 text"),
        ("return true", ":1"),
        ("return false", "$-1"),
        ("return nil", "$-1"),
        ("return", "$-1"),
        ("return {}", "*0"),
        ("return {1,2,nil,4}", "*2 :1 :2"),
        ("return {1,{2,'x',false}}", "*2 :1 *3 :2 $1 x $-1"),
        ("return {ok='fine'}", "+fine"),
        ("return {err='CODE bad'}", "-CODE bad"),
        ("return redis.status_reply('st')", "+st"),
        ("return redis.error_reply('my')", "-ERR my"),
        ("return redis.error_reply('MY err')", "-MY err"),
        ("return redis.error_reply('-MY err')", "-MY err"),
        ("return {double=3.5}", "$3 3.5"),
        ("return {map={a=1}}", "*2 $1 a :1"),
        ("return {set={a=true}}", "*1 $1 a"),
        ("return {big_number='123'}", "$3 123"),
        ("return {verbatim_string={format='txt',string='v'}}", "$1 v"),
        ("return cjson.null", "$-1"),
        ("return redis", "*0"),
    ]);
}

#[test]
fn replies_become_values() {
    all(&[
        ("return redis.call('set','k','v').ok", "$2 OK"),
        ("return redis.call('get','k')", "$1 v"),
        ("return redis.call('get','none') == false", ":1"),
        ("return redis.call('mget','k','none')", "*2 $1 v $-1"),
        ("return redis.call('strlen','k') + 1", ":2"),
        ("return redis.call('set','n',1.5)", "+OK"),
        ("return redis.call('get','n')", "$3 1.5"),
        ("return redis.call('echo', 10000000000000000)", "$17 10000000000000000"),
        ("return redis.call('echo', 3.0)", "$1 3"),
        ("return redis.call('ping')", "+PONG"),
        ("return redis.pcall('incr','k').err", "$43 ERR value is not an integer or out of range"),
        ("redis.setresp(3) return redis.call('get','none') == nil", ":1"),
        ("return redis.call('scan','0')[1]", "$1 0"),
        // As large as replies that are sent from where they lie.
        ("redis.call('set','big',string.rep('x',100000)) return #redis.call('get','big')", ":100000"),
        ("local m = redis.call('mget','big','k') return {#m[1], m[2]}", "*2 :100000 $1 v"),
    ]);
}

#[test]
fn errors_say_where() {
    all(&[
        ("error('boom')", "-ERR user_script:1: boom, on @user_script:1."),
        ("\n\nerror('boom')", "-ERR user_script:3: boom, on @user_script:3."),
        ("error({err='My err'})", "-My err, on @user_script:1."),
        ("error({})", "-ERR unknown error, on @user_script:1."),
        ("error()", "-ERR nil, on @user_script:1."),
        (
            "return x",
            "-ERR user_script:1: Script attempted to access nonexistent global variable 'x', on @user_script:1.",
        ),
        ("x = 1", "-ERR user_script:1: Attempt to modify a readonly table, on @user_script:1."),
        ("redis.x = 1", "-ERR user_script:1: Attempt to modify a readonly table, on @user_script:1."),
        (
            "local a return a.b",
            "-ERR user_script:1: attempt to index local 'a' (a nil value), on @user_script:1.",
        ),
        (
            "return redis.call('set','k')",
            "-ERR Wrong number of args calling Redis command from script, on @user_script:1.",
        ),
        (
            "\nreturn redis.call('nosuch')",
            "-ERR Unknown Redis command called from script, on @user_script:2.",
        ),
        (
            "return redis.call('multi')",
            "-ERR This Redis command is not allowed from script, on @user_script:1.",
        ),
        (
            "return redis.call('get',{})",
            "-ERR Lua redis lib command arguments must be strings or integers, on @user_script:1.",
        ),
        (
            "redis.call('set','s','x') return redis.call('incr','s')",
            "-ERR value is not an integer or out of range, on @user_script:1.",
        ),
        (
            "return (",
            "-ERR Error compiling script (new function): user_script:1: unexpected symbol near '<eof>'",
        ),
        (
            "#!lua flags=no-writes\nreturn redis.call('set','s','1')",
            "-ERR Write commands are not allowed from read-only scripts., on @user_script:2.",
        ),
        (
            "local ok, e = pcall(redis.call, 'incr', 's') return {tostring(ok), e.err, e.line}",
            "*3 $5 false $43 ERR value is not an integer or out of range :1",
        ),
        (
            "local ok, e = pcall(string.rep) return e",
            "$71 user_script:1: bad argument #1 to 'rep' (string expected, got no value)",
        ),
    ]);
}

#[test]
fn digests_find_what_was_evaluated_or_loaded() {
    let sha = "e0e1f9fabfc9d4800c877a703b823ac0578ff8db";
    let none = "-NOSCRIPT No matching script. Please use EVAL.";
    script(&[
        (&format!("EVALSHA {sha} 0"), none),
        ("SCRIPT LOAD \"return 1\"", &format!("$40 {sha}")),
        (&format!("EVALSHA {sha} 0"), ":1"),
        (&format!("EVALSHA_RO {} 0", sha.to_uppercase()), ":1"),
        (&format!("SCRIPT EXISTS {sha} nosuch"), "*2 :1 :0"),
        ("SCRIPT FLUSH", "+OK"),
        (&format!("EVALSHA {sha} 0"), none),
        ("EVAL \"return 1\" 0", ":1"),
        (&format!("EVALSHA {sha} 0"), ":1"),
        ("SCRIPT FLUSH LATER", "-ERR SCRIPT FLUSH only support SYNC|ASYNC option"),
        ("SCRIPT KILL", "-NOTBUSY No scripts in execution right now."),
        ("EVAL \"return {KEYS[1],ARGV[1],#KEYS,#ARGV}\" 1 k v", "*4 $1 k $1 v :1 :1"),
        ("EVAL \"return 1\" x", "-ERR value is not an integer or out of range"),
        ("EVAL \"return 1\" -1", "-ERR Number of keys can't be negative"),
        ("EVAL \"return 1\" 1", "-ERR Number of keys can't be greater than number of args"),
        ("FUNCTION FLUSH", "+OK"),
        ("FUNCTION LIST", "*0"),
        ("FCALL f 0", "-ERR Function not found"),
    ]);
}

/// Locks, counters and conditional writes as the common libraries send them.
#[test]
fn the_common_shapes() {
    let unlock = "EVAL \"if redis.call('get',KEYS[1]) == ARGV[1] then return redis.call('del',KEYS[1]) else return 0 end\" 1 lock";
    let extend = "EVAL \"if redis.call('get',KEYS[1]) == ARGV[1] then return redis.call('pexpire',KEYS[1],ARGV[2]) end return 0\" 1 lock";
    let count = "EVAL \"local n = redis.call('incr',KEYS[1]) if n == 1 then redis.call('expire',KEYS[1],ARGV[1]) end return n\" 1 hits 60";
    let add = "EVAL \"if redis.call('exists',KEYS[1]) < 1 then return redis.call('setex',KEYS[1],ARGV[2],ARGV[1]) end\" 1 once v 10";
    let incr = "EVAL \"if redis.call('exists',KEYS[1]) == 0 then return redis.error_reply('ValueError') end return redis.call('incrby',KEYS[1],ARGV[1])\" 1 n 5";
    script(&[
        ("SET lock token", "+OK"),
        (&format!("{unlock} other"), ":0"),
        (&format!("{extend} token 5000"), ":1"),
        ("PTTL lock", ":5000"),
        (&format!("{unlock} token"), ":1"),
        ("EXISTS lock", ":0"),
        (count, ":1"),
        (count, ":2"),
        ("TTL hits", ":60"),
        (add, "+OK"),
        (add, "$-1"),
        ("TTL once", ":10"),
        (incr, "-ERR ValueError"),
        ("SET n 1", "+OK"),
        (incr, ":6"),
    ]);
}

#[test]
fn a_script_has_a_session_of_its_own() {
    let mut client = Client::new();
    play(
        &mut client,
        &[
            ("SELECT 2", "+OK"),
            (
                "EVAL \"redis.call('set','k','two') redis.call('select',3) redis.setresp(3) return redis.call('get','k')\" 0",
                "$-1",
            ),
            ("GET k", "$3 two"),
            ("MULTI", "+OK"),
            ("SET k three", "+QUEUED"),
            ("EVAL \"return redis.call('get','k')\" 0", "+QUEUED"),
            ("EXEC", "*2 +OK $5 three"),
        ],
    );
    assert!(client.session.id == 1 && !client.session.resp3);
}

#[test]
fn endless_scripts_are_stopped() {
    let stopped = "-ERR the script was stopped: it ran for longer than lua-time-limit (200 ms).";
    for source in [
        "while true do end",
        "while true do pcall(function() while true do end end) end",
        "while true do xpcall(function() while true do end end, function() while true do end end) end",
        "local function f() return f() end f()",
        "for i = 1, 1e12 do redis.call('set', 'k', i) end",
        "return string.find(string.rep('a', 100), string.rep('a-', 40) .. 'b')",
        "return (string.gsub(string.rep('a', 100), string.rep('a*', 30) .. 'b', ''))",
        "for _ in string.gmatch(string.rep('a', 100), string.rep('a?', 40) .. 'b') do end",
        "return load(function() return 'x' end)",
    ] {
        let mut client = Client::new();
        let reply = eval(&mut client, source);
        assert!(reply.starts_with(stopped), "{source}: {reply}");
        assert_eq!(client.scripts.stopped, 1);
        assert_eq!(eval(&mut client, "return 1"), ":1", "the next one runs");
    }
}

/// On a stack like a worker's.
#[test]
fn hungry_scripts_are_refused() {
    let thread = std::thread::Builder::new().stack_size(8 << 20).spawn(refuse_the_hungry).unwrap();
    thread.join().unwrap();
}

fn refuse_the_hungry() {
    for source in [
        "local s = 'a' while true do s = s .. s end",
        "return string.rep('x', 2^30)",
        "return ('x'):rep(1e9)",
        "local t = {} for i = 1, 1e7 do t[i] = tostring(i) end",
        "local s = string.rep('a', 1e6) return (s:gsub('a', s))",
        "local function f() return f() + 1 end return f()",
        "local function f() return (string.gsub('x', 'x', f)) end return f()",
        "local t = {} t[1] = t return cjson.encode(t)",
        "return cjson.decode(string.rep('[', 100000))",
        "return unpack({}, 1, 1e8)",
        "return string.find('x', string.rep('(', 100))",
        "return string.find(string.rep('x', 300), string.rep('x?', 300))",
    ] {
        let mut client = Client::new();
        let reply = eval(&mut client, source);
        assert!(reply.starts_with("-ERR "), "{source}: {reply}");
        assert_eq!(eval(&mut client, "return 1"), ":1", "the next one runs");
        assert!(client.scripts.memory() < 8 << 20, "{source}: {} bytes are kept", client.scripts.memory());
    }
    let mut client = Client::new();
    assert!(eval(&mut client, "local x = {} x[1] = x return x").contains("-ERR reached lua stack limit"));
}

#[test]
fn the_sandbox_is_closed() {
    for name in [
        "io",
        "debug",
        "require",
        "module",
        "package",
        "dofile",
        "loadfile",
        "print",
        "getfenv",
        "setfenv",
        "newproxy",
        "coroutine",
    ] {
        let mut client = Client::new();
        let expected = format!("nonexistent global variable '{name}'");
        assert!(eval(&mut client, &format!("return {name}")).contains(&expected), "{name}");
    }
    all(&[
        ("return os.time == nil and os.exit == nil and os.clock() >= 0", ":1"),
        ("return loadstring(string.dump(function() return 1 end)) == nil", ":1"),
        ("return loadstring('return 1 + 1')()", ":2"),
        ("return loadstring('x = 1')()", "-ERR loaded:1: Attempt to modify a readonly table"),
        ("return rawset(_G, 'x', 1)", "-ERR Attempt to modify a readonly table"),
        (
            "return table.insert(string, 1)",
            "-ERR user_script:1: Attempt to modify a readonly table, on @user_script:1.",
        ),
        ("return getmetatable('')", "$-1"),
        ("return getmetatable(redis)", "$-1"),
        ("return pcall(setmetatable, string, {})", "$-1"),
        ("string.rep = nil", "-ERR user_script:1: Attempt to modify a readonly table, on @user_script:1."),
        ("collectgarbage('stop') return collectgarbage('count') > 0", ":1"),
    ]);
}
