//! From received bytes to replies, put where the chosen kind of send takes them from.

use super::choices::{Choices, SendBy};
use super::conn::{Conn, Conns};
use super::frames::{self, Broken};
use super::registered::Registered;
use super::replies::{Copied, PROTOCOL_ERROR, Replies};

/// The connections, and all memory that replies are written to or sent from.
pub struct Answers {
    pub conns: Conns,
    pub replies: Replies,
    /// This turn's replies of all connections, with `arena`.
    pub arena: Vec<u8>,
    /// With `send=writefixed`.
    pub registered: Option<Registered>,
    /// Slots with something to send.
    pub dirty: Vec<u32>,
    /// Slots to close as soon as everything is sent.
    pub closing: Vec<u32>,
    send: SendBy,
    with_arena: bool,
}

impl Answers {
    pub fn new(value_size: usize, choices: &Choices, registered: Option<Registered>) -> Answers {
        Answers {
            conns: Conns::default(),
            replies: Replies::new(value_size),
            arena: Vec::with_capacity(64 << 10),
            registered,
            dirty: Vec::new(),
            closing: Vec::new(),
            send: choices.send,
            with_arena: choices.arena,
        }
    }

    /// Answers the requests that end in `data`.
    #[inline]
    pub fn answer(&mut self, slot: u32, data: &[u8]) {
        let conn = self.conns.get(slot);
        if conn.ended {
            return;
        }
        let replies = &self.replies;
        let sound = match self.send {
            SendBy::Linked | SendBy::Vectored => frames::answer(data, &mut conn.carry, &mut conn.kinds),
            SendBy::WriteFixed => match &mut self.registered {
                Some(registered) => {
                    let Conn { carry, out, slot_len, busy, .. } = conn;
                    frames::answer(data, carry, &mut registered.sink(slot, slot_len, *busy, out, replies))
                }
                None => Ok(()),
            },
            SendBy::Plain if self.with_arena && !conn.busy && conn.out.is_empty() => {
                // One stretch per connection: what is not at the end moves there.
                let start = self.arena.len();
                if conn.segment.is_empty() {
                    conn.segment = start..start;
                } else if conn.segment.end != start {
                    self.arena.extend_from_within(conn.segment.clone());
                    conn.segment = start..self.arena.len();
                }
                let mut out = Copied { replies, out: &mut self.arena };
                let sound = frames::answer(data, &mut conn.carry, &mut out);
                conn.segment.end = self.arena.len();
                sound
            }
            SendBy::Plain | SendBy::ZeroCopy => {
                frames::answer(data, &mut conn.carry, &mut Copied { replies, out: &mut conn.out })
            }
        };
        if sound == Err(Broken) {
            self.refuse(slot);
        }
        self.mark(slot);
    }

    /// Says goodbye behind the replies so far where they are copied, and closes.
    fn refuse(&mut self, slot: u32) {
        let conn = self.conns.get(slot);
        conn.ended = true;
        if !conn.segment.is_empty() {
            self.arena.extend_from_slice(PROTOCOL_ERROR);
            conn.segment.end = self.arena.len();
        } else if matches!(self.send, SendBy::Plain | SendBy::ZeroCopy) {
            conn.out.extend_from_slice(PROTOCOL_ERROR);
        }
        self.closing.push(slot);
    }

    /// Puts a connection that has replies into the list of those, once; gives up on one that reads far too slowly.
    #[inline]
    pub fn mark(&mut self, slot: u32) {
        let conn = self.conns.get(slot);
        if conn.is_beyond_limits() {
            self.abort(slot);
        } else if !conn.dirty && !conn.is_flushed() {
            conn.dirty = true;
            self.dirty.push(slot);
        }
    }

    /// Gives up on a connection: what it has not read is lost.
    pub fn abort(&mut self, slot: u32) {
        let conn = self.conns.get(slot);
        conn.ended = true;
        conn.broken = true;
        self.closing.push(slot);
    }
}
