//! The descriptor as a file: what calls that are not about dma-bufs say to it.

use std::os::fd::AsRawFd;

use dmabuf_uapi::{DMA_BUF_MAGIC, io};
use rustix::fs::{FallocateFlags, FlockOperation, Mode, OFlags};
use rustix::pipe::SpliceFlags;

use super::super::row::{Row, Seen, Stop, required, saw, whether};
use super::super::sys::{self, page};
use super::super::target::{Target, plain_file};

const LLSEEK: &str = "dma_buf_llseek, drivers/dma-buf/dma-buf.c";
const FOPS: &str = "dma_buf_fops, drivers/dma-buf/dma-buf.c: no such operation";
const IOCTL: &str = "dma_buf_ioctl, drivers/dma-buf/dma-buf.c: default";
const GETFILE: &str = "dma_buf_getfile, drivers/dma-buf/dma-buf.c: alloc_file_pseudo, i_size";

pub const ROWS: &[Row] = &[
    required("file.stat-size", "fstat tells the buffer's size.", GETFILE, "the size", |target| {
        let buffer = target.buffer()?;
        let end = sys::lseek(&buffer, 0, libc::SEEK_END)? as u64;
        let size = rustix::fs::fstat(&buffer)?.st_size as u64;
        whether(size == end && size >= page(), "the size", "another")
    }),
    required(
        "file.stat-type",
        "fstat tells no type of file, and that only the owner may use it.",
        GETFILE,
        "0600",
        |target| Ok(format!("{:04o}", rustix::fs::fstat(target.buffer()?)?.st_mode)),
    ),
    required(
        "file.statfs",
        "fstatfs tells that it is a dma-buf.",
        "DMA_BUF_MAGIC, linux/magic.h",
        "DMA_BUF_MAGIC",
        |target| match rustix::fs::fstatfs(target.buffer()?)?.f_type as u32 {
            DMA_BUF_MAGIC => Ok("DMA_BUF_MAGIC".to_owned()),
            dmabuf_uapi::FUSE_SUPER_MAGIC => Ok("FUSE".to_owned()),
            other => Ok(format!("{other:#x}")),
        },
    ),
    required(
        "file.link",
        "The link in /proc says that it is a dma-buf.",
        "dmabuffs_dname, drivers/dma-buf/dma-buf.c",
        "/dmabuf:",
        |target| {
            let link = link(target.buffer()?)?;
            whether(link.starts_with("/dmabuf:"), "/dmabuf:", "a path")
        },
    ),
    required(
        "file.reopen",
        "It cannot be opened a second time through /proc.",
        "no_open, fs/inode.c: the inode has no file operations",
        "ENXIO",
        |target| {
            let buffer = target.buffer()?;
            let path = format!("/proc/self/fd/{}", buffer.fd.as_raw_fd());
            saw(rustix::fs::open(path, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()))
        },
    ),
    required("file.seek-end", "lseek to the end tells the size.", LLSEEK, "the size", |target| {
        let buffer = target.buffer()?;
        match sys::lseek(&buffer, 0, libc::SEEK_END) {
            Ok(end) => whether(end as u64 == buffer.size, "the size", "another"),
            Err(errno) => saw(Err::<(), _>(errno)),
        }
    }),
    required("file.seek-start", "lseek to the start is fine.", LLSEEK, "ok", |target| {
        seek(target, 0, libc::SEEK_SET)
    }),
    required("file.seek-byte", "lseek to another byte is refused.", LLSEEK, "EINVAL", |target| {
        seek(target, 1, libc::SEEK_SET)
    }),
    required("file.seek-page", "lseek to another page is refused.", LLSEEK, "EINVAL", |target| {
        seek(target, page() as i64, libc::SEEK_SET)
    }),
    required(
        "file.seek-current",
        "lseek from the current place is refused.",
        LLSEEK,
        "EINVAL",
        |target| seek(target, 0, libc::SEEK_CUR),
    ),
    required(
        "file.seek-before-end",
        "lseek to before the end is refused.",
        LLSEEK,
        "EINVAL",
        |target| seek(target, -1, libc::SEEK_END),
    ),
    required("file.seek-data", "lseek to data is refused.", LLSEEK, "EINVAL", |target| {
        seek(target, 0, libc::SEEK_DATA)
    }),
    required("file.seek-hole", "lseek to a hole is refused.", LLSEEK, "EINVAL", |target| {
        seek(target, 0, libc::SEEK_HOLE)
    }),
    required("file.read", "read is refused.", FOPS, "EINVAL", |target| {
        saw(rustix::io::read(target.buffer()?, &mut [0_u8; 16]))
    }),
    required("file.write", "write is refused.", FOPS, "EINVAL", |target| {
        saw(rustix::io::write(target.buffer()?, &[0; 16]))
    }),
    required(
        "file.pread",
        "pread is refused.",
        "ksys_pread64: no FMODE_PREAD",
        "ESPIPE",
        |target| saw(rustix::io::pread(target.buffer()?, &mut [0_u8; 16], 0)),
    ),
    required(
        "file.pwrite",
        "pwrite is refused.",
        "ksys_pwrite64: no FMODE_PWRITE",
        "ESPIPE",
        |target| saw(rustix::io::pwrite(target.buffer()?, &[0; 16], 0)),
    ),
    required(
        "file.pwrite-past-end",
        "pwrite past the end never makes it larger.",
        "ksys_pwrite64: no FMODE_PWRITE",
        "as large as before",
        |target| {
            let buffer = target.buffer()?;
            let _ = rustix::io::pwrite(&buffer, &[1; 16], buffer.size);
            let size = rustix::fs::fstat(&buffer)?.st_size as u64;
            whether(size == buffer.size, "as large as before", "larger")
        },
    ),
    required("file.splice", "splice to a pipe is refused.", FOPS, "EINVAL", |target| {
        let (_read, write) = rustix::pipe::pipe()?;
        saw(rustix::pipe::splice(target.buffer()?, None, write, None, 16, SpliceFlags::NONBLOCK))
    }),
    required("file.sendfile", "sendfile to a file is refused.", FOPS, "EINVAL", |target| {
        saw(rustix::fs::sendfile(plain_file()?, target.buffer()?, None, 16))
    }),
    required(
        "file.truncate-same",
        "ftruncate to its size is refused.",
        "do_ftruncate, fs/open.c: no regular file",
        "EINVAL",
        |target| {
            let buffer = target.buffer()?;
            saw(rustix::fs::ftruncate(&buffer, buffer.size))
        },
    ),
    required(
        "file.shrink",
        "ftruncate to less is refused.",
        "do_ftruncate, fs/open.c: no regular file",
        "EINVAL",
        |target| {
            let buffer = target.buffer()?;
            saw(rustix::fs::ftruncate(&buffer, buffer.size / 2))
        },
    ),
    required(
        "file.grow",
        "ftruncate to more is refused.",
        "do_ftruncate, fs/open.c: no regular file",
        "EINVAL",
        |target| {
            let buffer = target.buffer()?;
            saw(rustix::fs::ftruncate(&buffer, buffer.size * 2))
        },
    ),
    required(
        "file.allocate",
        "fallocate is refused.",
        "vfs_fallocate, fs/open.c: no regular file",
        "ENODEV",
        |target| saw(rustix::fs::fallocate(target.buffer()?, FallocateFlags::empty(), 0, page())),
    ),
    required(
        "file.punch",
        "A hole cannot be punched.",
        "vfs_fallocate, fs/open.c: no regular file",
        "ENODEV",
        |target| {
            let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            saw(rustix::fs::fallocate(target.buffer()?, flags, 0, page()))
        },
    ),
    required(
        "file.fsync",
        "fsync is refused.",
        "vfs_fsync_range, fs/sync.c: no fsync",
        "EINVAL",
        |target| saw(rustix::fs::fsync(target.buffer()?)),
    ),
    required("file.get-seals", "It has no seals.", "memfd_fcntl, mm/memfd.c", "EINVAL", |target| {
        saw(rustix::fs::fcntl_get_seals(target.buffer()?))
    }),
    required(
        "file.add-seals",
        "It cannot be sealed.",
        "memfd_fcntl, mm/memfd.c",
        "EINVAL",
        |target| saw(sys::fcntl(target.buffer()?, libc::F_ADD_SEALS, libc::F_SEAL_GROW)),
    ),
    required("file.nonblock", "It can be set to not block.", "fcntl(2): F_SETFL", "ok", |target| {
        let buffer = target.buffer()?;
        let flags = rustix::fs::fcntl_getfl(&buffer)?;
        saw(rustix::fs::fcntl_setfl(&buffer, flags | OFlags::NONBLOCK))
    }),
    required("file.chmod", "fchmod is fine.", "fchmod(2)", "ok", |target| {
        saw(rustix::fs::fchmod(target.buffer()?, Mode::from_raw_mode(0o600)))
    }),
    required("file.lock", "flock is fine.", "flock(2)", "ok", |target| {
        saw(rustix::fs::flock(target.buffer()?, FlockOperation::LockShared))
    }),
    required(
        "file.unknown-ioctl",
        "An ioctl that nobody knows is refused.",
        IOCTL,
        "ENOTTY",
        |target| saw(sys::ioctl_at(target.buffer()?, io(b'b', 0x99), 0)),
    ),
    required(
        "file.bytes-ready",
        "The bytes to read are not counted.",
        "do_vfs_ioctl, fs/ioctl.c: FIONREAD, no regular file",
        "ENOTTY",
        |target| {
            let mut count = 0_i32;
            saw(sys::ioctl(target.buffer()?, 0x541b, &mut count))
        },
    ),
];

/// The name that /proc shows.
pub fn link(fd: impl std::os::fd::AsFd) -> Result<String, Stop> {
    let path = format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd());
    let link = rustix::fs::readlink(path, Vec::new())?;
    Ok(link.to_string_lossy().into_owned())
}

fn seek(target: &Target, offset: i64, whence: i32) -> Seen {
    saw(sys::lseek(target.buffer()?, offset, whence))
}
