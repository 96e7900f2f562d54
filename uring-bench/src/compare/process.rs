//! A contender's process: started on its processors at its priority, waited for until it answers, and ended on every way
//! out. Dropping it kills it; if this program itself is killed, the kernel does (`setpriv --pdeathsig`).

use super::contenders::Launch;
use crate::load::{Error, Spec, open_stream};
use nix::sys::memfd::{MFdFlags, memfd_create};
use std::fs::File;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::FileExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a server may take until it answers.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long a greeting may take, so that a server which says nothing is noticed.
const GREETING: Duration = Duration::from_secs(2);
/// Lines of its output that are shown when it does not start.
const TAIL: usize = 12;

/// Where servers run.
#[derive(Clone, Debug)]
pub struct Placement {
    /// Empty: anywhere.
    pub cpus: Vec<usize>,
    /// SCHED_FIFO, priority 1.
    pub realtime: bool,
}

/// A running server. Dropping it ends it.
pub struct Process {
    child: Child,
    /// What it wrote to its standard output and error, in memory.
    output: File,
    launch: Launch,
}

impl Process {
    /// Starts a server and waits until it answers where `spec` aims.
    pub fn start(name: &str, launch: Launch, spec: &Spec, placement: &Placement) -> Result<Process, Error> {
        let words = wrapped(&launch.words, placement);
        let output = File::from(memfd_create("output", MFdFlags::MFD_CLOEXEC).map_err(std::io::Error::from)?);
        let child = Command::new(&words[0])
            .args(&words[1..])
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output.try_clone()?)
            .spawn()
            .map_err(|error| {
                Error::but(
                    format!("cannot run {}: {error}", words[0]),
                    "it is part of util-linux: install it",
                )
            })?;
        let mut process = Process { child, output, launch };
        process.wait_until_it_answers(name, spec)?;
        Ok(process)
    }

    /// How it was started.
    pub fn command(&self) -> String {
        self.launch.words.join(" ")
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    fn wait_until_it_answers(&mut self, name: &str, spec: &Spec) -> Result<(), Error> {
        let start = Instant::now();
        let probe = Spec { patience: GREETING, ..spec.clone() };
        loop {
            let answer = open_stream(&probe);
            if let Some(status) = self.child.try_wait()? {
                return Err(self.failure(name, &format!("ended at once ({status})")));
            }
            match answer {
                Ok(_) => return Ok(()),
                Err(error) if start.elapsed() > PATIENCE => {
                    let what = format!("does not answer after {} s: {}", PATIENCE.as_secs(), error.what);
                    return Err(self.failure(name, &what));
                }
                Err(_) => std::thread::sleep(Duration::from_millis(5)),
            }
        }
    }

    fn failure(&self, name: &str, what: &str) -> Error {
        let mut text = format!("{name} {what}; it was started as\n    {}", self.command());
        match self.tail() {
            tail if tail.is_empty() => text += "\n  and wrote nothing.",
            tail => text += &format!("\n  and wrote\n{tail}"),
        }
        Error::but(text, "Start it by hand to see more, or leave it out with --contenders.")
    }

    /// The last lines of its output, indented.
    fn tail(&self) -> String {
        let length = self.output.metadata().map_or(0, |metadata| metadata.len());
        let from = length.saturating_sub(8192);
        let mut bytes = vec![0; usize::try_from(length - from).unwrap_or(0)];
        // Reads where the child writes, without moving the place it writes at.
        if self.output.read_exact_at(&mut bytes, from).is_err() {
            return String::new();
        }
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
        let shown = &lines[lines.len().saturating_sub(TAIL)..];
        shown.iter().map(|line| format!("    {line}")).collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only when it has ended by itself. It keeps nothing that an orderly end would save.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The command behind those that set its fate, its priority and its processors; each becomes the next, so the process stays
/// the same.
fn wrapped(command: &[String], placement: &Placement) -> Vec<String> {
    let mut words: Vec<String> = ["setpriv", "--pdeathsig", "KILL"].map(str::to_owned).into();
    if placement.realtime {
        words.extend(["chrt", "-f", "1"].map(str::to_owned));
    }
    if !placement.cpus.is_empty() {
        let cpus: Vec<String> = placement.cpus.iter().map(usize::to_string).collect();
        words.extend(["taskset".to_owned(), "-c".to_owned(), cpus.join(",")]);
    }
    words.extend_from_slice(command);
    words
}

/// Whether processes may have real-time priority here.
pub fn realtime_is_permitted() -> bool {
    let mut trial = Command::new("chrt");
    trial.args(["-f", "1", "true"]).stdout(Stdio::null()).stderr(Stdio::null());
    trial.status().is_ok_and(|status| status.success())
}

/// A port of this machine that nobody listens on now.
pub fn free_port() -> Result<u16, Error> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}
