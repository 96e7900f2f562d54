//! Commands that others watch: keys that a tracking client is about to read, lines for those who monitor.
//!
//! Called before a command is executed. So a key is remembered before it is read, and no change in between is missed.

use super::connections::{Codec, Conn};
use super::rounds::TurnEnv;
use crate::command::table::Flags;
use crate::command::{Host, Op, Request, Spec, reads};
use crate::proto::Outcome;
use crate::server;

/// Whether a connection's next command is looked at.
#[inline]
pub fn is_observed(conn: &Conn, env: &TurnEnv<'_>) -> bool {
    conn.session.tracking().is_some() || env.shared.monitors.any()
}

/// Looks at a command that has passed all checks. `lines` is for those who monitor.
#[cold]
pub fn command(conn: &Conn, args: &[&[u8]], env: &TurnEnv<'_>, lines: &mut Vec<u8>) {
    reads::note(&conn.session, args, env.shared);
    show(conn, args, env, lines);
}

/// Looks at a command that runs alone, and, where that is EXEC, first at those that were queued: what they read is noted when they do
/// (barrier/transaction.rs), as CLIENT CACHING may be among them.
#[cold]
pub fn barrier(conn: &Conn, args: &[&[u8]], env: &TurnEnv<'_>, lines: &mut Vec<u8>) {
    if let Some(transaction) = &conn.session.transaction
        && reads::row_of(args).is_some_and(|spec| spec.name == "exec")
        && !transaction.has_failed()
    {
        let mut queued = Vec::new();
        for index in 0..transaction.len() {
            transaction.command(index, &mut queued);
            show(conn, &queued, env, lines);
        }
    }
    command(conn, args, env, lines);
}

fn show(conn: &Conn, args: &[&[u8]], env: &TurnEnv<'_>, lines: &mut Vec<u8>) {
    if let Some(spec) = reads::row_of(args)
        && env.shared.monitors.any()
        && !spec.flags.has(Flags::ADMIN)
    {
        let origin = (conn.session.db, conn.client.addr, "");
        server::write_line(lines, env.shared.time_us(), origin, args, secrets(spec, args));
    }
}

/// Shows requests of a protocol that plans by itself: what is done, in Redis's words where they are not memcached's, and to which key.
#[cold]
pub fn requests(conn: &Conn, requests: &[Request<'_>], env: &TurnEnv<'_>, lines: &mut Vec<u8>) {
    let protocol = match conn.codec {
        Codec::Text(_) | Codec::Binary(_) => " memcached",
        Codec::Http(_) => " http",
        Codec::Protobuf(_) => " protobuf",
        Codec::Resp(_) | Codec::Json(_) | Codec::Unknown => "",
    };
    // What has been answered already was refused, or is about no key.
    for request in requests.iter().filter(|request| matches!(request.outcome, Outcome::Pending)) {
        let verb = match (&request.op, &conn.codec) {
            (op, Codec::Text(_) | Codec::Binary(_)) => match op {
                Op::Get | Op::GetItem | Op::GetInArray => "get",
                Op::Set { .. } | Op::SetIf { .. } => "set",
                op => op.name(),
            },
            (Op::Fetch(_) | Op::GetItem, _) => "GET",
            (Op::Store { .. }, _) => "SET",
            (Op::Remove(_), _) => "DEL",
            (Op::Count(_), _) => "INCRBY",
            (op, _) => op.name(),
        };
        let origin = (request.key.db, conn.client.addr, protocol);
        let args = [verb.as_bytes(), request.key.bytes];
        server::write_line(lines, env.shared.time_us(), origin, &args, 0..0);
    }
}

/// CLIENT CACHING holds for one command, which may be a whole transaction; other commands of CLIENT do not count.
pub fn executed(conn: &mut Conn, args: &[&[u8]]) {
    let in_multi = conn.session.in_multi();
    if let Some(tracking) = conn.session.listening.as_mut().and_then(|listening| listening.tracking.as_mut())
        && tracking.caching
        && !in_multi
        && !args[0].eq_ignore_ascii_case(b"client")
    {
        tracking.caching = false;
    }
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

    #[test]
    fn passwords_are_hidden() {
        let hidden = |line: &str| {
            let args: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
            secrets(reads::row_of(&args).unwrap(), &args)
        };
        assert_eq!(hidden("AUTH secret"), 1..2);
        assert_eq!(hidden("auth user secret"), 1..3);
        assert_eq!(hidden("HELLO 3 SETNAME x auth user secret"), 5..7);
        assert_eq!(hidden("GET auth"), 0..0);
    }
}
