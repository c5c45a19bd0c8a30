//! What `checked` has found, as `/dev/dmabuf` gives it, and what the kernel's log has of it.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{Seek, SeekFrom};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;

use dmabuf_uapi::DMABUF_DEVICE;
use rustix::io::{Errno, read};

/// An open file of the device, which has yet to read what comes from now on. It does not wait.
#[derive(Debug)]
pub struct Records(File);

impl Records {
    /// Opens the device.
    pub fn from_now_on() -> Records {
        let nonblock = libc::O_NONBLOCK;
        let device = OpenOptions::new().read(true).custom_flags(nonblock).open(DMABUF_DEVICE);
        Records(device.unwrap_or_else(|error| panic!("{DMABUF_DEVICE}: {error}")))
    }

    /// One read(2).
    pub fn read(&self, room: usize) -> Result<String, Errno> {
        let mut bytes = vec![0; room];
        let len = read(self.0.as_fd(), &mut bytes)?;
        bytes.truncate(len);
        Ok(String::from_utf8(bytes).expect("records are text"))
    }

    /// All that there are, each by its fields.
    pub fn all(&self) -> Vec<BTreeMap<String, String>> {
        let mut text = String::new();
        while let Ok(more) = self.read(4096) {
            text += &more;
        }
        let field = |field: &str| {
            let (name, value) = field.split_once('=').expect("name=value");
            (name.to_owned(), value.to_owned())
        };
        text.lines().map(|line| line.split(' ').map(field).collect()).collect()
    }
}

/// The kernel's log, from a moment on.
#[derive(Debug)]
pub struct KernelLog(File);

impl KernelLog {
    /// What it is told later than now.
    pub fn from_now_on() -> KernelLog {
        let log = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open("/dev/kmsg");
        let mut log = log.expect("root may read it");
        log.seek(SeekFrom::End(0)).expect("it has an end");
        KernelLog(log)
    }

    /// The lines so far. The kernel gives one at a time.
    pub fn lines(&self) -> Vec<String> {
        let mut line = vec![0; 8192];
        let mut lines = Vec::new();
        while let Ok(len) = read(&self.0, &mut line) {
            lines.push(String::from_utf8_lossy(&line[..len]).into_owned());
        }
        lines
    }
}
