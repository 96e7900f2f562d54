//! The password, with every request: HTTP has no sessions (RFC 9110 section 11, RFC 6750, RFC 7617).

use super::super::Host;
use crate::limits::PASSWORD_LEN;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Room for `default:`, the longest password and what decoding rounds up.
const DECODED: usize = PASSWORD_LEN + 64;

/// Whether an Authorization field holds the password: `Bearer password`, or `Basic` with the user `default`. The time that it takes
/// depends on what was given only.
pub fn is_right(authorization: Option<&[u8]>, host: &dyn Host) -> bool {
    let Some((scheme, credentials)) = authorization.and_then(|field| split(field, b' ')) else {
        return false;
    };
    let credentials = credentials.trim_ascii_start();
    if scheme.eq_ignore_ascii_case(b"bearer") {
        return host.authenticate(b"default", credentials);
    }
    let mut room = [0; DECODED];
    if !scheme.eq_ignore_ascii_case(b"basic") || credentials.len() / 4 * 3 > DECODED {
        return false;
    }
    let Ok(len) = STANDARD.decode_slice(credentials, &mut room) else { return false };
    split(&room[..len], b':').is_some_and(|(user, password)| {
        // Many clients cannot leave the user out, some leave it empty.
        let user = if user.is_empty() { b"default" } else { user };
        host.authenticate(user, password)
    })
}

fn split(text: &[u8], at: u8) -> Option<(&[u8], &[u8])> {
    let place = memchr::memchr(at, text)?;
    Some((&text[..place], &text[place + 1..]))
}
