//! What commands ask of the server around them. Commands are pure: clocks, sockets and other workers are behind this trait.

use super::script::ScriptCache;
use crate::observe::{Histogram, Observer};
use crate::store::PartitionStats;

/// The Redis version that INFO and HELLO report. Clients switch features on by it; redis-py asks for at least this one before it
/// caches on its own side.
pub const REDIS_VERSION: &str = "7.4.0";

/// What memcached's `stats` is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatsOf {
    General,
    Settings,
    Items,
    Slabs,
    Connections,
}

/// CLIENT PAUSE: which commands wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PauseMode {
    Write,
    All,
}

/// CLIENT KILL and CLIENT LIST filters; an unset field matches all.
#[derive(Clone, Debug, Default)]
pub struct ClientFilter {
    pub ids: Vec<u64>,
    pub addr: Option<String>,
    pub laddr: Option<String>,
    pub user: Option<String>,
    /// "normal", "master", "replica", "pubsub".
    pub class: Option<String>,
    /// Seconds since connecting, at least.
    pub max_age_s: Option<u64>,
    /// Spare the caller's own connection.
    pub skip_id: Option<u64>,
    /// Further conditions, all of which must hold.
    pub also: Vec<ClientCondition>,
}

/// A condition on a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientCondition {
    Id(Vec<u64>),
    Addr(String),
    Laddr(String),
    /// The address without its port.
    Ip(String),
    User(String),
    Class(String),
    Name(String),
    LibName(String),
    LibVersion(String),
    Db(u8),
    /// All of these letters.
    Flags(String),
    /// Seconds since its last request, at least.
    IdleS(u64),
    Not(Box<ClientCondition>),
}

/// What filters look at.
#[derive(Clone, Copy, Debug)]
pub struct ClientView<'a> {
    pub id: u64,
    /// "ip:port", as CLIENT LIST shows it.
    pub addr: &'a str,
    pub laddr: &'a str,
    pub name: &'a str,
    pub lib_name: &'a str,
    pub lib_version: &'a str,
    /// Redis's letters, "N" if there is nothing special.
    pub flags: &'a str,
    pub db: u8,
    pub age_s: u64,
    pub idle_s: u64,
}

impl ClientView<'_> {
    /// Who subscribes is of a class of its own.
    fn class(&self) -> &'static str {
        if self.flags.contains('P') { "pubsub" } else { "normal" }
    }
}

impl ClientFilter {
    /// Whether a connection passes all that was asked for.
    pub fn accepts(&self, client: &ClientView<'_>) -> bool {
        // There is one user here.
        (self.ids.is_empty() || self.ids.contains(&client.id))
            && self.addr.as_ref().is_none_or(|addr| addr == client.addr)
            && self.laddr.as_ref().is_none_or(|laddr| laddr == client.laddr)
            && self.user.as_ref().is_none_or(|user| user == "default")
            && self.class.as_ref().is_none_or(|class| class == client.class())
            && self.max_age_s.is_none_or(|age_s| client.age_s >= age_s)
            && self.skip_id != Some(client.id)
            && self.also.iter().all(|condition| condition.holds(client))
    }
}

impl ClientCondition {
    fn holds(&self, client: &ClientView<'_>) -> bool {
        match self {
            ClientCondition::Id(ids) => ids.contains(&client.id),
            ClientCondition::Addr(addr) => addr == client.addr,
            ClientCondition::Laddr(laddr) => laddr == client.laddr,
            ClientCondition::Ip(ip) => client.addr.rsplit_once(':').is_some_and(|(own, _)| own == ip),
            ClientCondition::User(user) => user == "default",
            ClientCondition::Class(class) => class == client.class(),
            ClientCondition::Name(name) => name == client.name,
            ClientCondition::LibName(name) => name == client.lib_name,
            ClientCondition::LibVersion(version) => version == client.lib_version,
            ClientCondition::Db(db) => *db == client.db,
            ClientCondition::Flags(flags) => flags.chars().all(|flag| client.flags.contains(flag)),
            ClientCondition::IdleS(idle_s) => client.idle_s >= *idle_s,
            ClientCondition::Not(condition) => !condition.holds(client),
        }
    }
}

/// The server, as commands see it. Implemented by `server::Shared`; tests bring their own.
///
/// Partitions may be held while any of these is called, so none locks one: what it must know of them it gets as a parameter.
pub trait Host {
    /// INFO's text for the named sections (lower case; none: the default ones). `stats` gives those of the partition of a number.
    fn info(&self, sections: &[String], stats: &mut dyn FnMut(usize) -> PartitionStats) -> String;

    /// CONFIG GET: parameters whose name matches the glob pattern, with their values.
    fn config_get(&self, pattern: &[u8]) -> Vec<(String, String)>;

    /// CONFIG SET: all or nothing; the error is Redis's text without its "ERR ".
    fn config_set(&self, pairs: &[(&[u8], &[u8])]) -> Result<(), String>;

    /// CONFIG RESETSTAT.
    fn reset_stats(&self, stats: &mut dyn FnMut(usize) -> PartitionStats);

    /// CLIENT LIST lines, in Redis's format, ordered by id.
    fn client_list(&self, filter: &ClientFilter) -> String;

    /// CLIENT INFO line of one connection.
    fn client_info(&self, id: u64) -> String;

    /// CLIENT KILL: asks the owners of matching connections to close them; returns how many matched.
    fn client_kill(&self, filter: &ClientFilter) -> usize;

    /// Tells the registry what CLIENT SETNAME, SETINFO and SELECT changed.
    fn client_changed(&self, session: &crate::conn::Session);

    /// CLIENT PAUSE for this long from now; `None` ends a pause.
    fn client_pause(&self, pause: Option<(u64, PauseMode)>);

    /// Whether clients must authenticate.
    fn password_required(&self) -> bool;

    /// Checks a user name (`default` when none is given) and password in constant time. Without a password set, any will do for
    /// `default`.
    fn authenticate(&self, user: &[u8], password: &[u8]) -> bool;

    /// Whether a browser may let pages of this site (`https://app.example`) use the cache over HTTP; `*` asks for those of all sites.
    fn allows_origin(&self, _origin: &[u8]) -> bool {
        false
    }

    /// Unix time in microseconds, read now (TIME).
    fn time_us(&self) -> u64;

    /// Random bits (RANDOMKEY).
    fn random(&self) -> u64;

    /// A clock that only goes forward, in microseconds: for those who cannot ask through a reference.
    fn clock(&self) -> fn() -> u64;

    /// The sources of all scripts.
    fn scripts(&self) -> &ScriptCache;

    /// `--lua-time-limit`.
    fn script_time_limit_ms(&self) -> u64;

    /// Who listens, and how to reach them.
    fn pushes(&self) -> &dyn super::Pushes;

    /// LASTSAVE: Unix seconds of the start, as nothing has been saved.
    fn started_at_s(&self) -> u64;

    /// What the server has noted of its own work.
    fn observer(&self) -> &Observer;

    /// How long commands took since CONFIG RESETSTAT, by row of the command table, over all workers.
    fn command_times(&self) -> Vec<Histogram>;

    /// DOCTOR: what the server found when it last looked at its machine, as text or JSON; `None` before it has.
    fn doctor(&self, _json: bool) -> Option<String> {
        None
    }

    /// HOTKEYS START: the process's CPU time is counted from here on.
    fn hotkeys_begin(&self);

    /// CPU time of the process since then, microseconds: in its own code, in the kernel.
    fn hotkeys_cpu_us(&self) -> (u64, u64);

    /// Whether a command may still wait: the server is not about to end.
    fn may_wait(&self) -> bool;

    /// This client waits for a key with this hash to change. It is told so at most once.
    fn wait_begins(&self, hash: u64, client: u64);

    /// It no longer does.
    fn wait_ends(&self, hash: u64, client: u64);

    /// Whether this connection may use DEBUG.
    fn debug_allowed(&self, client: u64) -> bool;

    /// Partitions are about to be held for long: nobody is woken until [`Host::partitions_free`], as that is a system call.
    fn partitions_held(&self) {}

    /// They are held no more: wakes whom there was reason to wake meanwhile.
    fn partitions_free(&self) {}

    /// DEBUG SLEEP: does nothing for so long.
    fn sleep_ms(&self, ms: u64);

    /// memcached's statistics, in the order in which they are shown.
    fn memcached_stats(&self, of: StatsOf) -> Vec<(String, String)>;

    /// Has all items of database 0 removed at this Unix time in milliseconds, instead of when the last call said (memcached's flush_all
    /// with a delay). `None`: not any more.
    fn flush_at(&self, at_ms: Option<u64>);

    /// Begins to drain the server, as SIGTERM does, if commands may do that (`--memcached-shutdown`); else false.
    fn shut_down(&self) -> bool;
}
