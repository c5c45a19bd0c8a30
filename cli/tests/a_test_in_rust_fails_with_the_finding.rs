//! `dmabuf::check`: a test in Rust fails with what it did outside of brackets, and where; one that
//! does nothing wrong passes.

#![cfg(target_arch = "x86_64")]
#![allow(unsafe_code)]

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use dmabuf::DmaBuf;
use dmabuf::check::{self, Severity};
use tempfile::TempDir;

const SIZE: u64 = 16 * 4096;

/// A service of the test's own; it ends with the test.
struct Service {
    process: Child,
    folder: TempDir,
}

impl Service {
    /// `None` where nothing can be mounted.
    fn start() -> Option<Service> {
        let folder = tempfile::tempdir().unwrap();
        let mut process = Command::new(env!("CARGO_BIN_EXE_dmabuf"))
            .args(["serve", "--exit-with-parent"])
            .arg(folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        if line.starts_with("ready ") {
            return Some(Service { process, folder });
        }
        process.wait().unwrap();
        None
    }

    fn buffer(&self, name: &str) -> DmaBuf {
        let path = self.folder.path().join("bounce").join(name);
        let file = std::fs::File::options().read(true).write(true).create_new(true).open(&path);
        file.unwrap().set_len(SIZE).unwrap();
        DmaBuf::open(path).unwrap()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.process);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        self.process.wait().unwrap();
    }
}

/// One test: the checker looks at all threads of a process.
#[test]
fn a_test_fails_with_what_it_did_outside_of_brackets_and_only_then() {
    let Some(service) = Service::start() else {
        println!("skipped: no service can be mounted here");
        return;
    };

    let check = check::begin().unwrap();
    let mapping = service.buffer("right").map().unwrap();
    for colour in 0..20_u8 {
        let pixels = mapping.read_write(..).unwrap();
        pixels.fill(colour);
        assert!(pixels.to_vec().iter().all(|&pixel| pixel == colour));
        pixels.end().unwrap();
    }
    check.end().unwrap();

    let check = check::begin().unwrap();
    let mapping = service.buffer("wrong").map().unwrap();
    let pixels = mapping.write(..).unwrap();
    pixels.fill(1);
    let kept = pixels.as_mut_ptr();
    pixels.end().unwrap();
    // SAFETY: The mapping is still there.
    unsafe { kept.add(4096).write_volatile(2) };
    let line = line!() - 1;
    let findings = check.end().unwrap_err();
    let [finding] = findings.iter().collect::<Vec<_>>()[..] else { panic!("{findings}") };
    assert_eq!((finding.id, finding.count, finding.offset), ("outside-write", 1, Some(4096)));
    assert_eq!(finding.severity, Severity::Error);
    let place = finding.place.as_ref().unwrap();
    assert_eq!(place.line, Some(line), "{findings}");
    assert!(place.file.as_ref().unwrap().ends_with(file!()), "{findings}");
    assert!(format!("{findings:?}").contains("outside-write"));

    // What was found before is no finding of the next one, at the same place or another.
    let check = check::begin().unwrap();
    let pixels = mapping.read(..).unwrap();
    std::mem::forget(pixels);
    let findings = check.end().unwrap_err();
    let ids: Vec<_> = findings.iter().map(|finding| finding.id).collect();
    assert_eq!(ids, ["start-without-end"]);
}
