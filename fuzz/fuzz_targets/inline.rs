//! Words written as an inline command, quoted in any of the ways that can say them, come back as they were.
//!
//! Each word is its first byte, the way to quote it, and the bytes up to the next zero.

#![no_main]

use kv_server::proto::{ParseLimits, resp};
use kv_server_fuzz::{LIMITS, hear};
use libfuzzer_sys::fuzz_target;
use std::fmt::Write;

fuzz_target!(|input: &[u8]| {
    let mut line = String::from("word");
    let mut words = vec![b"word".to_vec()];
    for word in input.split(|&byte| byte == 0) {
        let Some((way, word)) = word.split_first() else { continue };
        line.push(' ');
        let written = match way % 3 {
            0 if is_plain(word) => word.iter().map(|&byte| char::from(byte)).collect(),
            1 if word.iter().all(|byte| (b' '..=b'~').contains(byte) && *byte != b'\\') => {
                single_quoted(word)
            }
            _ => double_quoted(word),
        };
        line.push_str(&written);
        words.push(word.to_vec());
    }
    line.push_str("\r\n");
    let heard = hear([line.as_bytes()], |bytes, resume, bump, args| {
        let limits = ParseLimits { max_inline: 1 << 20, ..LIMITS };
        resp::parse(bytes, &limits, resume, bump, args)
    });
    assert_eq!(heard.requests, [Ok(words)]);
    assert_eq!((heard.fatal, heard.left), (None, 0));
});

fn is_plain(word: &[u8]) -> bool {
    !word.is_empty() && word.iter().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\''))
}

fn single_quoted(word: &[u8]) -> String {
    let mut written = String::from("'");
    for &byte in word {
        match byte {
            b'\'' => written.push_str("\\'"),
            _ => written.push(char::from(byte)),
        }
    }
    written + "'"
}

fn double_quoted(word: &[u8]) -> String {
    let mut written = String::from("\"");
    for &byte in word {
        match byte {
            b'\n' => written.push_str("\\n"),
            b'\r' => written.push_str("\\r"),
            b'\t' => written.push_str("\\t"),
            0x08 => written.push_str("\\b"),
            0x07 => written.push_str("\\a"),
            b'"' | b'\\' => written.extend(['\\', char::from(byte)]),
            b' '..=b'~' => written.push(char::from(byte)),
            _ => write!(written, "\\x{byte:02x}").expect("a string takes all that is written"),
        }
    }
    written + "\""
}
