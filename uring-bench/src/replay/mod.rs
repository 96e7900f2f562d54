//! `uring-bench replay`: how often our store misses, against an exact LRU with the same memory, over a range of sizes.
//!
//! ```text
//!   trace.csv(.xz), gen:… ──► trace, generate ──► Trace ──► one pass for each size and policy ──► results: text, JSON, page
//!                                                                │
//!                                                             caches: exact LRU │ ours, lru │ ours, s3-fifo
//! ```
//!
//! A miss is followed by a set of the value, at the trace's size. Nothing here takes time of day or threads into account:
//! the same command gives the same figures on every machine.

mod caches;
mod generate;
mod results;
mod trace;

use crate::cli::Outcome;
use crate::report::{output_file, write_json};
use caches::{Cache, ExactLru, Inner, Ours};
use clap::Args as ClapArgs;
use indicatif::{ProgressBar, ProgressStyle};
use kv_server::config::{MemorySize, format_bytes, parse_memory};
use kv_server::limits::MIN_MEMORY;
use kv_server::store::Eviction;
use results::{Misses, Point, Report, Skipped};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use trace::{Op, Trace};

/// Copies of a trace at most: their names are in memory.
const MOST_COPIES: u32 = 1024;

/// Hit ratio of the store against an exact LRU with the same memory, on traces.
#[derive(ClapArgs, Debug)]
pub struct Args {
    /// Traces: CSV files `time,key,size[,op]` (also .xz), or gen:zipf[:SKEW], gen:scan, gen:loop, gen:ttl
    #[arg(required = true, value_name = "TRACE")]
    traces: Vec<String>,

    /// Memory to try: bytes (64MiB) or shares of the trace's keys and values (5%)
    #[arg(
        long,
        value_delimiter = ',',
        value_parser = parse_size,
        default_value = "0.1%,0.2%,0.5%,1%,2%,5%,10%,20%,40%,80%"
    )]
    sizes: Vec<MemorySize>,

    /// Plays so many copies of each trace in turn, under different keys: for traces smaller than the store's least memory.
    /// An exact LRU misses as with one copy and that part of the memory
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=i64::from(MOST_COPIES)))]
    copies: u32,

    /// Requests at the beginning of a trace that only warm the caches up, percent of all
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=90))]
    warmup: u8,

    /// Bytes per item that the exact LRU is charged beyond key and value; the default is what our header and index take
    #[arg(long, default_value_t = caches::OVERHEAD)]
    lru_overhead: usize,

    /// Generated traces: distinct keys
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(100..=100_000_000))]
    keys: u32,

    /// Generated traces: requests
    #[arg(long, default_value_t = 5_000_000, value_parser = clap::value_parser!(u32).range(1000..))]
    requests: u32,

    /// Generated traces: bytes of the values, from and to
    #[arg(long, default_value = "50-500", value_parser = parse_range)]
    value_size: (u32, u32),

    /// Generated traces: seed
    #[arg(long, default_value_t = 1)]
    seed: u64,

    /// Also prints what the store did besides: evictions, moves, dead and free bytes
    #[arg(long)]
    details: bool,

    /// Writes all figures to this file
    #[arg(long, value_name = "FILE", value_parser = output_file)]
    json: Option<PathBuf>,

    /// Writes a page with charts to this file
    #[arg(long, value_name = "FILE", value_parser = output_file)]
    html: Option<PathBuf>,
}

fn parse_size(text: &str) -> Result<MemorySize, String> {
    parse_memory(text).map_err(|error| error.to_string())
}

fn parse_range(text: &str) -> Result<(u32, u32), String> {
    let (from, to) = text.split_once('-').unwrap_or((text, text));
    match (from.parse(), to.parse()) {
        (Ok(from), Ok(to)) if from <= to => Ok((from, to)),
        _ => Err("a size in bytes, or two: 50-500".into()),
    }
}

pub fn main(args: Args) -> Outcome {
    let mut reports = Vec::new();
    for name in &args.traces {
        let trace = load(name, &args)?.copies(args.copies);
        let report = replay(&trace, &args)?;
        println!("{}", report.text(args.details));
        reports.push(report);
    }
    if reports.iter().all(|report| report.points.is_empty()) {
        return Err("no size could be played, for the reasons above".into());
    }
    if let Some(path) = &args.json {
        write_json(path, &reports)?;
    }
    if let Some(path) = &args.html {
        results::page(&reports).write(path)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn load(name: &str, args: &Args) -> Result<Trace, String> {
    let Some(pattern) = name.strip_prefix("gen:") else { return Trace::read(Path::new(name)) };
    let Args { keys, requests, value_size, seed, .. } = *args;
    generate::generate(pattern, generate::Shape { keys, requests, value_size, seed })
}

/// All sizes, all policies.
fn replay(trace: &Trace, args: &Args) -> Result<Report, String> {
    let extent = trace.extent();
    let warmup = trace.requests.len() * usize::from(args.warmup) / 100;
    let mut report = Report::new(trace, args.copies, args.warmup, args.lru_overhead);
    let mut sizes: Vec<usize> = args.sizes.iter().map(|size| bytes_of(*size, extent.bytes)).collect();
    sizes.sort_unstable();
    sizes.dedup();
    let (small, fit): (Vec<usize>, Vec<usize>) = sizes.into_iter().partition(|bytes| *bytes < MIN_MEMORY);
    report.skipped = skip(&small, extent.bytes, args.copies);
    let bar = progress(&trace.label, trace.requests.len() as u64 * fit.len() as u64 * 3);
    for bytes in fit {
        let mut lru = ExactLru::new(bytes, args.lru_overhead);
        let exact_lru = play(trace, warmup, &mut lru, &bar, |_| ());
        let ours = |eviction| -> Result<(Misses, Inner), String> {
            let mut peak = 0;
            let mut cache = Ours::new(bytes, eviction, extent.largest_value)?;
            let misses = play(trace, warmup, &mut cache, &bar, |cache| peak = peak.max(cache.used()));
            Ok((misses, Inner { peak, ..cache.inner() }))
        };
        let (lru, lru_inner) = ours(Eviction::Lru)?;
        let (s3_fifo, s3_fifo_inner) = ours(Eviction::S3Fifo)?;
        report.points.push(Point { bytes: bytes as u64, exact_lru, lru, s3_fifo, lru_inner, s3_fifo_inner });
    }
    bar.finish_and_clear();
    Ok(report)
}

fn bytes_of(size: MemorySize, footprint: u64) -> usize {
    match size {
        MemorySize::Bytes(bytes) => bytes,
        // A float to an integer saturates.
        MemorySize::Percent(percent) => (footprint as f64 * percent / 100.0) as usize,
    }
}

/// The sizes that the store cannot have, in ascending order, and what would help.
fn skip(sizes: &[usize], footprint: u64, copies: u32) -> Option<Skipped> {
    let largest = *sizes.last()?;
    let wanted = (f64::from(copies) * MIN_MEMORY as f64 / largest.max(1) as f64).ceil();
    let help = match wanted <= f64::from(MOST_COPIES) {
        true => format!("with --copies {wanted} that one would reach it"),
        false => "name larger --sizes, or play a larger trace".to_owned(),
    };
    let reason = format!(
        "{} of the sizes, the largest of them {} ({:.1} % of the trace): below the least --max-memory, {}; {help}",
        sizes.len(),
        format_bytes(largest),
        largest as f64 / footprint as f64 * 100.0,
        format_bytes(MIN_MEMORY)
    );
    Some(Skipped { bytes: sizes.iter().map(|bytes| *bytes as u64).collect(), reason })
}

fn progress(label: &str, requests: u64) -> ProgressBar {
    let template = "{msg} {wide_bar} {human_pos}/{human_len} requests, {per_sec}, {eta} left";
    // The template is a constant that a test below draws.
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(requests).with_style(style).with_message(label.to_owned())
}

/// Requests between two updates of the progress bar.
const CHUNK: usize = 1 << 16;

fn play<C: Cache>(
    trace: &Trace,
    warmup: usize,
    cache: &mut C,
    bar: &ProgressBar,
    mut on_chunk: impl FnMut(&C),
) -> Misses {
    let mut misses = Misses::default();
    for (chunk, requests) in trace.requests.chunks(CHUNK).enumerate() {
        for (n, request) in requests.iter().enumerate() {
            let hit = cache.request(&trace.names[request.key as usize], request);
            if request.op == Op::Get && chunk * CHUNK + n >= warmup {
                misses.count(hit, request.size);
            }
        }
        on_chunk(cache);
        bar.inc(requests.len() as u64);
    }
    misses
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn args(line: &str) -> Args {
        Line::try_parse_from(format!("x {line}").split(' ')).unwrap().args
    }

    #[test]
    fn a_small_trace_is_replayed_from_the_command_line_to_the_page() {
        let folder = tempfile::tempdir().unwrap();
        let (json, html) = (folder.path().join("r.json"), folder.path().join("r.html"));
        let line = format!(
            "gen:zipf:0.9 --keys 50000 --requests 300000 --value-size 400-1000 --sizes 1%,20MB,40MB --json {} --html {}",
            json.display(),
            html.display()
        );
        main(args(&line)).unwrap();
        let read: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(json).unwrap()).unwrap();
        let points = read[0]["points"].as_array().unwrap();
        assert_eq!(points.len(), 2);
        for point in points {
            let [exact, lru] = ["exact_lru", "lru"].map(|name| point[name]["misses"].as_f64().unwrap());
            assert!(exact > 20_000.0 && (lru / exact - 1.0).abs() < 0.1, "{exact} {lru}");
            assert!(point["lru_inner"]["peak"].as_u64().unwrap() <= point["bytes"].as_u64().unwrap());
        }
        let reason = read[0]["skipped"]["reason"].as_str().unwrap();
        assert!(reason.contains("below the least --max-memory") && reason.contains("--copies"), "{reason}");
        assert_eq!(skip(&[10, 16 << 10], 1 << 20, 1).unwrap().bytes, [10, 16 << 10]);
        assert!(
            skip(&[10], 1 << 20, 1).unwrap().reason.contains("larger --sizes"),
            "more copies than there can be"
        );
        assert!(std::fs::read_to_string(html).unwrap().contains("gen:zipf:0.9"));
    }

    #[test]
    fn copies_leave_an_exact_lru_its_hits() {
        let one = generate::generate(
            "zipf:0.8",
            generate::Shape { keys: 2000, requests: 20_000, value_size: (100, 100), seed: 3 },
        )
        .unwrap();
        // Names of copies are two bytes longer; so are the limits.
        let bar = ProgressBar::hidden();
        let item = 16 + 100 + caches::OVERHEAD;
        let single = play(&one, 0, &mut ExactLru::new(500 * item, caches::OVERHEAD), &bar, |_| ());
        let many =
            play(&one.copies(4), 0, &mut ExactLru::new(4 * 500 * (item + 2), caches::OVERHEAD), &bar, |_| ());
        assert_eq!((single.misses * 4, single.gets * 4), (many.misses, many.gets));
    }

    #[test]
    fn sizes_and_ranges_are_checked() {
        assert_eq!(bytes_of(parse_size("5%").unwrap(), 2000), 100);
        assert_eq!(bytes_of(parse_size("16MiB").unwrap(), 2000), 16 << 20);
        assert!(parse_size("lots").is_err());
        assert_eq!(parse_range("7"), Ok((7, 7)));
        assert!(parse_range("9-7").is_err());
    }

    #[test]
    fn the_progress_bar_has_a_template_of_its_own() {
        assert!(
            ProgressStyle::with_template(
                "{msg} {wide_bar} {human_pos}/{human_len} requests, {per_sec}, {eta} left"
            )
            .is_ok()
        );
        progress("label", 10).finish_and_clear();
    }
}
