//! Whatever bytes come in whatever pieces, the RESP parser hears the same as when they come at once; and where the short way finds a
//! request, the parser finds the same.

#![no_main]

use bumpalo::Bump;
use kv_server::proto::{Parsed, resp};
use kv_server_fuzz::{LIMITS, cut, hear};
use libfuzzer_sys::fuzz_target;

fn parse<'a>(bytes: &'a [u8], resume: &mut resp::Resume, bump: &'a Bump, args: &mut Vec<&'a [u8]>) -> Parsed {
    let short = if resume.is_fresh() { resp::common(bytes) } else { None };
    let parsed = resp::parse(bytes, &LIMITS, resume, bump, args);
    // The short way knows no bounds as low as these.
    if let Some(short) = short.filter(|short| short.consumed <= LIMITS.max_bulk) {
        assert_eq!(parsed, Parsed::Request { consumed: short.consumed });
        let words = [Some(&bytes[resp::COMMON_NAME]), Some(short.key), short.value];
        assert!(args.iter().eq(words.iter().flatten()));
    }
    parsed
}

fuzz_target!(|input: &[u8]| {
    let Some((pieces, stream)) = cut(input) else { return };
    assert_eq!(hear([stream], parse), hear(pieces, parse));
});
