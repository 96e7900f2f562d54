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
    /// An item with what is known of it: index into [`Scratch::items`].
    Item(u32),
    /// The condition of a write was not met (memcached's NOT_STORED).
    NotStored,
    /// The item's CAS is another than the one asked for (memcached's EXISTS).
    Exists,
    /// Counting met a value that is no number.
    NotANumber,
    /// The store refused a write.
    Refused(Refusal),
    /// An error with its code, as Redis words it and without the leading dash ("ERR syntax error").
    Error(Cow<'static, str>),
}

/// Why the store refused a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    TooLarge,
    KeyTooLong,
    OutOfMemory,
}

impl Refusal {
    /// As Redis words it.
    pub fn text(self) -> &'static str {
        match self {
            Refusal::TooLarge => "ERR string exceeds maximum allowed size (proto-max-bulk-len)",
            Refusal::KeyTooLong => "ERR key is longer than 65535 bytes, or than a quarter of a segment",
            Refusal::OutOfMemory => "OOM command not allowed when used memory > 'maxmemory'.",
        }
    }
}

/// Where a value that was read is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ItemValue {
    /// Not asked for.
    #[default]
    None,
    /// In [`Scratch::bytes`].
    Copied(Span),
    /// In [`Scratch::pins`].
    Pinned(u32),
}

/// An item as a request found or left it, for the protocols whose replies say more of it than its value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Item {
    pub value: ItemValue,
    /// Bytes, whether or not the value was asked for.
    pub value_len: usize,
    /// The client's own flags; 0 if it has none.
    pub flags: u32,
    /// 0 if it was not asked for.
    pub cas: u64,
    /// Unix milliseconds; `None`: never.
    pub expire_at_ms: Option<u64>,
    /// The same before this request; `None` too if it made the item.
    pub expire_at_ms_before: Option<u64>,
    /// Seconds since it was last used, before this request.
    pub idle_s: u32,
    /// Whether it had been read before this request.
    pub hit_before: bool,
    /// Invalidated, but served until somebody writes it anew.
    pub stale: bool,
    /// This request has won the right to write it anew.
    pub won: bool,
    /// Another has won it.
    pub taken: bool,
    /// There is no value yet: it was made by a miss, and nobody has filled it.
    pub placeholder: bool,
}

/// Where executed requests leave what does not fit into an [`Outcome`]. One per worker, cleared every turn.
#[derive(Debug, Default)]
pub struct Scratch {
    pub bytes: Vec<u8>,
    pub pins: Vec<Bytes>,
    pub items: Vec<Item>,
}

impl Scratch {
    /// For the next round; memory is kept.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.pins.clear();
        self.items.clear();
    }
}
