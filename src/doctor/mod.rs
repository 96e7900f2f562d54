//! The doctor: this machine as the server would find it, or finds it, and what would make it better.
//!
//! ```text
//!   /proc /sys limits a ring a port ──► Facts ──┐
//!                  (impure: facts/)             ├─► rules ──► Report ──► text | JSON | HTML
//!   command line, environment, file ──► Config ─┘  (pure)
//! ```
//!
//! `kv-server doctor` looks once, trying out a ring and the ports; a server that runs looks now and then, off its workers, and shows
//! the latest by the command DOCTOR and on its admin pages (see [`Examiner`]). Nothing is changed by looking.

mod checks;
mod examiner;
mod facts;
mod finding;
mod html;
mod report;
mod rules;
mod sysctl;
mod text;

pub use examiner::{Examination, Examiner};
pub use facts::Ring;
pub use finding::{Finding, Severity};
pub use report::Report;

use crate::config::Config;
use facts::Facts;
use std::io::{self, Write};
use std::process::ExitCode;

/// How `kv-server doctor` was asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    pub json: bool,
    /// Warnings end it with 1.
    pub strict: bool,
    /// Only what is a warning or worse is said, and what it all comes to.
    pub quiet: bool,
}

/// Looks at this machine for a server that is to start, says what it found on standard output, and ends with the report's exit code.
pub fn run(config: &Config, options: Options) -> ExitCode {
    let facts = Facts::gather(config);
    tell(&Report::new(rules::evaluate(&facts, config)), options)
}

/// There is no configuration to look at: that is the finding.
pub fn refused(reason: &str, options: Options) -> ExitCode {
    let mend = "change the flag, the variable or the line of the file that this names";
    let finding = Finding::bad(&checks::CONFIGURATION, Severity::Critical, reason, mend);
    tell(&Report::new(vec![finding]), options)
}

fn tell(report: &Report, options: Options) -> ExitCode {
    // Takes the colours out where they are not wanted: in a pipe, with NO_COLOR.
    let mut out = anstream::stdout().lock();
    let palette = &text::Palette::COLOURED;
    let written = match options {
        Options { json: true, .. } => writeln!(out, "{}", report.json(None)),
        Options { quiet: true, .. } => write!(out, "{}", text::render_troubles(report, palette)),
        _ => write!(out, "{}", text::render(report, None, palette)),
    };
    match written.and_then(|()| out.flush()) {
        // Whoever closed the pipe has read enough.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            eprintln!("kv-server: standard output: {error}");
            ExitCode::FAILURE
        }
        _ => ExitCode::from(report.exit_code(options.strict)),
    }
}
