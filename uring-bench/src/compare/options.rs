//! Options about the machine that `compare` and `sweep` share: which binaries, which processors, which priority.

use super::contenders::Places;
use super::process::{Placement, realtime_is_permitted};
use crate::load::Spec;
use std::path::PathBuf;

/// Where servers are found, and where they and the generator run.
#[derive(Clone, Debug, clap::Args)]
pub struct Machine {
    /// Our server, if it is not beside this program
    #[arg(long, value_name = "PATH")]
    ours: Option<PathBuf>,
    /// Valkey's server, if it is not in PATH, nor named by KV_VALKEY_SERVER
    #[arg(long, value_name = "PATH")]
    valkey: Option<PathBuf>,
    /// Threads of ours and kevy
    #[arg(long, default_value_t = 1, value_name = "N")]
    server_threads: usize,
    /// Processors for the servers
    #[arg(long, default_value = "0", value_delimiter = ',', value_name = "CPU,…")]
    server_cpus: Vec<usize>,
    /// Processors for the generator's threads, in turn
    #[arg(long, default_value = "1", value_delimiter = ',', value_name = "CPU,…")]
    client_cpus: Vec<usize>,
    /// Threads of the generator
    #[arg(long, default_value_t = 1, value_name = "N")]
    client_threads: usize,
    /// How long the generator looks for replies before it sleeps, in microseconds: 0 is how most clients are
    #[arg(long, default_value_t = 0, value_name = "MICROSECONDS")]
    client_spin: u32,
    /// Do without real-time priority, which keeps other processes out of the measurement
    #[arg(long)]
    no_realtime: bool,
}

impl Machine {
    /// Where to look for servers. `data` is what the largest load stores, in bytes: ours gets twice that and a GiB, so that
    /// nothing is evicted.
    pub fn places(&self, data: f64) -> Places {
        Places {
            ours: self.ours.clone(),
            valkey: self.valkey.clone(),
            threads: self.server_threads,
            memory: (data * 2.0) as u64 + (1 << 30),
        }
    }

    /// Says so where real-time priority is wanted and refused.
    pub fn placement(&self) -> Placement {
        let realtime = !self.no_realtime && realtime_is_permitted();
        if !realtime && !self.no_realtime {
            eprintln!(
                "no real-time priority here (run as root, or with CAP_SYS_NICE): other processes will show in the figures"
            );
        }
        Placement { cpus: self.server_cpus.clone(), realtime }
    }

    /// The generator's side of a load.
    pub fn client(&self, realtime: bool) -> Spec {
        Spec {
            threads: self.client_threads,
            cpus: self.client_cpus.clone(),
            realtime,
            spin_us: self.client_spin,
            ..Spec::default()
        }
    }
}
