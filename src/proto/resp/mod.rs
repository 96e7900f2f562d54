//! RESP2 and RESP3, the protocol of Redis: requests in, replies out.

mod writer;

pub use writer::Writer;
