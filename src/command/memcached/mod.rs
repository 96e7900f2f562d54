//! memcached's commands: from what the codecs parsed to operations on keys.

pub mod binary;
pub mod text;
