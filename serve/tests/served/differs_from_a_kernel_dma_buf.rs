//! Where a FUSE file cannot behave as a kernel dma-buf does: what it does instead. DESIGN.md lists it.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};

use dmabuf_export::HeapKind;
use rustix::fs::{FallocateFlags, SeekFrom, fallocate, seek};
use rustix::mm::{MapFlags, ProtFlags};

use crate::service::{MAPPABLE, Service};
use crate::sys::Map;

const SIZE: u64 = 4 * 4096;
const RW: ProtFlags = ProtFlags::READ.union(ProtFlags::WRITE);

/// What happened, as a word: `ok`, or an errno's name.
fn word<T, E: Into<io::Error>>(result: Result<T, E>) -> String {
    match result.map_err(E::into) {
        Ok(_) => "ok".into(),
        Err(error) => match error.raw_os_error().unwrap_or(0) {
            libc::EINVAL => "EINVAL".into(),
            libc::ENODEV => "ENODEV".into(),
            libc::ESPIPE => "ESPIPE".into(),
            libc::EPERM => "EPERM".into(),
            libc::EACCES => "EACCES".into(),
            libc::EOVERFLOW => "EOVERFLOW".into(),
            libc::EOPNOTSUPP => "EOPNOTSUPP".into(),
            libc::ENXIO => "ENXIO".into(),
            libc::EFAULT => "EFAULT".into(),
            other => format!("{other}"),
        },
    }
}

/// Everything that is asked, and the answer of one buffer.
fn answers(service: &Service, heap: HeapKind) -> Vec<(&'static str, String)> {
    let file = service.allocate(heap, "b", SIZE);
    let len = SIZE as usize;
    let private = |prot| Map::with_flags(&file, 0, len, prot, MapFlags::PRIVATE);
    let (_out, pipe) = rustix::pipe::pipe().unwrap();
    let splice = || {
        let flags = rustix::pipe::SpliceFlags::empty();
        rustix::pipe::splice(&file, Some(&mut 0), &pipe, None, 16, flags)
    };
    let again = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&file));
    let mapped = |offset, len| Map::new(&file, offset, len, RW);
    vec![
        ("lseek END 0", word(seek(&file, SeekFrom::End(0)))),
        ("lseek SET 0", word(seek(&file, SeekFrom::Start(0)))),
        ("lseek SET 4096", word(seek(&file, SeekFrom::Start(4096)))),
        ("lseek CUR 0", word(seek(&file, SeekFrom::Current(0)))),
        ("lseek END -1", word(seek(&file, SeekFrom::End(-1)))),
        ("lseek DATA 0", word(seek(&file, SeekFrom::Data(0)))),
        ("lseek HOLE 0", word(seek(&file, SeekFrom::Hole(0)))),
        // Each call begins at the start: lseek works.
        ("read", word(seek(&file, SeekFrom::Start(0)).and(rustix::io::read(&file, &mut [0; 8])))),
        ("pread", word(file.read_at(&mut [0; 8], 0))),
        ("write", word(rustix::io::write(&file, &[0; 8]))),
        ("pwrite", word(file.write_at(&[0; 8], 0))),
        ("splice out", word(splice())),
        ("sendfile", word(rustix::fs::sendfile(&pipe, &file, Some(&mut 0), 8))),
        ("fallocate", word(fallocate(&file, FallocateFlags::empty(), 0, SIZE))),
        (
            "fallocate PUNCH_HOLE",
            word(fallocate(&file, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, 0, 4096)),
        ),
        ("fsync", word(file.sync_all())),
        ("fdatasync", word(file.sync_data())),
        ("F_GET_SEALS", word(rustix::fs::fcntl_get_seals(&file))),
        ("fchmod 0600", word(rustix::fs::fchmod(&file, 0o600.into()))),
        ("open /proc/self/fd/N", word(File::open(again))),
        ("fstat type", format!("{:o}", file.metadata().unwrap().mode() & libc::S_IFMT)),
        ("fstatfs f_type", format!("{:x}", rustix::fs::fstatfs(&file).unwrap().f_type)),
        ("mmap PRIVATE, read", word(private(ProtFlags::READ))),
        ("mmap past the end", word(mapped(0, len + 4096))),
        ("mmap at the end", word(mapped(SIZE, 4096))),
        ("mmap at -4096", word(mapped(-4096_i64 as u64, 4096))),
        ("mmap EXEC", word(Map::new(&file, 0, len, ProtFlags::READ | ProtFlags::EXEC))),
        (
            "mmap SHARED_VALIDATE",
            word(Map::with_flags(&file, 0, len, RW, MapFlags::SHARED_VALIDATE)),
        ),
    ]
}

/// What was asked, a kernel dma-buf's answer (kernel 7.3.4), that of a buffer which is mapped by
/// passthrough, and that of one which is mapped through the page cache.
const LISTED: [(&str, &str, &str, &str); 28] = [
    ("lseek END 0", "ok", "ok", "ok"),
    ("lseek SET 0", "ok", "ok", "ok"),
    ("lseek SET 4096", "EINVAL", "ok", "ok"),
    ("lseek CUR 0", "EINVAL", "ok", "ok"),
    ("lseek END -1", "EINVAL", "ok", "ok"),
    ("lseek DATA 0", "EINVAL", "EINVAL", "EINVAL"),
    ("lseek HOLE 0", "EINVAL", "EINVAL", "EINVAL"),
    ("read", "EINVAL", "EINVAL", "ok"),
    ("pread", "ESPIPE", "EINVAL", "ok"),
    ("write", "EINVAL", "EINVAL", "EINVAL"),
    ("pwrite", "ESPIPE", "EINVAL", "EINVAL"),
    ("splice out", "EINVAL", "EINVAL", "ok"),
    ("sendfile", "EINVAL", "EINVAL", "ok"),
    ("fallocate", "ENODEV", "ENODEV", "ENODEV"),
    ("fallocate PUNCH_HOLE", "ENODEV", "ENODEV", "ENODEV"),
    ("fsync", "EINVAL", "EINVAL", "EINVAL"),
    ("fdatasync", "EINVAL", "EINVAL", "EINVAL"),
    ("F_GET_SEALS", "EINVAL", "EINVAL", "EINVAL"),
    ("fchmod 0600", "ok", "ok", "ok"),
    ("open /proc/self/fd/N", "ENXIO", "ok", "ok"),
    ("fstat type", "0", "100000", "100000"),
    ("fstatfs f_type", "444d4142", "65735546", "65735546"),
    ("mmap PRIVATE, read", "EINVAL", "ok", "ok"),
    ("mmap past the end", "EINVAL", "ok", "ok"),
    ("mmap at the end", "EINVAL", "ok", "ok"),
    ("mmap at -4096", "EOVERFLOW", "EOVERFLOW", "EOVERFLOW"),
    ("mmap EXEC", "EPERM", "EPERM", "EPERM"),
    ("mmap SHARED_VALIDATE", "ok", "ok", "ok"),
];

#[test]
fn in_nothing_but_what_is_listed() {
    Service::each(|service| {
        let direct = service.passes_through();
        for heap in MAPPABLE {
            let passes = direct && matches!(heap, HeapKind::Coherent | HeapKind::Bounce);
            let answers = answers(service, heap);
            assert_eq!(answers.len(), LISTED.len());
            for ((asked, answer), (what, _, passing, cached)) in answers.into_iter().zip(LISTED) {
                let listed = if passes { passing } else { cached };
                assert_eq!((asked, &*answer), (what, listed), "{heap}, passthrough: {passes}");
            }
        }
    });
}
