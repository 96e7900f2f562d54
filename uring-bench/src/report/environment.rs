//! Where something was measured: without it a figure says little.

use std::fs::read_to_string;
use std::time::SystemTime;

/// Kernel, processor and time, as text for a report.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Environment {
    /// Release and version of the kernel.
    pub kernel: String,
    pub cpu: String,
    /// Logical CPUs this process may run on.
    pub cores: usize,
    /// Bytes; 0 if unknown.
    pub memory: u64,
    /// UTC, RFC 3339.
    pub date: String,
    /// This program's version.
    pub version: &'static str,
}

impl Environment {
    pub fn here() -> Environment {
        let file = |path| read_to_string(path).unwrap_or_default();
        let (cpu_info, memory) = (file("/proc/cpuinfo"), file("/proc/meminfo"));
        let kib =
            field(&memory, "MemTotal").and_then(|text| text.trim_end_matches(" kB").parse::<u64>().ok());
        Environment {
            kernel: file("/proc/sys/kernel/osrelease").trim().to_owned(),
            // Arm's kernels name no model.
            cpu: field(&cpu_info, "model name").unwrap_or(std::env::consts::ARCH).to_owned(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory: kib.unwrap_or(0) << 10,
            date: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
            version: env!("CARGO_PKG_VERSION"),
        }
    }
}

/// The command line of this process, quoted where a shell needs it, without passwords: reports are shown around.
pub fn command_line() -> String {
    command_line_of(std::env::args())
}

fn command_line_of(args: impl Iterator<Item = String>) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_./:=,%+@".contains(c);
    let mut secret = false;
    let quoted = args.enumerate().map(|(n, arg)| {
        let arg = match arg.split_once('=') {
            _ if n == 0 => arg.rsplit('/').next().unwrap_or_default().to_owned(),
            _ if secret => "…".to_owned(),
            Some(("--password", _)) => "--password=…".to_owned(),
            _ => arg,
        };
        secret = arg == "--password";
        if !arg.is_empty() && arg.chars().all(plain) {
            arg
        } else {
            format!("'{}'", arg.replace('\'', r"'\''"))
        }
    });
    quoted.collect::<Vec<_>>().join(" ")
}

/// The first value of a "name : value" line.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found() {
        assert_eq!(
            field("processor : 0\nmodel name\t: A CPU @ 2 GHz\n", "model name"),
            Some("A CPU @ 2 GHz")
        );
        assert_eq!(field("processor : 0\n", "model name"), None);
    }

    #[test]
    fn a_command_line_keeps_its_secrets() {
        let line = |args: &[&str]| command_line_of(args.iter().map(|arg| (*arg).to_owned()));
        assert_eq!(line(&["/a/b", "run", "--x", "a b"]), "b run --x 'a b'");
        assert!(!line(&["b", "--password", "hunter2", "-c", "1"]).contains("hunter2"));
        assert!(!line(&["b", "--password=hunter2"]).contains("hunter2"));
    }

    #[test]
    fn this_machine_is_described() {
        let here = Environment::here();
        assert!(!here.kernel.is_empty() && !here.cpu.is_empty() && here.cores > 0 && here.memory > 0);
        assert!(here.date.ends_with('Z'));
    }
}
