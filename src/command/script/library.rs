//! The functions of `redis` that run no command, and `os.clock`.

use super::engine::Watch;
use super::raise::{complain, refuse};
use crate::command::REDIS_VERSION;
use mlua::{Lua, LuaString, Table, Value, Variadic};
use std::rc::Rc;

/// What is behind `redis`; `call` is put in when a script starts (engine.rs), `pcall` by the prelude.
pub fn redis(lua: &Lua) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    table.raw_set("error_reply", lua.create_function(|lua, args| message(lua, args, "err"))?)?;
    table.raw_set("status_reply", lua.create_function(|lua, args| message(lua, args, "ok"))?)?;
    table.raw_set("sha1hex", lua.create_function(sha1hex)?)?;
    table.raw_set("log", lua.create_function(log)?)?;
    // Scripts are replicated to nobody, and nobody steps through them: what only says how is accepted.
    table.raw_set("replicate_commands", lua.create_function(|_, ()| Ok(true))?)?;
    for name in ["set_repl", "debug"] {
        table.raw_set(name, lua.create_function(|_, _: Variadic<Value>| Ok(()))?)?;
    }
    table.raw_set("breakpoint", lua.create_function(|_, ()| Ok(false))?)?;
    table.raw_set("acl_check_cmd", lua.create_function(acl_check_cmd)?)?;
    for (level, name) in ["LOG_DEBUG", "LOG_VERBOSE", "LOG_NOTICE", "LOG_WARNING"].into_iter().enumerate() {
        table.raw_set(name, level)?;
    }
    for (name, value) in
        [("REPL_NONE", 0), ("REPL_AOF", 1), ("REPL_SLAVE", 2), ("REPL_REPLICA", 2), ("REPL_ALL", 3)]
    {
        table.raw_set(name, value)?;
    }
    let number = REDIS_VERSION.split('.').fold(0, |sum, part| sum << 8 | part.parse::<u32>().unwrap_or(0));
    table.raw_set("REDIS_VERSION", REDIS_VERSION)?;
    table.raw_set("REDIS_VERSION_NUM", number)?;
    Ok(table)
}

/// `os`: the processor time is the time of the state's clock; only differences mean something.
pub fn os(lua: &Lua, watch: &Rc<Watch>) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    let watch = Rc::clone(watch);
    table.raw_set("clock", lua.create_function(move |_, ()| Ok(watch.now_us() as f64 / 1e6))?)?;
    Ok(table)
}

/// `redis.error_reply` and `redis.status_reply`: a table with one field. The first word of an error is its code; a single word is none,
/// and gets "ERR".
fn message(lua: &Lua, args: Variadic<Value>, field: &str) -> mlua::Result<Value> {
    let table = lua.create_table_with_capacity(0, 1)?;
    let [Value::String(text)] = &args[..] else {
        table.raw_set("err", "ERR wrong number or type of arguments")?;
        return Ok(Value::Table(table));
    };
    let text = text.as_bytes();
    let bare = text.strip_prefix(b"-").filter(|_| field == "err").unwrap_or(&text);
    if field == "err" && !bare.contains(&b' ') {
        table.raw_set(field, lua.create_string([b"ERR ", bare].concat())?)?;
    } else {
        table.raw_set(field, lua.create_string(bare)?)?;
    }
    Ok(Value::Table(table))
}

fn sha1hex(lua: &Lua, args: Variadic<Value>) -> mlua::Result<String> {
    let [value] = &args[..] else { return Err(refuse(lua, "wrong number of arguments")) };
    let text: LuaString = lua.coerce_string(value.clone())?.map_or_else(|| lua.create_string(""), Ok)?;
    Ok(sha1_smol::Sha1::from(&*text.as_bytes()).digest().to_string())
}

/// Accepted and dropped: a script under all locks writes no log.
fn log(lua: &Lua, args: Variadic<Value>) -> mlua::Result<()> {
    if args.len() < 2 {
        return Err(refuse(lua, "redis.log() requires two arguments or more."));
    }
    match lua.coerce_number(args[0].clone())? {
        None => Err(refuse(lua, "First argument must be a number (log level).")),
        Some(level) if !(0.0..=3.0).contains(&level) => Err(refuse(lua, "Invalid log level.")),
        Some(_) => Ok(()),
    }
}

/// The version that `redis.setresp` was asked for; the prelude passes it on to `redis.call`, which knows the session.
pub fn resp_version(lua: &Lua, args: Variadic<Value>) -> mlua::Result<i64> {
    let [version] = &args[..] else {
        return Err(refuse(lua, "redis.setresp() requires one argument."));
    };
    match lua.coerce_integer(version.clone())? {
        Some(version @ 2..=3) => Ok(version),
        _ => Err(refuse(lua, "RESP version must be 2 or 3.")),
    }
}

/// There is one user, who may do everything that a script can.
fn acl_check_cmd(lua: &Lua, args: Variadic<Value>) -> mlua::Result<bool> {
    match args.first() {
        Some(Value::String(name)) if crate::command::table::lookup(&name.as_bytes()).is_some() => Ok(true),
        Some(Value::String(_)) => Err(refuse(lua, "Invalid command passed to redis.acl_check_cmd()")),
        _ => Err(complain(lua, "redis.acl_check_cmd() requires at least one argument")),
    }
}
