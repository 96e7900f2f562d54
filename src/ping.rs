//! `kv-server ping`: whether a server answers, for health checks where there is no other client.

use crate::limits;
use std::io::{self, BufRead, BufReader, ErrorKind, Write};
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
    #[error("{address} took the connection, but did not answer within {timeout_ms} ms")]
    Silent { address: SocketAddr, timeout_ms: u128 },
    #[error("{address} took the connection and ended it without an answer: {source}")]
    Closed { address: SocketAddr, source: io::Error },
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
    let silent = |source: io::Error| match source.kind() {
        // The kernel's name for a timeout of a socket (socket(7), SO_RCVTIMEO).
        ErrorKind::WouldBlock | ErrorKind::TimedOut => {
            PingError::Silent { address, timeout_ms: ping.timeout.as_millis() }
        }
        _ => PingError::Closed { address, source },
    };
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
        self.stream.get_ref().set_write_timeout(Some(left(self.deadline)))?;
        // A server that refuses may have closed already: what it said counts.
        let sent = self.stream.get_mut().write_all(&request);
        let mut line = Vec::new();
        let read = self.read_line(&mut line);
        if line.is_empty() {
            sent?;
            read?;
            return Err(io::Error::from(ErrorKind::UnexpectedEof));
        }
        Ok(String::from_utf8_lossy(&line).trim_end().to_string())
    }

    /// Up to the end of the line, of what is sent, or of the time: however little comes at a time.
    fn read_line(&mut self, line: &mut Vec<u8>) -> io::Result<()> {
        while !line.ends_with(b"\n") && line.len() < limits::PING_REPLY {
            let left = self.deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(io::Error::from(ErrorKind::TimedOut));
            }
            self.stream.get_ref().set_read_timeout(Some(left))?;
            let come = match self.stream.fill_buf() {
                // Not restarted by itself where a timeout is set (signal(7)).
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                come => come?,
            };
            let end = come.iter().position(|byte| *byte == b'\n').map_or(come.len(), |at| at + 1);
            if end == 0 {
                break;
            }
            line.extend_from_slice(&come[..end]);
            self.stream.consume(end);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::net::TcpListener;
    use std::thread::JoinHandle;

    /// A server that answers each request with the next line, and what it was sent.
    fn server(answers: &'static [&'static str]) -> (Ping, JoinHandle<Vec<u8>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let served = std::thread::spawn(move || {
            let (mut peer, _) = listener.accept().unwrap();
            let mut received = Vec::new();
            for answer in answers {
                let mut buffer = [0; 512];
                let n = peer.read(&mut buffer).unwrap();
                received.extend_from_slice(&buffer[..n]);
                peer.write_all(answer.as_bytes()).unwrap();
            }
            received
        });
        let timeout = Duration::from_secs(30);
        (Ping { host: "127.0.0.1".into(), port, password: Vec::new(), timeout }, served)
    }

    fn said(answers: &'static [&'static str], password: &str) -> Result<String, String> {
        let (ping, served) = server(answers);
        let said = run(&Ping { password: password.into(), ..ping }).map_err(|error| error.to_string());
        served.join().unwrap();
        said
    }

    #[test]
    fn a_pong_is_life() {
        let (ping, served) = server(&["+PONG\r\n"]);
        let text = run(&ping).unwrap();
        assert!(text.starts_with("PONG from 127.0.0.1:") && text.ends_with("µs"), "{text}");
        assert_eq!(served.join().unwrap(), b"*1\r\n$4\r\nPING\r\n");
    }

    #[test]
    fn a_password_is_given() {
        let (ping, served) = server(&["+OK\r\n", "+PONG\r\n"]);
        run(&Ping { password: b"se cret".to_vec(), ..ping }).unwrap();
        assert_eq!(served.join().unwrap(), b"*2\r\n$4\r\nAUTH\r\n$7\r\nse cret\r\n*1\r\n$4\r\nPING\r\n");
        let text = said(&["-ERR AUTH called without any password configured\r\n", "+PONG\r\n"], "x").unwrap();
        assert!(text.ends_with("it has no password"), "{text}");
    }

    #[test]
    fn a_refusal_is_life_too() {
        for (answers, password) in [
            (&["-NOAUTH Authentication required.\r\n"] as &[&str], ""),
            (&["-WRONGPASS no\r\n", "-NOAUTH Authentication required.\r\n"], "x"),
            (&["-DENIED protected mode\r\n"], ""),
            (&["-ERR max number of clients reached\r\n"], ""),
        ] {
            let text = said(answers, password).unwrap();
            assert!(text.contains("is alive, but refuses this client: "), "{text}");
        }
    }

    #[test]
    fn what_is_no_answer_is_told() {
        assert!(said(&["HTTP/1.1 400 Bad Request\r\n"], "").unwrap_err().contains("no server that speaks"));
        assert!(said(&["-ERR unknown command\r\n"], "").unwrap_err().contains("unknown command"));
        assert!(said(&[""], "").unwrap_err().contains("without an answer"));
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let nobody = Ping {
            host: "127.0.0.1".into(),
            port: free,
            password: Vec::new(),
            timeout: Duration::from_secs(30),
        };
        assert!(run(&nobody).unwrap_err().to_string().contains("nothing listens"));
        assert!(run(&Ping { host: String::new(), ..nobody }).is_err());
    }

    #[test]
    fn silence_ends_in_time() {
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let ping = Ping {
            host: "127.0.0.1".into(),
            port: silent.local_addr().unwrap().port(),
            password: Vec::new(),
            timeout: Duration::from_millis(50),
        };
        let text = run(&ping).unwrap_err().to_string();
        assert!(text.contains("did not answer within 50 ms"), "{text}");
    }

    #[test]
    fn a_reply_that_never_comes_to_an_end_ends_in_time() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let ping = Ping {
            host: "127.0.0.1".into(),
            port: listener.local_addr().unwrap().port(),
            password: Vec::new(),
            timeout: Duration::from_millis(200),
        };
        // A byte comes in much less than the timeout, again and again, until nobody reads any more.
        let drip = std::thread::spawn(move || {
            let (mut peer, _) = listener.accept().unwrap();
            (0..limits::PING_REPLY)
                .take_while(|_| {
                    std::thread::sleep(Duration::from_millis(20));
                    peer.write_all(b"+").is_ok()
                })
                .count()
        });
        assert!(run(&ping).is_err());
        let sent = drip.join().unwrap();
        assert!(sent < limits::PING_REPLY, "it was read to the last byte");
    }
}
