//! What all charts with axes share: the canvas, the grid and its labels, colours by number, tooltips.
//!
//! Every chart is drawn twice, wide and narrow, and the page's style shows one of them: text keeps its size on a phone,
//! where scaling a wide picture down would make it unreadable.

use super::scale::{Axis, Fitted, Tick};
use maud::{Markup, html};

/// Canvas in pixels at which a chart is drawn; the browser scales it to its column.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Canvas {
    pub width: f64,
    pub height: f64,
}

pub const WIDE: Canvas = Canvas { width: 860.0, height: 370.0 };
pub const NARROW: Canvas = Canvas { width: 400.0, height: 320.0 };

/// How many colours, dashes and marks there are before they repeat. Style and palette are in `page.css`.
const STYLES: usize = 8;
/// Pixels per character of the charts' text, on the generous side.
const CHARACTER: f64 = 6.7;

/// Anything a page can show as a picture.
pub trait Chart {
    fn title(&self) -> &str;
    /// One sentence below the title: what to read from it. May be empty.
    fn caption(&self) -> &str;
    /// Names for the legend, in the order of their styles; none if the picture names its parts itself.
    fn legend(&self) -> Vec<&str>;
    /// The picture: an `<svg>` element that draws with the classes of the page's style.
    fn svg(&self, canvas: Canvas) -> Markup;
}

/// Both sizes of a chart, under its title and its legend.
pub(super) fn figure(chart: &dyn Chart) -> Markup {
    html! {
        figure {
            figcaption {
                h3 { (chart.title()) }
                @if !chart.caption().is_empty() { p { (chart.caption()) } }
            }
            @let names = chart.legend();
            @if !names.is_empty() {
                ul.legend {
                    @for (number, name) in names.iter().enumerate() {
                        li {
                            svg class=(style_of(number)) width="30" height="12" viewBox="0 0 30 12" aria-hidden="true" {
                                path class="line" d="M1 6H29" {}
                                (mark(number, 15.0, 6.0, 3.4))
                            }
                            (name)
                        }
                    }
                }
            }
            div.wide { (chart.svg(WIDE)) }
            div.narrow { (chart.svg(NARROW)) }
        }
    }
}

/// The class that gives series `number` its colour and dash.
pub(super) fn style_of(number: usize) -> String {
    format!("s{}", number % STYLES)
}

/// A mark whose shape tells the series as well as its colour does.
pub(super) fn mark(number: usize, x: f64, y: f64, r: f64) -> Markup {
    let path = match number % 4 {
        0 => return html! { circle.mark cx=(px(x)) cy=(px(y)) r=(px(r)) {} },
        1 => format!("M{} {}h{s}v{s}h-{s}z", px(x - r * 0.9), px(y - r * 0.9), s = px(r * 1.8)),
        2 => {
            let (side, up) = (r * 1.15, r * 1.25);
            format!("M{} {}l{side:.1} {:.1}h-{:.1}z", px(x), px(y - up), up * 1.8, side * 2.0)
        }
        _ => {
            let d = r * 1.3;
            format!("M{} {}l{d:.1} {d:.1}l-{d:.1} {d:.1}l-{d:.1} -{d:.1}z", px(x), px(y - d))
        }
    };
    html! { path.mark d=(path) {} }
}

/// An invisible disc with a tooltip; the page's script finds the nearest one, without it the browser shows the title.
pub(super) fn hover(x: f64, y: f64, number: usize, text: &str) -> Markup {
    html! { circle class={ "hover " (style_of(number)) } cx=(px(x)) cy=(px(y)) r="4.5" { title { (text) } } }
}

/// A coloured cell with a tooltip.
pub(super) fn hover_cell([x, y, width, height]: [f64; 4], fill: &str, text: &str) -> Markup {
    html! {
        rect.cell x=(px(x)) y=(px(y)) width=(px(width)) height=(px(height)) rx="4" fill=(fill) { title { (text) } }
    }
}

/// A coordinate to a tenth of a pixel.
pub(super) fn px(value: f64) -> String {
    let text = format!("{value:.1}");
    text.strip_suffix(".0").map_or(text.clone(), str::to_owned)
}

pub(super) fn text_width(text: &str) -> f64 {
    text.chars().count() as f64 * CHARACTER
}

/// The opening of a picture: its size and its name for screen readers.
pub(super) fn picture(canvas: Canvas, title: &str, content: Markup) -> Markup {
    let view = format!("0 0 {} {}", px(canvas.width), px(canvas.height));
    html! {
        svg xmlns="http://www.w3.org/2000/svg" viewBox=(view) width=(px(canvas.width)) height=(px(canvas.height)) role="img" aria-label=(title) {
            (content)
        }
    }
}

/// The rectangle of a plot with its two axes.
pub(super) struct Frame {
    left: f64,
    right: f64,
    top: f64,
    bottom: f64,
    x: Fitted,
    y: Fitted,
    x_ticks: Vec<Tick>,
    y_ticks: Vec<Tick>,
}

impl Frame {
    pub fn new(canvas: Canvas, axes: [&Axis; 2], points: impl Iterator<Item = (f64, f64)> + Clone) -> Frame {
        let wanted_y = 5;
        let y = Fitted::new(axes[1], points.clone().map(|(_, y)| y), wanted_y);
        let y_ticks = y.ticks(wanted_y);
        let left = widest(&y_ticks) + 12.0;
        let right = canvas.width - 24.0;
        // A label and as much air again for each.
        let mut wanted_x = 8;
        let (x, x_ticks) = loop {
            let x = Fitted::new(axes[0], points.clone().map(|(x, _)| x), wanted_x);
            let ticks = x.ticks(wanted_x);
            if wanted_x <= 2 || !crowded(&ticks, right - left) {
                break (x, ticks);
            }
            wanted_x -= 1;
        };
        Frame { left, right, top: 30.0, bottom: canvas.height - 46.0, x, y, x_ticks, y_ticks }
    }

    pub fn place(&self, (x, y): (f64, f64)) -> (f64, f64) {
        (self.across(self.x.place(x)), self.up(self.y.place(y)))
    }

    fn across(&self, share: f64) -> f64 {
        self.left + share * (self.right - self.left)
    }

    fn up(&self, share: f64) -> f64 {
        self.bottom - share * (self.bottom - self.top)
    }

    /// Grid, ticks and the axes' names.
    pub fn draw(&self, axes: [&Axis; 2]) -> Markup {
        html! {
            g.grid {
                @for tick in &self.y_ticks {
                    path class=(weight(tick)) d={ "M" (px(self.left)) " " (px(self.up(tick.at))) "H" (px(self.right)) } {}
                }
                @for tick in &self.x_ticks {
                    path class=(weight(tick)) d={ "M" (px(self.across(tick.at))) " " (px(self.top)) "V" (px(self.bottom)) } {}
                }
                path.axis d={ "M" (px(self.left)) " " (px(self.bottom)) "H" (px(self.right)) } {}
            }
            @for (tick, text) in self.y_ticks.iter().filter_map(|tick| Some((tick, tick.text.as_ref()?))) {
                text.tick x=(px(self.left - 7.0)) y=(px(self.up(tick.at) + 4.0)) text-anchor="end" { (text) }
            }
            @for (tick, text) in self.x_ticks.iter().filter_map(|tick| Some((tick, tick.text.as_ref()?))) {
                text.tick x=(px(self.across(tick.at))) y=(px(self.bottom + 18.0)) text-anchor="middle" { (text) }
            }
            text.axis-name x="2" y="14" { (axes[1].label) }
            text.axis-name x=(px((self.left + self.right) / 2.0)) y=(px(self.bottom + 38.0)) text-anchor="middle" { (axes[0].label) }
        }
    }
}

fn weight(tick: &Tick) -> &'static str {
    if tick.text.is_some() { "major" } else { "minor" }
}

fn widest(ticks: &[Tick]) -> f64 {
    ticks.iter().filter_map(|tick| tick.text.as_deref()).map(text_width).fold(20.0, f64::max)
}

/// Whether labels would touch on an axis so many pixels long.
fn crowded(ticks: &[Tick], length: f64) -> bool {
    let labels: Vec<_> =
        ticks.iter().filter_map(|tick| Some((tick.at * length, tick.text.as_ref()?))).collect();
    let touch = |pair: &[(f64, &String)]| {
        let [(a, left), (b, right)] = [pair[0], pair[1]];
        b - a < (text_width(left) + text_width(right)) / 2.0 + 10.0
    };
    labels.windows(2).any(touch)
}
