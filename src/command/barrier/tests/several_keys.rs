//! MGET to LCS: the commands on several keys.

use super::client_with;
use crate::command::testing::{BEGIN_MS, play};
use crate::proto::reply::PIN_THRESHOLD;
use crate::store::Eviction;

#[test]
fn reading() {
    let mut client = super::client();
    play(
        &mut client,
        &[
            ("MSET a 1 b 22 c \"\"", "+OK"),
            ("MGET a nokey b c a", "*5 $1 1 $-1 $2 22 $0  $1 1"),
            ("EXISTS a b a nokey", ":3"),
            ("TOUCH a nokey c", ":2"),
            ("MGET", "-ERR wrong number of arguments for 'mget' command"),
            ("EXISTS", "-ERR wrong number of arguments for 'exists' command"),
            (
                "HELLO 3 SETNAME x",
                "%7 $6 server $5 redis $7 version $5 7.4.0 $5 proto :3 $2 id :7 $4 mode $10 standalone $4 role $6 master $7 modules *0",
            ),
            ("MGET a nokey", "*2 $1 1 _"),
        ],
    );
    assert_eq!((client.stats.hits, client.stats.misses), (4 + 3 + 2 + 1, 1 + 1 + 1 + 1));
}

#[test]
fn large_values_are_pinned_and_come_back_whole() {
    let mut client = super::client();
    let large = vec![b'x'; PIN_THRESHOLD];
    let huge = vec![b'y'; 300 << 10];
    client.run_args(&[b"MSET", b"large", &large, b"huge", &huge, b"small", b"z"]);
    let expected = [&b"*3\r\n$307200\r\n"[..], &huge, b"\r\n$1\r\nz\r\n$16384\r\n", &large, b"\r\n"].concat();
    assert!(client.run_args(&[b"MGET", b"huge", b"small", b"large"]) == expected);
}

#[test]
fn a_key_named_again_and_again_is_pinned_in_the_end() {
    let mut client = super::client();
    let value = vec![b'x'; 2000];
    client.run_args(&[b"MSET", b"a", &value, b"b", b"1"]);
    let mut args = vec![&b"MGET"[..]];
    args.resize(3001, b"a");
    let reply = client.run_args(&args);
    assert_eq!(reply.len(), "*3000\r\n".len() + 3000 * ("$2000\r\n\r\n".len() + 2000));
}

#[test]
fn writing() {
    let mut client = super::client();
    play(
        &mut client,
        &[
            ("MSET a 1 b", "-ERR wrong number of arguments for 'mset' command"),
            ("MSETNX a 1 b", "-ERR wrong number of arguments for 'msetnx' command"),
            ("MSET a 1 b 2 a 3", "+OK"),
            ("MGET a b", "*2 $1 3 $1 2"),
            ("MSETNX c 1 a 2", ":0"),
            ("EXISTS c d", ":0"),
            ("MSETNX c 1 d 2 c 3", ":1"),
            ("MGET c d", "*2 $1 3 $1 2"),
            ("DEL a a nokey b", ":2"),
            ("UNLINK c d", ":2"),
            ("DBSIZE", ":0"),
        ],
    );
}

#[test]
fn msetex() {
    let mut client = super::client();
    let expire_error = "-ERR invalid expire time in 'msetex' command";
    play(
        &mut client,
        &[
            ("MSETEX 1 a 1", ":1"),
            ("MSETEX 0 a 1", "-ERR invalid numkeys value or out of range"),
            ("MSETEX x a 1", "-ERR invalid numkeys value or out of range"),
            ("MSETEX -1 a 1", "-ERR invalid numkeys value or out of range"),
            ("MSETEX 2 a 1", "-ERR syntax error"),
            ("MSETEX 99999999 a 1", "-ERR syntax error"),
            ("MSETEX 1 a 1 EX 0", expire_error),
            ("MSETEX 1 a 1 EX -1", expire_error),
            ("MSETEX 1 a 1 EX 9223372036854775807", expire_error),
            ("MSETEX 1 a 1 PX 9223372036854775807", expire_error),
            ("MSETEX 1 a 1 EX x", "-ERR value is not an integer or out of range"),
            ("MSETEX 1 a 1 EX", "-ERR syntax error"),
            ("MSETEX 1 a 1 FOO", "-ERR syntax error"),
            ("MSETEX 1 a 1 NX XX", "-ERR syntax error"),
            ("MSETEX 1 a 1 KEEPTTL EX 1", "-ERR syntax error"),
            ("MSETEX 1 a 1 EX 10 PX 20", "-ERR syntax error"),
            ("MSETEX 1 a 1 EX 5 EX 6 XX XX", ":1"),
            ("MSETEX 1 a 1 NX", ":0"),
            ("MSETEX 2 a 1 q 1 XX", ":0"),
            ("EXISTS q z", ":0"),
            ("MSETEX 2 q 1 r 2 nx ex 10", ":1"),
            ("MSETEX 2 q 3 r 4 KEEPTTL", ":1"),
            ("MGET q r", "*2 $1 3 $1 4"),
            ("MSETEX 2 q v r w EXAT 1", ":1"),
            ("EXISTS q r", ":0"),
        ],
    );
    client.run("MSETEX 2 s 1 t 2 PX 10");
    client.run("MSETEX 2 s 3 t 4 KEEPTTL");
    client.now_ms = BEGIN_MS + 9;
    assert_eq!(client.run("MGET s t"), "*2 $1 3 $1 4");
    client.now_ms = BEGIN_MS + 10;
    assert_eq!(client.run("MGET s t"), "*2 $-1 $-1");
}

#[test]
fn renaming_and_copying() {
    let mut client = super::client();
    play(
        &mut client,
        &[
            ("RENAME nokey x", "-ERR no such key"),
            ("RENAMENX nokey x", "-ERR no such key"),
            ("MSET a 1 b 2", "+OK"),
            ("RENAME a a", "+OK"),
            ("RENAMENX a a", ":0"),
            ("RENAMENX a b", ":0"),
            ("RENAMENX a c", ":1"),
            ("RENAME c b", "+OK"),
            ("MGET a b c", "*3 $-1 $1 1 $-1"),
            ("COPY b d", ":1"),
            ("COPY b d", ":0"),
            ("COPY nokey e", ":0"),
            ("COPY b b", "-ERR source and destination objects are the same"),
            ("COPY nokey nokey", "-ERR source and destination objects are the same"),
            ("COPY b b DB 1", ":1"),
            ("COPY b b DB 0", "-ERR source and destination objects are the same"),
            ("COPY b e DB 16", "-ERR DB index is out of range"),
            ("COPY b e DB x", "-ERR value is not an integer or out of range"),
            ("COPY b e DB", "-ERR syntax error"),
            ("COPY b e FOO", "-ERR syntax error"),
            ("MSET b 9 x 0", "+OK"),
            ("COPY b d REPLACE DB 3 DB 0", ":1"),
            ("MGET b d", "*2 $1 9 $1 9"),
            ("SELECT 1", "+OK"),
            ("MGET b d", "*2 $1 1 $-1"),
        ],
    );
}

#[test]
fn the_expiry_moves_with_the_value() {
    let mut client = super::client();
    client.run("MSETEX 2 a 1 c 1 PX 10");
    play(
        &mut client,
        &[("RENAME a b", "+OK"), ("COPY c d", ":1"), ("MSET e 1 f 1", "+OK"), ("RENAME e c", "+OK")],
    );
    client.now_ms = BEGIN_MS + 10;
    assert_eq!(client.run("MGET b c d"), "*3 $-1 $1 1 $-1");
}

#[test]
fn bits() {
    let mut client = super::client();
    play(
        &mut client,
        &[
            ("BITOP AND d", "-ERR wrong number of arguments for 'bitop' command"),
            ("BITOP FOO d a", "-ERR syntax error"),
            ("BITOP DIFF d a b", "-ERR syntax error"),
            ("BITOP NOT d a b", "-ERR BITOP NOT must be called with a single source key."),
            ("MSET a abcde b bb", "+OK"),
            ("BITOP or d a b nokey", ":5"),
        ],
    );
    assert_eq!(client.run_args(&[b"MGET", b"d", b"x"]), b"*2\r\n$5\r\ncbcde\r\n$-1\r\n");
    for (operation, result) in [("AND", &b"\x60\x62\0\0\0"[..]), ("XOR", b"\x03\0cde")] {
        assert_eq!(client.run(&format!("BITOP {operation} d a b")), ":5");
        let expected = [b"*2\r\n$5\r\n", result, b"\r\n$-1\r\n"].concat();
        assert_eq!(client.run_args(&[b"MGET", b"d", b"x"]), expected, "{operation}");
    }
    assert_eq!(client.run("BITOP NOT d b"), ":2");
    assert_eq!(client.run_args(&[b"MGET", b"d", b"x"]), b"*2\r\n$2\r\n\x9d\x9d\r\n$-1\r\n");
    play(&mut client, &[("BITOP AND d nokey", ":0"), ("EXISTS d x", ":0")]);
}

#[test]
fn bits_of_large_values_are_combined_outside_of_the_locks() {
    let mut client = super::client();
    for len in [40 << 10, 200 << 10] {
        let (a, b) = (vec![0b1100; len], vec![0b1010; len - 1]);
        client.run_args(&[b"MSET", b"a", &a, b"b", &b]);
        assert_eq!(client.run("BITOP XOR a a b"), format!(":{len}"));
        let mut expected = vec![0b0110; len - 1];
        expected.push(0b1100);
        let expected = [format!("*2\r\n${len}\r\n").as_bytes(), &expected, b"\r\n$-1\r\n"].concat();
        assert!(client.run_args(&[b"MGET", b"a", b"x"]) == expected, "{len}");
    }
}

#[test]
fn longest_common_subsequence() {
    let mut client = super::client();
    play(
        &mut client,
        &[
            ("MSET a ohmytext b mynewtext", "+OK"),
            ("LCS a b", "$6 mytext"),
            ("LCS a b LEN", ":6"),
            ("LCS a b IDX", "*4 $7 matches *2 *2 *2 :4 :7 *2 :5 :8 *2 *2 :2 :3 *2 :0 :1 $3 len :6"),
            ("LCS b a IDX", "*4 $7 matches *2 *2 *2 :5 :8 *2 :4 :7 *2 *2 :0 :1 *2 :2 :3 $3 len :6"),
            ("LCS a b IDX MINMATCHLEN 4 WITHMATCHLEN", "*4 $7 matches *1 *3 *2 :4 :7 *2 :5 :8 :4 $3 len :6"),
            (
                "LCS a b IDX MINMATCHLEN -5",
                "*4 $7 matches *2 *2 *2 :4 :7 *2 :5 :8 *2 *2 :2 :3 *2 :0 :1 $3 len :6",
            ),
            ("LCS a nokey", "$0 "),
            ("LCS a nokey IDX", "*4 $7 matches *0 $3 len :0"),
            ("LCS a b LEN IDX", "-ERR If you want both the length and indexes, please just use IDX."),
            ("LCS a b FOO", "-ERR syntax error"),
            ("LCS a b MINMATCHLEN", "-ERR syntax error"),
            ("LCS a b MINMATCHLEN x", "-ERR value is not an integer or out of range"),
            ("HELLO 3 FOO", "-ERR Syntax error in HELLO option 'FOO'"),
        ],
    );
    client.session.resp3 = true;
    assert_eq!(client.run("LCS a nokey IDX"), "%2 $7 matches *0 $3 len :0");
    let long = vec![b'a'; 20_000];
    client.run_args(&[b"MSET", b"a", &long, b"b", &long]);
    assert_eq!(
        client.run("LCS a b LEN"),
        "-ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len"
    );
    client.run_args(&[b"MSET", b"a", &long[..5_000], b"b", &long[..4_999]]);
    assert_eq!(client.run("LCS a b LEN"), ":4999");
}

#[test]
fn a_value_that_is_too_large_writes_nothing() {
    for eviction in [Eviction::Lru, Eviction::None] {
        let mut client = client_with(eviction);
        let huge = vec![0; 9 << 20];
        let reply = client.run_args(&[b"MSET", b"a", b"1", b"huge", &huge]);
        assert_eq!(reply, b"-ERR string exceeds maximum allowed size (proto-max-bulk-len)\r\n");
        assert_eq!(client.run("EXISTS a huge"), ":0");
        client.run("MSET a 1 b 2");
        let long = vec![b'k'; 70_000];
        let reply = client.run_args(&[b"MSET", b"a", b"3", &long, b"4"]);
        assert!(reply.starts_with(b"-ERR key is longer than"));
        assert_eq!(client.run("MGET a b"), "*2 $1 1 $1 2");
    }
}
