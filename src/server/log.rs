//! What the server says on standard error, by level. Never called on the data path: a worker that logs waits for a terminal.

use crate::config::LogLevel;
use std::fmt::Arguments;
use std::io::Write;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

static LEVEL: AtomicU8 = AtomicU8::new(LogLevel::Info as u8);

pub fn level() -> LogLevel {
    let level = LEVEL.load(Relaxed);
    [LogLevel::Error, LogLevel::Warn, LogLevel::Info, LogLevel::Debug][usize::from(level.min(3))]
}

pub fn set_level(level: LogLevel) {
    LEVEL.store(level as u8, Relaxed);
}

pub fn error(text: Arguments<'_>) {
    say(LogLevel::Error, "error: ", text);
}

pub fn warn(text: Arguments<'_>) {
    say(LogLevel::Warn, "warning: ", text);
}

pub fn info(text: Arguments<'_>) {
    say(LogLevel::Info, "", text);
}

pub fn debug(text: Arguments<'_>) {
    say(LogLevel::Debug, "debug: ", text);
}

fn say(level: LogLevel, prefix: &str, text: Arguments<'_>) {
    if level as u8 <= LEVEL.load(Relaxed) {
        // A closed standard error must not end the server, so the failure is let go.
        let _ = writeln!(std::io::stderr().lock(), "{prefix}{text}");
    }
}
