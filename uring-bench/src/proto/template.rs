//! A request made once, of which every other is a copy with another key.

use crate::workload::Names;
use std::ops::Range;

/// A request without its key, to be copied.
#[derive(Clone, Debug)]
pub struct Template {
    bytes: Vec<u8>,
    /// The same and zeros behind it, if it is short: a copy of a fixed length is a few instructions instead of a call.
    block: Option<[u8; BLOCK]>,
    key: Range<usize>,
}

const BLOCK: usize = 64;

impl Template {
    pub fn new(bytes: Vec<u8>, key: Range<usize>) -> Self {
        let mut block = [0; BLOCK];
        let short = block.get_mut(..bytes.len()).map(|short| short.copy_from_slice(&bytes));
        Self { block: short.map(|()| block), bytes, key }
    }

    /// From what stands in front of the key and behind it.
    pub fn around(names: &Names, before: &[u8], after: &[u8]) -> Self {
        let key = before.len()..before.len() + names.len();
        Self::new([before, &names.zero(), after].concat(), key)
    }

    /// Appends the request for a key.
    #[inline]
    pub fn put(&self, names: &Names, key: u64, out: &mut Vec<u8>) {
        let at = out.len();
        match &self.block {
            Some(block) => {
                out.extend_from_slice(block);
                out.truncate(at + self.bytes.len());
            }
            None => out.extend_from_slice(&self.bytes),
        }
        names.number(key, &mut out[at + self.key.start..at + self.key.end]);
    }
}
