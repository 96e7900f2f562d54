//! Errors on their way through Lua: what a function of ours raises, and what a script sees of it when it catches one.
//!
//! Lua raises any value; through the binding a function can only raise a Rust error. So `pcall` and `xpcall` are wrapped (prelude.lua)
//! and turn it into what Redis's scripts see: a table for a failed command, text for anything else.

use mlua::{Error, Lua, Table, Value};
use std::fmt;

/// The chunk name of users' scripts, and how their places are shown.
pub const CHUNK: &str = "@user_script";

/// Frames that are looked through for the script's own.
const DEPTH: usize = 16;

/// What our functions raise.
#[derive(Clone, Debug)]
pub enum Raised {
    /// A command's error reply, without its dash.
    Reply { text: String, line: Option<usize> },
    /// A library function's complaint.
    Text(String),
    /// A bound was passed: nothing catches this.
    Aborted,
}

impl fmt::Display for Raised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Raised::Reply { text, .. } | Raised::Text(text) => f.write_str(text),
            Raised::Aborted => f.write_str("the script was stopped"),
        }
    }
}

impl std::error::Error for Raised {}

impl Raised {
    pub fn error(self) -> Error {
        Error::external(self)
    }

    /// What an error that has come through Lua was at first.
    pub fn of(error: &Error) -> Option<&Raised> {
        error.chain().find_map(|cause| cause.downcast_ref::<Raised>())
    }
}

/// A complaint with its place in front, as Lua's own functions make it.
pub fn complain(lua: &Lua, text: &str) -> Error {
    let place = line(lua).map_or(String::new(), |line| format!("user_script:{line}: "));
    Raised::Text(format!("{place}{text}")).error()
}

/// A complaint about the arguments of one of Redis's functions: an error in Redis's form, with no place in front.
pub fn refuse(lua: &Lua, text: &str) -> Error {
    Raised::Reply { text: format!("ERR {text}"), line: line(lua) }.error()
}

/// A complaint about an argument of the wrong type, as Lua's own functions make it.
pub fn wrong(lua: &Lua, n: usize, name: &str, wanted: &str, value: Option<&Value>) -> mlua::Error {
    let got = value.map_or("no value", |value| match value {
        Value::Integer(_) => "number",
        value => value.type_name(),
    });
    complain(lua, &format!("bad argument #{n} to '{name}' ({wanted} expected, got {got})"))
}

/// The line of the script that runs.
pub fn line(lua: &Lua) -> Option<usize> {
    (0..DEPTH).find_map(|level| {
        let seen = lua.inspect_stack(level, |frame| {
            frame.source().source.is_some_and(|source| source == CHUNK).then(|| frame.current_line())
        });
        seen.flatten().flatten()
    })
}

/// What a script sees of an error that it caught. `Err`: it may not catch it.
pub fn caught(lua: &Lua, value: Value) -> mlua::Result<Value> {
    let Value::Error(error) = &value else { return Ok(value) };
    match Raised::of(error) {
        Some(Raised::Reply { text, line }) => Ok(Value::Table(reply_table(lua, text, *line)?)),
        Some(Raised::Text(text)) => Ok(Value::String(lua.create_string(text)?)),
        Some(Raised::Aborted) => Err(Raised::Aborted.error()),
        None => Ok(Value::String(lua.create_string(plain(error))?)),
    }
}

/// An error that is nobody's of ours: what the binding itself has to say.
fn plain(error: &Error) -> String {
    match error {
        Error::CallbackError { cause, .. } => plain(cause),
        // A trace of the stack follows.
        Error::RuntimeError(text) | Error::MemoryError(text) => {
            text.lines().next().unwrap_or_default().to_owned()
        }
        other => other.to_string().lines().next().unwrap_or_default().to_owned(),
    }
}

fn reply_table(lua: &Lua, text: &str, line: Option<usize>) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    table.raw_set("err", text)?;
    table.raw_set("source", CHUNK)?;
    table.raw_set("line", line)?;
    table.raw_set("ignore_error_stats_update", true)?;
    Ok(table)
}

/// What ends a script, as a table with `err` and, where it is known, `line`: the handler of its outermost call.
pub fn failed(lua: &Lua, value: Value) -> mlua::Result<Value> {
    let value = match caught(lua, value) {
        Ok(value) => value,
        // The caller finds out why.
        Err(_) => return Ok(Value::Nil),
    };
    let here = line(lua);
    let text = match &value {
        Value::Table(table) => {
            let known: Option<mlua::LuaString> = table.raw_get("err").unwrap_or(None);
            match known {
                Some(text) => text.as_bytes().to_vec(),
                None => b"ERR unknown error".to_vec(),
            }
        }
        Value::String(text) => [b"ERR ", &text.as_bytes()[..]].concat(),
        other => format!("ERR {}", other.to_string().unwrap_or_default()).into_bytes(),
    };
    let line = match &value {
        Value::Table(table) => table.raw_get("line").unwrap_or(None).or(here),
        _ => here,
    };
    let table = lua.create_table()?;
    table.raw_set("err", lua.create_string(text)?)?;
    table.raw_set("line", line)?;
    Ok(Value::Table(table))
}
