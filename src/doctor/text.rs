//! A report for a terminal: grouped, in columns, each finding a line, and what is to be mended with its reason and command.

use super::checks::Group;
use super::finding::{Finding, Severity};
use super::report::{Report, counted};
use anstyle::{AnsiColor, Style};
use std::fmt::Write;

/// Columns that a line of prose may take.
const WIDTH: usize = 110;
/// Of "critical", and two spaces.
const SEVERITY_WIDTH: usize = 10;
/// Settings are the last group, and this stands below it.
const ALL_SETTINGS: &str = "cp sysctl/90-kv-cache.conf /etc/sysctl.d/ && sysctl --system";
/// Where reasons and commands begin.
const INDENT: &str = "            ";

/// How each part looks.
#[derive(Clone, Copy, Debug)]
pub struct Palette {
    title: Style,
    ok: Style,
    unseen: Style,
    hint: Style,
    warning: Style,
    critical: Style,
    command: Style,
}

const fn coloured(colour: AnsiColor) -> Style {
    colour.on_default()
}

impl Palette {
    pub const COLOURED: Palette = Palette {
        title: Style::new().bold(),
        ok: coloured(AnsiColor::Green),
        unseen: Style::new().dimmed(),
        hint: coloured(AnsiColor::Cyan),
        warning: coloured(AnsiColor::Yellow).bold(),
        critical: coloured(AnsiColor::Red).bold(),
        command: Style::new().bold(),
    };
    /// No escape codes at all.
    pub const PLAIN: Palette = Palette {
        title: Style::new(),
        ok: Style::new(),
        unseen: Style::new(),
        hint: Style::new(),
        warning: Style::new(),
        critical: Style::new(),
        command: Style::new(),
    };

    fn of(&self, severity: Severity) -> Style {
        match severity {
            Severity::Ok => self.ok,
            Severity::Unseen => self.unseen,
            Severity::Hint => self.hint,
            Severity::Warning => self.warning,
            Severity::Critical => self.critical,
        }
    }
}

/// The whole text. `age_s`: the seconds since the server looked.
pub fn render(report: &Report, age_s: Option<u64>, palette: &Palette) -> String {
    let mut out = String::new();
    let title = palette.title;
    let age = age_s.map_or(String::new(), |age| format!(", {age} s ago"));
    // Writing to a string does not fail.
    let _ = writeln!(out, "{title}{}{title:#}{age}", report.title());
    for group in Group::ALL {
        let of_group: Vec<&Finding> =
            report.findings.iter().filter(|finding| finding.group == group).collect();
        let width = of_group.iter().map(|finding| finding.check.len()).max().unwrap_or(0);
        if !of_group.is_empty() {
            let _ = writeln!(out, "\n{title}{}{title:#}", group.title());
        }
        for one in of_group {
            finding(&mut out, one, width, palette);
        }
    }
    if report.settings_to_mend() > 1 {
        let _ = writeln!(
            out,
            "\n{INDENT}All of these at once: {command}{ALL_SETTINGS}{command:#}",
            command = palette.command
        );
    }
    let style = palette.of(report.worst);
    let _ = writeln!(out, "\n{style}{}{style:#}\n{}.", report.verdict(), tally(report));
    if report.findings.iter().any(|finding| finding.mend_on_host) {
        let _ = writeln!(out, "What is marked [host] is mended on the host: this is a container.");
    }
    out
}

/// Only what is a warning or worse, from bad to good, and a last line with what it all comes to.
pub fn render_troubles(report: &Report, palette: &Palette) -> String {
    let mut out = String::new();
    let mut troubles: Vec<&Finding> =
        report.findings.iter().filter(|finding| finding.severity >= Severity::Warning).collect();
    troubles.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    let width = troubles.iter().map(|finding| finding.check.len()).max().unwrap_or(0);
    for one in troubles {
        finding(&mut out, one, width, palette);
    }
    let style = palette.of(report.worst);
    let _ = writeln!(out, "{}: {style}{}{style:#} {}.", report.title(), report.verdict(), tally(report));
    out
}

/// Such as "1 warning, 40 well".
fn tally(report: &Report) -> String {
    let counts = report.tally().into_iter().map(|(severity, count)| counted(severity, count));
    counts.collect::<Vec<_>>().join(", ")
}

fn finding(out: &mut String, finding: &Finding, width: usize, palette: &Palette) {
    let (style, command) = (palette.of(finding.severity), palette.command);
    let name = finding.severity.name();
    let start = 2 + SEVERITY_WIDTH + width + 2;
    let found = wrapped(&finding.found, WIDTH.saturating_sub(start).max(40), &" ".repeat(start));
    let _ = writeln!(
        out,
        "  {style}{name}{style:#}{:pad$}{:width$}  {found}",
        "",
        finding.check,
        pad = SEVERITY_WIDTH - name.len()
    );
    if let Some(why) = &finding.why {
        let under = format!("{INDENT}      ");
        let _ = writeln!(out, "{INDENT}why   {}", wrapped(why, WIDTH - under.len(), &under));
    }
    if let Some(mend) = &finding.mend {
        let host = if finding.mend_on_host { "[host] " } else { "" };
        // In one piece, however long: it is there to be copied.
        let _ = writeln!(out, "{INDENT}mend  {host}{command}{mend}{command:#}");
    }
}

/// Breaks at spaces, so that no line has more than `width` characters unless one word has; lines after the first begin with `indent`.
/// Line ends in the text stay.
fn wrapped(text: &str, width: usize, indent: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    for paragraph in text.lines() {
        let mut line = String::new();
        for word in paragraph.split_whitespace() {
            let with_word = line.chars().count() + usize::from(!line.is_empty()) + word.chars().count();
            if with_word > width && !line.is_empty() {
                lines.push(std::mem::take(&mut line));
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        lines.push(line);
    }
    lines.join(&format!("\n{indent}"))
}

#[cfg(test)]
mod tests {
    use super::super::report::sample;
    use super::*;

    #[test]
    fn plain_is_plain_and_aligned() {
        let text = render(&sample(), None, &Palette::PLAIN);
        assert!(!text.contains('\u{1b}'));
        let columns: Vec<usize> = text.lines().filter_map(|line| line.find("server.")).collect();
        assert_eq!(columns, [12, 12], "{text}");
        assert!(text.contains("\nMemory\n  hint      memory.swap  a sentence"), "{text}");
        assert!(text.contains("            mend  [host] swapoff -a\n"), "{text}");
        assert!(
            text.contains("\nThe server cannot start, or not as it is configured.\n1 critical, 1 warning,"),
            "{text}"
        );
        assert!(
            text.lines().filter(|line| !line.contains("mend")).all(|line| line.chars().count() <= WIDTH),
            "{text}"
        );
    }

    #[test]
    fn troubles_are_what_is_to_be_mended_and_one_line() {
        let text = render_troubles(&sample(), &Palette::PLAIN);
        let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with(INDENT)).collect();
        assert!(lines[0].starts_with("  critical  server.listen  cannot listen"), "{text}");
        assert!(lines[1].starts_with("  warning   io_uring.ring  io_uring is forbidden"), "{text}");
        let last = "The server cannot start, or not as it is configured. 1 critical, 1 warning, 1 hint, 1 not to be seen here, 1 well.";
        assert!(lines[2].starts_with("KV-Cache ") && lines[2].ends_with(last) && lines.len() == 3, "{text}");
        assert!(text.contains("mend  ss -ltnp") && !text.contains("swapoff"), "{text}");
        let well = super::super::report::Report::new(vec![Finding::ok(
            &super::super::checks::PLACE,
            "on a machine",
        )]);
        let text = render_troubles(&well, &Palette::PLAIN);
        assert!(text.lines().count() == 1 && text.ends_with(": All is well. 1 well.\n"), "{text}");
    }

    #[test]
    fn colours_change_nothing_but_colours() {
        let coloured = render(&sample(), Some(12), &Palette::COLOURED);
        assert!(coloured.contains('\u{1b}') && coloured.contains(", 12 s ago"));
        let stripped = anstream::adapter::strip_str(&coloured).to_string();
        assert_eq!(stripped, render(&sample(), Some(12), &Palette::PLAIN));
    }

    #[test]
    fn words_stay_whole_and_line_ends_stay() {
        assert_eq!(wrapped("a bb ccc dddd", 6, "  "), "a bb\n  ccc\n  dddd");
        assert_eq!(wrapped("aaaaaaaaaa b", 4, ""), "aaaaaaaaaa\nb");
        assert_eq!(wrapped("a\nb", 10, "> "), "a\n> b");
        assert_eq!(wrapped("", 10, ""), "");
    }
}
