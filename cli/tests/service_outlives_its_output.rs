//! The service serves although nobody reads that it is ready, and unmounts in the end.

mod common;

use std::fs::OpenOptions;
use std::path::Path;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use common::{dmabuf, stderr, stdout};
use rustix::process::{Pid, Signal, kill_process};

/// Serves with this stdout; false where FUSE cannot be used.
fn serve_with(output: Stdio) -> bool {
    let dir = tempfile::tempdir().unwrap();
    let mut command = dmabuf();
    command.args(["serve", "--exit-with-parent"]).arg(dir.path());
    command.stdout(output).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let start = Instant::now();
    while child.try_wait().unwrap().is_none() && !dir.path().join("stats.json").exists() {
        assert!(start.elapsed() < Duration::from_secs(10), "it neither mounts nor ends");
        thread::sleep(Duration::from_millis(5));
    }
    // A panic comes soon after the mount.
    thread::sleep(Duration::from_millis(200));
    let serves = child.try_wait().unwrap().is_none();
    if serves {
        kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    }
    let output = child.wait_with_output().unwrap();
    let message = stderr(&output);
    assert!(!message.contains("panicked"), "{message}");
    assert!(!is_mounted(dir.path()), "a mount is left");
    if !serves {
        assert!(message.starts_with("dmabuf: "), "{message}");
        println!("not tested: {message}");
        return false;
    }
    assert!(output.status.success(), "{message}");
    assert_eq!(stdout(&output), "");
    true
}

fn is_mounted(path: &Path) -> bool {
    std::fs::read_to_string("/proc/self/mountinfo").unwrap().contains(path.to_str().unwrap())
}

#[test]
fn a_ready_line_that_cannot_be_written_does_not_end_the_service() {
    if serve_with(std::io::pipe().unwrap().1.into()) {
        assert!(serve_with(OpenOptions::new().write(true).open("/dev/full").unwrap().into()));
    }
}
