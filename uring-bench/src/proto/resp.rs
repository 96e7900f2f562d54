//! RESP2. A request is copied from a template and the digits of its key are written over; a reply is told by its first byte.
//!
//! ```text
//!  GET   *2\r\n$3\r\nGET\r\n$16\r\nkey:000000000000\r\n                 ►  $64\r\n<64 bytes>\r\n   or  $-1\r\n   or  _\r\n
//!  SET   *3\r\n$3\r\nSET\r\n$16\r\nkey:000000000000\r\n$64\r\n<64 bytes>\r\n   ►  +OK\r\n   or  -ERR …\r\n
//!  SET with a time to live: five arguments, PX and the milliseconds stand in the tail
//! ```

use super::template::Template;
use super::{Reply, Scan, Wire};
use crate::workload::Names;
use std::io::Write;
use std::time::Duration;

/// Digits of a length line that are believed: 10^12 bytes are beyond any value.
const MAX_DIGITS: usize = 12;
/// A line (an error's text) longer than this is no RESP.
const MAX_LINE: usize = 64 << 10;

/// Templates of one key length and time to live.
#[derive(Clone, Debug)]
pub struct Resp {
    names: Names,
    get: Template,
    set: Template,
    tail: Vec<u8>,
}

/// The head of the value that came last: in most loads the next is as long, and is then known by one comparison.
#[derive(Clone, Copy, Debug)]
pub struct Familiar {
    /// `$<len>\r\n`, at most 8 bytes of it in use.
    head: u64,
    mask: u64,
    start: usize,
    end: usize,
}

impl Default for Familiar {
    /// Like nothing: what is masked by 0 is never 1.
    fn default() -> Self {
        Self { head: 1, mask: 0, start: 0, end: 0 }
    }
}

impl Familiar {
    /// Of a whole reply whose value is `bytes[start..end - 2]`.
    fn of(bytes: &[u8], start: usize, end: usize) -> Self {
        match bytes.first_chunk::<8>() {
            Some(chunk) if start <= 8 => {
                let mask = u64::MAX >> (64 - 8 * start);
                Self { head: u64::from_le_bytes(*chunk) & mask, mask, start, end }
            }
            _ => Self::default(),
        }
    }

    #[inline]
    fn matches<'a>(&self, bytes: &'a [u8]) -> Option<Scan<'a>> {
        let head = u64::from_le_bytes(*bytes.first_chunk::<8>()?);
        let reply = bytes.get(..self.end).filter(|_| head & self.mask == self.head)?;
        match reply.split_last_chunk::<2>() {
            Some((value, b"\r\n")) => Some(Scan::Reply(Reply::Value(&value[self.start..]), self.end)),
            _ => None,
        }
    }
}

impl Resp {
    pub fn new(names: Names, ttl: Option<Duration>) -> Self {
        let name = names.zero();
        let head = |arguments: usize, command: &str| {
            let mut head = format!("*{arguments}\r\n$3\r\n{command}\r\n${}\r\n", name.len()).into_bytes();
            let key = head.len()..head.len() + name.len();
            head.extend_from_slice(&name);
            head.extend_from_slice(b"\r\n");
            (head, key)
        };
        let (get, get_key) = head(2, "GET");
        let (mut set, set_key) = head(if ttl.is_some() { 5 } else { 3 }, "SET");
        set.push(b'$');
        let mut tail = b"\r\n".to_vec();
        if let Some(ttl) = ttl {
            let ms = ttl.as_millis().to_string();
            tail.extend_from_slice(format!("$2\r\nPX\r\n${}\r\n{ms}\r\n", ms.len()).as_bytes());
        }
        let (get, set) = (Template::new(get, get_key), Template::new(set, set_key));
        Self { names, get, set, tail }
    }
}

impl Wire for Resp {
    type Resume = Familiar;

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
        &self.tail
    }

    #[inline]
    fn scan<'a>(&self, bytes: &'a [u8], familiar: &mut Familiar) -> Scan<'a> {
        if let Some(scan) = familiar.matches(bytes) {
            return scan;
        }
        match bytes {
            [b'+', b'O', b'K', b'\r', b'\n', ..] => Scan::Reply(Reply::Stored, 5),
            [b'$', b'-', b'1', b'\r', b'\n', ..] => Scan::Reply(Reply::Miss, 5),
            [b'$', rest @ ..] => {
                let scan = bulk(bytes, rest);
                if let Scan::Reply(Reply::Value(value), end) = scan {
                    *familiar = Familiar::of(bytes, end - 2 - value.len(), end);
                }
                scan
            }
            [] => Scan::Incomplete { value_ends: None },
            _ => line(bytes),
        }
    }
}

/// `$<len>\r\n<len bytes>\r\n`, at most cut.
fn bulk<'a>(bytes: &'a [u8], rest: &[u8]) -> Scan<'a> {
    let mut len = 0;
    for (at, &byte) in rest.iter().enumerate().take(MAX_DIGITS + 1) {
        match byte {
            b'0'..=b'9' => len = len * 10 + usize::from(byte - b'0'),
            b'\r' if at > 0 => {
                let start = at + 3;
                let end = start + len + 2;
                if bytes.len() < end {
                    let sound = rest.get(at + 1).is_none_or(|byte| *byte == b'\n');
                    return if sound { Scan::Incomplete { value_ends: Some(end) } } else { Scan::Garbage };
                }
                let framed = bytes[at + 2] == b'\n' && bytes[end - 2..end] == *b"\r\n";
                return match framed {
                    true => Scan::Reply(Reply::Value(&bytes[start..end - 2]), end),
                    false => Scan::Garbage,
                };
            }
            _ => return null(bytes),
        }
    }
    if rest.len() > MAX_DIGITS { Scan::Garbage } else { Scan::Incomplete { value_ends: None } }
}

/// A null that has not come whole.
fn null(bytes: &[u8]) -> Scan<'_> {
    if b"$-1\r\n".starts_with(bytes) { Scan::Incomplete { value_ends: None } } else { Scan::Garbage }
}

/// Errors, RESP3's null, and statuses other than `+OK`, which no request of ours asks for.
#[cold]
fn line(bytes: &[u8]) -> Scan<'_> {
    if !matches!(bytes[0], b'+' | b'-' | b'_') {
        return Scan::Garbage;
    }
    let window = &bytes[..bytes.len().min(MAX_LINE)];
    let Some(end) = memchr::memchr(b'\n', window) else {
        return if bytes.len() < MAX_LINE { Scan::Incomplete { value_ends: None } } else { Scan::Garbage };
    };
    let Some(text) = bytes[1..end].strip_suffix(b"\r") else { return Scan::Garbage };
    match bytes[0] {
        b'-' => Scan::Reply(Reply::Error(text), end + 1),
        b'_' if text.is_empty() => Scan::Reply(Reply::Miss, end + 1),
        _ => Scan::Garbage,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bumpalo::Bump;
    use kv_server::proto::{ParseLimits, Parsed, resp};

    fn wire(ttl: Option<Duration>) -> Resp {
        Resp::new(Names::new(1_000_000, 16).unwrap(), ttl)
    }

    /// The arguments that the server's parser finds in these bytes.
    fn arguments(bytes: &[u8]) -> Vec<Vec<u8>> {
        let limits = ParseLimits {
            max_bulk: 1 << 20,
            max_request: 1 << 20,
            max_args: 100,
            max_inline: 1000,
            authenticated: true,
        };
        let (bump, mut args) = (Bump::new(), Vec::new());
        let parsed = resp::parse(bytes, &limits, &mut Default::default(), &bump, &mut args);
        assert_eq!(parsed, Parsed::Request { consumed: bytes.len() });
        args.iter().map(|arg| arg.to_vec()).collect()
    }

    #[test]
    fn requests_are_what_the_server_reads() {
        let mut out = Vec::new();
        wire(None).put_get(123_456, &mut out);
        assert_eq!(arguments(&out), [b"GET".to_vec(), b"key:000000123456".to_vec()]);
        for (ttl, words) in [(None, vec![]), (Some(Duration::from_millis(1500)), vec!["PX", "1500"])] {
            let wire = wire(ttl);
            out.clear();
            wire.put_set_head(7, 3, &mut out);
            out.extend_from_slice(b"abc");
            out.extend_from_slice(wire.set_tail());
            let mut expected = vec!["SET", "key:000000000007", "abc"];
            expected.extend(words);
            assert_eq!(
                arguments(&out),
                expected.iter().map(|word| word.as_bytes().to_vec()).collect::<Vec<_>>()
            );
        }
    }

    #[test]
    fn replies_are_known_by_their_first_bytes_and_wait_for_their_last() {
        let value = [b"$12\r\n".as_slice(), b"0123456789\r\n", b"\r\n"].concat();
        let cases: [(&[u8], Reply<'_>); 7] = [
            (b"+OK\r\n", Reply::Stored),
            (b"$-1\r\n", Reply::Miss),
            (b"_\r\n", Reply::Miss),
            (b"$0\r\n\r\n", Reply::Value(b"")),
            (b"$3\r\nabc\r\n", Reply::Value(b"abc")),
            (&value, Reply::Value(b"0123456789\r\n")),
            (b"-OOM too much\r\n", Reply::Error(b"OOM too much")),
        ];
        for (bytes, reply) in cases {
            for cut in 0..bytes.len() {
                let scan = wire(None).scan(&bytes[..cut], &mut Familiar::default());
                let Scan::Incomplete { value_ends } = scan else {
                    panic!("{bytes:?} cut at {cut}: {scan:?}")
                };
                assert!(value_ends.is_none_or(|end| end == bytes.len()), "{bytes:?} cut at {cut}: {scan:?}");
            }
            let more = [bytes, b"$5\r\n"].concat();
            assert_eq!(wire(None).scan(&more, &mut Familiar::default()), Scan::Reply(reply, bytes.len()));
        }
    }

    #[test]
    fn a_familiar_head_is_no_reason_to_believe_the_rest() {
        let mut familiar = Familiar::default();
        let mut scan = |bytes: &'static [u8]| wire(None).scan(bytes, &mut familiar);
        assert_eq!(scan(b"$3\r\nabc\r\n$3\r\n"), Scan::Reply(Reply::Value(b"abc"), 9));
        assert_eq!(scan(b"$3\r\ndef\r\n"), Scan::Reply(Reply::Value(b"def"), 9));
        assert_eq!(scan(b"$3\r\ndefgh"), Scan::Garbage);
        assert_eq!(scan(b"$3\r\ndef\r"), Scan::Incomplete { value_ends: Some(9) });
        assert_eq!(scan(b"$33\r\nabc\r\n"), Scan::Incomplete { value_ends: Some(40) });
        assert_eq!(scan(b"$-1\r\n+OK\r\n"), Scan::Reply(Reply::Miss, 5));
        assert_eq!(scan(b"$0\r\n\r\n+OK\r\n"), Scan::Reply(Reply::Value(b""), 6));
        assert_eq!(scan(b"$0\r\n\r\n$0\r\n"), Scan::Reply(Reply::Value(b""), 6));
    }

    #[test]
    fn what_is_no_resp_is_garbage() {
        for bytes in [
            b"HTTP/1.1 400 Bad Request\r\n".as_slice(),
            b"+PONG\r\n",
            b"$x\r\n",
            b"$-2\r\n",
            b"$3\r\nabcde",
            b"$3\rX",
            b"$\r\n",
            b"$1234567890123456\r\n",
            b"*2\r\n",
            b"-no line feed \n",
        ] {
            assert_eq!(
                wire(None).scan(bytes, &mut Familiar::default()),
                Scan::Garbage,
                "{}",
                bytes.escape_ascii()
            );
        }
        assert_eq!(wire(None).scan(&[b'-'; MAX_LINE], &mut Familiar::default()), Scan::Garbage);
    }
}
