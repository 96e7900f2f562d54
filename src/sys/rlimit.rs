//! The limit on open files: every client takes one descriptor.

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_lowers_and_reports_what_holds() {
        let before = raise_nofile(0).unwrap();
        assert!(before > 0);
        assert!(raise_nofile(before).unwrap() >= before);
        assert!(raise_nofile(16).unwrap() >= before);
    }
}
