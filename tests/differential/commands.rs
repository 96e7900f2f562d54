//! Every command that both servers define, how often it is played, and how its arguments are made.

use crate::generate::Generator;
use crate::script::{Arg, Check};

/// A command of the table.
pub struct Spec {
    pub name: &'static str,
    /// How often, relative to the others.
    pub weight: usize,
    pub check: Check,
    /// Whether it may be played with something wrong. Not where a mistake could become another command's meaning.
    pub mutable: bool,
    pub arguments: fn(&mut Generator, &mut Vec<Arg>),
}

const fn spec(name: &'static str, weight: usize, arguments: fn(&mut Generator, &mut Vec<Arg>)) -> Spec {
    Spec { name, weight, check: Check::Exact, mutable: true, arguments }
}

impl Spec {
    const fn check(mut self, check: Check) -> Spec {
        self.check = check;
        self
    }

    /// Never spoiled: a mistake could mean something else, or meets an intended difference.
    const fn intact(mut self) -> Spec {
        self.mutable = false;
        self
    }
}

/// The table. Not in it, because the two servers are meant to differ: commands on types that we do not have, commands that
/// Valkey does not have (DELEX, DIGEST, SET IFNE: tested alone), CONFIG, INFO, CLIENT LIST and KILL (each server's own words).
pub const COMMANDS: &[Spec] = &[
    // Reading and writing one value.
    spec("GET", 20, key),
    spec("SET", 40, set),
    spec("SETEX", 4, |g, a| {
        key(g, a);
        let t = g.ttl_s();
        a.push(num(t));
        value(g, a)
    }),
    spec("PSETEX", 4, |g, a| {
        key(g, a);
        let t = g.ttl_s();
        a.push(num(t * 1000 + 7));
        value(g, a)
    }),
    spec("SETNX", 4, pair),
    spec("GETSET", 4, pair),
    spec("GETDEL", 5, key),
    spec("GETEX", 8, |g, a| {
        key(g, a);
        expiry(g, a, &["PERSIST"])
    }),
    spec("APPEND", 10, pair),
    spec("STRLEN", 5, key),
    spec("GETRANGE", 6, range),
    spec("SUBSTR", 2, range),
    spec("SETRANGE", 6, |g, a| {
        key(g, a);
        // Never a great offset that is allowed: both servers would fill the gap with zeroes.
        let offset = g.random.below(300);
        a.push(num(offset as u64));
        value(g, a);
    }),
    spec("INCR", 8, key),
    spec("DECR", 4, key),
    spec("INCRBY", 6, |g, a| {
        key(g, a);
        integer(g, a)
    }),
    spec("DECRBY", 4, |g, a| {
        key(g, a);
        integer(g, a)
    }),
    spec("INCRBYFLOAT", 8, |g, a| {
        key(g, a);
        const STEPS: &[&str] =
            &["0.1", "1.5", "-0.25", "3", "-7", "1e2", "5.0e-3", "0", "1e-17", "12345678.875", "1e18"];
        let step = *g.random.pick(STEPS);
        a.push(step.as_bytes().to_vec());
    }),
    // Several keys.
    spec("MGET", 10, keys),
    spec("MSET", 10, pairs),
    spec("MSETNX", 6, pairs),
    spec("MSETEX", 8, msetex),
    spec("DEL", 8, keys),
    spec("UNLINK", 4, keys),
    spec("DELIFEQ", 6, pair),
    spec("EXISTS", 6, keys),
    spec("TOUCH", 4, keys),
    spec("RENAME", 6, two_keys),
    spec("RENAMENX", 6, two_keys),
    spec("COPY", 8, |g, a| {
        two_keys(g, a);
        if g.random.chance(40) {
            a.push(g.random.case("DB"));
            database(g, a)
        }
        if g.random.chance(40) {
            a.push(g.random.case("REPLACE"))
        }
    }),
    spec("LCS", 10, lcs),
    // Time to live.
    spec("EXPIRE", 8, |g, a| {
        key(g, a);
        let t = g.ttl_s();
        relative(g, a, t);
        conditions(g, a)
    }),
    spec("PEXPIRE", 6, |g, a| {
        key(g, a);
        let t = g.ttl_s() * 1000;
        relative(g, a, t);
        conditions(g, a)
    }),
    spec("EXPIREAT", 6, |g, a| {
        key(g, a);
        let t = g.moment_s();
        relative(g, a, t);
        conditions(g, a)
    }),
    spec("PEXPIREAT", 6, |g, a| {
        key(g, a);
        let t = g.moment_s() * 1000 + 3;
        relative(g, a, t);
        conditions(g, a)
    }),
    spec("TTL", 6, key).check(Check::Seconds),
    spec("PTTL", 6, key).check(Check::Milliseconds),
    spec("EXPIRETIME", 5, key).check(Check::Seconds),
    spec("PEXPIRETIME", 5, key).check(Check::Milliseconds),
    spec("PERSIST", 6, key),
    // Bits.
    spec("SETBIT", 8, |g, a| {
        key(g, a);
        bit_offset(g, a);
        let bit = g.random.below(2);
        a.push(num(bit as u64))
    }),
    spec("GETBIT", 6, |g, a| {
        key(g, a);
        bit_offset(g, a)
    }),
    spec("BITCOUNT", 8, |g, a| {
        key(g, a);
        if g.random.chance(70) {
            bit_range(g, a)
        }
    }),
    spec("BITPOS", 8, |g, a| {
        key(g, a);
        let bit = g.random.below(2);
        a.push(num(bit as u64));
        if g.random.chance(30) {
            let start = g.small();
            a.push(start)
        } else if g.random.chance(60) {
            bit_range(g, a)
        }
    }),
    spec("BITOP", 8, |g, a| {
        let operation = *g.random.pick(&["AND", "OR", "XOR", "NOT", "NOT"]);
        a.push(g.random.case(operation));
        key(g, a);
        if operation == "NOT" && g.random.chance(90) { key(g, a) } else { keys(g, a) }
    }),
    spec("BITFIELD", 14, bitfield),
    // The keyspace.
    spec("TYPE", 5, key),
    spec("KEYS", 5, |g, a| {
        let p = g.pattern();
        a.push(p)
    })
    .check(Check::Unordered),
    spec("DBSIZE", 5, none),
    spec("SELECT", 8, database).intact(),
    spec("SELECT", 1, |g, a| {
        let odd = g.odd();
        a.push(odd)
    }),
    spec("MOVE", 6, |g, a| {
        key(g, a);
        database(g, a)
    }),
    spec("SWAPDB", 4, |g, a| {
        database(g, a);
        database(g, a)
    }),
    spec("FLUSHDB", 2, flush),
    spec("FLUSHALL", 1, flush),
    spec("OBJECT", 2, |g, a| {
        word(g, a, "REFCOUNT");
        key(g, a)
    })
    .check(Check::Kind),
    spec("OBJECT", 2, |g, a| {
        word(g, a, "IDLETIME");
        key(g, a)
    })
    .check(Check::Seconds),
    spec("OBJECT", 3, |g, a| {
        word(g, a, "ENCODING");
        key(g, a)
    })
    .check(Check::Kind),
    spec("OBJECT", 1, nonsense),
    spec("MEMORY", 3, |g, a| {
        word(g, a, "USAGE");
        key(g, a)
    })
    .check(Check::Kind),
    spec("MEMORY", 1, nonsense),
    // The connection and the server.
    spec("PING", 4, |g, a| {
        if g.random.chance(50) {
            value(g, a)
        }
    }),
    spec("ECHO", 4, value),
    spec("HELLO", 3, |g, a| {
        if g.random.chance(80) {
            let v = g.random.below(2);
            a.push(num(2 + v as u64))
        }
    })
    .check(Check::Greeting)
    .intact(),
    spec("HELLO", 2, hello_wrong).check(Check::Greeting).intact(),
    spec("RESET", 1, none).intact(),
    spec("AUTH", 1, |g, a| {
        value(g, a);
        if g.random.chance(50) {
            value(g, a)
        }
    }),
    spec("CLIENT", 2, |g, a| word(g, a, "GETNAME")),
    spec("CLIENT", 2, |g, a| {
        word(g, a, "SETNAME");
        client_name(g, a)
    }),
    spec("CLIENT", 2, |g, a| {
        word(g, a, "SETINFO");
        let field = *g.random.pick(&["LIB-NAME", "LIB-VER", "lib-name", "nosuch"]);
        word(g, a, field);
        client_name(g, a);
    }),
    spec("CLIENT", 1, |g, a| {
        word(g, a, "NO-EVICT");
        on_off(g, a)
    }),
    spec("CLIENT", 1, |g, a| {
        word(g, a, "NO-TOUCH");
        on_off(g, a)
    }),
    spec("CLIENT", 1, |g, a| {
        word(g, a, "REPLY");
        word(g, a, "ON")
    })
    .intact(),
    spec("CLIENT", 1, |g, a| word(g, a, "ID")).check(Check::Kind),
    spec("CLIENT", 1, nonsense),
    spec("COMMAND", 1, |g, a| word(g, a, "COUNT")).check(Check::Kind),
    spec("COMMAND", 3, |g, a| {
        word(g, a, "INFO");
        for _ in 0..1 + g.random.below(3) {
            const NAMES: &[&str] = &[
                "get", "SET", "mget", "msetex", "bitop", "copy", "lcs", "nosuch", "ping", "rename", "object",
            ];
            let name = *g.random.pick(NAMES);
            a.push(name.as_bytes().to_vec());
        }
    })
    .check(Check::CommandInfo)
    .intact(),
    spec("COMMAND", 4, |g, a| {
        word(g, a, "GETKEYS");
        let inner = g.command();
        // MSETEX with its last value missing: Valkey lists its keys, this server says that the arguments are wrong.
        a.extend(if inner.args[0].eq_ignore_ascii_case(b"MSETEX") {
            vec![b"DBSIZE".to_vec()]
        } else {
            inner.args
        });
    })
    .intact(),
    // Scripts: any command as a script calls it, and what clients commonly send.
    spec("EVAL", 12, |g, a| {
        const CALLS: &[&str] = &[
            "return redis.call(unpack(ARGV))",
            "return redis.pcall(unpack(ARGV))",
            "local ok, reply = pcall(redis.call, unpack(ARGV)) return {ok, ok and reply or 'failed'}",
            "return {1, redis.pcall(unpack(ARGV)), 'end'}",
            "return type(redis.pcall(unpack(ARGV)))",
            "#!lua flags=no-writes\nreturn redis.call(unpack(ARGV))",
        ];
        let source = *g.random.pick(CALLS);
        a.extend([source.as_bytes().to_vec(), b"0".to_vec()]);
        let inner = g.exact();
        // CLIENT, COMMAND and MEMORY differ in their texts, KEYS and such in their order.
        a.extend(inner.args);
    })
    .intact(),
    spec("EVAL", 6, |g, a| {
        const SCRIPTS: &[&str] = &[
            "if redis.call('get',KEYS[1]) == ARGV[1] then return redis.call('del',KEYS[1]) else return 0 end",
            "if redis.call('get',KEYS[1]) == ARGV[1] then return redis.call('pexpire',KEYS[1],9000000) end return 0",
            "local n = redis.call('incr',KEYS[1]) if n == 1 then redis.call('expire',KEYS[1],9000) end return n",
            "if redis.call('exists',KEYS[1]) < 1 then return redis.call('setex',KEYS[1],9000,ARGV[1]) end",
            "return {KEYS[1], ARGV[1], #KEYS, #ARGV, true, false, 3.7, {ok='x'}}",
            "return tonumber(ARGV[1])",
            "return cjson.encode({ARGV[1], #ARGV[1], {}})",
            "return {pcall(cjson.decode, ARGV[1])}",
            "return {string.find(ARGV[1], '(%w+)%s*(.-)$')}",
            "return {string.gsub(ARGV[1], '%w', '%0%0', 3)}",
            "local t = {} for w in string.gmatch(ARGV[1], '[^o]+') do t[#t + 1] = w end return t",
            "return {bit.band(#ARGV[1], 7), bit.tohex(#ARGV[1]), redis.sha1hex(ARGV[1])}",
            "error(ARGV[1])",
            "return redis.error_reply(ARGV[1])",
            "return redis.status_reply(ARGV[1])",
            "return nosuch",
            "nosuch = 1",
            "redis.setresp(3) return redis.call('mget', KEYS[1], 'nosuch')",
        ];
        let source = *g.random.pick(SCRIPTS);
        a.extend([source.as_bytes().to_vec(), b"1".to_vec()]);
        key(g, a);
        value(g, a);
    })
    .intact(),
    spec("TIME", 1, none).check(Check::Kind),
    spec("ROLE", 1, none),
    spec("LASTSAVE", 1, none).check(Check::Kind),
    spec("NOSUCHCOMMAND", 2, |g, a| {
        for _ in 0..g.random.below(4) {
            value(g, a)
        }
    }),
    spec("", 1, |g, a| {
        if g.random.chance(50) {
            value(g, a)
        }
    }),
];

fn num(n: u64) -> Arg {
    n.to_string().into_bytes()
}

fn none(_: &mut Generator, _: &mut Vec<Arg>) {}

fn word(g: &mut Generator, a: &mut Vec<Arg>, word: &str) {
    a.push(g.random.case(word));
}

fn key(g: &mut Generator, a: &mut Vec<Arg>) {
    a.push(g.key());
}

fn value(g: &mut Generator, a: &mut Vec<Arg>) {
    a.push(g.value());
}

fn pair(g: &mut Generator, a: &mut Vec<Arg>) {
    key(g, a);
    value(g, a);
}

fn two_keys(g: &mut Generator, a: &mut Vec<Arg>) {
    key(g, a);
    key(g, a);
}

fn keys(g: &mut Generator, a: &mut Vec<Arg>) {
    let count = if g.random.chance(3) { 40 } else { 1 + g.random.below(5) };
    (0..count).for_each(|_| key(g, a));
}

fn pairs(g: &mut Generator, a: &mut Vec<Arg>) {
    let count = 1 + g.random.below(5);
    (0..count).for_each(|_| pair(g, a));
}

fn integer(g: &mut Generator, a: &mut Vec<Arg>) {
    let n = if g.random.chance(85) { g.small() } else { g.odd() };
    a.push(n);
}

fn range(g: &mut Generator, a: &mut Vec<Arg>) {
    key(g, a);
    integer(g, a);
    integer(g, a);
}

fn database(g: &mut Generator, a: &mut Vec<Arg>) {
    const NUMBERS: &[&str] = &["0", "0", "0", "1", "1", "2", "15"];
    const WRONG: &[&str] = &["16", "-1", "abc", "9223372036854775808"];
    let number = *if g.random.chance(93) { g.random.pick(NUMBERS) } else { g.random.pick(WRONG) };
    a.push(number.as_bytes().to_vec());
}

fn on_off(g: &mut Generator, a: &mut Vec<Arg>) {
    let state = *g.random.pick(&["ON", "OFF", "maybe"]);
    word(g, a, state);
}

fn nonsense(g: &mut Generator, a: &mut Vec<Arg>) {
    word(g, a, "NOSUCHSUBCOMMAND");
    if g.random.chance(50) {
        value(g, a);
    }
}

fn client_name(g: &mut Generator, a: &mut Vec<Arg>) {
    let name =
        *g.random.pick(&["", "app", "my-app:7", "with space", "new\nline", "redis-py", "6.2.0", "\u{e9}"]);
    a.push(name.as_bytes().to_vec());
}

fn flush(g: &mut Generator, a: &mut Vec<Arg>) {
    match g.random.below(4) {
        0 => word(g, a, "ASYNC"),
        1 => word(g, a, "SYNC"),
        _ => {}
    }
}

/// HELLO with a mistake: it must change nothing.
fn hello_wrong(g: &mut Generator, a: &mut Vec<Arg>) {
    const WRONG: &[&[&str]] = &[
        &["4"],
        &["1"],
        &["abc"],
        &["2", "nosuch"],
        &["3", "AUTH", "x"],
        &["2", "SETNAME"],
        &["3", "SETNAME", "a b"],
        &["2", "SETNAME", "named"],
        &["3", "AUTH", "nosuch", "user"],
        &["-1"],
        &["9223372036854775808"],
    ];
    let words = *g.random.pick(WRONG);
    a.extend(words.iter().map(|w| w.as_bytes().to_vec()));
}

/// One of the ways to give a TTL, or none, or two that exclude each other.
fn expiry(g: &mut Generator, a: &mut Vec<Arg>, more: &[&str]) {
    let times = if g.random.chance(4) { 2 } else { usize::from(g.random.chance(60)) };
    for _ in 0..times {
        let choice = g.random.below(4 + more.len());
        let (option, number) = match choice {
            0 => ("EX", Some(g.ttl_s())),
            1 => ("PX", Some(g.ttl_s() * 1000 + 11)),
            2 => ("EXAT", Some(g.moment_s())),
            3 => ("PXAT", Some(g.moment_s() * 1000 + 13)),
            other => (more[other - 4], None),
        };
        word(g, a, option);
        if let Some(number) = number {
            let odd = g.random.chance(6);
            let argument = if odd { g.odd() } else { num(number) };
            a.push(argument);
        }
    }
}

fn set(g: &mut Generator, a: &mut Vec<Arg>) {
    pair(g, a);
    // Options in any order: conditions before or after the TTL.
    let ttl_first = g.random.chance(50);
    if ttl_first {
        expiry(g, a, &["KEEPTTL"]);
    }
    match g.random.below(10) {
        0 | 1 => word(g, a, "NX"),
        2 | 3 => word(g, a, "XX"),
        4 => {
            word(g, a, "IFEQ");
            value(g, a)
        }
        5 if g.random.chance(30) => {
            word(g, a, "NX");
            word(g, a, "XX")
        }
        _ => {}
    }
    if g.random.chance(20) {
        word(g, a, "GET");
    }
    if !ttl_first {
        expiry(g, a, &["KEEPTTL"]);
    }
}

fn msetex(g: &mut Generator, a: &mut Vec<Arg>) {
    let count = 1 + g.random.below(4);
    let announced = if g.random.chance(92) { num(count as u64) } else { g.odd() };
    a.push(announced);
    (0..count).for_each(|_| pair(g, a));
    if g.random.chance(30) {
        let condition = *g.random.pick(&["NX", "XX"]);
        word(g, a, condition);
    }
    expiry(g, a, &["KEEPTTL"]);
}

fn relative(g: &mut Generator, a: &mut Vec<Arg>, time: u64) {
    let argument = if g.random.chance(92) { num(time) } else { g.odd() };
    a.push(argument);
}

fn conditions(g: &mut Generator, a: &mut Vec<Arg>) {
    let count = if g.random.chance(10) { 2 } else { usize::from(g.random.chance(50)) };
    for _ in 0..count {
        let condition = *g.random.pick(&["NX", "XX", "GT", "LT"]);
        word(g, a, condition);
    }
}

fn bit_offset(g: &mut Generator, a: &mut Vec<Arg>) {
    let offset = g.random.below(200);
    a.push(num(offset as u64));
}

fn bit_range(g: &mut Generator, a: &mut Vec<Arg>) {
    integer(g, a);
    integer(g, a);
    if g.random.chance(50) {
        let unit = *g.random.pick(&["BYTE", "BIT"]);
        word(g, a, unit);
    }
}

fn lcs(g: &mut Generator, a: &mut Vec<Arg>) {
    two_keys(g, a);
    if g.random.chance(20) {
        word(g, a, "LEN")
    }
    if g.random.chance(40) {
        word(g, a, "IDX");
        if g.random.chance(40) {
            word(g, a, "WITHMATCHLEN")
        }
        if g.random.chance(40) {
            word(g, a, "MINMATCHLEN");
            integer(g, a)
        }
    }
}

fn bitfield(g: &mut Generator, a: &mut Vec<Arg>) {
    key(g, a);
    for _ in 0..g.random.below(5) {
        if g.random.chance(25) {
            word(g, a, "OVERFLOW");
            let mode = *g.random.pick(&["WRAP", "SAT", "FAIL", "FAIL", "nosuch"]);
            word(g, a, mode);
        }
        let operation = *g.random.pick(&["GET", "SET", "INCRBY"]);
        word(g, a, operation);
        bitfield_type(g, a);
        let offset = g.random.below(100);
        let prefix = if g.random.chance(25) { "#" } else { "" };
        a.push(format!("{prefix}{offset}").into_bytes());
        if operation != "GET" {
            let n = if g.random.chance(60) {
                g.small()
            } else {
                (g.random.next() as i64).to_string().into_bytes()
            };
            a.push(n);
        }
    }
}

fn bitfield_type(g: &mut Generator, a: &mut Vec<Arg>) {
    const TYPES: &[&str] =
        &["u1", "u2", "i2", "u4", "i5", "u8", "i8", "u16", "i16", "u32", "i33", "u63", "i64", "i1"];
    const WRONG: &[&str] = &["u64", "i65", "u0", "x8", "u", ""];
    let kind = *if g.random.chance(96) { g.random.pick(TYPES) } else { g.random.pick(WRONG) };
    a.push(kind.as_bytes().to_vec());
}
