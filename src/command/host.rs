//! What commands ask of the server around them. Commands are pure: clocks, sockets and other workers are behind this trait.

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
}

/// The server, as commands see it. Implemented by `server::Shared`; tests bring their own.
pub trait Host {
    /// INFO's text for the named sections (lower case; none: the default ones).
    fn info(&self, sections: &[String]) -> String;

    /// CONFIG GET: parameters whose name matches the glob pattern, with their values.
    fn config_get(&self, pattern: &[u8]) -> Vec<(String, String)>;

    /// CONFIG SET: all or nothing; the error is Redis's text without its "ERR ".
    fn config_set(&self, pairs: &[(&[u8], &[u8])]) -> Result<(), String>;

    /// CONFIG RESETSTAT.
    fn reset_stats(&self);

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

    /// Checks a user name (`default` when none is given) and password in constant time.
    fn authenticate(&self, user: &[u8], password: &[u8]) -> bool;

    /// Unix time in microseconds, read now (TIME).
    fn time_us(&self) -> u64;

    /// Random bits (RANDOMKEY).
    fn random(&self) -> u64;

    /// LASTSAVE: Unix seconds of the start, as nothing has been saved.
    fn started_at_s(&self) -> u64;
}
