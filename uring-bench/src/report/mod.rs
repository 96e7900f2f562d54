//! What was measured, for people: text tables, charts, and a page that holds them in one file.
//!
//! Plain data goes in, text comes out. Charts are written by ourselves, as SVG with class names, because a picture that
//! follows the reader's light or dark theme, fits a phone and shows its values under the pointer needs all three;
//! escaping and well-formedness are maud's.
//!
//! ```text
//!   unit (numbers as text) ◄── scale (values to places, ticks) ◄── frame (axes, marks, both sizes of a figure)
//!                                                                    ▲        ▲        ▲
//!                                                                  line     ratios    heat
//!                                        table, environment ──► page ◄─┴────────┴────────┘      page.css page.js
//! ```

mod environment;
mod frame;
mod heat;
mod line;
mod output;
mod page;
mod ratios;
mod scale;
mod table;
#[cfg(test)]
mod testing;
mod unit;

pub use environment::{Environment, command_line};
pub use frame::Chart;
pub use heat::HeatMap;
pub use line::{LineChart, Series};
pub use output::{output_file, write_json};
pub use page::Page;
pub use ratios::{RatioChart, Ratios, Spread};
pub use scale::{Axis, Scale};
pub use table::Table;
pub use unit::Unit;
