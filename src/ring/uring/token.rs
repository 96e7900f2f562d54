//! What a completion belongs to, packed into its 64-bit `user_data`.
//!
//! ```text
//!  63      56 55                     32 31                                0
//! +----------+-------------------------+-----------------------------------+
//! |   kind   | slot, or listener       | generation, or send index         |
//! +----------+-------------------------+-----------------------------------+
//! ```

use crate::ring::ConnId;

const SLOT_BITS: u32 = 24;
/// Connections of one ring: 16 million, far over any descriptor limit.
pub const MAX_SLOTS: u32 = 1 << SLOT_BITS;

/// The operation behind a completion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Token {
    /// Multishot (or single) accept of a listener, by its index in the driver.
    Accept(u8),
    Recv(ConnId),
    /// One chunk of a `send_owned`.
    Chunk(ConnId),
    Close(ConnId),
    /// The send with this index in the turn's `Outgoing`.
    Outgoing(u32),
    Doorbell,
    /// A cancel, or a close whose outcome changes nothing.
    Ignored,
}

impl Token {
    pub fn encode(self) -> u64 {
        let (kind, high, low) = match self {
            Token::Ignored => (0, 0, 0),
            Token::Accept(listener) => (1, listener.into(), 0),
            Token::Recv(conn) => (2, conn.slot, conn.generation),
            Token::Chunk(conn) => (3, conn.slot, conn.generation),
            Token::Close(conn) => (4, conn.slot, conn.generation),
            Token::Outgoing(index) => (5, 0, index),
            Token::Doorbell => (6, 0, 0),
        };
        debug_assert!(high < MAX_SLOTS);
        kind << 56 | u64::from(high) << 32 | u64::from(low)
    }

    pub fn decode(data: u64) -> Token {
        let slot = (data >> 32) as u32 & (MAX_SLOTS - 1);
        let low = data as u32; // The low half, by design.
        let conn = ConnId { slot, generation: low };
        match data >> 56 {
            1 => Token::Accept(slot as u8), // Encoded from a u8.
            2 => Token::Recv(conn),
            3 => Token::Chunk(conn),
            4 => Token::Close(conn),
            5 => Token::Outgoing(low),
            6 => Token::Doorbell,
            _ => Token::Ignored,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_token_survives_the_round_trip() {
        let conn = ConnId { slot: MAX_SLOTS - 1, generation: u32::MAX };
        let tokens = [
            Token::Accept(255),
            Token::Recv(conn),
            Token::Chunk(conn),
            Token::Close(ConnId { slot: 0, generation: 1 }),
            Token::Outgoing(u32::MAX),
            Token::Doorbell,
            Token::Ignored,
        ];
        for token in tokens {
            assert_eq!(Token::decode(token.encode()), token);
        }
    }
}
