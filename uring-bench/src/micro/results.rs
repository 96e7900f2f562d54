//! What the rounds came to: ratios to the reference with their spread, as a table, as JSON and as charts.

use super::plan::{Load, Set, Variant};
use crate::paired::ratios;
use crate::report::{Page, RatioChart, Ratios, Spread, Table, Unit};
use serde::Serialize;

/// One variant's figures, one of each per round.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Rounds {
    /// Requests per second of the server's CPU time.
    pub per_cpu_second: Vec<f64>,
    pub per_second: Vec<f64>,
    pub calls_per_request: Vec<f64>,
    /// Share of the time that the server's thread ran.
    pub busy: Vec<f64>,
}

/// One variant under one load.
#[derive(Clone, Debug, Serialize)]
pub struct Result {
    pub name: String,
    pub choices: String,
    /// Why it was not measured.
    pub skipped: Option<String>,
    /// Requests per server-CPU-second as a multiple of the reference's in the same round.
    pub ratios: Vec<f64>,
    pub rounds: Rounds,
}

impl Result {
    pub fn new(variant: &Variant, outcome: std::result::Result<Rounds, String>) -> Result {
        let (rounds, skipped) = match outcome {
            Ok(rounds) => (rounds, None),
            Err(why) => (Rounds::default(), Some(why)),
        };
        let choices = variant.choices.to_string();
        Result { name: variant.name.clone(), choices, skipped, ratios: Vec::new(), rounds }
    }
}

/// All variants under one load.
#[derive(Clone, Debug, Serialize)]
pub struct Measured {
    pub load: String,
    pub variants: Vec<Result>,
}

impl Measured {
    /// The first variant is the reference.
    pub fn new(load: Load, mut variants: Vec<Result>) -> Measured {
        let reference = variants.first().map(|first| first.rounds.per_cpu_second.clone()).unwrap_or_default();
        for variant in &mut variants {
            variant.ratios = ratios(&variant.rounds.per_cpu_second, &reference);
        }
        Measured { load: load.to_string(), variants }
    }
}

/// All loads of a set.
#[derive(Clone, Debug, Serialize)]
pub struct Answer {
    pub question: &'static str,
    pub title: &'static str,
    pub reference: String,
    pub loads: Vec<Measured>,
}

fn median(values: &[f64]) -> Option<f64> {
    Spread::of(values).map(|spread| spread.median)
}

impl Answer {
    pub fn new(set: &Set, loads: Vec<Measured>) -> Answer {
        let reference = set.variants.first().map(|variant| variant.name.clone()).unwrap_or_default();
        Answer { question: set.name, title: set.title, reference, loads }
    }

    /// Ratios with their quartiles: variants down, loads across.
    pub fn ratios(&self) -> Table {
        let head: Vec<&str> =
            std::iter::once("design").chain(self.loads.iter().map(|load| load.load.as_str())).collect();
        let mut table = Table::new(&head);
        for (at, name) in self.names().enumerate() {
            let cells = self.loads.iter().map(|load| match Spread::of(&load.variants[at].ratios) {
                Some(spread) => spread.text(),
                None => "–".to_owned(),
            });
            table.row(std::iter::once(name.to_owned()).chain(cells));
        }
        table
    }

    /// Absolute figures: they hold for this machine and moment only.
    pub fn absolute(&self) -> Table {
        let mut table = Table::new(&[
            "load",
            "design",
            "requests/s",
            "per CPU-second",
            "server busy",
            "calls per request",
        ]);
        for load in &self.loads {
            for variant in &load.variants {
                let rounds = &variant.rounds;
                let figure =
                    |values: &[f64], unit: Unit| median(values).map_or("–".to_owned(), |m| unit.figure(m));
                table.row([
                    load.load.clone(),
                    variant.name.clone(),
                    figure(&rounds.per_second, Unit::PerSecond),
                    figure(&rounds.per_cpu_second, Unit::PerSecond),
                    figure(&rounds.busy, Unit::Share),
                    median(&rounds.calls_per_request).map_or("–".to_owned(), |calls| format!("{calls:.4}")),
                ]);
            }
        }
        table
    }

    /// Loads whose servers hardly ran in some rounds: something else had their CPU. Ratios of CPU time bear that, rates do not.
    pub fn disturbed(&self) -> Vec<String> {
        let is_disturbed = |load: &&Measured| {
            let busy: Vec<f64> =
                load.variants.iter().filter_map(|variant| median(&variant.rounds.busy)).collect();
            let most = busy.iter().copied().fold(0.0, f64::max);
            busy.iter().any(|share| *share < most / 2.0)
        };
        let line = |load: &Measured| {
            let load = &load.load;
            format!(
                "disturbed: at {load} some servers got less than half the time of others; close other programs or use --realtime"
            )
        };
        self.loads.iter().filter(is_disturbed).map(line).collect()
    }

    /// Variants that were not measured, each with why, once.
    pub fn skipped(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for variant in self.loads.iter().flat_map(|load| &load.variants) {
            let line = variant.skipped.as_ref().map(|why| format!("skipped: {} – {why}", variant.name));
            lines.extend(line.filter(|line| !lines.contains(line)));
        }
        lines
    }

    pub fn text(&self) -> String {
        let mut text = format!(
            "{}: requests per server-CPU-second as a multiple of {}'s in the same round, median (quartiles)\n\n{}\n",
            self.title,
            self.reference,
            self.ratios().text()
        );
        for line in self.skipped().into_iter().chain(self.disturbed()) {
            text += &format!("{line}\n");
        }
        text
    }

    pub fn show(&self, page: &mut Page) {
        page.section(self.title);
        for line in self.skipped().into_iter().chain(self.disturbed()) {
            page.note(&line);
        }
        for load in &self.loads {
            let measured = load.variants.iter().filter(|variant| variant.skipped.is_none());
            page.chart(&RatioChart {
                title: format!("{} at {}", self.title, load.load),
                caption: "Connections x pipeline (x bytes of the value). Right of the line is better.".into(),
                label: format!("requests per server-CPU-second / {}'s", self.reference),
                rows: measured
                    .map(|variant| Ratios { name: variant.name.clone(), rounds: variant.ratios.clone() })
                    .collect(),
            });
        }
        page.table(&self.absolute());
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        self.loads.iter().take(1).flat_map(|load| load.variants.iter().map(|variant| variant.name.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_taken_within_rounds_and_skips_are_named() {
        let variant = |name: &str| Variant { name: name.into(), choices: crate::lean::Choices::default() };
        let rounds =
            |per_cpu_second: &[f64]| Rounds { per_cpu_second: per_cpu_second.to_vec(), ..Rounds::default() };
        let results = vec![
            Result::new(&variant("first"), Ok(rounds(&[10.0, 20.0, 40.0]))),
            Result::new(&variant("second"), Ok(rounds(&[20.0, 30.0, 40.0]))),
            Result::new(&variant("third"), Err("this kernel lacks it: it needs Linux 9.1 or later".into())),
        ];
        let load = "50x1".parse().unwrap();
        let measured = Measured::new(load, results);
        assert_eq!(measured.variants[1].ratios, [2.0, 1.5, 1.0]);
        let disturbed = Rounds { busy: vec![0.9], ..Rounds::default() };
        let quiet = Rounds { busy: vec![0.2], ..Rounds::default() };
        let both =
            vec![Result::new(&variant("first"), Ok(disturbed)), Result::new(&variant("second"), Ok(quiet))];
        let set = Set::custom(&[String::new(), "epoll".into()], &[load]).unwrap();
        assert_eq!(Answer::new(&set, vec![Measured::new(load, both)]).disturbed().len(), 1);
        let text = Answer::new(&set, vec![measured]).text();
        assert!(text.contains("1.50 ×") && text.contains("skipped: third – this kernel lacks it"), "{text}");
    }
}
