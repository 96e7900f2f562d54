//! The server around its workers: what they share, how they start, how they end.

mod banner;
mod clients;
mod events;
mod figures;
mod heartbeats;
mod host;
mod info;
pub mod log;
mod mailbox;
mod memcached;
mod monitors;
mod parameters;
mod pause;
mod ports;
mod pubsub;
mod pushes;
mod refusal;
mod sampler;
mod settings;
mod shared;
mod start;
mod status;
mod supervisor;
mod tracking;
mod waiters;

pub use clients::{ClientEntry, Clients};
pub use figures::{Figures, ratio};
pub use heartbeats::Stuck;
pub use mailbox::{Delivery, Message, Publication, Push};
pub use monitors::write_line;
pub use pause::Pause;
pub use pubsub::FanOut;
pub use refusal::Refusal;
pub use sampler::{Rates, Sample};
pub use settings::Settings;
pub use shared::{Shared, WorkerHandle};
pub use start::{RunError, run};
pub use status::failed as tell_failure;

/// A server without threads, for tests of what surrounds it.
#[cfg(test)]
pub(crate) mod testing {
    use super::Shared;
    use crate::config::Config;
    use crate::proto::Spoken;
    use crate::store::{Budget, Store, StoreConfig};
    use crate::sys::Machine;
    use std::ffi::OsString;
    use std::sync::Arc;

    /// A configuration from flags, on a machine with 8 GB and 4 CPUs.
    pub fn config(flags: &str) -> Config {
        let machine = Machine {
            memory: 8_000_000_000,
            memory_is_cgroup: false,
            cpus: vec![0, 1, 2, 3],
            cpu_quota: None,
        };
        let args = std::iter::once("kv-server").chain(flags.split_whitespace()).map(OsString::from);
        Config::parse(args, &machine).unwrap()
    }

    /// What a server with these flags would share.
    pub fn shared(flags: &str) -> Shared {
        let config = Arc::new(config(flags));
        let store_config = StoreConfig {
            partitions: 4,
            eviction: config.eviction,
            max_value_size: config.max_value_size,
            prefault: false,
            seeds: [1, 2, 3, 4],
        };
        let store = Arc::new(Store::new(store_config, Arc::new(Budget::new(config.max_memory))).unwrap());
        Shared::new(config, store, vec!["127.0.0.1:7171".parse().unwrap()], vec![Spoken::All], [1, 2, 3])
    }
}
