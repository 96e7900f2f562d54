//! The kernel: its version, its known defects, and what it grants of io_uring.

use crate::config::{Config, IoEngine};
use crate::doctor::checks;
use crate::doctor::facts::{Facts, Ring};
use crate::doctor::finding::{Finding, Severity};
use crate::ring::uring::{defect_of, multishot_is_broken, version};

/// The first series that has what the driver needs.
const FLOOR: (u32, u32) = (6, 1);

const UPDATE: &str =
    "install a newer kernel (apt-get update && apt-get dist-upgrade, or dnf upgrade kernel) and reboot";

pub fn findings(facts: &Facts, config: &Config) -> Vec<Finding> {
    let mut found = vec![version_of(facts)];
    if let Some(defect) = defect_of(&facts.release) {
        let text = format!("kernel {} {}", facts.release, defect.what);
        let mend = format!("{UPDATE}; it has to be {}", defect.mend);
        found.push(Finding::bad(&checks::DEFECT, Severity::Warning, text, mend));
    } else if version(&facts.release).is_some() {
        found.push(Finding::ok(&checks::DEFECT, "none that is known of this version"));
    }
    found.push(ring(facts, config));
    let is_used = matches!(facts.ring, Ring::Works(_) | Ring::InUse { .. });
    if is_used && multishot_is_broken(&facts.release) {
        let text = format!("kernel {}: connections are accepted one by one", facts.release);
        found.push(Finding::bad(&checks::ACCEPT, Severity::Hint, text, UPDATE));
    }
    found
}

fn version_of(facts: &Facts) -> Finding {
    match version(&facts.release) {
        None => Finding::unseen(&checks::VERSION, format!("the kernel calls itself \"{}\"", facts.release)),
        Some((major, minor, _)) if (major, minor) < FLOOR => {
            let text = format!("{}: older than 6.1", facts.release);
            let mend = format!("{UPDATE}; on Ubuntu 22.04: apt-get install linux-generic-hwe-22.04");
            Finding::bad(&checks::VERSION, Severity::Warning, text, mend)
        }
        Some(_) => Finding::ok(&checks::VERSION, facts.release.clone()),
    }
}

fn ring(facts: &Facts, config: &Config) -> Finding {
    let check = &checks::RING;
    match &facts.ring {
        Ring::Works(granted) => {
            let array = if granted.no_sqarray { "without" } else { "with (before 6.6)" };
            Finding::ok(
                check,
                format!(
                    "works: DEFER_TASKRUN, multishot receive, buffer rings; queues of {} and {}, {array} an index array",
                    granted.sq_entries, granted.cq_entries
                ),
            )
        }
        Ring::InUse { workers } => Finding::ok(
            check,
            format!("in use by {workers} {}", if *workers == 1 { "worker" } else { "workers" }),
        ),
        Ring::Refused { cause, mend } => {
            let severity = match config.engine {
                IoEngine::IoUring => Severity::Critical,
                IoEngine::Auto | IoEngine::Epoll => Severity::Warning,
            };
            let so = match config.engine {
                IoEngine::IoUring => "with --io-engine io_uring the server does not start",
                IoEngine::Auto | IoEngine::Epoll => "epoll serves instead",
            };
            Finding::bad(check, severity, format!("{cause}; {so}"), mend.clone())
        }
        Ring::NotWanted => Finding::bad(
            check,
            Severity::Hint,
            "not tried: --io-engine epoll",
            "start without --io-engine epoll (KV_IO_ENGINE, io-engine in the file)",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{all, one, severity};
    use super::*;

    #[test]
    fn old_kernels_are_a_warning_and_strange_ones_are_not_judged() {
        assert_eq!(
            severity("kernel.version", "", |facts| facts.release = "5.15.0-100".into()),
            Severity::Warning
        );
        assert_eq!(
            severity("kernel.version", "", |facts| facts.release = "6.1.0-28-amd64".into()),
            Severity::Ok
        );
        assert_eq!(severity("kernel.version", "", |facts| facts.release = "next".into()), Severity::Unseen);
        assert!(all("kernel.defect", "", |facts| facts.release = "next".into()).is_empty());
    }

    #[test]
    fn kernels_that_hang_are_named_with_their_mend() {
        let finding = one("kernel.defect", "", |facts| facts.release = "6.1.115-126.197.amzn2023".into());
        assert_eq!(finding.severity, Severity::Warning);
        assert!(finding.mend.as_deref().unwrap().contains("6.1.119"), "{finding:?}");
        assert_eq!(severity("kernel.defect", "", |facts| facts.release = "6.6.60".into()), Severity::Ok);
    }

    #[test]
    fn accepting_one_by_one_is_said_where_io_uring_is_used() {
        let found = all("io_uring.accept", "", |facts| facts.release = "6.6.12".into());
        assert_eq!(found[0].severity, Severity::Hint);
        let epoll = all("io_uring.accept", "", |facts| {
            facts.release = "6.6.12".into();
            facts.ring = Ring::NotWanted;
        });
        assert!(epoll.is_empty());
    }

    #[test]
    fn a_refusal_is_critical_only_where_nothing_else_may_serve() {
        let refused = |facts: &mut Facts| {
            facts.ring = Ring::Refused { cause: "forbidden (EPERM)".into(), mend: "seccomp=…".into() };
        };
        let finding = one("io_uring.ring", "", refused);
        assert_eq!(finding.severity, Severity::Warning);
        assert!(finding.found.contains("EPERM") && finding.why.as_deref().unwrap().contains("6 to 16 %"));
        assert_eq!(severity("io_uring.ring", "--io-engine io_uring", refused), Severity::Critical);
        let epoll = severity("io_uring.ring", "--io-engine epoll", |facts| facts.ring = Ring::NotWanted);
        assert_eq!(epoll, Severity::Hint);
    }
}
