//! LCS: the longest common subsequence of two values.
//!
//! Computed 64 cells of the table at a time (Hyyrö, "Bit-parallel LCS-length computation revisited", 2004). Row y of the table is a run
//! of bits over the longer value: bit x is **clear** where the length grows from column x to x + 1.
//!
//! ```text
//!                o h m y      length(x, y) = clear bits among the first x of row y
//!  row 0         1 1 1 1
//!  row 1  "m"    1 1 0 1
//!  row 2  "y"    1 1 0 0  ◄─ two clear bits: length 2
//! ```
//!
//! The rows are one bit per cell where Redis keeps 32, and walking them back yields the subsequence as Redis walks it, so that among
//! several longest ones both choose the same. Values are pinned under the locks and compared outside of them.

use super::locked::keys;
use super::reply;
use crate::command::plan::SYNTAX;
use crate::command::table::ErrorText;
use crate::command::{Context, Flow, integer};
use crate::limits::{LCS_CELLS, LCS_SHARE};
use crate::proto::resp::Writer;
use crate::store::Happening;
use bytes::Bytes;
use std::ops::RangeInclusive;

#[derive(Default)]
struct Options {
    len: bool,
    idx: bool,
    with_match_len: bool,
    min_match_len: usize,
}

/// LCS key1 key2 [LEN] [IDX] [MINMATCHLEN length] [WITHMATCHLEN].
pub fn lcs(args: &[&[u8]], ctx: &mut Context<'_>, out: &mut Writer<'_>) -> Flow {
    reply(out, |out| {
        let options = options(&args[3..])?;
        let [a, b] = values(&args[1..3], ctx);
        let most_cells = LCS_CELLS.min(ctx.store.budget().limit() as u64 / LCS_SHARE * 8);
        if (a.len() as u64 + 1).saturating_mul(b.len() as u64 + 1) > most_cells {
            return Err("ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len".into());
        }
        let table = Table::new(&a, &b);
        if options.idx {
            write_matches(&table.matches(), &options, table.length(), out);
        } else if options.len {
            out.int(table.length() as i64);
        } else {
            let matches = table.matches();
            let parts: Vec<&[u8]> = matches.iter().rev().map(|(range, _)| &a[range.clone()]).collect();
            out.bulk(&parts.concat());
        }
        Ok(())
    })
}

fn options(args: &[&[u8]]) -> Result<Options, ErrorText> {
    let mut options = Options::default();
    let mut args = args.iter();
    while let Some(option) = args.next() {
        match &option.to_ascii_uppercase()[..] {
            b"LEN" => options.len = true,
            b"IDX" => options.idx = true,
            b"WITHMATCHLEN" => options.with_match_len = true,
            b"MINMATCHLEN" => {
                let length = integer(args.next().ok_or(ErrorText::Borrowed(SYNTAX))?)?;
                options.min_match_len = usize::try_from(length).unwrap_or(0);
            }
            _ => return Err(SYNTAX.into()),
        }
    }
    if options.len && options.idx {
        return Err("ERR If you want both the length and indexes, please just use IDX.".into());
    }
    Ok(options)
}

/// Both values as of one moment; a missing one is empty.
fn values(names: &[&[u8]], ctx: &mut Context<'_>) -> [Bytes; 2] {
    let keys = keys(ctx, names);
    let now_ms = ctx.now_ms;
    let mut values = [Bytes::new(), Bytes::new()];
    let mut next = values.iter_mut();
    ctx.lock(&keys).for_each(&keys, |partition, key| match (next.next(), partition.get(key, now_ms)) {
        (Some(value), Some(entry)) => *value = entry.pin(),
        _ => partition.note(Happening::Miss, key),
    });
    values
}

/// A run of bytes that stands in both values: where in the first, and where in the second.
type Match = (RangeInclusive<usize>, RangeInclusive<usize>);

fn write_matches(matches: &[Match], options: &Options, length: usize, out: &mut Writer<'_>) {
    let long_enough = || matches.iter().filter(|(a, _)| a.end() - a.start() + 1 >= options.min_match_len);
    out.map(2);
    out.bulk(b"matches");
    out.array(long_enough().count());
    for (a, b) in long_enough() {
        out.array(if options.with_match_len { 3 } else { 2 });
        for range in [a, b] {
            out.array(2);
            out.int(*range.start() as i64);
            out.int(*range.end() as i64);
        }
        if options.with_match_len {
            out.int((a.end() - a.start() + 1) as i64);
        }
    }
    out.bulk(b"len");
    out.int(length as i64);
}

/// All rows of the table, one after the other. The bits run over the longer value, whichever that is: rows of a few bits would waste
/// most of their words.
struct Table<'v> {
    long: &'v [u8],
    short: &'v [u8],
    /// Whether the second value is the longer one.
    swapped: bool,
    rows: Vec<u64>,
    /// Words of a row.
    width: usize,
}

impl<'v> Table<'v> {
    fn new(a: &'v [u8], b: &'v [u8]) -> Table<'v> {
        let swapped = b.len() > a.len();
        let (long, short) = if swapped { (b, a) } else { (a, b) };
        let width = long.len().div_ceil(64).max(1);
        let masks = masks(long, short, width);
        let mut rows = vec![u64::MAX; width * (short.len() + 1)];
        for (y, byte) in short.iter().enumerate() {
            let (done, next) = rows.split_at_mut((y + 1) * width);
            let (above, row) = (&done[y * width..], &mut next[..width]);
            let mut carry = false;
            for ((row, above), mask) in row.iter_mut().zip(above).zip(&masks[usize::from(*byte)]) {
                let (sum, over) = above.overflowing_add(above & mask);
                let (sum, over_too) = sum.overflowing_add(u64::from(carry));
                carry = over || over_too;
                *row = sum | (above & !mask);
            }
        }
        Table { long, short, swapped, rows, width }
    }

    /// The length of the whole subsequence.
    fn length(&self) -> usize {
        self.length_at(self.long.len(), self.short.len())
    }

    /// The length for the first `x` bytes of the longer value and the first `y` of the shorter.
    fn length_at(&self, x: usize, y: usize) -> usize {
        let row = &self.rows[y * self.width..];
        let whole: u32 = row[..x / 64].iter().map(|word| word.count_zeros()).sum();
        let rest = if x.is_multiple_of(64) { 0 } else { (!row[x / 64] & ((1 << (x % 64)) - 1)).count_ones() };
        (whole + rest) as usize
    }

    /// By how much the length grows from column `x - 1` to `x` in row `y`.
    fn step(&self, x: usize, y: usize) -> usize {
        let word = self.rows[y * self.width + (x - 1) / 64];
        usize::from(word >> ((x - 1) % 64) & 1 == 0)
    }

    /// The runs of the subsequence from its end to its beginning. Where two ways are equally long, the one that Redis takes: it shortens
    /// the second value.
    fn matches(&self) -> Vec<Match> {
        let (mut x, mut y) = (self.long.len(), self.short.len());
        let mut runs: Vec<Match> = Vec::new();
        let mut run_goes_on = false;
        // The lengths at (x, y) and at (x, y - 1). Counting bits afresh is dear, so it is done only when the row changes.
        let above_at = |x: usize, y: usize| if y > 0 { self.length_at(x, y - 1) } else { 0 };
        let (mut here, mut above) = (self.length_at(x, y), above_at(x, y));
        while x > 0 && y > 0 {
            if self.long[x - 1] == self.short[y - 1] {
                match runs.last_mut().filter(|_| run_goes_on) {
                    Some((along, down)) => {
                        *along = x - 1..=*along.end();
                        *down = y - 1..=*down.end();
                    }
                    None => runs.push((x - 1..=x - 1, y - 1..=y - 1)),
                }
                run_goes_on = true;
                here = above - self.step(x, y - 1);
                (x, y) = (x - 1, y - 1);
                above = above_at(x, y);
                continue;
            }
            run_goes_on = false;
            let left = here - self.step(x, y);
            if left > above || (self.swapped && left == above) {
                here = left;
                above -= self.step(x, y - 1);
                x -= 1;
            } else {
                here = above;
                y -= 1;
                above = above_at(x, y);
            }
        }
        if self.swapped {
            runs = runs.into_iter().map(|(along, down)| (down, along)).collect();
        }
        runs
    }
}

/// For each byte that occurs in `short`: where it stands in `long`. For the others nothing.
fn masks(long: &[u8], short: &[u8], width: usize) -> Vec<Vec<u64>> {
    let mut masks: Vec<Vec<u64>> = vec![Vec::new(); 256];
    for byte in short {
        masks[usize::from(*byte)].resize(width, 0);
    }
    for (x, byte) in long.iter().enumerate() {
        if let Some(word) = masks[usize::from(*byte)].get_mut(x / 64) {
            *word |= 1 << (x % 64);
        }
    }
    masks
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The table cell by cell, and the walk back as Redis does it.
    fn naive(a: &[u8], b: &[u8]) -> Vec<Match> {
        let mut table = vec![vec![0; b.len() + 1]; a.len() + 1];
        for (i, j) in (1..=a.len()).flat_map(|i| (1..=b.len()).map(move |j| (i, j))) {
            table[i][j] = if a[i - 1] == b[j - 1] {
                table[i - 1][j - 1] + 1
            } else {
                table[i - 1][j].max(table[i][j - 1])
            };
        }
        let (mut i, mut j, mut runs) = (a.len(), b.len(), Vec::<Match>::new());
        while i > 0 && j > 0 {
            if a[i - 1] == b[j - 1] {
                match runs.last_mut() {
                    Some((x, y)) if *x.start() == i && *y.start() == j => {
                        (*x, *y) = (i - 1..=*x.end(), j - 1..=*y.end());
                    }
                    _ => runs.push((i - 1..=i - 1, j - 1..=j - 1)),
                }
                (i, j) = (i - 1, j - 1);
            } else if table[i - 1][j] > table[i][j - 1] {
                i -= 1;
            } else {
                j -= 1;
            }
        }
        runs
    }

    proptest! {
        #[test]
        fn agrees_with_the_table_made_cell_by_cell(a in "[abc]{0,200}", b in "[abcd]{0,150}") {
            let table = Table::new(a.as_bytes(), b.as_bytes());
            let expected = naive(a.as_bytes(), b.as_bytes());
            let length = expected.iter().map(|(x, _)| x.end() - x.start() + 1).sum::<usize>();
            prop_assert_eq!(table.length(), length);
            prop_assert_eq!(table.matches(), expected);
        }
    }
}
