//! Running a program under the checker, and comparing what it found with what it had to find.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use serde::Deserialize;

use crate::common::{dmabuf, stderr, stdout};
use crate::program::{Expected, Program};

/// Longer than any of them takes, on a machine that is emulated too.
const LIMIT: Duration = Duration::from_secs(60);

/// Where the buffers come from.
pub enum Exporter {
    /// A folder of a service.
    Served(PathBuf),
    Udmabuf,
    System,
}

impl Exporter {
    /// As the programs of the corpus call it.
    pub fn name(&self) -> &'static str {
        match self {
            Exporter::Served(_) => "bounce",
            Exporter::Udmabuf => "udmabuf",
            Exporter::System => "system",
        }
    }

    /// Or why not.
    pub fn is_there(&self) -> Result<(), String> {
        let path = self.path();
        if path.exists() { Ok(()) } else { Err(format!("there is no {}", path.display())) }
    }

    fn path(&self) -> &Path {
        match self {
            Exporter::Served(folder) => folder,
            Exporter::Udmabuf => Path::new("/dev/udmabuf"),
            Exporter::System => Path::new("/dev/dma_heap/system"),
        }
    }

    /// What a program has to be told to get a buffer of its own.
    fn argument(&self, program: &Program) -> PathBuf {
        match self {
            Exporter::Served(folder) => folder.join(&program.file),
            _ => self.path().to_owned(),
        }
    }
}

/// What `dmabuf check --json` tells, as far as it matters here.
#[derive(Deserialize)]
pub struct Report {
    pub findings: Vec<Finding>,
    pub limits: Vec<String>,
}

#[derive(Deserialize)]
pub struct Finding {
    pub id: String,
    count: u64,
    pub buffer: Buffer,
    pub offset: Option<u64>,
    pub engine: String,
    place: Option<Place>,
}

#[derive(Deserialize)]
pub struct Buffer {
    pub exporter: String,
}

#[derive(Deserialize)]
struct Place {
    file: Option<PathBuf>,
    line: Option<usize>,
}

/// An id, and where: a line of the program, or words for another place.
type Found = (String, Result<usize, String>);

/// Runs it; the error tells everything that was not as it had to be.
pub fn check(program: &Program, command: Command, exporter: &Exporter) -> Result<(), String> {
    let argument = exporter.argument(program);
    let output = run(command, &argument).map_err(|error| format!("{}: {error}", program.file))?;
    let words = stderr(&output);
    let mut wrong = Vec::new();
    if !words.lines().any(|line| line == "done") {
        wrong.push(format!("did not come to its end: {}", output.status));
    }
    match serde_json::from_str::<Report>(&stdout(&output)) {
        Ok(report) => {
            wrong.extend(miscounted(&words, &report));
            let is_expected = |id: &str| program.expected.iter().any(|expected| expected.id == id);
            let found = report.findings.into_iter().map(|finding| finding.found(program));
            let found: Vec<Found> =
                found.filter(|(id, _)| id != "sync-without-effect" || is_expected(id)).collect();
            wrong.extend(differences(&program.expected, exporter.name(), found));
        }
        Err(error) => wrong.push(format!("no report: {error}")),
    }
    if program.is_twin() && !output.status.success() {
        wrong.push(format!("though there is nothing to find: {}", output.status));
    }
    if wrong.is_empty() {
        return Ok(());
    }
    let words: Vec<_> = words.lines().filter(|&line| line != "done").collect();
    Err(format!("{}: {}\n    {}", program.file, wrong.join("; "), words.join("\n    ")))
}

impl Finding {
    fn found(self, program: &Program) -> Found {
        let place = match self.place {
            Some(Place { file: Some(file), line: Some(line) }) => {
                if file.file_name().is_some_and(|name| name == program.file.as_str()) {
                    Ok(line)
                } else {
                    Err(format!("{}:{line}", file.display()))
                }
            }
            _ => Err("no line".to_owned()),
        };
        (self.id, place)
    }
}

/// Where the program says `made ID N`: what was found another number of times.
fn miscounted(words: &str, report: &Report) -> Vec<String> {
    let made = words.lines().filter_map(|line| line.strip_prefix("made ")?.split_once(' '));
    let wrong = made.filter_map(|(id, made)| {
        let findings = report.findings.iter().filter(|finding| finding.id == id);
        let found: u64 = findings.map(|finding| finding.count).sum();
        (made.parse() != Ok(found)).then(|| format!("{id} was made {made} times, found {found}"))
    });
    wrong.collect()
}

/// What is missing, and what is too much.
fn differences(expected: &[Expected], exporter: &str, mut found: Vec<Found>) -> Vec<String> {
    let mut differences = Vec::new();
    for Expected { id, line, only_on } in expected {
        if only_on.as_deref().is_some_and(|only| only != exporter) {
            continue;
        }
        let is_it = |(it, place): &Found| it == id && line.is_none_or(|line| *place == Ok(line));
        match found.iter().position(is_it) {
            Some(index) => drop(found.swap_remove(index)),
            None => differences.push(match line {
                Some(line) => format!("not found: {id} in line {line}"),
                None => format!("not found: {id}"),
            }),
        }
    }
    differences.extend(found.into_iter().map(|(id, place)| match place {
        Ok(line) => format!("found: {id} in line {line}"),
        Err(place) => format!("found: {id} ({place})"),
    }));
    differences
}

/// Runs it under the checker.
pub fn run(program: Command, buffer: &Path) -> Result<Output, String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    // Unlike pipes, files have an end although a grandchild still holds them.
    let (stdout, stderr) = (folder.path().join("stdout"), folder.path().join("stderr"));
    let file = |path: &Path| std::fs::File::create(path).map_err(|error| error.to_string());
    let mut words: Vec<OsString> = vec![program.get_program().to_owned()];
    words.extend(program.get_args().map(OsString::from));
    let mut command = dmabuf();
    for (name, value) in program.get_envs() {
        command.env(name, value.unwrap_or_default());
    }
    command.args(["check", "--json", "--"]).args(words).arg(buffer);
    command.stdin(Stdio::null()).stdout(file(&stdout)?).stderr(file(&stderr)?);
    let mut child = command.spawn().map_err(|error| error.to_string())?;
    let status = wait(&mut child).map_err(|error| error.to_string())?;
    let stdout = std::fs::read(stdout).map_err(|error| error.to_string())?;
    let stderr = std::fs::read(stderr).map_err(|error| error.to_string())?;
    Ok(Output { status, stdout, stderr })
}

/// Waits until it has ended; when its time is over it is killed.
fn wait(child: &mut Child) -> std::io::Result<ExitStatus> {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if start.elapsed() > LIMIT {
            child.kill()?;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn what_is_missing_and_what_is_too_much_is_told() {
    let expected = |id: &str, line, only_on: Option<&str>| Expected {
        id: id.to_owned(),
        line,
        only_on: only_on.map(str::to_owned),
    };
    let all = [
        expected("a", Some(3), None),
        expected("b", None, None),
        expected("c", Some(5), Some("x")),
    ];
    let found = |id: &str, line| (id.to_owned(), Ok::<usize, String>(line));
    assert!(differences(&all, "y", vec![found("b", 9), found("a", 3)]).is_empty());
    assert_eq!(differences(&all, "x", vec![found("b", 9), found("a", 3)]).len(), 1);
    assert_eq!(differences(&all, "y", vec![found("b", 9), found("a", 4)]).len(), 2);
    assert_eq!(differences(&all, "y", vec![found("b", 9), found("a", 3), found("a", 3)]).len(), 1);
}
