//! The unmodified clients, as programs that the demo can start, and the line that they print.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::child::{self, Finished, last_words};
use super::contract::Way;
use super::picture::{Picture, Rectangle};
use super::stage::{Edit, Edited};

/// `examples/edit.c`, to be compiled where the demo runs.
const SOURCE: &str = include_str!("../../../examples/edit.c");

/// What a client exits with when mmap is refused.
const MMAP_REFUSED: i32 = 3;

/// Compiles the client in C into `dir`; an error says why that cannot be.
pub fn compile(dir: &Path) -> Result<PathBuf> {
    let (source, program) = (dir.join("edit.c"), dir.join("edit"));
    std::fs::write(&source, SOURCE)?;
    let mut cc = Command::new("cc");
    cc.args(["-std=c11", "-O2", "-o"]).args([&program, &source]);
    child::run(&mut cc).context("no C compiler, install cc")?.success().context("cc failed")?;
    Ok(program)
}

/// Adds the arguments that both clients take.
pub fn arguments(command: &mut Command, path: &Path, picture: &Picture) {
    let Rectangle { x, y, width, height } = picture.rectangle();
    command.arg(path);
    command.args([picture.width(), picture.height(), x, y, width, height].map(|n| n.to_string()));
}

/// Runs a client that says how it brackets.
pub fn edit(mut command: Command, path: &Path, picture: &Picture, way: Way) -> Result<Edited> {
    arguments(&mut command, path, picture);
    let finished = child::run(command.arg(way.argument()))?;
    if finished.status.code() == Some(MMAP_REFUSED) {
        return Ok(Edited::Refused(last_words(&finished.stderr)));
    }
    Ok(Edited::Done(printed_edit(&finished.success()?)?))
}

/// What a client printed: `brackets=N nanoseconds=T`.
pub fn printed_edit(finished: &Finished) -> Result<Edit> {
    let line = finished.stdout.trim();
    let numbers = line.strip_prefix("brackets=").and_then(|rest| {
        let (brackets, nanoseconds) = rest.split_once(" nanoseconds=")?;
        Some((brackets.parse().ok()?, nanoseconds.parse().ok()?))
    });
    let Some((brackets, nanoseconds)) = numbers else {
        bail!("a client printed {line:?}, not how many brackets it took");
    };
    Ok(Edit { pid: finished.pid, brackets, time: Duration::from_nanos(nanoseconds) })
}
