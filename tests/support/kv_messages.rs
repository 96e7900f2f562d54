//! The messages of proto/kv.proto as another implementation of protobuf reads and writes them: what our own bytes are checked against.

#![allow(dead_code, reason = "each test uses its own part of the schema")]

pub use prost::Message;

#[derive(Clone, PartialEq, prost::Message)]
pub struct Request {
    #[prost(uint64, tag = "1")]
    pub id: u64,
    #[prost(oneof = "Call", tags = "2, 3, 4, 5, 6, 7, 8, 9")]
    pub op: Option<Call>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Call {
    #[prost(message, tag = "2")]
    Get(Get),
    #[prost(message, tag = "3")]
    Set(Set),
    #[prost(message, tag = "4")]
    Delete(Delete),
    #[prost(message, tag = "5")]
    Incr(Incr),
    #[prost(message, tag = "6")]
    MultiGet(MultiGet),
    #[prost(message, tag = "7")]
    Batch(Batch),
    #[prost(message, tag = "8")]
    Ping(Ping),
    #[prost(message, tag = "9")]
    Auth(Auth),
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Get {
    #[prost(bytes = "vec", tag = "1")]
    pub key: Vec<u8>,
    #[prost(bool, tag = "2")]
    pub want_cas: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
pub enum Condition {
    Always = 0,
    IfAbsent = 1,
    IfPresent = 2,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Set {
    #[prost(bytes = "vec", tag = "1")]
    pub key: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub value: Vec<u8>,
    #[prost(uint64, tag = "3")]
    pub ttl_ms: u64,
    #[prost(enumeration = "Condition", tag = "4")]
    pub condition: i32,
    #[prost(uint64, tag = "5")]
    pub cas: u64,
    #[prost(uint32, tag = "6")]
    pub flags: u32,
    #[prost(bool, tag = "7")]
    pub want_cas: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Delete {
    #[prost(bytes = "vec", tag = "1")]
    pub key: Vec<u8>,
    #[prost(uint64, tag = "2")]
    pub cas: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Incr {
    #[prost(bytes = "vec", tag = "1")]
    pub key: Vec<u8>,
    #[prost(sint64, tag = "2")]
    pub delta: i64,
    #[prost(uint64, optional, tag = "3")]
    pub initial: Option<u64>,
    #[prost(uint64, tag = "4")]
    pub ttl_ms: u64,
    #[prost(uint64, tag = "5")]
    pub cas: u64,
    #[prost(bool, tag = "6")]
    pub want_cas: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct MultiGet {
    #[prost(bytes = "vec", repeated, tag = "1")]
    pub keys: Vec<Vec<u8>>,
    #[prost(bool, tag = "2")]
    pub want_cas: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Op {
    #[prost(oneof = "One", tags = "2, 3, 4, 5")]
    pub op: Option<One>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub enum One {
    #[prost(message, tag = "2")]
    Get(Get),
    #[prost(message, tag = "3")]
    Set(Set),
    #[prost(message, tag = "4")]
    Delete(Delete),
    #[prost(message, tag = "5")]
    Incr(Incr),
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Batch {
    #[prost(message, repeated, tag = "1")]
    pub ops: Vec<Op>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Ping {}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Auth {
    #[prost(string, tag = "1")]
    pub user: String,
    #[prost(bytes = "vec", tag = "2")]
    pub password: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
pub enum Status {
    Ok = 0,
    NotFound = 1,
    NotStored = 2,
    Exists = 3,
    NotANumber = 4,
    TooLarge = 5,
    OutOfMemory = 6,
    Invalid = 7,
    Unauthenticated = 8,
    Internal = 9,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Response {
    #[prost(uint64, tag = "1")]
    pub id: u64,
    #[prost(enumeration = "Status", tag = "2")]
    pub status: i32,
    #[prost(uint64, tag = "3")]
    pub cas: u64,
    #[prost(uint32, tag = "4")]
    pub flags: u32,
    #[prost(uint64, tag = "5")]
    pub ttl_ms: u64,
    #[prost(uint64, tag = "6")]
    pub number: u64,
    #[prost(string, tag = "7")]
    pub message: String,
    #[prost(bytes = "vec", tag = "8")]
    pub value: Vec<u8>,
    #[prost(message, repeated, tag = "9")]
    pub results: Vec<Response>,
}

impl Request {
    pub fn new(id: u64, op: Call) -> Request {
        Request { id, op: Some(op) }
    }
}

/// A get, and a set without options.
pub fn get(key: impl AsRef<[u8]>) -> Get {
    Get { key: key.as_ref().to_vec(), ..Get::default() }
}

pub fn set(key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Set {
    Set { key: key.as_ref().to_vec(), value: value.as_ref().to_vec(), ..Set::default() }
}
