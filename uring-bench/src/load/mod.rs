//! The load generator. A [`Session`] is a set of threads, each with its own ring and connections, parked between slices of
//! load; `run` plays one slice, `compare` many short ones in turn with other servers'.
//!
//! ```text
//!  Session ──Job──► thread 0: Client (driver, connections, picker, histogram) ──Report──┐
//!     ▲     ──Job──► thread 1: Client …                                       ──Report──┤
//!     └─────────────── Board: counters and interval histograms, read while running ◄────┘
//! ```
//!
//! *Closed loop*: each connection keeps its pipeline as one batch: it sends P requests, waits for all P replies, sends the
//! next, as redis-benchmark does. A slow server slows the generator, so its latencies say nothing of a fixed load.
//! *Open loop* (`rate`): request number k is due at k / rate whatever the server does, and its latency counts from then, not
//! from when it could be sent. Requests that were due and could not be sent are counted too, as `unsent`.
//!
//! *Time* is read once per turn of a thread's loop. A batch counts as sent when the turn that encodes it began and as
//! answered when the turn that brought its replies returned: latencies are never too small, and at most one turn too large.

mod answers;
mod args;
mod board;
mod client;
mod connect;
mod error;
mod inbox;
mod pace;
mod requests;
mod session;
#[cfg(test)]
mod simulation;
mod spec;

pub use args::{LoadArgs, count, duration};
pub use board::Tick;
pub use connect::open_stream;
pub use error::{Error, advice};
pub use session::{Session, Slice, Until};
pub use spec::{Engine, Spec};

use hdrhistogram::Histogram;

/// A latency histogram in nanoseconds: 1 ns to 100 s, three digits.
pub fn new_histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 100_000_000_000, 3)
        .expect("bounds and digits that the crate documents as valid")
}
