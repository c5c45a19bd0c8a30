//! `dmabuf bench check`: programs under the checker, against the same ones alone.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use clap::Args;
use dmabuf::heap;
use tempfile::TempDir;

use super::compare::{self, Pair};
use super::program::Program;
use super::table::Table;
use crate::demo::child;
use crate::service::{Service, this_program};

/// What `dmabuf bench check` takes.
#[derive(Args)]
pub struct Options {
    /// Where the frames' buffers come from: a node of /dev/dma_heap, /dev/udmabuf, or a served
    /// heap's directory, MOUNT/HEAP; by default the first of them that is there, or a service of
    /// its own
    #[arg(long, value_name = "HEAP")]
    heap: Option<PathBuf>,
    /// How often each program is run, alone and under the checker
    #[arg(long, value_name = "N", default_value_t = 9)]
    rounds: usize,
    /// Do a fiftieth of the work: it tells whether all of it runs, and not what it costs
    #[arg(long)]
    short: bool,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// A program with frames in correct brackets may take so much longer, a program without a dma-buf so
/// much.
const GOALS: [f64; 2] = [1.3, 1.02];

/// Measures, and prints.
pub fn run(options: &Options) -> Result<()> {
    child::catch_interrupts()?;
    let home = Home::of(options.heap.as_deref())?;
    let parts = if options.short { 50 } else { 1 };
    let [frames, others] = GOALS;
    let programs = [
        ("1080p frames in brackets", frames, Program::Frames { heap: home.heap.clone() }),
        ("files, memory and threads", others, Program::Working),
        ("copying a file", others, Program::Copying),
        ("worst case: only system calls", others, Program::Calls),
        ("worst case: only starts programs", others, Program::Starting),
    ];
    let mut table = Table::new(&format!("frames are in {}", home.name), "alone", "checked");
    for (name, goal, program) in programs {
        let pair = Pair { first: alone(&program, parts)?, second: checked(&program, parts)? };
        let seen = compare::commands(pair, options.rounds)?;
        table.row(name, goal, seen.clock);
        table.row("  of the processor's time", goal, seen.processor);
    }
    if options.json { table.print_json() } else { table.print() }
}

fn alone(program: &Program, parts: u32) -> Result<Command> {
    let mut command = this_program()?;
    command.args(program.arguments(parts));
    Ok(command)
}

fn checked(program: &Program, parts: u32) -> Result<Command> {
    let mut command = this_program()?;
    let alone = alone(program, parts)?;
    command.args(["check", "--"]).arg(alone.get_program()).args(alone.get_args());
    Ok(command)
}

/// Where buffers come from.
struct Home {
    heap: PathBuf,
    name: String,
    /// Of a service of its own, which is stopped before its mount point goes.
    _service: Option<(Service, TempDir)>,
}

impl Home {
    fn of(named: Option<&Path>) -> Result<Home> {
        if let Some(heap) = named {
            let name = heap.display().to_string();
            return Ok(Home { heap: heap.to_owned(), name, _service: None });
        }
        if let Some(found) = heap::list().into_iter().find(|found| found.open().is_ok()) {
            return Home::of(Some(&found.path));
        }
        let folder = tempfile::Builder::new().prefix("dmabuf-bench-").tempdir()?;
        let service = Service::start(folder.path())
            .context("there is no heap here, and none can be served")?;
        let heap = service.mount().join("bounce");
        let name = "bounce, a heap of a service of its own".to_owned();
        Ok(Home { heap, name, _service: Some((service, folder)) })
    }
}
