//! `notify-keyspace-events`: which events of keys are published, as Redis's letters and as bits.

use crate::store::events::class;

/// The flags as bits: the store's classes, and those that it never has events of.
pub mod flag {
    pub const LIST: u32 = 1 << 8;
    pub const SET: u32 = 1 << 9;
    pub const HASH: u32 = 1 << 10;
    pub const ZSET: u32 = 1 << 11;
    pub const STREAM: u32 = 1 << 12;
    pub const MODULE: u32 = 1 << 13;
    /// Channels by key.
    pub const KEYSPACE: u32 = 1 << 14;
    /// Channels by event.
    pub const KEYEVENT: u32 = 1 << 15;
}

/// The letters that there are, as Redis lists them in its error.
pub const LETTERS: &str = "Ag$lshzxeKEtmdn";

/// Letters that stand for a class, in the order in which CONFIG GET shows them.
const CLASSES: [(u8, u32); 10] = [
    (b'g', class::GENERIC),
    (b'$', class::STRING),
    (b'l', flag::LIST),
    (b's', flag::SET),
    (b'h', flag::HASH),
    (b'z', flag::ZSET),
    (b'x', class::EXPIRED),
    (b'e', class::EVICTED),
    (b't', flag::STREAM),
    (b'd', flag::MODULE),
];

/// Beyond what `A` stands for.
const FURTHER: [(u8, u32); 4] =
    [(b'n', class::NEW), (b'K', flag::KEYSPACE), (b'E', flag::KEYEVENT), (b'm', class::MISS)];

/// `A`: all classes, but for new keys and misses.
const ALL: u32 = {
    let (mut all, mut i) = (0, 0);
    while i < CLASSES.len() {
        all |= CLASSES[i].1;
        i += 1;
    }
    all
};

/// The flags that these letters stand for; `None`: one of them stands for nothing.
pub fn parse_flags(letters: &[u8]) -> Option<u32> {
    let mut flags = 0;
    for letter in letters {
        let known = CLASSES.iter().chain(&FURTHER).find(|(known, _)| known == letter);
        flags |= match (letter, known) {
            (b'A', _) => ALL,
            (_, Some((_, flag))) => *flag,
            _ => return None,
        };
    }
    Some(flags)
}

/// The letters for these flags, as Redis has them: after `A` it does not show `n`.
pub fn flags_text(flags: u32) -> String {
    let mut text = String::new();
    let all = flags & ALL == ALL;
    if all {
        text.push('A');
    }
    let shown =
        |(letter, flag): &&(u8, u32)| flags & flag != 0 && !(all && (ALL & flag != 0 || *letter == b'n'));
    text.extend(CLASSES.iter().chain(&FURTHER).filter(shown).map(|(letter, _)| char::from(*letter)));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_read_and_show_as_in_redis() {
        for (given, shown) in [
            ("", ""),
            ("KEA", "AKE"),
            ("KExe", "xeKE"),
            ("K$lshzxetdmngKEA", "AKEm"),
            ("g$xn", "g$xn"),
            ("nm", "nm"),
            ("KEAnm", "AKEm"),
            ("Ex", "xE"),
        ] {
            assert_eq!(flags_text(parse_flags(given.as_bytes()).unwrap()), shown, "{given}");
        }
        assert_eq!(parse_flags(b"KQ"), None);
    }
}
