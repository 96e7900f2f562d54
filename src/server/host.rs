//! The server as commands see it: [`Host`] over [`Shared`].

use super::mailbox::{self, Message};
use super::shared::{Shared, unix_us};
use crate::command::glob::Glob;
use crate::command::script::ScriptCache;
use crate::command::{ClientFilter, Host, PauseMode, Pushes, StatsOf};
use crate::config::DebugCommand;
use crate::conn::Session;
use crate::observe::{Histogram, Observer};
use crate::store::PartitionStats;
use crate::sys::listener::is_local;
use crate::sys::machine;
use crate::sys::signals;
use std::sync::LazyLock;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

impl Host for Shared {
    fn info(&self, sections: &[String], stats: &mut dyn FnMut(usize) -> PartitionStats) -> String {
        super::info::render(self, sections, stats)
    }

    fn config_get(&self, pattern: &[u8]) -> Vec<(String, String)> {
        let pattern = Glob::ignoring_case(pattern);
        let all = self.parameters().into_iter();
        all.filter(|(name, _)| pattern.matches(name.as_bytes()))
            .map(|(name, value)| (name.to_string(), value))
            .collect()
    }

    fn config_set(&self, pairs: &[(&[u8], &[u8])]) -> Result<(), String> {
        self.set_parameters(pairs)
    }

    fn reset_stats(&self, stats: &mut dyn FnMut(usize) -> PartitionStats) {
        self.reset_baseline(stats);
    }

    fn client_list(&self, filter: &ClientFilter) -> String {
        self.clients.list(filter, now_ms())
    }

    fn client_info(&self, id: u64) -> String {
        self.clients.info(id, now_ms())
    }

    fn client_kill(&self, filter: &ClientFilter) -> usize {
        let killed = self.clients.kill(filter, now_ms());
        // One message each, however many of its connections go: a worker looks at all of them once.
        for worker in 0..self.workers.len() {
            if killed.iter().any(|client| client.worker == worker) {
                self.send(worker, Message::Kill);
            }
        }
        killed.len()
    }

    fn client_changed(&self, session: &Session) {
        if let Some(client) = self.clients.find(session.id) {
            client.update(session);
        }
    }

    fn client_pause(&self, pause: Option<(u64, PauseMode)>) {
        self.pause.set(pause, now_ms());
    }

    fn password_required(&self) -> bool {
        self.password_is_set()
    }

    fn authenticate(&self, user: &[u8], password: &[u8]) -> bool {
        // Both are looked at in any case, so that a wrong name takes as long as a wrong password.
        let right = self.settings.password_is(password);
        user == b"default" && right
    }

    fn allows_origin(&self, origin: &[u8]) -> bool {
        let allowed = &self.config.http_allow_origin;
        allowed.iter().any(|allowed| allowed == "*" || allowed.as_bytes().eq_ignore_ascii_case(origin))
    }

    fn time_us(&self) -> u64 {
        unix_us()
    }

    fn random(&self) -> u64 {
        // SplitMix64: a counter and a mix. Its numbers choose keys, they keep no secrets.
        let mut z = self.random.fetch_add(0x9e37_79b9_7f4a_7c15, Relaxed);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn clock(&self) -> fn() -> u64 {
        monotonic_us
    }

    fn scripts(&self) -> &ScriptCache {
        &self.scripts
    }

    fn script_time_limit_ms(&self) -> u64 {
        self.config.lua_time_limit_ms
    }

    fn pushes(&self) -> &dyn Pushes {
        self
    }

    fn started_at_s(&self) -> u64 {
        self.started_us / 1_000_000
    }

    fn observer(&self) -> &Observer {
        &self.observer
    }

    fn command_times(&self) -> Vec<Histogram> {
        self.times_since_reset()
    }

    fn doctor(&self, json: bool) -> Option<String> {
        let found = self.doctor.latest()?;
        Some(if json { found.json() } else { found.text() })
    }

    fn hotkeys_begin(&self) {
        *self.hotkeys_cpu.lock() = machine::cpu_times();
    }

    fn hotkeys_cpu_us(&self) -> (u64, u64) {
        let (then, now) = (self.hotkeys_cpu.lock(), machine::cpu_times());
        (now.user_us.saturating_sub(then.user_us), now.system_us.saturating_sub(then.system_us))
    }

    fn partitions_held(&self) {
        mailbox::hold_wakes();
    }

    fn partitions_free(&self) {
        for worker in mailbox::held_wakes() {
            self.wake(worker);
        }
    }

    fn may_wait(&self) -> bool {
        !self.is_draining()
    }

    fn wait_begins(&self, hash: u64, client: u64) {
        if let Some(entry) = self.clients.find(client) {
            self.waiters.add(hash, (entry.worker, client));
        }
    }

    fn wait_ends(&self, hash: u64, client: u64) {
        if let Some(entry) = self.clients.find(client) {
            self.waiters.remove(hash, (entry.worker, client));
        }
    }

    fn debug_allowed(&self, client: u64) -> bool {
        match self.config.debug_command {
            DebugCommand::No => false,
            DebugCommand::Yes => true,
            DebugCommand::Local => self.clients.find(client).is_some_and(|client| is_local(client.addr)),
        }
    }

    fn sleep_ms(&self, ms: u64) {
        std::thread::sleep(std::time::Duration::from_millis(ms));
    }

    fn memcached_stats(&self, of: StatsOf) -> Vec<(String, String)> {
        super::memcached::stats(self, of)
    }

    fn flush_at(&self, at_ms: Option<u64>) {
        self.flush.set(at_ms);
    }

    fn shut_down(&self) -> bool {
        if self.config.memcached_shutdown {
            signals::terminate();
        }
        self.config.memcached_shutdown
    }
}

/// Microseconds since somebody first asked.
fn monotonic_us() -> u64 {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    u64::try_from(START.elapsed().as_micros()).unwrap_or(u64::MAX)
}

pub(super) fn now_ms() -> u64 {
    unix_us() / 1000
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::Waker;
    use crate::server::{Refusal, testing};
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;

    #[derive(Default)]
    struct CountingWaker(AtomicUsize);

    impl Waker for CountingWaker {
        fn wake(&self) {
            self.0.fetch_add(1, Relaxed);
        }
    }

    #[test]
    fn config_get_takes_patterns_of_any_case() {
        let shared = testing::shared("");
        let names = |pattern: &str| {
            let pairs = shared.config_get(pattern.as_bytes());
            pairs.into_iter().map(|(name, _)| name).collect::<Vec<_>>()
        };
        assert_eq!(names("save"), ["save"]);
        assert_eq!(names("MAXMEMORY*"), ["maxmemory", "maxmemory-policy"]);
        assert!(names("*").len() > 20 && names("nothing").is_empty());
    }

    #[test]
    fn kill_reaches_the_owner_and_wakes_it() {
        let shared = testing::shared("--threads 2");
        let waker = Arc::new(CountingWaker::default());
        shared.worker_ready(1, "sim", Arc::clone(&waker) as Arc<dyn Waker>);
        let (peer, local) = ("127.0.0.1:9".parse().unwrap(), "127.0.0.1:7171".parse().unwrap());
        let client = shared.admit(1, peer, local, 0).unwrap();
        let filter = ClientFilter { ids: vec![client.id], ..ClientFilter::default() };
        assert_eq!(shared.client_kill(&filter), 1);
        assert!(client.is_killed());
        assert_eq!(waker.0.load(Relaxed), 1);
        assert_eq!(shared.take_messages(1), [Message::Kill]);
        assert!(shared.take_messages(1).is_empty() && shared.take_messages(0).is_empty());
        shared.dismiss(&client);
        assert_eq!(shared.client_kill(&filter), 0);
    }

    #[test]
    fn nobody_is_woken_while_partitions_are_held() {
        let shared = testing::shared("--threads 2");
        let waker = Arc::new(CountingWaker::default());
        shared.worker_ready(1, "sim", Arc::clone(&waker) as Arc<dyn Waker>);
        shared.partitions_held();
        shared.send(1, Message::Kill);
        shared.send(1, Message::Unpark(7));
        assert_eq!(waker.0.load(Relaxed), 0);
        shared.partitions_free();
        assert_eq!(waker.0.load(Relaxed), 1, "once for both");
        shared.send(1, Message::Kill);
        assert_eq!(waker.0.load(Relaxed), 2);
        assert_eq!(shared.take_messages(1).len(), 2);
    }

    #[test]
    fn draining_is_told_once_even_to_workers_that_start_late() {
        let shared = testing::shared("--threads 2");
        assert!(shared.begin_drain() && !shared.begin_drain() && shared.is_draining());
        assert_eq!(shared.take_messages(0), [Message::Drain]);
        assert_eq!(shared.take_messages(1), [Message::Drain]);
    }

    #[test]
    fn protected_mode_refuses_others_until_there_is_a_password() {
        let shared = testing::shared("--max-clients 1");
        let local = "10.0.0.1:7171".parse().unwrap();
        let (far, near) = ("10.0.0.2:5".parse().unwrap(), "[::ffff:127.0.0.1]:5".parse().unwrap());
        assert_eq!(shared.admit(0, far, local, 0).unwrap_err(), Refusal::Protected);
        let client = shared.admit(0, near, local, 0).unwrap();
        assert_eq!(shared.admit(0, near, local, 0).unwrap_err(), Refusal::MaxClients);
        shared.dismiss(&client);
        shared.config_set(&[(b"requirepass", b"secret")]).unwrap();
        shared.admit(0, far, local, 0).unwrap();
        assert!(shared.authenticate(b"default", b"secret"));
        assert!(!shared.authenticate(b"default", b"wrong") && !shared.authenticate(b"admin", b"secret"));
    }

    #[test]
    fn random_differs() {
        let shared = testing::shared("");
        assert_ne!(shared.random(), shared.random());
    }
}
