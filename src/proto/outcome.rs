//! What a command answered, before a protocol gives it its form.

use bytes::Bytes;
use std::borrow::Cow;

/// A range of [`Scratch::bytes`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub start: u32,
    pub len: u32,
}

/// What a command answered, independent of the protocol where it can be.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// Not executed yet.
    Pending,
    Ok,
    Pong,
    Nil,
    Int(i64),
    /// A value copied out of the store.
    Value(Span),
    /// A value of `PIN_THRESHOLD` bytes or more, left where it is: index into [`Scratch::pins`].
    Pinned(u32),
    /// The same as the only element of an array (MGET of one key).
    PinnedInArray(u32),
    /// A whole reply, already in the connection's own protocol.
    Encoded(Span),
    /// An error with its code, as Redis words it and without the leading dash ("ERR syntax error").
    Error(Cow<'static, str>),
}

/// Where executed requests leave what does not fit into an [`Outcome`]. One per worker, cleared every turn.
#[derive(Debug, Default)]
pub struct Scratch {
    pub bytes: Vec<u8>,
    pub pins: Vec<Bytes>,
}
