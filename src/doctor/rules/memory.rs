//! Memory against `--max-memory`: the control group's, the machine's, and how the kernel hands it out.

use crate::config::{Config, format_bytes};
use crate::doctor::checks;
use crate::doctor::facts::Facts;
use crate::doctor::finding::{Finding, Severity};
use crate::limits;

pub fn findings(facts: &Facts, config: &Config) -> Vec<Finding> {
    vec![
        group(facts, config),
        available(facts, config),
        huge_pages(facts),
        swap(facts),
        overcommit(facts, config),
    ]
}

fn group(facts: &Facts, config: &Config) -> Finding {
    let check = &checks::GROUP_MEMORY;
    let wanted = format_bytes(config.max_memory);
    let Some(limit) = facts.memory.group_limit else {
        return Finding::ok(check, format!("no limit; --max-memory {wanted}"));
    };
    let text = format!("the control group has {}; --max-memory {wanted}", format_bytes(limit));
    let mend = format!(
        "--max-memory {}%, or MemoryMax={} (systemd), --memory {} (docker)",
        limits::MEMORY_SHARE_PERCENT,
        config.max_memory / limits::MEMORY_SHARE_PERCENT * 100,
        config.max_memory / limits::MEMORY_SHARE_PERCENT * 100,
    );
    match config.max_memory {
        more if more > limit => Finding::bad(check, Severity::Critical, text, mend),
        tight if tight > limit / 100 * limits::DOCTOR_TIGHT_PERCENT => {
            Finding::bad(check, Severity::Warning, text, mend)
        }
        _ => Finding::ok(check, text),
    }
}

fn available(facts: &Facts, config: &Config) -> Finding {
    let check = &checks::AVAILABLE;
    let (Some(total), Some(available)) = (facts.memory.total, facts.memory.available) else {
        return Finding::unseen(check, "/proc/meminfo does not say");
    };
    let text = format!(
        "{} of {} are free or can be freed; --max-memory {}",
        format_bytes(available),
        format_bytes(total),
        format_bytes(config.max_memory)
    );
    if config.max_memory <= available {
        return Finding::ok(check, text);
    }
    let mend = format!(
        "see who has it (ps -eo rss,comm --sort -rss | head), or --max-memory {}",
        available / 10 * 9
    );
    Finding::bad(check, Severity::Warning, text, mend)
}

fn huge_pages(facts: &Facts) -> Finding {
    let check = &checks::HUGE_PAGES;
    const FILE: &str = "/sys/kernel/mm/transparent_hugepage/enabled";
    let mend = format!("echo madvise > {FILE} (kv-cache-tune.service does it at every start)");
    match facts.memory.huge_pages.as_deref() {
        None => Finding::unseen(check, "this kernel shows no transparent huge pages"),
        Some("madvise") => Finding::ok(check, "madvise: the server asks for them where they serve"),
        Some("always") => Finding::bad(
            check,
            Severity::Hint,
            "always: memory beside the server's, and of programs that never asked, is rounded up to 2 MiB too",
            mend,
        ),
        Some(other) => {
            Finding::bad(check, Severity::Warning, format!("{other}: the server asks for them in vain"), mend)
        }
    }
}

fn swap(facts: &Facts) -> Finding {
    let check = &checks::SWAP;
    let memory = &facts.memory;
    if let Some(bytes) = memory.swapped_out.filter(|bytes| *bytes > 0) {
        let text = format!("{} of this process lie in swap", format_bytes(bytes));
        return Finding::bad(
            check,
            Severity::Warning,
            text,
            "swapoff -a && swapon -a, when there is memory for it; MemorySwapMax=0 (systemd)",
        );
    }
    match (memory.swap_total, memory.group_swap) {
        (None, _) => Finding::unseen(check, "/proc/meminfo does not say"),
        (Some(0), _) => Finding::ok(check, "the machine has none"),
        (Some(_), Some(0)) => Finding::ok(check, "the control group may use none"),
        (Some(bytes), _) => Finding::bad(
            check,
            Severity::Hint,
            format!("the machine has {}, and the server may be put there", format_bytes(bytes)),
            "MemorySwapMax=0 in the unit (systemctl edit kv-cache), --memory-swap as large as --memory (docker), or swapoff -a",
        ),
    }
}

fn overcommit(facts: &Facts, config: &Config) -> Finding {
    let check = &checks::OVERCOMMIT;
    let Some(mode) = facts.sysctl("vm.overcommit_memory") else {
        return Finding::unseen(check, "vm.overcommit_memory cannot be read");
    };
    if mode != "2" {
        return Finding::ok(check, format!("vm.overcommit_memory={mode}"));
    }
    let left = facts.memory.commit_limit.unwrap_or(0).saturating_sub(facts.memory.committed.unwrap_or(0));
    let text = format!(
        "vm.overcommit_memory=2: {} are left to promise; --max-memory {}",
        format_bytes(left),
        format_bytes(config.max_memory)
    );
    match config.max_memory > left {
        true => Finding::bad(
            check,
            Severity::Warning,
            text,
            "sysctl -w vm.overcommit_memory=0, or more vm.overcommit_ratio",
        ),
        false => Finding::ok(check, text),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{one, severity};
    use super::*;

    #[test]
    fn the_groups_limit_is_held_against_the_servers() {
        let with = |limit: Option<usize>, flags: &str| {
            severity("memory.group", flags, |facts| facts.memory.group_limit = limit)
        };
        assert_eq!(with(None, "--max-memory 1GB"), Severity::Ok);
        assert_eq!(with(Some(2_000_000_000), "--max-memory 1GB"), Severity::Ok);
        assert_eq!(with(Some(1_050_000_000), "--max-memory 1GB"), Severity::Warning);
        assert_eq!(with(Some(900_000_000), "--max-memory 1GB"), Severity::Critical);
    }

    #[test]
    fn memory_that_others_have_is_a_warning() {
        let with =
            |bytes| one("memory.available", "--max-memory 2GB", |facts| facts.memory.available = Some(bytes));
        assert_eq!(with(2_500_000_000).severity, Severity::Ok);
        let short = with(1_000_000_000);
        assert!(
            short.severity == Severity::Warning && short.mend.unwrap().contains("--max-memory 900000000")
        );
    }

    #[test]
    fn huge_pages_are_best_where_they_are_asked_for() {
        for (mode, expected) in [
            (Some("madvise"), Severity::Ok),
            (Some("always"), Severity::Hint),
            (Some("never"), Severity::Warning),
            (None, Severity::Unseen),
        ] {
            let spoil = |facts: &mut Facts| facts.memory.huge_pages = mode.map(str::to_string);
            assert_eq!(severity("memory.huge_pages", "", spoil), expected, "{mode:?}");
        }
    }

    #[test]
    fn swap_matters_if_the_server_can_get_there() {
        let with = |total, group, out| {
            severity("memory.swap", "", |facts| {
                facts.memory.swap_total = Some(total);
                facts.memory.group_swap = group;
                facts.memory.swapped_out = Some(out);
            })
        };
        assert_eq!(with(0, None, 0), Severity::Ok);
        assert_eq!(with(1 << 30, Some(0), 0), Severity::Ok);
        assert_eq!(with(1 << 30, None, 0), Severity::Hint);
        assert_eq!(with(1 << 30, Some(1 << 30), 0), Severity::Hint);
        assert_eq!(with(1 << 30, None, 4_096), Severity::Warning);
    }

    #[test]
    fn strict_overcommit_is_a_matter_of_what_is_left() {
        let with = |limit: usize| {
            severity("memory.overcommit", "--max-memory 2GB", |facts| {
                facts.sysctls.insert("vm.overcommit_memory".into(), "2".into());
                facts.memory.commit_limit = Some(limit);
            })
        };
        assert_eq!(with(4_000_000_000), Severity::Ok);
        assert_eq!(with(2_000_000_000), Severity::Warning);
    }
}
