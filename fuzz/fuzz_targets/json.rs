//! Whatever bytes come in whatever pieces, the JSON parser hears the same as when they come at once.

#![no_main]

use kv_server::proto::json;
use kv_server_fuzz::{LIMITS, cut, hear};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((pieces, stream)) = cut(input) else { return };
    let once = hear([stream], |bytes, resume, bump, args| json::parse(bytes, &LIMITS, resume, bump, args));
    let cut = hear(pieces, |bytes, resume, bump, args| json::parse(bytes, &LIMITS, resume, bump, args));
    assert_eq!(once, cut);
});
