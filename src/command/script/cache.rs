//! The sources of scripts by their SHA-1, one collection for all workers, and what a script's first line says.

use super::shapes::{SHAPE_BYTES, Shape};
use crate::command::table::ErrorText;
use crate::limits::{SCRIPT_BYTES, SCRIPT_CACHE_BYTES, SCRIPTS_EVALUATED};
use parking_lot::RwLock;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A script's name: the SHA-1 of its source.
pub type Digest = [u8; 20];

/// A script as it came.
#[derive(Debug, PartialEq, Eq)]
pub struct Script {
    pub digest: Digest,
    /// What is compiled: without the line that names the engine, but with its line break, so that line numbers stay.
    pub source: Box<[u8]>,
    /// `flags=no-writes`.
    pub read_only: bool,
    /// What it does, if it is one of the few that need no Lua.
    shape: Option<Shape>,
}

impl Script {
    pub fn digest(source: &[u8]) -> Digest {
        sha1_smol::Sha1::from(source).digest().bytes()
    }

    /// Reads the first line, which may say `#!lua flags=a,b`.
    pub fn new(source: &[u8]) -> Result<Script, ErrorText> {
        if source.len() > SCRIPT_BYTES {
            return Err(format!("ERR the script is longer than {SCRIPT_BYTES} bytes").into());
        }
        let digest = Script::digest(source);
        if !source.starts_with(b"#!") {
            let shape = Shape::of(source, digest);
            return Ok(Script { digest, source: source.into(), read_only: false, shape });
        }
        let end = memchr::memchr(b'\n', source).ok_or("ERR Invalid script shebang")?;
        let line = String::from_utf8_lossy(&source[2..end]);
        let mut parts = line.split_ascii_whitespace();
        let engine = parts.next().unwrap_or_default();
        if !engine.eq_ignore_ascii_case("lua") {
            return Err(format!("ERR Could not find scripting engine '{engine}'").into());
        }
        let mut read_only = false;
        for option in parts {
            let Some(flags) = option.strip_prefix("flags=") else {
                return Err(format!("ERR Unknown lua shebang option: {option}").into());
            };
            for flag in flags.split(',').filter(|flag| !flag.is_empty()) {
                match flag {
                    "no-writes" => read_only = true,
                    // About replicas, clusters and full memory: nothing changes here.
                    "allow-oom" | "allow-stale" | "no-cluster" | "allow-cross-slot-keys" => {}
                    _ => return Err(format!("ERR Unexpected flag in script shebang: {flag}").into()),
                }
            }
        }
        Ok(Script { digest, source: source[end..].into(), read_only, shape: None })
    }

    /// Bytes that it takes in the cache.
    fn cost(&self) -> usize {
        let known = self.shape.map_or(0, |_| self.source.len() + 2 * size_of::<(Digest, Shape)>());
        self.source.len() + size_of::<Script>() + size_of::<Entry>() + known
    }
}

/// What a digest is in hexadecimal digits of any case.
pub fn parse_digest(hex: &[u8]) -> Option<Digest> {
    let mut digest = [0; 20];
    let (pairs, []) = hex.as_chunks::<2>() else { return None };
    if pairs.len() != digest.len() {
        return None;
    }
    for (byte, [high, low]) in digest.iter_mut().zip(pairs) {
        let digit = |c: u8| char::from(c).to_digit(16);
        *byte = u8::try_from(digit(*high)? * 16 + digit(*low)?).ok()?;
    }
    Some(digest)
}

/// A digest as text.
pub fn hex(digest: &Digest) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// All scripts of the server. Those that came by EVAL leave, the oldest first, when there are many.
#[derive(Debug, Default)]
pub struct ScriptCache {
    inner: RwLock<Inner>,
    /// Counts SCRIPT FLUSH: workers forget what they have compiled when it has changed.
    generation: AtomicU64,
    /// All scripts run in Lua, to compare with.
    #[cfg(test)]
    pub lua_only: std::sync::atomic::AtomicBool,
}

#[derive(Debug, Default)]
struct Inner {
    scripts: HashMap<Digest, Entry>,
    /// Those that came by EVAL, the oldest first; some may have gone, or been loaded since.
    evaluated: VecDeque<Digest>,
    /// Of those that need no Lua: what they do, by digest and by source.
    shapes: HashMap<Digest, Shape, ahash::RandomState>,
    sources: HashMap<Box<[u8]>, Shape, ahash::RandomState>,
    bytes: usize,
}

#[derive(Debug)]
struct Entry {
    script: Arc<Script>,
    /// It came by SCRIPT LOAD: it stays until SCRIPT FLUSH.
    loaded: bool,
}

impl ScriptCache {
    pub fn generation(&self) -> u64 {
        self.generation.load(Relaxed)
    }

    pub fn get(&self, digest: &Digest) -> Option<Arc<Script>> {
        self.inner.read().scripts.get(digest).map(|entry| Arc::clone(&entry.script))
    }

    /// What a script that is here does, if it needs no Lua.
    pub fn shape(&self, digest: &Digest) -> Option<Shape> {
        #[cfg(test)]
        if self.lua_only.load(Relaxed) {
            return None;
        }
        self.inner.read().shapes.get(digest).copied()
    }

    /// The same of a script that came whole: without its digest, which takes longer.
    pub fn shape_of_source(&self, source: &[u8]) -> Option<Shape> {
        if source.len() > SHAPE_BYTES {
            return None;
        }
        #[cfg(test)]
        if self.lua_only.load(Relaxed) {
            return None;
        }
        self.inner.read().sources.get(source).copied()
    }

    /// Keeps a script. False: there is no room for it among those that were loaded.
    pub fn insert(&self, script: &Arc<Script>, loaded: bool) -> bool {
        let mut inner = self.inner.write();
        if let Some(entry) = inner.scripts.get_mut(&script.digest) {
            entry.loaded |= loaded;
            return true;
        }
        let cost = script.cost();
        while inner.bytes + cost > SCRIPT_CACHE_BYTES
            || (!loaded && inner.evaluated.len() >= SCRIPTS_EVALUATED)
        {
            let Some(oldest) = inner.evaluated.pop_front() else { return false };
            if inner.scripts.get(&oldest).is_some_and(|entry| !entry.loaded) {
                inner.remove(&oldest);
            }
        }
        inner.bytes += cost;
        if let Some(shape) = script.shape {
            inner.shapes.insert(script.digest, shape);
            inner.sources.insert(script.source.clone(), shape);
        }
        inner.scripts.insert(script.digest, Entry { script: Arc::clone(script), loaded });
        if !loaded {
            inner.evaluated.push_back(script.digest);
        }
        true
    }

    /// SCRIPT FLUSH.
    pub fn flush(&self) {
        *self.inner.write() = Inner::default();
        self.generation.fetch_add(1, Relaxed);
    }

    /// How many there are, and the bytes that they take (INFO).
    pub fn size(&self) -> (usize, usize) {
        let inner = self.inner.read();
        (inner.scripts.len(), inner.bytes)
    }
}

impl Inner {
    fn remove(&mut self, digest: &Digest) {
        if let Some(entry) = self.scripts.remove(digest) {
            self.bytes -= entry.script.cost();
            self.shapes.remove(digest);
            self.sources.remove(&entry.script.source);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_is_read() {
        let script = Script::new(b"#!lua flags=no-writes,allow-oom\nreturn 1").unwrap();
        assert!(script.read_only);
        assert_eq!(*script.source, *b"\nreturn 1");
        assert!(!Script::new(b"return 1").unwrap().read_only);
        for (source, error) in [
            ("#!lua", "ERR Invalid script shebang"),
            ("#!python\n", "ERR Could not find scripting engine 'python'"),
            ("#!lua name=x\n", "ERR Unknown lua shebang option: name=x"),
            ("#!lua flags=x\n", "ERR Unexpected flag in script shebang: x"),
        ] {
            assert_eq!(Script::new(source.as_bytes()).unwrap_err(), error);
        }
        assert!(Script::new(&vec![b' '; SCRIPT_BYTES + 1]).is_err());
    }

    #[test]
    fn digests_are_those_of_redis() {
        let digest = Script::digest(b"return 7");
        assert_eq!(hex(&digest), "59b6ab2fbe0ee4b25733de0f62e6cda4899ef8e9");
        assert_eq!(parse_digest(b"59B6ab2fbe0ee4b25733de0f62e6cda4899ef8e9"), Some(digest));
        assert_eq!(parse_digest(b"59b6"), None);
        assert_eq!(parse_digest(&[b'x'; 40]), None);
        assert_eq!(parse_digest(&[b'0'; 41]), None);
    }

    #[test]
    fn what_was_evaluated_leaves_before_what_was_loaded() {
        let cache = ScriptCache::default();
        let script = |n: usize| Arc::new(Script::new(format!("return {n}").as_bytes()).unwrap());
        let kept = script(0);
        assert!(cache.insert(&kept, false) && cache.insert(&kept, true));
        for n in 1..2 * SCRIPTS_EVALUATED {
            assert!(cache.insert(&script(n), false));
        }
        assert_eq!(cache.size().0, SCRIPTS_EVALUATED + 1);
        assert!(cache.get(&kept.digest).is_some() && cache.get(&script(1).digest).is_none());
        let generation = cache.generation();
        cache.flush();
        assert_eq!((cache.size(), cache.generation()), ((0, 0), generation + 1));
    }

    #[test]
    fn loaded_scripts_are_bounded() {
        let cache = ScriptCache::default();
        let filled = (0..).take_while(|n| {
            let source = format!("--{n}{}", "x".repeat(SCRIPT_BYTES - 100));
            cache.insert(&Arc::new(Script::new(source.as_bytes()).unwrap()), true)
        });
        assert!((1..100).contains(&filled.count()));
        assert!(cache.size().1 <= SCRIPT_CACHE_BYTES);
    }
}
