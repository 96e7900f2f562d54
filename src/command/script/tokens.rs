//! Scripts in a canonical form, in which those that differ in spelling only are equal: what [`super::shapes`] compares.
//!
//! White space, comments and semicolons go; quotes do not matter, nor does the case of a command's name; `server` is `redis`; local
//! variables have numbers for names; those that only stand for a key, an argument or a number are replaced by it. What is not
//! understood (escapes in strings, long brackets, fractions) makes a script unknown, which is always safe.

use std::collections::HashMap;

/// One element of a script in canonical form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Atom {
    /// A keyword, a sign, or a name that is not a local variable's.
    Word(String),
    Text(Vec<u8>),
    /// `KEYS[1]`.
    Key,
    Operand(Operand),
    /// A local variable, by the order of declaration.
    Local(usize),
    /// `redis.call('name'`, in lower case, and its line.
    Call(String, usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operand {
    /// `ARGV[index]`, or `tonumber(ARGV[index])`.
    Arg {
        index: usize,
        number: bool,
    },
    Literal(i64),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Word(String),
    Text(Vec<u8>),
    Number(i64),
}

impl Token {
    fn is(&self, word: &str) -> bool {
        matches!(self, Token::Word(own) if own == word)
    }
}

/// A script in canonical form, and the highest index of `ARGV` in it.
pub fn canonical(source: &[u8]) -> Option<(Vec<Atom>, usize)> {
    let tokens = bare_conditions(tokens(source)?);
    let mut reader = Reader { rest: &tokens, names: HashMap::new(), declared: 0, depth: 0, highest: 0 };
    let mut atoms = Vec::new();
    while !reader.rest.is_empty() {
        reader.next(&mut atoms)?;
    }
    Some((atoms, reader.highest))
}

/// The tokens with their lines.
fn tokens(source: &[u8]) -> Option<Vec<(Token, usize)>> {
    let mut tokens = Vec::new();
    let mut line = 1;
    let mut rest = source;
    while let Some((&byte, after)) = rest.split_first() {
        let len = match byte {
            b'\n' => {
                line += 1;
                1
            }
            b'\r' if after.first() != Some(&b'\n') => return None,
            b' ' | b'\t' | b'\r' | b';' => 1,
            b'-' if after.starts_with(b"-[") => return None,
            b'-' if after.starts_with(b"-") => memchr::memchr(b'\n', rest).unwrap_or(rest.len()),
            b'\'' | b'"' => {
                let end = memchr::memchr(byte, after)?;
                let text = &after[..end];
                if text.iter().any(|byte| matches!(byte, b'\\' | b'\n' | b'\r')) {
                    return None;
                }
                tokens.push((Token::Text(text.to_vec()), line));
                end + 2
            }
            b'0'..=b'9' => {
                let len = word_len(rest);
                if rest.get(len) == Some(&b'.') {
                    return None;
                }
                let digits = std::str::from_utf8(&rest[..len]).ok()?;
                // Larger ones have no exact number in Lua.
                let number = digits.parse().ok().filter(|number| *number < 1 << 53)?;
                tokens.push((Token::Number(number), line));
                len
            }
            b'a'..=b'z' | b'A'..=b'Z' | b'_' => {
                let len = word_len(rest);
                tokens.push((Token::Word(String::from_utf8_lossy(&rest[..len]).into_owned()), line));
                len
            }
            b'[' if after.starts_with(b"[") || after.starts_with(b"=") => return None,
            _ if !byte.is_ascii_graphic() => return None,
            _ => {
                let two = [&b"=="[..], b"~=", b"<=", b">=", b".."].iter().any(|sign| rest.starts_with(sign));
                let len = 1 + usize::from(two);
                tokens.push((Token::Word(String::from_utf8_lossy(&rest[..len]).into_owned()), line));
                len
            }
        };
        rest = &rest[len..];
    }
    Some(tokens)
}

fn word_len(text: &[u8]) -> usize {
    text.iter().position(|byte| !byte.is_ascii_alphanumeric() && *byte != b'_').unwrap_or(text.len())
}

/// `if ( … ) then` without its parentheses.
fn bare_conditions(tokens: Vec<(Token, usize)>) -> Vec<(Token, usize)> {
    let mut dropped = vec![false; tokens.len()];
    for start in 1..tokens.len() {
        if !tokens[start].0.is("(") || !tokens[start - 1].0.is("if") {
            continue;
        }
        let mut depth = 0;
        let end = (start..tokens.len()).find(|at| {
            depth += i32::from(tokens[*at].0.is("(")) - i32::from(tokens[*at].0.is(")"));
            depth == 0
        });
        if let Some(end) = end.filter(|end| tokens.get(end + 1).is_some_and(|(token, _)| token.is("then"))) {
            (dropped[start], dropped[end]) = (true, true);
        }
    }
    let mut dropped = dropped.into_iter();
    tokens.into_iter().filter(|_| !dropped.next().unwrap_or_default()).collect()
}

/// What a local variable's name stands for.
#[derive(Clone)]
enum Meaning {
    Variable(usize),
    /// Always this.
    Alias(Atom),
    /// Declared without a value: its first assignment is made its declaration.
    Unset(usize),
}

struct Reader<'t> {
    rest: &'t [(Token, usize)],
    names: HashMap<String, Meaning>,
    declared: usize,
    /// How many blocks are open.
    depth: usize,
    highest: usize,
}

impl Reader<'_> {
    fn peek(&self, at: usize) -> Option<&Token> {
        self.rest.get(at).map(|(token, _)| token)
    }

    fn follows(&self, at: usize, words: &[&str]) -> bool {
        words.iter().enumerate().all(|(i, word)| self.peek(at + i).is_some_and(|token| token.is(word)))
    }

    fn skip(&mut self, count: usize) {
        self.rest = &self.rest[count..];
    }

    /// Reads one element, or a declaration.
    fn next(&mut self, atoms: &mut Vec<Atom>) -> Option<()> {
        if self.follows(0, &["local"]) {
            return self.declaration(atoms);
        }
        let after_dot = matches!(atoms.last(), Some(Atom::Word(word)) if word == ".");
        if let Some(Token::Word(word)) = self.peek(0)
            && !after_dot
            && let Some(meaning) = self.names.get(word).cloned()
        {
            return self.variable(&word.clone(), meaning, atoms);
        }
        if let Some((operand, len)) = self.operand(0)? {
            self.skip(len);
            atoms.push(operand);
            return Some(());
        }
        let (first, _) = &self.rest[0];
        let is_redis = first.is("redis") || first.is("server");
        if is_redis
            && self.follows(1, &[".", "call", "("])
            && let Some(Token::Text(name)) = self.peek(4)
        {
            let name = String::from_utf8_lossy(name).to_ascii_lowercase();
            atoms.push(Atom::Call(name, self.rest[3].1));
            self.skip(5);
            return Some(());
        }
        match first {
            Token::Word(word) => {
                match word.as_str() {
                    "if" | "do" | "function" | "repeat" => self.depth += 1,
                    "end" | "until" => self.depth = self.depth.checked_sub(1)?,
                    _ => {}
                }
                atoms.push(Atom::Word(if is_redis { "redis".to_owned() } else { word.clone() }));
            }
            Token::Text(text) => atoms.push(Atom::Text(text.clone())),
            Token::Number(number) => atoms.push(Atom::Operand(Operand::Literal(*number))),
        }
        self.skip(1);
        Some(())
    }

    fn variable(&mut self, name: &str, meaning: Meaning, atoms: &mut Vec<Atom>) -> Option<()> {
        match meaning {
            Meaning::Variable(number) => atoms.push(Atom::Local(number)),
            Meaning::Alias(atom) => atoms.push(atom),
            Meaning::Unset(number) => {
                // Anything but a plain assignment first makes it a script of its own kind.
                if self.depth > 0 || !self.follows(1, &["="]) {
                    return None;
                }
                self.names.insert(name.to_owned(), Meaning::Variable(number));
                atoms.extend([Atom::Word("local".to_owned()), Atom::Local(number)]);
            }
        }
        self.skip(1);
        Some(())
    }

    /// `local name [= value]`.
    fn declaration(&mut self, atoms: &mut Vec<Atom>) -> Option<()> {
        let Some(Token::Word(name)) = self.peek(1) else { return None };
        let name = name.clone();
        // Nothing that is given another meaning here may be hidden.
        if matches!(name.as_str(), "KEYS" | "ARGV" | "redis" | "server" | "tonumber" | "function") {
            return None;
        }
        if self.follows(2, &["="]) {
            if self.depth == 0
                && let Some((atom, len)) = self.value(3)?
                && self.begins_statement(3 + len)
            {
                self.names.insert(name, Meaning::Alias(atom));
                self.skip(3 + len);
                return Some(());
            }
            // The value is read before the name means the new variable: none of the shapes has one that depends on an older one of
            // the same name.
            if self.names.contains_key(&name) {
                return None;
            }
            self.names.insert(name, Meaning::Variable(self.declared));
            atoms.extend([Atom::Word("local".to_owned()), Atom::Local(self.declared)]);
        } else {
            if self.depth > 0 || self.names.contains_key(&name) || self.follows(2, &[","]) {
                return None;
            }
            self.names.insert(name, Meaning::Unset(self.declared));
        }
        self.declared += 1;
        self.skip(2);
        Some(())
    }

    /// What is at a position, if it is a key, an argument or a number: no variable that changes.
    fn value(&mut self, at: usize) -> Option<Option<(Atom, usize)>> {
        Some(match self.peek(at) {
            Some(Token::Number(number)) => Some((Atom::Operand(Operand::Literal(*number)), 1)),
            _ => self.operand(at)?,
        })
    }

    fn begins_statement(&self, at: usize) -> bool {
        match self.peek(at) {
            None => true,
            Some(Token::Word(word)) => {
                matches!(word.as_str(), "local" | "if" | "return" | "redis" | "server")
                    || matches!(self.names.get(word), Some(Meaning::Unset(_)))
            }
            Some(_) => false,
        }
    }

    /// `KEYS[1]`, `ARGV[n]`, `tonumber(ARGV[n])`, and how many tokens that is. The outer `None`: another key than the first.
    fn operand(&mut self, at: usize) -> Option<Option<(Atom, usize)>> {
        let number = self.follows(at, &["tonumber", "(", "ARGV", "["]);
        let name = at + 2 * usize::from(number);
        let is_key = self.follows(name, &["KEYS", "["]);
        if !is_key && !self.follows(name, &["ARGV", "["]) {
            return Some(None);
        }
        let Some(Token::Number(index)) = self.peek(name + 2) else { return None };
        let index = usize::try_from(*index).ok().filter(|index| *index > 0)?;
        if !self.follows(name + 3, &["]"]) || number && !self.follows(name + 4, &[")"]) {
            return None;
        }
        if is_key {
            return (index == 1).then_some(Some((Atom::Key, 4)));
        }
        self.highest = self.highest.max(index);
        let len = 4 + 3 * usize::from(number);
        Some(Some((Atom::Operand(Operand::Arg { index, number }), len)))
    }
}
