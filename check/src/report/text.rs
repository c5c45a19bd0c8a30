//! Findings for people.

use std::fmt::Write;
use std::path::Path;

use super::{Finding, Frame, Report, Severity, below};

/// How words are told apart; by nothing, unless somebody says by which escape sequences.
#[derive(Clone, Copy, Default)]
pub struct Style {
    /// Before an error.
    pub error: &'static str,
    /// Before a note.
    pub note: &'static str,
    /// Before what is to be seen first.
    pub strong: &'static str,
    /// After any of them.
    pub end: &'static str,
}

/// A report as text.
pub struct Text<'a> {
    /// What to tell.
    pub report: &'a Report,
    /// How.
    pub style: Style,
    /// Paths below it are told relative to it.
    pub root: &'a Path,
}

impl std::fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Text { report, style, root } = self;
        for finding in &report.findings {
            f.write_str(&tell(finding, style, root))?;
        }
        for limit in &report.limits {
            writeln!(f, "{}note:{} {limit}", style.note, style.end)?;
        }
        let count = |severity| {
            report.findings.iter().filter(|finding| finding.severity == severity).count()
        };
        let (errors, notes) = (count(Severity::Error), count(Severity::Note));
        let performance = count(Severity::Performance);
        writeln!(
            f,
            "{}dmabuf check:{} {}, {}, {}",
            style.strong,
            style.end,
            several(errors, "error", "errors"),
            several(notes, "note", "notes"),
            several(performance, "performance note", "performance notes"),
        )
    }
}

fn several(count: usize, one: &str, more: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { more })
}

fn tell(finding: &Finding, style: &Style, root: &Path) -> String {
    let colour = match finding.severity {
        Severity::Error => style.error,
        Severity::Note | Severity::Performance => style.note,
    };
    let (strong, end) = (style.strong, style.end);
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = writeln!(
        text,
        "{colour}{}:{end} {strong}{}{end}{}",
        finding.severity.name(),
        finding.id,
        if finding.count > 1 { format!(", {} times", finding.count) } else { String::new() }
    );
    if let Some(place) = &finding.place {
        let _ = writeln!(text, "  at {strong}{}{end}", place_of(place, root));
    }
    let _ = writeln!(text, "  {}", finding.explanation);
    let _ = writeln!(text, "  {strong}fix:{end} {}", finding.fix);
    let _ = writeln!(text, "  {}", about(finding));
    for frame in &finding.backtrace {
        let _ = writeln!(text, "    {}", place_of(frame, root));
    }
    text.push('\n');
    text
}

/// The buffer, where in it, and who.
fn about(finding: &Finding) -> String {
    let buffer = &finding.buffer;
    let name =
        if buffer.name.is_empty() { "without a name".into() } else { format!("{:?}", buffer.name) };
    let mut text = format!("buffer {name} of {}, inode {}", buffer.exporter, buffer.inode);
    if let Some(offset) = finding.offset {
        let _ = write!(text, ", offset {offset:#x}");
    }
    let _ = write!(text, "; process {}", finding.process);
    if finding.thread != finding.process {
        let _ = write!(text, ", thread {}", finding.thread);
    }
    if let Some(time) = finding.since_end_ns {
        let _ = write!(text, "; {:.3} ms after the last END", time as f64 / 1e6);
    }
    let _ = write!(text, " ({})", finding.engine);
    text
}

/// A place as editors understand it.
fn place_of(frame: &Frame, root: &Path) -> String {
    let function = frame.function.as_deref().unwrap_or("?");
    let below = |path| below(root, path).display().to_string();
    match (&frame.file, frame.line, &frame.object) {
        (Some(file), Some(line), _) => format!("{}:{line} in {function}", below(file)),
        (_, _, Some(object)) => format!("{}+{:#x} in {function}", below(object), frame.address),
        _ => format!("{:#x}", frame.address),
    }
}
