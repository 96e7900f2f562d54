//! Commands that run alone: on several keys, on the whole keyspace, on the connection, on the server.
//!
//! Each is a function that writes its whole reply. The number of its arguments has been checked against the command table.
//!
//! ```text
//! multi_read   MGET EXISTS TOUCH                    scan         SCAN KEYS RANDOMKEY
//! multi_write  MSET MSETNX MSETEX DEL UNLINK        databases    DBSIZE FLUSHDB FLUSHALL SELECT SWAPDB
//! transfer     RENAME RENAMENX COPY                 handshake    HELLO AUTH RESET QUIT PING ECHO
//! bitop  lcs   two algorithms                       client       CLIENT, and its filters (client_filter)
//! lease        KV.GET that waits
//! observe      SLOWLOG LATENCY HOTKEYS DEBUG DOCTOR
//! locked       several partitions held at once      introspect   COMMAND, from the table, and key_specs
//! transaction  MULTI EXEC DISCARD WATCH UNWATCH      scripting    EVAL EVALSHA, SCRIPT, FUNCTION
//! pubsub       (P|S)SUBSCRIBE PUBLISH PUBSUB MONITOR tracking    CLIENT TRACKING and its kin
//!                                                   server       INFO CONFIG TIME ROLE LASTSAVE CLUSTER, and all HELP
//! ```

mod bitop;
mod client;
mod client_filter;
mod databases;
mod handshake;
mod introspect;
mod key_specs;
mod lcs;
mod lease;
mod locked;
mod multi_read;
mod multi_write;
mod observe;
mod pubsub;
mod scan;
mod scripting;
mod server;
#[cfg(test)]
pub(crate) mod tests;
mod tracking;
mod transaction;
mod transfer;

pub use bitop::bitop;
pub use client::{
    client_getname, client_id, client_info, client_kill, client_list, client_no_evict, client_no_touch,
    client_pause, client_reply, client_setinfo, client_setname, client_unpause,
};
pub use databases::{dbsize, flush_store, flushall, flushdb, select, swapdb};
pub use handshake::{auth, echo, hello, ping, quit, reset};
pub use introspect::{
    command_all, command_count, command_docs, command_getkeys, command_getkeysandflags, command_info,
    command_list,
};
pub use lcs::lcs;
pub use lease::kv_get;
pub use locked::LockedSet;
pub use multi_read::{exists, mget, touch};
pub use multi_write::{del, mset, msetex, msetnx};
pub use observe::{
    debug_jmap, debug_sleep, doctor, hotkeys_get, hotkeys_reset, hotkeys_start, hotkeys_stop, latency_doctor,
    latency_histogram, latency_history, latency_latest, latency_reset, slowlog_get, slowlog_len,
    slowlog_reset,
};
pub use pubsub::{
    forget, monitor, psubscribe, publish, pubsub_channels, pubsub_numpat, pubsub_numsub,
    pubsub_shardchannels, pubsub_shardnumsub, punsubscribe, spublish, ssubscribe, subscribe, sunsubscribe,
    unsubscribe,
};
pub use scan::{keys, randomkey, scan};
pub use scripting::{
    eval, eval_ro, evalsha, evalsha_ro, fcall, function_delete, function_flush, function_list, function_load,
    function_stats, script_exists, script_flush, script_kill, script_load,
};
pub use server::{
    cluster, config_get, config_resetstat, config_rewrite, config_set, help, help as client_help,
    help as command_help, help as config_help, help as debug_help, help as function_help,
    help as hotkeys_help, help as latency_help, help as memory_help, help as object_help,
    help as pubsub_help, help as script_help, help as slowlog_help, info, lastsave, role, time,
};
pub use tracking::{
    client_caching, client_getredir, client_maint_notifications, client_tracking, client_trackinginfo,
};
pub use transaction::{discard, exec, multi, unwatch, watch};
pub use transfer::{copy, rename, renamenx};

use super::Flow;
use super::plan::NOT_AN_INT32;
use super::table::ErrorText;
use crate::proto::resp::Writer;
use crate::store::DATABASES;

/// Writes the reply, or the error that kept it from being written: an error comes before anything else is.
fn reply(out: &mut Writer<'_>, write: impl FnOnce(&mut Writer<'_>) -> Result<(), ErrorText>) -> Flow {
    if let Err(text) = write(out) {
        out.error(&text);
    }
    Flow::Continue
}

/// The number of a database that there is. Numbers beyond 32 bits have an error of their own, as in Redis.
fn database(number: i64) -> Result<u8, ErrorText> {
    i32::try_from(number).map_err(|_| NOT_AN_INT32)?;
    u8::try_from(number)
        .ok()
        .filter(|db| *db < DATABASES)
        .ok_or(ErrorText::Borrowed("ERR DB index is out of range"))
}
