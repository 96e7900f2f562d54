//! A server that only remembers what it was asked for.

use crate::command::glob::Glob;
use crate::command::script::ScriptCache;
use crate::command::testing::NobodyListens;
use crate::command::{ClientFilter, ClientView, Host, PauseMode, Pushes, StatsOf};
use crate::conn::Session;
use crate::observe::{Histogram, Observer};
use crate::store::PartitionStats;
use std::cell::RefCell;

/// A server that notes what it was asked for.
#[derive(Default)]
pub struct FakeHost {
    pub password: Option<&'static str>,
    /// Sites whose pages may use the cache.
    pub origins: Vec<&'static str>,
    /// One line for each thing that was done.
    pub log: RefCell<Vec<String>>,
    /// The sessions of all connections, by id.
    pub sessions: RefCell<Vec<Session>>,
    pub random: RefCell<u64>,
    pub observer: Observer,
    pub times: Vec<Histogram>,
    pub debug: bool,
    pub draining: bool,
}

impl FakeHost {
    fn note(&self, what: String) {
        self.log.borrow_mut().push(what);
    }

    fn matching(&self, filter: &ClientFilter) -> Vec<u64> {
        let sessions = self.sessions.borrow();
        let matches = |session: &&Session| {
            filter.accepts(&ClientView {
                id: session.id,
                addr: &format!("127.0.0.1:{}", 5000 + session.id),
                laddr: "127.0.0.1:7171",
                name: &session.name,
                lib_name: &session.lib_name,
                lib_version: &session.lib_version,
                flags: "N",
                db: session.db,
                age_s: session.id * 10,
                idle_s: session.id,
            })
        };
        sessions.iter().filter(matches).map(|session| session.id).collect()
    }
}

const PARAMETERS: [(&str, &str); 3] = [("appendonly", "no"), ("maxmemory", "1000"), ("save", "")];

impl Host for FakeHost {
    fn info(&self, sections: &[String], _stats: &mut dyn FnMut(usize) -> PartitionStats) -> String {
        format!("sections:{}\r\n", sections.join(","))
    }

    fn doctor(&self, json: bool) -> Option<String> {
        Some(if json { "{}" } else { "well" }.to_string())
    }

    fn config_get(&self, pattern: &[u8]) -> Vec<(String, String)> {
        let pattern = Glob::ignoring_case(pattern);
        let matching = PARAMETERS.iter().filter(|(name, _)| pattern.matches(name.as_bytes()));
        matching.map(|(name, value)| (name.to_string(), value.to_string())).collect()
    }

    fn config_set(&self, pairs: &[(&[u8], &[u8])]) -> Result<(), String> {
        for (name, value) in pairs {
            let (name, value) = (String::from_utf8_lossy(name), String::from_utf8_lossy(value));
            if !PARAMETERS.iter().any(|(known, _)| *known == name) {
                return Err(format!("Unknown option or number of arguments for CONFIG SET - '{name}'"));
            }
            self.note(format!("{name} = {value}"));
        }
        Ok(())
    }

    fn reset_stats(&self, _stats: &mut dyn FnMut(usize) -> PartitionStats) {
        self.note("reset stats".to_owned());
    }

    fn client_list(&self, filter: &ClientFilter) -> String {
        self.matching(filter).iter().map(|id| self.client_info(*id)).collect()
    }

    fn client_info(&self, id: u64) -> String {
        format!("id={id}\n")
    }

    fn client_kill(&self, filter: &ClientFilter) -> usize {
        let killed = self.matching(filter);
        self.note(format!("kill {killed:?}"));
        killed.len()
    }

    fn client_changed(&self, session: &Session) {
        let mut sessions = self.sessions.borrow_mut();
        sessions.retain(|known| known.id != session.id);
        sessions.push(session.clone());
        sessions.sort_by_key(|session| session.id);
    }

    fn client_pause(&self, pause: Option<(u64, PauseMode)>) {
        self.note(format!("pause {pause:?}"));
    }

    fn password_required(&self) -> bool {
        self.password.is_some()
    }

    fn authenticate(&self, user: &[u8], password: &[u8]) -> bool {
        user == b"default" && self.password.is_none_or(|wanted| wanted.as_bytes() == password)
    }

    fn allows_origin(&self, origin: &[u8]) -> bool {
        self.origins.iter().any(|own| *own == "*" || own.as_bytes() == origin)
    }

    fn pushes(&self) -> &dyn Pushes {
        &NobodyListens
    }

    fn time_us(&self) -> u64 {
        1_700_000_000_000_042
    }

    fn random(&self) -> u64 {
        let mut state = self.random.borrow_mut();
        *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        *state >> 11
    }

    fn clock(&self) -> fn() -> u64 {
        crate::command::testing::clock
    }

    fn scripts(&self) -> &ScriptCache {
        crate::command::testing::scripts()
    }

    fn script_time_limit_ms(&self) -> u64 {
        200
    }

    fn started_at_s(&self) -> u64 {
        1_700_000_000
    }

    fn observer(&self) -> &Observer {
        &self.observer
    }

    fn command_times(&self) -> Vec<Histogram> {
        self.times.clone()
    }

    fn hotkeys_begin(&self) {}

    fn hotkeys_cpu_us(&self) -> (u64, u64) {
        (0, 0)
    }

    fn may_wait(&self) -> bool {
        !self.draining
    }

    fn wait_begins(&self, _hash: u64, _client: u64) {}

    fn wait_ends(&self, _hash: u64, _client: u64) {}

    fn debug_allowed(&self, _client: u64) -> bool {
        self.debug
    }

    fn sleep_ms(&self, ms: u64) {
        self.note(format!("sleep {ms}"));
    }

    fn memcached_stats(&self, _of: StatsOf) -> Vec<(String, String)> {
        Vec::new()
    }

    fn flush_at(&self, at_ms: Option<u64>) {
        self.note(format!("flush at {at_ms:?}"));
    }

    fn shut_down(&self) -> bool {
        self.note("shut down".to_owned());
        true
    }
}
