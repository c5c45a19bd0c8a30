//! `dmabuf info` on what the test can make: memfds, and descriptors that cannot be opened again.

mod common;

use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;

use common::{dmabuf, stderr, stdout};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};
use serde_json::{Value, json};

/// A memfd of two pages, sealed, and the path to it for another process.
fn memfd(seals: SealFlags) -> (rustix::fd::OwnedFd, String) {
    let fd = memfd_create("frame", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
    ftruncate(&fd, 8192).unwrap();
    fcntl_add_seals(&fd, seals).unwrap();
    let path = format!("/proc/{}/fd/{}", std::process::id(), fd.as_raw_fd());
    (fd, path)
}

#[test]
fn a_memfd_is_told_with_its_size_and_seals() {
    for (seals, fixed) in [(SealFlags::SHRINK, true), (SealFlags::empty(), false)] {
        let (_fd, path) = memfd(seals);
        let output = dmabuf().args(["info", "--json", &path]).output().unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
        let info: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(info["kind"], "memfd");
        assert_eq!(info["size"], 8192);
        assert_eq!(info["mmap"], "read-write");
        assert_eq!(info["coherent"], true);
        assert_eq!(info["fixed_size"], fixed);
        assert_eq!(info["exporter"], json!(null));
    }
}

#[test]
fn people_are_told_the_same_in_words() {
    let (_fd, path) = memfd(SealFlags::WRITE);
    let text = stdout(&dmabuf().args(["info", &path]).output().unwrap());
    for line in ["kind            memfd", "size            8192 bytes", "can be mapped   read"] {
        assert!(text.lines().any(|found| found == line), "{line:?} in\n{text}");
    }
}

#[test]
fn a_descriptor_that_cannot_be_opened_is_copied_from_its_process() {
    // Like a kernel's dma-buf, a socket gives ENXIO when it is opened through /proc.
    let (socket, _peer) = UnixStream::pair().unwrap();
    let path = format!("/proc/{}/fd/{}", std::process::id(), socket.as_raw_fd());
    let message = stderr(&dmabuf().args(["info", &path]).output().unwrap());
    assert!(message.contains("is no dma-buf"), "copied, and then looked at: {message}");
}
