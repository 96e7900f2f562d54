//! The four replies, made once. They live as long as the server, so the kernel may read them at any time: sends that point
//! into them need no copy.

use super::frames::{Reply, Sink};

/// What connections get whose requests cannot be told apart, before the close.
pub const PROTOCOL_ERROR: &[u8] = b"-ERR Protocol error: this is no RESP request\r\n";

/// The bytes of each reply.
#[derive(Debug)]
pub struct Replies {
    /// `$LEN\r\n`, the value, `\r\n`.
    value: Box<[u8]>,
    header_len: usize,
}

impl Replies {
    /// GETs are answered with a value of this many bytes.
    pub fn new(value_size: usize) -> Self {
        let header = format!("${value_size}\r\n");
        let value = [header.as_bytes(), &vec![b'v'; value_size], b"\r\n"].concat();
        Replies { value: value.into(), header_len: header.len() }
    }

    #[inline]
    pub fn bytes(&self, reply: Reply) -> &[u8] {
        match reply {
            Reply::Value => &self.value,
            Reply::Ok => b"+OK\r\n",
            Reply::Pong => b"+PONG\r\n",
            Reply::Unknown => b"-ERR this server has no store: it knows GET, SET and PING\r\n",
        }
    }

    /// Header and rest apart, as a server has them whose values lie in a store. The rest of a short reply is empty.
    pub fn parts(&self, reply: Reply) -> (&[u8], &[u8]) {
        match reply {
            Reply::Value => self.value.split_at(self.header_len),
            _ => (self.bytes(reply), &[]),
        }
    }
}

/// Copies replies one behind the other.
pub struct Copied<'a> {
    pub replies: &'a Replies,
    pub out: &'a mut Vec<u8>,
}

impl Sink for Copied<'_> {
    #[inline]
    fn push(&mut self, reply: Reply) {
        self.out.extend_from_slice(self.replies.bytes(reply));
    }
}
