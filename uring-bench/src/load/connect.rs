//! Connections: made one by one, and asked one harmless question each, so that a wrong password, a protected server or another
//! protocol is known before anything is measured.

use super::{Error, Spec};
use crate::proto::Protocol;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::os::fd::OwnedFd;
use std::time::Duration;

/// The addresses behind `host:port`.
pub fn resolve(target: &str) -> Result<Vec<SocketAddr>, Error> {
    let hint = "--target takes host:port, such as 127.0.0.1:7171 or [::1]:7171";
    match target.to_socket_addrs() {
        Ok(addresses) => Ok(addresses.collect()),
        Err(error) => Err(Error::but(format!("cannot resolve {target}: {error}"), hint)),
    }
}

/// A connection that the server has answered on.
pub fn connect(addresses: &[SocketAddr], spec: &Spec, patience: Duration) -> Result<OwnedFd, Error> {
    let stream = open(addresses, &spec.target, patience)?;
    let talk = |stream: &TcpStream| {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(patience))?;
        stream.set_write_timeout(Some(patience))
    };
    talk(&stream)?;
    greet(&stream, spec)?;
    stream.set_read_timeout(None)?;
    stream.set_write_timeout(None)?;
    Ok(stream.into())
}

fn open(addresses: &[SocketAddr], target: &str, patience: Duration) -> Result<TcpStream, Error> {
    let mut last = None;
    for address in addresses {
        match TcpStream::connect_timeout(address, patience) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = Some(error),
        }
    }
    let error = last.unwrap_or_else(|| ErrorKind::AddrNotAvailable.into());
    let next = match (error.kind(), error.raw_os_error()) {
        (ErrorKind::ConnectionRefused, _) => {
            "nobody listens there: start the server, or see whether the port is right"
        }
        (ErrorKind::TimedOut, _) => "no answer: a firewall, or the machine is not there",
        (_, Some(libc::EMFILE)) => {
            "out of descriptors: raise the limit (ulimit -n), or use fewer -c connections"
        }
        (ErrorKind::AddrNotAvailable, _) => {
            "out of local ports: widen net.ipv4.ip_local_port_range, or use fewer -c connections"
        }
        _ => "see whether the address is right and the network reaches it",
    };
    Err(Error::but(format!("cannot connect to {target}: {error}"), next))
}

/// Logs in where a password was given, and asks something whose answer changes nothing.
fn greet(stream: &TcpStream, spec: &Spec) -> Result<(), Error> {
    match spec.protocol {
        Protocol::Resp => {
            if let Some(password) = &spec.password {
                let user = spec.user.as_deref();
                let words: Vec<&str> = ["AUTH"].into_iter().chain(user).chain([password.as_str()]).collect();
                expect(stream, spec, "logging in", &command(&words), b"+OK")?;
            }
            expect(stream, spec, "connecting", &command(&["PING"]), b"+PONG")
        }
        Protocol::Json => {
            expect(stream, spec, "connecting", b"{\"key\":\"uring-bench\"}\n", b"{\"status\":\"OK\"")
        }
    }
}

fn command(words: &[&str]) -> Vec<u8> {
    let arguments: String = words.iter().map(|word| format!("${}\r\n{word}\r\n", word.len())).collect();
    format!("*{}\r\n{arguments}", words.len()).into_bytes()
}

/// Sends, and reads one line (or JSON object, which holds no line break) that must begin as told.
fn expect(
    mut stream: &TcpStream,
    spec: &Spec,
    doing: &str,
    request: &[u8],
    start: &[u8],
) -> Result<(), Error> {
    let target = &spec.target;
    stream.write_all(request).map_err(|error| silent(&error, doing, target))?;
    let mut line = Vec::new();
    while !line.ends_with(b"\n") && !line.ends_with(b"}") && line.len() < 4096 {
        let mut byte = [0];
        match stream.read(&mut byte) {
            Ok(0) if line.is_empty() => {
                return Err(silent(&ErrorKind::ConnectionReset.into(), doing, target));
            }
            Ok(0) => break,
            Ok(_) => line.push(byte[0]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // Half a line says more than that the rest of it is late.
            Err(_) if !line.is_empty() => break,
            Err(error) => return Err(silent(&error, doing, target)),
        }
    }
    if line.starts_with(start) {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&line).trim_end().to_owned();
    if let Some(refusal) = text.strip_prefix('-') {
        return Err(Error::refused(&format!("{doing} to {target}"), refusal));
    }
    if spec.protocol == Protocol::Json && text.starts_with("{\"status\":\"ERROR\"") {
        return Err(Error::refused(&format!("{doing} to {target}"), &text));
    }
    let shown: String = text.chars().take(100).collect();
    Err(Error::but(
        format!("{target} does not speak {}: it answered {shown:?}", spec.protocol.name()),
        "see whether the port is right, or choose another --protocol",
    ))
}

fn silent(error: &std::io::Error, doing: &str, target: &str) -> Error {
    let (what, next) = match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => {
            ("took the connection and says nothing", "is it stopped, overloaded, or another kind of server?")
        }
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::UnexpectedEof => (
            "closed the connection",
            "its log should say why; it may be out of clients, or take only local ones",
        ),
        _ => return Error::new(format!("{doing} to {target}: {error}")),
    };
    Error::but(format!("{target} {what}"), next)
}
