//! Limits of this process: open files, of which every client takes one, and locked memory, which rings take.

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::io;

/// Raises the soft limit on open files towards `wanted` as far as the hard limit allows (beyond it where the process may), and
/// returns what it is now.
pub fn raise_nofile(wanted: usize) -> io::Result<usize> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let wanted = wanted as u64;
    if soft < wanted {
        // A privileged process may raise the hard limit too; anyone else takes what there is.
        if hard >= wanted || setrlimit(Resource::RLIMIT_NOFILE, wanted, wanted).is_err() {
            setrlimit(Resource::RLIMIT_NOFILE, hard.min(wanted), hard)?;
        }
    }
    let (now, _) = getrlimit(Resource::RLIMIT_NOFILE)?;
    Ok(usize::try_from(now).unwrap_or(usize::MAX))
}

/// What a limit is now, and how far this process may raise it; `None`: without end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    pub soft: Option<u64>,
    pub hard: Option<u64>,
}

/// RLIMIT_NOFILE, descriptors.
pub fn nofile() -> io::Result<Limit> {
    limit(Resource::RLIMIT_NOFILE)
}

/// RLIMIT_MEMLOCK, bytes, for all processes of this user together.
pub fn memlock() -> io::Result<Limit> {
    limit(Resource::RLIMIT_MEMLOCK)
}

fn limit(resource: Resource) -> io::Result<Limit> {
    let (soft, hard) = getrlimit(resource)?;
    let finite = |value| (value != nix::sys::resource::RLIM_INFINITY).then_some(value);
    Ok(Limit { soft: finite(soft), hard: finite(hard) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_soft_limit_is_within_its_hard_one() {
        for limit in [nofile().unwrap(), memlock().unwrap()] {
            let bound = |value: Option<u64>| value.unwrap_or(u64::MAX);
            assert!(bound(limit.soft) <= bound(limit.hard), "{limit:?}");
        }
    }

    #[test]
    fn never_lowers_and_reports_what_holds() {
        let before = raise_nofile(0).unwrap();
        assert!(before > 0);
        assert!(raise_nofile(before).unwrap() >= before);
        assert!(raise_nofile(16).unwrap() >= before);
    }
}
