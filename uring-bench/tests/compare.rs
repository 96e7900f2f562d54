//! `uring-bench compare` and `sweep` as a user starts them: what they report, what they say when a server does not start, and
//! that no server outlives them. Short and unhurried: nothing here depends on how fast anything is.

mod support;

use nix::sched::{CpuSet, sched_getaffinity};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use std::fs;
use std::process::Output;
use support::{bench, command, server_binary, text, wait_until};

/// Some processor that this process may use: servers and the generator share it.
fn processor() -> String {
    let set = sched_getaffinity(Pid::from_raw(0)).expect("our own processors");
    let usable = |cpu: &usize| set.is_set(*cpu).expect("within the set");
    (0..CpuSet::count()).find(usable).expect("we run on one").to_string()
}

/// The options of every test: our server, any processor, no priority over others.
fn with_machine(arguments: &[&str]) -> Vec<String> {
    let ours = server_binary().to_str().expect("a path in UTF-8");
    let cpu = processor();
    let machine = ["--ours", ours, "--server-cpus", &cpu, "--client-cpus", &cpu, "--no-realtime"];
    arguments.iter().chain(&machine).map(|argument| (*argument).to_owned()).collect()
}

fn run(arguments: &[&str]) -> Output {
    let arguments = with_machine(arguments);
    bench(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
}

fn figures(file: &tempfile::NamedTempFile) -> Value {
    serde_json::from_slice(&fs::read(file.path()).expect("a report")).expect("a report in JSON")
}

#[test]
fn a_server_against_itself_and_the_limit() {
    let (json, html) = (tempfile::NamedTempFile::new().unwrap(), tempfile::NamedTempFile::new().unwrap());
    let output = run(&[
        "compare",
        "--contenders",
        "ours,ours",
        "--with-limit",
        "--load",
        "b,f",
        "--keys",
        "500",
        "--rounds",
        "3",
        "--slice",
        "40ms",
        "--warm-up",
        "2ms",
        "--items",
        "2000",
        "--markdown",
        "--json",
        json.path().to_str().unwrap(),
        "--html",
        html.path().to_str().unwrap(),
    ]);
    assert!(output.status.success(), "{}", text(&output));
    let report = figures(&json);
    assert_eq!(report["loads"].as_array().unwrap().len(), 2);
    for load in report["loads"].as_array().unwrap() {
        let names: Vec<&str> =
            load["contenders"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["ours", "ours-2", "limit"]);
        for contender in load["contenders"].as_array().unwrap() {
            assert_eq!(contender["misses"], 0, "every key was written before: {contender}");
            let rounds = &contender["rounds"];
            for figure in ["per_cpu_second", "per_second", "p50_ns", "p99_ns", "server_busy", "client_busy"] {
                let values = rounds[figure].as_array().unwrap();
                assert_eq!(values.len(), 3, "{figure}");
                // A busy machine may leave one slice without a turn.
                let counted = values.iter().filter(|value| value.as_f64().unwrap() > 0.0).count();
                assert!(counted >= 2, "{figure}: {values:?}");
            }
        }
        for (at, versus) in load["versus"].as_array().unwrap().iter().enumerate() {
            let in_round = |contender: &Value, round: usize| {
                contender["rounds"]["per_cpu_second"][round].as_f64().filter(|figure| *figure > 0.0)
            };
            let (ours, theirs) = (&load["contenders"][0], &load["contenders"][at + 1]);
            let round =
                (0..3).find(|&round| in_round(ours, round).is_some() && in_round(theirs, round).is_some());
            let round = round.expect("a round in which both had a turn");
            let wanted = in_round(ours, round).unwrap() / in_round(theirs, round).unwrap();
            let ratio = versus["per_cpu_second"]["rounds"][round].as_f64().unwrap();
            assert!((ratio - wanted).abs() < 1e-9, "a ratio is taken within its round");
        }
    }
    assert_eq!(report["memory"].as_array().unwrap().len(), 3 * 2, "three sizes, two contenders");
    let said = text(&output);
    assert!(said.contains("| load | ours per CPU-second |") && said.contains("of the limit"), "{said}");
    let page = fs::read_to_string(html.path()).unwrap();
    assert!(page.starts_with("<!DOCTYPE html>") && page.contains("ours against the limit"));
}

#[test]
fn a_verified_load_of_ones_own_against_a_command() {
    let command =
        format!("copy={} --port {{port}} --admin-port {{free}} --threads 1", server_binary().display());
    let output = run(&[
        "compare",
        "--contenders",
        "ours",
        "--contender",
        &command,
        "-c",
        "3",
        "-P",
        "2",
        "--value-size",
        "10-2000",
        "--keys",
        "300",
        "--rounds",
        "2",
        "--slice",
        "10ms",
        "--verify",
    ]);
    assert!(output.status.success(), "{}", text(&output));
    assert!(text(&output).contains("free: 3 connections, pipeline 2"), "{}", text(&output));
}

/// Whether a program is in PATH. Says so aloud where it is not; where `variable` is set to 1 that is a failure.
fn installed(program: &str, variable: &str) -> bool {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let here = std::env::split_paths(&folders).any(|folder| folder.join(program).is_file());
    assert!(here || std::env::var(variable).as_deref() != Ok("1"), "{variable}=1, but there is no {program}");
    if !here {
        eprintln!("SKIPPED: there is no {program} in PATH ({variable}=1 makes this a failure)");
    }
    here
}

/// Compares these under a short load and returns the contenders of its report.
fn compared(contenders: &str, more: &[&str]) -> Vec<Value> {
    let json = tempfile::NamedTempFile::new().unwrap();
    let mut arguments = vec!["compare", "--contenders", contenders, "-c", "3", "-P", "4", "--keys", "200"];
    arguments.extend(["--rounds", "3", "--slice", "30ms", "--json", json.path().to_str().unwrap()]);
    arguments.extend(more);
    let output = run(&arguments);
    assert!(output.status.success(), "{}", text(&output));
    let load = &figures(&json)["loads"][0];
    let contenders = load["contenders"].as_array().unwrap().clone();
    for contender in &contenders {
        assert_eq!(contender["misses"], 0, "every key was written before: {contender}");
        // On a busy machine one of them may have had no turn at all.
        let rates = contender["rounds"]["per_second"].as_array().unwrap();
        assert!(rates.iter().any(|rate| rate.as_f64().unwrap() > 0.0), "{contender}");
    }
    contenders
}

fn names(contenders: &[Value]) -> Vec<&str> {
    contenders.iter().map(|contender| contender["name"].as_str().unwrap()).collect()
}

#[test]
fn one_server_in_all_of_its_protocols() {
    let asked = "ours,ours-memcached,ours-http,ours-protobuf,ours-json";
    let contenders = compared(asked, &["--verify", "--value-size", "10-2000", "--items", "1000"]);
    assert_eq!(names(&contenders), asked.split(',').collect::<Vec<_>>());
}

#[test]
fn memcached_is_spoken_to_in_its_text() {
    if installed("memcached", "KV_REQUIRE_MEMCACHED") {
        let contenders = compared("ours-memcached,memcached", &["--verify"]);
        let command = contenders[1]["command"].as_str().unwrap();
        assert!(command.contains("-t 1") && command.contains("-U 0"), "{command}");
    }
}

#[test]
fn nginx_answers_reads_from_its_configuration() {
    if installed("nginx", "KV_REQUIRE_NGINX") {
        let contenders = compared("ours-http,nginx", &["--value-size", "100", "--items", "1000"]);
        let command = contenders[1]["command"].as_str().unwrap();
        let config = command.rsplit(' ').next().unwrap();
        assert!(
            config.ends_with("/nginx.conf") && !fs::exists(config).unwrap(),
            "its folder is gone: {command}"
        );
        let refused = text(&run(&["compare", "--contenders", "nginx", "--verify"]));
        assert!(refused.contains("nginx keeps nothing that could be verified"), "{refused}");
        let too_long = text(&run(&["compare", "--contenders", "nginx", "--load", "f"]));
        assert!(too_long.contains("values of 4000 bytes at most"), "{too_long}");
    }
}

#[test]
fn a_command_may_have_a_protocol() {
    let command =
        format!("web:http={} --port {{port}} --admin-port {{free}} --threads 1", server_binary().display());
    let contenders = compared("ours", &["--contender", &command, "--verify"]);
    assert_eq!(names(&contenders), ["ours", "web"]);
}

#[test]
fn a_server_that_does_not_start_is_shown_with_its_words() {
    let output = run(&["compare", "--contenders", "ours", "--contender", "broken=ls --not-an-option={port}"]);
    let said = text(&output);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("broken ended at once") && said.contains("ls --not-an-option="), "{said}");
    assert!(said.contains("unrecognized option"), "its own words: {said}");
    let missing = text(&run(&["compare", "--contenders", "nobody"]));
    assert!(missing.contains("nobody: known are ours, valkey"), "{missing}");
}

/// Processes whose parent is `parent` and whose program has this name.
fn children(parent: u32, name: &str) -> Vec<u32> {
    let processes = fs::read_dir("/proc").expect("/proc").flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| {
        // "PID (name) state parent …"; it may have ended meanwhile.
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let Some((head, tail)) = stat.rsplit_once(')') else { return false };
        let of_parent = tail.split_whitespace().nth(1).and_then(|field| field.parse().ok()) == Some(parent);
        of_parent && head.ends_with(&format!("({name}"))
    })
    .collect()
}

/// Whether a process runs: one that nobody has waited for yet is dead, too.
fn lives(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, tail)| !tail.trim_start().starts_with(['Z', 'X']))
}

#[test]
fn no_server_outlives_an_interrupt() {
    for signal in [Signal::SIGINT, Signal::SIGKILL] {
        let arguments = with_machine(&["compare", "--contenders", "ours,ours", "--rounds", "100000000"]);
        let mut bench = command(&arguments.iter().map(String::as_str).collect::<Vec<_>>()).spawn().unwrap();
        let mut servers = Vec::new();
        wait_until("both servers to run", || {
            assert!(bench.try_wait().unwrap().is_none(), "the rounds have only begun");
            servers = children(bench.id(), "kv-server");
            servers.len() == 2
        });
        kill(Pid::from_raw(bench.id().try_into().unwrap()), signal).unwrap();
        assert!(!bench.wait().unwrap().success());
        wait_until("the servers to end", || !servers.iter().any(|pid| lives(*pid)));
    }
}

#[test]
fn a_sweep_measures_its_grid_and_its_curve() {
    let (json, html) = (tempfile::NamedTempFile::new().unwrap(), tempfile::NamedTempFile::new().unwrap());
    let output = run(&[
        "sweep",
        "--connections",
        "1,4",
        "--pipelines",
        "1,8",
        "--value-sizes",
        "16,1KiB",
        "--keys",
        "200",
        "--repeats",
        "2",
        "--slice",
        "40ms",
        "--curve",
        "4x1",
        "--curve-slice",
        "20ms",
        "--json",
        json.path().to_str().unwrap(),
        "--html",
        html.path().to_str().unwrap(),
    ]);
    assert!(output.status.success(), "{}", text(&output));
    let report = figures(&json);
    let grid = report["grid"].as_array().unwrap();
    assert_eq!(grid.len(), 8);
    // A busy machine may leave some slices without a turn.
    let counted =
        grid.iter().filter(|cell| cell["figures"]["per_cpu_second"].as_f64().unwrap() > 0.0).count();
    assert!(counted >= 4, "{report}");
    let points = report["curve"]["points"].as_array().unwrap();
    let due: Vec<f64> = points.iter().map(|point| point["due"].as_f64().unwrap()).collect();
    assert!(due.len() > 10 && due.is_sorted(), "{due:?}");
    assert!((due.last().unwrap() - report["curve"]["peak"].as_f64().unwrap()).abs() < 1e-6);
    assert!(text(&output).contains("at 50 % of the peak: p50"), "{}", text(&output));
    let page = fs::read_to_string(html.path()).unwrap();
    assert!(page.contains("Latency over rate") && page.contains("values of 1024 B"));
}

#[test]
fn a_sweep_of_a_server_that_runs_already() {
    let server = support::Server::start(&[]);
    let (target, pid) = (server.address.to_string(), server.pid().to_string());
    let cpu = processor();
    let output = bench(&[
        "sweep",
        "--target",
        &target,
        "--server-pid",
        &pid,
        "--client-cpus",
        &cpu,
        "--no-realtime",
        "--no-curve",
        "--connections",
        "2",
        "--pipelines",
        "1",
        "--value-sizes",
        "16",
        "--keys",
        "100",
        "--slice",
        "10ms",
    ]);
    assert!(output.status.success(), "{}", text(&output));
    assert!(text(&output).contains(&target) && !text(&output).contains("open loop"), "{}", text(&output));
}
