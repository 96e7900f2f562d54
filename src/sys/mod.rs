//! What the server asks of the machine outside the data path: listeners, CPUs, limits, signals, memory, the service manager. The
//! only `use nix` outside the ring.

pub mod cgroup;
pub mod cpu;
pub mod inherited;
pub mod listener;
pub mod machine;
pub mod notify;
pub mod qdisc;
pub mod rlimit;
pub mod signals;

pub use listener::{BindError, Listeners};
pub use machine::Machine;
