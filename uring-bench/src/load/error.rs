//! Why a load could not be played, and what to do next.

use std::fmt;
use std::io;

/// What failed, in one line, and the next step where there is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    pub what: String,
    pub next: Option<String>,
}

impl Error {
    pub fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), next: None }
    }

    pub fn but(what: impl Into<String>, next: impl Into<String>) -> Self {
        Self { what: what.into(), next: Some(next.into()) }
    }

    /// The server refused in these words.
    pub fn refused(doing: &str, text: &str) -> Self {
        Self { what: format!("{doing}: the server says: {text}"), next: advice(text).map(str::to_owned) }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        self.next.iter().try_for_each(|next| write!(f, "\n  {next}"))
    }
}

impl std::error::Error for Error {}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::new(error.to_string())
    }
}

/// What to do about an error reply that servers of this kind give.
pub fn advice(text: &str) -> Option<&'static str> {
    const KNOWN: &[(&str, &str)] = &[
        (
            "OOM",
            "give the server more memory or an eviction policy, or use fewer --keys or a smaller --value-size",
        ),
        ("NOAUTH", "give the password: --password (and --user where the server has users)"),
        ("WRONGPASS", "the server does not take this --user and --password"),
        ("401", "give the password: --password"),
        ("the server has a password", "give the password: --password"),
        ("wrong user or password", "the server does not take this --user and --password"),
        (
            "SERVER_ERROR out of memory",
            "give the server more memory, or use fewer --keys or a smaller --value-size",
        ),
        ("NOPERM", "this --user may not do that; give it GET and SET on these keys"),
        (
            "DENIED",
            "the server takes only local clients without a password: run this on its machine, set a password there, \
             or turn its protected mode off",
        ),
        ("ERR max number of clients", "raise the server's limit of clients, or use fewer -c connections"),
        ("LOADING", "the server still loads its data: wait until it has"),
        (
            "MISCONF",
            "the server refuses writes because it cannot save: turn its saving off (CONFIG SET save \"\")",
        ),
        ("READONLY", "this is a replica: aim at its primary"),
        ("MOVED", "this is a node of a cluster: aim at a server that stands alone"),
    ];
    KNOWN.iter().find(|(start, _)| text.starts_with(start)).map(|(_, next)| *next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_refusals_say_what_to_do() {
        let error = Error::refused("AUTH", "WRONGPASS invalid username-password pair");
        assert!(error.to_string().contains("--password"), "{error}");
        assert!(advice("OOM command not allowed when used memory > 'maxmemory'.").is_some());
        assert_eq!(advice("ERR syntax error"), None);
    }
}
