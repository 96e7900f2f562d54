//! The latency-throughput curve: open loop at rates up to the closed loop's peak. Latency counts from when a request was due,
//! so a server that falls behind shows it.

use super::grid::Place;
use super::{Args, Method, Subject};
use crate::load::{Error, Session, Until, new_histogram};
use crate::paired::alternate;
use crate::report::Spread;
use hdrhistogram::Histogram;
use indicatif::ProgressBar;
use serde::Serialize;
use std::time::Duration;

/// Rates, as shares of the peak.
pub const SHARES: [f64; 14] = [0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1.0];
/// Shares that the summary names.
pub const NAMED: [f64; 3] = [0.5, 0.8, 0.95];
/// The knee: the server answers this part of what is due …
const KEEPS_UP: f64 = 0.99;
/// … and p99 is at most this multiple of the best p99 of any rate.
const BEARABLE: f64 = 2.0;
/// Uncounted load before each slice.
const WARM_UP: Duration = Duration::from_millis(30);

/// Latencies at one rate. Percentiles are medians over its slices, so that one stall of the machine does not decide them.
#[derive(Clone, Debug, Serialize)]
pub struct Point {
    pub share: f64,
    /// Requests per second: due, and answered.
    pub due: f64,
    pub answered: f64,
    pub p50_ns: f64,
    pub p99_ns: f64,
    pub p999_ns: f64,
    /// None where the server's process is unknown.
    pub server_busy: Option<f64>,
    /// All slices together.
    #[serde(skip)]
    pub latency: Histogram<u64>,
}

/// The whole curve.
#[derive(Clone, Debug, Serialize)]
pub struct Curve {
    pub connections: usize,
    pub pipeline: usize,
    pub value_size: String,
    /// Requests per second in closed loop, the median of its slices.
    pub peak: f64,
    pub points: Vec<Point>,
    /// Index of the point at the knee; none where no rate meets its conditions.
    pub knee: Option<usize>,
}

impl Curve {
    pub fn knee(&self) -> Option<&Point> {
        self.knee.and_then(|at| self.points.get(at))
    }

    pub fn at(&self, share: f64) -> Option<&Point> {
        self.points.iter().find(|point| point.share == share)
    }
}

/// `50x1`: connections, and requests in flight on each at most.
pub fn shape(text: &str) -> Result<(usize, usize), String> {
    let number = |text: &str| text.parse::<usize>().ok().filter(|number| *number > 0);
    let parts = text.split_once('x').and_then(|(c, p)| Some((number(c)?, number(p)?)));
    parts.ok_or_else(|| format!("{text}: connections and pipeline are expected, as in 50x16"))
}

/// What one rate has gathered.
struct Rate {
    share: f64,
    due: f64,
    latency: Histogram<u64>,
    /// p50, p99 and p99.9 of each slice, in nanoseconds.
    percentiles: [Vec<f64>; 3],
    answered: u64,
    elapsed: Duration,
    cpu: Option<Duration>,
}

/// Finds the peak, then plays all rates in turns, in random order, as often as each figure is taken.
pub fn play(subject: &Subject, args: &Args, method: &Method, bar: &ProgressBar) -> Result<Curve, Error> {
    let (connections, pipeline) = args.curve;
    let value_size = args.value_sizes.first().cloned().unwrap_or(crate::workload::Sizes::Fixed(64));
    let place = Place { connections, pipeline, value_size };
    let mut session = Session::connect(&subject.spec(&place, method))?;
    bar.set_message("finding the peak");
    session.preload(|_| {})?;
    session.slice(Until::For(WARM_UP), |_| {})?;
    let mut peaks = Vec::new();
    for _ in 0..method.repeats {
        peaks.push(subject.slice(&mut session, method.curve_slice)?.0.rate());
    }
    let peak = Spread::of(&peaks).map_or(0.0, |spread| spread.median);
    let mut rates: Vec<Rate> = SHARES.map(|share| Rate::new(share, peak)).into();
    alternate(method.repeats, &mut rates, |_, rate| {
        bar.set_message(format!("{:.0} % of the peak", rate.share * 100.0));
        bar.inc(1);
        rate.play(subject, &mut session, method.curve_slice)
    })?;
    let points: Vec<Point> = rates.into_iter().map(Rate::point).collect();
    let knee = knee(&points);
    let value_size = place.value_size.to_string();
    Ok(Curve { connections, pipeline, value_size, peak, points, knee })
}

impl Rate {
    fn new(share: f64, peak: f64) -> Rate {
        let due = share * peak;
        Rate {
            share,
            due,
            latency: new_histogram(),
            percentiles: [const { Vec::new() }; 3],
            answered: 0,
            elapsed: Duration::ZERO,
            cpu: Some(Duration::ZERO),
        }
    }

    fn play(&mut self, subject: &Subject, session: &mut Session, length: Duration) -> Result<(), Error> {
        session.set_rate(Some(self.due));
        session.slice(Until::For(WARM_UP), |_| {})?;
        let (slice, cpu) = subject.slice(session, length)?;
        self.latency.add(&slice.latency).expect("histograms of the same bounds");
        for (values, quantile) in self.percentiles.iter_mut().zip([0.5, 0.99, 0.999]) {
            values.push(slice.latency.value_at_quantile(quantile) as f64);
        }
        self.answered += slice.requests;
        self.elapsed += slice.elapsed.max(length);
        self.cpu = self.cpu.zip(cpu).map(|(sum, cpu)| sum + cpu);
        Ok(())
    }

    fn point(self) -> Point {
        let elapsed = self.elapsed.as_secs_f64().max(1e-9);
        let [p50_ns, p99_ns, p999_ns] =
            self.percentiles.map(|values| Spread::of(&values).map_or(0.0, |s| s.median));
        Point {
            share: self.share,
            due: self.due,
            answered: self.answered as f64 / elapsed,
            p50_ns,
            p99_ns,
            p999_ns,
            server_busy: self.cpu.map(|cpu| cpu.as_secs_f64() / elapsed),
            latency: self.latency,
        }
    }
}

/// The highest rate that is kept up with and whose p99 is bearable.
fn knee(points: &[Point]) -> Option<usize> {
    let best = points.iter().map(|point| point.p99_ns).min_by(f64::total_cmp)?;
    let bears = |point: &Point| point.answered >= point.due * KEEPS_UP && point.p99_ns <= best * BEARABLE;
    points.iter().rposition(bears)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(due: f64, answered: f64, p99_ns: f64) -> Point {
        let latency = new_histogram();
        Point { share: due, due, answered, p50_ns: 1.0, p99_ns, p999_ns: p99_ns, server_busy: None, latency }
    }

    #[test]
    fn the_knee_is_the_last_rate_with_bearable_latency_that_is_kept_up_with() {
        let rising =
            [point(1.0, 1.0, 120.0), point(2.0, 2.0, 100.0), point(3.0, 3.0, 199.0), point(4.0, 4.0, 230.0)];
        assert_eq!(knee(&rising), Some(2));
        let behind = [point(1.0, 1.0, 100.0), point(2.0, 1.9, 100.0)];
        assert_eq!(knee(&behind), Some(0));
        assert_eq!(knee(&[]), None);
        assert_eq!(knee(&[point(9.0, 1.0, 100.0)]), None, "a server that never keeps up has none");
    }

    #[test]
    fn shapes_are_connections_and_pipeline() {
        assert_eq!(shape("50x16"), Ok((50, 16)));
        for text in ["50", "0x1", "x", "50x1x1"] {
            assert!(shape(text).unwrap_err().contains("50x16"), "{text}");
        }
    }

    #[test]
    fn named_shares_are_played() {
        assert!(NAMED.iter().all(|share| SHARES.contains(share)));
    }
}
