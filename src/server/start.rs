//! Start order; owns the threads until the supervisor has them.
//!
//! ```text
//!   inherited sockets → limits → store → listeners → control thread → workers ═ report ═► start lines, READY=1 ─ … supervisor.rs
//!      every step's failure ends the start with what failed, why, and what mends it
//! ```
//!
//! Ports are taken before any thread runs, and engines are known before the start is announced: what the start lines say is so, and
//! what the service manager is told.

use super::banner::{self, Admin};
use super::log;
use super::ports::{self, Ports};
use super::shared::Shared;
use super::{status, supervisor};
use crate::config::{Config, ConfigError, IoEngine};
use crate::control;
use crate::doctor::Ring;
use crate::limits;
use crate::store::{Budget, Store, StoreConfig, return_large_frees};
use crate::sys::inherited::InheritError;
use crate::sys::listener::{BindError, ListenSocket};
use crate::sys::{machine, notify, rlimit, signals};
use crate::worker::{self, Report, WorkerSetup};
use std::any::Any;
use std::io;
use std::net::TcpListener;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Why the server did not start, or did not end well.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Bind(#[from] BindError),
    #[error(transparent)]
    Inherit(#[from] InheritError),
    /// A socket was passed that is fit for use, but for what is not clear.
    #[error("{0}")]
    Inherited(String),
    #[error("cannot start: {0}")]
    Io(#[from] io::Error),
    #[error("cannot start worker {worker}: {reason}")]
    Engine { worker: usize, reason: String },
    #[error("worker {worker} was not ready within {seconds} seconds")]
    Stuck { worker: usize, seconds: u64 },
    #[error("{thread} is lost: {reason}\n  The server ends, as it could not serve all keys without it.")]
    Lost { thread: String, reason: String },
}

impl RunError {
    /// What the kernel called it, where it was the kernel.
    pub fn errno(&self) -> Option<i32> {
        match self {
            RunError::Bind(error) => Some(error.source as i32),
            RunError::Inherit(InheritError::Setup { source, .. }) => Some(*source as i32),
            RunError::Io(error) => error.raw_os_error(),
            _ => None,
        }
    }
}

/// What reaches the main thread while the server runs.
pub(super) enum Happening {
    Ended {
        worker: usize,
        result: Result<(), String>,
    },
    /// Returning at all is a failure.
    ControlEnded(io::Result<()>),
    Signal(io::Result<&'static str>),
}

/// Runs the server that is configured so, until it is told to end.
pub fn run(mut config: Config) -> Result<(), RunError> {
    log::set_level(config.log_level);
    let inherited = ports::inherited()?;
    return_large_frees();
    signals::block()?;
    let passed = ports::descriptors_for(&inherited, config.threads);
    let descriptors = rlimit::raise_nofile(config.descriptors_for(config.max_clients) + passed)?;
    config.fit_descriptors(descriptors.saturating_sub(passed))?;

    let seeds: [u64; 7] = machine::random_words()?;
    status::starting(&config);
    let store = Arc::new(store_of(&config, [seeds[0], seeds[1], seeds[2], seeds[3]])?);
    let Ports { clients, spoken, admin, admin_inherited, notes } = Ports::open(&config, inherited)?;
    config.notes.extend(notes);
    let admin_at = Admin { address: admin.local_addr()?, inherited: admin_inherited };
    let config = Arc::new(config);
    let run_seed = [seeds[4], seeds[5], seeds[6]];
    let shared =
        Arc::new(Shared::new(Arc::clone(&config), store, clients.addresses.clone(), spoken, run_seed));
    if let Some(period) = notify::watchdog_period() {
        shared.heartbeats.set_watchdog(period);
    }

    let (happened, happenings) = mpsc::channel();
    start_control(&shared, admin, &happened)?;
    let (threads, reports) = start_workers(&shared, clients.per_worker, &happened)?;
    let reports = collect(reports, config.threads)?;
    shared.doctor.set_ring(ring_of(&reports, config.engine));
    shared.set_ready();
    banner::print(&shared, &clients.inherited, admin_at, &reports);
    status::ready(&shared);
    supervisor::serve(&shared, &happenings, threads)
}

fn store_of(config: &Config, seeds: [u64; 4]) -> io::Result<Store> {
    let store_config = StoreConfig {
        partitions: (config.threads * limits::PARTITIONS_PER_WORKER).next_power_of_two(),
        eviction: config.eviction,
        max_value_size: config.max_value_size,
        prefault: config.prefault,
        seeds,
    };
    let budget = Budget::new(config.max_memory);
    // Counted before the store takes its share: what the process has by now, and what its threads will touch under load.
    let later = config.threads * limits::FIXED_PER_WORKER + limits::FIXED_EXTRA;
    budget.fixed.store(machine::resident_bytes() + later, Relaxed);
    Store::new(store_config, Arc::new(budget))
}

fn start_control(
    shared: &Arc<Shared>,
    admin: TcpListener,
    happened: &mpsc::Sender<Happening>,
) -> io::Result<()> {
    let (shared, control_ended, signalled) = (Arc::clone(shared), happened.clone(), happened.clone());
    // Without a main thread to tell, the process is ending already: both sends may fail then.
    std::thread::Builder::new().name("kv-control".into()).spawn(move || {
        let _ = control_ended.send(Happening::ControlEnded(control::run(shared, admin)));
    })?;
    let watch = move || while signalled.send(Happening::Signal(signals::wait())).is_ok() {};
    std::thread::Builder::new().name("kv-signals".into()).stack_size(SIGNAL_STACK).spawn(watch)?;
    Ok(())
}

/// For scripts that nest calls of Lua in calls of ours, as deep as Lua lets them. Only what is used is memory.
const WORKER_STACK: usize = 8 << 20;
/// The signal thread only waits and sends.
const SIGNAL_STACK: usize = 64 << 10;

pub(super) type Threads = Vec<JoinHandle<()>>;

fn start_workers(
    shared: &Arc<Shared>,
    listeners: Vec<Vec<ListenSocket>>,
    happened: &mpsc::Sender<Happening>,
) -> io::Result<(Threads, mpsc::Receiver<Report>)> {
    let (report, reports) = mpsc::channel();
    let mut threads = Vec::with_capacity(shared.config.threads);
    for (id, listeners) in listeners.into_iter().enumerate() {
        let cpu = shared.config.cpus.get(id).copied();
        let setup = WorkerSetup { id, cpu, listeners, shared: Arc::clone(shared), report: report.clone() };
        let happened = happened.clone();
        let body = move || {
            let run = std::panic::AssertUnwindSafe(|| worker::run(setup));
            let result = match std::panic::catch_unwind(run) {
                Ok(ended) => ended.map_err(|error| error.to_string()),
                Err(panic) => Err(panic_text(&*panic)),
            };
            // Without a main thread to tell, the process is ending already.
            let _ = happened.send(Happening::Ended { worker: id, result });
        };
        let thread = std::thread::Builder::new().name(format!("kv-worker-{id}"));
        threads.push(thread.stack_size(WORKER_STACK).spawn(body)?);
    }
    Ok((threads, reports))
}

/// What the doctor is told of the workers' engines.
fn ring_of(reports: &[Report], wanted: IoEngine) -> Ring {
    match reports.iter().find_map(|report| report.fallback.clone()) {
        Some(explained) => Ring::refused(explained),
        None if wanted == IoEngine::Epoll => Ring::NotWanted,
        None => Ring::InUse { workers: reports.len() },
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text =
        panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("it panicked: {}", text.unwrap_or("(no text)"))
}

/// Waits until every worker has its engine; the first that has none ends the start.
fn collect(reports: mpsc::Receiver<Report>, workers: usize) -> Result<Vec<Report>, RunError> {
    let mut collected: Vec<Option<Report>> = vec![None; workers];
    let deadline = Instant::now() + Duration::from_secs(limits::START_TIMEOUT_S);
    while let Some(missing) = collected.iter().position(Option::is_none) {
        let left = deadline.saturating_duration_since(Instant::now());
        match reports.recv_timeout(left) {
            Ok(Report { worker, engine: Err(reason), .. }) => {
                return Err(RunError::Engine { worker, reason });
            }
            Ok(report) => {
                let worker = report.worker;
                collected[worker] = Some(report);
            }
            Err(mpsc::RecvTimeoutError::Timeout) => {
                return Err(RunError::Stuck { worker: missing, seconds: limits::START_TIMEOUT_S });
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                return Err(RunError::Engine { worker: missing, reason: "it ended without a word".into() });
            }
        }
    }
    Ok(collected.into_iter().flatten().collect())
}
