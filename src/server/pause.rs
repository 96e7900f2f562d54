//! CLIENT PAUSE: for a while, all commands wait, or those that write.

use crate::command::table::{self, Flags};
use crate::command::{COMMANDS, PauseMode};
use crate::conn::Session;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The end of the pause in Unix milliseconds, shifted left by one, and a bit that says whether all commands wait. 0: no pause.
/// One word, so that a worker reads both with one load.
#[derive(Debug, Default)]
pub struct Pause(AtomicU64);

impl Pause {
    /// Starts a pause, or ends it. As in Redis, a second one never shortens the first: the later end and the stricter mode hold.
    pub fn set(&self, pause: Option<(u64, PauseMode)>, now_ms: u64) {
        let word = match pause {
            None => 0,
            Some((for_ms, mode)) => {
                let until = now_ms.saturating_add(for_ms).min(u64::MAX >> 1);
                let word = until << 1 | u64::from(mode == PauseMode::All);
                let running = self.0.load(Relaxed);
                if running >> 1 > now_ms { (word.max(running) & !1) | ((word | running) & 1) } else { word }
            }
        };
        self.0.store(word, Relaxed);
    }

    /// Whether a pause of either kind is on.
    pub fn active(&self, now_ms: u64) -> bool {
        let word = self.0.load(Relaxed);
        word != 0 && word >> 1 > now_ms
    }

    /// Which commands wait now.
    pub fn mode(&self, now_ms: u64) -> Option<PauseMode> {
        let word = self.0.load(Relaxed);
        let mode = if word & 1 == 1 { PauseMode::All } else { PauseMode::Write };
        (word != 0 && word >> 1 > now_ms).then_some(mode)
    }

    /// Whether this request has to wait. CLIENT never does, or CLIENT UNPAUSE could not end what CLIENT PAUSE began.
    #[inline]
    pub fn holds(&self, args: &[&[u8]], session: &Session, now_ms: u64) -> bool {
        self.active(now_ms) && self.holds_while_active(args, session)
    }

    #[cold]
    fn holds_while_active(&self, args: &[&[u8]], session: &Session) -> bool {
        let all = self.0.load(Relaxed) & 1 == 1;
        let Some(spec) = args.first().and_then(|name| table::lookup(name)).map(|i| &COMMANDS[usize::from(i)])
        else {
            return false;
        };
        match spec.name {
            "client" => false,
            _ if all => true,
            // A script may write.
            "eval" | "evalsha" => true,
            "exec" => session.transaction.as_ref().is_some_and(|transaction| transaction.writes()),
            _ => spec.flags.has(Flags::WRITE),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session() -> Session {
        Session::new(1, true)
    }

    #[test]
    fn writes_wait_then_everything_then_nothing() {
        let pause = Pause::default();
        let get: &[&[u8]] = &[b"GET", b"k"];
        let set: &[&[u8]] = &[b"SET", b"k", b"v"];
        let client: &[&[u8]] = &[b"CLIENT"];
        assert!(!pause.holds(set, &session(), 1));
        pause.set(Some((100, PauseMode::Write)), 1_000);
        assert!(
            pause.holds(set, &session(), 1_050)
                && !pause.holds(get, &session(), 1_050)
                && !pause.holds(client, &session(), 1_050)
        );
        assert!(!pause.holds(&[b"NOSUCH"], &session(), 1_050), "unknown commands get their error");
        assert!(!pause.holds(set, &session(), 1_100), "over");
        let exec: &[&[u8]] = &[b"EXEC"];
        let mut session = session();
        for (line, held) in [(get, false), (set, true)] {
            session.transaction.get_or_insert_default().push(line, line == set);
            assert_eq!(pause.holds(exec, &session, 1_050), held, "only a transaction that writes");
        }
        let session = || Session::new(1, true);
        pause.set(Some((100, PauseMode::All)), 1_050);
        assert!(pause.holds(get, &session(), 1_149) && !pause.holds(client, &session(), 1_149));
        pause.set(None, 1_060);
        assert!(!pause.active(1_061));
    }

    #[test]
    fn a_second_pause_never_shortens_or_softens_the_first() {
        let pause = Pause::default();
        pause.set(Some((1_000, PauseMode::All)), 0);
        pause.set(Some((10, PauseMode::Write)), 0);
        assert!(pause.holds(&[b"get", b"k"], &session(), 900));
        pause.set(Some((5_000, PauseMode::Write)), 0);
        assert!(pause.holds(&[b"get", b"k"], &session(), 4_900));
        pause.set(Some((10, PauseMode::Write)), 6_000);
        assert!(!pause.holds(&[b"get", b"k"], &session(), 6_001), "the old one is over and counts no more");
    }
}
