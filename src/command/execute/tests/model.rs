//! The bit commands against a value that really is a list of bits.

use crate::command::testing::Client;
use proptest::prelude::*;

fn bits_of(value: &[u8]) -> Vec<bool> {
    value.iter().flat_map(|byte| (0..8).map(move |n| byte & (0x80 >> n) != 0)).collect()
}

fn bytes_of(bits: &[bool]) -> Vec<u8> {
    bits.chunks(8)
        .map(|byte| byte.iter().enumerate().map(|(n, bit)| u8::from(*bit) << (7 - n)).sum())
        .collect()
}

/// The positions that a range names, as Redis resolves it.
fn resolve(start: i64, end: i64, len: i64) -> std::ops::Range<i64> {
    let from_end = |at: i64| if at < 0 { (at + len).max(0) } else { at };
    from_end(start)..(from_end(end).min(len - 1) + 1)
}

/// Runs `line` on a client whose key "k" holds `value`; the integer that it answers.
fn ask(value: &[u8], line: &str) -> i64 {
    let mut client = Client::new();
    client.run_args(&[b"SET", b"k", value]);
    client.run(line).strip_prefix(':').unwrap().parse().unwrap()
}

/// Reads the field bit by bit.
fn read_field(bits: &[bool], offset: usize, width: usize, signed: bool) -> i128 {
    let raw = (0..width).fold(0_i128, |raw, n| raw << 1 | i128::from(bits.get(offset + n) == Some(&true)));
    if signed && raw >> (width - 1) == 1 { raw - (1 << width) } else { raw }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn counting(value in prop::collection::vec(any::<u8>(), 1..40), start in -350_i64..350, end in -350_i64..350, in_bits: bool) {
        let bits = bits_of(&value);
        let unit = if in_bits { 1 } else { 8 };
        // BITCOUNT alone finds nothing in a range whose end is before its start, both counted from the end; BITPOS clamps both.
        let reversed = start < 0 && end < 0 && start > end;
        let range = if reversed { 0..0 } else { resolve(start, end, bits.len() as i64 / unit) };
        let expected = bits
            .iter()
            .enumerate()
            .filter(|(at, bit)| **bit && range.contains(&(*at as i64 / unit)))
            .count();
        let name = if in_bits { "BIT" } else { "BYTE" };
        prop_assert_eq!(ask(&value, &format!("BITCOUNT k {start} {end} {name}")), expected as i64);
    }

    #[test]
    fn finding(
        fill in prop::sample::select(vec![0_u8, 0xff]),
        other in any::<(u8, u8)>(),
        len in 1_usize..40,
        start in -350_i64..350,
        end in -350_i64..350,
        bit: bool,
        in_bits: bool,
    ) {
        let mut value = vec![fill; len];
        value[usize::from(other.0) % len] = other.1;
        let bits = bits_of(&value);
        let unit = if in_bits { 1 } else { 8 };
        let range = resolve(start, end, bits.len() as i64 / unit);
        let expected = (0..bits.len()).find(|at| bits[*at] == bit && range.contains(&(*at as i64 / unit)));
        let name = if in_bits { "BIT" } else { "BYTE" };
        let line = format!("BITPOS k {} {start} {end} {name}", u8::from(bit));
        prop_assert_eq!(ask(&value, &line), expected.map_or(-1, |at| at as i64));
    }

    #[test]
    fn fields(
        value in prop::collection::vec(any::<u8>(), 0..24),
        offset in 0_usize..120,
        width in 1_usize..=64,
        signed: bool,
        operand in prop::sample::select(vec![0, 1, -1, 127, -128, i64::MAX, i64::MIN, 1 << 40]),
        increment: bool,
    ) {
        let width = if signed { width } else { width.min(63) };
        let kind = format!("{}{width}", if signed { 'i' } else { 'u' });
        let mut bits = bits_of(&value);
        bits.resize(bits.len().max((offset + width).next_multiple_of(8)), false);
        let old = read_field(&bits, offset, width, signed);
        let sum = if increment { old + i128::from(operand) } else { i128::from(operand) };
        for n in 0..width {
            bits[offset + n] = sum >> (width - 1 - n) & 1 == 1;
        }
        let new = read_field(&bits, offset, width, signed);
        let verb = if increment { "INCRBY" } else { "SET" };

        let mut client = Client::new();
        client.run_args(&[b"SET", b"k", &value]);
        let reply = client.run(&format!("BITFIELD k {verb} {kind} {offset} {operand} GET {kind} {offset}"));
        prop_assert_eq!(reply, format!("*2 :{} :{new}", if increment { new } else { old }));
        let stored = client.run_args(&[b"GET", b"k"]);
        let expected = bytes_of(&bits);
        prop_assert_eq!(&stored[stored.len() - 2 - expected.len()..stored.len() - 2], &expected[..]);
    }
}
