//! Tests of the command line: every flag, every relation between limits, on a machine made up for the purpose.

use super::invocation::parse_in;
use super::merge::{MASK, Variables};
use super::*;
use crate::ping::Ping;
use std::path::Path;

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
    assert!(c.bind.is_empty() && c.admin_bind.is_loopback() && c.protected_mode && c.password.is_empty());
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
    assert!(!c.admin_bind.is_loopback());
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
    cli::command().debug_assert();
    let command = options::all();
    for arg in command.get_arguments().filter(|arg| !matches!(arg.get_id().as_str(), "help" | "version")) {
        let variable = format!("KV_{}", arg.get_id().as_str().to_ascii_uppercase());
        assert_eq!(arg.get_env().and_then(|e| e.to_str()), Some(variable.as_str()));
        assert!(arg.get_help().is_some(), "{variable} has no help");
    }
}

/// What is asked for with these variables, `NAME=value`, and nothing of this process.
fn invoke(variables: &[&str], words: &[&str]) -> Result<Invocation, ConfigError> {
    let variable = |text: &&str| {
        let (name, value) = text.split_once('=').unwrap();
        (name.to_string(), OsString::from(value))
    };
    let variables: Variables = variables.iter().map(variable).collect();
    let argv = std::iter::once("kv-server").chain(words.iter().copied()).map(OsString::from);
    parse_in(argv, || Ok(machine()), &variables, Path::new("/nowhere/kv-cache.toml"))
}

fn served(variables: &[&str], words: &[&str]) -> Config {
    match invoke(variables, words) {
        Ok(Invocation::Serve(config)) => *config,
        other => panic!("{variables:?} {words:?}: {other:?}"),
    }
}

fn printed(variables: &[&str], words: &[&str]) -> String {
    match invoke(variables, &[words, &["--print-config"]].concat()) {
        Ok(Invocation::PrintConfig(text)) => text,
        other => panic!("{variables:?} {words:?}: {other:?}"),
    }
}

fn error(variables: &[&str], words: &[&str]) -> String {
    invoke(variables, words).map(|asked| panic!("{asked:?}")).unwrap_err().to_string()
}

/// A file with this text, in a folder that lives as long as the test holds it.
fn file(text: &str) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kv.toml");
    std::fs::write(&path, text).unwrap();
    let shown = path.display().to_string();
    (folder, shown)
}

#[test]
fn a_flag_beats_the_environment_and_the_environment_the_file() {
    let (_folder, path) =
        file("port = 1001\ntimeout = 11\nmax-clients = 111\nprefault = true\nno-pin = true\n");
    let variables =
        ["KV_PORT=2002", "KV_TIMEOUT=22", &format!("KV_CONFIG={path}"), "KV_NO_PIN=no", "KV_DRAIN_TIMEOUT="];
    let config = served(&variables, &["--port", "3003", "--prefault=false"]);
    assert_eq!((config.port, config.idle_timeout_s, config.max_clients), (3003, 22, 111));
    assert!(
        !config.prefault && config.cpus.len() == 4,
        "a switch of the file is turned off by flag and variable"
    );
    assert_eq!(config.drain_timeout.as_secs(), limits::DRAIN_TIMEOUT_S, "an empty variable is none");
    assert!(served(&[], &["--config", &path]).prefault && served(&["KV_PREFAULT=on"], &[]).prefault);
    assert!(served(&[], &["--prefault"]).prefault, "a switch needs no value");

    let (_other, other) = file("port = 4004\n");
    assert_eq!(served(&variables[2..3], &["--config", &other]).port, 4004, "--config beats KV_CONFIG");
    // A list is replaced, not added to.
    let (_list, list) = file("bind = [\"10.0.0.1\", \"10.0.0.2\"]\n");
    assert_eq!(served(&[], &["--config", &list]).bind.len(), 2);
    assert_eq!(served(&["KV_BIND=::1"], &["--config", &list]).bind_text(), "::1");
    assert_eq!(served(&[], &["--config", &list, "--bind", "::1"]).bind_text(), "::1");
}

#[test]
fn what_is_wrong_names_where_it_stands() {
    let (_folder, path) = file("\nport = 7172\nmax-value-size = \"100MB\"\n");
    assert!(error(&[], &["--config", &path]).contains(&format!("port is set by {path}:2")));
    let text = error(&["KV_MAX_MEMORY=64MB", "KV_PORT=1"], &["--config", &path, "--max-value-size", "100MB"]);
    assert!(text.contains("max-memory is set by KV_MAX_MEMORY") && !text.contains("kv.toml"), "{text}");
    assert!(error(&["KV_THREADS=x"], &[]).starts_with("KV_THREADS: \"x\" cannot be taken"));
    assert!(error(&["KV_PORT=tcp://10.0.0.1:7171"], &[]).contains("enableServiceLinks"));
    assert!(error(&["KV_CONFIG=/nowhere.toml"], &[]).contains("/nowhere.toml cannot be read"));
    // A bad value in the file is an error even where another source beats it.
    let (_bad, bad) = file("threads = 'x'\n");
    assert!(error(&["KV_THREADS=1"], &["--config", &bad, "--threads", "2"]).contains(":1: threads:"));
}

#[test]
fn a_misspelt_variable_and_a_public_password_are_noted() {
    use std::os::unix::fs::PermissionsExt;
    let config = served(&["KV_PROT=1", "KV_PORT_7171_TCP_ADDR=10.0.0.1", "KV_SERVICE_HOST=10.0.0.1"], &[]);
    assert_eq!(config.notes, ["KV_PROT is set, but there is no such option: is KV_PORT meant?"]);
    let (_folder, path) = file("requirepass = \"secret\"\n");
    let notes = |mode| {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        served(&[], &["--config", &path]).notes
    };
    assert_eq!(notes(0o640).len(), 0);
    assert!(notes(0o644)[0].contains("kv.toml:1 holds a password") && notes(0o644)[0].contains("chmod o-r"));
    assert!(
        served(&["KV_REQUIREPASS=x"], &["--config", &path]).notes.is_empty(),
        "that password is not in use"
    );
}

#[test]
fn what_is_printed_gives_the_same_configuration_again() {
    let (_folder, path) =
        file("max-memory = \"25%\"\nprotected-mode = false\nhttp-allow-origin = [\"https://a\"]\n");
    let cases: [(&[&str], &[&str]); 4] = [
        (&[], &[]),
        (&["KV_PREFAULT=1", "KV_BUSY_POLL_US=7"], &["--config", &path, "--bind", "::1,10.0.0.1", "--no-pin"]),
        (&["KV_MAX_MEMORY=123456789"], &["--threads", "2", "--resp-port", "6379", "--successor", "a:1"]),
        (&[], &["--slowlog-log-slower-than=-1", "--max-memory", "77777777", "--log-level", "debug"]),
    ];
    for (variables, words) in cases {
        let first = printed(variables, words);
        let (_saved, saved) = file(&first);
        let comparable = |config: Config| format!("{:?}", Config { notes: Vec::new(), ..config });
        let (again, once) = (served(&[], &["--config", &saved]), served(variables, words));
        assert_eq!(comparable(again), comparable(once), "{first}");
        // And printed again it is the same but for where it comes from.
        let values = |text: &str| -> Vec<String> {
            text.lines().map(|line| line.split(" # ").next().unwrap_or_default().trim().to_string()).collect()
        };
        let second = printed(&[], &["--config", &saved]);
        assert_eq!(values(&second)[2..], values(&first)[2..]);
    }
}

#[test]
fn what_is_printed_says_where_it_comes_from() {
    let (_folder, path) = file("timeout = 5\n");
    let text = printed(&["KV_PORT=1000"], &["--config", &path, "--threads", "3"]);
    for (name, value, origin) in [
        ("port", "1000", "KV_PORT"),
        ("timeout", "5", format!("{path}:1").as_str()),
        ("threads", "3", "flag"),
        ("admin-port", "7172", "default"),
        ("max-memory", "\"1.4GB\"", "default: 1.4GB, or 70% if less"),
        ("max-value-size", "\"350MB\"", "default: 512MiB, or that quarter"),
        ("bind", "[]", "default: all, IPv4 and IPv6"),
    ] {
        let line = text
            .lines()
            .find(|line| line.starts_with(&format!("{name} = ")))
            .unwrap_or_else(|| panic!("{name} in {text}"));
        let (assignment, comment) = line.split_once("# ").unwrap();
        assert_eq!((assignment.trim(), comment), (format!("{name} = {value}").as_str(), origin));
    }
    assert!(text.contains("\n#resp-port ="));
    assert!(printed(&[], &["--max-memory", "50%"]).contains("flag, 4000000000 bytes"));
}

#[test]
fn a_hidden_password_is_no_password() {
    let text = printed(&["KV_REQUIREPASS=correct horse"], &[]);
    assert!(!text.contains("horse") && text.contains(&format!("requirepass = \"{MASK}\"")), "{text}");
    let (_folder, path) = file(&text);
    assert!(error(&[], &["--config", &path]).contains("KV_REQUIREPASS"));
    assert_eq!(served(&["KV_REQUIREPASS=correct horse"], &["--config", &path]).password, b"correct horse");
}

/// The names that a file sets or would set.
fn keys(text: &str) -> Vec<&str> {
    let is_option = |line: &&str| {
        line.trim_start_matches('#').starts_with(|c: char| c.is_ascii_lowercase()) && line.contains(" =")
    };
    text.lines()
        .filter(is_option)
        .filter_map(|line| line.trim_start_matches('#').split(" =").next())
        .collect()
}

#[test]
fn the_packaged_file_is_what_the_server_prints_and_explains_every_option() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/kv-cache.toml");
    let packaged = std::fs::read_to_string(&path).unwrap();
    let Ok(Invocation::PrintConfig(made)) = invoke(&["KV_PORT=1"], &["--print-default-config"]) else {
        panic!()
    };
    assert!(packaged == made, "make it anew: kv-server --print-default-config >deploy/kv-cache.toml");
    let names: Vec<String> =
        options::all().get_arguments().map(|arg| options::name(arg).to_string()).collect();
    assert_eq!(keys(&packaged), names);

    // As it is, it changes nothing.
    let same = served(&[], &["--config", path.to_str().unwrap()]);
    assert_eq!(format!("{same:?}"), format!("{:?}", served(&[], &[])));
    // With every comment sign before an option removed it is a configuration too, and sets every option.
    let bare: Vec<&str> = packaged
        .lines()
        .map(|line| {
            line.strip_prefix('#')
                .filter(|rest| rest.starts_with(|c: char| c.is_ascii_lowercase()))
                .unwrap_or(line)
        })
        .collect();
    let (_folder, bare) = file(&bare.join("\n"));
    let text = printed(&[], &["--config", &bare]);
    let unset: Vec<&str> = text.lines().filter(|line| line.contains("# default")).collect();
    assert!(unset.is_empty(), "{unset:?}");
}

#[test]
fn the_doctor_takes_the_servers_options_and_the_installed_file() {
    let doctor = |words: &[&str], installed: &Path| {
        let argv = ["kv-server", "doctor"].iter().chain(words).map(OsString::from);
        match parse_in(argv, || Ok(machine()), &Variables::new(), installed) {
            Ok(Invocation::Doctor { config: Ok(config), options }) => {
                assert!(!options.strict && !options.quiet);
                (*config, options.json)
            }
            other => panic!("{other:?}"),
        }
    };
    let (_folder, installed) = file("port = 1001\n");
    let (_other, other) = file("port = 2002\n");
    let nowhere = Path::new("/nowhere/kv-cache.toml");
    let (config, json) = doctor(&["--threads", "2", "--json"], Path::new(&installed));
    assert_eq!((config.port, config.threads, json), (1001, 2, true));
    assert_eq!(doctor(&["--config", &other], Path::new(&installed)).0.port, 2002);
    let (config, json) = doctor(&[], nowhere);
    assert!(config.port == limits::PORT && config.notes.is_empty() && !json);
    // What keeps the server from starting is a finding.
    let refused = invoke(&["KV_THREADS=x"], &["doctor", "--strict", "--quiet"]);
    let Ok(Invocation::Doctor { config: Err(why), options }) = refused else { panic!("{refused:?}") };
    assert!(options.strict && options.quiet && !options.json);
    assert!(matches!(invoke(&[], &["doctor", "--json", "--quiet"]), Err(ConfigError::Usage(_))));
    assert!(why.starts_with("KV_THREADS: "), "{why}");
    assert!(matches!(invoke(&[], &["doctor", "--nonsense"]), Err(ConfigError::Usage(_))));
    // What the server would not start with is what the doctor is asked for: no failure of the command line.
    for (words, reason) in
        [(&["--max-memory", "1TB"][..], "more than"), (&["--config", "/nowhere"], "cannot be read")]
    {
        let argv = ["kv-server", "doctor", "--strict"].iter().chain(words).map(OsString::from);
        let Ok(Invocation::Doctor { config: Err(text), .. }) =
            parse_in(argv, || Ok(machine()), &Variables::new(), nowhere)
        else {
            panic!("{words:?}")
        };
        assert!(text.contains(reason), "{text}");
    }
    // The server itself reads no file that nobody named.
    let argv = ["kv-server"].map(OsString::from);
    let Ok(Invocation::Serve(config)) =
        parse_in(argv, || Ok(machine()), &Variables::new(), Path::new(&installed))
    else {
        panic!()
    };
    assert_eq!(config.port, limits::PORT);
}

#[test]
fn a_ping_goes_where_the_server_would_listen() {
    let ping = |variables: &[&str], words: &[&str]| match invoke(variables, &[&["ping"], words].concat()) {
        Ok(Invocation::Ping(ping)) => ping,
        other => panic!("{other:?}"),
    };
    let expected = Ping {
        host: "127.0.0.1".into(),
        port: 7171,
        password: Vec::new(),
        timeout: Duration::from_millis(limits::PING_TIMEOUT_MS),
    };
    assert_eq!(ping(&[], &[]), expected);
    let (_folder, path) = file("port = 1001\nbind = [\"10.0.0.1\", \"10.0.0.2\"]\nrequirepass = \"x\"\n");
    let asked = ping(&[], &["--config", &path, "--timeout-ms", "5"]);
    assert_eq!((asked.host.as_str(), asked.port, asked.password.as_slice()), ("10.0.0.1", 1001, &b"x"[..]));
    assert_eq!(asked.timeout, Duration::from_millis(5));
    for (bind, host) in [
        ("10.0.0.1,127.0.0.1", "127.0.0.1"),
        ("0.0.0.0", "127.0.0.1"),
        ("::", "::1"),
        ("::1,10.0.0.1", "::1"),
    ] {
        assert_eq!(ping(&[&format!("KV_BIND={bind}")], &[]).host, host, "{bind}");
    }
    let asked = ping(&["KV_PORT=1", "KV_REQUIREPASS=y"], &["--host", "cache", "--port", "2"]);
    assert_eq!((asked.host.as_str(), asked.port, asked.password.as_slice()), ("cache", 2, &b"y"[..]));
    assert!(error(&["KV_PORT=0"], &["ping"]).contains("--port"));
    // What the machine would make of the rest is not a ping's business.
    assert_eq!(ping(&["KV_MAX_MEMORY=900TB"], &[]), expected);
}

#[test]
fn only_a_server_and_its_doctor_need_to_see_the_machine() {
    let blind = |words: &[&str]| {
        let argv = std::iter::once("kv-server").chain(words.iter().copied()).map(OsString::from);
        let no_proc = || Err(std::io::Error::other("/proc/meminfo: No such file"));
        parse_in(argv, no_proc, &Variables::new(), Path::new("/nowhere"))
    };
    assert!(matches!(blind(&["man"]), Ok(Invocation::Text(_))));
    assert!(matches!(blind(&["ping"]), Ok(Invocation::Ping(_))));
    assert!(matches!(blind(&["--print-default-config"]), Ok(Invocation::PrintConfig(_))));
    let Ok(Invocation::Doctor { config: Err(why), .. }) = blind(&["doctor"]) else { panic!() };
    assert!(why.contains("/proc/meminfo"), "{why}");
    assert!(blind(&[]).unwrap_err().to_string().contains("/proc/meminfo"));
}

#[test]
fn completions_and_the_manual_need_no_sound_environment() {
    let text = |words: &[&str]| match invoke(&["KV_PORT=nonsense", "KV_CONFIG=/nowhere"], words) {
        Ok(Invocation::Text(text)) => String::from_utf8(text).unwrap(),
        other => panic!("{other:?}"),
    };
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let text = text(&["completions", shell]);
        assert!(
            text.contains("max-memory") && text.contains("doctor") && text.contains("print-config"),
            "{shell}"
        );
    }
    let page = text(&["man"]);
    for section in [
        "NAME",
        "SYNOPSIS",
        "DESCRIPTION",
        "COMMANDS",
        "OPTIONS",
        "ENVIRONMENT",
        "FILES",
        "SIGNALS",
        "EXAMPLES",
    ] {
        assert!(page.contains(&format!(".SH {section}\n")), "{section}");
    }
    assert!(page.contains(".SH \"EXIT STATUS\"\n"));
    for arg in options::all().get_arguments() {
        let name = options::name(arg).replace('-', "\\-");
        assert!(page.contains(&format!("\\-\\-{name}\\fR")), "{name}");
    }
    let help = |words: &[&str]| error(&["KV_PORT=nonsense"], words);
    assert!(help(&["--help"]).contains("[env: KV_MAX_MEMORY=") && help(&["--help"]).contains("Commands:"));
    assert!(help(&["doctor", "--help"]).contains("--json"));
}
