//! Meta commands: `mg`, `ms`, `md`, `ma` with their flags, and `me`.
//!
//! A flag is one letter, with what belongs to it behind it (`T30`). Those in small letters ask for something in the reply or switch
//! something, the others bring a value. All that can be wrong is found before anything is done.

use super::storage::Block;
use super::tokens::{Tokens, behind};
use super::{BAD_CHUNK, BAD_FORMAT, Command, ERROR, MAX_KEY, Parsed, State, TOO_LARGE, number};
use crate::proto::ParseLimits;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bumpalo::Bump;

/// Most words of a meta command.
const MOST_WORDS: usize = 19;
/// Longest opaque, its letter included, bytes.
const LONGEST_OPAQUE: usize = 32;

const TOO_MANY_GET: &[u8] = b"CLIENT_ERROR options flags are too long\r\n";
const TOO_MANY: &[u8] = b"CLIENT_ERROR options flags too long\r\n";
const DUPLICATE: &[u8] = b"CLIENT_ERROR duplicate flag\r\n";
const INVALID: &[u8] = b"CLIENT_ERROR invalid flag\r\n";
const INVALID_OR_DUPLICATE: &[u8] = b"CLIENT_ERROR invalid or duplicate flag\r\n";
const BAD_TOKEN: &[u8] = b"CLIENT_ERROR bad token in command line format\r\n";
const BAD_KEY: &[u8] = b"CLIENT_ERROR error decoding key\r\n";
const OPAQUE_TOO_LONG: &[u8] = b"CLIENT_ERROR opaque token too long\r\n";
const MODE_LENGTH: &[u8] = b"CLIENT_ERROR incorrect length for M token\r\n";
const BAD_INITIAL: &[u8] = b"CLIENT_ERROR invalid numeric initial value\r\n";
const BAD_DELTA: &[u8] = b"CLIENT_ERROR invalid numeric delta value\r\n";
const BAD_SET_MODE: &[u8] = b"CLIENT_ERROR invalid mode for ms M token\r\n";
const BAD_COUNT_MODE: &[u8] = b"CLIENT_ERROR invalid mode for ma M token\r\n";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetaVerb {
    Get,
    Set,
    Delete,
    Count,
}

/// mg, ms, md or ma, checked. Which fields have a meaning depends on the verb.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meta<'a> {
    pub verb: MetaVerb,
    /// Decoded, if it came as base64.
    pub key: &'a [u8],
    /// As it came.
    pub written: &'a [u8],
    /// `b`: it came as base64.
    pub binary: bool,
    /// All flags, as they came.
    pub flags: &'a [u8],
    /// The data block (ms).
    pub data: &'a [u8],
    /// `v`: the value is wanted.
    pub value: bool,
    /// `c`: the CAS is wanted.
    pub cas: bool,
    /// `s`: the length is wanted.
    pub size: bool,
    /// `h` or `l`: past use is wanted.
    pub access: bool,
    /// `q`: no reply to what is usual.
    pub quiet: bool,
    /// `u`: is no use of the item.
    pub no_bump: bool,
    /// `I`: make stale, or let an older CAS win and be stale.
    pub invalidate: bool,
    /// `x`: remove the value, keep the item.
    pub drop_value: bool,
    /// `T`
    pub touch: Option<i64>,
    /// `N`
    pub vivify: Option<i64>,
    /// `R`
    pub recache: Option<i64>,
    /// `C`
    pub compare: Option<u64>,
    /// `E`
    pub new_cas: Option<u64>,
    /// `F`
    pub client_flags: u32,
    /// `M`
    pub mode: Option<u8>,
    /// `J`
    pub initial: u64,
    /// `D`
    pub delta: u64,
}

/// The command in `line`, the first `consumed` bytes of `rest` without their end.
pub(super) fn parse<'a>(
    verb: &[u8],
    rest: &'a [u8],
    line: &'a [u8],
    consumed: usize,
    state: &mut State,
    limits: &ParseLimits,
    bump: &'a Bump,
) -> Parsed<'a> {
    let tokens = Tokens::of(line);
    let reply = |reply: &'static [u8]| Parsed::Reply { reply, consumed };
    let verb = match (verb, tokens.as_slice()) {
        (b"me", [_, written, flags @ ..]) => {
            return debug(written, flags, bump)
                .map_or_else(reply, |command| Parsed::Command { command, consumed });
        }
        (b"me", _) => return reply(BAD_FORMAT),
        (_, [_]) => return reply(ERROR),
        (b"ms", _) => return set(rest, &tokens, line, consumed, state, limits, bump),
        (b"mg", _) => MetaVerb::Get,
        (b"md", _) => MetaVerb::Delete,
        _ => MetaVerb::Count,
    };
    match flags(verb, &tokens, line, 2, bump) {
        Ok(meta) => Parsed::Command { command: Command::Meta(meta), consumed },
        Err(error) => reply(error),
    }
}

fn debug<'a>(written: &'a [u8], flags: &[&'a [u8]], bump: &'a Bump) -> Result<Command<'a>, &'static [u8]> {
    if written.len() > MAX_KEY {
        return Err(BAD_FORMAT);
    }
    let key = match flags {
        [b"b", ..] => decoded(written, bump).ok_or(BAD_FORMAT)?,
        _ => written,
    };
    Ok(Command::Debug { key, written })
}

/// ms <key> <datalen> <flag>*, and the block.
fn set<'a>(
    rest: &'a [u8],
    tokens: &Tokens<'a>,
    line: &'a [u8],
    line_len: usize,
    state: &mut State,
    limits: &ParseLimits,
    bump: &'a Bump,
) -> Parsed<'a> {
    let Some(len) = tokens.as_slice().get(2).and_then(|len| number::unsigned(len)) else {
        return Parsed::Reply { reply: BAD_FORMAT, consumed: line_len };
    };
    let block = Block { len, rest, line_len };
    let mut meta = match flags(MetaVerb::Set, tokens, line, 3, bump) {
        Ok(meta) => meta,
        Err(error) => return block.refuse(error, &mut state.within),
    };
    if block.is_too_large(limits) {
        let consumed = block.refused(&mut state.within);
        return Parsed::Refused { key: meta.key, reply: TOO_LARGE, consumed };
    }
    match block.data() {
        Err(need) => Parsed::Incomplete { need },
        Ok((None, consumed)) => Parsed::Reply { reply: BAD_CHUNK, consumed },
        Ok((Some(data), consumed)) => {
            meta.data = data;
            Parsed::Command { command: Command::Meta(meta), consumed }
        }
    }
}

/// Reads the flags, which begin with word `first`.
fn flags<'a>(
    verb: MetaVerb,
    tokens: &Tokens<'a>,
    line: &'a [u8],
    first: usize,
    bump: &'a Bump,
) -> Result<Meta<'a>, &'static [u8]> {
    let words = tokens.as_slice();
    if words[1].len() > MAX_KEY {
        return Err(BAD_FORMAT);
    }
    if words.len() > MOST_WORDS {
        return Err(if verb == MetaVerb::Get { TOO_MANY_GET } else { TOO_MANY });
    }
    let mut meta = empty(verb, words[1], behind(line, first));
    let mut seen = 0_u128;
    let mut error = None;
    for word in &words[first..] {
        let letter = word[0];
        if letter >= 127 || seen & (1 << letter) != 0 {
            return Err(if verb.names_flag_errors() { DUPLICATE } else { INVALID_OR_DUPLICATE });
        }
        seen |= 1 << letter;
        match flag(&mut meta, letter, &word[1..], bump) {
            Ok(()) => {}
            Err(INVALID) => {
                return Err(if verb.names_flag_errors() { INVALID } else { INVALID_OR_DUPLICATE });
            }
            Err(wrong) => error = Some(wrong),
        }
    }
    if let Some(error) = error {
        return Err(if verb.names_flag_errors() { error } else { INVALID_OR_DUPLICATE });
    }
    if words[first..].iter().any(|word| word[0] == b'O' && word.len() > LONGEST_OPAQUE) {
        return Err(OPAQUE_TOO_LONG);
    }
    match (verb, meta.mode) {
        (MetaVerb::Set, Some(mode)) if !b"EAPRS".contains(&mode) => Err(BAD_SET_MODE),
        (MetaVerb::Count, Some(mode)) if !b"ID+-".contains(&mode) => Err(BAD_COUNT_MODE),
        _ => Ok(meta),
    }
}

impl MetaVerb {
    /// memcached says which error it is for two of its verbs.
    fn names_flag_errors(self) -> bool {
        matches!(self, MetaVerb::Get | MetaVerb::Set)
    }
}

fn empty<'a>(verb: MetaVerb, written: &'a [u8], flags: &'a [u8]) -> Meta<'a> {
    Meta {
        verb,
        key: written,
        written,
        binary: false,
        flags,
        data: b"",
        value: false,
        cas: false,
        size: false,
        access: false,
        quiet: false,
        no_bump: false,
        invalidate: false,
        drop_value: false,
        touch: None,
        vivify: None,
        recache: None,
        compare: None,
        new_cas: None,
        client_flags: 0,
        mode: None,
        initial: 0,
        delta: 1,
    }
}

/// Notes one flag. [`INVALID`] ends the reading; of other errors the last one is answered.
fn flag<'a>(meta: &mut Meta<'a>, letter: u8, token: &[u8], bump: &'a Bump) -> Result<(), &'static [u8]> {
    let time = || number::signed(token).map(Some).ok_or(BAD_TOKEN);
    let cas = || number::unsigned(token).map(Some).ok_or(BAD_TOKEN);
    match letter {
        b'b' => {
            meta.binary = true;
            meta.key = decoded(meta.written, bump).ok_or(BAD_KEY)?;
        }
        b'v' => meta.value = true,
        b'c' => meta.cas = true,
        b's' => meta.size = true,
        b'h' | b'l' => meta.access = true,
        b'q' => meta.quiet = true,
        b'u' => meta.no_bump = true,
        b'x' => meta.drop_value = true,
        b'I' => meta.invalidate = true,
        b'T' => meta.touch = time()?,
        b'N' => meta.vivify = time()?,
        b'R' => meta.recache = time()?,
        b'C' => meta.compare = cas()?,
        b'E' => meta.new_cas = cas()?,
        b'F' => meta.client_flags = number::flags(token).ok_or(BAD_FORMAT)?,
        b'M' => match token {
            [mode] => meta.mode = Some(*mode),
            _ => return Err(MODE_LENGTH),
        },
        b'J' => meta.initial = number::unsigned(token).ok_or(BAD_INITIAL)?,
        b'D' => meta.delta = number::unsigned(token).ok_or(BAD_DELTA)?,
        // f, k, t and O are answered from the line as it came; L and P are for proxies.
        b'f' | b'k' | b't' | b'O' | b'L' | b'P' => {}
        _ => return Err(INVALID),
    }
    Ok(())
}

/// A base64 key in its own bytes; none is empty.
fn decoded<'a>(written: &[u8], bump: &'a Bump) -> Option<&'a [u8]> {
    let mut bytes = [0; MAX_KEY];
    let len = STANDARD.decode_slice(written, &mut bytes).ok()?;
    (len > 0).then(|| &*bump.alloc_slice_copy(&bytes[..len]))
}
