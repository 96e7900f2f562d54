//! What the machine says of itself: gathered here once, judged in `rules`.
//!
//! Files are read below a root, which is `/` or a fixture. What is not there (another kernel, a container) is `None`: a rule then says
//! that it cannot be seen, and nothing else.

mod files;
mod memory;
mod network;
mod place;
mod processor;

pub use files::Files;
pub use memory::Memory;
pub use network::{Listening, Network, Nic};
pub use place::{Place, Privileges};
pub use processor::Processor;

use super::sysctl;
use crate::config::{Config, IoEngine};
use crate::ring::DriverOptions;
use crate::ring::uring::{Explained, Granted, Uring};
use crate::sys::rlimit::{self, Limit};
use std::collections::BTreeMap;
use std::path::Path;

/// How the server fares with io_uring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ring {
    /// A ring was set up and taken down again.
    Works(Granted),
    /// The workers of a running server have theirs.
    InUse { workers: usize },
    /// What stands in the way, and what mends it.
    Refused { cause: String, mend: String },
    /// `--io-engine epoll`.
    NotWanted,
}

impl Ring {
    pub fn refused(Explained { cause, mend }: Explained) -> Ring {
        Ring::Refused { cause, mend: mend.to_string() }
    }
}

/// All that is judged.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Such as "6.1.115-126.197.amzn2023.x86_64".
    pub release: String,
    pub ring: Ring,
    pub place: Place,
    pub privileges: Privileges,
    pub nofile: Option<Limit>,
    pub memlock: Option<Limit>,
    pub memory: Memory,
    pub processor: Processor,
    pub network: Network,
    /// Kernel settings by name, each as /proc/sys has it; those that are not there are not in here.
    pub sysctls: BTreeMap<String, String>,
}

/// Settings that rules look at beside those of the file.
const MORE_SYSCTLS: [&str; 4] = [
    "fs.nr_open",
    "kernel.io_uring_group",
    "net.ipv4.tcp_available_congestion_control",
    "net.ipv4.tcp_congestion_control",
];

impl Facts {
    /// Gathers them for a server that is to start: its ports and a ring are tried out.
    pub fn gather(config: &Config) -> Facts {
        let listening = network::try_to_listen(config, Path::new("/"));
        Facts::read(Path::new("/"), try_ring(config), listening)
    }

    /// Gathers them for a server that runs.
    pub fn gather_while_running(ring: Ring) -> Facts {
        Facts::read(Path::new("/"), ring, Listening::Already)
    }

    fn read(root: &Path, ring: Ring, listening: Listening) -> Facts {
        let files = Files::below(root);
        let wanted = sysctl::settings().iter().map(|setting| setting.key).chain(MORE_SYSCTLS);
        let sysctls = wanted.filter_map(|key| Some((key.to_string(), sysctl_value(&files, key)?))).collect();
        Facts {
            release: files.line("proc/sys/kernel/osrelease").unwrap_or_else(|| "unknown".to_string()),
            ring,
            place: Place::read(&files),
            privileges: Privileges::read(&files),
            nofile: rlimit::nofile().ok(),
            memlock: rlimit::memlock().ok(),
            memory: Memory::read(&files, root),
            processor: Processor::read(&files, root),
            network: Network::read(&files, listening),
            sysctls,
        }
    }

    pub fn sysctl(&self, key: &str) -> Option<&str> {
        self.sysctls.get(key).map(String::as_str)
    }
}

/// `net.ipv4.tcp_rmem` is `/proc/sys/net/ipv4/tcp_rmem`; its numbers are parted by tabs there.
fn sysctl_value(files: &Files, key: &str) -> Option<String> {
    let text = files.line(&format!("proc/sys/{}", key.replace('.', "/")))?;
    Some(text.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// On a thread of its own, as each worker has one: a ring belongs to the thread that makes it.
fn try_ring(config: &Config) -> Ring {
    if config.engine == IoEngine::Epoll {
        return Ring::NotWanted;
    }
    let tried = std::thread::spawn(|| Uring::try_out(&DriverOptions::default())).join();
    match tried {
        Ok(Ok(granted)) => Ring::Works(granted),
        Ok(Err(refused)) => Ring::refused(refused.into()),
        Err(_) => Ring::Refused {
            cause: "the trial of io_uring ended in a panic".to_string(),
            mend: "run with --io-engine epoll".to_string(),
        },
    }
}

/// A machine on which all is well, for tests to spoil.
#[cfg(test)]
pub fn good() -> Facts {
    let sysctls =
        sysctl::settings().iter().map(|setting| (setting.key.to_string(), setting.value.to_string()));
    let mut sysctls: BTreeMap<String, String> = sysctls.collect();
    sysctls.insert("fs.nr_open".into(), "1048576".into());
    sysctls.insert("net.ipv4.tcp_available_congestion_control".into(), "reno cubic bbr".into());
    Facts {
        release: "6.12.30-cloud-amd64".into(),
        ring: Ring::Works(Granted { sq_entries: 512, cq_entries: 4096, no_sqarray: true }),
        place: Place::default(),
        privileges: Privileges::default(),
        nofile: Some(Limit { soft: Some(65_536), hard: Some(1 << 20) }),
        memlock: Some(Limit { soft: None, hard: None }),
        memory: memory::good(),
        processor: processor::good(),
        network: network::good(),
        sysctls,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_machine_has_nothing_to_see_and_breaks_nothing() {
        let empty = tempfile::tempdir().unwrap();
        let facts = Facts::read(empty.path(), Ring::NotWanted, Listening::Already);
        assert_eq!(facts.release, "unknown");
        assert!(facts.sysctls.is_empty() && facts.memory.total.is_none() && facts.network.nic.is_none());
        assert!(facts.place.container.is_none() && facts.processor.clock_source.is_none());
    }

    #[test]
    fn this_machine_has_a_kernel_and_memory() {
        let facts = Facts::read(Path::new("/"), Ring::NotWanted, Listening::Already);
        assert!(facts.release.contains('.') && facts.memory.total.is_some_and(|bytes| bytes > 16 << 20));
        assert!(facts.processor.cpus.is_some_and(|cpus| cpus > 0));
    }

    #[test]
    fn settings_come_with_single_spaces() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("proc/sys/net/ipv4");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("tcp_rmem"), "4096\t131072\t33554432\n").unwrap();
        let value = sysctl_value(&Files::below(root.path()), "net.ipv4.tcp_rmem");
        assert_eq!(value.as_deref(), Some("4096 131072 33554432"));
    }
}
