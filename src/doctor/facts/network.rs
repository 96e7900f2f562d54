//! The network: the interface of the default route with its queues and interrupts, and whether the server can listen.

use super::files::Files;
use crate::config::Config;
use crate::limits;
use crate::sys::listener::{Listeners, bind_one};
use crate::sys::qdisc::{self, Qdisc};
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

/// Whether the server can listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listening {
    /// Every address was free.
    Possible,
    /// The server runs and does.
    Already,
    /// At least one was not: which, why, what mends it.
    Impossible { address: String, reason: String, mend: String, is_taken: bool, servers: Vec<u32> },
}

#[derive(Clone, Debug)]
pub struct Network {
    pub listening: Listening,
    /// The interface of the default route.
    pub nic: Option<Nic>,
    /// Whether irqbalance runs; `None` where processes cannot be listed.
    pub irqbalance: Option<bool>,
}

/// A network interface.
#[derive(Clone, Debug, Default)]
pub struct Nic {
    pub name: String,
    pub driver: Option<String>,
    pub rx_queues: usize,
    pub tx_queues: usize,
    /// `rps_cpus` of each receive queue: a mask in hexadecimal digits.
    pub rps: Vec<String>,
    /// `xps_cpus` of each send queue; those that have none (a single queue) are not in here.
    pub xps: Vec<String>,
    /// Its interrupts, and the CPUs that may take each, as a list; `None` where that is not to be seen.
    pub interrupts: Vec<(u32, Option<String>)>,
    /// `None` where the kernel does not say.
    pub qdiscs: Option<Vec<Qdisc>>,
}

impl Network {
    pub fn read(files: &Files, listening: Listening) -> Network {
        Network {
            listening,
            nic: default_interface(files).map(|name| nic(files, name)),
            irqbalance: files.process_runs("irqbalance"),
        }
    }
}

/// Tries the addresses that the server would listen on.
pub fn try_to_listen(config: &Config, root: &Path) -> Listening {
    let ports = std::iter::once((config.port, "--port"))
        .chain(config.own_ports.iter().map(|own| (own.port, own.flag)));
    let retry = Duration::from_millis(limits::DOCTOR_BIND_RETRY_MS);
    let tried = ports
        .map(|(port, port_flag)| Listeners::try_out(&config.listen_options(port, port_flag, retry)))
        .chain(std::iter::once_with(|| {
            let admin = SocketAddr::new(config.admin_bind, config.admin_port);
            bind_one(admin, Duration::ZERO).map(|_| ())
        }));
    let Some(failed) = tried.filter_map(Result::err).next() else { return Listening::Possible };
    Listening::Impossible {
        address: failed.address.to_string(),
        reason: failed.reason().to_string(),
        mend: failed.mend(),
        is_taken: failed.is_taken(),
        servers: Files::below(root).processes("kv-server").unwrap_or_default(),
    }
}

/// The interface of the IPv4 route to everywhere, else of the IPv6 one.
fn default_interface(files: &Files) -> Option<String> {
    let routes = files.text("proc/net/route").unwrap_or_default();
    let everywhere = routes.lines().skip(1).find_map(|line| {
        let mut fields = line.split_whitespace();
        let (name, destination, mask) = (fields.next()?, fields.next()?, fields.nth(5)?);
        (destination == "00000000" && mask == "00000000").then(|| name.to_string())
    });
    everywhere.or_else(|| {
        let routes = files.text("proc/net/ipv6_route").unwrap_or_default();
        routes.lines().find_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let (destination, prefix, name) = (fields.first()?, fields.get(1)?, fields.get(9)?);
            // Unreachable routes to everywhere are on the loopback.
            let is_default = destination.bytes().all(|byte| byte == b'0') && *prefix == "00" && *name != "lo";
            is_default.then(|| (*name).to_string())
        })
    })
}

fn nic(files: &Files, name: String) -> Nic {
    let folder = format!("sys/class/net/{name}");
    let queues = files.names(&format!("{folder}/queues")).unwrap_or_default();
    let of_kind =
        |kind: &str| queues.iter().filter(|queue| queue.starts_with(kind)).cloned().collect::<Vec<_>>();
    let masks = |queues: &[String], file: &str| -> Vec<String> {
        queues.iter().filter_map(|queue| files.line(&format!("{folder}/queues/{queue}/{file}"))).collect()
    };
    let (rx, tx) = (of_kind("rx-"), of_kind("tx-"));
    let index = files.number(&format!("{folder}/ifindex")).and_then(|index| u32::try_from(index).ok());
    Nic {
        driver: files.link_name(&format!("{folder}/device/driver")),
        rx_queues: rx.len(),
        tx_queues: tx.len(),
        rps: masks(&rx, "rps_cpus"),
        xps: masks(&tx, "xps_cpus"),
        interrupts: interrupts(files, &name),
        qdiscs: index.and_then(|index| qdisc::of_interface(index).ok()),
        name,
    }
}

/// By the device's folder of interrupts (PCI), else by their names in /proc/interrupts: virtio's are called after its device.
fn interrupts(files: &Files, name: &str) -> Vec<(u32, Option<String>)> {
    let device = format!("sys/class/net/{name}/device");
    let of_device: Vec<u32> = files
        .names(&format!("{device}/msi_irqs"))
        .unwrap_or_default()
        .iter()
        .filter_map(|number| number.parse().ok())
        .collect();
    let numbers = if of_device.is_empty() {
        let link = files.link_name(&device).unwrap_or_default();
        let table = files.text("proc/interrupts").unwrap_or_default();
        named_interrupts(&table, &[name, &link])
    } else {
        of_device
    };
    let affinity = |number: u32| {
        let folder = format!("proc/irq/{number}");
        let effective = files.line(&format!("{folder}/effective_affinity_list"));
        effective.or_else(|| files.line(&format!("{folder}/smp_affinity_list")))
    };
    numbers.into_iter().map(|number| (number, affinity(number))).collect()
}

/// The numbers of the interrupts that carry packets and belong to one of these names: "virtio3-rx", "eth0-Tx-Rx-0".
fn named_interrupts(table: &str, names: &[&str]) -> Vec<u32> {
    let belongs = |last: &str| {
        let of_name = |name: &&str| {
            !name.is_empty()
                && last.strip_prefix(*name).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
        };
        names.iter().any(of_name) && !last.ends_with("-config") && !last.ends_with("-event")
    };
    let number = |line: &str| {
        let (number, rest) = line.split_once(':')?;
        let number = number.trim().parse().ok()?;
        rest.split_whitespace().next_back().is_some_and(belongs).then_some(number)
    };
    table.lines().filter_map(number).collect()
}

#[cfg(test)]
pub fn good() -> Network {
    let fq = |is_root| Qdisc { kind: if is_root { "mq" } else { "fq" }.into(), is_root };
    let nic = Nic {
        name: "ens5".into(),
        driver: Some("ena".into()),
        rx_queues: 4,
        tx_queues: 4,
        rps: vec!["0".into(); 4],
        xps: vec!["1".into(), "2".into(), "4".into(), "8".into()],
        interrupts: (0..4).map(|n| (30 + n, Some(n.to_string()))).collect(),
        qdiscs: Some(vec![fq(true), fq(false), fq(false), fq(false), fq(false)]),
    };
    Network { listening: Listening::Possible, nic: Some(nic), irqbalance: Some(false) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn the_default_route_names_the_interface() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("proc/net")).unwrap();
        let files = Files::below(root.path());
        assert_eq!(default_interface(&files), None);
        let v6 = "00000000000000000000000000000000 00 00000000000000000000000000000000 00 fe80 00000400 1 0 0 ens6\n";
        let none = v6.replace("ens6", "lo");
        fs::write(root.path().join("proc/net/ipv6_route"), none + v6).unwrap();
        assert_eq!(default_interface(&files).as_deref(), Some("ens6"));
        let v4 = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\n\
                  docker0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\n\
                  ens5\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\n";
        fs::write(root.path().join("proc/net/route"), v4).unwrap();
        assert_eq!(default_interface(&files).as_deref(), Some("ens5"));
    }

    #[test]
    fn interrupts_are_known_by_the_names_of_interface_and_device() {
        let table = "           CPU0       CPU1\n\
             40:          0          0 PCI-MSIX-0000:00:04.0   0-edge      virtio3-config\n\
             41:       7500          0 PCI-MSIX-0000:00:04.0   1-edge      virtio3-rx\n\
             42:          0      21125 PCI-MSIX-0000:00:04.0   2-edge      virtio3-tx\n\
             43:          1          0 PCI-MSI 524288-edge      eth0-Tx-Rx-0\n\
             44:          1          0 PCI-MSI 524288-edge      eth01-Tx-Rx-0\n\
            NMI:          0          0   Non-maskable interrupts\n";
        assert_eq!(named_interrupts(table, &["eth0", "virtio3"]), [41, 42, 43]);
        assert_eq!(named_interrupts(table, &["ens5", ""]), [0_u32; 0]);
    }
}
