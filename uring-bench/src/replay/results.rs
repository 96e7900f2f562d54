//! What a replay found, as a table, as JSON and as charts.

use super::caches::Inner;
use super::trace::{Extent, Trace};
use crate::report::{Axis, LineChart, Page, Scale, Series, Table, Unit};
use serde::Serialize;

/// Of reads only.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Misses {
    pub gets: u64,
    pub misses: u64,
    pub bytes: u64,
    pub missed_bytes: u64,
}

impl Misses {
    pub fn count(&mut self, hit: bool, size: u32) {
        self.gets += 1;
        self.bytes += u64::from(size);
        if !hit {
            self.misses += 1;
            self.missed_bytes += u64::from(size);
        }
    }

    fn ratio(&self) -> f64 {
        self.misses as f64 / self.gets.max(1) as f64
    }

    /// How many more misses than another cache had, as a share of those.
    fn beyond(&self, other: &Misses) -> f64 {
        self.misses as f64 / other.misses.max(1) as f64 - 1.0
    }
}

/// All policies with one amount of memory.
#[derive(Clone, Debug, Serialize)]
pub struct Point {
    pub bytes: u64,
    pub exact_lru: Misses,
    pub lru: Misses,
    pub s3_fifo: Misses,
    pub lru_inner: Inner,
    pub s3_fifo_inner: Inner,
}

/// Sizes that were not played, and why.
#[derive(Clone, Debug, Serialize)]
pub struct Skipped {
    pub bytes: Vec<u64>,
    pub reason: String,
}

#[derive(Clone, Debug, Serialize)]
pub struct Report {
    pub trace: String,
    pub extent: Extent,
    pub copies: u32,
    pub warmup_percent: u8,
    /// Bytes per item that the exact LRU was charged beyond key and value.
    pub lru_overhead: usize,
    pub points: Vec<Point>,
    pub skipped: Option<Skipped>,
}

impl Report {
    pub fn new(trace: &Trace, copies: u32, warmup_percent: u8, lru_overhead: usize) -> Report {
        let (points, skipped) = (Vec::new(), None);
        let (trace, extent) = (trace.label.clone(), trace.extent());
        Report { trace, extent, copies, warmup_percent, lru_overhead, points, skipped }
    }

    pub fn text(&self, details: bool) -> String {
        let mut text = format!("{}: {}\n{}\n\n", self.trace, self.content(), self.method());
        if !self.points.is_empty() {
            text += &format!("{}\n", self.table().text());
        }
        if details && !self.points.is_empty() {
            text += &format!("\n{}\n", self.details().text());
        }
        if let Some(skipped) = &self.skipped {
            text += &format!("skipped: {}\n", skipped.reason);
        }
        text
    }

    fn content(&self) -> String {
        let Extent { requests, keys, bytes, largest_value } = self.extent;
        let [requests, keys] = [requests, keys].map(|count| Unit::Count.short(count as f64));
        let [bytes, largest] = [bytes, u64::from(largest_value)].map(|size| Unit::Bytes.figure(size as f64));
        format!("{requests} requests for {keys} keys; keys and values {bytes}, the largest value {largest}")
    }

    fn method(&self) -> String {
        let warmup = match self.warmup_percent {
            0 => String::new(),
            percent => format!(" The first {percent} % of the requests are not counted."),
        };
        format!(
            "The exact LRU is charged key, value and {} bytes per item (6 more with an expiry) and nothing else; the store keeps \
             items, index, free and half-empty segments within the same memory. A miss is followed by a set; values above a \
             quarter of the memory are cached by neither.{warmup}",
            self.lru_overhead
        )
    }

    fn table(&self) -> Table {
        let mut table = Table::new(&[
            "memory",
            "of the trace",
            "exact LRU misses",
            "lru misses",
            "against exact",
            "s3-fifo misses",
            "against exact",
            "against lru",
        ]);
        for point in &self.points {
            table.row([
                Unit::Bytes.figure(point.bytes as f64),
                Unit::Share.figure(self.share(point)),
                Unit::Share.figure(point.exact_lru.ratio()),
                Unit::Share.figure(point.lru.ratio()),
                signed(point.lru.beyond(&point.exact_lru)),
                Unit::Share.figure(point.s3_fifo.ratio()),
                signed(point.s3_fifo.beyond(&point.exact_lru)),
                signed(point.s3_fifo.beyond(&point.lru)),
            ]);
        }
        table
    }

    fn details(&self) -> Table {
        let mut table = Table::new(&[
            "memory",
            "policy",
            "items",
            "live",
            "dead",
            "free",
            "index",
            "peak",
            "evicted",
            "expired",
            "moved",
            "compacted",
            "ghosts",
            "stalls",
            "refused",
        ]);
        for point in &self.points {
            for (policy, inner) in [("lru", &point.lru_inner), ("s3-fifo", &point.s3_fifo_inner)] {
                let share = |bytes: u64| Unit::Share.figure(bytes as f64 / point.bytes as f64);
                let count = |count: u64| Unit::Count.figure(count as f64);
                table.row([
                    Unit::Bytes.figure(point.bytes as f64),
                    policy.to_owned(),
                    count(inner.items),
                    share(inner.live_bytes),
                    share(inner.dead_bytes),
                    share(inner.free_bytes),
                    share(inner.index_bytes),
                    share(inner.peak),
                    count(inner.evicted),
                    count(inner.expired),
                    count(inner.reinserted),
                    Unit::Bytes.figure(inner.compacted_bytes as f64),
                    count(inner.ghost_hits),
                    count(inner.stalls),
                    count(inner.refused),
                ]);
            }
        }
        table
    }

    fn share(&self, point: &Point) -> f64 {
        point.bytes as f64 / self.extent.bytes.max(1) as f64
    }

    fn line(&self, name: &str, value: impl Fn(&Point) -> f64) -> Series {
        let points = self.points.iter().map(|point| (point.bytes as f64, value(point)));
        Series { name: name.into(), points: points.collect() }
    }

    fn miss_ratios(&self) -> LineChart {
        LineChart {
            title: format!("{}: misses over memory", self.trace),
            caption: "Share of reads that missed; lower is better.".into(),
            x: Axis::new("memory limit", Unit::Bytes, Scale::Log),
            y: Axis::new("miss ratio", Unit::Share, Scale::Linear),
            series: vec![
                self.line("exact LRU", |point| point.exact_lru.ratio()),
                self.line("store, lru", |point| point.lru.ratio()),
                self.line("store, s3-fifo", |point| point.s3_fifo.ratio()),
            ],
        }
    }

    fn differences(&self) -> LineChart {
        LineChart {
            title: format!("{}: misses against an exact LRU", self.trace),
            caption: "How many more (above zero) or fewer misses than an exact LRU with the same memory."
                .into(),
            x: Axis::new("memory limit", Unit::Bytes, Scale::Log),
            y: Axis::new("misses beyond exact LRU's", Unit::Share, Scale::Linear),
            series: vec![
                self.line("exact LRU", |_| 0.0),
                self.line("store, lru", |point| point.lru.beyond(&point.exact_lru)),
                self.line("store, s3-fifo", |point| point.s3_fifo.beyond(&point.exact_lru)),
            ],
        }
    }
}

/// A share with its sign: "-2.53 %".
fn signed(share: f64) -> String {
    format!("{:+.2} %", share * 100.0)
}

/// All traces on one page.
pub fn page(reports: &[Report]) -> Page {
    let names: Vec<&str> = reports.iter().map(|report| report.trace.as_str()).collect();
    let mut page = Page::new("Misses against an exact LRU with the same memory", &names.join(", "));
    for report in reports {
        page.section(&report.trace);
        page.note(&report.content());
        if report.points.is_empty() {
            page.note("No size could be played.");
        } else {
            page.chart(&report.miss_ratios());
            page.chart(&report.differences());
            page.table(&report.table());
        }
        if let Some(skipped) = &report.skipped {
            page.note(&format!("Skipped: {}.", skipped.reason));
        }
        page.note(&report.method());
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misses_are_counted_and_compared() {
        let (mut few, mut many) = (Misses::default(), Misses::default());
        for n in 0..10 {
            few.count(n >= 2, 100);
            many.count(n >= 4, 100);
        }
        assert_eq!((few.gets, few.misses, few.bytes, few.missed_bytes), (10, 2, 1000, 200));
        assert_eq!((few.ratio(), few.beyond(&many), many.beyond(&few)), (0.2, -0.5, 1.0));
        assert_eq!(signed(-0.0253), "-2.53 %");
    }
}
