//! A heat map: a value for each pair of two settings, as colour and in figures.

use super::frame::{Canvas, Chart, hover_cell, picture, px, text_width};
use super::unit::Unit;
use maud::{Markup, html};

/// A chart of cells.
///
/// ```text
/// HeatMap {
///     title: "Throughput".into(),
///     caption: String::new(),
///     column_label: "pipeline".into(), columns: vec!["1".into(), "64".into()],
///     row_label: "connections".into(), rows: vec!["1".into(), "100".into()],
///     unit: Unit::PerSecond,
///     cells: vec![vec![Some(5e4), Some(1e6)], vec![Some(2e5), None]], // row by row; None: not measured
/// }
/// ```
#[derive(Clone, Debug)]
pub struct HeatMap {
    pub title: String,
    pub caption: String,
    pub column_label: String,
    pub columns: Vec<String>,
    pub row_label: String,
    pub rows: Vec<String>,
    pub unit: Unit,
    pub cells: Vec<Vec<Option<f64>>>,
}

const CELL: f64 = 40.0;
const TOP: f64 = 26.0;
const BELOW: f64 = 46.0;
/// Values further apart than this are coloured by their logarithm.
const WIDE_RANGE: f64 = 10.0;

/// Viridis at even steps: perceptually even, readable without colour vision, published by its authors as CC0.
const VIRIDIS: [[f64; 3]; 9] = [
    [68.0, 1.0, 84.0],
    [72.0, 40.0, 120.0],
    [62.0, 74.0, 137.0],
    [49.0, 104.0, 142.0],
    [38.0, 130.0, 142.0],
    [31.0, 158.0, 137.0],
    [53.0, 183.0, 121.0],
    [110.0, 206.0, 88.0],
    [181.0, 222.0, 43.0],
];

/// The colour for a share between 0 and 1, and whether text on it should be dark.
fn colour(share: f64) -> (String, bool) {
    let place = share.clamp(0.0, 1.0) * (VIRIDIS.len() - 1) as f64;
    // Within the table: `place` is at most its last index.
    let below = (place.floor() as usize).min(VIRIDIS.len() - 2);
    let part = place - below as f64;
    let [r, g, b] = [0, 1, 2].map(|c| VIRIDIS[below][c] + (VIRIDIS[below + 1][c] - VIRIDIS[below][c]) * part);
    (format!("rgb({r:.0} {g:.0} {b:.0})"), share > 0.55)
}

impl HeatMap {
    /// Where a value lies between the lowest and the highest.
    fn share(&self, value: f64) -> f64 {
        let known = self.cells.iter().flatten().flatten().copied().filter(|value| value.is_finite());
        let (low, high) = known.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
        if high <= low {
            return 0.5;
        }
        if low > 0.0 && high / low > WIDE_RANGE {
            return (value / low).ln() / (high / low).ln();
        }
        (value - low) / (high - low)
    }

    fn draw_cell(&self, [x, y, width]: [f64; 3], row: usize, column: usize) -> Markup {
        let value = self.cells.get(row).and_then(|cells| cells.get(column)).copied().flatten();
        let Some(value) = value.filter(|value| value.is_finite()) else {
            return html! {
                rect.unmeasured x=(px(x)) y=(px(y)) width=(px(width - 3.0)) height=(px(CELL - 3.0)) rx="4" {}
            };
        };
        let (fill, dark_text) = colour(self.share(value));
        let figure = self.unit.figure(value);
        // In a narrow cell the unit is in the title already.
        let text = if text_width(&figure) > width - 6.0 {
            figure.replace("/s", "").replace(' ', "")
        } else {
            figure.clone()
        };
        let tip = format!(
            "{} {}, {} {}: {figure}",
            self.row_label, self.rows[row], self.column_label, self.columns[column]
        );
        html! {
            (hover_cell([x, y, width - 3.0, CELL - 3.0], &fill, &tip))
            text class=(if dark_text { "on-light" } else { "on-dark" }) x=(px(x + (width - 3.0) / 2.0))
                y=(px(y + CELL / 2.0 + 3.0)) text-anchor="middle" { (text) }
        }
    }
}

impl Chart for HeatMap {
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
        let names = self.rows.iter().map(|name| text_width(name)).fold(0.0, f64::max);
        let left = names.max(20.0) + 10.0;
        let width = ((canvas.width - left) / self.columns.len().max(1) as f64).min(165.0);
        let bottom = TOP + self.rows.len() as f64 * CELL;
        let canvas = Canvas { height: bottom + BELOW, ..canvas };
        let content = html! {
            text.axis-name x="2" y="14" { (self.row_label) }
            @for (row, name) in self.rows.iter().enumerate() {
                @let y = TOP + row as f64 * CELL;
                text.tick x=(px(left - 8.0)) y=(px(y + CELL / 2.0 + 3.0)) text-anchor="end" { (name) }
                @for column in 0..self.columns.len() {
                    (self.draw_cell([left + column as f64 * width, y, width], row, column))
                }
            }
            @for (column, name) in self.columns.iter().enumerate() {
                text.tick x=(px(left + (column as f64 + 0.5) * width - 1.5)) y=(px(bottom + 16.0)) text-anchor="middle" { (name) }
            }
            text.axis-name x=(px(left + self.columns.len() as f64 * width / 2.0)) y=(px(bottom + 37.0)) text-anchor="middle" {
                (self.column_label)
            }
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
    fn cells_carry_their_value_and_gaps_stay_empty() {
        let map = HeatMap {
            title: "t".into(),
            caption: String::new(),
            column_label: "pipeline".into(),
            columns: vec!["1".into(), "<64>".into()],
            row_label: "connections".into(),
            rows: vec!["1".into(), "10".into()],
            unit: Unit::PerSecond,
            cells: vec![vec![Some(5e4), Some(1e6)], vec![Some(2e5)]],
        };
        for canvas in [WIDE, NARROW] {
            let drawn = elements(&map.svg(canvas).0);
            assert_eq!(drawn.iter().filter(|e| e.is("rect", "cell")).count(), 3);
            assert_eq!(drawn.iter().filter(|e| e.is("rect", "unmeasured")).count(), 1);
            assert!(drawn.iter().any(|e| e.text == "connections 1, pipeline <64>: 1.00 M/s"));
        }
        assert_eq!((map.share(5e4), map.share(1e6)), (0.0, 1.0));
        assert!((map.share((5e4f64 * 1e6).sqrt()) - 0.5).abs() < 1e-9, "far apart: by the logarithm");
    }

    #[test]
    fn colours_run_from_dark_to_light() {
        assert_eq!(colour(0.0), ("rgb(68 1 84)".into(), false));
        assert_eq!(colour(1.0), ("rgb(181 222 43)".into(), true));
    }
}
