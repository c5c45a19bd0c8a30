//! What docs/check.md says of `dmabuf check`: how it ends, what it writes in which form, what can be
//! left out, and that it needs nothing but itself.

#![cfg(target_arch = "x86_64")]

mod common;
#[path = "common/service.rs"]
mod service;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use common::{dmabuf, stderr, stdout};
use serde_json::{Value, json};
use service::Service;
use tempfile::TempDir;

/// One program of the corpus, where every user can run it, and a service for its buffers.
struct Stage {
    service: Service,
    folder: TempDir,
}

const PROGRAM: &str = "write-without-bracket";

impl Stage {
    /// `None`, and it is said, where there is no compiler or FUSE cannot be used.
    fn new() -> Option<Stage> {
        let folder = folder_for_all();
        if !compile(&corpus(&format!("{PROGRAM}.c")), &folder.path().join(PROGRAM), &[]) {
            return None;
        }
        Some(Stage { service: Service::start(folder_for_all())?, folder })
    }

    /// The program, to be given a buffer.
    fn program(&self) -> PathBuf {
        self.folder.path().join(PROGRAM)
    }

    /// Runs it under the checker.
    fn check(&self, options: &[&str], buffer: &str) -> Output {
        let mut check = dmabuf();
        check.arg("check").args(options).arg("--").arg(self.program()).arg(self.buffer(buffer));
        check.output().unwrap()
    }

    fn buffer(&self, name: &str) -> PathBuf {
        self.service.heap("bounce").join(name)
    }
}

/// What a test run gives its tests is for its user only.
fn folder_for_all() -> TempDir {
    let folder = tempfile::tempdir_in("/tmp").unwrap();
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
    folder
}

/// The root of the sources.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}

fn corpus(file: &str) -> PathBuf {
    root().join("check/tests/corpus").join(file)
}

/// Whether there is a compiler; the program has to be right.
fn compile(source: &Path, program: &Path, options: &[&str]) -> bool {
    let mut cc = Command::new("cc");
    match cc.args(["-g", "-o"]).arg(program).arg(source).args(options).status() {
        Ok(status) => assert!(status.success()),
        Err(error) => {
            eprintln!("skipped: cc: {error}");
            return false;
        }
    }
    true
}

fn status_of(options: &[&str], script: &str) -> Option<i32> {
    let mut check = dmabuf();
    check.arg("check").args(options).args(["--", "sh", "-c", script]);
    check.output().unwrap().status.code()
}

#[test]
fn the_exit_status_is_the_programs_where_nothing_is_found() {
    assert_eq!(status_of(&[], "exit 0"), Some(0));
    assert_eq!(status_of(&["--error-exit-code", "3"], "exit 7"), Some(7));
    assert_eq!(status_of(&[], "kill -TERM $$"), Some(128 + 15));
    assert_eq!(status_of(&[], "kill -SEGV $$"), Some(128 + 11));
}

#[test]
fn the_exit_status_is_66_or_what_was_chosen_where_an_error_is_found() {
    let Some(stage) = Stage::new() else { return };
    assert_eq!(stage.check(&[], "a").status.code(), Some(66));
    assert_eq!(stage.check(&["--error-exit-code", "3"], "b").status.code(), Some(3));
    assert_eq!(stage.check(&["--error-exit-code", "0"], "c").status.code(), Some(0));
}

#[test]
fn json_has_the_fields_that_the_page_names() {
    let Some(stage) = Stage::new() else { return };
    let output = stage.check(&["--json"], "a");
    assert_eq!(output.status.code(), Some(66));
    let document: Value = serde_json::from_str(&stdout(&output)).unwrap();
    let keys = |value: &Value| -> Vec<String> {
        let mut keys: Vec<_> = value.as_object().unwrap().keys().cloned().collect();
        keys.sort();
        keys
    };
    assert_eq!(keys(&document), ["findings", "limits", "program", "status"]);
    assert_eq!(document["status"], 0);
    assert!(document["limits"].is_array());
    let [finding] = &document["findings"].as_array().unwrap()[..] else { panic!("{document:#}") };
    let all = "backtrace buffer count engine explanation fix id offset place process severity \
               since_end_ns thread";
    assert_eq!(keys(finding).join(" "), all);
    assert_eq!(keys(&finding["buffer"]).join(" "), "exporter inode name");
    assert_eq!(keys(&finding["place"]).join(" "), "address file function line object");
    assert_eq!(keys(&finding["backtrace"][0]), keys(&finding["place"]));
    let page = include_str!("../../docs/check.md");
    for field in all.split(' ').chain(["exporter", "inode", "address", "object"]) {
        assert!(page.contains(&format!("`{field}`")), "{field} is not on the page");
    }
}

/// From the first run to the fix: what the page shows is what comes out.
#[test]
fn the_story_of_the_page_is_true() {
    let Some(stage) = Stage::new() else { return };
    let name = "direction-turned-in-refactoring";
    let picture = stage.folder.path().join("picture");
    let run = |source: &str, buffer: &str| {
        // As there, the compiler is told a path from the root.
        let mut cc = Command::new("cc");
        cc.args(["-g", "-o"]).arg(&picture).arg(format!("check/tests/corpus/{source}"));
        assert!(cc.current_dir(root()).status().unwrap().success());
        let mut check = dmabuf();
        check.args(["check", "--"]).arg(&picture).arg(stage.buffer(buffer)).current_dir(root());
        check.output().unwrap()
    };
    let output = run(&format!("{name}.c"), "picture");
    assert_eq!(output.status.code(), Some(66), "{}", stderr(&output));
    let page = include_str!("../../docs/check.md");
    let (_, story) = page.split_once("done\nerror: ").expect("what it shows");
    let (story, _) = story.split_once("```").unwrap();
    let told = stderr(&output);
    // Numbers of processes and the like are others, and so is the C library's code.
    let same =
        |line: &&str| line.starts_with("  ") && !line.contains("inode") && !line.contains('+');
    let lines: Vec<_> = story.lines().filter(same).collect();
    assert!(lines.len() >= 5, "{story}");
    for line in lines {
        assert!(told.contains(&format!("\n{line}\n")), "{line:?} is not in\n{told}");
    }
    assert_eq!(run(&format!("{name}.fixed.c"), "corrected").status.code(), Some(0));
}

#[test]
fn what_the_program_writes_is_its_own() {
    let output = dmabuf().args(["check", "--", "echo", "words"]).output().unwrap();
    assert_eq!(stdout(&output), "words\n");
    let output = dmabuf().args(["check", "--json", "--", "echo", "words"]).output().unwrap();
    assert!(serde_json::from_str::<Value>(&stdout(&output)).is_ok());
    assert!(stderr(&output).contains("words\n"));
}

#[test]
fn what_is_known_can_be_left_out() {
    let Some(stage) = Stage::new() else { return };
    for (pattern, status) in [
        ("outside-write", 0),
        ("outside-write@main", 0),
        ("outside-write@write-without-bracket.c", 0),
        ("outside-write@libother", 66),
        ("outside-read", 66),
    ] {
        let output = stage.check(&["--suppress", pattern], &pattern.replace('/', "-"));
        assert_eq!(output.status.code(), Some(status), "{pattern}: {}", stderr(&output));
    }
    let output = stage.check(&["--suppress", "outside"], "unknown");
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("there are outside-read, outside-write"), "{output:?}");
}

/// What sarif-v2.1.0 (OASIS) requires, by the numbers of its sections, and beside it what code hosts
/// require: a place for every result, sources relative to the root.
#[test]
fn sarif_is_what_its_standard_requires() {
    let Some(stage) = Stage::new() else { return };
    let file = stage.folder.path().join("check.sarif");
    let options = ["check", "--sarif", file.to_str().unwrap(), "--"];
    let mut check = dmabuf();
    // The sources are below where it runs.
    check.current_dir(root());
    let output = check.args(options).arg(stage.program()).arg(stage.buffer("a")).output().unwrap();
    assert_eq!(output.status.code(), Some(66), "{}", stderr(&output));
    let log: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();

    assert_eq!(log["version"], "2.1.0", "3.13.2");
    assert!(log["$schema"].as_str().unwrap().starts_with("https://"), "3.13.3");
    let [run] = &log["runs"].as_array().unwrap()[..] else { panic!("3.13.4: {log:#}") };
    let driver = &run["tool"]["driver"];
    assert_eq!(driver["name"], "dmabuf check", "3.19.8");
    let rules = driver["rules"].as_array().unwrap();
    for rule in rules {
        let is_id = |id: &str| !id.is_empty() && !id.contains(char::is_whitespace);
        assert!(rule["id"].as_str().is_some_and(is_id), "3.49.3: {rule:#}");
        assert!(rule["shortDescription"]["text"].is_string(), "3.12.3: {rule:#}");
        let level = &rule["defaultConfiguration"]["level"];
        assert!([json!("error"), json!("note")].contains(level), "3.50.3: {rule:#}");
    }
    let [result] = &run["results"].as_array().unwrap()[..] else { panic!("{run:#}") };
    assert!(result["message"]["text"].is_string(), "3.27.11");
    assert_eq!((&result["ruleId"], &result["level"]), (&json!("outside-write"), &json!("error")));
    let index = result["ruleIndex"].as_u64().unwrap() as usize;
    assert_eq!(rules[index]["id"], result["ruleId"], "3.27.6");
    assert!(result["occurrenceCount"].as_u64().unwrap() > 0, "3.27.20");
    let place = &result["locations"][0]["physicalLocation"];
    let uri = "check/tests/corpus/write-without-bracket.c";
    assert_eq!(place["artifactLocation"], json!({ "uri": uri, "uriBaseId": "%SRCROOT%" }));
    let line = place["region"]["startLine"].as_u64().unwrap() as usize;
    let source = fs::read_to_string(corpus("write-without-bracket.c")).unwrap();
    assert!(source.lines().nth(line - 1).unwrap().contains("expect: outside-write"), "3.30.5");
    let frames = result["stacks"][0]["frames"].as_array().unwrap();
    assert!(!frames.is_empty(), "3.44.3");
    for frame in frames {
        let uri = frame["location"]["physicalLocation"]["artifactLocation"]["uri"].as_str();
        assert!(uri.is_some_and(|uri| !uri.contains(' ')), "3.4.3: {frame:#}");
    }
}

#[test]
fn what_was_found_is_told_although_sarif_cannot_be_written() {
    let Some(stage) = Stage::new() else { return };
    let output = stage.check(&["--sarif", "/nowhere/check.sarif"], "a");
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("error: outside-write"), "{}", stderr(&output));
    assert!(stderr(&output).contains("dmabuf: cannot write /nowhere/check.sarif"));
}

/// Copied to another folder, run by another user without a home, from another folder, with nothing in
/// its environment.
#[test]
fn it_needs_nothing_but_itself() {
    let Some(stage) = Stage::new() else { return };
    let copy = stage.folder.path().join("copy");
    // By another process: what a test beside this one starts would have it open, and nobody could run
    // it meanwhile.
    let mut cp = Command::new("cp");
    assert!(cp.arg(env!("CARGO_BIN_EXE_dmabuf")).arg(&copy).status().unwrap().success());
    let mut check = Command::new(&copy);
    check.env_clear().env("HOME", "/nonexistent").current_dir("/");
    if rustix::process::geteuid().is_root() {
        check.gid(65534).uid(65534);
    }
    check.args(["check", "--"]).arg(stage.program()).arg(stage.buffer("a"));
    let output = check.output().unwrap();
    assert_eq!(output.status.code(), Some(66), "{}", stderr(&output));
    let place = format!("  at {}:10 in main\n", corpus("write-without-bracket.c").display());
    assert!(stderr(&output).contains(&place), "{}", stderr(&output));
}

#[test]
fn a_service_that_cannot_be_asked_is_told_of() {
    let Some(stage) = Stage::new() else { return };
    let mut check = dmabuf();
    // Who would read what the service tells is not there.
    check.env("PATH", "/nonexistent").args(["check", "--"]).arg(stage.program());
    let output = check.arg(stage.buffer("a")).output().unwrap();
    assert_eq!(output.status.code(), Some(66));
    assert!(stderr(&output).contains("could not be asked"), "{}", stderr(&output));
}

#[test]
fn what_it_cannot_look_at_is_an_error() {
    let mut check = dmabuf();
    check.env("TMPDIR", "/nonexistent").args(["check", "--", "true"]);
    let output = check.output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).starts_with("dmabuf: cannot make a folder"), "{}", stderr(&output));
    assert!(stderr(&output).contains("TMPDIR"), "{}", stderr(&output));

    // A script's interpreter is known only when it runs; no library goes into this one.
    let folder = tempfile::tempdir().unwrap();
    let [source, interpreter, script] = ["a.c", "a", "script"].map(|name| folder.path().join(name));
    fs::write(&source, "int main(void) { return 0; }").unwrap();
    if !compile(&source, &interpreter, &["-static"]) {
        return;
    }
    fs::write(&script, format!("#!{}\n", interpreter.display())).unwrap();
    fs::set_permissions(&script, Permissions::from_mode(0o755)).unwrap();
    let output = dmabuf().args(["check", "--"]).arg(&script).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let words = format!("dmabuf: {} was not looked at", script.display());
    assert!(stderr(&output).starts_with(&words), "{}", stderr(&output));
}
