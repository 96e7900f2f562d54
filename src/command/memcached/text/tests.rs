//! Commands played to a store of their own, as a connection plays them.

use super::*;
use crate::command::testing::{BEGIN_MS, Client};
use crate::command::{Context, Flow, Host, PauseMode, execute_now, run};
use crate::proto::{self, ReplyBuf, Scratch};
use crate::store::Eviction;
use bumpalo::Bump;

pub const LIMITS: ParseLimits = ParseLimits {
    max_bulk: 1 << 20,
    max_request: 2 << 20,
    max_args: 100,
    max_inline: 4096,
    authenticated: true,
};

/// Sends bytes and returns all that is answered; line ends are shown as `|`. Panics if something is left over.
fn play<H: Host>(client: &mut Client<H>, stream: &[u8]) -> String {
    let mut out = ReplyBuf::default();
    let (mut state, mut at) = (State::default(), 0);
    while at < stream.len() {
        let (bump, mut requests, mut scratch) = (Bump::new(), Vec::new(), Scratch::default());
        let ctx = PlanContext {
            store: &client.store,
            buffer: None,
            bump: &bump,
            session: &client.session,
            host: &client.host,
            held: false,
            paused: None,
            now_ms: client.now_ms,
        };
        let step = next(&stream[at..], &mut state, &LIMITS, &ctx, &mut client.stats, &mut requests);
        execute_now(&client.store, &mut requests, &mut scratch, &mut client.stats, client.now_ms);
        for request in &requests {
            proto::encode(&request.form, request.key.bytes, &request.outcome, &scratch, &mut out);
        }
        match step {
            Step::Planned { consumed } => at += consumed,
            Step::Last { .. } => return shown(&out) + "closed",
            Step::Barrier { consumed, barrier } => {
                at += consumed;
                let mut ctx = Context {
                    store: &client.store,
                    session: &mut client.session,
                    host: &client.host,
                    stats: &mut client.stats,
                    scripts: None,
                    held: None,
                    now_ms: client.now_ms,
                };
                if run(&barrier, &mut ctx, &mut out) == Flow::Close {
                    return shown(&out) + "closed";
                }
            }
            other => panic!("{other:?} at {at}, after {}", shown(&out)),
        }
    }
    shown(&out)
}

fn shown(out: &ReplyBuf) -> String {
    out.bytes.escape_ascii().to_string().replace("\\r\\n", "|")
}

/// Lines with `|` for the line ends.
#[track_caller]
fn script(steps: &[(&str, &str)]) {
    let mut client = Client::new();
    for (line, expected) in steps {
        if let Some(ms) = line.strip_prefix("@+") {
            client.now_ms += ms.parse::<u64>().unwrap();
            continue;
        }
        let stream = line.replace('|', "\r\n");
        assert_eq!(play(&mut client, stream.as_bytes()), *expected, "{line}");
    }
}

#[test]
fn storing_and_reading() {
    script(&[
        ("set a 5 0 1|x|", "STORED|"),
        ("get a|", "VALUE a 5 1|x|END|"),
        ("get b a c a|", "VALUE a 5 1|x|VALUE a 5 1|x|END|"),
        ("get b c|", "END|"),
        ("set b 0 0 2 noreply|hi|get b|", "VALUE b 0 2|hi|END|"),
        ("add b 0 0 1|x|", "NOT_STORED|"),
        ("add c 4294967295 0 1|x|get c|", "STORED|VALUE c 4294967295 1|x|END|"),
        ("replace d 0 0 1|x|", "NOT_STORED|"),
        ("append b 7 0 1|!|prepend b 0 0 1|>|get b|", "STORED|STORED|VALUE b 0 4|>hi!|END|"),
        ("append d 0 0 1|!|", "NOT_STORED|"),
        ("delete b|delete b|delete a noreply|get a|", "DELETED|NOT_FOUND|END|"),
        ("set e 0 0 0||get e|", "STORED|VALUE e 0 0||END|"),
        ("version|", &format!("VERSION {VERSION}|")),
        ("get c|quit|get c|", "VALUE c 4294967295 1|x|END|closed"),
    ]);
}

#[test]
fn a_cas_holds_for_one_write() {
    let mut client = Client::new();
    play(&mut client, b"set a 0 0 1\r\nx\r\n");
    let cas = |client: &mut Client| {
        let reply = play(client, b"gets a\r\n");
        reply.split('|').next().unwrap().rsplit(' ').next().unwrap().parse::<u64>().unwrap()
    };
    let first = cas(&mut client);
    assert!(first > 0);
    let write = format!("cas a 3 0 1 {first}\r\ny\r\n");
    assert_eq!(play(&mut client, write.as_bytes()), "STORED|");
    assert_eq!(play(&mut client, write.as_bytes()), "EXISTS|");
    assert_ne!(cas(&mut client), first);
    assert_eq!(play(&mut client, b"cas none 0 0 1 5\r\ny\r\n"), "NOT_FOUND|");
    assert_eq!(play(&mut client, b"get a\r\n"), "VALUE a 3 1|y|END|");
}

#[test]
fn times() {
    let soon = BEGIN_MS / 1000 + 40;
    script(&[
        ("set a 0 30 1|x|set b 0 -1 1|x|get a b|", "STORED|STORED|VALUE a 0 1|x|END|"),
        (&format!("set c 0 {soon} 1|x|get c|"), "STORED|VALUE c 0 1|x|END|"),
        ("mg a t|mg c t|", "HD t30|HD t40|"),
        ("touch a 60|touch none 60|mg a t|", "TOUCHED|NOT_FOUND|HD t60|"),
        ("gat 90 a none|mg a t|", "VALUE a 0 1|x|END|HD t90|"),
        ("touch a 0|mg a t|", "TOUCHED|HD t-1|"),
        ("mg a t T60|mg a t T30|mg a T0 t|", "HD t-1|HD t60|HD t-1|"),
        ("ms n 1 T60|5|ma n t T30|ma n T90 t|", "HD|HD t60|HD t90|"),
        ("mg new t N30|mg new t N60|", "HD t-1 W|HD t30 Z|"),
        ("@+40001", ""),
        ("get a c|", "VALUE a 0 1|x|END|"),
        ("touch a -1|get a|", "TOUCHED|END|"),
    ]);
}

#[test]
fn counting() {
    script(&[
        ("incr n 1|", "NOT_FOUND|"),
        ("set n 7 0 1|5|incr n 10|decr n 3|decr n 100|", "STORED|15|12|0|"),
        ("incr n 18446744073709551615|incr n 1|", "18446744073709551615|0|"),
        ("get n|", "VALUE n 7 1|0|END|"),
        ("set x 0 0 1|x|incr x 1|", "STORED|CLIENT_ERROR cannot increment or decrement non-numeric value|"),
        ("incr n 5 noreply|get n|", "VALUE n 7 1|5|END|"),
        ("ma m N60 J13 v t|ma m v D5|ma m v MD D8|ma m|", "VA 2 t60|13|VA 2|18|VA 2|10|HD|"),
        ("ma none|ma none q O1|", "NF|NF O1|"),
    ]);
}

#[test]
fn meta_commands() {
    script(&[
        ("ms a 2 T60 F9|hi|mg a v s f t k O1|", "HD|VA 2 s2 f9 t60 ka O1|hi|"),
        ("mg none v|mg none v q|mn|", "EN|MN|"),
        ("ms a 2 ME|xx|ms b 2 MR|xx|ms b 2 MA|xx|", "NS|NS|NS|"),
        ("ms b 2 MA N0|xx|ms b 1 MP|>|mg b v|", "HD|HD|VA 3|>xx|"),
        ("ms c 1 E500 c s|x|mg c c|", "HD c500 s1|HD c500|"),
        ("mg c v C500|mg c v s C499|mg c v C500 q k|", "HD|VA 1 s1|x|HD kc|"),
        ("ms c 1 C499|y|ms c 1 C500 E600 c|y|", "EX|HD c600|"),
        ("md c C1|md c C600|md c|md a q|mn|", "EX|HD|NF|MN|"),
        ("ms Zm9v 1 b k|x|get foo|mg Zm9v b k v|", "HD kZm9v b|VALUE foo 0 1|x|END|VA 1 kZm9v b|x|"),
        ("me none|", "EN|"),
        ("set d 0 0 1|x|mg d h|mg d h l|", "STORED|HD h0|HD h1 l0|"),
    ]);
}

#[test]
fn a_lease_is_won_once() {
    script(&[
        ("mg k N30 v t|mg k N30 v|mg k v|", "VA 0 t30 W||VA 0 Z||VA 0 Z||"),
        ("ms k 1|x|mg k v|", "HD|VA 1|x|"),
        ("md k I T30|mg k v t|mg k v|", "HD|VA 1 t30 X W|x|VA 1 Z X|x|"),
        ("ms r 1 T20|x|mg r R10|mg r R30|mg r R30|", "HD|HD|HD W|HD Z|"),
    ]);
}

#[test]
fn what_is_too_large_takes_the_old_value_with_it() {
    let mut client = Client::with(crate::command::testing::QuietHost, Eviction::Lru, 1 << 20);
    let large = vec![b'x'; LIMITS.max_bulk + 1];
    for (line, survivor) in [
        (format!("set a 0 0 {}\r\n", large.len()), "END|"),
        (format!("ms a {}\r\n", large.len()), "END|"),
        (format!("add a 0 0 {}\r\n", large.len()), "VALUE a 0 1|x|END|"),
    ] {
        assert_eq!(play(&mut client, b"set a 0 0 1\r\nx\r\n"), "STORED|");
        let stream = [line.as_bytes(), &large, b"\r\nget a\r\n"].concat();
        assert_eq!(play(&mut client, &stream), format!("SERVER_ERROR object too large for cache|{survivor}"));
    }
}

#[test]
fn flush_all_now_leaves_other_databases() {
    let mut client = Client::new();
    play(&mut client, b"set a 0 0 1\r\nx\r\n");
    client.run("SELECT 1");
    client.run("SET a other");
    assert_eq!(
        play(&mut client, b"flush_all\r\nget a\r\nflush_all 0 noreply\r\nflush_all 5\r\n"),
        "OK|END|OK|"
    );
    assert_eq!(client.run("GET a"), "$5 other");
}

#[test]
fn statistics_and_management() {
    script(&[
        ("stats|stats settings|", "STAT of General|END|STAT of Settings|END|"),
        ("stats reset|stats sizes|stats nothing|", "RESET|STAT sizes_status disabled|END|ERROR|"),
        ("cache_memlimit 64|cache_memlimit 64 noreply|", "OK|"),
        ("shutdown|", "ERROR: shutdown not enabled|"),
        ("verbosity 1|watch|", "OK|CLIENT_ERROR watch commands not allowed|"),
    ]);
}

#[test]
fn pause_holds_writes_and_leaves_the_parser_where_it_was() {
    let client = Client::new();
    let plan = |stream: &[u8], state: &mut State, paused| {
        let (bump, mut requests, mut stats) = (Bump::new(), Vec::new(), client.stats.clone());
        let ctx = PlanContext {
            store: &client.store,
            buffer: None,
            bump: &bump,
            session: &client.session,
            host: &client.host,
            held: false,
            paused: Some(paused),
            now_ms: client.now_ms,
        };
        matches!(next(stream, state, &LIMITS, &ctx, &mut stats, &mut requests), Step::Paused)
    };
    let mut state = State::default();
    for (stream, write) in [
        (&b"get a\r\n"[..], false),
        (b"gat 1 a\r\n", true),
        (b"set a 0 0 1\r\nx\r\n", true),
        (b"set a 0 0 99999999\r\n", true),
        (b"mg a v\r\n", false),
        (b"mg a N30\r\n", true),
        (b"md a\r\n", true),
        (b"flush_all\r\n", true),
    ] {
        assert_eq!(plan(stream, &mut state, PauseMode::Write), write, "{}", stream.escape_ascii());
        assert!(state.is_fresh());
        assert!(plan(stream, &mut state, PauseMode::All));
        assert!(state.is_fresh());
    }
}

#[test]
fn before_the_password_only_the_password() {
    let mut client = Client::new();
    client.session.authenticated = false;
    let stream = b"get a\r\nquit\r\nset x 0 0 9\r\ndefault x\r\nset a 0 0 1\r\nx\r\nget a\r\n";
    let refused = "CLIENT_ERROR unauthenticated|";
    assert_eq!(play(&mut client, stream), format!("{refused}{refused}STORED|STORED|VALUE a 0 1|x|END|"));
}
