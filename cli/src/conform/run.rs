//! Looking at a target in a process of its own, which may hang or be killed: both are answers.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::row::{Row, Seen, Stop};
use super::target::Target;
use super::{names, sys};

/// How long a check may take: some wait for a fence of ten seconds if they are let down.
const LIMIT: Duration = Duration::from_secs(30);

/// How long to wait for a process that was killed; one that the kernel does not let go is left.
const PATIENCE: Duration = Duration::from_secs(2);

/// An answer on its way from one process to the other.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Saw(String),
    NotHere(String),
    Failed(String),
}

/// Looks at the rows, in this process, and prints each answer.
pub fn look(path: &Path, rows: &[&Row]) -> Result<ExitCode> {
    sys::without_core_files();
    let target = Target::open(path)?;
    for row in rows {
        let line = match (row.check)(&target) {
            Ok(saw) => Line::Saw(saw),
            Err(Stop::NotHere(why)) => Line::NotHere(why),
            Err(Stop::Failed(why)) => Line::Failed(why),
        };
        println!("{}", serde_json::to_string(&line)?);
        std::io::stdout().flush()?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Looks at the rows, in as many other processes as it takes, one after the other.
pub fn watch(
    path: &Path,
    rows: &[&Row],
    only: &[String],
    mut begins: impl FnMut(&Row),
) -> Result<Vec<Seen>> {
    let mut seen: Vec<Seen> = Vec::new();
    while seen.len() < rows.len() {
        let mut child = start(path, seen.len(), only)?;
        let output = child.stdout.take().context("the output is a pipe")?;
        let (sender, answers) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        while seen.len() < rows.len() {
            begins(rows[seen.len()]);
            match answers.recv_timeout(LIMIT) {
                Ok(line) => seen.push(read(&line)),
                Err(RecvTimeoutError::Timeout) => {
                    seen.push(Ok("hangs".to_owned()));
                    break;
                }
                Err(RecvTimeoutError::Disconnected) => {
                    seen.push(end(&mut child));
                    break;
                }
            }
        }
        stop(&mut child);
    }
    Ok(seen)
}

fn start(path: &Path, first: usize, only: &[String]) -> Result<Child> {
    let program = std::env::current_exe().context("this program's own file")?;
    let mut command = Command::new(program);
    command.arg("conform").arg(path).arg(format!("--look-from={first}"));
    command.args(only.iter().map(|id| format!("--only={id}")));
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
    child.context("cannot start a process to look from")
}

fn read(line: &str) -> Seen {
    match serde_json::from_str(line) {
        Ok(Line::Saw(saw)) => Ok(saw),
        Ok(Line::NotHere(why)) => Err(Stop::NotHere(why)),
        Ok(Line::Failed(why)) => Err(Stop::Failed(why)),
        Err(error) => Err(Stop::Failed(format!("an answer that is none: {error}"))),
    }
}

/// How a process ended that was to go on.
fn end(child: &mut Child) -> Seen {
    let status = child.wait().map_err(|error| Stop::Failed(error.to_string()))?;
    match status.signal() {
        Some(signal) => Ok(names::signal(signal)),
        None => Err(Stop::Failed(format!("the check ended with {status}"))),
    }
}

fn stop(child: &mut Child) {
    // It may have ended by itself.
    let _ = child.kill();
    let step = Duration::from_millis(10);
    for _ in 0..PATIENCE.as_millis() / step.as_millis() {
        if !matches!(child.try_wait(), Ok(None)) {
            return;
        }
        std::thread::sleep(step);
    }
}
