//! Whatever bytes come in whatever pieces, memcached's text protocol hears, does and answers the same as when they come at once.
//!
//! The first byte of the stream says whether the client has authenticated.

#![no_main]

use kv_server::command::memcached::text;
use kv_server::command::{COMMANDS, Calls, CommandStats, PlanContext, Step, execute_now};
use kv_server::conn::Session;
use kv_server::proto::memcached::text::State;
use kv_server::proto::{self, ReplyBuf, Scratch};
use kv_server::store::{Budget, Eviction, Store, StoreConfig};
use kv_server_fuzz::{LIMITS, Nobody, cut};
use libfuzzer_sys::fuzz_target;
use std::sync::Arc;

const NOW_MS: u64 = 1_700_000_000_000;

fn store() -> Store {
    let config = StoreConfig {
        partitions: 1,
        eviction: Eviction::Lru,
        max_value_size: 1 << 20,
        prefault: false,
        seeds: [1, 2, 3, 4],
    };
    Store::new(config, Arc::new(Budget::new(32 << 20))).expect("a store of this size")
}

/// All replies, then what ended them; how often a barrier ran is among it.
fn play<'p>(pieces: impl IntoIterator<Item = &'p [u8]>, authenticated: bool) -> (Vec<u8>, String) {
    let store = store();
    let mut stats = CommandStats { calls: Calls::new(COMMANDS.len()), ..CommandStats::default() };
    let session = Session::new(1, authenticated);
    let (mut out, mut state, mut inbox, mut barriers) =
        (ReplyBuf::default(), State::default(), Vec::new(), 0);
    for piece in pieces {
        inbox.extend_from_slice(piece);
        let mut at = 0;
        loop {
            let rest = &inbox[at..];
            if rest.is_empty() {
                break;
            }
            let (bump, mut requests, mut scratch) = (bumpalo::Bump::new(), Vec::new(), Scratch::default());
            let ctx = PlanContext {
                store: &store,
                buffer: None,
                bump: &bump,
                session: &session,
                host: &Nobody,
                paused: None,
                held: false,
                now_ms: NOW_MS,
            };
            let step = text::next(rest, &mut state, &LIMITS, &ctx, &mut stats, &mut requests);
            execute_now(&store, &mut requests, &mut scratch, &mut stats, NOW_MS);
            for request in &requests {
                proto::encode(&request.form, request.key.bytes, &request.outcome, &scratch, &mut out);
            }
            let consumed = match step {
                Step::Planned { consumed } => consumed,
                Step::Barrier { consumed, .. } => {
                    barriers += 1;
                    consumed
                }
                Step::Incomplete { need } => {
                    assert!(need == 0 || need > rest.len());
                    break;
                }
                Step::Last { .. } => return (out.bytes, format!("quit after {barriers}")),
                Step::Fatal { reply } => {
                    out.put(&reply);
                    return (out.bytes, format!("lost after {barriers}"));
                }
                Step::Paused => unreachable!("nobody pauses"),
            };
            assert!(consumed > 0 && consumed <= rest.len());
            at += consumed;
        }
        // Into memory of its own, so that what still points into the old is found.
        inbox = inbox[at..].to_vec();
    }
    (out.bytes, format!("{barriers} barriers, {} bytes left", inbox.len()))
}

fuzz_target!(|input: &[u8]| {
    let Some((pieces, stream)) = cut(input) else { return };
    let authenticated = stream.first().is_none_or(|byte| byte % 8 != 7);
    assert_eq!(play(pieces, authenticated), play([stream], authenticated));
});
