//! `dmabuf info`: what a buffer is, and what can be done with it, before anybody maps it.

use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::Args;
use dmabuf::{Capability, DmaBuf, Error, Kind, Mmap};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};
use serde::Serialize;

use crate::output::print;

/// What `dmabuf info` takes.
#[derive(Args)]
pub struct Options {
    /// A served buffer, MOUNT/HEAP/NAME, or a descriptor of any process, /proc/PID/fd/N
    path: PathBuf,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// What is told; null is what nobody knows.
#[derive(Serialize)]
struct Info {
    path: PathBuf,
    kind: String,
    size: u64,
    mmap: Option<&'static str>,
    coherent: Option<bool>,
    bracket: Option<bool>,
    range: Option<bool>,
    tracked: Option<bool>,
    checked: Option<bool>,
    granule: Option<u64>,
    fixed_size: Option<bool>,
    exporter: Option<String>,
    name: Option<String>,
}

/// Looks at the buffer and prints what it is.
pub fn run(options: &Options) -> Result<()> {
    ensure!(
        !options.path.is_dir(),
        "{} is a directory: give a file in it, as MOUNT/HEAP/NAME is one",
        options.path.display()
    );
    let buffer = open(&options.path)?;
    ensure!(
        buffer.kind() != Kind::Other,
        "{} is no dma-buf: give a buffer of `dmabuf serve`, or /proc/PID/fd/N of a process that has \
         one",
        options.path.display()
    );
    let info = Info::new(&options.path, &buffer);
    if options.json {
        print(&(serde_json::to_string_pretty(&info)? + "\n"))
    } else {
        print(&info.text())
    }
}

fn open(path: &Path) -> Result<DmaBuf> {
    match DmaBuf::open(path) {
        // A kernel's dma-buf cannot be opened again, only its descriptor be copied.
        Err(Error::Open { source, .. }) if is(&source, Errno::NXIO) => {
            let copied = copy_descriptor(path).with_context(|| {
                format!("cannot copy {} from its process: try as root", path.display())
            })?;
            Ok(DmaBuf::from_fd(copied)?)
        }
        opened => Ok(opened?),
    }
}

fn is(error: &std::io::Error, errno: Errno) -> bool {
    Errno::from_io_error(error) == Some(errno)
}

/// The descriptor that `/proc/PID/fd/N` is.
fn copy_descriptor(path: &Path) -> Result<OwnedFd> {
    let parts: Vec<_> = path.iter().filter_map(OsStr::to_str).collect();
    let ["/", "proc", process, "fd", number] = parts.as_slice() else {
        anyhow::bail!("it is no /proc/PID/fd/N");
    };
    let pid = match *process {
        "self" => rustix::process::getpid(),
        number => number.parse().ok().and_then(Pid::from_raw).context("no process id")?,
    };
    let process = pidfd_open(pid, PidfdFlags::empty())?;
    Ok(pidfd_getfd(&process, number.parse()?, PidfdGetfdFlags::empty())?)
}

impl Info {
    fn new(path: &Path, buffer: &DmaBuf) -> Info {
        let Capability {
            mmap,
            coherent,
            bracket,
            range,
            tracked,
            checked,
            granule,
            fixed_size,
            exporter,
            name,
            ..
        } = buffer.capability().clone();
        Info {
            path: path.to_owned(),
            kind: buffer.kind().to_string(),
            size: buffer.size(),
            mmap: mmap.map(|mmap| match mmap {
                Mmap::Never => "never",
                Mmap::Read => "read",
                Mmap::ReadWrite => "read-write",
            }),
            coherent,
            bracket,
            range,
            tracked,
            checked,
            granule: granule.map(|granule| granule.bytes()),
            fixed_size,
            exporter,
            name,
        }
    }

    /// The same for people: a line for each.
    fn text(&self) -> String {
        let answer = |known: Option<bool>, yes: &str, no: &str| match known {
            Some(true) => yes.to_owned(),
            Some(false) => no.to_owned(),
            None => "unknown".to_owned(),
        };
        let bytes = |count: u64| match count {
            1 => "1 byte".to_owned(),
            count => format!("{count} bytes"),
        };
        let mmap = match self.mmap {
            Some("read") => "for reading only",
            Some("read-write") => "for reading and writing",
            Some(other) => other,
            None => "unknown until it is tried",
        };
        let text = |known: &Option<String>| known.clone().unwrap_or("none".into());
        let lines = [
            ("kind", self.kind.clone()),
            ("size", bytes(self.size)),
            ("exporter", text(&self.exporter)),
            ("name", text(&self.name)),
            ("size is fixed", answer(self.fixed_size, "yes", "no")),
            ("can be mapped", mmap.to_owned()),
            (
                "CPU and devices",
                answer(self.coherent, "coherent: they see one memory", "not coherent"),
            ),
            ("brackets", answer(self.bracket, "needed", "not needed")),
            (
                "range brackets",
                answer(self.range, "cheaper than whole ones", "no cheaper than whole ones"),
            ),
            (
                "touched pages",
                answer(self.tracked, "tracked: a bracket moves no others", "not tracked"),
            ),
            ("stray accesses", answer(self.checked, "reported", "not reported")),
            ("granule", self.granule.map_or("unknown".into(), bytes)),
        ];
        let line = |(what, value)| format!("{BOLD}{what:<15}{BOLD:#} {value}\n");
        lines.map(line).concat()
    }
}

const BOLD: anstyle::Style = anstyle::Style::new().bold();
