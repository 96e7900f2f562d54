//! Who can be compared: servers that are known by name, and any command. Each becomes a command line with a port, and is spoken to
//! in a protocol of its own.

use super::process::free_port;
use crate::load::Error;
use crate::proto::Protocol;
use clap::ValueEnum;
use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use tempfile::TempDir;

/// Names that need no command, in the order in which they are tried when none is asked for.
pub const TRIED: [&str; 5] = ["ours", "valkey", "redis", "kevy", "memcached"];
/// Names that need no command, for messages.
const KNOWN: &str =
    "ours, valkey, redis, kevy, memcached, nginx, and ours-http, ours-memcached, ours-protobuf, ours-json";
/// The server without a store, under this name in tables.
pub const LIMIT: &str = "limit";

/// A server that can be started, over and over. `{port}` in its words stands for its port, `{free}` for another free one, `{folder}`
/// for a folder of its own, `{value}` for a value of the load's size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contender {
    pub name: String,
    pub protocol: Protocol,
    /// It answers RESP's INFO on the same port, whatever else it speaks.
    pub has_info: bool,
    /// Keeps what is written. One that does not says the same to every read.
    pub stores: bool,
    words: Vec<String>,
    /// Text of a file in its folder, under this name.
    file: Option<(&'static str, String)>,
}

/// A command line, and what it needs while its process runs.
#[derive(Debug)]
pub struct Launch {
    pub words: Vec<String>,
    _folder: Option<TempDir>,
}

impl Contender {
    /// The command line for a start on `port`, with values of about `value_size` bytes.
    pub fn launch(&self, port: u16, value_size: usize) -> Result<Launch, Error> {
        let folder = self.file.is_some().then(TempDir::new).transpose()?;
        let place = folder.as_ref().map_or(String::new(), |folder| folder.path().display().to_string());
        let fill = |text: &str| {
            let mut text = text.replace("{port}", &port.to_string()).replace("{folder}", &place);
            while text.contains("{free}") {
                text = text.replacen("{free}", &free_port()?.to_string(), 1);
            }
            Ok::<String, Error>(text)
        };
        if let (Some((name, text)), Some(folder)) = (&self.file, &folder) {
            if text.contains("{value}") && value_size > nginx::LONGEST_VALUE {
                let most = nginx::LONGEST_VALUE;
                return Err(Error::new(format!(
                    "{}: its configuration holds values of {most} bytes at most",
                    self.name
                )));
            }
            let text = fill(text)?.replace("{value}", &"v".repeat(value_size));
            fs::write(folder.path().join(name), text)?;
        }
        let words = self.words.iter().map(|word| fill(word)).collect::<Result<_, _>>()?;
        Ok(Launch { words, _folder: folder })
    }

    fn new(name: &str, protocol: Protocol, program: &Path, arguments: &str) -> Contender {
        let program = program.to_string_lossy().into_owned();
        let arguments = arguments.split_whitespace().map(|word| if word == "''" { "" } else { word });
        let words = std::iter::once(program).chain(arguments.map(str::to_owned)).collect();
        let has_info = protocol == Protocol::Resp;
        Contender { name: name.into(), protocol, has_info, stores: true, words, file: None }
    }

    /// This program's own server without a store, whose values have `value_size` bytes.
    pub fn limit(value_size: usize) -> Result<Contender, Error> {
        let arguments = format!("null-server --port {{port}} --value-size {value_size}");
        let contender = Contender::new(LIMIT, Protocol::Resp, &std::env::current_exe()?, &arguments);
        Ok(Contender { stores: false, ..contender })
    }
}

/// A web server that answers from its configuration: what HTTP itself costs a good server.
mod nginx {
    /// A word of its configuration has 4,096 bytes at most.
    pub const LONGEST_VALUE: usize = 4000;

    pub const ARGUMENTS: &str = "-e stderr -p {folder} -c {folder}/nginx.conf";

    /// One process, which is both master and worker, so that its processor time is all there is. No file is read, none is written.
    pub const CONFIG: &str = "\
daemon off;
master_process off;
worker_processes 1;
worker_rlimit_nofile 30000;
pid {folder}/nginx.pid;
error_log stderr;
events { worker_connections 20000; }
http {
    access_log off;
    default_type application/octet-stream;
    keepalive_requests 1000000000;
    keepalive_timeout 1h;
    client_max_body_size 0;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {
        listen 127.0.0.1:{port};
        if ($request_method = PUT) { return 204; }
        return 200 \"{value}\";
    }
}
";
}

impl FromStr for Contender {
    type Err = String;

    /// `name=command with {port}`, or `name:protocol=…`; words are split at spaces.
    fn from_str(text: &str) -> Result<Contender, String> {
        let wrong = || format!("{text}: expected is 'name=command with {{port}}', or 'name:protocol=…'");
        let (name, command) = text.split_once('=').ok_or_else(wrong)?;
        let (name, protocol) = name.split_once(':').unwrap_or((name, "resp"));
        let protocol = Protocol::from_str(protocol.trim(), true).map_err(|_| wrong())?;
        let (name, mut words) = (name.trim(), command.split_whitespace());
        let program = words.next().ok_or_else(wrong)?;
        if name.is_empty() || !command.contains("{port}") {
            return Err(wrong());
        }
        Ok(Contender::new(name, protocol, Path::new(program), &words.collect::<Vec<_>>().join(" ")))
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
        let resp = |program: &Path, arguments: &str| Contender::new(name, Protocol::Resp, program, arguments);
        match name {
            "ours" => self.ours(name, Protocol::Resp),
            "valkey" => {
                let named =
                    self.valkey.clone().or_else(|| std::env::var_os("KV_VALKEY_SERVER").map(PathBuf::from));
                let cached = || Some(PathBuf::from(".ci/cache/valkey-server")).filter(|path| path.exists());
                let program = named.or_else(|| in_path("valkey-server")).or_else(cached).ok_or(
                    "there is no valkey-server in PATH: install it, or name it with --valkey PATH or KV_VALKEY_SERVER",
                )?;
                Ok(resp(&program, REDIS_ARGUMENTS))
            }
            "redis" => {
                let program = in_path("redis-server").ok_or("there is no redis-server in PATH")?;
                Ok(resp(&program, REDIS_ARGUMENTS))
            }
            "kevy" => {
                let next = "there is no kevy in PATH: cargo install kevy --version 7.0.0 --ignore-rust-version --locked";
                let program = in_path("kevy").ok_or(next)?;
                let arguments =
                    format!("--bind 127.0.0.1 --port {{port}} --threads {} --no-aof", self.threads);
                Ok(resp(&program, &arguments))
            }
            "memcached" => self.memcached(),
            "nginx" => {
                let missing = "there is no nginx in PATH: install it (nginx-light is enough)";
                let program = in_path("nginx").ok_or(missing)?;
                let contender = Contender::new(name, Protocol::Http, &program, nginx::ARGUMENTS);
                Ok(Contender { stores: false, file: Some(("nginx.conf", nginx::CONFIG.into())), ..contender })
            }
            _ => {
                let protocol = name.strip_prefix("ours-").map(|protocol| Protocol::from_str(protocol, true));
                match protocol {
                    Some(Ok(protocol)) => self.ours(name, protocol),
                    _ => Err(format!(
                        "known are {KNOWN}; others are given as --contender 'name=command with {{port}}'"
                    )),
                }
            }
        }
    }

    fn ours(&self, name: &str, protocol: Protocol) -> Result<Contender, String> {
        let program = self.ours.clone().or_else(|| beside_us("kv-server")).ok_or(
            "there is no kv-server beside this program: build it (cargo build --release), or name it with --ours PATH",
        )?;
        let arguments = format!(
            "--port {{port}} --admin-port 0 --bind 127.0.0.1 --threads {} --max-memory {} --max-clients 20000",
            self.threads, self.memory
        );
        Ok(Contender { has_info: true, ..Contender::new(name, protocol, &program, &arguments) })
    }

    fn memcached(&self) -> Result<Contender, String> {
        let program = in_path("memcached").ok_or("there is no memcached in PATH: install it")?;
        // It runs as root only when told to; as anybody else it does not look at -u.
        let arguments = format!(
            "-p {{port}} -l 127.0.0.1 -U 0 -u root -t {} -m {} -c 20000",
            self.threads,
            self.memory >> 20
        );
        Ok(Contender::new("memcached", Protocol::Memcached, &program, &arguments))
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
        if asked.is_empty() { TRIED.to_vec() } else { asked.iter().map(String::as_str).collect() };
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
        let words = contender.launch(4711, 64).unwrap().words;
        assert_eq!((words[0].as_str(), words[2].as_str()), ("/tmp/kv", "4711"));
        assert!(words[4].parse::<u16>().unwrap() > 0 && words[4] != words[6]);
        for text in ["old", "old=", "=x {port}", "old=/tmp/kv --port 7171"] {
            assert!(text.parse::<Contender>().unwrap_err().contains("{port}"), "{text}");
        }
        let valkey = places().find("valkey").unwrap().launch(1, 64).unwrap().words;
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
        for name in TRIED {
            let here = chosen.iter().any(|contender| contender.name == name);
            let left_out = skipped.iter().any(|line| line.starts_with(&format!("skipped: {name} – ")));
            assert!(here != left_out, "{name}: {skipped:?}");
        }
    }

    #[test]
    fn each_is_spoken_to_in_its_protocol() {
        for (name, protocol) in [
            ("ours", Protocol::Resp),
            ("ours-http", Protocol::Http),
            ("ours-memcached", Protocol::Memcached),
            ("ours-protobuf", Protocol::Protobuf),
            ("ours-json", Protocol::Json),
        ] {
            let contender = places().find(name).unwrap();
            assert_eq!((contender.protocol, contender.has_info), (protocol, true), "{name}");
        }
        assert!(places().find("ours-gopher").unwrap_err().contains("known are ours"));
        let contender: Contender = "other:memcached=/tmp/kv {port}".parse().unwrap();
        assert_eq!((&contender.name[..], contender.protocol), ("other", Protocol::Memcached));
        assert!("other:gopher=/tmp/kv {port}".parse::<Contender>().is_err());
    }

    #[test]
    fn a_configuration_lies_in_a_folder_that_ends_with_its_process() {
        let file = Some(("its.conf", "listen {port}; say {value}; keep {folder}/x;".to_owned()));
        let own: Contender = "web:http=/x/web -c {folder}/its.conf -p {port}".parse().unwrap();
        let own = Contender { file, ..own };
        let launch = own.launch(4711, 3).unwrap();
        let path = PathBuf::from(&launch.words[2]);
        let text = fs::read_to_string(&path).unwrap();
        let folder = path.parent().unwrap().display().to_string();
        assert_eq!(text, format!("listen 4711; say vvv; keep {folder}/x;"));
        drop(launch);
        assert!(!path.exists());
        assert!(own.launch(4711, nginx::LONGEST_VALUE + 1).is_err());
    }
}
