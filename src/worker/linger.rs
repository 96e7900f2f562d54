//! Closing while a request is still arriving: a body that is too large, or whose request is refused.
//!
//! A socket that is closed with bytes unread, or that gets more afterwards, makes the kernel reset the connection, and the peer may
//! then lose the reply that it has not read yet. So what is still to come is received and thrown away (RFC 9112 section 9.6), for a
//! bounded time.

use super::{Clock, Worker};
use crate::limits::{LINGER_MS, LINGER_QUIET_MS};
use crate::ring::{ConnId, Driver};

/// Connections that are let finish their last request, each with the Unix time in milliseconds at which it must have.
#[derive(Debug, Default)]
pub struct Lingering(Vec<(ConnId, u64)>);

impl<D: Driver, C: Clock> Worker<D, C> {
    /// The connection is closing, and so many bytes (`usize::MAX`: nobody knows how many) are still to come.
    pub(super) fn linger(&mut self, id: ConnId, unread: usize) {
        let Some(conn) = self.conns.get(id) else { return };
        conn.unread = unread;
        self.lingering.0.push((id, self.now_ms + LINGER_MS));
        // It may have been paused with its inbox full.
        self.resume_recv(id);
        if self.conns.get(id).is_some_and(|conn| conn.ended) {
            self.closing_next.push(id);
        }
    }

    /// Bytes have come for a closing connection.
    pub(super) fn passed_over(&mut self, id: ConnId, len: usize) {
        let Some(conn) = self.conns.get(id) else { return };
        if conn.unread > 0 {
            conn.unread = conn.unread.saturating_sub(len);
            if conn.unread == 0 {
                self.closing_next.push(id);
            }
        }
    }

    /// Closes those that have taken their time, or have fallen silent; all of them when the server ends.
    pub(super) fn end_lingering(&mut self) {
        let (now_ms, draining) = (self.now_ms, self.shared.is_draining());
        let (conns, closing_next) = (&mut self.conns, &mut self.closing_next);
        self.lingering.0.retain(|(id, until_ms)| {
            let Some(conn) = conns.get(*id) else { return false };
            let silent = now_ms.saturating_sub(conn.last_active_ms) >= LINGER_QUIET_MS;
            let stays = conn.unread > 0 && !silent && now_ms < *until_ms && !draining;
            if !stays && conn.unread > 0 {
                conn.unread = 0;
                closing_next.push(*id);
            }
            stays
        });
    }
}
