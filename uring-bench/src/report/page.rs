//! One self-contained HTML file: style, script and pictures are in it, nothing is loaded from anywhere.

use super::environment::{Environment, command_line};
use super::frame::{Chart, figure};
use super::output::write;
use super::table::Table;
use super::unit::Unit;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use std::path::Path;

/// A report, built from top to bottom.
///
/// ```text
/// let mut page = Page::new("GET and SET over loopback", "One thread each for server and client.");
/// page.section("Throughput");
/// page.chart(&line_chart);
/// page.note("The dip at 12 s is the preload of the second server.");
/// page.table(&table);
/// page.write(Path::new("report.html"))?;
/// ```
pub struct Page {
    title: String,
    lead: String,
    command: String,
    environment: Environment,
    body: Vec<Markup>,
}

impl Page {
    /// Takes this process's command line and the machine's description with it.
    pub fn new(title: &str, lead: &str) -> Page {
        Page {
            title: title.into(),
            lead: lead.into(),
            command: command_line(),
            environment: Environment::here(),
            body: Vec::new(),
        }
    }

    pub fn section(&mut self, title: &str) {
        self.body.push(html! { h2 { (title) } });
    }

    pub fn note(&mut self, text: &str) {
        self.body.push(html! { p { (text) } });
    }

    pub fn table(&mut self, table: &Table) {
        self.body.push(table.html());
    }

    pub fn chart(&mut self, chart: &dyn Chart) {
        self.body.push(figure(chart));
    }

    /// A row of large figures with what each of them is: "1.2 M/s" – "requests per second".
    pub fn figures<'a>(&mut self, figures: impl IntoIterator<Item = (&'a str, String)>) {
        self.body.push(html! {
            dl.figures { @for (name, value) in figures { div { dt { (name) } dd { (value) } } } }
        });
    }

    /// The whole file.
    pub fn html(&self) -> String {
        let place = &self.environment;
        let memory = Unit::Bytes.short(place.memory as f64);
        html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    title { (self.title) }
                    style { (PreEscaped(include_str!("page.css"))) }
                }
                body {
                    header {
                        h1 { (self.title) }
                        @if !self.lead.is_empty() { p.lead { (self.lead) } }
                        pre.command { code { (self.command) } }
                        p.place {
                            span { (place.cpu) ", " (place.cores) " cores, " (memory) }
                            span { "Linux " (place.kernel) }
                            span { (place.date.replace('T', " ").replace('Z', " UTC")) }
                        }
                    }
                    main { @for part in &self.body { (part) } }
                    footer { "uring-bench " (place.version) }
                    div id="tip" hidden="" {}
                    script { (PreEscaped(include_str!("page.js"))) }
                }
            }
        }
        .into_string()
    }

    /// Errors name the file.
    pub fn write(&self, path: &Path) -> Result<(), String> {
        write(path, &self.html())
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::elements;
    use super::super::{Axis, LineChart, Scale, Series};
    use super::*;

    fn page() -> Page {
        let mut page = Page::new("<script>alert(1)</script>", "a & b");
        page.section("Rates <i>");
        let series = Series { name: "get & set".into(), points: vec![(0.0, 1.0), (1.0, 2.0)] };
        page.chart(&LineChart {
            title: "rates".into(),
            caption: "more <b>is</b> better".into(),
            x: Axis::new("time", Unit::Seconds, Scale::Linear),
            y: Axis::new("rate", Unit::PerSecond, Scale::Linear),
            series: vec![series],
        });
        page.figures([("rate <", "1 M/s".to_owned())]);
        page
    }

    #[test]
    fn all_that_is_given_is_escaped() {
        let html = page().html();
        assert!(!html.contains("<script>alert") && !html.contains("<i>") && !html.contains("<b>is"));
        assert!(html.contains("&lt;script&gt;alert(1)&lt;/script&gt;") && html.contains("a &amp; b"));
    }

    #[test]
    fn nothing_is_loaded_from_elsewhere() {
        let html = page().html().replace("http://www.w3.org/2000/svg", "");
        for outside in ["http:", "https:", "//cdn", "@import", "url(", "<link", "src="] {
            assert!(!html.contains(outside), "{outside}");
        }
    }

    #[test]
    fn the_page_is_well_formed() {
        let html = page().html();
        // What HTML writes differently from XML: the doctype, meta without an end, script and style as they are.
        let body = &html[html.find("<body>").unwrap()..html.find("<script>").unwrap()];
        let drawn = elements(&format!("{body}</body>"));
        assert!(drawn.iter().any(|e| e.text == "get & set"));
    }

    #[test]
    fn a_page_that_cannot_be_written_says_where() {
        let error = page().write(Path::new("/nonexistent/x.html")).unwrap_err();
        assert!(error.contains("/nonexistent/x.html"), "{error}");
    }
}
