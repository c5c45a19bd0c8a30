//! Child processes that are always waited for, and killed when they hang.

use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
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

/// Runs a command to its end. Its output must fit into a pipe.
pub fn run(command: &mut Command) -> Result<Finished> {
    let program = command.get_program().to_owned();
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
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
    let (mut stdout, mut stderr) = (String::new(), String::new());
    child.stdout.take().context("piped")?.read_to_string(&mut stdout)?;
    child.stderr.take().context("piped")?.read_to_string(&mut stderr)?;
    check_interrupt()?;
    Ok(Finished { pid: child.id(), status, stdout, stderr })
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
        signal_hook::flag::register(signal, interrupted().clone())?;
    }
    Ok(())
}

/// An error once a signal has come.
pub fn check_interrupt() -> Result<()> {
    if interrupted().load(Ordering::Relaxed) { Err(Interrupted.into()) } else { Ok(()) }
}

/// A signal asked for the end.
#[derive(Debug)]
pub struct Interrupted;

impl std::fmt::Display for Interrupted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("interrupted")
    }
}

impl std::error::Error for Interrupted {}

fn interrupted() -> &'static Arc<AtomicBool> {
    static FLAG: OnceLock<Arc<AtomicBool>> = OnceLock::new();
    FLAG.get_or_init(Arc::default)
}
