//! RESP2 and RESP3, the protocol of Redis: requests in, replies out.
//!
//! ```text
//! request   *2 CRLF $3 CRLF GET CRLF $1 CRLF k CRLF      an array of byte strings: what clients send
//!           GET k LF                                     an inline command: what people type
//! reply     $1 CRLF v CRLF
//! ```

mod common;
mod encode;
mod inline;
mod parse;
#[cfg(test)]
mod tests;
mod writer;

pub use common::{Common, LONGEST as COMMON_LONGEST, NAME as COMMON_NAME, common};
pub use encode::{encode, encode_into};
pub use parse::{Resume, parse};
pub use writer::{Writer, format_double};
