//! What may change while the server runs, as atomics that workers read.

use crate::config::Config;
use parking_lot::RwLock;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};

/// Live settings; CONFIG SET changes them (`parameters.rs`). The memory limit is not here: the budget has it.
#[derive(Debug)]
pub struct Settings {
    max_clients: AtomicUsize,
    idle_timeout_s: AtomicU64,
    protected_mode: AtomicBool,
    password_set: AtomicBool,
    password: RwLock<Box<[u8]>>,
    successor: RwLock<Box<str>>,
}

impl Settings {
    pub fn new(config: &Config) -> Settings {
        Settings {
            max_clients: AtomicUsize::new(config.max_clients),
            idle_timeout_s: AtomicU64::new(config.idle_timeout_s),
            protected_mode: AtomicBool::new(config.protected_mode),
            password_set: AtomicBool::new(!config.password.is_empty()),
            password: RwLock::new(config.password.clone().into()),
            successor: RwLock::new(config.successor.as_str().into()),
        }
    }

    pub fn max_clients(&self) -> usize {
        self.max_clients.load(Relaxed)
    }

    pub fn set_max_clients(&self, clients: usize) {
        self.max_clients.store(clients, Relaxed);
    }

    /// 0: connections may be silent for ever.
    pub fn idle_timeout_s(&self) -> u64 {
        self.idle_timeout_s.load(Relaxed)
    }

    pub fn set_idle_timeout_s(&self, seconds: u64) {
        self.idle_timeout_s.store(seconds, Relaxed);
    }

    pub fn protected_mode(&self) -> bool {
        self.protected_mode.load(Relaxed)
    }

    pub fn set_protected_mode(&self, on: bool) {
        self.protected_mode.store(on, Relaxed);
    }

    /// Whether clients from other machines are refused now: a password protects as well.
    pub fn is_protected(&self) -> bool {
        self.protected_mode() && !self.password_is_set()
    }

    pub fn password_is_set(&self) -> bool {
        self.password_set.load(Relaxed)
    }

    /// The password; empty if there is none.
    pub fn password(&self) -> Box<[u8]> {
        self.password.read().clone()
    }

    /// An empty one removes it.
    pub fn set_password(&self, password: &[u8]) {
        let mut current = self.password.write();
        *current = password.into();
        self.password_set.store(!password.is_empty(), Relaxed);
    }

    /// The server that takes over when this one ends, "host:port"; empty: none.
    pub fn successor(&self) -> Box<str> {
        self.successor.read().clone()
    }

    pub fn set_successor(&self, address: &str) {
        *self.successor.write() = address.into();
    }

    /// Whether this is the password, or none is set. The time taken depends on what was given only, not on how much of it is right.
    pub fn password_is(&self, given: &[u8]) -> bool {
        let password = self.password.read();
        if password.is_empty() {
            return true;
        }
        let mut difference = usize::from(given.len() != password.len());
        for (i, byte) in given.iter().enumerate() {
            difference |= usize::from(byte ^ password[i % password.len()]);
        }
        std::hint::black_box(difference) == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::testing;

    #[test]
    fn a_password_is_compared_whole() {
        let settings = Settings::new(&testing::config("--requirepass secret"));
        assert!(settings.password_is_set() && !settings.is_protected());
        for (given, right) in
            [("secret", true), ("secre", false), ("secretsecret", false), ("Secret", false), ("", false)]
        {
            assert_eq!(settings.password_is(given.as_bytes()), right, "{given}");
        }
        settings.set_password(b"");
        assert!(!settings.password_is_set() && settings.is_protected() && settings.password_is(b"anything"));
    }
}
