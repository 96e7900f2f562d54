//! Generated traces: the patterns by which replacement policies differ, the same on every machine.
//!
//! ```text
//!   gen:zipf:SKEW   popularity falls with the rank to the power of SKEW
//!   gen:scan        zipf 0.99, through which scans of keys run that never come back (three tenths of the requests)
//!   gen:loop        zipf 0.99, and half of the requests go round and round a tenth of the keys
//!   gen:ttl         zipf 0.99 in an hour; a third of the keys lives a minute, a third a quarter of an hour, a third for ever
//! ```

use super::trace::{Op, Request, Trace};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rand_distr::{Distribution, Zipf};
use xxhash_rust::xxh3::xxh3_64;

/// How large a generated trace is.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub keys: u32,
    pub requests: u32,
    /// Values are this long, uniformly by key, bytes.
    pub value_size: (u32, u32),
    pub seed: u64,
}

/// The skew of those that do not name one: that of YCSB.
const SKEW: f64 = 0.99;
/// Requests of one scan or of one round of a loop come in runs of this length, as a job that walks a table sends them.
const RUN: u32 = 1000;
const HOUR_MS: u64 = 3_600_000;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Pattern {
    Zipf(f64),
    Scan,
    Loop,
    Ttl,
}

impl Pattern {
    fn parse(text: &str) -> Result<Pattern, String> {
        let (name, rest) = text.split_once(':').unwrap_or((text, ""));
        match (name, rest) {
            ("zipf", "") => Ok(Pattern::Zipf(SKEW)),
            ("zipf", skew) => match skew.parse::<f64>() {
                Ok(skew) if (0.0..=4.0).contains(&skew) => Ok(Pattern::Zipf(skew)),
                _ => Err(format!("gen:zipf:{skew}: a skew is a number from 0 to 4, such as 0.99")),
            },
            ("scan", "") => Ok(Pattern::Scan),
            ("loop", "") => Ok(Pattern::Loop),
            ("ttl", "") => Ok(Pattern::Ttl),
            _ => Err(format!("gen:{text}: there are gen:zipf[:SKEW], gen:scan, gen:loop and gen:ttl")),
        }
    }
}

/// `pattern` is what follows `gen:`.
pub fn generate(pattern: &str, shape: Shape) -> Result<Trace, String> {
    let parsed = Pattern::parse(pattern)?;
    let skew = if let Pattern::Zipf(skew) = parsed { skew } else { SKEW };
    let zipf = Zipf::new(f64::from(shape.keys), skew).map_err(|error| format!("gen:{pattern}: {error}"))?;
    let mut random = StdRng::seed_from_u64(shape.seed);
    let (mut next_scanned, mut next_in_loop) = (shape.keys, 0);
    let mut requests = Vec::with_capacity(shape.requests as usize);
    for n in 0..shape.requests {
        // A sample is a rank from 1 to the number of keys, without a fraction.
        let popular = zipf.sample(&mut random) as u32 - 1;
        let turn = n / RUN % 10;
        let key = match parsed {
            Pattern::Scan if matches!(turn, 2 | 5 | 8) => {
                next_scanned += 1;
                next_scanned - 1
            }
            Pattern::Loop if random.random_bool(0.5) => {
                next_in_loop = (next_in_loop + 1) % (shape.keys / 10).max(1);
                next_in_loop
            }
            _ => popular,
        };
        let (time_ms, ttl_s) = match parsed {
            Pattern::Ttl => (HOUR_MS * u64::from(n) / u64::from(shape.requests), ttl_of(key)),
            _ => (0, 0),
        };
        requests.push(Request { time_ms, key, size: size_of_key(key, shape), ttl_s, op: Op::Get });
    }
    let names =
        (0..next_scanned.max(shape.keys)).map(|key| format!("key:{key:012}").into_bytes().into_boxed_slice());
    Ok(Trace { label: format!("gen:{pattern}"), names: names.collect(), requests })
}

fn hash(key: u32) -> u64 {
    xxh3_64(&key.to_le_bytes())
}

fn size_of_key(key: u32, shape: Shape) -> u32 {
    let (least, most) = shape.value_size;
    // Below the span, which fits.
    least + (hash(key) % (u64::from(most - least) + 1)) as u32
}

fn ttl_of(key: u32) -> u32 {
    [60, 900, 0][(hash(key) >> 32) as usize % 3]
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: Shape = Shape { keys: 1000, requests: 50_000, value_size: (10, 20), seed: 1 };

    fn counts(trace: &Trace) -> Vec<usize> {
        let mut counts = vec![0; trace.names.len()];
        trace.requests.iter().for_each(|request| counts[request.key as usize] += 1);
        counts
    }

    #[test]
    fn popular_keys_are_popular_and_sizes_within_bounds() {
        let trace = generate("zipf:0.99", SHAPE).unwrap();
        let counts = counts(&trace);
        // 1000 keys at skew 0.99: the first has about 13 % of the requests.
        assert!((5_500..7_500).contains(&counts[0]), "{}", counts[0]);
        assert!(counts[0] > counts[9] && counts[9] > counts[500]);
        assert!(trace.requests.iter().all(|request| (10..=20).contains(&request.size)));
        assert_eq!(generate("zipf:0.99", SHAPE).unwrap().requests, trace.requests);
    }

    #[test]
    fn scanned_keys_come_once() {
        let counts = counts(&generate("scan", SHAPE).unwrap());
        assert_eq!(counts.len(), 1000 + 15_000);
        assert!(counts[1000..].iter().all(|count| *count == 1));
    }

    #[test]
    fn loops_visit_all_their_keys_alike() {
        let counts = counts(&generate("loop", SHAPE).unwrap());
        assert!(counts[50..100].iter().all(|count| *count > 200), "{:?}", &counts[50..100]);
        assert!(counts[200] < 200);
    }

    #[test]
    fn a_keys_lifetime_stays_the_same() {
        let trace = generate("ttl", SHAPE).unwrap();
        assert!(trace.requests.iter().all(|request| request.ttl_s == ttl_of(request.key)));
        assert!(trace.requests.last().unwrap().time_ms > HOUR_MS - 100);
    }

    #[test]
    fn unknown_patterns_name_the_known_ones() {
        assert!(generate("lfu", SHAPE).unwrap_err().contains("gen:loop"));
        assert!(generate("zipf:x", SHAPE).unwrap_err().contains("0.99"));
    }
}
