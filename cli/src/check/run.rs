//! The program under the checker, from its start to its end.

use std::ffi::OsString;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Child, Command, ExitStatus};
use std::{env, fs, io, thread};

use anyhow::{Context, Result, ensure};
use dmabuf_check::engine::{LIBRARY, RECORD};
use dmabuf_check::report::{self, Report};
use rustix::process::{Pid, Signal, kill_process};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::Signals;

/// The engine, as the library that is preloaded.
const ENGINE: &[u8] = include_bytes!(env!("DMABUF_CHECK_PRELOAD"));

/// Runs the program to its end; with `quiet_stdout` it writes to stderr what it writes to stdout.
pub fn run(program: &[OsString], quiet_stdout: bool) -> Result<(ExitStatus, Report)> {
    ensure!(!ENGINE.is_empty(), "the checker runs on x86-64 alone");
    let folder = tempfile::Builder::new().prefix("dmabuf-check-").tempdir()?;
    let (library, record) = (folder.path().join(LIBRARY), folder.path().join(RECORD));
    fs::write(&library, ENGINE)?;
    report::create(&record).with_context(|| format!("cannot create {}", record.display()))?;

    let (name, arguments) = program.split_first().context("no program")?;
    let mut command = Command::new(name);
    command.args(arguments).env("DMABUF_CHECK", folder.path()).env("LD_PRELOAD", preload(&library));
    if quiet_stdout {
        command.stdout(io::stderr().as_fd().try_clone_to_owned()?);
    }
    let child = command.spawn().with_context(|| format!("cannot start {}", name.display()))?;
    let status = wait(child)?;
    let report = Report::read(&record).context("cannot read what was recorded")?;
    Ok((status, report))
}

/// The library, before those that the program is preloaded with anyway.
fn preload(library: &Path) -> OsString {
    let mut list = library.as_os_str().to_owned();
    if let Some(others) = env::var_os("LD_PRELOAD").filter(|others| !others.is_empty()) {
        list.push(":");
        list.push(others);
    }
    list
}

/// Waits for the program. What asks this process to end is passed on to it, and this process goes on
/// until that has ended; what a terminal sends goes to both.
fn wait(mut child: Child) -> Result<ExitStatus> {
    let mut signals = Signals::new([SIGHUP, SIGINT, SIGQUIT, SIGTERM])?;
    let pid = Pid::from_child(&child);
    let handle = signals.handle();
    let forwarder = thread::spawn(move || {
        for signal in signals.forever() {
            let passed = match signal {
                SIGTERM => kill_process(pid, Signal::TERM),
                SIGHUP => kill_process(pid, Signal::HUP),
                _ => Ok(()),
            };
            if let Err(error) = passed {
                tracing::warn!("cannot pass a signal on to the program: {error}");
            }
        }
    });
    let status = child.wait();
    handle.close();
    // It ends because its signals have.
    let _ = forwarder.join();
    Ok(status?)
}
