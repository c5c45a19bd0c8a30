//! `dmabuf conform` on the heaps that this machine can serve.

mod common;
#[path = "common/service.rs"]
mod service;

use std::collections::BTreeSet;
use std::process::{Command, Output};

use common::{dmabuf, stderr, stdout};
use serde_json::Value;
use service::Service;

const HEAPS: [&str; 5] = ["coherent", "bounce", "tracked", "checked", "unmappable"];

fn conform(arguments: impl FnOnce(&mut Command)) -> Output {
    let mut command = dmabuf();
    command.arg("conform");
    arguments(&mut command);
    command.output().expect("the binary runs")
}

#[test]
fn served_heaps_behave_as_dma_bufs_or_as_files_that_have_to() {
    let Some(service) = Service::start(tempfile::tempdir().unwrap()) else { return };
    let output = conform(|command| {
        command.arg("--json").args(HEAPS.map(|heap| service.heap(heap)));
    });
    let document: Value = serde_json::from_slice(&output.stdout).expect("one JSON document");
    let rows = document["rows"].as_array().expect("rows");
    let broken = rows.iter().filter(|row| {
        let mut answers = row["answers"].as_array().into_iter().flatten();
        answers.any(|answer| answer["verdict"] == "broken")
    });
    let broken: Vec<_> = broken.collect();
    assert!(broken.is_empty(), "{broken:#?}");
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(document["holds"], true);

    let mut ids = BTreeSet::new();
    for row in rows {
        assert!(ids.insert(row["id"].as_str().expect("an id")), "{row} is there twice");
        assert!(row["reference"].as_str().is_some_and(|from| !from.is_empty()), "{row}");
        assert_eq!(row["answers"].as_array().map(Vec::len), Some(HEAPS.len()), "{row}");
    }
    assert!(ids.len() >= 100, "{} rows", ids.len());
}

#[test]
fn a_check_that_ends_in_a_signal_is_an_answer() {
    let Some(service) = Service::start(tempfile::tempdir().unwrap()) else { return };
    let output = conform(|command| {
        command.arg(service.heap("bounce")).args([
            "--only",
            "mmap.store-to",
            "--only",
            "mmap.past",
        ]);
    });
    let table = stdout(&output);
    assert!(output.status.success(), "{table}{}", stderr(&output));
    assert!(table.contains("mmap.store-to-read-only  ✓"), "{table}");
    assert!(
        table.lines().any(|line| line.starts_with("mmap.past-end") && line.contains("SIGBUS *"))
    );
}

#[test]
fn documents_get_the_same_table() {
    let Some(service) = Service::start(tempfile::tempdir().unwrap()) else { return };
    let output = conform(|command| {
        command.arg(service.heap("checked")).args(["--markdown", "--only", "name."]);
    });
    let table = stdout(&output);
    assert!(table.contains("| `name.set` | ✓ |"), "{table}");
    assert!(table.contains("- `name.set`: A buffer can be named."), "{table}");
}

#[test]
fn what_is_no_exporter_is_refused() {
    for path in ["/dev/null", "/proc/self", "/does/not/exist"] {
        let output = conform(|command| {
            command.arg(path);
        });
        assert!(!output.status.success());
        assert!(stderr(&output).contains(path), "{}", stderr(&output));
    }
    let output = conform(|command| {
        command.args(["/dev/null", "--only", "no-such-group"]);
    });
    assert!(stderr(&output).contains("no-such-group"), "{}", stderr(&output));
}

#[test]
fn random_calls_have_the_same_answers_on_every_heap() {
    let Some(service) = Service::start(tempfile::tempdir().unwrap()) else { return };
    let output = conform(|command| {
        let mappable = ["coherent", "bounce", "tracked", "checked"];
        command.args(["--compare", "5"]).args(mappable.map(|heap| service.heap(heap)));
    });
    let told = stdout(&output);
    assert!(output.status.success(), "{told}{}", stderr(&output));
    assert_eq!(told.matches("every byte the same").count(), 3, "{told}");
}
