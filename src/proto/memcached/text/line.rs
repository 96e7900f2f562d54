//! From received bytes to one command: finds the line, chooses the command by its first word, checks the words.

use super::storage::{self, StorageVerb};
use super::tokens::{Tokens, behind, words};
use super::{
    BAD_EXPTIME, BAD_FORMAT, Command, ERROR, LINE_TOO_LONG, MAX_KEY, Parsed, Retrieval, State, Within, meta,
    number,
};
use crate::limits::{TEXT_GET_KEYS, TEXT_GET_LINE};
use crate::proto::ParseLimits;
use bumpalo::Bump;

const OK: &[u8] = b"OK\r\n";
const BAD_DELTA: &[u8] = b"CLIENT_ERROR invalid numeric delta argument\r\n";
const DELETE_USAGE: &[u8] = b"CLIENT_ERROR bad command line format.  Usage: delete <key> [noreply]\r\n";
const NOT_SO_SMALL: &[u8] = b"MEMLIMIT_TOO_SMALL cannot set maxbytes to less than 8m\r\n";
const NOT_BYTES: &[u8] = b"MEMLIMIT_ADJUST_FAILED input value is megabytes not bytes\r\n";
const NO_WATCH: &[u8] = b"CLIENT_ERROR watch commands not allowed\r\n";
const NO_CRAWLER: &[u8] = b"CLIENT_ERROR lru crawler disabled\r\n";
const NO_REASSIGN: &[u8] = b"CLIENT_ERROR slab reassignment disabled\r\n";
const NO_TLS: &[u8] = b"ERROR TLS not enabled\r\n";
const SHUTDOWN_MODE: &[u8] = b"CLIENT_ERROR invalid shutdown mode\r\n";

/// cache_memlimit's bounds, MiB.
const LEAST_MEMORY: u64 = 8;
const MOST_MEMORY: u64 = 1_000_000_000;

/// Takes one command from the start of `rest`, all that has arrived and not been consumed. A base64 key is decoded into the bump.
pub fn parse<'a>(rest: &'a [u8], state: &mut State, limits: &ParseLimits, bump: &'a Bump) -> Parsed<'a> {
    if let Some(consumed) = state.refused(rest) {
        return if consumed == 0 { Parsed::Incomplete { need: 0 } } else { Parsed::Skip { consumed } };
    }
    if let Within::Keys(retrieval) = state.within {
        return match rest.get(..retrieval.left) {
            Some(line) => portion(line, retrieval, state),
            None => Parsed::Incomplete { need: retrieval.left },
        };
    }
    let longest = if is_retrieval(rest) {
        TEXT_GET_LINE.min(limits.max_request).max(limits.max_inline)
    } else {
        limits.max_inline
    };
    let (text, consumed) = match line(rest, longest, state) {
        Line::Whole { text, consumed } => (text, consumed),
        Line::Incomplete => return Parsed::Incomplete { need: 0 },
        Line::TooLong => return Parsed::Fatal { reply: LINE_TOO_LONG },
    };
    let Some(verb) = words(text).next() else { return Parsed::Reply { reply: ERROR, consumed } };
    match verb {
        b"get" | b"gets" | b"gat" | b"gats" => retrieval(verb, rest, text, consumed, state),
        b"mg" | b"ms" | b"md" | b"ma" | b"me" => meta::parse(verb, rest, text, consumed, state, limits, bump),
        b"mn" => Parsed::Reply { reply: b"MN\r\n", consumed },
        _ => {
            let tokens = Tokens::of(text);
            match storage_verb(verb) {
                Some(verb) => storage::parse(verb, &tokens, rest, consumed, &mut state.within, limits),
                None => match simple(&tokens) {
                    Ok(command) => Parsed::Command { command, consumed },
                    Err(reply) => Parsed::Reply { reply, consumed },
                },
            }
        }
    }
}

/// A line, as far as it has arrived.
pub(super) enum Line<'a> {
    /// Without its end; `consumed` counts it.
    Whole {
        text: &'a [u8],
        consumed: usize,
    },
    Incomplete,
    TooLong,
}

/// The line at the start of `rest`. How often it is looked for does not matter: what was searched is not searched again.
pub(super) fn line<'a>(rest: &'a [u8], longest: usize, state: &mut State) -> Line<'a> {
    let from = state.scanned.min(rest.len());
    let end = memchr::memchr(b'\n', &rest[from..]).map(|end| from + end);
    if end.unwrap_or(rest.len()) > longest {
        return Line::TooLong;
    }
    state.scanned = if end.is_some() { 0 } else { rest.len() };
    match end {
        Some(end) => {
            let text = &rest[..end];
            Line::Whole { text: text.strip_suffix(b"\r").unwrap_or(text), consumed: end + 1 }
        }
        None => Line::Incomplete,
    }
}

impl State {
    /// Bytes at the start of `rest` that belong to a refused data block. `None`: there is none.
    pub(super) fn refused(&mut self, rest: &[u8]) -> Option<usize> {
        let Within::Refused(left) = &mut self.within else { return None };
        let consumed = usize::try_from(*left).unwrap_or(usize::MAX).min(rest.len());
        *left -= consumed as u64;
        if *left == 0 {
            self.within = Within::Line;
        }
        Some(consumed)
    }
}

fn is_retrieval(rest: &[u8]) -> bool {
    let rest = rest.trim_ascii_start();
    [&b"get "[..], b"gets ", b"gat ", b"gats "].iter().any(|verb| rest.starts_with(verb))
}

fn storage_verb(word: &[u8]) -> Option<StorageVerb> {
    Some(match word {
        b"set" => StorageVerb::Set,
        b"add" => StorageVerb::Add,
        b"replace" => StorageVerb::Replace,
        b"append" => StorageVerb::Append,
        b"prepend" => StorageVerb::Prepend,
        b"cas" => StorageVerb::Cas,
        _ => return None,
    })
}

/// get, gets, gat, gats: all of the line is checked before anything is answered.
fn retrieval<'a>(
    verb: &[u8],
    rest: &'a [u8],
    text: &'a [u8],
    consumed: usize,
    state: &mut State,
) -> Parsed<'a> {
    let mut keys = words(text).skip(1);
    let touches = verb.starts_with(b"gat");
    let exptime = if touches { keys.next() } else { None };
    let Some(first) = keys.next() else { return Parsed::Reply { reply: ERROR, consumed } };
    let touch = match exptime.map(number::signed) {
        Some(None) => return Parsed::Reply { reply: BAD_EXPTIME, consumed },
        Some(touch) => touch,
        None => None,
    };
    if first.len() > MAX_KEY || keys.any(|key| key.len() > MAX_KEY) {
        return Parsed::Reply { reply: BAD_FORMAT, consumed };
    }
    let start = text.len() - behind(text, if touches { 2 } else { 1 }).len();
    let retrieval = Retrieval { cas: verb.ends_with(b"s"), touch, left: consumed - start };
    match portion(&rest[start..consumed], retrieval, state) {
        Parsed::Command { command, consumed } => Parsed::Command { command, consumed: start + consumed },
        other => other,
    }
}

/// The next keys of a retrieval, of whose line `line` is all that is left.
fn portion<'a>(line: &'a [u8], retrieval: Retrieval, state: &mut State) -> Parsed<'a> {
    let text = &line[..line.len() - 1];
    let text = text.strip_suffix(b"\r").unwrap_or(text);
    // Behind the space that ends the last key of this portion.
    let mut at = 0;
    for _ in 0..TEXT_GET_KEYS {
        let key = text[at..].iter().position(|byte| *byte != b' ').unwrap_or(text.len() - at);
        let end = memchr::memchr(b' ', &text[at + key..]).map_or(text.len(), |end| at + key + end + 1);
        at = end;
    }
    let last = text[at..].iter().all(|byte| *byte == b' ');
    let consumed = if last { line.len() } else { at };
    state.within = if last {
        Within::Line
    } else {
        Within::Keys(Retrieval { left: retrieval.left - consumed, ..retrieval })
    };
    let command = Command::Get { keys: &text[..at], cas: retrieval.cas, touch: retrieval.touch, last };
    Parsed::Command { command, consumed }
}

/// The commands of one line that are not retrieval.
fn simple<'a>(tokens: &Tokens<'a>) -> Result<Command<'a>, &'static [u8]> {
    let words = tokens.as_slice();
    let noreply = tokens.noreply();
    let said = |reply: &'static [u8]| if noreply { b"" } else { reply };
    match words {
        [verb @ (b"incr" | b"decr"), key, delta] | [verb @ (b"incr" | b"decr"), key, delta, _] => {
            if key.len() > MAX_KEY {
                return Err(said(BAD_FORMAT));
            }
            let delta = number::unsigned(delta).ok_or(said(BAD_DELTA))?;
            Ok(Command::Count { key, delta, down: verb[0] == b'd', noreply })
        }
        [b"touch", key, exptime] | [b"touch", key, exptime, _] => {
            if key.len() > MAX_KEY {
                return Err(said(BAD_FORMAT));
            }
            let exptime = number::signed(exptime).ok_or(said(BAD_EXPTIME))?;
            Ok(Command::Touch { key, exptime, noreply })
        }
        // Old clients send a time of 0, which once meant something.
        [b"delete", key] | [b"delete", key, b"0" | b"noreply"] | [b"delete", key, b"0", b"noreply"] => {
            if key.len() > MAX_KEY {
                return Err(said(BAD_FORMAT));
            }
            Ok(Command::Delete { key, noreply: noreply && words.len() > 2 })
        }
        [b"delete", _, _] | [b"delete", _, _, _] => Err(said(DELETE_USAGE)),
        [b"flush_all"] | [b"flush_all", b"noreply"] => Ok(Command::FlushAll { delay_s: 0, noreply }),
        [b"flush_all", delay] | [b"flush_all", delay, _] => {
            let delay = number::signed(delay).ok_or(said(BAD_EXPTIME))?;
            Ok(Command::FlushAll { delay_s: u64::try_from(delay).unwrap_or(0), noreply })
        }
        [b"version", ..] => Ok(Command::Version),
        [b"quit", ..] => Ok(Command::Quit),
        [b"stats", what @ ..] => Ok(Command::Stats(what.first().copied())),
        _ => management(words, said),
    }
}

/// Commands about the server itself. What memcached has here for its slabs and its LRU is answered as one does where it is disabled.
fn management<'a>(
    words: &[&'a [u8]],
    said: impl Fn(&'static [u8]) -> &'static [u8],
) -> Result<Command<'a>, &'static [u8]> {
    match words {
        // The server has one level, its own flag.
        [b"verbosity", level] | [b"verbosity", level, _] => {
            Err(said(if number::unsigned(level).is_some() { OK } else { BAD_FORMAT }))
        }
        [b"cache_memlimit", mebibytes] | [b"cache_memlimit", mebibytes, _] => {
            match number::unsigned(mebibytes).ok_or(said(ERROR))? {
                ..LEAST_MEMORY => Err(said(NOT_SO_SMALL)),
                mebibytes @ LEAST_MEMORY..=MOST_MEMORY => {
                    Ok(Command::MemoryLimit { mebibytes, noreply: said(OK).is_empty() })
                }
                _ => Err(said(NOT_BYTES)),
            }
        }
        [b"shutdown"] | [b"shutdown", b"graceful"] => Ok(Command::Shutdown),
        [b"shutdown", ..] => Err(SHUTDOWN_MODE),
        [b"watch", ..] => Err(said(NO_WATCH)),
        [b"lru_crawler", b"crawl" | b"metadump" | b"mgdump", _] => Err(NO_CRAWLER),
        [b"slabs", b"reassign", _, _] => Err(NO_REASSIGN),
        [b"refresh_certs", ..] => Err(said(NO_TLS)),
        _ => Err(ERROR),
    }
}
