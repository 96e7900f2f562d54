//! Start order and drain order; owns the threads.
//!
//! ```text
//!   limits → store → listeners → control thread → workers ═ report ═► start lines ─ … ─ signal → drain → join → end
//!      every step's failure ends the start with what failed, why, and what mends it
//! ```
//!
//! Ports are taken before any thread runs, and engines are known before the start is announced: what the start lines say is so.

use super::banner;
use super::log;
use super::shared::Shared;
use crate::config::{Config, ConfigError};
use crate::control;
use crate::limits;
use crate::proto::Spoken;
use crate::store::{Budget, Store, StoreConfig, return_large_frees};
use crate::sys::listener::{self, ListenOptions, Listeners};
use crate::sys::machine;
use crate::sys::{rlimit, signals};
use crate::worker::{self, Report, WorkerSetup};
use std::any::Any;
use std::io;
use std::net::{SocketAddr, TcpListener};
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
    Bind(#[from] listener::BindError),
    #[error("cannot start: {0}")]
    Io(#[from] io::Error),
    #[error("cannot start worker {worker}: {reason}")]
    Engine { worker: usize, reason: String },
    #[error("worker {worker} was not ready within {seconds} seconds")]
    Stuck { worker: usize, seconds: u64 },
    #[error("{thread} is lost: {reason}\n  The server ends, as it could not serve all keys without it.")]
    Lost { thread: String, reason: String },
}

/// What reaches the main thread while the server runs.
enum Happening {
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
    return_large_frees();
    signals::block()?;
    let descriptors = rlimit::raise_nofile(config.descriptors_for(config.max_clients))?;
    config.fit_descriptors(descriptors)?;

    let seeds: [u64; 7] = machine::random_words()?;
    let store = Arc::new(store_of(&config, [seeds[0], seeds[1], seeds[2], seeds[3]])?);
    let (listeners, spoken) = listen(&config)?;
    let admin = listener::bind_one(SocketAddr::new(config.admin_bind, config.admin_port), bind_retry())?;
    let admin_address = admin.local_addr()?;
    let config = Arc::new(config);
    let run_seed = [seeds[4], seeds[5], seeds[6]];
    let shared =
        Arc::new(Shared::new(Arc::clone(&config), store, listeners.addresses.clone(), spoken, run_seed));

    let (happened, happenings) = mpsc::channel();
    start_control(&shared, admin, &happened)?;
    let (threads, reports) = start_workers(&shared, listeners, &happened)?;
    let reports = collect(reports, config.threads)?;
    shared.set_ready();
    banner::print(&shared, admin_address, &reports);
    serve(&shared, &happenings, threads)
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

fn bind_retry() -> Duration {
    Duration::from_millis(limits::BIND_RETRY_MS)
}

/// The listeners of the port that speaks all protocols, and of those that speak one; and what each speaks, by its number.
fn listen(config: &Config) -> Result<(Listeners, Vec<Spoken>), listener::BindError> {
    let mut listeners = Listeners::bind(&listen_options(config, config.port, "--port"))?;
    let mut spoken = vec![Spoken::All; listeners.addresses.len()];
    for own in &config.own_ports {
        listeners.extend(Listeners::bind(&listen_options(config, own.port, own.flag))?);
        spoken.resize(listeners.addresses.len(), own.spoken);
    }
    Ok((listeners, spoken))
}

fn listen_options(config: &Config, port: u16, port_flag: &'static str) -> ListenOptions {
    ListenOptions {
        bind: config.bind.clone(),
        port,
        port_flag,
        workers: config.threads,
        backlog: config.tcp_backlog,
        keepalive_s: config.tcp_keepalive_s,
        retry: bind_retry(),
    }
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

/// The signal thread only waits and sends.
/// For scripts that nest calls of Lua in calls of ours, as deep as Lua lets them. Only what is used is memory.
const WORKER_STACK: usize = 8 << 20;
const SIGNAL_STACK: usize = 64 << 10;

type Threads = Vec<JoinHandle<()>>;

fn start_workers(
    shared: &Arc<Shared>,
    listeners: Listeners,
    happened: &mpsc::Sender<Happening>,
) -> io::Result<(Threads, mpsc::Receiver<Report>)> {
    let (report, reports) = mpsc::channel();
    let mut threads = Vec::with_capacity(shared.config.threads);
    for (id, listeners) in listeners.per_worker.into_iter().enumerate() {
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

/// Waits for a signal, then for the workers to drain. A worker or the control thread lost on the way is an error.
fn serve(shared: &Shared, happenings: &mpsc::Receiver<Happening>, threads: Threads) -> Result<(), RunError> {
    let mut running = threads.len();
    let mut first_signal: Option<Instant> = None;
    let mut deadline: Option<Instant> = None;
    while running > 0 {
        let happening = match deadline {
            None => happenings.recv().ok(),
            Some(at) => happenings.recv_timeout(at.saturating_duration_since(Instant::now())).ok(),
        };
        match happening {
            Some(Happening::Ended { result: Ok(()), .. }) if shared.is_draining() => running -= 1,
            Some(Happening::Ended { worker, result }) => {
                let reason = result.err().unwrap_or_else(|| "it ended without being asked to".into());
                return Err(RunError::Lost { thread: format!("worker {worker}"), reason });
            }
            Some(Happening::Signal(name)) => {
                let name = name?;
                let now = Instant::now();
                if let Some(first) = first_signal {
                    if now.duration_since(first) < SAME_SIGNAL {
                        continue;
                    }
                    log::warn(format_args!("{name} again: ending at once"));
                    std::process::exit(1);
                }
                log::info(format_args!("{}", banner::draining(name, shared)));
                shared.begin_drain();
                first_signal = Some(now);
                deadline = Some(now + shared.config.drain_timeout + DRAIN_GRACE);
            }
            Some(Happening::ControlEnded(result)) => {
                let reason =
                    result.err().map_or_else(|| "it ended by itself".into(), |error| error.to_string());
                return Err(RunError::Lost { thread: "the control thread".into(), reason });
            }
            None => {
                log::warn(format_args!("{running} workers were not done in time: ending without them"));
                return Ok(());
            }
        }
    }
    for thread in threads {
        // Each has said that it ended; its panic, had there been one, was caught and told.
        let _ = thread.join();
    }
    log::info(format_args!("Ended: all connections are closed."));
    Ok(())
}

/// Signals so close together are one request: `timeout`, and a shell that tells a whole process group, send two.
const SAME_SIGNAL: Duration = Duration::from_millis(300);

/// Workers close what is left at the drain timeout; they get so long to do it.
const DRAIN_GRACE: Duration = Duration::from_millis(250);
