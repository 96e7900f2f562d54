//! Starts and stops servers: ours in every setup, and the Valkey that the differential tests compare with.

use super::{Conn, PATIENCE, Ports, rss_bytes, skip, wait_until};
use io_uring::{cqueue, squeue};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::File;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

/// How the server talks to the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    IoUring,
    Epoll,
}

impl Engine {
    pub fn flag(self) -> &'static str {
        match self {
            Engine::IoUring => "io_uring",
            Engine::Epoll => "epoll",
        }
    }
}

/// Whether this machine lets us use the engine. Says so aloud where it does not.
pub fn engine_available(engine: Engine) -> bool {
    let wanted = engine == Engine::IoUring;
    // The same flag pair as the server: kernels below 6.1 lack it and are served by epoll.
    let refused = wanted
        .then(|| {
            io_uring::IoUring::<squeue::Entry, cqueue::Entry>::builder()
                .setup_single_issuer()
                .setup_defer_taskrun()
                .build(8)
                .err()
        })
        .flatten();
    if let Some(error) = &refused {
        skip("KV_REQUIRE_IO_URING", &format!("io_uring is refused here: {error}"));
    }
    refused.is_none()
}

/// The Valkey to compare with, or `None`, said aloud, when nobody named one.
pub fn valkey_binary() -> Option<PathBuf> {
    let path = std::env::var_os("KV_VALKEY_SERVER").map(PathBuf::from);
    if path.is_none() {
        skip("KV_REQUIRE_VALKEY", "KV_VALKEY_SERVER does not name a valkey-server binary");
    }
    path
}

/// The memcached to compare with, or `None`, said aloud, when nobody named one.
pub fn memcached_binary() -> Option<PathBuf> {
    let path = std::env::var_os("KV_MEMCACHED").map(PathBuf::from);
    if path.is_none() {
        skip("KV_REQUIRE_MEMCACHED", "KV_MEMCACHED does not name a memcached binary");
    }
    path
}

/// Our server: the one that cargo has just built, or another build of it that `KV_SERVER_BINARY` names.
pub fn server_binary() -> PathBuf {
    std::env::var_os("KV_SERVER_BINARY").map_or_else(|| env!("CARGO_BIN_EXE_kv-server").into(), PathBuf::from)
}

/// A running server. Ends with this value, by its own process id.
#[derive(Debug)]
pub struct Server {
    child: Child,
    log: tempfile::NamedTempFile,
    _directory: tempfile::TempDir,
    port: Ports,
    admin_port: Ports,
}

impl Server {
    /// Starts our server and waits until it answers.
    pub fn start(engine: Engine, threads: usize, options: &[&str]) -> Server {
        Server::start_on(Ports::reserve(), engine, threads, options)
    }

    /// As [`Server::start`], on a port that was reserved before.
    pub fn start_on(port: Ports, engine: Engine, threads: usize, options: &[&str]) -> Server {
        let server = Server::spawn(Command::new(server_binary()), port, engine, threads, options);
        server.ready()
    }

    /// As [`Server::start`], with a prefix for the shell that starts it, such as `ulimit -n 64`.
    pub fn start_under(prefix: &str, engine: Engine, threads: usize, options: &[&str]) -> Server {
        let mut shell = Command::new("sh");
        // `exec` keeps the process id: what we kill and look at is the server, not the shell.
        shell.args(["-c", &format!("{prefix}; exec \"$0\" \"$@\"")]).arg(server_binary());
        Server::spawn(shell, Ports::reserve(), engine, threads, options).ready()
    }

    /// Starts our server without waiting for it, for tests of what it refuses.
    pub fn spawn(command: Command, port: Ports, engine: Engine, threads: usize, options: &[&str]) -> Server {
        Server::launch_ours(command, [port, Ports::reserve()], engine, threads, options, Vec::new())
    }

    /// As [`Server::spawn`], with sockets (two at most), named so, that are passed as a service manager does it: from descriptor 3 on.
    pub fn spawn_with_sockets(
        sockets: Vec<OwnedFd>,
        names: &str,
        ports: [Ports; 2],
        engine: Engine,
        threads: usize,
        options: &[&str],
    ) -> Server {
        let mut shell = Command::new("sh");
        // Standard input and output carry them to the shell. `exec` keeps the process id, which must be LISTEN_PID.
        let script = "exec 3<&0 4<&1 </dev/null >&2; [ $LISTEN_FDS = 2 ] || exec 4<&-; \
                      LISTEN_PID=$$ exec \"$0\" \"$@\"";
        shell.args(["-c", script]).arg(server_binary());
        shell.env("LISTEN_FDS", sockets.len().to_string()).env("LISTEN_FDNAMES", names);
        Server::launch_ours(shell, ports, engine, threads, options, sockets)
    }

    fn launch_ours(
        command: Command,
        [port, admin_port]: [Ports; 2],
        engine: Engine,
        threads: usize,
        options: &[&str],
        sockets: Vec<OwnedFd>,
    ) -> Server {
        let threads = threads.to_string();
        // Unpinned: several servers run at once, and pinned ones would all sit on the first cores.
        let mut arguments = vec!["--io-engine", engine.flag(), "--threads", &threads, "--no-pin"];
        if !options.contains(&"--max-memory") {
            arguments.extend(["--max-memory", "64MB"]);
        }
        arguments.extend(options);
        let ports = [port.port.to_string(), admin_port.port.to_string()];
        arguments.extend(["--port", &ports[0], "--admin-port", &ports[1]]);
        Server::launch(command, &arguments, port, admin_port, sockets)
    }

    /// Starts a Valkey that keeps nothing on disk.
    pub fn start_valkey(binary: &Path, options: &[&str]) -> Server {
        let port = Ports::reserve();
        let number = port.port.to_string();
        let mut arguments =
            vec!["--port", &number, "--save", "", "--appendonly", "no", "--bind", "127.0.0.1"];
        arguments.extend(options);
        Server::launch(Command::new(binary), &arguments, port, Ports::reserve(), Vec::new()).ready()
    }

    /// Starts a memcached on loopback, without UDP.
    pub fn start_memcached(binary: &Path) -> Server {
        let port = Ports::reserve();
        let number = port.port.to_string();
        // Only root needs to say whom to run as; to others it means nothing.
        let arguments = ["-l", "127.0.0.1", "-p", &number, "-U", "0", "-u", "root", "-m", "64"];
        Server::launch(Command::new(binary), &arguments, port, Ports::reserve(), Vec::new()).ready()
    }

    /// `sockets` become standard input and output.
    fn launch(
        mut command: Command,
        arguments: &[&str],
        port: Ports,
        admin_port: Ports,
        sockets: Vec<OwnedFd>,
    ) -> Server {
        let log = tempfile::NamedTempFile::new().expect("a log file");
        let directory = tempfile::tempdir().expect("a working directory");
        let output = |file: &File| Stdio::from(file.try_clone().expect("a second descriptor of the log"));
        assert!(sockets.len() <= 2);
        let mut sockets = sockets.into_iter().map(Stdio::from);
        let child = command
            .args(arguments)
            .current_dir(directory.path())
            .stdin(sockets.next().unwrap_or_else(Stdio::null))
            .stdout(sockets.next().unwrap_or_else(|| output(log.as_file())))
            .stderr(output(log.as_file()))
            .spawn()
            .unwrap_or_else(|e| panic!("cannot start {command:?}: {e}"));
        Server { child, log, _directory: directory, port, admin_port }
    }

    /// Waits until the server answers. Any answer will do: one that wants a password refuses PING, and is up.
    pub fn ready(mut self) -> Server {
        let address = self.address();
        let pid = self.pid();
        let mut died = None;
        wait_until(&format!("the server {pid} to listen on {address}"), || {
            died = self.child.try_wait().expect("our own child");
            died.is_some() || answers(address)
        });
        assert!(died.is_none(), "the server ended at its start with {died:?}:\n{}", self.log());
        self
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port.port))
    }

    pub fn admin_address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.admin_port.port))
    }

    pub fn connect(&self) -> Conn {
        Conn::connect(self.address())
    }

    pub fn peak_rss_bytes(&self) -> u64 {
        super::peak_rss_bytes(self.pid())
    }

    pub fn rss_bytes(&self) -> u64 {
        rss_bytes(self.pid())
    }

    /// All that the server has printed so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log.path()).unwrap_or_default()
    }

    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).expect("process ids are small"));
        kill(pid, signal).expect("our own child can be signalled");
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("our own child").is_none()
    }

    /// Waits for the server to end by itself.
    pub fn wait(&mut self) -> ExitStatus {
        let mut status = None;
        wait_until("the server to end", || {
            status = self.child.try_wait().expect("our own child");
            status.is_some()
        });
        status.expect("it has just ended")
    }

    /// Kills the server at once and gives its port back, still reserved, to start another one there.
    pub fn kill(mut self) -> Ports {
        self.end();
        std::mem::replace(&mut self.port, Ports::reserve())
    }

    fn end(&mut self) {
        // Both fail only if the process has already been waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether somebody answers a PING at this address.
fn answers(address: SocketAddr) -> bool {
    TcpStream::connect(address).is_ok_and(|stream| {
        let mut conn = Conn::over(stream);
        // What is no RESP is an answer as well: a memcached's.
        conn.try_send(b"PING\r\n").is_ok()
            && matches!(conn.try_read(), Ok(_) | Err(super::WireError::Garbage(_)))
    })
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
        if std::thread::panicking() {
            eprintln!("--- the server's own words ---\n{}---", self.log());
        }
    }
}

const _: () = assert!(PATIENCE.as_secs() >= 30, "a loaded machine may take seconds to start a process");
