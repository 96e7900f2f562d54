//! Connections: made one by one, and asked one harmless question each, so that a wrong password, a protected server or another
//! protocol is known before anything is measured.

use super::session::{http, memcached};
use super::{Error, Spec};
use crate::proto::{MAGIC, Protobuf, Protocol, Reply, Scan, Wire};
use crate::workload::Names;
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

/// A connection besides those of the load, logged in.
pub fn open_stream(spec: &Spec) -> Result<TcpStream, Error> {
    connect(&resolve(&spec.target)?, spec, spec.patience).map(TcpStream::from)
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
        Protocol::Memcached => ask_for_a_key(stream, spec, &memcached(spec, names(spec)?)?),
        Protocol::Http => ask_for_a_key(stream, spec, &http(spec, names(spec)?)?),
        Protocol::Protobuf => {
            let wire = Protobuf::new(names(spec)?, spec.ttl);
            let mut begin = MAGIC.to_vec();
            if let Some(password) = &spec.password {
                begin.extend(Protobuf::login(spec.user.as_deref().unwrap_or_default(), password));
                ask(stream, spec, "logging in", &begin, &wire)?;
                begin.clear();
            }
            wire.put_get(0, &mut begin);
            ask(stream, spec, "connecting", &begin, &wire)
        }
    }
}

fn names(spec: &Spec) -> Result<Names, Error> {
    Names::new(spec.keys, spec.key_size).map_err(Error::new)
}

fn ask_for_a_key<W: Wire>(stream: &TcpStream, spec: &Spec, wire: &W) -> Result<(), Error> {
    let mut request = Vec::new();
    wire.put_get(0, &mut request);
    ask(stream, spec, "connecting", &request, wire)
}

/// Sends, and reads one reply whole, which must be none that refuses.
fn ask<W: Wire>(
    mut stream: &TcpStream,
    spec: &Spec,
    doing: &str,
    request: &[u8],
    wire: &W,
) -> Result<(), Error> {
    let target = &spec.target;
    stream.write_all(request).map_err(|error| silent(&error, doing, target))?;
    let (mut received, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        match wire.scan(&received, &mut W::Resume::default()) {
            Scan::Reply(Reply::Error(text), _) => {
                let text = String::from_utf8_lossy(text);
                return Err(Error::refused(&format!("{doing} to {target}"), &text));
            }
            Scan::Reply(_, len) if len == received.len() => return Ok(()),
            Scan::Reply(..) | Scan::Garbage => return Err(another_protocol(spec, &received)),
            Scan::Incomplete { .. } => {}
        }
        match stream.read(&mut buffer) {
            Ok(0) if received.is_empty() => {
                return Err(silent(&ErrorKind::ConnectionReset.into(), doing, target));
            }
            Ok(0) => return Err(another_protocol(spec, &received)),
            Ok(count) => received.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) if !received.is_empty() => return Err(another_protocol(spec, &received)),
            Err(error) => return Err(silent(&error, doing, target)),
        }
    }
}

fn another_protocol(spec: &Spec, received: &[u8]) -> Error {
    let text = String::from_utf8_lossy(received);
    let shown: String = text.trim_end().chars().take(100).collect();
    Error::but(
        format!("{} does not speak {}: it answered {shown:?}", spec.target, spec.protocol.name()),
        "see whether the port is right, or choose another --protocol",
    )
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
    Err(another_protocol(spec, &line))
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
