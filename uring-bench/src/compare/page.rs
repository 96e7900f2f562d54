//! The results as a page: ratios of every round as dots, load by load, and latencies over their percentiles.

use super::contenders::LIMIT;
use super::results::{Compared, Measured, Versus};
use super::text;
use crate::report::{Chart, LineChart, Page, RatioChart, Ratios, Unit};

/// The whole page.
pub fn page(all: &[Measured], skipped: &[String], realtime: bool) -> Page {
    let name = all.first().and_then(|measured| measured.contenders.first()).map_or("", |first| &first.name);
    let priority = if realtime { "under real-time priority" } else { "without real-time priority" };
    let lead = format!(
        "All servers stand ready with the same keys and take turns in short slices of the same load, in random order, {priority}. \
         Each dot is {name}'s figure divided by another's in the same round, so what the machine did meanwhile is in both."
    );
    let mut page = Page::new("Servers compared", &lead);
    headline(&mut page, all);
    if let Some(summary) = text::summary(all, |load| format!("{}: {}", load.name, load.words)) {
        page.section("All loads");
        page.table(&summary);
    }
    skipped.iter().for_each(|line| page.note(line));
    page.section("Requests per second of the server's processor time");
    charts(&mut page, all, "requests per server-CPU-second", "Right of the line is better.", |v| {
        v.per_cpu_second.as_ref()
    });
    page.section("Latency");
    charts(&mut page, all, "median latency", "Left of the line is better.", |v| v.p50.as_ref());
    charts(&mut page, all, "p99 latency", "Left of the line is better.", |v| v.p99.as_ref());
    for measured in all {
        page.section(&format!("Load {}: {}", measured.load.name, measured.load.words));
        page.chart(&percentiles(measured));
        page.table(&text::absolute(measured));
        measured.remarks().iter().for_each(|line| page.note(line));
    }
    page
}

/// The largest and the smallest ratio to any peer.
fn headline(page: &mut Page, all: &[Measured]) {
    let mut figures = Vec::new();
    for measured in all {
        for other in measured.versus.iter().filter(|other| other.name != LIMIT) {
            if let Some(compared) = &other.per_cpu_second {
                figures.push((compared.median, format!("{} / {}", measured.load.name, other.name)));
            }
        }
    }
    figures.sort_by(|a, b| f64::total_cmp(&b.0, &a.0));
    let ends = [figures.first(), figures.last()];
    let kinds = ["most, per CPU-second", "least, per CPU-second"];
    let shown = ends.into_iter().zip(kinds).filter_map(|(end, kind)| Some((end?, kind)));
    let shown: Vec<(String, String)> = shown
        .map(|((ratio, place), kind)| (format!("{kind}: {place}"), Unit::Ratio.figure(*ratio)))
        .collect();
    page.figures(shown.iter().map(|(name, value)| (name.as_str(), value.clone())));
}

/// A chart per peer: loads down, rounds across.
fn charts(page: &mut Page, all: &[Measured], what: &str, hint: &str, pick: fn(&Versus) -> Option<&Compared>) {
    let Some(first) = all.first() else { return };
    let name = first.contenders.first().map_or("", |contender| &contender.name);
    for (at, other) in first.versus.iter().enumerate() {
        let row = |measured: &Measured| Ratios {
            name: format!("{}: {}", measured.load.name, measured.load.short),
            rounds: pick(&measured.versus[at]).map_or(Vec::new(), |compared| compared.rounds.clone()),
        };
        page.chart(&RatioChart {
            title: format!("{name} against {}", if other.name == LIMIT { "the limit" } else { &other.name }),
            caption: hint.into(),
            label: format!("{what}, {name}'s / {}'s", other.name),
            rows: all.iter().map(row).collect(),
        });
    }
}

/// Latencies of all rounds together, a line per contender.
fn percentiles(measured: &Measured) -> impl Chart {
    let histograms: Vec<_> =
        measured.contenders.iter().map(|contender| (contender.name.as_str(), &contender.latency)).collect();
    LineChart {
        caption: "All rounds together; closed loop, so a slow server is asked less often.".into(),
        ..LineChart::percentiles("Latency by percentile", &histograms)
    }
}
