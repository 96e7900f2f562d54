//! The measuring: for one load, all contenders stand ready with the same keys written and their connections open, and take
//! turns. What a server that waits for its turn costs the others is looked at, too.

use super::contenders::Contender;
use super::loads::Load;
use super::process::{Placement, Process, free_port};
use super::results::{Memory, Outcome, Rounds};
use crate::load::{Error, Session, Slice, Spec, Until, new_histogram};
use crate::paired::{alternate, rest};
use crate::proto::Protocol;
use crate::server::{Sample, SyscallTrace, Watch, own_syscall_counter};
use hdrhistogram::Histogram;
use indicatif::ProgressBar;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::time::{Duration, Instant};

/// How to measure.
#[derive(Clone, Debug)]
pub struct Method {
    pub rounds: usize,
    pub slice: Duration,
    pub warm_up: Duration,
    pub servers: Placement,
    /// Threads, processors and priority of the generator; the load is filled in.
    pub client: Spec,
}

/// How long a server without work is watched at a time, and the share of a processor above which it does not rest.
const IDLE_WATCH: Duration = Duration::from_millis(60);
const IDLE_SHARE: f64 = 0.02;

/// How long a server may take to rest after its keys were written: one that does not is stopped while others have their turn.
const RESTING: Duration = Duration::from_millis(500);
/// How long it may take to tidy up after its connections.
const TIDYING: Duration = Duration::from_secs(3);
/// Descriptors besides those of connections.
const OWN_DESCRIPTORS: u64 = 256;

/// A contender that is ready. Its connections end before its process does.
struct Ready {
    name: String,
    has_info: bool,
    stores: bool,
    /// Kept between turns where all contenders' connections fit into this process.
    session: Option<Session>,
    spec: Spec,
    process: Process,
    watch: Watch,
    /// It works while it has nothing to do: stopped between its turns.
    restless: bool,
    memory: Memory,
    rounds: Rounds,
    latency: Histogram<u64>,
    /// Of all turns, warming up included.
    requests: u64,
    misses: u64,
}

/// Plays all rounds of one load. The outcomes stand in the contenders' order.
pub fn play(
    contenders: &[Contender],
    load: &Load,
    method: &Method,
    bar: &ProgressBar,
) -> Result<Vec<Outcome>, Error> {
    let keep = may_connect(contenders.len() * load.connections);
    let mut ready = Vec::new();
    for contender in contenders {
        bar.set_message(format!("{}: starting {}, writing {} keys", load.name, contender.name, load.keys));
        ready.push(prepare(contender, load, method, keep)?);
    }
    // Its own count would hold the calls of connecting, where that is done anew for every turn.
    let calls_before: Vec<Option<u64>> = ready
        .iter_mut()
        .map(|ready| if keep { own_calls(ready) } else { Ok(None) })
        .collect::<Result<_, _>>()?;
    ready.iter_mut().for_each(|contender| contender.requests = 0);
    alternate(method.rounds, &mut ready, |round, contender| {
        bar.set_message(format!("{}: round {} of {}", load.name, round + 1, method.rounds));
        bar.inc(1);
        turn(contender, load, method, keep)
    })?;
    bar.set_message(format!("{}: counting system calls", load.name));
    let mut outcomes = Vec::new();
    for (mut contender, before) in ready.into_iter().zip(calls_before) {
        let own = match before.zip(own_calls(&mut contender)?) {
            Some((before, after)) => {
                Some(after.saturating_sub(before) as f64 / contender.requests.max(1) as f64)
            }
            None => None,
        };
        // The kernel counts all contenders in the same way; a server counts only itself.
        let calls = traced_calls(&mut contender, load, method)?.or(own);
        outcomes.push(outcome(contender, calls));
    }
    Ok(outcomes)
}

fn outcome(contender: Ready, calls_per_request: Option<f64>) -> Outcome {
    Outcome {
        name: contender.name,
        command: contender.process.command(),
        stores: contender.stores,
        rounds: contender.rounds,
        latency: contender.latency,
        calls_per_request,
        memory: contender.memory,
        misses: contender.misses,
        stopped_between_turns: contender.restless,
    }
}

/// Starts a server, connects, writes all keys.
fn prepare(contender: &Contender, load: &Load, method: &Method, keep: bool) -> Result<Ready, Error> {
    let port = free_port()?;
    let launch = contender.launch(port, load.value_size.mean().round() as usize)?;
    let target = format!("127.0.0.1:{port}");
    let spec = Spec { target, protocol: contender.protocol, ..load.onto(&method.client) };
    let named = |error: Error| Error { what: format!("{}: {}", contender.name, error.what), ..error };
    let process = Process::start(&contender.name, launch, &spec, &method.servers)?;
    let watch = Watch::new(process.pid())?;
    let mut session = Session::connect(&spec).map_err(named)?;
    let before = watch.sample()?.rss;
    session.preload(|_| {}).map_err(named)?;
    let restless = !rests(&watch, RESTING)?;
    let memory = Memory::new(before, watch.sample()?.rss, load);
    let mut ready = Ready {
        name: contender.name.clone(),
        has_info: contender.has_info,
        stores: contender.stores,
        session: Some(session).filter(|_| keep),
        spec,
        process,
        watch,
        restless,
        memory,
        rounds: Rounds::default(),
        latency: new_histogram(),
        requests: 0,
        misses: 0,
    };
    if !keep {
        rests(&ready.watch, TIDYING)?;
    }
    ready.signal(Signal::SIGSTOP)?;
    Ok(ready)
}

impl Ready {
    /// Stops or continues a server that does not rest by itself.
    fn signal(&mut self, signal: Signal) -> Result<(), Error> {
        if self.restless {
            let pid =
                i32::try_from(self.process.pid()).map_err(|_| Error::new("a process id beyond 2^31"))?;
            kill(Pid::from_raw(pid), signal).map_err(std::io::Error::from)?;
        }
        Ok(())
    }

    fn slice(&mut self, length: Duration) -> Result<Slice, Error> {
        let named = |error: Error| Error { what: format!("{}: {}", self.name, error.what), ..error };
        let session = match &mut self.session {
            Some(session) => session,
            none => none.insert(Session::connect(&self.spec).map_err(named)?),
        };
        let slice = session.slice(Until::For(length), |_| {}).map_err(named)?;
        if slice.errors > 0 || slice.wrong > 0 || slice.lost_connections > 0 {
            let text = slice.error_texts.first().map(|(text, _)| text.as_str());
            let text = text.or(slice.first_wrong.as_deref()).unwrap_or("no text");
            return Err(Error::refused(
                &format!("{}, {} errors", self.name, slice.errors.max(slice.wrong)),
                text,
            ));
        }
        self.requests += slice.requests;
        self.misses += slice.misses;
        Ok(slice)
    }
}

/// Waits until a server does nothing. Whether it came to that in time.
fn rests(watch: &Watch, patience: Duration) -> Result<bool, Error> {
    let start = Instant::now();
    loop {
        let before = watch.sample()?;
        std::thread::sleep(IDLE_WATCH);
        if busy(&before, &watch.sample()?) < IDLE_SHARE {
            return Ok(true);
        }
        if start.elapsed() > patience {
            return Ok(false);
        }
    }
}

fn turn(contender: &mut Ready, load: &Load, method: &Method, keep: bool) -> Result<(), Error> {
    contender.signal(Signal::SIGCONT)?;
    contender.slice(method.warm_up)?;
    let before = contender.watch.sample()?;
    let slice = contender.slice(load.slice(method.slice))?;
    let after = contender.watch.sample()?;
    if !keep {
        contender.session = None;
        // After its connections have ended, a server closes its sides of them: not in another's turn.
        rests(&contender.watch, TIDYING)?;
    }
    contender.signal(Signal::SIGSTOP)?;
    contender.latency.add(&slice.latency).expect("histograms of the same bounds");
    let elapsed = slice.elapsed.as_secs_f64().max(1e-9);
    let cpu = (after.cpu - before.cpu).as_secs_f64();
    let rounds = &mut contender.rounds;
    rounds.per_cpu_second.push(slice.requests as f64 / cpu.max(1e-9));
    rounds.per_second.push(slice.rate());
    rounds.p50.push(slice.latency.value_at_quantile(0.5) as f64);
    rounds.p99.push(slice.latency.value_at_quantile(0.99) as f64);
    rounds.server_busy.push(cpu / elapsed);
    rounds.client_busy.push(slice.client_cpu.as_secs_f64() / elapsed);
    if method.servers.realtime {
        rest(method.warm_up + slice.elapsed);
    }
    Ok(())
}

/// Share of one processor that a server used between two looks.
fn busy(before: &Sample, after: &Sample) -> f64 {
    let cpu = after.cpu.saturating_sub(before.cpu).as_secs_f64();
    cpu / (after.at - before.at).as_secs_f64().max(1e-9)
}

/// The server's own count of its system calls.
fn own_calls(contender: &mut Ready) -> Result<Option<u64>, Error> {
    if !contender.has_info {
        return Ok(None);
    }
    contender.signal(Signal::SIGCONT)?;
    let calls = own_syscall_counter(&Spec { protocol: Protocol::Resp, ..contender.spec.clone() })?;
    contender.signal(Signal::SIGSTOP)?;
    Ok(calls)
}

/// System calls per request, counted by the kernel in a slice of their own, because counting slows them.
fn traced_calls(contender: &mut Ready, load: &Load, method: &Method) -> Result<Option<f64>, Error> {
    contender.signal(Signal::SIGCONT)?;
    contender.slice(method.warm_up)?;
    let Ok(trace) = SyscallTrace::start(contender.process.pid()) else { return Ok(None) };
    let slice = contender.slice(load.slice(method.slice))?;
    let calls = trace.stop().ok();
    contender.signal(Signal::SIGSTOP)?;
    Ok(calls.map(|calls| calls as f64 / slice.requests.max(1) as f64))
}

/// Whether this process can hold so many connections at once. Where it can, its limit is raised.
fn may_connect(connections: usize) -> bool {
    let wanted = connections as u64 + OWN_DESCRIPTORS;
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return false };
    soft >= wanted || setrlimit(Resource::RLIMIT_NOFILE, wanted, hard.max(wanted)).is_ok()
}
