//! The program under the checker, from its start to its end.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::{env, fs, io, thread};

use anyhow::{Context, Result, ensure};
use dmabuf_check::elf;
use dmabuf_check::engine::{LIBRARY, RECORD};
use dmabuf_check::report::{self, Heaps, Report};
use rustix::fs::StatVfsMountFlags;
use rustix::process::{Pid, Signal, kill_process};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::Signals;
use tempfile::TempDir;

/// The engine, as the library that is preloaded.
const ENGINE: &[u8] = include_bytes!(env!("DMABUF_CHECK_PRELOAD"));

/// Runs the program to its end; with `quiet_stdout` it writes to stderr what it writes to stdout.
pub fn run(program: &[OsString], quiet_stdout: bool) -> Result<(ExitStatus, Report)> {
    ensure!(!ENGINE.is_empty(), "the checker runs on x86-64 alone");
    let folder = folder()?;
    let (library, record) = (folder.path().join(LIBRARY), folder.path().join(RECORD));
    fs::write(&library, ENGINE)?;
    report::create(&record).with_context(|| format!("cannot create {}", record.display()))?;

    let (name, arguments) = program.split_first().context("no program")?;
    let mut heaps = Heaps::begin();
    let mut command = Command::new(name);
    command.args(arguments).env("DMABUF_CHECK", folder.path());
    command.env("LD_PRELOAD", append(library.as_os_str(), "LD_PRELOAD"));
    // AddressSanitizer wants to be the first library, and is told that this one may be before it.
    let asan = OsStr::new("verify_asan_link_order=0");
    command.env("ASAN_OPTIONS", append(asan, "ASAN_OPTIONS"));
    if quiet_stdout {
        command.stdout(io::stderr().as_fd().try_clone_to_owned()?);
    }
    let child = command.spawn().with_context(|| format!("cannot start {}", name.display()))?;
    let process = child.id();
    let status = wait(child)?;
    let mut report = Report::read(&record).context("cannot read what was recorded")?;
    report.processes.insert(process);
    let of_heaps = heaps.end(&report.processes);
    report.add(of_heaps);
    report.limits.extend(heaps.limits());
    let path = find(name).unwrap_or_else(|| name.into());
    if !reach(&path).can_be_preloaded() {
        report.limits.push(format!(
            "no library can be preloaded into {}: only what it does to buffers of heaps that check \
             was looked at (heap `checked` of `dmabuf serve` or of the kernel module)",
            path.display()
        ));
    } else {
        ensure!(
            report.has_started,
            "{} was not looked at: the checker's library was not loaded into it, or could not start \
             there, and what was said above says why",
            path.display()
        );
    }
    Ok((status, report))
}

/// A new folder for the library and the record.
fn folder() -> Result<TempDir> {
    let folder = tempfile::Builder::new().prefix("dmabuf-check-").tempdir();
    let folder =
        folder.context("cannot make a folder for the checker's library; TMPDIR says where")?;
    let flags = rustix::fs::statvfs(folder.path())?.f_flag;
    ensure!(
        !flags.contains(StatVfsMountFlags::NOEXEC),
        "no library can be loaded from {}, which is mounted noexec; TMPDIR says where",
        folder.path().display()
    );
    Ok(folder)
}

/// What kind of program it is.
fn reach(path: &Path) -> elf::Program {
    let mut head = Vec::new();
    let read = File::open(path).and_then(|file| file.take(4096).read_to_end(&mut head));
    match read {
        Ok(_) => elf::program(&head),
        Err(_) => elf::Program::Unknown,
    }
}

/// Where a program is, as a shell finds it.
fn find(name: &OsStr) -> Option<PathBuf> {
    if name.as_encoded_bytes().contains(&b'/') {
        return Some(name.into());
    }
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|folder| folder.join(name)).find(|path| path.is_file())
}

/// What there is first, then what the variable holds anyway.
fn append(first: &OsStr, variable: &str) -> OsString {
    let mut list = first.to_owned();
    if let Some(others) = env::var_os(variable).filter(|others| !others.is_empty()) {
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
