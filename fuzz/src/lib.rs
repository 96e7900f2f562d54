//! What the parser targets share: a connection that receives bytes in pieces and writes down what it heard.

use bumpalo::Bump;
use kv_server::command::{ClientFilter, Host, PauseMode, StatsOf};
use kv_server::conn::Session;
use kv_server::proto::{ParseLimits, Parsed};

/// Small bounds, so that the fuzzer meets them.
pub const LIMITS: ParseLimits =
    ParseLimits { max_bulk: 200, max_request: 400, max_args: 20, max_inline: 100, authenticated: true };

/// What a stream of bytes turned out to hold.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// Requests, and errors in their places.
    pub requests: Vec<Result<Vec<Vec<u8>>, &'static str>>,
    /// The last words of a connection whose framing is lost.
    pub fatal: Option<Vec<u8>>,
    /// Bytes of a request that is not whole.
    pub left: usize,
}

/// Parses pieces as a connection does: what is not consumed is kept, in memory that moves, and stands before
/// the next piece. `parse` is given the bytes, the connection's resume state, and room for the arguments.
pub fn hear<'p, R: Default + PartialEq + std::fmt::Debug>(
    pieces: impl IntoIterator<Item = &'p [u8]>,
    parse: for<'a> fn(&'a [u8], &mut R, &'a Bump, &mut Vec<&'a [u8]>) -> Parsed,
) -> Heard {
    let (mut heard, mut resume, mut inbox) = (Heard::default(), R::default(), Vec::new());
    for piece in pieces {
        inbox.extend_from_slice(piece);
        let mut at = 0;
        loop {
            let (bump, mut args) = (Bump::new(), Vec::new());
            let rest = &inbox[at..];
            let consumed = match parse(rest, &mut resume, &bump, &mut args) {
                Parsed::Request { consumed } => {
                    assert!(!args.is_empty());
                    heard.requests.push(Ok(args.iter().map(|arg| arg.to_vec()).collect()));
                    consumed
                }
                Parsed::Malformed { consumed, error } => {
                    heard.requests.push(Err(error));
                    consumed
                }
                Parsed::Skip { consumed } => consumed,
                Parsed::Incomplete { need } => {
                    assert!(need == 0 || need > rest.len());
                    break;
                }
                Parsed::Fatal { reply } => {
                    heard.fatal = Some(reply);
                    return heard;
                }
            };
            assert!(consumed > 0 && consumed <= rest.len());
            assert_eq!(resume, R::default());
            at += consumed;
        }
        inbox = inbox[at..].to_vec();
    }
    heard.left = inbox.len();
    heard
}

/// Takes the fuzzer's input apart: how to cut the stream, and the stream.
pub fn cut(input: &[u8]) -> Option<(Vec<&[u8]>, &[u8])> {
    let (&cuts, rest) = input.split_first()?;
    let (sizes, stream) = rest.split_at_checked(usize::from(cuts % 16))?;
    let (mut pieces, mut rest) = (Vec::new(), stream);
    for &size in sizes {
        let (piece, after) = rest.split_at(usize::from(size).min(rest.len()));
        pieces.push(piece);
        rest = after;
    }
    pieces.push(rest);
    Some((pieces, stream))
}

/// A server that has nothing to tell, for protocols that plan by themselves.
pub struct Nobody;

impl Host for Nobody {
    fn info(&self, _: &[String]) -> String {
        String::new()
    }

    fn config_get(&self, _: &[u8]) -> Vec<(String, String)> {
        Vec::new()
    }

    fn config_set(&self, _: &[(&[u8], &[u8])]) -> Result<(), String> {
        Ok(())
    }

    fn reset_stats(&self) {}

    fn client_list(&self, _: &ClientFilter) -> String {
        String::new()
    }

    fn client_info(&self, _: u64) -> String {
        String::new()
    }

    fn client_kill(&self, _: &ClientFilter) -> usize {
        0
    }

    fn client_changed(&self, _: &Session) {}

    fn client_pause(&self, _: Option<(u64, PauseMode)>) {}

    fn password_required(&self) -> bool {
        true
    }

    fn authenticate(&self, _: &[u8], _: &[u8]) -> bool {
        false
    }

    fn time_us(&self) -> u64 {
        0
    }

    fn random(&self) -> u64 {
        0
    }

    fn started_at_s(&self) -> u64 {
        0
    }

    fn memcached_stats(&self, _: StatsOf) -> Vec<(String, String)> {
        Vec::new()
    }

    fn flush_at(&self, _: Option<u64>) {}

    fn shut_down(&self) -> bool {
        false
    }
}
