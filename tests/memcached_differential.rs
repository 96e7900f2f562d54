//! Plays random sequences of text and meta commands to a real memcached and to this server and compares what they answer.
//!
//! `KV_MEMCACHED` names the memcached binary (1.6.18 was used); without it these tests skip, and with `KV_REQUIRE_MEMCACHED=1` skipping
//! fails. `KV_DIFF_SEQUENCES` sets how many sequences are played, `KV_DIFF_SEED` plays one again by the seed that a failure prints.
//!
//! Intended differences, and how each is kept out:
//! - CAS values: any number may be one. Each server's are replaced by the order in which they first appear;
//! - seconds (`t`) are rounded differently, and memcached's own clock is up to two behind: [`SECONDS`] more or less is the same. `l`,
//!   and of `me` all but the key: not compared;
//! - `h`: of an item of which nobody has asked for such things before, past use is known here only roughly. Not compared;
//! - flags of mg act in their order there; here `t` knows whether it stands behind `T` or `N`, and the others act at once: `R` stands
//!   first in what is generated;
//! - a decremented number that loses a digit is padded with a space there (protocol.txt allows both): numbers keep their length;
//! - `k` of mg answers base64 there if it was `ms` that wrote the item, with `b`; here if the command has `b`: never generated together;
//! - with `I` a CAS is compared by size, where each server counts as it likes: only one that it has shown is sent;
//! - `q` of an `ma` that makes its item hides nothing there, the usual HD here: never generated;
//! - the data block of a line that is wrong is read as commands there, and dropped here if its length is known: such lines here announce
//!   a block only where it is dropped there too;
//! - numbers: `+5`, flags beyond 32 bits and white space other than spaces behind a number are taken there: never generated;
//! - flags newer than that memcached (E and x, `s` of ms, N of ms, `gat` without keys): checked by themselves in `memcached_text.rs`;
//! - lines of more than 2,048 bytes, other than get and gets, close there; watch, lru and slabs are served there: never generated.

#[path = "differential/random.rs"]
#[allow(dead_code, reason = "its mixture of cases is for Redis")]
mod random;
mod support;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use random::Random;
use std::collections::HashMap;
use support::{Engine, Server, Setup, Text, engine_available, memcached_binary};

/// How many sequences a test plays unless `KV_DIFF_SEQUENCES` says otherwise.
const SEQUENCES: u64 = 600;
/// Commands of a sequence.
const COMMANDS: usize = 60;

/// How far two figures of seconds may be apart.
const SECONDS: u64 = 3;

/// A CAS that the server has shown for this key, in a command.
const CAS_OF: &str = "\u{1}";

#[test]
fn agrees_with_memcached_on_io_uring_with_2_threads() {
    against_memcached(Engine::IoUring, 2, SEQUENCES);
}

#[test]
fn agrees_with_memcached_on_epoll_with_1_thread() {
    against_memcached(Engine::Epoll, 1, SEQUENCES / 3);
}

/// If this fails, the generator is to blame: it made a sequence whose replies depend on more than the sequence.
#[test]
fn memcached_agrees_with_itself() {
    let Some(binary) = memcached_binary() else { return };
    let (one, other) = (Server::start_memcached(&binary), Server::start_memcached(&binary));
    play_all(&one, &other, SEQUENCES / 5, 77);
}

/// A comparison that finds nothing proves nothing.
#[test]
fn a_difference_is_found() {
    let Some(binary) = memcached_binary() else { return };
    let (one, other) = (Server::start_memcached(&binary), Server::start_memcached(&binary));
    let steps = ["set {}k0 0 0 1|x|".to_owned(), "get {}k0|".to_owned()];
    assert_eq!(play(&one, &other, 1, &steps), Ok(()));
    Text::connect(other.address()).say("set s2k0 0 0 1|y|");
    let steps = ["add {}k0 0 0 1|x|".to_owned()];
    assert!(play(&one, &other, 2, &steps).is_err());
}

fn against_memcached(engine: Engine, threads: usize, sequences: u64) {
    let Some(binary) = memcached_binary().filter(|_| engine_available(engine)) else { return };
    let server = Setup { engine, threads }.start(&[]);
    play_all(&server, &Server::start_memcached(&binary), sequences, 4_000_000 + threads as u64);
}

fn play_all(ours: &Server, theirs: &Server, default_sequences: u64, first_seed: u64) {
    let number = |name| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a whole number"));
    let mut seeds = Random::new(first_seed);
    let seeds: Vec<u64> = match number("KV_DIFF_SEED") {
        Some(seed) => vec![seed],
        None => (0..number("KV_DIFF_SEQUENCES").unwrap_or(default_sequences)).map(|_| seeds.next()).collect(),
    };
    let mut found = Vec::new();
    for seed in seeds {
        let steps = Generator { random: Random::new(seed) }.sequence();
        if let Err(text) = play(ours, theirs, seed, &steps) {
            found.push(format!("KV_DIFF_SEED={seed}\n{text}"));
        }
        if found.len() == 8 {
            break;
        }
    }
    assert!(found.is_empty(), "{} sequences differ:\n{}", found.len(), found.join("\n"));
}

/// Plays the steps until the first difference. `{}` in a step is the sequence's own prefix of
/// keys, so that nothing has to be flushed in between, and `{b}` a key of its own in base64.
fn play(ours: &Server, theirs: &Server, seed: u64, steps: &[String]) -> Result<(), String> {
    let (mut ours, mut theirs) = (Side::new(ours), Side::new(theirs));
    // What comes first says to ours that it is memcached's protocol.
    assert_eq!((ours.ask(""), theirs.ask("")), (String::new(), String::new()));
    let mut told: Vec<(String, String)> = Vec::new();
    for step in steps {
        let prefix = format!("s{seed}");
        let step = step.replace("{}", &prefix).replace("{b}", &STANDARD.encode(&prefix));
        let (our_reply, their_reply) = (ours.ask(&step), theirs.ask(&step));
        if !same(&our_reply, &their_reply) {
            // What happened to the same key is what tells why.
            let key = key_of(&step);
            let before = told.iter().filter(|(line, _)| line.contains(key));
            let before: String = before.map(|(line, reply)| format!("  {line} => {reply}\n")).collect();
            // From a little before they part.
            let same = our_reply.bytes().zip(their_reply.bytes()).take_while(|(a, b)| a == b).count();
            let [ours, theirs] = [our_reply, their_reply]
                .map(|reply| short(&reply.chars().skip(same.saturating_sub(80)).collect::<String>()));
            return Err(format!("{before}  {}\n  ours:   {ours}\n  theirs: {theirs}\n", short(&step)));
        }
        told.push((short(&step), short(&our_reply)));
    }
    Ok(())
}

fn key_of(step: &str) -> &str {
    step.split(['|', ' ']).nth(1).unwrap_or_default()
}

/// Enough of a text to know it again.
fn short(text: &str) -> String {
    text.chars().take(200).collect()
}

/// One server, and what is known of its CAS values.
struct Side {
    text: Text,
    /// The order in which each appeared, with its key.
    names: HashMap<(String, String), usize>,
    /// The last one of each key.
    last: HashMap<String, String>,
}

impl Side {
    fn new(server: &Server) -> Side {
        Side { text: Text::connect(server.address()), names: HashMap::new(), last: HashMap::new() }
    }

    fn ask(&mut self, step: &str) -> String {
        let key = key_of(step).to_owned();
        // None that there is, where none was seen.
        let cas = self.last.get(&key).cloned().unwrap_or_else(|| "0".into());
        let reply = self.text.say(&step.replace(CAS_OF, &cas));
        reply.split('|').map(|line| self.renamed(line, &key)).collect::<Vec<_>>().join("|")
    }

    /// A line of a reply with names in the place of CAS values, and without what cannot be compared.
    fn renamed(&mut self, line: &str, key: &str) -> String {
        let words: Vec<&str> = line.split(' ').collect();
        let mut out = Vec::new();
        for (n, word) in words.iter().enumerate() {
            let cas = match (words[0], word) {
                ("VALUE", _) if n == 4 => Some((*word, words[1])),
                ("HD" | "VA" | "EX" | "NS" | "NF", word) if n > 0 && word.starts_with('c') => {
                    Some((&word[1..], key))
                }
                _ => None,
            };
            match cas {
                Some((cas, key)) => {
                    let next = self.names.len();
                    let known = self.names.entry((key.into(), cas.into()));
                    let name = if cas == "0" { 0 } else { *known.or_insert(next + 1) };
                    self.last.insert(key.into(), cas.into());
                    out.push(format!("cas{name}"));
                }
                None if words[0] == "ME" && n > 1 => {}
                None if n > 0 && matches!(words[0], "HD" | "VA") && is_use(word) => {
                    out.push(word[..1].into())
                }
                None => out.push((*word).to_owned()),
            }
        }
        out.join(" ")
    }
}

/// Whether this tells of past use.
fn is_use(word: &str) -> bool {
    matches!(word, "h0" | "h1") || word.starts_with('l')
}

/// Whether two replies are the same but for a second.
fn same(one: &str, other: &str) -> bool {
    let (one, other): (Vec<_>, Vec<_>) = (one.split(' ').collect(), other.split(' ').collect());
    let seconds =
        |word: &str| word.split('|').next().unwrap_or_default().strip_prefix('t')?.parse::<i64>().ok();
    let tail = |word: &str| word.split_once('|').map(|(_, tail)| tail.to_owned());
    one.len() == other.len()
        && one.iter().zip(&other).all(|(one, other)| {
            one == other
                || matches!((seconds(one), seconds(other)), (Some(a), Some(b)) if a > 0 && b > 0 && a.abs_diff(b) <= SECONDS)
                    && tail(one) == tail(other)
        })
}

struct Generator {
    random: Random,
}

impl Generator {
    fn sequence(&mut self) -> Vec<String> {
        (0..COMMANDS).map(|_| self.command()).collect()
    }

    fn pick(&mut self, choices: &[&str]) -> String {
        (*self.random.pick(choices)).to_owned()
    }

    fn key(&mut self) -> String {
        format!("{{}}k{}", self.random.below(4))
    }

    fn exptime(&mut self) -> String {
        self.pick(&["0", "0", "0", "100", "1000", "-1", "2592000", "4000000000"])
            .replace("4000000000", "2100000000")
    }

    fn value(&mut self) -> String {
        match self.random.below(4) {
            0 => (200_000 + self.random.below(500_000)).to_string(),
            1 => "v".repeat(self.random.below(40)),
            2 => "w".repeat(20_000 + self.random.below(3)),
            _ => self.pick(&["x", "", "1x", "some words"]),
        }
    }

    fn command(&mut self) -> String {
        let key = self.key();
        match self.random.below(30) {
            0..=4 => self.storage(&key),
            5..=7 => {
                let keys: Vec<String> = (0..=self.random.below(4)).map(|_| self.key()).collect();
                format!("{} {}|", self.pick(&["get", "gets", "gets"]), keys.join(" "))
            }
            8 => format!("{} {} {key}|", self.pick(&["gat", "gats"]), self.exptime()),
            9 => format!("delete {key}{}|", self.pick(&["", "", " 0", " noreply", " 5"])),
            10..=11 => {
                let delta = self.pick(&["1", "77", "999", "x", "-1"]);
                format!("{} {key} {delta}{}|", self.pick(&["incr", "decr"]), self.pick(&["", "", " noreply"]))
            }
            12 => format!("touch {key} {}{}|", self.exptime(), self.pick(&["", " noreply"])),
            13 => self.mistake(&key),
            14..=19 => self.meta_get(&key),
            20..=23 => self.meta_set(&key),
            24..=26 => self.meta_delete(&key),
            27..=28 => self.meta_count(&key),
            _ => format!("me {key}|"),
        }
    }

    fn storage(&mut self, key: &str) -> String {
        let verb = self.pick(&["set", "set", "set", "add", "replace", "append", "prepend", "cas", "cas"]);
        let (value, exptime) = (self.value(), self.exptime());
        let cas = if verb == "cas" { self.pick(&[" \u{1}", " \u{1}", " 999999999"]) } else { String::new() };
        let flags = self.pick(&["0", "0", "5", "4294967295"]);
        let noreply = self.pick(&["", "", "", " noreply"]);
        format!("{verb} {key} {flags} {exptime} {}{cas}{noreply}|{value}|", value.len())
    }

    fn mistake(&mut self, key: &str) -> String {
        let long = "k".repeat(251);
        self.pick(&[
            "",
            "x",
            "get",
            "GET k",
            &format!("get {key} {long}"),
            &format!("mg {long} v"),
            &format!("set {key} 0 0 3|abcdef"),
            &format!("set {key} 0 0 3 noreply|abcdef"),
            &format!("set {key} 0 0 -1"),
            &format!("set {key} 0 0"),
            &format!("set {key} 0 0 1 a b"),
            &format!("cas {key} 0 0 1"),
            &format!("delete {key} a b c"),
            &format!("incr {key}"),
            &format!("touch {key}"),
            &format!("touch {key} x"),
            &format!("gat x {key}"),
            &format!("mg {key} v v"),
            &format!("mg {key} Z"),
            &format!("mg {key} Tx"),
            &format!("mg {key} O1234567890123456789012345678901234567890"),
            &format!("md {key} v v"),
            &format!("ma {key} MX"),
            &format!("ma {key} Dx"),
            &format!("ms {key} 2 MX|hi"),
            &format!("ms {key} 2 M|hi"),
            &format!("ms {key} 2 Z|hi"),
            &format!("ms {key} 2|hix"),
            &format!("ms {key} x"),
            &format!("ms {key}"),
            "mg",
            "me",
            "mx a",
            "verbosity",
            "flush_all x",
            "cache_memlimit 1",
            "stats nothing",
            "shutdown",
        ]) + "|"
    }

    /// Some of these flags, those in capitals that set a time first.
    fn flags(&mut self, first: &[&str], others: &[&str]) -> String {
        let mut flags = String::new();
        for flag in first {
            if self.random.chance(12) {
                flags += &format!(" {flag}");
            }
        }
        let mut others: Vec<&str> = others.to_vec();
        while !others.is_empty() {
            let flag = others.remove(self.random.below(others.len()));
            if self.random.chance(30) {
                flags += &format!(" {flag}");
            }
        }
        flags
    }

    /// A key, as it is or in base64, and what says so.
    fn meta_key(&mut self, key: &str) -> (String, &'static str) {
        if self.random.chance(15) { ("{b}".into(), " b") } else { (key.to_owned(), "") }
    }

    fn meta_get(&mut self, key: &str) -> String {
        let (key, b) = self.meta_key(key);
        let recache = self.pick(&["R30", "R500", "R-1", "R0"]);
        let flags = self.flags(
            &[&recache, "T100", "T1000", "N60"],
            &["v", "t", "c", "f", "s", "k", "Oabc", "q", "h", "l", "u"],
        );
        // Two of one letter are another test.
        let flags = flags.replace(" T100 T1000", " T100");
        let flags = if b.is_empty() { flags } else { flags.replace(" k", "") };
        format!("mg {key}{b}{flags}|")
    }

    fn meta_set(&mut self, key: &str) -> String {
        let (key, b) = self.meta_key(key);
        let value = self.value();
        let mode = self.pick(&["MS", "ME", "MA", "MP", "MR"]);
        let (compare, time) = (self.pick(&["C\u{1}", "C\u{1}", "C0"]), format!("T{}", self.exptime()));
        let flags = self.flags(&[&mode, &compare, &time, "F7"], &["k", "Oabc", "q", "c", "I"]);
        format!("ms {key} {}{b}{flags}|{value}|", value.len())
    }

    fn meta_delete(&mut self, key: &str) -> String {
        let (key, b) = self.meta_key(key);
        let compare = self.pick(&["C\u{1}", "C\u{1}", "C999999999", "C0"]);
        let flags = self.flags(&[&compare], &["k", "Oabc", "q", "I", "T100"]);
        format!("md {key}{b}{flags}|")
    }

    fn meta_count(&mut self, key: &str) -> String {
        let (key, b) = self.meta_key(key);
        let (mode, delta) = (self.pick(&["MI", "MD", "M+", "M-"]), self.pick(&["D1", "D99"]));
        let compare = self.pick(&["C\u{1}", "C999999999", "C0"]);
        let flags = self
            .flags(&["T500", "N100", "J700000", &mode, &delta, &compare], &["v", "t", "c", "k", "Oabc", "q"]);
        // Without J it would begin with a number of one digit.
        let flags = match flags.contains(" N") {
            true => flags.replace(" q", "").replace(" J700000", "") + " J700000",
            false => flags,
        };
        format!("ma {key}{b}{flags}|")
    }
}
