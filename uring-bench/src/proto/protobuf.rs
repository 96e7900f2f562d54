//! KV-Cache's protobuf frames (proto/kv.proto), which begin with a magic: a message behind its length.
//!
//! ```text
//!  get   len │ 08 01 │ 12 len │ 0a len key                              ►  len │ 08 01 │ 42 len value    or  08 01 10 01
//!  set   len │ 08 02 │ 1a len │ 0a len key 12 len value 18 ttl          ►  len │ 08 02
//!              └ id: 1 for reads and 2 for writes, to tell the reply to a write from an empty value
//! ```

use super::template::Template;
use super::{Reply, Scan, Wire};
use crate::workload::Names;
use std::time::Duration;

/// What a connection begins with.
pub const MAGIC: &[u8] = b"\xfaKV\x01";

const READ: u64 = 1;
const WRITE: u64 = 2;
/// Longer replies are not believed, bytes.
const MAX_FRAME: u64 = 1 << 32;

/// Templates of one key length and time to live.
#[derive(Clone, Debug)]
pub struct Protobuf {
    names: Names,
    get: Template,
    /// `0a len key`.
    key: Template,
    key_len: usize,
    tail: Vec<u8>,
}

impl Protobuf {
    pub fn new(names: Names, ttl: Option<Duration>) -> Self {
        let mut key = vec![0x0a];
        put_varint(names.len() as u64, &mut key);
        let key_len = key.len() + names.len();
        let mut request = vec![0x08, READ as u8, 0x12];
        put_varint(key_len as u64, &mut request);
        let mut get = Vec::new();
        put_varint((request.len() + key_len) as u64, &mut get);
        get.extend_from_slice(&request);
        get.extend_from_slice(&key);
        let mut tail = Vec::new();
        if let Some(ttl) = ttl {
            tail.push(0x18);
            put_varint(u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX), &mut tail);
        }
        Self {
            names,
            get: Template::around(&names, &get, b""),
            key: Template::around(&names, &key, b""),
            key_len,
            tail,
        }
    }

    /// The request that logs in, which is answered as a write is.
    pub fn login(user: &str, password: &str) -> Vec<u8> {
        let mut auth = Vec::new();
        for (tag, text) in [(0x0a, user), (0x12, password)] {
            auth.push(tag);
            put_varint(text.len() as u64, &mut auth);
            auth.extend_from_slice(text.as_bytes());
        }
        let mut request = vec![0x08, WRITE as u8, 0x4a];
        put_varint(auth.len() as u64, &mut request);
        request.extend_from_slice(&auth);
        let mut frame = Vec::new();
        put_varint(request.len() as u64, &mut frame);
        frame.extend_from_slice(&request);
        frame
    }
}

#[inline]
fn put_varint(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8); // Below 0x80.
}

fn varint_len(number: usize) -> usize {
    (usize::BITS - (number | 1).leading_zeros()).div_ceil(7) as usize
}

impl Wire for Protobuf {
    type Resume = ();

    #[inline]
    fn put_get(&self, key: u64, out: &mut Vec<u8>) {
        self.get.put(&self.names, key, out);
    }

    #[inline]
    fn put_set_head(&self, key: u64, value_len: usize, out: &mut Vec<u8>) {
        let set = self.key_len + 1 + varint_len(value_len) + value_len + self.tail.len();
        put_varint((3 + varint_len(set) + set) as u64, out);
        out.extend_from_slice(&[0x08, WRITE as u8, 0x1a]);
        put_varint(set as u64, out);
        self.key.put(&self.names, key, out);
        out.push(0x12);
        put_varint(value_len as u64, out);
    }

    fn set_tail(&self) -> &[u8] {
        &self.tail
    }

    #[inline]
    fn scan<'a>(&self, bytes: &'a [u8], (): &mut ()) -> Scan<'a> {
        let mut reader = Reader { bytes, at: 0 };
        let len = match reader.varint() {
            Ok(len) if len <= MAX_FRAME => len as usize, // At most 4 GiB.
            Ok(_) | Err(Trouble::Malformed) => return Scan::Garbage,
            Err(Trouble::Cut) => return Scan::Incomplete { value_ends: None },
        };
        let end = reader.at + len;
        reader.bytes = &bytes[..bytes.len().min(end)];
        match response(&mut reader, end) {
            Ok(reply) => reply.map_or(Scan::Garbage, |reply| Scan::Reply(reply, end)),
            // A field that ends beyond its message.
            Err(Cut { .. }) if bytes.len() >= end => Scan::Garbage,
            Err(Cut { in_value }) => Scan::Incomplete { value_ends: in_value.then_some(end) },
        }
    }
}

/// The message is not here to its end. `in_value`: what is missing is of the value only.
struct Cut {
    in_value: bool,
}

enum Trouble {
    Cut,
    Malformed,
}

/// The fields of a response that ends at `end`. `Ok(None)`: it is none.
#[inline]
fn response<'a>(reader: &mut Reader<'a>, end: usize) -> Result<Option<Reply<'a>>, Cut> {
    let (mut id, mut status, mut value, mut message) = (0, 0, &[][..], &[][..]);
    while reader.at < end {
        let field = reader.field(end);
        match field {
            Ok((1, Field::Number(number))) => id = number,
            Ok((2, Field::Number(number))) => status = number,
            Ok((7, Field::Bytes(bytes))) => message = bytes,
            Ok((8, Field::Bytes(bytes))) => value = bytes,
            Ok((1 | 2 | 7 | 8, _)) | Err((Trouble::Malformed, _)) => return Ok(None),
            Ok(_) => {}
            Err((Trouble::Cut, in_value)) => {
                return Err(Cut { in_value: in_value && status == 0 && id == READ });
            }
        }
    }
    Ok(match (status, id) {
        (0, READ) => Some(Reply::Value(value)),
        (0, WRITE) => Some(Reply::Stored),
        (1, READ) => Some(Reply::Miss),
        (0 | 1, _) => None,
        _ => Some(Reply::Error(if message.is_empty() { b"an error without a text" } else { message })),
    })
}

enum Field<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    #[inline]
    fn varint(&mut self) -> Result<u64, Trouble> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = *self.bytes.get(self.at).ok_or(Trouble::Cut)?;
            self.at += 1;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(Trouble::Malformed)
    }

    /// The next field of a message that ends at `end`. With trouble: whether it is in a value behind which nothing follows.
    #[inline]
    fn field(&mut self, end: usize) -> Result<(u64, Field<'a>), (Trouble, bool)> {
        let early = |trouble| (trouble, false);
        let tag = self.varint().map_err(early)?;
        match tag & 7 {
            0 => Ok((tag >> 3, Field::Number(self.varint().map_err(early)?))),
            2 => {
                let len = self.varint().map_err(early)?;
                if len > (end - self.at.min(end)) as u64 {
                    return Err((Trouble::Malformed, false));
                }
                let ends = self.at + len as usize; // At most `end`.
                let bytes =
                    self.bytes.get(self.at..ends).ok_or((Trouble::Cut, tag >> 3 == 8 && ends == end))?;
                self.at = ends;
                Ok((tag >> 3, Field::Bytes(bytes)))
            }
            _ => Err((Trouble::Malformed, false)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kv_server::proto::protobuf::{Call, Frame, One, State, frame, parse};

    fn wire(ttl: Option<Duration>) -> Protobuf {
        Protobuf::new(Names::new(1000, 16).unwrap(), ttl)
    }

    fn scan(bytes: &[u8]) -> Scan<'_> {
        wire(None).scan(bytes, &mut ())
    }

    /// What the server reads.
    fn call(bytes: &[u8]) -> (u64, Call<'_>) {
        let found = frame(bytes, &mut State { begun: true }, 1 << 30);
        let Frame::Message { body, consumed } = found else { panic!("{found:?}") };
        assert_eq!(consumed, bytes.len());
        let request = parse(body, 10).unwrap();
        (request.id, request.call)
    }

    #[test]
    fn requests_are_what_the_server_reads() {
        let mut out = Vec::new();
        wire(None).put_get(7, &mut out);
        let (id, Call::One(One::Get(get))) = call(&out) else { panic!("no get") };
        assert_eq!((id, get.key), (READ, &b"key:000000000007"[..]));
        for (ttl, len) in [(None, 0), (None, 3), (Some(1500), 127), (Some(1), 128), (None, 70_000)] {
            let wire = wire(ttl.map(Duration::from_millis));
            let value = vec![b'x'; len];
            out.clear();
            wire.put_set_head(42, len, &mut out);
            out.extend_from_slice(&value);
            out.extend_from_slice(wire.set_tail());
            let (id, Call::One(One::Set(set))) = call(&out) else { panic!("no set") };
            assert_eq!((id, set.key, set.value), (WRITE, &b"key:000000000042"[..], &value[..]));
            assert_eq!(set.ttl_ms, ttl.unwrap_or(0));
        }
        let login = Protobuf::login("default", "secret");
        let (WRITE, Call::Auth(auth)) = call(&login) else { panic!("no login") };
        assert_eq!((auth.user, auth.password), ("default", &b"secret"[..]));
        let long = Protobuf::new(Names::new(10, 300).unwrap(), None);
        out.clear();
        long.put_get(7, &mut out);
        assert!(matches!(call(&out), (READ, Call::One(One::Get(get))) if get.key.len() == 300));
    }

    #[test]
    fn replies_are_found_whole_wherever_they_are_cut() {
        let long = [&[0xcf, 0x01, 0x08, 0x01, 0x28, 0x05, 0x42, 0xc8, 0x01][..], &[b'v'; 200]].concat();
        let cases: [(&[u8], Reply<'_>); 6] = [
            (&[2, 0x08, 0x02], Reply::Stored),
            (&[2, 0x08, 0x01], Reply::Value(b"")),
            (&[4, 0x08, 0x01, 0x10, 0x01], Reply::Miss),
            (&[7, 0x08, 0x01, 0x42, 3, b'a', b'b', b'c'], Reply::Value(b"abc")),
            (&long, Reply::Value(&[b'v'; 200])),
            (&[8, 0x08, 0x02, 0x10, 0x06, 0x3a, 2, b'n', b'o'], Reply::Error(b"no")),
        ];
        for (bytes, reply) in cases {
            for cut in 0..bytes.len() {
                let cut_scan = scan(&bytes[..cut]);
                let Scan::Incomplete { value_ends } = cut_scan else {
                    panic!("{} cut at {cut}: {cut_scan:?}", bytes.escape_ascii())
                };
                assert!(value_ends.is_none_or(|end| end == bytes.len()));
                assert!(value_ends.is_some() || cut < 9 || bytes.len() < 100);
            }
            let more = [bytes, &[2, 0x08]].concat();
            assert_eq!(scan(&more), Scan::Reply(reply, bytes.len()), "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn what_is_no_such_reply_is_garbage() {
        for bytes in [
            &b"+OK\r\n+OK\r\n+OK\r\n+OK\r\n+OK\r\n+OK\r\n+OK\r\n+OK\r\n+OK\r\n+OK\r\n"[..],
            &[0],
            &[2, 0x08, 0x03],
            &[2, 0x0a, 0x01],
            &[4, 0x08, 0x02, 0x10, 0x01],
            &[4, 0x08, 0x01, 0x42, 9],
            &[2, 0x08, 0xff, 0xff],
            &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
        ] {
            assert_eq!(scan(bytes), Scan::Garbage, "{}", bytes.escape_ascii());
        }
    }
}
