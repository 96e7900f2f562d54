//! Numbers as people read them: each quantity with its own prefixes, three digits that matter, no more.

/// What a number measures; decides how it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Plain numbers: 950, 12.3 k, 1.2 M.
    Count,
    /// Requests per second and the like: 1.2 M/s.
    PerSecond,
    /// Given in bytes, written with binary prefixes: 64 B, 1.5 KiB.
    Bytes,
    /// Given in nanoseconds: 850 ns, 12.3 µs, 4.1 ms, 2 s.
    Nanoseconds,
    /// Given in seconds: 0.5 s, 90 s.
    Seconds,
    /// A share of one, written in percent: 12.5 %.
    Share,
    /// One thing as a multiple of another: 1.42 ×.
    Ratio,
}

const DECIMAL: [(f64, &str); 4] = [(1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")];
const BINARY: [(f64, &str); 4] = [
    ((1u64 << 40) as f64, "TiB"),
    ((1u64 << 30) as f64, "GiB"),
    ((1u64 << 20) as f64, "MiB"),
    ((1u64 << 10) as f64, "KiB"),
];
const TIMES: [(f64, &str); 3] = [(1e9, "s"), (1e6, "ms"), (1e3, "µs")];
/// Just below 1000: what rounding would lift there takes the next prefix.
const ALMOST: f64 = 0.9995;

impl Unit {
    /// With three significant digits, trailing zeros cut: for ticks and labels.
    pub fn short(self, value: f64) -> String {
        self.write(value, digits_cut)
    }

    /// With three significant digits, zeros kept: for columns of figures.
    pub fn figure(self, value: f64) -> String {
        self.write(value, digits)
    }

    fn write(self, value: f64, digits: fn(f64) -> String) -> String {
        let (scaled, suffix) = match self {
            Unit::Count | Unit::PerSecond => prefixed(value, &DECIMAL, ""),
            Unit::Bytes => prefixed(value, &BINARY, "B"),
            Unit::Nanoseconds => prefixed(value, &TIMES, "ns"),
            Unit::Seconds => (value, "s"),
            Unit::Share => (value * 100.0, "%"),
            Unit::Ratio => (value, "×"),
        };
        let whole = matches!(self, Unit::Count | Unit::Bytes) && scaled.fract() == 0.0 && scaled.abs() < 1e4;
        let number = if whole { format!("{scaled:.0}") } else { digits(scaled) };
        match (self, suffix) {
            (Unit::PerSecond, "") if value == 0.0 => number,
            (Unit::PerSecond, "") => format!("{number} /s"),
            (Unit::PerSecond, prefix) => format!("{number} {prefix}/s"),
            (_, "") => number,
            (_, suffix) => format!("{number} {suffix}"),
        }
    }
}

fn prefixed(value: f64, prefixes: &[(f64, &'static str)], none: &'static str) -> (f64, &'static str) {
    let fits = |(size, _): &&(f64, &str)| value.abs() >= size * ALMOST;
    prefixes.iter().find(fits).map_or((value, none), |(size, name)| (value / size, name))
}

/// Three significant digits, but never fewer than the integer part has.
fn digits(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return if value == 0.0 { "0".into() } else { "–".into() };
    }
    let decimals = match value.abs() {
        size if size >= 99.95 => 0,
        size if size >= 9.995 => 1,
        size if size >= 0.995 => 2,
        size if size >= 0.0995 => 3,
        _ => 4,
    };
    format!("{value:.decimals$}")
}

fn digits_cut(value: f64) -> String {
    let text = digits(value);
    if !text.contains('.') {
        return text;
    }
    let cut = text.trim_end_matches('0').trim_end_matches('.');
    if cut == "0" || cut == "-0" { format!("{value:.1e}") } else { cut.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits_that_matter() {
        let cases = [
            (Unit::Count, 950.0, "950", "950"),
            (Unit::Count, 12_340.0, "12.3 k", "12.3 k"),
            (Unit::PerSecond, 1_200_000.0, "1.2 M/s", "1.20 M/s"),
            (Unit::PerSecond, 7.0, "7 /s", "7.00 /s"),
            (Unit::Bytes, 64.0, "64 B", "64 B"),
            (Unit::Bytes, 1536.0, "1.5 KiB", "1.50 KiB"),
            (Unit::Bytes, 1_048_575.0, "1 MiB", "1.00 MiB"),
            (Unit::Nanoseconds, 850.0, "850 ns", "850 ns"),
            (Unit::Nanoseconds, 999_700.0, "1 ms", "1.00 ms"),
            (Unit::Nanoseconds, 4_100_000.0, "4.1 ms", "4.10 ms"),
            (Unit::Share, 0.1255, "12.6 %", "12.6 %"),
            (Unit::Share, 0.0, "0 %", "0 %"),
            (Unit::Ratio, 1.423, "1.42 ×", "1.42 ×"),
            (Unit::Ratio, 0.987, "0.987 ×", "0.987 ×"),
        ];
        for (unit, value, short, figure) in cases {
            assert_eq!(unit.short(value), short, "{unit:?} {value}");
            assert_eq!(unit.figure(value), figure, "{unit:?} {value}");
        }
    }

    #[test]
    fn tiny_numbers_do_not_become_zero() {
        assert_eq!(Unit::Ratio.short(0.000_02), "2.0e-5 ×");
        assert_eq!(Unit::Ratio.short(f64::NAN), "– ×");
    }
}
