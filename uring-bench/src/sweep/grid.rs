//! The grid: every combination of connections, pipeline and value size, in closed loop.

use super::{Method, Subject};
use crate::load::{Error, Session, Slice, Spec, Until};
use crate::paired::rest;
use crate::report::Spread;
use crate::workload::Sizes;
use indicatif::ProgressBar;
use serde::Serialize;
use std::time::Duration;

/// Bytes of replies in flight beyond which a combination measures sockets' buffers and nothing else.
const MOST_IN_FLIGHT: f64 = (64 << 20) as f64;
/// Uncounted load before the first slice of a cell.
const WARM_UP: Duration = Duration::from_millis(30);

/// One combination.
#[derive(Clone, Debug, PartialEq)]
pub struct Place {
    pub connections: usize,
    pub pipeline: usize,
    pub value_size: Sizes,
}

impl Place {
    fn is_measured(&self) -> bool {
        let in_flight = (self.connections * self.pipeline) as f64 * self.value_size.mean();
        in_flight <= MOST_IN_FLIGHT
    }
}

/// What one combination came to: medians of its slices. Nothing where it was not measured.
#[derive(Clone, Debug, Serialize)]
pub struct Cell {
    pub connections: usize,
    pub pipeline: usize,
    pub value_size: String,
    pub figures: Option<Figures>,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub struct Figures {
    pub per_second: f64,
    /// None where the server's process is unknown.
    pub per_cpu_second: Option<f64>,
    pub server_busy: Option<f64>,
    pub client_busy: f64,
    pub p50_ns: f64,
    pub p99_ns: f64,
}

/// Sizes, then connections, then pipelines.
pub fn plan(sizes: &[Sizes], connections: &[usize], pipelines: &[usize]) -> Vec<Place> {
    let mut places = Vec::new();
    for value_size in sizes {
        for &connections in connections {
            for &pipeline in pipelines {
                places.push(Place { connections, pipeline, value_size: value_size.clone() });
            }
        }
    }
    places
}

/// Plays all cells. The keys are written anew for each size of values.
pub fn play(
    subject: &Subject,
    plan: &[Place],
    method: &Method,
    bar: &ProgressBar,
) -> Result<Vec<Cell>, Error> {
    let (mut cells, mut written) = (Vec::new(), None);
    for place in plan {
        let Place { connections, pipeline, value_size } = place;
        bar.set_message(format!("{connections} connections, pipeline {pipeline}, values of {value_size} B"));
        let mut figures = None;
        if place.is_measured() {
            let mut session = Session::connect(&subject.spec(place, method))?;
            if written.as_ref() != Some(value_size) {
                session.preload(|_| {})?;
                written = Some(value_size.clone());
            }
            figures = Some(measure(subject, &mut session, place, method)?);
        }
        bar.inc(method.repeats as u64);
        let value_size = value_size.to_string();
        cells.push(Cell { connections: *connections, pipeline: *pipeline, value_size, figures });
    }
    Ok(cells)
}

impl Subject {
    pub fn spec(&self, place: &Place, method: &Method) -> Spec {
        Spec {
            target: self.target.clone(),
            connections: place.connections,
            pipeline: place.pipeline,
            value_size: place.value_size.clone(),
            ..method.base.clone()
        }
    }

    /// A slice, and the processor time of the server meanwhile if its process is known.
    pub fn slice(&self, session: &mut Session, length: Duration) -> Result<(Slice, Option<Duration>), Error> {
        let cpu = || self.watch.map(|watch| watch.sample()).transpose().map(|sample| sample.map(|s| s.cpu));
        let before = cpu()?;
        let slice = session.slice(Until::For(length), |_| {})?;
        let after = cpu()?;
        if slice.errors > 0 {
            let text = slice.error_texts.first().map_or("no text", |(text, _)| text.as_str());
            return Err(Error::refused(&format!("{}: {} errors", self.name, slice.errors), text));
        }
        if session.spec().realtime {
            rest(slice.elapsed);
        }
        Ok((slice, before.zip(after).map(|(before, after)| after.saturating_sub(before))))
    }
}

fn measure(
    subject: &Subject,
    session: &mut Session,
    place: &Place,
    method: &Method,
) -> Result<Figures, Error> {
    session.slice(Until::For(WARM_UP), |_| {})?;
    // Each of very many connections has its turn several times.
    let length = method.slice.max(Duration::from_micros(place.connections as u64 * 40));
    let [mut rates, mut per_cpu, mut busy, mut client, mut p50, mut p99] = [const { Vec::new() }; 6];
    for _ in 0..method.repeats {
        let (slice, cpu) = subject.slice(session, length)?;
        let elapsed = slice.elapsed.as_secs_f64().max(1e-9);
        rates.push(slice.rate());
        client.push(slice.client_cpu.as_secs_f64() / elapsed);
        p50.push(slice.latency.value_at_quantile(0.5) as f64);
        p99.push(slice.latency.value_at_quantile(0.99) as f64);
        if let Some(cpu) = cpu.map(|cpu| cpu.as_secs_f64().max(1e-9)) {
            per_cpu.push(slice.requests as f64 / cpu);
            busy.push(cpu / elapsed);
        }
    }
    let median = |values: &[f64]| Spread::of(values).map(|spread| spread.median);
    let known = |values: &[f64]| median(values).unwrap_or_default(); // `repeats` is at least one.
    Ok(Figures {
        per_second: known(&rates),
        per_cpu_second: median(&per_cpu),
        server_busy: median(&busy),
        client_busy: known(&client),
        p50_ns: known(&p50),
        p99_ns: known(&p99),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plan_holds_every_combination_and_leaves_out_floods() {
        let sizes = [Sizes::Fixed(64), Sizes::Fixed(16 << 10)];
        let plan = plan(&sizes, &[1, 1000], &[1, 64]);
        assert_eq!(plan.len(), 8);
        let left_out: Vec<&Place> = plan.iter().filter(|place| !place.is_measured()).collect();
        assert_eq!(
            left_out,
            [&Place { connections: 1000, pipeline: 64, value_size: Sizes::Fixed(16 << 10) }]
        );
    }
}
