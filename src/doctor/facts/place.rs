//! Where this runs, and as whom: a machine, a virtual machine, a container; with which capabilities.

use super::files::Files;

/// Where this runs.
#[derive(Clone, Debug, Default)]
pub struct Place {
    /// The container's kind, such as "docker".
    pub container: Option<String>,
    /// The virtual machine's kind, such as "Amazon EC2".
    pub virtual_machine: Option<String>,
    /// systemd starts this: it may hold the server's sockets for it.
    pub under_systemd: bool,
}

impl Place {
    pub fn read(files: &Files) -> Place {
        Place {
            container: container(files),
            virtual_machine: virtual_machine(files),
            under_systemd: is_started_by_systemd(|name| std::env::var(name).ok(), std::process::id()),
        }
    }

    pub fn in_container(&self) -> bool {
        self.container.is_some()
    }
}

/// systemd gives the number of the process that it starts (since 248), which those that this one starts do not have; before, a mark
/// that they inherit (systemd.exec(5)).
fn is_started_by_systemd(variable: impl Fn(&str) -> Option<String>, process: u32) -> bool {
    match variable("SYSTEMD_EXEC_PID") {
        Some(id) => id == process.to_string(),
        None => variable("INVOCATION_ID").is_some(),
    }
}

/// By the marks that each runtime leaves.
fn container(files: &Files) -> Option<String> {
    if files.exists(".dockerenv") {
        return Some("docker".to_string());
    }
    if files.exists("run/.containerenv") {
        return Some("podman".to_string());
    }
    if let Some(kind) = files.line("run/systemd/container") {
        return Some(kind);
    }
    let groups = files.text("proc/self/cgroup").unwrap_or_default();
    let marks = [
        ("kubepods", "kubernetes"),
        ("docker", "docker"),
        ("libpod", "podman"),
        ("lxc", "lxc"),
        ("cri-containerd", "containerd"),
    ];
    let marked = marks.into_iter().find(|(mark, _)| groups.contains(mark));
    marked.map(|(_, kind)| kind.to_string())
}

/// By the firmware's tables (`dmi`, absent on some), Xen's own file, or the flag that x86 hypervisors set.
fn virtual_machine(files: &Files) -> Option<String> {
    let vendor = files.line("sys/class/dmi/id/sys_vendor").unwrap_or_default();
    let product = files.line("sys/class/dmi/id/product_name").unwrap_or_default();
    let known = [
        ("Amazon EC2", "Amazon EC2"),
        ("Google", "Google Compute Engine"),
        ("Microsoft Corporation", "Hyper-V"),
        ("QEMU", "QEMU"),
        ("VMware", "VMware"),
        ("innotek GmbH", "VirtualBox"),
        ("DigitalOcean", "DigitalOcean"),
        ("Hetzner", "Hetzner"),
        ("OpenStack", "OpenStack"),
        ("KVM", "KVM"),
    ];
    // EC2's bare-metal instances have the vendor too, but no hypervisor.
    let is_metal = product.contains(".metal");
    let named = known.into_iter().find(|(mark, _)| vendor.contains(mark) || product.contains(mark));
    if let Some((_, kind)) = named.filter(|_| !is_metal) {
        return Some(kind.to_string());
    }
    if files.line("sys/hypervisor/type").is_some_and(|kind| kind == "xen") {
        return Some("Xen".to_string());
    }
    let cpu = files.text("proc/cpuinfo").unwrap_or_default();
    let flags = cpu.lines().find(|line| line.starts_with("flags"));
    flags
        .is_some_and(|flags| flags.split_whitespace().any(|flag| flag == "hypervisor"))
        .then(|| "of an unnamed hypervisor".to_string())
}

/// What this process may do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Privileges {
    pub is_root: bool,
    /// CAP_IPC_LOCK in the first user namespace: rings are not charged to RLIMIT_MEMLOCK.
    pub locks_freely: bool,
    /// CAP_SYS_RESOURCE: hard limits may be raised.
    pub raises_limits: bool,
}

/// Bits of `CapEff`: capabilities(7).
const CAP_IPC_LOCK: u32 = 14;
const CAP_SYS_RESOURCE: u32 = 24;

impl Privileges {
    pub fn read(files: &Files) -> Privileges {
        let status = |name| files.field("proc/self/status", name);
        let effective = status("CapEff").and_then(|hex| u64::from_str_radix(&hex, 16).ok()).unwrap_or(0);
        let has = |bit: u32| effective >> bit & 1 == 1;
        // The first namespace maps all numbers to themselves: user_namespaces(7).
        let map = files.line("proc/self/uid_map").unwrap_or_default();
        let in_first_namespace = map.split_whitespace().eq(["0", "0", "4294967295"]);
        Privileges {
            // Real, effective, saved, and the file system's.
            is_root: status("Uid").is_some_and(|ids| ids.split_whitespace().nth(1) == Some("0")),
            locks_freely: has(CAP_IPC_LOCK) && in_first_namespace,
            raises_limits: has(CAP_SYS_RESOURCE) && in_first_namespace,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn files(of: &[(&str, &str)]) -> (tempfile::TempDir, Files) {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in of {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let files = Files::below(root.path());
        (root, files)
    }

    #[test]
    fn a_shell_in_a_terminal_of_systemds_is_not_systemd() {
        let with = |exec: Option<&str>, invocation: Option<&str>| {
            let variable = |name: &str| match name {
                "SYSTEMD_EXEC_PID" => exec.map(str::to_string),
                _ => invocation.map(str::to_string),
            };
            is_started_by_systemd(variable, 77)
        };
        assert!(with(Some("77"), Some("ab")) && with(None, Some("ab")));
        assert!(!with(Some("70"), Some("ab")) && !with(None, None));
    }

    #[test]
    fn containers_are_known_by_their_marks() {
        for (path, text, kind) in [
            (".dockerenv", "", Some("docker")),
            ("run/.containerenv", "", Some("podman")),
            ("run/systemd/container", "systemd-nspawn\n", Some("systemd-nspawn")),
            ("proc/self/cgroup", "0::/kubepods.slice/x\n", Some("kubernetes")),
            ("proc/self/cgroup", "0::/system.slice/kv-cache.service\n", None),
        ] {
            let (_root, files) = files(&[(path, text)]);
            assert_eq!(Place::read(&files).container.as_deref(), kind, "{path} {text}");
        }
    }

    #[test]
    fn virtual_machines_are_known_by_their_firmware() {
        let vendor = "sys/class/dmi/id/sys_vendor";
        let product = "sys/class/dmi/id/product_name";
        for (of, kind) in [
            (vec![(vendor, "Amazon EC2\n"), (product, "c7g.large\n")], Some("Amazon EC2")),
            (vec![(vendor, "Amazon EC2\n"), (product, "c7g.metal\n")], None),
            (vec![("sys/hypervisor/type", "xen\n")], Some("Xen")),
            (vec![("proc/cpuinfo", "flags : fpu hypervisor lm\n")], Some("of an unnamed hypervisor")),
            (vec![(vendor, "Dell Inc.\n"), ("proc/cpuinfo", "flags : fpu lm\n")], None),
        ] {
            let (_root, files) = files(&of);
            assert_eq!(Place::read(&files).virtual_machine.as_deref(), kind, "{of:?}");
        }
    }

    #[test]
    fn capabilities_of_a_user_namespace_lock_nothing_freely() {
        let all = "Uid:\t0\t0\t0\t0\nCapEff:\t000001ffffffffff\n";
        let first = ("proc/self/uid_map", "         0          0 4294967295\n");
        let (_root, of_all) = files(&[("proc/self/status", all), first]);
        let everything = Privileges { is_root: true, locks_freely: true, raises_limits: true };
        assert_eq!(Privileges::read(&of_all), everything);
        let inner = ("proc/self/uid_map", "         0     100000      65536\n");
        let (_root, of_inner) = files(&[("proc/self/status", all), inner]);
        assert_eq!(Privileges::read(&of_inner), Privileges { is_root: true, ..Privileges::default() });
        let none = "Uid:\t1000\t1000\t1000\t1000\nCapEff:\t0000000000000000\n";
        let (_root, of_none) = files(&[("proc/self/status", none), first]);
        assert_eq!(Privileges::read(&of_none), Privileges::default());
    }
}
