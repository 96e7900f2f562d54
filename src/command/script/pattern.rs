//! Lua's patterns, matched with an eye on the clock.
//!
//! Lua's own matcher backtracks without end on patterns such as `a-a-a-a-b`, where no hook sees it; scripts here run while everybody
//! waits. So this one counts its steps, and the caller looks at the clock every so many of them. It nests no deeper than Lua 5.2's.
//! The language is that of the Lua 5.1 reference manual, section 5.4.1.

/// Most captures of one pattern.
const CAPTURES: usize = 32;

/// How deep matching may nest.
const DEPTH: usize = 200;

/// Steps between two looks at the clock: some microseconds.
const STEPS: u32 = 4096;

/// Why matching ended early.
#[derive(Debug)]
pub enum Fault {
    /// The pattern is wrong.
    Pattern(&'static str),
    /// Whoever looks at the clock said so.
    Stopped(mlua::Error),
}

type Found<T> = Result<Option<T>, Fault>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Len {
    Open,
    Position,
    Closed(usize),
}

/// A part of the text that was captured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Capture {
    /// From, to.
    Text(usize, usize),
    /// `()`: a place, counted from 1.
    Position(usize),
}

/// One text against one pattern.
pub struct Matcher<'t> {
    text: &'t [u8],
    pattern: &'t [u8],
    captures: [(usize, Len); CAPTURES],
    level: usize,
    steps: u32,
    depth: usize,
    look: &'t dyn Fn() -> mlua::Result<()>,
}

impl<'t> Matcher<'t> {
    /// A pattern without its anchor.
    pub fn new(text: &'t [u8], pattern: &'t [u8], look: &'t dyn Fn() -> mlua::Result<()>) -> Matcher<'t> {
        Matcher { text, pattern, captures: [(0, Len::Open); CAPTURES], level: 0, steps: 0, depth: 0, look }
    }

    /// Where a match that begins at `start` ends.
    pub fn at(&mut self, start: usize) -> Found<usize> {
        (self.level, self.depth) = (0, 0);
        self.run(start, 0)
    }

    /// The captures of the last match, from `start` to `end`; the whole match if the pattern has none and `whole` is set.
    pub fn captures(&self, start: usize, end: usize, whole: bool) -> Result<Vec<Capture>, Fault> {
        if self.level == 0 && whole {
            return Ok(vec![Capture::Text(start, end)]);
        }
        let taken = self.captures[..self.level].iter();
        taken
            .map(|(from, len)| match len {
                Len::Position => Ok(Capture::Position(from + 1)),
                Len::Closed(len) => Ok(Capture::Text(*from, from + len)),
                Len::Open => Err(Fault::Pattern("unfinished capture")),
            })
            .collect()
    }

    fn step(&mut self) -> Result<(), Fault> {
        self.steps += 1;
        if self.steps == STEPS {
            self.steps = 0;
            (self.look)().map_err(Fault::Stopped)?;
        }
        Ok(())
    }

    /// Matches the pattern from `p` on at `s`, one level deeper.
    fn deeper(&mut self, s: usize, p: usize) -> Found<usize> {
        if self.depth == DEPTH {
            return Err(Fault::Pattern("pattern too complex"));
        }
        self.depth += 1;
        let found = self.run(s, p);
        self.depth -= 1;
        found
    }

    fn run(&mut self, mut s: usize, mut p: usize) -> Found<usize> {
        loop {
            self.step()?;
            let Some(&item) = self.pattern.get(p) else { return Ok(Some(s)) };
            let after = self.pattern.get(p + 1).copied();
            match (item, after) {
                (b'(', Some(b')')) => return self.open(s, p + 2, Len::Position),
                (b'(', _) => return self.open(s, p + 1, Len::Open),
                (b')', _) => return self.close(s, p + 1),
                (b'$', None) => return Ok((s == self.text.len()).then_some(s)),
                (b'%', Some(b'b')) => match self.balance(s, p + 2)? {
                    Some(end) => (s, p) = (end, p + 4),
                    None => return Ok(None),
                },
                (b'%', Some(b'f')) => match self.frontier(s, p + 2)? {
                    Some(set_end) => p = set_end,
                    None => return Ok(None),
                },
                (b'%', Some(digit @ b'0'..=b'9')) => match self.back_reference(s, digit)? {
                    Some(end) => (s, p) = (end, p + 2),
                    None => return Ok(None),
                },
                _ => {
                    let end = self.class_end(p)?;
                    match self.pattern.get(end) {
                        Some(b'?') => {
                            if self.fits(s, p, end) {
                                let found = self.deeper(s + 1, end + 1)?;
                                if found.is_some() {
                                    return Ok(found);
                                }
                            }
                            p = end + 1;
                        }
                        Some(b'*') => return self.longest(s, p, end),
                        Some(b'+') if self.fits(s, p, end) => return self.longest(s + 1, p, end),
                        Some(b'+') => return Ok(None),
                        Some(b'-') => return self.shortest(s, p, end),
                        _ if self.fits(s, p, end) => (s, p) = (s + 1, end),
                        _ => return Ok(None),
                    }
                }
            }
        }
    }

    fn longest(&mut self, s: usize, p: usize, end: usize) -> Found<usize> {
        let mut count = 0;
        while self.fits(s + count, p, end) {
            self.step()?;
            count += 1;
        }
        loop {
            let found = self.deeper(s + count, end + 1)?;
            if found.is_some() || count == 0 {
                return Ok(found);
            }
            count -= 1;
        }
    }

    fn shortest(&mut self, mut s: usize, p: usize, end: usize) -> Found<usize> {
        loop {
            let found = self.deeper(s, end + 1)?;
            if found.is_some() || !self.fits(s, p, end) {
                return Ok(found);
            }
            s += 1;
        }
    }

    fn open(&mut self, s: usize, p: usize, len: Len) -> Found<usize> {
        if self.level == CAPTURES {
            return Err(Fault::Pattern("too many captures"));
        }
        self.captures[self.level] = (s, len);
        self.level += 1;
        let found = self.deeper(s, p)?;
        if found.is_none() {
            self.level -= 1;
        }
        Ok(found)
    }

    fn close(&mut self, s: usize, p: usize) -> Found<usize> {
        let open = self.captures[..self.level].iter().rposition(|(_, len)| *len == Len::Open);
        let slot = open.ok_or(Fault::Pattern("invalid pattern capture"))?;
        self.captures[slot].1 = Len::Closed(s - self.captures[slot].0);
        let found = self.deeper(s, p)?;
        if found.is_none() {
            self.captures[slot].1 = Len::Open;
        }
        Ok(found)
    }

    /// `%bxy`: where what begins with x at `s` and is balanced up to its y ends.
    fn balance(&mut self, s: usize, p: usize) -> Found<usize> {
        let (Some(&open), Some(&close)) = (self.pattern.get(p), self.pattern.get(p + 1)) else {
            return Err(Fault::Pattern("unbalanced pattern"));
        };
        if self.text.get(s) != Some(&open) {
            return Ok(None);
        }
        let mut nested = 1_usize;
        for at in s + 1..self.text.len() {
            self.step()?;
            if self.text[at] == close {
                nested -= 1;
                if nested == 0 {
                    return Ok(Some(at + 1));
                }
            } else if self.text[at] == open {
                nested += 1;
            }
        }
        Ok(None)
    }

    /// `%f[set]`: where the set ends, if it begins to hold at `s`.
    fn frontier(&mut self, s: usize, p: usize) -> Found<usize> {
        if self.pattern.get(p) != Some(&b'[') {
            return Err(Fault::Pattern("missing '[' after '%f' in pattern"));
        }
        let end = self.class_end(p)?;
        let before = if s == 0 { 0 } else { self.text[s - 1] };
        let here = self.text.get(s).copied().unwrap_or(0);
        Ok((!self.in_set(before, p, end - 1) && self.in_set(here, p, end - 1)).then_some(end))
    }

    fn back_reference(&mut self, s: usize, digit: u8) -> Found<usize> {
        let slot = usize::from(digit).wrapping_sub(usize::from(b'1'));
        let Some((from, Len::Closed(len))) = self.captures[..self.level].get(slot).copied() else {
            return Err(Fault::Pattern("invalid capture index"));
        };
        let same = self.text[s..].starts_with(&self.text[from..from + len]);
        Ok(same.then_some(s + len))
    }

    /// Where the single character class at `p` ends.
    fn class_end(&self, p: usize) -> Result<usize, Fault> {
        let at = |p: usize| self.pattern.get(p).copied();
        match at(p) {
            Some(b'%') if at(p + 1).is_none() => Err(Fault::Pattern("malformed pattern (ends with '%')")),
            Some(b'%') => Ok(p + 2),
            Some(b'[') => {
                let mut p = if at(p + 1) == Some(b'^') { p + 2 } else { p + 1 };
                // The first bracket belongs to the set.
                loop {
                    let byte = at(p).ok_or(Fault::Pattern("malformed pattern (missing ']')"))?;
                    p += 1;
                    if byte == b'%' {
                        p += 1;
                    }
                    if at(p) == Some(b']') {
                        return Ok(p + 1);
                    }
                }
            }
            _ => Ok(p + 1),
        }
    }

    /// Whether the character at `s` is of the class from `p` to `end`.
    fn fits(&self, s: usize, p: usize, end: usize) -> bool {
        let Some(&byte) = self.text.get(s) else { return false };
        match self.pattern[p] {
            b'.' => true,
            b'%' => of_class(byte, self.pattern[p + 1]),
            b'[' => self.in_set(byte, p, end - 1),
            own => own == byte,
        }
    }

    /// `last` is where the closing bracket is.
    fn in_set(&self, byte: u8, p: usize, last: usize) -> bool {
        let negated = self.pattern[p + 1] == b'^';
        let set = &self.pattern[if negated { p + 2 } else { p + 1 }..last];
        let mut at = 0;
        while at < set.len() {
            match (set[at], set.get(at + 1), set.get(at + 2)) {
                (b'%', Some(&class), _) => {
                    if of_class(byte, class) {
                        return !negated;
                    }
                    at += 2;
                }
                (from, Some(b'-'), Some(&to)) => {
                    if (from..=to).contains(&byte) {
                        return !negated;
                    }
                    at += 3;
                }
                (own, ..) => {
                    if own == byte {
                        return !negated;
                    }
                    at += 1;
                }
            }
        }
        negated
    }
}

/// `%a` and its like; a capital means all others; what is no letter means itself.
fn of_class(byte: u8, class: u8) -> bool {
    let holds = match class.to_ascii_lowercase() {
        b'a' => byte.is_ascii_alphabetic(),
        b'c' => byte.is_ascii_control(),
        b'd' => byte.is_ascii_digit(),
        b'l' => byte.is_ascii_lowercase(),
        b'p' => byte.is_ascii_punctuation(),
        b's' => byte.is_ascii_whitespace() || byte == 0x0b,
        b'u' => byte.is_ascii_uppercase(),
        b'w' => byte.is_ascii_alphanumeric(),
        b'x' => byte.is_ascii_hexdigit(),
        b'z' => byte == 0,
        _ => return class == byte,
    };
    holds != class.is_ascii_uppercase()
}
