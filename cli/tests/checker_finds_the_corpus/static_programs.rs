//! Static programs, into which no library can be preloaded: the heaps that check have seen what they
//! did, the service's and the kernel module's alike, and the report says which of them.

use std::path::Path;

use crate::common::{stderr, stdout};
use crate::compile::{self, Error};
use crate::program::Program;
use crate::run::{Finding, Report, run};
use crate::service::Service;

const PAGE: u64 = 4096;

/// What programs of the corpus give: by the service, by the module, and at which offset first. The
/// service learns that it was a store when the page is written back, and not what was allowed then.
#[rustfmt::skip]
const SEEN: [(&str, [&str; 2], Option<u64>); 7] = [
    ("read-without-bracket",     ["outside-read", "outside-read"],               Some(0)),
    ("write-without-bracket",    ["outside-write", "outside-write"],             Some(0)),
    ("write-in-read-bracket",    ["outside-write", "write-in-read-bracket"],     Some(PAGE)),
    ("thread-draws-after-end",   ["outside-write", "outside-write"],             Some(8 * PAGE)),
    ("end-of-another-direction", ["end-other-direction", "end-other-direction"], None),
    ("end-without-start",        ["end-without-start", "end-without-start"],     None),
    ("two-starts-one-end",       ["start-without-end", "start-without-end"],     None),
];

/// The engines, as the report names them.
const ENGINES: [&str; 2] = ["serve", "module"];

#[test]
fn in_buffers_of_the_services_heap_that_checks() {
    let Some(service) = Service::start(tempfile::tempdir().unwrap()) else { return };
    look_at_all(0, &service.heap("checked"));
}

#[test]
fn in_buffers_of_the_modules_heap_that_checks() {
    let heap = Path::new("/dev/dma_heap/checked");
    if !heap.exists() {
        eprintln!("skipped: there is no {}", heap.display());
        return;
    }
    look_at_all(1, heap);
}

fn look_at_all(engine: usize, heap: &Path) {
    let programs = Program::all();
    for (name, ids, offset) in SEEN {
        let named = |file: &str| programs.iter().find(|program| program.file == file);
        let program = named(&format!("{name}.c")).expect("it is in the corpus");
        let twin = named(&program.twin()).expect("it is in the corpus");
        let Some(report) = report(program, heap) else { return };
        let [finding] = &report.findings[..] else {
            panic!("{name}: {} findings instead of one", report.findings.len());
        };
        let Finding { id: found, offset: at, engine: by, buffer, .. } = finding;
        assert_eq!((by.as_str(), found.as_str()), (ENGINES[engine], ids[engine]), "{name}");
        assert_eq!(*at, offset, "{name}");
        assert_eq!(buffer.exporter, "checked", "{name}");
        let is_said = |limit: &String| limit.starts_with("no library can be preloaded into");
        assert!(report.limits.iter().any(is_said), "{name}: {:?}", report.limits);
        let Some(report) = self::report(twin, heap) else { return };
        assert!(report.findings.is_empty(), "{}: {}", twin.file, report.findings[0].id);
    }
}

/// What is told of a program; `None` where it cannot be made.
fn report(program: &Program, heap: &Path) -> Option<Report> {
    let command = match compile::static_command(program) {
        Ok(command) => command,
        Err(Error::Missing(tool)) => {
            eprintln!("skipped: there is no {tool}");
            return None;
        }
        Err(Error::Failed(words)) => panic!("{}: {words}", program.file),
    };
    let buffer = match heap.starts_with("/dev") {
        true => heap.to_owned(),
        false => heap.join(&program.file),
    };
    let output = run(command, &buffer).unwrap_or_else(|error| panic!("{}: {error}", program.file));
    assert!(stderr(&output).lines().any(|line| line == "done"), "{}", stderr(&output));
    Some(serde_json::from_str(&stdout(&output)).expect("a report"))
}
