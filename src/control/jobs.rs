//! What is done by the clock: counters and memory are sampled, the service manager is told of them, and memory is prepared ahead of its
//! use, so that neither a reader of INFO nor a writer of keys waits for it.

use crate::limits;
use crate::server::{Sample, Shared};
use crate::sys::notify::{self, Note};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

/// Between two samples of the counters.
const SAMPLE_EVERY: Duration = Duration::from_millis(100);
/// Memory is read from /proc at every so many samples.
const MEMORY_EVERY: u32 = 10;

/// Between two looks for small pages that may become a huge page.
const COLLAPSE_EVERY: Duration = Duration::from_millis(150);
/// After making a huge page, so many times as long as it took: whoever touches memory meanwhile stands still, and one part in a
/// thousand of the time stays out of the 99.9th percentile. It takes 0.6 ms, but 5 ms in a virtual machine whose host has taken
/// unused memory back.
const COLLAPSE_REST: u32 = 1_000;

/// Between two questions of whether the doctor should look.
const EXAMINE_EVERY: Duration = Duration::from_millis(250);

/// While memory is wanted, and the longest pause while none is: a partition has a few segments ready, which last longer than that.
const PREPARE_SOON: Duration = Duration::from_millis(1);
const PREPARE_LATEST: Duration = Duration::from_millis(20);

/// Samples counters and memory, for ever, and does what has been put off until now.
pub async fn sample(shared: Arc<Shared>) {
    let start = Instant::now();
    let mut ticks = interval(SAMPLE_EVERY);
    // After a stall the missed samples would all measure the same moment.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for n in (0..MEMORY_EVERY).cycle() {
        ticks.tick().await;
        shared.heartbeats.beat_control();
        // Noted now, an age is right to a tenth of a second whenever somebody asks.
        shared.heartbeat_ages();
        shared.flush_if_due();
        let totals = shared.totals();
        shared.sample(Sample {
            at_ms: u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX),
            requests: totals.requests,
            bytes_received: totals.bytes_received,
            bytes_sent: totals.bytes_sent,
        });
        if n == 0 {
            shared.sample_memory();
            shared.store.budget().age_spares();
        }
    }
}

/// Has the doctor look at the machine when it is time, for ever.
pub async fn examine(shared: Arc<Shared>) {
    loop {
        examine_if_due(&shared).await;
        sleep(EXAMINE_EVERY).await;
    }
}

/// The same once: reading dozens of files is for a thread that has nothing else to do.
pub async fn examine_if_due(shared: &Arc<Shared>) {
    if shared.doctor.is_due() {
        let shared = Arc::clone(shared);
        // It fails when the look panicked: then there is none, and the next comes.
        let _ = tokio::task::spawn_blocking(move || shared.examine()).await;
    }
}

/// Tells the service manager, if there is one, how the server does: `systemctl status` shows it.
pub async fn report_status(shared: Arc<Shared>) {
    if !notify::is_managed() {
        return std::future::pending().await;
    }
    loop {
        sleep(Duration::from_secs(limits::STATUS_EVERY_S)).await;
        // While it starts, ends or is stuck, others say so.
        if shared.is_ready() && !shared.is_draining() && shared.stuck().is_none() {
            // That it cannot be told has been said at the start.
            let _ = notify::tell(&[Note::Status(&shared.status_line())]);
        }
    }
}

/// Faults in what the store is about to need, for ever. A step takes up to a millisecond; between steps the admin pages get their turn.
pub async fn prepare_memory(shared: Arc<Shared>) {
    let mut pause = PREPARE_SOON;
    loop {
        if shared.store.prefault_step() {
            pause = PREPARE_SOON;
            tokio::task::yield_now().await;
        } else {
            sleep(pause).await;
            pause = (pause * 2).min(PREPARE_LATEST);
        }
    }
}

/// Makes huge pages of small ones that have filled up, for ever.
pub async fn collapse_pages(shared: Arc<Shared>) {
    loop {
        let started = Instant::now();
        let done = shared.store.collapse_step();
        let rest = if done { started.elapsed() * COLLAPSE_REST } else { Duration::ZERO };
        sleep(rest.max(COLLAPSE_EVERY)).await;
    }
}
