//! The opcodes: what each asks for, whether it is quiet, and which parts it must have.

/// The second byte of a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opcode(pub u8);

/// What an opcode asks for, quiet or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// With its key in the reply (GETK), or without.
    Get {
        with_key: bool,
    },
    /// The value and a new expiry (GAT, GATK).
    GetAndTouch {
        with_key: bool,
    },
    Touch,
    Set,
    Add,
    Replace,
    Append,
    Prepend,
    Delete,
    Increment,
    Decrement,
    Quit,
    Flush,
    Noop,
    Version,
    Stat,
    Verbosity,
    SaslListMechs,
    SaslAuth,
    SaslStep,
    /// Any other opcode.
    Unknown,
}

impl Opcode {
    #[inline]
    pub fn verb(self) -> Verb {
        match self.0 {
            0x00 | 0x09 => Verb::Get { with_key: false },
            0x01 | 0x11 => Verb::Set,
            0x02 | 0x12 => Verb::Add,
            0x03 | 0x13 => Verb::Replace,
            0x04 | 0x14 => Verb::Delete,
            0x05 | 0x15 => Verb::Increment,
            0x06 | 0x16 => Verb::Decrement,
            0x07 | 0x17 => Verb::Quit,
            0x08 | 0x18 => Verb::Flush,
            0x0a => Verb::Noop,
            0x0b => Verb::Version,
            0x0c | 0x0d => Verb::Get { with_key: true },
            0x0e | 0x19 => Verb::Append,
            0x0f | 0x1a => Verb::Prepend,
            0x10 => Verb::Stat,
            0x1b => Verb::Verbosity,
            0x1c => Verb::Touch,
            0x1d | 0x1e => Verb::GetAndTouch { with_key: false },
            0x20 => Verb::SaslListMechs,
            0x21 => Verb::SaslAuth,
            0x22 => Verb::SaslStep,
            0x23 | 0x24 => Verb::GetAndTouch { with_key: true },
            _ => Verb::Unknown,
        }
    }

    /// Whether the client wants to hear only of what it cannot take for granted.
    #[inline]
    pub fn is_quiet(self) -> bool {
        matches!(self.0, 0x09 | 0x0d | 0x11..=0x1a | 0x1e | 0x24)
    }
}

impl Verb {
    /// Whether a request of this verb may have parts of these lengths, in bytes. Values are bounded elsewhere.
    #[inline]
    pub fn fits(self, extras_len: usize, key_len: usize, value_len: usize) -> bool {
        let parts = (extras_len, key_len > 0, value_len > 0);
        match self {
            Verb::Get { .. } | Verb::Delete => parts == (0, true, false),
            // Flags and expiry.
            Verb::Set | Verb::Add | Verb::Replace => matches!(parts, (8, true, _)),
            Verb::Append | Verb::Prepend => matches!(parts, (0, true, _)),
            // Delta, initial number, expiry.
            Verb::Increment | Verb::Decrement => parts == (20, true, false),
            // Expiry.
            Verb::Touch | Verb::GetAndTouch { .. } => parts == (4, true, false),
            // When, if not now.
            Verb::Flush => matches!(parts, (0 | 4, false, false)),
            Verb::Noop | Verb::Version | Verb::Quit | Verb::SaslListMechs => parts == (0, false, false),
            // Which figures.
            Verb::Stat => matches!(parts, (0, _, false)),
            Verb::Verbosity => parts == (4, false, false),
            // The mechanism.
            Verb::SaslAuth | Verb::SaslStep => matches!(parts, (0, true, _)),
            Verb::Unknown => true,
        }
    }

    /// Whether it is answered before the password was given.
    pub fn needs_no_password(self) -> bool {
        self.is_sasl() || self == Verb::Version
    }

    pub fn is_sasl(self) -> bool {
        matches!(self, Verb::SaslListMechs | Verb::SaslAuth | Verb::SaslStep)
    }

    /// Whether it may change an item.
    pub fn writes(self) -> bool {
        match self {
            Verb::Set | Verb::Add | Verb::Replace | Verb::Append | Verb::Prepend => true,
            Verb::Delete | Verb::Increment | Verb::Decrement | Verb::Flush => true,
            Verb::Touch | Verb::GetAndTouch { .. } => true,
            Verb::Get { .. } | Verb::Quit | Verb::Noop | Verb::Version | Verb::Stat | Verb::Verbosity => {
                false
            }
            Verb::SaslListMechs | Verb::SaslAuth | Verb::SaslStep | Verb::Unknown => false,
        }
    }

    /// Whether the reply repeats the key.
    pub fn answers_key(self) -> bool {
        matches!(self, Verb::Get { with_key: true } | Verb::GetAndTouch { with_key: true })
    }
}
