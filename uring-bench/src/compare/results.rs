//! What the rounds came to: ratios of the first contender to each of the others, with their spread.

use super::loads::{Load, Told};
use crate::paired::ratios;
use crate::report::{Spread, Unit};
use hdrhistogram::Histogram;
use serde::Serialize;

/// One contender's figures, one of each per round.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Rounds {
    /// Requests per second of the server's processor time.
    pub per_cpu_second: Vec<f64>,
    pub per_second: Vec<f64>,
    /// Latencies in nanoseconds.
    #[serde(rename = "p50_ns")]
    pub p50: Vec<f64>,
    #[serde(rename = "p99_ns")]
    pub p99: Vec<f64>,
    /// Processor time per time: 1 is one processor.
    pub server_busy: Vec<f64>,
    pub client_busy: Vec<f64>,
}

/// A server's memory before and after the keys were written, connections open both times. Bytes.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Memory {
    pub rss_empty: u64,
    pub rss: u64,
    /// What a key costs beyond its own and its value's bytes.
    pub overhead_per_item: f64,
}

impl Memory {
    pub fn new(rss_empty: u64, rss: u64, load: &Load) -> Memory {
        let grown = rss as f64 - rss_empty as f64;
        let data = load.key_size as f64 + load.value_size.mean();
        Memory { rss_empty, rss, overhead_per_item: grown / load.keys as f64 - data }
    }
}

/// One contender under one load.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    pub name: String,
    pub command: String,
    /// It keeps what is written; else it has no memory per item.
    pub stores: bool,
    pub rounds: Rounds,
    /// Of all rounds together, in nanoseconds.
    #[serde(skip)]
    pub latency: Histogram<u64>,
    /// System calls of the server per request, by its own count or the kernel's; none where neither can be had.
    pub calls_per_request: Option<f64>,
    pub memory: Memory,
    /// Reads that found nothing, though every key was written before.
    pub misses: u64,
    /// It used its processor without having work, and was stopped (SIGSTOP) while others had their turn.
    pub stopped_between_turns: bool,
}

/// A ratio over all rounds.
#[derive(Clone, Debug, Serialize)]
pub struct Compared {
    pub median: f64,
    pub lower_quartile: f64,
    pub upper_quartile: f64,
    pub min: f64,
    pub max: f64,
    pub rounds: Vec<f64>,
}

impl Compared {
    /// None where no round has a ratio.
    pub fn of(ours: &[f64], theirs: &[f64]) -> Option<Compared> {
        let rounds = ratios(ours, theirs);
        let spread = Spread::of(&rounds)?;
        Some(Compared {
            median: spread.median,
            lower_quartile: spread.lower,
            upper_quartile: spread.upper,
            min: rounds.iter().copied().fold(f64::INFINITY, f64::min),
            max: rounds.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            rounds,
        })
    }

    /// "1.42 × (1.39 to 1.44)": the median and the quartiles.
    pub fn text(&self) -> String {
        Spread { lower: self.lower_quartile, median: self.median, upper: self.upper_quartile }.text()
    }

    /// "1.21 to 1.60": all rounds.
    pub fn range(&self) -> String {
        let bare = |value| Unit::Ratio.figure(value).trim_end_matches(" ×").to_owned();
        format!("{} to {}", bare(self.min), bare(self.max))
    }
}

/// The first contender's figures as multiples of another's. For latencies less is better.
#[derive(Clone, Debug, Serialize)]
pub struct Versus {
    pub name: String,
    pub per_cpu_second: Option<Compared>,
    pub per_second: Option<Compared>,
    pub p50: Option<Compared>,
    pub p99: Option<Compared>,
}

/// All contenders under one load.
#[derive(Clone, Debug, Serialize)]
pub struct Measured {
    pub load: Told,
    pub contenders: Vec<Outcome>,
    /// Against each contender but the first.
    pub versus: Vec<Versus>,
}

impl Measured {
    pub fn new(load: &Load, contenders: Vec<Outcome>) -> Measured {
        let versus = contenders.split_first().map_or(Vec::new(), |(first, others)| {
            let ours = &first.rounds;
            let against = |other: &Outcome| Versus {
                name: other.name.clone(),
                per_cpu_second: Compared::of(&ours.per_cpu_second, &other.rounds.per_cpu_second),
                per_second: Compared::of(&ours.per_second, &other.rounds.per_second),
                p50: Compared::of(&ours.p50, &other.rounds.p50),
                p99: Compared::of(&ours.p99, &other.rounds.p99),
            };
            others.iter().map(against).collect()
        });
        Measured { load: load.into(), contenders, versus }
    }

    /// What the figures do not say by themselves.
    pub fn remarks(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for contender in &self.contenders {
            let name = &contender.name;
            if contender.misses > 0 {
                lines.push(format!(
                    "{name}: {} reads found nothing: it does not keep all keys",
                    contender.misses
                ));
            }
            if contender.stopped_between_turns {
                lines.push(format!(
                    "{name} works while it has nothing to do: it was stopped between its turns"
                ));
            }
        }
        lines
    }
}

/// The median of rounds.
pub fn median(values: &[f64]) -> Option<f64> {
    Spread::of(values).map(|spread| spread.median)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_has_quartiles_and_extremes() {
        let compared = Compared::of(&[10.0, 20.0, 30.0, 40.0, 50.0], &[10.0; 5]).unwrap();
        assert_eq!((compared.min, compared.max, compared.median), (1.0, 5.0, 3.0));
        assert_eq!((compared.lower_quartile, compared.upper_quartile), (2.0, 4.0));
        assert_eq!(compared.text(), "3.00 × (2.00 to 4.00)");
        assert_eq!(compared.range(), "1.00 to 5.00");
    }

    #[test]
    fn ratios_are_taken_within_rounds_before_their_median() {
        // Medians of absolutes would say 1.0; two rounds of three say twice as fast.
        let compared = Compared::of(&[2.0, 20.0, 10.0], &[1.0, 10.0, 40.0]).unwrap();
        assert_eq!(compared.median, 2.0);
    }

    #[test]
    fn rounds_without_a_ratio_do_not_count() {
        assert!(Compared::of(&[], &[]).is_none() && Compared::of(&[1.0], &[0.0]).is_none());
        assert_eq!(Compared::of(&[1.0, 1.0], &[0.0, 2.0]).unwrap().rounds, [0.5]);
    }
}
