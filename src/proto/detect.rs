//! Chooses a connection's protocol by the first bytes that it sends.
//!
//! ```text
//!   {  behind any white space              JSON lines
//!   80                                     memcached, binary
//!   FA 'K' 'V' 01                          protobuf frames
//!   a lower-case verb of memcached         memcached, text
//!   a method of HTTP, a space, / or *      HTTP
//!   anything else                          RESP: an array (*) or an inline command
//! ```
//!
//! What several bytes tell apart is `None` until they are there. An inline command in capitals (`GET k`) is RESP's, in small letters
//! (`get k`) memcached's; `GET /k` is HTTP's. A listener of its own (`--resp-port` and its like) settles it before the first byte.

use super::{Protocol, Spoken};

/// White space in front of the first request that may be waited through, bytes. Behind it, blank lines are
/// taken for RESP's.
const MAX_BLANK: usize = 64;

/// The first byte of every request in memcached's binary protocol.
const BINARY_REQUEST: u8 = 0x80;

/// What a protobuf client sends before its first frame.
pub const PROTOBUF_MAGIC: [u8; 4] = [0xfa, b'K', b'V', 0x01];

/// The commands of memcached's text protocol (protocol.txt of 1.6.45), by their first word.
const TEXT_VERBS: &[&str] = &[
    "get",
    "gets",
    "gat",
    "gats",
    "set",
    "add",
    "replace",
    "append",
    "prepend",
    "cas",
    "incr",
    "decr",
    "touch",
    "delete",
    "flush_all",
    "version",
    "verbosity",
    "stats",
    "cache_memlimit",
    "quit",
    "shutdown",
    "mg",
    "ms",
    "md",
    "ma",
    "mn",
    "me",
    "watch",
    "lru",
    "lru_crawler",
    "slabs",
    "misbehave",
    "debug",
    "extstore",
    "refresh_certs",
];

/// The methods of HTTP (RFC 9110, PATCH of RFC 5789).
const METHODS: &[&str] = &["GET", "HEAD", "PUT", "DELETE", "POST", "OPTIONS", "PATCH", "TRACE", "CONNECT"];

/// The protocol of a connection that has sent `bytes` so far; `None`: cannot be told yet.
pub fn detect(spoken: Spoken, bytes: &[u8]) -> Option<Protocol> {
    match spoken {
        Spoken::Only(protocol) => Some(protocol),
        Spoken::Memcached => bytes.first().map(|first| match *first {
            BINARY_REQUEST => Protocol::Binary,
            _ => Protocol::Text,
        }),
        Spoken::All => by_first_bytes(bytes),
    }
}

fn by_first_bytes(bytes: &[u8]) -> Option<Protocol> {
    match bytes.first()? {
        &BINARY_REQUEST => return Some(Protocol::Binary),
        first if *first == PROTOBUF_MAGIC[0] => {
            let len = bytes.len().min(PROTOBUF_MAGIC.len());
            return match bytes[..len] == PROTOBUF_MAGIC[..len] {
                false => Some(Protocol::Resp),
                true if len == PROTOBUF_MAGIC.len() => Some(Protocol::Protobuf),
                true => None,
            };
        }
        b'a'..=b'z' => {
            return word_of(bytes, TEXT_VERBS, |after| matches!(after, b' ' | b'\r' | b'\n'), Protocol::Text);
        }
        // Then a path, `*` (OPTIONS), or a host (CONNECT): an inline command would have its key there.
        b'A'..=b'Z' => return by_method(bytes),
        _ => {}
    }
    let first = bytes.iter().take(MAX_BLANK).find(|byte| !byte.is_ascii_whitespace());
    match first {
        Some(b'{') => Some(Protocol::JsonLines),
        Some(_) => Some(Protocol::Resp),
        None if bytes.len() < MAX_BLANK => None,
        None => Some(Protocol::Resp),
    }
}

/// `protocol` if the bytes begin with one of the words and a byte that may follow it, RESP if they cannot any more.
fn word_of(bytes: &[u8], words: &[&str], follows: fn(u8) -> bool, protocol: Protocol) -> Option<Protocol> {
    let mut open = false;
    for word in words.iter().map(|word| word.as_bytes()) {
        match bytes.strip_prefix(word) {
            Some([after, ..]) if follows(*after) => return Some(protocol),
            Some([_, ..]) => {}
            Some([]) => open = true,
            None => open |= word.starts_with(bytes),
        }
    }
    if open { None } else { Some(Protocol::Resp) }
}

fn by_method(bytes: &[u8]) -> Option<Protocol> {
    let found = word_of(bytes, METHODS, |after| after == b' ', Protocol::Http)?;
    if found != Protocol::Http {
        return Some(found);
    }
    let target = memchr::memchr(b' ', bytes).and_then(|space| bytes.get(space + 1));
    match target {
        None => None,
        Some(b'/' | b'*') => Some(Protocol::Http),
        Some(_) if bytes.starts_with(b"CONNECT ") => Some(Protocol::Http),
        Some(_) => Some(Protocol::Resp),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_bytes_choose() {
        for (bytes, expected) in [
            (&b""[..], None),
            (b" \r\n\t", None),
            (b"{", Some(Protocol::JsonLines)),
            (b"\r\n {\"key\"", Some(Protocol::JsonLines)),
            (b"*", Some(Protocol::Resp)),
            (b"PING", Some(Protocol::Resp)),
            (b"\nget k", Some(Protocol::Resp)),
            (b"\"get\" k", Some(Protocol::Resp)),
            (b"\0", Some(Protocol::Resp)),
            (b"\x80\x00", Some(Protocol::Binary)),
            (b"\xfaKV", None),
            (b"\xfaKV\x01", Some(Protocol::Protobuf)),
            (b"\xfaKV\x02", Some(Protocol::Resp)),
            (b"ge", None),
            (b"get", None),
            (b"get k", Some(Protocol::Text)),
            (b"gets k", Some(Protocol::Text)),
            (b"getx", Some(Protocol::Resp)),
            (b"version\r\n", Some(Protocol::Text)),
            (b"mn\n", Some(Protocol::Text)),
            (b"ping\r\n", Some(Protocol::Resp)),
            (b"incrby k", Some(Protocol::Resp)),
            (b"G", None),
            (b"GET", None),
            (b"GET ", None),
            (b"GET /", Some(Protocol::Http)),
            (b"GET k", Some(Protocol::Resp)),
            (b"GETEX k", Some(Protocol::Resp)),
            (b"OPTIONS * HTTP/1.1", Some(Protocol::Http)),
            (b"PUT", None),
            (b"PUBLISH", Some(Protocol::Resp)),
        ] {
            assert_eq!(detect(Spoken::All, bytes), expected, "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn a_listener_of_its_own_settles_it() {
        assert_eq!(detect(Spoken::Only(Protocol::Resp), b"get k"), Some(Protocol::Resp));
        assert_eq!(detect(Spoken::Memcached, b"\x80"), Some(Protocol::Binary));
        assert_eq!(detect(Spoken::Memcached, b"GET /"), Some(Protocol::Text));
        assert_eq!(detect(Spoken::Memcached, b""), None);
    }

    #[test]
    fn blanks_are_not_waited_through_for_ever() {
        assert_eq!(detect(Spoken::All, &[b' '; MAX_BLANK - 1]), None);
        assert_eq!(detect(Spoken::All, &[b' '; MAX_BLANK]), Some(Protocol::Resp));
    }
}
