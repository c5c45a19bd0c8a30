//! A service, for as long as a test runs.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::common::dmabuf;

/// A service that ends with the test.
pub struct Service {
    process: Child,
    folder: TempDir,
}

impl Service {
    /// In this folder; `None`, and it is said, where FUSE cannot be used.
    pub fn start(folder: TempDir) -> Option<Service> {
        let mut serve = dmabuf();
        serve.arg("serve").arg(folder.path()).arg("--exit-with-parent").stdout(Stdio::piped());
        let mut process = serve.spawn().expect("the binary runs");
        let mut ready = String::new();
        let mut output = BufReader::new(process.stdout.take().expect("a pipe"));
        output.read_line(&mut ready).expect("a line");
        let service = Service { process, folder };
        if ready.is_empty() {
            eprintln!("skipped: FUSE cannot be used here");
            return None;
        }
        Some(service)
    }

    /// The folder of a heap.
    pub fn heap(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // It unmounts when it is told to end, which killing it would prevent.
        let _ = kill_process(Pid::from_child(&self.process), Signal::TERM);
        let _ = self.process.wait();
    }
}
