//! A sweep as text, as JSON and as a page: heat maps of the grid, and the curve.

use super::curve::{Curve, NAMED, Point};
use super::grid::{Cell, Figures};
use crate::report::{Axis, Environment, HeatMap, LineChart, Page, Scale, Series, Table, Unit, command_line};
use serde::Serialize;

const NOTHING: &str = "–";

/// A figure of a cell.
type Pick = fn(&Figures) -> Option<f64>;

#[derive(Serialize)]
struct Report<'a> {
    command: String,
    environment: Environment,
    server: &'a str,
    grid: &'a [Cell],
    curve: Option<&'a Curve>,
}

pub fn json(server: &str, grid: &[Cell], curve: Option<&Curve>) -> Result<String, String> {
    let report = Report { command: command_line(), environment: Environment::here(), server, grid, curve };
    serde_json::to_string_pretty(&report).map_err(|error| error.to_string())
}

pub fn text(server: &str, cells: &[Cell], curve: Option<&Curve>) -> String {
    let mut text = format!("{server}: closed loop, medians\n\n{}\n", grid(cells).text());
    if let Some(curve) = curve {
        text += &format!("\n{}\n\n{}\n\n{}\n", title(curve), points(curve).text(), knee(curve));
        for share in NAMED {
            text += &curve.at(share).map_or(String::new(), |point| named(point) + "\n");
        }
    }
    text
}

/// Shapes such as these are numbers without a unit of their own.
fn title(curve: &Curve) -> String {
    format!(
        "open loop over {} connections, at most {} in flight on each, values of {} B; the peak in closed loop is {}",
        curve.connections,
        curve.pipeline,
        curve.value_size,
        Unit::PerSecond.figure(curve.peak)
    )
}

fn knee(curve: &Curve) -> String {
    match curve.knee() {
        Some(point) => format!(
            "knee: {} ({} of the peak), p99 {}: the highest rate that is kept up with and whose p99 is at most twice the best",
            Unit::PerSecond.figure(point.due),
            Unit::Share.short(point.share),
            Unit::Nanoseconds.figure(point.p99_ns)
        ),
        None => "no knee: no rate is kept up with at a p99 of at most twice the best".to_owned(),
    }
}

fn named(point: &Point) -> String {
    let [p50, p99, p999] = [point.p50_ns, point.p99_ns, point.p999_ns].map(|ns| Unit::Nanoseconds.figure(ns));
    format!("at {} of the peak: p50 {p50}, p99 {p99}, p99.9 {p999}", Unit::Share.short(point.share))
}

fn grid(cells: &[Cell]) -> Table {
    let mut table = Table::new(&[
        "value size",
        "connections",
        "pipeline",
        "per CPU-second",
        "requests/s",
        "server busy",
        "client busy",
        "p50",
        "p99",
    ]);
    for cell in cells {
        let figure = |pick: Pick, unit: Unit| {
            cell.figures.as_ref().and_then(pick).map_or(NOTHING.to_owned(), |value| unit.figure(value))
        };
        table.row([
            cell.value_size.clone(),
            cell.connections.to_string(),
            cell.pipeline.to_string(),
            figure(|f| f.per_cpu_second, Unit::PerSecond),
            figure(|f| Some(f.per_second), Unit::PerSecond),
            figure(|f| f.server_busy, Unit::Share),
            figure(|f| Some(f.client_busy), Unit::Share),
            figure(|f| Some(f.p50_ns), Unit::Nanoseconds),
            figure(|f| Some(f.p99_ns), Unit::Nanoseconds),
        ]);
    }
    table
}

fn points(curve: &Curve) -> Table {
    let mut table = Table::new(&["of the peak", "due", "answered", "p50", "p99", "p99.9", "server busy"]);
    for point in &curve.points {
        let time = |ns: f64| Unit::Nanoseconds.figure(ns);
        table.row([
            Unit::Share.short(point.share),
            Unit::PerSecond.figure(point.due),
            Unit::PerSecond.figure(point.answered),
            time(point.p50_ns),
            time(point.p99_ns),
            time(point.p999_ns),
            point.server_busy.map_or(NOTHING.to_owned(), |busy| Unit::Share.figure(busy)),
        ]);
    }
    table
}

pub fn page(server: &str, cells: &[Cell], curve: Option<&Curve>) -> Page {
    let lead = "The grid is closed loop: what the server can do when it is always asked for more. The curve is open loop: \
                what a client waits when the server is asked at a fixed rate.";
    let mut page = Page::new(&format!("{server} over its loads"), lead);
    if let Some(curve) = curve {
        show_curve(&mut page, curve);
    }
    page.section("The grid");
    let mut sizes: Vec<&str> = cells.iter().map(|cell| cell.value_size.as_str()).collect();
    sizes.dedup();
    for size in sizes {
        let of_size: Vec<&Cell> = cells.iter().filter(|cell| cell.value_size == size).collect();
        let maps: [(&str, Pick); 2] = [
            ("Requests per second of the server's processor time", |figures| figures.per_cpu_second),
            ("Requests per second", |figures| Some(figures.per_second)),
        ];
        for (title, pick) in maps {
            if of_size.iter().any(|cell| cell.figures.as_ref().and_then(pick).is_some()) {
                page.chart(&heat_map(&format!("{title}, values of {size} B"), &of_size, pick));
            }
        }
    }
    if cells.iter().any(|cell| cell.figures.is_none()) {
        page.note("Grey: not measured, because more bytes would be in flight than sockets hold.");
    }
    page.table(&grid(cells));
    page
}

fn show_curve(page: &mut Page, curve: &Curve) {
    page.section("Latency as the rate rises");
    let time = |ns: f64| Unit::Nanoseconds.figure(ns);
    let mut figures = vec![("peak, closed loop", Unit::PerSecond.figure(curve.peak))];
    if let Some(point) = curve.knee() {
        figures.push(("knee", Unit::PerSecond.figure(point.due)));
        figures.push(("p99 at the knee", time(point.p99_ns)));
    }
    figures.extend(curve.at(0.5).map(|point| ("p99.9 at half of the peak", time(point.p999_ns))));
    page.figures(figures);
    page.note(&title(curve));
    page.note(&knee(curve));
    let line = |name: &str, pick: fn(&Point) -> f64| Series {
        name: name.to_owned(),
        points: curve.points.iter().map(|point| (point.due, pick(point))).collect(),
    };
    page.chart(&LineChart {
        title: "Latency over rate".into(),
        caption: "From when a request was due, not from when it could be sent.".into(),
        x: Axis::new("requests due per second", Unit::PerSecond, Scale::Linear),
        y: Axis::new("latency", Unit::Nanoseconds, Scale::Log),
        series: vec![
            line("p50", |point| point.p50_ns),
            line("p99", |point| point.p99_ns),
            line("p99.9", |point| point.p999_ns),
        ],
    });
    if curve.points.iter().any(|point| point.server_busy.is_some()) {
        page.chart(&LineChart {
            title: "Processor time over rate".into(),
            caption: "Of the server; a straight line would be the same cost for every request.".into(),
            x: Axis::new("requests due per second", Unit::PerSecond, Scale::Linear),
            y: Axis::new("share of a processor", Unit::Share, Scale::Linear),
            series: vec![line("server", |point| point.server_busy.unwrap_or(f64::NAN))],
        });
    }
    let histograms: Vec<(String, &Point)> = NAMED
        .iter()
        .filter_map(|share| {
            Some((format!("at {} of the peak", Unit::Share.short(*share)), curve.at(*share)?))
        })
        .collect();
    let lines: Vec<_> = histograms.iter().map(|(name, point)| (name.as_str(), &point.latency)).collect();
    page.chart(&LineChart::percentiles("Latency by percentile", &lines));
    page.table(&points(curve));
}

/// Connections down, pipelines across.
fn heat_map(title: &str, cells: &[&Cell], pick: Pick) -> HeatMap {
    let mut columns: Vec<usize> = cells.iter().map(|cell| cell.pipeline).collect();
    let mut rows: Vec<usize> = cells.iter().map(|cell| cell.connections).collect();
    columns.sort_unstable();
    columns.dedup();
    rows.sort_unstable();
    rows.dedup();
    let value = |connections: usize, pipeline: usize| {
        let cell = cells.iter().find(|cell| (cell.connections, cell.pipeline) == (connections, pipeline));
        cell.and_then(|cell| cell.figures.as_ref()).and_then(pick)
    };
    HeatMap {
        title: title.into(),
        caption: String::new(),
        column_label: "pipeline".into(),
        row_label: "connections".into(),
        unit: Unit::PerSecond,
        cells: rows.iter().map(|row| columns.iter().map(|column| value(*row, *column)).collect()).collect(),
        columns: columns.iter().map(usize::to_string).collect(),
        rows: rows.iter().map(usize::to_string).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::new_histogram;

    fn cell(connections: usize, pipeline: usize, rate: Option<f64>) -> Cell {
        let figures = rate.map(|per_second| Figures {
            per_second,
            per_cpu_second: None,
            server_busy: None,
            client_busy: 0.5,
            p50_ns: 1e5,
            p99_ns: 2e5,
        });
        Cell { connections, pipeline, value_size: "64".into(), figures }
    }

    #[test]
    fn a_heat_map_has_a_place_for_every_combination() {
        let cells =
            [cell(1, 1, Some(5.0)), cell(1, 16, Some(50.0)), cell(10, 1, Some(20.0)), cell(10, 16, None)];
        let map = heat_map("t", &cells.iter().collect::<Vec<_>>(), |figures| Some(figures.per_second));
        assert_eq!(
            (map.rows, map.columns),
            (vec!["1".into(), "10".into()], vec!["1".to_owned(), "16".into()])
        );
        assert_eq!(map.cells, [[Some(5.0), Some(50.0)], [Some(20.0), None]]);
    }

    #[test]
    fn the_text_names_the_knee_and_the_page_draws_it() {
        let point = Point {
            share: 0.5,
            due: 1e5,
            answered: 1e5,
            p50_ns: 5e4,
            p99_ns: 9e4,
            p999_ns: 1.2e5,
            server_busy: Some(0.4),
            latency: new_histogram(),
        };
        let curve = Curve {
            connections: 50,
            pipeline: 1,
            value_size: "64".into(),
            peak: 2e5,
            points: vec![point],
            knee: Some(0),
        };
        let cells = [cell(1, 1, Some(5.0))];
        let text = text("ours", &cells, Some(&curve));
        assert!(text.contains("knee: 100 k/s (50 % of the peak)"), "{text}");
        assert!(text.contains("at 50 % of the peak: p50 50.0 µs, p99 90.0 µs, p99.9 120 µs"), "{text}");
        let page = page("ours", &cells, Some(&curve)).html();
        assert!(page.contains("Latency over rate") && page.contains("Requests per second, values of 64 B"));
        assert!(!page.contains("Requests per second of the server"), "its process is unknown");
    }
}
