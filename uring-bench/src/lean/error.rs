//! Why a lean server cannot start or go on, with what to do about it.

use std::fmt;
use std::io;

#[derive(Debug)]
pub enum Error {
    /// Choices that do not go together.
    Choice(String),
    /// The kernel lacks what was chosen; `since` is the release that brought it.
    Lacks {
        what: &'static str,
        since: &'static str,
    },
    Io {
        doing: String,
        source: io::Error,
    },
}

impl Error {
    pub fn lacks(what: &'static str, since: &'static str) -> Error {
        Error::Lacks { what, since }
    }

    pub fn io(doing: impl Into<String>, source: io::Error) -> Error {
        Error::Io { doing: doing.into(), source }
    }

    /// An error of `io_uring_setup` or a registration.
    pub fn setup(source: io::Error) -> Error {
        let mend = match source.raw_os_error() {
            Some(libc::EPERM) => {
                "; io_uring is forbidden here: see kernel.io_uring_disabled and the container's seccomp profile, or use --choices epoll"
            }
            Some(libc::ENOSYS) => {
                "; this kernel has no io_uring, or a seccomp profile hides it: use --choices epoll"
            }
            Some(libc::ENOMEM) => "; no locked memory is left: raise `ulimit -l`",
            _ => "",
        };
        Error::Io { doing: format!("set up io_uring{mend}"), source }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Choice(why) => f.write_str(why),
            Error::Lacks { what, since } => {
                write!(f, "this kernel lacks {what}: it needs Linux {since} or later")
            }
            Error::Io { doing, source } => write!(f, "cannot {doing}: {source}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}
