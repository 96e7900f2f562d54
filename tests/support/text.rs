//! A client of memcached's text protocol that sees bytes. Each exchange ends with `mn`, whose reply says that all others are there.

use super::PATIENCE;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};

const END: &[u8] = b"MN\r\n";

/// One connection.
#[derive(Debug)]
pub struct Text {
    pub stream: TcpStream,
}

impl Text {
    pub fn connect(address: SocketAddr) -> Text {
        let stream =
            TcpStream::connect(address).unwrap_or_else(|e| panic!("cannot connect to {address}: {e}"));
        stream.set_nodelay(true).expect("TCP_NODELAY");
        stream.set_write_timeout(Some(PATIENCE)).expect("a timeout can be set");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
        Text { stream }
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the server takes what we send");
    }

    /// Sends commands and returns all that is answered to them.
    pub fn ask(&mut self, commands: impl AsRef<[u8]>) -> Vec<u8> {
        self.send(&[commands.as_ref(), b"mn\r\n"].concat());
        self.answer()
    }

    /// The same as text, with `|` for the line ends.
    pub fn say(&mut self, commands: &str) -> String {
        let reply = self.ask(commands.replace('|', "\r\n"));
        String::from_utf8_lossy(&reply).replace("\r\n", "|")
    }

    /// All that is answered before `mn` is.
    pub fn answer(&mut self) -> Vec<u8> {
        let (mut reply, mut buffer) = (Vec::new(), vec![0; 256 << 10]);
        while !reply.ends_with(END) {
            let got = match self.stream.read(&mut buffer) {
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                other => other.unwrap_or_else(|e| panic!("{e} after {}", shown(&reply))),
            };
            assert!(got > 0, "closed after {}", shown(&reply));
            reply.extend_from_slice(&buffer[..got]);
        }
        reply.truncate(reply.len() - END.len());
        reply
    }

    /// All that comes until the server closes.
    pub fn read_to_close(&mut self) -> String {
        let mut reply = Vec::new();
        // A reset is a close: the server had not read all of ours.
        if let Err(error) = self.stream.read_to_end(&mut reply) {
            assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "after {}", shown(&reply));
        }
        shown(&reply)
    }
}

/// The end of it, which tells the most.
fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[bytes.len().saturating_sub(2_000)..]).replace("\r\n", "|")
}
