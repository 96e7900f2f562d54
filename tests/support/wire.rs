//! A client that sees bytes: sends what it is told, reads RESP2 and RESP3 replies whole, keeps their raw form.

use super::PATIENCE;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// A reply, as its type byte says.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `+`
    Simple(String),
    /// `-`
    Error(String),
    /// `:`
    Int(i64),
    /// `$`, also `=` (verbatim) and `!` (error) of RESP3
    Bulk(Vec<u8>),
    /// `$-1`, `*-1` or `_`
    Nil,
    /// `*`, `~` or `>`
    Array(Vec<Value>),
    /// `%`
    Map(Vec<(Value, Value)>),
    /// `,` and `(`, as text
    Number(String),
    /// `#`
    Bool(bool),
}

impl Value {
    /// The bytes of a bulk or simple string.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Value::Bulk(bytes) => bytes,
            Value::Simple(text) | Value::Error(text) => text.as_bytes(),
            other => panic!("not a string: {other:?}"),
        }
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(self.bytes()).into_owned()
    }

    pub fn int(&self) -> i64 {
        match self {
            Value::Int(n) => *n,
            other => panic!("not an integer: {other:?}"),
        }
    }

    pub fn array(&self) -> &[Value] {
        match self {
            Value::Array(items) => items,
            other => panic!("not an array: {other:?}"),
        }
    }

    pub fn is_error(&self) -> bool {
        matches!(self, Value::Error(_))
    }
}

/// A bulk string to compare replies with.
pub fn bulk(bytes: impl AsRef<[u8]>) -> Value {
    Value::Bulk(bytes.as_ref().to_vec())
}

/// Why there is no reply.
#[derive(Clone, Debug, PartialEq)]
pub enum WireError {
    Closed,
    TimedOut,
    /// The bytes that are no RESP.
    Garbage(Vec<u8>),
}

/// A command as clients send it: an array of bulk strings.
pub fn encode<A: AsRef<[u8]>>(arguments: &[A]) -> Vec<u8> {
    let mut out = format!("*{}\r\n", arguments.len()).into_bytes();
    for argument in arguments {
        let argument = argument.as_ref();
        out.extend_from_slice(format!("${}\r\n", argument.len()).as_bytes());
        out.extend_from_slice(argument);
        out.extend_from_slice(b"\r\n");
    }
    out
}

/// A command given as words.
pub fn resp(line: &str) -> Vec<u8> {
    encode(&line.split_whitespace().collect::<Vec<_>>())
}

/// One connection.
#[derive(Debug)]
pub struct Conn {
    pub stream: TcpStream,
    received: Vec<u8>,
    /// Where in `received` the next reply starts.
    start: usize,
}

impl Conn {
    pub fn connect(address: SocketAddr) -> Conn {
        Conn::over(TcpStream::connect(address).unwrap_or_else(|e| panic!("cannot connect to {address}: {e}")))
    }

    pub fn over(stream: TcpStream) -> Conn {
        stream.set_nodelay(true).expect("TCP_NODELAY");
        stream.set_write_timeout(Some(PATIENCE)).expect("a timeout can be set");
        let mut conn = Conn { stream, received: Vec::new(), start: 0 };
        conn.set_patience(PATIENCE);
        conn
    }

    /// How long a read may take.
    pub fn set_patience(&mut self, patience: Duration) {
        self.stream.set_read_timeout(Some(patience)).expect("a timeout can be set");
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.try_send(bytes).expect("the server takes what we send");
    }

    pub fn try_send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Sends a command and reads its reply.
    pub fn command<A: AsRef<[u8]>>(&mut self, arguments: &[A]) -> Value {
        self.send(&encode(arguments));
        self.read()
    }

    /// As [`Conn::command`], for a command without spaces in its arguments.
    pub fn run(&mut self, line: &str) -> Value {
        self.send(&resp(line));
        self.read()
    }

    /// Reads one reply.
    pub fn read(&mut self) -> Value {
        self.try_read().map_or_else(|e| panic!("no reply: {e:?}"), |(value, _)| value)
    }

    /// Reads one reply and its raw bytes.
    pub fn try_read(&mut self) -> Result<(Value, Vec<u8>), WireError> {
        loop {
            let unread = &self.received[self.start..];
            match parse(unread) {
                Parsed::Reply(value, length) => {
                    let raw = unread[..length].to_vec();
                    self.start += length;
                    return Ok((value, raw));
                }
                Parsed::Garbage => return Err(WireError::Garbage(unread.to_vec())),
                Parsed::Short(missing) => self.receive(missing)?,
            }
        }
    }

    /// Reads exactly this many bytes, whatever they are.
    pub fn read_exact(&mut self, length: usize) -> Vec<u8> {
        while self.received.len() - self.start < length {
            let missing = length - (self.received.len() - self.start);
            self.receive(missing).expect("as many bytes as announced");
        }
        let bytes = self.received[self.start..self.start + length].to_vec();
        self.start += length;
        bytes
    }

    /// Reads until the server closes the connection, and returns what it still said.
    pub fn read_to_close(&mut self) -> Result<Vec<u8>, WireError> {
        loop {
            match self.receive(1) {
                Ok(()) => {}
                Err(WireError::Closed) => return Ok(self.received.split_off(self.start)),
                Err(other) => return Err(other),
            }
        }
    }

    /// Whether the server has closed the connection; waits for it.
    pub fn expect_closed(&mut self) {
        assert_eq!(self.read_to_close().as_deref(), Ok(&[][..]), "the server should close and say no more");
    }

    /// Nothing more is unread, neither here nor, for the given time, on the wire.
    pub fn expect_silence(&mut self, time: Duration) {
        assert_eq!(&self.received[self.start..], b"", "an unread reply");
        self.set_patience(time);
        assert_eq!(self.receive(1), Err(WireError::TimedOut), "{:?}", &self.received[self.start..]);
        self.set_patience(PATIENCE);
    }

    /// Whether a reply has begun to arrive, or does within this time.
    pub fn has_bytes_within(&mut self, time: Duration) -> bool {
        if self.start == self.received.len() {
            self.set_patience(time);
            let received = self.receive(1);
            self.set_patience(PATIENCE);
            return received.is_ok();
        }
        true
    }

    /// Receives at least one byte; asks for `missing` where that is many.
    fn receive(&mut self, missing: usize) -> Result<(), WireError> {
        if self.start > 1 << 20 || self.start == self.received.len() {
            self.received.drain(..self.start);
            self.start = 0;
        }
        let old = self.received.len();
        self.received.resize(old + missing.clamp(64 << 10, 4 << 20), 0);
        let result = loop {
            match self.stream.read(&mut self.received[old..]) {
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                other => break other,
            }
        };
        self.received.truncate(old + *result.as_ref().unwrap_or(&0));
        match result {
            Ok(0) => Err(WireError::Closed),
            Ok(_) => Ok(()),
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                Err(WireError::TimedOut)
            }
            // A reset is a close: what the server had not read of ours makes the kernel say so.
            Err(e) if matches!(e.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => {
                Err(WireError::Closed)
            }
            Err(e) => panic!("cannot receive: {e}"),
        }
    }
}

enum Parsed {
    /// A reply and its length.
    Reply(Value, usize),
    /// At least this much is missing.
    Short(usize),
    Garbage,
}

/// Parses the reply at the start of `bytes`.
fn parse(bytes: &[u8]) -> Parsed {
    let Some(end) = bytes.windows(2).position(|w| w == b"\r\n") else {
        return Parsed::Short(1);
    };
    // An error may quote binary arguments; who compares bytes has them raw.
    let head = String::from_utf8_lossy(&bytes[1..end.max(1)]);
    let after = end + 2;
    let number = head.parse::<i64>();
    let done = |value| Parsed::Reply(value, after);
    match (bytes[0], number) {
        (b'+', _) => done(Value::Simple(head.into_owned())),
        (b'-', _) => done(Value::Error(head.into_owned())),
        (b',' | b'(', _) => done(Value::Number(head.into_owned())),
        (b'#', _) => done(Value::Bool(head == "t")),
        (b'_', _) | (b'$' | b'*', Ok(-1)) => done(Value::Nil),
        (b':', Ok(n)) => done(Value::Int(n)),
        (b'$' | b'=' | b'!', Ok(length)) => match usize::try_from(length) {
            Ok(length) if bytes.len() >= after + length + 2 => {
                Parsed::Reply(Value::Bulk(bytes[after..after + length].to_vec()), after + length + 2)
            }
            Ok(length) => Parsed::Short(after + length + 2 - bytes.len()),
            Err(_) => Parsed::Garbage,
        },
        (b'*' | b'~' | b'>', Ok(count)) => parse_items(bytes, after, count, Value::Array),
        (b'%', Ok(pairs)) => parse_items(bytes, after, pairs * 2, |items| {
            let mut items = items.into_iter();
            let mut map = Vec::new();
            while let (Some(key), Some(value)) = (items.next(), items.next()) {
                map.push((key, value));
            }
            Value::Map(map)
        }),
        _ => Parsed::Garbage,
    }
}

fn parse_items(bytes: &[u8], mut at: usize, count: i64, make: impl FnOnce(Vec<Value>) -> Value) -> Parsed {
    let mut items = Vec::new();
    for _ in 0..count {
        if at == bytes.len() {
            return Parsed::Short(1);
        }
        match parse(&bytes[at..]) {
            Parsed::Reply(value, length) => {
                items.push(value);
                at += length;
            }
            other => return other,
        }
    }
    Parsed::Reply(make(items), at)
}
