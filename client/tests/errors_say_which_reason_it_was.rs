//! Each way in which a buffer cannot be mapped has its own error, with the system's errno and a
//! message that tells the next step.

mod support;

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;

use dmabuf::{Access, CpuAccess, DmaBuf, Error, MapOptions, Mapping, Range};
use rustix::fs::{OFlags, SealFlags, fcntl_add_seals};
use rustix::io::Errno;
use support::{Recorded, Recorder, memfd};

/// The error, whose errno and message are as they should be.
#[track_caller]
fn refused<T>(result: Result<T, Error>, errno: Errno, next_step: &str) -> Error {
    let error = result.map(|_| ()).unwrap_err();
    assert_eq!(error.errno(), Some(errno.raw_os_error()), "{error:?}");
    assert!(error.to_string().contains(next_step), "{error}");
    error
}

fn reopened(fd: &OwnedFd, mode: &std::fs::OpenOptions) -> DmaBuf {
    let file = mode.open(format!("/proc/self/fd/{}", fd.as_raw_fd())).unwrap();
    DmaBuf::from_fd(file.into()).unwrap()
}

#[test]
fn a_descriptor_for_reading_is_not_mapped_for_stores() {
    let buffer = reopened(&memfd(4096), File::options().read(true));
    let error = refused(buffer.map(), Errno::ACCESS, "open it read-write");
    assert!(matches!(error, Error::AccessMode { .. }));
    assert!(buffer.map_with(&MapOptions::new().read_only()).is_ok());
}

#[test]
fn a_descriptor_for_writing_alone_is_not_mapped() {
    let buffer = reopened(&memfd(4096), File::options().write(true));
    assert_eq!(buffer.capability().mmap, Some(dmabuf::Mmap::Never));
    refused(buffer.map(), Errno::ACCESS, "O_RDWR");
    refused(buffer.map_with(&MapOptions::new().read_only()), Errno::ACCESS, "O_RDWR");
}

#[test]
fn sealed_memory_is_not_mapped_for_stores() {
    let fd = memfd(4096);
    fcntl_add_seals(&fd, SealFlags::WRITE).unwrap();
    let buffer = DmaBuf::from_fd(fd).unwrap();
    let error = refused(buffer.map(), Errno::PERM, "F_SEAL_WRITE");
    assert!(matches!(error, Error::Sealed { .. }));
}

#[test]
fn more_than_the_address_space_is_no_room() {
    let buffer = DmaBuf::from_fd(memfd(1 << 62)).unwrap();
    let error = refused(buffer.map(), Errno::NOMEM, "vm.max_map_count");
    assert!(matches!(error, Error::NoRoom { len, .. } if len == 1 << 62));
}

#[test]
fn bytes_that_are_not_there_are_not_mapped() {
    let buffer = DmaBuf::from_fd(memfd(4096)).unwrap();
    let past = MapOptions::new().range(..4097);
    refused(buffer.map_with(&past), Errno::INVAL, "accessible are 0x0..0x1000");
    let nothing = MapOptions::new().range(20..20);
    refused(buffer.map_with(&nothing), Errno::INVAL, "empty");
    let no_bytes = DmaBuf::from_fd(memfd(0)).unwrap();
    refused(no_bytes.map(), Errno::INVAL, "ftruncate");
}

#[test]
fn an_exporter_without_mmap_is_unmappable() {
    /// A descriptor that has a size and no mmap, as an unmappable buffer's has: a directory's.
    struct Unmappable(OwnedFd);

    impl std::os::fd::AsFd for Unmappable {
        fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
            self.0.as_fd()
        }
    }

    impl CpuAccess for Unmappable {
        type Error = io::Error;

        fn begin_cpu_access(&self, _: Access, _: Range) -> io::Result<()> {
            Ok(())
        }

        fn end_cpu_access(&self, _: Access, _: Range) -> io::Result<()> {
            Ok(())
        }
    }

    let directory = File::open(env!("CARGO_MANIFEST_DIR")).unwrap();
    let mapping =
        Mapping::new(Unmappable(directory.into()), &MapOptions::new().range(..1).read_only());
    let error = refused(mapping, Errno::NODEV, "another route");
    assert!(matches!(error, Error::Unmappable { .. }));
}

#[test]
fn what_is_no_buffer_is_neither_mapped_nor_bracketed() {
    let file = tempfile::tempfile_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    file.set_len(4096).unwrap();
    let other = DmaBuf::from_fd(file.into()).unwrap();
    refused(other.map(), Errno::NOTTY, "is no dma-buf");
    let begun = other.begin_cpu_access(Access::Read, Range::new(0, 1).unwrap());
    assert_eq!(begun.unwrap_err().raw_os_error(), Some(Errno::NOTTY.raw_os_error()));
}

#[test]
fn a_path_descriptor_says_nothing() {
    let path = OFlags::PATH.bits() as i32;
    let file = File::options().read(true).custom_flags(path).open("/dev/null").unwrap();
    // Size and file system are known of it, and nothing else is.
    assert_eq!(DmaBuf::from_fd(file.into()).unwrap().kind(), dmabuf::Kind::Other);
}

#[test]
fn a_path_that_cannot_be_opened_is_named() {
    let error = refused(DmaBuf::open("/nowhere/at/all"), Errno::NOENT, "/nowhere/at/all");
    assert!(matches!(error, Error::Open { .. }));
}

#[test]
fn an_io_error_keeps_the_whole_error() {
    let recorder = Recorder::new(4096);
    let mapping = Mapping::new(Recorded(&recorder), &MapOptions::new()).unwrap();
    recorder.fail_with(&[Errno::NOTTY]);
    let error = refused(mapping.read(..), Errno::NOTTY, "the file answers no bracket ioctl");
    let message = error.to_string();
    let error = io::Error::from(error);
    assert_eq!(error.to_string(), message);
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()).unwrap();
    assert_eq!(inner.errno(), Some(Errno::NOTTY.raw_os_error()));

    let bounds = io::Error::from(mapping.read(5000..).unwrap_err());
    assert_eq!(bounds.kind(), io::ErrorKind::InvalidInput);
}
