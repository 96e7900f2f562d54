//! `uring-bench run` as a user starts it, against the real server and against servers that misbehave.

mod support;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use std::time::Duration;
use support::{Server, bench, command, fake_server, text, wait_until};

fn figures(file: &tempfile::NamedTempFile) -> Value {
    serde_json::from_slice(&std::fs::read(file.path()).expect("a report")).expect("a report in JSON")
}

/// Plays a verified load of many sizes on few keys, and returns its figures.
fn verified(protocol: &str, engine: &str) -> Value {
    let server = Server::start(&[]);
    let (target, pid) = (server.address.to_string(), server.pid().to_string());
    let file = tempfile::NamedTempFile::new().unwrap();
    let page = tempfile::NamedTempFile::new().unwrap();
    let output = bench(&[
        "run",
        "--target",
        &target,
        "--protocol",
        protocol,
        "--engine",
        engine,
        "--preload",
        "--verify",
        "--keys",
        "2000",
        "--requests",
        "20000",
        "-c",
        "7",
        "-P",
        "8",
        "-t",
        "2",
        "--ratio",
        "1:1",
        "--value-size",
        "16-3000",
        "--dist",
        "zipf:0.99",
        "--server-pid",
        &pid,
        "--json",
        file.path().to_str().unwrap(),
        "--html",
        page.path().to_str().unwrap(),
    ]);
    assert!(output.status.success(), "{}", text(&output));
    let html = std::fs::read_to_string(page.path()).unwrap();
    assert!(html.starts_with("<!DOCTYPE html>") && html.matches("<svg").count() >= 4, "{} bytes", html.len());
    figures(&file)
}

fn check_verified(protocol: &str, engine: &str) {
    let figures = verified(protocol, engine);
    assert_eq!(figures["requests"], 20_000);
    for name in ["wrong", "errors", "misses", "unsent", "lost_connections"] {
        assert_eq!(figures[name], 0, "{name} of {figures:#}");
    }
    let count = |name: &str| figures[name].as_u64().unwrap();
    assert_eq!(count("hits") + count("stored"), 20_000);
    assert!(count("hits") > 9_000 && count("stored") > 9_000);
    if engine != "auto" {
        assert_eq!(figures["load"]["engine"], engine);
    }
    let server = &figures["server"];
    assert!(server["cpu_s"].as_f64().unwrap() > 0.0 && server["rss_bytes"].as_u64().unwrap() > 1 << 20);
}

#[test]
fn resp_is_verified_by_epoll() {
    check_verified("resp", "epoll");
}

#[test]
fn json_is_verified_by_epoll() {
    check_verified("json", "epoll");
}

#[test]
fn resp_is_verified_by_the_engine_of_this_machine() {
    check_verified("resp", if io_uring_works() { "io_uring" } else { "auto" });
}

#[test]
fn json_is_verified_by_the_engine_of_this_machine() {
    check_verified("json", if io_uring_works() { "io_uring" } else { "auto" });
}

#[test]
fn memcached_is_verified_by_both_engines() {
    check_verified("memcached", "epoll");
    check_verified("memcached", if io_uring_works() { "io_uring" } else { "auto" });
}

#[test]
fn http_is_verified_by_both_engines() {
    check_verified("http", "epoll");
    check_verified("http", if io_uring_works() { "io_uring" } else { "auto" });
}

#[test]
fn protobuf_is_verified_by_both_engines() {
    check_verified("protobuf", "epoll");
    check_verified("protobuf", if io_uring_works() { "io_uring" } else { "auto" });
}

fn io_uring_works() -> bool {
    let works = kv_server::ring::uring::Uring::new(&kv_server::ring::DriverOptions::default()).is_ok();
    let required = std::env::var_os("KV_REQUIRE_IO_URING").is_some_and(|value| value == "1");
    assert!(works || !required, "KV_REQUIRE_IO_URING=1, but there is none");
    works
}

#[test]
fn large_values_arrive_whole() {
    let server = Server::start(&[]);
    let target = server.address.to_string();
    let sizes = "20000:0.5,300000:0.5";
    for protocol in ["resp", "memcached", "http", "protobuf"] {
        for verify in [true, false] {
            let mut arguments = vec![
                "run",
                "--target",
                &target,
                "--protocol",
                protocol,
                "--preload",
                "--keys",
                "50",
                "--requests",
                "300",
                "-c",
                "3",
                "-P",
                "4",
                "--ratio",
                "1:1",
                "--value-size",
                sizes,
            ];
            arguments.extend(verify.then_some("--verify"));
            let output = bench(&arguments);
            assert!(output.status.success() && !text(&output).contains("errors:"), "{}", text(&output));
        }
    }
}

#[test]
fn times_to_live_are_heard() {
    let server = Server::start(&[]);
    let target = server.address.to_string();
    for protocol in ["resp", "memcached", "http", "protobuf"] {
        let arguments =
            ["--target", &target, "--protocol", protocol, "--keys", "20", "--requests", "20", "--ratio"];
        let run = |more: &[&str]| {
            let output = bench(&[&["run"], &arguments[..], more].concat());
            assert!(output.status.success(), "{protocol}: {}", text(&output));
        };
        run(&["0:1", "--preload", "--ttl", "1s"]);
        wait_until("the keys to expire", || {
            let file = tempfile::NamedTempFile::new().unwrap();
            run(&["1:0", "--json", file.path().to_str().unwrap()]);
            figures(&file)["misses"] == 20
        });
    }
}

#[test]
fn a_server_that_mixes_values_up_is_found() {
    let target = fake_server(|words, _| {
        Some(match words[0].as_str() {
            "PING" => b"+PONG\r\n".to_vec(),
            "SET" => b"+OK\r\n".to_vec(),
            // Sound in itself, but made for no key of this load.
            _ => b"$32\r\n0123456789abcdefkey:000000000001\r\n".to_vec(),
        })
    });
    let file = tempfile::NamedTempFile::new().unwrap();
    let output = bench(&[
        "run",
        "--target",
        &target.to_string(),
        "--verify",
        "--keys",
        "100",
        "--requests",
        "500",
        "-c",
        "2",
        "-P",
        "4",
        "--json",
        file.path().to_str().unwrap(),
    ]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    assert!(text(&output).contains("WRONG ANSWERS"), "{}", text(&output));
    let figures = figures(&file);
    assert_eq!((&figures["wrong"], &figures["requests"]), (&figures["hits"], &Value::from(500)));
    assert!(figures["wrong"].as_u64().unwrap() > 300);
}

/// Runs a load while the server is stopped for 400 ms, and returns its figures.
fn with_a_stopped_server(pace: &[&str]) -> (Value, String) {
    let server = Server::start(&[]);
    let target = server.address.to_string();
    let file = tempfile::NamedTempFile::new().unwrap();
    let mut arguments = vec!["run", "--target", &target, "-c", "1", "--json", file.path().to_str().unwrap()];
    arguments.extend(pace);
    let running = command(&arguments).spawn().unwrap();
    wait_until("the load to begin", || server.commands() > 100);
    let pid = Pid::from_raw(i32::try_from(server.pid()).unwrap());
    kill(pid, Signal::SIGSTOP).unwrap();
    std::thread::sleep(Duration::from_millis(400));
    kill(pid, Signal::SIGCONT).unwrap();
    let output = running.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    (figures(&file), text(&output))
}

#[test]
fn an_open_loop_counts_the_time_that_requests_were_due_and_not_sent() {
    let (figures, text) = with_a_stopped_server(&["--rate", "1000", "--requests", "3000"]);
    assert_eq!(figures["requests"], 3000);
    // 400 requests came due while the server stood still, one of them could be sent. All have waited.
    let p90 = figures["latency_ns"]["p90"].as_u64().unwrap();
    assert!(p90 >= 50_000_000, "the p90 does not show the pause: {p90} ns");
    assert!(text.contains("open loop") && text.contains("from when due"), "{text}");
}

#[test]
fn a_closed_loop_says_that_it_is_one() {
    let (figures, text) = with_a_stopped_server(&["--duration", "3s"]);
    // The one request that was in flight has waited; the others were not even made.
    assert!(figures["latency_ns"]["max"].as_u64().unwrap() >= 300_000_000, "{figures:#}");
    assert!(text.contains("closed loop") && text.contains("from when sent"), "{text}");
}

#[test]
fn an_absent_server_is_told_plainly() {
    let output = bench(&["run", "--target", "127.0.0.1:1", "--requests", "1"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output).contains("start the server"), "{}", text(&output));
}

#[test]
fn what_servers_refuse_is_explained() {
    let server = Server::start(&["--requirepass", "secret"]);
    let target = server.address.to_string();
    for (extra, expected) in [
        (vec![], "give the password"),
        (vec!["--password", "wrong"], "does not take this --user and --password"),
        (vec!["--password", "secret", "--protocol", "json"], "use --protocol resp"),
        (vec!["--password", "secret", "--protocol", "memcached"], "use --protocol resp"),
        (vec!["--protocol", "http"], "give the password"),
        (vec!["--password", "wrong", "--protocol", "http"], "give the password"),
        (vec!["--user", "x", "--password", "secret", "--protocol", "http"], "leave --user out"),
        (vec!["--protocol", "protobuf"], "give the password"),
        (vec!["--password", "wrong", "--protocol", "protobuf"], "does not take this --user and --password"),
    ] {
        let output = bench(&[vec!["run", "--target", &target, "--requests", "1"], extra].concat());
        assert_eq!(output.status.code(), Some(2));
        assert!(text(&output).contains(expected), "{}", text(&output));
    }
    for protocol in ["resp", "http", "protobuf"] {
        let password = ["--requests", "100", "--password", "secret", "--protocol", protocol];
        let output = bench(&[&["run", "--target", &target], &password[..]].concat());
        assert!(output.status.success(), "{}", text(&output));
    }
}

#[test]
fn another_protocol_is_quoted_whichever_was_asked_for() {
    let web = fake_web_server();
    for protocol in ["memcached", "protobuf"] {
        let output = bench(&["run", "--target", &web, "--protocol", protocol, "--requests", "1"]);
        assert_eq!(output.status.code(), Some(2));
        let text = text(&output);
        assert!(
            text.contains(&format!("does not speak {protocol}")) && text.contains("HTTP/1.1 400"),
            "{text}"
        );
    }
}

/// Answers whatever comes as a web server does that does not understand.
fn fake_web_server() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address").to_string();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut request = [0; 1000];
            // A client that has gone wants no answer.
            let _ = std::io::Read::read(&mut stream, &mut request);
            let _ = std::io::Write::write_all(
                &mut stream,
                b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
            );
        }
    });
    address
}

#[test]
fn another_protocol_is_quoted() {
    let target = fake_server(|_, _| Some(b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()));
    let output = bench(&["run", "--target", &target.to_string(), "--requests", "1"]);
    assert_eq!(output.status.code(), Some(2));
    let text = text(&output);
    assert!(text.contains("HTTP/1.1 400 Bad Request") && text.contains("--protocol"), "{text}");
}

#[test]
fn refused_writes_are_counted_and_the_run_goes_on() {
    let target = fake_server(|words, _| {
        Some(match words[0].as_str() {
            "PING" => b"+PONG\r\n".to_vec(),
            "SET" => b"-OOM command not allowed when used memory > 'maxmemory'.\r\n".to_vec(),
            _ => b"$-1\r\n".to_vec(),
        })
    });
    let target = target.to_string();
    let file = tempfile::NamedTempFile::new().unwrap();
    let arguments =
        ["run", "--target", &target, "--ratio", "1:1", "--requests", "1000", "-c", "4", "-P", "8", "--json"];
    let output = bench(&[&arguments[..], &[file.path().to_str().unwrap()]].concat());
    assert!(
        output.status.success() && text(&output).contains("give the server more memory"),
        "{}",
        text(&output)
    );
    let figures = figures(&file);
    assert_eq!(figures["requests"], 1000);
    assert_eq!(figures["errors"].as_u64().unwrap() + figures["misses"].as_u64().unwrap(), 1000);
    assert_eq!(figures["error_texts"].as_array().unwrap().len(), 1);

    let output = bench(&["run", "--target", &target, "--ratio", "0:1", "--requests", "100"]);
    assert_eq!(output.status.code(), Some(1), "nothing was answered as it should: {}", text(&output));
    let output = bench(&["run", "--target", &target, "--preload", "--keys", "100", "--requests", "100"]);
    assert_eq!(output.status.code(), Some(2), "keys could not be written: {}", text(&output));
}

#[test]
fn lost_connections_are_made_again() {
    let target = fake_server(|words, number| match (words[0].as_str(), number) {
        ("PING", _) => Some(b"+PONG\r\n".to_vec()),
        (_, 50) => None,
        _ => Some(b"$-1\r\n".to_vec()),
    });
    for engine in ["auto", "epoll"] {
        let file = tempfile::NamedTempFile::new().unwrap();
        let output = bench(&[
            "run",
            "--target",
            &target.to_string(),
            "--ratio",
            "1:0",
            "--requests",
            "1000",
            "-c",
            "3",
            "-P",
            "7",
            "--engine",
            engine,
            "--json",
            file.path().to_str().unwrap(),
        ]);
        assert!(output.status.success() && text(&output).contains("were lost"), "{}", text(&output));
        let figures = figures(&file);
        let count = |name: &str| figures[name].as_u64().unwrap();
        assert!(count("lost_connections") > 3, "those made again are lost again: {figures:#}");
        assert_eq!(count("misses") + count("errors"), 1000, "every request is answered or lost: {figures:#}");
    }
}

#[test]
fn garbage_in_mid_run_is_an_error_of_its_connection() {
    let target = fake_server(|words, number| {
        Some(match (words[0].as_str(), number) {
            ("PING", _) => b"+PONG\r\n".to_vec(),
            (_, 20) => b"?what\r\n".to_vec(),
            _ => b"$-1\r\n".to_vec(),
        })
    });
    let output =
        bench(&["run", "--target", &target.to_string(), "--ratio", "1:0", "--requests", "200", "-c", "2"]);
    assert!(text(&output).contains("no resp reply") && text(&output).contains("?what"), "{}", text(&output));
}

#[test]
fn nonsense_on_the_command_line_is_refused() {
    for (arguments, expected) in [
        (vec!["--protocol", "json", "--ttl", "5s"], "no time to live"),
        (vec!["--protocol", "memcached", "--ttl", "500ms"], "whole seconds"),
        (vec!["--protocol", "memcached", "--key-size", "251"], "250 bytes at most"),
        (vec!["--keys", "1000", "--key-size", "2"], "--key-size 3"),
        (vec!["--dist", "normal"], "zipf:0.99"),
        (vec!["--value-size", "9-3"], "the smaller size comes first"),
        (vec!["--connections", "0"], "at least 1"),
        (vec!["--rate", "0"], "--rate"),
        (vec!["--user", "x"], "--password"),
        (vec!["--server-pid", "999999999"], "process id of the server"),
    ] {
        let output = bench(&[vec!["run"], arguments].concat());
        assert_eq!(output.status.code(), Some(2));
        assert!(text(&output).contains(expected), "{}", text(&output));
    }
}
