//! What can be done to one key. Small on purpose: a turn holds hundreds of requests, so that what is rare is boxed in the bump.

use super::long_double::LongDouble;
use crate::store::{Expiry, Value};
use bytes::Bytes;

/// One operation on one key; its operands are checked and parsed.
#[derive(Clone, Debug)]
pub enum Op<'a> {
    /// The value.
    Get,
    /// Sets without condition; answers OK.
    Set {
        value: Payload<'a>,
        expiry: Expiry,
    },
    /// Sets under a condition, or answers what was there.
    SetIf {
        value: Payload<'a>,
        how: &'a SetIf<'a>,
    },
    /// The value; the key is removed.
    GetDel,
    /// The value, whose expiry may change.
    GetEx(Option<Expiry>),
    /// MGET of one key: the value in an array.
    GetInArray,
    Strlen,
    /// Positions in bytes, both inclusive, negative ones counted from the end.
    GetRange {
        start: i64,
        end: i64,
    },
    Digest,
    Append(&'a [u8]),
    SetRange {
        offset: usize,
        bytes: &'a [u8],
    },
    IncrBy(i64),
    IncrByFloat(LongDouble),
    Del,
    DelIf(Condition<'a>),
    /// Answers 1 or 0 (EXISTS).
    Exists,
    /// As `Exists`, and counts as use.
    Touch,
    TypeOf,
    Ttl(TtlForm),
    /// Unix milliseconds; a time that is over removes the key.
    ExpireAt {
        at_ms: i64,
        when: ExpireWhen,
    },
    Persist,
    Object(ObjectField),
    MemoryUsage,
    /// To another database. Values over `large_threshold` bytes keep the memory that they have.
    Move {
        db: u8,
        large_threshold: usize,
    },
    GetBit(u64),
    SetBit {
        offset: u64,
        on: bool,
    },
    /// `None`: all of the value.
    BitCount(Option<BitRange>),
    BitPos {
        bit: bool,
        range: &'a BitPosRange,
    },
    BitField(&'a [FieldOp]),
    /// The value with the client's flags, for readers who know nothing of leases (memcached's get): the short way to what `Fetch` of a
    /// value does. Answers `Value` or `Pinned` where there are no flags, else `Item`.
    GetItem,
    /// The item with what is known of it.
    Fetch(&'a Fetch),
    /// Writes an item with client flags, or under a CAS. The value is not among the rest: what lies in the bump is never dropped, and a
    /// large value must be.
    Store {
        value: Payload<'a>,
        how: &'a StoreItem,
    },
    /// Removes an item, or marks it stale.
    Remove(&'a RemoveItem),
    /// Counts without sign, as memcached does: up it wraps at 64 bits, down it ends at 0.
    Count(&'a Count),
    /// A script that is known to be one operation. The value is what it compares with or sets, if it does.
    Scripted {
        value: Payload<'a>,
        how: &'a Scripted,
    },
}

/// A script that runs without Lua, and what its errors say of it.
#[derive(Clone, Copy, Debug)]
pub struct Scripted {
    pub step: ScriptedStep,
    /// The SHA-1 of its source.
    pub digest: [u8; 20],
    /// The line of the command that can fail.
    pub line: usize,
}

/// What a known script does. Times are Unix milliseconds that lie ahead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScriptedStep {
    /// Removes the item if it has this value: answers 1, or else 0 or nil.
    Unlock { nil: bool },
    /// Gives the item an expiry if it has this value: answers 1, or else 0 or nil.
    Extend { at_ms: u64, nil: bool },
    /// Gives the item so many milliseconds from now, or more than it has, if it has this value and expires: answers 1 or 0.
    ExtendBy { ms: u64, add: bool },
    /// Counts; when the result is `first` the item expires then. Answers the result.
    Count { by: i64, first: i64, at_ms: u64 },
    /// Counts if the item is there: answers the result, or nil.
    CountIfExists(i64),
    /// Answers OK, or nil if the item is there.
    SetIfMissing { at_ms: u64 },
}

/// Reading an item, as memcached's `mg` can and all that is less: get, gets, gat, HTTP's GET. Answers [`crate::proto::Outcome::Item`]
/// or `Nil`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Fetch {
    /// The value is wanted.
    pub value: bool,
    /// The CAS is wanted: an item that has none gets one.
    pub cas: bool,
    /// Hit before, and seconds since the last use, are wanted: an item that keeps no account of it begins to.
    pub access: bool,
    /// Does not count as use.
    pub no_bump: bool,
    /// Knows nothing of leases, as memcached's get: sees what is stale or taken, and never wins.
    pub bystander: bool,
    /// A placeholder is no item: the reader's protocol cannot say what it is. To memcached's it is an empty one.
    pub filled: bool,
    /// A new expiry.
    pub touch: Option<Expiry>,
    /// On a miss an empty item is made that expires then; who made it has won.
    pub vivify: Option<Expiry>,
    /// Where another fills the item: it is to be noted that somebody waits for that.
    pub waits: bool,
    /// An item that expires in less than so many milliseconds: who reads it first has won.
    pub recache_below_ms: Option<u64>,
    /// The CAS of an item that this makes.
    pub new_cas: Option<u64>,
}

/// Writing an item, as memcached's `ms` can. Answers `Ok` (or `Item`, if the CAS is wanted), `NotStored`, `Exists`, `Nil`: no item
/// to compare with.
#[derive(Clone, Copy, Debug)]
pub struct StoreItem {
    /// The client's own flags. APPEND and PREPEND leave those that are there.
    pub flags: u32,
    pub expiry: Expiry,
    pub mode: StoreMode,
    /// Only if the item has this CAS. Says nothing to ADD; with APPEND and PREPEND to nothing neither.
    pub compare: Option<u64>,
    /// With `compare`, SET and REPLACE: an item with a greater CAS is written all the same, and is stale from then on. Its expiry stays.
    pub invalidate: bool,
    /// The CAS to give it; else the next.
    pub new_cas: Option<u64>,
    /// The CAS is wanted.
    pub cas: bool,
    /// APPEND and PREPEND to nothing make an item that expires then.
    pub vivify: Option<Expiry>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreMode {
    Set,
    /// Only if there is none.
    Add,
    /// Only if there is one.
    Replace,
    Append,
    Prepend,
}

/// Removing an item, as memcached's `md` can. Answers `Ok`, `Nil`: no such item, or `Exists`.
#[derive(Clone, Copy, Debug, Default)]
pub struct RemoveItem {
    pub compare: Option<u64>,
    /// Instead of being removed it becomes stale, with a new CAS; who reads it next wins.
    pub invalidate: bool,
    /// With `invalidate` or `drop_value`: its new expiry.
    pub touch: Option<Expiry>,
    /// Instead of being removed it loses its value and its flags.
    pub drop_value: bool,
    pub new_cas: Option<u64>,
}

/// Counting, as memcached's `ma` can. Answers `Item` (with the new number as its value), `Nil`, `Exists`, or `NotANumber`.
#[derive(Clone, Copy, Debug)]
pub struct Count {
    pub delta: u64,
    pub down: bool,
    /// On a miss an item with this number and this expiry is made.
    pub create: Option<(u64, Expiry)>,
    pub touch: Option<Expiry>,
    pub compare: Option<u64>,
    pub new_cas: Option<u64>,
    /// The CAS is wanted.
    pub cas: bool,
}

impl Op<'_> {
    /// The command that does this, as the slow log names it.
    pub fn name(&self) -> &'static str {
        match self {
            Op::Get => "GET",
            Op::Set { .. } | Op::SetIf { .. } => "SET",
            Op::GetDel => "GETDEL",
            Op::GetEx(_) => "GETEX",
            Op::GetInArray => "MGET",
            Op::Strlen => "STRLEN",
            Op::GetRange { .. } => "GETRANGE",
            Op::Digest => "DIGEST",
            Op::Append(_) => "APPEND",
            Op::SetRange { .. } => "SETRANGE",
            Op::IncrBy(_) => "INCRBY",
            Op::IncrByFloat(_) => "INCRBYFLOAT",
            Op::Del => "DEL",
            Op::DelIf(_) => "DELEX",
            Op::Exists => "EXISTS",
            Op::Touch => "TOUCH",
            Op::TypeOf => "TYPE",
            Op::Ttl(_) => "PTTL",
            Op::ExpireAt { .. } => "PEXPIREAT",
            Op::Persist => "PERSIST",
            Op::Object(_) => "OBJECT",
            Op::MemoryUsage => "MEMORY",
            Op::Move { .. } => "MOVE",
            Op::GetBit(_) => "GETBIT",
            Op::SetBit { .. } => "SETBIT",
            Op::BitCount(_) => "BITCOUNT",
            Op::BitPos { .. } => "BITPOS",
            Op::BitField(_) => "BITFIELD",
            // What memcached calls them: these serve other protocols than Redis's.
            Op::Fetch(_) | Op::GetItem => "mg",
            Op::Store { .. } => "ms",
            Op::Remove(_) => "md",
            Op::Count(_) => "ma",
            Op::Scripted { .. } => "EVALSHA",
        }
    }

    /// Whether its time grows with the length of the value, beyond copying it.
    pub fn is_linear(&self) -> bool {
        matches!(self, Op::Digest | Op::BitCount(_) | Op::BitPos { .. } | Op::Append(_) | Op::SetRange { .. })
    }
}

/// A value on its way into the store. Values over [`crate::store::Store::large_threshold`] have memory of their own already.
#[derive(Clone, Debug)]
pub enum Payload<'a> {
    Inline(&'a [u8]),
    /// Boxed to keep [`Op`] small.
    Large(Box<Bytes>),
}

impl<'a> Payload<'a> {
    pub fn bytes(&self) -> &[u8] {
        match self {
            Payload::Inline(bytes) => bytes,
            Payload::Large(bytes) => bytes,
        }
    }

    /// As the store takes it. Kept here as well: a request that meets a full partition is tried again.
    #[inline]
    pub fn value(&self) -> Value<'a> {
        match self {
            Payload::Inline(bytes) => Value::Inline(bytes),
            Payload::Large(bytes) => Value::Large((**bytes).clone()),
        }
    }
}

/// SET with options, SETNX, GETSET.
#[derive(Clone, Copy, Debug)]
pub struct SetIf<'a> {
    pub expiry: Expiry,
    pub condition: Condition<'a>,
    pub reply: SetReply,
}

/// What a conditional set answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetReply {
    /// OK, or nil if the condition failed.
    Status,
    /// The value that was there (GET).
    Old,
    /// 1 or 0 (SETNX).
    Count,
}

/// On what there must be for a write to happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition<'a> {
    Always,
    /// XX.
    Exists,
    /// NX.
    Missing,
    Equals(&'a [u8]),
    Differs(&'a [u8]),
    /// The digest as 16 hexadecimal digits in any case.
    DigestEquals(&'a [u8]),
    DigestDiffers(&'a [u8]),
}

/// TTL, PTTL, EXPIRETIME, PEXPIRETIME.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TtlForm {
    Seconds,
    Millis,
    AtSeconds,
    AtMillis,
}

/// EXPIRE's NX, XX, GT, LT; several can hold at once. A key without expiry counts as expiring at infinity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExpireWhen {
    pub nx: bool,
    pub xx: bool,
    pub gt: bool,
    pub lt: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ObjectField {
    Encoding,
    Freq,
    IdleTime,
    RefCount,
}

/// A range of bytes or of bits, both ends inclusive, negative ones counted from the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BitRange {
    pub start: i64,
    pub end: i64,
    pub bits: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BitPosRange {
    pub range: BitRange,
    /// Whether the client gave an end: without one, the value is followed by endless zeros.
    pub end_given: bool,
}

/// One operation of BITFIELD on an integer of `bits` bits at bit `offset`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FieldOp {
    pub offset: u64,
    pub bits: u8,
    pub signed: bool,
    pub action: FieldAction,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldAction {
    Get,
    Set(i64, Overflow),
    IncrBy(i64, Overflow),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overflow {
    Wrap,
    Saturate,
    Fail,
}
