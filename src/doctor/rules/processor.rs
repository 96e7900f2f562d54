//! Processors against `--threads`, and what makes them slower than they are.

use crate::config::Config;
use crate::doctor::checks;
use crate::doctor::facts::Facts;
use crate::doctor::finding::{Finding, Severity};

pub fn findings(facts: &Facts, config: &Config) -> Vec<Finding> {
    let mut found = vec![threads(facts, config), clock(facts), governor(facts), numa(facts)];
    found.extend(defects(facts));
    found
}

fn threads(facts: &Facts, config: &Config) -> Finding {
    let check = &checks::THREADS;
    let threads = config.threads;
    let workers = if threads == 1 { "1 worker".to_string() } else { format!("{threads} workers") };
    let Some(cpus) = facts.processor.cpus else {
        return Finding::unseen(check, "the CPUs cannot be counted");
    };
    if let Some(quota) = facts.processor.quota.filter(|quota| (threads as f64) > *quota) {
        let text = format!("{workers} with time for {quota:.2} CPUs");
        let whole = (quota.floor() as usize).max(1);
        let mend = format!(
            "--threads {whole}, or more time: CPUQuota={}% (systemd), --cpus {threads} (docker)",
            threads * 100
        );
        return Finding::bad(check, Severity::Warning, text, mend);
    }
    if threads > cpus {
        let text = format!("{workers} on {cpus} CPUs");
        return Finding::bad(check, Severity::Warning, text, format!("--threads {cpus}"));
    }
    Finding::ok(check, format!("{workers} on {cpus} CPUs"))
}

/// Clocks that are read without a system call (vDSO) and from the processor itself, or from a page that the hypervisor shares.
const GOOD_CLOCKS: [&str; 5] =
    ["tsc", "kvm-clock", "arch_sys_counter", "hyperv_clocksource_tsc_page", "hyperv_clocksource"];

fn clock(facts: &Facts) -> Finding {
    let check = &checks::CLOCK;
    let Some(current) = facts.processor.clock_source.as_deref() else {
        return Finding::unseen(check, "the clock source cannot be read");
    };
    if GOOD_CLOCKS.contains(&current) {
        return Finding::ok(check, current);
    }
    const FILE: &str = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
    let better = GOOD_CLOCKS
        .into_iter()
        .find(|good| facts.processor.clock_sources.iter().any(|source| source == good));
    match better {
        Some(good) => {
            let mend =
                format!("echo {good} > {FILE}; for good: clocksource={good} on the kernel's command line");
            Finding::bad(check, Severity::Warning, format!("{current}, although {good} is there"), mend)
        }
        None if ["xen", "hpet", "acpi_pm", "jiffies", "refined-jiffies", "pit"].contains(&current) => {
            Finding::bad(
                check,
                Severity::Warning,
                format!("{current}, and the kernel offers no better one"),
                "see dmesg | grep -i clocksource for why the processor's own was refused; on EC2 choose a Nitro instance",
            )
        }
        None => Finding::ok(check, format!("{current} (not known to be slow)")),
    }
}

fn governor(facts: &Facts) -> Finding {
    let check = &checks::GOVERNOR;
    let governors = &facts.processor.governors;
    if governors.is_empty() {
        return Finding::unseen(check, "the kernel has no say here (usual in virtual machines)");
    }
    let text = governors.join(", ");
    if governors.iter().all(|governor| governor == "performance") {
        return Finding::ok(check, text);
    }
    let mend =
        "for f in /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor; do echo performance > $f; done";
    Finding::bad(check, Severity::Hint, text, mend)
}

fn numa(facts: &Facts) -> Finding {
    let check = &checks::NUMA;
    match facts.processor.numa_nodes {
        None => Finding::unseen(check, "the nodes cannot be read"),
        Some(1) => Finding::ok(check, "one node"),
        Some(nodes) => Finding::bad(
            check,
            Severity::Hint,
            format!("{nodes} nodes"),
            "one server for each: numactl --cpunodebind=0 --membind=0 kv-server --port 7171 …, and so on",
        ),
    }
}

fn defects(facts: &Facts) -> Vec<Finding> {
    let processor = &facts.processor;
    if !processor.defects_seen {
        return vec![Finding::unseen(
            &checks::MITIGATIONS,
            "the kernel does not list the processor's defects",
        )];
    }
    let names =
        |of: &[(String, String)]| of.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ");
    // That is how it has to be; what it costs is for the operator to know, not to mend.
    let guarded = match processor.mitigations.len() {
        0 => "the kernel has none to guard against".to_string(),
        count => format!("{count} guarded against: {}", names(&processor.mitigations)),
    };
    let mut found = vec![Finding::ok(&checks::MITIGATIONS, guarded)];
    if !processor.vulnerable.is_empty() {
        let text = format!("not guarded against: {}", names(&processor.vulnerable));
        let mend = "update the kernel and the processor's microcode; in a virtual machine this is the host's";
        found.push(Finding::bad(&checks::VULNERABLE, Severity::Hint, text, mend));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::testing::{all, one, severity};
    use super::*;

    #[test]
    fn workers_need_time_and_cpus() {
        let with = |cpus, quota, flags: &str| {
            one("cpu.threads", flags, |facts| {
                facts.processor.cpus = Some(cpus);
                facts.processor.quota = quota;
            })
        };
        assert_eq!(with(4, None, "--threads 4").severity, Severity::Ok);
        assert_eq!(with(2, None, "--threads 4").severity, Severity::Warning);
        assert_eq!(with(4, Some(4.0), "--threads 4").severity, Severity::Ok);
        let throttled = with(4, Some(1.5), "--threads 4");
        assert_eq!(throttled.severity, Severity::Warning);
        assert!(throttled.mend.unwrap().starts_with("--threads 1,"));
    }

    #[test]
    fn slow_clocks_are_named_and_new_ones_are_let_be() {
        let with = |current: &str, available: &[&str]| {
            one("cpu.clock", "", |facts| {
                facts.processor.clock_source = Some(current.into());
                facts.processor.clock_sources = available.iter().map(|source| source.to_string()).collect();
            })
        };
        for good in GOOD_CLOCKS {
            assert_eq!(with(good, &[good]).severity, Severity::Ok, "{good}");
        }
        let xen = with("xen", &["xen", "tsc", "hpet"]);
        assert!(xen.severity == Severity::Warning && xen.mend.unwrap().starts_with("echo tsc >"));
        assert_eq!(with("hpet", &["hpet", "acpi_pm"]).severity, Severity::Warning);
        assert_eq!(with("riscv_clocksource", &["riscv_clocksource"]).severity, Severity::Ok);
    }

    #[test]
    fn governors_nodes_and_guards() {
        let governor = |names: &[&str]| {
            severity("cpu.governor", "", |facts| {
                facts.processor.governors = names.iter().map(|name| name.to_string()).collect();
            })
        };
        assert_eq!(governor(&["performance"]), Severity::Ok);
        assert_eq!(governor(&["performance", "powersave"]), Severity::Hint);
        assert_eq!(governor(&[]), Severity::Unseen);
        assert_eq!(severity("cpu.numa", "", |facts| facts.processor.numa_nodes = Some(2)), Severity::Hint);
        let state = |name: &str, state: &str| vec![(name.to_string(), state.to_string())];
        let guarded = one("cpu.mitigations", "", |facts| {
            facts.processor.mitigations = state("spectre_v2", "Mitigation: x")
        });
        assert!(guarded.severity == Severity::Ok && guarded.found.contains("spectre_v2"));
        assert!(all("cpu.vulnerable", "", |_| ()).is_empty());
        let open = one("cpu.vulnerable", "", |facts| facts.processor.vulnerable = state("mds", "Vulnerable"));
        assert!(open.severity == Severity::Hint && open.found.contains("mds"));
    }
}
