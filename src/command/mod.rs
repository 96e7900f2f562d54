//! What a command is, before and after it ran. One table serves every protocol.
//!
//! A parsed request becomes a [`Plan`]: most commands touch one key and are executed in batches grouped by partition
//! ([`Plan::Keyed`]); some are answered at once ([`Plan::Reply`]); the rest are barriers ([`Plan::Barrier`]): everything that
//! came before them on their connection is done before they start, and what comes after waits.

mod host;

pub use host::{ClientFilter, Host, PauseMode};

use crate::store::Key;
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
    pub stats: CommandStats,
}

/// Plain counters of one worker.
#[derive(Clone, Debug, Default)]
pub struct CommandStats {
    pub hits: u64,
    pub misses: u64,
    /// Calls by index into the command table.
    pub calls: Vec<u64>,
    /// Error replies.
    pub errors: u64,
}

/// One command on one key, ready to run under its partition's lock. Everything that can be wrong with its arguments has been
/// found before it exists.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    pub key: Key<'a>,
    pub op: Op<'a>,
    /// RESP3 rather than RESP2: decides the form of `Outcome::Encoded`.
    pub resp3: bool,
    pub outcome: Outcome,
}

/// What to do to a key. (Widened in ops.rs.)
#[derive(Clone, Debug)]
pub enum Op<'a> {
    Get,
    Set { value: crate::store::Value<'a>, expiry: crate::store::Expiry },
}
