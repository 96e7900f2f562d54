//! All findings together: how many of which kind, the worst of them, the exit code, and the shape as JSON.
//!
//! ```text
//! { "format": 1, "server": "0.2.0", "kernel": "Linux 6.12.30 x86_64", "worst": "hint",
//!   "counts": { "critical": 0, "warning": 0, "hint": 2, "unseen": 1, "ok": 40 },
//!   "age_s": 12,                                        only from a server that runs
//!   "findings": [ { "check": "memory.swap", "group": "memory", "severity": "hint", "found": "…",
//!                   "why": "…", "mend": "…",            only where there is something to mend
//!                   "mend_on_host": false } ] }
//! ```
//!
//! `format` rises when something is taken away or changes its meaning; new members come without that.

use super::checks::Group;
use super::finding::{Finding, Severity};
use crate::sys::machine;
use serde::Serialize;

const FORMAT: u32 = 1;

/// Nothing critical.
const EXIT_WELL: u8 = 0;
/// A warning, with `--strict`.
const EXIT_WARNING: u8 = 1;
/// The server could not run as configured.
const EXIT_CRITICAL: u8 = 2;

/// What an examination found.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    format: u32,
    server: &'static str,
    kernel: String,
    pub worst: Severity,
    pub counts: Counts,
    pub findings: Vec<Finding>,
}

/// Findings by severity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    pub critical: usize,
    pub warning: usize,
    pub hint: usize,
    pub unseen: usize,
    pub ok: usize,
}

/// A report with the seconds since it was made.
#[derive(Serialize)]
struct Aged<'a> {
    #[serde(flatten)]
    report: &'a Report,
    #[serde(skip_serializing_if = "Option::is_none")]
    age_s: Option<u64>,
}

impl Report {
    pub fn new(findings: Vec<Finding>) -> Report {
        let count = |severity| findings.iter().filter(|finding| finding.severity == severity).count();
        let counts = Counts {
            critical: count(Severity::Critical),
            warning: count(Severity::Warning),
            hint: count(Severity::Hint),
            unseen: count(Severity::Unseen),
            ok: count(Severity::Ok),
        };
        let worst = findings.iter().map(|finding| finding.severity).max().unwrap_or(Severity::Ok);
        let server = env!("CARGO_PKG_VERSION");
        Report { format: FORMAT, server, kernel: machine::kernel(), worst, counts, findings }
    }

    /// What `kv-server doctor` ends with. A warning is no reason not to start: only what keeps the server from it ends with 2.
    pub fn exit_code(&self, strict: bool) -> u8 {
        match self.worst {
            Severity::Critical => EXIT_CRITICAL,
            Severity::Warning if strict => EXIT_WARNING,
            _ => EXIT_WELL,
        }
    }

    /// In the shape above, indented.
    pub fn json(&self, age_s: Option<u64>) -> String {
        // Only strings and numbers, with names for keys: that cannot fail.
        serde_json::to_string_pretty(&Aged { report: self, age_s }).unwrap_or_default()
    }

    /// Such as "KV-Cache 0.2.0 on Linux 6.12.30 x86_64".
    pub fn title(&self) -> String {
        format!("KV-Cache {} on {}", self.server, self.kernel)
    }

    /// What it comes to, in a sentence or two.
    pub fn verdict(&self) -> &'static str {
        match self.worst {
            Severity::Critical => "The server cannot start, or not as it is configured.",
            Severity::Warning => {
                "The server runs, but slower or less safely than it could: see the warnings."
            }
            Severity::Hint => "The server runs well; the hints may make it faster.",
            Severity::Unseen | Severity::Ok => "All is well.",
        }
    }

    /// How many kernel settings differ from the file's.
    pub fn settings_to_mend(&self) -> usize {
        let settings = self.findings.iter().filter(|finding| finding.group == Group::Settings);
        settings.filter(|finding| finding.mend.is_some()).count()
    }

    /// The number of findings of each kind that there is, from bad to good.
    pub fn tally(&self) -> Vec<(Severity, usize)> {
        let count = |severity| match severity {
            Severity::Critical => self.counts.critical,
            Severity::Warning => self.counts.warning,
            Severity::Hint => self.counts.hint,
            Severity::Unseen => self.counts.unseen,
            Severity::Ok => self.counts.ok,
        };
        Severity::ALL
            .into_iter()
            .map(|severity| (severity, count(severity)))
            .filter(|(_, count)| *count > 0)
            .collect()
    }
}

/// A number of findings in words: "1 warning", "2 hints", "5 not to be seen here".
pub fn counted(severity: Severity, count: usize) -> String {
    let plural = if count == 1 { "" } else { "s" };
    match severity {
        Severity::Critical => format!("{count} critical"),
        Severity::Warning => format!("{count} warning{plural}"),
        Severity::Hint => format!("{count} hint{plural}"),
        Severity::Unseen => format!("{count} not to be seen here"),
        Severity::Ok => format!("{count} well"),
    }
}

/// A report with one finding of each kind, for the tests of those who show one.
#[cfg(test)]
pub fn sample() -> Report {
    use super::checks;
    let refused = "io_uring is forbidden here (EPERM) <b>";
    let long =
        "a sentence that is long enough to be broken into several lines wherever it is shown in columns "
            .repeat(2);
    let mut mended_outside = Finding::bad(&checks::SWAP, Severity::Hint, long, "swapoff -a");
    mended_outside.mend_on_host = true;
    Report::new(vec![
        Finding::ok(&checks::PLACE, "on a machine"),
        Finding::bad(
            &checks::RING,
            Severity::Warning,
            refused,
            "docker run --security-opt seccomp=deploy/seccomp.json",
        ),
        mended_outside,
        Finding::unseen(&checks::GOVERNOR, "the kernel has no say here"),
        Finding::bad(&checks::LISTEN, Severity::Critical, "cannot listen", "ss -ltnp"),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::checks;

    #[test]
    fn only_what_keeps_the_server_from_running_blocks_its_start() {
        let with = |severities: &[Severity]| {
            let finding = |severity: &Severity| Finding::bad(&checks::SWAP, *severity, "found", "mend");
            Report::new(severities.iter().map(finding).collect())
        };
        for (severities, lenient, strict) in [
            (&[][..], 0, 0),
            (&[Severity::Ok, Severity::Unseen, Severity::Hint], 0, 0),
            (&[Severity::Hint, Severity::Warning], 0, 1),
            (&[Severity::Warning, Severity::Critical, Severity::Ok], 2, 2),
        ] {
            let report = with(severities);
            assert_eq!(
                (report.exit_code(false), report.exit_code(true)),
                (lenient, strict),
                "{severities:?}"
            );
        }
    }

    #[test]
    fn the_shape_as_json() {
        let report = sample();
        let json: serde_json::Value = serde_json::from_str(&report.json(Some(7))).unwrap();
        assert_eq!(json["format"], 1);
        assert_eq!(json["age_s"], 7);
        assert_eq!(json["worst"], "critical");
        assert_eq!(
            json["counts"],
            serde_json::json!({"critical": 1, "warning": 1, "hint": 1, "unseen": 1, "ok": 1})
        );
        let ring = &json["findings"][1];
        assert_eq!(
            (&ring["check"], &ring["group"], &ring["severity"]),
            (&"io_uring.ring".into(), &"kernel".into(), &"warning".into())
        );
        assert!(ring["why"].as_str().unwrap().ends_with('.') && ring["mend"].is_string());
        assert_eq!(
            (&ring["mend_on_host"], &json["findings"][2]["mend_on_host"]),
            (&false.into(), &true.into())
        );
        let well = json["findings"][0].as_object().unwrap();
        assert!(
            !well.contains_key("why") && !well.contains_key("mend") && !well.contains_key("machine_wide")
        );
        assert!(!report.json(None).contains("age_s"));
    }

    #[test]
    fn a_tally_is_in_words() {
        let all: Vec<String> =
            sample().tally().into_iter().map(|(severity, count)| counted(severity, count)).collect();
        assert_eq!(all.join(", "), "1 critical, 1 warning, 1 hint, 1 not to be seen here, 1 well");
        assert_eq!(counted(Severity::Hint, 2), "2 hints");
    }
}
