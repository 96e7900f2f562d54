//! Values: text that no generator of random bytes is asked for while measuring, and, when answers are verified, text that
//! tells whose value it is and whether it is whole.
//!
//! ```text
//!  plain      | filler ...                                                     |
//!  verified   | checksum, 16 hex digits | key | filler ...                      |
//!             └ of key, length, and everything behind it
//! ```
//!
//! A value shorter than its head holds as much of it as fits: fewer digits find fewer faults. All bytes are printable and
//! need no escape in JSON. The filler of each write starts elsewhere in the pool, so that a mixture of two writes shows.

use super::Names;
use bytes::Bytes;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use std::fmt;
use xxhash_rust::xxh3::xxh3_64_with_seed;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const SUM_DIGITS: usize = 16;
/// How far into the pool a filler may start.
const STARTS: usize = 4096;

/// Where values come from, and what they are checked against.
#[derive(Clone, Debug)]
pub struct Values {
    pool: Bytes,
    names: Names,
    /// The name of key 0, to be numbered.
    zero: Bytes,
}

/// A value that is not what was written under its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    pub key: String,
    pub got: String,
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} was answered with a value that was not written under it: {}", self.key, self.got)
    }
}

impl Values {
    /// For values of up to `max` bytes under keys named by `names`.
    pub fn new(max: usize, names: Names) -> Self {
        let mut random = SmallRng::seed_from_u64(0x5EED);
        let byte = |_| ALPHABET[random.random_range(0..ALPHABET.len())];
        Self { pool: (0..max + STARTS).map(byte).collect(), names, zero: names.zero().into() }
    }

    /// The bytes of an unverified value: the same for all.
    #[inline]
    pub fn plain(&self, len: usize) -> &[u8] {
        &self.pool[..len]
    }

    /// As [`Values::plain`], shared instead of copied: for large ones.
    pub fn plain_shared(&self, len: usize) -> Bytes {
        self.pool.slice(..len)
    }

    /// Appends a value of `len` bytes that can be checked. `nonce` chooses the filler.
    pub fn put_verified(&self, key: u64, len: usize, nonce: u64, out: &mut Vec<u8>) {
        let at = out.len();
        out.resize(at + SUM_DIGITS.min(len), b'.');
        let name = out.len();
        out.extend_from_slice(&self.zero);
        self.names.number(key, &mut out[name..]);
        out.truncate(at + len); // A short value holds as much of it as fits.
        let start = (nonce % STARTS as u64) as usize; // Below STARTS.
        let rest = at + len - out.len();
        out.extend_from_slice(&self.pool[start..start + rest]);
        let value = &mut out[at..];
        let digits = value.len().min(SUM_DIGITS);
        let sum = checksum(key, value);
        value[..digits].copy_from_slice(&sum[..digits]);
    }

    /// Whether `value` was written under `key` by [`Values::put_verified`].
    pub fn check(&self, key: u64, value: &[u8]) -> Result<(), Wrong> {
        let digits = value.len().min(SUM_DIGITS);
        if checksum(key, value)[..digits] == value[..digits] {
            return Ok(());
        }
        let shown = String::from_utf8_lossy(&value[..value.len().min(60)]).into_owned();
        let got = format!("{} bytes, {shown:?}{}", value.len(), if value.len() > 60 { "…" } else { "" });
        Err(Wrong { key: String::from_utf8_lossy(&self.names.name(key)).into_owned(), got })
    }
}

fn checksum(key: u64, value: &[u8]) -> [u8; SUM_DIGITS] {
    let covered = value.get(SUM_DIGITS..).unwrap_or_default();
    let sum = xxh3_64_with_seed(covered, key.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ value.len() as u64);
    let mut digits = [0; SUM_DIGITS];
    for (at, digit) in digits.iter_mut().enumerate() {
        *digit = b"0123456789abcdef"[(sum >> (60 - 4 * at)) as usize & 15];
    }
    digits
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn values() -> Values {
        Values::new(2000, Names::new(1_000_000, 16).unwrap())
    }

    fn made(key: u64, len: usize, nonce: u64) -> Vec<u8> {
        let mut value = Vec::new();
        values().put_verified(key, len, nonce, &mut value);
        value
    }

    #[test]
    fn a_value_names_its_key() {
        let value = made(42, 100, 9);
        assert_eq!(&value[16..32], b"key:000000000042");
        let wrong = values().check(43, &value).unwrap_err();
        assert!(
            wrong.to_string().contains("key:000000000043") && wrong.to_string().contains("key:000000000042")
        );
    }

    proptest! {
        #[test]
        fn what_was_written_passes_and_nothing_else(
            key in 0..1_000_000u64, other in 0..1_000_000u64, len in 16..2000usize, nonce: u64, at: usize
        ) {
            let value = made(key, len, nonce);
            prop_assert_eq!(value.len(), len);
            prop_assert!(value.iter().all(|byte| byte.is_ascii_graphic() && !b"\"\\".contains(byte)));
            prop_assert_eq!(values().check(key, &value), Ok(()));
            prop_assert!(key == other || values().check(other, &value).is_err(), "another key");
            prop_assert!(values().check(key, &value[..len - 1]).is_err(), "cut");
            let mut changed = value.clone();
            changed[at % len] ^= 1;
            prop_assert!(values().check(key, &changed).is_err(), "a changed byte");
        }

        #[test]
        fn short_values_pass_too(key in 0..1_000_000u64, len in 0..16usize) {
            prop_assert_eq!(values().check(key, &made(key, len, 3)), Ok(()));
        }
    }

    #[test]
    fn two_writes_of_a_key_mixed_are_found() {
        let (one, two) = (made(5, 200, 1), made(5, 200, 2));
        let mixed = [&one[..100], &two[100..]].concat();
        assert!(values().check(5, &mixed).is_err());
    }
}
