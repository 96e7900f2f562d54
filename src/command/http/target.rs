//! What a path names, and the key in it.

use crate::proto::http::{Problem, problem};
use bumpalo::Bump;

/// What there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target<'a> {
    /// As it stands in the path.
    Key(&'a [u8]),
    Batch,
    /// `/healthz`.
    Health,
    /// `/readyz`.
    Readiness,
    /// `/`.
    Root,
    /// `*`, of OPTIONS.
    Server,
}

impl Target<'_> {
    /// The methods, as a whole line.
    pub fn allow(&self) -> &'static str {
        match self {
            Target::Key(_) => "Allow: GET, HEAD, PUT, DELETE, OPTIONS\r\n",
            Target::Batch => "Allow: POST, OPTIONS\r\n",
            Target::Health | Target::Readiness | Target::Root => "Allow: GET, HEAD, OPTIONS\r\n",
            Target::Server => "Allow: GET, HEAD, PUT, DELETE, POST, OPTIONS\r\n",
        }
    }
}

const KEYS: &[u8] = b"/v1/keys/";

/// # Errors
/// There is nothing under this path.
#[inline]
pub fn find(target: &[u8]) -> Result<Target<'_>, Problem> {
    if let Some(key) = target.strip_prefix(KEYS) {
        return Ok(Target::Key(key));
    }
    // Load balancers add parameters to what they probe.
    let path = memchr::memchr(b'?', target).map_or(target, |question| &target[..question]);
    match path {
        b"/v1/batch" => Ok(Target::Batch),
        b"/healthz" => Ok(Target::Health),
        b"/readyz" => Ok(Target::Readiness),
        b"/" => Ok(Target::Root),
        b"*" => Ok(Target::Server),
        b"/v1/keys" => Err(problem::EMPTY_KEY),
        b"/metrics" => Err(problem::METRICS_ELSEWHERE),
        _ => Err(problem::NO_SUCH_PATH),
    }
}

/// The key that a path's last part means: any bytes, as `%` and two hexadecimal digits where they must be (RFC 3986 section 2.1).
/// A slash is one of them.
///
/// # Errors
/// None, a broken escape, or a query.
#[inline]
pub fn key<'a>(text: &'a [u8], bump: &'a Bump) -> Result<&'a [u8], Problem> {
    if text.is_empty() {
        return Err(problem::EMPTY_KEY);
    }
    match memchr::memchr3(b'%', b'?', b'#', text) {
        None => Ok(text),
        Some(_) => decoded(text, bump),
    }
}

fn decoded<'a>(text: &'a [u8], bump: &'a Bump) -> Result<&'a [u8], Problem> {
    if memchr::memchr2(b'?', b'#', text).is_some() {
        return Err(problem::NO_QUERY);
    }
    let mut escapes = 0;
    for at in memchr::memchr_iter(b'%', text) {
        match text.get(at + 1..at + 3) {
            Some(digits) if digits.iter().all(u8::is_ascii_hexdigit) => escapes += 1,
            _ => return Err(problem::BAD_ESCAPE),
        }
    }
    let mut bytes = percent_encoding::percent_decode(text);
    Ok(bump.alloc_slice_fill_with(text.len() - 2 * escapes, |_| bytes.next().unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_any_bytes() {
        let bump = Bump::new();
        for (text, expected) in [
            ("a", Ok(&b"a"[..])),
            ("a/b", Ok(b"a/b")),
            ("a%2Fb%2f", Ok(b"a/b/")),
            ("%00%ff%25", Ok(b"\x00\xff%")),
            ("a+b", Ok(b"a+b")),
            ("%2", Err(problem::BAD_ESCAPE)),
            ("%", Err(problem::BAD_ESCAPE)),
            ("%zz", Err(problem::BAD_ESCAPE)),
            ("", Err(problem::EMPTY_KEY)),
            ("a?b=c", Err(problem::NO_QUERY)),
            ("a%20b#c", Err(problem::NO_QUERY)),
        ] {
            assert_eq!(key(text.as_bytes(), &bump), expected, "{text}");
        }
    }

    #[test]
    fn paths_name_what_there_is() {
        assert_eq!(find(b"/v1/keys/k"), Ok(Target::Key(b"k")));
        assert_eq!(find(b"/v1/batch"), Ok(Target::Batch));
        assert_eq!(find(b"/healthz?probe=1"), Ok(Target::Health));
        assert_eq!(find(b"/v1/keys"), Err(problem::EMPTY_KEY));
        assert_eq!(find(b"/metrics"), Err(problem::METRICS_ELSEWHERE));
        assert_eq!(find(b"/v2/keys/k"), Err(problem::NO_SUCH_PATH));
    }
}
