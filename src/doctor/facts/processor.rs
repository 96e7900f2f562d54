//! Processors: how many this process may use, their clock, governor, NUMA nodes, and the kernel's guards against their defects.

use super::files::{Files, list_len};
use crate::sys::{cgroup, cpu};
use std::path::Path;

#[derive(Clone, Debug, Default)]
pub struct Processor {
    /// CPUs of the affinity mask.
    pub cpus: Option<usize>,
    /// CPUs' worth of time that the control group grants.
    pub quota: Option<f64>,
    /// What tells the time, and what could.
    pub clock_source: Option<String>,
    pub clock_sources: Vec<String>,
    /// The governor of each CPU, each kind once. Empty: the machine does not let its kernel choose.
    pub governors: Vec<String>,
    pub numa_nodes: Option<usize>,
    /// Defects of the processor that the kernel guards against, and how.
    pub mitigations: Vec<(String, String)>,
    /// Defects that it does not guard against.
    pub vulnerable: Vec<(String, String)>,
    /// Whether defects can be seen at all.
    pub defects_seen: bool,
}

impl Processor {
    pub fn read(files: &Files, root: &Path) -> Processor {
        let clock = "sys/devices/system/clocksource/clocksource0";
        let available = files.line(&format!("{clock}/available_clocksource")).unwrap_or_default();
        let defects = defects(files);
        let of_kind = |kind: &str| -> Vec<(String, String)> {
            let all = defects.iter().flatten();
            all.filter(|(_, state)| state.starts_with(kind)).cloned().collect()
        };
        Processor {
            cpus: cpu::allowed().ok().map(|cpus| cpus.len()),
            quota: cgroup::read(root).cpus,
            clock_source: files.line(&format!("{clock}/current_clocksource")),
            clock_sources: available.split_whitespace().map(str::to_string).collect(),
            governors: governors(files),
            numa_nodes: files.line("sys/devices/system/node/online").and_then(|list| list_len(&list)),
            mitigations: of_kind("Mitigation"),
            vulnerable: of_kind("Vulnerable"),
            defects_seen: defects.is_some(),
        }
    }
}

fn governors(files: &Files) -> Vec<String> {
    let names = files.names("sys/devices/system/cpu").unwrap_or_default();
    let cpus = names
        .iter()
        .filter(|name| name.strip_prefix("cpu").is_some_and(|number| number.parse::<usize>().is_ok()));
    let mut found: Vec<String> = cpus
        .filter_map(|cpu| files.line(&format!("sys/devices/system/cpu/{cpu}/cpufreq/scaling_governor")))
        .collect();
    found.sort();
    found.dedup();
    found
}

fn defects(files: &Files) -> Option<Vec<(String, String)>> {
    let folder = "sys/devices/system/cpu/vulnerabilities";
    let names = files.names(folder)?;
    let state = |name: String| {
        let state = files.line(&format!("{folder}/{name}"))?;
        Some((name, state))
    };
    Some(names.into_iter().filter_map(state).collect())
}

#[cfg(test)]
pub fn good() -> Processor {
    Processor {
        cpus: Some(4),
        quota: None,
        clock_source: Some("tsc".into()),
        clock_sources: vec!["tsc".into(), "kvm-clock".into()],
        governors: vec!["performance".into()],
        numa_nodes: Some(1),
        mitigations: Vec::new(),
        vulnerable: Vec::new(),
        defects_seen: true,
    }
}
