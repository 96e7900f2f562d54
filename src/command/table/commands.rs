//! The rows of the command table, in the order of their names.
//!
//! ```text
//! "name" arity [flags] (first, last, step of the keys) Group [further categories] "since" Kind
//!     "complexity" "summary";
//! ```

use super::{Categories, Flags, Group, Keys, Kind::*, Spec};
use crate::command::barrier;
use crate::command::plan::{bits, counters, expiry, generic, lease, scripts, strings};

macro_rules! specs {
    ($(#[$doc:meta])* $vis:vis $table:ident: $($name:literal $arity:literal [$($flag:ident)*] ($first:literal $last:literal $step:literal)
        $group:ident [$($also:ident)*] $since:literal $kind:ident $args:tt $complexity:literal $summary:literal;)*) => {
        $(#[$doc])*
        $vis static $table: &[Spec] = &[$(Spec {
            name: $name,
            arity: $arity,
            flags: Flags::NONE$(.with(Flags::$flag))*,
            keys: Keys { first: $first, last: $last, step: $step },
            group: Group::$group,
            since: $since,
            complexity: $complexity,
            summary: $summary,
            kind: $kind $args,
            also: Categories::NONE$(.with(Categories::$also))*,
        }),*];
    };
}

specs! {
    /// All commands, sorted by name.
    pub COMMANDS:
    "append" 3 [WRITE DENYOOM FAST] (1 1 1) String [] "2.0.0" Keyed(strings::append)
        "O(1) amortised" "Adds bytes to the end of a value, or creates it.";
    "auth" -2 [NOSCRIPT LOADING STALE FAST NO_AUTH ALLOW_BUSY] (0 0 0) Connection [] "1.0.0" Barrier(barrier::auth)
        "O(1)" "Proves who the client is.";
    "bitcount" -2 [READONLY] (1 1 1) Bitmap [] "2.6.0" Keyed(bits::bitcount)
        "O(N)" "Counts the set bits of a value or of a range of it.";
    "bitfield" -2 [WRITE DENYOOM] (1 1 1) Bitmap [] "3.2.0" Keyed(bits::bitfield)
        "O(1) for each operation" "Reads and writes integers of any width inside a value.";
    "bitfield_ro" -2 [READONLY FAST] (1 1 1) Bitmap [] "6.0.0" Keyed(bits::bitfield_ro)
        "O(1) for each operation" "Reads integers of any width inside a value.";
    "bitop" -4 [WRITE DENYOOM] (2 -1 1) Bitmap [] "2.6.0" Barrier(barrier::bitop)
        "O(N)" "Combines the bits of several values into another.";
    "bitpos" -3 [READONLY] (1 1 1) Bitmap [] "2.8.7" Keyed(bits::bitpos)
        "O(N)" "Finds the first set or clear bit of a value.";
    "client" -2 [] (0 0 0) Connection [] "2.4.0" Container { bare: None, subcommands: CLIENT }
        "Depends on subcommand" "Asks or tells about client connections.";
    "cluster" -2 [] (0 0 0) Server [] "3.0.0" Barrier(barrier::cluster)
        "O(1)" "Says that this is not a cluster.";
    "command" -1 [LOADING STALE] (0 0 0) Server [CONNECTION] "2.8.13" Container { bare: Some(barrier::command_all), subcommands: COMMAND }
        "O(N) where N is the total number of commands" "Describes the commands.";
    "config" -2 [] (0 0 0) Server [] "2.0.0" Container { bare: None, subcommands: CONFIG }
        "Depends on subcommand" "Reads and changes parameters of the running server.";
    "copy" -3 [WRITE DENYOOM] (1 2 1) Generic [] "6.2.0" Barrier(barrier::copy)
        "O(N) where N is the length of the value" "Copies a value to another key.";
    "dbsize" 1 [READONLY FAST] (0 0 0) Server [KEYSPACE] "1.0.0" Barrier(barrier::dbsize)
        "O(1)" "Counts the keys of the selected database.";
    "debug" -2 [] (0 0 0) Server [] "1.0.0" Container { bare: None, subcommands: DEBUG }
        "Depends on subcommand" "Aids for tests, where the server allows them.";
    "decr" 2 [WRITE DENYOOM FAST] (1 1 1) String [] "1.0.0" Keyed(counters::decr)
        "O(1)" "Subtracts one from a number.";
    "decrby" 3 [WRITE DENYOOM FAST] (1 1 1) String [] "1.0.0" Keyed(counters::decrby)
        "O(1)" "Subtracts from a number.";
    "del" -2 [WRITE] (1 -1 1) Generic [] "1.0.0" KeyedIf(2, generic::del, barrier::del)
        "O(N) where N is the number of keys" "Removes keys.";
    "delex" -2 [WRITE FAST] (1 1 1) String [] "8.4.0" Keyed(strings::delex)
        "O(1), O(N) with a digest" "Removes a key if its value fulfils a condition.";
    "delifeq" 3 [WRITE FAST] (1 1 1) String [] "9.0.0" Keyed(strings::delifeq)
        "O(1)" "Removes a key if it has this value.";
    "digest" 2 [READONLY FAST] (1 1 1) String [] "8.4.0" Keyed(strings::digest)
        "O(N) where N is the length of the value" "Returns a 64-bit digest of a value in hexadecimal.";
    "discard" 1 [NOSCRIPT LOADING STALE FAST ALLOW_BUSY] (0 0 0) Transactions [] "2.0.0" Barrier(barrier::discard)
        "O(N) where N is the number of queued commands" "Forgets a transaction.";
    "doctor" -1 [ADMIN NOSCRIPT LOADING STALE] (0 0 0) Server [] "kv-cache 0.2.0" Barrier(barrier::doctor)
        "O(1)" "Says what would make the server's machine better for it, as text or JSON.";
    "echo" 2 [LOADING STALE FAST] (0 0 0) Connection [] "1.0.0" Barrier(barrier::echo)
        "O(1)" "Returns its argument.";
    "eval" -3 [NOSCRIPT STALE MOVABLEKEYS] (0 0 0) Scripting [] "2.6.0" KeyedScript(scripts::eval, barrier::eval)
        "Depends on the script" "Runs a Lua script.";
    "eval_ro" -3 [READONLY NOSCRIPT STALE MOVABLEKEYS] (0 0 0) Scripting [] "7.0.0" Barrier(barrier::eval_ro)
        "Depends on the script" "Runs a Lua script that writes nothing.";
    "evalsha" -3 [NOSCRIPT STALE MOVABLEKEYS] (0 0 0) Scripting [] "2.6.0" KeyedScript(scripts::evalsha, barrier::evalsha)
        "Depends on the script" "Runs a Lua script that the server knows.";
    "evalsha_ro" -3 [READONLY NOSCRIPT STALE MOVABLEKEYS] (0 0 0) Scripting [] "7.0.0" Barrier(barrier::evalsha_ro)
        "Depends on the script" "Runs a Lua script that the server knows and that writes nothing.";
    "exec" 1 [NOSCRIPT LOADING STALE] (0 0 0) Transactions [] "1.2.0" Barrier(barrier::exec)
        "Depends on the commands" "Runs a transaction.";
    "exists" -2 [READONLY FAST] (1 -1 1) Generic [] "1.0.0" KeyedIf(2, generic::exists, barrier::exists)
        "O(N) where N is the number of keys" "Counts which of the keys exist.";
    "expire" -3 [WRITE FAST] (1 1 1) Generic [] "1.0.0" Keyed(expiry::expire)
        "O(1)" "Lets a key expire after some seconds.";
    "expireat" -3 [WRITE FAST] (1 1 1) Generic [] "1.2.0" Keyed(expiry::expireat)
        "O(1)" "Lets a key expire at a Unix time in seconds.";
    "expiretime" 2 [READONLY FAST] (1 1 1) Generic [] "7.0.0" Keyed(expiry::expiretime)
        "O(1)" "Returns when a key expires, as a Unix time in seconds.";
    "fcall" -3 [NOSCRIPT STALE MOVABLEKEYS] (0 0 0) Scripting [] "7.0.0" Barrier(barrier::fcall)
        "O(1)" "Says that there are no functions.";
    "fcall_ro" -3 [READONLY NOSCRIPT STALE MOVABLEKEYS] (0 0 0) Scripting [] "7.0.0" Barrier(barrier::fcall)
        "O(1)" "Says that there are no functions.";
    "flushall" -1 [WRITE] (0 0 0) Server [KEYSPACE DANGEROUS] "1.0.0" Barrier(barrier::flushall)
        "O(1) to the caller" "Empties all databases.";
    "flushdb" -1 [WRITE] (0 0 0) Server [KEYSPACE DANGEROUS] "1.0.0" Barrier(barrier::flushdb)
        "O(1) to the caller" "Empties the selected database.";
    "function" -2 [] (0 0 0) Scripting [] "7.0.0" Container { bare: None, subcommands: FUNCTION }
        "Depends on subcommand" "Says that there are no functions.";
    "get" 2 [READONLY FAST] (1 1 1) String [] "1.0.0" Keyed(strings::get)
        "O(1)" "Returns the value of a key.";
    "getbit" 3 [READONLY FAST] (1 1 1) Bitmap [] "2.2.0" Keyed(bits::getbit)
        "O(1)" "Returns one bit of a value.";
    "getdel" 2 [WRITE FAST] (1 1 1) String [] "6.2.0" Keyed(strings::getdel)
        "O(1)" "Returns the value of a key and removes the key.";
    "getex" -2 [WRITE FAST] (1 1 1) String [] "6.2.0" Keyed(expiry::getex)
        "O(1)" "Returns the value of a key and changes when it expires.";
    "getrange" 4 [READONLY] (1 1 1) String [] "2.4.0" Keyed(strings::getrange)
        "O(N) where N is the length of the part" "Returns a part of a value.";
    "getset" 3 [WRITE DENYOOM FAST] (1 1 1) String [] "1.0.0" Keyed(strings::getset)
        "O(1)" "Sets a value and returns the one before.";
    "hello" -1 [NOSCRIPT LOADING STALE FAST NO_AUTH ALLOW_BUSY] (0 0 0) Connection [] "6.0.0" Barrier(barrier::hello)
        "O(1)" "Chooses the protocol version, and may authenticate and name the connection.";
    "hotkeys" -2 [] (0 0 0) Server [] "8.6.0" Container { bare: None, subcommands: HOTKEYS }
        "Depends on subcommand" "Finds the keys that take most of the processor or of the network.";
    "incr" 2 [WRITE DENYOOM FAST] (1 1 1) String [] "1.0.0" Keyed(counters::incr)
        "O(1)" "Adds one to a number.";
    "incrby" 3 [WRITE DENYOOM FAST] (1 1 1) String [] "1.0.0" Keyed(counters::incrby)
        "O(1)" "Adds to a number.";
    "incrbyfloat" 3 [WRITE DENYOOM FAST] (1 1 1) String [] "2.6.0" Keyed(counters::incrbyfloat)
        "O(1)" "Adds to a number with a fraction.";
    "info" -1 [LOADING STALE] (0 0 0) Server [DANGEROUS] "1.0.0" Barrier(barrier::info)
        "O(1)" "Tells about the server in sections.";
    "keys" 2 [READONLY] (0 0 0) Generic [DANGEROUS] "1.0.0" Barrier(barrier::keys)
        "O(N) where N is the number of keys in the database" "Lists the keys that match a pattern.";
    "kv.get" -2 [WRITE DENYOOM] (1 1 1) String [] "kv-cache 0.2.0" KeyedWhere(lease::waits_for_nobody, lease::get, barrier::kv_get)
        "O(1)" "Returns a value with its CAS, and who may compute it anew.";
    "kv.release" 3 [WRITE FAST] (1 1 1) String [] "kv-cache 0.2.0" Keyed(lease::release)
        "O(1)" "Gives back a lease that was won on a miss.";
    "kv.set" -3 [WRITE DENYOOM] (1 1 1) String [] "kv-cache 0.2.0" Keyed(lease::set)
        "O(1)" "Sets a value if the lease is still held.";
    "kv.stale" -2 [WRITE FAST] (1 1 1) String [] "kv-cache 0.2.0" Keyed(lease::stale)
        "O(1)" "Lets a value be served until somebody has computed it anew.";
    "lastsave" 1 [LOADING STALE FAST] (0 0 0) Server [ADMIN DANGEROUS] "1.0.0" Barrier(barrier::lastsave)
        "O(1)" "Returns when data was last saved, as a Unix time in seconds.";
    "latency" -2 [] (0 0 0) Server [] "2.8.13" Container { bare: None, subcommands: LATENCY }
        "Depends on subcommand" "Tells what took long, and how long commands take.";
    "lcs" -3 [READONLY] (1 2 1) String [] "7.0.0" Barrier(barrier::lcs)
        "O(N*M) where N and M are the lengths of the values" "Finds the longest common subsequence of two values.";
    "memory" -2 [] (0 0 0) Server [] "4.0.0" Container { bare: None, subcommands: MEMORY }
        "Depends on subcommand" "Tells how memory is used.";
    "mget" -2 [READONLY FAST] (1 -1 1) String [] "1.0.0" KeyedIf(2, strings::mget, barrier::mget)
        "O(N) where N is the number of keys" "Returns the values of several keys.";
    "monitor" 1 [ADMIN NOSCRIPT LOADING STALE] (0 0 0) Server [] "1.0.0" Barrier(barrier::monitor)
        "O(1)" "Sends every command that the server executes.";
    "move" 3 [WRITE FAST] (1 1 1) Generic [] "1.0.0" Keyed(generic::move_key)
        "O(1)" "Moves a key to another database.";
    "mset" -3 [WRITE DENYOOM] (1 -1 2) String [] "1.0.1" KeyedIf(3, strings::mset, barrier::mset)
        "O(N) where N is the number of keys" "Sets several keys at once.";
    "msetex" -4 [WRITE DENYOOM MOVABLEKEYS] (0 0 0) String [] "9.1.0" Barrier(barrier::msetex)
        "O(N) where N is the number of keys" "Sets several keys at once, with a condition and an expiry.";
    "msetnx" -3 [WRITE DENYOOM] (1 -1 2) String [] "1.0.1" Barrier(barrier::msetnx)
        "O(N) where N is the number of keys" "Sets several keys if none of them exists.";
    "multi" 1 [NOSCRIPT LOADING STALE FAST NO_MULTI ALLOW_BUSY] (0 0 0) Transactions [] "1.2.0" Barrier(barrier::multi)
        "O(1)" "Begins a transaction: what follows is queued.";
    "object" -2 [] (0 0 0) Generic [] "2.2.3" Container { bare: None, subcommands: OBJECT }
        "Depends on subcommand" "Tells how a value is kept.";
    "persist" 2 [WRITE FAST] (1 1 1) Generic [] "2.2.0" Keyed(expiry::persist)
        "O(1)" "Lets a key live until it is removed.";
    "pexpire" -3 [WRITE FAST] (1 1 1) Generic [] "2.6.0" Keyed(expiry::pexpire)
        "O(1)" "Lets a key expire after some milliseconds.";
    "pexpireat" -3 [WRITE FAST] (1 1 1) Generic [] "2.6.0" Keyed(expiry::pexpireat)
        "O(1)" "Lets a key expire at a Unix time in milliseconds.";
    "pexpiretime" 2 [READONLY FAST] (1 1 1) Generic [] "7.0.0" Keyed(expiry::pexpiretime)
        "O(1)" "Returns when a key expires, as a Unix time in milliseconds.";
    "ping" -1 [FAST] (0 0 0) Connection [] "1.0.0" ImmediateIfBare(generic::pong, barrier::ping)
        "O(1)" "Answers PONG, or its argument.";
    "psetex" 4 [WRITE DENYOOM] (1 1 1) String [] "2.6.0" Keyed(strings::psetex)
        "O(1)" "Sets a value that expires after some milliseconds.";
    "psubscribe" -2 [PUBSUB NOSCRIPT LOADING STALE] (0 0 0) PubSub [] "2.0.0" Barrier(barrier::psubscribe)
        "O(N) where N is the number of patterns" "Sends the messages of all channels that match a pattern.";
    "pttl" 2 [READONLY FAST] (1 1 1) Generic [] "2.6.0" Keyed(expiry::pttl)
        "O(1)" "Returns how many milliseconds a key has left.";
    "publish" 3 [PUBSUB LOADING STALE FAST] (0 0 0) PubSub [] "2.0.0" Barrier(barrier::publish)
        "O(N+M) where N is the number of subscribers and M that of patterns" "Sends a message to a channel's subscribers.";
    "pubsub" -2 [] (0 0 0) PubSub [] "2.8.0" Container { bare: None, subcommands: PUBSUB }
        "Depends on subcommand" "Tells about channels and subscribers.";
    "punsubscribe" -1 [PUBSUB NOSCRIPT LOADING STALE] (0 0 0) PubSub [] "2.0.0" Barrier(barrier::punsubscribe)
        "O(N) where N is the number of patterns" "Ends subscriptions to patterns.";
    "quit" -1 [NOSCRIPT LOADING STALE FAST NO_AUTH ALLOW_BUSY] (0 0 0) Connection [] "1.0.0" Barrier(barrier::quit)
        "O(1)" "Closes the connection.";
    "randomkey" 1 [READONLY] (0 0 0) Generic [] "1.0.0" Barrier(barrier::randomkey)
        "O(1)" "Returns a key chosen at random.";
    "rename" 3 [WRITE] (1 2 1) Generic [] "1.0.0" Barrier(barrier::rename)
        "O(1)" "Gives a value another key, replacing what is there.";
    "renamenx" 3 [WRITE FAST] (1 2 1) Generic [] "1.0.0" Barrier(barrier::renamenx)
        "O(1)" "Gives a value another key if that does not exist.";
    "reset" 1 [NOSCRIPT LOADING STALE FAST NO_AUTH ALLOW_BUSY] (0 0 0) Connection [] "6.2.0" Barrier(barrier::reset)
        "O(1)" "Puts the connection back into the state that it began in.";
    "role" 1 [NOSCRIPT LOADING STALE FAST] (0 0 0) Server [ADMIN DANGEROUS] "2.8.12" Barrier(barrier::role)
        "O(1)" "Returns the part that this server plays in replication.";
    "scan" -2 [READONLY] (0 0 0) Generic [] "2.8.0" Barrier(barrier::scan)
        "O(1) for each step, O(N) for all" "Walks through the keys in small steps.";
    "script" -2 [] (0 0 0) Scripting [] "2.6.0" Container { bare: None, subcommands: SCRIPT }
        "Depends on subcommand" "Loads, finds and forgets Lua scripts.";
    "select" 2 [LOADING STALE FAST ALLOW_BUSY] (0 0 0) Connection [] "1.0.0" Barrier(barrier::select)
        "O(1)" "Chooses a database.";
    "set" -3 [WRITE DENYOOM] (1 1 1) String [] "1.0.0" Keyed(strings::set)
        "O(1)" "Sets a value, with a condition and an expiry.";
    "setbit" 4 [WRITE DENYOOM] (1 1 1) Bitmap [] "2.2.0" Keyed(bits::setbit)
        "O(1)" "Sets or clears one bit of a value.";
    "setex" 4 [WRITE DENYOOM] (1 1 1) String [] "2.0.0" Keyed(strings::setex)
        "O(1)" "Sets a value that expires after some seconds.";
    "setnx" 3 [WRITE DENYOOM FAST] (1 1 1) String [] "1.0.0" Keyed(strings::setnx)
        "O(1)" "Sets a value if the key does not exist.";
    "setrange" 4 [WRITE DENYOOM] (1 1 1) String [] "2.2.0" Keyed(strings::setrange)
        "O(1), O(M) for M bytes that are long" "Overwrites a part of a value.";
    "slowlog" -2 [] (0 0 0) Server [] "2.2.12" Container { bare: None, subcommands: SLOWLOG }
        "Depends on subcommand" "Tells which commands took long.";
    "spublish" 3 [PUBSUB LOADING STALE FAST] (1 1 1) PubSub [] "7.0.0" Barrier(barrier::spublish)
        "O(N) where N is the number of subscribers" "Sends a message to a shard channel's subscribers.";
    "ssubscribe" -2 [PUBSUB NOSCRIPT LOADING STALE] (1 -1 1) PubSub [] "7.0.0" Barrier(barrier::ssubscribe)
        "O(N) where N is the number of channels" "Sends the messages of shard channels.";
    "strlen" 2 [READONLY FAST] (1 1 1) String [] "2.2.0" Keyed(strings::strlen)
        "O(1)" "Returns the length of a value.";
    "subscribe" -2 [PUBSUB NOSCRIPT LOADING STALE] (0 0 0) PubSub [] "2.0.0" Barrier(barrier::subscribe)
        "O(N) where N is the number of channels" "Sends the messages of channels.";
    "substr" 4 [READONLY] (1 1 1) String [] "1.0.0" Keyed(strings::getrange)
        "O(N) where N is the length of the part" "Returns a part of a value: the former name of GETRANGE.";
    "sunsubscribe" -1 [PUBSUB NOSCRIPT LOADING STALE] (1 -1 1) PubSub [] "7.0.0" Barrier(barrier::sunsubscribe)
        "O(N) where N is the number of channels" "Ends subscriptions to shard channels.";
    "swapdb" 3 [WRITE FAST] (0 0 0) Server [KEYSPACE DANGEROUS] "4.0.0" Barrier(barrier::swapdb)
        "O(1)" "Exchanges two databases.";
    "time" 1 [LOADING STALE FAST] (0 0 0) Server [] "2.6.0" Barrier(barrier::time)
        "O(1)" "Returns the server's clock.";
    "touch" -2 [READONLY FAST] (1 -1 1) Generic [] "3.2.1" KeyedIf(2, generic::touch, barrier::touch)
        "O(N) where N is the number of keys" "Counts which of the keys exist, and notes their use.";
    "ttl" 2 [READONLY FAST] (1 1 1) Generic [] "1.0.0" Keyed(expiry::ttl)
        "O(1)" "Returns how many seconds a key has left.";
    "type" 2 [READONLY FAST] (1 1 1) Generic [] "1.0.0" Keyed(generic::type_of)
        "O(1)" "Returns what kind of value a key has.";
    "unlink" -2 [WRITE FAST] (1 -1 1) Generic [] "4.0.0" KeyedIf(2, generic::del, barrier::del)
        "O(N) where N is the number of keys" "Removes keys.";
    "unsubscribe" -1 [PUBSUB NOSCRIPT LOADING STALE] (0 0 0) PubSub [] "2.0.0" Barrier(barrier::unsubscribe)
        "O(N) where N is the number of channels" "Ends subscriptions to channels.";
    "unwatch" 1 [NOSCRIPT LOADING STALE FAST ALLOW_BUSY] (0 0 0) Transactions [] "2.2.0" Barrier(barrier::unwatch)
        "O(1)" "Watches no key any more.";
    "watch" -2 [NOSCRIPT LOADING STALE FAST NO_MULTI ALLOW_BUSY] (1 -1 1) Transactions [] "2.2.0" Barrier(barrier::watch)
        "O(1) for every key" "Lets the next transaction run only if these keys have not changed.";
}

specs! {
    PUBSUB:
    "pubsub|channels" -2 [PUBSUB LOADING STALE] (0 0 0) PubSub [] "2.8.0" Barrier(barrier::pubsub_channels)
        "O(N) where N is the number of channels" "Lists the channels that have subscribers.";
    "pubsub|help" 2 [LOADING STALE] (0 0 0) PubSub [] "6.2.0" Barrier(barrier::pubsub_help)
        "O(1)" "Lists the subcommands.";
    "pubsub|numpat" 2 [PUBSUB LOADING STALE] (0 0 0) PubSub [] "2.8.0" Barrier(barrier::pubsub_numpat)
        "O(1)" "Counts the patterns that are subscribed to.";
    "pubsub|numsub" -2 [PUBSUB LOADING STALE] (0 0 0) PubSub [] "2.8.0" Barrier(barrier::pubsub_numsub)
        "O(N) where N is the number of channels" "Counts the subscribers of channels.";
    "pubsub|shardchannels" -2 [PUBSUB LOADING STALE] (0 0 0) PubSub [] "7.0.0" Barrier(barrier::pubsub_shardchannels)
        "O(N) where N is the number of shard channels" "Lists the shard channels that have subscribers.";
    "pubsub|shardnumsub" -2 [PUBSUB LOADING STALE] (0 0 0) PubSub [] "7.0.0" Barrier(barrier::pubsub_shardnumsub)
        "O(N) where N is the number of shard channels" "Counts the subscribers of shard channels.";
}

specs! {
    CLIENT:
    "client|caching" 3 [NOSCRIPT LOADING STALE ALLOW_BUSY] (0 0 0) Connection [] "6.0.0" Barrier(barrier::client_caching)
        "O(1)" "Says whether the keys of the next command are tracked.";
    "client|getname" 2 [NOSCRIPT LOADING STALE ALLOW_BUSY] (0 0 0) Connection [] "2.6.9" Barrier(barrier::client_getname)
        "O(1)" "Returns the connection's name.";
    "client|getredir" 2 [NOSCRIPT LOADING STALE ALLOW_BUSY] (0 0 0) Connection [] "6.0.0" Barrier(barrier::client_getredir)
        "O(1)" "Returns the connection that is told of changed keys instead of this one.";
    "client|help" 2 [LOADING STALE] (0 0 0) Connection [] "5.0.0" Barrier(barrier::client_help)
        "O(1)" "Lists the subcommands.";
    "client|id" 2 [NOSCRIPT LOADING STALE ALLOW_BUSY] (0 0 0) Connection [] "5.0.0" Barrier(barrier::client_id)
        "O(1)" "Returns the connection's number.";
    "client|info" 2 [NOSCRIPT LOADING STALE] (0 0 0) Connection [] "6.2.0" Barrier(barrier::client_info)
        "O(1)" "Describes this connection.";
    "client|kill" -3 [ADMIN NOSCRIPT LOADING STALE] (0 0 0) Connection [] "2.4.0" Barrier(barrier::client_kill)
        "O(N)" "Closes connections.";
    "client|list" -2 [ADMIN NOSCRIPT LOADING STALE] (0 0 0) Connection [] "2.4.0" Barrier(barrier::client_list)
        "O(N)" "Describes connections.";
    "client|maint_notifications" -3 [NOSCRIPT LOADING STALE ALLOW_BUSY] (0 0 0) Connection [] "8.0.0" Barrier(barrier::client_maint_notifications)
        "O(1)" "Says whether the client wants to hear where to go when the server ends.";
    "client|no-evict" 3 [ADMIN NOSCRIPT LOADING STALE ALLOW_BUSY] (0 0 0) Connection [] "7.0.0" Barrier(barrier::client_no_evict)
        "O(1)" "Spares the connection when client memory runs out.";
    "client|no-touch" 3 [NOSCRIPT LOADING STALE ALLOW_BUSY] (0 0 0) Connection [] "7.2.0" Barrier(barrier::client_no_touch)
        "O(1)" "Reads no longer count as use.";
    "client|pause" -3 [ADMIN NOSCRIPT LOADING STALE] (0 0 0) Connection [] "3.0.0" Barrier(barrier::client_pause)
        "O(1)" "Holds commands back for a while.";
    "client|reply" 3 [NOSCRIPT LOADING STALE NO_MULTI ALLOW_BUSY] (0 0 0) Connection [] "3.2.0" Barrier(barrier::client_reply)
        "O(1)" "Turns replies on or off.";
    "client|setinfo" 4 [NOSCRIPT LOADING STALE ALLOW_BUSY] (0 0 0) Connection [] "7.2.0" Barrier(barrier::client_setinfo)
        "O(1)" "Names the client library.";
    "client|setname" 3 [NOSCRIPT LOADING STALE ALLOW_BUSY] (0 0 0) Connection [] "2.6.9" Barrier(barrier::client_setname)
        "O(1)" "Names the connection.";
    "client|tracking" -3 [NOSCRIPT LOADING STALE] (0 0 0) Connection [] "6.0.0" Barrier(barrier::client_tracking)
        "O(1)" "Tells the client of changes of the keys that it has read.";
    "client|trackinginfo" 2 [NOSCRIPT LOADING STALE] (0 0 0) Connection [] "6.2.0" Barrier(barrier::client_trackinginfo)
        "O(1)" "Returns how the connection tracks keys.";
    "client|unpause" 2 [ADMIN NOSCRIPT LOADING STALE] (0 0 0) Connection [] "6.2.0" Barrier(barrier::client_unpause)
        "O(N) Where N is the number of paused clients" "Ends a pause.";
}

specs! {
    COMMAND:
    "command|count" 2 [LOADING STALE] (0 0 0) Server [CONNECTION] "2.8.13" Barrier(barrier::command_count)
        "O(1)" "Counts the commands.";
    "command|docs" -2 [LOADING STALE] (0 0 0) Server [CONNECTION] "7.0.0" Barrier(barrier::command_docs)
        "O(N)" "Documents commands.";
    "command|getkeys" -3 [LOADING STALE] (0 0 0) Server [CONNECTION] "2.8.13" Barrier(barrier::command_getkeys)
        "O(N)" "Finds the keys in a command line.";
    "command|getkeysandflags" -3 [LOADING STALE] (0 0 0) Server [CONNECTION] "7.0.0" Barrier(barrier::command_getkeysandflags)
        "O(N)" "Finds the keys in a command line, and what is done to them.";
    "command|help" 2 [LOADING STALE] (0 0 0) Server [CONNECTION] "5.0.0" Barrier(barrier::command_help)
        "O(1)" "Lists the subcommands.";
    "command|info" -2 [LOADING STALE] (0 0 0) Server [CONNECTION] "2.8.13" Barrier(barrier::command_info)
        "O(N)" "Describes commands.";
    "command|list" -2 [LOADING STALE] (0 0 0) Server [CONNECTION] "7.0.0" Barrier(barrier::command_list)
        "O(N)" "Lists the names of commands.";
}

specs! {
    CONFIG:
    "config|get" -3 [ADMIN NOSCRIPT LOADING STALE] (0 0 0) Server [] "2.0.0" Barrier(barrier::config_get)
        "O(N) when N is the number of configuration parameters provided" "Reads parameters.";
    "config|help" 2 [LOADING STALE] (0 0 0) Server [] "5.0.0" Barrier(barrier::config_help)
        "O(1)" "Lists the subcommands.";
    "config|resetstat" 2 [ADMIN NOSCRIPT LOADING STALE] (0 0 0) Server [] "2.0.0" Barrier(barrier::config_resetstat)
        "O(1)" "Sets the statistics to zero.";
    "config|rewrite" 2 [ADMIN NOSCRIPT LOADING STALE] (0 0 0) Server [] "2.8.0" Barrier(barrier::config_rewrite)
        "O(1)" "Says that there is no file to write parameters to.";
    "config|set" -4 [ADMIN NOSCRIPT LOADING STALE] (0 0 0) Server [] "2.0.0" Barrier(barrier::config_set)
        "O(N) when N is the number of configuration parameters provided" "Changes parameters.";
}

specs! {
    DEBUG:
    "debug|help" 2 [LOADING STALE] (0 0 0) Server [] "1.0.0" Barrier(barrier::debug_help)
        "O(1)" "Lists the subcommands.";
    "debug|jmap" 2 [ADMIN NOSCRIPT LOADING STALE] (0 0 0) Server [] "1.0.0" Barrier(barrier::debug_jmap)
        "O(1)" "Shows where memory is, partition by partition.";
    "debug|sleep" 3 [ADMIN NOSCRIPT LOADING STALE] (0 0 0) Server [] "1.0.0" Barrier(barrier::debug_sleep)
        "O(1)" "Keeps a worker busy for some seconds.";
}

specs! {
    HOTKEYS:
    "hotkeys|get" 2 [ADMIN NOSCRIPT] (0 0 0) Server [] "8.6.0" Barrier(barrier::hotkeys_get)
        "O(K)" "Returns the hottest keys of the session.";
    "hotkeys|help" 2 [LOADING STALE] (0 0 0) Server [] "8.6.0" Barrier(barrier::hotkeys_help)
        "O(1)" "Lists the subcommands.";
    "hotkeys|reset" 2 [ADMIN NOSCRIPT] (0 0 0) Server [] "8.6.0" Barrier(barrier::hotkeys_reset)
        "O(1)" "Forgets the session.";
    "hotkeys|start" -2 [ADMIN NOSCRIPT] (0 0 0) Server [] "8.6.0" Barrier(barrier::hotkeys_start)
        "O(1)" "Begins a session.";
    "hotkeys|stop" 2 [ADMIN NOSCRIPT] (0 0 0) Server [] "8.6.0" Barrier(barrier::hotkeys_stop)
        "O(1)" "Ends the session and keeps what it found.";
}

specs! {
    LATENCY:
    "latency|doctor" 2 [ADMIN NOSCRIPT LOADING STALE] (0 0 0) Server [] "2.8.13" Barrier(barrier::latency_doctor)
        "O(1)" "Says what took long in words, and what mends it.";
    "latency|help" 2 [LOADING STALE] (0 0 0) Server [] "2.8.13" Barrier(barrier::latency_help)
        "O(1)" "Lists the subcommands.";
    "latency|histogram" -2 [ADMIN NOSCRIPT LOADING STALE] (0 0 0) Server [] "7.0.0" Barrier(barrier::latency_histogram)
        "O(N) where N is the number of commands" "Returns how long commands take, as histograms.";
    "latency|history" 3 [ADMIN NOSCRIPT LOADING STALE] (0 0 0) Server [] "2.8.13" Barrier(barrier::latency_history)
        "O(1)" "Returns the past of one event.";
    "latency|latest" 2 [ADMIN NOSCRIPT LOADING STALE] (0 0 0) Server [] "2.8.13" Barrier(barrier::latency_latest)
        "O(1)" "Returns the last of each event.";
    "latency|reset" -2 [ADMIN NOSCRIPT LOADING STALE] (0 0 0) Server [] "2.8.13" Barrier(barrier::latency_reset)
        "O(1)" "Forgets the past of events.";
}

specs! {
    MEMORY:
    "memory|help" 2 [LOADING STALE] (0 0 0) Server [] "4.0.0" Barrier(barrier::memory_help)
        "O(1)" "Lists the subcommands.";
    "memory|usage" -3 [READONLY] (2 2 1) Server [] "4.0.0" Keyed(generic::memory_usage)
        "O(N)" "Returns the bytes of memory that a key and its value take.";
}

specs! {
    OBJECT:
    "object|encoding" 3 [READONLY] (2 2 1) Generic [] "2.2.3" Keyed(generic::object_encoding)
        "O(1)" "Returns how a value is encoded.";
    "object|freq" 3 [READONLY] (2 2 1) Generic [] "4.0.0" Keyed(generic::object_freq)
        "O(1)" "Returns how often a value is used.";
    "object|help" 2 [LOADING STALE] (0 0 0) Generic [] "6.2.0" Barrier(barrier::object_help)
        "O(1)" "Lists the subcommands.";
    "object|idletime" 3 [READONLY] (2 2 1) Generic [] "2.2.3" Keyed(generic::object_idletime)
        "O(1)" "Returns the seconds since a value was used.";
    "object|refcount" 3 [READONLY] (2 2 1) Generic [] "2.2.3" Keyed(generic::object_refcount)
        "O(1)" "Returns how many references a value has.";
}

specs! {
    SLOWLOG:
    "slowlog|get" -2 [ADMIN LOADING STALE] (0 0 0) Server [] "2.2.12" Barrier(barrier::slowlog_get)
        "O(N) where N is the number of entries" "Returns the last slow commands.";
    "slowlog|help" 2 [LOADING STALE] (0 0 0) Server [] "6.2.0" Barrier(barrier::slowlog_help)
        "O(1)" "Lists the subcommands.";
    "slowlog|len" 2 [ADMIN LOADING STALE] (0 0 0) Server [] "2.2.12" Barrier(barrier::slowlog_len)
        "O(1)" "Counts the entries.";
    "slowlog|reset" 2 [ADMIN LOADING STALE] (0 0 0) Server [] "2.2.12" Barrier(barrier::slowlog_reset)
        "O(N) where N is the number of entries" "Forgets all entries.";
}

specs! {
    FUNCTION:
    "function|delete" 3 [WRITE NOSCRIPT] (0 0 0) Scripting [] "7.0.0" Barrier(barrier::function_delete)
        "O(1)" "Says that there are no functions.";
    "function|flush" -2 [WRITE NOSCRIPT] (0 0 0) Scripting [] "7.0.0" Barrier(barrier::function_flush)
        "O(1)" "Forgets all functions: there are none.";
    "function|help" 2 [LOADING STALE] (0 0 0) Scripting [] "7.0.0" Barrier(barrier::function_help)
        "O(1)" "Lists the subcommands.";
    "function|kill" 2 [NOSCRIPT ALLOW_BUSY] (0 0 0) Scripting [] "7.0.0" Barrier(barrier::script_kill)
        "O(1)" "Stops the function that runs: none can be met running.";
    "function|list" -2 [NOSCRIPT] (0 0 0) Scripting [] "7.0.0" Barrier(barrier::function_list)
        "O(1)" "Lists the functions: there are none.";
    "function|load" -3 [WRITE DENYOOM NOSCRIPT] (0 0 0) Scripting [] "7.0.0" Barrier(barrier::function_load)
        "O(1)" "Says that functions are not supported.";
    "function|stats" 2 [NOSCRIPT ALLOW_BUSY] (0 0 0) Scripting [] "7.0.0" Barrier(barrier::function_stats)
        "O(1)" "Tells about functions: there are none.";
}

specs! {
    SCRIPT:
    "script|exists" -3 [NOSCRIPT STALE] (0 0 0) Scripting [] "2.6.0" Barrier(barrier::script_exists)
        "O(N) where N is the number of scripts" "Tells which scripts the server knows.";
    "script|flush" -2 [NOSCRIPT STALE] (0 0 0) Scripting [] "2.6.0" Barrier(barrier::script_flush)
        "O(N) where N is the number of scripts" "Forgets all scripts.";
    "script|help" 2 [LOADING STALE] (0 0 0) Scripting [] "5.0.0" Barrier(barrier::script_help)
        "O(1)" "Lists the subcommands.";
    "script|kill" 2 [NOSCRIPT ALLOW_BUSY] (0 0 0) Scripting [] "2.6.0" Barrier(barrier::script_kill)
        "O(1)" "Stops the script that runs: none can be met running.";
    "script|load" 3 [NOSCRIPT STALE] (0 0 0) Scripting [] "2.6.0" Barrier(barrier::script_load)
        "O(N) where N is the length of the script" "Keeps a Lua script and returns its SHA-1.";
}
