//! The checker in this process, for tests: they fail with what was found.

use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, OnceLock};
use std::time::SystemTime;

use super::{Finding, Report, Severity, Style, Text, create, read};
use crate::engine;

/// The checker, from [`begin`] to [`end`](Check::end). There is one at a time: the next `begin`
/// waits for it.
#[must_use = "what was found is told by `end`"]
pub struct Check {
    engine: &'static Engine,
    /// What was counted before.
    before: HashMap<usize, u64>,
    _alone: MutexGuard<'static, ()>,
}

/// The engine, which once started stays.
struct Engine {
    record: File,
}

static ALONE: Mutex<()> = Mutex::new(());

/// Begins to check: from here on every access to a buffer that is mapped *from here on* is looked
/// at, in all threads, and every bracket.
///
/// The first one starts the engine, which then stays for as long as the process: it takes the signals
/// SIGSEGV, SIGSYS and SIGTRAP (and hands on those that are not its own), and installs a filter for
/// system calls. Tests that run beside this one in other threads are looked at as well; `cargo
/// nextest` gives each test a process of its own.
///
/// # Errors
///
/// The engine cannot start: no x86-64, no seccomp, no room in the temporary folder.
pub fn begin() -> io::Result<Check> {
    let alone = ALONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let engine = engine()?;
    let before = Report::counts(&engine.bytes()?)?;
    Ok(Check { engine, before, _alone: alone })
}

fn engine() -> io::Result<&'static Engine> {
    static ENGINE: OnceLock<Result<Engine, i32>> = OnceLock::new();
    let started = ENGINE
        .get_or_init(|| Engine::start().map_err(|error| error.raw_os_error().unwrap_or(libc::EIO)));
    started.as_ref().map_err(|&errno| io::Error::from_raw_os_error(errno))
}

impl Engine {
    fn start() -> io::Result<Engine> {
        let path = path();
        create(&path)?;
        let record = File::open(&path);
        let mut bytes = path.as_os_str().as_bytes().to_vec();
        bytes.push(0);
        let started = engine::start_here(&bytes);
        // It has a file and a mapping; nobody needs the name.
        std::fs::remove_file(&path)?;
        started.map_err(io::Error::from_raw_os_error)?;
        Ok(Engine { record: record? })
    }

    fn bytes(&self) -> io::Result<Vec<u8>> {
        read::contents(&self.record)
    }
}

/// A name that nobody else has.
fn path() -> PathBuf {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let name = format!("dmabuf-check-{}-{}", std::process::id(), now.as_nanos());
    std::env::temp_dir().join(name)
}

impl Check {
    /// Ends the check. Brackets that are still open count as never ended.
    ///
    /// # Errors
    ///
    /// What was found, if any of it is an error; its `Debug` and `Display` are the whole story, so
    /// that a test may `unwrap`.
    pub fn end(self) -> Result<(), Findings> {
        let report = self.report().map_err(|error| {
            let limits = vec![format!("what was recorded cannot be read: {error}")];
            Findings { report: Report { limits, ..Report::default() } }
        })?;
        if report.has_errors() { Err(Findings { report }) } else { Ok(()) }
    }

    /// Ends the check and gives all that was found, notes included.
    ///
    /// # Errors
    ///
    /// Those of reading a file.
    pub fn report(self) -> io::Result<Report> {
        engine::finish_here();
        Report::since(&self.engine.bytes()?, &self.before)
    }
}

/// What a check has found.
pub struct Findings {
    report: Report,
}

impl Findings {
    /// One by one, errors first.
    pub fn iter(&self) -> impl Iterator<Item = &Finding> {
        self.report.findings.iter()
    }

    /// How many are errors.
    pub fn errors(&self) -> usize {
        self.iter().filter(|finding| finding.severity == Severity::Error).count()
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let root = Path::new("");
        Text { report: &self.report, style: Style::default(), root }.fmt(f)
    }
}

impl fmt::Debug for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\n{self}")
    }
}

impl std::error::Error for Findings {}
