//! The results as text: a block per load while the run goes on, a summary at its end, and the table that a README holds.

use super::contenders::LIMIT;
use super::loads::Told;
use super::memory::{self, Items};
use super::results::{Compared, Measured, Outcome, Versus, median};
use crate::report::{Environment, Table, Unit, command_line};

const NOTHING: &str = "–";

/// Everything about one load.
pub fn load(measured: &Measured) -> String {
    let load = &measured.load;
    let mut text = format!("{}: {}\n\n{}\n", load.name, load.words, absolute(measured).text());
    if let Some(first) = measured.contenders.first().filter(|_| !measured.versus.is_empty()) {
        text += &format!("\n{}\n", versus(&first.name, &measured.versus).text());
    }
    for remark in measured.remarks() {
        text += &format!("{remark}\n");
    }
    text
}

/// Ratios within the rounds: median (quartiles), and all rounds' range.
fn versus(name: &str, versus: &[Versus]) -> Table {
    let head =
        [&format!("{name} /"), "per CPU-second", "all rounds", "requests/s", "p50 (less is better)", "p99"];
    let mut table = Table::new(&head.map(|name: &str| name));
    let text = |compared: &Option<Compared>| compared.as_ref().map_or(NOTHING.to_owned(), Compared::text);
    for other in versus {
        table.row([
            other.name.clone(),
            text(&other.per_cpu_second),
            other.per_cpu_second.as_ref().map_or(NOTHING.to_owned(), Compared::range),
            text(&other.per_second),
            text(&other.p50),
            text(&other.p99),
        ]);
    }
    table
}

/// Medians over the rounds: they hold for this machine and moment only.
pub fn absolute(measured: &Measured) -> Table {
    let mut table = Table::new(&[
        "contender",
        "per CPU-second",
        "requests/s",
        "server busy",
        "client busy",
        "p50",
        "p99",
        "calls per request",
        "RSS",
        "bytes per item",
    ]);
    for contender in &measured.contenders {
        let rounds = &contender.rounds;
        let figure =
            |values: &[f64], unit: Unit| median(values).map_or(NOTHING.to_owned(), |m| unit.figure(m));
        table.row([
            contender.name.clone(),
            figure(&rounds.per_cpu_second, Unit::PerSecond),
            figure(&rounds.per_second, Unit::PerSecond),
            figure(&rounds.server_busy, Unit::Share),
            figure(&rounds.client_busy, Unit::Share),
            figure(&rounds.p50, Unit::Nanoseconds),
            figure(&rounds.p99, Unit::Nanoseconds),
            contender.calls_per_request.map_or(NOTHING.to_owned(), |calls| format!("{calls:.4}")),
            Unit::Bytes.figure(contender.memory.rss as f64),
            overhead(contender),
        ]);
    }
    table
}

/// The summary for a README: where it was made, the command that makes it, the table.
pub fn markdown(all: &[Measured], items: &[Items], rounds: usize) -> String {
    let here = Environment::here();
    let mut text = format!(
        "Ratios within a round, median (quartiles) of {rounds} rounds; {}, {} cores, Linux {}, {}.\n\n```sh\n{}\n```\n",
        here.cpu,
        here.cores,
        here.kernel,
        here.date.split('T').next().unwrap_or_default(),
        command_line()
    );
    if let Some(summary) = summary(all, |load| format!("{}: {}", load.name, load.words)) {
        text += &format!("\n{}\n", summary.markdown());
    }
    if !items.is_empty() {
        text += &format!("\n{}:\n\n{}\n", memory::title(items), memory::table(items).markdown());
    }
    text
}

/// What stores nothing has no overhead.
fn overhead(contender: &Outcome) -> String {
    if !contender.stores {
        return NOTHING.to_owned();
    }
    format!("{:.1}", contender.memory.overhead_per_item)
}

/// All loads: loads down, contenders across.
pub fn summary(all: &[Measured], label: impl Fn(&Told) -> String) -> Option<Table> {
    let first = all.first().filter(|measured| !measured.versus.is_empty())?;
    let name = &first.contenders.first()?.name;
    let mut head = vec!["load".to_owned(), format!("{name} per CPU-second")];
    for other in &first.versus {
        head.push(if other.name == LIMIT { "of the limit".into() } else { format!("/ {}", other.name) });
    }
    head.push(format!("{name} p50"));
    let peers = || first.versus.iter().enumerate().filter(|(_, other)| other.name != LIMIT);
    head.extend(peers().map(|(_, other)| format!("p50 / {}", other.name)));
    let mut table = Table::new(&head.iter().map(String::as_str).collect::<Vec<_>>());
    for measured in all {
        let rounds = &measured.contenders[0].rounds;
        let figure =
            |values: &[f64], unit: Unit| median(values).map_or(NOTHING.to_owned(), |m| unit.figure(m));
        let text = |compared: &Option<Compared>| compared.as_ref().map_or(NOTHING.to_owned(), Compared::text);
        let mut row = vec![label(&measured.load), figure(&rounds.per_cpu_second, Unit::PerSecond)];
        row.extend(measured.versus.iter().map(|other| text(&other.per_cpu_second)));
        row.push(figure(&rounds.p50, Unit::Nanoseconds));
        row.extend(peers().map(|(at, _)| text(&measured.versus[at].p50)));
        table.row(row);
    }
    Some(table)
}
