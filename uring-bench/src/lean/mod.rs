//! The leanest server that a ring can carry: RESP's GET and SET without a store, one thread, and every choice of its ring
//! a knob. It is the limit that servers on this machine are held against (`null-server`), and what the choices
//! themselves are measured with (`micro`).
//!
//! ```text
//!   choices ─► server (a thread) ─► uring:  ring, buffers, conn, answers, sends, registered
//!                                └► epoll:  the reference
//!                    both: frames (where a request ends) and replies (four of them, made once)
//! ```
//!
//! The only unsafe code of this crate: entries of the submission queue carry addresses.

mod answers;
mod buffers;
mod choices;
mod conn;
mod epoll;
mod error;
mod frames;
mod registered;
mod replies;
mod ring;
mod sends;
mod server;
#[cfg(test)]
mod tests;
mod uring;

pub use choices::{Choices, SendBy};
pub use error::Error;
pub use registered::SLOTS as REGISTERED_SLOTS;
pub use server::{Options, Server};
