//! What the control group leaves us: memory and CPU time. Version 1 and 2, hosts and containers.
//!
//! `/proc/self/cgroup` names our group per hierarchy, `/proc/self/mountinfo` says where each hierarchy is mounted and which of
//! its groups the mount shows as its root. A limit of any group above ours holds for us too, so the least on the way up counts.
//!
//! ```text
//!   /proc/self/cgroup      4:memory:/docker/abc            (version 1)      0::/system.slice/kv.service   (version 2)
//!   /proc/self/mountinfo   … /docker/abc /sys/fs/cgroup/memory … - cgroup cgroup rw,memory
//!                             root        mount point                type        controllers
//!   read                   /sys/fs/cgroup/memory/memory.limit_in_bytes
//! ```

use std::fs;
use std::path::{Path, PathBuf};

/// Limits of our control group; `None` where there is none.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Limits {
    /// Bytes.
    pub memory: Option<usize>,
    /// CPUs' worth of time, such as 1.5.
    pub cpus: Option<f64>,
    /// Bytes of swap (version 2 only).
    pub swap: Option<usize>,
}

/// Reads the limits below `root` (`/`, or a fixture). Files that are not there mean no limit.
pub fn read(root: &Path) -> Limits {
    let groups = fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
    let mounts = fs::read_to_string(root.join("proc/self/mountinfo")).unwrap_or_default();
    let memory =
        directories(root, &groups, &mounts, "memory").iter().filter_map(|dir| memory_limit(dir)).min();
    let cpus =
        directories(root, &groups, &mounts, "cpu").iter().filter_map(|dir| cpu_limit(dir)).reduce(f64::min);
    let swap = directories(root, &groups, &mounts, "memory").iter().filter_map(|dir| swap_limit(dir)).min();
    Limits { memory, cpus, swap }
}

/// Our group's directory for a controller and those above it, in every hierarchy that may hold it.
fn directories(root: &Path, groups: &str, mounts: &str, controller: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for line in groups.lines() {
        let mut fields = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(group)) = (fields.next(), fields.next(), fields.next()) else {
            continue;
        };
        let unified = controllers.is_empty();
        if !unified && !controllers.split(',').any(|c| c == controller) {
            continue;
        }
        let Some((mount_root, mount_point)) = mount_of(mounts, controller, unified) else { continue };
        // What the mount shows starts at its own root; a group outside of it (no cgroup namespace) is seen as that root.
        let below = Path::new(group).strip_prefix(&mount_root).unwrap_or(Path::new(""));
        let top = root.join(mount_point.trim_start_matches('/'));
        let ours = top.join(below);
        found.extend(ours.ancestors().take_while(|dir| dir.starts_with(&top)).map(Path::to_path_buf));
    }
    found
}

/// Root and mount point of the hierarchy that holds a controller.
fn mount_of(mounts: &str, controller: &str, unified: bool) -> Option<(String, String)> {
    mounts.lines().find_map(|line| {
        let (left, right) = line.split_once(" - ")?;
        let mut left = left.split(' ').skip(3);
        let (mount_root, mount_point) = (left.next()?, left.next()?);
        let mut right = right.split(' ');
        let (kind, _, options) = (right.next()?, right.next()?, right.next()?);
        let here = match kind {
            "cgroup2" => unified,
            "cgroup" => !unified && options.split(',').any(|option| option == controller),
            _ => false,
        };
        here.then(|| (mount_root.to_string(), mount_point.to_string()))
    })
}

/// The least of what ends the process and, in version 2, of what only slows it down: above memory.high each allocation waits for memory
/// to be reclaimed, of which a cache has none to give (admin-guide/cgroup-v2.rst).
fn memory_limit(dir: &Path) -> Option<usize> {
    let limit = |names: &[&str]| {
        let bytes: u64 = read_first(dir, names)?.parse().ok()?; // "max" is no limit
        // Version 1 says "none" as the largest multiple of a page.
        (bytes < 1 << 60).then(|| usize::try_from(bytes).ok())?
    };
    [limit(&["memory.max", "memory.limit_in_bytes"]), limit(&["memory.high"])].into_iter().flatten().min()
}

fn swap_limit(dir: &Path) -> Option<usize> {
    read_first(dir, &["memory.swap.max"])?.parse().ok() // "max" is no limit
}

fn cpu_limit(dir: &Path) -> Option<f64> {
    let (quota, period): (f64, f64) = match read_first(dir, &["cpu.max"]) {
        Some(text) => {
            let (quota, period) = text.split_once(' ')?;
            (quota.parse().ok()?, period.parse().ok()?) // "max 100000" is no limit
        }
        None => (
            read_first(dir, &["cpu.cfs_quota_us"])?.parse().ok()?,
            read_first(dir, &["cpu.cfs_period_us"])?.parse().ok()?,
        ),
    };
    (quota > 0.0 && period > 0.0).then(|| quota / period) // -1 is no limit
}

fn read_first(dir: &Path, names: &[&str]) -> Option<String> {
    names.iter().find_map(|name| fs::read_to_string(dir.join(name)).ok()).map(|text| text.trim().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fixture(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        dir
    }

    const V2_MOUNT: &str = "30 24 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot\n";

    #[test]
    fn version_2_the_least_limit_on_the_way_up_holds() {
        let dir = fixture(&[
            ("proc/self/cgroup", "0::/system.slice/kv.service\n"),
            ("proc/self/mountinfo", V2_MOUNT),
            ("sys/fs/cgroup/system.slice/kv.service/memory.max", "max\n"),
            ("sys/fs/cgroup/system.slice/kv.service/memory.high", "max\n"),
            ("sys/fs/cgroup/system.slice/kv.service/cpu.max", "150000 100000\n"),
            ("sys/fs/cgroup/system.slice/kv.service/memory.swap.max", "0\n"),
            ("sys/fs/cgroup/system.slice/memory.swap.max", "max\n"),
            ("sys/fs/cgroup/system.slice/memory.max", "4294967296\n"),
            ("sys/fs/cgroup/system.slice/memory.high", "2147483648\n"),
            ("sys/fs/cgroup/system.slice/cpu.max", "max 100000\n"),
        ]);
        assert_eq!(read(dir.path()), Limits { memory: Some(2 << 30), cpus: Some(1.5), swap: Some(0) });
    }

    #[test]
    fn version_2_in_a_container_with_its_own_namespace() {
        let dir = fixture(&[
            ("proc/self/cgroup", "0::/\n"),
            ("proc/self/mountinfo", V2_MOUNT),
            ("sys/fs/cgroup/memory.max", "536870912\n"),
            ("sys/fs/cgroup/cpu.max", "50000 100000\n"),
        ]);
        assert_eq!(read(dir.path()), Limits { memory: Some(512 << 20), cpus: Some(0.5), swap: None });
    }

    const V1_MOUNTS: &str = "\
        40 32 0:33 /docker/abc /sys/fs/cgroup/memory ro,nosuid master:15 - cgroup cgroup rw,memory\n\
        41 32 0:34 /docker/abc /sys/fs/cgroup/cpu,cpuacct ro,nosuid master:16 - cgroup cgroup rw,cpu,cpuacct\n";

    #[test]
    fn version_1_in_a_container_sees_its_group_as_the_root() {
        let dir = fixture(&[
            (
                "proc/self/cgroup",
                "5:memory:/docker/abc\n4:cpu,cpuacct:/docker/abc\n1:name=systemd:/docker/abc\n",
            ),
            ("proc/self/mountinfo", V1_MOUNTS),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "1073741824\n"),
            ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "200000\n"),
            ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n"),
        ]);
        assert_eq!(read(dir.path()), Limits { memory: Some(1 << 30), cpus: Some(2.0), swap: None });
    }

    #[test]
    fn no_limit_is_none_in_either_version() {
        let v1 = fixture(&[
            ("proc/self/cgroup", "5:memory:/\n4:cpu,cpuacct:/\n"),
            ("proc/self/mountinfo", &V1_MOUNTS.replace("/docker/abc", "/")),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
            ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "-1\n"),
            ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n"),
        ]);
        assert_eq!(read(v1.path()), Limits::default());
        let v2 = fixture(&[
            ("proc/self/cgroup", "0::/\n"),
            ("proc/self/mountinfo", V2_MOUNT),
            ("sys/fs/cgroup/memory.max", "max\n"),
            ("sys/fs/cgroup/cpu.max", "max 100000\n"),
        ]);
        assert_eq!(read(v2.path()), Limits::default());
        assert_eq!(read(Path::new("/nonexistent")), Limits::default());
    }
}
