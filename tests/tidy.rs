//! The house rules that a compiler does not know: where `unsafe` and certain crates may be, how a file opens, how long it is.
//! All of them hold for the server; those that are not about its map hold for the benchmark as well.

use std::path::{Path, PathBuf};

/// The longest a source file may be, in lines.
const LONGEST_FILE: usize = 700;

/// Crates that exactly one part of the house touches.
const HOMES: &[(&str, &[&str])] = &[
    ("io_uring", &["ring/uring"]),
    ("tokio_uring", &["control"]),
    ("anstream", &["doctor"]),
    ("anstyle", &["doctor"]),
    ("axum", &["control"]),
    ("nix", &["sys", "ring"]),
    ("clap", &["config"]),
    ("clap_complete", &["config"]),
    ("clap_mangen", &["config"]),
    ("strsim", &["config"]),
    ("toml", &["config"]),
    ("httparse", &["proto/http"]),
    ("listenfd", &["sys"]),
    ("mlua", &["command/script"]),
    ("lru", &["server"]),
];

/// The only places whose code may be unsafe.
const UNSAFE_HOMES: &[&str] = &["ring/uring", "store/arena"];

/// The benchmark's sources, and its one place for unsafe code.
const BENCH: &str = "uring-bench/src";
const BENCH_UNSAFE_HOMES: &[&str] = &["lean"];

/// What the pure parts must not import.
const PURE: &[&str] = &["proto", "store", "observe", "command", "conn"];
const IMPURE: &[&str] = &["ring", "worker", "sys", "control", "server"];

struct Source {
    /// Below its root.
    path: String,
    text: String,
}

/// The server's.
fn sources() -> Vec<Source> {
    sources_below("src")
}

/// The server's and the benchmark's.
fn all_sources() -> impl Iterator<Item = Source> {
    sources().into_iter().chain(sources_below(BENCH))
}

fn sources_below(root: &str) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(root);
    let mut found = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("src can be read") {
            let path: PathBuf = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let name = path.strip_prefix(&root).expect("below src").to_string_lossy().into_owned();
                found.push(Source { path: name, text: std::fs::read_to_string(&path).expect("text") });
            }
        }
    }
    assert!(found.len() > 10, "the sources are somewhere else: {} files found", found.len());
    found
}

impl Source {
    fn is_in(&self, homes: &[&str]) -> bool {
        homes.iter().any(|home| {
            self.path == *home
                || self.path == format!("{home}.rs")
                || self.path.starts_with(&format!("{home}/"))
        })
    }

    /// Lines of code with their numbers: no comments, no tests at the file's end.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let tests = self.text.lines().position(|l| l.trim() == "#[cfg(test)]").unwrap_or(usize::MAX);
        self.text
            .lines()
            .enumerate()
            .take(tests)
            .map(|(i, line)| (i + 1, line.split("//").next().unwrap_or_default()))
            .filter(|(_, line)| !line.trim().is_empty())
    }
}

/// Whether the word stands in the line by itself, as code.
fn has_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let boundary = |c: Option<char>| !c.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '"');
        boundary(line[..at].chars().next_back()) && boundary(line[at + word.len()..].chars().next())
    })
}

/// Fails with all of the places at once.
fn assert_none(rule: &str, places: Vec<String>) {
    assert!(places.is_empty(), "{rule}:\n  {}", places.join("\n  "));
}

#[test]
fn files_open_with_their_purpose_and_stay_short() {
    let mut places = Vec::new();
    for source in all_sources() {
        if !source.text.starts_with("//!") {
            places.push(format!("{}: the first line is no `//!`", source.path));
        }
        let lines = source.text.lines().count();
        if lines > LONGEST_FILE {
            places.push(format!("{}: {lines} lines, the longest allowed is {LONGEST_FILE}", source.path));
        }
    }
    assert_none("a file opens with what it is for, and has one subject", places);
}

#[test]
fn unsafe_code_stays_at_home() {
    let mut places = Vec::new();
    for (root, homes) in [("src", UNSAFE_HOMES), (BENCH, BENCH_UNSAFE_HOMES)] {
        for source in sources_below(root).iter().filter(|s| !s.is_in(homes)) {
            for (number, line) in source.code().filter(|(_, line)| has_word(line, "unsafe")) {
                places.push(format!("{root}/{}:{number}: {}", source.path, line.trim()));
            }
        }
    }
    assert_none("unsafe code has few homes, so that a reviewer can read all of it", places);
}

#[test]
fn crates_stay_at_home() {
    let mut places = Vec::new();
    for source in sources() {
        for (krate, homes) in HOMES.iter().filter(|(_, homes)| !source.is_in(homes)) {
            let uses = |line: &str| {
                has_word(line, krate)
                    && (line.contains(&format!("{krate}::")) || line.contains(&format!("use {krate}")))
                    && !line.contains(&format!("::{krate}"))
            };
            for (number, line) in source.code().filter(|(_, line)| uses(line)) {
                places.push(format!("{}:{number}: {} (belongs in {homes:?})", source.path, line.trim()));
            }
        }
    }
    assert_none("each of these crates has one home", places);
}

#[test]
fn pure_parts_stay_pure() {
    let mut places = Vec::new();
    for source in sources().iter().filter(|s| s.is_in(PURE)) {
        for (number, line) in source.code() {
            let imports = IMPURE.iter().any(|part| line.contains(&format!("crate::{part}::")));
            let reads_a_clock = line.contains("Instant::now") || line.contains("SystemTime::now");
            if imports || reads_a_clock || line.contains("std::net") {
                places.push(format!("{}:{number}: {}", source.path, line.trim()));
            }
        }
    }
    assert_none(
        "protocols, commands, store, observer and connections know no sockets, no clock and nothing above them",
        places,
    );
}

#[test]
fn nothing_is_left_half_done() {
    let mut places = Vec::new();
    for source in all_sources() {
        for (number, line) in source.code() {
            for word in ["todo!", "dbg!", "unimplemented!"] {
                if line.contains(word) {
                    places.push(format!("{}:{number}: {}", source.path, line.trim()));
                }
            }
        }
    }
    assert_none("no stubs and no debugging aids", places);
}
