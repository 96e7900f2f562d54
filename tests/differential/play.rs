//! Plays a sequence to both servers and finds the first difference; makes a sequence that shows one smaller.

use crate::compare::{Reply, agree};
use crate::random::Random;
use crate::script::{Arg, Check, Command, Step, scan_args};
use crate::support::{Conn, Value, WireError};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// The two servers that are compared.
#[derive(Clone, Copy, Debug)]
pub struct Pair {
    pub ours: SocketAddr,
    pub theirs: SocketAddr,
    /// How long a reply may take.
    pub patience: Duration,
}

/// Where the servers first disagreed.
#[derive(Debug)]
pub struct Difference {
    /// Index of the step.
    pub step: usize,
    /// The command's name in upper case.
    pub name: String,
    pub command: String,
    pub ours: String,
    pub theirs: String,
}

/// One run of a sequence over two fresh connections.
struct Play {
    ours: Conn,
    theirs: Conn,
    started: Instant,
}

impl Pair {
    /// Plays a sequence on emptied servers.
    pub fn play(&self, steps: &[Step]) -> Result<usize, Difference> {
        let mut play = Play {
            ours: Conn::connect(self.ours),
            theirs: Conn::connect(self.theirs),
            started: Instant::now(),
        };
        for conn in [&mut play.ours, &mut play.theirs] {
            conn.set_patience(self.patience);
            conn.send(b"*1\r\n$8\r\nFLUSHALL\r\n");
        }
        play.compare(0, &Command::words("FLUSHALL", Check::Exact))?;
        let mut commands = 0;
        for (i, step) in steps.iter().enumerate() {
            commands += play.step(i, step)?;
        }
        Ok(commands)
    }

    /// Takes steps away from a sequence for as long as the servers still disagree, within a bounded number of tries.
    pub fn shrink(&self, mut steps: Vec<Step>) -> Vec<Step> {
        let pair = Pair { patience: Duration::from_secs(5), ..*self };
        let differs = |steps: &[Step]| match pair.play(steps) {
            Err(difference) => Some(difference.step),
            Ok(_) => None,
        };
        let mut tries = 600_usize;
        steps = split_bursts(&steps).filter(|split| differs(split).is_some()).unwrap_or(steps);
        let mut chunk = steps.len() / 2;
        while chunk > 0 && tries > 0 {
            let mut at = 0;
            while at < steps.len() && tries > 0 {
                tries -= 1;
                let mut fewer = steps.clone();
                fewer.drain(at..(at + chunk).min(steps.len()));
                match differs(&fewer) {
                    Some(last) => {
                        fewer.truncate(last + 1);
                        steps = fewer;
                    }
                    None => at += chunk,
                }
            }
            chunk /= 2;
        }
        steps
    }
}

/// Each command in a burst of its own, unless replies are suppressed in it: those belong together.
fn split_bursts(steps: &[Step]) -> Option<Vec<Step>> {
    let mut split = Vec::new();
    for step in steps {
        match step {
            Step::Burst { commands, .. } if commands.iter().all(|c| c.answered) => {
                split.extend(commands.iter().cloned().map(Step::one));
            }
            other => split.push(other.clone()),
        }
    }
    (split.len() > steps.len()).then_some(split)
}

impl Play {
    /// Plays one step and returns how many commands it was.
    fn step(&mut self, index: usize, step: &Step) -> Result<usize, Difference> {
        match step {
            Step::Burst { commands, cut } => self.burst(index, commands, *cut),
            Step::Scan { options } => self.scan(index, options),
            Step::RandomKey => self.random_key(index),
            Step::Expire { command, key } => {
                self.burst(index, std::slice::from_ref(command), 0)?;
                std::thread::sleep(Duration::from_millis(5));
                // Looking at the key removes it if it has expired: from here on both servers count it alike.
                self.burst(index, &[Command::new(vec![b"GET".to_vec(), key.clone()], Check::Exact)], 0)
            }
            Step::Farewell(command) => {
                self.burst(index, std::slice::from_ref(command), 0)?;
                let ends = (self.ours.read_to_close(), self.theirs.read_to_close());
                self.require(ends.0 == ends.1, index, &command.to_string(), &ends.0, &ends.1)?;
                Ok(1)
            }
        }
    }

    fn burst(&mut self, index: usize, commands: &[Command], cut: u64) -> Result<usize, Difference> {
        let bytes: Vec<u8> = commands.iter().flat_map(Command::encode).collect();
        let pieces = pieces(&bytes, cut);
        for conn in [&mut self.ours, &mut self.theirs] {
            for piece in &pieces {
                // A server that has closed shows when its reply is read.
                if conn.try_send(piece).is_err() {
                    break;
                }
                if pieces.len() > 1 {
                    std::thread::yield_now();
                }
            }
        }
        for command in commands.iter().filter(|c| c.answered) {
            self.compare(index, command)?;
        }
        Ok(commands.len())
    }

    fn compare(&mut self, index: usize, command: &Command) -> Result<(), Difference> {
        let replies = (self.ours.try_read(), self.theirs.try_read());
        let same = agree(command.check, &replies.0, &replies.1, self.started.elapsed());
        if same {
            return Ok(());
        }
        Err(Difference {
            step: index,
            name: String::from_utf8_lossy(&command.args[0]).to_uppercase(),
            command: command.to_string(),
            ours: show(&replies.0),
            theirs: show(&replies.1),
        })
    }

    fn require<T: std::fmt::Debug>(
        &self,
        holds: bool,
        step: usize,
        command: &str,
        ours: &T,
        theirs: &T,
    ) -> Result<(), Difference> {
        if holds {
            return Ok(());
        }
        Err(Difference {
            step,
            name: command.split(' ').next().unwrap_or_default().to_uppercase(),
            command: command.to_owned(),
            ours: format!("{ours:?}"),
            theirs: format!("{theirs:?}"),
        })
    }

    fn scan(&mut self, index: usize, options: &[Arg]) -> Result<usize, Difference> {
        let found = (scan_all(&mut self.ours, options), scan_all(&mut self.theirs, options));
        let command = Command::new(scan_args(b"0", options), Check::Exact).to_string();
        self.require(found.0 == found.1, index, &command, &found.0, &found.1)?;
        Ok(1)
    }

    fn random_key(&mut self, index: usize) -> Result<usize, Difference> {
        let keys = (self.ours.run("RANDOMKEY"), self.theirs.run("RANDOMKEY"));
        let same = std::mem::discriminant(&keys.0) == std::mem::discriminant(&keys.1);
        self.require(same, index, "RANDOMKEY", &keys.0, &keys.1)?;
        for key in [keys.0, keys.1] {
            if let Value::Bulk(key) = key {
                let exists = Command::new(vec![b"EXISTS".to_vec(), key], Check::Exact);
                let replies = (self.ours.command(&exists.args), self.theirs.command(&exists.args));
                let known = replies.0 == Value::Int(1) && replies.1 == Value::Int(1);
                self.require(known, index, &exists.to_string(), &replies.0, &replies.1)?;
            }
        }
        Ok(1)
    }
}

/// All that a whole SCAN returns, or the error that it answers.
fn scan_all(conn: &mut Conn, options: &[Arg]) -> Result<BTreeSet<Vec<u8>>, Reply> {
    let mut found = BTreeSet::new();
    let mut cursor = b"0".to_vec();
    // Each call moves on by at least one of at most 16 keys; a cursor that never ends is an error of its own.
    for _ in 0..100_000 {
        conn.try_send(&Command::new(scan_args(&cursor, options), Check::Exact).encode())
            .map_err(|_| Err(WireError::Closed))?;
        let reply = conn.try_read();
        let Ok((Value::Array(items), _)) = &reply else { return Err(reply) };
        let [next, keys] = items.as_slice() else { return Err(reply) };
        found.extend(keys.array().iter().map(|k| k.bytes().to_vec()));
        cursor = next.bytes().to_vec();
        if cursor == b"0" {
            return Ok(found);
        }
    }
    panic!("SCAN {options:?} never ends")
}

/// The bytes cut at random places.
fn pieces(bytes: &[u8], cut: u64) -> Vec<&[u8]> {
    if cut == 0 {
        return vec![bytes];
    }
    let mut random = Random::new(cut);
    let mut rest = bytes;
    let mut pieces = Vec::new();
    while !rest.is_empty() && pieces.len() < 50 {
        let (piece, after) = rest.split_at((1 + random.below(64)).min(rest.len()));
        pieces.push(piece);
        rest = after;
    }
    pieces.push(rest);
    pieces
}

fn show(reply: &Reply) -> String {
    match reply {
        Ok((_, bytes)) if bytes.len() > 600 => {
            format!("{}…({} bytes)", bytes[..600].escape_ascii(), bytes.len())
        }
        Ok((_, bytes)) => bytes.escape_ascii().to_string(),
        Err(error) => format!("{error:?}"),
    }
}
