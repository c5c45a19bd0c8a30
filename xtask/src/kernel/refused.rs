//! What must not compile: kernel/tests/refused has an exporter for each way to offer mmap without
//! begin and end, and marks the errors that the compiler has to find there.

use std::{fmt, fs, process::Stdio};

use anyhow::{Result, ensure};

use super::{
    output,
    toolchain::{OUTPUT, SOURCE, Toolchain, project},
};

/// Where it is, in the project and in the root.
pub const FOLDER: &str = "kernel/tests/refused";

/// Begins a comment that tells the error of the line below: its code, and a part of its message.
const MARK: &str = "//~ ";

struct Refusal {
    line: usize,
    code: String,
    message: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}: {}", self.line, self.code, self.message)
    }
}

/// Compiles them, and compares what the compiler says with what it has to say.
pub fn are_refused(toolchain: &Toolchain) -> Result<()> {
    let project = project()?;
    let source = fs::read_to_string(project.join(FOLDER).join("exporters.rs"))?;
    let expected = marked(&source);
    ensure!(!expected.is_empty(), "nothing is marked in {FOLDER}");

    let output = output(toolchain)?.join("refused");
    fs::create_dir_all(&output)?;
    let mut command = toolchain.command(&project, &output);
    command.args(["make", "--no-print-directory", "-C", &toolchain.headers()]);
    command.arg(format!("M={SOURCE}/{FOLDER}")).arg(format!("MO={OUTPUT}")).arg("exporters.o");
    let said = command.stdout(Stdio::null()).output()?;
    let said = String::from_utf8_lossy(&said.stderr);

    let found = told(&said);
    let fits = found.len() == expected.len()
        && found.iter().zip(&expected).all(|(found, expected)| found.is(expected));
    ensure!(fits, "{FOLDER} has to fail so:\n{}and the compiler says:\n{said}", list(&expected));
    Ok(())
}

impl Refusal {
    fn is(&self, expected: &Refusal) -> bool {
        self.line == expected.line
            && self.code == expected.code
            && self.message.contains(&expected.message)
    }
}

/// The marks of a source.
fn marked(source: &str) -> Vec<Refusal> {
    let lines = source.lines().zip(1..);
    let marks = lines.filter_map(|(text, line)| {
        let (code, message) = text.strip_prefix(MARK)?.split_once(' ')?;
        Some(Refusal { line: line + 1, code: code.to_string(), message: message.to_string() })
    });
    marks.collect()
}

/// The errors that a compiler tells, by line. One that has no code or is of another file comes first,
/// since it is at no line that could be marked.
fn told(said: &str) -> Vec<Refusal> {
    let lines: Vec<&str> = said.lines().collect();
    let mut found: Vec<_> = lines
        .windows(2)
        .filter_map(|pair| {
            let (code, message) = pair[0].strip_prefix("error")?.split_once(": ")?;
            if message.starts_with("aborting due to") {
                return None;
            }
            let place = pair[1].split_once(&format!("{FOLDER}/exporters.rs:"));
            let line = place.and_then(|(_, place)| place.split(':').next()?.parse().ok());
            let code = code.trim_matches(['[', ']']).to_string();
            Some(Refusal { line: line.unwrap_or(0), code, message: message.to_string() })
        })
        .collect();
    found.sort_by_key(|refusal| refusal.line);
    found
}

fn list(refusals: &[Refusal]) -> String {
    refusals.iter().map(|refusal| format!("{refusal}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_fits_its_mark_and_no_other() {
        let expected = marked("fn f() {}\n//~ E0046 missing: `end`\nimpl A for B {\n");
        let said = |line: usize, code: &str, missing: &str| {
            told(&format!(
                "error[{code}]: not all items, missing: `{missing}`\n  --> /a/{FOLDER}/exporters.rs:\
                 {line}:1\nerror: aborting due to 1 previous error\n"
            ))
        };
        assert!(said(3, "E0046", "end")[0].is(&expected[0]));
        for (line, code, missing) in [(4, "E0046", "end"), (3, "E0277", "end"), (3, "E0046", "a")] {
            assert!(!said(line, code, missing)[0].is(&expected[0]));
        }
        assert_eq!(told("error: expected item\n --> elsewhere.rs:3:1\n")[0].line, 0);
    }
}
