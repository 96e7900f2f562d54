//! One connection as its worker and its commands see it. Pure: bytes come in, replies go out, nothing here does I/O.

mod session;

pub use session::{ReplyMode, Session};
