//! A client of memcached's binary protocol that sees packets: builds requests, reads replies whole.

use crate::support::Conn;
use std::net::SocketAddr;

pub const GET: u8 = 0x00;
pub const SET: u8 = 0x01;
pub const ADD: u8 = 0x02;
pub const REPLACE: u8 = 0x03;
pub const DELETE: u8 = 0x04;
pub const INCREMENT: u8 = 0x05;
pub const DECREMENT: u8 = 0x06;
pub const QUIT: u8 = 0x07;
pub const FLUSH: u8 = 0x08;
pub const GETQ: u8 = 0x09;
pub const NOOP: u8 = 0x0a;
pub const VERSION: u8 = 0x0b;
pub const GETK: u8 = 0x0c;
pub const GETKQ: u8 = 0x0d;
pub const APPEND: u8 = 0x0e;
pub const PREPEND: u8 = 0x0f;
pub const STAT: u8 = 0x10;
pub const SETQ: u8 = 0x11;
pub const ADDQ: u8 = 0x12;
pub const REPLACEQ: u8 = 0x13;
pub const DELETEQ: u8 = 0x14;
pub const INCREMENTQ: u8 = 0x15;
pub const DECREMENTQ: u8 = 0x16;
pub const QUITQ: u8 = 0x17;
pub const FLUSHQ: u8 = 0x18;
pub const APPENDQ: u8 = 0x19;
pub const PREPENDQ: u8 = 0x1a;
pub const VERBOSITY: u8 = 0x1b;
pub const TOUCH: u8 = 0x1c;
pub const GAT: u8 = 0x1d;
pub const GATQ: u8 = 0x1e;
pub const SASL_LIST_MECHS: u8 = 0x20;
pub const SASL_AUTH: u8 = 0x21;
pub const SASL_STEP: u8 = 0x22;
pub const GATK: u8 = 0x23;
pub const GATKQ: u8 = 0x24;

/// A request before it is bytes.
#[derive(Clone, Default)]
pub struct Packet {
    pub opcode: u8,
    pub extras: Vec<u8>,
    pub key: Vec<u8>,
    pub value: Vec<u8>,
    pub opaque: u32,
    pub cas: u64,
}

impl std::fmt::Debug for Packet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "[{:#04x} opaque {} {}]",
            self.opcode,
            self.opaque,
            parts(&self.extras, &self.key, &self.value)
        )
    }
}

/// A body as failures show it.
fn parts(extras: &[u8], key: &[u8], value: &[u8]) -> String {
    let start = &value[..value.len().min(60)];
    let (key, start) = (key.escape_ascii(), start.escape_ascii());
    format!("extras {extras:?} key \"{key}\" value \"{start}\" ({} bytes)", value.len())
}

impl Packet {
    pub fn new(opcode: u8) -> Packet {
        Packet { opcode, ..Packet::default() }
    }

    pub fn on(opcode: u8, key: impl AsRef<[u8]>) -> Packet {
        Packet { key: key.as_ref().to_vec(), ..Packet::new(opcode) }
    }

    /// SET, ADD, REPLACE and their quiet forms.
    pub fn store(opcode: u8, key: &str, value: impl AsRef<[u8]>, flags: u32, expiry: u32) -> Packet {
        let extras = [flags.to_be_bytes(), expiry.to_be_bytes()].concat();
        Packet { extras, value: value.as_ref().to_vec(), ..Packet::on(opcode, key) }
    }

    pub fn count(opcode: u8, key: &str, delta: u64, initial: u64, expiry: u32) -> Packet {
        let extras = [&delta.to_be_bytes()[..], &initial.to_be_bytes(), &expiry.to_be_bytes()].concat();
        Packet { extras, ..Packet::on(opcode, key) }
    }

    /// TOUCH, GAT and its kin, FLUSH with its delay.
    pub fn with_seconds(self, seconds: u32) -> Packet {
        Packet { extras: seconds.to_be_bytes().to_vec(), ..self }
    }

    pub fn with_value(self, value: impl AsRef<[u8]>) -> Packet {
        Packet { value: value.as_ref().to_vec(), ..self }
    }

    pub fn with_cas(self, cas: u64) -> Packet {
        Packet { cas, ..self }
    }

    pub fn bytes(&self) -> Vec<u8> {
        let body_len = self.extras.len() + self.key.len() + self.value.len();
        let mut bytes = vec![0x80, self.opcode];
        bytes.extend(u16::try_from(self.key.len()).expect("a key").to_be_bytes());
        bytes.extend([u8::try_from(self.extras.len()).expect("extras"), 0, 0, 0]);
        bytes.extend(u32::try_from(body_len).expect("a body").to_be_bytes());
        bytes.extend(self.opaque.to_be_bytes());
        bytes.extend(self.cas.to_be_bytes());
        for part in [&self.extras, &self.key, &self.value] {
            bytes.extend_from_slice(part);
        }
        bytes
    }
}

/// A whole reply.
#[derive(Clone, PartialEq)]
pub struct Reply {
    pub opcode: u8,
    pub status: u16,
    pub opaque: u32,
    pub cas: u64,
    pub extras: Vec<u8>,
    pub key: Vec<u8>,
    pub value: Vec<u8>,
}

impl std::fmt::Debug for Reply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "[{:#04x} status {:#x} opaque {}", self.opcode, self.status, self.opaque)?;
        write!(f, " cas {} {}]", self.cas, parts(&self.extras, &self.key, &self.value))
    }
}

impl Reply {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.value).into_owned()
    }

    /// Opcode, status, value.
    pub fn brief(&self) -> (u8, u16, String) {
        (self.opcode, self.status, self.text())
    }
}

/// A connection that speaks in packets.
#[derive(Debug)]
pub struct Client {
    pub conn: Conn,
}

impl Client {
    pub fn connect(address: SocketAddr) -> Client {
        Client { conn: Conn::connect(address) }
    }

    pub fn send(&mut self, packets: &[Packet]) {
        self.conn.send(&packets.iter().flat_map(Packet::bytes).collect::<Vec<u8>>());
    }

    pub fn read(&mut self) -> Reply {
        let header = self.conn.read_exact(24);
        reply(&header, |length| self.conn.read_exact(length))
    }

    /// Sends one packet and reads its reply.
    pub fn ask(&mut self, packet: Packet) -> Reply {
        self.send(&[packet]);
        self.read()
    }

    /// Sends packets and a NOOP behind them; returns what is answered before the NOOP is.
    pub fn batch(&mut self, packets: &[Packet]) -> Vec<Reply> {
        let end = Packet { opaque: u32::MAX, ..Packet::new(NOOP) };
        self.send(&[packets, &[end]].concat());
        let mut replies = Vec::new();
        loop {
            let reply = self.read();
            if reply.opaque == u32::MAX {
                assert_eq!((reply.opcode, reply.status), (NOOP, 0));
                return replies;
            }
            replies.push(reply);
        }
    }

    /// Reads replies until the server closes.
    pub fn read_to_close(&mut self) -> Vec<Reply> {
        let bytes = self.conn.read_to_close().expect("the server closes");
        let (mut rest, mut replies) = (&bytes[..], Vec::new());
        while !rest.is_empty() {
            let (header, mut after) = rest.split_at(24);
            replies.push(reply(header, |length| {
                let (part, more) = after.split_at(length);
                after = more;
                part.to_vec()
            }));
            rest = after;
        }
        replies
    }
}

fn reply(header: &[u8], mut more: impl FnMut(usize) -> Vec<u8>) -> Reply {
    let number = |at: usize, len: usize| {
        header[at..at + len].iter().fold(0_u64, |number, byte| number << 8 | u64::from(*byte))
    };
    let (key_len, extras_len, body_len) =
        (number(2, 2) as usize, usize::from(header[4]), number(8, 4) as usize);
    assert_eq!((header[0], header[5]), (0x81, 0), "a reply's magic and data type: {header:?}");
    let (extras, key) = (more(extras_len), more(key_len));
    let value = more(body_len - extras_len - key_len);
    Reply {
        opcode: header[1],
        status: number(6, 2) as u16,
        opaque: number(12, 4) as u32,
        cas: number(16, 8),
        extras,
        key,
        value,
    }
}
