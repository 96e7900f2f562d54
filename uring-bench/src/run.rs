//! `uring-bench run`: one load against one server, watched while it runs.

mod report;

use crate::cli::Outcome;
use crate::load::{Error, LoadArgs, Session, Slice, Tick, Until};
use crate::proto::Protocol;
use crate::report::output_file;
use crate::server::{Sample, SyscallTrace, Watch, own_syscall_counter};
use indicatif::{ProgressBar, ProgressStyle};
use report::Report;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// Requests of the slice in which system calls are traced, as time: long enough to fill every pipeline often.
const TRACED: Duration = Duration::from_millis(500);

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
    /// Also report what this process, the server, costs: processor time, memory, context switches, system calls
    #[arg(long, value_name = "PID")]
    server_pid: Option<u32>,
    /// Write the figures to this file
    #[arg(long, value_name = "FILE", value_parser = output_file)]
    json: Option<PathBuf>,
    /// Write a page with charts to this file
    #[arg(long, value_name = "FILE", value_parser = output_file)]
    html: Option<PathBuf>,
}

/// What the server cost over the measured slice.
pub struct ServerCost {
    pub from: Sample,
    pub to: Sample,
    /// Processor time in use, as a share of one processor, at the end of each tick.
    pub timeline: Vec<(Duration, f64)>,
    pub syscalls: Syscalls,
}

/// System calls per request, and who says so.
pub enum Syscalls {
    Known { per_request: f64, source: &'static str },
    Unknown { why: String },
}

pub fn main(args: Args) -> Outcome {
    let spec = args.load.spec(&args.target);
    let watch = args.server_pid.map(watch).transpose()?;
    let mut session = Session::connect(&spec)?;
    if args.preload {
        let bar = progress("writing keys [{bar:30}] {pos}/{len}, {per_sec}, {eta} left", spec.keys);
        session.preload(|done| bar.set_position(done))?;
        bar.finish_and_clear();
    }
    let until = args.requests.map_or(Until::For(args.duration), Until::Requests);
    let (slice, server) = match &watch {
        None => (measure(&mut session, until, |_| {})?, None),
        Some(watch) => {
            let (slice, cost) = measure_with_server(&mut session, until, watch)?;
            (slice, Some(cost))
        }
    };
    let report = Report { spec: &spec, engine: session.engine(), slice: &slice, server: server.as_ref() };
    report.print();
    args.json.iter().try_for_each(|path| report.write_json(path))?;
    args.html.iter().try_for_each(|path| report.write_html(path))?;
    let nothing_right = slice.requests <= slice.errors;
    Ok(if slice.wrong > 0 || nothing_right { ExitCode::from(1) } else { ExitCode::SUCCESS })
}

fn watch(pid: u32) -> Result<Watch, Error> {
    let hint = "give --server-pid the process id of the server, on this machine";
    Watch::new(pid).map_err(|error| Error::but(format!("cannot look at process {pid}: {error}"), hint))
}

fn measure(session: &mut Session, until: Until, mut on_tick: impl FnMut(&Tick)) -> Result<Slice, Error> {
    let bar = match until {
        Until::For(length) => {
            progress("[{bar:20}] {msg}", u64::try_from(length.as_millis()).unwrap_or(u64::MAX))
        }
        Until::Requests(count) => progress("[{bar:20}] {msg}", count),
    };
    let mut requests = 0;
    let slice = session.slice(until, |tick| {
        requests += tick.requests;
        bar.set_position(match until {
            Until::For(_) => u64::try_from(tick.at.as_millis()).unwrap_or(u64::MAX),
            Until::Requests(_) => requests,
        });
        bar.set_message(report::line(tick));
        on_tick(tick);
    })?;
    bar.finish_and_clear();
    Ok(slice)
}

fn measure_with_server(
    session: &mut Session,
    until: Until,
    watch: &Watch,
) -> Result<(Slice, ServerCost), Error> {
    let gone = |error| Error::new(format!("the server's process cannot be looked at any more: {error}"));
    let counter = own_counter(session);
    let from = watch.sample().map_err(gone)?;
    let (mut last, mut timeline) = (from, Vec::new());
    let slice = measure(session, until, |_| {
        // One that has gone is reported below.
        if let Ok(sample) = watch.sample() {
            let share =
                (sample.cpu.saturating_sub(last.cpu)).as_secs_f64() / (sample.at - last.at).as_secs_f64();
            timeline.push((sample.at - from.at, share));
            last = sample;
        }
    })?;
    let to = watch.sample().map_err(gone)?;
    let own = match (counter, own_counter(session)) {
        // Less than before: somebody has reset it.
        (Some(before), Some(after)) if slice.requests > 0 => {
            after.checked_sub(before).map(|calls| calls as f64 / slice.requests as f64)
        }
        _ => None,
    };
    let syscalls = traced_syscalls(session, watch).or_else(|why| {
        own.map(|per_request| Syscalls::Known { per_request, source: "the server's INFO (total_syscalls)" })
            .ok_or(why)
    });
    let syscalls = syscalls.unwrap_or_else(|why| Syscalls::Unknown { why });
    Ok((slice, ServerCost { from, to, timeline, syscalls }))
}

/// The server's own counter of system calls, where it has one and this protocol can ask.
fn own_counter(session: &Session) -> Option<u64> {
    let asks = session.spec().protocol == Protocol::Resp;
    asks.then(|| own_syscall_counter(session.spec()).ok().flatten()).flatten()
}

/// Counts system calls over a short slice of its own, because tracing slows the server.
fn traced_syscalls(session: &mut Session, watch: &Watch) -> Result<Syscalls, String> {
    let trace = SyscallTrace::start(watch.pid()).map_err(|error| error.to_string())?;
    let slice = session.slice(Until::For(TRACED), |_| {}).map_err(|error| error.to_string())?;
    let calls = trace.stop().map_err(|error| error.to_string())?;
    if slice.requests == 0 {
        return Err("nothing was answered while tracing".to_owned());
    }
    let per_request = calls as f64 / slice.requests as f64;
    Ok(Syscalls::Known { per_request, source: "the kernel's tracepoint raw_syscalls:sys_enter (perf)" })
}

fn progress(template: &str, length: u64) -> ProgressBar {
    let bar = ProgressBar::new(length);
    // The templates are ours, and sound.
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
}
