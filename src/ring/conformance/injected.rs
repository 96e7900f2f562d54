//! Errors that no healthy kernel gives on demand, injected by strace into a child: refusals at the start, and
//! interruptions of `io_uring_enter`. Skipped, loudly, where there is no strace or no ptrace.

use super::beds::{Bed, Client, UringBed, uring};
use super::cases::options;
use super::real::{is_child, spawn};
use super::server::{Server, echo};
use super::talk::pattern;
use crate::ring::uring::Uring;
use std::io::Read;
use std::process::Command;

/// Runs `test` as a child with these injections; its output, or `None` where that is impossible.
fn run_injected(test: &str, injections: &[&str]) -> Option<String> {
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-o", "/dev/null"]);
    for injection in injections {
        strace.args(["-e", &format!("inject={injection}")]);
    }
    let works = Command::new("strace").args(["-o", "/dev/null", "true"]).status();
    if !works.is_ok_and(|status| status.success()) {
        eprintln!("SKIPPED: strace cannot run here");
        return None;
    }
    let mut child = spawn(strace, &format!("injected::{test}"));
    let mut output = String::new();
    child.stdout.take().unwrap().read_to_string(&mut output).unwrap();
    assert!(child.wait().unwrap().success() && output.contains("1 passed"), "the child failed: {output}");
    Some(output)
}

/// The child says how its start went; the parent chooses what goes wrong.
#[test]
fn refusals_are_explained() {
    if is_child() {
        println!(
            "outcome: {}",
            Uring::new(&options()).map_or_else(|error| error.to_string(), |_| "works".into())
        );
        return;
    }
    if uring(&options()).is_none() {
        return;
    }
    let cases = [
        ("io_uring_setup:error=EPERM", "seccomp"),
        ("io_uring_setup:error=ENOSYS", "seccomp"),
        ("io_uring_setup:error=EINVAL", "DEFER_TASKRUN"),
        ("io_uring_setup:error=ENOMEM", "memlock"),
        ("io_uring_setup:error=EOPNOTSUPP", "--io-engine epoll"),
        // Only the first try: the ladder goes on without the newest flag, and memory comes back after a moment.
        ("io_uring_setup:error=EINVAL:when=1", "works"),
        ("io_uring_setup:error=ENOMEM:when=1..3", "works"),
    ];
    for (injection, explanation) in cases {
        let Some(output) = run_injected("refusals_are_explained", &[injection]) else { return };
        let outcome =
            output.lines().find_map(|line| line.split_once("outcome: ")).map(|(_, outcome)| outcome);
        let outcome = outcome.expect("the child reports its start");
        assert!(outcome.contains(explanation), "{injection}: {outcome}");
    }
}

/// EINTR, EAGAIN and EBUSY at every few calls of `io_uring_enter`: nothing is lost and no turn fails.
#[test]
fn interrupted_enters_lose_nothing() {
    if !is_child() {
        for error in ["EINTR", "EAGAIN", "EBUSY"] {
            let injection = format!("io_uring_enter:error={error}:when=5+3");
            if uring(&options()).is_some() {
                run_injected("interrupted_enters_lose_nothing", &[&injection]);
            }
        }
        return;
    }
    UringBed::each(options(), |mut bed| {
        let mut server = Server::new(echo);
        let mut clients: Vec<_> = (0..20).map(|_| bed.connect()).collect();
        for round in 0..20 {
            clients.iter_mut().for_each(|client| assert_eq!(client.write(&pattern(round, 50)), 50));
            server.until(bed.parts(), |_, _| {
                clients.iter().all(|client| client.peek(50) == pattern(round, 50))
            });
            clients.iter_mut().for_each(|client| assert_eq!(client.read(50).len(), 50));
        }
        drop(clients);
        server.until(bed.parts(), |server, _| server.accepted.len() == 20 && server.peers.is_empty());
    });
}
