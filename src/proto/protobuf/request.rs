//! The requests of proto/kv.proto, read from a message's bytes, from which keys and values are borrowed.
//!
//! As protobuf asks, fields may come in any order, the last of several counts, and unknown ones are skipped. Stricter than most: a
//! field of the wrong type, a second operation, and a condition that is not in the schema make a request invalid, as guessing could
//! write what the client did not mean.

use super::wire::{Field, Malformed, Reader, zigzag};

/// A request and its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    pub id: u64,
    pub call: Call<'a>,
}

/// Why a request cannot be understood, with its number, or 0 if that could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Invalid {
    pub id: u64,
    pub why: Malformed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call<'a> {
    One(One<'a>),
    MultiGet(MultiGet<'a>),
    Batch(Batch<'a>),
    Ping,
    Auth(Auth<'a>),
}

/// What concerns one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum One<'a> {
    Get(Get<'a>),
    Set(Set<'a>),
    Delete(Delete<'a>),
    Incr(Incr<'a>),
}

impl One<'_> {
    pub fn writes(&self) -> bool {
        !matches!(self, One::Get(_))
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Get<'a> {
    pub key: &'a [u8],
    pub want_cas: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Condition {
    #[default]
    Always,
    IfAbsent,
    IfPresent,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Set<'a> {
    pub key: &'a [u8],
    pub value: &'a [u8],
    /// 0: never expires.
    pub ttl_ms: u64,
    pub condition: Condition,
    /// 0: no comparison.
    pub cas: u64,
    pub flags: u32,
    pub want_cas: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delete<'a> {
    pub key: &'a [u8],
    /// 0: no comparison.
    pub cas: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Incr<'a> {
    pub key: &'a [u8],
    pub delta: i64,
    pub initial: Option<u64>,
    /// 0: never expires.
    pub ttl_ms: u64,
    /// 0: no comparison.
    pub cas: u64,
    pub want_cas: bool,
}

/// Several keys, checked, and read again from the message when they are needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MultiGet<'a> {
    message: &'a [u8],
    pub count: usize,
    pub want_cas: bool,
}

/// Several operations, checked, and read again from the message when they are needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batch<'a> {
    message: &'a [u8],
    pub count: usize,
    pub writes: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Auth<'a> {
    pub user: &'a str,
    pub password: &'a [u8],
}

const NO_KEY: Malformed = "a key is missing or empty";
const NO_OP: Malformed = "there is no operation that this server knows";
const TWO_OPS: Malformed = "there is more than one operation";
const TOO_MANY: Malformed = "there are too many operations in one request";

// Field numbers of proto/kv.proto, the same in `Request` and `Op`.
const GET: u32 = 2;
const SET: u32 = 3;
const DELETE: u32 = 4;
const INCR: u32 = 5;
const MULTI_GET: u32 = 6;
const BATCH: u32 = 7;
const PING: u32 = 8;
const AUTH: u32 = 9;

/// Reads a `Request`, of at most `most` keys or operations.
///
/// # Errors
/// The message is no protobuf, or not one that the schema allows.
#[inline]
pub fn parse(message: &[u8], most: usize) -> Result<Request<'_>, Invalid> {
    let mut id = 0;
    match fields(message, &mut id, AUTH).and_then(|(number, op)| call(number, op, most)) {
        Ok(call) => Ok(Request { id, call }),
        Err(why) => Err(Invalid { id, why }),
    }
}

/// The number and the message of the only operation; leaves the request's own number in `id` as soon as it is known. Operations have
/// numbers up to `last`.
#[inline]
fn fields<'a>(message: &'a [u8], id: &mut u64, last: u32) -> Result<(u32, &'a [u8]), Malformed> {
    let mut reader = Reader::new(message);
    let mut op = None;
    let mut twice = false;
    while let Some((number, field)) = reader.field()? {
        match number {
            1 if last == AUTH => *id = field.number()?,
            GET.. if number <= last => twice |= op.replace((number, field.bytes()?)).is_some(),
            _ => {}
        }
    }
    if twice { Err(TWO_OPS) } else { op.ok_or(NO_OP) }
}

#[inline]
fn call(number: u32, op: &[u8], most: usize) -> Result<Call<'_>, Malformed> {
    match number {
        MULTI_GET => MultiGet::parse(op, most).map(Call::MultiGet),
        BATCH => Batch::parse(op, most).map(Call::Batch),
        PING => each(op, |_, _| Ok(())).map(|()| Call::Ping),
        AUTH => Auth::parse(op).map(Call::Auth),
        _ => one(number, op).map(Call::One),
    }
}

#[inline]
fn one(number: u32, op: &[u8]) -> Result<One<'_>, Malformed> {
    let one = match number {
        GET => One::Get(Get::parse(op)?),
        SET => One::Set(Set::parse(op)?),
        DELETE => One::Delete(Delete::parse(op)?),
        _ => One::Incr(Incr::parse(op)?),
    };
    let (One::Get(Get { key, .. })
    | One::Set(Set { key, .. })
    | One::Delete(Delete { key, .. })
    | One::Incr(Incr { key, .. })) = one;
    if key.is_empty() { Err(NO_KEY) } else { Ok(one) }
}

/// Shows every field of a message to `take`.
#[inline]
fn each<'a>(
    message: &'a [u8],
    mut take: impl FnMut(u32, Field<'a>) -> Result<(), Malformed>,
) -> Result<(), Malformed> {
    let mut reader = Reader::new(message);
    while let Some((number, field)) = reader.field()? {
        take(number, field)?;
    }
    Ok(())
}

#[inline]
fn boolean(field: Field<'_>) -> Result<bool, Malformed> {
    field.number().map(|number| number != 0)
}

impl<'a> Get<'a> {
    #[inline]
    fn parse(message: &'a [u8]) -> Result<Get<'a>, Malformed> {
        let mut get = Get::default();
        each(message, |number, field| {
            match number {
                1 => get.key = field.bytes()?,
                2 => get.want_cas = boolean(field)?,
                _ => {}
            }
            Ok(())
        })?;
        Ok(get)
    }
}

impl<'a> Set<'a> {
    #[inline]
    fn parse(message: &'a [u8]) -> Result<Set<'a>, Malformed> {
        let mut set = Set::default();
        each(message, |number, field| {
            match number {
                1 => set.key = field.bytes()?,
                2 => set.value = field.bytes()?,
                3 => set.ttl_ms = field.number()?,
                4 => set.condition = Condition::of(field.number()?)?,
                5 => set.cas = field.number()?,
                // As protobuf asks, the low 32 bits of what is sent.
                6 => set.flags = field.number()? as u32,
                7 => set.want_cas = boolean(field)?,
                _ => {}
            }
            Ok(())
        })?;
        if set.condition == Condition::IfAbsent && set.cas != 0 {
            return Err("an item cannot both be absent and have a CAS");
        }
        Ok(set)
    }
}

impl Condition {
    fn of(number: u64) -> Result<Condition, Malformed> {
        match number {
            0 => Ok(Condition::Always),
            1 => Ok(Condition::IfAbsent),
            2 => Ok(Condition::IfPresent),
            _ => Err("there is no such condition"),
        }
    }
}

impl<'a> Delete<'a> {
    fn parse(message: &'a [u8]) -> Result<Delete<'a>, Malformed> {
        let mut delete = Delete::default();
        each(message, |number, field| {
            match number {
                1 => delete.key = field.bytes()?,
                2 => delete.cas = field.number()?,
                _ => {}
            }
            Ok(())
        })?;
        Ok(delete)
    }
}

impl<'a> Incr<'a> {
    fn parse(message: &'a [u8]) -> Result<Incr<'a>, Malformed> {
        let mut incr = Incr::default();
        each(message, |number, field| {
            match number {
                1 => incr.key = field.bytes()?,
                2 => incr.delta = zigzag(field.number()?),
                3 => incr.initial = Some(field.number()?),
                4 => incr.ttl_ms = field.number()?,
                5 => incr.cas = field.number()?,
                6 => incr.want_cas = boolean(field)?,
                _ => {}
            }
            Ok(())
        })?;
        if incr.ttl_ms != 0 && incr.initial.is_none() {
            return Err("ttl_ms is for a counter that is made: it asks for initial");
        }
        Ok(incr)
    }
}

impl<'a> MultiGet<'a> {
    fn parse(message: &'a [u8], most: usize) -> Result<MultiGet<'a>, Malformed> {
        let mut found = MultiGet { message, count: 0, want_cas: false };
        each(message, |number, field| {
            match number {
                1 if field.bytes()?.is_empty() => return Err(NO_KEY),
                1 => found.count += 1,
                2 => found.want_cas = boolean(field)?,
                _ => {}
            }
            Ok(())
        })?;
        if found.count > most { Err(TOO_MANY) } else { Ok(found) }
    }

    pub fn keys(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        repeated(self.message)
    }
}

impl<'a> Batch<'a> {
    fn parse(message: &'a [u8], most: usize) -> Result<Batch<'a>, Malformed> {
        let mut found = Batch { message, count: 0, writes: false };
        each(message, |number, field| {
            if number == 1 {
                found.writes |= op(field.bytes()?)?.writes();
                found.count += 1;
            }
            Ok(())
        })?;
        if found.count > most { Err(TOO_MANY) } else { Ok(found) }
    }

    pub fn ops(&self) -> impl Iterator<Item = One<'a>> + use<'a> {
        // All of them were read while parsing, so none is missing.
        repeated(self.message).filter_map(|message| op(message).ok())
    }
}

/// Reads an `Op`.
fn op(message: &[u8]) -> Result<One<'_>, Malformed> {
    let (number, op) = fields(message, &mut 0, INCR)?;
    one(number, op)
}

/// Every field 1 of a message that has been found to be sound.
fn repeated<'a>(message: &'a [u8]) -> impl Iterator<Item = &'a [u8]> + use<'a> {
    let mut reader = Reader::new(message);
    std::iter::from_fn(move || reader.field().ok().flatten())
        .filter_map(|(number, field)| if number == 1 { field.bytes().ok() } else { None })
}

impl<'a> Auth<'a> {
    fn parse(message: &'a [u8]) -> Result<Auth<'a>, Malformed> {
        let mut auth = Auth::default();
        each(message, |number, field| {
            match number {
                1 => auth.user = str::from_utf8(field.bytes()?).map_err(|_| "the user's name is no UTF-8")?,
                2 => auth.password = field.bytes()?,
                _ => {}
            }
            Ok(())
        })?;
        Ok(auth)
    }
}
