//! How often each command has been called, and which of these numbers have changed: who looks after every round looks at those only.
//!
//! The table has more than a hundred rows, of which a round changes one or two. To compare or copy all of them, for a round that may be
//! one request, costs more than that request.

use std::ops::{Index, IndexMut};

/// Calls by index into the command table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Calls {
    counts: Vec<u64>,
    changed: Changed,
}

/// A set of rows. Rows share a bit whose numbers differ by 64: where one has changed, the others are looked at too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Changed(u64);

impl Calls {
    /// `commands` is the length of the command table.
    pub fn new(commands: usize) -> Calls {
        Calls { counts: vec![0; commands], changed: Changed::default() }
    }

    /// One more call, if there is such a row.
    #[inline]
    pub fn count(&mut self, row: u16) {
        if let Some(calls) = self.counts.get_mut(usize::from(row)) {
            *calls += 1;
            self.changed.add(usize::from(row));
        }
    }

    /// Rows that have changed since [`Calls::take_changed`].
    pub fn changed(&self) -> Changed {
        self.changed
    }

    pub fn take_changed(&mut self) -> Changed {
        std::mem::take(&mut self.changed)
    }

    pub fn as_slice(&self) -> &[u64] {
        &self.counts
    }
}

impl Index<usize> for Calls {
    type Output = u64;

    #[inline]
    fn index(&self, row: usize) -> &u64 {
        &self.counts[row]
    }
}

impl IndexMut<usize> for Calls {
    #[inline]
    fn index_mut(&mut self, row: usize) -> &mut u64 {
        self.changed.add(row);
        &mut self.counts[row]
    }
}

impl Changed {
    #[inline]
    fn add(&mut self, row: usize) {
        self.0 |= 1 << (row % 64);
    }

    /// What is in this or in the other.
    pub fn or(self, other: Changed) -> Changed {
        Changed(self.0 | other.0)
    }

    /// The rows, of a table of this length.
    #[inline]
    pub fn rows(self, len: usize) -> impl Iterator<Item = usize> {
        let mut left = self.0;
        let firsts = std::iter::from_fn(move || {
            let first = (left != 0).then(|| left.trailing_zeros() as usize);
            left &= left.wrapping_sub(1);
            first
        });
        firsts.flat_map(move |first| (first..len).step_by(64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_that_has_changed_is_among_them() {
        let mut calls = Calls::new(150);
        assert_eq!(calls.changed().rows(150).count(), 0);
        calls[3] += 1;
        calls[149] += 2;
        calls.count(64);
        calls.count(150);
        let rows: Vec<usize> = calls.changed().rows(150).collect();
        assert_eq!(rows, [0, 64, 128, 3, 67, 131, 21, 85, 149]);
        assert_eq!((calls[3], calls[149], calls[64]), (1, 2, 1));
        let before = calls.take_changed();
        assert_eq!(calls.changed(), Changed::default());
        calls[5] += 1;
        assert_eq!(calls.changed().or(before).rows(64).collect::<Vec<_>>(), [0, 3, 5, 21]);
    }
}
