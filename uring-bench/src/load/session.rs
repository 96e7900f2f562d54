//! A session: threads that hold connections to one server, and play slices of load when told.

use super::answers::Answers;
use super::board::{Board, Tick};
use super::client::{Client, Job, Report, Work};
use super::pace::Pace;
use super::requests::Requests;
use super::{Engine, Error, Spec, connect, new_histogram};
use crate::paired::make_realtime;
use crate::proto::{Http, Json, Memcached, Protobuf, Protocol, Resp, Wire};
use crate::workload::{Mix, Names, Picker, Values};
use hdrhistogram::Histogram;
use kv_server::ring::epoll::Epoll;
use kv_server::ring::uring::Uring;
use kv_server::ring::{Driver, DriverOptions};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::prctl::set_timerslack;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::{Pid, gettid};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How often a slice reports while it runs.
const TICK: Duration = Duration::from_millis(250);
/// Requests in flight per connection while keys are first written, if their values are small.
const FILL_PIPELINE: usize = 64;
const FILL_BYTES: usize = 256 << 10;

/// When a slice ends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Until {
    For(Duration),
    Requests(u64),
}

/// What a slice of load came to.
#[derive(Clone, Debug)]
pub struct Slice {
    /// All replies.
    pub requests: u64,
    pub stored: u64,
    pub hits: u64,
    pub misses: u64,
    pub errors: u64,
    pub wrong: u64,
    /// Open loop: due before the end, and not sent: the server (or this generator) did not keep up.
    pub unsent: u64,
    pub lost_connections: u64,
    /// Error texts with their counts, in order of appearance.
    pub error_texts: Vec<(String, u64)>,
    pub first_wrong: Option<String>,
    /// From the start to the last reply, and at least as long as was asked for.
    pub elapsed: Duration,
    /// Nanoseconds.
    pub latency: Histogram<u64>,
    /// Processor time of the generator's threads.
    pub client_cpu: Duration,
    pub timeline: Vec<Tick>,
}

impl Slice {
    /// Requests per second.
    pub fn rate(&self) -> f64 {
        self.requests as f64 / self.elapsed.as_secs_f64().max(1e-9)
    }
}

struct Worker {
    jobs: Option<Sender<Job>>,
    board: Arc<Board>,
    thread: Option<JoinHandle<()>>,
}

enum News {
    Connected { engine: &'static str },
    Report(Report),
    Failed(Error),
}

/// Connected threads. Dropping it closes the connections.
pub struct Session {
    spec: Arc<Spec>,
    workers: Vec<Worker>,
    news: Receiver<News>,
    engine: &'static str,
}

/// What every thread starts with.
#[derive(Clone)]
struct Start {
    spec: Arc<Spec>,
    addresses: Arc<[SocketAddr]>,
    mix: Mix,
    values: Values,
}

impl Session {
    /// Resolves, connects, greets. Returns when every connection stands.
    pub fn connect(spec: &Spec) -> Result<Session, Error> {
        let names = check(spec)?;
        raise_descriptor_limit(spec.connections)?;
        let start = Start {
            spec: Arc::new(spec.clone()),
            addresses: connect::resolve(&spec.target)?.into(),
            mix: Mix::new(spec.keys, &spec.dist, spec.ratio, &spec.value_size),
            values: Values::new(spec.value_size.max(), names),
        };
        let (sender, news) = channel();
        let threads = spec.threads.min(spec.connections);
        let workers = (0..threads)
            .map(|index| {
                let news = sender.clone();
                match spec.protocol {
                    Protocol::Resp => spawn(index, &start, Resp::new(names, spec.ttl), news),
                    Protocol::Json => spawn(index, &start, Json::new(names), news),
                    Protocol::Memcached => spawn(index, &start, memcached(spec, names)?, news),
                    Protocol::Http => spawn(index, &start, http(spec, names)?, news),
                    Protocol::Protobuf => spawn(index, &start, Protobuf::new(names, spec.ttl), news),
                }
            })
            .collect::<Result<Vec<_>, Error>>()?;
        let mut session = Session { spec: start.spec, workers, news, engine: "" };
        for _ in 0..threads {
            match session.news.recv() {
                Ok(News::Connected { engine }) => session.engine = engine,
                Ok(News::Failed(error)) => return Err(error),
                Ok(News::Report(_)) | Err(_) => return Err(died()),
            }
        }
        Ok(session)
    }

    /// By which system calls the generator talks: "io_uring" or "epoll".
    pub fn engine(&self) -> &'static str {
        self.engine
    }

    /// The rate of the slices to come; none: closed loop.
    pub fn set_rate(&mut self, rate: Option<f64>) {
        Arc::make_mut(&mut self.spec).rate = rate;
    }

    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    /// Writes every key once, in scattered order. `on_progress` is told how many are done.
    pub fn preload(&mut self, mut on_progress: impl FnMut(u64)) -> Result<(), Error> {
        let spec = Arc::clone(&self.spec);
        let mean = spec.value_size.mean() as usize; // Rounded down.
        let pipeline = FILL_PIPELINE.min(FILL_BYTES / mean.max(1)).max(1);
        let (keys, threads) = (u128::from(spec.keys), self.workers.len() as u128);
        let part = |index: usize| (keys * index as u128 / threads) as u64; // At most `keys`.
        let start = Instant::now();
        let job = |index: usize| {
            let (from, to) = (part(index), part(index + 1));
            let work = Work::Fill { from };
            Job { work, start, length: None, budget: to - from, pipeline, pace: None }
        };
        let mut done = 0;
        let slice = self.play(job, start, |tick| {
            done += tick.requests;
            on_progress(done);
        })?;
        on_progress(slice.requests);
        match slice.error_texts.first() {
            None => Ok(()),
            Some((text, _)) => {
                let what = format!("writing the keys: {} of {} failed", slice.errors, spec.keys);
                Err(Error::refused(&what, text))
            }
        }
    }

    /// Plays load, then waits for the replies in flight. `on_tick` is called every 250 ms. After an error the session is of no
    /// further use: requests may be in flight.
    pub fn slice(&mut self, until: Until, on_tick: impl FnMut(&Tick)) -> Result<Slice, Error> {
        let spec = Arc::clone(&self.spec);
        let threads = self.workers.len();
        let (length, budget) = match until {
            Until::For(length) => (Some(length), None),
            Until::Requests(count) => (None, Some(count)),
        };
        let start = Instant::now();
        let job = |index: usize| Job {
            work: Work::Mix,
            start,
            length,
            budget: budget.map_or(u64::MAX, |count| {
                let (count, index, threads) = (count, index as u64, threads as u64);
                count / threads + u64::from(index < count % threads)
            }),
            pipeline: spec.pipeline,
            pace: spec.rate.map(|rate| Pace::new(rate, index, threads)),
        };
        self.play(job, start, on_tick)
    }

    fn play(
        &mut self,
        job: impl Fn(usize) -> Job,
        start: Instant,
        mut on_tick: impl FnMut(&Tick),
    ) -> Result<Slice, Error> {
        for (index, worker) in self.workers.iter().enumerate() {
            worker.board.show(0, 0);
            worker.jobs.as_ref().ok_or_else(died)?.send(job(index)).map_err(|_| died())?;
        }
        let (mut reports, mut timeline) = (Vec::new(), Vec::<Tick>::new());
        let mut latency = new_histogram();
        while reports.len() < self.workers.len() {
            let next = TICK * (timeline.len() as u32 + 1); // A slice of 34 years would overflow.
            match self.news.recv_timeout(next.saturating_sub(start.elapsed())) {
                Ok(News::Report(report)) => reports.push(report),
                Ok(News::Failed(error)) => return Err(error),
                Ok(News::Connected { .. }) | Err(RecvTimeoutError::Disconnected) => return Err(died()),
                Err(RecvTimeoutError::Timeout) => {
                    let tick = self.tick(start.elapsed(), &timeline, &mut latency);
                    on_tick(&tick);
                    timeline.push(tick);
                }
            }
        }
        timeline.push(self.tick(start.elapsed(), &timeline, &mut latency));
        Ok(sum(reports, latency, timeline))
    }

    /// What has happened since the last tick.
    fn tick(&self, at: Duration, timeline: &[Tick], total: &mut Histogram<u64>) -> Tick {
        let mut interval = new_histogram();
        self.workers.iter().for_each(|worker| worker.board.take(&mut interval));
        total.add(&interval).expect("histograms of the same bounds");
        let counts = self.workers.iter().map(|worker| worker.board.counts());
        let (requests, errors) = counts.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        let before = timeline.iter().fold((0, 0), |sum, tick| (sum.0 + tick.requests, sum.1 + tick.errors));
        let value =
            |quantile: f64| if interval.is_empty() { 0 } else { interval.value_at_quantile(quantile) };
        Tick {
            at,
            span: at - timeline.last().map_or(Duration::ZERO, |tick| tick.at),
            requests: requests - before.0,
            errors: errors - before.1,
            p50: value(0.5),
            p99: value(0.99),
            max: value(1.0),
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.workers.iter_mut().for_each(|worker| worker.jobs = None);
        for thread in self.workers.iter_mut().filter_map(|worker| worker.thread.take()) {
            // A thread that panicked has said so.
            let _ = thread.join();
        }
    }
}

fn sum(reports: Vec<Report>, latency: Histogram<u64>, timeline: Vec<Tick>) -> Slice {
    let mut answers = Answers::default();
    reports.iter().for_each(|report| answers.add(&report.answers));
    Slice {
        requests: answers.requests,
        stored: answers.stored,
        hits: answers.hits,
        misses: answers.misses,
        errors: answers.errors,
        wrong: answers.wrong,
        unsent: answers.unsent,
        lost_connections: answers.lost_connections,
        error_texts: answers.texts,
        first_wrong: answers.first_wrong,
        elapsed: reports.iter().map(|report| report.elapsed).max().unwrap_or_default(),
        latency,
        client_cpu: reports.iter().map(|report| report.cpu).sum(),
        timeline,
    }
}

fn died() -> Error {
    Error::new("a thread of the load generator ended early; its message is above")
}

/// The wires that cannot say everything.
pub fn memcached(spec: &Spec, names: Names) -> Result<Memcached, Error> {
    Memcached::new(names, spec.ttl).map_err(Error::new)
}

pub fn http(spec: &Spec, names: Names) -> Result<Http, Error> {
    Http::new(names, spec.ttl, spec.password.as_deref()).map_err(Error::new)
}

/// What cannot work, said before anything is connected.
fn check(spec: &Spec) -> Result<Names, Error> {
    if spec.connections == 0 || spec.pipeline == 0 || spec.threads == 0 || spec.keys == 0 {
        return Err(Error::new("connections, pipeline, threads and keys are each at least 1"));
    }
    if spec.rate.is_some_and(|rate| !(rate > 0.0 && rate.is_finite())) {
        return Err(Error::new("a rate is above 0 requests per second"));
    }
    if spec.protocol == Protocol::Json && spec.ttl.is_some() {
        return Err(Error::but("JSON lines have no time to live", "leave --ttl out, or use --protocol resp"));
    }
    if spec.protocol == Protocol::Json && spec.password.is_some() {
        return Err(Error::but("JSON lines have no password", "use --protocol resp"));
    }
    if spec.protocol == Protocol::Memcached && spec.password.is_some() {
        return Err(Error::but("memcached's text protocol has no password here", "use --protocol resp"));
    }
    if spec.protocol == Protocol::Http && spec.user.is_some() {
        return Err(Error::but("over HTTP a password stands alone", "leave --user out"));
    }
    let names = Names::new(spec.keys, spec.key_size).map_err(Error::new)?;
    match spec.protocol {
        Protocol::Memcached => memcached(spec, names).map(|_| names),
        Protocol::Http => http(spec, names).map(|_| names),
        _ => Ok(names),
    }
}

/// One descriptor per connection and some for ourselves.
fn raise_descriptor_limit(connections: usize) -> Result<(), Error> {
    let wanted = connections as u64 + 64;
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).map_err(std::io::Error::from)?;
    if soft >= wanted {
        return Ok(());
    }
    if hard < wanted {
        let what = format!("{connections} connections need {wanted} descriptors, and {hard} are allowed");
        return Err(Error::but(what, "raise the limit (ulimit -Hn), or use fewer -c connections"));
    }
    setrlimit(Resource::RLIMIT_NOFILE, wanted, hard).map_err(|errno| std::io::Error::from(errno).into())
}

fn spawn<W: Wire>(index: usize, start: &Start, wire: W, news: Sender<News>) -> Result<Worker, Error> {
    let board = Arc::new(Board::new());
    let (jobs, orders) = channel();
    let (start, shown) = (start.clone(), Arc::clone(&board));
    let body = move || {
        if let Err(error) = serve(index, &start, wire, &shown, &orders, &news) {
            // Nobody listens any more only when the session is being dropped.
            let _ = news.send(News::Failed(error));
        }
    };
    let thread = std::thread::Builder::new().name(format!("load-{index}")).spawn(body)?;
    Ok(Worker { jobs: Some(jobs), board, thread: Some(thread) })
}

/// A thread from its start to its end: finds its engine, and plays what it is told.
fn serve<W: Wire>(
    index: usize,
    start: &Start,
    wire: W,
    board: &Arc<Board>,
    orders: &Receiver<Job>,
    news: &Sender<News>,
) -> Result<(), Error> {
    settle(index, &start.spec)?;
    let connections = share(start.spec.connections, index, start.spec.threads);
    let options = DriverOptions {
        // A turn may bring something of every connection.
        cq_entries: u32::try_from(connections * 2).unwrap_or(u32::MAX).clamp(4096, 1 << 16),
        busy_poll_us: start.spec.spin_us,
        ..DriverOptions::default()
    };
    match start.spec.engine {
        Engine::Epoll => serve_with(Epoll::new(&options)?, index, start, wire, board, orders, news),
        engine => match Uring::new(&options) {
            Ok(driver) => serve_with(driver, index, start, wire, board, orders, news),
            Err(error) if engine == Engine::Uring => {
                Err(Error::but(error.to_string(), "or use --engine epoll"))
            }
            Err(error) => {
                if index == 0 {
                    eprintln!("uring-bench: going on with epoll, which costs more: {error}");
                }
                serve_with(Epoll::new(&options)?, index, start, wire, board, orders, news)
            }
        },
    }
}

fn serve_with<D: Driver, W: Wire>(
    driver: D,
    index: usize,
    start: &Start,
    wire: W,
    board: &Arc<Board>,
    orders: &Receiver<Job>,
    news: &Sender<News>,
) -> Result<(), Error> {
    let spec = &start.spec;
    let engine = driver.name();
    let seed = spec.seed.wrapping_mul(1_000_003).wrapping_add(index as u64);
    let requests = Requests::new(wire, start.values.clone(), spec.verify, seed);
    let picker = Picker::new(start.mix.clone(), seed);
    let (addresses, asks) = (Arc::clone(&start.addresses), Arc::clone(spec));
    let connector = Box::new(move |patience| connect::connect(&addresses, &asks, patience));
    let (spec, board) = (Arc::clone(spec), Arc::clone(board));
    let connections = share(spec.connections, index, spec.threads);
    let mut client = Client::connect(driver, requests, picker, spec, connector, board, connections)?;
    // Nobody listens any more only when the session is being dropped; then `orders` ends too.
    let _ = news.send(News::Connected { engine });
    while let Ok(job) = orders.recv() {
        let _ = news.send(News::Report(client.play(job)?));
    }
    Ok(())
}

/// This thread's part of the connections.
fn share(connections: usize, index: usize, threads: usize) -> usize {
    let threads = threads.min(connections);
    connections / threads + usize::from(index < connections % threads)
}

/// Puts the calling thread on its processor, at its priority, and lets its timers be exact: the usual slack of 50 µs would
/// count as latency in an open loop.
fn settle(index: usize, spec: &Spec) -> Result<(), Error> {
    set_timerslack(1).map_err(std::io::Error::from)?;
    if !spec.cpus.is_empty() {
        let cpu = spec.cpus[index % spec.cpus.len()];
        let mut set = CpuSet::new();
        let pinned = set.set(cpu).and_then(|()| sched_setaffinity(Pid::from_raw(0), &set));
        pinned.map_err(|errno| {
            let what = format!("cannot run on processor {cpu}: {}", errno.desc());
            Error::but(
                what,
                "`nproc --all` says how many there are, counted from 0; `taskset -p $$` which are allowed",
            )
        })?;
    }
    if spec.realtime {
        make_realtime(gettid().as_raw())?;
    }
    Ok(())
}
