//! What connections are sent without asking: messages of channels, invalidations of keys, lines of MONITOR, where to go.
//!
//! It is taken from the mailbox while a turn's events are looked at: then no send of the turn's arena is on its way, so that a push goes to the
//! end of its connection's outbox and leaves by an owned send, and the replies of this turn follow it there. What a subscriber does not
//! take counts as its unread replies do, with the same watermark and cap.

use super::connections::{Conn, Connections};
use super::{Clock, Worker, output};
use crate::conn::{ChannelKind, Maintenance};
use crate::proto::ReplyBuf;
use crate::proto::resp::Writer;
use crate::ring::{ConnId, Driver};
use crate::server::{Delivery, Publication, Push};
use bytes::Bytes;

/// Pushes from this length on are shared by the outboxes of all who get them; a shorter one is copied, which takes less memory than to
/// refer to it.
const SHARED_FROM: usize = 1 << 10;

/// The channel of invalidations for those who are told of them in RESP2.
const INVALIDATE_CHANNEL: &[u8] = b"__redis__:invalidate";

/// A connection's number for other threads, which hand it back.
pub fn place_of(id: ConnId) -> u64 {
    u64::from(id.generation) << 32 | u64::from(id.slot)
}

fn conn_of(place: u64) -> ConnId {
    ConnId { slot: place as u32, generation: (place >> 32) as u32 }
}

/// Connections that have got something in this turn.
#[derive(Debug, Default)]
pub struct Pushed {
    conns: Vec<ConnId>,
    /// Bytes in their outboxes that are in no account yet.
    bytes: usize,
}

/// Bytes of pushes after which what connections hold is put to account, and those are closed that hold too much: a box full of messages may be
/// many times its size when each goes to thousands.
const ACCOUNT_EVERY: usize = 1 << 20;

/// What a push takes in an outbox at least, bytes.
const PUSH_OVERHEAD: usize = 64;

impl<D: Driver, C: Clock> Worker<D, C> {
    /// Hands out what other threads, and this one, have left for connections.
    pub(super) fn deliver(&mut self) {
        let mut pushed = std::mem::take(&mut self.pushed);
        for delivery in self.shared.take_deliveries(self.id) {
            match delivery {
                Delivery::Publish(publication) => self.hand_out(&publication, &mut pushed),
                Delivery::Push { to, what: Push::Redirect(keys) } => {
                    let conn = self.conns.get(conn_of(to.place()));
                    if let Some(other) = conn.and_then(|conn| conn.session.tracking()?.redirect) {
                        self.shared.redirect(&to, other, keys);
                    }
                }
                Delivery::Push { to, what } => {
                    let id = conn_of(to.place());
                    if let Some(conn) = reached(&mut self.conns, id) {
                        let before = conn.outbox.memory();
                        push(conn, &what);
                        let bytes = conn.outbox.memory().saturating_sub(before);
                        self.stats.pushes += 1;
                        self.after_push(id, bytes, &mut pushed);
                    }
                }
            }
        }
        self.send_pushed(pushed);
    }

    fn hand_out(&mut self, publication: &Publication, pushed: &mut Pushed) {
        let fan_out = self.shared.pubsub.fan_out(self.id, publication, self.shared.store.budget());
        for (place, form) in fan_out.to {
            let id = conn_of(place);
            if let Some(conn) = reached(&mut self.conns, id) {
                let before = conn.outbox.memory();
                push_encoded(conn, &fan_out.encoded[form]);
                let bytes = conn.outbox.memory().saturating_sub(before);
                self.stats.pushes += 1;
                self.after_push(id, bytes, pushed);
            }
        }
    }

    /// Closes a connection whose outbox passes the cap at once: more may come for it in the same turn.
    fn after_push(&mut self, id: ConnId, bytes: usize, pushed: &mut Pushed) {
        let cap = self.shared.config.output_cap;
        let Some(conn) = self.conns.get(id) else { return };
        if conn.outbox.len() > cap {
            conn.closing = true;
            self.stats.closed_slow_reader += 1;
            self.failed.push(id);
        } else if !conn.pushed {
            conn.pushed = true;
            pushed.conns.push(id);
        }
        pushed.bytes += bytes + PUSH_OVERHEAD;
        if pushed.bytes > ACCOUNT_EVERY {
            self.send_pushed(std::mem::take(pushed));
            std::mem::swap(pushed, &mut self.pushed);
            self.account_memory();
        }
    }

    /// Starts the sends: one for each connection, however much has come for it.
    fn send_pushed(&mut self, mut pushed: Pushed) {
        pushed.bytes = 0;
        for id in pushed.conns.drain(..) {
            let Some(conn) = self.conns.get(id) else { continue };
            conn.pushed = false;
            if !conn.closing {
                output::send_more(&mut self.driver, conn);
                self.hold_back(id);
            }
            self.charge(id);
        }
        self.pushed = pushed;
    }

    /// Closes connections that have missed something because this worker's box was full.
    pub(super) fn close_overrun(&mut self) {
        for conn in self.conns.iter_mut().filter(|conn| conn.client.is_overrun() && !conn.closing) {
            conn.closing = true;
            self.stats.closed_slow_reader += 1;
            self.failed.push(conn.id);
        }
    }

    /// Tells connections that want to know it where to go now that this server ends. They are waited for: a client that reads this goes by
    /// itself.
    pub(super) fn tell_successor(&mut self) {
        let successor = self.shared.settings.successor();
        if successor.is_empty() {
            return;
        }
        let seconds = self.shared.config.drain_timeout.as_secs();
        let mut pushed = std::mem::take(&mut self.pushed);
        for conn in self.conns.iter_mut() {
            let wanted = conn.session.listening.as_ref().map(|listening| listening.maintenance);
            let address = match wanted {
                Some(Maintenance::Address) => Some(&*successor),
                Some(Maintenance::NoAddress) => None,
                Some(Maintenance::Off) | None => continue,
            };
            if conn.session.resp3 && !conn.closing {
                conn.outbox.push(&moving(seconds, address));
                conn.told_to_move = true;
                conn.pushed = true;
                pushed.conns.push(conn.id);
            }
        }
        self.send_pushed(pushed);
    }
}

/// A connection that is still there and meant to stay.
fn reached(conns: &mut Connections, id: ConnId) -> Option<&mut Conn> {
    conns.get(id).filter(|conn| !conn.closing)
}

/// A push as RESP3 has it, in the connection's version of the protocol.
fn push_encoded(conn: &mut Conn, encoded: &Bytes) {
    let resp3 = conn.session.resp3;
    match (encoded.len() < SHARED_FROM, resp3) {
        (true, true) => conn.outbox.push(encoded),
        (false, true) => conn.outbox.push_pinned(encoded.clone()),
        (true, false) => {
            conn.outbox.push(b"*");
            conn.outbox.push(&encoded[1..]);
        }
        (false, false) => {
            conn.outbox.push(b"*");
            conn.outbox.push_pinned(encoded.slice(1..));
        }
    }
}

fn push(conn: &mut Conn, what: &Push) {
    match what {
        Push::Raw(bytes) if bytes.len() < SHARED_FROM => conn.outbox.push(bytes),
        Push::Raw(bytes) => conn.outbox.push_pinned(bytes.clone()),
        Push::Invalidate { keys, redirected } => {
            let resp3 = conn.session.resp3;
            let listens = conn.session.subscribed(ChannelKind::Plain) > 0
                || conn.session.subscribed(ChannelKind::Pattern) > 0;
            let head: &[&[u8]] = match (resp3, redirected) {
                (true, false) if conn.session.tracking().is_none() => return,
                (true, _) => &[b"invalidate"],
                (false, true) if listens => &[b"message", INVALIDATE_CHANNEL],
                // There is no way to tell it.
                (false, _) => return,
            };
            let mut out = ReplyBuf::default();
            let mut writer = Writer::new(&mut out, resp3);
            writer.push(head.len() + 1);
            head.iter().for_each(|part| writer.bulk(part));
            match keys {
                None => writer.null(),
                Some(keys) => writer.raw(keys),
            }
            conn.outbox.push(&out.bytes);
        }
        Push::RedirectBroken(id) if conn.session.resp3 => {
            let mut out = ReplyBuf::default();
            let mut writer = Writer::new(&mut out, true);
            writer.push(2);
            writer.bulk(b"tracking-redir-broken");
            writer.int(i64::try_from(*id).unwrap_or(i64::MAX));
            conn.outbox.push(&out.bytes);
        }
        // The one is no matter of this connection's (see `deliver`), the other is for RESP3 only.
        Push::Redirect(_) | Push::RedirectBroken(_) => {}
    }
}

/// `MOVING`, its number, the seconds that are left, and the address.
fn moving(seconds: u64, address: Option<&str>) -> Vec<u8> {
    let mut out = ReplyBuf::default();
    let mut writer = Writer::new(&mut out, true);
    writer.push(4);
    writer.bulk(b"MOVING");
    // There is one such push in a server's life.
    writer.int(1);
    writer.int(i64::try_from(seconds).unwrap_or(i64::MAX));
    match address {
        Some(address) => writer.bulk(address.as_bytes()),
        None => writer.null(),
    }
    out.bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_names_one_connection() {
        for id in [ConnId { slot: 7, generation: 3 }, ConnId { slot: u32::MAX, generation: 0 }] {
            assert_eq!(conn_of(place_of(id)), id);
        }
    }

    #[test]
    fn moving_is_what_clients_read() {
        let text = |address| String::from_utf8(moving(8, address)).unwrap();
        assert_eq!(text(Some("10.0.0.2:7171")), ">4\r\n$6\r\nMOVING\r\n:1\r\n:8\r\n$13\r\n10.0.0.2:7171\r\n");
        assert_eq!(text(None), ">4\r\n$6\r\nMOVING\r\n:1\r\n:8\r\n_\r\n");
    }
}
