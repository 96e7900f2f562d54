//! Requests that a web page has its visitor's browser make. The server may listen where the page's author cannot reach it and the
//! visitor can, so such a request is refused unless `--http-allow-origin` names the page's site.
//!
//! What a browser says of a page, and what it cannot be made to keep to itself (Fetch standard, RFC 6454, Fetch Metadata):
//!
//! ```text
//!   Origin            with everything but a plain GET or HEAD; with those too, where the page wants to read the answer of another site
//!   Sec-Fetch-Site    always, over HTTPS and to the own machine: cross-site, same-site, same-origin; none: typed by a person
//!   Host              always: the name by which the page reached us
//! ```
//!
//! A page whose name is made to lead to our address (DNS rebinding) is of the same origin as we are to the browser, and its GET may
//! carry neither of the first two. Its name is in Host though. So a browser, known by fields that no page can suppress, is served by
//! address or as `localhost` only, or under a name that is allowed.

use super::super::Host;
use crate::proto::http::{Fields, Problem, problem};

/// The site whose page may read the answer, if a page asks. Error: it may not.
pub fn origin<'a>(fields: &Fields<'a>, host: &dyn Host) -> Result<Option<&'a [u8]>, Problem> {
    let refused = || Err(problem::CROSS_SITE);
    if let Some(origin) = fields.origin {
        return if host.allows_origin(origin) { Ok(Some(origin)) } else { refused() };
    }
    match fields.fetch_site {
        None => {}
        Some(b"none") => {}
        Some(b"same-origin") if host_is_allowed(fields, host) => {}
        // Only an asterisk allows a page of which nothing is known.
        Some(_) if host.allows_origin(b"*") => {}
        Some(_) => return refused(),
    }
    if fields.from_browser && !fields.host.is_none_or(is_address) && !host_is_allowed(fields, host) {
        return refused();
    }
    Ok(None)
}

/// Whether our own name, as the client knows it, is a site that is allowed.
fn host_is_allowed(fields: &Fields<'_>, host: &dyn Host) -> bool {
    let name = fields.host.unwrap_or_default();
    [&b"http://"[..], b"https://"].iter().any(|scheme| host.allows_origin(&[scheme, name].concat()))
}

/// Whether a Host field holds an address or `localhost`, which no name server can redirect.
fn is_address(host: &[u8]) -> bool {
    if host.first() == Some(&b'[') {
        return true;
    }
    let name = host.split(|byte| *byte == b':').next().unwrap_or_default();
    let name_is_v4 = || {
        let mut numbers = name.split(|byte| *byte == b'.');
        name.iter().filter(|byte| **byte == b'.').count() == 3
            && numbers.all(|number| {
                !number.is_empty() && number.len() <= 3 && number.iter().all(u8::is_ascii_digit)
            })
    };
    name.eq_ignore_ascii_case(b"localhost") || name_is_v4()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_told_from_names() {
        for (host, expected) in [
            ("127.0.0.1:7171", true),
            ("10.1.2.3", true),
            ("[::1]:7171", true),
            ("localhost:7171", true),
            ("LocalHost", true),
            ("evil.example", false),
            ("127.0.0.1.evil.example", false),
            ("1.2.3", false),
            ("localhost.evil.example", false),
            ("", false),
        ] {
            assert_eq!(is_address(host.as_bytes()), expected, "{host}");
        }
    }
}
