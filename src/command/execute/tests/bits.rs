//! Single bits, counted and found. The replies are those of Valkey 9.1.

use crate::command::testing::script;

#[test]
fn single_bits() {
    script(&[
        ("SETBIT k 7 1", ":0"),
        ("GET k", "$1 \u{1}"),
        ("SETBIT k 7 1", ":1"),
        ("SETBIT k 7 0", ":1"),
        ("GET k", "$1 \u{0}"),
        ("SETBIT k 100 1", ":0"),
        ("STRLEN k", ":13"),
        ("GETBIT k 100", ":1"),
        ("GETBIT k 101", ":0"),
        ("GETBIT k 4294967295", ":0"),
        ("GETBIT nope 5", ":0"),
        ("SETBIT k -1 1", "-ERR bit offset is not an integer or out of range"),
        ("SETBIT k 4294967296 1", "-ERR bit offset is not an integer or out of range"),
        ("SETBIT k abc 1", "-ERR bit offset is not an integer or out of range"),
        ("SETBIT k 1 2", "-ERR bit is not an integer or out of range"),
        ("SETBIT k 1 x", "-ERR bit is not an integer or out of range"),
        ("GETBIT k #1", "-ERR bit offset is not an integer or out of range"),
        ("SET e v EX 100", "+OK"),
        ("SETBIT e 0 1", ":0"),
        ("TTL e", ":100"),
    ]);
}

#[test]
fn bitcount() {
    script(&[
        ("SET k foobar", "+OK"),
        ("BITCOUNT k", ":26"),
        ("BITCOUNT nope", ":0"),
        ("BITCOUNT k 0 0", ":4"),
        ("BITCOUNT k 1 1", ":6"),
        ("BITCOUNT k 1", ":22"),
        ("BITCOUNT k -2", ":7"),
        ("BITCOUNT k 0 -1", ":26"),
        ("BITCOUNT k 1 1 BYTE", ":6"),
        ("BITCOUNT k 5 30 BIT", ":17"),
        ("BITCOUNT k 0 -1 bit", ":26"),
        ("BITCOUNT k -3 -1 BIT", ":1"),
        ("BITCOUNT k 13 13 BIT", ":1"),
        ("BITCOUNT k 13 14 BIT", ":2"),
        ("BITCOUNT k 3 1", ":0"),
        ("BITCOUNT k -1 -3", ":0"),
        ("BITCOUNT k -100 100", ":26"),
        ("BITCOUNT k 100 200", ":0"),
        ("BITCOUNT k 0 -100", ":4"),
        ("BITCOUNT k 0 a", "-ERR value is not an integer or out of range"),
        ("BITCOUNT k 0 1 FOO", "-ERR syntax error"),
        ("BITCOUNT k 0 1 BIT x", "-ERR syntax error"),
        ("SET l aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "+OK"),
        ("BITCOUNT l", ":213"),
        ("BITCOUNT l 9 300 BIT", ":110"),
        ("SET z \"\"", "+OK"),
        ("BITCOUNT z", ":0"),
        ("BITCOUNT z 0 -1 BIT", ":0"),
    ]);
}

#[test]
fn bitpos() {
    script(&[
        ("SET k \"\\xff\\xf0\\x00\"", "+OK"),
        ("BITPOS k 0", ":12"),
        ("BITPOS k 1", ":0"),
        ("BITPOS k 1 2", ":-1"),
        ("BITPOS k 0 2", ":16"),
        ("BITPOS k 0 0 0", ":-1"),
        ("BITPOS k 0 0 0 BIT", ":-1"),
        ("BITPOS k 0 0 11 BIT", ":-1"),
        ("BITPOS k 0 0 12 BIT", ":12"),
        ("BITPOS k 1 12 -1 BIT", ":-1"),
        ("BITPOS k 0 -1", ":16"),
        ("BITPOS k 0 5", ":-1"),
        ("BITPOS nope 0", ":0"),
        ("BITPOS nope 1", ":-1"),
        ("SET f \"\\xff\\xff\"", "+OK"),
        ("BITPOS f 0", ":16"),
        ("BITPOS f 0 0", ":16"),
        ("BITPOS f 0 0 -1", ":-1"),
        ("BITPOS f 0 1", ":16"),
        ("BITPOS f 0 2", ":-1"),
        ("SET z \"\"", "+OK"),
        ("BITPOS z 0", ":-1"),
        ("BITPOS z 1", ":-1"),
        (
            "SET l \"\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x01\"",
            "+OK",
        ),
        ("BITPOS l 1", ":151"),
        ("BITPOS l 1 3 -1", ":151"),
        ("BITPOS l 1 3 150 BIT", ":-1"),
        ("BITPOS l 1 3 151 BIT", ":151"),
        ("BITPOS k 2", "-ERR The bit argument must be 1 or 0."),
        ("BITPOS k x", "-ERR value is not an integer or out of range"),
        ("BITPOS k 0 a", "-ERR value is not an integer or out of range"),
        ("BITPOS k 0 0 1 FOO", "-ERR syntax error"),
        ("BITPOS k 0 0 1 BIT x", "-ERR syntax error"),
    ]);
}
