//! `uring-bench sweep`: one server over a grid of connections, pipeline and value size, and its latency as the rate rises.
//!
//! *The grid* is played in closed loop: what the server can do when it is always asked for more.
//! *The curve* is played in open loop at rates up to that peak: what a client waits when the server is asked at a fixed rate.
//! Its *knee* is the highest rate at which the server still keeps up (answers 99 % of what is due) and p99 is at most twice the
//! best p99 of any rate: up to there load costs latency little, beyond it a queue grows.

mod curve;
mod grid;
mod report;

use crate::cli::Outcome;
use crate::compare::{Contender, Machine, Process, choose, free_port};
use crate::load::{Error, Spec, count, duration};
use crate::paired::{alone, check_turn};
use crate::report::{output_file, write_json};
use crate::server::Watch;
use crate::workload::{Dist, Ratio, Sizes};
use curve::Curve;
use grid::Cell;
use indicatif::{ProgressBar, ProgressStyle};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// Measures one server over connections, pipeline and value size, and its latency as the rate rises
#[derive(clap::Args)]
pub struct Args {
    /// Which server to start: ours, valkey, redis, kevy, or the name of a --contender
    #[arg(long, default_value = "ours", value_name = "NAME", conflicts_with = "target")]
    server: String,
    /// A server of your own to start, as 'name=command with {port}'
    #[arg(long, value_name = "NAME=COMMAND", conflicts_with = "target")]
    contender: Option<Contender>,
    /// A server that runs already, as host:port
    #[arg(long, value_name = "HOST:PORT")]
    target: Option<String>,
    /// The process of that server, to see what requests cost it
    #[arg(long, value_name = "PID", requires = "target")]
    server_pid: Option<u32>,
    #[command(flatten)]
    machine: Machine,
    /// Numbers of connections
    #[arg(long, default_value = "1,10,50,200,1000", value_delimiter = ',', value_name = "N,…")]
    connections: Vec<usize>,
    /// Requests that a connection sends at once
    #[arg(long, default_value = "1,4,16,64,256", value_delimiter = ',', value_name = "N,…")]
    pipelines: Vec<usize>,
    /// Bytes of a value, such as 64,1KiB,16KiB
    #[arg(long, default_value = "64,1KiB,16KiB", value_delimiter = ',', value_name = "SIZE,…")]
    value_sizes: Vec<Sizes>,
    /// Connections x pipeline of the latency curve; its values have the first size
    #[arg(long, default_value = "50x1", value_name = "CxP", value_parser = curve::shape)]
    curve: (usize, usize),
    /// Without the latency curve
    #[arg(long)]
    no_curve: bool,
    /// Number of keys
    #[arg(long, default_value = "10000", value_name = "N", value_parser = count)]
    keys: u64,
    /// Bytes of a key
    #[arg(long, default_value_t = 16, value_name = "BYTES")]
    key_size: usize,
    /// Reads to writes
    #[arg(long, default_value = "9:1", value_name = "GET:SET")]
    ratio: Ratio,
    /// Which keys: uniform, zipf:0.99, or hotspot:0.2:0.8
    #[arg(long, default_value = "uniform", value_name = "DIST")]
    dist: Dist,
    /// How often each figure is taken; the median counts
    #[arg(long, default_value_t = 3, value_name = "N")]
    repeats: usize,
    /// How long a cell of the grid is played each time
    #[arg(long, default_value = "100ms", value_name = "TIME", value_parser = duration)]
    slice: Duration,
    /// How long a rate of the curve is played each time
    #[arg(long, default_value = "500ms", value_name = "TIME", value_parser = duration)]
    curve_slice: Duration,
    /// Write all figures here
    #[arg(long, value_name = "FILE", value_parser = output_file)]
    json: Option<PathBuf>,
    /// Write a page with charts here
    #[arg(long, value_name = "FILE", value_parser = output_file)]
    html: Option<PathBuf>,
}

/// The server under measurement. One that we started ends with this.
pub struct Subject {
    pub name: String,
    target: String,
    watch: Option<Watch>,
    _process: Option<Process>,
}

/// How to measure.
pub struct Method {
    pub repeats: usize,
    pub slice: Duration,
    pub curve_slice: Duration,
    /// All of a load but its connections, pipeline, value size and target.
    pub base: Spec,
}

pub fn main(args: Args) -> Outcome {
    if args.repeats == 0 {
        return Err("--repeats is at least 1".into());
    }
    let (method, subject) = prepare(&args)?;
    let plan = grid::plan(&args.value_sizes, &args.connections, &args.pipelines);
    let rates = if args.no_curve { 0 } else { curve::SHARES.len() };
    let bar = ProgressBar::new(((plan.len() + rates) * args.repeats) as u64);
    bar.set_style(ProgressStyle::with_template("{bar:30} {pos}/{len}  {msg}  {eta} left")?);
    let said = || bar.set_message("waiting for another measurement on this machine");
    let _alone = method.base.realtime.then(|| alone(said));
    let cells = grid::play(&subject, &plan, &method, &bar)?;
    let curve = if args.no_curve { None } else { Some(curve::play(&subject, &args, &method, &bar)?) };
    bar.finish_and_clear();
    println!("{}", report::text(&subject.name, &cells, curve.as_ref()));
    write(&args, &subject, &cells, curve.as_ref())?;
    Ok(ExitCode::SUCCESS)
}

/// Starts the server, or finds it.
fn prepare(args: &Args) -> Result<(Method, Subject), Error> {
    let largest = args.value_sizes.iter().map(Sizes::mean).fold(0.0, f64::max);
    let data = args.keys as f64 * (args.key_size as f64 + largest + 128.0);
    let placement = args.machine.placement();
    check_turn(args.slice.max(args.curve_slice), placement.realtime).map_err(Error::new)?;
    let base = Spec {
        keys: args.keys,
        key_size: args.key_size,
        ratio: args.ratio,
        dist: args.dist,
        ..args.machine.client(placement.realtime)
    };
    let mut method = Method { repeats: args.repeats, slice: args.slice, curve_slice: args.curve_slice, base };
    if let Some(target) = &args.target {
        let watch = args.server_pid.map(Watch::new).transpose().map_err(|error| {
            let next = "give --server-pid the process id of a server on this machine";
            Error::but(format!("cannot look at process {}: {error}", args.server_pid.unwrap_or(0)), next)
        })?;
        let subject = Subject { name: target.clone(), target: target.clone(), watch, _process: None };
        return Ok((method, subject));
    }
    let name = args.contender.as_ref().map_or(&args.server, |contender| &contender.name);
    let (chosen, _) =
        choose(std::slice::from_ref(name), args.contender.as_slice(), &args.machine.places(data))?;
    method.base.protocol = chosen[0].protocol;
    let port = free_port()?;
    let target = format!("127.0.0.1:{port}");
    let spec = Spec { target: target.clone(), ..method.base.clone() };
    let launch = chosen[0].launch(port, largest.round() as usize)?;
    let process = Process::start(name, launch, &spec, &placement)?;
    let watch = Some(Watch::new(process.pid())?);
    Ok((method, Subject { name: name.clone(), target, watch, _process: Some(process) }))
}

fn write(args: &Args, subject: &Subject, cells: &[Cell], curve: Option<&Curve>) -> Result<(), String> {
    if let Some(path) = &args.json {
        write_json(path, &report::json(&subject.name, cells, curve))?;
    }
    match &args.html {
        Some(path) => report::page(&subject.name, cells, curve).write(path),
        None => Ok(()),
    }
}
