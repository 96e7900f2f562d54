//! What a client has said about itself: the state that commands read and change.

use super::{ChannelKind, Listening, Tracking, Transaction, Watched};
use crate::proto::Form;

/// CLIENT REPLY.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplyMode {
    On,
    Off,
    /// The next command's reply is suppressed.
    SkipNext,
    /// This command's reply is suppressed.
    SkipThis,
}

/// Per-connection state of the RESP protocol; RESET restores the defaults.
#[derive(Clone, Debug)]
pub struct Session {
    /// Unique over the server's life, never reused.
    pub id: u64,
    /// SELECT.
    pub db: u8,
    /// HELLO 3.
    pub resp3: bool,
    pub authenticated: bool,
    pub reply_mode: ReplyMode,
    pub no_evict: bool,
    /// CLIENT NO-TOUCH: reads do not count as use.
    pub no_touch: bool,
    /// CLIENT TRACKING … NOLOOP: the low half of `id`, by which its own changes are known; otherwise 0.
    pub origin: u32,
    /// What is sent to it unasked; most connections have none of it.
    pub listening: Option<Box<Listening>>,
    /// Until when the command that has parked this connection waits, Unix milliseconds.
    pub wait_until_ms: Option<u64>,
    /// The hash of the key under which it is entered as waiting.
    pub waits_for: Option<u64>,
    pub name: Box<str>,
    pub lib_name: Box<str>,
    pub lib_version: Box<str>,
    /// Since MULTI.
    pub transaction: Option<Box<Transaction>>,
    /// WATCH.
    pub watched: Vec<Watched>,
}

impl Session {
    pub fn new(id: u64, authenticated: bool) -> Session {
        Session {
            id,
            db: 0,
            resp3: false,
            authenticated,
            reply_mode: ReplyMode::On,
            no_evict: false,
            no_touch: false,
            origin: 0,
            listening: None,
            wait_until_ms: None,
            waits_for: None,
            name: Box::default(),
            lib_name: Box::default(),
            lib_version: Box::default(),
            transaction: None,
            watched: Vec::new(),
        }
    }

    /// How its commands are answered.
    #[inline]
    pub fn form(&self) -> Form<'static> {
        Form::Resp { resp3: self.resp3, no_touch: self.no_touch, origin: self.origin }
    }

    /// What is sent to it unasked, to be changed.
    pub fn listening_mut(&mut self) -> &mut Listening {
        self.listening.get_or_insert_default()
    }

    /// How many channels and patterns it has subscribed to.
    pub fn subscribed(&self, kind: ChannelKind) -> usize {
        self.listening.as_ref().map_or(0, |listening| listening.subscriptions.count(kind))
    }

    /// In RESP2 a subscriber could not tell messages from replies: it may do nothing else.
    #[inline]
    pub fn only_subscribes(&self) -> bool {
        !self.resp3 && self.listening.as_ref().is_some_and(|listening| !listening.subscriptions.is_empty())
    }

    pub fn tracking(&self) -> Option<&Tracking> {
        self.listening.as_ref()?.tracking.as_ref()
    }

    /// Whether keys that its next command reads are remembered for it.
    #[inline]
    pub fn remembers_reads(&self) -> bool {
        self.tracking().is_some_and(Tracking::remembers_reads)
    }

    /// Whether a command of it is more than the command itself.
    #[inline]
    pub fn is_plain(&self) -> bool {
        self.listening.is_none() || !(self.only_subscribes() || self.tracking().is_some())
    }

    /// Whether commands are queued rather than run.
    #[inline]
    pub fn in_multi(&self) -> bool {
        self.transaction.is_some()
    }

    /// Bytes of memory that a transaction and watched keys take.
    pub fn memory(&self) -> usize {
        let keys: usize = self.watched.iter().map(|one| one.key.len()).sum();
        let queued = self.transaction.as_ref().map_or(0, |transaction| transaction.memory());
        queued + keys + self.watched.capacity() * size_of::<Watched>()
    }

    /// RESET: as after connecting.
    pub fn reset(&mut self, authenticated: bool) {
        *self = Session::new(self.id, authenticated);
    }

    /// To be called before each command of the connection.
    pub fn command_begins(&mut self) {
        if self.reply_mode == ReplyMode::SkipNext {
            self.reply_mode = ReplyMode::SkipThis;
        }
    }

    /// To be called when it has run: whether its reply is to be dropped. (CLIENT REPLY itself writes nothing that would have to be.)
    pub fn command_ends(&mut self) -> bool {
        match self.reply_mode {
            ReplyMode::On | ReplyMode::SkipNext => false,
            ReplyMode::Off => true,
            ReplyMode::SkipThis => {
                self.reply_mode = ReplyMode::On;
                true
            }
        }
    }
}
