//! What is measured against what, under which loads.

use crate::lean::Choices;
use std::fmt;
use std::str::FromStr;

/// Connections, requests in flight on each, bytes of the value in a reply: `50x16` or `50x1x16k`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    pub connections: usize,
    pub pipeline: usize,
    pub value: usize,
}

/// Bytes of the value where a load does not say.
const USUAL_VALUE: usize = 64;

impl FromStr for Load {
    type Err = String;

    fn from_str(text: &str) -> Result<Load, String> {
        let wrong = || {
            format!(
                "{text}: connections and pipeline are expected, as in 50x16, or with the value's bytes, as in 50x1x16k"
            )
        };
        let number = |text: &str| text.parse::<usize>().ok().filter(|number| *number > 0);
        let mut parts = text.split('x');
        let mut next = || parts.next().and_then(number);
        let (Some(connections), Some(pipeline)) = (next(), next()) else { return Err(wrong()) };
        let value = match parts.next() {
            None => USUAL_VALUE,
            Some(size) => match size.strip_suffix('k') {
                Some(size) => number(size).and_then(|size| size.checked_mul(1024)).ok_or_else(wrong)?,
                None => number(size).ok_or_else(wrong)?,
            },
        };
        match parts.next() {
            None => Ok(Load { connections, pipeline, value }),
            Some(_) => Err(wrong()),
        }
    }
}

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.connections, self.pipeline)?;
        match self.value {
            USUAL_VALUE => Ok(()),
            value if value % 1024 == 0 => write!(f, "x{}k", value / 1024),
            value => write!(f, "x{value}"),
        }
    }
}

/// One contender.
#[derive(Clone, Debug)]
pub struct Variant {
    pub name: String,
    pub choices: Choices,
}

/// A question: contenders, the first of which is the reference, and loads.
#[derive(Clone, Debug)]
pub struct Set {
    pub name: &'static str,
    pub title: &'static str,
    pub variants: Vec<Variant>,
    pub loads: Vec<Load>,
}

/// Which question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Question {
    /// Set-up flags, single or multishot receives, direct descriptors, the arena, silent sends.
    Setup,
    /// Count and size of the receive buffers, bundles, incremental buffers.
    Buffers,
    /// How many bytes of replies gather before they are submitted, within a turn.
    Flush,
    /// Plain, linked, vectored, zero-copy, from a registered buffer: at replies of 64 bytes to 64 KiB.
    Send,
    /// How long a nearly idle server looks for work before it sleeps.
    Spin,
}

/// From nothing to everything; each line differs from one above it in one choice.
const SETUP: &[(&str, &str)] = &[
    ("epoll", "epoll"),
    ("single-shot, no flags", "setup=none,receive=single,direct=no,arena=no,skip=no"),
    ("single-shot, defer", "receive=single,direct=no,arena=no,skip=no"),
    ("multishot, no flags", "setup=none,direct=no,arena=no,skip=no"),
    ("multishot, coop", "setup=coop,direct=no,arena=no,skip=no"),
    ("multishot, defer", "direct=no,arena=no,skip=no"),
    ("… + direct", "arena=no,skip=no"),
    ("… + direct + skip", "arena=no"),
    ("… + direct + arena", "skip=no"),
    ("… + direct + arena + skip", ""),
    ("… + arena + skip", "direct=no"),
];

const BUFFERS: &[(&str, &str)] = &[
    ("epoll", "epoll"),
    ("64 × 16 KiB", "buffers=64x16k"),
    ("256 × 4 KiB", "buffers=256x4k"),
    ("1024 × 1 KiB", "buffers=1024x1k"),
    ("1024 × 16 KiB", "buffers=1024x16k"),
    ("4096 × 4 KiB", "buffers=4096x4k"),
    ("64 × 16 KiB, bundles", "buffers=64x16k,receive=bundle"),
    ("1024 × 1 KiB, bundles", "buffers=1024x1k,receive=bundle"),
    ("16 × 64 KiB, incremental", "buffers=16x64k,incremental=yes"),
];

const FLUSH: &[(&str, &str)] = &[
    ("epoll", "epoll"),
    ("4 MiB", "flush=4m"),
    ("1 MiB", "flush=1m"),
    ("256 KiB", "flush=256k"),
    ("64 KiB", "flush=64k"),
    ("each connection", "flush=0"),
];

const SEND: &[(&str, &str)] = &[
    ("epoll", "epoll"),
    ("plain, own buffer", "arena=no,skip=no"),
    ("plain, arena + skip", ""),
    ("linked header and value", "send=linked"),
    ("vectored", "send=vectored"),
    ("zero-copy", "send=zerocopy"),
    ("write-fixed", "send=writefixed"),
];

const SPIN: &[(&str, &str)] = &[
    ("epoll", "epoll"),
    ("no spin", ""),
    ("10 µs", "spin=10"),
    ("50 µs", "spin=50"),
    ("epoll, 50 µs", "epoll,spin=50"),
];

impl Set {
    /// The variants and loads of a question; `loads` replaces its own.
    pub fn of(question: Question, loads: &[Load]) -> Set {
        let (name, title, variants, own) = match question {
            Question::Setup => ("setup", "What each choice buys", SETUP, "50x1 50x16 50x64 50x256"),
            Question::Buffers => ("buffers", "Receive buffers", BUFFERS, "50x1 50x64 50x256 1000x1"),
            Question::Flush => (
                "flush",
                "Replies that gather before a submission",
                FLUSH,
                "50x16 50x64 50x256 50x16x1k 50x1x16k 50x1x64k",
            ),
            Question::Send => {
                ("send", "Kinds of send", SEND, "50x1 50x16 50x1x1k 50x16x1k 50x1x16k 50x1x64k")
            }
            Question::Spin => ("spin", "Looking before sleeping", SPIN, "1x1 50x1"),
        };
        let parse_load = |text: &str| text.parse().expect("the tables above, played in a test");
        let variants = variants.iter().map(|(name, choices)| Variant {
            name: (*name).into(),
            choices: without_spin(choices).expect("the tables above, played in a test"),
        });
        Set {
            name,
            title,
            variants: variants.collect(),
            loads: if loads.is_empty() { own.split(' ').map(parse_load).collect() } else { loads.to_vec() },
        }
    }

    /// Designs from the command line, against the first of them.
    pub fn custom(variants: &[String], loads: &[Load]) -> Result<Set, String> {
        let variant = |text: &String| {
            without_spin(text).map(|choices| Variant {
                name: if text.is_empty() { "default".into() } else { text.clone() },
                choices,
            })
        };
        let variants = variants.iter().map(variant).collect::<Result<Vec<_>, _>>()?;
        let usual = [
            Load { connections: 50, pipeline: 1, value: USUAL_VALUE },
            Load { connections: 50, pipeline: 64, value: USUAL_VALUE },
        ];
        let loads = if loads.is_empty() { usual.to_vec() } else { loads.to_vec() };
        Ok(Set { name: "custom", title: "Designs of the command line", variants, loads })
    }
}

/// Spinning costs CPU that the figures count: here it is off unless it is asked for.
fn without_spin(text: &str) -> Result<Choices, String> {
    format!("spin=0,{text}").parse()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::ValueEnum;

    #[test]
    fn every_set_is_sound() {
        for question in Question::value_variants() {
            let set = Set::of(*question, &[]);
            assert!(set.variants.len() > 2 && !set.loads.is_empty());
            for (at, variant) in set.variants.iter().enumerate() {
                assert!(
                    !set.variants[..at].iter().any(|other| other.choices == variant.choices),
                    "{}",
                    variant.name
                );
            }
        }
        assert_eq!(Set::of(Question::Spin, &[]).variants[3].choices.spin_us, 50);
    }

    #[test]
    fn loads_survive_the_round_trip() {
        for text in ["50x1", "1000x16", "50x1x16k", "1x1x100"] {
            assert_eq!(text.parse::<Load>().unwrap().to_string(), text);
        }
        for text in ["", "50", "50x", "0x1", "50x1x", "50x1x1x1", "axb", "50x1xk"] {
            assert!(text.parse::<Load>().is_err_and(|error| error.contains("50x16")), "{text}");
        }
    }
}
