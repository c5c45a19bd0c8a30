//! Comparisons, as a table for people or one JSON document.

use std::time::Duration;

use anstyle::{AnsiColor, Style};
use anyhow::Result;
use serde::Serialize;

use super::compare::Comparison;
use crate::output::print;

const GREEN: Style = AnsiColor::Green.on_default();
const YELLOW: Style = AnsiColor::Yellow.on_default();
const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();

/// What was compared, two commands in each row.
pub struct Table {
    about: String,
    first: &'static str,
    second: &'static str,
    rows: Vec<Row>,
}

struct Row {
    name: &'static str,
    goal: f64,
    seen: Comparison,
}

impl Table {
    /// An empty one; `about` is a sentence on where it was measured, then what the two commands are
    /// called.
    pub fn new(about: &str, first: &'static str, second: &'static str) -> Table {
        Table { about: about.to_owned(), first, second, rows: Vec::new() }
    }

    /// A comparison, and how much longer the second may take.
    pub fn row(&mut self, name: &'static str, goal: f64, seen: Comparison) {
        self.rows.push(Row { name, goal, seen });
    }

    /// For people.
    pub fn print(&self) -> Result<()> {
        let (first, second) = (self.first, self.second);
        let head = format!(
            "{:<34}  {first:>10}  {second:>10}  {:>6}  {:<13}  goal",
            "", "ratio", "half are in"
        );
        let mut text = format!("{BOLD}{head}{BOLD:#}\n");
        for Row { name, goal, seen } in &self.rows {
            let [first, second] = [seen.first, seen.second].map(readable);
            let colour = if seen.ratio <= *goal { GREEN } else { YELLOW };
            text += &format!("{name:<34}  {first:>10}  {second:>10}  ");
            let [low, high] = seen.quartiles;
            text +=
                &format!("{colour}{:>6.3}{colour:#}  {low:.3} – {high:.3}  ≤ {goal}\n", seen.ratio);
        }
        print(&format!("{text}{DIM}Medians; {}.{DIM:#}\n", self.about))
    }

    /// For programs.
    pub fn print_json(&self) -> Result<()> {
        let row = |row: &Row| RowDocument {
            name: row.name,
            goal: row.goal,
            ratio: row.seen.ratio,
            quartiles: row.seen.quartiles,
            seconds: [row.seen.first, row.seen.second].map(|time| time.as_secs_f64()),
        };
        let rows = self.rows.iter().map(row).collect();
        let commands = [self.first, self.second];
        let document = Document { about: &self.about, commands, rows };
        print(&(serde_json::to_string_pretty(&document)? + "\n"))
    }
}

/// In the unit that makes it a number of a few digits.
fn readable(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    match seconds {
        1.0.. => format!("{seconds:.3} s"),
        1e-3.. => format!("{:.3} ms", seconds * 1e3),
        _ => format!("{:.3} µs", seconds * 1e6),
    }
}

#[derive(Serialize)]
struct Document<'a> {
    about: &'a str,
    commands: [&'a str; 2],
    rows: Vec<RowDocument>,
}

#[derive(Serialize)]
struct RowDocument {
    name: &'static str,
    goal: f64,
    ratio: f64,
    /// Of the ratios of all rounds.
    quartiles: [f64; 2],
    /// Medians, in the order of the commands.
    seconds: [f64; 2],
}
