//! Storage commands: a line that announces a data block, and the block.
//!
//! Whatever is wrong with such a line, if it says how long its block is, the block is dropped: memcached 1.6 does so for some errors only,
//! and reads the block of the others as commands.

use super::tokens::Tokens;
use super::{BAD_CHUNK, BAD_FORMAT, ERROR, MAX_KEY, Parsed, TOO_LARGE, Within, number};
use crate::proto::ParseLimits;

/// Bytes behind a data block.
pub const BLOCK_END: &[u8] = b"\r\n";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StorageVerb {
    Set,
    Add,
    Replace,
    Append,
    Prepend,
    Cas,
}

/// set, add, replace, append, prepend or cas, whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Storage<'a> {
    pub verb: StorageVerb,
    pub key: &'a [u8],
    pub flags: u32,
    pub exptime: i64,
    pub value: &'a [u8],
    /// The CAS that the item must have (cas).
    pub compare: Option<u64>,
    pub noreply: bool,
}

/// The command whose line is the first `line_len` bytes of `rest`.
pub(super) fn parse<'a>(
    verb: StorageVerb,
    tokens: &Tokens<'a>,
    rest: &'a [u8],
    line_len: usize,
    within: &mut Within,
    limits: &ParseLimits,
) -> Parsed<'a> {
    let words = tokens.as_slice();
    let least = if verb == StorageVerb::Cas { 6 } else { 5 };
    if words.len() < least || words.len() > least + 1 {
        return Parsed::Reply { reply: ERROR, consumed: line_len };
    }
    let noreply = tokens.noreply();
    let said = |reply: &'static [u8]| if noreply { b"" } else { reply };
    let Some(len) = number::unsigned(words[4]) else {
        return Parsed::Reply { reply: said(BAD_FORMAT), consumed: line_len };
    };
    let block = Block { len, rest, line_len };
    let numbers = || {
        let compare = if verb == StorageVerb::Cas { Some(number::unsigned(words[5])?) } else { None };
        Some((number::flags(words[2])?, number::signed(words[3])?, compare))
    };
    let key = words[1];
    let (flags, exptime, compare) = match numbers() {
        Some(numbers) if key.len() <= MAX_KEY => numbers,
        _ => return block.refuse(said(BAD_FORMAT), within),
    };
    if block.is_too_large(limits) {
        let consumed = block.refused(within);
        return match verb {
            StorageVerb::Set => Parsed::Refused { key, reply: said(TOO_LARGE), consumed },
            _ => Parsed::Reply { reply: said(TOO_LARGE), consumed },
        };
    }
    match block.data() {
        Err(need) => Parsed::Incomplete { need },
        Ok((None, consumed)) => Parsed::Reply { reply: said(BAD_CHUNK), consumed },
        Ok((Some(value), consumed)) => Parsed::Command {
            command: super::Command::Storage(Storage { verb, key, flags, exptime, value, compare, noreply }),
            consumed,
        },
    }
}

/// A data block that has been announced.
#[derive(Clone, Copy, Debug)]
pub(super) struct Block<'a> {
    /// Without its end.
    pub len: u64,
    /// The line, and what of the block has arrived.
    pub rest: &'a [u8],
    pub line_len: usize,
}

impl<'a> Block<'a> {
    pub fn is_too_large(&self, limits: &ParseLimits) -> bool {
        let whole = self.len.saturating_add((self.line_len + BLOCK_END.len()) as u64);
        self.len > limits.max_bulk as u64 || whole > limits.max_request as u64
    }

    /// Answers the line at once, and has the block dropped as it comes.
    pub fn refuse(&self, reply: &'static [u8], within: &mut Within) -> Parsed<'a> {
        Parsed::Reply { reply, consumed: self.refused(within) }
    }

    /// Has the block dropped as it comes; returns the line's length.
    pub fn refused(&self, within: &mut Within) -> usize {
        *within = Within::Refused(self.len.saturating_add(BLOCK_END.len() as u64));
        self.line_len
    }

    /// The block, `None` if its end is not where it must be, and the length of line and block. `Err`: not whole, the length that is
    /// needed. Only for a block that is not too large.
    pub fn data(&self) -> Result<(Option<&'a [u8]>, usize), usize> {
        let len = usize::try_from(self.len).expect("below the limit for values");
        let whole = self.line_len + len + BLOCK_END.len();
        let Some(block) = self.rest.get(self.line_len..whole) else { return Err(whole) };
        Ok((block.strip_suffix(BLOCK_END), whole))
    }
}
