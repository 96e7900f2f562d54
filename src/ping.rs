//! `kv-server ping`: whether a server answers, for health checks where there is no other client.

use crate::limits;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

/// Whom to ask, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ping {
    /// A name or an address.
    pub host: String,
    pub port: u16,
    /// Empty: none is given.
    pub password: Vec<u8>,
    /// For all of it.
    pub timeout: Duration,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum PingError {
    #[error("{host} is not known: {source}")]
    Name { host: String, source: io::Error },
    #[error(
        "nothing listens on {address}: {source}. Is the server running, and is this its port (--port, KV_PORT)?"
    )]
    Connect { address: SocketAddr, source: io::Error },
    #[error("{address} accepted, but did not answer within {timeout_ms} ms: {source}")]
    Silent { address: SocketAddr, timeout_ms: u128, source: io::Error },
    #[error("{address} is no server that speaks Redis's protocol: it said {said:?}")]
    Foreign { address: SocketAddr, said: String },
}

/// Asks, and says who answered what. A server that refuses to serve this client is alive all the same.
pub fn run(ping: &Ping) -> Result<String, PingError> {
    let deadline = Instant::now() + ping.timeout;
    let name_error = |source| PingError::Name { host: ping.host.clone(), source };
    let addresses: Vec<SocketAddr> =
        (ping.host.as_str(), ping.port).to_socket_addrs().map_err(name_error)?.collect();
    let mut last = Err(name_error(io::Error::other("it has no address")));
    for address in addresses {
        last = ask(ping, address, deadline);
        if last.is_ok() {
            break;
        }
    }
    last
}

fn ask(ping: &Ping, address: SocketAddr, deadline: Instant) -> Result<String, PingError> {
    let started = Instant::now();
    let stream = TcpStream::connect_timeout(&address, left(deadline))
        .map_err(|source| PingError::Connect { address, source })?;
    let silent = |source| PingError::Silent { address, timeout_ms: ping.timeout.as_millis(), source };
    let mut conversation = Conversation { stream: BufReader::new(stream), deadline };
    let mut refused = None;
    if !ping.password.is_empty() {
        let reply = conversation.say(&[b"AUTH", &ping.password]).map_err(silent)?;
        refused = (reply != "+OK").then_some(reply);
    }
    let reply = conversation.say(&[b"PING"]).map_err(silent)?;
    let micros = started.elapsed().as_micros();
    match (reply.as_str(), refused) {
        ("+PONG", None) => Ok(format!("PONG from {address} in {micros} µs")),
        // A server without a password refuses one that it is given.
        ("+PONG", Some(_)) => Ok(format!("PONG from {address} in {micros} µs; it has no password")),
        (refusal, _) if is_refusal(refusal) => {
            Ok(format!("{address} is alive, but refuses this client: {}", &refusal[1..]))
        }
        _ => Err(PingError::Foreign { address, said: reply }),
    }
}

/// The refusals of a server that works: a password is wanted, protected mode, no more clients.
fn is_refusal(reply: &str) -> bool {
    ["-NOAUTH ", "-WRONGPASS ", "-DENIED ", "-ERR max number of clients"].iter().any(|r| reply.starts_with(r))
}

/// What is left of the time; never zero, which would mean "for ever".
fn left(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1))
}

struct Conversation {
    stream: BufReader<TcpStream>,
    deadline: Instant,
}

impl Conversation {
    /// Sends one command and reads one line, without its end.
    fn say(&mut self, words: &[&[u8]]) -> io::Result<String> {
        let mut request = format!("*{}\r\n", words.len()).into_bytes();
        for word in words {
            request.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
            request.extend_from_slice(word);
            request.extend_from_slice(b"\r\n");
        }
        let timeout = Some(left(self.deadline));
        self.stream.get_ref().set_write_timeout(timeout)?;
        self.stream.get_ref().set_read_timeout(timeout)?;
        // A server that refuses may have closed already: what it said counts.
        let sent = self.stream.get_mut().write_all(&request);
        let mut line = Vec::new();
        let read = (&mut self.stream).take(limits::PING_REPLY as u64).read_until(b'\n', &mut line);
        if line.is_empty() {
            sent?;
            read?;
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
        }
        Ok(String::from_utf8_lossy(&line).trim_end().to_string())
    }
}
