//! What was recorded, as findings: each with its place in the code, told once for each place.

mod heaps;
mod read;
pub mod sarif;
#[cfg(target_arch = "x86_64")]
pub mod session;
mod symbols;
mod text;

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Component, Path, PathBuf};

use serde::Serialize;

use crate::record::{self, NONE, limit};
use crate::rules::{ALL, Severity};
use read::{Record, records};
use symbols::Symbols;

pub use heaps::Heaps;
pub use text::{Style, Text};

/// All that is known of a run.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// What was found: errors first, then in the order in which it was found.
    pub findings: Vec<Finding>,
    /// What could not be looked into, in sentences.
    pub limits: Vec<String>,
    /// Whether the engine has started in any program.
    #[serde(skip)]
    pub has_started: bool,
    /// The processes that something was recorded of.
    #[serde(skip)]
    pub processes: BTreeSet<u32>,
}

/// One kind of mistake, at one place.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    /// The rule's stable id.
    pub id: &'static str,
    /// `error`, `note` or `performance`.
    pub severity: Severity,
    /// How often it was seen.
    pub count: u64,
    /// The buffer, the first of several.
    pub buffer: Buffer,
    /// The first byte, in the buffer; nothing where it is about no byte.
    pub offset: Option<u64>,
    /// The process, the first of several.
    pub process: u32,
    /// The thread.
    pub thread: u32,
    /// Nanoseconds since the buffer's last END before it was seen first.
    pub since_end_ns: Option<u64>,
    /// Who saw it: `preload`, `serve` or `module`.
    pub engine: &'static str,
    /// The innermost place that is the program's own; nothing if nobody could tell.
    pub place: Option<Frame>,
    /// How the program came there, the innermost first.
    pub backtrace: Vec<Frame>,
    /// What is wrong, in a sentence, and the numbers of this case.
    pub explanation: String,
    /// What to do.
    pub fix: &'static str,
}

/// What a finding is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Buffer {
    /// The name that the buffer was given; empty if it was given none.
    pub name: String,
    /// The exporter's name.
    pub exporter: String,
    /// The inode of its file.
    pub inode: u64,
}

/// A place in the code.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub struct Frame {
    /// The source file, if there is debug information.
    pub file: Option<String>,
    /// The line in it.
    pub line: Option<u32>,
    /// The function, if there are symbols.
    pub function: Option<String>,
    /// The program or library.
    pub object: Option<String>,
    /// The instruction, in the object if that is known.
    pub address: u64,
}

impl Severity {
    /// In one word.
    pub fn name(self) -> &'static str {
        match self {
            Severity::Error => "error",
            Severity::Note => "note",
            Severity::Performance => "performance",
        }
    }
}

impl Serialize for Severity {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// Makes a new record file, for the engine to write to.
///
/// # Errors
///
/// Those of writing a file.
pub fn create(path: &Path) -> io::Result<()> {
    let file = File::create_new(path)?;
    file.set_len(record::SIZE as u64)?;
    file.write_all_at(&read::header(), 0)
}

impl Report {
    /// Reads a record file.
    ///
    /// # Errors
    ///
    /// Those of reading the file; it is no record file.
    pub fn read(path: &Path) -> io::Result<Report> {
        Report::of(&read::contents(&File::open(path)?)?)
    }

    fn of(bytes: &[u8]) -> io::Result<Report> {
        Report::since(bytes, &HashMap::new())
    }

    /// How often everything was found so far, by where it stands in the record.
    fn counts(bytes: &[u8]) -> io::Result<HashMap<usize, u64>> {
        let (records, _) = records(bytes)?;
        let counts = records.iter().filter_map(|(at, record)| match record {
            Record::Finding(finding, _) => Some((*at, finding.count())),
            _ => None,
        });
        Ok(counts.collect())
    }

    /// What was found beyond what had been found before.
    fn since(bytes: &[u8], before: &HashMap<usize, u64>) -> io::Result<Report> {
        let (records, lost) = records(bytes)?;
        let mut symbols = Symbols::default();
        let mut report = Report { has_started: read::started(bytes) > 0, ..Report::default() };
        let mut known: HashMap<Key, usize> = HashMap::new();
        for (at, record) in &records {
            report.processes.insert(record.process());
            match record {
                Record::Maps { process, text } => symbols.note_maps(*process, text),
                Record::Limit(limit) => {
                    let sentence = sentence(limit);
                    if !report.limits.contains(&sentence) {
                        report.limits.push(sentence);
                    }
                }
                Record::Finding(finding, stack) => {
                    let count = finding.count() - before.get(at).copied().unwrap_or(0);
                    let Some(finding) = symbols.finding(finding, count, stack) else { continue };
                    let key = Key::of(&finding);
                    match known.get(&key) {
                        Some(&index) => report.findings[index].count += finding.count,
                        None => {
                            known.insert(key, report.findings.len());
                            report.findings.push(finding);
                        }
                    }
                }
            }
        }
        if lost > 0 {
            report.limits.push(format!("there was no room to record {lost} more findings"));
        }
        report.sort();
        Ok(report)
    }

    /// Errors first, otherwise as they are.
    fn sort(&mut self) {
        self.findings.sort_by_key(|finding| finding.severity);
    }

    /// Adds what others have found.
    pub fn add(&mut self, findings: Vec<Finding>) {
        self.findings.extend(findings);
        self.sort();
    }

    /// Takes away what is known and not to be told: each of the patterns is `ID` or `ID@TEXT`, where
    /// a function, a source file or an object of the backtrace has to hold the text.
    pub fn suppress(&mut self, patterns: &[String]) {
        let is_known = |finding: &Finding| {
            patterns.iter().any(|pattern| match pattern.split_once('@') {
                None => pattern == finding.id,
                Some((id, text)) => {
                    id == finding.id
                        && finding.backtrace.iter().any(|frame| {
                            let names = [&frame.function, &frame.file, &frame.object];
                            names.into_iter().flatten().any(|name| name.contains(text))
                        })
                }
            })
        };
        self.findings.retain(|finding| !is_known(finding));
    }

    /// Whether any finding is of severity error.
    pub fn has_errors(&self) -> bool {
        self.findings.iter().any(|finding| finding.severity == Severity::Error)
    }
}

/// By what findings are the same one.
#[derive(PartialEq, Eq, Hash)]
struct Key {
    id: &'static str,
    engine: &'static str,
    place: Option<Frame>,
}

impl Key {
    fn of(finding: &Finding) -> Key {
        let place = finding.place.clone().map(|frame| match frame.line {
            // A line is one place, however many instructions it is compiled to.
            Some(_) => Frame { address: 0, ..frame },
            None => frame,
        });
        Key { id: finding.id, engine: finding.engine, place }
    }
}

impl Symbols {
    /// A finding as it is told; `None` for one of a rule that nobody knows.
    fn finding(&mut self, recorded: &record::Finding, count: u64, stack: &[u8]) -> Option<Finding> {
        if count == 0 {
            return None;
        }
        let rule = ALL.get(usize::try_from(recorded.rule).ok()?)?;
        let backtrace =
            self.backtrace(recorded.head.process, &recorded.registers, recorded.after != 0, stack);
        let known = |number: u64| Some(number).filter(|&number| number != NONE);
        Some(Finding {
            id: rule.id,
            severity: rule.severity,
            count,
            buffer: Buffer {
                name: name(&recorded.buffer.name),
                exporter: name(&recorded.buffer.exporter),
                inode: recorded.buffer.inode,
            },
            offset: known(recorded.offset),
            process: recorded.head.process,
            thread: recorded.head.thread,
            since_end_ns: known(recorded.since_end),
            engine: "preload",
            place: symbols::own(&backtrace).cloned(),
            backtrace,
            explanation: explain(rule.id, rule.explanation, recorded.numbers),
            fix: rule.fix,
        })
    }
}

/// The rule's explanation, with what is known of this case.
fn explain(id: &str, explanation: &str, [first, second]: [u64; 2]) -> String {
    match id {
        "few-pages-of-whole" => format!("{explanation} Here {first} of {second}."),
        "failed-start-ignored" | "not-restarted" => {
            let error = io::Error::from_raw_os_error(first as i32);
            format!("{explanation} Here it said: {error}.")
        }
        _ => explanation.to_owned(),
    }
}

fn sentence(limit: &record::Limit) -> String {
    let (number, path) = (limit.number, name(&limit.path));
    match limit.what {
        limit::BUFFERS => format!("only the first {number} buffers of a process were looked at"),
        limit::MAPPINGS => format!("only {number} mappings at a time were looked at"),
        limit::BRACKETS => format!("only {number} open brackets of a buffer were counted"),
        limit::PLACES => {
            format!("only {number} places were remembered at a time: some are told wrong")
        }
        limit::FILTER => {
            let error = io::Error::from_raw_os_error(number as i32);
            format!(
                "some system calls were not looked at: a filter could not be installed: {error}"
            )
        }
        limit::UNREACHED => format!(
            "{path} was not looked into: no library can be preloaded into it (is it static?)"
        ),
        other => format!("limit {other} was reached: {number}"),
    }
}

/// A path as seen from `root`, if it is below it, and that is not all there is. Compilers that run in
/// a build folder name sources by way of that.
fn below(root: &Path, path: &str) -> PathBuf {
    let mut plain = PathBuf::new();
    for component in Path::new(path).components() {
        let is_name = matches!(plain.components().next_back(), Some(Component::Normal(_)));
        if component == Component::ParentDir && is_name {
            plain.pop();
        } else if component != Component::CurDir {
            plain.push(component);
        }
    }
    let relative = plain.strip_prefix(root).ok().filter(|_| root.parent().is_some());
    relative.map(Path::to_path_buf).unwrap_or(plain)
}

/// The text before the first NUL.
fn name(bytes: &[u8]) -> String {
    let len = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..len]).into_owned()
}
