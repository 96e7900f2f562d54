//! Replies as Lua values, and Lua values as replies, as Redis converts them.
//!
//! ```text
//!  RESP                     Lua                                RESP
//!  :1                       number                             :1, cut to a whole number
//!  $1 a                     string                             $1 a
//!  +OK                      { ok = "OK" }                      +OK
//!  -ERR x                   { err = "ERR x" }                  -ERR x
//!  *n                       { 1st, 2nd, … }                    *n, up to the first nil
//!  $-1, *-1                 false                              $-1
//!  _                        nil                                $-1 or _
//!  #t #f                    true false                         :1, $-1 (having chosen RESP3: #t #f)
//!  ,1.5  %n  ~n             { double = }, { map = }, { set = }           the same
//!  (1    =4 txt:            { big_number = }, { verbatim_string = { format =, string = } }
//! ```

use super::engine::Watch;
use super::raise::Raised;
use crate::proto::ReplyBuf;
use crate::proto::resp::Writer;
use mlua::{Error, Lua, LuaString, Table, Value};

/// How deep a reply may be nested.
const DEPTH: usize = 256;

/// Values between two looks at the clock.
const LOOK_EVERY: u32 = 1024;

const TOO_DEEP: &str = "ERR reached lua stack limit";

/// A reply as it would leave, pinned values in their places.
pub fn flat(reply: &mut ReplyBuf) -> &[u8] {
    if !reply.pins.is_empty() {
        let mut flat = Vec::with_capacity(
            reply.bytes.len() + reply.pins.iter().map(|(_, pin)| pin.len()).sum::<usize>(),
        );
        let mut done = 0;
        for (at, pin) in reply.pins.drain(..) {
            flat.extend_from_slice(&reply.bytes[done..at]);
            flat.extend_from_slice(&pin);
            done = at;
        }
        flat.extend_from_slice(&reply.bytes[done..]);
        reply.bytes = flat;
    }
    &reply.bytes
}

/// A whole reply, which is one of our own encoder's.
pub fn to_lua(lua: &Lua, reply: &[u8]) -> mlua::Result<Value> {
    let mut rest = reply;
    next(lua, &mut rest)
}

fn broken() -> Error {
    Raised::Text("ERR a command's reply could not be read".to_owned()).error()
}

/// Takes a line without its end.
fn line<'r>(rest: &mut &'r [u8]) -> mlua::Result<&'r [u8]> {
    let end = memchr::memchr(b'\r', rest).filter(|end| rest.len() > end + 1).ok_or_else(broken)?;
    let (line, after) = rest.split_at(end);
    *rest = &after[2..];
    Ok(line)
}

fn number(digits: &[u8]) -> mlua::Result<i64> {
    std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok()).ok_or_else(broken)
}

/// Takes `len` bytes and the line end behind them.
fn bulk<'r>(rest: &mut &'r [u8], len: i64) -> mlua::Result<&'r [u8]> {
    let len = usize::try_from(len).ok().filter(|len| rest.len() >= len + 2).ok_or_else(broken)?;
    let (bytes, after) = rest.split_at(len);
    *rest = &after[2..];
    Ok(bytes)
}

fn single(lua: &Lua, field: &str, value: impl mlua::IntoLua) -> mlua::Result<Value> {
    let table = lua.create_table_with_capacity(0, 1)?;
    table.raw_set(field, value)?;
    Ok(Value::Table(table))
}

fn next(lua: &Lua, rest: &mut &[u8]) -> mlua::Result<Value> {
    let head = line(rest)?;
    let (kind, text) = head.split_first().ok_or_else(broken)?;
    match kind {
        b':' => Ok(Value::Number(number(text)? as f64)),
        b'$' if text == b"-1" => Ok(Value::Boolean(false)),
        b'$' => Ok(Value::String(lua.create_string(bulk(rest, number(text)?)?)?)),
        b'+' => single(lua, "ok", lua.create_string(text)?),
        b'-' => single(lua, "err", lua.create_string(text)?),
        b'*' | b'>' if text == b"-1" => Ok(Value::Boolean(false)),
        b'*' | b'>' => list(lua, rest, number(text)?),
        b'_' => Ok(Value::Nil),
        b'#' => Ok(Value::Boolean(text == b"t")),
        b',' => {
            let number = std::str::from_utf8(text).ok().and_then(|digits| digits.parse::<f64>().ok());
            single(lua, "double", number.ok_or_else(broken)?)
        }
        b'(' => single(lua, "big_number", lua.create_string(text)?),
        b'=' => {
            let bytes = bulk(rest, number(text)?)?;
            let (format, text) = bytes.split_at_checked(4).ok_or_else(broken)?;
            let table = lua.create_table_with_capacity(0, 2)?;
            table.raw_set("format", lua.create_string(&format[..3])?)?;
            table.raw_set("string", lua.create_string(text)?)?;
            single(lua, "verbatim_string", table)
        }
        b'%' | b'~' => {
            let table = lua.create_table()?;
            for _ in 0..number(text)? {
                let key = next(lua, rest)?;
                let value = if *kind == b'%' { next(lua, rest)? } else { Value::Boolean(true) };
                if !matches!(key, Value::Nil) {
                    table.raw_set(key, value)?;
                }
            }
            single(lua, if *kind == b'%' { "map" } else { "set" }, table)
        }
        _ => Err(broken()),
    }
}

fn list(lua: &Lua, rest: &mut &[u8], len: i64) -> mlua::Result<Value> {
    // Each element has four bytes at least.
    let len = usize::try_from(len).ok().filter(|len| *len <= rest.len()).ok_or_else(broken)?;
    let table = lua.create_table_with_capacity(len, 0)?;
    for index in 1..=len {
        let value = next(lua, rest)?;
        table.raw_set(index, value)?;
    }
    Ok(Value::Table(table))
}

/// Writes a script's value. `typed`: the script has chosen RESP3, in which truth values have a type of their own.
pub fn write(value: &Value, typed: bool, watch: &Watch, out: &mut Writer<'_>) -> mlua::Result<()> {
    Conversion { typed, watch, count: 0, out }.value(value, 0)
}

/// A value on its way out. Tables may hold each other, so that a few of them stand for more values than there is time to write.
struct Conversion<'w, 'o> {
    typed: bool,
    watch: &'w Watch,
    /// Values so far.
    count: u32,
    out: &'w mut Writer<'o>,
}

/// C's cast of a double to a 64-bit integer, as x86 does it.
pub fn whole(number: f64) -> i64 {
    const LIMIT: f64 = 9_223_372_036_854_775_808.0;
    if (-LIMIT..LIMIT).contains(&number) { number as i64 } else { i64::MIN }
}

fn text_of(table: &Table, field: &str) -> mlua::Result<Option<LuaString>> {
    Ok(match table.raw_get::<Value>(field)? {
        Value::String(text) => Some(text),
        _ => None,
    })
}

/// A status or an error up to a zero byte, where C would see its end.
fn c_string(text: &[u8]) -> &[u8] {
    &text[..memchr::memchr(0, text).unwrap_or(text.len())]
}

impl Conversion<'_, '_> {
    fn value(&mut self, value: &Value, depth: usize) -> mlua::Result<()> {
        self.count += 1;
        if self.count.is_multiple_of(LOOK_EVERY) {
            self.watch.look()?;
            if self.out.buffer().has_overflowed() {
                // Whoever set the limit replaces the reply.
                return Err(Raised::Aborted.error());
            }
        }
        match value {
            Value::String(text) => self.out.bulk(&text.as_bytes()),
            Value::Integer(number) => self.out.int(*number),
            Value::Number(number) => self.out.int(whole(*number)),
            Value::Boolean(truth) if self.typed => self.out.bool(*truth),
            Value::Boolean(true) => self.out.int(1),
            Value::Table(_) if depth == DEPTH => self.out.error(TOO_DEEP),
            Value::Table(table) => return self.table(table, depth),
            _ => self.out.null(),
        }
        Ok(())
    }

    fn table(&mut self, table: &Table, depth: usize) -> mlua::Result<()> {
        if let Some(text) = text_of(table, "err")? {
            self.out.error_bytes(c_string(&text.as_bytes()));
            return Ok(());
        }
        if let Some(text) = text_of(table, "ok")? {
            self.out.simple_bytes(c_string(&text.as_bytes()));
            return Ok(());
        }
        match table.raw_get::<Value>("double")? {
            Value::Number(number) => {
                self.out.double(number);
                return Ok(());
            }
            Value::Integer(number) => {
                self.out.double(number as f64);
                return Ok(());
            }
            _ => {}
        }
        if let Value::Table(map) = table.raw_get::<Value>("map")? {
            let pairs: Vec<(Value, Value)> = map.pairs().collect::<mlua::Result<_>>()?;
            self.out.map(pairs.len());
            for (key, value) in pairs {
                self.value(&key, depth + 1)?;
                self.value(&value, depth + 1)?;
            }
            return Ok(());
        }
        if let Value::Table(set) = table.raw_get::<Value>("set")? {
            let members: Vec<(Value, Value)> = set.pairs().collect::<mlua::Result<_>>()?;
            self.out.set(members.len());
            for (member, _) in members {
                self.value(&member, depth + 1)?;
            }
            return Ok(());
        }
        if let Some(digits) = text_of(table, "big_number")? {
            self.out.big_number(&String::from_utf8_lossy(&digits.as_bytes()).replace(['\r', '\n'], " "));
            return Ok(());
        }
        if let Value::Table(verbatim) = table.raw_get::<Value>("verbatim_string")?
            && let (Some(format), Some(text)) = (text_of(&verbatim, "format")?, text_of(&verbatim, "string")?)
        {
            let mut name = *b"txt";
            for (to, from) in name.iter_mut().zip(format.as_bytes().iter()) {
                *to = *from;
            }
            self.out.verbatim(&name, &text.as_bytes());
            return Ok(());
        }
        let mut len = 0;
        while !matches!(table.raw_get::<Value>(len + 1)?, Value::Nil) {
            len += 1;
        }
        self.out.array(len);
        for index in 1..=len {
            self.value(&table.raw_get::<Value>(index)?, depth + 1)?;
        }
        Ok(())
    }
}
