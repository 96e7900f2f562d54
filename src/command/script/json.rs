//! The library `cjson`: `encode`, `decode`, `null`, with the rules of lua-cjson's defaults but for the depth.
//!
//! A table is an array if all of its keys are positive whole numbers and not far between; an empty one is an object. Numbers have 14
//! digits. JSON's null is `cjson.null`, a value of its own, so that tables can hold it.

use super::engine::Watch;
use super::raise::complain;
use mlua::{Lua, LuaString, Table, Value};
use std::rc::Rc;

/// How deep tables and documents may be nested (lua-cjson: 1000): our stack is what it costs.
const DEPTH: usize = 200;

/// An array may be that many times as long as it has elements, once it is longer than `SAFE`.
const SPARSE: usize = 2;
const SAFE: usize = 10;

/// Values between two looks at the clock.
const LOOK_EVERY: u32 = 1024;

pub fn library(lua: &Lua, watch: &Rc<Watch>) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    let own = Rc::clone(watch);
    let encode = lua.create_function(move |lua, value: Value| {
        let mut encoder = Encoder { lua, watch: &own, out: Vec::new(), count: 0 };
        encoder.value(&value, 0)?;
        lua.create_string(encoder.out)
    })?;
    let own = Rc::clone(watch);
    let decode = lua.create_function(move |lua, text: LuaString| {
        let text = text.as_bytes();
        let mut decoder = Decoder { lua, watch: &own, text: &text, at: 0, count: 0 };
        let value = decoder.value(0)?;
        decoder.skip_space();
        if decoder.at < text.len() {
            return Err(decoder.unexpected("the end"));
        }
        Ok(value)
    })?;
    table.raw_set("encode", encode)?;
    table.raw_set("decode", decode)?;
    table.raw_set("null", Value::NULL)?;
    table.raw_set("_NAME", "cjson")?;
    table.raw_set("_VERSION", "2.1.0")?;
    Ok(table)
}

struct Encoder<'e> {
    lua: &'e Lua,
    watch: &'e Watch,
    out: Vec<u8>,
    count: u32,
}

impl Encoder<'_> {
    fn value(&mut self, value: &Value, depth: usize) -> mlua::Result<()> {
        self.count += 1;
        if self.count.is_multiple_of(LOOK_EVERY) {
            self.watch.look()?;
        }
        if self.out.len() > self.watch.memory {
            return Err(complain(self.lua, "not enough memory"));
        }
        match value {
            Value::Nil => self.out.extend_from_slice(b"null"),
            value if value.is_null() => self.out.extend_from_slice(b"null"),
            Value::Boolean(truth) => self.out.extend_from_slice(if *truth { b"true" } else { b"false" }),
            Value::Integer(number) => self.number(*number as f64)?,
            Value::Number(number) => self.number(*number)?,
            Value::String(text) => self.string(&text.as_bytes()),
            Value::Table(table) => self.table(table, depth + 1)?,
            other => {
                let text = format!("Cannot serialise {}: type not supported", other.type_name());
                return Err(complain(self.lua, &text));
            }
        }
        Ok(())
    }

    fn number(&mut self, number: f64) -> mlua::Result<()> {
        if !number.is_finite() {
            return Err(complain(self.lua, "Cannot serialise number: must not be NaN or Inf"));
        }
        self.out.extend_from_slice(fourteen_digits(number).as_bytes());
        Ok(())
    }

    fn string(&mut self, text: &[u8]) {
        self.out.push(b'"');
        for &byte in text {
            match byte {
                b'"' | b'\\' | b'/' => self.out.extend_from_slice(&[b'\\', byte]),
                8 => self.out.extend_from_slice(b"\\b"),
                9 => self.out.extend_from_slice(b"\\t"),
                10 => self.out.extend_from_slice(b"\\n"),
                12 => self.out.extend_from_slice(b"\\f"),
                13 => self.out.extend_from_slice(b"\\r"),
                0..32 | 127 => self.out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
                _ => self.out.push(byte),
            }
        }
        self.out.push(b'"');
    }

    fn table(&mut self, table: &Table, depth: usize) -> mlua::Result<()> {
        if depth > DEPTH {
            return Err(complain(self.lua, &format!("Cannot serialise, excessive depth ({depth})")));
        }
        let len = self.array_len(table)?;
        if len > 0 {
            self.out.push(b'[');
            for index in 1..=len {
                if index > 1 {
                    self.out.push(b',');
                }
                self.value(&table.raw_get::<Value>(index)?, depth)?;
            }
            self.out.push(b']');
            return Ok(());
        }
        self.out.push(b'{');
        let mut first = true;
        for pair in table.pairs::<Value, Value>() {
            let (key, value) = pair?;
            if !std::mem::take(&mut first) {
                self.out.push(b',');
            }
            match &key {
                Value::String(text) => self.string(&text.as_bytes()),
                Value::Integer(_) | Value::Number(_) => {
                    self.out.push(b'"');
                    self.value(&key, depth)?;
                    self.out.push(b'"');
                }
                _ => {
                    let text = "Cannot serialise table: table key must be a number or string";
                    return Err(complain(self.lua, text));
                }
            }
            self.out.push(b':');
            self.value(&value, depth)?;
        }
        self.out.push(b'}');
        Ok(())
    }

    /// The length of a table that is an array; 0: it is none.
    fn array_len(&self, table: &Table) -> mlua::Result<usize> {
        let (mut longest, mut items) = (0, 0);
        for pair in table.pairs::<Value, Value>() {
            let index = match pair?.0 {
                Value::Integer(index) if index >= 1 => index as usize,
                Value::Number(index) if index >= 1.0 && index.fract() == 0.0 => index as usize,
                _ => return Ok(0),
            };
            longest = longest.max(index);
            items += 1;
        }
        if longest > items * SPARSE && longest > SAFE {
            return Err(complain(self.lua, "Cannot serialise table: excessively sparse array"));
        }
        Ok(longest)
    }
}

/// A number as C's `%.14g` writes it.
fn fourteen_digits(number: f64) -> String {
    let scientific = format!("{number:.13e}");
    let Some((mantissa, exponent)) = scientific.split_once('e') else { return scientific };
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let trimmed = |digits: &str| {
        if digits.contains('.') {
            digits.trim_end_matches('0').trim_end_matches('.').to_owned()
        } else {
            digits.to_owned()
        }
    };
    if (-4..14).contains(&exponent) {
        let places = usize::try_from(13 - exponent).unwrap_or(0);
        return trimmed(&format!("{number:.places$}"));
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{}e{sign}{:02}", trimmed(mantissa), exponent.abs())
}

struct Decoder<'d> {
    lua: &'d Lua,
    watch: &'d Watch,
    text: &'d [u8],
    at: usize,
    count: u32,
}

impl Decoder<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn unexpected(&self, wanted: &str) -> mlua::Error {
        let found = match self.peek() {
            None => "T_END",
            Some(b'{') => "T_OBJ_BEGIN",
            Some(b'}') => "T_OBJ_END",
            Some(b'[') => "T_ARR_BEGIN",
            Some(b']') => "T_ARR_END",
            Some(b':') => "T_COLON",
            Some(b',') => "T_COMMA",
            Some(b'"') => "T_STRING",
            Some(b'0'..=b'9' | b'-') => "T_NUMBER",
            _ => "invalid token",
        };
        complain(self.lua, &format!("Expected {wanted} but found {found} at character {}", self.at + 1))
    }

    fn value(&mut self, depth: usize) -> mlua::Result<Value> {
        self.count += 1;
        if self.count.is_multiple_of(LOOK_EVERY) {
            self.watch.look()?;
        }
        self.skip_space();
        for (word, value) in
            [("null", Value::NULL), ("true", Value::Boolean(true)), ("false", Value::Boolean(false))]
        {
            if self.text[self.at..].starts_with(word.as_bytes()) {
                self.at += word.len();
                return Ok(value);
            }
        }
        match self.peek() {
            Some(b'"') => Ok(Value::String(self.string()?)),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b'[' | b'{') if depth == DEPTH => {
                let text = format!("Found too many nested data structures ({})", depth + 1);
                Err(complain(self.lua, &text))
            }
            Some(b'[') => self.array(depth + 1),
            Some(b'{') => self.object(depth + 1),
            _ => Err(self.unexpected("value")),
        }
    }

    fn number(&mut self) -> mlua::Result<Value> {
        let len = self.text[self.at..].iter().take_while(|byte| b"+-.0123456789eE".contains(byte)).count();
        let digits = std::str::from_utf8(&self.text[self.at..self.at + len]).unwrap_or_default();
        // What Rust takes and JSON does not.
        let odd = digits.starts_with('.') || digits.ends_with('.') || digits.starts_with("-.");
        match digits.parse::<f64>() {
            Ok(number) if !odd => {
                self.at += len;
                Ok(Value::Number(number))
            }
            _ => Err(complain(
                self.lua,
                &format!("Expected value but found invalid number at character {}", self.at + 1),
            )),
        }
    }

    fn array(&mut self, depth: usize) -> mlua::Result<Value> {
        let table = self.lua.create_table()?;
        self.at += 1;
        self.skip_space();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(Value::Table(table));
        }
        for index in 1.. {
            let value = self.value(depth)?;
            table.raw_set(index, value)?;
            self.skip_space();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b']') => break,
                _ => return Err(self.unexpected("comma or array end")),
            }
        }
        self.at += 1;
        Ok(Value::Table(table))
    }

    fn object(&mut self, depth: usize) -> mlua::Result<Value> {
        let table = self.lua.create_table()?;
        self.at += 1;
        self.skip_space();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(Value::Table(table));
        }
        loop {
            self.skip_space();
            if self.peek() != Some(b'"') {
                return Err(self.unexpected("object key string"));
            }
            let key = self.string()?;
            self.skip_space();
            if self.peek() != Some(b':') {
                return Err(self.unexpected("colon"));
            }
            self.at += 1;
            let value = self.value(depth)?;
            table.raw_set(key, value)?;
            self.skip_space();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => break,
                _ => return Err(self.unexpected("comma or object end")),
            }
        }
        self.at += 1;
        Ok(Value::Table(table))
    }

    fn string(&mut self) -> mlua::Result<LuaString> {
        let start = self.at + 1;
        self.at = start;
        let mut unescaped: Option<Vec<u8>> = None;
        loop {
            match self.peek() {
                Some(b'"') => break,
                Some(b'\\') => {
                    let bytes = unescaped.get_or_insert_with(|| self.text[start..self.at].to_vec());
                    let taken = escape(&self.text[self.at + 1..], bytes);
                    let Some(taken) = taken else {
                        let text = format!(
                            "Expected value but found invalid escape code at character {}",
                            self.at + 1
                        );
                        return Err(complain(self.lua, &text));
                    };
                    self.at += 1 + taken;
                }
                Some(byte) => {
                    if let Some(bytes) = &mut unescaped {
                        bytes.push(byte);
                    }
                    self.at += 1;
                }
                None => {
                    let text = format!(
                        "Expected value but found unexpected end of string at character {}",
                        self.at + 1
                    );
                    return Err(complain(self.lua, &text));
                }
            }
        }
        let end = self.at;
        self.at += 1;
        match unescaped {
            Some(bytes) => self.lua.create_string(bytes),
            None => self.lua.create_string(&self.text[start..end]),
        }
    }
}

/// Appends what is escaped behind a backslash; returns how many bytes that took.
fn escape(rest: &[u8], out: &mut Vec<u8>) -> Option<usize> {
    let plain = match rest.first()? {
        b'b' => 8,
        b't' => 9,
        b'n' => 10,
        b'f' => 12,
        b'r' => 13,
        byte @ (b'"' | b'\\' | b'/') => *byte,
        b'u' => {
            let unit = |at: usize| {
                let digits = std::str::from_utf8(rest.get(at..at + 4)?).ok()?;
                u32::from_str_radix(digits, 16).ok()
            };
            let high = unit(1)?;
            let (code, taken) = match high {
                0xd800..0xdc00 if rest.get(5..7) == Some(b"\\u") => {
                    let low = unit(7).filter(|low| (0xdc00..0xe000).contains(low))?;
                    (0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00), 11)
                }
                code => (code, 5),
            };
            let mut utf8 = [0; 4];
            out.extend_from_slice(char::from_u32(code)?.encode_utf8(&mut utf8).as_bytes());
            return Some(taken);
        }
        _ => return None,
    };
    out.push(plain);
    Some(1)
}
