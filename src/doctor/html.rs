//! A report as a page: no scripts, nothing from elsewhere, light or dark as the reader's browser wishes.

use super::checks::Group;
use super::finding::Finding;
use super::report::{Report, counted};
use std::fmt::Write;

const STYLE: &str = include_str!("doctor.css");

/// The whole page. `age_s`: the seconds since the server looked.
pub fn render(report: &Report, age_s: u64) -> String {
    let mut page = String::with_capacity(32 << 10);
    let title = escaped(&report.title());
    // Writing to a string does not fail.
    let _ = write!(
        page,
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}: doctor</title>\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<style>\n{STYLE}</style></head>\n\
         <body><main><header><h1>Doctor</h1><p>{title}, {age_s} s ago. \
         <a href=\"/doctor.json\">As JSON</a> · <a href=\"/\">Other pages</a></p></header>\n"
    );
    let _ = write!(
        page,
        "<p class=\"verdict {}\">{}</p>\n<ul class=\"tally\">",
        report.worst.name(),
        escaped(report.verdict())
    );
    for (severity, count) in report.tally() {
        let _ = write!(page, "<li class=\"{}\">{}</li>", severity.name(), counted(severity, count));
    }
    page.push_str("</ul>\n");
    for group in Group::ALL {
        section(&mut page, report, group);
    }
    if report.findings.iter().any(|finding| finding.mend_on_host) {
        page.push_str("<p class=\"note\">This is a container: what is marked <em>host</em> is mended on the host.</p>\n");
    }
    page.push_str("</main></body></html>\n");
    page
}

fn section(page: &mut String, report: &Report, group: Group) {
    let mut of_group: Vec<&Finding> =
        report.findings.iter().filter(|finding| finding.group == group).collect();
    if of_group.is_empty() {
        return;
    }
    // What is to be mended comes first; the order among equals stays.
    of_group.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    let _ = writeln!(page, "<section><h2>{}</h2>", escaped(group.title()));
    for one in of_group {
        finding(page, one);
    }
    page.push_str("</section>\n");
}

fn finding(page: &mut String, finding: &Finding) {
    let severity = finding.severity;
    let _ = write!(
        page,
        "<article class=\"{name}\"><div class=\"what\"><span class=\"badge\">{name}</span><code class=\"check\">{}</code>\
         <span class=\"found\">{}</span></div>",
        escaped(&finding.check),
        escaped(&finding.found),
        name = severity.name(),
    );
    if let Some(why) = &finding.why {
        let _ = write!(page, "<p class=\"why\">{}</p>", escaped(why));
    }
    if let Some(mend) = &finding.mend {
        let host = if finding.mend_on_host { "<em>host</em> " } else { "" };
        let _ = write!(page, "<p class=\"mend\">{host}<code>{}</code></p>", escaped(mend));
    }
    page.push_str("</article>\n");
}

/// Text that may stand between tags and in attributes.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            c => safe.push(c),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::super::finding::Severity;
    use super::super::report::sample;
    use super::*;

    #[test]
    fn what_was_read_from_files_is_text_and_no_markup() {
        let page = render(&sample(), 3);
        assert!(
            page.contains("io_uring is forbidden here (EPERM) &lt;b&gt;") && !page.contains("<b>"),
            "{page}"
        );
        assert_eq!(escaped("<a b='c' d=\"&\">"), "&lt;a b=&#39;c&#39; d=&quot;&amp;&quot;&gt;");
    }

    #[test]
    fn every_tag_that_opens_closes() {
        let page = render(&sample(), 3);
        for tag in [
            "html", "head", "body", "main", "header", "section", "article", "div", "span", "p", "ul", "li",
            "code", "em",
        ] {
            let opened =
                page.matches(&format!("<{tag}>")).count() + page.matches(&format!("<{tag} ")).count();
            assert_eq!(opened, page.matches(&format!("</{tag}>")).count(), "{tag}");
            assert!(opened > 0, "{tag}");
        }
        assert_eq!(page.matches("<article").count(), sample().findings.len());
    }

    #[test]
    fn it_loads_nothing_and_every_severity_has_a_colour() {
        let page = render(&sample(), 3);
        for foreign in ["http://", "https://", "<script", "@import", "url("] {
            assert!(!page.contains(foreign), "{foreign}");
        }
        for severity in Severity::ALL {
            assert!(STYLE.contains(&format!(".{}", severity.name())), "{}", severity.name());
        }
        assert!(STYLE.contains("prefers-color-scheme: dark"));
    }
}
