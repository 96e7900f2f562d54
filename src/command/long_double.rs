//! Numbers with 64 bits of precision, for INCRBYFLOAT: Redis counts in the x87 `long double`, and clients see its digits.
//!
//! A finite number is `mantissa × 2^exponent`, its mantissa's top bit set (or all of it zero). Reading, adding and writing are
//! each exact and then rounded once, to even, as the C library does. An f64 would answer 0.30000000000000004 to 0.1 + 0.2.

use std::cmp::Ordering;

/// Decimals written, as `%.17Lf`.
const DECIMALS: u32 = 17;

/// Beyond these powers of ten a number is infinite, or zero.
const MAX_DECIMAL_EXPONENT: i64 = 4_932;
const MIN_DECIMAL_EXPONENT: i64 = -4_951;

/// Exponent of two (of the mantissa's last bit) from which on a number is infinite.
const INFINITE_FROM: i32 = 16_384 - 63;

/// The longest text that is read, as Redis bounds it.
const MAX_TEXT: usize = 5 << 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LongDouble {
    negative: bool,
    /// `i32::MAX`: infinite.
    exponent: i32,
    mantissa: u64,
}

impl LongDouble {
    pub const ZERO: LongDouble = LongDouble { negative: false, exponent: 0, mantissa: 0 };
    const INFINITY: LongDouble = LongDouble { negative: false, exponent: i32::MAX, mantissa: 1 << 63 };

    /// Reads a decimal number with optional sign, fraction and exponent, or "inf". `None` for all else, for what is too large,
    /// and for what is not zero but too small.
    pub fn parse(text: &[u8]) -> Option<LongDouble> {
        if text.len() >= MAX_TEXT {
            return None;
        }
        let (negative, rest) = match text {
            [b'-', rest @ ..] => (true, rest),
            [b'+', rest @ ..] => (false, rest),
            _ => (false, text),
        };
        if rest.eq_ignore_ascii_case(b"inf") || rest.eq_ignore_ascii_case(b"infinity") {
            return Some(LongDouble { negative, ..LongDouble::INFINITY });
        }
        let at = rest.iter().position(|byte| matches!(byte, b'e' | b'E')).unwrap_or(rest.len());
        let exponent = rest.get(at + 1..).map_or(Some(0), parse_exponent)?;
        let mut parts = rest[..at].splitn(2, |byte| *byte == b'.');
        let (whole, fraction) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let digits = || whole.iter().chain(fraction);
        if digits().next().is_none() || !digits().all(u8::is_ascii_digit) {
            return None;
        }
        let value = from_decimal(digits().map(|byte| byte - b'0'), exponent - fraction.len() as i64)?;
        Some(LongDouble { negative, ..value })
    }

    /// The sum, rounded to 64 bits. Infinite operands give infinity.
    pub fn add(self, other: LongDouble) -> LongDouble {
        if self.is_infinite() || other.is_infinite() {
            return LongDouble::INFINITY;
        }
        if self.mantissa == 0 || other.mantissa == 0 {
            return if self.mantissa == 0 { other } else { self };
        }
        let (big, small) = match self.exponent.cmp(&other.exponent).then(self.mantissa.cmp(&other.mantissa)) {
            Ordering::Less => (other, self),
            _ => (self, other),
        };
        // 63 bits below the last one keep all that can decide the rounding; what falls off further is only "something".
        let shift = (big.exponent - small.exponent).unsigned_abs().min(127);
        let (high, low) = (u128::from(big.mantissa) << 63, u128::from(small.mantissa) << 63);
        let inexact = low & ((1 << shift) - 1) != 0;
        let sum = if big.negative == small.negative {
            high + (low >> shift)
        } else {
            high - (low >> shift) - u128::from(inexact)
        };
        LongDouble { negative: big.negative, ..rounded(sum, inexact, big.exponent - 63) }
    }

    pub fn is_infinite(self) -> bool {
        self.exponent == i32::MAX
    }
}

impl std::fmt::Display for LongDouble {
    /// Seventeen decimals, without the zeros at their end.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.is_infinite() {
            return f.write_str(if self.negative { "-inf" } else { "inf" });
        }
        if self.mantissa == 0 {
            return f.write_str("0");
        }
        if self.exponent >= 0 {
            let mut number = Big::from(self.mantissa);
            number.shift_left(self.exponent.unsigned_abs());
            return write!(f, "{}{}", if self.negative { "-" } else { "" }, number.into_decimal());
        }
        // At most 64 + 57 bits.
        let unit = 10_u128.pow(DECIMALS);
        let scaled = shift_right_to_even(u128::from(self.mantissa) * unit, self.exponent.unsigned_abs());
        let sign = if self.negative && scaled != 0 { "-" } else { "" };
        let decimals = format!("{:017}", scaled % unit);
        let decimals = decimals.trim_end_matches('0');
        let point = if decimals.is_empty() { "" } else { "." };
        write!(f, "{sign}{}{point}{decimals}", scaled / unit)
    }
}

/// The digits after "e". Absurd ones are bounded: they decide nothing any more.
fn parse_exponent(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let value = digits.iter().fold(0, |value: i64, byte| (value * 10 + i64::from(byte - b'0')).min(1 << 20));
    Some(if negative { -value } else { value })
}

/// The number `digits × 10^exponent`, rounded to 64 bits.
fn from_decimal(digits: impl Iterator<Item = u8>, exponent: i64) -> Option<LongDouble> {
    let mut number = Big::default();
    let mut significant = 0_i64;
    // Nine digits at a time fit into a word.
    let (mut group, mut unit) = (0, 1);
    for digit in digits {
        (group, unit) = (group * 10 + u32::from(digit), unit * 10);
        if unit == 1_000_000_000 {
            number.multiply_add(unit, group);
            (group, unit) = (0, 1);
        }
        significant += i64::from(significant > 0 || digit > 0);
    }
    number.multiply_add(unit, group);
    if significant == 0 {
        return Some(LongDouble::ZERO);
    }
    let magnitude = significant + exponent;
    if !(MIN_DECIMAL_EXPONENT..=MAX_DECIMAL_EXPONENT + 1).contains(&magnitude) {
        return None;
    }
    let tens = exponent.unsigned_abs();
    let mut inexact = false;
    let mut scale = 0;
    if exponent >= 0 {
        for power in powers_of_ten(tens) {
            number.multiply_add(power, 0);
        }
    } else {
        // The quotient needs 64 bits and one to round by; 10^n has fewer than 4n bits.
        scale = 4 * tens as u32 + 66;
        number.shift_left(scale);
        for power in powers_of_ten(tens) {
            inexact |= number.divide(power) != 0;
        }
    }
    let (top, dropped, lost) = number.top_bits();
    let value = rounded(top, inexact || lost, dropped as i32 - scale as i32);
    (!value.is_infinite()).then_some(value)
}

/// Factors that fit into 32 bits and multiply to 10^n.
fn powers_of_ten(n: u64) -> impl Iterator<Item = u32> {
    (0..n / 9).map(|_| 1_000_000_000).chain(std::iter::once(10_u32.pow((n % 9) as u32)))
}

/// `value × 2^exponent` and a bit more (`inexact`), rounded to 64 bits, half to even.
fn rounded(value: u128, inexact: bool, exponent: i32) -> LongDouble {
    if value == 0 {
        return LongDouble::ZERO;
    }
    let excess = 64 - value.leading_zeros() as i32;
    let (mut mantissa, mut exponent) = if excess <= 0 {
        (value << -excess, exponent + excess)
    } else {
        let half = 1_u128 << (excess - 1);
        let (kept, rest) = (value >> excess, value & ((1_u128 << excess) - 1));
        let up = rest > half || rest == half && (inexact || kept & 1 == 1);
        (kept + u128::from(up), exponent + excess)
    };
    if mantissa >> 64 != 0 {
        mantissa >>= 1;
        exponent += 1;
    }
    if exponent >= INFINITE_FROM {
        return LongDouble::INFINITY;
    }
    LongDouble { negative: false, exponent, mantissa: mantissa as u64 }
}

fn shift_right_to_even(value: u128, shift: u32) -> u128 {
    if shift >= 128 {
        return 0;
    }
    let (kept, rest, half) = (value >> shift, value & ((1 << shift) - 1), 1_u128 << (shift - 1));
    kept + u128::from(rest > half || rest == half && kept & 1 == 1)
}

/// A natural number of any size, least significant word first, without zeros on top.
#[derive(Debug, Default)]
struct Big(Vec<u32>);

impl From<u64> for Big {
    fn from(value: u64) -> Big {
        let mut big = Big(vec![value as u32, (value >> 32) as u32]);
        big.trim();
        big
    }
}

impl Big {
    fn trim(&mut self) {
        while self.0.last() == Some(&0) {
            self.0.pop();
        }
    }

    fn multiply_add(&mut self, factor: u32, addend: u32) {
        let mut carry = u64::from(addend);
        for word in &mut self.0 {
            let product = u64::from(*word) * u64::from(factor) + carry;
            *word = product as u32;
            carry = product >> 32;
        }
        if carry != 0 {
            self.0.push(carry as u32);
        }
    }

    /// Divides; returns the remainder.
    fn divide(&mut self, divisor: u32) -> u32 {
        let mut remainder = 0_u64;
        for word in self.0.iter_mut().rev() {
            let part = remainder << 32 | u64::from(*word);
            *word = (part / u64::from(divisor)) as u32;
            remainder = part % u64::from(divisor);
        }
        self.trim();
        remainder as u32
    }

    fn shift_left(&mut self, bits: u32) {
        self.multiply_add(1 << (bits % 32), 0);
        self.0.splice(0..0, std::iter::repeat_n(0, bits as usize / 32));
        self.trim();
    }

    /// The top four words, how many bits are below them, and whether any of those is set.
    fn top_bits(&self) -> (u128, usize, bool) {
        let below = self.0.len().saturating_sub(4);
        let top = self.0[below..].iter().rev().fold(0, |top, word| top << 32 | u128::from(*word));
        (top, below * 32, self.0[..below].iter().any(|word| *word != 0))
    }

    fn into_decimal(mut self) -> String {
        let mut groups = Vec::new();
        while !self.0.is_empty() {
            groups.push(self.divide(1_000_000_000));
        }
        let mut text = groups.pop().unwrap_or(0).to_string();
        for group in groups.iter().rev() {
            text.push_str(&format!("{group:09}"));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(a: &str, b: &str) -> String {
        LongDouble::parse(a.as_bytes()).unwrap().add(LongDouble::parse(b.as_bytes()).unwrap()).to_string()
    }

    #[test]
    fn sums_as_valkey_answers_them() {
        for (a, b, expected) in [
            ("0.1", "0.2", "0.3"),
            ("10.50", "0.1", "10.6"),
            ("10.6", "-5", "5.6"),
            ("5.0e3", "2.0e2", "5200"),
            ("3", "1.1", "4.1"),
            ("1", "-1", "0"),
            ("0", "-0.0", "0"),
            ("1e-30", "-2e-30", "0"),
            ("9223372036854775807", "1", "9223372036854775808"),
            ("17179869184", "0.00001", "17179869184.00001000054180622"),
            ("1e30", "1", "1000000000000000000024696061952"),
            (".5", "5.", "5.5"),
        ] {
            assert_eq!(sum(a, b), expected, "{a} + {b}");
        }
    }

    #[test]
    fn what_is_no_number() {
        for bad in
            ["", "-", ".", "e5", "1e", "1e+", "1.2.3", " 1", "1 ", "abc", "nan", "1e5000", "1e-5000", "0x"]
        {
            assert_eq!(LongDouble::parse(bad.as_bytes()), None, "{bad}");
        }
        assert!(LongDouble::parse(b"-inf").unwrap().is_infinite());
        assert_eq!(LongDouble::parse(b"0e99999"), Some(LongDouble::ZERO));
    }

    #[test]
    fn integers_are_exact() {
        for n in [1_u64, 7, 1 << 40, u64::MAX, u64::MAX - 1, 1 << 63] {
            let text = n.to_string();
            assert_eq!(LongDouble::parse(text.as_bytes()).unwrap().to_string(), text);
        }
    }
}
