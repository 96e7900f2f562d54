//! Why io_uring cannot be used here, in words: the cause and what mends it. The start lines and the doctor say the same.

use super::versions::version;
use nix::sys::resource::{Resource, getrlimit};
use std::fmt;
use std::io;

/// Why a ring could not be set up. As text: the cause and the mend, in one line.
#[derive(Debug)]
pub enum StartError {
    /// By the sysctl of that name, which came with 6.6.
    Disabled {
        value: String,
    },
    /// Refused although the kernel has it: EPERM by Docker's and containerd's profiles, ENOSYS by podman's.
    Forbidden {
        errno: &'static str,
    },
    /// The kernel has none.
    Absent {
        release: String,
    },
    TooOld {
        release: String,
        missing: &'static str,
    },
    Memlock {
        limit_kib: u64,
    },
    Other(io::Error),
}

/// The first series that has all that the driver needs.
const FLOOR: (u32, u32) = (6, 1);

impl StartError {
    /// EPERM: the sysctl if it says so, else seccomp.
    pub(super) fn forbidden() -> StartError {
        match std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled") {
            Ok(value) if value.trim() != "0" => StartError::Disabled { value: value.trim().to_owned() },
            _ => StartError::Forbidden { errno: "EPERM" },
        }
    }

    /// ENOSYS: a kernel that is new enough has the call, so something hides it.
    pub(super) fn absent(release: &str) -> StartError {
        match version(release) {
            Some((major, minor, _)) if (major, minor) >= FLOOR => StartError::Forbidden { errno: "ENOSYS" },
            _ => StartError::Absent { release: release.to_owned() },
        }
    }

    pub(super) fn memlock() -> StartError {
        let limit = getrlimit(Resource::RLIMIT_MEMLOCK).map_or(0, |(soft, _)| soft);
        StartError::Memlock { limit_kib: limit / 1024 }
    }

    pub(super) fn too_old(missing: &'static str) -> StartError {
        StartError::TooOld { release: release(), missing }
    }

    /// What stands in the way.
    pub fn cause(&self) -> String {
        match self {
            StartError::Disabled { value } => {
                format!("io_uring is turned off by kernel.io_uring_disabled={value}")
            }
            StartError::Forbidden { errno } => {
                format!("io_uring is forbidden here ({errno}), most likely by a container's seccomp profile")
            }
            StartError::Absent { release } => {
                format!(
                    "this kernel ({release}) has no io_uring (ENOSYS), which needs Linux 6.1 or later here"
                )
            }
            StartError::TooOld { release, missing } => {
                format!("this kernel ({release}) lacks {missing}; io_uring needs Linux 6.1 or later here")
            }
            StartError::Memlock { limit_kib } => format!(
                "no locked memory left for io_uring (ENOMEM, RLIMIT_MEMLOCK {limit_kib} KiB for all processes of this user)"
            ),
            StartError::Other(error) => format!("io_uring could not be set up: {error}"),
        }
    }

    /// What to do about it.
    pub fn mend(&self) -> &'static str {
        match self {
            StartError::Disabled { .. } => {
                "allow it with: sysctl -w kernel.io_uring_disabled=0 (or 1 and kernel.io_uring_group)"
            }
            StartError::Forbidden { .. } => {
                "run with a profile that also allows io_uring_setup, io_uring_enter and io_uring_register: \
                 docker run --security-opt seccomp=deploy/seccomp.json"
            }
            StartError::Absent { .. } | StartError::TooOld { .. } => "install a kernel of 6.1 or later",
            StartError::Memlock { .. } => {
                "raise it: LimitMEMLOCK=infinity (systemd), --ulimit memlock=-1 (docker), ulimit -l unlimited"
            }
            StartError::Other(_) => "see dmesg, or run with --io-engine epoll",
        }
    }
}

/// A cause and a mend, to be kept. As text: both, in one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explained {
    pub cause: String,
    pub mend: &'static str,
}

impl From<StartError> for Explained {
    fn from(error: StartError) -> Explained {
        Explained { cause: error.cause(), mend: error.mend() }
    }
}

impl fmt::Display for Explained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.cause, self.mend)
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.cause(), self.mend())
    }
}

impl std::error::Error for StartError {}

impl From<io::Error> for StartError {
    fn from(error: io::Error) -> StartError {
        StartError::Other(error)
    }
}

/// The kernel's release, for messages and the list of versions with known defects.
pub fn release() -> String {
    std::fs::read_to_string("/proc/sys/kernel/osrelease")
        .map_or_else(|_| "unknown".to_owned(), |release| release.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_a_new_kernel_lacks_is_hidden_by_a_profile() {
        let hidden = StartError::absent("6.18.44-generic").to_string();
        assert!(hidden.contains("(ENOSYS)") && hidden.contains("seccomp=deploy/seccomp.json"), "{hidden}");
        let eperm = StartError::Forbidden { errno: "EPERM" }.to_string();
        assert_eq!(hidden.replace("ENOSYS", "EPERM"), eperm, "one line for both");
        let old = StartError::absent("4.19.0").to_string();
        assert!(old.contains("4.19.0") && old.contains("6.1 or later"), "{old}");
        assert!(matches!(StartError::absent("unknown"), StartError::Absent { .. }));
    }
}
