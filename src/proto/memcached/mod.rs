//! memcached's protocols: text with its meta commands, and binary.

pub mod binary;
pub mod text;
