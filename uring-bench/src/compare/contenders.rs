//! Who can be compared: servers that are known by name, and any command. Each becomes a command line with a port.

use super::process::free_port;
use crate::load::Error;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Names that need no command, in the order in which they are tried when none is asked for.
pub const KNOWN: [&str; 5] = ["ours", "valkey", "redis", "kevy", "memcached"];
/// The server without a store, under this name in tables.
pub const LIMIT: &str = "limit";

/// A server that can be started, over and over. `{port}` in its words stands for its port, `{free}` for another free one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contender {
    pub name: String,
    words: Vec<String>,
}

impl Contender {
    /// The command line for a start on `port`.
    pub fn command(&self, port: u16) -> Result<Vec<String>, Error> {
        let fill = |word: &String| {
            let mut word = word.replace("{port}", &port.to_string());
            while word.contains("{free}") {
                word = word.replacen("{free}", &free_port()?.to_string(), 1);
            }
            Ok(word)
        };
        self.words.iter().map(fill).collect()
    }

    fn new(name: &str, program: &Path, arguments: &str) -> Contender {
        let program = program.to_string_lossy().into_owned();
        let arguments = arguments.split_whitespace().map(|word| if word == "''" { "" } else { word });
        let words = std::iter::once(program).chain(arguments.map(str::to_owned)).collect();
        Contender { name: name.into(), words }
    }

    /// This program's own server without a store, whose values have `value_size` bytes.
    pub fn limit(value_size: usize) -> Result<Contender, Error> {
        let arguments = format!("null-server --port {{port}} --value-size {value_size}");
        Ok(Contender::new(LIMIT, &std::env::current_exe()?, &arguments))
    }
}

impl FromStr for Contender {
    type Err = String;

    /// `name=command with {port}`; words are split at spaces.
    fn from_str(text: &str) -> Result<Contender, String> {
        let wrong = || format!("{text}: expected is 'name=command with {{port}}'");
        let (name, command) = text.split_once('=').ok_or_else(wrong)?;
        let (name, mut words) = (name.trim(), command.split_whitespace());
        let program = words.next().ok_or_else(wrong)?;
        if name.is_empty() || !command.contains("{port}") {
            return Err(wrong());
        }
        Ok(Contender::new(name, Path::new(program), &words.collect::<Vec<_>>().join(" ")))
    }
}

/// Where to look for known servers.
#[derive(Clone, Debug, Default)]
pub struct Places {
    pub ours: Option<PathBuf>,
    pub valkey: Option<PathBuf>,
    /// Threads of a contender that lets us choose.
    pub threads: usize,
    /// Bytes that ours may use.
    pub memory: u64,
}

impl Places {
    /// The server of this name, or why there is none.
    pub fn find(&self, name: &str) -> Result<Contender, String> {
        match name {
            "ours" => {
                let program = self.ours.clone().or_else(|| beside_us("kv-server")).ok_or(
                    "there is no kv-server beside this program: build it (cargo build --release), or name it with --ours PATH",
                )?;
                let arguments = format!(
                    "--port {{port}} --admin-port 0 --bind 127.0.0.1 --threads {} --max-memory {} --max-clients 20000",
                    self.threads, self.memory
                );
                Ok(Contender::new(name, &program, &arguments))
            }
            "valkey" => {
                let named =
                    self.valkey.clone().or_else(|| std::env::var_os("KV_VALKEY_SERVER").map(PathBuf::from));
                let cached = || Some(PathBuf::from(".ci/cache/valkey-server")).filter(|path| path.exists());
                let program = named.or_else(|| in_path("valkey-server")).or_else(cached).ok_or(
                    "there is no valkey-server in PATH: install it, or name it with --valkey PATH or KV_VALKEY_SERVER",
                )?;
                Ok(Contender::new(name, &program, REDIS_ARGUMENTS))
            }
            "redis" => {
                let program = in_path("redis-server").ok_or("there is no redis-server in PATH")?;
                Ok(Contender::new(name, &program, REDIS_ARGUMENTS))
            }
            "kevy" => {
                let next = "there is no kevy in PATH: cargo install kevy --version 7.0.0 --ignore-rust-version --locked";
                let program = in_path("kevy").ok_or(next)?;
                let arguments =
                    format!("--bind 127.0.0.1 --port {{port}} --threads {} --no-aof", self.threads);
                Ok(Contender::new(name, &program, &arguments))
            }
            "memcached" => Err("it does not speak RESP, and this program not yet its protocol".into()),
            _ => Err(format!(
                "known are {}; others are given as --contender 'name=command with {{port}}'",
                KNOWN.join(", ")
            )),
        }
    }
}

/// Nothing is saved; more clients than the usual ten thousand.
const REDIS_ARGUMENTS: &str = "--port {port} --bind 127.0.0.1 --save '' --appendonly no --maxclients 20000";

fn beside_us(name: &str) -> Option<PathBuf> {
    let program = std::env::current_exe().ok()?.with_file_name(name);
    program.exists().then_some(program)
}

fn in_path(name: &str) -> Option<PathBuf> {
    let folders = std::env::var_os("PATH")?;
    std::env::split_paths(&folders).map(|folder| folder.join(name)).find(|program| program.is_file())
}

/// The contenders of a run, and those left out, each with why. The first is the one whose ratios are taken.
///
/// `asked` names them; none: all that are known and here. `free` are given as commands: they take their place where they are
/// asked for, else they come last. A name that is asked for twice stands twice, to see the noise.
pub fn choose(
    asked: &[String],
    free: &[Contender],
    places: &Places,
) -> Result<(Vec<Contender>, Vec<String>), Error> {
    let (mut chosen, mut skipped) = (Vec::<Contender>::new(), Vec::new());
    let names: Vec<&str> =
        if asked.is_empty() { KNOWN.to_vec() } else { asked.iter().map(String::as_str).collect() };
    for name in names {
        let given = free.iter().find(|contender| contender.name == name).cloned();
        match given.map_or_else(|| places.find(name), Ok) {
            Ok(contender) => chosen.push(contender),
            Err(why) if asked.is_empty() && name != "ours" => {
                skipped.push(format!("skipped: {name} – {why}"))
            }
            Err(why) => return Err(Error::new(format!("{name}: {why}"))),
        }
    }
    for contender in free {
        if !chosen.iter().any(|other| other.name == contender.name) {
            chosen.push(contender.clone());
        }
    }
    number_namesakes(&mut chosen);
    Ok((chosen, skipped))
}

/// "valkey, valkey" becomes "valkey, valkey-2".
fn number_namesakes(contenders: &mut [Contender]) {
    for at in (0..contenders.len()).rev() {
        let before = contenders[..at].iter().filter(|other| other.name == contenders[at].name).count();
        if before > 0 {
            contenders[at].name += &format!("-{}", before + 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places() -> Places {
        Places {
            ours: Some("/x/kv-server".into()),
            valkey: Some("/x/valkey".into()),
            threads: 1,
            memory: 1 << 30,
        }
    }

    #[test]
    fn commands_get_their_ports() {
        let contender: Contender = "old=/tmp/kv --port {port} --admin {free} --other {free}".parse().unwrap();
        let words = contender.command(4711).unwrap();
        assert_eq!((words[0].as_str(), words[2].as_str()), ("/tmp/kv", "4711"));
        assert!(words[4].parse::<u16>().unwrap() > 0 && words[4] != words[6]);
        for text in ["old", "old=", "=x {port}", "old=/tmp/kv --port 7171"] {
            assert!(text.parse::<Contender>().unwrap_err().contains("{port}"), "{text}");
        }
        let valkey = places().find("valkey").unwrap().command(1).unwrap();
        assert!(valkey.windows(2).any(|pair| pair == ["--save", ""]), "{valkey:?}");
    }

    #[test]
    fn the_asked_stand_in_their_order_and_namesakes_are_numbered() {
        let free: Contender = "old=/tmp/kv {port}".parse().unwrap();
        let names = |asked: &[&str]| {
            let asked: Vec<String> = asked.iter().map(|name| (*name).to_owned()).collect();
            let (chosen, _) = choose(&asked, std::slice::from_ref(&free), &places()).unwrap();
            chosen.into_iter().map(|contender| contender.name).collect::<Vec<_>>()
        };
        assert_eq!(names(&["ours", "valkey"]), ["ours", "valkey", "old"]);
        assert_eq!(names(&["old", "ours"]), ["old", "ours"]);
        assert_eq!(names(&["valkey", "valkey", "valkey"]), ["valkey", "valkey-2", "valkey-3", "old"]);
    }

    #[test]
    fn who_is_asked_for_must_be_there() {
        let error = choose(&["garnet".into()], &[], &places()).unwrap_err();
        assert!(error.to_string().contains("--contender"), "{error}");
        let (chosen, skipped) = choose(&[], &[], &places()).unwrap();
        assert_eq!(chosen[0].name, "ours");
        assert!(skipped.iter().any(|line| line.starts_with("skipped: memcached")), "{skipped:?}");
    }
}
