//! What an item may carry beside key, value and expiry: client flags, a CAS, an account of its use, leases.
//!
//! ```text
//!  FLAGS  4 bytes   client flags, little-endian               only if they are not 0
//!  META  13 bytes   CAS, 64 bit ┊ state ┊ last access, s       only once somebody has asked for what is in it
//!                               └ bits: 0 STALE · 1 WON · 2 FETCHED · 3 PLACEHOLDER · 4 WAITED
//! ```
//!
//! Most items are never asked for any of this and take no byte for it. An item without META was not asked for its CAS since it was
//! written, so that no CAS that a client holds can be its own. Who asks gives it one: that rewrites the item.
//!
//! The value of a CAS comes from a counter of the partition and is never used twice. Whatever changes an item gives it a new one or takes
//! META away, but for memcached's touch and for compaction.

/// Bytes of the two blocks.
pub(super) const FLAGS_LEN: usize = 4;
pub(super) const META_LEN: usize = 13;

/// What an item carries beside key, value and expiry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extra {
    /// The client's own; 0 takes no memory.
    pub flags: u32,
    pub meta: Option<Meta>,
}

/// The CAS of an item, and what is known of its use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Meta {
    /// Never 0, unless a client chose it.
    pub cas: u64,
    pub state: State,
    /// Unix seconds of the last use, or of the write if there was none; good until the year 2106.
    pub access_s: u32,
}

/// How a value stands to the truth, and to those who wait for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// Invalidated; served until somebody writes it anew.
    pub stale: bool,
    /// The right to write it anew has been given out.
    pub won: bool,
    /// Read since it was written.
    pub fetched: bool,
    /// Made by a miss and not filled yet. Only those who know of leases see it.
    pub placeholder: bool,
    /// Somebody waits for it to be filled, and is to be woken when it changes (wakes.rs).
    pub waited: bool,
}

impl Extra {
    /// What goes with a value to another key: the client's flags. The account of its use, and who waits for it, belong to the old one.
    pub fn moved(self) -> Extra {
        Extra { meta: None, ..self }
    }
}

impl State {
    fn to_byte(self) -> u8 {
        u8::from(self.stale)
            | u8::from(self.won) << 1
            | u8::from(self.fetched) << 2
            | u8::from(self.placeholder) << 3
            | u8::from(self.waited) << 4
    }

    fn from_byte(byte: u8) -> State {
        let bit = |n: u8| byte >> n & 1 == 1;
        State { stale: bit(0), won: bit(1), fetched: bit(2), placeholder: bit(3), waited: bit(4) }
    }
}

impl Meta {
    pub(super) fn to_bytes(self) -> [u8; META_LEN] {
        let mut bytes = [0; META_LEN];
        bytes[..8].copy_from_slice(&self.cas.to_le_bytes());
        bytes[8] = self.state.to_byte();
        bytes[9..].copy_from_slice(&self.access_s.to_le_bytes());
        bytes
    }

    pub(super) fn from_bytes(bytes: &[u8; META_LEN]) -> Meta {
        let [c0, c1, c2, c3, c4, c5, c6, c7, state, a0, a1, a2, a3] = *bytes;
        Meta {
            cas: u64::from_le_bytes([c0, c1, c2, c3, c4, c5, c6, c7]),
            state: State::from_byte(state),
            access_s: u32::from_le_bytes([a0, a1, a2, a3]),
        }
    }
}

/// Whole seconds of a time in milliseconds, as [`Meta::access_s`] keeps them.
pub(super) fn seconds(ms: u64) -> u32 {
    u32::try_from(ms / 1000).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn meta_survives_its_bytes() {
        for byte in 0..32 {
            let meta = Meta {
                cas: u64::MAX - 7,
                state: State::from_byte(byte),
                access_s: 0x8765_4321 + u32::from(byte),
            };
            assert_eq!(meta.state.to_byte(), byte);
            assert_eq!(Meta::from_bytes(&meta.to_bytes()), meta);
        }
    }
}
