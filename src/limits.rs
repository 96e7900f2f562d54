//! Every bound of the server in one place: its default, its unit, and how it relates to the others.
//!
//! Nothing in the process may grow without one of these. Those with a flag are defaults that [`crate::config`] checks and may
//! replace; the rest are fixed. The assertions at the end are the relations that other code relies on.
//!
//! ```text
//!   one connection:   bytes in ──► inbox ≤ max_inbox, or one request ≤ max_request ──► one value ≤ max_value_size
//!                     replies  ──► unsent ≥ OUTPUT_HIGH: reading pauses … ≤ OUTPUT_LOW: goes on … > cap: closed
//! ```

/// `--port`.
pub const PORT: u16 = 7171;
/// `--admin-port`.
pub const ADMIN_PORT: u16 = 7172;

/// `--threads`, most: one per CPU of the largest machines sold. Worker numbers fit into a byte of client ids and masks.
pub const THREADS: usize = 256;
/// Partitions per worker (a power of two): with so many the lock of one is rarely met busy.
pub const PARTITIONS_PER_WORKER: usize = 4;

/// `--max-memory`, bytes: the default unless [`MEMORY_SHARE_PERCENT`] of what there is comes to less.
pub const MAX_MEMORY: usize = 1_400_000_000;
/// `--max-memory` by default never takes more than this share of the cgroup's or the machine's memory.
pub const MEMORY_SHARE_PERCENT: usize = 70;
/// `--max-memory`, least, bytes: below this the fixed parts (code, rings, receive buffers) leave nothing for keys.
pub const MIN_MEMORY: usize = 16 << 20;

/// Memory that a worker touches only once it has clients, bytes: receive buffers, stack, tables.
pub const FIXED_PER_WORKER: usize = 2 << 20;
/// Memory that the process touches only later, bytes: code not yet run, the control thread's buffers.
pub const FIXED_EXTRA: usize = 4 << 20;

/// `--max-value-size`, bytes. Redis's limit for a string.
pub const MAX_VALUE_SIZE: usize = 512 << 20;
/// A value is at most the memory limit divided by this: writing one must not empty the cache.
pub const VALUE_SHARE: usize = 4;
/// Freed memory of large values that is kept for the next ones: at most the memory limit divided by this, and at most so many bytes.
/// Enough for what a server's connections replace at the same time, little enough not to be missed by the keys.
pub const SPARE_SHARE: usize = 64;
pub const SPARE_BYTES: usize = 64 << 20;
/// Longest key, bytes: an item's header holds its length in 16 bits.
pub const MAX_KEY_LEN: usize = u16::MAX as usize;

/// What a request may hold beside its largest value, bytes: names, keys, options, lengths. Default of `--max-request` is
/// `max_value_size` plus this.
pub const REQUEST_EXTRA: usize = 1 << 20;
/// Least `--max-request`, bytes: the longest key and an inline command must fit.
pub const MIN_REQUEST: usize = 256 << 10;
/// `--max-inbox`, bytes: received requests that cannot be executed yet (the peer does not read, CLIENT PAUSE). A request that is
/// still arriving may take more, up to `max_request`.
pub const MAX_INBOX: usize = 1 << 20;
/// Most arguments of one request (Redis: 1024 × 1024).
pub const MAX_ARGS: usize = 1 << 20;
/// Longest inline command, bytes (Redis: 64 KiB).
pub const MAX_INLINE: usize = 64 << 10;
/// Groups within groups that are skipped in a protobuf message: none of its own has even one.
pub const PROTOBUF_NESTING: usize = 16;
/// memcached's text protocol: longest line of a retrieval, which may name many keys, bytes; other lines are held to `MAX_INLINE`.
pub const TEXT_GET_LINE: usize = 1 << 20;
/// Keys of such a line that are taken at a time.
pub const TEXT_GET_KEYS: usize = 256;
/// Longest line before the client has authenticated, bytes (memcached: 2048).
pub const TEXT_LOGIN_LINE: usize = 2 << 10;
/// Largest receive buffer that a driver lends, bytes; least `--max-inbox`.
pub const RECV_BUFFER: usize = 64 << 10;

/// `--output-watermark`, bytes of unsent replies at which a connection is read no further.
pub const OUTPUT_HIGH: usize = 1 << 20;
/// Unsent bytes at which reading goes on: this fraction of the watermark.
pub const OUTPUT_LOW_DIVISOR: usize = 4;
/// Least `--output-watermark`, bytes.
pub const MIN_OUTPUT_HIGH: usize = 16 << 10;
/// Default of `--output-cap` beyond the largest value and the watermark, bytes: replies of the requests already received.
pub const OUTPUT_CAP_EXTRA: usize = 64 << 20;
/// That is at most the memory limit divided by this: one client that does not read must not empty a small cache.
pub const OUTPUT_CAP_SHARE: usize = 8;

/// All connections together may hold this percentage of the memory limit; beyond it, a connection that leaves more than
/// [`CROWDED_OUTPUT`] of copied replies unread is closed. Otherwise many slow readers, each within its cap, would pass the limit.
pub const CONNECTIONS_PERCENT: usize = 42;
/// Unread copied replies that a connection may keep even then, bytes: what a reader that is merely late has.
pub const CROWDED_OUTPUT: usize = 64 << 10;

/// `--max-clients`.
pub const MAX_CLIENTS: usize = 10_000;
/// `--max-clients`, most: connection slots are 32-bit numbers, descriptors run out long before.
pub const MAX_CLIENTS_MOST: usize = 4_000_000;
/// Descriptors for all that is not a client: standard streams, the admin listener, the control thread's ring and
/// epoll, files of /proc that are read.
pub const FDS_RESERVED: usize = 16;
/// Descriptors per worker beside its listeners: its ring or epoll, its waker, one connection on its way out.
pub const FDS_PER_WORKER: usize = 4;
/// Admin connections served at once.
pub const ADMIN_CONNECTIONS: usize = 8;
/// An admin connection is closed after so many seconds; scrapers open another.
pub const ADMIN_CONNECTION_S: u64 = 60;

/// `--timeout`, most seconds.
pub const TIMEOUT_S: u64 = 365 * 86_400;
/// `--drain-timeout`, seconds: under the 10 s after which `docker stop` kills.
pub const DRAIN_TIMEOUT_S: u64 = 8;
/// `--drain-timeout`, most seconds.
pub const DRAIN_TIMEOUT_MOST_S: u64 = 3_600;
/// `--busy-poll-us`: spinning this long before blocking doubles the rate of a single connection and costs nothing under load.
pub const BUSY_POLL_US: u64 = 50;
/// `--busy-poll-us`, most.
pub const BUSY_POLL_MOST_US: u64 = 10_000;
/// `--tcp-backlog` per listener; the kernel cuts it to net.core.somaxconn.
pub const TCP_BACKLOG: u32 = 4_096;
/// Most sockets that a service manager may pass: one for each worker of the largest server, or for each number that a listener can have.
pub const INHERITED_SOCKETS: usize = 256;
/// `--tcp-keepalive`, seconds until the first probe (Redis: 300).
pub const TCP_KEEPALIVE_S: u32 = 300;
/// Bind is tried again for so long, milliseconds: a killed io_uring server's port stays taken for 5 to 30 ms.
pub const BIND_RETRY_MS: u64 = 1_000;
/// The start gives up when a worker has not set up its ring after so long, seconds.
pub const START_TIMEOUT_S: u64 = 30;
/// Beside the time that a script may take, so many seconds without a turn make a worker count as stuck. A service manager's watchdog, where
/// there is one, sets its own measure: half of its period.
pub const STUCK_AFTER_S: u64 = 5;
/// Between two lines about the server's state for the service manager, seconds.
pub const STATUS_EVERY_S: u64 = 10;
/// Most bytes of such a line: systemd drops a message of more than 4096 (PIPE_BUF) unread.
pub const STATUS_BYTES: usize = 2_048;
/// `--prefault`: a slow machine touches so many bytes of memory in a second. From it follows how long the start may take.
pub const PREFAULT_BYTES_PER_S: usize = 100_000_000;

/// Requests executed under one hold of a partition's lock, at most.
pub const GROUP_REQUESTS: usize = 32;
/// A round's batch is executed when it has this many requests: enough to overlap cache misses, few enough to stay in the cache.
pub const ROUND_REQUESTS: usize = 1_024;
/// One connection's share of a round, in requests.
pub const RUN_REQUESTS: usize = 512;
/// One connection's share of a turn, in requests and in bytes of replies; the rest waits for the next turn (fairness).
pub const TURN_REQUESTS: u32 = 8_192;
pub const TURN_REPLY_BYTES: usize = 1 << 20;
/// Reply bytes of all connections of a worker in one turn, about: the size that its output arena keeps.
pub const TURN_OUTPUT_BYTES: usize = 4 << 20;
/// One reply takes at most this fraction of the memory limit, not counting values that are sent from where they lie.
pub const REPLY_SHARE: usize = 16;
/// As above where the memory limit is small: this fraction of it for all workers, but never less than the next.
pub const TURN_OUTPUT_SHARE: usize = 128;
pub const MIN_TURN_OUTPUT_BYTES: usize = 128 << 10;

/// Channels and patterns that one connection may subscribe to, and bytes of their names together.
pub const SUBSCRIPTIONS: usize = 100_000;
pub const SUBSCRIPTION_BYTES: usize = 8 << 20;
/// Prefixes of one connection's CLIENT TRACKING … BCAST; their names count as those of channels.
pub const TRACKING_PREFIXES: usize = 1_000;
/// `--tracking-table-max-keys` (Redis: 1,000,000): keys that are remembered for clients that cache them.
pub const TRACKING_KEYS: usize = 1_000_000;
/// That table takes at most the memory limit divided by this.
pub const TRACKING_SHARE: usize = 16;
/// Keys, bytes, that a worker reads in one round for clients which have their invalidations sent to another connection, and looks at again;
/// beyond it these are told to forget all.
pub const TRACKING_RECHECK_BYTES: usize = 4 << 20;
/// What others have for a worker's connections and it has not taken, bytes: the memory limit divided by this, and at most so many.
/// Connections that would have got what is beyond are closed as slow readers.
pub const MAILBOX_SHARE: usize = 32;
pub const MAILBOX_BYTES: usize = 32 << 20;
/// What happened to keys and has not been told yet, bytes: keyspace notifications beyond that are dropped, and counted.
pub const JOURNAL_BYTES: usize = 16 << 20;
/// Keys that somebody waited for, that have changed, and whose waiters have not been woken yet; beyond that all who wait are.
pub const WAKES: usize = 64 << 10;
/// Arguments that a line of MONITOR shows, and bytes of each.
pub const MONITOR_ARGS: usize = 1_024;
pub const MONITOR_ARG_BYTES: usize = 16 << 10;

/// COUNT of SCAN beyond this counts as this: a bound on the work of one call, about a millisecond.
pub const SCAN_COUNT: usize = 16 << 10;
/// KEYS may collect this fraction of the memory limit; the reply takes as much again.
pub const KEYS_SHARE: usize = 64;
/// Most cells of LCS's table. Redis refuses a table of over 512 MiB (`proto-max-bulk-len`) at four bytes a cell; ours takes 16 MiB then.
pub const LCS_CELLS: u64 = (512 << 20) / 4;
/// That table takes at most this fraction of the memory limit.
pub const LCS_SHARE: u64 = 64;

/// KV.GET: longest lease, and longest wait for who has one, milliseconds.
pub const LEASE_MS: u64 = 86_400_000;
pub const LEASE_WAIT_MS: u64 = 600_000;

/// Longest head of an HTTP request, bytes, its first line with the key included; also the longest trailer behind a body in chunks.
pub const HTTP_HEAD: usize = 16 << 10;
/// Most fields in a head.
pub const HTTP_FIELDS: usize = 64;
/// Longest line that announces a chunk, bytes: its size and what extensions it has.
pub const HTTP_CHUNK_LINE: usize = 256;
/// A body that nobody wants, because its request is refused, is read up to here, bytes; with a longer one the connection ends.
pub const HTTP_UNWANTED_BODY: usize = 64 << 10;
/// A connection that ends while a longer one arrives is kept open meanwhile, so that the client gets to read why: at most this long, and
/// this long without a byte, milliseconds.
pub const LINGER_MS: u64 = 10_000;
pub const LINGER_QUIET_MS: u64 = 1_000;
/// Largest batch over HTTP, bytes, unless a value may be less still: it is taken apart in memory that no account holds.
pub const HTTP_BATCH_BYTES: usize = 8 << 20;
/// Most operations in a batch over HTTP.
pub const HTTP_BATCH_OPS: usize = 10_000;

/// `--slowlog-log-slower-than`, microseconds (Redis: 10,000); negative: nothing is logged.
pub const SLOWLOG_SLOWER_THAN_US: i64 = 10_000;
/// `--slowlog-max-len`, entries (Redis: 128).
pub const SLOWLOG_MAX_LEN: usize = 128;
/// `--slowlog-max-len`, most: an entry takes up to five kilobytes.
pub const SLOWLOG_MAX_LEN_MOST: usize = 10_000;
/// Arguments that an entry of the slow log keeps, and bytes of each.
pub const SLOWLOG_ARGS: usize = 32;
pub const SLOWLOG_ARG_BYTES: usize = 128;
/// Seconds of a latency event's past that are kept (Redis: 160).
pub const LATENCY_SAMPLES: usize = 160;
/// HOTKEYS START: keys told by default, and at most.
pub const HOTKEYS_COUNT: usize = 10;
pub const HOTKEYS_COUNT_MOST: usize = 64;
/// Counters for each key that HOTKEYS is to tell: the more, the smaller the error.
pub const HOTKEYS_COUNTERS_PER_KEY: usize = 16;
/// Bytes of a key that HOTKEYS keeps.
pub const HOTKEYS_KEY_BYTES: usize = 1_024;
/// HOTKEYS START DURATION, most seconds; DEBUG SLEEP, most seconds.
pub const HOTKEYS_DURATION_S: u64 = 1_000_000;
pub const DEBUG_SLEEP_S: f64 = 60.0;

/// Most commands of one transaction: they run under locks, a few hundred nanoseconds each.
pub const TRANSACTION_COMMANDS: usize = 64 << 10;
/// What a transaction has queued takes at most this fraction of the memory limit.
pub const TRANSACTION_SHARE: usize = 16;
/// Most keys that one connection watches.
pub const WATCHED_KEYS: usize = 1 << 10;

/// `--lua-time-limit`, milliseconds: a script that runs for longer is stopped, as everybody else waits for it.
pub const LUA_TIME_LIMIT_MS: u64 = 200;
/// `--lua-time-limit`, most milliseconds.
pub const LUA_TIME_LIMIT_MOST_MS: u64 = 60_000;
/// Lua instructions between two looks at the clock.
pub const SCRIPT_HOOK_EVERY: u32 = 200;
/// Memory of a worker's Lua state, bytes: what scripts hold, and what they have been compiled to. Where the memory limit is small, this
/// fraction of it, but never less than the last.
pub const SCRIPT_MEMORY: usize = 16 << 20;
pub const SCRIPT_MEMORY_SHARE: usize = 16;
pub const MIN_SCRIPT_MEMORY: usize = 1 << 20;
/// Longest script, bytes.
pub const SCRIPT_BYTES: usize = 1 << 20;
/// Sources of all scripts, bytes.
pub const SCRIPT_CACHE_BYTES: usize = 8 << 20;
/// Scripts that came by EVAL and are kept for EVALSHA (Valkey: 500).
pub const SCRIPTS_EVALUATED: usize = 500;
/// Scripts that a worker has compiled; with one more it begins anew.
pub const SCRIPT_COMPILED: usize = 1_000;

/// Longest client or library name that CLIENT SETNAME and SETINFO keep, bytes.
pub const CLIENT_NAME_LEN: usize = 256;
/// Longest configuration file, bytes: a hundred times that with every option explained.
pub const CONFIG_FILE_BYTES: u64 = 1 << 20;
/// What is wrong with it, most that is told at once: a file of another program would be wrong in every line.
pub const CONFIG_TROUBLES: usize = 20;
/// `kv-server ping`: what all of it may take by default and at most, milliseconds, and the longest line that is read, bytes.
pub const PING_TIMEOUT_MS: u64 = 2_000;
pub const PING_TIMEOUT_MOST_MS: u64 = 3_600_000;
pub const PING_REPLY: usize = 1_024;
/// Longest `--requirepass`, bytes (Redis: 512).
pub const PASSWORD_LEN: usize = 512;

/// Longest key in memcached's protocols, bytes (as there).
pub const MEMCACHED_KEY_LEN: usize = 250;
/// Longest message of a SASL exchange, bytes: two names, a password, what parts them.
pub const SASL_LEN: usize = 4 * PASSWORD_LEN;

/// Between two looks of the doctor of a server that runs, seconds; and where somebody reads what it finds.
pub const DOCTOR_EVERY_S: u64 = 60;
pub const DOCTOR_FRESH_S: u64 = 5;
/// How long the doctor tries to take a port that is in use, milliseconds: a server that has just ended may hold it that long.
pub const DOCTOR_BIND_RETRY_MS: u64 = 50;
/// `--max-memory` beyond this share of the control group's limit leaves too little for sockets and page tables.
pub const DOCTOR_TIGHT_PERCENT: usize = 90;
/// Locked memory that a worker's ring is charged, bytes, by kernels that do: 512 entries of 64 bytes, 4096 of 16, buffers' descriptors.
/// Linux 6.18 needed 104 KiB; kernels before 6.6 have an array of 2 KiB more.
pub const DOCTOR_RING_BYTES: usize = 108 << 10;
/// The same of the control thread's ring: 256 entries of 64 bytes, 512 of 16. Linux 6.18 needed at most 32 KiB.
pub const DOCTOR_CONTROL_RING_BYTES: usize = 32 << 10;

const _: () = {
    assert!(DOCTOR_FRESH_S < DOCTOR_EVERY_S && MEMORY_SHARE_PERCENT < DOCTOR_TIGHT_PERCENT);
    assert!(MIN_MEMORY < MAX_MEMORY);
    assert!(MEMORY_SHARE_PERCENT < 100);
    assert!(PARTITIONS_PER_WORKER.is_power_of_two());
    assert!(MAX_KEY_LEN + MAX_INLINE < MIN_REQUEST);
    assert!(MIN_REQUEST < MAX_VALUE_SIZE + REQUEST_EXTRA);
    assert!(TEXT_GET_KEYS <= RUN_REQUESTS);
    // What one receive brought must fit into an inbox, or reading would pause at every turn.
    assert!(RECV_BUFFER <= MAX_INBOX);
    // A head without a body is no reason to take memory of its own.
    assert!(HTTP_HEAD <= RECV_BUFFER && HTTP_HEAD < MIN_REQUEST);
    assert!(MIN_OUTPUT_HIGH / OUTPUT_LOW_DIVISOR > 0);
    assert!(OUTPUT_HIGH >= MIN_OUTPUT_HIGH);
    assert!(GROUP_REQUESTS <= RUN_REQUESTS && RUN_REQUESTS <= ROUND_REQUESTS);
    assert!(ROUND_REQUESTS <= TURN_REQUESTS as usize);
    assert!(MAX_CLIENTS < MAX_CLIENTS_MOST && MAX_CLIENTS_MOST <= u32::MAX as usize);
    assert!(DRAIN_TIMEOUT_S <= DRAIN_TIMEOUT_MOST_S && BUSY_POLL_US <= BUSY_POLL_MOST_US);
};
