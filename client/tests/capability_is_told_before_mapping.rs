//! What a descriptor is, and what can be done with it, is known before anything is mapped; and
//! where nobody knows, the answer is that nobody knows.

mod support;

use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;

use dmabuf::{Capability, DmaBuf, Granule, Kind, Mmap};
use rustix::fs::{Mode, OFlags, SealFlags, fcntl_add_seals};
use support::memfd;

fn read_only(fd: &OwnedFd) -> OwnedFd {
    use std::os::fd::AsRawFd;
    let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
    rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).unwrap()
}

#[test]
fn a_memfd_is_coherent_and_needs_no_bracket() {
    let buffer = DmaBuf::from_fd(memfd(12_345)).unwrap();
    assert_eq!(buffer.kind(), Kind::Memfd);
    assert_eq!(buffer.size(), 12_345);
    let capability = buffer.capability();
    assert_eq!(capability.mmap, Some(Mmap::ReadWrite));
    assert_eq!(capability.coherent, Some(true));
    assert_eq!(capability.bracket, Some(false));
    assert_eq!(capability.granule, Some(Granule::BYTE));
    assert_eq!(capability.fixed_size, Some(false), "anyone may truncate it");
    assert!(buffer.map().is_ok());
}

#[test]
fn seals_and_access_mode_are_part_of_the_answer() {
    let fd = memfd(4096);
    let reader = DmaBuf::from_fd(read_only(&fd)).unwrap();
    assert_eq!(reader.capability().mmap, Some(Mmap::Read));

    fcntl_add_seals(&fd, SealFlags::SHRINK | SealFlags::FUTURE_WRITE).unwrap();
    let sealed = DmaBuf::from_fd(fd).unwrap();
    assert_eq!(sealed.capability().mmap, Some(Mmap::Read));
    assert_eq!(sealed.capability().fixed_size, Some(true));
}

#[test]
fn of_other_files_nothing_is_known() {
    let mut file = tempfile::tempfile_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    file.write_all(&[1; 4096]).unwrap();
    let null = File::open("/dev/null").unwrap();
    let (pipe, _) = std::io::pipe().unwrap();
    for fd in [OwnedFd::from(file), OwnedFd::from(null), OwnedFd::from(pipe)] {
        let other = DmaBuf::from_fd(fd).unwrap();
        assert_eq!(other.kind(), Kind::Other);
        assert_eq!(other.capability(), &Capability::default());
        assert_eq!(other.capability().mmap, None);
    }
}

#[test]
fn a_path_that_may_only_be_read_is_opened_for_that() {
    // Only tmpfs gives a file with seals, and a path.
    let Ok(directory) = tempfile::tempdir_in("/dev/shm") else {
        println!("skipped: there is no /dev/shm to make a file in");
        return;
    };
    let path = directory.path().join("buffer");
    std::fs::write(&path, [0; 4096]).unwrap();
    let buffer = DmaBuf::open(&path).unwrap();
    assert_eq!((buffer.kind(), buffer.capability().mmap), (Kind::Memfd, Some(Mmap::ReadWrite)));

    let mut permissions = path.metadata().unwrap().permissions();
    permissions.set_readonly(true);
    std::fs::set_permissions(&path, permissions).unwrap();
    if rustix::process::geteuid().is_root() {
        println!("skipped: permissions do not keep root from writing");
        return;
    }
    assert_eq!(DmaBuf::open(&path).unwrap().capability().mmap, Some(Mmap::Read));
}
