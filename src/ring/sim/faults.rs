//! What may go wrong, how often, and the generator that decides. The same seed makes the same decisions.

use std::time::Duration;

/// Probabilities in percent. A connection that is cut is cut for good; everything else only makes progress slower.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Faults {
    /// A receive brings fewer bytes than are there: cut anywhere.
    pub split_recv: u8,
    /// A completion that could come now comes later; others overtake it.
    pub delay: u8,
    /// A send takes only part of what there is room for.
    pub short_send: u8,
    /// A send takes nothing.
    pub refuse_send: u8,
    /// A receive finds no buffer.
    pub no_buffer: u8,
    /// An accept finds no descriptor, and the listener pauses.
    pub no_descriptor: u8,
    /// The peer cuts the connection, at any operation.
    pub reset: u8,
    /// How long a delayed completion takes at most.
    pub max_delay: Duration,
}

impl Faults {
    /// A perfect network: everything at once and whole.
    pub const NONE: Self = Self {
        split_recv: 0,
        delay: 0,
        short_send: 0,
        refuse_send: 0,
        no_buffer: 0,
        no_descriptor: 0,
        reset: 0,
        max_delay: Duration::from_micros(100),
    };

    /// A bad one that loses no connection: every reply must still be whole and in order.
    pub const ROUGH: Self = Self {
        split_recv: 50,
        delay: 30,
        short_send: 30,
        refuse_send: 20,
        no_buffer: 20,
        no_descriptor: 20,
        reset: 0,
        max_delay: Duration::from_micros(500),
    };

    /// As `ROUGH`, and connections break.
    pub const HOSTILE: Self = Self { reset: 2, ..Self::ROUGH };
}

/// SplitMix64: small, and good enough for choosing faults.
#[derive(Debug)]
pub(super) struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number in `0..bound`; `bound` is over 0.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize // Smaller than a usize.
    }

    /// True in `percent` of 100 cases.
    pub fn happens(&mut self, percent: u8) -> bool {
        percent > 0 && self.below(100) < usize::from(percent)
    }

    /// Fisher-Yates.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for index in (1..items.len()).rev() {
            items.swap(index, self.below(index + 1));
        }
    }
}
