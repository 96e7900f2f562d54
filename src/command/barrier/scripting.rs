//! EVAL and its kin, SCRIPT, and what there is of FUNCTION.
//!
//! A script runs with all partitions held: it may touch any key, declared or not. What it needs before that, hashing and compiling, is
//! done before they are locked.

use super::locked::LockedSet;
use super::reply;
use crate::command::script::{Compiled, Script, hex, parse_digest};
use crate::command::table::ErrorText;
use crate::command::{Context, Flow, integer};
use crate::proto::resp::Writer;
use std::sync::Arc;

const NO_SCRIPT: &str = "NOSCRIPT No matching script. Please use EVAL.";

/// EVAL script numkeys key... argument...
pub fn eval(args: &[&[u8]], ctx: &mut Context<'_>, out: &mut Writer<'_>) -> Flow {
    run(args, ctx, out, of_source, false)
}

/// EVAL_RO: a script that writes nothing.
pub fn eval_ro(args: &[&[u8]], ctx: &mut Context<'_>, out: &mut Writer<'_>) -> Flow {
    run(args, ctx, out, of_source, true)
}

/// EVALSHA sha1 numkeys key... argument...: a script that the server knows.
pub fn evalsha(args: &[&[u8]], ctx: &mut Context<'_>, out: &mut Writer<'_>) -> Flow {
    run(args, ctx, out, of_digest, false)
}

/// EVALSHA_RO.
pub fn evalsha_ro(args: &[&[u8]], ctx: &mut Context<'_>, out: &mut Writer<'_>) -> Flow {
    run(args, ctx, out, of_digest, true)
}

type Find = fn(&[u8], &mut Context<'_>) -> Result<Compiled, ErrorText>;

fn run(args: &[&[u8]], ctx: &mut Context<'_>, out: &mut Writer<'_>, find: Find, read_only: bool) -> Flow {
    reply(out, |out| {
        let count = integer(args[2])?;
        let rest = &args[3..];
        if count < 0 {
            return Err("ERR Number of keys can't be negative".into());
        }
        let count = usize::try_from(count).ok().filter(|count| *count <= rest.len());
        let count = count.ok_or("ERR Number of keys can't be greater than number of args")?;
        let script = find(args[1], ctx)?;
        let Some(scripts) = ctx.scripts.take() else {
            return Err("ERR scripts cannot run here".into());
        };
        let own = ctx.held.is_none();
        if own {
            ctx.hold(|ctx| LockedSet::all(ctx.store));
        }
        scripts.run(&script, rest.split_at(count), read_only, ctx, out);
        if own {
            ctx.free();
            drop(script);
            scripts.tidy();
        }
        ctx.scripts = Some(scripts);
        Ok(())
    })
}

fn of_source(source: &[u8], ctx: &mut Context<'_>) -> Result<Compiled, ErrorText> {
    let scripts = ctx.scripts.as_deref_mut().ok_or("ERR scripts cannot run here")?;
    if let Some(known) = scripts.compiled(&Script::digest(source), ctx.host.scripts()) {
        return Ok(known);
    }
    let script = Arc::new(Script::new(source)?);
    let compiled = scripts.compile(&script, (ctx.host, ctx.store.budget().limit()))?;
    ctx.host.scripts().insert(&script, false);
    Ok(compiled)
}

fn of_digest(digest: &[u8], ctx: &mut Context<'_>) -> Result<Compiled, ErrorText> {
    let scripts = ctx.scripts.as_deref_mut().ok_or("ERR scripts cannot run here")?;
    let digest = parse_digest(digest).ok_or(NO_SCRIPT)?;
    if let Some(known) = scripts.compiled(&digest, ctx.host.scripts()) {
        return Ok(known);
    }
    let script = ctx.host.scripts().get(&digest).ok_or(NO_SCRIPT)?;
    scripts.compile(&script, (ctx.host, ctx.store.budget().limit()))
}

/// SCRIPT LOAD script: its SHA-1.
pub fn script_load(args: &[&[u8]], ctx: &mut Context<'_>, out: &mut Writer<'_>) -> Flow {
    reply(out, |out| {
        let script = Arc::new(Script::new(args[2])?);
        let scripts = ctx.scripts.as_deref_mut().ok_or("ERR scripts cannot run here")?;
        scripts.compile(&script, (ctx.host, ctx.store.budget().limit()))?;
        if !ctx.host.scripts().insert(&script, true) {
            return Err("ERR there is no room for more scripts, SCRIPT FLUSH makes some".into());
        }
        out.bulk(hex(&script.digest).as_bytes());
        Ok(())
    })
}

/// SCRIPT EXISTS sha1...: 1 for each that the server knows.
pub fn script_exists(args: &[&[u8]], ctx: &mut Context<'_>, out: &mut Writer<'_>) -> Flow {
    out.array(args.len() - 2);
    for digest in &args[2..] {
        let known = parse_digest(digest).and_then(|digest| ctx.host.scripts().get(&digest));
        out.int(known.is_some().into());
    }
    Flow::Continue
}

/// SCRIPT FLUSH [ASYNC|SYNC]: every worker forgets what it has compiled when it next looks.
pub fn script_flush(args: &[&[u8]], ctx: &mut Context<'_>, out: &mut Writer<'_>) -> Flow {
    flush_option(args, out, "ERR SCRIPT FLUSH only support SYNC|ASYNC option", || ctx.host.scripts().flush())
}

/// SCRIPT KILL: no script can be met running, as it holds everything that another client could ask for, and ends by itself.
pub fn script_kill(_args: &[&[u8]], _ctx: &mut Context<'_>, out: &mut Writer<'_>) -> Flow {
    out.error("NOTBUSY No scripts in execution right now.");
    Flow::Continue
}

/// FUNCTION FLUSH [ASYNC|SYNC]: there are none.
pub fn function_flush(args: &[&[u8]], _ctx: &mut Context<'_>, out: &mut Writer<'_>) -> Flow {
    flush_option(args, out, "ERR FUNCTION FLUSH only supports SYNC|ASYNC option", || ())
}

/// FUNCTION LIST: there are none.
pub fn function_list(_args: &[&[u8]], _ctx: &mut Context<'_>, out: &mut Writer<'_>) -> Flow {
    out.array(0);
    Flow::Continue
}

/// FUNCTION STATS: none runs, and none is there.
pub fn function_stats(_args: &[&[u8]], _ctx: &mut Context<'_>, out: &mut Writer<'_>) -> Flow {
    out.map(2);
    out.bulk(b"running_script");
    out.null();
    out.bulk(b"engines");
    out.map(1);
    out.bulk(b"LUA");
    out.map(2);
    for name in ["libraries_count", "functions_count"] {
        out.bulk(name.as_bytes());
        out.int(0);
    }
    Flow::Continue
}

/// FUNCTION DELETE: there is none to delete.
pub fn function_delete(_args: &[&[u8]], _ctx: &mut Context<'_>, out: &mut Writer<'_>) -> Flow {
    out.error("ERR Library not found");
    Flow::Continue
}

/// FCALL, FCALL_RO: there is none to call.
pub fn fcall(_args: &[&[u8]], _ctx: &mut Context<'_>, out: &mut Writer<'_>) -> Flow {
    out.error("ERR Function not found");
    Flow::Continue
}

/// FUNCTION LOAD: functions are not kept, scripts are.
pub fn function_load(_args: &[&[u8]], _ctx: &mut Context<'_>, out: &mut Writer<'_>) -> Flow {
    out.error("ERR functions are not supported by this server, use EVAL or SCRIPT LOAD");
    Flow::Continue
}

fn flush_option(args: &[&[u8]], out: &mut Writer<'_>, error: &str, flush: impl FnOnce()) -> Flow {
    match args {
        [_, _] => {}
        [_, _, how] if how.eq_ignore_ascii_case(b"ASYNC") || how.eq_ignore_ascii_case(b"SYNC") => {}
        _ => {
            out.error(error);
            return Flow::Continue;
        }
    }
    flush();
    out.ok();
    Flow::Continue
}
