//! The real server, servers made to misbehave, and the benchmark as a user runs it.

#![allow(dead_code, reason = "each test file uses its own part of these helpers")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// How long anything may take on a busy machine before a test gives up.
const PATIENCE: Duration = Duration::from_secs(60);

/// The benchmark with these arguments, run to its end.
pub fn bench(arguments: &[&str]) -> Output {
    command(arguments).output().expect("uring-bench can be run")
}

pub fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_uring-bench"));
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Standard output and standard error, for messages and checks.
pub fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// The server's binary, built beside the benchmark's: cargo names binaries only to tests of their own package.
pub fn server_binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        let folder = Path::new(env!("CARGO_BIN_EXE_uring-bench")).parent().expect("a folder of binaries");
        let profile = match folder.file_name().and_then(|name| name.to_str()) {
            Some("debug") | None => "dev",
            Some(profile) => profile,
        };
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.toml");
        let status = Command::new(env!("CARGO"))
            .args(["build", "--quiet", "--package", "kv-server", "--bin", "kv-server", "--profile", profile])
            .arg("--manifest-path")
            .arg(manifest)
            .arg("--target-dir")
            .arg(folder.parent().expect("a target directory"))
            .status()
            .expect("cargo can be run");
        assert!(status.success(), "the server must build");
        folder.join("kv-server")
    })
}

/// A `kv-server` on a port of its own, killed when dropped.
pub struct Server {
    child: Child,
    pub address: SocketAddr,
}

impl Server {
    pub fn start(options: &[&str]) -> Server {
        let ports = [free_port(), free_port()];
        let child = Command::new(server_binary())
            .args(["--port", &ports[0].to_string(), "--admin-port", &ports[1].to_string()])
            .args(["--threads", "2", "--no-pin", "--max-memory", "64MB"])
            .args(options)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the server can be started");
        let mut server = Server { child, address: SocketAddr::from(([127, 0, 0, 1], ports[0])) };
        wait_until("the server to listen", || {
            assert!(
                server.child.try_wait().expect("our own child").is_none(),
                "the server ended at its start"
            );
            TcpStream::connect(server.address).is_ok()
        });
        server
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Commands that it has executed, as it says itself.
    pub fn commands(&self) -> u64 {
        let mut stream = TcpStream::connect(self.address).expect("the server listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
        stream.write_all(b"INFO stats\r\nQUIT\r\n").expect("the server takes what we send");
        let mut reply = String::new();
        stream.read_to_string(&mut reply).expect("a reply");
        let line = reply.lines().find_map(|line| line.strip_prefix("total_commands_processed:"));
        line.and_then(|count| count.trim().parse().ok()).expect("a count of commands")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail only if the process has already been waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port").port()
}

pub fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < PATIENCE, "waited {PATIENCE:?} for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

type Answer = Option<Vec<u8>>;

/// A server that answers each request of a connection as `answer` says: the words of the request and its number on its
/// connection in, the reply out; `None` closes. Serves until the test's process ends.
pub fn fake_server(
    answer: impl Fn(&[String], usize) -> Option<Vec<u8>> + Send + Sync + 'static,
) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    let answer = std::sync::Arc::new(answer);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let answer = std::sync::Arc::clone(&answer);
            std::thread::spawn(move || serve(stream, &*answer));
        }
    });
    address
}

fn serve(mut stream: TcpStream, answer: &dyn Fn(&[String], usize) -> Answer) {
    let (mut received, mut buffer, mut number) = (Vec::new(), [0; 4096], 0);
    loop {
        while let Some((words, length)) = request(&received) {
            received.drain(..length);
            let Some(reply) = answer(&words, number) else { return };
            number += 1;
            if stream.write_all(&reply).is_err() {
                return;
            }
        }
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return,
            Ok(count) => received.extend_from_slice(&buffer[..count]),
        }
    }
}

/// The words of the RESP request at the start of `bytes`, and its length.
fn request(bytes: &[u8]) -> Option<(Vec<String>, usize)> {
    let mut at = 0;
    let mut number = |mark: u8| {
        let end = at + bytes.get(at..)?.windows(2).position(|pair| pair == b"\r\n")?;
        assert_eq!(bytes[at], mark, "a request of uring-bench is an array of strings");
        let number: usize = std::str::from_utf8(&bytes[at + 1..end]).ok()?.parse().ok()?;
        at = end + 2;
        let start = at;
        if mark == b'$' {
            at += number + 2;
        }
        (at <= bytes.len()).then_some((number, start))
    };
    let (count, _) = number(b'*')?;
    let mut words = Vec::new();
    for _ in 0..count {
        let (length, start) = number(b'$')?;
        words.push(String::from_utf8_lossy(&bytes[start..start + length]).into_owned());
    }
    Some((words, at))
}
