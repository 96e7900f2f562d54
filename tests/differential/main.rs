//! Plays random command sequences to a real Valkey and to this server and compares what they answer, byte for byte.
//!
//! `KV_VALKEY_SERVER` names the Valkey 9.1 binary (`ci/setup.sh` fetches one); without it these tests skip, and with
//! `KV_REQUIRE_VALKEY=1` skipping fails. `KV_DIFF_SEQUENCES` sets how many sequences each test plays, `KV_DIFF_SEED` plays one
//! sequence again by the seed that a failure prints. A sequence that shows a difference is made smaller before it is printed.
//!
//! Intended differences, and how each is kept out:
//! - commands on types that this server lacks answer here as unknown commands: never generated, and checked by themselves;
//! - DELEX, DIGEST and SET IFNE, which Valkey lacks: never generated, and checked by themselves in `protocol.rs`;
//! - what describes the server (HELLO's name and version, CLIENT ID, TIME, MEMORY USAGE, OBJECT REFCOUNT): only its kind is compared;
//! - an error that quotes binary arguments: this server's errors are text (what is no UTF-8 is
//!   replaced), and Valkey's end at the first zero byte: compared as text up to there;
//! - COMMAND GETKEYS of an MSETEX without its last value: an error here, its keys there;
//! - moments beyond the year 10889, where an expiry's 48 bits end: told apart there, not here;
//! - a watched key that was missing, came and went again has changed there, not here: at most one thing happens to watched keys;
//! - errors of scripts name the script here, as Redis does, and say "Redis command" where Valkey says "Valkey command" or nothing;
//! - OBJECT ENCODING of a value that was changed in place: Valkey answers by history, this server by the value.

mod commands;
mod compare;
mod frames;
mod generate;
mod play;
mod random;
mod script;
#[path = "../support/mod.rs"]
mod support;

use generate::Generator;
use play::{Difference, Pair};
use random::Random;
use script::Step;
use std::collections::BTreeMap;
use std::path::Path;
use support::{Engine, PATIENCE, Server, Setup, Value, engine_available, valkey_binary};

/// How many sequences a test plays unless `KV_DIFF_SEQUENCES` says otherwise.
const SEQUENCES: u64 = 1_500;

#[test]
fn agrees_with_valkey_on_io_uring_with_2_threads() {
    against_valkey(Engine::IoUring, 2, SEQUENCES);
}

#[test]
fn agrees_with_valkey_on_epoll_with_1_thread() {
    against_valkey(Engine::Epoll, 1, SEQUENCES / 2);
}

/// If this fails, the generator is to blame: it made a sequence whose replies depend on more than the sequence.
#[test]
fn valkey_agrees_with_itself() {
    let Some(binary) = valkey_binary() else { return };
    let (one, other) = (start_valkey(&binary), start_valkey(&binary));
    play_all(&one, &other, SEQUENCES / 5, 77);
}

/// A comparison that finds nothing proves nothing: two servers that do differ must be told apart, by a small sequence.
#[test]
fn a_difference_is_found_and_made_small() {
    let Some(binary) = valkey_binary() else { return };
    // Fifteen databases instead of sixteen: only a sequence that goes to the last one can tell.
    let (one, other) = (start_valkey(&binary), Server::start_valkey(&binary, &["--databases", "15"]));
    let pair = Pair { ours: one.address(), theirs: other.address(), patience: PATIENCE };
    let mut seeds = Random::new(5);
    let (steps, first) = (0..200)
        .find_map(|_| {
            let steps = Generator::new(seeds.next()).sequence();
            pair.play(&steps).err().map(|difference| (steps, difference))
        })
        .expect("database 15 is used by one sequence in 200");
    let small = pair.shrink(steps[..=first.step].to_vec());
    assert!(small.len() <= 2 && pair.play(&small).is_err(), "{} steps are left", small.len());
}

/// No command may be known here under a name whose meaning is missing.
#[test]
fn commands_of_missing_types_are_unknown() {
    let Some(binary) = valkey_binary() else { return };
    let server = Setup { engine: Engine::Epoll, threads: 1 }.start(&[]);
    let valkey = start_valkey(&binary);
    let mut ours = server.connect();
    let known: Vec<String> = names(&ours.run("COMMAND LIST"));
    let theirs = names(&valkey.connect().run("COMMAND LIST"));
    let missing: Vec<&String> = theirs.iter().filter(|name| !known.contains(name)).collect();
    assert!(missing.iter().any(|name| *name == "lpush"), "there are no lists here");
    for name in missing {
        let reply = ours.command(&[name.as_str(), "key", "1"]);
        let expected = format!("ERR unknown command '{name}', with args beginning with: 'key' '1' ");
        assert_eq!(reply, Value::Error(expected));
    }
}

#[test]
fn broken_frames_get_the_same_answer() {
    let Some(binary) = valkey_binary() else { return };
    let server = Setup { engine: Engine::Epoll, threads: 1 }.start(&[]);
    frames::compare_all(&server, &start_valkey(&binary));
}

#[test]
fn broken_frames_get_the_same_answer_on_io_uring() {
    let Some(binary) = valkey_binary().filter(|_| engine_available(Engine::IoUring)) else { return };
    let server = Setup { engine: Engine::IoUring, threads: 2 }.start(&[]);
    frames::compare_all(&server, &start_valkey(&binary));
}

fn names(reply: &Value) -> Vec<String> {
    reply.array().iter().map(|name| name.text().to_ascii_lowercase()).collect()
}

fn start_valkey(binary: &Path) -> Server {
    Server::start_valkey(binary, &[])
}

fn against_valkey(engine: Engine, threads: usize, sequences: u64) {
    let Some(binary) = valkey_binary().filter(|_| engine_available(engine)) else { return };
    let server = Setup { engine, threads }.start(&["--max-memory", "256MB"]);
    play_all(&server, &start_valkey(&binary), sequences, 2_000_000 + threads as u64);
}

/// How many differences a test looks for before it reports them.
const MOST_DIFFERENCES: usize = 12;

/// Plays as many sequences as asked for, each from a seed of its own, and fails with all of the differences found, the first of each command.
fn play_all(ours: &Server, theirs: &Server, default_sequences: u64, first_seed: u64) {
    let number = |name| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a whole number"));
    let pair = Pair { ours: ours.address(), theirs: theirs.address(), patience: PATIENCE };
    let mut seeds: Box<dyn Iterator<Item = u64>> = match number("KV_DIFF_SEED") {
        Some(seed) => Box::new(std::iter::once(seed)),
        None => {
            let mut random = Random::new(first_seed);
            let count = number("KV_DIFF_SEQUENCES").unwrap_or(default_sequences);
            Box::new((0..count).map(move |_| random.next()))
        }
    };
    let (mut commands, mut found) = (0, BTreeMap::new());
    while let Some(seed) = seeds.next().filter(|_| found.len() < MOST_DIFFERENCES) {
        let steps = Generator::new(seed).sequence();
        match pair.play(&steps) {
            Ok(played) => commands += played,
            Err(first) => {
                found.entry(first.name.clone()).or_insert_with(|| describe(&pair, seed, &steps, first));
            }
        }
    }
    let all: String = found.values().map(String::as_str).collect();
    assert!(found.is_empty(), "{} commands differ:\n{all}", found.len());
    println!("{commands} commands: no difference");
}

/// The smallest sequence found that still shows a difference, as text.
fn describe(pair: &Pair, seed: u64, steps: &[Step], first: Difference) -> String {
    let steps = &steps[..=first.step];
    let small = pair.shrink(steps.to_vec());
    // The last run of the small one speaks, if it still fails: the first may have depended on the moment.
    let (shown, found) = match pair.play(&small) {
        Err(found) => (&small[..], found),
        Ok(_) => (steps, first),
    };
    let tail: String = shown[shown.len().saturating_sub(30)..].iter().map(Step::to_string).collect();
    format!(
        "KV_DIFF_SEED={seed}, made small:\n{tail}at: {}\n  ours:   {}\n  theirs: {}\n\n",
        found.command, found.ours, found.theirs
    )
}
