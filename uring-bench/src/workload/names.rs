//! Keys as bytes: `key:` and decimal digits, filled up with zeros to the wanted length, as other load generators name theirs.
//! Writing one patches the digits into a copy of a request made once; eight digits cost a few multiplications.

/// How keys are named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Names {
    len: usize,
}

const PREFIX: &[u8] = b"key:";

impl Names {
    /// Names of `len` bytes for keys below `keys`. The prefix gives way where the digits need its room.
    pub fn new(keys: u64, len: usize) -> Result<Self, String> {
        let digits = keys.saturating_sub(1).checked_ilog10().map_or(1, |log| log as usize + 1);
        if len < digits {
            return Err(format!("keys of {len} bytes cannot number {keys}; use --key-size {digits} or more"));
        }
        Ok(Self { len })
    }

    /// Bytes of every key.
    pub fn len(&self) -> usize {
        self.len
    }

    /// The name of key 0, which [`Names::number`] turns into any other.
    pub fn zero(&self) -> Vec<u8> {
        let mut name = vec![b'0'; self.len];
        // Short names have no prefix; in longer ones a very large number may write over it.
        if self.len >= PREFIX.len() + 8 {
            name[..PREFIX.len()].copy_from_slice(PREFIX);
        }
        name
    }

    /// Writes `key`'s digits over those of key 0. `name` is as long as [`Names::len`] says.
    #[inline]
    pub fn number(&self, key: u64, name: &mut [u8]) {
        match name.last_chunk_mut::<8>() {
            Some(last) if key < 100_000_000 => *last = eight_digits(key as u32), // Below 10^8.
            _ => number_by_parts(key, name),
        }
    }

    /// The name of a key, for messages and checks.
    pub fn name(&self, key: u64) -> Vec<u8> {
        let mut name = self.zero();
        self.number(key, &mut name);
        name
    }
}

/// Eight digits at a time from the end, then one by one.
#[inline(never)]
fn number_by_parts(key: u64, name: &mut [u8]) {
    let mut rest = key;
    let mut end = name.len();
    while end >= 8 && rest > 0 {
        name[end - 8..end].copy_from_slice(&eight_digits((rest % 100_000_000) as u32)); // Below 10^8.
        rest /= 100_000_000;
        end -= 8;
    }
    while end > 0 && rest > 0 {
        end -= 1;
        name[end] = b'0' + (rest % 10) as u8; // A digit.
        rest /= 10;
    }
}

/// The decimal digits of a number below 10^8, all lanes at once: by four, by two, by one.
#[inline]
fn eight_digits(number: u32) -> [u8; 8] {
    let fours = u64::from(number / 10_000) | u64::from(number % 10_000) << 32;
    let hundreds = ((fours * 10_486) >> 20) & 0x0000_007F_0000_007F;
    let twos = hundreds | (fours - hundreds * 100) << 16;
    let tens = ((twos * 103) >> 10) & 0x000F_000F_000F_000F;
    let ones = tens | (twos - tens * 10) << 8;
    (ones + 0x3030_3030_3030_3030).to_le_bytes()
}

/// A number below `keys` for every number below `keys`, each once, neighbours far apart: the order in which keys are first
/// written, so that the hot ones do not lie side by side in the server's memory.
pub fn scattered(index: u64, keys: u64) -> u64 {
    // A prime that is no divisor of `keys` (a multiple of it would be over 10^19): multiplying by it is a permutation.
    const PRIME: u128 = 0x9E37_79B1_85EB_CA87;
    ((u128::from(index) * PRIME) % u128::from(keys)) as u64 // Below `keys`.
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn digits_are_those_of_the_number() {
        let some = (0..100_000_000u32).step_by(9_973).chain([99_999_999, 10_000, 9_999, 1]);
        some.for_each(|n| assert_eq!(eight_digits(n), *format!("{n:08}").as_bytes()));
    }

    #[test]
    fn names_have_their_length_and_number() {
        let names = Names::new(u64::MAX, 24).unwrap();
        assert_eq!(names.name(42), b"key:00000000000000000042");
        assert_eq!(names.name(u64::MAX - 1), b"000018446744073709551614");
        assert_eq!(Names::new(1_000_000, 16).unwrap().name(999_999), b"key:000000999999");
        assert_eq!(Names::new(1_000_000, 6).unwrap().name(123_456), b"123456");
        assert_eq!(Names::new(1000, 10).unwrap().name(7), b"0000000007");
        assert!(Names::new(1_000_001, 6).is_err());
        assert!(Names::new(1, 1).is_ok() && Names::new(1, 0).is_err());
    }

    #[test]
    fn scattering_loses_no_key() {
        for keys in [1, 2, 3, 10, 97, 1000, 65_536] {
            let all: HashSet<u64> = (0..keys).map(|index| scattered(index, keys)).collect();
            assert_eq!(all.len() as u64, keys);
            assert!(all.iter().all(|key| *key < keys));
        }
    }
}
