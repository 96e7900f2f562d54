//! Judging: facts and configuration in, findings out. Nothing here looks at the machine.

mod kernel;
mod limits;
mod memory;
mod network;
mod processor;
mod server;
mod settings;

use super::facts::Facts;
use super::finding::Finding;
use crate::config::Config;

/// Everything that is looked at, in the order of a report.
pub fn evaluate(facts: &Facts, config: &Config) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.extend(server::findings(facts, config));
    findings.extend(kernel::findings(facts, config));
    findings.extend(limits::findings(facts, config));
    findings.extend(memory::findings(facts, config));
    findings.extend(processor::findings(facts, config));
    findings.extend(network::findings(facts, config));
    findings.extend(settings::findings(facts));
    if facts.place.in_container() {
        for finding in &mut findings {
            finding.mend_on_host = finding.mend.is_some() && finding.machine_wide;
        }
    }
    findings
}

/// For the rules' tests: what one check says of a machine and a configuration.
#[cfg(test)]
mod testing {
    use super::evaluate;
    use crate::doctor::facts::{self, Facts};
    use crate::doctor::finding::{Finding, Severity};
    use crate::server::testing::config;

    /// The findings of a check on a good machine that was spoilt, for a server with these flags.
    pub fn all(check: &str, flags: &str, spoil: impl FnOnce(&mut Facts)) -> Vec<Finding> {
        let mut facts = facts::good();
        spoil(&mut facts);
        evaluate(&facts, &config(flags)).into_iter().filter(|finding| finding.check == check).collect()
    }

    /// As [`all`], where there is exactly one.
    pub fn one(check: &str, flags: &str, spoil: impl FnOnce(&mut Facts)) -> Finding {
        let mut found = all(check, flags, spoil);
        assert_eq!(found.len(), 1, "{check}: {found:?}");
        found.remove(0)
    }

    pub fn severity(check: &str, flags: &str, spoil: impl FnOnce(&mut Facts)) -> Severity {
        one(check, flags, spoil).severity
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::checks;
    use crate::doctor::facts::{self, Listening, Memory, Network, Processor, Ring};
    use crate::doctor::finding::Severity;
    use crate::server::testing::config;

    #[test]
    fn a_good_machine_has_nothing_to_mend() {
        let findings = evaluate(&facts::good(), &config(""));
        assert!(findings.len() > 25, "{}", findings.len());
        for finding in &findings {
            assert_eq!(finding.severity, Severity::Ok, "{finding:?}");
            assert!(
                finding.mend.is_none() && finding.why.is_none() && !finding.found.is_empty(),
                "{finding:?}"
            );
        }
    }

    #[test]
    fn what_cannot_be_seen_alarms_nobody() {
        let mut facts = facts::good();
        facts.release = "unknown".into();
        facts.ring = Ring::InUse { workers: 4 };
        (facts.nofile, facts.memlock) = (None, None);
        facts.memory = Memory::default();
        facts.processor = Processor::default();
        facts.network = Network { listening: Listening::Already, nic: None, irqbalance: None };
        facts.sysctls.clear();
        for finding in evaluate(&facts, &config("")) {
            assert!(finding.severity <= Severity::Unseen, "{finding:?}");
        }
    }

    #[test]
    fn in_a_container_the_machine_is_mended_on_the_host() {
        let mut facts = facts::good();
        facts.memory.swap_total = Some(1 << 30);
        facts.ring = Ring::Refused { cause: "forbidden".into(), mend: "allow it".into() };
        let on_host = |facts: &Facts| -> Vec<String> {
            let findings = evaluate(facts, &config(""));
            findings.into_iter().filter(|f| f.mend_on_host).map(|f| f.check.into_owned()).collect()
        };
        assert!(on_host(&facts).is_empty(), "this is no container");
        facts.place.container = Some("docker".into());
        assert_eq!(
            on_host(&facts),
            [checks::SWAP.id],
            "the profile is chosen where the container is started"
        );
    }
}
