//! A connection's life as its worker sees it: accepted, receiving, held back, resumed, ended, closed.

use super::connections::{CONN_OVERHEAD, Conn};
use super::pushes::place_of;
use super::rounds::{Source, SourceBytes};
use super::{Clock, ROOM_STEP, Worker, output};
use crate::command;
use crate::conn::Session;
use crate::limits;
use crate::ring::{ConnId, Driver, End, RecvRef};
use crate::server::{Message, Refusal};
use std::sync::atomic::Ordering::Relaxed;

impl<D: Driver, C: Clock> Worker<D, C> {
    pub(super) fn accepted(&mut self, id: ConnId, listener: u8) {
        let Ok((peer, local)) = self.driver.addresses(id) else {
            // The peer has gone already.
            self.driver.close(id, false);
            return;
        };
        match self.shared.admit(self.id, peer, local, self.now_ms) {
            Ok(client) => {
                client.set_place(place_of(id));
                let session = Session::new(client.id, !self.shared.password_is_set());
                let mut conn = Conn::new(id, self.shared.spoken(listener), session, client, self.now_ms);
                conn.charged = CONN_OVERHEAD;
                self.memory += CONN_OVERHEAD;
                self.conns.insert(conn);
                self.stats.accepted += 1;
                self.driver.start_recv(id);
            }
            Err(refusal) => self.refuse(id, listener, refusal),
        }
    }

    /// Says why, in the words of what the listener speaks, then closes.
    fn refuse(&mut self, id: ConnId, listener: u8, refusal: Refusal) {
        match refusal {
            Refusal::MaxClients => self.stats.refused_max_clients += 1,
            Refusal::Protected => self.stats.refused_protected += 1,
        }
        self.driver.send_owned(id, vec![refusal.reply(self.shared.spoken(listener))]);
        self.driver.close(id, true);
    }

    pub(super) fn received(&mut self, id: ConnId, data: RecvRef) {
        let watermark = self.shared.config.output_high;
        let store = &self.shared.store;
        let Some(conn) = self.conns.get(id) else { return };
        conn.last_active_ms = self.now_ms;
        if conn.closing {
            let len = self.driver.received(data).len();
            self.passed_over(id, len);
            return;
        }
        if conn.source != 0 {
            // More than one buffer of this connection in one turn: they are joined in its inbox.
            let source = &mut self.sources[conn.source as usize - 1];
            let mut joined = Ok(());
            if let SourceBytes::Fresh(first) = source.bytes {
                let mut inbox = std::mem::take(&mut conn.inbox);
                joined = inbox.push(self.driver.received(first), conn.usual, store);
                source.bytes = SourceBytes::Inbox(inbox);
            }
            if let SourceBytes::Inbox(inbox) = &mut source.bytes {
                joined = joined
                    .and_then(|()| inbox.push(self.driver.received(data), conn.need.max(conn.usual), store));
            }
            if joined.is_err() {
                self.no_memory(id);
            }
            return;
        }
        if conn.inbox.is_empty() && conn.outbox.len() <= watermark {
            conn.source = to_source_number(self.sources.len());
            self.sources.push(Source { conn: id, bytes: SourceBytes::Fresh(data) });
            return;
        }
        if conn.inbox.push(self.driver.received(data), conn.need, store).is_err() {
            self.no_memory(id);
        } else if conn.inbox.len() >= conn.need && !conn.waits {
            self.source_from_inbox(id);
        } else {
            self.limit_inbox(id);
            self.charge(id);
        }
    }

    /// Closes a connection whose request finds no memory.
    pub(super) fn no_memory(&mut self, id: ConnId) {
        if let Some(conn) = self.conns.get(id) {
            conn.closing = true;
            self.stats.closed_inbox += 1;
            self.failed.push(id);
        }
    }

    /// Makes a connection's inbox a source of this turn, unless its peer must first take what was answered.
    pub(super) fn source_from_inbox(&mut self, id: ConnId) {
        let watermark = self.shared.config.output_high;
        let Some(conn) = self.conns.get(id) else { return };
        conn.waits = false;
        if conn.outbox.len() > watermark {
            self.limit_inbox(id);
        } else if conn.source == 0 && !conn.inbox.is_empty() && !conn.closing {
            conn.source = to_source_number(self.sources.len());
            let inbox = std::mem::take(&mut conn.inbox);
            self.sources.push(Source { conn: id, bytes: SourceBytes::Inbox(inbox) });
        }
    }

    /// Puts a connection on the list of those whose inbox is parsed in the next turn.
    pub(super) fn make_ready(&mut self, id: ConnId) {
        if let Some(conn) = self.conns.get(id)
            && !conn.waits
        {
            conn.waits = true;
            self.ready.push(id);
            self.limit_inbox(id);
        }
    }

    /// Stops reading from a connection whose inbox is full of what cannot be parsed yet; the rest stays with the kernel, then with
    /// the peer. A request that is still arriving may fill it up to the request limit, which the parser enforces.
    pub(super) fn limit_inbox(&mut self, id: ConnId) {
        let max_inbox = self.shared.config.max_inbox;
        if let Some(conn) = self.conns.get(id)
            && conn.inbox.len() > max_inbox.max(conn.need)
            && !conn.recv_paused
        {
            conn.recv_paused = true;
            self.driver.pause_recv(id);
        }
    }

    /// A request is on its way that takes `need` bytes in all.
    pub(super) fn await_rest(&mut self, id: ConnId, need: usize) {
        let Some(conn) = self.conns.get(id) else { return };
        conn.need = need;
        if need > 0 {
            conn.usual = need;
        }
        if conn.ended {
            // The rest will never come.
            self.closing_next.push(id);
        }
        self.resume_recv(id);
    }

    pub(super) fn ended(&mut self, id: ConnId, end: End) {
        let Some(conn) = self.conns.get(id) else { return };
        match end {
            // A half-closed peer still wants the replies to what it sent.
            End::Eof => {
                conn.ended = true;
                self.closing_next.push(id);
            }
            End::Error(_) => self.failed.push(id),
        }
    }

    pub(super) fn sent(&mut self, id: ConnId, result: Result<usize, i32>) {
        let low = self.shared.config.output_low;
        let Some(conn) = self.conns.get(id) else { return };
        conn.outbox.sent();
        // A peer that takes a large reply slowly is not idle.
        conn.last_active_ms = self.now_ms;
        if result.is_err() {
            self.failed.push(id);
            return;
        }
        output::send_more(&mut self.driver, conn);
        if conn.outbox.len() <= low {
            if !conn.inbox.is_empty() {
                self.make_ready(id);
            }
            self.resume_recv(id);
        }
        self.charge(id);
        if let Some(conn) = self.conns.get(id)
            && (conn.closing || conn.ended)
        {
            self.closing_next.push(id);
        }
    }

    pub(super) fn resume_recv(&mut self, id: ConnId) {
        let config = &self.shared.config;
        let (max_inbox, watermark) = (config.max_inbox, config.output_high);
        if let Some(conn) = self.conns.get(id)
            && conn.recv_paused
            && conn.inbox.len() <= max_inbox.max(conn.need)
            && conn.outbox.len() <= watermark
        {
            conn.recv_paused = false;
            self.driver.start_recv(id);
        }
    }

    /// The slow-reader watermark and cap: above the one nothing more is read, above the other the connection is
    /// closed; and earlier, if connections hold too much of the memory together.
    pub(super) fn hold_back(&mut self, id: ConnId) {
        let config = &self.shared.config;
        let (watermark, cap) = (config.output_high, config.output_cap);
        let budget = self.shared.store.budget();
        let crowded = budget.connections.load(Relaxed) > budget.limit() / 100 * limits::CONNECTIONS_PERCENT;
        let Some(conn) = self.conns.get(id) else { return };
        if conn.outbox.len() > cap || (crowded && conn.outbox.memory() > limits::CROWDED_OUTPUT) {
            // Nothing more is put into its outbox.
            conn.closing = true;
            self.stats.closed_slow_reader += 1;
            self.failed.push(id);
        } else if conn.outbox.len() > watermark && !conn.recv_paused {
            conn.recv_paused = true;
            self.stats.paused_slow_reader += 1;
            self.driver.pause_recv(id);
        }
    }

    /// Requests of other threads.
    pub(super) fn messages(&mut self) {
        for message in self.shared.take_messages(self.id) {
            match message {
                // At once, whatever is unsent: it may be killed because it does not read. (Who kills itself closes as by QUIT.)
                Message::Kill => {
                    let killed = self.conns.iter().filter(|conn| conn.client.is_killed());
                    self.failed.extend(killed.map(|conn| conn.id));
                }
                Message::Drain => self.begin_drain(),
                Message::Overrun => self.close_overrun(),
                Message::Unpark(client) => self.unpark(client),
            }
        }
        self.deliver();
    }

    /// Step 6: closes connections that failed, and those that are finished and have nothing unsent.
    pub(super) fn close_finished(&mut self) {
        for id in std::mem::take(&mut self.failed) {
            self.close(id);
        }
        let mut closing = std::mem::take(&mut self.closing);
        for id in closing.drain(..) {
            let Some(conn) = self.conns.get(id) else { continue };
            let finished = (conn.closing && conn.unread == 0) || (conn.ended && !conn.waits);
            if !finished || !conn.outbox.is_empty() {
                // What it waits for will bring it back here.
            } else if conn.answered_in_turn == self.turn {
                self.closing_next.push(id);
            } else {
                self.close(id);
            }
        }
        // What was queued in this turn is sent by the next.
        self.closing = std::mem::replace(&mut self.closing_next, closing);
    }

    pub(super) fn close(&mut self, id: ConnId) {
        if let Some(mut conn) = self.conns.remove(id) {
            command::forget_listener(&mut conn.session, &*self.shared);
            if let Some(hash) = conn.session.waits_for {
                self.shared.waiters.remove(hash, (self.id, conn.client.id));
                self.parked.remove(conn.client.id);
            }
            self.memory -= conn.charged;
            self.large -= conn.large;
            self.shared.dismiss(&conn.client);
            self.driver.close(id, false);
        }
    }

    /// Notes what a connection's buffers have come to. Large growth asks the store to give way first; a connection for which there
    /// is no room is closed.
    pub(super) fn charge(&mut self, id: ConnId) {
        let Some(conn) = self.conns.get(id) else { return };
        let (before, memory) = (conn.charged, conn.memory());
        conn.charged = memory;
        self.large = self.large - conn.large + conn.inbox.large_capacity();
        conn.large = conn.inbox.large_capacity();
        conn.client.note_buffers(conn.inbox.len(), conn.outbox.len());
        self.memory = self.memory - before + memory;
        if memory > before + ROOM_STEP && self.shared.store.make_room(memory - before).is_err() {
            self.no_memory(id);
        }
    }
}

/// A source's index plus one, as connections note it.
fn to_source_number(index: usize) -> u32 {
    // A turn has at most one source per connection, and slots are 32 bits.
    u32::try_from(index + 1).unwrap_or(u32::MAX)
}
