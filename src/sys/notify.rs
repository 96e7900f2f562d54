//! What is told to the service manager (systemd), if one has started us and listens: ready, stopping, how it goes, that all still
//! moves. sd_notify(3); the watchdog is sd_watchdog_enabled(3).
//!
//! One datagram for each message to the socket that `NOTIFY_SOCKET` names, a path or (with `@`) an abstract name. Messages are rare,
//! so nothing is kept open between them.

use crate::limits;
use std::env;
use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// One thing to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Note<'a> {
    /// The start is over: clients are served.
    Ready,
    /// The end has begun.
    Stopping,
    /// A line for people; `systemctl status` shows the last. Further lines are joined to it.
    Status(&'a str),
    /// Why it failed, as errno.
    Errno(i32),
    /// The watchdog's period begins anew.
    Watchdog,
    /// What is going on (a start, an end) may take so long from now.
    ExtendTimeout(Duration),
}

/// A manager that does not read must not hold up the server.
const PATIENCE: Duration = Duration::from_secs(1);

/// Whether a service manager wants to be told.
pub fn is_managed() -> bool {
    env::var_os("NOTIFY_SOCKET").is_some_and(|name| !name.is_empty())
}

/// Tells the service manager, in one message. Without one, nothing happens.
///
/// Fails where its socket is of a kind that is not known here (it is neither a path nor abstract), or cannot be reached.
pub fn tell(notes: &[Note<'_>]) -> io::Result<()> {
    let Some(name) = env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty()) else { return Ok(()) };
    send(&name, notes)
}

fn send(name: &OsStr, notes: &[Note<'_>]) -> io::Result<()> {
    let socket = UnixDatagram::unbound()?;
    socket.set_write_timeout(Some(PATIENCE))?;
    socket.connect_addr(&address(name)?)?;
    // A datagram goes whole or not at all.
    socket.send(message(notes).as_bytes())?;
    Ok(())
}

/// `@name` is in the abstract namespace (unix(7)).
fn address(name: &OsStr) -> io::Result<SocketAddr> {
    match name.as_bytes() {
        [b'@', abstract_name @ ..] => SocketAddr::from_abstract_name(abstract_name),
        [b'/', ..] => SocketAddr::from_pathname(name),
        _ => Err(io::Error::other(format!("NOTIFY_SOCKET={} is no path and not abstract", name.display()))),
    }
}

fn message(notes: &[Note<'_>]) -> String {
    let line = |note: &Note<'_>| match note {
        Note::Ready => "READY=1\n".to_string(),
        Note::Stopping => "STOPPING=1\n".to_string(),
        Note::Status(text) => {
            let words: Vec<&str> = text.split_whitespace().collect();
            let mut line = words.join(" ");
            if line.len() > limits::STATUS_BYTES {
                let end = (0..=limits::STATUS_BYTES).rev().find(|end| line.is_char_boundary(*end));
                line.truncate(end.unwrap_or_default());
                line.push('…');
            }
            format!("STATUS={line}\n")
        }
        Note::Errno(errno) => format!("ERRNO={errno}\n"),
        Note::Watchdog => "WATCHDOG=1\n".to_string(),
        Note::ExtendTimeout(time) => format!("EXTEND_TIMEOUT_USEC={}\n", time.as_micros()),
    };
    notes.iter().map(line).collect()
}

/// Within which time the service manager wants to be told [`Note::Watchdog`] again; `None`: it keeps no watchdog over this process.
pub fn watchdog_period() -> Option<Duration> {
    let variable = |name| env::var(name).ok();
    watchdog_of(variable("WATCHDOG_USEC")?.as_str(), variable("WATCHDOG_PID").as_deref(), std::process::id())
}

fn watchdog_of(microseconds: &str, process: Option<&str>, own: u32) -> Option<Duration> {
    let ours = process.is_none_or(|process| process.parse() == Ok(own));
    let microseconds = microseconds.parse().ok().filter(|microseconds| *microseconds > 0 && ours)?;
    Some(Duration::from_micros(microseconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_lines() {
        let notes = [Note::Ready, Note::Status("cannot listen\n  Likely  another"), Note::Errno(98)];
        assert_eq!(message(&notes), "READY=1\nSTATUS=cannot listen Likely another\nERRNO=98\n");
        let notes = [Note::Stopping, Note::ExtendTimeout(Duration::from_secs(3_600)), Note::Watchdog];
        assert_eq!(message(&notes), "STOPPING=1\nEXTEND_TIMEOUT_USEC=3600000000\nWATCHDOG=1\n");
    }

    #[test]
    fn a_long_line_is_cut_so_that_the_manager_takes_it() {
        let long = "é".repeat(10_000);
        let text = message(&[Note::Status(&long), Note::Errno(98)]);
        assert!(text.len() < 4_096 && text.ends_with("é…\nERRNO=98\n"), "{} bytes", text.len());
    }

    #[test]
    fn both_kinds_of_sockets_are_reached() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let name = format!("kv-notify-{}", std::process::id());
        let by_name = SocketAddr::from_abstract_name(&name).unwrap();
        for (receiver, name) in [
            (UnixDatagram::bind(&path).unwrap(), path.clone().into_os_string()),
            (UnixDatagram::bind_addr(&by_name).unwrap(), format!("@{name}").into()),
        ] {
            send(&name, &[Note::Ready]).unwrap();
            let mut bytes = [0; 64];
            let len = receiver.recv(&mut bytes).unwrap();
            assert_eq!(&bytes[..len], b"READY=1\n");
        }
        assert!(send(OsStr::new("vsock:2:1"), &[Note::Ready]).is_err());
        assert!(send(OsStr::new("/nowhere/at/all"), &[Note::Ready]).is_err());
    }

    #[test]
    fn a_watchdog_may_be_for_somebody_else() {
        assert_eq!(watchdog_of("30000000", Some("7"), 7), Some(Duration::from_secs(30)));
        assert_eq!(watchdog_of("1000", None, 7), Some(Duration::from_millis(1)));
        for (microseconds, process) in [("30000000", Some("8")), ("0", None), ("", None), ("1", Some(""))] {
            assert_eq!(watchdog_of(microseconds, process, 7), None, "{microseconds} {process:?}");
        }
    }
}
