//! `redis.call`: a command of a script, run as one of a transaction is, and its reply as a Lua value.

use super::convert;
use super::engine::Watch;
use super::raise::{Raised, line, refuse};
use crate::command::held::Runner;
use crate::command::table::{self, COMMANDS, Flags, Spec};
use crate::command::{Context, Flow, reads};
use crate::conn::Session;
use crate::proto::ReplyBuf;
use crate::proto::resp::format_double;
use mlua::{Lua, Value};
use smallvec::SmallVec;
use std::rc::Rc;

/// The clock is looked at after so many bytes of replies, and a call counts as some.
const WATCHED_BYTES: usize = 64 << 10;
const CALL_BYTES: usize = 4 << 10;

/// Bytes that may enter the state without its limit.
const LITTLE: usize = 16 << 10;

/// An argument: what a script gave as a string, or the digits of what it gave as a number.
type Number = SmallVec<[u8; 32]>;

/// What calls work with; it keeps its memory from script to script.
#[derive(Default)]
pub struct Means {
    runner: Runner,
    reply: ReplyBuf,
}

/// A reply's memory is kept up to here, bytes.
const KEPT_REPLY: usize = 64 << 10;

impl Means {
    /// Gives back what one unusual script took.
    pub fn trim(&mut self) {
        if self.reply.bytes.capacity() > KEPT_REPLY || self.runner.memory() > KEPT_REPLY {
            *self = Means::default();
        }
    }
}

/// A running script's side of `redis.call`.
pub struct Call<'r, 'c> {
    ctx: &'r mut Context<'c>,
    /// The client's own, which the script does not see.
    client: Session,
    means: &'r mut Means,
    read_only: bool,
    watch: Rc<Watch>,
    /// Bytes of replies and calls since the clock was last looked at, each call counted as many bytes.
    unwatched: usize,
}

impl<'r, 'c> Call<'r, 'c> {
    pub fn new(
        ctx: &'r mut Context<'c>,
        means: &'r mut Means,
        read_only: bool,
        watch: &Rc<Watch>,
    ) -> Call<'r, 'c> {
        // A script selects a database and speaks a version of its own.
        let mut session = Session::new(0, true);
        (session.db, session.no_touch) = (ctx.session.db, ctx.session.no_touch);
        let client = std::mem::replace(ctx.session, session);
        Call { ctx, client, means, read_only, watch: Rc::clone(watch), unwatched: 0 }
    }

    /// Whether the script has chosen RESP3.
    pub fn resp3(&self) -> bool {
        self.ctx.session.resp3
    }

    /// Runs one command. `Err`: it answered with an error, or cannot be run.
    pub fn run(&mut self, lua: &Lua, args: &[Value]) -> mlua::Result<Value> {
        if args.is_empty() {
            return Err(refuse(lua, "Please specify at least one argument for this redis.call() call"));
        }
        let strings = convert_args(lua, args)?;
        let args: SmallVec<[&[u8]; 8]> = strings.iter().map(Arg::bytes).collect();
        if args[0].eq_ignore_ascii_case(b"@resp3") {
            // What `redis.setresp` asks for (library.rs).
            self.ctx.session.resp3 = args.get(1).is_some_and(|version| *version == b"3");
            return Ok(Value::Nil);
        }
        let spec = self.permitted(lua, &args)?;
        debug_assert!(!spec.flags.has(Flags::NOSCRIPT));
        reads::note(&self.client, &args, self.ctx.host.pushes());
        let Means { runner, reply } = &mut *self.means;
        reply.clear();
        reply.limit(self.watch.memory);
        let flow = runner.run(&args, self.ctx, reply);
        debug_assert_eq!(flow, Flow::Continue);
        if reply.unlimit() {
            return Err(refuse(lua, "the reply is larger than a script may hold"));
        }
        let reply = convert::flat(reply);
        // The hook counts instructions, of which a call is but a few.
        self.unwatched += CALL_BYTES + reply.len();
        if self.unwatched > WATCHED_BYTES {
            self.unwatched = 0;
            self.watch.look()?;
            // Lua 5.1 does not collect for want of memory; it fails.
            if lua.used_memory() > self.watch.memory / 2 {
                lua.gc_collect()?;
            }
        }
        if let Some(text) = reply.strip_prefix(b"-") {
            let text = String::from_utf8_lossy(text.strip_suffix(b"\r\n").unwrap_or(text)).into_owned();
            return Err(Raised::Reply { text, line: line(lua) }.error());
        }
        unlimited(lua, self.watch.memory, reply.len(), || convert::to_lua(lua, reply))
    }

    fn permitted(&self, lua: &Lua, args: &[&[u8]]) -> mlua::Result<&'static Spec> {
        let Some(row) = table::lookup(args[0]) else {
            return Err(refuse(lua, "Unknown Redis command called from script"));
        };
        let mut spec = &COMMANDS[usize::from(row)];
        if let [_, name, ..] = args
            && !spec.subcommands().is_empty()
        {
            // One that there is not gets its own error when it is planned.
            spec = spec.subcommand(name).unwrap_or(spec);
        }
        if !spec.accepts(args.len()) {
            return Err(refuse(lua, "Wrong number of args calling Redis command from script"));
        }
        if spec.flags.has(Flags::NOSCRIPT) {
            return Err(refuse(lua, "This Redis command is not allowed from script"));
        }
        if self.read_only && spec.flags.has(Flags::WRITE) {
            return Err(refuse(lua, "Write commands are not allowed from read-only scripts."));
        }
        Ok(spec)
    }
}

impl Drop for Call<'_, '_> {
    fn drop(&mut self) {
        std::mem::swap(self.ctx.session, &mut self.client);
    }
}

/// Brings `bytes` into the state; a little of them without its limit, which makes each step slower and holds again for what follows.
pub fn unlimited<T>(
    lua: &Lua,
    memory: usize,
    bytes: usize,
    run: impl FnOnce() -> mlua::Result<T>,
) -> mlua::Result<T> {
    if bytes > LITTLE {
        return run();
    }
    lua.set_memory_limit(0)?;
    let done = run();
    lua.set_memory_limit(memory)?;
    done
}

enum Arg {
    Text(mlua::BorrowedBytes),
    Number(Number),
}

impl Arg {
    fn bytes(&self) -> &[u8] {
        match self {
            Arg::Text(bytes) => bytes,
            Arg::Number(digits) => digits,
        }
    }
}

fn convert_args(lua: &Lua, args: &[Value]) -> mlua::Result<SmallVec<[Arg; 8]>> {
    let convert = |value: &Value| match value {
        Value::String(text) => Ok(Arg::Text(text.as_bytes())),
        Value::Integer(number) => Ok(Arg::Number(itoa::Buffer::new().format(*number).as_bytes().into())),
        Value::Number(number) => Ok(Arg::Number(format_double(*number).as_bytes().into())),
        _ => Err(refuse(lua, "Lua redis lib command arguments must be strings or integers")),
    };
    args.iter().map(convert).collect()
}
