//! Whatever bytes come in whatever pieces, the HTTP parser hears the same heads and bodies as when they come at once, and no body is
//! longer than its limit.

#![no_main]

use kv_server::proto::http::{Body, Found, Method, Problem, Read, State, find, read};
use kv_server_fuzz::{LIMITS, cut};
use libfuzzer_sys::fuzz_target;

/// What a stream turned out to hold.
#[derive(Debug, Default, PartialEq, Eq)]
struct Heard {
    requests: Vec<(Method, Vec<u8>, Vec<u8>)>,
    lost: Option<Problem>,
    /// Bytes of a request that is not whole.
    left: usize,
}

fn hear<'p>(pieces: impl IntoIterator<Item = &'p [u8]>) -> Heard {
    let (mut heard, mut state, mut inbox) = (Heard::default(), State::default(), Vec::new());
    for piece in pieces {
        inbox.extend_from_slice(piece);
        let mut at = 0;
        while at < inbox.len() {
            match one(&inbox[at..], &mut state, &mut heard) {
                Some(consumed) => at += consumed,
                None => break,
            }
        }
        if heard.lost.is_some() {
            return heard;
        }
        inbox = inbox[at..].to_vec();
    }
    heard.left = inbox.len();
    heard
}

/// Hears one thing; how many bytes it was, `None` if it is not whole or the connection is lost.
fn one(rest: &[u8], state: &mut State, heard: &mut Heard) -> Option<usize> {
    let head = match find(rest, state, LIMITS.max_request) {
        Found::Skip { consumed } => return Some(consumed),
        Found::Incomplete { need } => {
            assert!(need == 0 || need > rest.len());
            return None;
        }
        Found::Lost(problem) => {
            heard.lost = Some(problem);
            return None;
        }
        Found::Head(head) => head,
    };
    match read(rest, &head, state, &LIMITS, LIMITS.max_bulk) {
        Read::Incomplete { need } => {
            assert!(need == 0 || need > rest.len());
            None
        }
        Read::Lost(problem) => {
            heard.lost = Some(problem);
            None
        }
        Read::Whole { consumed, body } => {
            let body = match body {
                Body::Whole(bytes) => bytes.to_vec(),
                Body::Pieces { pieces, len } => {
                    let bytes = pieces.collect::<Vec<_>>().concat();
                    assert_eq!(bytes.len(), len);
                    bytes
                }
            };
            assert!(consumed <= rest.len() && body.len() <= LIMITS.max_bulk);
            heard.requests.push((head.method, head.target.to_vec(), body));
            state.done(0);
            Some(consumed)
        }
    }
}

fuzz_target!(|input: &[u8]| {
    let Some((pieces, stream)) = cut(input) else { return };
    assert_eq!(hear([stream]), hear(pieces));
});
