//! How long a buffer lives, and who keeps it alive: copies, children, mappings, other processes.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::process::Command;

use rustix::io::{FdFlags, fcntl_setfd};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};

use super::super::row::{Row, Seen, Stop, required, saw, whether};
use super::super::sys::{self, Ended, Map, READ, RW, page};
use super::super::target::{Buffer, Target, sync};

const FOPS: &str = "dma_buf_fops, drivers/dma-buf/dma-buf.c";
const MMAP: &str = "mmap(2): a mapping outlives its descriptor; dma_buf_release";
const FORK: &str = "fork(2)";

pub const ROWS: &[Row] = &[
    required(
        "life.copy-same",
        "A copy of a descriptor is the same buffer.",
        "dup(2)",
        "the same",
        |target| {
            let buffer = target.buffer()?;
            let copy = rustix::io::dup(&buffer)?;
            let (first, second) = (rustix::fs::fstat(&buffer)?, rustix::fs::fstat(&copy)?);
            let same = (first.st_dev, first.st_ino) == (second.st_dev, second.st_ino);
            whether(same, "the same", "another")
        },
    ),
    required(
        "life.copy-mapped",
        "A copy can be mapped, and shows the same bytes.",
        FOPS,
        "the same",
        |target| {
            let (buffer, map) = target.mapped()?;
            let copy = rustix::io::dup(&buffer)?;
            buffer.sync(3)?;
            map.store(3, 0x63);
            let seen = Map::shared(copy, map.len(), READ)?.load(3);
            buffer.sync(7)?;
            whether(seen == 0x63, "the same", "other bytes")
        },
    ),
    required(
        "life.copy-outlives",
        "A copy lives on when the first descriptor is closed.",
        FOPS,
        "the same",
        |target| {
            let (buffer, map) = target.mapped()?;
            let copy = rustix::io::dup(&buffer)?;
            buffer.sync(3)?;
            map.store(3, 0x64);
            buffer.sync(7)?;
            let (size, _device) = (buffer.size, buffer.keep);
            drop((map, buffer.fd));
            sync(&copy, 1)?;
            let seen = Map::shared(&copy, size, READ)?.load(3);
            sync(&copy, 5)?;
            whether(seen == 0x64, "the same", "other bytes")
        },
    ),
    required(
        "life.closed",
        "A closed descriptor cannot be mapped.",
        "mmap(2): EBADF",
        "EBADF",
        |target| {
            let buffer = target.buffer()?;
            let number = buffer.fd.as_raw_fd();
            drop(buffer);
            sys::on_closed(number, |fd| saw(Map::shared(fd, page(), READ)))
        },
    ),
    required(
        "life.mapping-outlives",
        "A mapping lives on when all descriptors are closed.",
        MMAP,
        "the same",
        |target| {
            let (buffer, map) = target.mapped()?;
            buffer.sync(3)?;
            map.store(page(), 0x65);
            buffer.sync(7)?;
            drop(buffer);
            let seen = map.load(page());
            map.store(0, 1);
            whether(seen == 0x65 && map.load(0) == 1, "the same", "other bytes")
        },
    ),
    required(
        "life.bracket-outlived",
        "A descriptor may be closed inside of a bracket.",
        FOPS,
        "ok",
        |target| {
            let buffer = target.bracketed()?;
            let copy = rustix::io::dup(&buffer)?;
            buffer.sync(3)?;
            drop(buffer);
            saw(sync(copy, 7))
        },
    ),
    required(
        "life.all-closed-inside",
        "All may be closed inside of a bracket, and new buffers are as ever.",
        "dma_buf_release",
        "ok",
        |target| {
            for _ in 0..8 {
                let (buffer, map) = target.mapped()?;
                buffer.sync(3)?;
                map.store(0, 1);
            }
            let (buffer, _map) = target.mapped()?;
            saw(buffer.sync(3).and_then(|()| buffer.sync(7)))
        },
    ),
    required(
        "life.child-sees",
        "A child sees the bytes through a mapping that it inherited.",
        FORK,
        "seen",
        |target| {
            let (buffer, map) = target.mapped()?;
            buffer.sync(3)?;
            map.store(7, 0x66);
            let ended = sys::in_a_fork(|| u8::from(map.load(7) != 0x66));
            buffer.sync(7)?;
            whether(ended? == Ended::Exited(0), "seen", "not seen")
        },
    ),
    required(
        "life.child-stores",
        "What a child stores to such a mapping is seen by its parent.",
        FORK,
        "seen",
        |target| {
            let (buffer, map) = target.mapped()?;
            buffer.sync(3)?;
            sys::in_a_fork(|| {
                map.store(8, 0x67);
                0
            })?;
            let seen = map.load(8);
            buffer.sync(7)?;
            whether(seen == 0x67, "seen", "not seen")
        },
    ),
    required(
        "life.child-maps",
        "A child can map the descriptor that it inherited.",
        FORK,
        "ok",
        |target| {
            let buffer = target.mappable()?;
            let ended = sys::in_a_fork(|| {
                u8::from(Map::shared(&buffer, buffer.size, RW).map(|map| map.store(0, 1)).is_err())
            })?;
            whether(ended == Ended::Exited(0), "ok", "refused")
        },
    ),
    required(
        "life.child-outlives",
        "A child's end takes nothing from its parent.",
        FORK,
        "the same",
        |target| {
            let (buffer, map) = target.mapped()?;
            buffer.sync(3)?;
            map.store(9, 0x68);
            buffer.sync(7)?;
            sys::in_a_fork(|| 0)?;
            buffer.sync(1)?;
            let seen = map.load(9);
            buffer.sync(5)?;
            whether(seen == 0x68, "the same", "other bytes")
        },
    ),
    required(
        "life.executed-cloexec",
        "A close-on-exec descriptor is gone in a program that is executed.",
        "execve(2)",
        "gone",
        |target| executed(&target.buffer()?),
    ),
    required("life.executed-inherited", "Another one is there.", "execve(2)", "there", |target| {
        let buffer = target.buffer()?;
        fcntl_setfd(&buffer, FdFlags::empty())?;
        executed(&buffer)
    }),
    required(
        "life.passed",
        "A descriptor can be passed over a socket, and is the same buffer.",
        "unix(7): SCM_RIGHTS",
        "the same",
        |target| {
            let (buffer, map) = target.mapped()?;
            let passed = pass(&buffer)?;
            buffer.sync(3)?;
            map.store(11, 0x69);
            buffer.sync(7)?;
            sync(&passed, 1)?;
            let seen = Map::shared(&passed, map.len(), READ)?.load(11);
            sync(&passed, 5)?;
            whether(seen == 0x69, "the same", "other bytes")
        },
    ),
    required(
        "life.passed-outlives",
        "A descriptor on its way over a socket keeps the buffer alive.",
        "unix(7): SCM_RIGHTS",
        "the same",
        |target| {
            let (buffer, map) = target.mapped()?;
            buffer.sync(3)?;
            map.store(12, 0x70);
            buffer.sync(7)?;
            drop(map);
            let (here, there) = pair()?;
            send(&here, &buffer)?;
            let (size, _device) = (buffer.size, buffer.keep);
            drop(buffer.fd);
            let passed = receive(&there)?;
            sync(&passed, 1)?;
            let seen = Map::shared(&passed, size, READ)?.load(12);
            sync(&passed, 5)?;
            whether(seen == 0x70, "the same", "other bytes")
        },
    ),
    required(
        "life.device-closed",
        "A buffer outlives the device node that it is from.",
        "dma_buf_export: owner; the exporter's release",
        "ok",
        |target| {
            let buffer = Target::open(&target.path)
                .map_err(|_| Stop::Failed("open".to_owned()))?
                .mappable()?;
            let Buffer { fd, size, other, keep, .. } = buffer;
            drop((other, keep));
            sync(&fd, 3)?;
            let answer = saw(Map::shared(&fd, size, RW).map(|map| map.store(0, 1)));
            sync(&fd, 7)?;
            answer
        },
    ),
    required(
        "life.freed",
        "Two hundred buffers, one after the other, are no more than one.",
        "dma_buf_release",
        "ok",
        |target| {
            for _ in 0..200 {
                target.buffer()?;
            }
            Ok("ok".to_owned())
        },
    ),
    required(
        "life.size-stays",
        "Nothing that is done to a buffer changes its size.",
        "dma_buf_llseek; the contract's ninth point",
        "the same",
        |target| {
            let buffer = target.buffer()?;
            let _ = rustix::fs::ftruncate(&buffer, 0);
            let _ = rustix::fs::ftruncate(&buffer, 2 * buffer.size);
            let _ = rustix::io::pwrite(&buffer, &[1], 2 * buffer.size);
            let _ = rustix::fs::fallocate(
                &buffer,
                rustix::fs::FallocateFlags::empty(),
                0,
                2 * buffer.size,
            );
            let after = sys::lseek(&buffer, 0, libc::SEEK_END)? as u64;
            whether(after == buffer.size, "the same", "another")
        },
    ),
];

/// Whether a program that is executed now has the descriptor.
fn executed(buffer: &Buffer) -> Seen {
    // A number that the shell does not use for itself.
    let keep = rustix::io::fcntl_getfd(buffer)?.contains(FdFlags::CLOEXEC);
    let command = if keep { libc::F_DUPFD_CLOEXEC } else { libc::F_DUPFD };
    let high = sys::adopt(sys::fcntl(buffer, command, 200)?)?;
    let test = format!("test -e /proc/self/fd/{}", high.as_raw_fd());
    let status = Command::new("/bin/sh").args(["-c", &test]).status();
    let status = status.map_err(|_| Stop::not_here("no /bin/sh"))?;
    whether(status.success(), "there", "gone")
}

fn pair() -> Result<(OwnedFd, OwnedFd), Stop> {
    Ok(socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?)
}

fn send(socket: &OwnedFd, buffer: &Buffer) -> Result<(), Stop> {
    let fds = [buffer.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    control.push(SendAncillaryMessage::ScmRights(&fds));
    let bytes = [std::io::IoSlice::new(b"x")];
    sendmsg(socket, &bytes, &mut control, SendFlags::empty())?;
    Ok(())
}

fn receive(socket: &OwnedFd) -> Result<OwnedFd, Stop> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    let mut bytes = [std::io::IoSliceMut::new(&mut byte)];
    recvmsg(socket, &mut bytes, &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let mut fds = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(fds) => Some(fds),
        _ => None,
    });
    fds.next().and_then(|mut fds| fds.next()).ok_or(Stop::Failed("no descriptor".to_owned()))
}

fn pass(buffer: &Buffer) -> Result<OwnedFd, Stop> {
    let (here, there) = pair()?;
    send(&here, buffer)?;
    receive(&there)
}
