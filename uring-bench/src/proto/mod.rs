//! Protocols as a client speaks them: encoders that copy a prepared request and patch its key, scanners that find where a
//! reply ends without building anything. They are this crate's own, so that they check the server's.

mod http;
mod json;
mod memcached;
mod protobuf;
mod resp;
mod template;

pub use http::Http;
pub use json::Json;
pub use memcached::Memcached;
pub use protobuf::{MAGIC, Protobuf};
pub use resp::Resp;

/// The protocols by their names on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Protocol {
    /// RESP2, as Redis, Valkey and KV-Cache speak it.
    Resp,
    /// One JSON object per request and reply: {"key":…,"value":…}.
    Json,
    /// memcached's text protocol.
    Memcached,
    /// HTTP/1.1: GET and PUT of /v1/keys/KEY.
    Http,
    /// KV-Cache's protobuf frames.
    Protobuf,
}

impl Protocol {
    pub fn name(self) -> &'static str {
        match self {
            Protocol::Resp => "resp",
            Protocol::Json => "json",
            Protocol::Memcached => "memcached",
            Protocol::Http => "http",
            Protocol::Protobuf => "protobuf",
        }
    }
}

/// What a reply says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply<'a> {
    /// A write was done.
    Stored,
    /// A read found this value.
    Value(&'a [u8]),
    /// A read found nothing.
    Miss,
    /// The server refuses, in these words.
    Error(&'a [u8]),
}

/// What stands at the start of received bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scan<'a> {
    /// A whole reply and its length.
    Reply(Reply<'a>, usize),
    /// The beginning of a reply. `value_ends`: it is a value's, and this is the length of the whole reply.
    Incomplete { value_ends: Option<usize> },
    /// Not this protocol.
    Garbage,
}

/// One protocol: requests out, replies in. A `SET` is its head, the value, and its tail.
pub trait Wire: Clone + Send + 'static {
    /// What the scanner remembers of a connection, such as how far it has looked at an incomplete reply: that comes again,
    /// with more bytes behind it.
    type Resume: Default + std::fmt::Debug;

    fn put_get(&self, key: u64, out: &mut Vec<u8>);
    fn put_set_head(&self, key: u64, value_len: usize, out: &mut Vec<u8>);
    fn set_tail(&self) -> &[u8];

    /// Looks at the first reply in `bytes`.
    fn scan<'a>(&self, bytes: &'a [u8], resume: &mut Self::Resume) -> Scan<'a>;
}
