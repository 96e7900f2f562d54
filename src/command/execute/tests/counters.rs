//! Numbers that are counted up and down. The replies are those of Valkey 9.1.

use super::resp3;
use crate::command::testing::script;

#[test]
fn integers() {
    script(&[
        ("INCR n", ":1"),
        ("INCRBY n 41", ":42"),
        ("DECR n", ":41"),
        ("DECRBY n 50", ":-9"),
        ("INCRBY n -1", ":-10"),
        ("GET n", "$3 -10"),
        ("SET n 9223372036854775807", "+OK"),
        ("INCR n", "-ERR increment or decrement would overflow"),
        ("DECRBY n -1", "-ERR increment or decrement would overflow"),
        ("SET n -9223372036854775808", "+OK"),
        ("DECR n", "-ERR increment or decrement would overflow"),
        ("DECRBY n -9223372036854775808", "-ERR decrement would overflow"),
        ("INCRBY n 9223372036854775807", ":-1"),
        ("INCRBY n abc", "-ERR value is not an integer or out of range"),
        ("INCRBY n 1.5", "-ERR value is not an integer or out of range"),
        ("INCRBY n 9223372036854775808", "-ERR value is not an integer or out of range"),
        ("INCRBY n \" 1\"", "-ERR value is not an integer or out of range"),
        ("SET s abc", "+OK"),
        ("INCR s", "-ERR value is not an integer or out of range"),
        ("SET s \" 1\"", "+OK"),
        ("INCR s", "-ERR value is not an integer or out of range"),
        ("SET s 01", "+OK"),
        ("INCR s", "-ERR value is not an integer or out of range"),
        ("SET s \"\"", "+OK"),
        ("INCR s", "-ERR value is not an integer or out of range"),
        ("SET s -0", "+OK"),
        ("INCR s", "-ERR value is not an integer or out of range"),
        ("SET e 5 EX 100", "+OK"),
        ("INCR e", ":6"),
        ("TTL e", ":100"),
        ("INCRBY n", "-ERR wrong number of arguments for 'incrby' command"),
    ]);
}

#[test]
fn fractions() {
    script(&[
        ("SET f 10.50", "+OK"),
        ("INCRBYFLOAT f 0.1", "$4 10.6"),
        ("INCRBYFLOAT f -5", "$3 5.6"),
        ("SET f 5.0e3", "+OK"),
        ("INCRBYFLOAT f 2.0e2", "$4 5200"),
        ("INCRBYFLOAT g 0.1", "$3 0.1"),
        ("INCRBYFLOAT g 0.2", "$3 0.3"),
        ("INCRBYFLOAT g -0.3", "$1 0"),
        ("INCRBYFLOAT g 1e-18", "$1 0"),
        ("SET f 3.0e3", "+OK"),
        ("INCRBYFLOAT f 1.23456789012345678", "$22 3001.23456789012345669"),
        ("INCRBYFLOAT f 1e17", "$25 100000000000003001.234375"),
        ("INCRBYFLOAT f 1e20", "$21 100100000000000003000"),
        ("INCRBYFLOAT f abc", "-ERR value is not a valid float"),
        ("INCRBYFLOAT f \"\"", "-ERR value is not a valid float"),
        ("INCRBYFLOAT f \" 1\"", "-ERR value is not a valid float"),
        ("INCRBYFLOAT f nan", "-ERR value is not a valid float"),
        ("INCRBYFLOAT f inf", "-ERR increment would produce NaN or Infinity"),
        ("INCRBYFLOAT f 1e5000", "-ERR value is not a valid float"),
        ("SET s abc", "+OK"),
        ("INCRBYFLOAT s 1", "-ERR value is not a valid float"),
        ("SET s \" 11\"", "+OK"),
        ("INCRBYFLOAT s 1", "-ERR value is not a valid float"),
        ("SET i 3", "+OK"),
        ("INCRBYFLOAT i 1.1", "$3 4.1"),
        ("SET e 1 EX 100", "+OK"),
        ("INCRBYFLOAT e 0.5", "$3 1.5"),
        ("TTL e", ":100"),
    ]);
}

#[test]
fn fractions_resp3() {
    resp3(&[("INCRBYFLOAT f 3.25", "$4 3.25")]);
}
