//! Memory: the machine's, the control group's, swap, overcommit, huge pages. All in bytes.

use super::files::Files;
use crate::sys::{cgroup, machine};
use std::path::Path;

/// What there is of memory, and how the kernel hands it out.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    pub total: Option<usize>,
    /// Without swapping; what this process has now counts as available to it.
    pub available: Option<usize>,
    /// The control group's limit.
    pub group_limit: Option<usize>,
    /// The swap that the control group may use.
    pub group_swap: Option<usize>,
    pub swap_total: Option<usize>,
    /// Of this process; a server that runs.
    pub swapped_out: Option<usize>,
    /// What the kernel would promise in all, and has promised (`vm.overcommit_memory=2`).
    pub commit_limit: Option<usize>,
    pub committed: Option<usize>,
    /// `always`, `madvise` or `never`.
    pub huge_pages: Option<String>,
}

impl Memory {
    pub fn read(files: &Files, root: &Path) -> Memory {
        let meminfo = |name| kib(&files.field("proc/meminfo", name)?);
        let group = cgroup::read(root);
        Memory {
            total: meminfo("MemTotal"),
            available: meminfo("MemAvailable").map(|bytes| bytes + machine::resident_bytes()),
            group_limit: group.memory,
            group_swap: group.swap,
            swap_total: meminfo("SwapTotal"),
            swapped_out: files.field("proc/self/status", "VmSwap").and_then(|text| kib(&text)),
            commit_limit: meminfo("CommitLimit"),
            committed: meminfo("Committed_AS"),
            huge_pages: files.chosen("sys/kernel/mm/transparent_hugepage/enabled"),
        }
    }
}

/// `12 kB`, which are kibibytes.
fn kib(text: &str) -> Option<usize> {
    text.strip_suffix("kB")?.trim().parse::<usize>().ok()?.checked_mul(1024)
}

#[cfg(test)]
pub fn good() -> Memory {
    Memory {
        total: Some(8_000_000_000),
        available: Some(7_000_000_000),
        group_limit: None,
        group_swap: None,
        swap_total: Some(0),
        swapped_out: Some(0),
        commit_limit: Some(4_000_000_000),
        committed: Some(1_000_000_000),
        huge_pages: Some("madvise".into()),
    }
}
