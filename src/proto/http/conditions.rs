//! Fields that say under which condition, or for how long: entity tags (RFC 9110 sections 8.8.3 and 13.1), max-age (RFC 9111
//! section 5.2.2.1). An item's entity tag is its CAS, as a decimal number in quotes.

/// What If-Match or If-None-Match lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tags<'a> {
    /// `*`: whatever there is.
    Any,
    /// At least one, well formed.
    List(&'a [u8]),
}

/// One tag. Of ours, or of nothing that is stored here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Tag {
    weak: bool,
    cas: Option<u64>,
}

impl<'a> Tags<'a> {
    /// `None`: not as the field should be.
    pub fn parse(value: &'a [u8]) -> Option<Tags<'a>> {
        if value == b"*" {
            return Some(Tags::Any);
        }
        let mut rest = value;
        let mut some = false;
        while !rest.is_empty() {
            (_, rest) = next(rest)?;
            some = true;
        }
        some.then_some(Tags::List(value))
    }

    /// Whether an item with this CAS is meant. If-Match compares strongly: a weak tag is equal to nothing.
    pub fn matches(&self, cas: u64, weakly: bool) -> bool {
        match self {
            Tags::Any => true,
            Tags::List(list) => tags(list).any(|tag| tag.cas == Some(cas) && (weakly || !tag.weak)),
        }
    }

    /// The one CAS of a list for strong comparison: `None` if it has several tags, `Some(None)` if nothing can be equal to its tag.
    pub fn only(&self) -> Option<Option<u64>> {
        let Tags::List(list) = self else { return None };
        let mut tags = tags(list);
        let tag = tags.next()?;
        tags.next().is_none().then_some(tag.cas.filter(|_| !tag.weak))
    }
}

fn tags(mut list: &[u8]) -> impl Iterator<Item = Tag> {
    std::iter::from_fn(move || {
        let (tag, rest) = next(list)?;
        list = rest;
        Some(tag)
    })
}

/// The tag at the start, and what is behind the comma that ends it.
fn next(list: &[u8]) -> Option<(Tag, &[u8])> {
    let list = list.trim_ascii_start();
    let (weak, rest) = match list.strip_prefix(b"W/") {
        Some(rest) => (true, rest),
        None => (false, list),
    };
    let rest = rest.strip_prefix(b"\"")?;
    let end = memchr::memchr(b'"', rest)?;
    let (opaque, behind) = (&rest[..end], rest[end + 1..].trim_ascii_start());
    // The very bytes count: `"007"` is another tag than `"7"`.
    let cas = number(opaque).filter(|_| opaque[0] != b'0' || opaque.len() == 1);
    let behind = if behind.is_empty() { behind } else { behind.strip_prefix(b",")? };
    Some((Tag { weak, cas }, behind))
}

/// A CAS as an entity tag.
pub fn etag(cas: u64) -> String {
    format!("\"{cas}\"")
}

/// Seconds of max-age in Cache-Control, if it is there; other directives are for others. Error: no number of seconds.
pub fn max_age_s(cache_control: &[u8]) -> Result<Option<u64>, ()> {
    for directive in cache_control.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
        let (name, value) = match memchr::memchr(b'=', directive) {
            Some(equals) => (&directive[..equals], &directive[equals + 1..]),
            None => (directive, &b""[..]),
        };
        if name.eq_ignore_ascii_case(b"max-age") {
            return number(value).map(Some).ok_or(());
        }
    }
    Ok(None)
}

/// A decimal number of digits only, without sign or blanks.
pub fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |number, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_compared_as_rfc_9110_says() {
        let matches = |value: &str, weakly| Tags::parse(value.as_bytes()).map(|tags| tags.matches(7, weakly));
        for (value, weakly, strongly) in [
            ("*", Some(true), Some(true)),
            ("\"7\"", Some(true), Some(true)),
            ("W/\"7\"", Some(true), Some(false)),
            ("\"5\", \"7\"", Some(true), Some(true)),
            ("\"5\" ,W/\"7\",\"x\"", Some(true), Some(false)),
            ("\"07\"", Some(false), Some(false)),
            ("\"\"", Some(false), Some(false)),
            ("\"77\"", Some(false), Some(false)),
            ("\"7\",", Some(true), Some(true)),
            ("7", None, None),
            ("", None, None),
            ("\"7", None, None),
            ("\"7\" \"8\"", None, None),
            ("w/\"7\"", None, None),
            (",\"7\"", None, None),
        ] {
            assert_eq!((matches(value, true), matches(value, false)), (weakly, strongly), "{value}");
        }
    }

    #[test]
    fn a_write_compares_with_one_tag() {
        let only = |value: &str| Tags::parse(value.as_bytes()).unwrap().only();
        assert_eq!(only("\"7\""), Some(Some(7)));
        assert_eq!(only("W/\"7\""), Some(None));
        assert_eq!(only("\"seven\""), Some(None));
        assert_eq!(only("\"7\", \"8\""), None);
        assert_eq!(only("*"), None);
    }

    #[test]
    fn max_age_is_found_among_others() {
        for (value, expected) in [
            ("max-age=60", Ok(Some(60))),
            ("no-store, Max-Age=0", Ok(Some(0))),
            ("no-cache", Ok(None)),
            ("s-maxage=5", Ok(None)),
            ("max-age", Err(())),
            ("max-age=", Err(())),
            ("max-age=-1", Err(())),
            ("max-age=1.5", Err(())),
            ("max-age=99999999999999999999", Err(())),
        ] {
            assert_eq!(max_age_s(value.as_bytes()), expected, "{value}");
        }
    }
}
