//! Kernels with known defects of io_uring. Features are found out by trying (see `start`); a defect is not, so this is a list.

use super::refused::release;

/// A defect of a kernel that the operator should know of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Defect {
    pub what: &'static str,
    /// The versions that no longer have it.
    pub mend: &'static str,
}

const HANGS: Defect = Defect {
    what: "can hang tasks that use io_uring, for good, when a completion queue overflows",
    mend: "6.1.119 or later in the 6.1 series, 6.6.60 or later",
};

/// The defect of the running kernel as one line, or none.
pub fn known_defect() -> Option<String> {
    let release = release();
    defect_of(&release).map(|defect| format!("kernel {release} {}; update it ({})", defect.what, defect.mend))
}

/// "io_uring: check if we need to reschedule during overflow flush" came to 6.6.57 and to 6.1 at that time without the change that it
/// relies on, "always lock __io_cqring_overflow_flush" (8d09a88ef9d3). kernel.org has that in 6.6.60 and 6.1.116, Amazon Linux from
/// its 6.1.119 on, so all of 6.1.112 to 6.1.118 is warned of (amazon-linux-2023#840, bottlerocket#4308, nixpkgs#353709, stable's
/// announcements of 6.1.116 and 6.6.60).
pub fn defect_of(release: &str) -> Option<Defect> {
    match version(release)? {
        (6, 1, 112..119) | (6, 6, 57..60) => Some(HANGS),
        _ => None,
    }
}

/// Kernels 6.6 and 6.7 report a poll mask instead of the descriptor when a multishot accept overflows the completion
/// queue with DEFER_TASKRUN (liburing#1062): the number could be somebody else's descriptor. 6.6.18 and 6.7.6 mend it, but to accept
/// one by one costs little, so both series are served so.
pub fn multishot_is_broken(release: &str) -> bool {
    matches!(version(release), Some((6, 6 | 7, _)))
}

/// The first three numbers of a release such as "6.1.115-126.197.amzn2023.x86_64"; a third that is not there counts as 0.
pub fn version(release: &str) -> Option<(u32, u32, u32)> {
    let mut numbers = release.split('.');
    let major = numbers.next()?.parse().ok()?;
    let mut number = || -> Option<u32> {
        let text = numbers.next()?;
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        text[..digits].parse().ok()
    };
    Some((major, number()?, number().unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_known_bad_kernels_are_warned_of() {
        for bad in ["6.1.112", "6.1.115-126.197.amzn2023.x86_64", "6.1.118", "6.6.57", "6.6.59-generic"] {
            assert_eq!(defect_of(bad), Some(HANGS), "{bad}");
        }
        for good in
            ["6.1.111", "6.1.119-generic", "6.6.60", "6.6.70", "6.18.44", "6.1", "unknown", "", "61.112"]
        {
            assert_eq!(defect_of(good), None, "{good}");
        }
    }

    #[test]
    fn only_the_known_bad_kernels_accept_one_by_one() {
        assert!(multishot_is_broken("6.6.57-generic") && multishot_is_broken("6.7.0"));
        assert!(!multishot_is_broken("6.1.119") && !multishot_is_broken("6.18.44"));
        assert!(!multishot_is_broken("6.60.1") && !multishot_is_broken("unknown"));
    }

    #[test]
    fn releases_of_all_distributions_have_three_numbers() {
        for (release, expected) in [
            ("6.8.0-1021-aws", Some((6, 8, 0))),
            ("6.1.115-126.197.amzn2023.x86_64", Some((6, 1, 115))),
            ("6.12", Some((6, 12, 0))),
            ("6.19-rc3", Some((6, 19, 0))),
            ("5.15.153.1-microsoft-standard-WSL2", Some((5, 15, 153))),
            ("x.y", None),
        ] {
            assert_eq!(version(release), expected, "{release}");
        }
    }
}
