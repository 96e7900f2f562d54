//! KV-Cache: an in-memory key-value cache for one Linux machine. This file is the map of the house.
//!
//! ```text
//!   main ─► server ─► worker ─┬─► ring      bytes and tokens to and from the kernel
//!              │              ├─► conn      one connection: session, inbox, outbox
//!              │              └─► command ─┬─► proto     bytes ↔ requests and replies, one codec per protocol
//!              ├─► control                 ├─► store     partitions of the keyspace
//!              ├─► doctor                  └─► observe   slow log, latencies, hot keys
//!              └─► sys
//! ```
//!
//! `proto`, `store`, `observe`, `command` and `conn` are pure: no sockets, no clock, nothing of `ring`, `worker`, `sys`, `control`, `server`.
//! `ring` knows nothing of keys. `control` talks to workers by messages and counters only. `config`, `limits` and `stats` are for all.
//! The long form is ARCHITECTURE.md; tests/tidy.rs holds the code against it.

pub mod command;
pub mod config;
pub mod conn;
pub mod control;
pub mod doctor;
pub mod limits;
pub mod observe;
pub mod ping;
pub mod proto;
pub mod ring;
pub mod server;
pub mod stats;
pub mod store;
pub mod sys;
pub mod worker;
