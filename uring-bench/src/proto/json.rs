//! JSON lines: one object per request, one per reply, in the exact forms that the server writes.
//!
//! ```text
//!  {"key":"key:000000000007","value":"abc"}  ►  {"status":"OK","message":"Key inserted/updated successfully.","key":null,"value":null}
//!  {"key":"key:000000000007"}                ►  {"status":"OK","message":"","key":"key:000000000007","value":"abc"}
//!                                            ►  {"status":"OK","message":"Key not found.","key":null,"value":null}
//! ```
//!
//! A reply ends at the brace that closes its first one, outside of strings. Keys and values of this crate need no escapes, so
//! a value with one shows as it is on the wire, and fails verification as it should.

use super::{Reply, Scan, Wire};
use crate::workload::Names;
use memchr::{memchr2, memchr3, memmem};
use std::ops::Range;

const FOUND: &[u8] = br#"{"status":"OK","message":"","key":""#;
const VALUE: &[u8] = br#"","value":""#;
const STORED: &[u8] = br#"{"status":"OK","message":"Key inserted"#;
const MISSED: &[u8] = br#"{"status":"OK","message":"Key not found"#;
const REFUSED: &[u8] = br#"{"status":"ERROR","message":""#;

/// Templates of one key length.
#[derive(Clone, Debug)]
pub struct Json {
    names: Names,
    get: Vec<u8>,
    set: Vec<u8>,
    key: Range<usize>,
}

impl Json {
    pub fn new(names: Names) -> Self {
        let mut set = br#"{"key":""#.to_vec();
        let key = set.len()..set.len() + names.len();
        set.extend_from_slice(&names.zero());
        let mut get = set.clone();
        get.extend_from_slice(b"\"}\n");
        set.extend_from_slice(VALUE);
        Self { names, get, set, key }
    }

    fn put(&self, template: &[u8], key: u64, out: &mut Vec<u8>) {
        let at = out.len();
        out.extend_from_slice(template);
        self.names.number(key, &mut out[at + self.key.start..at + self.key.end]);
    }
}

/// How far a reply has been looked at.
#[derive(Clone, Copy, Debug, Default)]
pub struct Resume {
    scanned: usize,
    depth: usize,
    in_string: bool,
    /// Behind a backslash.
    escaped: bool,
}

impl Wire for Json {
    type Resume = Resume;

    fn put_get(&self, key: u64, out: &mut Vec<u8>) {
        self.put(&self.get, key, out);
    }

    fn put_set_head(&self, key: u64, _: usize, out: &mut Vec<u8>) {
        self.put(&self.set, key, out);
    }

    fn set_tail(&self) -> &[u8] {
        b"\"}\n"
    }

    fn scan<'a>(&self, bytes: &'a [u8], resume: &mut Resume) -> Scan<'a> {
        // White space between objects belongs to the next one.
        let blank = bytes.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        match bytes.get(blank) {
            None => return Scan::Incomplete { value_ends: None },
            Some(b'{') => {}
            Some(_) => return Scan::Garbage,
        }
        let Some(end) = end_of_object(bytes, resume) else { return Scan::Incomplete { value_ends: None } };
        *resume = Resume::default();
        reply(&bytes[blank..end]).map_or(Scan::Garbage, |reply| Scan::Reply(reply, end))
    }
}

/// Where the object that starts here ends, going on where an earlier look ran out of bytes.
fn end_of_object(bytes: &[u8], resume: &mut Resume) -> Option<usize> {
    let Resume { scanned: mut at, mut depth, mut in_string, mut escaped } = *resume;
    loop {
        let rest = bytes.get(at..).unwrap_or_default();
        let found = match (in_string, escaped) {
            (false, _) => memchr3(b'"', b'{', b'}', rest),
            (true, false) => memchr2(b'"', b'\\', rest),
            (true, true) => (!rest.is_empty()).then_some(0),
        };
        let Some(found) = found else {
            *resume = Resume { scanned: bytes.len(), depth, in_string, escaped };
            return None;
        };
        at += found + 1;
        match rest[found] {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => in_string = !in_string,
            b'{' => depth += 1,
            _ => {
                depth -= 1; // The object starts with a brace, and ends where they balance.
                if depth == 0 {
                    return Some(at);
                }
            }
        }
    }
}

fn reply(object: &[u8]) -> Option<Reply<'_>> {
    if let Some(rest) = object.strip_prefix(FOUND) {
        let value = memmem::find(rest, VALUE)? + VALUE.len();
        return rest.strip_suffix(b"\"}").and_then(|rest| rest.get(value..)).map(Reply::Value);
    }
    if object.starts_with(STORED) {
        return Some(Reply::Stored);
    }
    if object.starts_with(MISSED) {
        return Some(Reply::Miss);
    }
    let text = object.strip_prefix(REFUSED)?;
    Some(Reply::Error(&text[..memmem::find(text, br#"","key":"#)?]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bumpalo::Bump;
    use kv_server::proto::{ParseLimits, Parsed, json};

    fn wire() -> Json {
        Json::new(Names::new(1000, 16).unwrap())
    }

    fn arguments(bytes: &[u8]) -> Vec<Vec<u8>> {
        let limits = ParseLimits {
            max_bulk: 1 << 20,
            max_request: 1 << 20,
            max_args: 100,
            max_inline: 1000,
            authenticated: true,
        };
        let (bump, mut args) = (Bump::new(), Vec::new());
        let parsed = json::parse(bytes, &limits, &mut Default::default(), &bump, &mut args);
        assert_eq!(parsed, Parsed::Request { consumed: bytes.len() - 1 }, "a line break behind the object");
        args.iter().map(|arg| arg.to_vec()).collect()
    }

    #[test]
    fn requests_are_what_the_server_reads() {
        let mut out = Vec::new();
        wire().put_get(7, &mut out);
        assert_eq!(arguments(&out), [b"GET".to_vec(), b"key:000000000007".to_vec()]);
        out.clear();
        wire().put_set_head(7, 3, &mut out);
        out.extend_from_slice(b"abc");
        out.extend_from_slice(wire().set_tail());
        assert_eq!(arguments(&out), [b"SET".to_vec(), b"key:000000000007".to_vec(), b"abc".to_vec()]);
    }

    #[test]
    fn replies_are_found_whole_wherever_they_are_cut() {
        let cases: [(&str, Reply<'_>); 6] = [
            (
                r#"{"status":"OK","message":"Key inserted/updated successfully.","key":null,"value":null}"#,
                Reply::Stored,
            ),
            (r#"{"status":"OK","message":"Key not found.","key":null,"value":null}"#, Reply::Miss),
            (r#"{"status":"OK","message":"","key":"k","value":"abc"}"#, Reply::Value(b"abc")),
            (r#"{"status":"OK","message":"","key":"k","value":""}"#, Reply::Value(b"")),
            (r#"{"status":"OK","message":"","key":"k","value":"a}\"\\{"}"#, Reply::Value(br#"a}\"\\{"#)),
            (r#"{"status":"ERROR","message":"OOM { no","key":null,"value":null}"#, Reply::Error(b"OOM { no")),
        ];
        for (text, reply) in cases {
            let bytes = [b"\n ", text.as_bytes()].concat();
            for cut in 0..bytes.len() {
                let mut resume = Resume::default();
                let first = wire().scan(&bytes[..cut], &mut resume);
                assert_eq!(first, Scan::Incomplete { value_ends: None }, "{text} cut at {cut}");
                assert_eq!(
                    wire().scan(&bytes, &mut resume),
                    Scan::Reply(reply, bytes.len()),
                    "{text} cut at {cut}"
                );
            }
        }
    }

    #[test]
    fn what_is_no_such_reply_is_garbage() {
        for bytes in ["+OK\r\n", "}", "{}", r#"{"status":"MAYBE"}"#, r#"{"status":"OK","message":""}"#] {
            assert_eq!(wire().scan(bytes.as_bytes(), &mut Resume::default()), Scan::Garbage, "{bytes}");
        }
    }
}
