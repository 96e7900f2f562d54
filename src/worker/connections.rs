//! A worker's connections: one [`Conn`] per driver slot, found by its whole id so that a late event never meets a reused slot.

use crate::conn::{Inbox, Outbox, Session};
use crate::proto::memcached::{binary, text};
use crate::proto::{Protocol, Spoken, http, json, protobuf, resp};
use crate::ring::ConnId;
use crate::server::ClientEntry;
use std::sync::Arc;

/// What a connection costs besides its buffers: this struct, its registry entry, its slot in the driver. Bytes, rounded up.
pub const CONN_OVERHEAD: usize = 896;
/// The most of it that the slots in the driver and in [`Connections`], the counts of the `Arc` and the registry's map take.
const SLOTS: usize = 112;

const _: () = assert!(size_of::<Conn>() + size_of::<ClientEntry>() + SLOTS <= CONN_OVERHEAD);

/// A connection's protocol, fixed by its first bytes, and what parsing it remembers between two reads.
#[derive(Debug)]
pub enum Codec {
    Unknown,
    Resp(resp::Resume),
    Json(json::Resume),
    Text(text::State),
    Binary(binary::State),
    Http(Box<http::State>),
    Protobuf(protobuf::State),
}

impl Codec {
    /// `None` until the first bytes have chosen.
    pub fn protocol(&self) -> Option<Protocol> {
        match self {
            Codec::Unknown => None,
            Codec::Resp(_) => Some(Protocol::Resp),
            Codec::Json(_) => Some(Protocol::JsonLines),
            Codec::Text(_) => Some(Protocol::Text),
            Codec::Binary(_) => Some(Protocol::Binary),
            Codec::Http(_) => Some(Protocol::Http),
            Codec::Protobuf(_) => Some(Protocol::Protobuf),
        }
    }

    pub fn of(protocol: Protocol) -> Codec {
        match protocol {
            Protocol::Resp => Codec::Resp(resp::Resume::default()),
            Protocol::JsonLines => Codec::Json(json::Resume::default()),
            Protocol::Text => Codec::Text(text::State::default()),
            Protocol::Binary => Codec::Binary(binary::State::default()),
            Protocol::Http => Codec::Http(Box::default()),
            Protocol::Protobuf => Codec::Protobuf(protobuf::State::default()),
        }
    }

    /// Bytes of a request already answered that are still to come.
    pub fn unread(&self) -> usize {
        match self {
            Codec::Http(state) => state.unread(),
            _ => 0,
        }
    }
}

#[derive(Debug)]
pub struct Conn {
    pub id: ConnId,
    /// What its listener speaks.
    pub spoken: Spoken,
    pub codec: Codec,
    pub session: Session,
    pub client: Arc<ClientEntry>,
    /// Received bytes that are not yet a whole request, or beyond this connection's share of a turn.
    pub inbox: Inbox,
    /// Replies that the peer was too slow to take.
    pub outbox: Outbox,
    /// Total length at which the inbox is worth parsing again.
    pub need: usize,
    /// Average length of the last requests that did not come at once, or how long the one is that is on its way: likely that of the next.
    pub usual: usize,
    /// Unix milliseconds when bytes last came from the peer, or were taken by it after they had to wait.
    pub last_active_ms: u64,
    /// Index into this turn's sources plus one; 0: none.
    pub source: u32,
    /// The last turn that queued replies of it, which the next turn sends.
    pub answered_in_turn: u64,
    /// Receiving is paused: the peer does not read, or its inbox is full.
    pub recv_paused: bool,
    /// The peer will send no more.
    pub ended: bool,
    /// Parse no more; close when everything is sent.
    pub closing: bool,
    /// Closing: bytes of the last request that are let come first, since closing before them could cost the peer the reply.
    pub unread: usize,
    /// Whole requests may be in the inbox: it waits for its turn, for the end of CLIENT PAUSE, or for the peer to read.
    pub waits: bool,
    /// It is on the list of those for whom something has come that they did not ask for.
    pub pushed: bool,
    /// It has been told where to go, and is left the time for it.
    pub told_to_move: bool,
    /// Bytes last reported to the memory budget.
    pub charged: usize,
    /// Bytes of the inbox that the budget knows from the store, when last looked at.
    pub large: usize,
}

impl Conn {
    pub fn new(id: ConnId, spoken: Spoken, session: Session, client: Arc<ClientEntry>, now_ms: u64) -> Conn {
        Conn {
            id,
            spoken,
            codec: Codec::Unknown,
            session,
            client,
            inbox: Inbox::default(),
            outbox: Outbox::default(),
            need: 0,
            usual: 0,
            last_active_ms: now_ms,
            source: 0,
            answered_in_turn: 0,
            recv_paused: false,
            ended: false,
            closing: false,
            unread: 0,
            waits: false,
            pushed: false,
            told_to_move: false,
            charged: 0,
            large: 0,
        }
    }

    /// What this connection holds of the process's memory. Pinned values are the store's, and the memory of a large request counts itself.
    pub fn memory(&self) -> usize {
        let listening = self.session.listening.as_ref().map_or(0, |listening| listening.memory());
        CONN_OVERHEAD + self.inbox.capacity() + self.outbox.memory() + self.session.memory() + listening
    }
}

/// Indexed by driver slot.
#[derive(Debug, Default)]
pub struct Connections {
    slots: Vec<Option<Box<Conn>>>,
    len: usize,
}

impl Connections {
    pub fn insert(&mut self, conn: Conn) {
        let slot = conn.id.slot as usize;
        if slot >= self.slots.len() {
            self.slots.resize_with(slot + 1, || None);
        }
        debug_assert!(self.slots[slot].is_none(), "the driver reuses a slot only after Closed");
        self.slots[slot] = Some(Box::new(conn));
        self.len += 1;
    }

    pub fn remove(&mut self, id: ConnId) -> Option<Box<Conn>> {
        self.get(id)?;
        self.len -= 1;
        self.slots[id.slot as usize].take()
    }

    #[inline]
    pub fn get(&mut self, id: ConnId) -> Option<&mut Conn> {
        self.slots.get_mut(id.slot as usize)?.as_deref_mut().filter(|conn| conn.id == id)
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The next connection at or after slot `from`, for walks that stop and go on.
    pub fn next_from(&self, from: usize) -> Option<ConnId> {
        self.slots.get(from..)?.iter().flatten().next().map(|conn| conn.id)
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Conn> {
        self.slots.iter_mut().flatten().map(|conn| &mut **conn)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Conn> {
        self.slots.iter().flatten().map(|conn| &**conn)
    }
}
