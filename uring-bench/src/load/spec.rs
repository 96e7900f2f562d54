//! What a session is told: plain data, made from the command line by `args` or by other subcommands directly.

use crate::proto::Protocol;
use crate::workload::{Dist, Ratio, Sizes};
use std::time::Duration;

/// By which system calls the generator itself talks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Engine {
    /// io_uring where the system allows it, else epoll.
    Auto,
    #[value(name = "io_uring", alias = "uring")]
    Uring,
    Epoll,
}

/// A load. The defaults are those of `uring-bench run`.
#[derive(Clone, Debug)]
pub struct Spec {
    /// `host:port`.
    pub target: String,
    pub protocol: Protocol,
    pub engine: Engine,
    pub connections: usize,
    /// Requests in flight per connection, at most.
    pub pipeline: usize,
    pub threads: usize,
    /// Thread `i` runs on `cpus[i % len]`; empty: anywhere.
    pub cpus: Vec<usize>,
    /// SCHED_FIFO priority 1 for the generator's threads.
    pub realtime: bool,
    /// How long a thread looks for replies before it sleeps, in microseconds; 0: it sleeps at once.
    pub spin_us: u32,
    pub ratio: Ratio,
    pub keys: u64,
    /// Bytes.
    pub key_size: usize,
    pub value_size: Sizes,
    pub dist: Dist,
    /// Time to live of what is written.
    pub ttl: Option<Duration>,
    /// Requests per second of all connections together: open loop. `None`: closed loop.
    pub rate: Option<f64>,
    /// Values carry their key and a checksum, and answers are checked.
    pub verify: bool,
    pub seed: u64,
    pub user: Option<String>,
    pub password: Option<String>,
    /// How long a connection may take to come about, and a reply after the end of a slice.
    pub patience: Duration,
}

impl Default for Spec {
    fn default() -> Self {
        Self {
            target: "127.0.0.1:7171".into(),
            protocol: Protocol::Resp,
            engine: Engine::Auto,
            connections: 50,
            pipeline: 1,
            threads: 1,
            cpus: Vec::new(),
            realtime: false,
            spin_us: 0,
            ratio: Ratio { gets: 9, sets: 1 },
            keys: 1_000_000,
            key_size: 16,
            value_size: Sizes::Fixed(64),
            dist: Dist::Uniform,
            ttl: None,
            rate: None,
            verify: false,
            seed: 1,
            user: None,
            password: None,
            patience: Duration::from_secs(10),
        }
    }
}
