//! The command table: one row per command, looked up once per request and read by COMMAND and by the statistics.
//!
//! A name is compared ignoring case, without allocating. The commands that clients send most are recognised by one integer
//! comparison; the others by a hash of their first sixteen bytes, into slots laid out at compile time:
//!
//! ```text
//! "GeT"    ─► 3 bytes, each | 0x20 = "get" ─► row of "get"
//! "pTtL"   ─► 16 bytes, each | 0x20 ─► × odd ─► top bits ─► SLOTS[n], n + 1, … ─► compare the name ─► row
//! ```

mod commands;

use super::{Context, Flow, Op, PlanContext};
use crate::proto::Outcome;
use crate::proto::resp::Writer;
use std::borrow::Cow;

pub use commands::COMMANDS;

/// The text of an error reply, with its code and without the dash.
pub type ErrorText = Cow<'static, str>;

/// Checks a command's arguments and makes the operation on its key. The number of arguments fits the arity already.
pub type PlanFn = for<'a> fn(&[&'a [u8]], &PlanContext<'a, '_>) -> Result<Op<'a>, ErrorText>;

/// Makes an operation on the key of a command, if it is one. The number of arguments fits the arity already.
pub type MaybeFn = for<'a> fn(&[&'a [u8]], &PlanContext<'a, '_>) -> Option<Op<'a>>;

/// Runs a command alone and writes its whole reply. `args[0]` is the command's name as the client wrote it; the number of
/// arguments fits the arity already.
pub type BarrierFn = fn(args: &[&[u8]], ctx: &mut Context<'_>, out: &mut Writer<'_>) -> Flow;

/// How a command is executed.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// One key, the argument at `keys.first`: joins the turn's batch.
    Keyed(PlanFn),
    /// Joins the batch if it has exactly this many arguments, and so one key; otherwise runs alone.
    KeyedIf(usize, PlanFn, BarrierFn),
    /// Joins the batch if this holds of its arguments; otherwise runs alone.
    KeyedWhere(fn(&[&[u8]]) -> bool, PlanFn, BarrierFn),
    /// Joins the batch if this makes an operation on its first key, the argument at 3; otherwise runs alone.
    KeyedScript(MaybeFn, BarrierFn),
    /// Answered while planning if it has no arguments; otherwise runs alone.
    ImmediateIfBare(fn() -> Outcome, BarrierFn),
    /// Runs alone.
    Barrier(BarrierFn),
    /// The second argument names what to do. `bare` runs when there is none, where that is allowed.
    Container { bare: Option<BarrierFn>, subcommands: &'static [Spec] },
}

/// What a command's documentation is filed under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    Bitmap,
    Connection,
    Generic,
    PubSub,
    Scripting,
    Server,
    String,
    Transactions,
}

impl Group {
    pub fn name(self) -> &'static str {
        match self {
            Group::Bitmap => "bitmap",
            Group::Connection => "connection",
            Group::Generic => "generic",
            Group::PubSub => "pubsub",
            Group::Scripting => "scripting",
            Group::Server => "server",
            Group::String => "string",
            Group::Transactions => "transactions",
        }
    }
}

/// Sets of named bits.
macro_rules! named_bits {
    ($(#[$doc:meta])* $type:ident { $($const:ident $bit:literal $name:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct $type(u16);

        impl $type {
            pub const NONE: $type = $type(0);
            $(pub const $const: $type = $type(1 << $bit);)*

            /// Both sets together.
            pub const fn with(self, other: $type) -> $type {
                $type(self.0 | other.0)
            }

            /// Whether all of `other` is in here.
            pub const fn has(self, other: $type) -> bool {
                self.0 & other.0 == other.0
            }

            /// The names of the bits in here, in the order in which COMMAND INFO lists them.
            pub fn names(self) -> impl Iterator<Item = &'static str> + Clone {
                const ALL: &[($type, &str)] = &[$(($type::$const, $name)),*];
                ALL.iter().filter(move |(bit, _)| self.has(*bit)).map(|(_, name)| *name)
            }
        }
    };
}

named_bits! {
    /// How a command behaves.
    Flags {
        WRITE 0 "write",
        READONLY 1 "readonly",
        DENYOOM 2 "denyoom",
        ADMIN 3 "admin",
        PUBSUB 12 "pubsub",
        NOSCRIPT 4 "noscript",
        LOADING 5 "loading",
        STALE 6 "stale",
        FAST 7 "fast",
        NO_AUTH 8 "no_auth",
        ALLOW_BUSY 9 "allow_busy",
        NO_MULTI 10 "no_multi",
        MOVABLEKEYS 11 "movablekeys",
    }
}

named_bits! {
    /// What a command is about, as access rules name it.
    Categories {
        KEYSPACE 0 "@keyspace",
        READ 1 "@read",
        WRITE 2 "@write",
        STRING 3 "@string",
        BITMAP 4 "@bitmap",
        ADMIN 5 "@admin",
        PUBSUB 10 "@pubsub",
        FAST 6 "@fast",
        SLOW 7 "@slow",
        DANGEROUS 8 "@dangerous",
        CONNECTION 9 "@connection",
        TRANSACTION 10 "@transaction",
        SCRIPTING 11 "@scripting",
    }
}

/// Which arguments are keys: from `first` to `last` (negative: counted from the end) in steps of `step`. All 0: none, or
/// (with `MOVABLEKEYS`) not told by position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keys {
    pub first: i8,
    pub last: i8,
    pub step: i8,
}

/// One command, or one subcommand.
#[derive(Clone, Copy, Debug)]
pub struct Spec {
    /// Lower case; a subcommand's has its container in front ("client|list").
    pub name: &'static str,
    /// Number of arguments with the name; negative: at least so many.
    pub arity: i8,
    pub flags: Flags,
    pub keys: Keys,
    pub group: Group,
    /// The Redis or Valkey version that has it first.
    pub since: &'static str,
    pub complexity: &'static str,
    pub summary: &'static str,
    pub kind: Kind,
    /// Categories beyond those that follow from flags and group.
    pub also: Categories,
}

impl Spec {
    /// Whether a request of `len` arguments, the name included, has the right number of them.
    #[inline]
    pub fn accepts(&self, len: usize) -> bool {
        let arity = usize::from(self.arity.unsigned_abs());
        if self.arity < 0 { len >= arity } else { len == arity }
    }

    /// The part of the name that the client writes: "list" of "client|list".
    pub fn own_name(&self) -> &'static str {
        self.name.split_once('|').map_or(self.name, |(_, own)| own)
    }

    pub fn subcommands(&self) -> &'static [Spec] {
        match self.kind {
            Kind::Container { subcommands, .. } => subcommands,
            _ => &[],
        }
    }

    /// The subcommand of this name, ignoring case.
    pub fn subcommand(&self, name: &[u8]) -> Option<&'static Spec> {
        self.subcommands().iter().find(|sub| sub.own_name().as_bytes().eq_ignore_ascii_case(name))
    }

    pub fn categories(&self) -> Categories {
        if let Kind::Container { bare: None, .. } = self.kind {
            return Categories::SLOW;
        }
        let mut all = self.also;
        for (flag, category) in [
            (Flags::WRITE, Categories::WRITE),
            (Flags::READONLY, Categories::READ),
            (Flags::ADMIN, Categories::ADMIN.with(Categories::DANGEROUS)),
        ] {
            if self.flags.has(flag) {
                all = all.with(category);
            }
        }
        all = all.with(if self.flags.has(Flags::FAST) { Categories::FAST } else { Categories::SLOW });
        all.with(match self.group {
            Group::Bitmap => Categories::BITMAP,
            Group::Connection => Categories::CONNECTION,
            Group::Generic => Categories::KEYSPACE,
            Group::Scripting => Categories::SCRIPTING,
            Group::PubSub if self.flags.has(Flags::PUBSUB) => Categories::PUBSUB,
            Group::PubSub | Group::Server => Categories::NONE,
            Group::String => Categories::STRING,
            Group::Transactions => Categories::TRANSACTION,
        })
    }
}

/// Finds a command by its name in any case; the answer is an index into [`COMMANDS`].
#[inline]
pub fn lookup(name: &[u8]) -> Option<u16> {
    const GET: u16 = row("get");
    const SET: u16 = row("set");
    const DEL: u16 = row("del");
    const TTL: u16 = row("ttl");
    const INCR: u16 = row("incr");
    const MGET: u16 = row("mget");
    const PING: u16 = row("ping");
    // Setting the bit that tells small letters from capitals makes a letter out of nothing but its own two cases.
    match *name {
        [a, b, c] => match [a | 0x20, b | 0x20, c | 0x20] {
            [b'g', b'e', b't'] => Some(GET),
            [b's', b'e', b't'] => Some(SET),
            [b'd', b'e', b'l'] => Some(DEL),
            [b't', b't', b'l'] => Some(TTL),
            _ => hashed(name),
        },
        [a, b, c, d] => match &[a | 0x20, b | 0x20, c | 0x20, d | 0x20] {
            b"incr" => Some(INCR),
            b"mget" => Some(MGET),
            b"ping" => Some(PING),
            _ => hashed(name),
        },
        _ => hashed(name),
    }
}

const SLOT_BITS: u32 = 9;
const EMPTY: u16 = u16::MAX;

/// Rows by the hash of their name; a collision goes to the next free slot.
static SLOTS: [u16; 1 << SLOT_BITS] = slots();

fn hashed(name: &[u8]) -> Option<u16> {
    let mut slot = slot_of(name)?;
    loop {
        let row = SLOTS[slot];
        if row == EMPTY {
            return None;
        }
        if COMMANDS[usize::from(row)].name.as_bytes().eq_ignore_ascii_case(name) {
            return Some(row);
        }
        slot = (slot + 1) % SLOTS.len();
    }
}

/// Where the search for a name begins; `None` if it is longer than any.
const fn slot_of(name: &[u8]) -> Option<usize> {
    if name.len() > 16 {
        return None;
    }
    let mut word = 0_u128;
    let mut i = 0;
    while i < name.len() {
        word = word << 8 | (name[i] | 0x20) as u128;
        i += 1;
    }
    let mixed = (word as u64 ^ (word >> 64) as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    Some((mixed >> (64 - SLOT_BITS)) as usize)
}

const fn slots() -> [u16; 1 << SLOT_BITS] {
    assert!(COMMANDS.len() * 2 < 1 << SLOT_BITS, "a fuller table would probe for long");
    let mut slots = [EMPTY; 1 << SLOT_BITS];
    let mut i = 0;
    while i < COMMANDS.len() {
        let Some(mut slot) = slot_of(COMMANDS[i].name.as_bytes()) else { panic!("a name of over 16 bytes") };
        while slots[slot] != EMPTY {
            slot = (slot + 1) % slots.len();
        }
        slots[slot] = i as u16;
        i += 1;
    }
    slots
}

/// The row of a name that is known while compiling.
pub(super) const fn row(name: &str) -> u16 {
    let mut i = 0;
    while i < COMMANDS.len() {
        if same(COMMANDS[i].name.as_bytes(), name.as_bytes()) {
            return i as u16;
        }
        i += 1;
    }
    panic!("no such command")
}

const fn same(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    let mut i = 0;
    while i < a.len() {
        if a[i] != b[i] {
            return false;
        }
        i += 1;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_found_in_any_case() {
        for (i, spec) in COMMANDS.iter().enumerate() {
            let mixed: Vec<u8> = spec
                .name
                .bytes()
                .enumerate()
                .map(|(n, byte)| if n % 2 == 0 { byte.to_ascii_uppercase() } else { byte })
                .collect();
            assert_eq!(lookup(spec.name.as_bytes()), Some(i as u16), "{}", spec.name);
            assert_eq!(lookup(&mixed), Some(i as u16), "{}", spec.name);
            assert_eq!(lookup(spec.name.to_uppercase().as_bytes()), Some(i as u16), "{}", spec.name);
        }
    }

    #[test]
    fn other_names_are_not_found() {
        for name in
            ["", "g", "ge", "gett", "hset", "lpush", "xyz", "bitfield\x7fro", "averyverylongcommandname"]
        {
            assert_eq!(lookup(name.as_bytes()), None, "{name}");
        }
    }

    #[test]
    fn rows_are_sorted_and_consistent() {
        assert!(COMMANDS.is_sorted_by(|a, b| a.name < b.name));
        for spec in COMMANDS {
            for sub in spec.subcommands() {
                assert_eq!(sub.name.split_once('|').map(|(container, _)| container), Some(spec.name));
                assert!(matches!(sub.kind, Kind::Keyed(_) | Kind::Barrier(_)), "{}", sub.name);
            }
            if let Kind::Keyed(_) = spec.kind {
                assert_eq!((spec.keys.first, spec.keys.last), (1, 1), "{}", spec.name);
            }
        }
    }
}
