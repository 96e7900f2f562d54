//! How a request's outcome is to be written: each protocol's own form, and the way to its encoder.

use super::memcached::{binary, text};
use super::{Outcome, ReplyBuf, Scratch, http, json, protobuf, resp};

/// What an encoder must know of the request that it answers. Small, because a turn holds hundreds: what is rare lies in the bump.
#[derive(Clone, Copy, Debug)]
pub enum Form<'a> {
    /// `no_touch`: CLIENT NO-TOUCH, reading does not count as use. `origin`: who wants to hear nothing of its own changes, see
    /// `conn::Session::origin`. (Here because a request has no other room for them.)
    Resp {
        resp3: bool,
        no_touch: bool,
        origin: u32,
    },
    Json,
    /// memcached's text protocol, meta commands included.
    Text(&'a text::Form<'a>),
    /// memcached's binary protocol.
    Binary(binary::Form<'a>),
    Http(&'a http::Form<'a>),
    Protobuf(&'a protobuf::Form),
    /// A reply that was known when the request was planned, whole.
    Ready(&'a &'a [u8]),
}

impl Form<'_> {
    #[inline]
    pub fn is_resp3(&self) -> bool {
        matches!(self, Form::Resp { resp3: true, .. })
    }

    /// Whose changes these are, if that is to be known; 0: it is not.
    #[inline]
    pub fn origin(&self) -> u32 {
        match self {
            Form::Resp { origin, .. } => *origin,
            _ => 0,
        }
    }

    /// Whether reading counts as use.
    #[inline]
    pub fn touches(&self) -> bool {
        !matches!(self, Form::Resp { no_touch: true, .. })
    }
}

/// Appends the reply to a request for `key`, whose outcome's spans, pins and items are in `scratch`.
#[inline]
pub fn encode(form: &Form<'_>, key: &[u8], outcome: &Outcome, scratch: &Scratch, out: &mut ReplyBuf) {
    match form {
        Form::Resp { resp3, .. } => resp::encode(outcome, scratch, *resp3, out),
        Form::Json => json::encode(key, outcome, scratch, out),
        Form::Text(form) => text::encode(form, key, outcome, scratch, out),
        Form::Binary(form) => binary::encode(form, key, outcome, scratch, out),
        Form::Http(form) => http::encode(form, key, outcome, scratch, out),
        Form::Protobuf(form) => protobuf::encode(form, key, outcome, scratch, out),
        Form::Ready(reply) => out.put(reply),
    }
}
