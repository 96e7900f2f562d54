//! A command between MULTI and EXEC: checked as far as it can be without running, and kept.

use super::{NO_AUTH, unknown_command, unknown_subcommand, wrong_arity};
use crate::command::CommandStats;
use crate::command::table::{self, COMMANDS, ErrorText, Flags, Spec};
use crate::conn::Session;
use crate::limits::{TRANSACTION_COMMANDS, TRANSACTION_SHARE};
use crate::proto::{Form, Outcome};
use crate::store::Store;

static QUEUED: &[u8] = b"+QUEUED\r\n";

/// What became of a command inside a transaction.
#[derive(Debug)]
pub enum Queued {
    /// It waits for EXEC.
    Kept,
    /// It was refused, and so will EXEC be.
    Refused(Outcome),
    /// It is one of the few that run at once: EXEC, DISCARD, RESET, QUIT.
    Now,
}

impl Queued {
    /// How QUEUED is written.
    pub fn form() -> Form<'static> {
        Form::Ready(&QUEUED)
    }
}

/// Queues a command of a session that is in a transaction.
pub fn enqueue(args: &[&[u8]], session: &mut Session, store: &Store, stats: &mut CommandStats) -> Queued {
    let Some(transaction) = &mut session.transaction else { return Queued::Now };
    let most_bytes = store.budget().limit() / TRANSACTION_SHARE;
    let bytes = transaction.memory() + args.iter().map(|arg| arg.len()).sum::<usize>();
    let refusal = match checked(args, session.authenticated) {
        Ok(spec) if matches!(spec.name, "exec" | "discard" | "reset" | "quit") => return Queued::Now,
        Ok(_) if transaction.len() >= TRANSACTION_COMMANDS || bytes > most_bytes => {
            "ERR the transaction has too many commands, or is larger than --max-memory leaves room for".into()
        }
        Ok(spec) => {
            if !transaction.has_failed() {
                transaction.push(args, spec.flags.has(Flags::WRITE));
            }
            return Queued::Kept;
        }
        Err(refusal) => refusal,
    };
    transaction.fail();
    if args[0].eq_ignore_ascii_case(b"exec") {
        (session.transaction, session.watched) = (None, Vec::new());
    }
    stats.errors += 1;
    Queued::Refused(Outcome::Error(refusal))
}

/// The row of a command that may be in a transaction and whose number of arguments is right.
fn checked(args: &[&[u8]], authenticated: bool) -> Result<&'static Spec, ErrorText> {
    let row = table::lookup(args[0]).ok_or_else(|| unknown_command(args))?;
    let mut spec = &COMMANDS[usize::from(row)];
    if spec.accepts(args.len())
        && let [_, name, ..] = args
        && !spec.subcommands().is_empty()
    {
        spec = spec.subcommand(name).ok_or_else(|| unknown_subcommand(spec, args))?;
    }
    if !spec.accepts(args.len()) {
        return Err(wrong_arity(spec));
    }
    if !authenticated && !spec.flags.has(Flags::NO_AUTH) {
        return Err(NO_AUTH.into());
    }
    if spec.flags.has(Flags::NO_MULTI) {
        return Err(format!("ERR Command '{}' not allowed inside a transaction", spec.name).into());
    }
    Ok(spec)
}
