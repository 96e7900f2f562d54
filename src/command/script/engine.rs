//! A worker's Lua state: made when the first script comes, with the sandbox around it and the functions that it has compiled.

use super::cache::{Digest, Script, ScriptCache, hex};
use super::call::{Call, Means, unlimited};
use super::raise::{self, CHUNK, Raised};
use super::{bits, convert, json, library, strings};
use crate::command::table::ErrorText;
use crate::command::{Context, Host};
use crate::limits::{
    MIN_SCRIPT_MEMORY, SCRIPT_COMPILED, SCRIPT_HOOK_EVERY, SCRIPT_MEMORY, SCRIPT_MEMORY_SHARE,
};
use crate::proto::resp::Writer;
use mlua::chunk::ChunkMode;
use mlua::{Error, Function, HookTriggers, Lua, LuaOptions, LuaString, StdLib, Table, Value, VmState};
use std::cell::Cell;
use std::collections::HashMap;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

/// What surrounds every script.
const PRELUDE: &str = include_str!("prelude.lua");

/// After a script the state is cleaned when it holds more than this fraction of what it may.
const KEPT_SHARE: usize = 4;

/// The time and the memory that a script has, shared with the hook and the library.
pub struct Watch {
    /// Microseconds of a clock that only goes forward.
    clock: fn() -> u64,
    until_us: Cell<u64>,
    limit_ms: Cell<u64>,
    /// What the state may hold, bytes; what our functions make on the way is held to it too.
    pub memory: usize,
    expired: Cell<bool>,
}

impl Watch {
    fn start(&self, limit_ms: u64) {
        self.limit_ms.set(limit_ms);
        self.until_us.set((self.clock)().saturating_add(limit_ms.saturating_mul(1000)));
        self.expired.set(false);
    }

    /// `Err` when the time is over. From then on always: a script cannot go on.
    pub fn look(&self) -> mlua::Result<()> {
        if self.expired.get() || (self.clock)() > self.until_us.get() {
            self.expired.set(true);
            return Err(Raised::Aborted.error());
        }
        Ok(())
    }

    pub fn now_us(&self) -> u64 {
        (self.clock)()
    }
}

/// A worker's scripts.
#[derive(Default)]
pub struct Scripts {
    engine: Option<Engine>,
    means: Means,
    /// Scripts that ran out of time or memory.
    pub stopped: u64,
}

impl fmt::Debug for Scripts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scripts").field("memory", &self.memory()).finish_non_exhaustive()
    }
}

struct Engine {
    lua: Lua,
    watch: Rc<Watch>,
    /// What scripts see as their globals, closed.
    environment: Table,
    /// What is behind it.
    globals: Table,
    /// What is behind `redis`.
    redis: Table,
    /// `KEYS`, `ARGV` and `call` as Lua has them.
    names: [LuaString; 3],
    run: Function,
    compiled: HashMap<Digest, Compiled>,
    /// That of the cache when `compiled` was empty.
    generation: u64,
}

/// A script that can run.
#[derive(Clone)]
pub struct Compiled {
    function: Function,
    pub digest: Digest,
    pub read_only: bool,
}

impl Scripts {
    /// Bytes that the Lua state holds.
    pub fn memory(&self) -> usize {
        self.engine.as_ref().map_or(0, |engine| engine.lua.used_memory())
    }

    /// A script that this worker has compiled, if SCRIPT FLUSH has not been called since.
    pub fn compiled(&mut self, digest: &Digest, cache: &ScriptCache) -> Option<Compiled> {
        let engine = self.engine.as_ref()?;
        if engine.generation != cache.generation() {
            self.engine = None;
            return None;
        }
        engine.compiled.get(digest).cloned()
    }

    /// Compiles a script, or says in Redis's words why it cannot be.
    pub fn compile(
        &mut self,
        script: &Arc<Script>,
        (host, max_memory): (&dyn Host, usize),
    ) -> Result<Compiled, ErrorText> {
        let generation = host.scripts().generation();
        if self
            .engine
            .as_ref()
            .is_some_and(|engine| engine.generation != generation || engine.compiled.len() >= SCRIPT_COMPILED)
        {
            self.engine = None;
        }
        let engine = match &mut self.engine {
            Some(engine) => engine,
            none => none.insert(Engine::new(host.clock(), max_memory, generation).map_err(|error| {
                ErrorText::from(format!("ERR Lua cannot be started: {}", first_line(&error)))
            })?),
        };
        let chunk = engine.lua.load(&*script.source).set_name(CHUNK).set_mode(ChunkMode::Text);
        let function =
            chunk.set_environment(engine.environment.clone()).into_function().map_err(|error| {
                let why = match &error {
                    Error::SyntaxError { message, .. } => message.clone(),
                    other => first_line(other),
                };
                ErrorText::from(format!("ERR Error compiling script (new function): {why}"))
            })?;
        let compiled = Compiled { function, digest: script.digest, read_only: script.read_only };
        engine.compiled.insert(script.digest, compiled.clone());
        Ok(compiled)
    }

    /// Runs a script inside the partitions that are held, and writes its reply.
    pub fn run(
        &mut self,
        script: &Compiled,
        (keys, args): (&[&[u8]], &[&[u8]]),
        read_only: bool,
        ctx: &mut Context<'_>,
        out: &mut Writer<'_>,
    ) {
        let Some(engine) = &mut self.engine else { return };
        let resp3 = out.resp3();
        let mark = out.buffer().mark();
        engine.watch.start(ctx.host.script_time_limit_ms());
        let mut call = Call::new(ctx, &mut self.means, read_only || script.read_only, &engine.watch);
        let ended = engine.play(script, keys, args, &mut call).and_then(|(ok, value)| {
            if ok {
                convert::write(&value, call.resp3(), &engine.watch, out)?;
                return Ok(None);
            }
            Ok(Some(value))
        });
        drop(call);
        let failure = match ended {
            Ok(None) => return,
            Ok(Some(value)) => value,
            Err(_) => Value::Nil,
        };
        // Whatever was written of a reply that could not be finished goes.
        out.buffer().truncate(mark);
        debug_assert_eq!(resp3, out.resp3());
        let (text, stopped) = engine.describe(&failure, &script.digest);
        self.stopped += u64::from(stopped);
        out.error_bytes(&text);
    }

    /// Once no partition is held any more: gives back what the last script has left.
    pub fn tidy(&mut self) {
        self.means.trim();
        if let Some(engine) = &self.engine
            && engine.lua.used_memory() > engine.watch.memory / KEPT_SHARE
        {
            let collected = engine.lua.gc_collect();
            if collected.is_err() || engine.lua.used_memory() > engine.watch.memory / KEPT_SHARE {
                self.engine = None;
            }
        }
    }
}

fn first_line(error: &Error) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}

impl Engine {
    fn new(clock: fn() -> u64, max_memory: usize, generation: u64) -> mlua::Result<Engine> {
        let libraries = StdLib::TABLE | StdLib::STRING | StdLib::MATH;
        let lua = Lua::new_with(libraries, LuaOptions::new().catch_rust_panics(false))?;
        let watch = Rc::new(Watch {
            clock,
            until_us: Cell::new(u64::MAX),
            limit_ms: Cell::new(0),
            memory: (max_memory / SCRIPT_MEMORY_SHARE).clamp(MIN_SCRIPT_MEMORY, SCRIPT_MEMORY),
            expired: Cell::new(false),
        });
        let functions = lua.create_table()?;
        functions.raw_set("redis", library::redis(&lua)?)?;
        functions.raw_set("resp_version", lua.create_function(library::resp_version)?)?;
        functions.raw_set("os", library::os(&lua, &watch)?)?;
        functions.raw_set("bit", bits::library(&lua)?)?;
        functions.raw_set("cjson", json::library(&lua, &watch)?)?;
        functions.raw_set("string", strings::library(&lua, &watch)?)?;
        let again = Rc::clone(&watch);
        let caught = lua.create_function(move |lua, value: Value| {
            again.look()?;
            raise::caught(lua, value)
        })?;
        functions.raw_set("caught", caught)?;
        functions.raw_set("failed", lua.create_function(raise::failed)?)?;
        let environment = Rc::new(std::cell::OnceCell::<Table>::new());
        let late = Rc::clone(&environment);
        let compile = lua.create_function(move |lua, (text, name): (LuaString, Option<String>)| {
            let text = text.as_bytes();
            let chunk = lua.load(&*text).set_mode(ChunkMode::Text);
            let chunk = chunk.set_name(name.unwrap_or_else(|| "=loaded".to_owned()));
            let Some(environment) = late.get() else { return Err(Raised::Aborted.error()) };
            match chunk.set_environment(environment.clone()).into_function() {
                Ok(function) => Ok((Some(function), None)),
                Err(Error::SyntaxError { message, .. }) => Ok((None, Some(message))),
                Err(other) => Err(other),
            }
        })?;
        functions.raw_set("compile", compile)?;
        let prelude = lua.load(PRELUDE).set_name("=prelude");
        let (closed, globals, redis, run): (Table, Table, Table, Function) = prelude.call(functions)?;
        let _ = environment.set(closed.clone());
        let seen = Rc::clone(&watch);
        lua.set_hook(HookTriggers::new().every_nth_instruction(SCRIPT_HOOK_EVERY), move |_, _| {
            seen.look()?;
            Ok(VmState::Continue)
        })?;
        lua.set_memory_limit(watch.memory)?;
        let compiled = HashMap::new();
        let names = [lua.create_string("KEYS")?, lua.create_string("ARGV")?, lua.create_string("call")?];
        Ok(Engine { lua, watch, environment: closed, globals, redis, names, run, compiled, generation })
    }

    /// Whether it ended well, and its value or its error.
    fn play(
        &self,
        script: &Compiled,
        keys: &[&[u8]],
        args: &[&[u8]],
        call: &mut Call<'_, '_>,
    ) -> mlua::Result<(bool, Value)> {
        let [keys_name, args_name, call_name] = &self.names;
        // Each string takes some bytes however short it is.
        let bytes = keys.iter().chain(args).map(|part| part.len() + 64).sum();
        unlimited(&self.lua, self.watch.memory, bytes, || {
            self.globals.raw_set(keys_name, self.strings(keys)?)?;
            self.globals.raw_set(args_name, self.strings(args)?)
        })?;
        self.lua.scope(|scope| {
            let state = std::cell::RefCell::new(call);
            let function = scope.create_function(move |lua, args: mlua::Variadic<Value>| {
                let mut call = state.try_borrow_mut().map_err(|_| Raised::Aborted.error())?;
                call.run(lua, &args)
            })?;
            self.redis.raw_set(call_name, function)?;
            self.run.call((&script.function,))
        })
    }

    fn strings(&self, parts: &[&[u8]]) -> mlua::Result<Table> {
        let table = self.lua.create_table_with_capacity(parts.len(), 0)?;
        for part in parts {
            table.raw_push(self.lua.create_string(part)?)?;
        }
        Ok(table)
    }

    /// The text of a failed script's reply, and whether a bound was passed.
    fn describe(&self, failure: &Value, digest: &Digest) -> (Vec<u8>, bool) {
        if self.watch.expired.get() {
            let limit_ms = self.watch.limit_ms.get();
            let text = format!(
                "ERR the script was stopped: it ran for longer than lua-time-limit ({limit_ms} ms). What it wrote until then remains."
            );
            return (text.into_bytes(), true);
        }
        let (mut text, line) = match failure {
            Value::Table(table) => {
                let text: Option<LuaString> = table.raw_get("err").unwrap_or(None);
                let text = text.map(|text| text.as_bytes().to_vec());
                (text.unwrap_or_default(), table.raw_get("line").unwrap_or(None::<usize>))
            }
            Value::String(text) => ([b"ERR ", &text.as_bytes()[..]].concat(), None),
            _ => (b"ERR not enough memory for the script".to_vec(), None),
        };
        let stopped = memchr::memmem::find(&text, b"not enough memory").is_some();
        if let Some(line) = line {
            text.extend_from_slice(format!(" script: {}, on {CHUNK}:{line}.", hex(digest)).as_bytes());
        }
        (text, stopped)
    }
}
