//! A worker's thread: pins itself, opens its driver, says which it got, and runs.

use super::{SystemClock, Worker};
use crate::config::IoEngine;
use crate::ring::{Driver, DriverOptions, epoll::Epoll, uring::Explained, uring::Uring, uring::known_defect};
use crate::server::Shared;
use crate::sys;
use crate::sys::listener::ListenSocket;
use std::io;
use std::sync::{Arc, mpsc};

/// What a worker's thread is given.
pub struct WorkerSetup {
    pub id: usize,
    /// The CPU to stay on.
    pub cpu: Option<usize>,
    pub listeners: Vec<ListenSocket>,
    pub shared: Arc<Shared>,
    /// Told exactly once how the start went.
    pub report: mpsc::Sender<Report>,
}

/// How a worker's start went.
#[derive(Clone, Debug)]
pub struct Report {
    pub worker: usize,
    /// The engine's name, or why there is none and what mends it.
    pub engine: Result<&'static str, String>,
    /// Why it is not io_uring although that was preferred.
    pub fallback: Option<Explained>,
    /// What did not work but does not stop the start.
    pub warning: Option<String>,
}

/// Runs a worker until it has drained. Errors after the start mean that its driver is lost.
pub fn run(setup: WorkerSetup) -> io::Result<()> {
    let warning = setup.cpu.and_then(|cpu| {
        let failed = sys::cpu::pin(cpu).err()?;
        Some(format!("worker {} runs unpinned: CPU {cpu}: {failed}", setup.id))
    });
    let config = &setup.shared.config;
    let options = DriverOptions {
        busy_poll_us: u32::try_from(config.busy_poll.as_micros()).unwrap_or(u32::MAX),
        ..DriverOptions::default()
    };
    let mut fallback = None;
    if config.engine != IoEngine::Epoll {
        match Uring::new(&options) {
            Ok(driver) => {
                // The same for all of them: one says it.
                let defect = (setup.id == 0).then(known_defect).flatten();
                return serve(driver, setup, None, warning.or(defect));
            }
            Err(refused) if config.engine == IoEngine::IoUring => {
                return give_up(&setup, refused.to_string(), warning);
            }
            Err(refused) => fallback = Some(Explained::from(refused)),
        }
    }
    match Epoll::new(&options) {
        Ok(driver) => serve(driver, setup, fallback, warning),
        Err(failed) => give_up(&setup, format!("epoll: {failed}"), warning),
    }
}

fn give_up(setup: &WorkerSetup, reason: String, warning: Option<String>) -> io::Result<()> {
    let report = Report { worker: setup.id, engine: Err(reason.clone()), fallback: None, warning };
    // If nobody listens any more, the start has been given up already.
    let _ = setup.report.send(report);
    Err(io::Error::other(reason))
}

fn serve<D: Driver>(
    mut driver: D,
    setup: WorkerSetup,
    fallback: Option<Explained>,
    warning: Option<String>,
) -> io::Result<()> {
    for ListenSocket { fd, number, shared } in setup.listeners {
        if shared { driver.listen_with_others(fd, number)? } else { driver.listen(fd, number)? }
    }
    setup.shared.worker_ready(setup.id, driver.name(), driver.waker());
    let report = Report { worker: setup.id, engine: Ok(driver.name()), fallback, warning };
    // As above.
    let _ = setup.report.send(report);
    Worker::new(driver, SystemClock::default(), setup.id, setup.shared).run()
}
