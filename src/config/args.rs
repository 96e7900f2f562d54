//! The flags as clap reads them. Their help is the manual: each line says what the flag is for, its unit, its default.

use super::size::{MemorySize, parse_bytes, parse_memory};
use super::{ADMIN_BIND, DebugCommand, IoEngine, LogLevel};
use crate::limits;
use clap::builder::BoolishValueParser;
use clap::{ArgAction, ValueEnum};
use std::net::IpAddr;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum EvictionArg {
    /// Recency bits and second chance: what was used lately stays.
    Lru,
    /// A small queue for newcomers: what is used once leaves soon.
    S3Fifo,
    /// Nothing is evicted; writes fail with OOM when memory is full.
    None,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Switch {
    Yes,
    No,
}

// A doc comment here would replace what the command says about itself.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Port that speaks all protocols, Redis, memcached, HTTP, JSON lines and protobuf; 0: any free one.
    #[arg(long, env = "KV_PORT", help_heading = "Network", value_name = "PORT", default_value_t = limits::PORT)]
    pub port: u16,

    /// Port that speaks Redis's protocol only, beside --port [default: none].
    #[arg(long, env = "KV_RESP_PORT", help_heading = "Network", value_name = "PORT")]
    pub resp_port: Option<u16>,

    /// Port that speaks memcached's protocols only, text and binary, beside --port [default: none].
    #[arg(long, env = "KV_MEMCACHED_PORT", help_heading = "Network", value_name = "PORT")]
    pub memcached_port: Option<u16>,

    /// Port that speaks HTTP only, beside --port [default: none].
    #[arg(long, env = "KV_HTTP_PORT", help_heading = "Network", value_name = "PORT")]
    pub http_port: Option<u16>,

    /// Port that speaks JSON lines only, beside --port [default: none].
    #[arg(long, env = "KV_JSON_PORT", help_heading = "Network", value_name = "PORT")]
    pub json_port: Option<u16>,

    /// Port that speaks protobuf frames only, beside --port [default: none].
    #[arg(long, env = "KV_PROTOBUF_PORT", help_heading = "Network", value_name = "PORT")]
    pub protobuf_port: Option<u16>,

    /// Address to listen on; repeat it, or separate several by commas [default: all, IPv4 and IPv6].
    #[arg(long, env = "KV_BIND", help_heading = "Network", value_name = "ADDRESS", value_delimiter = ',')]
    pub bind: Vec<IpAddr>,

    /// Connections that may wait to be accepted, per worker; the kernel cuts it to net.core.somaxconn, which all beyond 4096 stands for.
    #[arg(long, env = "KV_TCP_BACKLOG", help_heading = "Network", value_name = "N", default_value_t = limits::TCP_BACKLOG,
          value_parser = clap::value_parser!(u32).range(1..=i64::from(i32::MAX)))]
    pub tcp_backlog: u32,

    /// Seconds of silence after which the kernel asks whether the peer still lives; 0: never.
    #[arg(long, env = "KV_TCP_KEEPALIVE", help_heading = "Network", value_name = "SECONDS", default_value_t = limits::TCP_KEEPALIVE_S,
          value_parser = clap::value_parser!(u32).range(0..=32_767))]
    pub tcp_keepalive: u32,

    /// Port of /metrics and /healthz; 0: any free one.
    #[arg(long, env = "KV_ADMIN_PORT", help_heading = "Network", value_name = "PORT", default_value_t = limits::ADMIN_PORT)]
    pub admin_port: u16,

    /// Address of the admin pages. They need no password: keep it to where only you can reach it.
    #[arg(long, env = "KV_ADMIN_BIND", help_heading = "Network", value_name = "ADDRESS", default_value_t = ADMIN_BIND)]
    pub admin_bind: IpAddr,

    /// Memory of the whole process: 1.4GB, 1400MB, 1.5GiB, 70% of what there is, or bytes [default: 1.4GB, or 70% if less].
    #[arg(long, env = "KV_MAX_MEMORY", help_heading = "Memory", value_name = "SIZE", value_parser = parse_memory)]
    pub max_memory: Option<MemorySize>,

    /// What leaves when memory is full.
    #[arg(long, env = "KV_EVICTION", help_heading = "Memory", value_name = "CHOICE", value_enum, default_value_t = EvictionArg::Lru)]
    pub eviction: EvictionArg,

    /// Largest value, at most a quarter of --max-memory [default: 512MiB, or that quarter].
    #[arg(long, env = "KV_MAX_VALUE_SIZE", help_heading = "Memory", value_name = "SIZE", value_parser = parse_bytes)]
    pub max_value_size: Option<usize>,

    /// Touch all memory at start instead of as it is needed.
    #[arg(long, env = "KV_PREFAULT", help_heading = "Memory", value_name = "BOOL", action = ArgAction::Set, num_args = 0..=1, require_equals = true,
          default_value_t = false, default_missing_value = "true", hide_default_value = true, hide_possible_values = true,
          value_parser = BoolishValueParser::new())]
    pub prefault: bool,

    /// Worker threads [default: one per CPU that affinity and control group leave this process].
    #[arg(long, env = "KV_THREADS", help_heading = "Processors and kernel", value_name = "N")]
    pub threads: Option<usize>,

    /// Leave the choice of CPUs to the scheduler instead of tying each worker to one.
    #[arg(long, env = "KV_NO_PIN", help_heading = "Processors and kernel", value_name = "BOOL", action = ArgAction::Set, num_args = 0..=1, require_equals = true,
          default_value_t = false, default_missing_value = "true", hide_default_value = true, hide_possible_values = true,
          value_parser = BoolishValueParser::new())]
    pub no_pin: bool,

    /// How to talk to the kernel. `auto` takes epoll where io_uring is refused, and says why.
    #[arg(long, env = "KV_IO_ENGINE", help_heading = "Processors and kernel", value_name = "CHOICE", value_enum, default_value_t = IoEngine::Auto)]
    pub io_engine: IoEngine,

    /// Microseconds that a nearly idle worker spins before it sleeps; 0: none.
    #[arg(long, env = "KV_BUSY_POLL_US", help_heading = "Processors and kernel", value_name = "MICROSECONDS", default_value_t = limits::BUSY_POLL_US,
          value_parser = clap::value_parser!(u64).range(0..=limits::BUSY_POLL_MOST_US))]
    pub busy_poll_us: u64,

    /// Password that clients must give: by AUTH, HTTP's Authorization, memcached's SASL or first `set`, protobuf's auth; JSON lines are
    /// refused. Prefer the environment: a command line is public on its machine [default: none].
    #[arg(
        long,
        env = "KV_REQUIREPASS",
        help_heading = "Security",
        value_name = "PASSWORD",
        hide_env_values = true
    )]
    pub requirepass: Option<String>,

    /// Without a password, refuse clients from other machines.
    #[arg(long, env = "KV_PROTECTED_MODE", help_heading = "Security", value_name = "CHOICE", value_enum, default_value_t = Switch::Yes)]
    pub protected_mode: Switch,

    /// Site whose web pages may use the cache over HTTP, such as https://app.example, or * for all; repeat it, or separate several by
    /// commas [default: none].
    #[arg(
        long,
        env = "KV_HTTP_ALLOW_ORIGIN",
        help_heading = "Security",
        value_name = "ORIGIN",
        value_delimiter = ','
    )]
    pub http_allow_origin: Vec<String>,

    /// Let memcached's command `shutdown` end the server, as SIGTERM does; without this it is refused.
    #[arg(long, env = "KV_MEMCACHED_SHUTDOWN", help_heading = "Security", value_name = "BOOL", action = ArgAction::Set, num_args = 0..=1, require_equals = true,
          default_value_t = false, default_missing_value = "true", hide_default_value = true, hide_possible_values = true,
          value_parser = BoolishValueParser::new())]
    pub memcached_shutdown: bool,

    /// Who may use DEBUG, which can stop a worker.
    #[arg(long, env = "KV_ENABLE_DEBUG_COMMAND", help_heading = "Security", value_name = "CHOICE", value_enum, default_value_t = DebugCommand::No)]
    pub enable_debug_command: DebugCommand,

    /// Connections served at once; lowered, with a line that says so, if the limit on open files is less.
    #[arg(long, env = "KV_MAX_CLIENTS", help_heading = "Clients", value_name = "N", default_value_t = limits::MAX_CLIENTS)]
    pub max_clients: usize,

    /// Seconds after which a silent connection is closed; 0: never.
    #[arg(long, env = "KV_TIMEOUT", help_heading = "Clients", value_name = "SECONDS", default_value_t = 0,
          value_parser = clap::value_parser!(u64).range(0..=limits::TIMEOUT_S))]
    pub timeout: u64,

    /// Largest single request; a longer one ends its connection [default: --max-value-size plus 1 MiB].
    #[arg(long, env = "KV_MAX_REQUEST", help_heading = "Clients", value_name = "SIZE", value_parser = parse_bytes)]
    pub max_request: Option<usize>,

    /// Received requests of one connection that wait to be executed: with so many bytes of them it is read no further [default: 1MiB].
    #[arg(long, env = "KV_MAX_INBOX", help_heading = "Clients", value_name = "SIZE", value_parser = parse_bytes)]
    pub max_inbox: Option<usize>,

    /// Unsent replies of one connection: with so many bytes of them it is read no further, until a quarter is left [default: 1MiB].
    #[arg(long, env = "KV_OUTPUT_WATERMARK", help_heading = "Clients", value_name = "SIZE", value_parser = parse_bytes)]
    pub output_watermark: Option<usize>,

    /// Unsent replies of one connection: with so many bytes of them it is closed [default: --max-value-size, plus --output-watermark, plus
    /// 64 MiB or an eighth of memory if that is less].
    #[arg(long, env = "KV_OUTPUT_CAP", help_heading = "Clients", value_name = "SIZE", value_parser = parse_bytes)]
    pub output_cap: Option<usize>,

    /// Seconds that SIGTERM leaves for requests under way and unsent replies.
    #[arg(long, env = "KV_DRAIN_TIMEOUT", help_heading = "Clients", value_name = "SECONDS", default_value_t = limits::DRAIN_TIMEOUT_S,
          value_parser = clap::value_parser!(u64).range(0..=limits::DRAIN_TIMEOUT_MOST_S))]
    pub drain_timeout: u64,

    /// host:port of the server that takes over: clients that ask for it (CLIENT MAINT_NOTIFICATIONS) are told when this one ends
    /// [default: none].
    #[arg(
        long,
        env = "KV_SUCCESSOR",
        help_heading = "Clients",
        value_name = "HOST:PORT",
        default_value = "",
        hide_default_value = true
    )]
    pub successor: String,

    /// Events of keys to publish to subscribers, as Redis's letters; KEA: all but misses and new keys [default: none].
    #[arg(
        long,
        env = "KV_NOTIFY_KEYSPACE_EVENTS",
        help_heading = "Commands and events",
        value_name = "LETTERS",
        default_value = "",
        hide_default_value = true
    )]
    pub notify_keyspace_events: String,

    /// Keys that are remembered for clients that cache them (CLIENT TRACKING); 0: as many as a 16th of memory holds.
    #[arg(long, env = "KV_TRACKING_TABLE_MAX_KEYS", help_heading = "Commands and events", value_name = "N", default_value_t = limits::TRACKING_KEYS)]
    pub tracking_table_max_keys: usize,

    /// Milliseconds that a Lua script may run: all others wait for it. One that takes longer is stopped; what it wrote remains.
    #[arg(long, env = "KV_LUA_TIME_LIMIT", help_heading = "Commands and events", value_name = "MILLISECONDS", default_value_t = limits::LUA_TIME_LIMIT_MS,
          value_parser = clap::value_parser!(u64).range(1..=limits::LUA_TIME_LIMIT_MOST_MS))]
    pub lua_time_limit: u64,

    /// SLOWLOG keeps commands that took at least so many microseconds; -1: none.
    #[arg(long, env = "KV_SLOWLOG_LOG_SLOWER_THAN", help_heading = "Observation", value_name = "MICROSECONDS", default_value_t = limits::SLOWLOG_SLOWER_THAN_US,
          allow_negative_numbers = true, value_parser = clap::value_parser!(i64).range(-1..))]
    pub slowlog_log_slower_than: i64,

    /// Commands that SLOWLOG keeps, the latest.
    #[arg(long, env = "KV_SLOWLOG_MAX_LEN", help_heading = "Observation", value_name = "N", default_value_t = limits::SLOWLOG_MAX_LEN)]
    pub slowlog_max_len: usize,

    /// LATENCY notes what took at least so many milliseconds; 0: nothing.
    #[arg(
        long,
        env = "KV_LATENCY_MONITOR_THRESHOLD",
        help_heading = "Observation",
        value_name = "MILLISECONDS",
        default_value_t = 0
    )]
    pub latency_monitor_threshold: u64,

    /// What is written to standard error.
    #[arg(long, env = "KV_LOG_LEVEL", help_heading = "Observation", value_name = "CHOICE", value_enum, default_value_t = LogLevel::Info)]
    pub log_level: LogLevel,
}
