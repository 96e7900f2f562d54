//! Commands that run alone. (Names for the table; the commands themselves follow.)

use super::{Context, Flow};
use crate::proto::resp::Writer;

macro_rules! named {
    ($($name:ident)*) => {
        $(pub fn $name(_args: &[&[u8]], _ctx: &mut Context<'_>, out: &mut Writer<'_>) -> Flow {
            out.error(concat!("ERR not built yet: ", stringify!($name)));
            Flow::Continue
        })*
    };
}

named! {
    auth
    bitop
    client_getname
    client_help
    client_id
    client_info
    client_kill
    client_list
    client_no_evict
    client_no_touch
    client_pause
    client_reply
    client_setinfo
    client_setname
    client_unpause
    command_all
    command_count
    command_docs
    command_getkeys
    command_help
    command_info
    command_list
    config_get
    config_help
    config_resetstat
    config_set
    copy
    dbsize
    del
    echo
    exists
    flushall
    flushdb
    hello
    info
    keys
    lastsave
    lcs
    memory_help
    mget
    mset
    msetex
    msetnx
    object_help
    ping
    quit
    randomkey
    rename
    renamenx
    reset
    role
    scan
    select
    swapdb
    time
    touch
}
