//! Patterns as Redis has them in KEYS, SCAN … MATCH and CONFIG GET.
//!
//! ```text
//! h?llo   h*llo   h[ae]llo   h[^e]llo   h[a-b]llo   h\?llo
//! ```
//!
//! A pattern is compiled once and matched against many keys. Matching remembers only the last `*`: if what follows it does not
//! fit, the star takes one more byte and the rest is tried again. An earlier star never has to be reconsidered (it took the
//! least that let the later one begin), so the work is at most pattern × key and no pattern is exponential.
//!
//! The corners are Redis's: an unclosed `[` reaches to the end of the pattern, `[]` matches nothing, `[^]` anything, a backslash at the
//! end is itself, ranges may be reversed, and an empty key is matched by nothing but the empty pattern and a single `*`.

/// One step of a pattern.
#[derive(Debug)]
enum Token {
    Byte(u8),
    /// `?`
    Any,
    /// `*`
    Star,
    /// `[...]`: one bit for each byte that it matches.
    Class(Box<[u64; 4]>),
}

/// A compiled pattern.
#[derive(Debug)]
pub struct Glob {
    tokens: Vec<Token>,
    ignore_case: bool,
    /// Bytes that a matching key has at least.
    shortest: usize,
}

impl Glob {
    pub fn new(pattern: &[u8]) -> Glob {
        Glob::compile(pattern, false)
    }

    /// Small letters match capitals and the other way round, except (as in Redis) after a backslash in brackets.
    pub fn ignoring_case(pattern: &[u8]) -> Glob {
        Glob::compile(pattern, true)
    }

    fn compile(pattern: &[u8], ignore_case: bool) -> Glob {
        let mut tokens = Vec::new();
        let mut rest = pattern;
        while let Some((&first, after)) = rest.split_first() {
            rest = after;
            tokens.push(match first {
                b'*' if matches!(tokens.last(), Some(Token::Star)) => continue,
                b'*' => Token::Star,
                b'?' => Token::Any,
                b'[' => {
                    let (class, after) = class(rest, ignore_case);
                    rest = after;
                    Token::Class(class)
                }
                b'\\' if !rest.is_empty() => {
                    let byte = rest[0];
                    rest = &rest[1..];
                    Token::Byte(fold(byte, ignore_case))
                }
                byte => Token::Byte(fold(byte, ignore_case)),
            });
        }
        // Two stars are one star, but Redis lets only a pattern of exactly one byte match the empty key.
        let lone = pattern.len() <= 1;
        let stars = tokens.iter().filter(|token| matches!(token, Token::Star)).count();
        let shortest = if lone { tokens.len() - stars } else { (tokens.len() - stars).max(1) };
        Glob { tokens, ignore_case, shortest }
    }

    /// Whether this matches every key: then there is no need to ask.
    pub fn matches_all(&self) -> bool {
        matches!(self.tokens[..], [Token::Star]) && self.shortest == 0
    }

    pub fn matches(&self, text: &[u8]) -> bool {
        if text.len() < self.shortest {
            return false;
        }
        let (mut at, mut token) = (0, 0);
        // After the last star: the token that follows it, and where in the text that was last tried.
        let mut star = None;
        loop {
            match self.tokens.get(token) {
                Some(Token::Star) => {
                    token += 1;
                    if token == self.tokens.len() {
                        return true;
                    }
                    star = Some((token, at));
                    continue;
                }
                Some(wanted) if at < text.len() && self.fits(wanted, text[at]) => {
                    token += 1;
                    at += 1;
                    continue;
                }
                None if at == text.len() => return true,
                _ => {}
            }
            match star {
                // Even with nothing left for the rest of the pattern: a longer star cannot help.
                Some((_, tried)) if tried == text.len() => return false,
                Some((after, tried)) => {
                    star = Some((after, tried + 1));
                    token = after;
                    at = tried + 1;
                }
                None => return false,
            }
        }
    }

    #[inline]
    fn fits(&self, token: &Token, byte: u8) -> bool {
        match token {
            Token::Byte(wanted) => *wanted == fold(byte, self.ignore_case),
            Token::Class(class) => has(class, byte),
            Token::Any | Token::Star => true,
        }
    }
}

fn fold(byte: u8, ignore_case: bool) -> u8 {
    if ignore_case { byte.to_ascii_lowercase() } else { byte }
}

fn has(class: &[u64; 4], byte: u8) -> bool {
    class[usize::from(byte / 64)] >> (byte % 64) & 1 == 1
}

/// Reads what follows a `[` up to and with its `]`; returns the rest.
fn class(mut rest: &[u8], ignore_case: bool) -> (Box<[u64; 4]>, &[u8]) {
    let mut bits = Box::new([0_u64; 4]);
    let negated = rest.first() == Some(&b'^');
    if negated {
        rest = &rest[1..];
    }
    let mut add = |low: u8, high: u8, ignore_case: bool| {
        let (low, high) = (fold(low, ignore_case), fold(high, ignore_case));
        for byte in 0..=u8::MAX {
            if (low..=high).contains(&fold(byte, ignore_case)) {
                bits[usize::from(byte / 64)] |= 1 << (byte % 64);
            }
        }
    };
    loop {
        match *rest {
            [] => break,
            [b'\\', byte, ..] => {
                add(byte, byte, false);
                rest = &rest[2..];
            }
            [b']', ..] => {
                rest = &rest[1..];
                break;
            }
            [low, b'-', high, ..] => {
                add(low.min(high), low.max(high), ignore_case);
                rest = &rest[3..];
            }
            [byte, ..] => {
                add(byte, byte, ignore_case);
                rest = &rest[1..];
            }
        }
    }
    if negated {
        bits.iter_mut().for_each(|word| *word = !*word);
    }
    (bits, rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What each answer was taken from: Valkey 9.1.2, `KEYS pattern` with the one key there.
    #[test]
    fn patterns_match_as_redis_matches_them() {
        for (pattern, key, expected) in [
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("**", "", false),
            ("?", "", false),
            ("*", "a", true),
            ("a*c", "abbbc", true),
            ("a*c", "abbbd", false),
            ("a*b*c*", "axbyc", true),
            ("*a", "ba", true),
            ("*a", "bab", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("h[ae]llo", "hallo", true),
            ("h[ae]llo", "hillo", false),
            ("h[^e]llo", "hallo", true),
            ("h[^e]llo", "hello", false),
            ("h[a-c]llo", "hbllo", true),
            ("h[c-a]llo", "hbllo", true),
            ("[", "[", false),
            ("[^", "[", true),
            ("?[^", "a]", true),
            ("[]a]", "a]", false),
            ("[^]", "[", true),
            ("[^]]", "a]", true),
            ("a[b", "ab", true),
            ("a[a-", "ab", false),
            ("a[a-z", "ab", true),
            ("\\", "\\", true),
            ("a\\", "a\\", true),
            ("a\\\\", "a\\", true),
            ("a[\\]]", "a]", true),
            ("a[\\", "a\\", true),
            ("*\\", "a\\", true),
            ("?\\]", "a]", true),
            ("a[a-\\]", "a]", true),
            ("a\\*", "ab", false),
            ("a\\*", "a*", true),
        ] {
            assert_eq!(Glob::new(pattern.as_bytes()).matches(key.as_bytes()), expected, "{pattern} on {key}");
        }
    }

    #[test]
    fn case_is_ignored_on_demand() {
        assert!(Glob::ignoring_case(b"MaxMemory*").matches(b"maxmemory-policy"));
        assert!(Glob::ignoring_case(b"maxmemor[Y]").matches(b"maxmemory"));
        assert!(!Glob::ignoring_case(b"maxmemor[\\Y]").matches(b"maxmemory"));
        assert!(Glob::ignoring_case(b"[A-C]x").matches(b"bX"));
        assert!(!Glob::new(b"A").matches(b"a"));
    }

    #[test]
    fn a_hostile_pattern_is_not_exponential() {
        let pattern = b"a*".repeat(200);
        let mut key = vec![b'a'; 60_000];
        assert!(Glob::new(&pattern).matches(&key));
        key.push(b'b');
        assert!(!Glob::new(&[&pattern[..], b"c"].concat()).matches(&key));
    }

    /// Redis's matcher without its refinements: every star tries every length.
    fn naive(pattern: &[u8], text: &[u8]) -> bool {
        match *pattern {
            [] => text.is_empty(),
            [b'*', ..] => (0..=text.len()).any(|skip| naive(&pattern[1..], &text[skip..])),
            [b'?', ..] => !text.is_empty() && naive(&pattern[1..], &text[1..]),
            [b'[', ..] => {
                if text.is_empty() {
                    return false;
                }
                let byte = text[0];
                let mut i = 1;
                let negated = pattern.get(i) == Some(&b'^');
                i += usize::from(negated);
                let mut found = false;
                while i < pattern.len() {
                    if pattern[i] == b'\\' && i + 1 < pattern.len() {
                        i += 1;
                        found |= pattern[i] == byte;
                    } else if pattern[i] == b']' {
                        break;
                    } else if i + 2 < pattern.len() && pattern[i + 1] == b'-' {
                        let (a, b) = (pattern[i], pattern[i + 2]);
                        found |= (a.min(b)..=a.max(b)).contains(&byte);
                        i += 2;
                    } else {
                        found |= pattern[i] == byte;
                    }
                    i += 1;
                }
                found != negated && naive(&pattern[(i + 1).min(pattern.len())..], &text[1..])
            }
            [b'\\', byte, ..] => text.first() == Some(&byte) && naive(&pattern[2..], &text[1..]),
            [byte, ..] => text.first() == Some(&byte) && naive(&pattern[1..], &text[1..]),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]
        #[test]
        fn agrees_with_the_naive_matcher(pattern in "[ab*?\\[\\]^\\\\-]{0,12}", text in "[ab\\]\\\\-]{1,10}") {
            prop_assert_eq!(
                Glob::new(pattern.as_bytes()).matches(text.as_bytes()),
                naive(pattern.as_bytes(), text.as_bytes())
            );
        }
    }
}
