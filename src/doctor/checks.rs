//! Every check: its name, its group, why it matters, and what it costs where that has been measured. The one place for these texts.
//!
//! Kernel settings bring their reason with them (see `sysctl`); only what they cost, measured, stands here.

use serde::Serialize;

/// The headings of a report, in its order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Group {
    Server,
    Kernel,
    Limits,
    Memory,
    Processor,
    Network,
    Settings,
}

impl Group {
    pub const ALL: [Group; 7] = [
        Group::Server,
        Group::Kernel,
        Group::Limits,
        Group::Memory,
        Group::Processor,
        Group::Network,
        Group::Settings,
    ];

    pub fn title(self) -> &'static str {
        match self {
            Group::Server => "Server",
            Group::Kernel => "Kernel and io_uring",
            Group::Limits => "Limits",
            Group::Memory => "Memory",
            Group::Processor => "Processor",
            Group::Network => "Network",
            Group::Settings => "Kernel settings (sysctl/90-kv-cache.conf)",
        }
    }
}

/// One check.
#[derive(Clone, Copy, Debug)]
pub struct Check {
    pub id: &'static str,
    pub group: Group,
    /// Why it matters: whole sentences.
    pub why: &'static str,
    /// What it costs, measured, with where; empty where nobody has.
    pub measured: &'static str,
    /// It is about the whole machine: a container cannot change it.
    pub machine_wide: bool,
}

macro_rules! checks {
    ($($const:ident $id:literal $group:ident $wide:literal $why:literal $measured:literal;)*) => {
        $(pub const $const: Check =
            Check { id: $id, group: Group::$group, why: $why, measured: $measured, machine_wide: $wide };)*

        /// All of them, for tests.
        #[cfg(test)]
        pub const ALL: &[Check] = &[$($const),*];
    };
}

checks! {
    CONFIGURATION "server.configuration" Server false
        "The server does not start with this configuration." "";
    ADJUSTED "server.adjusted" Server false
        "This is not what the configuration asks for." "";
    LISTEN "server.listen" Server false
        "Without its ports the server does not start." "";
    PLACE "server.place" Server false
        "" "";
    VERSION "kernel.version" Kernel true
        "The server's io_uring needs what Linux 6.1 brought (DEFER_TASKRUN); on an older kernel epoll serves."
        "That is 6 to 16 % slower.";
    DEFECT "kernel.defect" Kernel true
        "A worker that hangs cannot be killed, and its clients wait for ever." "";
    RING "io_uring.ring" Kernel false
        "Without io_uring the server runs on epoll, and makes several system calls per request where it would make a few hundredths of one."
        "epoll is 6 to 16 % slower.";
    ACCEPT "io_uring.accept" Kernel true
        "These series can report a wrong descriptor for a connection (mended in 6.6.18, 6.7.6 and 6.8), so the server accepts one connection \
         per submission here: a little more work for each that comes." "";
    MEMLOCK "limits.memlock" Limits false
        "Rings are memory that stays in place, charged to the user by some kernels. Where it does not suffice, a worker runs on epoll. \
         What a process leaves is given back late, so a quick restart needs it twice."
        "epoll is 6 to 16 % slower.";
    NOFILE "limits.nofile" Limits false
        "Every client takes a descriptor." "";
    GROUP_MEMORY "memory.group" Memory false
        "The kernel kills a process that passes the limit of its control group. Sockets' buffers and page tables count there too, but not in \
         --max-memory." "";
    AVAILABLE "memory.available" Memory true
        "If the memory is not there when the cache fills, the kernel swaps, or kills the largest process, which is this one." "";
    HUGE_PAGES "memory.huge_pages" Memory true
        "A cache reads all over its memory: with small pages most reads miss the processor's table of pages as well."
        "On a virtual machine no difference was seen.";
    SWAP "memory.swap" Memory true
        "A key that lies in swap is read in milliseconds instead of microseconds, and all clients of its worker wait for it." "";
    OVERCOMMIT "memory.overcommit" Memory true
        "With vm.overcommit_memory=2 the kernel refuses memory that it has not promised yet, although it is free." "";
    THREADS "cpu.threads" Processor false
        "A control group with less time than there are workers stops all of them until its next period, up to 100 ms: that is the latency \
         that clients then see. More workers than CPUs take turns, for no gain." "";
    CLOCK "cpu.clock" Processor true
        "The server reads the clock several times per turn. With this source each reading is a system call, or a visit to a slow device." "";
    GOVERNOR "cpu.governor" Processor true
        "A processor that slows down when it idles takes its time to be fast again: the first requests after each pause are slower." "";
    NUMA "cpu.numa" Processor true
        "A worker that reads a key from another node's memory waits longer for it. One server for each node, tied to it, has no such reads." "";
    MITIGATIONS "cpu.mitigations" Processor true
        "Guards against defects of the processor make each system call dearer. The server makes few, so little is to be gained; to turn them off \
         opens the machine to programs that run on it." "";
    VULNERABLE "cpu.vulnerable" Processor true
        "Programs, or virtual machines, on the same processor may read what they should not. It costs no speed." "";
    BACKLOG "network.backlog" Network false
        "The kernel cuts --tcp-backlog to net.core.somaxconn. When many clients connect at once, those beyond it are dropped and try again \
         after a second."
        "With 128, the last of 5,000 clients that connect at once was answered after 2.1 s, with 4096 after 0.6 s.";
    QDISC "network.qdisc" Network true
        "BBR sends at a pace of its own. fq keeps that pace for all connections together and fairly; without it each connection has a timer."
        "";
    QUEUES "network.queues" Network true
        "With fewer queues than CPUs the packets of all clients are received by few of them, which then have less time for requests: RPS \
         spreads that work. XPS has each CPU send by a queue of its own." "";
    INTERRUPTS "network.interrupts" Network true
        "One CPU receives the packets of all queues, while the others wait." "";
    IRQBALANCE "network.irqbalance" Network true
        "irqbalance moves interrupts between CPUs by its own lights, also those that kv-cache-tune has placed." "";
}

/// What a setting of sysctl/90-kv-cache.conf costs where it is not kept, measured.
/// docs/tuning.md says how, and for whom it matters.
pub const MEASURED_SETTINGS: &[(&str, &str)] = &[
    ("kernel.io_uring_disabled", "On epoll the server is 6 to 16 % slower."),
    (
        "net.ipv4.tcp_slow_start_after_idle",
        "A reply of 256 KiB over 20 ms took 109 ms after a pause, with 0 it took 22 ms.",
    ),
    (
        "net.ipv4.tcp_congestion_control",
        "Where 1 % of the packets is lost, values of 256 KiB came with 6 Mbit/s by CUBIC and 31 by BBR; where none is, with the same.",
    ),
    (
        "net.ipv4.tcp_rmem",
        "Over 100 ms one connection wrote 206 Mbit/s with the old ceilings, 580 with these at both ends.",
    ),
    (
        "net.ipv4.tcp_wmem",
        "Over 100 ms one connection read 207 Mbit/s with the old ceilings, 620 with these at both ends.",
    ),
    (
        "net.core.somaxconn",
        "With 128, the last of 5,000 clients that connect at once was answered after 2.1 s, with 4096 after 0.6 s.",
    ),
    (
        "net.ipv4.tcp_tw_reuse",
        "On a machine whose clients connect for each request: 92 connections per second after a minute, with 1 and this file's ports 7,250.",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_texts_are_sentences() {
        for (i, check) in ALL.iter().enumerate() {
            assert!(ALL[..i].iter().all(|other| other.id != check.id), "{} twice", check.id);
            for text in [check.why, check.measured] {
                assert!(text.is_empty() || text.ends_with('.'), "{}: {text}", check.id);
                assert!(!text.contains("  "), "{}: {text}", check.id);
            }
        }
        for (key, _) in MEASURED_SETTINGS {
            assert!(crate::doctor::sysctl::settings().iter().any(|setting| setting.key == *key), "{key}");
        }
    }
}
