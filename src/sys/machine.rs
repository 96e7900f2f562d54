//! Facts about the machine and this process: memory, CPUs, kernel, resident size, CPU time.

use super::{cgroup, cpu};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use std::fs;
use std::io;
use std::path::Path;

/// What the machine leaves this process: the ground on which a configuration is judged.
#[derive(Clone, Debug)]
pub struct Machine {
    /// Bytes: the control group's limit if it is less than the machine's memory.
    pub memory: usize,
    /// Whether `memory` is the control group's limit.
    pub memory_is_cgroup: bool,
    /// The CPUs of the affinity mask.
    pub cpus: Vec<usize>,
    /// CPUs' worth of time that the control group grants.
    pub cpu_quota: Option<f64>,
}

impl Machine {
    /// Reads them all.
    pub fn probe() -> io::Result<Machine> {
        let meminfo = fs::read_to_string("/proc/meminfo")
            .map_err(|error| io::Error::other(format!("/proc/meminfo: {error}. Is /proc mounted?")))?;
        let total = mem_total(&meminfo).ok_or_else(|| io::Error::other("/proc/meminfo has no MemTotal"))?;
        let limits = cgroup::read(Path::new("/"));
        let memory = limits.memory.map_or(total, |limit| limit.min(total));
        Ok(Machine {
            memory,
            memory_is_cgroup: memory < total,
            cpus: cpu::allowed()?,
            cpu_quota: limits.cpus,
        })
    }

    /// One worker for each CPU that this process may use: by affinity, and by the control group's time, rounded up.
    pub fn default_threads(&self) -> usize {
        let granted = self.cpu_quota.map_or(usize::MAX, |quota| quota.ceil().max(1.0) as usize);
        self.cpus.len().min(granted).max(1)
    }
}

fn mem_total(meminfo: &str) -> Option<usize> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<usize>().ok()?.checked_mul(1024)
}

/// Resident memory of this process in bytes.
pub fn resident_bytes() -> usize {
    let pages = fs::read_to_string("/proc/self/statm").ok();
    let pages =
        pages.as_deref().and_then(|text| text.split(' ').nth(1)).and_then(|n| n.parse::<usize>().ok());
    pages.unwrap_or(0) * page_size()
}

/// The resident part of this process that files back (its own code, mostly shared with the page cache), in bytes.
pub fn resident_file_bytes() -> usize {
    let pages = fs::read_to_string("/proc/self/statm").ok();
    let pages =
        pages.as_deref().and_then(|text| text.split(' ').nth(2)).and_then(|n| n.parse::<usize>().ok());
    pages.unwrap_or(0) * page_size()
}

fn page_size() -> usize {
    nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE)
        .ok()
        .flatten()
        .and_then(|size| usize::try_from(size).ok())
        .unwrap_or(4096)
}

/// CPU time of this process so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct CpuTimes {
    pub user_us: u64,
    pub system_us: u64,
}

pub fn cpu_times() -> CpuTimes {
    let micros = |t: nix::sys::time::TimeVal| u64::try_from(t.num_microseconds()).unwrap_or(0);
    getrusage(UsageWho::RUSAGE_SELF)
        .map(|usage| CpuTimes { user_us: micros(usage.user_time()), system_us: micros(usage.system_time()) })
        .unwrap_or_default()
}

/// Such as "Linux 6.18.44 x86_64".
pub fn kernel() -> String {
    let Ok(name) = nix::sys::utsname::uname() else { return "Linux".to_string() };
    let text = |s: &std::ffi::OsStr| s.to_string_lossy().into_owned();
    format!("{} {} {}", text(name.sysname()), text(name.release()), text(name.machine()))
}

/// Random bits from the kernel.
pub fn random_words<const N: usize>() -> io::Result<[u64; N]> {
    let mut words = [0u64; N];
    for word in &mut words {
        *word = getrandom::u64().map_err(io::Error::other)?;
    }
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn meminfo_is_in_kibibytes() {
        assert_eq!(mem_total("MemTotal:       24684136 kB\nMemFree: 1 kB\n"), Some(24684136 * 1024));
        assert_eq!(mem_total("MemFree: 1 kB\n"), None);
    }

    #[test]
    fn threads_follow_affinity_and_quota() {
        let machine = |cpus: usize, quota| Machine {
            memory: 1 << 30,
            memory_is_cgroup: false,
            cpus: (0..cpus).collect(),
            cpu_quota: quota,
        };
        for (cpus, quota, threads) in
            [(8, None, 8), (8, Some(2.0), 2), (8, Some(1.5), 2), (8, Some(0.1), 1), (2, Some(64.0), 2)]
        {
            assert_eq!(machine(cpus, quota).default_threads(), threads, "{cpus} CPUs, quota {quota:?}");
        }
    }

    #[test]
    fn this_process_has_memory_and_a_machine() {
        let machine = Machine::probe().unwrap();
        assert!(machine.memory > 16 << 20 && !machine.cpus.is_empty());
        assert!(resident_bytes() > 100_000 && resident_bytes() > resident_file_bytes());
        assert!(kernel().starts_with("Linux "));
        assert_ne!(random_words::<4>().unwrap(), [0; 4]);
    }
}
