//! The real binary with a configuration file, an environment and flags: what it then is, what it refuses, and what it prints.

mod support;

use nix::sys::signal::Signal;
use std::path::PathBuf;
use std::process::{Command, Output};
use support::{Engine, Ports, Server, engine_available, server_binary};

/// A folder with one file, which goes with this value.
struct File {
    _folder: tempfile::TempDir,
    path: PathBuf,
}

impl File {
    fn new(text: &str) -> File {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("kv.toml");
        std::fs::write(&path, text).expect("the file can be written");
        File { _folder: folder, path }
    }

    fn path(&self) -> &str {
        self.path.to_str().expect("temporary paths are plain")
    }
}

/// `kv-server` with nothing of this process's environment that it would listen to.
fn kv_server(variables: &[(&str, &str)]) -> Command {
    let mut command = Command::new(server_binary());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("KV_") {
            command.env_remove(name);
        }
    }
    command.envs(variables.iter().copied());
    command
}

fn run(variables: &[(&str, &str)], words: &[&str]) -> Output {
    kv_server(variables).args(words).output().expect("it can be run")
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// What CONFIG GET says of one setting.
fn setting(server: &Server, password: &str, name: &str) -> String {
    let mut conn = server.connect();
    if !password.is_empty() {
        assert_eq!(conn.run(&format!("AUTH {password}")).text(), "OK");
    }
    conn.run(&format!("CONFIG GET {name}")).array()[1].text()
}

#[test]
fn a_server_is_what_file_environment_and_flags_say() {
    if !engine_available(Engine::Epoll) {
        return;
    }
    let file = File::new(
        "# of a test\nport = 1\nmax-clients = 77\ntimeout = 111\nslowlog-max-len = 11\nrequirepass = \"pass\"\n",
    );
    let command =
        kv_server(&[("KV_CONFIG", file.path()), ("KV_TIMEOUT", "222"), ("KV_SLOWLOG_MAX_LEN", "22")]);
    // The helper gives --port and --admin-port as flags, which beat the file's.
    let mut server =
        Server::spawn(command, Ports::reserve(), Engine::Epoll, 1, &["--slowlog-max-len", "33"]).ready();
    assert_eq!(setting(&server, "pass", "maxclients"), "77", "file");
    assert_eq!(setting(&server, "pass", "timeout"), "222", "environment");
    assert_eq!(setting(&server, "pass", "slowlog-max-len"), "33", "flag");

    let port = server.address().port().to_string();
    let ping = |variables: &[(&str, &str)]| run(variables, &["ping", "--port", &port]);
    let with = ping(&[("KV_REQUIREPASS", "pass")]);
    assert!(with.status.success() && out(&with).starts_with("PONG from 127.0.0.1:"), "{with:?}");
    assert!(out(&ping(&[("KV_CONFIG", file.path())])).starts_with("PONG"), "the file's password is given");
    for variables in [&[][..], &[("KV_REQUIREPASS", "wrong")][..]] {
        let refused = ping(variables);
        assert!(refused.status.success() && out(&refused).contains("alive"), "{refused:?}");
        assert!(out(&refused).contains("NOAUTH"), "{refused:?}");
    }
    server.signal(Signal::SIGTERM);
    assert!(server.wait().success());
    let gone = ping(&[]);
    assert_eq!(gone.status.code(), Some(1));
    assert!(err(&gone).contains("nothing listens on 127.0.0.1"), "{gone:?}");
}

#[test]
fn what_is_wrong_in_a_file_stops_the_start_and_is_named_with_its_line() {
    let file = File::new("\nprot = 7000\nthreads = \"many\"\nport = 70000\n");
    for (words, code) in [(&["--config", file.path()][..], 1), (&["doctor", "--config", file.path()][..], 2)]
    {
        let output = run(&[], words);
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        let said = err(&output) + &out(&output);
        for part in [":2: prot: ", "did you mean port?", ":3: threads: \"many\"", ":4: port: \"70000\""] {
            assert!(
                said.contains(&format!("{}{part}", if part.starts_with(':') { file.path() } else { "" })),
                "{part} in {said}"
            );
        }
    }
    let twice = File::new("port = 1\nport = 2\n");
    assert!(err(&run(&[], &["--config", twice.path()])).contains(":2: port stands here a second time"));
    let missing = run(&[("KV_CONFIG", "/nowhere/kv.toml")], &[]);
    assert!(missing.status.code() == Some(1) && err(&missing).contains("/nowhere/kv.toml cannot be read"));
    let conflict = File::new("admin-port = 7171\n");
    let said = err(&run(&[], &["--config", conflict.path()]));
    assert!(
        said.contains("both 7171") && said.contains(&format!("admin-port is set by {}:1", conflict.path())),
        "{said}"
    );
    assert_eq!(run(&[], &["--nonsense"]).status.code(), Some(2));
}

#[test]
fn what_is_in_effect_is_printed_and_can_be_saved() {
    let file = File::new("timeout = 9\n");
    let words = ["--config", file.path(), "--print-config", "--max-memory", "64MB"];
    let first = run(&[("KV_PORT", "7300"), ("KV_REQUIREPASS", "hunter2")], &words);
    assert!(first.status.success(), "{first:?}");
    let text = out(&first);
    assert!(
        text.contains("port = 7300") && text.contains("# KV_PORT") && !text.contains("hunter2"),
        "{text}"
    );
    assert!(text.contains(&format!("# {}:1", file.path())), "{text}");

    let saved = File::new(&text);
    let values = |text: &str| -> Vec<String> {
        let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
        lines.map(|line| line.split(" # ").next().unwrap_or_default().trim_end().to_string()).collect()
    };
    let again = run(&[("KV_REQUIREPASS", "hunter2")], &["--config", saved.path(), "--print-config"]);
    assert!(again.status.success(), "{again:?}");
    assert_eq!(values(&out(&again)), values(&text));
    let without = run(&[], &["--config", saved.path()]);
    assert!(without.status.code() == Some(1) && err(&without).contains("set KV_REQUIREPASS"), "{without:?}");
}

#[test]
fn a_closed_pipe_is_no_failure() {
    let script = "\"$0\" man | head -n 1; exit \"${PIPESTATUS[0]}\"";
    let output = Command::new("bash").args(["-c", script]).arg(server_binary()).output().expect("bash");
    assert!(output.status.success() && err(&output).is_empty(), "{output:?}");
}

#[test]
fn bash_takes_the_completions() {
    let script = "source <(\"$0\" completions bash) && complete -p kv-server && COMP_WORDS=(kv-server --max-m) COMP_CWORD=1 \
                  && _kv__server kv-server --max-m kv-server && printf '%s\\n' \"${COMPREPLY[@]}\"";
    let output = Command::new("bash").args(["-c", script]).arg(server_binary()).output().expect("bash");
    assert!(out(&output).contains("--max-memory"), "{output:?}");
}
