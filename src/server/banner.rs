//! The lines that the server says at its start and at its end: what it is, what it got, where it is.

use super::log;
use super::parameters::policy_name;
use super::shared::Shared;
use crate::config::format_bytes;
use crate::proto::{Protocol, Spoken};
use crate::sys::listener::is_local;
use crate::sys::machine;
use crate::worker::Report;
use std::net::SocketAddr;

/// Where the admin pages are.
#[derive(Clone, Copy, Debug)]
pub struct Admin {
    pub address: SocketAddr,
    pub inherited: bool,
}

/// Says what started. A fallback engine is a warning of its own: nobody should find out from a benchmark.
pub fn print(shared: &Shared, inherited: &[bool], admin: Admin, reports: &[Report]) {
    for note in &shared.config.notes {
        log::warn(format_args!("{note}"));
    }
    for warning in reports.iter().filter_map(|report| report.warning.as_deref()) {
        log::warn(format_args!("{warning}"));
    }
    if let Some(why) = fallback(reports) {
        log::warn(format_args!("{why}"));
    }
    if !is_local(admin.address) {
        log::warn(format_args!(
            "The admin pages on {} need no password: see that only you can reach them.",
            admin.address
        ));
    }
    for line in lines(shared, inherited, admin) {
        log::info(format_args!("{line}"));
    }
}

/// One line for all workers that have epoll although io_uring was preferred.
fn fallback(reports: &[Report]) -> Option<String> {
    let reasons: Vec<_> = reports.iter().filter_map(|report| report.fallback.as_ref()).collect();
    let first = reasons.first()?;
    Some(format!(
        "EPOLL INSTEAD OF IO_URING on {} of {} workers, 6 to 16 % slower. Why: {first}",
        reasons.len(),
        reports.len()
    ))
}

fn lines(shared: &Shared, inherited: &[bool], admin: Admin) -> Vec<String> {
    let config = &shared.config;
    let port = shared.addresses.first().map_or(config.port, SocketAddr::port);
    let mut lines = vec![
        format!(
            "KV-Cache {} on {}, process {}",
            env!("CARGO_PKG_VERSION"),
            machine::kernel(),
            std::process::id()
        ),
        format!("  engine   {}", engines(shared)),
        format!("  memory   {}", memory(shared)),
        format!("  clients  {} at most, {}", config.max_clients, door(shared)),
    ];
    for (spoken, addresses) in listeners(shared, inherited) {
        lines.push(format!("  listen   {}: {}", addresses.join(", "), spoken_text(spoken)));
    }
    let from = origin(admin.inherited);
    lines.push(format!("  admin    http://{}/{from} (metrics, health)", admin.address));
    lines.push(format!("Ready. Try: redis-cli -p {port} set greeting hello"));
    lines
}

/// What is spoken where, in the order in which it was bound.
fn listeners(shared: &Shared, inherited: &[bool]) -> Vec<(Spoken, Vec<String>)> {
    let mut found: Vec<(Spoken, Vec<String>)> = Vec::new();
    for ((address, spoken), inherited) in shared.addresses.iter().zip(&shared.spoken).zip(inherited) {
        let address = format!("{address}{}", origin(*inherited));
        match found.iter_mut().find(|(other, _)| other == spoken) {
            Some((_, addresses)) => addresses.push(address),
            None => found.push((*spoken, vec![address])),
        }
    }
    found
}

fn origin(inherited: bool) -> &'static str {
    if inherited { " (inherited socket)" } else { "" }
}

fn spoken_text(spoken: Spoken) -> &'static str {
    match spoken {
        Spoken::All => "Redis, memcached, HTTP, JSON lines, protobuf",
        Spoken::Memcached | Spoken::Only(Protocol::Text | Protocol::Binary) => "memcached",
        Spoken::Only(Protocol::Resp) => "Redis",
        Spoken::Only(Protocol::JsonLines) => "JSON lines",
        Spoken::Only(Protocol::Http) => "HTTP",
        Spoken::Only(Protocol::Protobuf) => "protobuf",
    }
}

fn engines(shared: &Shared) -> String {
    let count = shared.workers.len();
    let mut names: Vec<&str> = (0..count).map(|worker| shared.engine(worker)).collect();
    names.dedup();
    let cpus = match shared.config.cpus.as_slice() {
        [] => "not pinned".to_string(),
        [cpu] => format!("on CPU {cpu}"),
        cpus => format!("on CPUs {}", cpus.iter().map(usize::to_string).collect::<Vec<_>>().join(", ")),
    };
    format!("{}, {count} {} {cpus}", names.join(" and "), if count == 1 { "worker" } else { "workers" })
}

/// The limit and how it is divided now; what is not taken is for keys and values.
fn memory(shared: &Shared) -> String {
    let m = shared.figures().memory;
    let other = m.used - m.segments.min(m.used) - m.large.min(m.used - m.segments.min(m.used));
    format!(
        "{} in all: {} for the process and its index now, {} for keys and values and connections; values to {}, {}",
        format_bytes(m.limit),
        format_bytes(other),
        format_bytes(m.limit.saturating_sub(other)),
        format_bytes(shared.max_value_size()),
        policy_name(shared.store.config().eviction),
    )
}

fn door(shared: &Shared) -> &'static str {
    if shared.password_is_set() {
        "password required"
    } else if shared.settings.protected_mode() {
        "protected mode: from this machine only, until a password is set"
    } else {
        "OPEN TO ALL who reach the port: no password, protected mode off"
    }
}

/// What a signal begins.
pub fn draining(signal: &str, shared: &Shared) -> String {
    let clients = shared.clients.count();
    let seconds = shared.config.drain_timeout.as_secs();
    format!(
        "{signal}: no new connections; finishing {clients} clients within {seconds} s. Again to end at once."
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::uring::Explained;
    use crate::server::testing;

    fn report(worker: usize, fallback: Option<&str>) -> Report {
        let fallback = fallback.map(|cause| Explained { cause: cause.to_string(), mend: "allow it" });
        Report { worker, engine: Ok("epoll"), fallback, warning: None }
    }

    #[test]
    fn the_start_is_a_few_lines_that_name_everything() {
        let shared = testing::shared("--max-memory 64MB --threads 2");
        let admin = Admin { address: "127.0.0.1:7172".parse().unwrap(), inherited: false };
        let text = lines(&shared, &[false], admin).join("\n");
        for part in [
            env!("CARGO_PKG_VERSION"),
            "2 workers on CPUs 0, 1",
            "64 MB in all",
            "values to 16 MB, allkeys-lru",
            "10000 at most, protected mode",
            "127.0.0.1:7171",
            "http://127.0.0.1:7172/",
            "redis-cli -p 7171",
        ] {
            assert!(text.contains(part), "{part} in\n{text}");
        }
        assert!(text.lines().count() <= 8 && !text.contains("inherited"));
        let text = lines(&shared, &[true], Admin { inherited: true, ..admin }).join("\n");
        assert!(text.contains("127.0.0.1:7171 (inherited socket): Redis"), "{text}");
        assert!(text.contains("http://127.0.0.1:7172/ (inherited socket) ("), "{text}");
        assert!(door(&testing::shared("--protected-mode no")).starts_with("OPEN"));
        assert_eq!(door(&testing::shared("--requirepass x")), "password required");
    }

    #[test]
    fn a_fallback_is_one_loud_line() {
        assert_eq!(fallback(&[report(0, None)]), None);
        let text = fallback(&[report(0, None), report(1, Some("seccomp forbids it"))]).unwrap();
        assert!(
            text.starts_with("EPOLL INSTEAD OF IO_URING on 1 of 2")
                && text.ends_with("seccomp forbids it; allow it")
        );
    }
}
