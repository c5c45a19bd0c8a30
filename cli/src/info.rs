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
    let buffer = open(&options.path)?;
    ensure!(
        buffer.kind() != Kind::Other,
        "{} is no dma-buf: give a buffer of `dmabuf serve`, or /proc/PID/fd/N of a process that has \
         one",
        options.path.display()
    );
    let info = Info::new(&options.path, &buffer);
    if options.json {
        println!("{}", serde_json::to_string_pretty(&info)?);
    } else {
        info.print();
    }
    Ok(())
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

    fn print(&self) {
        let answer = |known: Option<bool>| match known {
            Some(true) => "yes".to_owned(),
            Some(false) => "no".to_owned(),
            None => "unknown".to_owned(),
        };
        let text = |known: &Option<String>| known.clone().unwrap_or("none".into());
        let lines = [
            ("kind", self.kind.clone()),
            ("size", format!("{} bytes", self.size)),
            ("exporter", text(&self.exporter)),
            ("name", text(&self.name)),
            ("can be mapped", self.mmap.unwrap_or("unknown until it is tried").to_owned()),
            ("coherent", answer(self.coherent)),
            ("needs brackets", answer(self.bracket)),
            ("ranges pay", answer(self.range)),
            ("tracks pages", answer(self.tracked)),
            ("reports strays", answer(self.checked)),
            ("granule", self.granule.map_or("unknown".into(), |bytes| format!("{bytes} bytes"))),
            ("size is fixed", answer(self.fixed_size)),
        ];
        for (what, value) in lines {
            anstream::println!("{BOLD}{what:<15}{BOLD:#} {value}");
        }
    }
}

const BOLD: anstyle::Style = anstyle::Style::new().bold();
