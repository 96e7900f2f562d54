//! What an item costs in memory, at a number of items where the servers' own base no longer shows.

use super::contenders::Contender;
use super::play::Method;
use super::process::{Placement, Process, free_port};
use crate::load::{Error, Session, Spec};
use crate::report::{Page, Table, Unit};
use crate::server::Watch;
use crate::workload::{Ratio, Sizes};
use indicatif::ProgressBar;
use serde::Serialize;
use std::time::Duration;

/// Bytes of the values.
pub const VALUE_SIZES: [usize; 3] = [32, 64, 200];
const KEY_SIZE: usize = 16;
/// A server may still tidy up when the last reply is there.
const SETTLE: Duration = Duration::from_millis(300);

/// One contender with values of one size.
#[derive(Clone, Debug, Serialize)]
pub struct Items {
    pub name: String,
    pub value_size: usize,
    pub items: u64,
    pub rss_empty: u64,
    pub rss: u64,
    /// Growth of its resident memory per item, without the item's key and value. Bytes.
    pub overhead_per_item: f64,
}

/// Fills each contender with `items` items, once for each size of values.
pub fn measure(
    contenders: &[Contender],
    items: u64,
    method: &Method,
    bar: &ProgressBar,
) -> Result<Vec<Items>, Error> {
    let contenders: Vec<&Contender> = contenders.iter().filter(|contender| contender.stores).collect();
    bar.set_length(items * (contenders.len() * VALUE_SIZES.len()) as u64);
    bar.set_position(0);
    let (mut all, mut done) = (Vec::new(), 0);
    for value_size in VALUE_SIZES {
        for contender in &contenders {
            bar.set_message(format!("memory: {} with values of {value_size} bytes", contender.name));
            let spec = Spec {
                target: format!("127.0.0.1:{}", free_port()?),
                protocol: contender.protocol,
                connections: 8,
                keys: items,
                key_size: KEY_SIZE,
                value_size: Sizes::Fixed(value_size),
                ratio: Ratio { gets: 0, sets: 1 },
                ..method.client.clone()
            };
            all.push(fill(contender, &spec, value_size, &method.servers, |count| {
                bar.set_position(done + count)
            })?);
            done += items;
        }
    }
    Ok(all)
}

fn fill(
    contender: &Contender,
    spec: &Spec,
    value_size: usize,
    servers: &Placement,
    on_progress: impl FnMut(u64),
) -> Result<Items, Error> {
    let port = spec.target.rsplit(':').next().and_then(|port| port.parse().ok()).unwrap_or_default();
    let process = Process::start(&contender.name, contender.launch(port, value_size)?, spec, servers)?;
    let watch = Watch::new(process.pid())?;
    let mut session = Session::connect(spec)?;
    let rss_empty = watch.sample()?.rss;
    session.preload(on_progress)?;
    std::thread::sleep(SETTLE);
    let rss = watch.sample()?.rss;
    let data = (KEY_SIZE + value_size) as f64;
    let overhead_per_item = (rss as f64 - rss_empty as f64) / spec.keys as f64 - data;
    Ok(Items {
        name: contender.name.clone(),
        value_size,
        items: spec.keys,
        rss_empty,
        rss,
        overhead_per_item,
    })
}

/// Contenders down, sizes across.
pub fn table(all: &[Items]) -> Table {
    let head: Vec<String> = VALUE_SIZES.iter().map(|size| format!("values of {size} B")).collect();
    let head: Vec<&str> = std::iter::once("contender").chain(head.iter().map(String::as_str)).collect();
    let mut table = Table::new(&head);
    let mut names: Vec<&str> = all.iter().map(|items| items.name.as_str()).collect();
    names.truncate(all.len() / VALUE_SIZES.len());
    for name in names {
        let cell = |size: usize| {
            let found = all.iter().find(|items| items.name == name && items.value_size == size);
            found.map_or("–".to_owned(), |items| format!("{:.1}", items.overhead_per_item))
        };
        table.row(std::iter::once(name.to_owned()).chain(VALUE_SIZES.map(cell)));
    }
    table
}

pub fn title(all: &[Items]) -> String {
    let items = all.first().map_or(0, |items| items.items);
    format!(
        "Memory per item beyond its {KEY_SIZE}-byte key and its value: bytes of RSS, at {} items",
        Unit::Count.short(items as f64)
    )
}

pub fn show(page: &mut Page, all: &[Items]) {
    page.section(&title(all));
    page.table(&table(all));
}
