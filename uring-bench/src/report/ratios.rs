//! Ratios round by round: a dot for each round, a box over the middle half, the median as a bar and in figures.

use super::frame::{Canvas, Chart, hover, picture, px, style_of, text_width};
use super::scale::{Axis, Fitted, Scale};
use super::unit::Unit;
use maud::{Markup, html};

/// What one contender did in every round, as a multiple of what the baseline did in the same round.
#[derive(Clone, Debug)]
pub struct Ratios {
    pub name: String,
    pub rounds: Vec<f64>,
}

/// A chart of per-round ratios.
///
/// ```text
/// RatioChart {
///     title: "Requests per server-CPU-second against Valkey".into(),
///     caption: "Right of the line is better.".into(),
///     label: "ours / Valkey's".into(),
///     rows: vec![Ratios { name: "GET, pipeline 1".into(), rounds: vec![1.41, 1.44, 1.39] }],
/// }
/// ```
#[derive(Clone, Debug)]
pub struct RatioChart {
    pub title: String,
    pub caption: String,
    /// What is divided by what.
    pub label: String,
    pub rows: Vec<Ratios>,
}

/// The middle of sorted values and of their lower and upper half.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    pub lower: f64,
    pub median: f64,
    pub upper: f64,
}

impl Spread {
    /// Quartiles by linear interpolation; none without values.
    pub fn of(values: &[f64]) -> Option<Spread> {
        let mut sorted: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
        sorted.sort_by(f64::total_cmp);
        let at = |share: f64| {
            let place = share * (sorted.len().checked_sub(1)? as f64);
            // Within the slice: `place` lies between zero and its last index.
            let (below, part) = (place.floor() as usize, place.fract());
            let above = sorted[(below + 1).min(sorted.len() - 1)];
            Some(sorted[below] + (above - sorted[below]) * part)
        };
        Some(Spread { lower: at(0.25)?, median: at(0.5)?, upper: at(0.75)? })
    }

    /// "1.42 × (1.39 to 1.44)".
    pub fn text(&self) -> String {
        let bare = |value| Unit::Ratio.figure(value).trim_end_matches(" ×").to_owned();
        format!("{} ({} to {})", Unit::Ratio.figure(self.median), bare(self.lower), bare(self.upper))
    }
}

const ROW: f64 = 44.0;
const TOP: f64 = 8.0;
const BELOW: f64 = 46.0;

/// Where a picture's columns begin.
struct Columns {
    axis: Fitted,
    left: f64,
    right: f64,
    /// Names above the rows, where there is no room beside them.
    stacked: bool,
    row_height: f64,
}

impl Columns {
    fn across(&self, value: f64) -> f64 {
        self.left + self.axis.place(value) * (self.right - self.left)
    }
}

impl RatioChart {
    fn columns(&self, canvas: Canvas) -> Columns {
        let all = || self.rows.iter().flat_map(|row| row.rounds.iter().copied()).filter(|r| *r > 0.0);
        let (low, high) = all().fold((1.0f64, 1.0f64), |(low, high), r| (low.min(r), high.max(r)));
        // Twice and half as fast are equally far apart only on a logarithmic axis; it pays once they are far apart.
        let scale = if high / low > 5.0 { Scale::Log } else { Scale::Near };
        let axis = Fitted::new(&Axis::new("", Unit::Ratio, scale), all().chain([1.0]), 6);
        let stacked = canvas.width < 600.0;
        let longest = self.rows.iter().map(|row| text_width(&row.name)).fold(40.0, f64::max);
        let left = if stacked { 12.0 } else { (longest + 16.0).min(canvas.width * 0.35) };
        let right = if stacked { canvas.width - 14.0 } else { canvas.width - 170.0 };
        let row_height = if stacked { ROW + 18.0 } else { ROW };
        Columns { axis, left, right, stacked, row_height }
    }

    fn draw_row(&self, columns: &Columns, number: usize, row: &Ratios, edge: f64) -> Markup {
        let top = TOP + number as f64 * columns.row_height;
        let middle = top + columns.row_height - ROW / 2.0;
        let spread = Spread::of(&row.rounds);
        let name_at = if columns.stacked { (columns.left, top + 15.0) } else { (0.0, middle + 4.0) };
        let figures_y = if columns.stacked { top + 15.0 } else { middle + 4.0 };
        html! {
            text.row-name x=(px(name_at.0)) y=(px(name_at.1)) { (row.name) }
            @if let Some(spread) = spread {
                text.spread x=(px(edge)) y=(px(figures_y)) text-anchor="end" { (spread.text()) }
                @let [from, to, at] = [spread.lower, spread.upper, spread.median].map(|value| columns.across(value));
                g class=(style_of(number)) {
                    rect.box x=(px(from)) y=(px(middle - 11.0)) width=(px((to - from).max(1.0))) height="22" rx="3" {}
                    @for (round, ratio) in row.rounds.iter().enumerate().filter(|(_, ratio)| ratio.is_finite()) {
                        circle.dot cx=(px(columns.across(*ratio))) cy=(px(middle + jitter(round))) r="2.8" {}
                    }
                    path.median d={ "M" (px(at)) " " (px(middle - 14.0)) "V" (px(middle + 14.0)) } {}
                }
                @for (round, ratio) in row.rounds.iter().enumerate().filter(|(_, ratio)| ratio.is_finite()) {
                    (hover(columns.across(*ratio), middle + jitter(round), number,
                        &format!("{}, round {}: {}", row.name, round + 1, Unit::Ratio.figure(*ratio))))
                }
            } @else {
                text.spread x=(px(edge)) y=(px(figures_y)) text-anchor="end" { "no rounds" }
            }
        }
    }
}

/// Sets dots of neighbouring rounds apart, the same way every time.
fn jitter(round: usize) -> f64 {
    [0.0, 5.0, -5.0, 2.5, -2.5, 7.5, -7.5][round % 7]
}

impl Chart for RatioChart {
    fn title(&self) -> &str {
        &self.title
    }

    fn caption(&self) -> &str {
        &self.caption
    }

    fn legend(&self) -> Vec<&str> {
        Vec::new()
    }

    fn svg(&self, canvas: Canvas) -> Markup {
        let columns = self.columns(canvas);
        let bottom = TOP + self.rows.len() as f64 * columns.row_height;
        let canvas = Canvas { height: bottom + BELOW, ..canvas };
        let even = columns.across(1.0);
        let content = html! {
            g.grid {
                @for tick in columns.axis.ticks(6) {
                    @let x = px(columns.left + tick.at * (columns.right - columns.left));
                    path.major d={ "M" (x) " " (px(TOP)) "V" (px(bottom)) } {}
                    @if let Some(text) = &tick.text {
                        text.tick x=(x) y=(px(bottom + 17.0)) text-anchor="middle" { (text) }
                    }
                }
                path.even d={ "M" (px(even)) " " (px(TOP)) "V" (px(bottom)) } {}
            }
            @for (number, row) in self.rows.iter().enumerate() {
                (self.draw_row(&columns, number, row, canvas.width - 4.0))
            }
            text.axis-name x=(px((columns.left + columns.right) / 2.0)) y=(px(bottom + 38.0)) text-anchor="middle" { (self.label) }
        };
        picture(canvas, &self.title, content)
    }
}

#[cfg(test)]
mod tests {
    use super::super::frame::{NARROW, WIDE};
    use super::super::testing::elements;
    use super::*;

    #[test]
    fn quartiles_are_interpolated() {
        let spread = Spread::of(&[4.0, 1.0, 3.0, 2.0]).unwrap();
        assert_eq!(spread, Spread { lower: 1.75, median: 2.5, upper: 3.25 });
        assert_eq!(Spread::of(&[f64::NAN]), None);
        assert_eq!(Spread::of(&[1.5]).unwrap().text(), "1.50 × (1.50 to 1.50)");
    }

    #[test]
    fn a_dot_for_every_round_and_a_line_at_one() {
        let rows = vec![
            Ratios { name: "GET & <SET>".into(), rounds: vec![1.2, 1.3, 1.25] },
            Ratios { name: "none".into(), rounds: vec![] },
        ];
        let chart = RatioChart { title: "t".into(), caption: String::new(), label: "a / b".into(), rows };
        for canvas in [WIDE, NARROW] {
            let drawn = elements(&chart.svg(canvas).0);
            assert_eq!(drawn.iter().filter(|e| e.is("circle", "dot")).count(), 3);
            assert!(drawn.iter().any(|e| e.is("path", "even")));
            assert!(drawn.iter().any(|e| e.text == "no rounds"));
            assert!(drawn.iter().any(|e| e.text == "GET & <SET>"));
        }
    }
}
