//! Protobuf frames: the magic, then messages of proto/kv.proto, each behind its length as a varint.
//!
//! ```text
//!   client   FA 'K' 'V' 01   len Request   len Request …
//!   server                   len Response  len Response …      in the order of the requests
//! ```
//!
//! The messages are read and written by hand, so that keys and values are borrowed from what was received, and values are sent from
//! where the store has them. The format: protobuf.dev, "Encoding". The length in front of a message keeps the framing whatever is in
//! it: what is malformed is answered, and the connection goes on.

pub mod request;
mod response;
#[cfg(test)]
mod tests;
mod wire;

pub use request::{Call, Condition, Delete, Get, Incr, Invalid, One, Request, Set, parse};
pub use response::{Form, Status, encode, put_head, put_plain, put_result};

use super::detect::PROTOBUF_MAGIC;

/// What a connection's codec remembers between two calls.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// The magic has been taken.
    pub begun: bool,
}

/// What stands at the start of a connection's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// The magic, in so many bytes.
    Magic { consumed: usize },
    /// A whole message.
    Message { body: &'a [u8], consumed: usize },
    /// See [`crate::proto::Parsed::Incomplete`].
    Incomplete { need: usize },
    /// Longer than is allowed.
    TooLong,
    /// Not the magic, or no length: nothing that follows can be understood.
    Lost,
}

/// Finds the frame at the start of `bytes`, whose message may have `longest` bytes.
#[inline]
pub fn frame<'a>(bytes: &'a [u8], state: &mut State, longest: usize) -> Frame<'a> {
    if !state.begun {
        let len = bytes.len().min(PROTOBUF_MAGIC.len());
        return match bytes[..len] == PROTOBUF_MAGIC[..len] {
            false => Frame::Lost,
            true if len < PROTOBUF_MAGIC.len() => Frame::Incomplete { need: PROTOBUF_MAGIC.len() },
            true => {
                state.begun = true;
                Frame::Magic { consumed: len }
            }
        };
    }
    let (len, head) = match wire::varint(bytes) {
        Ok(Some(found)) => found,
        Ok(None) => return Frame::Incomplete { need: 0 },
        Err(_) => return Frame::Lost,
    };
    let Some(len) = usize::try_from(len).ok().filter(|len| *len <= longest) else { return Frame::TooLong };
    match bytes.get(head..head + len) {
        Some(body) => Frame::Message { body, consumed: head + len },
        None => Frame::Incomplete { need: head + len },
    }
}
