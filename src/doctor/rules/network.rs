//! The network interface that clients come by, and the queues of connections.

use crate::config::Config;
use crate::doctor::checks;
use crate::doctor::facts::{Facts, Nic};
use crate::doctor::finding::{Finding, Severity};

const TUNE: &str = "systemctl enable --now kv-cache-tune.service";

pub fn findings(facts: &Facts, config: &Config) -> Vec<Finding> {
    let mut found = vec![backlog(facts, config)];
    let Some(nic) = &facts.network.nic else {
        found.push(Finding::unseen(&checks::QUEUES, "no interface has a route to everywhere"));
        return found;
    };
    let cpus = facts.processor.cpus.unwrap_or(1);
    found.extend([qdisc(facts, nic), queues(nic, cpus)]);
    found.extend(interrupts(nic, cpus));
    found.extend(irqbalance(facts, nic));
    found
}

fn backlog(facts: &Facts, config: &Config) -> Finding {
    let check = &checks::BACKLOG;
    let Some(most) = facts.sysctl("net.core.somaxconn").and_then(|most| most.parse::<u32>().ok()) else {
        return Finding::unseen(check, "net.core.somaxconn cannot be read");
    };
    let wanted = config.tcp_backlog;
    match most < wanted {
        true => Finding::bad(
            check,
            Severity::Warning,
            format!("--tcp-backlog {wanted} is cut to {most}"),
            format!("sysctl -w net.core.somaxconn={wanted} (docker: --sysctl net.core.somaxconn={wanted})"),
        ),
        false => Finding::ok(check, format!("--tcp-backlog {wanted}, of {most}")),
    }
}

fn qdisc(facts: &Facts, nic: &Nic) -> Finding {
    let check = &checks::QDISC;
    let Some(all) = nic.qdiscs.as_deref().filter(|all| !all.is_empty()) else {
        return Finding::unseen(check, format!("{}: the kernel does not say", nic.name));
    };
    let root = all.iter().find(|qdisc| qdisc.is_root).map_or("none", |qdisc| qdisc.kind.as_str());
    // Below "mq" stands one for each queue; other roots do the work themselves.
    let leaves: Vec<&str> = match root {
        "mq" => all.iter().filter(|qdisc| !qdisc.is_root).map(|qdisc| qdisc.kind.as_str()).collect(),
        root => vec![root],
    };
    let mut kinds = leaves.clone();
    kinds.sort_unstable();
    kinds.dedup();
    let text = format!("{}: {}", nic.name, kinds.join(", "));
    if leaves.iter().all(|kind| *kind == "fq") && !leaves.is_empty() {
        return Finding::ok(check, text);
    }
    if facts.sysctl("net.ipv4.tcp_congestion_control") != Some("bbr") {
        return Finding::ok(check, format!("{text} (fq is for BBR, which is not in use)"));
    }
    let mend = match root {
        "mq" => format!("sysctl -w net.core.default_qdisc=fq && tc qdisc replace dev {} root mq", nic.name),
        _ => format!("tc qdisc replace dev {} root fq ({TUNE} does it at every start)", nic.name),
    };
    Finding::bad(check, Severity::Hint, format!("{text}, with BBR"), mend)
}

fn queues(nic: &Nic, cpus: usize) -> Finding {
    let check = &checks::QUEUES;
    if nic.rx_queues == 0 {
        return Finding::unseen(check, format!("{}: its queues cannot be seen", nic.name));
    }
    let rps = nic.rps.iter().any(|mask| is_some_cpu(mask));
    // One send queue has nothing to choose from.
    let xps = nic.tx_queues < 2 || nic.xps.is_empty() || nic.xps.iter().any(|mask| is_some_cpu(mask));
    let on = |on: bool| if on { "on" } else { "off" };
    let text = format!(
        "{} ({}): {} receive and {} send queues for {cpus} CPUs, RPS {}{}",
        nic.name,
        nic.driver.as_deref().unwrap_or("no driver of its own"),
        nic.rx_queues,
        nic.tx_queues,
        on(rps),
        if nic.tx_queues < 2 { String::new() } else { format!(", XPS {}", on(xps)) }
    );
    if (nic.rx_queues >= cpus || rps) && xps {
        return Finding::ok(check, text);
    }
    let (name, mask) = (&nic.name, mask_of(cpus));
    let by_hand = match xps {
        true => format!(
            "ethtool -L {name} combined {cpus}, or echo {mask} > /sys/class/net/{name}/queues/rx-0/rps_cpus"
        ),
        false => {
            format!("echo a mask of its CPU > /sys/class/net/{name}/queues/tx-N/xps_cpus for each queue")
        }
    };
    Finding::bad(check, Severity::Hint, text, format!("{TUNE}, or {by_hand}"))
}

fn is_some_cpu(mask: &str) -> bool {
    mask.bytes().any(|byte| byte != b'0' && byte != b',')
}

/// The first so many CPUs, as the kernel takes them: groups of 32 bits in hexadecimal digits, parted by commas.
fn mask_of(cpus: usize) -> String {
    let mut groups = Vec::new();
    let mut left = cpus;
    while left > 0 {
        let bits = left.min(32);
        groups.push(u32::MAX >> (32 - bits));
        left -= bits;
    }
    let (last, whole) = groups.split_last().map_or((0, 0), |(last, rest)| (*last, rest.len()));
    let mut text = format!("{last:x}");
    text.push_str(&",ffffffff".repeat(whole));
    text
}

fn interrupts(nic: &Nic, cpus: usize) -> Option<Finding> {
    let check = &checks::INTERRUPTS;
    let seen: Vec<&str> = nic.interrupts.iter().filter_map(|(_, cpus)| cpus.as_deref()).collect();
    if nic.rx_queues < 2 || cpus < 2 {
        return None;
    }
    if seen.len() < 2 {
        return Some(Finding::unseen(check, format!("{}: which CPUs take its interrupts", nic.name)));
    }
    let mut taking = seen.clone();
    taking.sort_unstable();
    taking.dedup();
    let alone = taking.len() == 1 && taking[0].parse::<usize>().is_ok();
    let text = format!("{}: {} interrupts, taken by CPU {}", nic.name, seen.len(), taking.join("; "));
    Some(match alone {
        true => {
            Finding::bad(check, Severity::Hint, text, format!("{TUNE}, or systemctl enable --now irqbalance"))
        }
        false => Finding::ok(check, text),
    })
}

/// Of interest where there is something to move.
fn irqbalance(facts: &Facts, nic: &Nic) -> Option<Finding> {
    // A container sees its own processes only.
    let runs = facts.network.irqbalance.filter(|_| nic.rx_queues > 1 && !facts.place.in_container())?;
    let check = &checks::IRQBALANCE;
    Some(match runs {
        true => Finding::bad(
            check,
            Severity::Hint,
            "it runs",
            "where kv-cache-tune places the interrupts: systemctl disable --now irqbalance; otherwise leave it",
        ),
        false => Finding::ok(check, "it does not run"),
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::{all, one, severity};
    use super::*;
    use crate::sys::qdisc::Qdisc;

    fn nic(facts: &mut Facts) -> &mut Nic {
        facts.network.nic.as_mut().unwrap()
    }

    #[test]
    fn a_backlog_that_is_cut_is_said() {
        let somaxconn = |facts: &mut Facts| {
            facts.sysctls.insert("net.core.somaxconn".into(), "128".into());
        };
        let finding = one("network.backlog", "", somaxconn);
        assert_eq!(finding.severity, Severity::Warning);
        assert!(finding.found.contains("4096 is cut to 128"), "{finding:?}");
        assert_eq!(severity("network.backlog", "--tcp-backlog 128", somaxconn), Severity::Ok);
    }

    #[test]
    fn fq_is_wanted_where_bbr_is_in_use() {
        let kind = |root: &str| vec![Qdisc { kind: root.into(), is_root: true }];
        assert_eq!(severity("network.qdisc", "", |facts| nic(facts).qdiscs = Some(kind("fq"))), Severity::Ok);
        let other = one("network.qdisc", "", |facts| nic(facts).qdiscs = Some(kind("pfifo_fast")));
        assert!(other.severity == Severity::Hint && other.mend.unwrap().contains("dev ens5 root fq"));
        let cubic = |facts: &mut Facts| {
            facts.sysctls.insert("net.ipv4.tcp_congestion_control".into(), "cubic".into());
            nic(facts).qdiscs = Some(kind("pfifo_fast"));
        };
        assert_eq!(severity("network.qdisc", "", cubic), Severity::Ok);
        let several = |leaf: &str| {
            let leaf = Qdisc { kind: leaf.into(), is_root: false };
            let all = [kind("mq"), vec![leaf.clone(), leaf]].concat();
            one("network.qdisc", "", move |facts| nic(facts).qdiscs = Some(all))
        };
        assert_eq!(several("fq").severity, Severity::Ok);
        assert!(several("fq_codel").mend.unwrap().contains("root mq"));
        assert_eq!(severity("network.qdisc", "", |facts| nic(facts).qdiscs = None), Severity::Unseen);
    }

    #[test]
    fn few_queues_are_spread_by_rps() {
        let with = |rx: usize, mask: &str| {
            one("network.queues", "", |facts| {
                nic(facts).rx_queues = rx;
                nic(facts).rps = vec![mask.to_string()];
            })
        };
        assert_eq!(with(4, "0").severity, Severity::Ok);
        assert_eq!(with(1, "f").severity, Severity::Ok);
        let one = with(1, "00000000,00000000");
        assert!(one.severity == Severity::Hint && one.mend.unwrap().contains("echo f > "));
        assert_eq!(severity("network.queues", "", |facts| facts.network.nic = None), Severity::Unseen);
        let without_xps = |facts: &mut Facts| nic(facts).xps = vec!["0".into(); 4];
        assert_eq!(severity("network.queues", "", without_xps), Severity::Hint);
    }

    #[test]
    fn masks_are_written_in_groups() {
        for (cpus, mask) in [
            (1, "1"),
            (2, "3"),
            (8, "ff"),
            (32, "ffffffff"),
            (33, "1,ffffffff"),
            (96, "ffffffff,ffffffff,ffffffff"),
        ] {
            assert_eq!(mask_of(cpus), mask, "{cpus}");
        }
    }

    #[test]
    fn interrupts_on_one_cpu_are_a_hint() {
        let on = |cpus: &[&str]| {
            let all = cpus.iter().enumerate().map(|(n, cpu)| (n as u32, Some(cpu.to_string()))).collect();
            severity("network.interrupts", "", move |facts| nic(facts).interrupts = all)
        };
        assert_eq!(on(&["0", "1"]), Severity::Ok);
        assert_eq!(on(&["0", "0", "0"]), Severity::Hint);
        assert_eq!(on(&["0-3", "0-3"]), Severity::Ok, "any of four");
        assert_eq!(on(&[]), Severity::Unseen);
        assert!(all("network.interrupts", "", |facts| nic(facts).rx_queues = 1).is_empty());
        assert_eq!(
            severity("network.irqbalance", "", |facts| facts.network.irqbalance = Some(true)),
            Severity::Hint
        );
    }
}
