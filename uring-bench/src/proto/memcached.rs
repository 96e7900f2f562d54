//! memcached's text protocol (protocol.txt).
//!
//! ```text
//!  get key:000000000007\r\n                ►  VALUE key:000000000007 0 3\r\nabc\r\nEND\r\n   or  END\r\n
//!  set key:000000000007 0 60 3\r\nabc\r\n  ►  STORED\r\n                                   or  SERVER_ERROR …\r\n
//! ```

use super::template::Template;
use super::{Reply, Scan, Wire};
use crate::workload::Names;
use std::io::Write;
use std::time::Duration;

/// Longest key that the protocol allows, bytes.
pub const MAX_KEY: usize = 250;
/// A line longer than this is not of this protocol: a key, two numbers and a word fit.
const MAX_LINE: usize = 2048;
const END: &[u8] = b"\r\nEND\r\n";
/// Times to live from here on would be taken for a date, seconds.
const MAX_TTL_S: u64 = 30 * 86_400;

/// Templates of one key length and time to live.
#[derive(Clone, Debug)]
pub struct Memcached {
    names: Names,
    get: Template,
    set: Template,
}

impl Memcached {
    /// # Errors
    /// What the protocol cannot say.
    pub fn new(names: Names, ttl: Option<Duration>) -> Result<Self, String> {
        if names.len() > MAX_KEY {
            return Err(format!("memcached's keys have {MAX_KEY} bytes at most"));
        }
        let seconds = ttl.map_or(0, |ttl| ttl.as_secs());
        if ttl.is_some_and(|ttl| ttl.subsec_nanos() > 0) || seconds > MAX_TTL_S {
            return Err("memcached's times to live are whole seconds, and 30 days at most".into());
        }
        Ok(Self {
            names,
            get: Template::around(&names, b"get ", b"\r\n"),
            set: Template::around(&names, b"set ", format!(" 0 {seconds} ").as_bytes()),
        })
    }
}

impl Wire for Memcached {
    type Resume = ();

    #[inline]
    fn put_get(&self, key: u64, out: &mut Vec<u8>) {
        self.get.put(&self.names, key, out);
    }

    #[inline]
    fn put_set_head(&self, key: u64, value_len: usize, out: &mut Vec<u8>) {
        self.set.put(&self.names, key, out);
        // Writing to a vector cannot fail.
        let _ = write!(out, "{value_len}\r\n");
    }

    fn set_tail(&self) -> &[u8] {
        b"\r\n"
    }

    #[inline]
    fn scan<'a>(&self, bytes: &'a [u8], (): &mut ()) -> Scan<'a> {
        if bytes.starts_with(b"VALUE ") {
            return value(bytes);
        }
        match bytes {
            [b'E', b'N', b'D', b'\r', b'\n', ..] => Scan::Reply(Reply::Miss, 5),
            [b'S', b'T', b'O', b'R', b'E', b'D', b'\r', b'\n', ..] => Scan::Reply(Reply::Stored, 8),
            _ => line(bytes),
        }
    }
}

/// `VALUE <key> <flags> <len>\r\n<len bytes>\r\nEND\r\n`, at most cut.
#[inline]
fn value(bytes: &[u8]) -> Scan<'_> {
    let Some(end) = memchr::memchr(b'\n', &bytes[..bytes.len().min(MAX_LINE)]) else { return open(bytes) };
    let Some(len) = length(&bytes[..end]) else { return Scan::Garbage };
    let start = end + 1;
    let ends = start + len + END.len();
    let Some(rest) = bytes.get(start..ends) else {
        return Scan::Incomplete { value_ends: Some(ends) };
    };
    match rest.split_at(len) {
        (value, END) => Scan::Reply(Reply::Value(value), ends),
        _ => Scan::Garbage,
    }
}

/// The last word of `VALUE <key> <flags> <len>\r`.
fn length(line: &[u8]) -> Option<usize> {
    let mut words = line.strip_suffix(b"\r")?.rsplitn(4, |byte| *byte == b' ');
    let digits = str::from_utf8(words.next()?).ok()?;
    words.next()?.iter().all(u8::is_ascii_digit).then_some(())?;
    words.next()?;
    (words.next()? == b"VALUE" && digits.len() <= 10).then_some(())?;
    digits.parse().ok()
}

/// What has no end yet.
fn open(bytes: &[u8]) -> Scan<'_> {
    if bytes.len() < MAX_LINE { Scan::Incomplete { value_ends: None } } else { Scan::Garbage }
}

/// Refusals, and whatever is cut.
#[cold]
fn line(bytes: &[u8]) -> Scan<'_> {
    let words: [&[u8]; 7] = [
        b"VALUE ",
        b"END\r\n",
        b"STORED\r\n",
        b"NOT_STORED\r\n",
        b"ERROR",
        b"CLIENT_ERROR ",
        b"SERVER_ERROR ",
    ];
    let sound = words.iter().any(|word| {
        let len = word.len().min(bytes.len());
        word[..len] == bytes[..len]
    });
    if !sound {
        return Scan::Garbage;
    }
    let Some(end) = memchr::memchr(b'\n', &bytes[..bytes.len().min(MAX_LINE)]) else { return open(bytes) };
    match bytes[..end].strip_suffix(b"\r") {
        Some(text) => Scan::Reply(Reply::Error(text), end + 1),
        None => Scan::Garbage,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(ttl: Option<Duration>) -> Memcached {
        Memcached::new(Names::new(1000, 16).unwrap(), ttl).unwrap()
    }

    fn scan(bytes: &[u8]) -> Scan<'_> {
        wire(None).scan(bytes, &mut ())
    }

    #[test]
    fn requests_are_those_of_the_protocol() {
        let mut out = Vec::new();
        wire(None).put_get(7, &mut out);
        wire(Some(Duration::from_secs(60))).put_set_head(42, 3, &mut out);
        out.extend_from_slice(b"abc");
        out.extend_from_slice(wire(None).set_tail());
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "get key:000000000007\r\nset key:000000000042 0 60 3\r\nabc\r\n"
        );
    }

    #[test]
    fn what_cannot_be_said_is_refused() {
        let names = Names::new(10, 16).unwrap();
        for (names, ttl) in [
            (Names::new(10, 251).unwrap(), None),
            (names, Some(Duration::from_millis(1500))),
            (names, Some(Duration::from_secs(MAX_TTL_S + 1))),
        ] {
            assert!(Memcached::new(names, ttl).is_err());
        }
    }

    #[test]
    fn replies_are_found_whole_wherever_they_are_cut() {
        let cases: [(&[u8], Reply<'_>); 6] = [
            (b"STORED\r\n", Reply::Stored),
            (b"END\r\n", Reply::Miss),
            (b"VALUE key:000000000007 0 3\r\nabc\r\nEND\r\n", Reply::Value(b"abc")),
            (b"VALUE k 4294967295 0\r\n\r\nEND\r\n", Reply::Value(b"")),
            (b"VALUE k 0 7\r\n\r\nEND\r\n\r\nEND\r\n", Reply::Value(b"\r\nEND\r\n")),
            (
                b"SERVER_ERROR out of memory storing object\r\n",
                Reply::Error(b"SERVER_ERROR out of memory storing object"),
            ),
        ];
        for (bytes, reply) in cases {
            for cut in 0..bytes.len() {
                let cut_scan = scan(&bytes[..cut]);
                let Scan::Incomplete { value_ends } = cut_scan else {
                    panic!("{} cut at {cut}: {cut_scan:?}", bytes.escape_ascii())
                };
                assert!(value_ends.is_none_or(|end| end == bytes.len()));
            }
            let more = [bytes, b"END\r\n"].concat();
            assert_eq!(scan(&more), Scan::Reply(reply, bytes.len()), "{}", bytes.escape_ascii());
        }
        assert_eq!(scan(b"ERROR\r\n"), Scan::Reply(Reply::Error(b"ERROR"), 7));
        assert_eq!(scan(b"NOT_STORED\r\n"), Scan::Reply(Reply::Error(b"NOT_STORED"), 12));
    }

    #[test]
    fn what_is_no_such_reply_is_garbage() {
        for bytes in [
            &b"+OK\r\n"[..],
            b"VALUE k 0 3\r\nabcdefghij",
            b"VALUE k 0\r\n",
            b"VALUE k 0 x\r\n",
            b"VALUE k x 3\r\n",
            b"VALUE k 0 3\nabc\r\nEND\r\n",
            b"VALUE k 0 99999999999\r\n",
            b"STORED\n",
            b"ENDED\r\n",
        ] {
            assert_eq!(scan(bytes), Scan::Garbage, "{}", bytes.escape_ascii());
        }
        let endless = [b"VALUE ", &[b'k'; MAX_LINE][..]].concat();
        assert_eq!(scan(&endless), Scan::Garbage);
    }
}
