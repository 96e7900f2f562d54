//! HTTP/1.1 with connections that stay open: GET and PUT of `/v1/keys/KEY`.
//!
//! ```text
//!  GET /v1/keys/key:000000000007 HTTP/1.1\r\nHost: kv\r\n\r\n                           ►  200, a length, the value   or  404
//!  PUT /v1/keys/key:000000000007 HTTP/1.1\r\nHost: kv\r\nContent-Length: 3\r\n\r\nabc   ►  204  (or 201)
//! ```
//!
//! A reply's head is looked through for its length; one that is the same as the last is known by one comparison.

use super::template::Template;
use super::{Reply, Scan, Wire};
use crate::workload::Names;
use memchr::memmem;
use std::io::Write;
use std::time::Duration;

/// A head longer than this is no reply of a server under load.
const MAX_HEAD: usize = 16 << 10;
/// Digits of a length that are believed.
const MAX_DIGITS: usize = 12;
const VERSION: &[u8] = b"HTTP/1.1 ";

/// Templates of one key length, time to live and password.
#[derive(Clone, Debug)]
pub struct Http {
    names: Names,
    get: Template,
    put: Template,
}

impl Http {
    /// # Errors
    /// What a header cannot hold.
    pub fn new(names: Names, ttl: Option<Duration>, password: Option<&str>) -> Result<Self, String> {
        if password.is_some_and(|password| !password.bytes().all(|byte| byte.is_ascii_graphic())) {
            return Err("a password in a header is of visible ASCII characters".into());
        }
        let access = password.map_or(String::new(), |word| format!("Authorization: Bearer {word}\r\n"));
        let ttl = ttl.map_or(String::new(), |ttl| format!("X-TTL-Ms: {}\r\n", ttl.as_millis()));
        let fields = format!(" HTTP/1.1\r\nHost: kv\r\n{access}");
        let get = Template::around(&names, b"GET /v1/keys/", format!("{fields}\r\n").as_bytes());
        let put = format!("{fields}{ttl}Content-Length: ");
        Ok(Self { names, get, put: Template::around(&names, b"PUT /v1/keys/", put.as_bytes()) })
    }
}

/// The head of the value that came last.
#[derive(Debug, Default)]
pub struct Familiar {
    head: Vec<u8>,
    len: usize,
}

impl Wire for Http {
    type Resume = Familiar;

    #[inline]
    fn put_get(&self, key: u64, out: &mut Vec<u8>) {
        self.get.put(&self.names, key, out);
    }

    #[inline]
    fn put_set_head(&self, key: u64, value_len: usize, out: &mut Vec<u8>) {
        self.put.put(&self.names, key, out);
        // Writing to a vector cannot fail.
        let _ = write!(out, "{value_len}\r\n\r\n");
    }

    fn set_tail(&self) -> &[u8] {
        b""
    }

    #[inline]
    fn scan<'a>(&self, bytes: &'a [u8], familiar: &mut Familiar) -> Scan<'a> {
        if !familiar.head.is_empty() && bytes.starts_with(&familiar.head) {
            return body(bytes, Status::Found, familiar.head.len(), familiar.len);
        }
        let Some(end) = memmem::find(&bytes[..bytes.len().min(MAX_HEAD)], b"\r\n\r\n") else {
            let start = bytes.len().min(VERSION.len());
            let sound = bytes[..start] == VERSION[..start] && bytes.len() < MAX_HEAD;
            return if sound { Scan::Incomplete { value_ends: None } } else { Scan::Garbage };
        };
        let Some((status, len)) = head(&bytes[..end]) else { return Scan::Garbage };
        let end = end + 4;
        if status == Status::Found {
            familiar.head.clear();
            familiar.head.extend_from_slice(&bytes[..end]);
            familiar.len = len;
        }
        body(bytes, status, end, len)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Status {
    Found,
    Done,
    Missing,
    Refused,
}

/// The status and the length of the body.
fn head(head: &[u8]) -> Option<(Status, usize)> {
    let mut lines = head.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let status = match lines.next()?.strip_prefix(VERSION)?.get(..3)? {
        b"200" => Status::Found,
        b"201" | b"204" => Status::Done,
        b"404" => Status::Missing,
        code if code.iter().all(u8::is_ascii_digit) => Status::Refused,
        _ => return None,
    };
    let bodiless = head[VERSION.len()..].starts_with(b"204");
    let mut len = bodiless.then_some(0);
    for line in lines {
        let (name, value) = line.split_at(memchr::memchr(b':', line)?);
        if name.eq_ignore_ascii_case(b"content-length") {
            let digits = str::from_utf8(&value[1..]).ok()?.trim();
            len = Some(digits.parse().ok().filter(|_| digits.len() <= MAX_DIGITS)?);
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            return None;
        }
    }
    Some((status, len?))
}

#[inline]
fn body(bytes: &[u8], status: Status, start: usize, len: usize) -> Scan<'_> {
    let end = start + len;
    let Some(body) = bytes.get(start..end) else {
        return Scan::Incomplete { value_ends: (status == Status::Found).then_some(end) };
    };
    let reply = match status {
        Status::Found => Reply::Value(body),
        Status::Done => Reply::Stored,
        Status::Missing => Reply::Miss,
        Status::Refused => {
            let line = &bytes[VERSION.len()..start];
            Reply::Error(&line[..memchr::memchr(b'\r', line).unwrap_or(line.len())])
        }
    };
    Scan::Reply(reply, end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use kv_server::proto::http::{Found, Method, find};

    fn wire() -> Http {
        Http::new(Names::new(1000, 16).unwrap(), None, None).unwrap()
    }

    fn scan(bytes: &[u8]) -> Scan<'_> {
        wire().scan(bytes, &mut Familiar::default())
    }

    #[test]
    fn requests_are_what_the_server_reads() {
        let ttl = Some(Duration::from_millis(1500));
        let wire = Http::new(Names::new(1000, 16).unwrap(), ttl, Some("secret")).unwrap();
        let (mut get, mut put) = (Vec::new(), Vec::new());
        wire.put_get(7, &mut get);
        wire.put_set_head(42, 3, &mut put);
        for (bytes, method, key) in
            [(&get, Method::Get, &b"key:000000000007"[..]), (&put, Method::Put, b"key:000000000042")]
        {
            let Found::Head(head) = find(bytes, &mut Default::default(), 1 << 20) else {
                panic!("{}", bytes.escape_ascii())
            };
            assert_eq!((head.method, head.target), (method, &[b"/v1/keys/", key].concat()[..]));
            assert_eq!(head.fields.authorization, Some(&b"Bearer secret"[..]));
        }
        let put = String::from_utf8(put).unwrap();
        assert!(put.ends_with("X-TTL-Ms: 1500\r\nContent-Length: 3\r\n\r\n"), "{put}");
        assert!(Http::new(Names::new(10, 4).unwrap(), None, Some("a\r\nb")).is_err());
    }

    #[test]
    fn replies_are_found_whole_wherever_they_are_cut() {
        let cases: [(&[u8], Reply<'_>); 5] = [
            (b"HTTP/1.1 200 OK\r\nContent-Type: x\r\nContent-Length: 3\r\n\r\nabc", Reply::Value(b"abc")),
            (b"HTTP/1.1 200 OK\r\ncontent-length:0\r\nETag: \"7\"\r\n\r\n", Reply::Value(b"")),
            (b"HTTP/1.1 204 No Content\r\n\r\n", Reply::Stored),
            (b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnone", Reply::Miss),
            (b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\nno", Reply::Error(b"401 Unauthorized")),
        ];
        for (bytes, reply) in cases {
            for cut in 0..bytes.len() {
                let cut_scan = scan(&bytes[..cut]);
                let Scan::Incomplete { value_ends } = cut_scan else {
                    panic!("{} cut at {cut}: {cut_scan:?}", bytes.escape_ascii())
                };
                assert!(value_ends.is_none_or(|end| end == bytes.len()));
            }
            let more = [bytes, b"HTTP/1.1 "].concat();
            assert_eq!(scan(&more), Scan::Reply(reply, bytes.len()), "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn a_familiar_head_is_the_whole_head() {
        let mut familiar = Familiar::default();
        let mut scan = |bytes: &'static [u8]| wire().scan(bytes, &mut familiar);
        let ok = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc";
        assert_eq!(scan(ok), Scan::Reply(Reply::Value(b"abc"), 41));
        assert_eq!(
            scan(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\ndefHTTP"),
            Scan::Reply(Reply::Value(b"def"), 41)
        );
        assert_eq!(scan(&ok[..40]), Scan::Incomplete { value_ends: Some(41) });
        let longer = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nDate: x\r\n\r\nabc";
        assert_eq!(scan(longer), Scan::Reply(Reply::Value(b"abc"), longer.len()));
        assert_eq!(
            scan(b"HTTP/1.1 200 OK\r\nContent-Length: 33\r\n\r\nabc"),
            Scan::Incomplete { value_ends: Some(72) }
        );
    }

    #[test]
    fn what_is_no_such_reply_is_garbage() {
        for bytes in [
            &b"+OK\r\n"[..],
            b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
            b"HTTP/1.1 200 OK\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 9999999999999\r\n\r\n",
            b"HTTP/1.1 x\r\nContent-Length: 0\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        ] {
            assert_eq!(scan(bytes), Scan::Garbage, "{}", bytes.escape_ascii());
        }
        let endless = [b"HTTP/1.1 200 OK\r\nX: ", &[b'x'; MAX_HEAD][..]].concat();
        assert_eq!(scan(&endless), Scan::Garbage);
    }
}
