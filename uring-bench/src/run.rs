//! `uring-bench run`: one load against one server, watched while it runs.

use crate::cli::Outcome;
use crate::load::{LoadArgs, Session, Slice, Tick, Until, advice};
use indicatif::{ProgressBar, ProgressStyle};
use std::process::ExitCode;
use std::time::Duration;

/// Loads a server and reports what it answered, how fast, and at what cost
#[derive(clap::Args)]
pub struct Args {
    /// The server, as host:port
    #[arg(long, default_value = "127.0.0.1:7171", value_name = "HOST:PORT")]
    target: String,
    #[command(flatten)]
    load: LoadArgs,
    /// How long to measure, such as 10, 10s or 2m
    #[arg(long, default_value = "10s", value_name = "TIME", value_parser = crate::load::duration)]
    duration: Duration,
    /// How many requests to make, instead of a duration
    #[arg(long, conflicts_with = "duration", value_name = "N", value_parser = crate::load::count)]
    requests: Option<u64>,
    /// Write every key once before measuring
    #[arg(long)]
    preload: bool,
}

pub fn main(args: Args) -> Outcome {
    let spec = args.load.spec(&args.target);
    let mut session = Session::connect(&spec)?;
    if args.preload {
        let bar = progress("writing keys [{bar:30}] {pos}/{len}, {per_sec}, {eta} left", spec.keys);
        session.preload(|done| bar.set_position(done))?;
        bar.finish_and_clear();
    }
    let until = args.requests.map_or(Until::For(args.duration), Until::Requests);
    let bar = progress("{elapsed_precise}  {msg}", 0);
    let slice = session.slice(until, |tick| bar.set_message(line(tick)))?;
    bar.finish_and_clear();
    print(&slice, session.engine());
    Ok(if slice.wrong > 0 { ExitCode::from(1) } else { ExitCode::SUCCESS })
}

fn progress(template: &str, length: u64) -> ProgressBar {
    let bar = ProgressBar::new(length);
    // The templates are ours, and sound.
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
}

fn line(tick: &Tick) -> String {
    format!(
        "{:>12.0} requests/s   p50 {:.3} ms   p99 {:.3} ms",
        tick.rate(),
        tick.p50 as f64 / 1e6,
        tick.p99 as f64 / 1e6
    )
}

fn print(slice: &Slice, engine: &str) {
    println!("engine        {engine}");
    println!("requests      {} in {:.3} s", slice.requests, slice.elapsed.as_secs_f64());
    println!("rate          {:.0} per second", slice.rate());
    println!("hits, misses  {}, {}; stored {}", slice.hits, slice.misses, slice.stored);
    for quantile in [0.5, 0.9, 0.99, 0.999, 1.0] {
        let ms = slice.latency.value_at_quantile(quantile) as f64 / 1e6;
        println!("p{:<12} {ms:.3} ms", quantile * 100.0);
    }
    println!(
        "client CPU    {:.3} s, {:.0} ns per request",
        slice.client_cpu.as_secs_f64(),
        slice.client_cpu.as_nanos() as f64 / slice.requests.max(1) as f64
    );
    if slice.unsent > 0 {
        println!("unsent        {} were due and could not be sent", slice.unsent);
    }
    for (text, count) in &slice.error_texts {
        println!("error         {count} × {text}");
        advice(text).into_iter().for_each(|next| println!("              {next}"));
    }
    if slice.wrong > 0 {
        println!(
            "WRONG         {} answers; the first: {}",
            slice.wrong,
            slice.first_wrong.as_deref().unwrap_or("?")
        );
    }
}
