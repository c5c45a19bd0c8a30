//! The demo itself: on the service where FUSE can be used, and in one process. Whatever happens,
//! nothing is left behind.

mod common;

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use common::{dmabuf, stderr, stdout};
use image::{Rgb, RgbImage};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

/// Two frames of different sizes, a PNG and a JPEG.
fn frames(dir: &Path) -> [std::path::PathBuf; 2] {
    let paths = ["small.png", "smaller.jpeg"].map(|name| dir.join(name));
    for (path, (width, height)) in paths.iter().zip([(120, 50), (99, 61)]) {
        let shade = |x: u32, y: u32| Rgb([(x * 2) as u8, (y * 5) as u8, (x ^ y) as u8]);
        RgbImage::from_fn(width, height, shade).save(path).unwrap();
    }
    paths
}

/// A command to run the demo with, whose temporary files go below `dir`.
fn demo(mut command: Command, dir: &TempDir) -> Command {
    std::fs::create_dir(dir.path().join("tmp")).unwrap();
    command.env("TMPDIR", dir.path().join("tmp"));
    command.arg("demo").args(frames(dir.path()));
    command.arg("--out").arg(dir.path().join("out"));
    command
}

/// Runs a program in a mount namespace in which FUSE cannot be used.
fn without_fuse(program: &str) -> Command {
    let mut unshare = Command::new("unshare");
    unshare.args(["--mount", "--map-root-user", "sh", "-c"]);
    unshare.args(["mount --bind /dev/null /dev/fuse && exec \"$0\" \"$@\"", program]);
    unshare
}

/// No mount, no temporary file: what a demo that has ended leaves.
fn assert_nothing_is_left(dir: &TempDir) {
    let tmp = dir.path().join("tmp");
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(tmp.to_str().unwrap()), "a mount is left");
    let left: Vec<_> = tmp.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(left.is_empty(), "{left:?} is left");
}

fn assert_contract(document: &Value, dir: &TempDir) {
    assert_eq!(document["kept"], true);
    let rows = document["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 21);
    for row in rows {
        let (heap, way) = (row["heap"].as_str().unwrap(), row["way"].as_str());
        let wrong = matches!(way, Some("none" | "wrong-direction" | "too-small"));
        match heap {
            "coherent" | "unmappable" => assert_eq!(row["picture"], "right", "{row}"),
            _ if !wrong => assert_eq!(row["picture"], "right", "{row}"),
            "bounce" => assert_eq!(row["picture"], "stale", "{row}"),
            _ => assert_eq!(row["promised"], "nothing", "{row}"),
        }
        let violations = row["violations"].as_array().unwrap();
        assert_eq!(!violations.is_empty(), heap == "checked" && wrong, "{row}");
        assert_eq!(violations.iter().any(|found| found["pid"].is_u64()), !violations.is_empty());
        assert!(violations.iter().all(|found| found["offset"].is_u64()));
        assert_eq!(row["refusals"].as_array().unwrap().is_empty(), heap != "unmappable");
        assert!(dir.path().join(row["png"].as_str().unwrap()).is_file());
    }
    let synced = |heap: &str, way: &str| {
        let row = rows.iter().find(|row| row["heap"] == heap && row["way"] == way).unwrap();
        row["bytes_synced"].as_u64().unwrap()
    };
    assert_eq!(synced("coherent", "whole"), 0);
    assert!(synced("bounce", "ranged") < synced("bounce", "whole"), "a range costs less");
    // Row 12 of the review: brackets that copy, coherent mappings, page faults, side by side.
    for heap in ["bounce", "coherent", "tracked"] {
        let row = rows.iter().find(|row| row["heap"] == heap && row["way"] == "whole").unwrap();
        assert!(row["microseconds_a_bracket"].as_f64().unwrap() > 0.0, "{row}");
        assert_eq!(row["brackets"], row["runs"].as_array().unwrap().len(), "{row}");
    }
    let sheet = image::open(document["contact_sheet"].as_str().unwrap()).unwrap();
    assert!(sheet.width() > 1000);
}

#[test]
fn on_the_service_every_row_is_as_promised() {
    let dir = tempfile::tempdir().unwrap();
    let output = demo(dmabuf(), &dir).arg("--json").output().unwrap();
    assert!(output.status.success(), "{}{}", stdout(&output), stderr(&output));
    assert_nothing_is_left(&dir);
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_contract(&document, &dir);
    if document["stage"] != "served" {
        let notes = document["notes"].to_string();
        assert!(notes.contains("cannot use FUSE"), "there is no other reason: {notes}");
        println!("skipped: the service is not tested: {notes}");
        return;
    }
    let runs = document["rows"][0]["runs"].as_array().unwrap();
    let pids: std::collections::HashSet<_> = runs.iter().map(|run| run["pid"].as_u64()).collect();
    assert_eq!(pids.len(), runs.len(), "each client is a process of its own");
}

#[test]
fn without_fuse_the_same_story_is_told_in_one_process() {
    let dir = tempfile::tempdir().unwrap();
    if !without_fuse("true").output().is_ok_and(|output| output.status.success()) {
        println!("not tested: no mount namespace can be made, or there is no /dev/fuse to hide");
        return;
    }
    let output =
        demo(without_fuse(env!("CARGO_BIN_EXE_dmabuf")), &dir).arg("--json").output().unwrap();
    assert!(output.status.success(), "{}{}", stdout(&output), stderr(&output));
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["stage"], "in process");
    let notes = document["notes"].as_array().unwrap();
    assert!(notes.len() == 1 && notes[0].as_str().unwrap().contains("one process"), "{notes:?}");
    assert_contract(&document, &dir);
    assert_nothing_is_left(&dir);
}

#[test]
fn people_get_a_table_without_escapes_where_there_is_no_terminal() {
    let dir = tempfile::tempdir().unwrap();
    let output = demo(dmabuf(), &dir).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let table = stdout(&output);
    assert!(!table.contains('\x1b'));
    for words in ["µs a bracket", "wrong direction", "All 21 rows came out", "mmap refused"] {
        assert!(table.contains(words), "{words:?} in\n{table}");
    }
    assert!(table.contains("checked, none: process "), "{table}");
    assert_nothing_is_left(&dir);
}

/// The demo, as a JSON document, with a C compiler that is this shell script.
fn demo_with_compiler(script: &str, dir: &TempDir) -> (Option<i32>, Value) {
    let compiler = dir.path().join("cc");
    std::fs::write(&compiler, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&compiler, Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", dir.path().display(), std::env::var("PATH").unwrap());
    let output = demo(dmabuf(), dir).arg("--json").env("PATH", path).output().unwrap();
    assert_nothing_is_left(dir);
    (output.status.code(), serde_json::from_slice(&output.stdout).unwrap())
}

#[test]
fn a_client_that_does_not_edit_breaks_the_promise_of_every_row_it_is_in() {
    let dir = tempfile::tempdir().unwrap();
    let idle = r#"printf '#!/bin/sh\necho brackets=1 nanoseconds=1\n' > "$4"; chmod +x "$4""#;
    let (status, document) = demo_with_compiler(idle, &dir);
    if document["stage"] != "served" {
        println!("not tested: no client is compiled in one process");
        return;
    }
    assert_eq!(status, Some(1));
    assert_eq!(document["kept"], false);
    for row in document["rows"].as_array().unwrap() {
        let objections = row["objections"].as_array().unwrap();
        let tolerated = matches!(
            (row["heap"].as_str().unwrap(), row["way"].as_str()),
            ("bounce" | "tracked", Some("wrong-direction" | "too-small"))
        );
        assert_eq!(objections.is_empty(), tolerated, "{row}");
    }
    let row = &document["rows"][0];
    assert_eq!(row["picture"], "mixed", "the client in Rust is right");
    let objection = row["objections"][0].as_str().unwrap();
    assert!(objection.contains("frame 1 by C (1500 pixels)"), "{objection}");
}

#[test]
fn without_a_c_compiler_the_client_in_rust_is_enough() {
    let dir = tempfile::tempdir().unwrap();
    let (status, document) = demo_with_compiler("echo broken >&2; exit 1", &dir);
    assert_eq!(status, Some(0));
    if document["stage"] == "served" {
        let note = document["notes"][0].as_str().unwrap();
        assert!(note.contains("client in C is left out") && note.contains("broken"), "{note}");
    }
}

#[test]
fn a_mistake_that_pages_do_not_show_is_told_and_breaks_no_promise() {
    let dir = tempfile::tempdir().unwrap();
    let tiny = dir.path().join("tiny.png");
    RgbImage::from_pixel(1, 2, Rgb([1, 2, 3])).save(&tiny).unwrap();
    let output = dmabuf().arg("demo").arg(tiny).arg("--out").arg(dir.path()).output().unwrap();
    let table = stdout(&output);
    assert!(output.status.success(), "{table}");
    assert!(table.contains("checked, too small: both halves"), "{table}");
}

#[test]
fn a_demo_that_is_interrupted_cleans_up() {
    let dir = tempfile::tempdir().unwrap();
    let mut child =
        demo(dmabuf(), &dir).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    wait_for_rows(&dir);
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    assert!(!child.wait().unwrap().success());
    let output = child.wait_with_output().unwrap();
    assert!(stderr(&output).contains("interrupted"), "{}", stderr(&output));
    assert_nothing_is_left(&dir);
}

#[test]
fn the_service_ends_with_a_demo_that_is_killed() {
    let dir = tempfile::tempdir().unwrap();
    let mut child =
        demo(dmabuf(), &dir).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait_for_rows(&dir);
    child.kill().unwrap();
    child.wait().unwrap();
    let path = dir.path().to_str().unwrap().to_owned();
    let mounted = || std::fs::read_to_string("/proc/self/mountinfo").unwrap().contains(&path);
    let start = Instant::now();
    while mounted() {
        assert!(start.elapsed() < Duration::from_secs(10), "the mount is still there");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Returns when the first picture has come out.
fn wait_for_rows(dir: &TempDir) {
    let start = Instant::now();
    while !dir.path().join("out/coherent-whole.png").exists() {
        assert!(start.elapsed() < Duration::from_secs(60), "no row is played");
        thread::sleep(Duration::from_millis(1));
    }
}
