//! Before a client has authenticated: the `set` that carries its name and password (protocol.txt, "Authentication").
//!
//! ```text
//!   set <any key> <any> <any> <len>\r\n
//!   <user> <password>\r\n
//! ```
//!
//! Every other line is refused. Nothing of what such a client announces takes memory.

use super::line::{Line, line};
use super::tokens::Tokens;
use super::{State, Within, number};
use crate::limits::{PASSWORD_LEN, TEXT_LOGIN_LINE};

const UNAUTHENTICATED: &[u8] = b"CLIENT_ERROR unauthenticated\r\n";
const BAD_END: &[u8] = b"CLIENT_ERROR bad command line termination\r\n";
const BAD_TOKEN: &[u8] = b"CLIENT_ERROR bad authentication token format\r\n";
pub const WRONG: &[u8] = b"CLIENT_ERROR authentication failure\r\n";
const TOO_LONG: &[u8] = b"CLIENT_ERROR auth token too long\r\n";
pub const RIGHT: &[u8] = b"STORED\r\n";

/// Longest name and password, bytes, with the space between them.
const LONGEST: u64 = 2 * PASSWORD_LEN as u64;

/// What stands at the start of an unauthenticated client's bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Login<'a> {
    Try {
        user: &'a [u8],
        password: &'a [u8],
        consumed: usize,
    },
    /// See [`super::Parsed`] for these.
    Reply {
        reply: &'static [u8],
        consumed: usize,
    },
    Skip {
        consumed: usize,
    },
    Incomplete {
        need: usize,
    },
    Fatal,
}

/// Takes one line, or a whole attempt to log in, from the start of `rest`.
pub fn login<'a>(rest: &'a [u8], state: &mut State) -> Login<'a> {
    if let Some(consumed) = state.refused(rest) {
        return if consumed == 0 { Login::Incomplete { need: 0 } } else { Login::Skip { consumed } };
    }
    let (text, line_len) = match line(rest, TEXT_LOGIN_LINE, state) {
        Line::Whole { text, consumed } => (text, consumed),
        Line::Incomplete => return Login::Incomplete { need: 0 },
        Line::TooLong => return Login::Fatal,
    };
    let tokens = Tokens::of(text);
    let len = match tokens.as_slice() {
        [b"set", _, _, _, len, ..] => number::unsigned(len),
        _ => None,
    };
    let Some(len) = len else {
        return Login::Reply { reply: UNAUTHENTICATED, consumed: line_len };
    };
    if len > LONGEST {
        state.within = Within::Refused(len.saturating_add(2));
        return Login::Reply { reply: TOO_LONG, consumed: line_len };
    }
    let block = super::storage::Block { len, rest, line_len };
    let (data, consumed) = match block.data() {
        Ok(found) => found,
        Err(need) => return Login::Incomplete { need },
    };
    let Some(data) = data else { return Login::Reply { reply: BAD_END, consumed } };
    let space = data.iter().position(|byte| *byte == b' ');
    match space.map(|at| (&data[..at], &data[at + 1..])) {
        Some((user, password)) if !user.is_empty() && !password.is_empty() => {
            Login::Try { user, password, consumed }
        }
        _ => Login::Reply { reply: BAD_TOKEN, consumed },
    }
}
