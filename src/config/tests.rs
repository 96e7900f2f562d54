//! Tests of the command line: every flag, every relation between limits, on a machine made up for the purpose.

use super::*;

fn machine() -> Machine {
    Machine { memory: 8_000_000_000, memory_is_cgroup: false, cpus: vec![0, 1, 2, 3], cpu_quota: None }
}

fn parse_on(machine: &Machine, flags: &str) -> Result<Config, ConfigError> {
    let args = std::iter::once("kv-server").chain(flags.split_whitespace()).map(OsString::from);
    Config::parse(args, machine)
}

fn parse(flags: &str) -> Config {
    parse_on(&machine(), flags).unwrap_or_else(|error| panic!("{flags}: {error}"))
}

fn refused(flags: &str) -> String {
    parse_on(&machine(), flags).err().unwrap_or_else(|| panic!("{flags} was taken")).to_string()
}

#[test]
fn defaults() {
    let c = parse("");
    assert_eq!((c.port, c.admin_port), (7171, 7172));
    assert!(c.bind.is_empty() && c.admin_is_local() && c.protected_mode && c.password.is_empty());
    assert_eq!((c.threads, c.cpus.as_slice()), (4, &[0, 1, 2, 3][..]));
    assert_eq!((c.engine, c.busy_poll), (IoEngine::Auto, Duration::from_micros(50)));
    assert_eq!((c.max_memory, c.max_value_size), (1_400_000_000, 350_000_000));
    assert_eq!((c.eviction, c.prefault), (Eviction::Lru, false));
    assert_eq!((c.max_clients, c.idle_timeout_s), (10_000, 0));
    assert_eq!(c.max_request, c.max_value_size + limits::REQUEST_EXTRA);
    assert_eq!(c.max_inbox, 1 << 20);
    assert_eq!((c.output_high, c.output_low), (1 << 20, 256 << 10));
    assert!(c.output_cap > c.max_value_size + c.output_high);
    assert_eq!(c.log_level, LogLevel::Info);
    assert!(c.notes.is_empty());
}

#[test]
fn memory_in_every_form() {
    for (flags, bytes) in [
        ("--max-memory 1.4GB", 1_400_000_000),
        ("--max-memory 1400MB", 1_400_000_000),
        ("--max-memory 1.5GiB", 1_610_612_736),
        ("--max-memory 50%", 4_000_000_000),
        ("--max-memory=64000000", 64_000_000),
    ] {
        assert_eq!(parse(flags).max_memory, bytes, "{flags}");
    }
    let small = Machine { memory: 1_000_000_000, memory_is_cgroup: true, ..machine() };
    assert_eq!(parse_on(&small, "").unwrap().max_memory, 700_000_000);
    let text = parse_on(&small, "--max-memory 2GB").unwrap_err().to_string();
    assert!(text.contains("control group") && text.contains("1 GB") && text.contains("70%"), "{text}");
    assert!(refused("--max-memory 1MB").contains("16.78 MB at least"));
    assert!(refused("--max-memory lots").contains("such as 1.4GB"));
}

#[test]
fn a_value_is_at_most_a_quarter_of_memory() {
    assert_eq!(parse("--max-memory 4GB").max_value_size, 512 << 20);
    assert_eq!(parse("--max-memory 64MB").max_value_size, 16_000_000);
    assert_eq!(parse("--max-memory 64MB --max-value-size 16MB").max_value_size, 16_000_000);
    let text = refused("--max-memory 64MB --max-value-size 32MB");
    assert!(text.contains("quarter") && text.contains("at most 16 MB") && text.contains("128 MB"), "{text}");
    assert!(refused("--max-memory 4GB --max-value-size 600MiB").contains("protocol"));
    refused("--max-value-size 0");
}

#[test]
fn requests_and_inboxes_hold_a_value() {
    let c = parse("--max-value-size 1MiB --max-request 2MiB --max-inbox 4MiB");
    assert_eq!((c.max_request, c.max_inbox), (2 << 20, 4 << 20));
    assert!(refused("--max-value-size 1MiB --max-request 1MiB").contains("--max-value-size"));
    assert!(refused("--max-inbox 1000").contains("one receive"));
    // Small values still leave room for keys and inline commands.
    assert!(parse("--max-value-size 100").max_request >= limits::MIN_REQUEST);
    assert_eq!(parse("--max-value-size 100").parse_limits().max_bulk, limits::MAX_KEY_LEN);
}

#[test]
fn output_limits_hold_one_reply() {
    let c = parse("--max-value-size 1MiB --output-watermark 64KiB --output-cap 2MiB");
    assert_eq!((c.output_high, c.output_low, c.output_cap), (64 << 10, 16 << 10, 2 << 20));
    assert_eq!(parse("--max-memory 64MB").output_cap, 16_000_000 + (1 << 20) + 8_000_000);
    assert!(refused("--output-cap 1MiB").contains("--max-value-size"));
    assert!(refused("--output-watermark 1KB").contains("at least"));
}

#[test]
fn threads_and_pinning() {
    assert_eq!(parse("--threads 2").cpus, [0, 1]);
    assert!(parse("--no-pin").cpus.is_empty());
    let c = parse("--threads 9");
    assert!(c.cpus.is_empty() && c.notes[0].contains("9 threads on 4 CPUs"));
    assert!(refused("--threads 0").contains("1 to 256"));
    let throttled = Machine { cpu_quota: Some(1.5), ..machine() };
    let c = parse_on(&throttled, "").unwrap();
    assert_eq!(c.threads, 2);
    assert!(c.cpus.is_empty(), "a share of CPU time is no CPU of its own");
}

#[test]
fn max_clients_follows_the_descriptors() {
    let mut c = parse("--threads 2");
    c.fit_descriptors(c.descriptors_for(10_000)).unwrap();
    assert!(c.max_clients == 10_000 && c.notes.is_empty());
    c.fit_descriptors(1024).unwrap();
    assert!(c.max_clients < 1024 && c.max_clients > 800);
    assert!(
        c.notes[0].contains("from 10000 to")
            && c.notes[0].contains("1024")
            && c.notes[0].contains("ulimit -n")
    );
    assert!(c.fit_descriptors(20).unwrap_err().to_string().contains("ulimit -n 65536"));
}

#[test]
fn engines_are_named_as_the_flag_takes_them() {
    for engine in [IoEngine::Auto, IoEngine::IoUring, IoEngine::Epoll] {
        assert_eq!(parse(&format!("--io-engine {}", engine.name())).engine, engine);
    }
}

#[test]
fn addresses_and_ports() {
    let c = parse("--bind 127.0.0.1 --bind ::1 --admin-bind 10.0.0.1");
    assert_eq!(c.bind_text(), "127.0.0.1 ::1");
    assert!(!c.admin_is_local());
    assert_eq!(parse("--bind 127.0.0.1,10.0.0.2").bind.len(), 2);
    assert!(refused("--port 7172").contains("both 7172"));
    assert_eq!(parse("--port 0 --admin-port 0").port, 0, "any free port for each");
}

#[test]
fn what_is_out_of_range_or_unknown_is_refused() {
    for flags in [
        "--busy-poll-us 1000000",
        "--timeout -1",
        "--max-clients 0",
        "--io-engine kqueue",
        "--eviction random",
        "--protected-mode maybe",
        "--tcp-backlog 0",
        "--nonsense",
        "positional",
        "--port 65536",
        "--bind localhost",
    ] {
        refused(flags);
    }
    let long = "x".repeat(limits::PASSWORD_LEN + 1);
    assert!(refused(&format!("--requirepass {long}")).contains("at most 512"));
}

#[test]
fn the_command_line_is_consistent_and_every_flag_has_a_variable() {
    use clap::CommandFactory;
    let command = merge::options();
    command.clone().debug_assert();
    for arg in command.get_arguments().filter(|arg| !matches!(arg.get_id().as_str(), "help" | "version")) {
        let variable = format!("KV_{}", arg.get_id().as_str().to_ascii_uppercase());
        assert_eq!(arg.get_env().and_then(|e| e.to_str()), Some(variable.as_str()));
        assert!(arg.get_help().is_some(), "{variable} has no help");
    }
}
