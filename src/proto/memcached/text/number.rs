//! Numbers as they stand in command lines: decimal digits, leading zeros allowed, an optional minus where there may be one.

/// A number without sign.
#[inline]
pub fn unsigned(word: &[u8]) -> Option<u64> {
    if word.is_empty() {
        return None;
    }
    let mut number = 0_u64;
    for byte in word {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        number = number.checked_mul(10)?.checked_add(u64::from(digit))?;
    }
    Some(number)
}

/// A number that may be negative.
#[inline]
pub fn signed(word: &[u8]) -> Option<i64> {
    match word {
        [b'-', digits @ ..] => 0_i64.checked_sub_unsigned(unsigned(digits)?),
        digits => i64::try_from(unsigned(digits)?).ok(),
    }
}

/// Client flags: 32 bits.
#[inline]
pub fn flags(word: &[u8]) -> Option<u32> {
    u32::try_from(unsigned(word)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_digits_that_fit() {
        for (word, expected) in [
            ("0", Some(0)),
            ("007", Some(7)),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", None),
            ("99999999999999999999999", None),
            ("", None),
            ("+1", None),
            ("-1", None),
            ("1x", None),
        ] {
            assert_eq!(unsigned(word.as_bytes()), expected, "{word}");
        }
        assert_eq!(signed(b"-9223372036854775808"), Some(i64::MIN));
        assert_eq!(signed(b"9223372036854775807"), Some(i64::MAX));
        assert_eq!(signed(b"9223372036854775808"), None);
        assert_eq!((signed(b"-"), signed(b"--1"), signed(b"-0")), (None, None, Some(0)));
        assert_eq!((flags(b"4294967295"), flags(b"4294967296")), (Some(u32::MAX), None));
    }
}
