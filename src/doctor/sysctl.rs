//! The kernel settings of sysctl/90-kv-cache.conf, with what the file says of each: what is installed and what is checked are one.
//!
//! The file is blocks between blank lines: `# why` in some lines, one `# Source: …`, one `key = value`. A hyphen before the key lets
//! sysctl go on where the kernel lacks it (sysctl.d(5)). A block without a setting is about the file.

use std::sync::LazyLock;

/// The file as it is installed.
pub const FILE: &str = include_str!("../../sysctl/90-kv-cache.conf");

/// One setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    pub key: &'static str,
    /// With single spaces between its numbers.
    pub value: &'static str,
    /// The comment above it, as one paragraph.
    pub why: String,
    pub source: String,
}

/// All of them, in the order of the file.
pub fn settings() -> &'static [Setting] {
    static SETTINGS: LazyLock<Vec<Setting>> = LazyLock::new(|| parse(FILE));
    &SETTINGS
}

fn parse(text: &'static str) -> Vec<Setting> {
    text.split("\n\n").filter_map(block).collect()
}

fn block(text: &'static str) -> Option<Setting> {
    let (mut why, mut source, mut setting) = (Vec::new(), String::new(), None);
    for line in text.lines().map(str::trim) {
        match line.strip_prefix('#').map(str::trim) {
            Some(comment) => match comment.strip_prefix("Source:") {
                Some(named) => source = named.trim().to_string(),
                None => why.push(comment),
            },
            None => setting = line.split_once('=').or(setting),
        }
    }
    let (key, value) = setting?;
    let key = key.trim();
    let key = key.strip_prefix('-').unwrap_or(key);
    Some(Setting { key, value: value.trim(), why: why.join(" "), source })
}

/// When a value is as good as the file's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    Exactly,
    /// Its last number is at least the file's: a ceiling.
    AtLeast,
    AtMost,
    /// As wide a range.
    AsWide,
}

/// How each setting is compared; those that are not here, exactly.
const COMPARED: &[(&str, Wanted)] = &[
    ("net.core.netdev_max_backlog", Wanted::AtLeast),
    ("net.core.rmem_max", Wanted::AtLeast),
    ("net.core.somaxconn", Wanted::AtLeast),
    ("net.core.wmem_max", Wanted::AtLeast),
    ("net.ipv4.ip_local_port_range", Wanted::AsWide),
    ("net.ipv4.tcp_fin_timeout", Wanted::AtMost),
    ("net.ipv4.tcp_keepalive_intvl", Wanted::AtMost),
    ("net.ipv4.tcp_keepalive_probes", Wanted::AtMost),
    ("net.ipv4.tcp_keepalive_time", Wanted::AtMost),
    ("net.ipv4.tcp_max_syn_backlog", Wanted::AtLeast),
    ("net.ipv4.tcp_rmem", Wanted::AtLeast),
    ("net.ipv4.tcp_wmem", Wanted::AtLeast),
    ("vm.swappiness", Wanted::AtMost),
];

impl Setting {
    /// Whether a value of the kernel's is as good as the file's.
    pub fn is_met_by(&self, value: &str) -> bool {
        // 1 promises everything to everybody: needed by nothing here, in the way of nothing either.
        if self.key == "vm.overcommit_memory" {
            return value == self.value || value == "1";
        }
        let wanted =
            COMPARED.iter().find(|(key, _)| *key == self.key).map_or(Wanted::Exactly, |(_, how)| *how);
        let (ours, theirs) = (numbers(self.value), numbers(value));
        match (wanted, ours.as_deref(), theirs.as_deref()) {
            (Wanted::AtLeast, Some([.., ours]), Some([.., theirs])) => theirs >= ours,
            (Wanted::AtMost, Some([ours]), Some([theirs])) => theirs <= ours,
            (Wanted::AsWide, Some([from, to]), Some([low, high])) => {
                high.saturating_sub(*low) >= to.saturating_sub(*from)
            }
            _ => value == self.value,
        }
    }
}

fn numbers(value: &str) -> Option<Vec<u64>> {
    value.split_whitespace().map(|number| number.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_of_the_file_is_read_with_its_reason_and_source() {
        let written = FILE.lines().filter(|line| !line.starts_with('#') && line.contains('=')).count();
        assert_eq!(settings().len(), written);
        assert!(written > 10, "{written} settings");
        for setting in settings() {
            let Setting { key, value, why, source } = setting;
            assert!(key.starts_with("net.") || key.starts_with("vm.") || key.starts_with("kernel."), "{key}");
            assert!(!value.is_empty() && why.len() > 20 && source.len() > 3, "{setting:?}");
            assert!(setting.is_met_by(value), "{key} is met by its own value");
        }
        for (key, _) in COMPARED {
            assert!(settings().iter().any(|setting| setting.key == *key), "{key} is not in the file");
        }
    }

    #[test]
    fn blocks_are_read_as_sysctl_reads_them() {
        let text = "# About the file.\n\n# Because\n# of this.\n# Source: a.rst\n-net.a.b = 1 2\n\n# Twice.\n# Source: b\nvm.c=3\n";
        let read = parse(text);
        let expected =
            Setting { key: "net.a.b", value: "1 2", why: "Because of this.".into(), source: "a.rst".into() };
        assert_eq!(read[0], expected);
        assert_eq!((read[1].key, read[1].value, read.len()), ("vm.c", "3", 2));
    }

    #[test]
    fn more_is_as_good_where_it_is_a_ceiling() {
        let setting = |key: &str| settings().iter().find(|setting| setting.key == key).unwrap();
        let rmem = setting("net.ipv4.tcp_rmem");
        assert!(rmem.is_met_by("4096 87380 67108864") && !rmem.is_met_by("4096 131072 6291456"));
        let swappiness = setting("vm.swappiness");
        assert!(swappiness.is_met_by("1") && !swappiness.is_met_by("60") && !swappiness.is_met_by("?"));
        let ports = setting("net.ipv4.ip_local_port_range");
        assert!(ports.is_met_by("10000 65535") && !ports.is_met_by("32768 60999"));
        let start = setting("net.ipv4.tcp_slow_start_after_idle");
        assert!(start.is_met_by("0") && !start.is_met_by("1"));
        let overcommit = setting("vm.overcommit_memory");
        assert!(overcommit.is_met_by("1") && !overcommit.is_met_by("2"));
    }
}
