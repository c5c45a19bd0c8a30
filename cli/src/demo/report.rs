//! What the demo says in the end: a table for people, or one JSON document.

use std::path::PathBuf;

use anstyle::{AnsiColor, Style};
use anyhow::Result;
use serde::Serialize;

use super::contact_sheet;
use super::contract::{Outcome, Promise, Row, Way};
use super::out::Out;
use super::stage::{Stage, Stats, Violation};
use super::story;

/// The end of the story.
pub struct Report<'a> {
    /// Where it was played.
    pub stage: &'a dyn Stage,
    /// What was not as it could be, one sentence each.
    pub notes: &'a [String],
    pub rows: &'a [Row],
    pub out: &'a Out,
}

const GREEN: Style = AnsiColor::Green.on_default();
const RED: Style = AnsiColor::Red.on_default();
const YELLOW: Style = AnsiColor::Yellow.on_default();
const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();
const PLAIN: Style = Style::new();

/// A column: its head, and whether its cells are numbers.
const COLUMNS: [(&str, bool); 7] = [
    ("heap", false),
    ("bracketed", false),
    ("picture", false),
    ("bytes synced", true),
    ("brackets", true),
    ("µs a bracket", true),
    ("violations", true),
];

impl Report<'_> {
    /// Whether every row came out as the contract says.
    pub fn kept(&self) -> bool {
        self.rows.iter().all(|row| row.objections().is_empty())
    }

    /// The table, what was found, and the verdict.
    pub fn text(&self) -> String {
        let (name, what) = (self.stage.name(), self.stage.describe());
        let mut text = format!("{BOLD}dmabuf demo{BOLD:#}, {name}: {what}\n");
        for note in self.notes {
            text += &format!("{YELLOW}note:{YELLOW:#} {note}\n");
        }
        [text, self.table(), self.findings(), self.verdict()].join("\n")
    }

    /// The same as one JSON document.
    pub fn json(&self) -> Result<String> {
        let document = Document {
            stage: self.stage.name(),
            notes: self.notes,
            kept: self.kept(),
            rows: self.rows.iter().map(|row| RowDocument::new(row, self.out)).collect(),
            contact_sheet: self.out.name_of(contact_sheet::NAME),
        };
        Ok(serde_json::to_string_pretty(&document)? + "\n")
    }

    fn table(&self) -> String {
        let cells: Vec<_> = self.rows.iter().map(cells).collect();
        let widths: Vec<usize> = (0..COLUMNS.len())
            .map(|column| {
                let cells = cells.iter().map(|row| row[column].0.chars().count());
                cells.chain([COLUMNS[column].0.chars().count()]).max().unwrap_or(0)
            })
            .collect();
        let heads = COLUMNS.map(|(head, _)| (head.to_owned(), BOLD));
        let mut text = line(&heads, &widths);
        let mut last = None;
        for (row, mut cells) in self.rows.iter().zip(cells) {
            if last == Some(row.heap) {
                cells[0].0.clear();
            }
            last = Some(row.heap);
            text += &line(&cells, &widths);
        }
        text += &format!(
            "{DIM}µs a bracket: the median, from before it begins until it has ended, with the edit \
             and its page faults.{DIM:#}\n"
        );
        if self.stage.clients().len() == 2 {
            text += &format!(
                "{DIM}Bytes synced, brackets and violations: of both clients together.{DIM:#}\n"
            );
        }
        text
    }

    /// The first violation of each row that has any, and why unmappable buffers were not mapped.
    fn findings(&self) -> String {
        let mut text = String::new();
        for row in self.rows {
            if let Some(first) = row.violations().next() {
                text += &format!("{}, {}: {}\n", row.heap, way(row), describe(first));
            }
            if row.hides_strays() {
                let why = "both halves of a rectangle are on one page, so pages do not show it";
                text += &format!("{}, {}: {why}\n", row.heap, way(row));
            }
            if let Some(first) = row.refusals.first() {
                text += &format!("{}: {first}\n", row.heap);
            }
        }
        text
    }

    fn verdict(&self) -> String {
        let wrong: Vec<&Row> =
            self.rows.iter().filter(|row| !row.objections().is_empty()).collect();
        let (all, count) = (self.rows.len(), wrong.len());
        let mut text = if wrong.is_empty() {
            format!("{GREEN}All {all} rows came out as the contract says.{GREEN:#}\n")
        } else {
            format!("{RED}{count} of {all} rows did not come out as the contract says:{RED:#}\n")
        };
        for row in wrong {
            text += &format!("  {}, {}: {}\n", row.heap, way(row), row.objections().join("; "));
        }
        text + &format!("Pictures: {}\n", self.out.name_of(contact_sheet::NAME))
    }
}

fn line(cells: &[(String, Style)], widths: &[usize]) -> String {
    let mut line = String::new();
    for ((&(_, number), (text, style)), &width) in COLUMNS.iter().zip(cells).zip(widths) {
        let padded = if number { format!("{text:>width$}") } else { format!("{text:<width$}") };
        line += &format!("{style}{padded}{style:#}   ");
    }
    format!("{}\n", line.trim_end())
}

fn cells(row: &Row) -> [(String, Style); COLUMNS.len()] {
    let plain = |text: String| (text, PLAIN);
    let violations = row.stats().violations;
    [
        (row.heap.to_string(), BOLD),
        plain(way(row).to_owned()),
        picture(row),
        plain(grouped(row.stats().bytes_synced())),
        plain(row.brackets().to_string()),
        plain(row.microseconds().map_or("-".into(), |time| format!("{time:.1}"))),
        (grouped(violations), if violations > 0 { YELLOW } else { PLAIN }),
    ]
}

fn way(row: &Row) -> &'static str {
    row.way.map_or("mmap refused", Way::title)
}

fn picture(row: &Row) -> (String, Style) {
    let text = caption(row);
    let style = match row.outcome() {
        _ if !row.objections().is_empty() => RED.bold(),
        Some(Outcome::Right) => GREEN,
        Some(_) => RED,
        None => PLAIN,
    };
    (text, style)
}

/// What came out, in a few words.
pub fn caption(row: &Row) -> String {
    let outcome = match row.outcome() {
        Some(Outcome::Right) => "right",
        Some(Outcome::Stale) => "stale",
        Some(Outcome::Mixed) => "mixed",
        None => "none",
    };
    if !row.objections().is_empty() {
        format!("{outcome} (NOT AS PROMISED)")
    } else if row.way.is_none() {
        format!("{outcome} (by another route)")
    } else if row.promise() == Promise::Nothing {
        format!("{outcome} (not promised)")
    } else {
        outcome.to_owned()
    }
}

fn describe(violation: &Violation) -> String {
    let process = violation.pid.map_or("a process".into(), |pid| format!("process {pid}"));
    let place = match (violation.offset, violation.len) {
        (Some(offset), Some(len)) => format!(" at offset {offset:#x}, {} bytes", grouped(len)),
        _ => String::new(),
    };
    format!("{process}: {}{place}", violation.what)
}

/// A number whose digits stand in groups of three.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[derive(Serialize)]
struct Document<'a> {
    stage: &'a str,
    notes: &'a [String],
    /// Whether every row came out as the contract says.
    kept: bool,
    rows: Vec<RowDocument<'a>>,
    contact_sheet: String,
}

#[derive(Serialize)]
struct RowDocument<'a> {
    heap: &'static str,
    /// Null where mmap is refused.
    way: Option<Way>,
    promised: Promise,
    picture: Option<Outcome>,
    bytes_synced: u64,
    brackets: u64,
    microseconds_a_bracket: Option<f64>,
    stats: Stats,
    violations: Vec<&'a Violation>,
    refusals: &'a [String],
    runs: Vec<RunDocument<'a>>,
    objections: Vec<String>,
    /// Null where only the contact sheet is kept.
    png: Option<PathBuf>,
}

#[derive(Serialize)]
struct RunDocument<'a> {
    frame: usize,
    client: &'a str,
    pid: u32,
    brackets: u64,
    nanoseconds: u128,
    stale_pixels: u64,
}

impl<'a> RowDocument<'a> {
    fn new(row: &'a Row, out: &Out) -> RowDocument<'a> {
        let runs = row.runs.iter().map(|run| RunDocument {
            frame: run.frame + 1,
            client: &run.client,
            pid: run.edit.pid,
            brackets: run.edit.brackets,
            nanoseconds: run.edit.time.as_nanos(),
            stale_pixels: run.stale_pixels,
        });
        RowDocument {
            heap: row.heap.name(),
            way: row.way,
            promised: row.promise(),
            picture: row.outcome(),
            bytes_synced: row.stats().bytes_synced(),
            brackets: row.brackets(),
            microseconds_a_bracket: row.microseconds(),
            stats: row.stats(),
            violations: row.violations().collect(),
            refusals: &row.refusals,
            runs: runs.collect(),
            objections: row.objections(),
            png: out.is_kept().then(|| story::png(out.folder(), row)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_stand_in_groups_of_three() {
        let numbers = [0, 999, 1_000, 12_345, 1_234_567].map(grouped);
        assert_eq!(numbers, ["0", "999", "1,000", "12,345", "1,234,567"]);
    }

    #[test]
    fn a_violation_is_told_with_process_and_offset() {
        let violation = Violation {
            what: "write outside of a bracket".into(),
            pid: Some(12),
            access: Some("write".into()),
            offset: Some(4096),
            len: Some(8192),
        };
        assert_eq!(
            describe(&violation),
            "process 12: write outside of a bracket at offset 0x1000, 8,192 bytes"
        );
    }
}
