//! What a server process costs, as seen from outside: its processor clock, /proc, the kernel's tracepoint of system calls, and the server's own
//! counter where it shows one.

use crate::load::{Error, Spec, open_stream};
use nix::sys::signal::{Signal, kill};
use nix::time::{clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;
use std::fs;
use std::io::{self, Read, Write};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long `perf` may take to begin counting.
const PERF_PATIENCE: Duration = Duration::from_secs(3);

/// A look at a process.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    pub at: Instant,
    /// Of all threads, those that have ended too, to the nanosecond.
    pub cpu: Duration,
    /// Bytes.
    pub rss: u64,
    pub peak_rss: u64,
    /// Context switches of the threads that live now.
    pub voluntary: u64,
    pub involuntary: u64,
}

/// Looks at one process.
#[derive(Clone, Copy, Debug)]
pub struct Watch {
    pid: u32,
}

impl Watch {
    /// An error when there is no such process, or it may not be looked at.
    pub fn new(pid: u32) -> io::Result<Watch> {
        let watch = Watch { pid };
        watch.sample()?;
        Ok(watch)
    }

    pub fn pid(&self) -> u32 {
        self.pid
    }

    fn process(&self) -> io::Result<Pid> {
        let pid = i32::try_from(self.pid).map_err(|_| io::Error::from(io::ErrorKind::NotFound))?;
        Ok(Pid::from_raw(pid))
    }

    pub fn sample(&self) -> io::Result<Sample> {
        let at = Instant::now();
        let cpu = clock_gettime(clock_getcpuclockid(self.process()?)?)?.into();
        let (mut voluntary, mut involuntary) = (0, 0);
        for task in fs::read_dir(format!("/proc/{}/task", self.pid))? {
            let task = task?.path();
            // A thread may end while it is being looked at.
            let Ok(status) = fs::read_to_string(task.join("status")) else { continue };
            voluntary += field(&status, "voluntary_ctxt_switches");
            involuntary += field(&status, "nonvoluntary_ctxt_switches");
        }
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid))?;
        let (rss, peak_rss) = (field(&status, "VmRSS") << 10, field(&status, "VmHWM") << 10);
        Ok(Sample { at, cpu, rss, peak_rss, voluntary, involuntary })
    }
}

/// The number in a `Name:   123 kB` line; 0 when there is none.
fn field(status: &str, name: &str) -> u64 {
    let value = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    value.and_then(|value| value.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// `perf stat` attached to a process, counting its system calls until it is stopped. It slows every system call of that
/// process a little, so nothing else should be measured meanwhile.
pub struct SyscallTrace {
    perf: Child,
}

impl SyscallTrace {
    /// An error where there is no perf, or tracepoints are not for us.
    pub fn start(pid: u32) -> io::Result<SyscallTrace> {
        let pid = pid.to_string();
        let perf = Command::new("perf")
            .args(["stat", "-x", ",", "-e", "raw_syscalls:sys_enter", "-p", &pid])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        let mut trace = SyscallTrace { perf };
        let start = Instant::now();
        while !trace.counts() {
            if trace.perf.try_wait()?.is_some() || start.elapsed() > PERF_PATIENCE {
                return Err(io::Error::other("perf does not count system calls here"));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(trace)
    }

    /// Whether perf has opened its counters.
    fn counts(&self) -> bool {
        let Ok(descriptors) = fs::read_dir(format!("/proc/{}/fd", self.perf.id())) else { return false };
        let mut links = descriptors.flatten().filter_map(|entry| fs::read_link(entry.path()).ok());
        links.any(|link| link.to_string_lossy().contains("perf_event"))
    }

    /// How many there were.
    pub fn stop(mut self) -> io::Result<u64> {
        self.interrupt();
        let mut text = String::new();
        if let Some(mut output) = self.perf.stderr.take() {
            output.read_to_string(&mut text)?;
        }
        self.perf.wait()?;
        let count =
            text.lines().find(|line| line.contains("sys_enter")).and_then(|line| line.split(',').next());
        count
            .and_then(|count| count.trim().parse().ok())
            .ok_or_else(|| io::Error::other(text.trim().to_owned()))
    }

    fn interrupt(&self) {
        if let Ok(pid) = i32::try_from(self.perf.id()) {
            // It fails only when perf has ended by itself.
            let _ = kill(Pid::from_raw(pid), Signal::SIGINT);
        }
    }
}

impl Drop for SyscallTrace {
    fn drop(&mut self) {
        self.interrupt();
        // Fails only when it has been waited for.
        let _ = self.perf.wait();
    }
}

/// `total_syscalls` of the server's INFO, where it has that line.
pub fn own_syscall_counter(spec: &Spec) -> Result<Option<u64>, Error> {
    let mut stream = open_stream(spec)?;
    stream.set_read_timeout(Some(spec.patience))?;
    stream.write_all(b"*2\r\n$4\r\nINFO\r\n$5\r\nstats\r\n")?;
    let (mut reply, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        // `$<length>\r\n<text>\r\n`, or a line that says why not.
        if let Some(end) = memchr::memchr(b'\n', &reply) {
            let head = String::from_utf8_lossy(&reply[..end]).into_owned();
            let length = head.strip_prefix('$').and_then(|length| length.trim().parse::<usize>().ok());
            if length.is_none_or(|length| reply.len() >= end + 1 + length) {
                let text = String::from_utf8_lossy(&reply);
                return Ok(Some(field(&text, "total_syscalls")).filter(|count| *count > 0));
            }
        }
        match stream.read(&mut buffer)? {
            0 => return Ok(None),
            count => reply.extend_from_slice(&buffer[..count]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::time::ClockId;

    #[test]
    fn this_process_is_seen() {
        let watch = Watch::new(std::process::id()).unwrap();
        let before = watch.sample().unwrap();
        let mut sum = 0u64;
        while watch.sample().unwrap().cpu < before.cpu + Duration::from_millis(5) {
            sum = (0..100_000).fold(sum, |sum, i| std::hint::black_box(sum ^ i));
        }
        let after = watch.sample().unwrap();
        assert!(after.rss > 1 << 20 && after.peak_rss >= after.rss / 2, "{after:?} {sum}");
        assert!(after.voluntary + after.involuntary >= before.voluntary + before.involuntary);
        assert!(Watch::new(u32::MAX - 1).is_err());
    }

    #[test]
    fn threads_that_have_ended_still_count() {
        let watch = Watch::new(std::process::id()).unwrap();
        let before = watch.sample().unwrap().cpu;
        let work = || {
            let used = || Duration::from(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).unwrap());
            while used() < Duration::from_millis(20) {}
        };
        std::thread::spawn(work).join().unwrap();
        assert!(watch.sample().unwrap().cpu >= before + Duration::from_millis(20));
    }

    #[test]
    fn fields_are_found_by_their_whole_name() {
        let status = "VmHWM:\t  2048 kB\nvoluntary_ctxt_switches:\t7\nnonvoluntary_ctxt_switches:\t9\n";
        assert_eq!((field(status, "VmHWM"), field(status, "voluntary_ctxt_switches")), (2048, 7));
        assert_eq!((field(status, "nonvoluntary_ctxt_switches"), field(status, "VmSwap")), (9, 0));
    }
}
