//! Sizes as people write them: `1.4GB`, `1400MB`, `1.5GiB`, `70%`, plain bytes; and back.

/// `--max-memory` as given.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum MemorySize {
    Bytes(usize),
    /// Of the control group's or the machine's memory.
    Percent(f64),
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SizeError {
    #[error(
        "a size is a number with B, KB, MB, GB, TB (powers of 1000) or KiB, MiB, GiB, TiB (of 1024), such as 1.4GB"
    )]
    Form,
    #[error("a share is above 0% and at most 100%")]
    Share,
    #[error("larger than an address space")]
    TooLarge,
}

/// A size or a share.
pub fn parse_memory(text: &str) -> Result<MemorySize, SizeError> {
    match text.trim().strip_suffix('%') {
        None => parse_bytes(text).map(MemorySize::Bytes),
        Some(percent) => match percent.trim().parse::<f64>() {
            Ok(percent) if percent > 0.0 && percent <= 100.0 => Ok(MemorySize::Percent(percent)),
            Ok(_) => Err(SizeError::Share),
            Err(_) => Err(SizeError::Form),
        },
    }
}

/// A size in bytes: SI units are powers of 1000, IEC units (`KiB`) of 1024; letter case does not matter.
pub fn parse_bytes(text: &str) -> Result<usize, SizeError> {
    parse_with(text, |unit| {
        Some(match unit {
            "" | "b" => 1,
            "k" | "kb" => 1_000,
            "m" | "mb" => 1_000_000,
            "g" | "gb" => 1_000_000_000,
            "t" | "tb" => 1_000_000_000_000,
            "kib" => 1 << 10,
            "mib" => 1 << 20,
            "gib" => 1 << 30,
            "tib" => 1 << 40,
            _ => return None,
        })
    })
}

/// A size as CONFIG SET takes it, in Redis's units: `1k` is 1000, `1kb` is 1024.
pub fn parse_redis_bytes(text: &str) -> Result<usize, SizeError> {
    parse_with(text, |unit| {
        Some(match unit {
            "" | "b" => 1,
            "k" => 1_000,
            "kb" | "kib" => 1 << 10,
            "m" => 1_000_000,
            "mb" | "mib" => 1 << 20,
            "g" => 1_000_000_000,
            "gb" | "gib" => 1 << 30,
            _ => return None,
        })
    })
}

fn parse_with(text: &str, unit_bytes: fn(&str) -> Option<u64>) -> Result<usize, SizeError> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = (&text[..end], text[end..].trim().to_ascii_lowercase());
    let unit_bytes = unit_bytes(&unit).ok_or(SizeError::Form)?;
    // Whole numbers stay exact; a fraction of a unit is rounded down to bytes.
    if let Ok(whole) = number.parse::<u64>() {
        let bytes = whole.checked_mul(unit_bytes).ok_or(SizeError::TooLarge)?;
        return usize::try_from(bytes).map_err(|_| SizeError::TooLarge);
    }
    if number.bytes().all(|b| b.is_ascii_digit()) && !number.is_empty() {
        return Err(SizeError::TooLarge);
    }
    let number: f64 = number.parse().map_err(|_| SizeError::Form)?;
    let bytes = number * unit_bytes as f64;
    if bytes >= (1u64 << 62) as f64 {
        return Err(SizeError::TooLarge);
    }
    Ok(bytes as usize)
}

/// Bytes as people read them, in powers of 1000 and at most four digits: `1.4 GB`, `357.9 MB`.
pub fn format_bytes(bytes: usize) -> String {
    const UNITS: [&str; 5] = ["B", "KB", "MB", "GB", "TB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 999.95 && unit + 1 < UNITS.len() {
        value /= 1_000.0;
        unit += 1;
    }
    let text = if unit == 0 { format!("{value:.0}") } else { format!("{value:.2}") };
    let text =
        if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_string() } else { text };
    format!("{text} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("0", 0),
            ("1500000000", 1_500_000_000),
            ("1.4GB", 1_400_000_000),
            ("1.4 GB", 1_400_000_000),
            ("1400MB", 1_400_000_000),
            ("1.5GiB", 1_610_612_736),
            ("64mib", 64 << 20),
            ("10k", 10_000),
            ("10kb", 10_000),
            ("7B", 7),
            (".5KiB", 512),
        ] {
            assert_eq!(parse_bytes(text), Ok(bytes), "{text}");
            assert_eq!(parse_memory(text), Ok(MemorySize::Bytes(bytes)), "{text}");
        }
        for text in ["", "GB", "1.4.1GB", "1XB", "-5MB", "1e9", "GB1", ".", "1,5GB", "0x10"] {
            assert_eq!(parse_bytes(text), Err(SizeError::Form), "{text}");
        }
        for text in ["99999999999999999999", "99999999TB", "9999999.9TB"] {
            assert_eq!(parse_bytes(text), Err(SizeError::TooLarge), "{text}");
        }
    }

    #[test]
    fn shares() {
        assert_eq!(parse_memory("70%"), Ok(MemorySize::Percent(70.0)));
        assert_eq!(parse_memory("12.5 %"), Ok(MemorySize::Percent(12.5)));
        for text in ["0%", "101%", "-1%", "nan%"] {
            assert_eq!(parse_memory(text), Err(SizeError::Share), "{text}");
        }
        assert_eq!(parse_memory("x%"), Err(SizeError::Form));
    }

    #[test]
    fn redis_units_differ() {
        assert_eq!(parse_redis_bytes("100mb"), Ok(100 << 20));
        assert_eq!(parse_redis_bytes("100m"), Ok(100_000_000));
        assert_eq!(parse_redis_bytes("1GB"), Ok(1 << 30));
        assert_eq!(parse_redis_bytes("12"), Ok(12));
        assert_eq!(parse_redis_bytes("1tb"), Err(SizeError::Form));
    }

    #[test]
    fn bytes_as_people_read_them() {
        for (bytes, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1_000, "1 KB"),
            (1_400_000_000, "1.4 GB"),
            (357_913_941, "357.91 MB"),
            (999_999, "1 MB"),
            (16 << 20, "16.78 MB"),
            (5_000_000_000_000_000, "5000 TB"),
        ] {
            assert_eq!(format_bytes(bytes), text);
        }
    }
}
