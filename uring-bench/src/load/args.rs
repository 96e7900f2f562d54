//! The options that describe a load, shared by all subcommands that generate one.

use super::{Engine, Spec};
use crate::proto::Protocol;
use crate::workload::{Dist, Ratio, Sizes};
use kv_server::config::parse_bytes;
use std::time::Duration;

/// What is asked of the server.
#[derive(Clone, Debug, clap::Args)]
pub struct LoadArgs {
    /// How requests and replies are written
    #[arg(long, value_enum, default_value = "resp")]
    pub protocol: Protocol,
    /// System calls of the generator itself
    #[arg(long, value_enum, default_value = "auto")]
    pub engine: Engine,
    /// Connections, over all threads
    #[arg(short, long, default_value_t = 50, value_name = "N")]
    pub connections: usize,
    /// Requests that a connection sends at once, before it waits for their replies
    #[arg(short = 'P', long, default_value_t = 1, value_name = "N")]
    pub pipeline: usize,
    /// Threads of the generator
    #[arg(short, long, default_value_t = 1, value_name = "N")]
    pub threads: usize,
    /// Processors for these threads, in turn
    #[arg(long, value_delimiter = ',', value_name = "CPU,…")]
    pub cpus: Vec<usize>,
    /// Real-time priority for these threads: keeps other processes out of the measurement
    #[arg(long)]
    pub realtime: bool,
    /// Reads to writes
    #[arg(long, default_value = "9:1", value_name = "GET:SET")]
    pub ratio: Ratio,
    /// Number of keys
    #[arg(long, default_value = "1000000", value_name = "N", value_parser = count)]
    pub keys: u64,
    /// Bytes of a key
    #[arg(long, default_value_t = 16, value_name = "BYTES")]
    pub key_size: usize,
    /// Bytes of a value: 64, 16-1024, 64:0.6,1024:0.4 (sizes with weights), mixed, or @FILE with a size and a weight per line
    #[arg(long, default_value = "64", value_name = "SIZES")]
    pub value_size: Sizes,
    /// Which keys: uniform, zipf:0.99, or hotspot:0.2:0.8 (share of keys, share of requests)
    #[arg(long, default_value = "uniform", value_name = "DIST")]
    pub dist: Dist,
    /// Time to live of what is written, such as 60, 10s or 500ms
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub ttl: Option<Duration>,
    /// Open loop: requests per second, each due at its time whatever the server does; latency counts from then
    #[arg(long, value_name = "PER SECOND", value_parser = rate)]
    pub rate: Option<f64>,
    /// Write values that carry their key and a checksum, and check every answer
    #[arg(long)]
    pub verify: bool,
    /// Begins the random numbers: the same seed asks the same
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub seed: u64,
    /// For servers with users
    #[arg(long, requires = "password", value_name = "NAME")]
    pub user: Option<String>,
    /// For servers that want one; command lines are public on their machine, the environment is not
    #[arg(long, env = "URING_BENCH_PASSWORD", hide_env_values = true, value_name = "PASSWORD")]
    pub password: Option<String>,
}

impl LoadArgs {
    /// The load, aimed at `target`.
    pub fn spec(&self, target: &str) -> Spec {
        Spec {
            target: target.to_owned(),
            protocol: self.protocol,
            engine: self.engine,
            connections: self.connections,
            pipeline: self.pipeline,
            threads: self.threads,
            cpus: self.cpus.clone(),
            realtime: self.realtime,
            ratio: self.ratio,
            keys: self.keys,
            key_size: self.key_size,
            value_size: self.value_size.clone(),
            dist: self.dist,
            ttl: self.ttl,
            rate: self.rate,
            verify: self.verify,
            seed: self.seed,
            user: self.user.clone(),
            password: self.password.clone(),
            ..Spec::default()
        }
    }
}

/// A number with an optional k, M or G (powers of 1000).
pub fn count(text: &str) -> Result<u64, String> {
    let number = text.replace('_', "");
    let count = number.parse().ok().or_else(|| parse_bytes(&number).ok().map(|count| count as u64));
    count
        .filter(|count| *count > 0)
        .ok_or_else(|| format!("`{text}` is no number such as 1000000, 10k or 5M"))
}

fn rate(text: &str) -> Result<f64, String> {
    count(text).map(|rate| rate as f64)
}

/// Seconds, or a number with ms, s, m or h.
pub fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| c != '.' && !c.is_ascii_digit()).unwrap_or(text.len());
    let seconds = match &text[digits..] {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => f64::NAN,
    };
    let number = text[..digits].parse::<f64>().unwrap_or(f64::NAN);
    let duration = Duration::try_from_secs_f64(number * seconds).ok();
    let duration = duration.filter(|duration| *duration >= Duration::from_millis(1));
    duration.ok_or_else(|| format!("`{text}` is no time such as 10, 10s, 500ms or 5m"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_times() {
        assert_eq!((count("1_000"), count("10k"), count("5M")), (Ok(1000), Ok(10_000), Ok(5_000_000)));
        assert!(count("0").is_err() && count("x").is_err());
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(
            (duration("2"), duration("1.5m")),
            (Ok(Duration::from_secs(2)), Ok(Duration::from_secs(90)))
        );
        for bad in ["", "s", "0", "-1", "5d"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }
}
