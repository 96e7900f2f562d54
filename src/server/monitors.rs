//! MONITOR: who is sent a line for every command that the server executes, and how the line looks.

use super::clients::ClientEntry;
use super::mailbox::{Push, shared_bytes};
use super::shared::Shared;
use crate::limits;
use parking_lot::Mutex;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Those who monitor.
#[derive(Debug, Default)]
pub struct Monitors {
    count: AtomicUsize,
    clients: Mutex<Vec<Arc<ClientEntry>>>,
}

impl Monitors {
    /// Whether anybody monitors.
    #[inline]
    pub fn any(&self) -> bool {
        self.count.load(Relaxed) > 0
    }

    pub(super) fn add(&self, client: Arc<ClientEntry>) {
        let mut clients = self.clients.lock();
        clients.push(client);
        self.count.store(clients.len(), Relaxed);
    }

    pub(super) fn remove(&self, id: u64) {
        let mut clients = self.clients.lock();
        clients.retain(|client| client.id != id);
        self.count.store(clients.len(), Relaxed);
    }
}

impl Shared {
    /// Sends lines to all who monitor; takes them.
    pub fn show_monitors(&self, lines: &mut Vec<u8>) {
        if lines.is_empty() {
            return;
        }
        let lines = shared_bytes(std::mem::take(lines), self.store.budget());
        let clients = self.monitors.clients.lock().clone();
        let mut wakes = self.wakes();
        for client in &clients {
            self.push_to(client, Push::Raw(lines.clone()), &mut wakes);
        }
    }
}

/// Appends one command as Redis shows it: `+seconds.micros [db address] "name" "argument"…`. `secrets` are the arguments that nobody is to
/// read. `protocol` follows the address, with a space in front, where it is not Redis's. Long ones are cut, unlike there: a line must not be as long as the largest value.
pub fn write_line(
    out: &mut Vec<u8>,
    now_us: u64,
    (db, address, protocol): (u8, SocketAddr, &str),
    args: &[&[u8]],
    secrets: std::ops::Range<usize>,
) {
    // Writing to memory does not fail.
    let _ = write!(out, "+{}.{:06} [{db} {address}{protocol}]", now_us / 1_000_000, now_us % 1_000_000);
    for (n, arg) in args.iter().take(limits::MONITOR_ARGS).enumerate() {
        out.extend_from_slice(b" \"");
        if secrets.contains(&n) {
            out.extend_from_slice(b"(redacted)");
        } else {
            let shown = arg.len().min(limits::MONITOR_ARG_BYTES);
            arg[..shown].iter().for_each(|byte| escaped(*byte, out));
            if shown < arg.len() {
                let _ = write!(out, "... ({} more bytes)", arg.len() - shown);
            }
        }
        out.push(b'"');
    }
    if args.len() > limits::MONITOR_ARGS {
        let _ = write!(out, " \"... ({} more arguments)\"", args.len() - limits::MONITOR_ARGS);
    }
    out.extend_from_slice(b"\r\n");
}

fn escaped(byte: u8, out: &mut Vec<u8>) {
    match byte {
        b'\\' | b'"' => out.extend_from_slice(&[b'\\', byte]),
        b'\n' => out.extend_from_slice(b"\\n"),
        b'\r' => out.extend_from_slice(b"\\r"),
        b'\t' => out.extend_from_slice(b"\\t"),
        7 => out.extend_from_slice(b"\\a"),
        8 => out.extend_from_slice(b"\\b"),
        b' '..=b'~' => out.push(byte),
        _ => _ = write!(out, "\\x{byte:02x}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_what_redis_prints() {
        let mut out = Vec::new();
        let address = "127.0.0.1:5000".parse().unwrap();
        let args: [&[u8]; 3] = [b"SET", b"k", b"v\n\"x\\\x01\xff"];
        write_line(&mut out, 1_795_654_556_000_591, (3, address, ""), &args, 0..0);
        write_line(&mut out, 1_000_000, (0, address, " http"), &[b"AUTH", b"user", b"secret"], 1..3);
        let text = String::from_utf8(out).unwrap();
        assert_eq!(
            text,
            "+1795654556.000591 [3 127.0.0.1:5000] \"SET\" \"k\" \"v\\n\\\"x\\\\\\x01\\xff\"\r\n\
             +1.000000 [0 127.0.0.1:5000 http] \"AUTH\" \"(redacted)\" \"(redacted)\"\r\n"
        );
    }

    #[test]
    fn a_line_is_bounded() {
        let mut out = Vec::new();
        let long = vec![b'x'; limits::MONITOR_ARG_BYTES + 7];
        let mut args: Vec<&[u8]> = vec![b"k"; limits::MONITOR_ARGS + 2];
        args[1] = &long;
        write_line(&mut out, 0, (0, "127.0.0.1:5000".parse().unwrap(), ""), &args, 0..0);
        let text = String::from_utf8(out).unwrap();
        assert!(text.contains("xxx... (7 more bytes)\" \"k\""));
        assert!(text.ends_with("\"k\" \"... (2 more arguments)\"\r\n"), "{}", &text[text.len() - 60..]);
    }
}
