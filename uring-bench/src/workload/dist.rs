//! Which of the keys a request asks for. Every distribution is its inverse distribution function, a table of quantiles
//! with straight lines between them: one random number, one look into a table that stays in the cache.
//!
//! ```text
//!  key (0 is the hottest)
//!    ▲                              ·      drawing u in 0..1:
//!    │                          ·            bucket = top bits of u, its two quantiles are the ends of a line
//!    │                     ·                 key    = the point on that line that the other bits of u name
//!    │  · · · · ·  ·  ·
//!    └────────────────────────────► u
//! ```
//!
//! The distribution function of discrete keys is itself made of straight lines, one per key. So the table is exact where a
//! bucket lies within one key or among keys of equal weight; elsewhere at most one bucket's weight (1/16,384) is misplaced
//! among neighbours.

use std::fmt;
use std::str::FromStr;

/// Buckets of a table, as a power of two: 128 KiB, which an L2 cache holds.
const BUCKET_BITS: u32 = 14;
/// Zipf weights are summed one by one up to here; beyond, by the integral with its first correction.
const EXACT_RANKS: u64 = 1 << 20;

/// How requests are spread over the keys.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Dist {
    Uniform,
    /// Key number `r` (from 1) is asked for in proportion to `r` to the power of minus this.
    Zipf(f64),
    /// `share` of the requests go to the first `keys` of the keys (both are fractions), the others evenly to the rest.
    Hotspot {
        keys: f64,
        share: f64,
    },
}

impl FromStr for Dist {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, numbers) = text.split_once(':').unwrap_or((text, ""));
        let fraction = |text: &str| text.parse::<f64>().ok().filter(|x| *x > 0.0 && *x < 1.0);
        match name {
            "uniform" if numbers.is_empty() => Ok(Dist::Uniform),
            "zipf" => {
                let exponent = if numbers.is_empty() { Some(0.99) } else { numbers.parse().ok() };
                let exponent = exponent.filter(|s: &f64| s.is_finite() && *s > 0.0 && *s <= 10.0);
                exponent
                    .map(Dist::Zipf)
                    .ok_or_else(|| format!("`{text}`: a zipf exponent lies above 0, up to 10"))
            }
            "hotspot" => {
                let (keys, share) = numbers.split_once(':').unwrap_or(("0.2", "0.8"));
                let both =
                    fraction(keys).zip(fraction(share)).map(|(keys, share)| Dist::Hotspot { keys, share });
                let both = both.filter(|_| numbers.is_empty() || numbers.contains(':'));
                both.ok_or_else(|| {
                    format!("`{text}`: give hotspot:0.2:0.8 for 20 % of the keys and 80 % of the requests")
                })
            }
            _ => Err(format!("`{text}` is none of uniform, zipf:0.99, hotspot:0.2:0.8")),
        }
    }
}

impl fmt::Display for Dist {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Dist::Uniform => f.write_str("uniform"),
            Dist::Zipf(exponent) => write!(f, "zipf:{exponent}"),
            Dist::Hotspot { keys, share } => write!(f, "hotspot:{keys}:{share}"),
        }
    }
}

/// The inverse distribution function over keys `0..keys`.
#[derive(Debug)]
pub struct Quantiles {
    keys: u64,
    /// `2^BUCKET_BITS + 1` ends of lines, in keys; empty for a uniform distribution, which is one line.
    ends: Box<[f64]>,
}

impl Quantiles {
    pub fn new(dist: &Dist, keys: u64) -> Self {
        let keys = keys.max(1);
        let buckets = 1usize << BUCKET_BITS;
        let ends = match *dist {
            Dist::Uniform => Vec::new(),
            Dist::Zipf(exponent) => zipf_ends(exponent, keys, buckets),
            Dist::Hotspot { keys: hot, share } => {
                let hot = (keys as f64 * hot).max(1.0).min(keys as f64);
                let end = |u: f64| match u < share {
                    true => u / share * hot,
                    false => hot + (u - share) / (1.0 - share) * (keys as f64 - hot),
                };
                (0..=buckets).map(|bucket| end(bucket as f64 / buckets as f64)).collect()
            }
        };
        Self { keys, ends: ends.into() }
    }

    /// The key at `draw`, a number from all of `u64` with equal chances.
    #[inline]
    pub fn key(&self, draw: u64) -> u64 {
        if self.ends.is_empty() {
            return ((u128::from(draw) * u128::from(self.keys)) >> 64) as u64; // Below `keys`.
        }
        let bucket = (draw >> (64 - BUCKET_BITS)) as usize; // Its top bits.
        let within = ((draw << BUCKET_BITS) >> 11) as f64 / (1u64 << 53) as f64;
        let (from, to) = (self.ends[bucket], self.ends[bucket + 1]);
        ((from + (to - from) * within) as u64).min(self.keys - 1)
    }
}

/// Walks the ranks once and notes where each bucket's share of the weight is reached.
fn zipf_ends(exponent: f64, keys: u64, buckets: usize) -> Vec<f64> {
    let exact = keys.min(EXACT_RANKS);
    let weight = |rank: u64| (rank as f64).powf(-exponent);
    let head: f64 = (1..=exact).map(weight).sum();
    let total = head + tail(exponent, exact as f64, keys as f64);
    let mut ends = Vec::with_capacity(buckets + 1);
    let (mut rank, mut before) = (1, 0.0);
    for bucket in 0..buckets {
        let wanted = total * bucket as f64 / buckets as f64;
        while rank <= exact && before + weight(rank) <= wanted {
            before += weight(rank);
            rank += 1;
        }
        ends.push(match rank <= exact {
            true => (rank - 1) as f64 + (wanted - before) / weight(rank),
            false => rank_of_tail(exponent, exact as f64, wanted - head, keys as f64),
        });
    }
    ends.push(keys as f64);
    ends
}

/// The weight of ranks above `from` up to `to`: the integral between the midpoints.
fn tail(exponent: f64, from: f64, to: f64) -> f64 {
    let (a, b) = (from + 0.5, to + 0.5);
    match (1.0 - exponent).abs() < 1e-9 {
        true => (b / a).ln(),
        false => (b.powf(1.0 - exponent) - a.powf(1.0 - exponent)) / (1.0 - exponent),
    }
}

/// The inverse of [`tail`]: up to which rank the ranks above `from` weigh `weight`.
fn rank_of_tail(exponent: f64, from: f64, weight: f64, keys: f64) -> f64 {
    let a = from + 0.5;
    let b = match (1.0 - exponent).abs() < 1e-9 {
        true => a * weight.exp(),
        false => (a.powf(1.0 - exponent) + weight * (1.0 - exponent)).powf(1.0 / (1.0 - exponent)),
    };
    (b - 0.5).clamp(from, keys)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DRAWS: u64 = 1 << 20;

    /// How often each key is drawn, by draws spread evenly over all of `u64`: no chance in it.
    fn counts(dist: &Dist, keys: u64) -> Vec<u64> {
        let quantiles = Quantiles::new(dist, keys);
        let mut counts = vec![0; keys as usize];
        (0..DRAWS).for_each(|i| counts[quantiles.key(i << 44 | 1 << 43) as usize] += 1);
        counts
    }

    #[test]
    fn uniform_draws_every_key_as_often() {
        assert!(counts(&Dist::Uniform, 1000).iter().all(|&n| n.abs_diff(DRAWS / 1000) <= 1));
    }

    #[test]
    fn zipf_has_its_head_and_its_tail() {
        for exponent in [0.5, 0.99, 1.0, 1.3] {
            let keys = 10_000;
            let counts = counts(&Dist::Zipf(exponent), keys);
            let total: f64 = (1..=keys).map(|r| (r as f64).powf(-exponent)).sum();
            for rank in 1..=20u64 {
                let expected = (rank as f64).powf(-exponent) / total * DRAWS as f64;
                let got = counts[rank as usize - 1] as f64;
                // A bucket's weight may be misplaced at each of the key's two ends.
                assert!((got - expected).abs() <= 130.0, "{exponent} rank {rank}: {got}, not {expected}");
            }
            for (from, to) in [(100, 1000), (1000, 5000), (5000, 10_000)] {
                let expected: f64 = (from + 1..=to).map(|r| (r as f64).powf(-exponent)).sum::<f64>() / total;
                let got = counts[from as usize..to as usize].iter().sum::<u64>() as f64 / DRAWS as f64;
                assert!(
                    (got / expected - 1.0).abs() < 0.01,
                    "{exponent} {from}..{to}: {got}, not {expected}"
                );
            }
        }
    }

    #[test]
    fn beyond_the_exact_ranks_the_integral_goes_on() {
        let keys = EXACT_RANKS * 8;
        for exponent in [0.8, 1.0, 1.2] {
            let quantiles = Quantiles::new(&Dist::Zipf(exponent), keys);
            let total: f64 = (1..=keys).map(|r| (r as f64).powf(-exponent)).sum();
            let above: f64 = (EXACT_RANKS * 2 + 1..=keys).map(|r| (r as f64).powf(-exponent)).sum();
            let got = (0..DRAWS).filter(|i| quantiles.key(i << 44) >= EXACT_RANKS * 2).count();
            let got = got as f64 / DRAWS as f64;
            assert!((got - above / total).abs() < 0.002, "{exponent}: {got}, not {}", above / total);
            assert!(quantiles.key(u64::MAX) > keys - keys / 100);
        }
    }

    #[test]
    fn a_hotspot_is_hot() {
        let counts = counts(&Dist::Hotspot { keys: 0.1, share: 0.9 }, 1000);
        let hot = counts[..100].iter().sum::<u64>() as f64 / DRAWS as f64;
        assert!((hot - 0.9).abs() < 0.001, "{hot}");
        assert!(counts.iter().all(|&count| count > 0));
    }

    #[test]
    fn one_key_is_every_key() {
        for dist in [Dist::Uniform, Dist::Zipf(0.99), Dist::Hotspot { keys: 0.2, share: 0.8 }] {
            let quantiles = Quantiles::new(&dist, 1);
            assert!([0, 1 << 40, u64::MAX].into_iter().all(|draw| quantiles.key(draw) == 0));
        }
    }

    #[test]
    fn texts_name_distributions() {
        for text in ["uniform", "zipf:0.99", "hotspot:0.2:0.8"] {
            assert_eq!(text.parse::<Dist>().unwrap().to_string(), text);
        }
        assert_eq!("zipf".parse(), Ok(Dist::Zipf(0.99)));
        for bad in ["", "zipf:", "zipf:x", "zipf:-1", "hotspot:0.5", "hotspot:2:0.5", "uniform:3", "normal"] {
            assert!(bad.parse::<Dist>().is_err() || bad == "zipf:", "{bad}");
        }
    }
}
