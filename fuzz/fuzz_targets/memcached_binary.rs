//! Whatever bytes come in whatever pieces, the parser of memcached's binary protocol hears the same as when they come at once, and keeps
//! nothing of a body that it refuses.

#![no_main]

use kv_server::proto::memcached::binary::{Found, State, parse};
use kv_server_fuzz::{LIMITS, cut};
use libfuzzer_sys::fuzz_target;

/// What a stream of bytes turned out to hold.
#[derive(Debug, Default, PartialEq, Eq)]
struct Heard {
    /// Opcode, extras, key, value; of refused ones the status instead of the value.
    packets: Vec<(u8, Vec<u8>, Vec<u8>, Result<Vec<u8>, u16>)>,
    /// The last words of a connection whose framing is lost.
    fatal: Option<Vec<u8>>,
    /// Bytes of a request that is not whole.
    left: usize,
    /// Bytes of a refused body that did not come.
    skip: u64,
}

fn hear<'p>(pieces: impl IntoIterator<Item = &'p [u8]>) -> Heard {
    let (mut heard, mut state, mut inbox) = (Heard::default(), State::default(), Vec::new());
    for piece in pieces {
        inbox.extend_from_slice(piece);
        let mut at = 0;
        while at < inbox.len() {
            let rest = &inbox[at..];
            let consumed = if state.skip > 0 {
                state.skipped(rest)
            } else {
                match parse(rest, &LIMITS) {
                    Found::Packet { packet, consumed } => {
                        let (key, value) = (packet.key.to_vec(), packet.value.to_vec());
                        heard.packets.push((rest[1], packet.extras.to_vec(), key, Ok(value)));
                        consumed
                    }
                    Found::Refused { packet, status, consumed, skip } => {
                        assert!(packet.value.is_empty());
                        let (extras, key) = (packet.extras.to_vec(), packet.key.to_vec());
                        heard.packets.push((rest[1], extras, key, Err(status as u16)));
                        state.skip = skip;
                        consumed
                    }
                    Found::Incomplete { need } => {
                        // Header, extras and key are waited for whatever the limits: 529 bytes at most.
                        assert!(need > rest.len() && need <= LIMITS.max_request.max(529));
                        break;
                    }
                    Found::Fatal { reply } => {
                        heard.fatal = Some(reply);
                        return heard;
                    }
                }
            };
            assert!(consumed > 0 && consumed <= rest.len());
            at += consumed;
        }
        inbox = inbox[at..].to_vec();
    }
    (heard.left, heard.skip) = (inbox.len(), state.skip);
    heard
}

fuzz_target!(|input: &[u8]| {
    let Some((pieces, stream)) = cut(input) else { return };
    assert_eq!(hear([stream]), hear(pieces));
});
