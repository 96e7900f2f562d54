//! Reading the small files of /proc and /sys. None of them failing to be there is an error.

use std::fs;
use std::path::{Path, PathBuf};

/// Files below a root.
#[derive(Clone, Debug)]
pub struct Files {
    root: PathBuf,
}

impl Files {
    pub fn below(root: &Path) -> Files {
        Files { root: root.to_path_buf() }
    }

    /// The whole text; bytes that are no UTF-8 are replaced.
    pub fn text(&self, path: &str) -> Option<String> {
        let bytes = fs::read(self.root.join(path)).ok()?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Its text without the white space around it; `None` if nothing else is there.
    pub fn line(&self, path: &str) -> Option<String> {
        let text = self.text(path)?;
        let text = text.trim();
        (!text.is_empty()).then(|| text.to_string())
    }

    pub fn number(&self, path: &str) -> Option<u64> {
        self.line(path)?.parse().ok()
    }

    /// The names in a folder, sorted.
    pub fn names(&self, folder: &str) -> Option<Vec<String>> {
        let entries = fs::read_dir(self.root.join(folder)).ok()?;
        let mut names: Vec<String> =
            entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        Some(names)
    }

    pub fn exists(&self, path: &str) -> bool {
        self.root.join(path).exists()
    }

    /// The last part of what a symbolic link points to.
    pub fn link_name(&self, path: &str) -> Option<String> {
        let target = fs::read_link(self.root.join(path)).ok()?;
        Some(target.file_name()?.to_string_lossy().into_owned())
    }

    /// The value behind `name` in a file of lines such as `MemTotal:  24684136 kB`.
    pub fn field(&self, path: &str, name: &str) -> Option<String> {
        let text = self.text(path)?;
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        Some(line.trim().to_string())
    }

    /// The bracketed word of a file such as `always [madvise] never`.
    pub fn chosen(&self, path: &str) -> Option<String> {
        let text = self.line(path)?;
        let (_, rest) = text.split_once('[')?;
        rest.split_once(']').map(|(word, _)| word.to_string())
    }

    /// Whether a process with this name runs: `None` where processes cannot be listed, or not those of others (ProtectProc=invisible).
    pub fn process_runs(&self, name: &str) -> Option<bool> {
        Some(!self.processes(name)?.is_empty())
    }

    /// The numbers of the processes with this name, but for this one.
    pub fn processes(&self, name: &str) -> Option<Vec<u32>> {
        let names = self.names("proc")?;
        names.iter().find(|name| *name == "1")?;
        let ids = names.iter().filter_map(|id| id.parse::<u32>().ok());
        let named = |id: &u32| self.line(&format!("proc/{id}/comm")).is_some_and(|comm| comm == name);
        Some(ids.filter(|id| *id != std::process::id()).filter(named).collect())
    }
}

/// How many are in a list of the kernel's, such as `0-3,8` (CPUs, NUMA nodes).
pub fn list_len(list: &str) -> Option<usize> {
    list.split(',').try_fold(0, |sum, part| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (usize, usize) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        last.checked_sub(first)?.checked_add(1)?.checked_add(sum)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_counted() {
        for (list, count) in [
            ("0", Some(1)),
            ("0-3", Some(4)),
            ("0-1,4,6-7", Some(5)),
            ("", None),
            ("a", None),
            ("3-1", None),
            ("0-18446744073709551615", None),
            ("1,1-18446744073709551615", None),
        ] {
            assert_eq!(list_len(list), count, "{list}");
        }
    }

    #[test]
    fn processes_are_named_where_all_can_be_seen() {
        let root = tempfile::tempdir().unwrap();
        let process = |id: &str, name: &str| {
            let folder = root.path().join("proc").join(id);
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join("comm"), format!("{name}\n")).unwrap();
        };
        let files = Files::below(root.path());
        assert_eq!(files.process_runs("irqbalance"), None);
        process("4000000", "irqbalance");
        assert_eq!(files.process_runs("irqbalance"), None, "the first process is hidden, so others may be");
        process("1", "systemd");
        assert_eq!(files.process_runs("irqbalance"), Some(true));
        assert_eq!(files.processes("irqbalance"), Some(vec![4_000_000]));
        assert_eq!(files.process_runs("kv-server"), Some(false));
    }

    #[test]
    fn what_is_not_there_is_none() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("thp"), "always defer [madvise] never\n").unwrap();
        fs::write(root.path().join("meminfo"), "MemFree: 7 kB\nMemTotal:       12 kB\n").unwrap();
        fs::write(root.path().join("empty"), "\n").unwrap();
        let files = Files::below(root.path());
        assert_eq!(files.chosen("thp").as_deref(), Some("madvise"));
        assert_eq!(files.field("meminfo", "MemTotal").as_deref(), Some("12 kB"));
        assert_eq!(files.line("empty"), None);
        assert_eq!(
            (files.line("nowhere"), files.names("nowhere"), files.link_name("thp")),
            (None, None, None)
        );
    }
}
