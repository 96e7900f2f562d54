//! Protobuf's wire format over borrowed bytes: varints, tags, fields; what is unknown is skipped.
//!
//! ```text
//!   field    tag: number << 3 | type, a varint      payload
//!              type 0: a varint   1: 8 bytes   2: length, bytes   3 … 4: a group   5: 4 bytes
//! ```

use crate::limits::PROTOBUF_NESTING;

/// Why a message is malformed, for people.
pub type Malformed = &'static str;

const CUT: Malformed = "a field ends beyond its message";
const LONG_VARINT: Malformed = "a varint is longer than 64 bits";
/// Longest varint, bytes.
pub const VARINT_LEN: usize = 10;

/// The payload of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field<'a> {
    Varint(u64),
    Fixed64(u64),
    Bytes(&'a [u8]),
    /// Skipped: no message here has one.
    Group,
    Fixed32(u32),
}

impl<'a> Field<'a> {
    #[inline]
    pub fn number(self) -> Result<u64, Malformed> {
        match self {
            Field::Varint(number) => Ok(number),
            _ => Err("a field that is a number has another type"),
        }
    }

    #[inline]
    pub fn bytes(self) -> Result<&'a [u8], Malformed> {
        match self {
            Field::Bytes(bytes) => Ok(bytes),
            _ => Err("a field that is bytes or a message has another type"),
        }
    }
}

/// The varint at the start of `bytes` and its length; `None` if it goes on behind them.
///
/// # Errors
/// More than 64 bits.
#[inline]
pub fn varint(bytes: &[u8]) -> Result<Option<(u64, usize)>, Malformed> {
    match bytes.first() {
        None => Ok(None),
        Some(&byte) if byte < 0x80 => Ok(Some((byte.into(), 1))),
        Some(_) => long_varint(bytes),
    }
}

fn long_varint(bytes: &[u8]) -> Result<Option<(u64, usize)>, Malformed> {
    let mut value = 0;
    for (i, &byte) in bytes.iter().take(VARINT_LEN).enumerate() {
        // The tenth byte has room for the last bit only.
        if i == VARINT_LEN - 1 && byte > 1 {
            return Err(LONG_VARINT);
        }
        value |= u64::from(byte & 0x7f) << (7 * i);
        if byte < 0x80 {
            return Ok(Some((value, i + 1)));
        }
    }
    Ok(None)
}

/// Writes a varint to the start of `to` and returns its length, which has to be there: at most [`VARINT_LEN`] bytes.
#[inline]
pub fn put_varint(mut value: u64, to: &mut [u8]) -> usize {
    let mut len = 0;
    while value >= 0x80 {
        to[len] = value as u8 | 0x80;
        value >>= 7;
        len += 1;
    }
    to[len] = value as u8;
    len + 1
}

/// The length of a varint, bytes.
#[inline]
pub fn varint_len(value: u64) -> usize {
    (64 - (value | 1).leading_zeros() as usize).div_ceil(7)
}

/// A signed number as protobuf's `sint64` writes it: 0, -1, 1, -2 … become 0, 1, 2, 3 …
#[inline]
pub fn zigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

/// The fields of a message, in the order in which they were sent.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    #[inline]
    pub fn new(message: &'a [u8]) -> Reader<'a> {
        Reader { rest: message }
    }

    /// The next field and its number; `None` at the message's end.
    ///
    /// # Errors
    /// The bytes are no protobuf. Nothing that follows can be read.
    #[inline]
    pub fn field(&mut self) -> Result<Option<(u32, Field<'a>)>, Malformed> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let (number, kind) = self.tag()?;
        let field = match kind {
            0 => Field::Varint(self.varint()?),
            2 => {
                let len = usize::try_from(self.varint()?).map_err(|_| CUT)?;
                Field::Bytes(self.take(len)?)
            }
            _ => self.rare(number, kind)?,
        };
        Ok(Some((number, field)))
    }

    #[cold]
    fn rare(&mut self, number: u32, kind: u8) -> Result<Field<'a>, Malformed> {
        match kind {
            1 => self.fixed().map(|bytes| Field::Fixed64(u64::from_le_bytes(bytes))),
            3 => self.group(number).map(|()| Field::Group),
            5 => self.fixed().map(|bytes| Field::Fixed32(u32::from_le_bytes(bytes))),
            4 => Err("a group ends that has not begun"),
            _ => Err("a field has a type that there is not"),
        }
    }

    #[inline]
    fn tag(&mut self) -> Result<(u32, u8), Malformed> {
        let tag = u32::try_from(self.varint()?).map_err(|_| "a field's number is too large")?;
        match tag >> 3 {
            0 => Err("a field has the number 0"),
            number => Ok((number, (tag & 7) as u8)),
        }
    }

    #[inline]
    fn varint(&mut self) -> Result<u64, Malformed> {
        let (value, len) = varint(self.rest)?.ok_or(CUT)?;
        self.rest = &self.rest[len..];
        Ok(value)
    }

    #[inline]
    fn take(&mut self, len: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(CUT)?;
        self.rest = rest;
        Ok(taken)
    }

    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(CUT)?;
        self.rest = rest;
        Ok(*taken)
    }

    /// Skips a group, which ends with a tag of its own number, and those in it. Without recursion, and not deeper than is allowed.
    fn group(&mut self, number: u32) -> Result<(), Malformed> {
        let mut open = [0; PROTOBUF_NESTING];
        open[0] = number;
        let mut depth = 1;
        while depth > 0 {
            let (number, kind) = self.tag()?;
            match kind {
                0 => drop(self.varint()?),
                2 => {
                    let len = usize::try_from(self.varint()?).map_err(|_| CUT)?;
                    self.take(len)?;
                }
                3 => {
                    *open.get_mut(depth).ok_or("groups are nested too deep")? = number;
                    depth += 1;
                }
                4 if open[depth - 1] == number => depth -= 1,
                4 => return Err("a group ends that is not the last that began"),
                _ => drop(self.rare(number, kind)?),
            }
        }
        Ok(())
    }
}
