//! Lines: one or several series over a linear or logarithmic axis, and the curve of latency percentiles.

use super::frame::{Canvas, Chart, Frame, hover, mark, picture, px, style_of};
use super::scale::{Axis, Scale};
use super::unit::Unit;
use hdrhistogram::Histogram;
use maud::{Markup, html};

/// Points of one name, in the order of their x.
#[derive(Clone, Debug)]
pub struct Series {
    pub name: String,
    pub points: Vec<(f64, f64)>,
}

/// A chart of lines.
///
/// ```text
/// LineChart {
///     title: "Throughput over time".into(),
///     caption: String::new(),
///     x: Axis::new("time", Unit::Seconds, Scale::Linear),
///     y: Axis::new("requests per second", Unit::PerSecond, Scale::Linear),
///     series: vec![Series { name: "get".into(), points: vec![(0.0, 1.2e6), (1.0, 1.3e6)] }],
/// }
/// ```
#[derive(Clone, Debug)]
pub struct LineChart {
    pub title: String,
    pub caption: String,
    pub x: Axis,
    pub y: Axis,
    pub series: Vec<Series>,
}

/// Series of more points than this are drawn as plain lines: marks would hide them.
const MOST_MARKS: usize = 24;

impl LineChart {
    /// Latency over its percentiles, one line per named histogram of nanoseconds.
    pub fn percentiles(title: &str, histograms: &[(&str, &Histogram<u64>)]) -> LineChart {
        let series =
            histograms.iter().map(|(name, h)| Series { name: (*name).into(), points: percentiles_of(h) });
        LineChart {
            title: title.into(),
            caption: String::new(),
            x: Axis::new("percentile", Unit::Count, Scale::Percentile),
            y: Axis::new("latency", Unit::Nanoseconds, Scale::Log),
            series: series.collect(),
        }
    }

    fn draw_series(&self, frame: &Frame, number: usize, series: &Series) -> Markup {
        let drawable = |(x, y): &&(f64, f64)| {
            let fits =
                |axis: &Axis, value: f64| value.is_finite() && (axis.scale != Scale::Log || value > 0.0);
            fits(&self.x, *x) && fits(&self.y, *y)
        };
        let placed: Vec<_> =
            series.points.iter().filter(drawable).map(|point| (frame.place(*point), *point)).collect();
        let path: String = placed
            .iter()
            .enumerate()
            .map(|(n, ((x, y), _))| format!("{}{} {}", if n == 0 { "M" } else { "L" }, px(*x), px(*y)))
            .collect();
        let tip = |(x, y): (f64, f64)| {
            let x = if self.x.scale == Scale::Percentile { format!("p{x}") } else { self.x.unit.figure(x) };
            format!("{}: {} at {x}", series.name, self.y.unit.figure(y))
        };
        html! {
            g class=(style_of(number)) {
                path.line d=(path) {}
                @if placed.len() <= MOST_MARKS {
                    @for ((x, y), _) in &placed { (mark(number, *x, *y, 3.2)) }
                }
            }
            @for ((x, y), point) in &placed { (hover(*x, *y, number, &tip(*point))) }
        }
    }
}

impl Chart for LineChart {
    fn title(&self) -> &str {
        &self.title
    }

    fn caption(&self) -> &str {
        &self.caption
    }

    fn legend(&self) -> Vec<&str> {
        self.series.iter().map(|series| series.name.as_str()).collect()
    }

    fn svg(&self, canvas: Canvas) -> Markup {
        let axes = [&self.x, &self.y];
        let points = self.series.iter().flat_map(|series| series.points.iter().copied());
        let frame = Frame::new(canvas, axes, points);
        let content = html! {
            (frame.draw(axes))
            @for (number, series) in self.series.iter().enumerate() { (self.draw_series(&frame, number, series)) }
        };
        picture(canvas, &self.title, content)
    }
}

/// Ten points for each further nine, up to where a single value is left.
fn percentiles_of(histogram: &Histogram<u64>) -> Vec<(f64, f64)> {
    let mut points = Vec::new();
    let (mut step, count) = (0, histogram.len() as f64);
    loop {
        let rest = 10f64.powf(-f64::from(step) / 10.0);
        if rest * count < 1.0 || step > 50 {
            return points;
        }
        // The decimals that belong to this many nines: 20.57, 99.206, 99.9206.
        let round = 10f64.powi(2 + step / 10);
        let percentile = ((1.0 - rest) * 100.0 * round).round() / round;
        points.push((percentile, histogram.value_at_quantile(percentile / 100.0) as f64));
        step += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::super::frame::{NARROW, WIDE};
    use super::super::testing::elements;
    use super::*;

    fn chart(points: Vec<(f64, f64)>, scale: Scale) -> LineChart {
        LineChart {
            title: "a <b> & \"c\"".into(),
            caption: String::new(),
            x: Axis::new("x & more", Unit::Bytes, scale),
            y: Axis::new("y", Unit::Share, Scale::Linear),
            series: vec![Series { name: "</title><script>".into(), points }],
        }
    }

    #[test]
    fn every_point_is_drawn_inside_the_canvas() {
        for canvas in [WIDE, NARROW] {
            let points = (0..12).map(|n| (2f64.powi(n), 1.0 / f64::from(n + 1))).collect();
            let drawn = elements(&chart(points, Scale::Log).svg(canvas).0);
            let discs: Vec<_> = drawn.iter().filter(|e| e.is("circle", "hover")).collect();
            assert_eq!(discs.len(), 12);
            for disc in discs {
                assert!((0.0..=canvas.width).contains(&disc.number("cx")));
                assert!((0.0..=canvas.height).contains(&disc.number("cy")));
            }
        }
    }

    #[test]
    fn text_is_escaped() {
        let svg = chart(vec![(1.0, 0.5), (2.0, 0.7)], Scale::Linear).svg(WIDE).0;
        assert!(!svg.contains("<script>"));
        assert!(elements(&svg).iter().any(|e| e.text == "</title><script>: 50.0 % at 1 B"), "{svg}");
    }

    #[test]
    fn what_cannot_be_placed_is_left_out() {
        let svg = chart(vec![(0.0, 0.5), (4.0, f64::NAN), (8.0, 0.1)], Scale::Log).svg(WIDE).0;
        assert_eq!(elements(&svg).iter().filter(|e| e.is("circle", "hover")).count(), 1);
        elements(&chart(Vec::new(), Scale::Linear).svg(NARROW).0);
    }

    #[test]
    fn percentile_curves_end_where_one_value_is_left() {
        let mut histogram = Histogram::<u64>::new(3).unwrap();
        (1..=1000u64).for_each(|n| histogram.record(n).unwrap());
        let points = percentiles_of(&histogram);
        assert_eq!((points[0], points[points.len() - 1].0), ((0.0, 1.0), 99.9));
        assert!(points.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].1));
        let empty = Histogram::<u64>::new(3).unwrap();
        elements(&LineChart::percentiles("none", &[("empty", &empty)]).svg(WIDE).0);
    }
}
