//! Limits of the process: descriptors and locked memory.

use crate::config::{Config, IoEngine, format_bytes};
use crate::doctor::checks;
use crate::doctor::facts::Facts;
use crate::doctor::finding::{Finding, Severity};
use crate::limits::{DOCTOR_CONTROL_RING_BYTES, DOCTOR_RING_BYTES};

pub fn findings(facts: &Facts, config: &Config) -> Vec<Finding> {
    vec![memlock(facts, config), nofile(facts, config)]
}

/// What the rings of all threads are charged, bytes.
fn locked_bytes(config: &Config) -> u64 {
    (config.threads * DOCTOR_RING_BYTES + DOCTOR_CONTROL_RING_BYTES) as u64
}

fn memlock(facts: &Facts, config: &Config) -> Finding {
    let check = &checks::MEMLOCK;
    let Some(limit) = facts.memlock else { return Finding::unseen(check, "the limit cannot be read") };
    let Some(bytes) = limit.soft else { return Finding::ok(check, "unlimited") };
    let (needed, text) =
        (locked_bytes(config), |bytes: u64| format_bytes(usize::try_from(bytes).unwrap_or(usize::MAX)));
    let has = text(bytes);
    if config.engine == IoEngine::Epoll {
        return Finding::ok(check, format!("{has}; epoll needs none"));
    }
    if facts.privileges.locks_freely {
        return Finding::ok(check, format!("{has}, but CAP_IPC_LOCK is there: nothing is charged"));
    }
    let found = format!(
        "{has} for all processes of this user; the rings of {} workers take up to {}",
        config.threads,
        text(needed)
    );
    let severity = match bytes {
        enough if enough >= 2 * needed => return Finding::ok(check, found),
        // A restart finds what the last process had still charged.
        once if once >= needed => Severity::Hint,
        _ => Severity::Warning,
    };
    Finding::bad(
        check,
        severity,
        found,
        "LimitMEMLOCK=infinity (systemd), --ulimit memlock=-1 (docker), ulimit -l unlimited",
    )
}

fn nofile(facts: &Facts, config: &Config) -> Finding {
    let check = &checks::NOFILE;
    let Some(limit) = facts.nofile else { return Finding::unseen(check, "the limit cannot be read") };
    let wanted = config.descriptors_for(config.max_clients);
    let most = match facts.privileges.raises_limits {
        true => facts.sysctl("fs.nr_open").and_then(|most| most.parse().ok()).or(limit.hard),
        false => limit.hard,
    };
    let available = most.map_or(usize::MAX, |most| usize::try_from(most).unwrap_or(usize::MAX));
    let mut fitted = Config { notes: Vec::new(), ..config.clone() };
    let mend =
        format!("LimitNOFILE={wanted} (systemd), --ulimit nofile={wanted} (docker), ulimit -n {wanted}");
    match fitted.fit_descriptors(available) {
        Err(error) => Finding::bad(check, Severity::Critical, error.to_string(), mend),
        Ok(()) if fitted.max_clients < config.max_clients => Finding::bad(
            check,
            Severity::Warning,
            format!(
                "{available}: enough for {} clients, not for --max-clients {}",
                fitted.max_clients, config.max_clients
            ),
            mend,
        ),
        // A server that runs was fitted at its start, and noted it.
        Ok(()) => match config.notes.iter().find(|note| note.starts_with("max-clients")) {
            Some(note) => Finding::bad(check, Severity::Warning, note.clone(), mend),
            None => Finding::ok(
                check,
                format!("{wanted} of {} for {} clients", most_text(most), config.max_clients),
            ),
        },
    }
}

fn most_text(most: Option<u64>) -> String {
    most.map_or("any number".to_string(), |most| most.to_string())
}

#[cfg(test)]
mod tests {
    use super::super::testing::{one, severity};
    use super::*;
    use crate::sys::rlimit::Limit;

    fn limit(bytes: u64) -> Option<Limit> {
        Some(Limit { soft: Some(bytes), hard: Some(bytes) })
    }

    #[test]
    fn locked_memory_is_measured_by_the_rings() {
        let with =
            |bytes: u64, flags: &str| severity("limits.memlock", flags, |facts| facts.memlock = limit(bytes));
        assert_eq!(with(64 << 10, "--threads 1"), Severity::Warning);
        assert_eq!(with(8 << 20, "--threads 2"), Severity::Ok);
        assert_eq!(with(8 << 20, "--threads 128"), Severity::Warning);
        assert_eq!(with(64 << 10, "--threads 1 --io-engine epoll"), Severity::Ok);
        let needed = locked_bytes(&crate::server::testing::config("--threads 4"));
        assert_eq!(with(needed, "--threads 4"), Severity::Hint, "enough once");
        assert_eq!(with(needed - 1, "--threads 4"), Severity::Warning);
        assert_eq!(with(2 * needed, "--threads 4"), Severity::Ok);
        let freely = |facts: &mut Facts| {
            facts.memlock = limit(0);
            facts.privileges.locks_freely = true;
        };
        assert_eq!(severity("limits.memlock", "", freely), Severity::Ok);
    }

    #[test]
    fn descriptors_are_held_against_the_clients() {
        let with = |files: u64, flags: &str| one("limits.nofile", flags, |facts| facts.nofile = limit(files));
        assert_eq!(with(65_536, "").severity, Severity::Ok);
        let few = with(1_024, "");
        assert_eq!(few.severity, Severity::Warning);
        assert!(few.found.contains("not for --max-clients 10000"), "{few:?}");
        assert!(few.mend.as_deref().unwrap().contains("LimitNOFILE=100"), "{few:?}");
        assert_eq!(with(1_024, "--max-clients 500 --threads 1").severity, Severity::Ok);
        assert_eq!(with(20, "").severity, Severity::Critical, "not one client");
    }

    #[test]
    fn who_may_raise_limits_has_what_the_kernel_has() {
        let raises = |facts: &mut Facts| {
            facts.nofile = limit(1_024);
            facts.privileges.raises_limits = true;
        };
        assert_eq!(severity("limits.nofile", "", raises), Severity::Ok);
        assert_eq!(
            severity("limits.nofile", "--max-clients 2000000", raises),
            Severity::Warning,
            "fs.nr_open"
        );
    }
}
