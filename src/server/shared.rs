//! What all threads of the server share: the store, the configuration, who is connected, and how to reach each worker.
//!
//! ```text
//!                       ┌──────────── Shared ────────────┐
//!   worker 0 … N-1 ───► │ config  store  clients  pause  │ ◄─── control: metrics, signals, sampling
//!        ▲              │ settings (CONFIG SET)          │
//!        └─ wake ────── │ workers[i]: messages, stats    │
//!                       └────────────────────────────────┘
//! ```
//!
//! Workers read settings and pauses with relaxed atomics once per turn or connection; what they write often (counters, client entries)
//! is their own. A message is a note in the worker's box (`mailbox.rs`) and a wake.

use super::clients::{ClientEntry, Clients};
use super::events::Events;
use super::heartbeats::Heartbeats;
use super::mailbox::{self, Mailbox, Message};
use super::memcached::ScheduledFlush;
use super::monitors::Monitors;
use super::pause::Pause;
use super::pubsub::PubSub;
use super::refusal::Refusal;
use super::sampler::{Sample, Sampler};
use super::settings::Settings;
use super::tracking::TrackingTable;
use super::waiters::Waiters;
use crate::command::COMMANDS;
use crate::command::script::ScriptCache;
use crate::config::Config;
use crate::doctor::Examiner;
use crate::limits;
use crate::observe::{Histogram, Histograms, Observer};
use crate::proto::{ParseLimits, Spoken};
use crate::ring::Waker;
use crate::stats::{StatsSnapshot, WorkerStats};
use crate::store::Store;
use crate::sys::listener::is_local;
use crate::sys::machine::CpuTimes;
use parking_lot::Mutex;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// One worker, seen from outside.
pub struct WorkerHandle {
    pub stats: Arc<WorkerStats>,
    /// How long its commands took.
    pub times: Arc<Histograms>,
    /// Set once, when the worker has its driver.
    engine: OnceLock<Engine>,
    pub(super) mailbox: Mailbox,
}

/// The driver that a worker got.
struct Engine {
    name: &'static str,
    waker: Arc<dyn Waker>,
}

/// See the top of this file.
pub struct Shared {
    pub config: Arc<Config>,
    pub store: Arc<Store>,
    pub clients: Clients,
    pub settings: Settings,
    pub pause: Pause,
    /// memcached's flush_all with a delay.
    pub(super) flush: ScheduledFlush,
    pub scripts: ScriptCache,
    pub pubsub: PubSub,
    pub tracking: TrackingTable,
    pub monitors: Monitors,
    pub(super) events: Events,
    pub workers: Box<[WorkerHandle]>,
    /// The client ports' addresses, as bound, by the number of their listener.
    pub addresses: Vec<SocketAddr>,
    /// What each of them speaks.
    pub spoken: Vec<Spoken>,
    pub waiters: Waiters,
    pub observer: Observer,
    /// What there is to say of the machine.
    pub doctor: Examiner,
    pub heartbeats: Heartbeats,
    /// When the last HOTKEYS session began.
    pub(super) hotkeys_cpu: Mutex<CpuTimes>,
    pub(super) sampler: Sampler,
    /// What had been counted at CONFIG RESETSTAT.
    pub(super) baseline: Mutex<Baseline>,
    pub(super) run_id: String,
    pub(super) started: Instant,
    pub(super) started_us: u64,
    pub(super) random: AtomicU64,
    ready: AtomicBool,
    draining: AtomicBool,
}

/// Counters at the last CONFIG RESETSTAT.
#[derive(Clone, Debug, Default)]
pub(super) struct Baseline {
    pub workers: StatsSnapshot,
    pub evicted: u64,
    pub expired: u64,
    pub times: Vec<Histogram>,
}

fn observer_of(config: &Config) -> Observer {
    let observer = Observer::default();
    observer.slowlog.set_threshold_us(config.slowlog_slower_than_us);
    observer.slowlog.set_max_len(config.slowlog_max_len);
    observer.events.set_threshold_ms(config.latency_threshold_ms);
    observer
}

impl Shared {
    /// `seed`: three random words, for RANDOMKEY and the run id.
    pub fn new(
        config: Arc<Config>,
        store: Arc<Store>,
        addresses: Vec<SocketAddr>,
        spoken: Vec<Spoken>,
        seed: [u64; 3],
    ) -> Shared {
        let worker = |_| WorkerHandle {
            stats: Arc::new(WorkerStats::new(COMMANDS.len())),
            times: Arc::new(Histograms::new(COMMANDS.len())),
            engine: OnceLock::new(),
            mailbox: Mailbox::default(),
        };
        let random_word = seed[0].rotate_left(32) ^ seed[1];
        let shared = Shared {
            clients: Clients::new(config.threads),
            settings: Settings::new(&config),
            pause: Pause::default(),
            flush: ScheduledFlush::default(),
            scripts: ScriptCache::default(),
            pubsub: PubSub::new(config.threads),
            tracking: TrackingTable::new(config.tracking_keys),
            monitors: Monitors::default(),
            events: Events::default(),
            workers: (0..config.threads).map(worker).collect(),
            addresses,
            spoken,
            waiters: Waiters::default(),
            observer: observer_of(&config),
            doctor: Examiner::default(),
            heartbeats: Heartbeats::new(config.threads, Duration::from_millis(config.lua_time_limit_ms)),
            hotkeys_cpu: Mutex::default(),
            sampler: Sampler::default(),
            baseline: Mutex::default(),
            run_id: format!("{:016x}{:016x}{:08x}", seed[0], seed[1], seed[2] >> 32),
            started: Instant::now(),
            started_us: unix_us(),
            random: AtomicU64::new(random_word),
            ready: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            config,
            store,
        };
        shared.set_notify_flags(shared.config.notify_flags);
        shared
    }

    /// What a listener speaks.
    pub fn spoken(&self, listener: u8) -> Spoken {
        self.spoken.get(usize::from(listener)).copied().unwrap_or_default()
    }

    /// Lets a connection in, or says why not.
    pub fn admit(
        &self,
        worker: usize,
        peer: SocketAddr,
        local: SocketAddr,
        now_ms: u64,
    ) -> Result<Arc<ClientEntry>, Refusal> {
        if self.settings.is_protected() && !is_local(peer) {
            return Err(Refusal::Protected);
        }
        self.clients
            .register(worker, (peer, local), now_ms, self.settings.max_clients())
            .ok_or(Refusal::MaxClients)
    }

    /// The connection is closed: its place is free.
    pub fn dismiss(&self, client: &ClientEntry) {
        self.clients.remove(client);
    }

    pub fn password_is_set(&self) -> bool {
        self.settings.password_is_set()
    }

    /// Milliseconds of silence after which a connection is closed; 0: never.
    pub fn idle_timeout_ms(&self) -> u64 {
        self.settings.idle_timeout_s().saturating_mul(1000)
    }

    /// What parsers enforce now: CONFIG SET maxmemory changes the largest value.
    pub fn parse_limits(&self) -> ParseLimits {
        ParseLimits { max_bulk: self.max_value_size().max(limits::MAX_KEY_LEN), ..self.config.parse_limits() }
    }

    /// The largest value now: what was configured, and never more than a quarter of the memory limit.
    pub fn max_value_size(&self) -> usize {
        self.config.max_value_size.min(self.store.budget().limit() / limits::VALUE_SHARE)
    }

    /// A worker has its driver: messages reach it from now on.
    pub fn worker_ready(&self, worker: usize, engine: &'static str, waker: Arc<dyn Waker>) {
        let first = self.workers[worker].engine.set(Engine { name: engine, waker }).is_ok();
        assert!(first, "worker {worker} is started once");
    }

    /// The name of a worker's driver; "none" before it has one.
    pub fn engine(&self, worker: usize) -> &'static str {
        self.workers[worker].engine.get().map_or("none", |engine| engine.name)
    }

    /// Lets a worker look at its mailbox, once it has its driver.
    pub(super) fn wake(&self, worker: usize) {
        if let Some(engine) = self.workers[worker].engine.get()
            && !mailbox::wake_waits(worker)
        {
            engine.waker.wake();
        }
    }

    /// Tells those who wait for keys that have changed.
    pub fn wake_waiters(&self) {
        let notes = self.store.wakes().take();
        let woken = if notes.all {
            self.waiters.take_all()
        } else {
            notes.hashes.into_iter().flat_map(|hash| self.waiters.take(hash)).collect()
        };
        // One system call for each worker, however many of its connections go on.
        let mut wakes = self.wakes();
        for (worker, client) in woken {
            self.leave(worker, Message::Unpark(client), &mut wakes);
        }
    }

    /// Tells all workers to drain. Later calls change nothing; returns whether this was the first.
    pub fn begin_drain(&self) -> bool {
        let first = !self.draining.swap(true, SeqCst);
        if first {
            for worker in 0..self.workers.len() {
                self.send(worker, Message::Drain);
            }
        }
        first
    }

    pub fn is_draining(&self) -> bool {
        self.draining.load(Relaxed)
    }

    /// Looks at the machine, which takes milliseconds, for the configuration as CONFIG SET has left it.
    pub fn examine(&self) {
        let mut config = Config::clone(&self.config);
        config.max_memory = self.store.budget().limit();
        config.max_clients = self.settings.max_clients();
        self.doctor.examine(&config);
    }

    /// All workers serve.
    pub fn set_ready(&self) {
        self.heartbeats.begin(Instant::now());
        self.ready.store(true, Relaxed);
    }

    pub fn is_ready(&self) -> bool {
        self.ready.load(Relaxed)
    }

    /// The control thread's sample of the counters, from which rates are made.
    pub fn sample(&self, sample: Sample) {
        self.sampler.add(sample);
    }

    /// The counters of all workers together, since the start.
    pub fn totals(&self) -> StatsSnapshot {
        let mut sum = StatsSnapshot::default();
        for worker in &self.workers {
            sum.add(&worker.stats.snapshot());
        }
        sum
    }
}

/// Unix time in microseconds.
pub(super) fn unix_us() -> u64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH);
    since_epoch.map_or(0, |d| u64::try_from(d.as_micros()).unwrap_or(u64::MAX))
}
