//! Makes sequences: few keys, so that commands meet; every command with every option; and wrong arguments of every kind.
//!
//! Determinism between two servers that do not share a clock needs care in one place, time. A TTL is either so short that the
//! script waits it out ([`Step::Expire`]), or so long that it cannot end while the sequence runs, and no two TTLs are near each
//! other, so that GT and LT decide alike on both sides.

use crate::commands::{COMMANDS, Spec};
use crate::random::Random;
use crate::script::{Arg, Check, Command, Step};

/// Arguments that are wrong in most places. No small positive number is among them: it could become a TTL.
/// And no hexadecimal one: C's strtold, which Valkey calls, takes it for a float.
const ODD: &[&[u8]] = &[
    b"",
    b"abc",
    b"0",
    b"-1",
    b"-0",
    b"+1",
    b" 1",
    b"1 ",
    b"01",
    b"1e3",
    b"3.0",
    b"3.14",
    b"-2.5e-3",
    b"nan",
    b"inf",
    b"-inf",
    b"9223372036854775807",
    b"-9223372036854775808",
    b"9223372036854775808",
    b"18446744073709551615",
    b"18446744073709551616",
    b"99999999999999999999999999",
    b"\x00",
    b"\xff\xfe\r\n\x00",
    b"*",
    b"NX",
    b"GET",
    b"EX",
    b"1.7976931348623157e308",
    b"4294967296",
];

/// The state of generating one sequence.
pub struct Generator {
    pub random: Random,
    ttls_used: Vec<u64>,
}

impl Generator {
    pub fn new(seed: u64) -> Generator {
        Generator { random: Random::new(seed), ttls_used: Vec::new() }
    }

    /// A whole sequence.
    pub fn sequence(&mut self) -> Vec<Step> {
        let mut steps = Vec::new();
        if self.random.chance(50) {
            steps.push(Step::one(Command::words("HELLO 3", Check::Greeting)));
        }
        let length = 8 + self.random.below(40);
        for _ in 0..length {
            let step = self.step();
            steps.push(step);
        }
        if self.random.chance(10) {
            steps.push(Step::Farewell(Command::words("QUIT", Check::Exact)));
        }
        steps
    }

    fn step(&mut self) -> Step {
        match self.random.below(100) {
            0..4 => Step::Scan { options: self.scan_options() },
            4..6 => Step::RandomKey,
            6..9 => self.expiring(),
            9..11 => self.silent(),
            11..16 => self.encoding(),
            16..22 => self.transaction(),
            22..60 => Step::one(self.command()),
            _ => {
                let length = 2 + self.random.below(18);
                let commands = (0..length).map(|_| self.command()).collect();
                let cut = if self.random.chance(50) { self.random.next() | 1 } else { 0 };
                Step::Burst { commands, cut }
            }
        }
    }

    /// One command: right in most cases, else with one thing wrong.
    pub fn command(&mut self) -> Command {
        let total: usize = COMMANDS.iter().map(|c| c.weight).sum();
        let mut at = self.random.below(total);
        let spec = COMMANDS.iter().find(|c| {
            let here = at < c.weight;
            at = at.wrapping_sub(c.weight);
            here
        });
        let spec = spec.expect("a number below the sum of the weights");
        let mut command = self.fill(spec);
        if spec.mutable && self.random.chance(12) {
            self.spoil(&mut command);
        }
        command.inline = command.fits_a_line() && self.random.chance(5);
        command
    }

    /// One command whose reply does not depend on the moment.
    pub fn exact(&mut self) -> Command {
        // Names that are not commands of these: a script's error, or an end of the transaction.
        const APART: [&[u8]; 8] =
            [b"EVAL", b"RESET", b"HELLO", b"AUTH", b"CLIENT", b"COMMAND", b"", b"NOSUCHCOMMAND"];
        loop {
            let command = self.command();
            if command.check == Check::Exact && !APART.contains(&&command.args[0].to_ascii_uppercase()[..]) {
                return Command { inline: false, ..command };
            }
        }
    }

    /// A transaction in one piece, perhaps with watched keys and something that happens to them. One thing at most: a key that comes and
    /// goes has changed in Valkey and not here.
    fn transaction(&mut self) -> Step {
        let words = |line: &str| Command::words(line, Check::Exact);
        let mut commands = Vec::new();
        if self.random.chance(40) {
            commands.push(Command::new(
                vec![b"WATCH".to_vec(), self.short_key(), self.short_key()],
                Check::Exact,
            ));
            if self.random.chance(60) {
                commands.push(self.exact());
            }
        }
        commands.push(words("MULTI"));
        for _ in 0..self.random.below(8) {
            let spoiling =
                ["NOSUCHCOMMAND x", "MULTI", "WATCH a", "GET", "RESET", "DISCARD", "EXEC", "EXEC x"];
            let spoils = self.random.chance(3);
            commands.push(if spoils {
                {
                    let line = *self.random.pick(&spoiling);
                    words(line)
                }
            } else {
                self.exact()
            });
        }
        commands.push(words(if self.random.chance(90) { "EXEC" } else { "DISCARD" }));
        commands.push(words("UNWATCH"));
        let cut = if self.random.chance(30) { self.random.next() | 1 } else { 0 };
        Step::Burst { commands, cut }
    }

    fn fill(&mut self, spec: &Spec) -> Command {
        let mut args = vec![self.random.case(spec.name)];
        (spec.arguments)(self, &mut args);
        Command::new(args, spec.check)
    }

    /// Makes one argument wrong, or one too many or too few.
    fn spoil(&mut self, command: &mut Command) {
        // A subcommand stays what it is: another one may answer what is each server's own.
        let containers: [&[u8]; 4] = [b"CLIENT", b"COMMAND", b"OBJECT", b"MEMORY"];
        let first = if containers.contains(&command.args[0].to_ascii_uppercase().as_slice()) { 2 } else { 1 };
        let count = command.args.len();
        let at = first + self.random.below(count.max(first + 1) - first);
        match self.random.below(4) {
            0 if count > first => drop(command.args.remove(at)),
            1 if count > first => command.args[at] = self.odd(),
            2 if count > first => command.args.insert(at, command.args[at].clone()),
            _ => command.args.push(self.odd()),
        }
    }

    pub fn odd(&mut self) -> Arg {
        self.random.pick(ODD).to_vec()
    }

    /// A key out of few, rarely a long one.
    pub fn key(&mut self) -> Arg {
        if self.random.chance(2) {
            return vec![b'L'; 200 + self.random.below(2)];
        }
        self.short_key()
    }

    fn short_key(&mut self) -> Arg {
        const KEYS: &[&[u8]] = &[
            b"a",
            b"b",
            b"c",
            b"d",
            b"e",
            b"f",
            b"key:1",
            b"key:2",
            b"k\x00\r\n",
            b"\xff\xfe",
            b"",
            b"Key:1",
            b"h[a]llo",
        ];
        self.random.pick(KEYS).to_vec()
    }

    /// A value: text, numbers, binary, empty, long.
    pub fn value(&mut self) -> Arg {
        match self.random.below(12) {
            0..4 => {
                self.random.pick(&["v", "foo", "bar", "foobar", "hello world", "mytext"]).as_bytes().to_vec()
            }
            4..6 => self.random.below(1000).to_string().into_bytes(),
            6 => (self.random.next() as i64).to_string().into_bytes(),
            7 => self.odd(),
            8 => self.bytes(60),
            9 => self.bytes(3000),
            10 => self
                .random
                .pick(&["0.1", "3.0e3", "-7.25", "5.0", "1000000000000000000000"])
                .as_bytes()
                .to_vec(),
            _ if self.random.chance(5) => vec![b'x'; 20_000],
            _ => b"ohmytext".to_vec(),
        }
    }

    fn bytes(&mut self, below: usize) -> Arg {
        let length = self.random.below(below);
        (0..length).map(|_| (self.random.next() >> 13) as u8).collect()
    }

    /// An integer argument of modest size, either sign.
    pub fn small(&mut self) -> Arg {
        let n = self.random.below(40) as i64 - 12;
        n.to_string().into_bytes()
    }

    /// Seconds to live: hours to days, and unlike any other of this sequence.
    pub fn ttl_s(&mut self) -> u64 {
        loop {
            let ttl = 1_000 * (1 + self.random.next() % 5_000);
            if !self.ttls_used.contains(&ttl) {
                self.ttls_used.push(ttl);
                return ttl;
            }
        }
    }

    /// A far moment in Unix seconds, unlike any other of this sequence.
    pub fn moment_s(&mut self) -> u64 {
        4_000_000_000 + self.ttl_s()
    }

    /// Options of SCAN after the cursor.
    fn scan_options(&mut self) -> Vec<Arg> {
        let mut options = Vec::new();
        if self.random.chance(40) {
            options.push(self.random.case("MATCH"));
            options.push(self.pattern());
        }
        if self.random.chance(50) {
            options.push(self.random.case("COUNT"));
            options.push((1 + self.random.below(20)).to_string().into_bytes());
        }
        if self.random.chance(30) {
            options.push(self.random.case("TYPE"));
            let kind = *self.random.pick(&["string", "STRING", "list", "hash", "nosuch"]);
            options.push(kind.as_bytes().to_vec());
        }
        if self.random.chance(8) {
            options.push(self.odd());
        }
        options
    }

    /// A glob pattern.
    pub fn pattern(&mut self) -> Arg {
        const PATTERNS: &[&[u8]] = &[
            b"*",
            b"a*",
            b"key:?",
            b"[ab]",
            b"[^a]",
            b"[a-c]",
            b"h\\[a\\]llo",
            b"k*\n",
            b"",
            b"**",
            b"?",
            b"[",
            b"\\",
            b"[a-",
            b"*:1",
            b"K*",
            b"[c-a]",
            b"*L",
            b"????????????????????",
            b"a[",
        ];
        self.random.pick(PATTERNS).to_vec()
    }

    /// A write that expires at once, or as soon as the script has waited.
    fn expiring(&mut self) -> Step {
        let key = self.key();
        let text = |s: &str| s.as_bytes().to_vec();
        let value = self.value();
        let args = match self.random.below(6) {
            0 => vec![text("SET"), key.clone(), value, text("PX"), text("1")],
            1 => vec![text("PSETEX"), key.clone(), text("2"), value],
            2 => vec![text("SET"), key.clone(), value, text("PXAT"), text("1000")],
            3 => vec![text("PEXPIRE"), key.clone(), text("1")],
            4 => vec![text("MSETEX"), text("1"), key.clone(), value, text("PX"), text("1")],
            _ => vec![text("GETEX"), key.clone(), text("PX"), text("1")],
        };
        Step::Expire { command: Command::new(args, Check::Exact), key }
    }

    /// Commands whose replies the client does not want.
    fn silent(&mut self) -> Step {
        let mute = |line: &str, answered| Command { answered, ..Command::words(line, Check::Exact) };
        let mut commands = Vec::new();
        if self.random.chance(50) {
            commands.push(mute("CLIENT REPLY OFF", false));
            for _ in 0..1 + self.random.below(3) {
                commands.push(Command { answered: false, ..self.write() });
            }
            commands.push(mute("CLIENT REPLY ON", true));
        } else {
            commands.push(mute("CLIENT REPLY SKIP", false));
            commands.push(Command { answered: false, ..self.write() });
        }
        commands.push(mute("PING", true));
        Step::Burst { commands, cut: 0 }
    }

    fn write(&mut self) -> Command {
        Command::new(vec![b"APPEND".to_vec(), self.key(), self.value()], Check::Exact)
    }

    /// SET and OBJECT ENCODING together: the encoding of a value that was written whole follows from the value.
    fn encoding(&mut self) -> Step {
        // A long key makes Valkey store even a short value apart from it.
        let (key, value) = (self.short_key(), self.value());
        // Between 20 and 200 bytes Valkey's choice of embstr or raw depends on its allocator's size classes and the key.
        let value = if (20..200).contains(&value.len()) { b"short".to_vec() } else { value };
        let words = |args: &[&[u8]]| Command::new(args.iter().map(|a| a.to_vec()).collect(), Check::Exact);
        let commands = vec![words(&[b"SET", &key, &value]), words(&[b"OBJECT", b"ENCODING", &key])];
        Step::Burst { commands, cut: 0 }
    }
}
