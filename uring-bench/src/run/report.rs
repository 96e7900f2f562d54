//! What `run` shows: a table for the terminal, figures as JSON, and a page with charts.

use super::{ServerCost, Syscalls};
use crate::load::{Slice, Spec, Tick, advice};
use crate::report::{
    Axis, Environment, LineChart, Page, Scale, Series, Table, Unit, command_line, write_json,
};
use serde_json::{Value, json};
use std::path::Path;

const QUANTILES: [(&str, f64); 6] =
    [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("p99.99", 0.9999), ("max", 1.0)];

/// All that a run has found.
pub struct Report<'a> {
    pub spec: &'a Spec,
    pub engine: &'static str,
    pub slice: &'a Slice,
    pub server: Option<&'a ServerCost>,
}

/// The live line.
pub fn line(tick: &Tick) -> String {
    let rate = Unit::PerSecond.figure(tick.rate());
    let errors = if tick.errors > 0 { format!("   {} errors", tick.errors) } else { String::new() };
    let [p50, p99] = [tick.p50, tick.p99].map(|ns| Unit::Nanoseconds.figure(ns as f64));
    format!("{rate:>10}   p50 {p50}   p99 {p99}{errors}")
}

impl ServerCost {
    fn cpu_seconds(&self) -> f64 {
        self.to.cpu.saturating_sub(self.from.cpu).as_secs_f64()
    }

    fn per_cpu_second(&self, slice: &Slice) -> f64 {
        slice.requests as f64 / self.cpu_seconds().max(1e-9)
    }

    fn switches(&self) -> (u64, u64) {
        let (from, to) = (&self.from, &self.to);
        (to.voluntary.saturating_sub(from.voluntary), to.involuntary.saturating_sub(from.involuntary))
    }
}

impl Report<'_> {
    pub fn print(&self) {
        println!("{}\n\n{}\n\n{}", self.load(), self.table().text(), self.latencies().text());
        if let Some(table) = self.server_table() {
            println!("\n{}", table.text());
        }
        self.remarks().iter().for_each(|remark| println!("\n{remark}"));
    }

    /// The load in one line.
    fn load(&self) -> String {
        let spec = self.spec;
        let pace = spec
            .rate
            .map_or("closed loop".to_owned(), |rate| format!("open loop at {}", Unit::PerSecond.short(rate)));
        format!(
            "{} by {} to {}: {} connections, pipeline {}, threads {}, {pace}; get:set {}, {} keys ({}), values of {} bytes{}",
            spec.protocol.name(),
            self.engine,
            spec.target,
            spec.connections,
            spec.pipeline,
            spec.threads,
            spec.ratio,
            spec.keys,
            spec.dist,
            spec.value_size,
            if spec.verify { ", verified" } else { "" },
        )
    }

    fn table(&self) -> Table {
        let slice = self.slice;
        let mut table = Table::new(&[
            "answered",
            "in",
            "rate",
            "hits",
            "misses",
            "stored",
            "errors",
            "wrong",
            "client CPU",
        ]);
        let per_request = slice.client_cpu.as_nanos() as f64 / slice.requests.max(1) as f64;
        table.row([
            slice.requests.to_string(),
            Unit::Seconds.figure(slice.elapsed.as_secs_f64()),
            Unit::PerSecond.figure(slice.rate()),
            slice.hits.to_string(),
            slice.misses.to_string(),
            slice.stored.to_string(),
            slice.errors.to_string(),
            if self.spec.verify { slice.wrong.to_string() } else { "–".to_owned() },
            format!("{} per request", Unit::Nanoseconds.figure(per_request)),
        ]);
        table
    }

    fn latencies(&self) -> Table {
        let names: Vec<&str> =
            ["latency"].into_iter().chain(QUANTILES.map(|(name, _)| name)).chain(["mean"]).collect();
        let latency = &self.slice.latency;
        let values = QUANTILES.map(|(_, quantile)| latency.value_at_quantile(quantile) as f64);
        let cells = values.into_iter().chain([latency.mean()]).map(|ns| Unit::Nanoseconds.figure(ns));
        let from = if self.spec.rate.is_some() { "from when due" } else { "from when sent" };
        let mut table = Table::new(&names);
        table.row([from.to_owned()].into_iter().chain(cells));
        table
    }

    fn server_table(&self) -> Option<Table> {
        let cost = self.server?;
        let (voluntary, involuntary) = cost.switches();
        let mut table = Table::new(&["the server", ""]);
        table.row(["processor time".to_owned(), format!("{:.3} s", cost.cpu_seconds())]);
        table
            .row(["requests per CPU second".to_owned(), Unit::Count.figure(cost.per_cpu_second(self.slice))]);
        let memory = [cost.to.rss, cost.to.peak_rss].map(|bytes| Unit::Bytes.figure(bytes as f64));
        table.row(["memory, and its peak".to_owned(), memory.join(", ")]);
        table.row([
            "context switches".to_owned(),
            format!("{voluntary} voluntary, {involuntary} involuntary"),
        ]);
        table.row(match &cost.syscalls {
            Syscalls::Known { per_request, source } => {
                ["system calls per request".to_owned(), format!("{per_request:.4}, by {source}")]
            }
            Syscalls::Unknown { why } => ["system calls per request".to_owned(), format!("unknown: {why}")],
        });
        Some(table)
    }

    /// What went wrong, in sentences.
    fn remarks(&self) -> Vec<String> {
        let slice = self.slice;
        let mut remarks = Vec::new();
        for (text, count) in &slice.error_texts {
            let next = advice(text).map_or(String::new(), |next| format!("\n  {next}"));
            remarks.push(format!("{count} errors: {text}{next}"));
        }
        if slice.lost_connections > 0 {
            remarks.push(format!(
                "{} connections were lost, and made again where that was possible",
                slice.lost_connections
            ));
        }
        if slice.misses > slice.hits {
            remarks.push(format!(
                "{} of {} reads found nothing, which costs a server less than finding something: --preload writes every key first",
                slice.misses,
                slice.misses + slice.hits
            ));
        }
        if slice.unsent > 0 {
            // A few always come due in the last moment.
            let behind = slice.unsent > slice.requests / 100;
            let so =
                if behind { ": at this rate the server, or this generator, does not keep up" } else { "" };
            remarks.push(format!(
                "{} requests were due and not yet sent at the end{so}. They are in the latencies with the time they had waited.",
                slice.unsent
            ));
        }
        if slice.wrong > 0 {
            let first = slice.first_wrong.as_deref().unwrap_or_default();
            remarks.push(format!(
                "{} WRONG ANSWERS; the first: {first}\n  (values that an earlier run wrote without --verify fail too: --preload \
                 writes every key anew)",
                slice.wrong
            ));
        }
        remarks
    }

    pub fn write_json(&self, path: &Path) -> Result<(), String> {
        write_json(path, &self.json())
    }

    fn json(&self) -> Value {
        let (spec, slice) = (self.spec, self.slice);
        let mut latency = QUANTILES
            .map(|(name, quantile)| (name.to_owned(), json!(slice.latency.value_at_quantile(quantile))))
            .to_vec();
        latency.push(("mean".to_owned(), json!(slice.latency.mean())));
        json!({
            "command": command_line(),
            "environment": Environment::here(),
            "load": {
                "target": spec.target, "protocol": spec.protocol.name(), "engine": self.engine,
                "connections": spec.connections, "pipeline": spec.pipeline, "threads": spec.threads,
                "ratio": spec.ratio.to_string(), "keys": spec.keys, "key_size": spec.key_size,
                "value_size": spec.value_size.to_string(), "dist": spec.dist.to_string(),
                "ttl_s": spec.ttl.map(|ttl| ttl.as_secs_f64()), "rate": spec.rate, "verify": spec.verify,
                "seed": spec.seed,
            },
            "requests": slice.requests, "elapsed_s": slice.elapsed.as_secs_f64(), "requests_per_s": slice.rate(),
            "hits": slice.hits, "misses": slice.misses, "stored": slice.stored,
            "errors": slice.errors, "error_texts": slice.error_texts.iter().map(|(text, count)| json!({"text": text, "count": count})).collect::<Vec<_>>(),
            "wrong": spec.verify.then_some(slice.wrong), "first_wrong": slice.first_wrong,
            "unsent": slice.unsent, "lost_connections": slice.lost_connections,
            "client_cpu_s": slice.client_cpu.as_secs_f64(),
            "latency_ns": Value::Object(latency.into_iter().collect()),
            "timeline": slice.timeline.iter().map(|tick| json!({
                "at_s": tick.at.as_secs_f64(), "requests_per_s": tick.rate(), "errors": tick.errors,
                "p50_ns": tick.p50, "p99_ns": tick.p99, "max_ns": tick.max,
            })).collect::<Vec<_>>(),
            "server": self.server.map(|cost| self.server_json(cost)),
        })
    }

    fn server_json(&self, cost: &ServerCost) -> Value {
        let (voluntary, involuntary) = cost.switches();
        let (per_request, source) = match &cost.syscalls {
            Syscalls::Known { per_request, source } => (Some(*per_request), (*source).to_owned()),
            Syscalls::Unknown { why } => (None, why.clone()),
        };
        json!({
            "cpu_s": cost.cpu_seconds(), "requests_per_cpu_s": cost.per_cpu_second(self.slice),
            "rss_bytes": cost.to.rss, "peak_rss_bytes": cost.to.peak_rss,
            "voluntary_switches": voluntary, "involuntary_switches": involuntary,
            "syscalls_per_request": per_request, "syscalls_source": source,
            "cpu_timeline": cost.timeline.iter().map(|(at, share)| json!([at.as_secs_f64(), share])).collect::<Vec<_>>(),
        })
    }

    pub fn write_html(&self, path: &Path) -> Result<(), String> {
        let slice = self.slice;
        let mut page = Page::new(&format!("Load on {}", self.spec.target), &self.load());
        let quantile = |quantile| Unit::Nanoseconds.figure(slice.latency.value_at_quantile(quantile) as f64);
        let mut figures = vec![
            ("requests per second", Unit::PerSecond.figure(slice.rate())),
            ("median", quantile(0.5)),
            ("p99", quantile(0.99)),
        ];
        if let Some(cost) = self.server {
            figures.push(("requests per server CPU second", Unit::Count.figure(cost.per_cpu_second(slice))));
        }
        page.figures(figures);
        self.remarks().iter().for_each(|remark| page.note(remark));
        page.section("Over time");
        page.chart(&over_time(
            "Requests per second",
            "rate",
            Unit::PerSecond,
            vec![self.ticks("rate", Tick::rate)],
        ));
        let latencies =
            vec![self.ticks("p50", |tick| tick.p50 as f64), self.ticks("p99", |tick| tick.p99 as f64)];
        page.chart(&over_time("Latency", "latency", Unit::Nanoseconds, latencies));
        if let Some(cost) = self.server {
            let points = cost.timeline.iter().map(|(at, share)| (at.as_secs_f64(), *share)).collect();
            let series = vec![Series { name: "server".into(), points }];
            page.chart(&over_time(
                "The server's processor time",
                "share of one processor",
                Unit::Share,
                series,
            ));
        }
        page.section("Latency");
        page.chart(&LineChart::percentiles("Latency percentiles", &[("all requests", &slice.latency)]));
        page.table(&self.latencies());
        page.section("Figures");
        page.table(&self.table());
        self.server_table().iter().for_each(|table| page.table(table));
        page.write(path)
    }

    fn ticks(&self, name: &str, value: impl Fn(&Tick) -> f64) -> Series {
        // After the last whole tick only the replies in flight are waited for: no rate.
        let timeline = &self.slice.timeline;
        let whole = &timeline[..timeline.len().saturating_sub(1).max(1).min(timeline.len())];
        Series {
            name: name.into(),
            points: whole.iter().map(|tick| (tick.at.as_secs_f64(), value(tick))).collect(),
        }
    }
}

fn over_time(title: &str, label: &str, unit: Unit, series: Vec<Series>) -> LineChart {
    LineChart {
        title: title.into(),
        caption: String::new(),
        x: Axis::new("time", Unit::Seconds, Scale::Linear),
        y: Axis::new(label, unit, Scale::Linear),
        series,
    }
}
