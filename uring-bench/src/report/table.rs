//! Tables: the same rows for the terminal and for the page.

use comfy_table::{CellAlignment, ContentArrangement, LineStyle, TableStyle};
use maud::{Markup, html};

/// Rows under a head. Columns whose cells begin with a digit are aligned right, the others left.
///
/// ```text
/// let mut table = Table::new(&["load", "requests/s", "p99"]);
/// table.row(["get", "1.20 M/s", "310 µs"]);
/// println!("{}", table.text());
/// ```
#[derive(Clone, Debug)]
pub struct Table {
    head: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub fn new(head: &[&str]) -> Table {
        Table { head: head.iter().map(|name| (*name).into()).collect(), rows: Vec::new() }
    }

    /// Panics if there are not as many cells as names in the head.
    pub fn row<T: Into<String>>(&mut self, cells: impl IntoIterator<Item = T>) {
        let cells: Vec<String> = cells.into_iter().map(Into::into).collect();
        assert_eq!(cells.len(), self.head.len(), "a cell for each column");
        self.rows.push(cells);
    }

    /// Aligned columns, two spaces apart, a rule below the head; lines do not end in spaces.
    pub fn text(&self) -> String {
        let mut table = comfy_table::Table::new();
        table.load_style(TableStyle::new().header_separator(LineStyle::none().fill('─').junction('─')));
        table.set_content_arrangement(ContentArrangement::Disabled);
        table.set_header(&self.head).add_rows(&self.rows);
        for (number, column) in table.column_iter_mut().enumerate() {
            column.set_padding((0, if number + 1 < self.head.len() { 1 } else { 0 }));
            if self.is_numeric(number) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        let text = table.to_string();
        text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
    }

    /// The form that Markdown renders as a table.
    pub fn markdown(&self) -> String {
        let line = |cells: &[String]| format!("| {} |", cells.join(" | ").replace('\n', " "));
        let escaped =
            |cells: &[String]| cells.iter().map(|cell| cell.replace('|', "\\|")).collect::<Vec<_>>();
        let rule = (0..self.head.len()).map(|n| if self.is_numeric(n) { "---:" } else { "---" }.to_owned());
        let mut lines = vec![line(&escaped(&self.head)), line(&rule.collect::<Vec<_>>())];
        lines.extend(self.rows.iter().map(|row| line(&escaped(row))));
        lines.join("\n")
    }

    pub(super) fn html(&self) -> Markup {
        let class = |column: usize| if self.is_numeric(column) { "figure" } else { "name" };
        html! {
            div.scroll {
                table {
                    thead { tr { @for (n, name) in self.head.iter().enumerate() { th class=(class(n)) { (name) } } } }
                    tbody {
                        @for row in &self.rows {
                            tr { @for (n, cell) in row.iter().enumerate() { td class=(class(n)) { (cell) } } }
                        }
                    }
                }
            }
        }
    }

    fn is_numeric(&self, column: usize) -> bool {
        let cells = self
            .rows
            .iter()
            .map(|row| row[column].trim_start_matches(['-', '−', '+', '~']))
            .filter(|c| !c.is_empty());
        let mut figures = cells.filter(|cell| *cell != "–").peekable();
        figures.peek().is_some() && figures.all(|cell| cell.starts_with(|c: char| c.is_ascii_digit()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let mut table = Table::new(&["load", "rate", "change"]);
        table.row(["get", "1.20 M/s", "-2.5 %"]);
        table.row(["a longer name", "980 k/s", "–"]);
        let wanted = "\
load               rate  change
───────────────────────────────
get            1.20 M/s  -2.5 %
a longer name   980 k/s       –";
        assert_eq!(table.text(), wanted);
    }

    #[test]
    fn markdown_aligns_figures_and_escapes_bars() {
        let mut table = Table::new(&["a | b", "rate"]);
        table.row(["get", "1.20 M/s"]);
        assert_eq!(table.markdown(), "| a \\| b | rate |\n| --- | ---: |\n| get | 1.20 M/s |");
    }

    #[test]
    fn cells_are_escaped_in_html() {
        let mut table = Table::new(&["<b>"]);
        table.row(["a & b"]);
        let html = table.html().0;
        assert!(html.contains("&lt;b&gt;") && html.contains("a &amp; b"), "{html}");
    }
}
