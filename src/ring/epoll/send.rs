//! Sending: the turn's arena at once, owned pieces as the socket takes them.

use super::Epoll;
use crate::ring::{ConnId, Event, Outgoing, Unfinished};
use bytes::Bytes;
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, send, sendmsg};
use std::io::IoSlice;
use std::os::fd::{AsRawFd, RawFd};

/// Slices of one `sendmsg`: on the stack, so a send of many pieces takes several calls instead of an allocation.
const SLICES: usize = 64;
/// Bytes of one connection's owned send in one turn; then the others come first.
const OWNED_BYTES_PER_TURN: usize = 1 << 20;

/// A `send_owned` under way.
pub(super) struct Owned {
    pieces: Vec<Bytes>,
    total: usize,
    sent: usize,
}

impl Owned {
    pub fn new(pieces: Vec<Bytes>) -> Self {
        let total = pieces.iter().map(Bytes::len).sum();
        Self { pieces, total, sent: 0 }
    }
}

impl Epoll {
    /// Sends the turn's output; what the sockets did not take is listed as unfinished.
    pub(super) fn send_all(&mut self, outgoing: &mut Outgoing) {
        for index in 0..outgoing.sends.len() {
            let id = outgoing.sends[index].conn;
            let Some(conn) = self.conns.get(id).filter(|conn| conn.owned.is_none()) else { continue };
            let (fd, closing) = (conn.fd.as_raw_fd(), conn.closing);
            let pieces = outgoing.pieces_of(&outgoing.sends[index]);
            let slices = pieces.iter().map(|piece| outgoing.piece(piece));
            let total = slices.clone().map(<[u8]>::len).sum::<usize>();
            let (sent, error) = self.send_slices(fd, slices, total);
            if sent == total {
                continue;
            }
            self.stats.short_sends += 1;
            let result = error.map_or(Ok(sent), |errno| Err(errno as i32));
            match closing {
                None => outgoing.unfinished.push(Unfinished { send: index as u32, result }),
                Some(true) if error.is_none() => {
                    let rest = outgoing.rest(&outgoing.sends[index], sent);
                    if let Some(conn) = self.conns.get_mut(id) {
                        conn.owned = Some(Owned::new(rest));
                    }
                }
                Some(_) => {}
            }
        }
    }

    /// Continues a `send_owned`; reports its end, or closes what waited for it.
    pub(super) fn go_on_sending(&mut self, id: ConnId) {
        let Some(conn) = self.conns.get_mut(id) else { return };
        let Some(mut owned) = conn.owned.take() else { return };
        let fd = conn.fd.as_raw_fd();
        let mut skip = owned.sent;
        let slices = owned.pieces.iter().map(|piece| {
            let from = skip.min(piece.len());
            skip -= from;
            &piece[from..]
        });
        let (sent, error) = self.send_slices(fd, slices, OWNED_BYTES_PER_TURN);
        owned.sent += sent;
        let Some(conn) = self.conns.get_mut(id) else { return };
        if error.is_none() && owned.sent < owned.total {
            conn.owned = Some(owned);
        } else if conn.closing.is_some() {
            self.to_close.push(id);
        } else {
            let result = error.map_or(Ok(owned.sent), |errno| Err(errno as i32));
            self.events.push(Event::Sent { conn: id, result, pieces: owned.pieces });
        }
        self.watch(id);
    }

    /// Sends slices in order until the socket is full or about `limit` bytes have gone out.
    fn send_slices<'a>(
        &mut self,
        fd: RawFd,
        slices: impl Iterator<Item = &'a [u8]>,
        limit: usize,
    ) -> (usize, Option<Errno>) {
        let mut slices = slices.filter(|slice| !slice.is_empty());
        let mut sent = 0;
        while sent < limit {
            let mut batch = [IoSlice::new(&[]); SLICES];
            let (mut count, mut bytes) = (0, 0);
            while count < SLICES && bytes < limit - sent {
                let Some(slice) = slices.next() else { break };
                batch[count] = IoSlice::new(slice);
                count += 1;
                bytes += slice.len();
            }
            if count == 0 {
                break;
            }
            self.stats.submissions += 1;
            match self.send_batch(fd, &batch[..count]) {
                Ok(taken) => {
                    sent += taken;
                    self.stats.bytes_sent += taken as u64;
                    if taken < bytes {
                        break; // The socket is full.
                    }
                }
                Err(Errno::EAGAIN) => break,
                Err(errno) => return (sent, Some(errno)),
            }
        }
        (sent, None)
    }

    fn send_batch(&mut self, fd: RawFd, batch: &[IoSlice<'_>]) -> nix::Result<usize> {
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        loop {
            self.stats.syscalls += 1;
            let result = match batch {
                [one] => send(fd, one, flags),
                many => sendmsg::<()>(fd, many, &[], flags, None),
            };
            if result != Err(Errno::EINTR) {
                return result;
            }
        }
    }
}
