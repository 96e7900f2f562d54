//! `micro`: what each choice of a server's ring buys, measured side by side on this machine. Lean servers that differ in one
//! choice get the same load in short alternating slices; the answer is a ratio with its spread.

mod plan;
mod play;
mod results;

use crate::cli::Outcome;
use crate::load::duration;
use crate::paired::{alone, check_turn};
use crate::report::{Environment, Page, command_line, output_file, write_json};
use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressStyle};
use plan::{Load, Question, Set};
use play::Method;
use results::Answer;
use serde::Serialize;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// Measures designs of an io_uring server against each other. Each has one thread and no store, and one client with one
/// thread; both are tied to a CPU. The figure is requests per second of the server's CPU time.
#[derive(clap::Args)]
pub struct Args {
    /// Which questions; all of them if none is named
    questions: Vec<Question>,
    /// Compare designs of your own instead, the first being the reference: choices as null-server takes them. Repeatable.
    #[arg(long, value_name = "CHOICES", conflicts_with = "questions")]
    variant: Vec<String>,
    /// Loads instead of the questions' own, with commas between: connections x pipeline, or connections x pipeline x bytes
    /// of the value: 50x16, 50x1x16k
    #[arg(long, value_delimiter = ',')]
    loads: Vec<Load>,
    /// How often each design has its turn
    #[arg(long, default_value_t = 30)]
    rounds: usize,
    /// How long each design runs in each round
    #[arg(long, default_value = "50ms", value_parser = duration)]
    slice: Duration,
    /// The processor of the servers
    #[arg(long, default_value_t = 0)]
    server_cpu: usize,
    /// The processor of the load generator
    #[arg(long, default_value_t = 1)]
    client_cpu: usize,
    /// Run both under SCHED_FIFO: whatever else runs on these CPUs waits
    #[arg(long)]
    realtime: bool,
    /// Also print absolute figures
    #[arg(long)]
    absolute: bool,
    /// Write all rounds here
    #[arg(long, value_name = "FILE", value_parser = output_file)]
    json: Option<PathBuf>,
    /// Write a page with charts here
    #[arg(long, value_name = "FILE", value_parser = output_file)]
    html: Option<PathBuf>,
}

/// What `--json` holds.
#[derive(Serialize)]
struct Report<'a> {
    command: String,
    environment: Environment,
    rounds: usize,
    slice_ms: f64,
    realtime: bool,
    answers: &'a [Answer],
}

pub fn main(args: Args) -> Outcome {
    if args.rounds == 0 || args.slice.is_zero() {
        return Err("--rounds and --slice are more than nothing".into());
    }
    check_turn(args.slice, args.realtime)?;
    let sets = sets(&args)?;
    let method = Method {
        rounds: args.rounds,
        slice: args.slice,
        server_cpu: args.server_cpu,
        client_cpu: args.client_cpu,
        realtime: args.realtime,
    };
    let slices: usize = sets.iter().map(|set| set.variants.len() * set.loads.len() * args.rounds).sum();
    let bar = ProgressBar::new(slices as u64);
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len}  {msg}  {eta} left")?;
    bar.set_style(style);
    let mut answers = Vec::new();
    let said = || bar.set_message("waiting for another measurement on this machine");
    let _alone = args.realtime.then(|| alone(said)).flatten();
    for set in &sets {
        let mut loads = Vec::new();
        for load in &set.loads {
            loads.push(play::play(set, *load, &method, &bar)?);
        }
        let answer = Answer::new(set, loads);
        bar.suspend(|| {
            println!("{}", answer.text());
            if args.absolute {
                println!("{}", answer.absolute().text());
            }
        });
        answers.push(answer);
    }
    bar.finish_and_clear();
    write(&args, &answers)?;
    Ok(ExitCode::SUCCESS)
}

fn sets(args: &Args) -> Result<Vec<Set>, String> {
    if !args.variant.is_empty() {
        return Ok(vec![Set::custom(&args.variant, &args.loads)?]);
    }
    let all = if args.questions.is_empty() { Question::value_variants() } else { &args.questions };
    Ok(all.iter().map(|question| Set::of(*question, &args.loads)).collect())
}

fn write(args: &Args, answers: &[Answer]) -> Result<(), String> {
    if let Some(path) = &args.json {
        let report = Report {
            command: command_line(),
            environment: Environment::here(),
            rounds: args.rounds,
            slice_ms: args.slice.as_secs_f64() * 1e3,
            realtime: args.realtime,
            answers,
        };
        write_json(path, &report)?;
    }
    if let Some(path) = &args.html {
        let lead = "Servers without a store that differ in how they use their ring, in alternating slices under the same load.";
        let mut page = Page::new("What a ring's choices buy", lead);
        for answer in answers {
            answer.show(&mut page);
        }
        page.write(path)?;
    }
    Ok(())
}
