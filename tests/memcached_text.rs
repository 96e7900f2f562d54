//! memcached's text protocol over TCP: exact bytes, bad input, pipelines, lengths beyond all limits, the password, statistics.

mod support;

use std::collections::HashMap;
use std::io::Write;
use std::time::Duration;
use support::{Setup, Text, wait_until};

on_every_engine!(
    what_clients_send,
    meta_commands,
    errors_keep_the_framing,
    a_stream_may_be_cut_anywhere,
    a_deep_pipeline,
    very_many_keys,
    large_values,
    lengths_beyond_all_limits,
    lines_without_end,
    the_password_comes_first,
    statistics,
    a_flush_that_waits,
    shutdown_only_where_it_is_allowed,
    its_own_port,
    together_with_redis,
);

/// As recorded from pymemcache, python-memcached, pylibmc, Django, memcached of npm, meta-memcache.
fn what_clients_send(setup: Setup) {
    let server = setup.start(&[]);
    let mut client = Text::connect(server.address());
    for (commands, replies) in [
        ("set a 0 5 1 noreply|1|get a|", "VALUE a 0 1|1|END|"),
        ("add b 0 0 1 noreply|1|", ""),
        ("replace b 0 0 1 noreply|2|append b 0 0 1 noreply|3|prepend b 0 0 1 noreply|0|incr a 1|", "2|"),
        ("get b|decr a 1|", "VALUE b 0 3|023|END|1|"),
        ("touch a 9 noreply|delete a noreply|set x 0 0 1 noreply|1|get x y|", "VALUE x 0 1|1|END|"),
        ("set a 16 5 1 |1|get a|", "STORED|VALUE a 16 1|1|END|"),
        ("append a 16 0 1 |1|delete x |", "STORED|DELETED|"),
        ("set :1:a 16 30 1|x|add :1:a 16 300 1|y|incr :1:n 1|", "STORED|NOT_STORED|NOT_FOUND|"),
        ("flush_all |flush_all 0|get a|", "OK|OK|END|"),
        ("ms a 1 T60 F0|v|mg a f v t h|", "HD|VA 1 f0 t60 h0|v|"),
        ("mg l f v t h N30|", "VA 0 f0 t-1 h0 W||"),
        ("mg a T9|mg a t|", "HD|HD t9|"),
    ] {
        assert_eq!(client.say(commands), replies, "{commands}");
    }
    let cas = client.say("gets a|");
    let cas = cas.split('|').next().unwrap().rsplit(' ').next().unwrap().to_owned();
    assert_eq!(client.say(&format!("cas a 16 0 1 {cas} |2|cas a 0 5 1 {cas}|3|")), "STORED|EXISTS|");
    let version = client.say("version|");
    assert!(version.starts_with("VERSION 1.6.") && version.matches(' ').count() == 1, "{version}");
    client.send(b"quit\r\nget a\r\n");
    assert_eq!(client.read_to_close(), "");
}

fn meta_commands(setup: Setup) {
    let server = setup.start(&[]);
    let mut client = Text::connect(server.address());
    for (commands, replies) in [
        ("ms k 2 F7 T0 k O9|hi|mg k s v f t k O1|", "HD kk O9|VA 2 s2 f7 t-1 kk O1|hi|"),
        ("mg none v q|mg none k O1|md none q|", "EN knone O1|NF|"),
        ("ms k 2 q|yo|md k q|mg k v|", "EN|"),
        ("ma n N0 J13 v|ma n MD D5 v|ma n q|ma n v|", "VA 2|13|VA 1|8|VA 2|10|"),
        ("ms Zm9v 1 b|x|get foo|mg Zm9v b k v|", "HD|VALUE foo 0 1|x|END|VA 1 kZm9v b|x|"),
        ("ms c 1 E7 c|x|ms c 1 C6|y|ms c 1 C7 E9 c s|y|md c C7|md c C9|", "HD c7|EX|HD c9 s1|EX|HD|"),
        (
            "ms s 1|x|md s I T30|mg s v t|mg s v|ms s 1|y|mg s v|",
            "HD|HD|VA 1 t30 X W|x|VA 1 Z X|x|HD|VA 1|y|",
        ),
        ("ms x 2 F5|hi|md x x|mg x v f|", "HD|HD|VA 0 f0||"),
        ("ms app 1 MA|x|ms app 1 MA N30|x|ms app 1 MP s|>|mg app v t|", "NS|HD|HD s2|VA 2 t30|>x|"),
    ] {
        assert_eq!(client.say(commands), replies, "{commands}");
    }
    let debug = client.say("me app|");
    assert!(debug.starts_with("ME app exp=30 la=0 cas=") && debug.ends_with(" cls=1 size=5|"), "{debug}");
}

fn errors_keep_the_framing(setup: Setup) {
    let server = setup.start(&[]);
    let mut client = Text::connect(server.address());
    let long = "k".repeat(251);
    let fits = "k".repeat(250);
    for (commands, replies) in [
        ("get a||x|GET a|", "END|ERROR|ERROR|ERROR|".to_owned()),
        (&format!("get {long}|set {fits} 0 0 1|x|get {fits}|"), {
            format!("CLIENT_ERROR bad command line format|STORED|VALUE {fits} 0 1|x|END|")
        }),
        // What stands in the block of a refused line is no command.
        (&format!("set {long} 0 0 9|flush_all|get {fits}|"), {
            format!("CLIENT_ERROR bad command line format|VALUE {fits} 0 1|x|END|")
        }),
        ("set a 0 0 3|abcdef|", "CLIENT_ERROR bad data chunk|ERROR|".to_owned()),
        ("set a 4294967296 0 1|x|", "CLIENT_ERROR bad command line format|".to_owned()),
        ("mg a v v|mg a ~|", "CLIENT_ERROR duplicate flag|CLIENT_ERROR invalid flag|".to_owned()),
        ("lru_crawler metadump all|", "CLIENT_ERROR lru crawler disabled|".to_owned()),
        ("incr a 1|set a 0 0 1|x|incr a 1|", {
            "NOT_FOUND|STORED|CLIENT_ERROR cannot increment or decrement non-numeric value|".to_owned()
        }),
    ] {
        assert_eq!(client.say(commands), replies, "{commands}");
    }
}

fn a_stream_may_be_cut_anywhere(setup: Setup) {
    let server = setup.start(&[]);
    let mut client = Text::connect(server.address());
    let script =
        b"set key 3 0 4\r\na\r\nb\r\nget key none\r\nms key 1 c\r\nx\r\nmg key v\r\nadd big 0 0 99\r\nx";
    for cut in 0..=script.len() {
        client.send(&script[..cut]);
        // So that the two parts arrive apart. If the kernel joins them all the same, the test is weaker, not wrong.
        std::thread::sleep(Duration::from_millis(2));
        client.send(&script[cut..]);
        let rest = [&[b'y'; 98][..], b"\r\ndelete big\r\n"].concat();
        let reply = String::from_utf8(client.ask(rest)).unwrap();
        let (before, after) = reply.split_once("HD c").expect("a CAS");
        assert_eq!(before, "STORED\r\nVALUE key 3 4\r\na\r\nb\r\nEND\r\n", "cut at {cut}");
        let after = after.split_once("\r\n").expect("its end").1;
        assert_eq!(after, "VA 1\r\nx\r\nSTORED\r\nDELETED\r\n", "cut at {cut}");
    }
}

fn a_deep_pipeline(setup: Setup) {
    const COMMANDS: usize = 40_000;
    let server = setup.start(&["--max-memory", "128MB"]);
    let mut client = Text::connect(server.address());
    let (mut script, mut expected) = (Vec::new(), Vec::new());
    for n in 0..COMMANDS {
        let key = n % 1000;
        write!(script, "set k{key} {key} 0 5\r\n{n:05}\r\nget k{key}\r\nset q 0 0 1 noreply\r\nx\r\n")
            .unwrap();
        write!(expected, "STORED\r\nVALUE k{key} {key} 5\r\n{n:05}\r\nEND\r\n").unwrap();
    }
    let mut sender = Text { stream: client.stream.try_clone().expect("a second handle of the socket") };
    let thread = std::thread::spawn(move || sender.send(&[&script[..], b"mn\r\n"].concat()));
    assert!(client.answer() == expected, "replies differ");
    thread.join().expect("all is sent");
}

fn very_many_keys(setup: Setup) {
    let server = setup.start(&[]);
    let mut client = Text::connect(server.address());
    client.ask("set a 0 0 1\r\nx\r\nset z 9 0 1\r\ny\r\n");
    let none: String = (0..20_000).map(|n| format!(" nothing-at-{n:08}")).collect();
    let line = format!("get a{none} z{none}\r\nget a{none} z\r\n");
    let replies = "VALUE a 0 1|x|VALUE z 9 1|y|END|".repeat(2);
    assert_eq!(client.say(&line), replies);
    // One key that is wrong, and none is answered.
    assert_eq!(
        client.say(&format!("get a{none} {} z|", "k".repeat(251))),
        "CLIENT_ERROR bad command line format|"
    );
}

fn large_values(setup: Setup) {
    let server = setup.start(&["--max-memory", "128MB"]);
    let mut client = Text::connect(server.address());
    for len in [16_383, 16_384, 200_000, 3 << 20] {
        let value: Vec<u8> = (0..len).map(|i: usize| (i % 251) as u8).collect();
        let line = format!("set big 5 0 {len}\r\n");
        assert_eq!(client.ask([line.as_bytes(), &value, b"\r\n"].concat()), b"STORED\r\n");
        let expected = [format!("VALUE big 5 {len}\r\n").as_bytes(), &value, b"\r\nEND\r\n"].concat();
        assert!(client.ask("get big\r\n") == expected, "{len}");
        let expected = [format!("VA {len} s{len}\r\n").as_bytes(), &value, b"\r\n"].concat();
        assert!(client.ask("mg big v s\r\n") == expected, "{len}");
    }
}

/// What is announced takes no memory; what comes of it is dropped, and then the connection goes on.
fn lengths_beyond_all_limits(setup: Setup) {
    let server = setup.start(&["--max-value-size", "1MB"]);
    let mut client = Text::connect(server.address());
    client.ask("set a 0 0 1\r\nx\r\n");
    let block = vec![b'x'; 20_000_000];
    let before = server.rss_bytes();
    let script = [b"set a 0 0 20000000\r\n", &block[..], b"\r\nget a\r\n"].concat();
    assert_eq!(client.ask(script), b"SERVER_ERROR object too large for cache\r\nEND\r\n");
    assert!(server.rss_bytes() < before + 8_000_000, "the block was kept");
    client.send(b"set a 0 0 18446744073709551615\r\n");
    client.send(&block[..1000]);
    let mut other = Text::connect(server.address());
    assert_eq!(other.say("get a|"), "END|");
    assert_eq!(other.say("set a 0 0 -1|set a 0 0 99999999999999999999999|"), {
        "CLIENT_ERROR bad command line format|".repeat(2)
    });
}

fn lines_without_end(setup: Setup) {
    let server = setup.start(&[]);
    let mut client = Text::connect(server.address());
    client.send(&[&b"set "[..], &[b'k'; 100_000][..]].concat());
    assert_eq!(client.read_to_close(), "CLIENT_ERROR line too long|");
    let mut client = Text::connect(server.address());
    client.send(&[&b"get "[..], &b"key ".repeat(300_000)].concat());
    assert_eq!(client.read_to_close(), "CLIENT_ERROR line too long|");
}

fn the_password_comes_first(setup: Setup) {
    let server = setup.start(&["--requirepass", "so secret"]);
    let mut client = Text::connect(server.address());
    let log_in = |user: &str, password: &str| {
        let words = format!("{user} {password}");
        format!("set any 0 0 {}\r\n{words}\r\n", words.len())
    };
    client.send(format!("get a\r\n{}", log_in("default", "wrong")).as_bytes());
    client.send(log_in("admin", "so secret").as_bytes());
    client.send(log_in("default", "so secret").as_bytes());
    let refused = "CLIENT_ERROR unauthenticated|CLIENT_ERROR authentication failure|\
                   CLIENT_ERROR authentication failure|STORED|";
    assert_eq!(client.say("set a 0 0 1|x|get a|"), { format!("{refused}STORED|VALUE a 0 1|x|END|") });
    let mut stranger = Text::connect(server.address());
    stranger.send(&[&b"get "[..], &[b'x'; 5000][..]].concat());
    assert_eq!(stranger.read_to_close(), "");
}

fn statistics(setup: Setup) {
    let server = setup.start(&[]);
    let mut client = Text::connect(server.address());
    client.say("set a 0 0 1|x|get a|get b|touch a 5|flush_all 100|");
    let figures = |client: &mut Text, what: &str| -> HashMap<String, String> {
        let text = client.say(&format!("stats{what}|"));
        let lines = text.strip_suffix("END|").expect("an end").split_terminator('|');
        let parts =
            lines.map(|line| line.strip_prefix("STAT ").expect("a figure").split_once(' ').expect("a value"));
        parts.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    };
    // Counters leave a worker at the end of its turn.
    wait_until("the counters to be published", || figures(&mut client, "")["cmd_set"] == "1");
    let general = figures(&mut client, "");
    for (name, value) in [
        ("get_hits", "2"),
        ("get_misses", "1"),
        ("cmd_get", "3"),
        ("cmd_touch", "1"),
        ("cmd_flush", "1"),
        ("curr_items", "1"),
    ] {
        assert_eq!(general[name], value, "{name}");
    }
    assert_eq!(general["pid"], server.pid().to_string());
    assert_eq!(general["threads"], setup.threads.to_string());
    assert_eq!(figures(&mut client, " settings")["tcpport"], server.address().port().to_string());
    assert_eq!(figures(&mut client, " items")["items:1:number"], "1");
    assert!(figures(&mut client, " slabs").contains_key("total_malloced"));
    assert!(figures(&mut client, " conns").keys().any(|name| name.ends_with(":addr")));
    assert_eq!(client.say("stats reset|cache_memlimit 32|"), "RESET|OK|");
    assert_eq!(figures(&mut client, " ")["get_hits"], "0");
    assert_eq!(figures(&mut client, "")["limit_maxbytes"], (32 << 20).to_string());
}

fn a_flush_that_waits(setup: Setup) {
    let server = setup.start(&[]);
    let mut client = Text::connect(server.address());
    assert_eq!(client.say("set a 0 0 1|x|flush_all 1|get a|"), "STORED|OK|VALUE a 0 1|x|END|");
    wait_until("the flush", || client.say("get a|") == "END|");
    assert_eq!(client.say("set a 0 0 1|x|get a|"), "STORED|VALUE a 0 1|x|END|");
}

fn shutdown_only_where_it_is_allowed(setup: Setup) {
    let server = setup.start(&[]);
    assert_eq!(Text::connect(server.address()).say("shutdown|"), "ERROR: shutdown not enabled|");
    let mut server = setup.start(&["--memcached-shutdown"]);
    let mut client = Text::connect(server.address());
    client.send(b"shutdown\r\n");
    assert_eq!(client.read_to_close(), "");
    assert!(server.wait().success());
}

fn its_own_port(setup: Setup) {
    let port = support::Ports::reserve();
    let number = port.port.to_string();
    let server = setup.start(&["--memcached-port", &number]);
    let mut client = Text::connect((server.address().ip(), port.port).into());
    assert_eq!(client.say("bget a|set a 0 0 1|x|get a|"), "ERROR|STORED|VALUE a 0 1|x|END|");
}

fn together_with_redis(setup: Setup) {
    let server = setup.start(&[]);
    let (mut text, mut redis) = (Text::connect(server.address()), server.connect());
    redis.run("SET a from-redis");
    assert_eq!(text.say("get a|append a 0 0 1|!|"), "VALUE a 0 10|from-redis|END|STORED|");
    assert_eq!(redis.run("GET a").text(), "from-redis!");
    assert_eq!(text.say("set n 5 0 1|1|incr n 41|"), "STORED|42|");
    assert_eq!(redis.run("INCR n").int(), 43);
    redis.run("CLIENT PAUSE 60000 WRITE");
    assert_eq!(text.say("get n|"), "VALUE n 5 2|43|END|");
    text.send(b"set n 0 0 1\r\n7\r\n");
    redis.run("CLIENT UNPAUSE");
    assert_eq!(text.say("get n|"), "STORED|VALUE n 0 1|7|END|");
}
