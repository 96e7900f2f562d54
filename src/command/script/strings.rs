//! The functions of Lua's `string` that may take long: `find`, `match`, `gmatch`, `gsub` over [`Matcher`], and `rep`.

use super::engine::Watch;
use super::pattern::{Capture, Fault, Matcher};
use super::raise::{complain, wrong};
use mlua::{Lua, LuaString, MultiValue, Table, Value, Variadic};
use std::rc::Rc;

pub fn library(lua: &Lua, watch: &Rc<Watch>) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    for (name, find) in [("find", true), ("match", false)] {
        let watch = Rc::clone(watch);
        let function = lua.create_function(move |lua, args: Variadic<Value>| {
            search(lua, &args, &watch, find, if find { "find" } else { "match" })
        })?;
        table.raw_set(name, function)?;
    }
    let own = Rc::clone(watch);
    let gmatch = lua.create_function(move |lua, args: Variadic<Value>| each(lua, &args, &own))?;
    table.raw_set("gfind", &gmatch)?;
    table.raw_set("gmatch", gmatch)?;
    let own = Rc::clone(watch);
    table
        .raw_set("gsub", lua.create_function(move |lua, args: Variadic<Value>| replace(lua, &args, &own))?)?;
    let own = Rc::clone(watch);
    table.raw_set("rep", lua.create_function(move |lua, args: Variadic<Value>| repeat(lua, &args, &own))?)?;
    Ok(table)
}

/// The argument `n`, counted from 1, as a string.
fn text(lua: &Lua, args: &[Value], n: usize, name: &str) -> mlua::Result<LuaString> {
    let value = args.get(n - 1);
    let text = value.map_or(Ok(None), |value| match value {
        Value::String(_) | Value::Integer(_) | Value::Number(_) => lua.coerce_string(value.clone()),
        _ => Ok(None),
    })?;
    text.ok_or_else(|| wrong(lua, n, name, "string", value))
}

/// The argument `n` as a whole number, cut.
fn number(lua: &Lua, args: &[Value], n: usize, name: &str, absent: Option<i64>) -> mlua::Result<i64> {
    let value = args.get(n - 1);
    match (value, absent) {
        (None | Some(Value::Nil), Some(absent)) => Ok(absent),
        (Some(value), _) => {
            let number = lua.coerce_number(value.clone())?;
            number.map(|number| number as i64).ok_or_else(|| wrong(lua, n, name, "number", Some(value)))
        }
        (None, None) => Err(wrong(lua, n, name, "number", None)),
    }
}

fn fault(lua: &Lua, fault: Fault) -> mlua::Error {
    match fault {
        Fault::Pattern(what) => complain(lua, what),
        Fault::Stopped(error) => error,
    }
}

fn value_of(lua: &Lua, text: &[u8], capture: Capture) -> mlua::Result<Value> {
    Ok(match capture {
        Capture::Text(from, to) => Value::String(lua.create_string(&text[from..to])?),
        Capture::Position(at) => Value::Number(at as f64),
    })
}

/// `find` and `match`.
fn search(lua: &Lua, args: &[Value], watch: &Rc<Watch>, find: bool, name: &str) -> mlua::Result<MultiValue> {
    let (text, pattern) = (self::text(lua, args, 1, name)?, self::text(lua, args, 2, name)?);
    let (text, pattern) = (text.as_bytes(), pattern.as_bytes());
    let len = text.len() as i64;
    let start = match number(lua, args, 3, name, Some(1))? {
        from @ ..0 => (len + from).max(0),
        from => (from - 1).max(0),
    };
    let start = usize::try_from(start.min(len)).unwrap_or(0);
    let plain = args.get(3).is_some_and(|plain| !matches!(plain, Value::Nil | Value::Boolean(false)));
    let place = |from: usize, to: usize| [Value::Number((from + 1) as f64), Value::Number(to as f64)];
    if find && (plain || !pattern.iter().any(|byte| b"^$*+?.([%-".contains(byte))) {
        return Ok(match memchr::memmem::find(&text[start..], &pattern) {
            Some(at) => place(start + at, start + at + pattern.len()).into_iter().collect(),
            None => [Value::Nil].into_iter().collect(),
        });
    }
    let (anchored, bare) = pattern.strip_prefix(b"^").map_or((false, &pattern[..]), |bare| (true, bare));
    let look = || watch.look();
    let mut matcher = Matcher::new(&text, bare, &look);
    for from in start..=text.len() {
        if let Some(to) = matcher.at(from).map_err(|f| fault(lua, f))? {
            let captures = matcher.captures(from, to, !find).map_err(|f| fault(lua, f))?;
            let mut values = MultiValue::new();
            if find {
                values.extend(place(from, to));
            }
            for capture in captures {
                values.push_back(value_of(lua, &text, capture)?);
            }
            return Ok(values);
        }
        if anchored {
            break;
        }
    }
    Ok([Value::Nil].into_iter().collect())
}

/// `gmatch`: a function that goes on from match to match.
fn each(lua: &Lua, args: &[Value], watch: &Rc<Watch>) -> mlua::Result<mlua::Function> {
    let (text, pattern) = (self::text(lua, args, 1, "gmatch")?, self::text(lua, args, 2, "gmatch")?);
    let watch = Rc::clone(watch);
    let mut from = 0;
    lua.create_function_mut(move |lua, _: Variadic<Value>| {
        let (text, pattern) = (text.as_bytes(), pattern.as_bytes());
        let look = || watch.look();
        let mut matcher = Matcher::new(&text, &pattern, &look);
        while from <= text.len() {
            let at = from;
            if let Some(to) = matcher.at(at).map_err(|f| fault(lua, f))? {
                // An empty match must not be found again.
                from = if to == at { to + 1 } else { to };
                let captures = matcher.captures(at, to, true).map_err(|f| fault(lua, f))?;
                return captures.into_iter().map(|capture| value_of(lua, &text, capture)).collect();
            }
            from += 1;
        }
        Ok(MultiValue::from_iter([Value::Nil]))
    })
}

/// What replaces a match.
enum Replacement {
    Text(LuaString),
    Table(Table),
    Function(mlua::Function),
}

/// `gsub`: the text with its matches replaced, and how many there were.
fn replace(lua: &Lua, args: &[Value], watch: &Rc<Watch>) -> mlua::Result<(LuaString, f64)> {
    let (text, pattern) = (self::text(lua, args, 1, "gsub")?, self::text(lua, args, 2, "gsub")?);
    let by = match args.get(2) {
        Some(Value::Table(table)) => Replacement::Table(table.clone()),
        Some(Value::Function(function)) => Replacement::Function(function.clone()),
        Some(Value::String(_) | Value::Integer(_) | Value::Number(_)) => {
            Replacement::Text(self::text(lua, args, 3, "gsub")?)
        }
        other => return Err(wrong(lua, 3, "gsub", "string/function/table", other)),
    };
    let (text, pattern) = (text.as_bytes(), pattern.as_bytes());
    let most = number(lua, args, 4, "gsub", Some(text.len() as i64 + 1))?;
    let (anchored, bare) = pattern.strip_prefix(b"^").map_or((false, &pattern[..]), |bare| (true, bare));
    let look = || watch.look();
    let mut matcher = Matcher::new(&text, bare, &look);
    let (mut result, mut from, mut count) = (Vec::new(), 0, 0);
    while count < most {
        let found = matcher.at(from).map_err(|f| fault(lua, f))?;
        if let Some(to) = found {
            count += 1;
            let captures = matcher.captures(from, to, true).map_err(|f| fault(lua, f))?;
            substitute(lua, &text, (from, to), &captures, &by, &mut result)?;
            if result.len() > watch.memory {
                return Err(complain(lua, "not enough memory"));
            }
        }
        match found {
            Some(to) if to > from => from = to,
            _ if from < text.len() => {
                result.push(text[from]);
                from += 1;
            }
            _ => break,
        }
        if anchored {
            break;
        }
    }
    result.extend_from_slice(text.get(from..).unwrap_or_default());
    Ok((lua.create_string(result)?, count as f64))
}

fn substitute(
    lua: &Lua,
    text: &[u8],
    (from, to): (usize, usize),
    captures: &[Capture],
    by: &Replacement,
    result: &mut Vec<u8>,
) -> mlua::Result<()> {
    let value = match by {
        Replacement::Text(template) => {
            return fill(lua, text, (from, to), captures, &template.as_bytes(), result);
        }
        Replacement::Table(table) => table.get::<Value>(value_of(lua, text, captures[0])?)?,
        Replacement::Function(function) => {
            let args: MultiValue =
                captures.iter().map(|capture| value_of(lua, text, *capture)).collect::<mlua::Result<_>>()?;
            function.call::<Value>(args)?
        }
    };
    match value {
        Value::Nil | Value::Boolean(false) => result.extend_from_slice(&text[from..to]),
        Value::String(_) | Value::Integer(_) | Value::Number(_) => {
            if let Some(value) = lua.coerce_string(value)? {
                result.extend_from_slice(&value.as_bytes());
            }
        }
        other => {
            return Err(complain(lua, &format!("invalid replacement value (a {})", other.type_name())));
        }
    }
    Ok(())
}

/// A template, in which `%1` stands for a capture and `%0` for the match.
fn fill(
    lua: &Lua,
    text: &[u8],
    (from, to): (usize, usize),
    captures: &[Capture],
    template: &[u8],
    result: &mut Vec<u8>,
) -> mlua::Result<()> {
    let mut bytes = template.iter();
    while let Some(&byte) = bytes.next() {
        if byte != b'%' {
            result.push(byte);
            continue;
        }
        match bytes.next() {
            Some(b'0') => result.extend_from_slice(&text[from..to]),
            Some(digit @ b'1'..=b'9') => match captures.get(usize::from(digit - b'1')) {
                Some(Capture::Text(from, to)) => result.extend_from_slice(&text[*from..*to]),
                Some(Capture::Position(at)) => result.extend_from_slice(at.to_string().as_bytes()),
                None => return Err(complain(lua, "invalid capture index")),
            },
            Some(other) => result.push(*other),
            None => result.push(0),
        }
    }
    Ok(())
}

/// `rep`. Nothing repeated often is nothing: Lua's own would count there.
fn repeat(lua: &Lua, args: &[Value], watch: &Watch) -> mlua::Result<LuaString> {
    let text = text(lua, args, 1, "rep")?;
    let times = usize::try_from(number(lua, args, 2, "rep", None)?).unwrap_or(0);
    let len = text.as_bytes().len().saturating_mul(times);
    if len > watch.memory {
        return Err(complain(lua, "not enough memory"));
    }
    lua.create_string(text.as_bytes().repeat(if len == 0 { 0 } else { times }))
}
