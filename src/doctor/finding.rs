//! What is found: one line of a report, and how bad it is.

use super::checks::{Check, Group};
use serde::Serialize;
use std::borrow::Cow;

/// From good to bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// As it should be.
    Ok,
    /// Not to be seen here: another kernel, a container, a machine without it.
    Unseen,
    /// May be better.
    Hint,
    /// The server runs, but slower, or in danger.
    Warning,
    /// The server cannot start, or not as it is configured.
    Critical,
}

impl Severity {
    pub const ALL: [Severity; 5] =
        [Severity::Critical, Severity::Warning, Severity::Hint, Severity::Unseen, Severity::Ok];

    pub fn name(self) -> &'static str {
        match self {
            Severity::Ok => "ok",
            Severity::Unseen => "unseen",
            Severity::Hint => "hint",
            Severity::Warning => "warning",
            Severity::Critical => "critical",
        }
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Such as `cpu.clock`. Stays the same from version to version.
    pub check: Cow<'static, str>,
    pub group: Group,
    pub severity: Severity,
    /// What is.
    pub found: String,
    /// Why that matters; none where all is well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// The command, or the act, that mends it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mend: Option<String>,
    /// The mend works only outside of the container that this runs in.
    pub mend_on_host: bool,
    /// It is about the whole machine.
    #[serde(skip)]
    pub machine_wide: bool,
}

impl Finding {
    /// As it should be.
    pub fn ok(check: &Check, found: impl Into<String>) -> Finding {
        Finding::new(check, Severity::Ok, found.into())
    }

    /// Not to be seen here.
    pub fn unseen(check: &Check, found: impl Into<String>) -> Finding {
        Finding::new(check, Severity::Unseen, found.into())
    }

    /// Something to mend.
    pub fn bad(
        check: &Check,
        severity: Severity,
        found: impl Into<String>,
        mend: impl Into<String>,
    ) -> Finding {
        let mut finding = Finding::new(check, severity, found.into());
        let why = [check.why, check.measured].map(str::trim).join(" ");
        finding.why = (!why.trim().is_empty()).then(|| why.trim().to_string());
        finding.mend = Some(mend.into());
        finding
    }

    fn new(check: &Check, severity: Severity, found: String) -> Finding {
        Finding {
            check: Cow::Borrowed(check.id),
            group: check.group,
            severity,
            found,
            why: None,
            mend: None,
            mend_on_host: false,
            machine_wide: check.machine_wide,
        }
    }
}
