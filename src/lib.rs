//! KV-Cache: an in-memory key-value cache for one Linux machine. This file is the map of the house.
//!
//! Arrows point one way: `main → server → worker → {conn, command, ring, sys}`, `command → {proto, store}`.
//! `proto`, `store`, `command` and `conn` are pure: no sockets, no clock, nothing of `ring`, `worker`, `sys`, `control`.
//! `ring` moves bytes and tokens and knows nothing of keys. `control` talks to workers by messages and counters only.

pub mod command;
pub mod config;
pub mod conn;
pub mod control;
pub mod limits;
pub mod observe;
pub mod proto;
pub mod ring;
pub mod server;
pub mod stats;
pub mod store;
pub mod sys;
pub mod worker;
