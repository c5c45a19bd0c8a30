//! What is printed: a table of exporters and behaviours, and what there is to say about it.

use std::path::PathBuf;

use anstyle::{AnsiColor, Style};
use anyhow::Result;
use serde::Serialize;

use super::row::{Level, Row, Seen, Stop, Verdict};
use super::target::{Family, Target};

const GREEN: Style = AnsiColor::Green.on_default();
const RED: Style = AnsiColor::Red.on_default().bold();
const YELLOW: Style = AnsiColor::Yellow.on_default();
const CYAN: Style = AnsiColor::Cyan.on_default();
const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();

/// What the marks stand for.
const LEGEND: &str = "✓ as required · a word: what it did, where exporters may differ · *: as only a \
                      file can, see below · ?: nothing was known of that · ✗: required, and not so · \
                      –: cannot be asked here";

/// A target, and what it did.
pub struct Column {
    pub label: String,
    pub family: Family,
    pub path: PathBuf,
    /// An answer for each row.
    pub seen: Vec<Seen>,
}

impl Column {
    /// A target that has not been looked at; two of one name are told apart by what kind of node they
    /// are, or else by their nodes.
    pub fn of(target: &Target, others: &[Column]) -> Column {
        let mut label = target.label.clone();
        let (family, path) = (target.family(), target.path.clone());
        if let Some(other) = others.iter().find(|other| other.label == label) {
            let node = path.file_name().unwrap_or_default().to_string_lossy();
            let apart = if other.family == family { &node } else { family.name() };
            label = format!("{label}:{apart}");
        }
        Column { label, family, path, seen: Vec::new() }
    }

    fn verdict(&self, rows: &[&Row], row: usize) -> Verdict {
        let label = self.label.split(':').next().unwrap_or_default();
        rows[row].judge(self.family, label, &self.seen[row])
    }
}

/// All that was seen.
pub struct Report<'a> {
    pub rows: &'a [&'a Row],
    pub columns: &'a [Column],
}

impl Report<'_> {
    /// Whether every required behaviour holds, or differs where a file must.
    pub fn holds(&self) -> bool {
        self.all().all(|(.., verdict)| verdict != Verdict::Broken)
    }

    /// Each answer: the row's and the column's place, and what it means.
    fn all(&self) -> impl Iterator<Item = (usize, &Column, Verdict)> {
        (0..self.rows.len()).flat_map(move |row| {
            self.columns.iter().map(move |column| (row, column, column.verdict(self.rows, row)))
        })
    }

    /// Prints the table for people.
    pub fn print(&self) {
        let first = self.rows.iter().map(|row| row.id.len()).max().unwrap_or(0);
        let widths: Vec<usize> = self.columns.iter().map(|column| self.width(column)).collect();
        let mut group = "";
        for (index, row) in self.rows.iter().enumerate() {
            if row.group() != group {
                group = row.group();
                let heads = self.columns.iter().zip(&widths);
                let heads: Vec<_> =
                    heads.map(|(column, width)| format!("{:<width$}", column.label)).collect();
                anstream::println!("\n{BOLD}{group:<first$}  {}{BOLD:#}", heads.join("  "));
            }
            let cells = self.columns.iter().zip(&widths).map(|(column, width)| {
                let verdict = column.verdict(self.rows, index);
                let (text, style) = (cell(&column.seen[index], verdict), style(verdict));
                let space = " ".repeat(width.saturating_sub(text.chars().count()));
                format!("{style}{text}{style:#}{space}")
            });
            let cells = cells.collect::<Vec<_>>().join("  ");
            anstream::println!("{:<first$}  {}", row.id, cells.trim_end());
        }
        anstream::println!("\n{DIM}{LEGEND}{DIM:#}");
        for line in self.findings() {
            anstream::println!("{line}");
        }
        let verdict = if self.holds() { GREEN } else { RED };
        anstream::println!("\n{verdict}{}{verdict:#}", self.summary());
    }

    fn width(&self, column: &Column) -> usize {
        let cells = (0..self.rows.len())
            .map(|row| cell(&column.seen[row], column.verdict(self.rows, row)).chars().count());
        cells.chain([column.label.chars().count()]).max().unwrap_or(0)
    }

    /// What is not as required, what was not known, and what a file does instead, and why.
    fn findings(&self) -> Vec<String> {
        let mut lines = Vec::new();
        let mut told = |title: &str, found: Vec<String>| {
            if !found.is_empty() {
                lines.push(format!("\n{BOLD}{title}{BOLD:#}"));
                lines.extend(found);
            }
        };
        let broken = self.rows_with(Verdict::Broken).map(|(row, saw)| {
            let (id, says, from, expected) = (row.id, row.says, row.from, expected(row.level));
            format!("{id}: {saw} instead of {expected}. {says} [{from}]")
        });
        told("Required, and not so", broken.collect());
        let new = self.rows_with(Verdict::New).map(|(row, saw)| format!("{}: {saw}", row.id));
        told("Not known before", new.collect());
        let causes =
            self.causes().into_iter().map(|(cause, ids)| format!("{cause}: {}", ids.join(", ")));
        told("As only a file can", causes.collect());
        lines
    }

    /// Each row that has this verdict anywhere, and where what was seen.
    fn rows_with(&self, wanted: Verdict) -> impl Iterator<Item = (&Row, String)> {
        self.rows.iter().enumerate().filter_map(move |(index, row)| {
            let mut saws: Vec<(String, Vec<&str>)> = Vec::new();
            let columns = self.columns.iter();
            for column in columns.filter(|column| column.verdict(self.rows, index) == wanted) {
                let word = word(&column.seen[index]);
                match saws.iter_mut().find(|(saw, _)| *saw == word) {
                    Some((_, labels)) => labels.push(&column.label),
                    None => saws.push((word, vec![&column.label])),
                }
            }
            let saws = saws.iter().map(|(saw, labels)| format!("{saw} ({})", labels.join(", ")));
            let saws = saws.collect::<Vec<_>>().join(", ");
            (!saws.is_empty()).then_some((*row, saws))
        })
    }

    /// Each cause of a difference with the rows that differ for it.
    fn causes(&self) -> Vec<(&'static str, Vec<&'static str>)> {
        let mut causes: Vec<(&str, Vec<&str>)> = Vec::new();
        for (row, _, verdict) in self.all() {
            let Verdict::Differs(cause) = verdict else { continue };
            let id = self.rows[row].id;
            match causes.iter_mut().find(|(known, _)| *known == cause) {
                Some((_, ids)) if ids.contains(&id) => {}
                Some((_, ids)) => ids.push(id),
                None => causes.push((cause, vec![id])),
            }
        }
        causes
    }

    fn summary(&self) -> String {
        let (rows, columns) = (self.rows.len(), self.columns.len());
        let looked = format!("{rows} behaviours of {columns} exporters");
        let broken = self.all().filter(|(.., verdict)| *verdict == Verdict::Broken).count();
        match broken {
            0 => format!("{looked}: every required one holds"),
            1 => format!("{looked}: 1 required one does not hold"),
            _ => format!("{looked}: {broken} required ones do not hold"),
        }
    }

    /// Prints the table for documents: for each group the answers, and what they are answers to.
    pub fn print_markdown(&self) {
        let rows: Vec<_> = self.rows.iter().enumerate().collect();
        let heads: Vec<_> = self.columns.iter().map(|column| &*column.label).collect();
        for group in rows.chunk_by(|(_, one), (_, other)| one.group() == other.group()) {
            println!("\n### {}\n\n| | {} |", group[0].1.group(), heads.join(" | "));
            println!("|---|{}", "---|".repeat(self.columns.len()));
            for &(index, row) in group {
                let cells = self.columns.iter().map(|column| {
                    let verdict = column.verdict(self.rows, index);
                    cell(&column.seen[index], verdict).replace('*', "\\*")
                });
                println!("| `{}` | {} |", row.id, cells.collect::<Vec<_>>().join(" | "));
            }
            println!();
            for (_, row) in group {
                let level = match row.level {
                    Level::Required(_) => "",
                    Level::MayDiffer(_) => " *May differ.*",
                };
                println!("- `{}`: {}{level} <sub>{}</sub>", row.id, row.says, row.from);
            }
        }
        println!("\n{LEGEND}.");
        let causes = self.causes();
        if !causes.is_empty() {
            println!("\n| a file behaves differently | why |\n|---|---|");
        }
        for (cause, ids) in causes {
            let ids: Vec<_> = ids.iter().map(|id| format!("`{id}`")).collect();
            println!("| {} | {cause} |", ids.join(", "));
        }
        println!("\n{}.", self.summary());
    }

    /// Prints the same as one JSON document.
    pub fn print_json(&self) -> Result<()> {
        println!("{}", serde_json::to_string_pretty(&self.document())?);
        Ok(())
    }

    fn document(&self) -> Document<'_> {
        let uname = rustix::system::uname();
        let rows = self.rows.iter().enumerate().map(|(index, row)| RowDocument {
            id: row.id,
            says: row.says,
            reference: row.from,
            level: match row.level {
                Level::Required(_) => "required",
                Level::MayDiffer(_) => "may differ",
            },
            expected: match row.level {
                Level::Required(expected) => Some(expected),
                Level::MayDiffer(_) => None,
            },
            known: match row.level {
                Level::Required(_) => &[],
                Level::MayDiffer(known) => known,
            },
            answers: self
                .columns
                .iter()
                .map(|column| {
                    let verdict = column.verdict(self.rows, index);
                    let seen = &column.seen[index];
                    let (saw, why) = match (seen, verdict) {
                        (Ok(saw), Verdict::Differs(cause)) => (Some(saw.as_str()), Some(cause)),
                        (Ok(saw), _) => (Some(saw.as_str()), None),
                        (Err(Stop::NotHere(why) | Stop::Failed(why)), _) => {
                            (None, Some(why.as_str()))
                        }
                    };
                    Answer { target: &column.label, saw, verdict: verdict.name(), why }
                })
                .collect(),
        });
        Document {
            kernel: uname.release().to_string_lossy().into_owned(),
            holds: self.holds(),
            targets: self
                .columns
                .iter()
                .map(|column| TargetDocument {
                    label: &column.label,
                    family: column.family.name(),
                    path: &column.path,
                })
                .collect(),
            rows: rows.collect(),
        }
    }
}

fn cell(seen: &Seen, verdict: Verdict) -> String {
    match verdict {
        Verdict::Holds => "✓".to_owned(),
        Verdict::NotHere => "–".to_owned(),
        Verdict::Known => word(seen),
        Verdict::New => format!("{} ?", word(seen)),
        Verdict::Differs(_) => format!("{} *", word(seen)),
        Verdict::Broken => format!("✗ {}", word(seen)),
    }
}

fn style(verdict: Verdict) -> Style {
    match verdict {
        Verdict::Holds => GREEN,
        Verdict::NotHere => DIM,
        Verdict::Known => Style::new(),
        Verdict::New => CYAN,
        Verdict::Differs(_) => YELLOW,
        Verdict::Broken => RED,
    }
}

/// What was seen, or why nothing was.
fn word(seen: &Seen) -> String {
    match seen {
        Ok(saw) => saw.clone(),
        Err(Stop::NotHere(why)) => why.clone(),
        Err(Stop::Failed(why)) => format!("failed: {why}"),
    }
}

fn expected(level: Level) -> &'static str {
    match level {
        Level::Required(expected) => expected,
        Level::MayDiffer(_) => "an answer",
    }
}

#[derive(Serialize)]
struct Document<'a> {
    kernel: String,
    holds: bool,
    targets: Vec<TargetDocument<'a>>,
    rows: Vec<RowDocument<'a>>,
}

#[derive(Serialize)]
struct TargetDocument<'a> {
    label: &'a str,
    family: &'static str,
    path: &'a std::path::Path,
}

#[derive(Serialize)]
struct RowDocument<'a> {
    id: &'static str,
    says: &'static str,
    reference: &'static str,
    level: &'static str,
    expected: Option<&'static str>,
    known: &'static [(&'static str, &'static str)],
    answers: Vec<Answer<'a>>,
}

#[derive(Serialize)]
struct Answer<'a> {
    target: &'a str,
    saw: Option<&'a str>,
    verdict: &'static str,
    why: Option<&'a str>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conform::row::{may_differ, required};

    const ROWS: [Row; 2] = [
        required("file.statfs", "One is so.", "a document", "ok", |_| Ok(String::new())),
        may_differ("b.two", "Two may be so.", "a function", &[("heap", "EINVAL")], |_| {
            Ok(String::new())
        }),
    ];

    fn column(family: Family, words: [&str; 2]) -> Column {
        let seen = words.map(|word| Ok(word.to_owned())).to_vec();
        Column { label: "some".into(), family, path: PathBuf::new(), seen }
    }

    fn report<T>(columns: &[Column], f: impl FnOnce(&Report<'_>) -> T) -> T {
        let rows: Vec<&Row> = ROWS.iter().collect();
        f(&Report { rows: &rows, columns })
    }

    #[test]
    fn one_broken_behaviour_of_one_target_is_enough_to_fail() {
        let good = || column(Family::Heap, ["ok", "EINVAL"]);
        assert!(report(&[good()], |report| report.holds()));
        let bad = column(Family::Heap, ["EIO", "EINVAL"]);
        assert!(!report(&[good(), bad], |report| report.holds()));
        let mut cannot = good();
        cannot.seen[0] = Err(Stop::Failed("EPERM".into()));
        assert!(!report(&[good(), cannot], |report| report.holds()));
    }

    #[test]
    fn a_file_may_be_one_and_what_may_differ_may() {
        let file = column(Family::Served, ["FUSE", "anything"]);
        assert!(report(&[file], |report| report.holds()));
    }

    #[test]
    fn the_marks_tell_the_verdicts_apart() {
        let columns =
            [column(Family::Served, ["FUSE", "x"]), column(Family::Heap, ["EIO", "EINVAL"])];
        report(&columns, |report| {
            let cell = |row: usize, column: usize| {
                let column = &report.columns[column];
                cell(&column.seen[row], column.verdict(report.rows, row))
            };
            assert_eq!([cell(0, 0), cell(1, 0)], ["FUSE *", "x ?"]);
            assert_eq!([cell(0, 1), cell(1, 1)], ["✗ EIO", "EINVAL"]);
            assert_eq!(report.causes()[0].1, ["file.statfs"]);
            assert!(report.summary().ends_with("1 required one does not hold"));
            assert!(report.findings().iter().any(|line| line.contains("instead of ok")));
        });
    }

    #[test]
    fn the_document_has_every_answer() {
        let columns = [column(Family::Heap, ["EIO", "EINVAL"])];
        let document = report(&columns, |report| serde_json::to_value(report.document()).unwrap());
        assert_eq!(document["holds"], false);
        assert_eq!(document["rows"][0]["answers"][0]["verdict"], "broken");
        assert_eq!(document["rows"][1]["answers"][0]["saw"], "EINVAL");
    }
}
