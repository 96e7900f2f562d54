//! Loads by name, and loads put together on the command line.

use crate::load::{Spec, count, duration};
use crate::report::Unit;
use crate::workload::{Dist, Ratio, Sizes};
use serde::Serialize;
use std::time::Duration;

/// One of the loads that have a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Named {
    /// 50 connections, one request at a time
    A,
    /// 50 connections, pipeline 16
    B,
    /// 50 connections, pipeline 64
    C,
    /// 1 connection, one request at a time: latency
    D,
    /// 1,000 connections, one request at a time
    E,
    /// GET of 16 KiB: 50 connections, 10,000 keys
    F,
    /// 50 connections, pipeline 256
    G,
    /// 10,000 connections, one request at a time
    H,
}

/// What is played.
#[derive(Clone, Debug, PartialEq)]
pub struct Load {
    /// A letter, or "free".
    pub name: &'static str,
    pub connections: usize,
    pub pipeline: usize,
    pub value_size: Sizes,
    pub keys: u64,
    pub key_size: usize,
    pub ratio: Ratio,
    pub dist: Dist,
    pub ttl: Option<Duration>,
}

impl Load {
    /// The others' values are 64 bytes, their keys 100,000, nine reads to one write.
    fn named(named: Named) -> Load {
        let (name, connections, pipeline) = match named {
            Named::A => ("a", 50, 1),
            Named::B => ("b", 50, 16),
            Named::C => ("c", 50, 64),
            Named::D => ("d", 1, 1),
            Named::E => ("e", 1000, 1),
            Named::F => ("f", 50, 1),
            Named::G => ("g", 50, 256),
            Named::H => ("h", 10_000, 1),
        };
        let usual = Load {
            name,
            connections,
            pipeline,
            value_size: Sizes::Fixed(64),
            keys: 100_000,
            key_size: 16,
            ratio: Ratio { gets: 9, sets: 1 },
            dist: Dist::Uniform,
            ttl: None,
        };
        match named {
            Named::F => Load {
                value_size: Sizes::Fixed(16 << 10),
                keys: 10_000,
                ratio: Ratio { gets: 1, sets: 0 },
                ..usual
            },
            _ => usual,
        }
    }

    /// The load, for this generator.
    pub fn onto(&self, client: &Spec) -> Spec {
        Spec {
            connections: self.connections,
            pipeline: self.pipeline,
            value_size: self.value_size.clone(),
            keys: self.keys,
            key_size: self.key_size,
            ratio: self.ratio,
            dist: self.dist,
            ttl: self.ttl,
            ..client.clone()
        }
    }

    /// In words: "50 connections, pipeline 16, 64 B".
    pub fn words(&self) -> String {
        let plural = if self.connections == 1 { "" } else { "s" };
        let mut text = format!("{} connection{plural}", self.connections);
        if self.pipeline > 1 {
            text += &format!(", pipeline {}", self.pipeline);
        }
        text += &format!(", values of {}", self.size());
        if self.ratio.sets == 0 {
            text += ", GET only";
        } else if self.ratio != (Ratio { gets: 9, sets: 1 }) {
            text += &format!(", GET:SET {}", self.ratio);
        }
        if self.dist != Dist::Uniform {
            text += &format!(", {}", self.dist);
        }
        text
    }

    fn size(&self) -> String {
        match &self.value_size {
            Sizes::Fixed(size) => Unit::Bytes.short(*size as f64),
            sizes => format!("{sizes} B"),
        }
    }

    /// For the rows of a chart: "50×16", "50×1, 16 KiB".
    pub fn short(&self) -> String {
        let size = match self.value_size {
            Sizes::Fixed(64) => String::new(),
            _ => format!(", {}", self.size()),
        };
        format!("{}×{}{size}", self.connections, self.pipeline)
    }

    /// Where there are very many connections a slice must be long enough for each to be served several times.
    pub fn slice(&self, wanted: Duration) -> Duration {
        let turns = Duration::from_micros(self.connections as u64 * 40);
        wanted.max(turns)
    }
}

/// Options that choose and change loads.
#[derive(Clone, Debug, clap::Args)]
pub struct LoadOptions {
    /// Loads by name; all have 64-byte values and 100,000 keys of 16 bytes but f, and nine reads to one write but f
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "a,b,c,d,e,f",
        value_name = "NAME,…",
        hide_default_value = true
    )]
    pub load: Vec<Named>,
    /// A load of your own instead: connections
    #[arg(short, long, value_name = "N", conflicts_with = "load")]
    pub connections: Option<usize>,
    /// A load of your own instead: requests that a connection sends at once
    #[arg(short = 'P', long, value_name = "N", conflicts_with = "load")]
    pub pipeline: Option<usize>,
    /// Bytes of a value, for all loads: 64, 16-1024, 64:0.6,1024:0.4 (sizes with weights), mixed, or @FILE
    #[arg(long, value_name = "SIZES")]
    pub value_size: Option<Sizes>,
    /// Number of keys, for all loads
    #[arg(long, value_name = "N", value_parser = count)]
    pub keys: Option<u64>,
    /// Bytes of a key
    #[arg(long, default_value_t = 16, value_name = "BYTES")]
    pub key_size: usize,
    /// Reads to writes, for all loads
    #[arg(long, value_name = "GET:SET")]
    pub ratio: Option<Ratio>,
    /// Which keys: uniform, zipf:0.99, or hotspot:0.2:0.8 (share of keys, share of requests)
    #[arg(long, default_value = "uniform", value_name = "DIST")]
    pub dist: Dist,
    /// Time to live of what is written
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub ttl: Option<Duration>,
}

impl LoadOptions {
    pub fn loads(&self) -> Vec<Load> {
        let own = self.connections.is_some() || self.pipeline.is_some();
        let base: Vec<Load> = if own {
            let usual = Load::named(Named::A);
            let (connections, pipeline) = (self.connections.unwrap_or(50), self.pipeline.unwrap_or(1));
            vec![Load { name: "free", connections, pipeline, ..usual }]
        } else {
            self.load.iter().map(|named| Load::named(*named)).collect()
        };
        let change = |load: Load| Load {
            value_size: self.value_size.clone().unwrap_or(load.value_size),
            keys: self.keys.unwrap_or(load.keys),
            key_size: self.key_size,
            ratio: self.ratio.unwrap_or(load.ratio),
            dist: self.dist,
            ttl: self.ttl,
            ..load
        };
        base.into_iter().map(change).collect()
    }
}

/// A load as JSON tells it.
#[derive(Clone, Debug, Serialize)]
pub struct Told {
    pub name: &'static str,
    pub words: String,
    #[serde(skip)]
    pub short: String,
    pub connections: usize,
    pub pipeline: usize,
    pub value_size: String,
    pub keys: u64,
    pub key_size: usize,
    pub ratio: String,
    pub dist: String,
}

impl From<&Load> for Told {
    fn from(load: &Load) -> Told {
        Told {
            name: load.name,
            words: load.words(),
            short: load.short(),
            connections: load.connections,
            pipeline: load.pipeline,
            value_size: load.value_size.to_string(),
            keys: load.keys,
            key_size: load.key_size,
            ratio: load.ratio.to_string(),
            dist: load.dist.to_string(),
        }
    }
}
