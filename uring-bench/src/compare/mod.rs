//! `uring-bench compare`: servers against each other in the same seconds. It starts them itself, on the same processor at the
//! same priority, writes the same keys to all, and gives them the same load in short slices that take turns; what it
//! reports are ratios within a round, with their spread.

mod contenders;
mod loads;
mod memory;
mod options;
mod page;
mod play;
mod process;
mod results;
mod text;

pub use contenders::{Contender, choose};
pub use options::Machine;
pub use process::{Process, free_port};

use crate::cli::Outcome;
use crate::load::{Spec, count, duration};
use crate::paired::{alone, check_turn};
use crate::report::{Environment, command_line, output_file, write_json};
use indicatif::{ProgressBar, ProgressStyle};
use loads::{Load, LoadOptions};
use memory::Items;
use play::Method;
use results::Measured;
use serde::Serialize;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// Compares servers in alternating slices of the same load
#[derive(clap::Args)]
pub struct Args {
    /// Who: ours, valkey, redis, kevy, memcached, nginx (HTTP without a store), ours-http, ours-memcached, ours-protobuf, ours-json (ours
    /// in another protocol), or names given with --contender; the first is the one whose ratios are taken. One named twice shows the
    /// noise. If none is named: those of the first five that are installed.
    #[arg(long, value_delimiter = ',', value_name = "NAME,…")]
    contenders: Vec<String>,
    /// Another contender, as 'name=command with {port}', or 'name:protocol=…' if it is not RESP; {free} stands for a further free
    /// port. Repeatable.
    #[arg(long, value_name = "NAME=COMMAND")]
    contender: Vec<Contender>,
    /// Also the server without a store, so that figures are shares of this machine's limit
    #[arg(long)]
    with_limit: bool,
    #[command(flatten)]
    machine: Machine,
    #[command(flatten)]
    loads: LoadOptions,
    /// How often each contender has its turn
    #[arg(long, default_value_t = 30, value_name = "N")]
    rounds: usize,
    /// How long each contender runs in each round; longer by itself where there are thousands of connections
    #[arg(long, default_value = "100ms", value_name = "TIME", value_parser = duration)]
    slice: Duration,
    /// How long each runs before that, uncounted
    #[arg(long, default_value = "20ms", value_name = "TIME", value_parser = duration)]
    warm_up: Duration,
    /// Write values that carry their key and a checksum, and check every answer (the limit cannot do that)
    #[arg(long, conflicts_with = "with_limit")]
    verify: bool,
    /// Also fill each with this many items of 32, 64 and 200 bytes, and report its memory per item
    #[arg(long, value_name = "N", value_parser = count)]
    items: Option<u64>,
    /// Write all rounds here
    #[arg(long, value_name = "FILE", value_parser = output_file)]
    json: Option<PathBuf>,
    /// Write a page with charts here
    #[arg(long, value_name = "FILE", value_parser = output_file)]
    html: Option<PathBuf>,
    /// Print the summary as a table in Markdown, with the command and the machine
    #[arg(long)]
    markdown: bool,
}

/// What `--json` holds.
#[derive(Serialize)]
struct Report<'a> {
    command: String,
    environment: Environment,
    rounds: usize,
    slice_ms: f64,
    warm_up_ms: f64,
    realtime: bool,
    skipped: &'a [String],
    loads: &'a [Measured],
    memory: &'a [Items],
}

pub fn main(args: Args) -> Outcome {
    if args.rounds == 0 {
        return Err("--rounds is at least 1".into());
    }
    let loads = args.loads.loads();
    let per_load = loads.iter().map(|load| (load.keys, load.key_size as f64 + load.value_size.mean()));
    let filled = args.items.map(|items| (items, 256.0));
    let data = per_load.chain(filled).map(|(keys, size)| keys as f64 * (size + 128.0));
    let places = args.machine.places(data.fold(0.0, f64::max));
    let (contenders, skipped) = contenders::choose(&args.contenders, &args.contender, &places)?;
    for line in &skipped {
        eprintln!("{line}");
    }
    if let Some(contender) = contenders.iter().find(|contender| args.verify && !contender.stores) {
        return Err(
            format!("{} keeps nothing that could be verified: leave --verify out", contender.name).into()
        );
    }
    let method = method(&args)?;
    let bar = progress(&args, loads.len() * (contenders.len() + usize::from(args.with_limit)))?;
    let (mut all, mut failures) = (Vec::new(), Vec::new());
    for load in &loads {
        match measure(&contenders, load, &method, args.with_limit, &bar) {
            Ok(measured) => {
                bar.suspend(|| println!("{}", text::load(&measured)));
                all.push(measured);
            }
            // What was measured before is not lost to a load that cannot be.
            Err(error) if all.is_empty() => return Err(error.into()),
            Err(error) => failures.push(format!("load {}: {error}", load.name)),
        }
    }
    let items = match args.items {
        Some(items) => memory::measure(&contenders, items, &method, &bar)?,
        None => Vec::new(),
    };
    bar.finish_and_clear();
    print(&args, &all, &items);
    write(&args, &method, &skipped, &all, &items)?;
    if failures.is_empty() { Ok(ExitCode::SUCCESS) } else { Err(failures.join("\n").into()) }
}

fn method(args: &Args) -> Result<Method, String> {
    let servers = args.machine.placement();
    check_turn(args.warm_up + args.slice, servers.realtime)?;
    let client = Spec { verify: args.verify, ..args.machine.client(servers.realtime) };
    Ok(Method { rounds: args.rounds, slice: args.slice, warm_up: args.warm_up, servers, client })
}

fn measure(
    contenders: &[Contender],
    load: &Load,
    method: &Method,
    with_limit: bool,
    bar: &ProgressBar,
) -> Result<Measured, crate::load::Error> {
    let said = || bar.set_message("waiting for another measurement on this machine");
    let _alone = method.servers.realtime.then(|| alone(said));
    let mut contenders = contenders.to_vec();
    if with_limit {
        // Its values have one size: the load's, or its mean.
        contenders.push(Contender::limit(load.value_size.mean().round() as usize)?);
    }
    Ok(Measured::new(load, play::play(&contenders, load, method, bar)?))
}

fn progress(args: &Args, sets: usize) -> Result<ProgressBar, Box<dyn std::error::Error>> {
    let bar = ProgressBar::new((sets * args.rounds) as u64);
    bar.set_style(ProgressStyle::with_template("{bar:30} {pos}/{len}  {msg}  {eta} left")?);
    Ok(bar)
}

fn print(args: &Args, all: &[Measured], items: &[Items]) {
    if let Some(summary) = text::summary(all, |load| format!("{} {}", load.name, load.short)) {
        let rounds = args.rounds;
        println!("Ratios within a round, median (quartiles) of {rounds} rounds:\n\n{}\n", summary.text());
    }
    if !items.is_empty() {
        println!("{}:\n\n{}\n", memory::title(items), memory::table(items).text());
    }
    if args.markdown {
        println!("{}", text::markdown(all, items, args.rounds));
    }
}

fn write(
    args: &Args,
    method: &Method,
    skipped: &[String],
    loads: &[Measured],
    memory: &[Items],
) -> Result<(), String> {
    if let Some(path) = &args.json {
        let report = Report {
            command: command_line(),
            environment: Environment::here(),
            rounds: args.rounds,
            slice_ms: args.slice.as_secs_f64() * 1e3,
            warm_up_ms: args.warm_up.as_secs_f64() * 1e3,
            realtime: method.servers.realtime,
            skipped,
            loads,
            memory,
        };
        write_json(path, &report)?;
    }
    if let Some(path) = &args.html {
        let mut page = page::page(loads, skipped, method.servers.realtime);
        if !memory.is_empty() {
            memory::show(&mut page, memory);
        }
        page.write(path)?;
    }
    Ok(())
}
