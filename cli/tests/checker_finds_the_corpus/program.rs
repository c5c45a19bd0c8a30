//! The programs, and what they say that has to be found in them.

use std::fs;
use std::path::{Path, PathBuf};

/// Where the programs are.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../check/tests/corpus")
}

/// A program that makes a mistake, or the corrected twin of one.
pub struct Program {
    /// Its name in the corpus.
    pub file: String,
    pub expected: Vec<Expected>,
    /// The only exporter that it can be run with.
    needs: Option<String>,
}

/// A finding that has to be there.
pub struct Expected {
    pub id: String,
    /// Counted from 1; `None` where nobody can know it.
    pub line: Option<usize>,
    /// The only exporter with whose buffers it has to be there.
    pub only_on: Option<String>,
}

impl Program {
    /// All of the corpus, by name.
    pub fn all() -> Vec<Program> {
        let mut programs = Vec::new();
        for entry in fs::read_dir(folder()).expect("the corpus") {
            let path = entry.expect("an entry").path();
            let (Some(stem), Some(language)) = (path.file_stem(), path.extension()) else {
                continue;
            };
            if stem != "corpus" && ["c", "cpp", "rs", "py"].iter().any(|&one| language == one) {
                programs.push(Program::read(&path));
            }
        }
        programs.sort_by(|a, b| a.file.cmp(&b.file));
        programs
    }

    fn read(path: &Path) -> Program {
        let text = fs::read_to_string(path).expect("a source");
        let mut program = Program {
            file: path.file_name().expect("a name").to_string_lossy().into_owned(),
            expected: Vec::new(),
            needs: None,
        };
        for (number, line) in (1..).zip(text.lines()) {
            if let Some((_, exporter)) = line.split_once("needs: ") {
                program.needs = Some(exporter.to_owned());
            }
            if let Some((_, comment)) = line.split_once("expect") {
                program.expected.extend(Expected::parse(number, comment));
            }
        }
        program
    }

    /// Whether it has been corrected.
    pub fn is_twin(&self) -> bool {
        self.name().ends_with(".fixed")
    }

    /// The file of its corrected twin.
    pub fn twin(&self) -> String {
        format!("{}.fixed.{}", self.name(), self.language())
    }

    /// Its file's name without the language.
    pub fn name(&self) -> &str {
        self.file.rsplit_once('.').expect("a language").0
    }

    pub fn language(&self) -> &str {
        self.file.rsplit_once('.').expect("a language").1
    }

    pub fn can_use(&self, exporter: &str) -> bool {
        self.needs.as_deref().is_none_or(|needs| needs == exporter)
    }
}

impl Expected {
    /// What stands after `expect` in a comment: `: ID`, ` on EXPORTER: ID`, ` anywhere: ID, ID`.
    fn parse(number: usize, comment: &str) -> Vec<Expected> {
        let Some((how, ids)) = comment.split_once(": ") else {
            return Vec::new();
        };
        let (line, only_on) = match how.trim() {
            "" => (Some(number), None),
            "anywhere" => (None, None),
            how => match how.strip_prefix("on ") {
                Some(exporter) => (Some(number), Some(exporter.to_owned())),
                None => return Vec::new(),
            },
        };
        let ids = ids.trim_end_matches("*/").trim().trim_end_matches("\"\"\"");
        let expected = |id: &str| Expected { id: id.to_owned(), line, only_on: only_on.clone() };
        ids.split(", ").map(expected).collect()
    }
}
