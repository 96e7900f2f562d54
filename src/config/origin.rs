//! Where the value of an option comes from, so that an error and `--print-config` can say it.

use std::collections::BTreeMap;
use std::fmt;

/// Where a value stands. The earlier beats the later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    Flag,
    /// The variable's name.
    Variable(String),
    /// Lines count from 1.
    File {
        path: String,
        line: usize,
    },
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Flag => f.write_str("flag"),
            Origin::Variable(name) => f.write_str(name),
            // A path may hold anything but zero; a comment or a log line may not.
            Origin::File { path, line } => write!(f, "{}:{line}", path.escape_debug()),
            Origin::Default => f.write_str("default"),
        }
    }
}

/// Of each option, by its name without dashes in front.
#[derive(Clone, Debug, Default)]
pub struct Origins(BTreeMap<String, Origin>);

impl Origins {
    pub fn set(&mut self, name: &str, origin: Origin) {
        self.0.insert(name.to_string(), origin);
    }

    /// An error that names options by their flags, with where those stand that were not given as flags.
    pub fn explain(&self, error: &str) -> String {
        let mut places: Vec<String> = Vec::new();
        for name in error.split("--").skip(1) {
            let end = name.find(|c: char| !c.is_ascii_lowercase() && c != '-').unwrap_or(name.len());
            let name = name[..end].trim_end_matches('-');
            if let Some(origin @ (Origin::Variable(_) | Origin::File { .. })) = self.0.get(name) {
                let place = format!("{name} is set by {origin}");
                if !places.contains(&place) {
                    places.push(place);
                }
            }
        }
        if places.is_empty() { error.to_string() } else { format!("{error} ({}.)", places.join("; ")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_where_the_values_of_its_options_stand() {
        let mut origins = Origins::default();
        origins.set("port", Origin::File { path: "/a\n/b".into(), line: 3 });
        origins.set("admin-port", Origin::Variable("KV_ADMIN_PORT".into()));
        origins.set("threads", Origin::Flag);
        let text = origins.explain("--port and --admin-port are both 1: change --port.");
        assert_eq!(
            text,
            "--port and --admin-port are both 1: change --port. (port is set by /a\\n/b:3; admin-port is set by KV_ADMIN_PORT.)"
        );
        assert_eq!(origins.explain("--threads 0: no."), "--threads 0: no.");
        assert_eq!(origins.explain("a --- b -- --port-x"), "a --- b -- --port-x");
    }
}
