//! What is asked for: which key, read or written, how long a value. All of it chosen ahead or in a few nanoseconds,
//! because the generator must cost less per request than any server it drives.
//!
//! ```text
//!  Mix (shared plan) ──► Picker (one per thread: its own random numbers) ──► Op::Get(key) | Op::Set(key, value bytes)
//!   ├─ Dist   which of the keys, by its inverse distribution function
//!   ├─ Ratio  reads to writes
//!   └─ Sizes  bytes of a value
//! ```
//!
//! A key is a number below `keys`; `names` turns it into bytes. Values are made and checked by `values`.

mod dist;
mod names;
mod sizes;
mod values;

pub use dist::{Dist, Quantiles};
pub use names::{Names, scattered};
pub use sizes::Sizes;
pub use values::Values;

use rand::rngs::SmallRng;
use rand::{RngCore, SeedableRng};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// One request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    Get(u64),
    /// A key and the length of the value to write.
    Set(u64, usize),
}

/// Reads to writes, as `--ratio 9:1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ratio {
    pub gets: u32,
    pub sets: u32,
}

impl FromStr for Ratio {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts =
            text.split_once(':').and_then(|(gets, sets)| Some((gets.parse().ok()?, sets.parse().ok()?)));
        match parts {
            Some((0, 0)) => Err("0:0 asks for nothing".into()),
            Some((gets, sets)) => Ok(Self { gets, sets }),
            None => Err(format!("`{text}` is no ratio; reads to writes are given as 9:1")),
        }
    }
}

impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.gets, self.sets)
    }
}

/// The plan of all threads.
#[derive(Clone, Debug)]
pub struct Mix {
    quantiles: Arc<Quantiles>,
    sizes: Arc<Sizes>,
    /// A draw below this is a read.
    gets_below: u64,
}

impl Mix {
    pub fn new(keys: u64, dist: &Dist, ratio: Ratio, sizes: &Sizes) -> Self {
        let all = u128::from(ratio.gets) + u128::from(ratio.sets);
        let share = (u128::from(ratio.gets) << 64) / all;
        Self {
            quantiles: Arc::new(Quantiles::new(dist, keys)),
            sizes: Arc::new(sizes.clone()),
            gets_below: u64::try_from(share).unwrap_or(u64::MAX),
        }
    }
}

/// One thread's draws from a [`Mix`].
pub struct Picker {
    mix: Mix,
    random: SmallRng,
}

impl Picker {
    pub fn new(mix: Mix, seed: u64) -> Self {
        Self { mix, random: SmallRng::seed_from_u64(seed) }
    }

    #[inline]
    pub fn pick(&mut self) -> Op {
        let key = self.mix.quantiles.key(self.random.next_u64());
        let reads = match self.mix.gets_below {
            u64::MAX => true,
            0 => false,
            below => self.random.next_u64() < below,
        };
        if reads { Op::Get(key) } else { Op::Set(key, self.size()) }
    }

    /// The length of a value to write.
    #[inline]
    pub fn size(&mut self) -> usize {
        match &*self.mix.sizes {
            Sizes::Fixed(size) => *size,
            varied => varied.draw(self.random.next_u64()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mix_keeps_its_ratio() {
        for (text, share) in [("9:1", 0.9), ("1:1", 0.5), ("0:1", 0.0), ("1:0", 1.0)] {
            let mix = Mix::new(1000, &Dist::Uniform, text.parse().unwrap(), &Sizes::Fixed(8));
            let mut picker = Picker::new(mix, 1);
            let gets = (0..20_000).filter(|_| matches!(picker.pick(), Op::Get(_))).count();
            assert!((gets as f64 / 20_000.0 - share).abs() < 0.01, "{text}: {gets}");
        }
        assert!("0:0".parse::<Ratio>().is_err() && "9".parse::<Ratio>().is_err());
    }

    #[test]
    fn a_seed_repeats_its_requests() {
        let mix = Mix::new(1000, &Dist::Zipf(0.99), Ratio { gets: 1, sets: 1 }, &Sizes::Range(1, 100));
        let draw = |seed| {
            let mut picker = Picker::new(mix.clone(), seed);
            (0..50).map(|_| picker.pick()).collect::<Vec<_>>()
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
    }
}
