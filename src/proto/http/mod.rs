//! HTTP/1.1 (RFC 9110, RFC 9112): the head of a request, its body, and the replies.
//!
//! ```text
//!   bytes ─► head ─► what it asks for (command::http) ─► body, whole ─► requests ─► encode
//!                    refused: answered here, the body is skipped or the connection ends
//! ```
//!
//! A head is parsed once it is whole, straight from the received bytes; nothing is copied but keys with escapes and bodies in
//! several chunks. What leaves two ways to read the framing is an error that ends the connection (RFC 9112 section 6.3): a proxy in
//! front of us might have read it the other way.

mod body;
mod conditions;
mod head;
pub mod problem;
mod reply;

pub use body::{Body, Pieces, Read, read};
pub use conditions::{Tags, etag, max_age_s, number};
pub use head::{Connection, Fields, Found, Framing, Head, Method, find};
pub use problem::Problem;
pub use reply::{Form, Kind, Manner, encode, put_empty, put_head, put_problem};

/// What a connection's codec remembers between two calls: how far the request at its start has been looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// Bytes in which no head ends.
    scanned: usize,
    /// Bytes to come of a body that nobody wants.
    skip: usize,
    /// Set while a body in chunks is arriving.
    chunks: Option<body::Progress>,
    /// The client has been told to go on and send the body.
    continued: bool,
}

impl State {
    /// The request is answered; `skip` bytes of its body are still to come.
    pub fn done(&mut self, skip: usize) {
        *self = State { skip, ..State::default() };
    }

    /// The connection ends; so many bytes of the request (`usize::MAX`: an unknown number) may still come.
    pub fn abandon(&mut self, unread: usize) {
        self.done(unread);
    }

    /// Bytes to come of a request that is answered.
    pub fn unread(&self) -> usize {
        self.skip
    }

    /// Whether the client is to be told now that its body is welcome; true once for a request.
    pub fn may_continue(&mut self) -> bool {
        !std::mem::replace(&mut self.continued, true)
    }
}

#[cfg(test)]
mod tests;
