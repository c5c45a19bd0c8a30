//! `dmabuf check` finds the mistake of each program of the corpus at its line, and nothing in the
//! corrected twins; see check/tests/corpus/README.md.

#[path = "../common/mod.rs"]
mod common;
mod compile;
mod program;
mod run;
#[path = "../common/service.rs"]
mod service;
mod static_programs;

use std::collections::BTreeMap;

use program::Program;
use run::{Exporter, check};
use service::Service;

#[test]
fn in_buffers_of_a_served_heap() {
    let Some(service) = Service::start(tempfile::tempdir().unwrap()) else { return };
    look_at_all(&Exporter::Served(service.heap("bounce")));
}

#[test]
fn in_udmabufs() {
    look_at_all(&Exporter::Udmabuf);
}

#[test]
fn in_buffers_of_the_system_heap() {
    look_at_all(&Exporter::System);
}

/// Every program and every twin, and then all that was not as expected.
fn look_at_all(exporter: &Exporter) {
    if let Err(reason) = exporter.is_there() {
        eprintln!("skipped: {reason}");
        return;
    }
    let mut wrong = Vec::new();
    let mut skipped = Vec::new();
    for program in Program::all().iter().filter(|program| program.can_use(exporter.name())) {
        match compile::command(program) {
            Ok(command) => wrong.extend(check(program, command, exporter).err()),
            Err(compile::Error::Missing(tool)) => skipped.push((program.file.clone(), tool)),
            Err(compile::Error::Failed(words)) => wrong.push(format!("{}: {words}", program.file)),
        }
    }
    for (file, tool) in skipped {
        eprintln!("skipped: {file}, since there is no {tool}");
    }
    assert!(wrong.is_empty(), "on {}:\n{}", exporter.name(), wrong.join("\n"));
}

#[test]
fn who_makes_a_mistake_says_which_and_has_a_twin() {
    let programs = Program::all();
    let by_file: BTreeMap<_, _> =
        programs.iter().map(|program| (program.file.as_str(), program)).collect();
    assert!(programs.len() >= 80, "{} programs", programs.len());
    for program in &programs {
        if program.is_twin() {
            assert!(program.expected.is_empty(), "{} is corrected", program.file);
            continue;
        }
        assert!(!program.expected.is_empty(), "{} expects nothing", program.file);
        // Where what it does is right elsewhere, the program is its own twin.
        if program.expected.iter().any(|expected| expected.only_on.is_none()) {
            let twin = program.twin();
            assert!(by_file.contains_key(twin.as_str()), "{} has no {twin}", program.file);
        }
    }
}
