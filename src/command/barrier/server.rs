//! The server's own commands: INFO, CONFIG, TIME, ROLE, LASTSAVE, CLUSTER, and the help of every container.

use super::reply;
use crate::command::table::{self, COMMANDS};
use crate::command::{Context, Flow};
use crate::proto::resp::Writer;

/// INFO [section...].
pub fn info(args: &[&[u8]], ctx: &mut Context<'_>, out: &mut Writer<'_>) -> Flow {
    let sections: Vec<String> =
        args[1..].iter().map(|section| String::from_utf8_lossy(section).to_ascii_lowercase()).collect();
    let host = ctx.host;
    let text = host.info(&sections, &mut |partition| ctx.lock_one(partition).stats());
    out.verbatim(b"txt", text.as_bytes());
    Flow::Continue
}

/// CONFIG GET pattern...: each parameter once, however many patterns it matches.
pub fn config_get(args: &[&[u8]], ctx: &mut Context<'_>, out: &mut Writer<'_>) -> Flow {
    let mut found: Vec<(String, String)> = Vec::new();
    for pattern in &args[2..] {
        for (name, value) in ctx.host.config_get(pattern) {
            if !found.iter().any(|(known, _)| *known == name) {
                found.push((name, value));
            }
        }
    }
    out.map(found.len());
    for (name, value) in found {
        out.bulk(name.as_bytes());
        out.bulk(value.as_bytes());
    }
    Flow::Continue
}

/// CONFIG SET parameter value...: all or none.
pub fn config_set(args: &[&[u8]], ctx: &mut Context<'_>, out: &mut Writer<'_>) -> Flow {
    reply(out, |out| {
        let (chunks, odd) = args[2..].as_chunks::<2>();
        if !odd.is_empty() {
            return Err("ERR syntax error".into());
        }
        let pairs: Vec<(&[u8], &[u8])> = chunks.iter().map(|[name, value]| (*name, *value)).collect();
        for (n, (name, _)) in pairs.iter().enumerate() {
            if pairs[..n].iter().any(|(earlier, _)| earlier.eq_ignore_ascii_case(name)) {
                let name = String::from_utf8_lossy(name);
                return Err(format!(
                    "ERR CONFIG SET failed (possibly related to argument '{name}') - duplicate parameter"
                )
                .into());
            }
        }
        ctx.host.config_set(&pairs).map_err(|text| format!("ERR {text}"))?;
        out.ok();
        Ok(())
    })
}

/// CONFIG RESETSTAT.
pub fn config_resetstat(_args: &[&[u8]], ctx: &mut Context<'_>, out: &mut Writer<'_>) -> Flow {
    let host = ctx.host;
    host.reset_stats(&mut |partition| ctx.lock_one(partition).stats());
    out.ok();
    Flow::Continue
}

/// CONFIG REWRITE: no command writes files here.
pub fn config_rewrite(_args: &[&[u8]], _ctx: &mut Context<'_>, out: &mut Writer<'_>) -> Flow {
    out.error("ERR The server is running without a config file");
    Flow::Continue
}

/// CLUSTER, whatever is asked: cluster clients fall back to a plain connection on this error.
pub fn cluster(_args: &[&[u8]], _ctx: &mut Context<'_>, out: &mut Writer<'_>) -> Flow {
    out.error("ERR This instance has cluster support disabled");
    Flow::Continue
}

/// TIME: Unix seconds, and the microseconds beyond.
pub fn time(_args: &[&[u8]], ctx: &mut Context<'_>, out: &mut Writer<'_>) -> Flow {
    let now_us = ctx.host.time_us();
    out.array(2);
    for part in [now_us / 1_000_000, now_us % 1_000_000] {
        out.bulk(itoa::Buffer::new().format(part).as_bytes());
    }
    Flow::Continue
}

/// ROLE: a master without replicas, always.
pub fn role(_args: &[&[u8]], _ctx: &mut Context<'_>, out: &mut Writer<'_>) -> Flow {
    out.array(3);
    out.bulk(b"master");
    out.int(0);
    out.array(0);
    Flow::Continue
}

/// LASTSAVE.
pub fn lastsave(_args: &[&[u8]], ctx: &mut Context<'_>, out: &mut Writer<'_>) -> Flow {
    out.int(i64::try_from(ctx.host.started_at_s()).unwrap_or(i64::MAX));
    Flow::Continue
}

/// HELP of CLIENT, COMMAND, CONFIG, MEMORY and OBJECT: two lines for each subcommand in the table.
pub fn help(args: &[&[u8]], _ctx: &mut Context<'_>, out: &mut Writer<'_>) -> Flow {
    let subcommands = table::lookup(args[0]).map_or(&[][..], |row| COMMANDS[usize::from(row)].subcommands());
    out.array(1 + 2 * subcommands.len());
    out.simple(&format!(
        "{} <subcommand> [<argument> ...], with one of:",
        String::from_utf8_lossy(args[0]).to_uppercase()
    ));
    for sub in subcommands {
        out.simple(&sub.own_name().to_ascii_uppercase());
        out.simple(&format!("    {}", sub.summary));
    }
    Flow::Continue
}
