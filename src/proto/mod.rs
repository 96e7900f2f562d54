//! Bytes to commands and outcomes to bytes, one file per protocol. Pure: no sockets, no clock, no store.
//!
//! A parser takes the received bytes and says what it found and how much of them that was; it never copies what it can
//! borrow. An encoder appends one outcome to the turn's [`ReplyBuf`].

pub mod detect;
mod form;
pub mod http;
pub mod json;
pub mod memcached;
mod outcome;
pub mod protobuf;
pub mod reply;
pub mod resp;

pub use form::{Form, encode};
pub use outcome::{Item, ItemValue, Outcome, Refusal, Scratch, Span};
pub use reply::ReplyBuf;

/// Which protocol a connection speaks, fixed by its first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    Resp,
    JsonLines,
    /// memcached's text protocol, meta commands included.
    Text,
    /// memcached's binary protocol.
    Binary,
    Http,
    Protobuf,
}

impl Protocol {
    /// How many there are; each has its number as a place in arrays of so many.
    pub const COUNT: usize = 6;
}

/// What a listener speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Spoken {
    /// Whatever the first bytes say.
    #[default]
    All,
    /// Both protocols of memcached.
    Memcached,
    Only(Protocol),
}

/// Limits that a parser enforces; see `limits.rs` for their defaults and flags.
#[derive(Clone, Copy, Debug)]
pub struct ParseLimits {
    /// Longest single argument (`proto-max-bulk-len`), bytes.
    pub max_bulk: usize,
    /// Longest whole request, bytes.
    pub max_request: usize,
    /// Most arguments in one request.
    pub max_args: usize,
    /// Longest inline command line, bytes; also the longest line that announces a length.
    pub max_inline: usize,
    /// Whether the client may send as much as the above. Before it has authenticated, Redis's far smaller bounds hold.
    pub authenticated: bool,
}

/// What a parser found at the start of the bytes that it was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// A whole request in `consumed` bytes; its arguments are in the caller's vector.
    Request { consumed: usize },
    /// Nothing to execute in `consumed` bytes (a blank line, `*0`): go on after them.
    Skip { consumed: usize },
    /// A request in `consumed` bytes that means nothing: answer this error in its place and go on after it.
    Malformed { consumed: usize, error: &'static str },
    /// Not whole yet. `need` is the least total length worth parsing again (0 if unknown): room to reserve, and a reason to wait.
    Incomplete { need: usize },
    /// Framing is lost: send this reply, already encoded for the wire, then close. An empty one: close without a word.
    Fatal { reply: Vec<u8> },
}
