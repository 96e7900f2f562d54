//! One connection as its worker and its commands see it. Pure: bytes come in, replies go out, nothing here does I/O.

mod inbox;
mod listening;
mod outbox;
mod session;
mod transaction;

pub use inbox::Inbox;
pub use listening::{ChannelKind, Listening, Maintenance, Subscriptions, Tracking};
pub use outbox::Outbox;
pub use session::{ReplyMode, Session};
pub use transaction::{Transaction, Watched};
