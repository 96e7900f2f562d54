//! From values to places on an axis: where they fall (0 to 1), which ticks to draw, and what stands beside them.

use super::unit::Unit;

/// How an axis spreads its values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// From zero if the values come near it, in even steps.
    Linear,
    /// In even steps over the values alone: for ratios, whose zero means nothing.
    Near,
    /// By powers (of two for bytes, of ten for all else). Values must be above zero.
    Log,
    /// Percentiles 0 to 100, each further nine as wide as the one before: 0, 50, 90, 99, 99.9, 99.99.
    Percentile,
}

/// An axis as a chart's author describes it.
///
/// ```text
/// Axis { label: "cache size".into(), unit: Unit::Bytes, scale: Scale::Log }
/// ```
#[derive(Clone, Debug)]
pub struct Axis {
    pub label: String,
    pub unit: Unit,
    pub scale: Scale,
}

impl Axis {
    pub fn new(label: &str, unit: Unit, scale: Scale) -> Axis {
        Axis { label: label.into(), unit, scale }
    }
}

/// A tick: where (0 to 1) and its text; none for the fine ticks between.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tick {
    pub at: f64,
    pub text: Option<String>,
}

/// An axis fitted to its values.
pub(super) struct Fitted {
    scale: Scale,
    unit: Unit,
    /// In the scale's own measure: logarithms, or nines.
    low: f64,
    high: f64,
}

/// Of percentiles: five nines and no more, or the tail of a single request would fill half a picture.
const MOST_NINES: f64 = 5.0;

impl Fitted {
    /// Over all finite values. `ticks` is about how many labels there is room for.
    pub fn new(axis: &Axis, values: impl Iterator<Item = f64>, ticks: usize) -> Fitted {
        let Axis { scale, unit, .. } = *axis;
        let measured = values.map(|value| measure(scale, value)).filter(|place| place.is_finite());
        let (mut low, mut high) = measured
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), place| (low.min(place), high.max(place)));
        if low > high {
            (low, high) = (0.0, 1.0);
        }
        match scale {
            Scale::Linear | Scale::Near => {
                // A picture that starts at zero lies less; one whose values differ by little shows nothing.
                if scale == Scale::Linear && low > 0.0 && low < high * 0.7 {
                    low = 0.0;
                }
                if high - low < high.abs() * 1e-9 || high == low {
                    (low, high) = (low.min(0.0), if high == 0.0 { 1.0 } else { high.max(0.0) });
                }
                let step = step_for(high - low, ticks, unit);
                low = (low / step + 1e-9).floor() * step;
                high = (high / step - 1e-9).ceil() * step;
            }
            Scale::Log => {
                let room = (high - low).max(0.1) * 0.02;
                (low, high) = (low - room, high + room);
            }
            Scale::Percentile => (low, high) = (0.0, high.max(1.0)),
        }
        Fitted { scale, unit, low, high }
    }

    /// Where a value lies: 0 at the axis's beginning, 1 at its end.
    pub fn place(&self, value: f64) -> f64 {
        ((measure(self.scale, value) - self.low) / (self.high - self.low)).clamp(0.0, 1.0)
    }

    pub fn ticks(&self, wanted: usize) -> Vec<Tick> {
        match self.scale {
            Scale::Linear | Scale::Near => self.linear_ticks(wanted),
            Scale::Log => self.log_ticks(wanted),
            Scale::Percentile => {
                let all = [0.0, 50.0, 90.0, 99.0, 99.9, 99.99, 99.999];
                let shown = all.into_iter().filter(|p| measure(self.scale, *p) <= self.high + 1e-9);
                shown.map(|p| Tick { at: self.place(p), text: Some(format!("{p}")) }).collect()
            }
        }
    }

    fn linear_ticks(&self, wanted: usize) -> Vec<Tick> {
        let step = step_for(self.high - self.low, wanted, self.unit);
        let first = (self.low / step - 1e-9).ceil();
        let values = (0..=2 * wanted).map(|n| (first + n as f64) * step);
        let shown = values.take_while(|value| *value <= self.high + step * 1e-6);
        shown.map(|value| Tick { at: self.place(value), text: Some(self.unit.short(value)) }).collect()
    }

    /// Labels at whole powers, every second or third if there are many; at 1, 2, 5 between them if there are few.
    fn log_ticks(&self, wanted: usize) -> Vec<Tick> {
        let base: f64 = if self.unit == Unit::Bytes { 2.0 } else { 10.0 };
        let power_of = |place: f64| place * 10f64.ln() / base.ln();
        let (from, to) = (power_of(self.low), power_of(self.high));
        let stride = ((to - from) / wanted as f64).ceil().max(1.0);
        let between: &[f64] = match (base == 2.0, to - from) {
            (true, _) => &[],
            (false, span) if span * 3.0 <= wanted as f64 + 2.0 => &[2.0, 5.0],
            (false, _) => &[],
        };
        let mut ticks = Vec::new();
        let mut power = from.floor();
        while power <= to {
            let value = base.powf(power);
            let labelled = power.rem_euclid(stride) < 0.5;
            for factor in std::iter::once(1.0).chain((2..10).map(f64::from)) {
                let exact = value * factor;
                let place = exact.log10();
                if place < self.low - 1e-9 || place > self.high + 1e-9 || (base == 2.0 && factor > 1.0) {
                    continue;
                }
                let text =
                    (factor == 1.0 && labelled || between.contains(&factor)).then(|| self.unit.short(exact));
                ticks.push(Tick { at: self.place(exact), text });
            }
            power += 1.0;
        }
        ticks
    }
}

/// A value in the scale's own measure.
fn measure(scale: Scale, value: f64) -> f64 {
    match scale {
        Scale::Linear | Scale::Near => value,
        Scale::Log => value.log10(),
        Scale::Percentile => (-(1.0 - value / 100.0).max(0.0).log10()).clamp(0.0, MOST_NINES),
    }
}

/// The step among 1, 2, 2.5, 5 × 10ⁿ (1, 2, 4 … × a binary prefix for bytes) that gives about so many ticks.
fn step_for(span: f64, ticks: usize, unit: Unit) -> f64 {
    let rough = (span / ticks.max(1) as f64).max(f64::MIN_POSITIVE);
    if unit == Unit::Bytes {
        return 2f64.powf(rough.log2().ceil());
    }
    let power = 10f64.powf(rough.log10().floor());
    let factors = [1.0, 2.0, 2.5, 5.0, 10.0];
    power * factors.into_iter().find(|factor| factor * power >= rough * 0.999).unwrap_or(10.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(axis: Axis, values: &[f64], wanted: usize) -> Vec<String> {
        let fitted = Fitted::new(&axis, values.iter().copied(), wanted);
        fitted.ticks(wanted).into_iter().filter_map(|tick| tick.text).collect()
    }

    #[test]
    fn linear_axes_start_at_zero_in_round_steps() {
        let axis = Axis::new("rate", Unit::PerSecond, Scale::Linear);
        assert_eq!(
            texts(axis, &[120e3, 870e3], 5),
            ["0", "200 k/s", "400 k/s", "600 k/s", "800 k/s", "1 M/s"]
        );
    }

    #[test]
    fn logarithmic_axes_label_powers() {
        let bytes = Axis::new("size", Unit::Bytes, Scale::Log);
        assert_eq!(texts(bytes, &[16.0, 4096.0], 9).first().map(String::as_str), Some("16 B"));
        let times = Axis::new("time", Unit::Nanoseconds, Scale::Log);
        assert_eq!(texts(times, &[900.0, 2e6], 5), ["1 µs", "10 µs", "100 µs", "1 ms"]);
    }

    #[test]
    fn percentiles_spread_by_nines() {
        let axis = Axis::new("percentile", Unit::Count, Scale::Percentile);
        let fitted = Fitted::new(&axis, [0.0, 99.9].into_iter(), 5);
        let place = |p| (fitted.place(p) * 3.0 * 1e6).round() / 1e6;
        assert_eq!([place(0.0), place(90.0), place(99.0), place(99.9)], [0.0, 1.0, 2.0, 3.0]);
        assert_eq!(texts(axis, &[0.0, 99.9], 5), ["0", "50", "90", "99", "99.9"]);
    }

    #[test]
    fn no_values_and_equal_values_still_make_an_axis() {
        for scale in [Scale::Linear, Scale::Near, Scale::Log, Scale::Percentile] {
            for values in [&[][..], &[7.0, 7.0], &[0.0], &[f64::NAN]] {
                let fitted = Fitted::new(&Axis::new("x", Unit::Count, scale), values.iter().copied(), 5);
                let place = fitted.place(7.0);
                assert!((0.0..=1.0).contains(&place), "{scale:?} {values:?}: {place}");
                assert!(fitted.ticks(5).len() < 200);
            }
        }
    }
}
