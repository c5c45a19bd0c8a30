//! Who reads may go away before the end, and disks may be full: the first is no failure, the second
//! is one that is told.

mod common;

use std::fs::OpenOptions;
use std::os::fd::AsRawFd;
use std::process::{Output, Stdio};

use common::{dmabuf, stderr, stdout};
use rustix::fs::{MemfdFlags, memfd_create};

/// Runs every command that only prints, on an output of this kind.
fn each_on(output: impl Fn() -> Stdio) -> Vec<Output> {
    let buffer = memfd_create("frame", MemfdFlags::CLOEXEC).unwrap();
    let path = format!("/proc/{}/fd/{}", std::process::id(), buffer.as_raw_fd());
    [vec!["info", &path], vec!["info", "--json", &path], vec!["completions", "bash"]]
        .into_iter()
        .map(|arguments| {
            let mut child = dmabuf();
            child.args(arguments).stdout(output()).stderr(Stdio::piped());
            child.spawn().unwrap().wait_with_output().unwrap()
        })
        .collect()
}

#[test]
fn a_reader_that_has_gone_is_no_failure() {
    for output in each_on(|| std::io::pipe().unwrap().1.into()) {
        assert_eq!(stderr(&output), "");
        assert!(output.status.success());
    }
}

#[test]
fn a_full_disk_is_told() {
    for output in each_on(|| OpenOptions::new().write(true).open("/dev/full").unwrap().into()) {
        assert_eq!(stdout(&output), "");
        assert_eq!(
            stderr(&output),
            "dmabuf: cannot write to stdout: No space left on device (os error 28)\n"
        );
        assert_eq!(output.status.code(), Some(1));
    }
}
