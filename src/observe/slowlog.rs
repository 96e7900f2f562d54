//! The slow log: the last commands that took longer than a threshold (Redis's SLOWLOG).

use crate::limits;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering::Relaxed};

/// One slow command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlowCommand {
    /// Never reused.
    pub id: u64,
    /// Unix seconds when it had run.
    pub at_s: u64,
    pub took_us: u64,
    /// Its name and arguments, those beyond the limits replaced by a note of how much more there was.
    pub args: Vec<Vec<u8>>,
    /// "ip:port".
    pub addr: String,
    /// The connection's name.
    pub name: String,
}

#[derive(Debug)]
pub struct Slowlog {
    /// Microseconds; negative: nothing is logged.
    threshold_us: AtomicI64,
    max_len: AtomicUsize,
    log: Mutex<Log>,
}

#[derive(Debug, Default)]
struct Log {
    next_id: u64,
    /// Newest first.
    entries: VecDeque<SlowCommand>,
}

impl Default for Slowlog {
    fn default() -> Slowlog {
        Slowlog {
            threshold_us: AtomicI64::new(limits::SLOWLOG_SLOWER_THAN_US),
            max_len: AtomicUsize::new(limits::SLOWLOG_MAX_LEN),
            log: Mutex::default(),
        }
    }
}

impl Slowlog {
    /// Whether a command that took so long belongs into the log.
    #[inline]
    pub fn wants(&self, took_ns: u64) -> bool {
        u64::try_from(self.threshold_us.load(Relaxed)).is_ok_and(|least_us| took_ns / 1000 >= least_us)
    }

    /// Enters a command, and forgets the oldest ones beyond the length.
    pub fn add(&self, at_s: u64, took_ns: u64, args: &[&[u8]], addr: String, name: &str) {
        let args = kept(args);
        let mut log = self.log.lock();
        let id = log.next_id;
        log.next_id += 1;
        let entry = SlowCommand { id, at_s, took_us: took_ns / 1000, args, addr, name: name.to_owned() };
        log.entries.push_front(entry);
        log.entries.truncate(self.max_len());
    }

    /// The newest entries, newest first.
    pub fn newest(&self, count: usize) -> Vec<SlowCommand> {
        self.log.lock().entries.iter().take(count).cloned().collect()
    }

    pub fn len(&self) -> usize {
        self.log.lock().entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn reset(&self) {
        self.log.lock().entries.clear();
    }

    /// Microseconds; negative: nothing is logged.
    pub fn threshold_us(&self) -> i64 {
        self.threshold_us.load(Relaxed)
    }

    pub fn set_threshold_us(&self, us: i64) {
        self.threshold_us.store(us, Relaxed);
    }

    pub fn max_len(&self) -> usize {
        self.max_len.load(Relaxed)
    }

    pub fn set_max_len(&self, len: usize) {
        self.max_len.store(len, Relaxed);
        self.log.lock().entries.truncate(len);
    }
}

/// What an entry keeps of a command line: as Redis, so many arguments and so many bytes of each.
fn kept(args: &[&[u8]]) -> Vec<Vec<u8>> {
    let most = limits::SLOWLOG_ARGS;
    let shown = if args.len() > most { most - 1 } else { args.len() };
    let mut kept: Vec<Vec<u8>> = args[..shown].iter().map(|arg| shortened(arg)).collect();
    if shown < args.len() {
        kept.push(format!("... ({} more arguments)", args.len() - shown).into_bytes());
    }
    kept
}

fn shortened(arg: &[u8]) -> Vec<u8> {
    let most = limits::SLOWLOG_ARG_BYTES;
    if arg.len() <= most {
        return arg.to_vec();
    }
    let mut text = arg[..most].to_vec();
    text.extend_from_slice(format!("... ({} more bytes)", arg.len() - most).as_bytes());
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_stay_and_ids_go_on() {
        let log = Slowlog::default();
        assert!(log.wants(10_000_000) && !log.wants(9_999_999));
        log.set_threshold_us(0);
        assert!(log.wants(0));
        log.set_threshold_us(-1);
        assert!(!log.wants(u64::MAX));
        log.set_max_len(2);
        for n in 0..3u64 {
            log.add(n, 5_000, &[b"GET", b"k"], "1.2.3.4:5".into(), "app");
        }
        let ids = |log: &Slowlog| log.newest(10).iter().map(|entry| entry.id).collect::<Vec<_>>();
        assert_eq!((ids(&log), log.len()), (vec![2, 1], 2));
        assert_eq!((log.newest(1)[0].took_us, log.newest(1)[0].name.as_str()), (5, "app"));
        log.set_max_len(1);
        assert_eq!(ids(&log), [2]);
        log.reset();
        assert!(log.is_empty());
        log.add(9, 0, &[b"PING"], String::new(), "");
        assert_eq!(ids(&log), [3]);
    }

    #[test]
    fn long_command_lines_are_cut() {
        let long = vec![b'x'; 200];
        let mut args: Vec<&[u8]> = vec![b"MSET", &long];
        args.resize(40, b"k");
        let kept = kept(&args);
        assert_eq!(kept.len(), 32);
        assert!(kept[1].starts_with(&[b'x'; 128]) && kept[1].ends_with(b"... (72 more bytes)"));
        assert_eq!(kept[31], b"... (9 more arguments)");
    }
}
