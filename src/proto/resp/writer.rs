//! Appends replies to the turn's output, in the form that the connection's protocol version has for them.
//!
//! RESP3 has types that RESP2 lacks. Where it does, RESP2 gets what Redis sends it:
//!
//! ```text
//!              RESP3            RESP2
//! map of n     %n               *2n
//! set, push    ~n, >n           *n
//! null         _                $-1 (for an array: *-1)
//! bool         #t #f            :1 :0
//! double       ,1.5             $3 1.5
//! big number   (123             $3 123
//! verbatim     =7 txt:abc       $3 abc
//! ```

use crate::proto::ReplyBuf;
use bytes::Bytes;

/// Longest header: a type byte, 20 digits or a sign and 19, CRLF.
const MAX_HEADER: usize = 24;

/// Encodes replies for one connection. An aggregate is its header followed by that many replies of any kind.
pub struct Writer<'b> {
    out: &'b mut ReplyBuf,
    resp3: bool,
}

impl<'b> Writer<'b> {
    #[inline]
    pub fn new(out: &'b mut ReplyBuf, resp3: bool) -> Writer<'b> {
        Writer { out, resp3 }
    }

    /// Where the replies go, for who writes whole ones there.
    pub fn buffer(&mut self) -> &mut ReplyBuf {
        self.out
    }

    /// Whether this writes RESP3.
    #[inline]
    pub fn resp3(&self) -> bool {
        self.resp3
    }

    /// Switches the version from here on: HELLO's reply is already in the version that it asks for.
    pub fn set_resp3(&mut self, resp3: bool) {
        self.resp3 = resp3;
    }

    /// A list: `len` replies follow.
    #[inline]
    pub fn array(&mut self, len: usize) {
        self.length(b'*', len);
    }

    /// A map: `len` pairs of replies follow, `2 * len` in all.
    pub fn map(&mut self, len: usize) {
        if self.resp3 { self.length(b'%', len) } else { self.length(b'*', 2 * len) }
    }

    /// A set: `len` replies follow.
    pub fn set(&mut self, len: usize) {
        self.length(if self.resp3 { b'~' } else { b'*' }, len);
    }

    /// A message that answers no request (publish/subscribe, invalidation): `len` replies follow.
    pub fn push(&mut self, len: usize) {
        self.length(if self.resp3 { b'>' } else { b'*' }, len);
    }

    /// A string of any bytes.
    #[inline]
    pub fn bulk(&mut self, value: &[u8]) {
        self.out.put_bulk(value);
    }

    /// A string sent from where it is, without a copy.
    #[inline]
    pub fn bulk_pinned(&mut self, value: Bytes) {
        self.length(b'$', value.len());
        self.out.put_pinned(value);
        self.out.put(b"\r\n");
    }

    /// A status such as `OK`. Line breaks become spaces: they would end the reply.
    pub fn simple(&mut self, text: &str) {
        self.line(b'+', text);
    }

    /// `+OK`.
    #[inline]
    pub fn ok(&mut self) {
        self.out.put_array(b"+OK\r\n");
    }

    /// An error with its code and without the leading dash ("ERR syntax error"). Line breaks become spaces.
    pub fn error(&mut self, text: &str) {
        self.line(b'-', text);
    }

    /// A status of any bytes.
    pub fn simple_bytes(&mut self, text: &[u8]) {
        self.bytes_line(b'+', text);
    }

    /// An error of any bytes.
    pub fn error_bytes(&mut self, text: &[u8]) {
        self.bytes_line(b'-', text);
    }

    #[inline]
    pub fn int(&mut self, value: i64) {
        if let Ok(small @ 0..=9) = u8::try_from(value) {
            self.out.put(&[b':', b'0' + small, b'\r', b'\n']);
        } else {
            self.header(b':', itoa::Buffer::new().format(value));
        }
    }

    /// A number with a fraction, in the shortest digits that read back as the same number.
    pub fn double(&mut self, value: f64) {
        let digits = format_double(value);
        if self.resp3 { self.line(b',', &digits) } else { self.bulk(digits.as_bytes()) }
    }

    /// An integer of any size in decimal digits.
    pub fn big_number(&mut self, digits: &str) {
        if self.resp3 { self.line(b'(', digits) } else { self.bulk(digits.as_bytes()) }
    }

    pub fn bool(&mut self, value: bool) {
        self.out.put(match (self.resp3, value) {
            (true, true) => b"#t\r\n",
            (true, false) => b"#f\r\n",
            (false, true) => b":1\r\n",
            (false, false) => b":0\r\n",
        });
    }

    /// No value, where a string would be.
    #[inline]
    pub fn null(&mut self) {
        if self.resp3 {
            self.out.put_array(b"_\r\n");
        } else {
            self.out.put_array(b"$-1\r\n");
        }
    }

    /// No value, where an array would be.
    pub fn null_array(&mut self) {
        self.out.put(if self.resp3 { b"_\r\n" } else { b"*-1\r\n" });
    }

    /// Text for people. `format` is its kind in three letters, `txt` or `mkd`.
    pub fn verbatim(&mut self, format: &[u8; 3], text: &[u8]) {
        if !self.resp3 {
            return self.bulk(text);
        }
        self.length(b'=', text.len() + 4);
        self.out.put(format);
        self.out.put(b":");
        self.out.put(text);
        self.out.put(b"\r\n");
    }

    /// Replies that are already encoded for this connection's version.
    #[inline]
    pub fn raw(&mut self, encoded: &[u8]) {
        self.out.put(encoded);
    }

    #[inline]
    fn length(&mut self, kind: u8, len: usize) {
        // One and two digits are nearly all lengths there are; they need no formatting.
        match len {
            0..=9 => self.out.put(&[kind, digit(len), b'\r', b'\n']),
            10..=99 => self.out.put(&[kind, digit(len / 10), digit(len % 10), b'\r', b'\n']),
            _ => self.header(kind, itoa::Buffer::new().format(len)),
        }
    }

    /// `kind digits CRLF`, appended in one piece.
    fn header(&mut self, kind: u8, digits: &str) {
        let mut line = [0; MAX_HEADER];
        let end = 1 + digits.len();
        line[0] = kind;
        line[1..end].copy_from_slice(digits.as_bytes());
        line[end..end + 2].copy_from_slice(b"\r\n");
        self.out.put(&line[..end + 2]);
    }

    fn line(&mut self, kind: u8, text: &str) {
        self.bytes_line(kind, text.as_bytes());
    }

    fn bytes_line(&mut self, kind: u8, text: &[u8]) {
        // A line break would end the reply early; few texts hold one.
        let clean = |byte: &u8| if matches!(byte, b'\r' | b'\n') { b' ' } else { *byte };
        self.out.put(&[kind]);
        match text.iter().any(|byte| *byte < b' ') {
            false => self.out.put(text),
            true => self.out.put(&text.iter().map(clean).collect::<Vec<u8>>()),
        }
        self.out.put(b"\r\n");
    }
}

/// The last decimal digit of a number below ten.
#[inline]
fn digit(value: usize) -> u8 {
    b'0' + (value % 10) as u8
}

/// Shortest round-trip digits; an exponent where plain digits would run long, as Redis chooses between them:
/// plain while at most seven zeros have to be appended, or six put in front of the digits.
pub fn format_double(value: f64) -> String {
    if !value.is_finite() {
        return match (value.is_nan(), value > 0.0) {
            (true, _) => "nan",
            (false, true) => "inf",
            (false, false) => "-inf",
        }
        .to_owned();
    }
    let scientific = format!("{value:e}");
    let Some((mantissa, exponent)) = scientific.split_once('e') else { return scientific };
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let digits = mantissa.bytes().filter(u8::is_ascii_digit).count() as i32;
    // The place of the last digit: value = digits × 10^last.
    let last = exponent + 1 - digits;
    let plain = if last >= 0 { exponent < digits + 7 } else { last > -7 || exponent.abs() < 4 };
    match (plain, exponent < 0) {
        (true, _) => format!("{value}"),
        (false, true) => scientific,
        (false, false) => format!("{mantissa}e+{exponent}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `write` appends in RESP2 and in RESP3.
    fn both(write: impl Fn(&mut Writer<'_>)) -> (String, String) {
        let encode = |resp3| {
            let mut out = ReplyBuf::default();
            write(&mut Writer::new(&mut out, resp3));
            String::from_utf8(out.bytes).unwrap()
        };
        (encode(false), encode(true))
    }

    fn same(write: impl Fn(&mut Writer<'_>), expected: &str) {
        assert_eq!(both(write), (expected.to_owned(), expected.to_owned()));
    }

    fn differ(write: impl Fn(&mut Writer<'_>), resp2: &str, resp3: &str) {
        assert_eq!(both(write), (resp2.to_owned(), resp3.to_owned()));
    }

    #[test]
    fn types_that_both_versions_have() {
        same(|w| w.array(3), "*3\r\n");
        same(|w| w.array(12), "*12\r\n");
        same(|w| w.array(1234), "*1234\r\n");
        same(|w| w.bulk(b"a\r\nb"), "$4\r\na\r\nb\r\n");
        same(|w| w.bulk(b""), "$0\r\n\r\n");
        same(|w| w.ok(), "+OK\r\n");
        same(|w| w.simple("PONG"), "+PONG\r\n");
        same(|w| w.error("ERR two\r\nlines"), "-ERR two  lines\r\n");
        for value in [0, 9, 10, 99, 100, -1, -10, i64::MIN, i64::MAX] {
            same(|w| w.int(value), &format!(":{value}\r\n"));
        }
    }

    #[test]
    fn types_that_only_resp3_has() {
        differ(|w| w.map(2), "*4\r\n", "%2\r\n");
        differ(|w| w.set(2), "*2\r\n", "~2\r\n");
        differ(|w| w.push(2), "*2\r\n", ">2\r\n");
        differ(|w| w.null(), "$-1\r\n", "_\r\n");
        differ(|w| w.null_array(), "*-1\r\n", "_\r\n");
        differ(|w| w.bool(true), ":1\r\n", "#t\r\n");
        differ(|w| w.bool(false), ":0\r\n", "#f\r\n");
        differ(|w| w.double(1.5), "$3\r\n1.5\r\n", ",1.5\r\n");
        differ(|w| w.big_number("-123"), "$4\r\n-123\r\n", "(-123\r\n");
        differ(|w| w.verbatim(b"txt", b"abc"), "$3\r\nabc\r\n", "=7\r\ntxt:abc\r\n");
    }

    #[test]
    fn doubles_read_back_as_they_were() {
        for (value, expected) in [
            (0.0, "0"),
            (3.0, "3"),
            (-0.5, "-0.5"),
            (0.1 + 0.2, "0.30000000000000004"),
            (1e7, "10000000"),
            (1e21, "1e+21"),
            (1.5e-9, "1.5e-9"),
            (0.001, "0.001"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
            (f64::NAN, "nan"),
        ] {
            assert_eq!(format_double(value), expected);
        }
    }

    #[test]
    fn a_pinned_value_stands_between_its_header_and_its_line_end() {
        let mut out = ReplyBuf::default();
        let mut writer = Writer::new(&mut out, false);
        writer.int(1);
        writer.bulk_pinned(Bytes::from_static(b"large"));
        assert_eq!(out.bytes, b":1\r\n$5\r\n\r\n");
        assert_eq!(out.pins, [(8, Bytes::from_static(b"large"))]);
        assert_eq!(out.len_since(crate::proto::reply::Mark { bytes: 0, pins: 0 }), 15);
    }
}
