//! How long values are: one size, a range, or sizes with weights, given on the command line or in a file.

use kv_server::config::parse_bytes;
use std::fmt;
use std::str::FromStr;

/// Weighted sizes that have a name: small ones by number, large ones by bytes.
const MIXED: &str = "64:0.6,1024:0.3,16384:0.1";

/// Lengths of values, in bytes.
#[derive(Clone, Debug, PartialEq)]
pub enum Sizes {
    Fixed(usize),
    /// Every length from the first to the second, both included, equally often.
    Range(usize, usize),
    /// Lengths, each with the share of draws up to and including it, scaled to all of `u64`.
    Weighted(Vec<(usize, u64)>),
}

impl FromStr for Sizes {
    type Err = String;

    /// `64`, `1KiB`, `16-1024`, `64:0.6,1024:0.4`, `mixed`, or `@FILE` with a size and a weight on each line.
    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix('@') {
            let lines =
                std::fs::read_to_string(path).map_err(|error| format!("cannot read {path}: {error}"))?;
            let pairs = lines.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
            return weighted(pairs.filter(|line| !line.is_empty()).map(|line| {
                line.split_once(|c: char| c.is_whitespace() || c == ',' || c == ':').unwrap_or((line, "1"))
            }))
            .map_err(|error| format!("{path}: {error}"));
        }
        if text == "mixed" {
            return MIXED.parse();
        }
        if text.contains(':') {
            return weighted(text.split(',').map(|pair| pair.split_once(':').unwrap_or((pair, "1"))));
        }
        match text.split_once('-') {
            None => Ok(Sizes::Fixed(size(text)?)),
            Some((low, high)) => match (size(low)?, size(high)?) {
                (low, high) if low <= high => Ok(Sizes::Range(low, high)),
                _ => Err(format!("`{text}`: the smaller size comes first")),
            },
        }
    }
}

fn size(text: &str) -> Result<usize, String> {
    let size = parse_bytes(text).map_err(|error| format!("`{text}`: {error}"))?;
    // Sends are counted in 32 bits, and so is most of what servers take.
    if size <= 1 << 30 { Ok(size) } else { Err(format!("`{text}`: values have at most 1 GiB")) }
}

fn weighted<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> Result<Sizes, String> {
    let mut sizes = Vec::new();
    for (text, weight) in pairs {
        let number = weight.trim().parse::<f64>().ok().filter(|weight| weight.is_finite() && *weight >= 0.0);
        sizes.push((size(text.trim())?, number.ok_or_else(|| format!("`{weight}` is no weight"))?));
    }
    let total: f64 = sizes.iter().map(|(_, weight)| weight).sum();
    if total <= 0.0 {
        return Err(
            "a distribution of sizes needs a size with a weight above 0, such as 64:0.6,1024:0.4".into()
        );
    }
    let mut sum = 0.0;
    let mut scaled: Vec<(usize, u64)> = sizes
        .into_iter()
        .filter(|(_, weight)| *weight > 0.0)
        .map(|(size, weight)| {
            sum += weight;
            (size, (sum / total * u64::MAX as f64) as u64) // Saturates at the last.
        })
        .collect();
    if let Some(last) = scaled.last_mut() {
        last.1 = u64::MAX;
    }
    Ok(Sizes::Weighted(scaled))
}

impl fmt::Display for Sizes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Sizes::Fixed(size) => write!(f, "{size}"),
            Sizes::Range(low, high) => write!(f, "{low}-{high}"),
            Sizes::Weighted(sizes) => {
                let least = sizes.iter().map(|(size, _)| *size).min().unwrap_or(0);
                write!(f, "{least}-{} (weighted, {:.0} on average)", self.max(), self.mean())
            }
        }
    }
}

impl Sizes {
    /// The length that a draw (from all of `u64`) stands for.
    #[inline]
    pub fn draw(&self, draw: u64) -> usize {
        match self {
            Sizes::Fixed(size) => *size,
            Sizes::Range(low, high) => {
                let span = (high - low) as u128 + 1;
                low + ((u128::from(draw) * span) >> 64) as usize // Below `span`.
            }
            Sizes::Weighted(sizes) => {
                let at = sizes.partition_point(|(_, up_to)| *up_to < draw);
                sizes[at].0
            }
        }
    }

    pub fn max(&self) -> usize {
        match self {
            Sizes::Fixed(size) | Sizes::Range(_, size) => *size,
            Sizes::Weighted(sizes) => sizes.iter().map(|(size, _)| *size).max().unwrap_or(0),
        }
    }

    /// Expected bytes of a value.
    pub fn mean(&self) -> f64 {
        match self {
            Sizes::Fixed(size) => *size as f64,
            Sizes::Range(low, high) => (low + high) as f64 / 2.0,
            Sizes::Weighted(sizes) => {
                let mut before = 0;
                let share = |(size, up_to): &(usize, u64)| {
                    let weight = (up_to - before) as f64 / u64::MAX as f64;
                    before = *up_to;
                    *size as f64 * weight
                };
                sizes.iter().map(share).sum()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shares(sizes: &Sizes) -> impl Fn(usize) -> f64 {
        let draws: Vec<usize> = (0..10_000u64).map(|i| sizes.draw(i * (u64::MAX / 10_000) + 7)).collect();
        move |size| draws.iter().filter(|draw| **draw == size).count() as f64 / 10_000.0
    }

    #[test]
    fn sizes_are_drawn_as_given() {
        let range: Sizes = "16-1024".parse().unwrap();
        assert_eq!((range.draw(0), range.draw(u64::MAX), range.max()), (16, 1024, 1024));
        let mixed: Sizes = "mixed".parse().unwrap();
        let share = shares(&mixed);
        for (size, expected) in [(64, 0.6), (1024, 0.3), (16_384, 0.1)] {
            assert!((share(size) - expected).abs() < 0.001, "{size}: {}", share(size));
        }
        assert!((mixed.mean() - (64.0 * 0.6 + 1024.0 * 0.3 + 16_384.0 * 0.1)).abs() < 0.01);
        assert_eq!(mixed.draw(u64::MAX), 16_384);
    }

    #[test]
    fn a_file_lists_sizes_and_weights() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "# bytes weight\n64 3\n1KiB,1  # rare\n\n").unwrap();
        let sizes: Sizes = format!("@{}", file.path().display()).parse().unwrap();
        assert!((shares(&sizes)(1024) - 0.25).abs() < 0.001);
        assert!("@/no/such/file".parse::<Sizes>().is_err());
    }

    #[test]
    fn texts_that_are_no_sizes() {
        assert_eq!("4KiB".parse(), Ok(Sizes::Fixed(4096)));
        for bad in ["", "x", "9-3", "64:x", "64:0", "-5", "2GiB"] {
            assert!(bad.parse::<Sizes>().is_err(), "{bad}");
        }
    }
}
