//! A command line taken apart at its spaces.

/// Most words of a line that are kept: no command has as many, and meta commands say so themselves ([`super::meta`]).
pub const MOST: usize = 24;

/// The words of a line. One with more than [`MOST`] has as many here: too many for every command.
#[derive(Debug)]
pub struct Tokens<'a> {
    words: [&'a [u8]; MOST],
    len: usize,
}

impl<'a> Tokens<'a> {
    pub fn of(line: &'a [u8]) -> Tokens<'a> {
        let mut tokens = Tokens { words: [b""; MOST], len: 0 };
        for (place, word) in tokens.words.iter_mut().zip(words(line)) {
            *place = word;
            tokens.len += 1;
        }
        tokens
    }

    pub fn as_slice(&self) -> &[&'a [u8]] {
        &self.words[..self.len]
    }

    /// Whether the last word is `noreply`.
    pub fn noreply(&self) -> bool {
        self.as_slice().last().is_some_and(|last| *last == b"noreply")
    }
}

/// The words of a stretch of a line.
pub fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|byte| *byte == b' ').filter(|word| !word.is_empty())
}

/// What stands behind the first `skip` words of a line, without the spaces in between.
pub fn behind(mut line: &[u8], skip: usize) -> &[u8] {
    for n in 0..=skip {
        let start = line.iter().position(|byte| *byte != b' ').unwrap_or(line.len());
        line = &line[start..];
        if n < skip {
            let end = memchr::memchr(b' ', line).unwrap_or(line.len());
            line = &line[end..];
        }
    }
    line
}
