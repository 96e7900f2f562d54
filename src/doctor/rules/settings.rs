//! Every kernel setting of sysctl/90-kv-cache.conf against what the kernel has.

use crate::doctor::checks::{Check, Group, MEASURED_SETTINGS};
use crate::doctor::facts::{Facts, Ring};
use crate::doctor::finding::{Finding, Severity};
use crate::doctor::sysctl::{Setting, settings};
use std::borrow::Cow;

pub fn findings(facts: &Facts) -> Vec<Finding> {
    settings().iter().map(|setting| finding(setting, facts)).collect()
}

fn finding(setting: &Setting, facts: &Facts) -> Finding {
    let key = setting.key;
    let judged = match facts.sysctl(key) {
        None => Finding::unseen(&check(""), "not there: another kernel, or a container's network"),
        Some(value) if is_met(setting, value, facts) => Finding::ok(&check(""), value),
        Some(value) => {
            let mut finding = Finding::bad(
                &check(measured(key)),
                Severity::Hint,
                format!("{value}; the file has {}", setting.value),
                mend(setting, facts),
            );
            let cost = finding.why.take().unwrap_or_default();
            finding.why = Some(format!("{} {cost}", setting.why).trim().to_string());
            finding
        }
    };
    Finding { check: Cow::Owned(format!("sysctl.{key}")), ..judged }
}

fn check(measured: &'static str) -> Check {
    Check { id: "sysctl", group: Group::Settings, why: "", measured, machine_wide: true }
}

fn measured(key: &str) -> &'static str {
    MEASURED_SETTINGS.iter().find(|(of, _)| *of == key).map_or("", |(_, text)| text)
}

/// Whether the kernel's value will do here: some settings matter only together with something else.
fn is_met(setting: &Setting, value: &str, facts: &Facts) -> bool {
    let useless = match setting.key {
        // With a group of its own, the server has what it needs at 1.
        "kernel.io_uring_disabled" => matches!(facts.ring, Ring::Works(_) | Ring::InUse { .. }),
        "vm.swappiness" => facts.memory.swap_total == Some(0),
        // The kernel does not slow BBR down after idle times.
        "net.ipv4.tcp_slow_start_after_idle" => {
            facts.sysctl("net.ipv4.tcp_congestion_control") == Some("bbr")
        }
        _ => false,
    };
    useless || setting.is_met_by(value)
}

/// The command, which holds until the next boot; the file in /etc/sysctl.d makes it last.
fn mend(setting: &Setting, facts: &Facts) -> String {
    let Setting { key, value, .. } = setting;
    let set = match value.contains(' ') {
        true => format!("sysctl -w {key}=\"{value}\""),
        false => format!("sysctl -w {key}={value}"),
    };
    let offered = facts.sysctl("net.ipv4.tcp_available_congestion_control").unwrap_or_default();
    match *key {
        "net.ipv4.tcp_congestion_control" if !offered.split(' ').any(|name| name == *value) => {
            format!("modprobe tcp_{value} && {set}")
        }
        "kernel.io_uring_disabled" => {
            format!("{set} (or 1, and kernel.io_uring_group=$(getent group kv-cache | cut -d: -f3))")
        }
        _ => set,
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::one;
    use super::*;
    use crate::doctor::facts;

    fn with(key: &str, value: &str) -> Finding {
        one(&format!("sysctl.{key}"), "", |facts| {
            facts.sysctls.insert(key.into(), value.into());
        })
    }

    #[test]
    fn each_setting_is_checked_and_its_comment_quoted() {
        assert_eq!(findings(&facts::good()).len(), settings().len());
        let finding = with("net.ipv4.tcp_rmem", "4096 131072 6291456");
        assert_eq!(finding.severity, Severity::Hint);
        assert_eq!(finding.mend.as_deref(), Some("sysctl -w net.ipv4.tcp_rmem=\"4096 131072 33554432\""));
        let setting = settings().iter().find(|setting| setting.key == "net.ipv4.tcp_rmem").unwrap();
        let why = finding.why.as_deref().unwrap();
        assert!(
            why.starts_with(&setting.why) && why.contains("Mbit/s"),
            "the comment, then what was measured: {why}"
        );
        assert_eq!(with("net.core.somaxconn", "65535").severity, Severity::Ok);
    }

    #[test]
    fn a_setting_that_is_not_there_is_not_judged() {
        let finding = one("sysctl.net.core.rmem_max", "", |facts| {
            facts.sysctls.remove("net.core.rmem_max");
        });
        assert_eq!(finding.severity, Severity::Unseen);
    }

    #[test]
    fn what_does_not_matter_here_is_well() {
        assert_eq!(with("vm.swappiness", "60").severity, Severity::Ok, "there is no swap");
        let swap = one("sysctl.vm.swappiness", "", |facts| {
            facts.sysctls.insert("vm.swappiness".into(), "60".into());
            facts.memory.swap_total = Some(1 << 30);
        });
        assert_eq!(swap.severity, Severity::Hint);
        assert_eq!(with("kernel.io_uring_disabled", "1").severity, Severity::Ok, "it works all the same");
        let refused = one("sysctl.kernel.io_uring_disabled", "", |facts| {
            facts.sysctls.insert("kernel.io_uring_disabled".into(), "1".into());
            facts.ring = Ring::Refused { cause: "off".into(), mend: "on".into() };
        });
        assert!(refused.severity == Severity::Hint && refused.why.unwrap().ends_with("6 to 16 % slower."));
        let idle = "net.ipv4.tcp_slow_start_after_idle";
        assert_eq!(with(idle, "1").severity, Severity::Ok, "BBR does not slow down");
        let cubic = one(&format!("sysctl.{idle}"), "", |facts| {
            facts.sysctls.insert(idle.into(), "1".into());
            facts.sysctls.insert("net.ipv4.tcp_congestion_control".into(), "cubic".into());
        });
        assert_eq!(cubic.severity, Severity::Hint);
    }

    #[test]
    fn bbr_is_loaded_first_where_it_is_not() {
        let key = "net.ipv4.tcp_congestion_control";
        assert_eq!(with(key, "cubic").mend.as_deref(), Some("sysctl -w net.ipv4.tcp_congestion_control=bbr"));
        let absent = one(&format!("sysctl.{key}"), "", |facts| {
            facts.sysctls.insert(key.into(), "cubic".into());
            facts.sysctls.insert("net.ipv4.tcp_available_congestion_control".into(), "reno cubic".into());
        });
        assert!(absent.mend.unwrap().starts_with("modprobe tcp_bbr && "));
    }
}
