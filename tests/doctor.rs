//! The doctor as its users meet it: the command line with its exit codes, the command DOCTOR, the admin pages.

mod support;

use serde_json::Value as Json;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use support::{Engine, Ports, Server, Setup, http_get, server_binary, skip, wait_until};

on_every_engine!(the_command, the_admin_pages);

/// A server of the smallest kind, on ports that nobody has.
struct Asked {
    port: Ports,
    admin: Ports,
}

impl Asked {
    fn new() -> Asked {
        Asked { port: Ports::reserve(), admin: Ports::reserve() }
    }

    fn arguments(&self, more: &[&str]) -> Vec<String> {
        let (port, admin) = (self.port.port.to_string(), self.admin.port.to_string());
        let own =
            ["doctor", "--bind", "127.0.0.1", "--port", &port, "--admin-port", &admin, "--threads", "1"];
        let memory: &[&str] = if more.contains(&"--max-memory") { &[] } else { &["--max-memory", "32MB"] };
        let own = own.iter().chain(memory).chain(more);
        own.map(|argument| argument.to_string()).collect()
    }

    /// Runs it behind these words of another command.
    fn run(&self, before: &[&str], binary: &Path, more: &[&str]) -> Output {
        let mut words = before.iter().map(|word| word.to_string()).collect::<Vec<_>>();
        words.push(binary.to_string_lossy().into_owned());
        words.extend(self.arguments(more));
        let mut command = Command::new(&words[0]);
        command
            .args(&words[1..])
            .env_remove("INVOCATION_ID")
            .env_remove("SYSTEMD_EXEC_PID")
            .env_remove("CLICOLOR_FORCE");
        command.output().expect("the command runs")
    }
}

fn doctor(more: &[&str]) -> Output {
    Asked::new().run(&[], &server_binary(), more)
}

fn code(output: &Output) -> i32 {
    output.status.code().expect("it ends by itself")
}

fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("text")
}

fn json(output: &Output) -> Json {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", text(output)))
}

fn finding<'a>(report: &'a Json, check: &str) -> &'a Json {
    let all = report["findings"].as_array().expect("findings");
    all.iter().find(|finding| finding["check"] == check).unwrap_or_else(|| panic!("no {check} in {report}"))
}

#[test]
fn in_a_pipe_it_is_plain_text_with_a_summary() {
    let output = doctor(&[]);
    let text = text(&output);
    assert!(!text.contains('\u{1b}'), "{text}");
    for part in
        ["KV-Cache ", "Kernel and io_uring\n", "  io_uring.ring  ", "sysctl.net.core.somaxconn", " well.\n"]
    {
        assert!(text.contains(part), "{part} in\n{text}");
    }
    assert_eq!(code(&output), 0, "{text}");
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn quiet_it_says_what_is_wrong_and_a_last_line() {
    let well = doctor(&["--quiet"]);
    let last = |output: &Output| text(output).lines().last().unwrap_or_default().to_string();
    assert!(last(&well).starts_with("KV-Cache ") && last(&well).ends_with(" well."), "{}", text(&well));
    for part in ["  ok  ", "  hint  ", "  unseen  "] {
        assert!(!text(&well).contains(part), "{part} in\n{}", text(&well));
    }
    assert_eq!(code(&well), 0);

    let nowhere = doctor(&["--quiet", "--bind", "203.0.113.7"]);
    assert!(text(&nowhere).starts_with("  critical  server.listen"), "{}", text(&nowhere));
    assert!(last(&nowhere).contains(": The server cannot start"), "{}", text(&nowhere));
    assert_eq!(code(&nowhere), 2);
}

#[test]
fn the_json_has_its_documented_shape() {
    let output = doctor(&["--json"]);
    let report = json(&output);
    assert_eq!(report["format"], 1);
    assert!(report["server"].is_string() && report["kernel"].as_str().unwrap().starts_with("Linux "));
    let findings = report["findings"].as_array().unwrap();
    let severities = ["ok", "unseen", "hint", "warning", "critical"];
    for finding in findings {
        let severity = finding["severity"].as_str().unwrap();
        assert!(severities.contains(&severity), "{finding}");
        assert!(finding["check"].is_string() && finding["group"].is_string() && finding["found"].is_string());
        assert!(finding["mend_on_host"].is_boolean(), "{finding}");
        let to_mend = !["ok", "unseen"].contains(&severity);
        assert_eq!(
            (finding["why"].is_string(), finding["mend"].is_string()),
            (to_mend, to_mend),
            "{finding}"
        );
    }
    for severity in severities {
        let count = findings.iter().filter(|finding| finding["severity"] == severity).count();
        assert_eq!(report["counts"][severity], count, "{severity}");
    }
    assert!(report.get("age_s").is_none(), "it has just looked");
    let installed = include_str!("../sysctl/90-kv-cache.conf");
    let settings = installed.lines().filter(|line| !line.starts_with('#') && line.contains('=')).count();
    assert_eq!(findings.iter().filter(|f| f["group"] == "settings").count(), settings);
}

#[test]
fn what_keeps_the_server_from_starting_ends_with_2() {
    // An address of documentation, which no machine has: RFC 5737.
    let nowhere = doctor(&["--json", "--bind", "203.0.113.7"]);
    assert_eq!(code(&nowhere), 2);
    let report = json(&nowhere);
    assert_eq!(
        (&report["worst"], &finding(&report, "server.listen")["severity"]),
        (&"critical".into(), &"critical".into())
    );

    let greedy = doctor(&["--json", "--max-memory", "900000GB"]);
    assert_eq!(code(&greedy), 2);
    let report = json(&greedy);
    let found = finding(&report, "server.configuration")["found"].as_str().unwrap().to_string();
    assert!(found.contains("--max-memory"), "{found}");

    assert_eq!(code(&doctor(&["--no-such-flag"])), 2);
}

#[test]
fn a_port_that_is_taken_is_found() {
    let asked = Asked::new();
    let holder = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = holder.local_addr().unwrap().port().to_string();
    let report = json(&asked.run(&[], &server_binary(), &["--json", "--http-port", &port]));
    let listen = finding(&report, "server.listen");
    // Critical, unless other servers run on this machine: then it could be one of theirs.
    assert!(["critical", "hint"].contains(&listen["severity"].as_str().unwrap()), "{listen}");
    assert!(
        listen["found"].as_str().unwrap().contains(&port)
            && listen["mend"].as_str().unwrap().contains("ss -ltnp")
    );
}

/// A copy of the server that everybody may run, and the words that run it as nobody, without any capability.
struct AsNobody {
    _folder: tempfile::TempDir,
    binary: PathBuf,
    before: Vec<String>,
}

impl AsNobody {
    /// With these options of prlimit(1). `None`, said aloud, where that cannot be.
    fn with(limits: &[&str]) -> Option<AsNobody> {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).expect("it is ours");
        let binary = folder.path().join("kv-server");
        std::fs::copy(server_binary(), &binary).expect("a copy");
        let mut before: Vec<String> = Vec::new();
        if nix::unistd::geteuid().is_root() {
            // A number that no other process has: locked memory is counted by user.
            let user = (700_000 + std::process::id() % 100_000).to_string();
            before.extend(
                ["setpriv", "--clear-groups", "--bounding-set=-all", "--inh-caps=-all"].map(String::from),
            );
            before.extend(["--reuid", &user, "--regid", &user].map(String::from));
        }
        before.push("prlimit".into());
        before.extend(limits.iter().map(|limit| limit.to_string()));
        let works = Command::new(&before[0]).args(&before[1..]).arg("true").output();
        if !works.is_ok_and(|output| output.status.success()) {
            skip("KV_REQUIRE_PRLIMIT", "setpriv and prlimit (util-linux) do not run here");
            return None;
        }
        Some(AsNobody { _folder: folder, binary, before })
    }

    fn doctor(&self, more: &[&str]) -> Output {
        let before: Vec<&str> = self.before.iter().map(String::as_str).collect();
        Asked::new().run(&before, &self.binary, more)
    }
}

#[test]
fn few_descriptors_are_a_warning_and_too_few_critical() {
    let Some(few) = AsNobody::with(&["--nofile=200:200"]) else { return };
    let output = few.doctor(&["--json"]);
    let report = json(&output);
    let nofile = finding(&report, "limits.nofile");
    assert_eq!(nofile["severity"], "warning", "{nofile}");
    assert!(nofile["mend"].as_str().unwrap().contains("LimitNOFILE=10"), "{nofile}");
    assert_eq!(code(&output), 0, "it starts, with fewer clients");
    assert_eq!(code(&few.doctor(&["--strict"])), 1);

    let Some(none) = AsNobody::with(&["--nofile=24:24"]) else { return };
    let output = none.doctor(&["--json", "--io-engine", "epoll"]);
    let nofile = &json(&output);
    assert_eq!(finding(nofile, "limits.nofile")["severity"], "critical");
    assert_eq!(code(&output), 2);
}

#[test]
fn too_little_locked_memory_is_told_by_its_name() {
    let Some(little) = AsNobody::with(&["--memlock=65536:65536"]) else { return };
    let report = json(&little.doctor(&["--json"]));
    assert_eq!(finding(&report, "limits.memlock")["severity"], "warning");
    let ring = finding(&report, "io_uring.ring");
    // Kernels from 5.12 to about 6.14 charge nothing.
    if ring["severity"] != "ok" {
        assert!(support::engine_available(Engine::IoUring));
        let (found, mend) = (ring["found"].as_str().unwrap(), ring["mend"].as_str().unwrap());
        assert!(found.contains("RLIMIT_MEMLOCK 64 KiB") && mend.contains("LimitMEMLOCK=infinity"), "{ring}");
    }
}

/// Refusals by a profile come as EPERM (Docker) or ENOSYS (podman), and are the same to the operator.
#[test]
fn a_refusal_of_io_uring_is_a_warning_unless_it_is_demanded() {
    let works = Command::new("strace").args(["-o", "/dev/null", "true"]).status();
    if !works.is_ok_and(|status| status.success()) {
        skip("KV_REQUIRE_STRACE", "strace cannot run here");
        return;
    }
    for errno in ["EPERM", "ENOSYS"] {
        let inject = format!("inject=io_uring_setup:error={errno}");
        let before = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", inject.as_str()];
        let refused = |more: &[&str]| Asked::new().run(&before, &server_binary(), more);
        let output = refused(&["--json"]);
        let report = json(&output);
        let ring = finding(&report, "io_uring.ring");
        assert_eq!((&ring["severity"], code(&output)), (&"warning".into(), 0), "{ring}");
        assert!(ring["found"].as_str().unwrap().contains(&format!("forbidden here ({errno})")), "{ring}");
        assert!(ring["mend"].as_str().unwrap().contains("--security-opt seccomp="), "{ring}");
        assert_eq!(code(&refused(&["--strict"])), 1);
        assert_eq!(code(&refused(&["--io-engine", "io_uring"])), 2);
    }
}

/// What DOCTOR says once the server has looked, a moment after its start.
fn first_look(server: &Server, command: &str) -> String {
    let mut conn = server.connect();
    let mut answer = support::Value::Nil;
    wait_until("the doctor to look", || {
        answer = conn.run(command);
        !answer.is_error()
    });
    answer.text()
}

fn the_command(setup: Setup) {
    let server = setup.start(&["--requirepass", "secret"]);
    let mut stranger = server.connect();
    assert!(stranger.run("DOCTOR").text().starts_with("NOAUTH"));
    drop(server);

    let server = setup.start(&["--max-clients", "77"]);
    let text = first_look(&server, "DOCTOR");
    assert!(text.starts_with("KV-Cache ") && text.contains(" s ago\n") && !text.contains('\u{1b}'), "{text}");
    assert!(text.contains("for 77 clients"), "{text}");
    let report: Json = serde_json::from_str(&first_look(&server, "DOCTOR JSON")).expect("JSON");
    assert!(report["age_s"].as_u64().unwrap() < 60);
    let ring = finding(&report, "io_uring.ring");
    match setup.engine {
        Engine::IoUring => {
            let workers = ["1 worker", "2 workers"][setup.threads - 1];
            assert_eq!(ring["found"], format!("in use by {workers}"));
        }
        Engine::Epoll => assert_eq!(ring["found"], "not tried: --io-engine epoll"),
    }
    assert_eq!(finding(&report, "server.listen")["severity"], "ok", "it listens itself");

    let mut conn = server.connect();
    conn.send(b"HELLO 3\r\n");
    conn.read();
    conn.send(b"DOCTOR\r\n");
    let (_, raw) = conn.try_read().expect("a reply");
    assert!(raw.starts_with(b"=") && raw.windows(4).any(|part| part == b"txt:"), "a verbatim string");
    assert!(conn.run("DOCTOR PLEASE").is_error());
    // The look that was asked for sees what CONFIG SET has changed.
    conn.run("CONFIG SET maxclients 66");
    wait_until("a later look", || first_look(&server, "DOCTOR").contains("for 66 clients"));
}

fn the_admin_pages(setup: Setup) {
    let server = setup.start(&[]);
    first_look(&server, "DOCTOR");
    let (status, page) = http_get(server.admin_address(), "/doctor");
    assert_eq!(status, 200);
    assert!(
        page.starts_with("<!doctype html>") && page.contains("io_uring.ring") && page.ends_with("</html>\n"),
        "{page}"
    );
    let (status, body) = http_get(server.admin_address(), "/doctor.json");
    let report: Json = serde_json::from_str(&body).expect("JSON");
    assert_eq!((status, &report["format"]), (200, &1.into()));
    assert!(http_get(server.admin_address(), "/").1.contains("href=\"/doctor\""));
}
