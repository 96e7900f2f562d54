//! What is played: steps, how their replies are compared, and how they look when a difference is reported.

use crate::support::encode;
use std::fmt;

/// One argument.
pub type Arg = Vec<u8>;

/// How two replies are compared. Errors are compared byte for byte in every case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// Byte for byte.
    Exact,
    /// An array whose order is the server's own affair.
    Unordered,
    /// Seconds that pass or a moment set relative to the server's clock: equal but for the time the script has taken.
    Seconds,
    /// The same in milliseconds.
    Milliseconds,
    /// Only the kind of reply must agree: an identity, a clock, a measure of the server's own memory.
    Kind,
    /// HELLO's greeting: name, version and id are each server's own, all else is compared.
    Greeting,
    /// COMMAND INFO: name, arity and key positions.
    CommandInfo,
}

/// One command and how to compare what it answers.
#[derive(Clone)]
pub struct Command {
    pub args: Vec<Arg>,
    pub check: Check,
    /// Sent as a line of words instead of an array.
    pub inline: bool,
    /// Whether a reply comes at all (CLIENT REPLY OFF and SKIP suppress it).
    pub answered: bool,
}

impl Command {
    pub fn new(args: Vec<Arg>, check: Check) -> Command {
        Command { args, check, inline: false, answered: true }
    }

    /// From words.
    pub fn words(line: &str, check: Check) -> Command {
        Command::new(line.split(' ').map(|w| w.as_bytes().to_vec()).collect(), check)
    }

    /// Whether the command can be sent as a line: no argument is empty or needs quotes.
    pub fn fits_a_line(&self) -> bool {
        let plain = |b: &u8| b.is_ascii_alphanumeric() || b"._:-".contains(b);
        self.args.iter().all(|a| !a.is_empty() && a.iter().all(plain))
            && self.args[0][0].is_ascii_alphabetic()
    }

    pub fn encode(&self) -> Vec<u8> {
        if !self.inline {
            return encode(&self.args);
        }
        let mut line = self.args.join(&b' ');
        line.extend_from_slice(b"\r\n");
        line
    }
}

/// A step of a sequence. Shrinking removes whole steps, so each makes sense alone.
#[derive(Clone)]
pub enum Step {
    /// Commands sent together, cut into pieces as `cut` says (0: in one piece).
    Burst { commands: Vec<Command>, cut: u64 },
    /// A whole SCAN: the union of all that was returned is compared.
    Scan { options: Vec<Arg> },
    /// RANDOMKEY: whether there is one must agree, and what it names must exist.
    RandomKey,
    /// A write whose key is to be expired by the time this step ends.
    Expire { command: Command, key: Arg },
    /// A last command, after which the server closes the connection.
    Farewell(Command),
}

impl Step {
    pub fn one(command: Command) -> Step {
        Step::Burst { commands: vec![command], cut: 0 }
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, arg) in self.args.iter().enumerate() {
            let shown = &arg[..arg.len().min(80)];
            let rest =
                if shown.len() < arg.len() { format!("…({} bytes)", arg.len()) } else { String::new() };
            write!(f, "{}\"{}\"{rest}", if i == 0 { "" } else { " " }, shown.escape_ascii())?;
        }
        let notes = [(self.inline, "inline"), (!self.answered, "no reply")];
        for (_, note) in notes.iter().filter(|(set, _)| *set) {
            write!(f, "  ({note})")?;
        }
        Ok(())
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Burst { commands, cut } => {
                for command in commands {
                    writeln!(f, "  {command}")?;
                }
                if *cut != 0 && commands.len() > 1 {
                    writeln!(f, "  (the {} together, cut at random)", commands.len())?;
                }
                Ok(())
            }
            Step::Scan { options } => {
                writeln!(f, "  {}", Command::new(scan_args(b"0", options), Check::Exact))
            }
            Step::RandomKey => writeln!(f, "  \"RANDOMKEY\""),
            Step::Expire { command, .. } => writeln!(f, "  {command}  (and wait for its expiry)"),
            Step::Farewell(command) => writeln!(f, "  {command}  (and expect a close)"),
        }
    }
}

/// SCAN with a cursor and options.
pub fn scan_args(cursor: &[u8], options: &[Arg]) -> Vec<Arg> {
    let mut args = vec![b"SCAN".to_vec(), cursor.to_vec()];
    args.extend_from_slice(options);
    args
}
