//! Child processes that are always waited for, and killed when they hang.

use std::fs::File;
use std::io::{Read, Seek};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use signal_hook::consts::{SIGINT, SIGTERM};

/// Longer than any of them takes.
const LIMIT: Duration = Duration::from_secs(60);
/// How often to look whether one has ended.
const TICK: Duration = Duration::from_micros(500);

/// How a child ended.
pub struct Finished {
    pub pid: u32,
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

impl Finished {
    /// The child's output, if it succeeded; else an error with its last words.
    pub fn success(self) -> Result<Finished> {
        if self.status.success() {
            return Ok(self);
        }
        let words = last_words(&self.stderr);
        match self.status.signal() {
            Some(signal) => bail!("killed by signal {signal} {words}"),
            None => bail!("{words}"),
        }
    }
}

/// The last line that somebody wrote before the end.
pub fn last_words(stderr: &str) -> String {
    stderr.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("no reason given").to_owned()
}

/// Runs a command to its end, without input.
pub fn run(command: &mut Command) -> Result<Finished> {
    let program = command.get_program().to_owned();
    // Unlike pipes, files are never full, and have an end although a grandchild still holds them.
    let (mut stdout, mut stderr) = (tempfile::tempfile()?, tempfile::tempfile()?);
    let mut child = command
        .stdin(Stdio::null())
        .stdout(stdout.try_clone()?)
        .stderr(stderr.try_clone()?)
        .spawn()
        .with_context(|| format!("cannot start {}", program.display()))?;
    let status = match wait(&mut child, LIMIT)? {
        Some(status) => status,
        None => {
            // A process that waits for a file system that hangs dies only with that: not waited for.
            child.kill()?;
            wait(&mut child, Duration::from_secs(1))?;
            bail!("no end after {} seconds", LIMIT.as_secs());
        }
    };
    check_interrupt()?;
    let (stdout, stderr) = (written(&mut stdout)?, written(&mut stderr)?);
    Ok(Finished { pid: child.id(), status, stdout, stderr })
}

/// What a file holds, from its beginning.
fn written(file: &mut File) -> Result<String> {
    let mut bytes = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Waits for a child; `None` if it has not ended after `limit`.
pub fn wait(child: &mut Child, limit: Duration) -> Result<Option<ExitStatus>> {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if start.elapsed() > limit {
            return Ok(None);
        }
        thread::sleep(TICK);
    }
}

/// From now on SIGINT and SIGTERM end the story at its next step, so that it cleans up.
pub fn catch_interrupts() -> Result<()> {
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register_usize(signal, interrupted().clone(), signal as usize)?;
    }
    Ok(())
}

/// An error once a signal has come.
pub fn check_interrupt() -> Result<()> {
    match interrupted().load(Ordering::Relaxed) {
        0 => Ok(()),
        signal => Err(Interrupted { signal: signal as u8 }.into()),
    }
}

/// A signal asked for the end.
#[derive(Debug)]
pub struct Interrupted {
    signal: u8,
}

impl Interrupted {
    /// What a shell would report of a process that died of the signal.
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(128 + self.signal)
    }
}

impl std::fmt::Display for Interrupted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("interrupted")
    }
}

impl std::error::Error for Interrupted {}

/// The signal that came, or 0.
fn interrupted() -> &'static Arc<AtomicUsize> {
    static SIGNAL: OnceLock<Arc<AtomicUsize>> = OnceLock::new();
    SIGNAL.get_or_init(Arc::default)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Finished {
        run(Command::new("sh").args(["-c", script])).unwrap()
    }

    #[test]
    fn output_may_be_more_than_a_pipe_holds() {
        let finished = shell("yes out | head -n 50000; yes err | head -n 50000 >&2");
        assert!(finished.status.success());
        assert_eq!(finished.stdout, "out\n".repeat(50_000));
        assert_eq!(finished.stderr, "err\n".repeat(50_000));
    }

    #[test]
    fn input_is_at_its_end() {
        assert_eq!(shell("cat; echo end").stdout, "end\n");
    }
}
