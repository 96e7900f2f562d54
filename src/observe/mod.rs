//! What the server notes of its own work for those who ask: slow commands, latencies, hot keys.
//!
//! ```text
//!   worker ── how long a round, a command, a step of upkeep took ──► histograms  its own, published       LATENCY HISTOGRAM
//!                                                              ├──► slowlog     above a threshold        SLOWLOG
//!                                                              ├──► events      above another            LATENCY LATEST …
//!                                                              └──► hot keys    while somebody asks      HOTKEYS
//! ```
//!
//! Pure: times are parameters. What a worker does for every round is a handful of stores to counters of its own; the rest happens
//! beyond thresholds, or while somebody looks.

mod events;
mod histogram;
mod hotkeys;
mod slowlog;

pub use events::{Events, LatencyEvent, Series};
pub use histogram::{BUCKETS, Histogram, Histograms};
pub use hotkeys::{HotKeys, Plan as HotKeysPlan, Report as HotKeysReport, Sighting};
pub use slowlog::{SlowCommand, Slowlog};

/// All of it, shared by all threads.
#[derive(Debug, Default)]
pub struct Observer {
    pub slowlog: Slowlog,
    pub events: Events,
    pub hot_keys: HotKeys,
}
