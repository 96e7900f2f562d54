//! Keys that a command reads, for clients that cache what they read (CLIENT TRACKING).

use super::Pushes;
use super::table::{self, COMMANDS, Flags, Spec};
use crate::conn::Session;

/// The row of a command line, or of its subcommand.
pub fn row_of(args: &[&[u8]]) -> Option<&'static Spec> {
    let spec = &COMMANDS[usize::from(table::lookup(args.first()?)?)];
    Some(args.get(1).and_then(|name| spec.subcommand(name)).unwrap_or(spec))
}

/// The keys of a command that names them by position, as all do that only read.
pub fn keys_of<'a>(spec: &Spec, args: &[&'a [u8]]) -> impl Iterator<Item = &'a [u8]> {
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

/// A command is about to be executed for this client: remembers what it reads, if the client wants that.
#[inline]
pub fn note(session: &Session, args: &[&[u8]], pushes: &dyn Pushes) {
    if session.remembers_reads()
        && let Some(spec) = row_of(args)
        && spec.flags.has(Flags::READONLY)
    {
        let redirects = session.tracking().is_some_and(|tracking| tracking.redirect.is_some());
        keys_of(spec, args).for_each(|key| pushes.reads(session.id, key, redirects));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(line: &str) -> Vec<String> {
        let args: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        keys_of(row_of(&args).unwrap(), &args).map(|key| String::from_utf8_lossy(key).into_owned()).collect()
    }

    #[test]
    fn keys_are_where_the_table_says() {
        assert_eq!(keys("GET a"), ["a"]);
        assert_eq!(keys("mget a b c"), ["a", "b", "c"]);
        assert_eq!(keys("LCS a b LEN"), ["a", "b"]);
        assert_eq!(keys("OBJECT ENCODING a"), ["a"]);
        assert!(keys("DBSIZE").is_empty() && keys("SCAN 0").is_empty());
        assert!(keys("EVAL_RO x 1 a").is_empty(), "what a script reads is noted when it does");
    }
}
