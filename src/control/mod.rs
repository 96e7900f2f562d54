//! The control thread: everything that is slow or rare, away from the workers. The only `use tokio_uring`.
//!
//! ```text
//!   admin port ──► /metrics …   ──┬── one thread, tokio-uring (plain tokio where io_uring is refused)
//!   by the clock: samples, memory ┘      reads counters; never waits for a worker
//! ```

mod accept;
mod admin;
mod jobs;
mod metrics;

use crate::config::IoEngine;
use crate::server::{Shared, log};
use std::future::Future;
use std::io;
use std::net::TcpListener;
use std::sync::Arc;

/// Runs until the process ends; returning at all is a failure. `admin` was bound by the main thread, so that a taken port is found
/// before anything runs.
pub fn run(shared: Arc<Shared>, admin: TcpListener) -> io::Result<()> {
    if shared.config.engine == IoEngine::Epoll {
        return on_epoll(serve(shared, admin));
    }
    match tokio_uring::Runtime::new(&tokio_uring::builder()) {
        Ok(runtime) => runtime.block_on(serve(shared, admin)),
        Err(refused) => {
            log::debug(format_args!("control thread: io_uring is refused ({refused}), epoll serves"));
            on_epoll(serve(shared, admin))
        }
    }
}

fn on_epoll(server: impl Future<Output = io::Result<()>>) -> io::Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(server)
}

async fn serve(shared: Arc<Shared>, admin: TcpListener) -> io::Result<()> {
    tokio::select! {
        ended = admin::serve(admin, Arc::clone(&shared)) => ended,
        () = jobs::sample(Arc::clone(&shared)) => Ok(()),
        () = jobs::report_status(Arc::clone(&shared)) => Ok(()),
        () = jobs::collapse_pages(Arc::clone(&shared)) => Ok(()),
        () = jobs::examine(Arc::clone(&shared)) => Ok(()),
        () = jobs::prepare_memory(shared) => Ok(()),
    }
}
