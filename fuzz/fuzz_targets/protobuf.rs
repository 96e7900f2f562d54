//! Whatever bytes come in whatever pieces, the protobuf reader hears the same as when they come at once; and what it makes of a message
//! it makes of the same message with an unknown field behind it.

#![no_main]

use kv_server::proto::protobuf::{Call, Frame, State, frame, parse};
use kv_server_fuzz::{LIMITS, cut};
use libfuzzer_sys::fuzz_target;

#[derive(Debug, Default, PartialEq, Eq)]
struct Heard {
    requests: Vec<String>,
    lost: bool,
    left: usize,
}

fn hear<'p>(pieces: impl IntoIterator<Item = &'p [u8]>) -> Heard {
    let (mut heard, mut state, mut inbox) = (Heard::default(), State { begun: true }, Vec::new());
    for piece in pieces {
        inbox.extend_from_slice(piece);
        let mut at = 0;
        loop {
            match frame(&inbox[at..], &mut state, LIMITS.max_request) {
                Frame::Message { body, consumed } => {
                    heard.requests.push(understood(body));
                    at += consumed;
                }
                Frame::Incomplete { need } => {
                    assert!(need == 0 || need > inbox.len() - at);
                    break;
                }
                Frame::TooLong | Frame::Lost => {
                    heard.lost = true;
                    return heard;
                }
                Frame::Magic { .. } => unreachable!("it has begun"),
            }
        }
        inbox.drain(..at);
    }
    heard.left = inbox.len();
    heard
}

fn understood(body: &[u8]) -> String {
    let parsed = parse(body, LIMITS.max_args);
    if let Ok(request) = parsed {
        let longer = [body, &[0xfa, 0x06, 2, b'h', b'i']].concat();
        assert_eq!(parse(&longer, LIMITS.max_args), Ok(request));
        match request.call {
            Call::MultiGet(get) => assert_eq!(get.keys().count(), get.count),
            Call::Batch(batch) => {
                assert_eq!(batch.ops().count(), batch.count);
                assert_eq!(batch.ops().any(|one| one.writes()), batch.writes);
            }
            _ => {}
        }
    }
    format!("{parsed:?}")
}

fuzz_target!(|input: &[u8]| {
    let Some((pieces, stream)) = cut(input) else { return };
    assert_eq!(hear([stream]), hear(pieces));
});
