//! Integers inside values. The replies are those of Valkey 9.1.

use super::resp3;
use crate::command::testing::script;

#[test]
fn read_and_write() {
    script(&[
        ("BITFIELD k", "*0"),
        ("BITFIELD k GET u8 0", "*1 :0"),
        ("EXISTS k", ":0"),
        ("BITFIELD k SET u8 0 255 GET u8 0 GET i8 0 GET u4 2", "*4 :0 :255 :-1 :15"),
        ("BITFIELD k INCRBY i5 100 1 GET u4 0", "*2 :1 :15"),
        ("STRLEN k", ":14"),
        ("BITFIELD k SET u8 #2 97 GET u8 #2 GET u8 16", "*3 :0 :97 :97"),
        (
            "BITFIELD k SET i64 0 -9223372036854775808 GET i64 0 GET u1 0 GET u63 0",
            "*4 :-71950941410033664 :-9223372036854775808 :1 :4611686018427387904",
        ),
        (
            "BITFIELD k SET i64 3 -1 GET i64 3 GET i64 2 GET u63 5",
            "*4 :0 :-1 :9223372036854775807 :9223372036854775806",
        ),
        ("BITFIELD k SET u8 0 -1 GET u8 0", "*2 :159 :255"),
        ("BITFIELD k SET u63 0 -1 GET u63 0", "*2 :9223372036854775807 :9223372036854775807"),
        ("BITFIELD k SET i8 0 200 GET i8 0", "*2 :-1 :-56"),
        ("BITFIELD_RO k GET u8 0 GET i3 5", "*2 :200 :0"),
        ("BITFIELD_RO k", "*0"),
        ("BITFIELD_RO nope GET u8 1000", "*1 :0"),
        ("BITFIELD_RO k SET u8 0 1", "-ERR BITFIELD_RO only supports the GET subcommand"),
        ("BITFIELD_RO k INCRBY u8 0 1", "-ERR BITFIELD_RO only supports the GET subcommand"),
        ("SET e v EX 100", "+OK"),
        ("BITFIELD e SET u8 0 1", "*1 :118"),
        ("TTL e", ":100"),
    ]);
}

#[test]
fn overflow() {
    script(&[
        ("BITFIELD k OVERFLOW SAT INCRBY u2 0 5 INCRBY u2 0 5", "*2 :3 :3"),
        ("BITFIELD k OVERFLOW WRAP INCRBY u2 0 5", "*1 :0"),
        ("BITFIELD k OVERFLOW FAIL INCRBY u2 0 5 GET u2 0", "*2 $-1 :0"),
        ("BITFIELD k OVERFLOW SAT INCRBY i8 8 200 INCRBY i8 8 -300", "*2 :127 :-128"),
        ("BITFIELD k INCRBY i8 8 -1", "*1 :127"),
        ("BITFIELD k OVERFLOW FAIL SET i8 8 128 SET i8 8 127", "*2 $-1 :127"),
        ("BITFIELD k OVERFLOW SAT SET i8 8 1000 GET i8 8", "*2 :127 :127"),
        ("BITFIELD k OVERFLOW SAT SET u8 8 -1 GET u8 8", "*2 :127 :255"),
        ("BITFIELD k OVERFLOW FAIL SET u8 8 -1 GET u8 8", "*2 $-1 :255"),
        (
            "BITFIELD k SET i64 0 9223372036854775807 INCRBY i64 0 1",
            "*2 :71776119061217280 :-9223372036854775808",
        ),
        (
            "BITFIELD k OVERFLOW SAT INCRBY i64 0 -1 INCRBY i64 0 9223372036854775807 INCRBY i64 0 9223372036854775807",
            "*3 :-9223372036854775808 :-1 :9223372036854775806",
        ),
        ("BITFIELD k OVERFLOW FAIL INCRBY i64 0 1", "*1 :9223372036854775807"),
        (
            "BITFIELD k SET u63 0 0 OVERFLOW SAT INCRBY u63 0 9223372036854775807 INCRBY u63 0 1",
            "*3 :4611686018427387903 :9223372036854775807 :9223372036854775807",
        ),
        ("BITFIELD k OVERFLOW SAT INCRBY u8 0 -9223372036854775808", "*1 :0"),
        ("BITFIELD k OVERFLOW WRAP INCRBY u8 0 -9223372036854775808", "*1 :0"),
        ("BITFIELD fresh OVERFLOW FAIL INCRBY u8 8 300", "*1 $-1"),
        ("STRLEN fresh", ":2"),
    ]);
}

#[test]
fn overflow_resp3() {
    resp3(&[("BITFIELD k OVERFLOW FAIL INCRBY u2 0 5 SET u2 0 1 GET u2 0", "*3 _ :0 :1")]);
}

#[test]
fn bad_fields() {
    script(&[
        (
            "BITFIELD k GET u64 0",
            "-ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.",
        ),
        (
            "BITFIELD k GET i65 0",
            "-ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.",
        ),
        (
            "BITFIELD k GET u0 0",
            "-ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.",
        ),
        (
            "BITFIELD k GET x8 0",
            "-ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.",
        ),
        (
            "BITFIELD k GET U8 0",
            "-ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.",
        ),
        (
            "BITFIELD k GET 8 0",
            "-ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.",
        ),
        ("BITFIELD k GET u8 -1", "-ERR bit offset is not an integer or out of range"),
        ("BITFIELD k GET u8 abc", "-ERR bit offset is not an integer or out of range"),
        ("BITFIELD k GET u8 #-1", "-ERR bit offset is not an integer or out of range"),
        ("BITFIELD k GET u8 4294967296", "-ERR bit offset is not an integer or out of range"),
        ("BITFIELD k GET u8 #536870912", "-ERR bit offset is not an integer or out of range"),
        ("BITFIELD k SET u8 0 abc", "-ERR value is not an integer or out of range"),
        ("BITFIELD k SET u8 0", "-ERR syntax error"),
        ("BITFIELD k GET u8", "-ERR syntax error"),
        ("BITFIELD k OVERFLOW", "-ERR syntax error"),
        ("BITFIELD k OVERFLOW FOO", "-ERR Invalid OVERFLOW type specified"),
        ("BITFIELD k FOO u8 0", "-ERR syntax error"),
    ]);
}
