//! What can be chosen about a server's ring, as plain data: one field per line of the question "what did each choice buy?".
//!
//! A text form serves the command line: `key=value` pairs with commas between, each changing one field of the default,
//! or the word `epoll`. `Display` gives all fields back in that form.

use std::fmt;
use std::str::FromStr;

/// Who does the input and output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    Uring,
    /// Readiness and system calls: the reference that the ring is measured against.
    Epoll,
}

/// The ring's set-up flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setup {
    /// None: completions interrupt the thread wherever it is.
    Plain,
    /// `COOP_TASKRUN` (5.19): they wait for its next system call.
    Coop,
    /// `SINGLE_ISSUER | DEFER_TASKRUN` (6.1): they wait until it asks for them.
    Defer,
}

/// How bytes are received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Receive {
    /// One submission per receive, into the connection's own buffer.
    Single,
    /// One submission per connection; the kernel picks a buffer of the ring (6.0).
    Multishot,
    /// The same, and one completion may fill several buffers (6.10).
    Bundle,
}

/// How replies are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendBy {
    /// One send per connection and turn, its replies copied one behind the other.
    Plain,
    /// Two linked sends per reply, header and value, nothing copied.
    Linked,
    /// One `sendmsg` per connection and turn; its vector points to headers and values, nothing copied.
    Vectored,
    /// `SEND_ZC` (6.0): the kernel may read the bytes until a second completion says otherwise.
    ZeroCopy,
    /// `WRITE_FIXED` from a registered buffer.
    WriteFixed,
}

/// One design of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choices {
    pub engine: Engine,
    pub setup: Setup,
    pub receive: Receive,
    /// Connections live in the ring's own table instead of the process's (5.19).
    pub direct: bool,
    /// One output buffer for all connections of a turn instead of one for each. With `Plain` only: it needs sends that end
    /// while they are submitted (`MSG_WAITALL | MSG_DONTWAIT`).
    pub arena: bool,
    /// With the arena: bytes of replies that are submitted in the middle of a turn, so that they are still in the processor's
    /// cache when the kernel copies them.
    pub flush: u32,
    /// No completion for a send that went out whole (5.17). With `Plain` only, for the same reason.
    pub skip: bool,
    pub send: SendBy,
    /// Receive buffers of the ring: a power of two, and bytes of each.
    pub buffers: u16,
    pub buffer_size: u32,
    /// A buffer is filled by several receives, one behind the other (6.12).
    pub incremental: bool,
    /// How long a turn looks for completions before it blocks; 0: not at all.
    pub spin_us: u32,
}

impl Default for Choices {
    /// The best known: what a server without a store can reach.
    fn default() -> Self {
        Choices {
            engine: Engine::Uring,
            setup: Setup::Defer,
            receive: Receive::Multishot,
            direct: true,
            arena: true,
            flush: 256 << 10,
            skip: true,
            send: SendBy::Plain,
            buffers: 64,
            buffer_size: 16 << 10,
            incremental: false,
            spin_us: 50,
        }
    }
}

impl Choices {
    /// Why these do not go together, and what to change.
    pub fn check(&self) -> Result<(), String> {
        if self.engine == Engine::Epoll {
            return Ok(());
        }
        if self.send != SendBy::Plain && (self.arena || self.skip) {
            return Err(format!(
                "send={} reads its memory until a completion says that it is done: add arena=no,skip=no",
                self.send
            ));
        }
        if !self.buffers.is_power_of_two() || self.buffers > 1 << 15 {
            return Err(format!("{} receive buffers: a power of two up to 32768 is needed", self.buffers));
        }
        if !(512..=1 << 20).contains(&self.buffer_size) {
            return Err(format!("receive buffers of {} bytes: 512 to 1m are possible", self.buffer_size));
        }
        if self.incremental && self.receive != Receive::Multishot {
            return Err(
                "incremental=yes fills ring buffers piece by piece: it goes with receive=multishot".into()
            );
        }
        Ok(())
    }
}

impl FromStr for Choices {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut choices = Choices::default();
        for pair in text.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
            choices.set(pair)?;
        }
        choices.check()?;
        Ok(choices)
    }
}

impl Choices {
    fn set(&mut self, pair: &str) -> Result<(), String> {
        let Some((key, value)) = pair.split_once('=') else {
            self.engine =
                word(pair, "epoll or key=value", &[("epoll", Engine::Epoll), ("uring", Engine::Uring)])?;
            return Ok(());
        };
        match key {
            "setup" => self.setup = word(value, key, &SETUPS)?,
            "receive" => self.receive = word(value, key, &RECEIVES)?,
            "send" => {
                self.send = word(value, key, &SENDS)?;
                // What only plain sends can have goes with them, unless it is asked for behind this.
                self.arena &= self.send == SendBy::Plain;
                self.skip &= self.send == SendBy::Plain;
            }
            "direct" => self.direct = word(value, key, &YES_NO)?,
            "arena" => self.arena = word(value, key, &YES_NO)?,
            "skip" => self.skip = word(value, key, &YES_NO)?,
            "incremental" => self.incremental = word(value, key, &YES_NO)?,
            "flush" => {
                self.flush =
                    size(value).ok_or_else(|| format!("flush={value}: bytes are expected, as in 256k"))?
            }
            "buffers" => (self.buffers, self.buffer_size) = buffers(value)?,
            "spin" => {
                self.spin_us =
                    value.parse().map_err(|_| format!("spin={value}: microseconds are expected"))?
            }
            _ => {
                return Err(format!(
                    "unknown choice {key}; there are setup, receive, direct, arena, flush, skip, send, buffers, incremental, spin"
                ));
            }
        }
        Ok(())
    }
}

const SETUPS: [(&str, Setup); 3] = [("none", Setup::Plain), ("coop", Setup::Coop), ("defer", Setup::Defer)];
const RECEIVES: [(&str, Receive); 3] =
    [("single", Receive::Single), ("multishot", Receive::Multishot), ("bundle", Receive::Bundle)];
const SENDS: [(&str, SendBy); 5] = [
    ("plain", SendBy::Plain),
    ("linked", SendBy::Linked),
    ("vectored", SendBy::Vectored),
    ("zerocopy", SendBy::ZeroCopy),
    ("writefixed", SendBy::WriteFixed),
];
const YES_NO: [(&str, bool); 2] = [("yes", true), ("no", false)];

fn word<T: Copy>(text: &str, key: &str, words: &[(&str, T)]) -> Result<T, String> {
    words.iter().find(|(name, _)| *name == text).map(|(_, value)| *value).ok_or_else(|| {
        let known: Vec<&str> = words.iter().map(|(name, _)| *name).collect();
        format!("{key}: {text} is none of {}", known.join(", "))
    })
}

fn name<T: PartialEq>(value: &T, words: &[(&'static str, T)]) -> &'static str {
    words.iter().find(|(_, known)| known == value).map_or("", |(name, _)| name)
}

/// `64x16k`: how many, and bytes of each.
fn buffers(text: &str) -> Result<(u16, u32), String> {
    let wrong = || format!("buffers={text}: a count and a size are expected, as in 64x16k");
    let (count, size) = text.split_once('x').ok_or_else(wrong)?;
    Ok((count.parse().map_err(|_| wrong())?, self::size(size).ok_or_else(wrong)?))
}

/// Bytes: `1500`, `16k`, `4m`.
fn size(text: &str) -> Option<u32> {
    let (digits, unit) = match text.as_bytes().last()? {
        b'k' => (&text[..text.len() - 1], 1 << 10),
        b'm' => (&text[..text.len() - 1], 1 << 20),
        _ => (text, 1),
    };
    digits.parse::<u32>().ok()?.checked_mul(unit)
}

/// The inverse.
fn size_text(bytes: u32) -> String {
    match bytes {
        0 => "0".into(),
        bytes if bytes % (1 << 20) == 0 => format!("{}m", bytes >> 20),
        bytes if bytes % (1 << 10) == 0 => format!("{}k", bytes >> 10),
        bytes => bytes.to_string(),
    }
}

impl fmt::Display for SendBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(name(self, &SENDS))
    }
}

impl fmt::Display for Choices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.engine == Engine::Epoll {
            return write!(f, "epoll,spin={}", self.spin_us);
        }
        write!(
            f,
            "setup={},receive={},direct={},send={},arena={},flush={},skip={},buffers={}x{},incremental={},spin={}",
            name(&self.setup, &SETUPS),
            name(&self.receive, &RECEIVES),
            name(&self.direct, &YES_NO),
            self.send,
            name(&self.arena, &YES_NO),
            size_text(self.flush),
            name(&self.skip, &YES_NO),
            self.buffers,
            size_text(self.buffer_size),
            name(&self.incremental, &YES_NO),
            self.spin_us
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_form_survives_the_round_trip() {
        let texts = [
            "",
            "epoll",
            "setup=coop,receive=single,direct=no,send=linked,spin=0",
            "send=vectored,buffers=1024x1500",
            "arena=no,skip=no,incremental=yes",
            "flush=0",
            "flush=100000,buffers=4x1m",
        ];
        for text in texts {
            let choices: Choices = text.parse().unwrap();
            assert_eq!(choices.to_string().parse(), Ok(choices), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_is_refused_with_what_to_change() {
        for (text, hint) in [
            ("send=linked,skip=yes", "arena=no,skip=no"),
            ("send=quick", "plain, linked, vectored, zerocopy, writefixed"),
            ("buffers=100x16k", "power of two"),
            ("buffers=64", "64x16k"),
            ("buffers=64x4", "512"),
            ("colour=red", "setup, receive"),
            ("flush=4g", "256k"),
            ("kqueue", "epoll"),
            ("receive=bundle,incremental=yes", "receive=multishot"),
        ] {
            let error = text.parse::<Choices>().unwrap_err();
            assert!(error.contains(hint), "{text}: {error}");
        }
    }
}
