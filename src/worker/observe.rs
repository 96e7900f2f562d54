//! Commands that others watch: keys that a tracking client is about to read, lines for those who monitor.
//!
//! Called before a command is executed. So a key is remembered before it is read, and no change in between is missed.

use super::connections::Conn;
use super::rounds::TurnEnv;
use crate::command::table::{self, COMMANDS, Flags};
use crate::command::{Host, Spec};
use crate::server;

/// Whether a connection's next command is looked at.
#[inline]
pub fn is_observed(conn: &Conn, env: &TurnEnv<'_>) -> bool {
    conn.session.tracking().is_some() || env.shared.monitors.any()
}

/// Looks at a command that has passed all checks. `lines` is for those who monitor.
#[cold]
pub fn command(conn: &Conn, args: &[&[u8]], env: &TurnEnv<'_>, lines: &mut Vec<u8>) {
    let Some(spec) = spec_of(args) else { return };
    if conn.session.remembers_reads() && spec.flags.has(Flags::READONLY) {
        for key in keys_of(spec, args) {
            env.shared.remember_read(conn.session.id, key);
        }
    }
    if env.shared.monitors.any() && !spec.flags.has(Flags::ADMIN) {
        let (now_us, db) = (env.shared.time_us(), conn.session.db);
        server::write_line(lines, now_us, db, conn.client.addr, args, secrets(spec, args));
    }
}

/// Looks at what a connection has queued, when EXEC is about to run it.
pub fn queued(conn: &Conn, env: &TurnEnv<'_>, lines: &mut Vec<u8>) {
    let Some(transaction) = &conn.session.transaction else { return };
    let mut args = Vec::new();
    for index in 0..transaction.len() {
        args.clear();
        transaction.command(index, &mut args);
        command(conn, &args, env, lines);
    }
}

/// CLIENT CACHING holds for one command.
pub fn executed(conn: &mut Conn, args: &[&[u8]]) {
    if let Some(tracking) = conn.session.listening.as_mut().and_then(|listening| listening.tracking.as_mut())
        && tracking.caching
        && spec_of(args).is_none_or(|spec| spec.name != "client|caching")
    {
        tracking.caching = false;
    }
}

/// The row of a command line, or of its subcommand.
fn spec_of(args: &[&[u8]]) -> Option<&'static Spec> {
    let spec = &COMMANDS[usize::from(table::lookup(args.first()?)?)];
    Some(args.get(1).and_then(|name| spec.subcommand(name)).unwrap_or(spec))
}

/// The keys of a command that names them by position, as all do that only read.
fn keys_of<'a>(spec: &Spec, args: &[&'a [u8]]) -> impl Iterator<Item = &'a [u8]> {
    let position = |n: i8| {
        if n < 0 {
            args.len().saturating_sub(usize::from(n.unsigned_abs()))
        } else {
            usize::from(n.unsigned_abs())
        }
    };
    let (first, last) = (position(spec.keys.first), position(spec.keys.last));
    let keys = if spec.keys.first == 0 { &[][..] } else { args.get(first..=last).unwrap_or_default() };
    keys.iter().step_by(usize::from(spec.keys.step.unsigned_abs()).max(1)).copied()
}

/// Which arguments nobody is to read.
fn secrets(spec: &Spec, args: &[&[u8]]) -> std::ops::Range<usize> {
    match spec.name {
        "auth" => 1..args.len(),
        "hello" => {
            args.iter().position(|arg| arg.eq_ignore_ascii_case(b"AUTH")).map_or(0..0, |at| at + 1..at + 3)
        }
        _ => 0..0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(line: &str) -> Vec<String> {
        let args: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        keys_of(spec_of(&args).unwrap(), &args).map(|key| String::from_utf8_lossy(key).into_owned()).collect()
    }

    #[test]
    fn keys_are_where_the_table_says() {
        assert_eq!(keys("GET a"), ["a"]);
        assert_eq!(keys("mget a b c"), ["a", "b", "c"]);
        assert_eq!(keys("LCS a b LEN"), ["a", "b"]);
        assert_eq!(keys("OBJECT ENCODING a"), ["a"]);
        assert!(keys("DBSIZE").is_empty() && keys("SCAN 0").is_empty());
    }

    #[test]
    fn passwords_are_hidden() {
        let hidden = |line: &str| {
            let args: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
            secrets(spec_of(&args).unwrap(), &args)
        };
        assert_eq!(hidden("AUTH secret"), 1..2);
        assert_eq!(hidden("auth user secret"), 1..3);
        assert_eq!(hidden("HELLO 3 SETNAME x auth user secret"), 5..7);
        assert_eq!(hidden("GET auth"), 0..0);
    }
}
