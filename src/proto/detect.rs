//! Chooses a connection's protocol by the first bytes that it sends.
//!
//! ```text
//!   {  behind any white space     JSON lines
//!   anything else                 RESP: an array (*) or an inline command
//! ```
//!
//! A further protocol is one more line in [`detect`]; one that needs several bytes to be told apart answers
//! `None` until they are there.

use super::Protocol;

/// White space in front of the first request that may be waited through, bytes. Behind it, blank lines are
/// taken for RESP's.
const MAX_BLANK: usize = 64;

/// The protocol of a connection that has sent `bytes` so far; `None`: cannot be told yet.
pub fn detect(bytes: &[u8]) -> Option<Protocol> {
    let first = bytes.iter().take(MAX_BLANK).find(|byte| !byte.is_ascii_whitespace());
    match first {
        Some(b'{') => Some(Protocol::JsonLines),
        Some(_) => Some(Protocol::Resp),
        None if bytes.len() < MAX_BLANK => None,
        None => Some(Protocol::Resp),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_byte_chooses() {
        for (bytes, expected) in [
            ("", None),
            (" \r\n\t", None),
            ("{", Some(Protocol::JsonLines)),
            ("\r\n {\"key\"", Some(Protocol::JsonLines)),
            ("*", Some(Protocol::Resp)),
            ("PING", Some(Protocol::Resp)),
            ("\nget k", Some(Protocol::Resp)),
            ("\"get\" k", Some(Protocol::Resp)),
            ("\0", Some(Protocol::Resp)),
        ] {
            assert_eq!(detect(bytes.as_bytes()), expected, "{bytes:?}");
        }
    }

    #[test]
    fn blanks_are_not_waited_through_for_ever() {
        assert_eq!(detect(&[b' '; MAX_BLANK - 1]), None);
        assert_eq!(detect(&[b' '; MAX_BLANK]), Some(Protocol::Resp));
    }
}
