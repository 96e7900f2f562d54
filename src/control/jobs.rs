//! What is done by the clock: rates and memory are sampled, so that INFO and /metrics have them without measuring.

use crate::server::{Sample, Shared};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior, interval};

/// Between two samples of the counters.
const SAMPLE_EVERY: Duration = Duration::from_millis(100);
/// Memory is read from /proc at every so many samples.
const MEMORY_EVERY: u32 = 10;

/// Runs for ever.
pub async fn run(shared: Arc<Shared>) {
    let start = Instant::now();
    let mut ticks = interval(SAMPLE_EVERY);
    // After a stall the missed samples would all measure the same moment.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for n in 0u32.. {
        ticks.tick().await;
        let totals = shared.totals();
        shared.sample(Sample {
            at_ms: u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX),
            requests: totals.requests,
            bytes_received: totals.bytes_received,
            bytes_sent: totals.bytes_sent,
        });
        if n % MEMORY_EVERY == 0 {
            shared.sample_memory();
        }
    }
}
