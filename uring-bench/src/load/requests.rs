//! Encodes requests into a turn's output: all that a connection sends in one turn is one stretch, and one send.

use crate::proto::Wire;
use crate::workload::{Op, Values};
use kv_server::ring::{ConnId, Outgoing, Piece, Send};

/// Values of this size and more are not copied, unless they are made to be verified. Bytes.
const PIN_FROM: usize = 16 << 10;

/// One thread's encoder.
pub struct Requests<W> {
    wire: W,
    values: Values,
    verify: bool,
    /// Chooses the filler of each verified value.
    nonce: u64,
}

/// A send that is being put together.
pub struct Stretch {
    first_piece: usize,
    from: usize,
}

impl<W: Wire> Requests<W> {
    pub fn new(wire: W, values: Values, verify: bool, seed: u64) -> Self {
        Self { wire, values, verify, nonce: seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) }
    }

    pub fn wire(&self) -> &W {
        &self.wire
    }

    /// What answers are checked against, if they are.
    pub fn checks(&self) -> Option<&Values> {
        self.verify.then_some(&self.values)
    }

    pub fn begin(&self, out: &Outgoing) -> Stretch {
        Stretch { first_piece: out.pieces.len(), from: out.bytes.len() }
    }

    #[inline]
    pub fn put(&mut self, op: Op, stretch: &mut Stretch, out: &mut Outgoing) {
        let (key, len) = match op {
            Op::Get(key) => return self.wire.put_get(key, &mut out.bytes),
            Op::Set(key, len) => (key, len),
        };
        self.wire.put_set_head(key, len, &mut out.bytes);
        if self.verify {
            self.nonce = self.nonce.wrapping_add(0x9E37_79B9);
            self.values.put_verified(key, len, self.nonce >> 16, &mut out.bytes);
        } else if len < PIN_FROM {
            out.bytes.extend_from_slice(self.values.plain(len));
        } else {
            push_bytes(stretch, out);
            out.pieces.push(Piece::Pin(to_u32(out.pins.len())));
            out.pins.push(self.values.plain_shared(len));
        }
        out.bytes.extend_from_slice(self.wire.set_tail());
    }

    pub fn end(&self, mut stretch: Stretch, conn: ConnId, out: &mut Outgoing) {
        push_bytes(&mut stretch, out);
        let pieces = to_u32(stretch.first_piece)..to_u32(out.pieces.len());
        out.sends.push(Send { conn, pieces });
    }
}

fn push_bytes(stretch: &mut Stretch, out: &mut Outgoing) {
    if stretch.from < out.bytes.len() {
        out.pieces.push(Piece::Bytes(to_u32(stretch.from)..to_u32(out.bytes.len())));
        stretch.from = out.bytes.len();
    }
}

/// Offsets of one turn's output. The client stops filling it at 64 MiB and one value (of 1 GiB at most).
fn to_u32(offset: usize) -> u32 {
    u32::try_from(offset).expect("a turn's output is bounded far below 4 GiB")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::Resp;
    use crate::workload::Names;

    #[test]
    fn one_stretch_per_connection_holds_all_its_requests() {
        let names = Names::new(10, 16).unwrap();
        let values = Values::new(PIN_FROM, names);
        let mut requests = Requests::new(Resp::new(names, None), values.clone(), false, 1);
        let mut out = Outgoing::default();
        let conn = ConnId { slot: 0, generation: 1 };
        let mut stretch = requests.begin(&out);
        for op in [Op::Get(1), Op::Set(2, PIN_FROM), Op::Set(3, 5), Op::Get(4)] {
            requests.put(op, &mut stretch, &mut out);
        }
        requests.end(stretch, conn, &mut out);
        assert_eq!((out.sends.len(), out.pins.len(), out.pieces.len()), (1, 1, 3));
        let sent: Vec<u8> = out.pieces.iter().flat_map(|piece| out.piece(piece)).copied().collect();
        let get = |key: u64| format!("*2\r\n$3\r\nGET\r\n$16\r\nkey:{key:012}\r\n").into_bytes();
        let set = |key: u64, len: usize| {
            let head = format!("*3\r\n$3\r\nSET\r\n$16\r\nkey:{key:012}\r\n${len}\r\n");
            [head.as_bytes(), values.plain(len), b"\r\n"].concat()
        };
        assert_eq!(sent, [get(1), set(2, PIN_FROM), set(3, 5), get(4)].concat());
    }
}
