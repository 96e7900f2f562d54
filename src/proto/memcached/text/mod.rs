//! The text protocol of memcached, meta commands included (doc/protocol.txt of 1.6.45; error texts as memcached 1.6 sends them).
//!
//! ```text
//!   get <key>*                          ─┐
//!   set <key> <flags> <exptime> <len>    ├─ one line, ended by \n or \r\n; storage commands are followed by
//!   mg <key> <flag>*                    ─┘  <len> bytes of data and \r\n
//! ```
//!
//! [`parse`] takes one command from the start of the received bytes. A line is looked at only when its end is there, a data block only
//! when it is whole. Three things are kept from call to call ([`State`]): how far a line without end has been searched, how much of a
//! refused data block is still to come, and how far a `get` of very many keys has been taken.
//!
//! [`common`] is the short way for the two commands of which a cache's load is made.

mod common;
mod encode;
mod line;
mod login;
mod meta;
mod number;
mod storage;
#[cfg(test)]
mod tests;
mod tokens;

pub use common::{Common, common};
pub use encode::encode;
pub use line::parse;
pub use login::{Login, RIGHT as LOGIN_RIGHT, WRONG as LOGIN_WRONG, login};
pub use meta::{Meta, MetaVerb};
pub use storage::{Storage, StorageVerb};
pub use tokens::words;

/// Longest key, bytes. Of a base64 key this counts what is sent, as in memcached.
pub const MAX_KEY: usize = crate::limits::MEMCACHED_KEY_LEN;

pub const ERROR: &[u8] = b"ERROR\r\n";
pub const BAD_FORMAT: &[u8] = b"CLIENT_ERROR bad command line format\r\n";
pub const BAD_CHUNK: &[u8] = b"CLIENT_ERROR bad data chunk\r\n";
pub const TOO_LARGE: &[u8] = b"SERVER_ERROR object too large for cache\r\n";
pub const NO_MEMORY_STORING: &[u8] = b"SERVER_ERROR out of memory storing object\r\n";
pub const NO_MEMORY: &[u8] = b"SERVER_ERROR out of memory\r\n";
pub const BAD_EXPTIME: &[u8] = b"CLIENT_ERROR invalid exptime argument\r\n";
pub const NOT_A_NUMBER: &[u8] = b"CLIENT_ERROR cannot increment or decrement non-numeric value\r\n";
pub const LINE_TOO_LONG: &[u8] = b"CLIENT_ERROR line too long\r\n";

/// What a connection's codec remembers between two calls.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// So many bytes at the start of what comes next are known to hold no line end.
    scanned: usize,
    within: Within,
}

/// What the next bytes belong to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Within {
    #[default]
    Line,
    /// A data block that nobody wants: so many bytes are left.
    Refused(u64),
    /// A retrieval whose keys so far have been taken.
    Keys(Retrieval),
}

/// The rest of a line `get <key>*` that has been found right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Retrieval {
    cas: bool,
    touch: Option<i64>,
    /// Bytes of the line that are left, its end included.
    left: usize,
}

impl State {
    /// Whether the next bytes begin a command.
    #[inline]
    pub fn is_fresh(&self) -> bool {
        self.within == Within::Line
    }

    /// Something was consumed without [`parse`]: what comes next has not been searched.
    #[inline]
    pub fn moved_on(&mut self) {
        self.scanned = 0;
    }
}

/// One command, its words borrowed from the received bytes. Times are as the client wrote them (`exptime` of protocol.txt).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command<'a> {
    /// get, gets, gat, gats: the next keys of the line, to be taken apart by [`words`]. There is at least one.
    Get {
        keys: &'a [u8],
        cas: bool,
        touch: Option<i64>,
        /// No more will come: END follows.
        last: bool,
    },
    Storage(Storage<'a>),
    Count {
        key: &'a [u8],
        delta: u64,
        down: bool,
        noreply: bool,
    },
    Delete {
        key: &'a [u8],
        noreply: bool,
    },
    Touch {
        key: &'a [u8],
        exptime: i64,
        noreply: bool,
    },
    Meta(Meta<'a>),
    /// me: what is known of an item. `written` is the key as the client sent it.
    Debug {
        key: &'a [u8],
        written: &'a [u8],
    },
    /// Seconds from now.
    FlushAll {
        delay_s: u64,
        noreply: bool,
    },
    Version,
    Stats(Option<&'a [u8]>),
    /// cache_memlimit: what memory is to be limited to, in MiB.
    MemoryLimit {
        mebibytes: u64,
        noreply: bool,
    },
    Shutdown,
    Quit,
}

/// What stands at the start of the received bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parsed<'a> {
    Command {
        command: Command<'a>,
        consumed: usize,
    },
    /// Answered without the store; the reply may be empty (`noreply`).
    Reply {
        reply: &'static [u8],
        consumed: usize,
    },
    /// The same, and the item of this key must go: its new value was refused, and the old one is no longer true.
    Refused {
        key: &'a [u8],
        reply: &'static [u8],
        consumed: usize,
    },
    /// Bytes of a data block that has been refused.
    Skip {
        consumed: usize,
    },
    /// See [`super::super::Parsed::Incomplete`].
    Incomplete {
        need: usize,
    },
    /// Framing is lost: send this, then close.
    Fatal {
        reply: &'static [u8],
    },
}

/// How an outcome is written.
#[derive(Clone, Copy, Debug)]
pub enum Form<'a> {
    /// get, gets, gat, gats. `last`: END follows.
    Value {
        cas: bool,
        last: bool,
    },
    /// STORED, NOT_STORED, EXISTS, NOT_FOUND.
    Stored,
    Deleted,
    Touched,
    /// The new number.
    Number,
    /// `noreply`: nothing, whatever came of it.
    Silent,
    /// Known before it ran.
    Fixed(&'static [u8]),
    Meta(MetaForm<'a>),
    /// me, with the key as the client wrote it.
    Debug {
        written: &'a [u8],
        now_ms: u64,
    },
}

/// What the reply to a meta command repeats of it.
#[derive(Clone, Copy, Debug)]
pub struct MetaForm<'a> {
    pub verb: MetaVerb,
    /// The flags as sent: what is answered follows their order.
    pub flags: &'a [u8],
    /// The key as the client wrote it.
    pub written: &'a [u8],
    /// It is base64.
    pub binary: bool,
    pub quiet: bool,
    /// The CAS whose value the client has already (`C` of mg).
    pub known: Option<u64>,
    /// Length of the data block (ms).
    pub sent: usize,
    pub now_ms: u64,
}
