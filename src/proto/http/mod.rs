//! HTTP/1.1 (RFC 9110, RFC 9112).

use super::{Outcome, ReplyBuf, Scratch};

/// What a connection's codec remembers between two calls.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {}

/// What the encoder must know of a request.
#[derive(Clone, Copy, Debug)]
pub struct Form<'a> {
    pub opaque: &'a [u8],
}

/// Appends the reply to a request for `key`.
pub fn encode(_form: &Form<'_>, _key: &[u8], _outcome: &Outcome, _scratch: &Scratch, _out: &mut ReplyBuf) {}
