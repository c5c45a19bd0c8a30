//! DMA_BUF_IOCTL_SYNC: which flags it takes, in which order.

use std::os::fd::AsRawFd;

use dmabuf_uapi as uapi;
use rustix::io::Errno;

use super::super::row::{Row, Seen, may_differ, required, saw, whether};
use super::super::sys::{self, Ended};
use super::super::target::{Buffer, Target, sync};

const IOCTL: &str = "dma_buf_ioctl, drivers/dma-buf/dma-buf.c: DMA_BUF_IOCTL_SYNC";
const DOC: &str = "Documentation/driver-api/dma-buf.rst, CPU access to DMA buffer objects";
const HEADER: &str = "struct dma_buf_sync, linux/dma-buf.h";

const START_READ: u64 = 1;
const START_WRITE: u64 = 2;
const START_RW: u64 = 3;
const END_READ: u64 = 5;
const END_WRITE: u64 = 6;
const END_RW: u64 = 7;

/// What exporters do with an END that no START came before.
pub const FIRST_END: &[(&str, &str)] =
    &[("udmabuf", "EINVAL"), ("heap", "ok"), ("drm", "ok"), ("v4l2", "ok"), ("served", "ok")];

pub const ROWS: &[Row] = &[
    required("sync.read", "A bracket for loads begins and ends.", HEADER, "ok", |target| {
        bracket(target, &[START_READ, END_READ])
    }),
    required("sync.write", "A bracket for stores begins and ends.", HEADER, "ok", |target| {
        bracket(target, &[START_WRITE, END_WRITE])
    }),
    required("sync.read-write", "A bracket for both begins and ends.", HEADER, "ok", |target| {
        bracket(target, &[START_RW, END_RW])
    }),
    required(
        "sync.start-nothing",
        "A START without a direction is refused.",
        IOCTL,
        "EINVAL",
        |target| bracket(target, &[0]),
    ),
    required(
        "sync.end-nothing",
        "An END without a direction is refused.",
        IOCTL,
        "EINVAL",
        |target| bracket(target, &[4]),
    ),
    required("sync.flag-8", "The flag 8 is refused.", IOCTL, "EINVAL", |target| {
        bracket(target, &[8])
    }),
    required("sync.flag-8-read", "So it is beside a direction.", IOCTL, "EINVAL", |target| {
        bracket(target, &[8 | START_READ])
    }),
    required(
        "sync.every-low-flag",
        "Of the flags 0 to 63 only 1, 2, 3, 5, 6 and 7 are taken.",
        IOCTL,
        "1 2 3 5 6 7",
        |target| {
            let buffer = target.buffer()?;
            if let Err(errno) = buffer.sync(START_RW) {
                return saw(Err::<(), _>(errno));
            }
            let taken = (0..64).filter(|&flags| buffer.sync(flags).is_ok());
            Ok(taken.map(|flags| flags.to_string()).collect::<Vec<_>>().join(" "))
        },
    ),
    required(
        "sync.every-high-flag",
        "Every bit above those is refused.",
        IOCTL,
        "EINVAL",
        |target| {
            let buffer = target.buffer()?;
            for bit in 3..64 {
                let answer = buffer.sync(1 << bit | START_READ);
                if answer != Err(Errno::INVAL) {
                    return saw(answer);
                }
            }
            saw(buffer.sync(!0))
        },
    ),
    required(
        "sync.null",
        "A null pointer is refused.",
        "copy_from_user in dma_buf_ioctl",
        "EFAULT",
        |target| saw(sys::ioctl_at(target.buffer()?, uapi::DMA_BUF_IOCTL_SYNC, 0)),
    ),
    required(
        "sync.wild",
        "A pointer to nowhere is refused.",
        "copy_from_user in dma_buf_ioctl",
        "EFAULT",
        |target| saw(sys::ioctl_at(target.buffer()?, uapi::DMA_BUF_IOCTL_SYNC, 64)),
    ),
    required(
        "sync.other-size",
        "The same number with another size is unknown.",
        IOCTL,
        "ENOTTY",
        |target| saw(sys::ioctl(target.buffer()?, uapi::iow::<u32>(b'b', 0), &mut 3_u64)),
    ),
    required(
        "sync.other-direction",
        "The same number in another direction is unknown.",
        IOCTL,
        "ENOTTY",
        |target| saw(sys::ioctl(target.buffer()?, uapi::iowr::<u64>(b'b', 0), &mut 3_u64)),
    ),
    may_differ(
        "sync.first-end-read",
        "An END for loads before any START is refused or does nothing.",
        "end_cpu_udmabuf, drivers/dma-buf/udmabuf.c: !ubuf->sg",
        FIRST_END,
        |target| brackets(target, &[END_READ]),
    ),
    may_differ(
        "sync.first-end-write",
        "An END for stores before any START is refused or does nothing.",
        "end_cpu_udmabuf, drivers/dma-buf/udmabuf.c: !ubuf->sg",
        FIRST_END,
        |target| brackets(target, &[END_WRITE]),
    ),
    may_differ(
        "sync.first-end",
        "An END for both before any START is refused or does nothing.",
        "end_cpu_udmabuf, drivers/dma-buf/udmabuf.c: !ubuf->sg",
        FIRST_END,
        |target| brackets(target, &[END_RW]),
    ),
    required("sync.nested", "Brackets nest.", DOC, "ok", |target| {
        brackets(target, &[START_RW, START_RW, END_RW, END_RW])
    }),
    required(
        "sync.nested-read",
        "A bracket for loads nests in one for stores.",
        DOC,
        "ok",
        |target| brackets(target, &[START_WRITE, START_READ, END_READ, END_WRITE]),
    ),
    required("sync.crossed", "Brackets may overlap without nesting.", DOC, "ok", |target| {
        brackets(target, &[START_WRITE, START_READ, END_WRITE, END_READ])
    }),
    may_differ(
        "sync.extra-end",
        "An END more than there were STARTs is tolerated.",
        IOCTL,
        &[("udmabuf", "ok"), ("heap", "ok"), ("drm", "ok"), ("v4l2", "ok"), ("served", "ok")],
        |target| brackets(target, &[START_RW, END_RW, END_RW]),
    ),
    may_differ(
        "sync.mismatched-end",
        "An END of another direction is tolerated.",
        IOCTL,
        &[("udmabuf", "ok"), ("heap", "ok"), ("drm", "ok"), ("v4l2", "ok"), ("served", "ok")],
        |target| brackets(target, &[START_RW, END_READ]),
    ),
    required(
        "sync.again",
        "A thousand brackets one after the other are fine.",
        DOC,
        "ok",
        |target| {
            let buffer = target.bracketed()?;
            for _ in 0..1000 {
                for flags in [START_RW, END_RW] {
                    if let Err(errno) = buffer.sync(flags) {
                        return saw(Err::<(), _>(errno));
                    }
                }
            }
            Ok("ok".to_owned())
        },
    ),
    required("sync.unmapped", "A bracket needs no mapping.", IOCTL, "ok", |target| {
        brackets(target, &[START_RW, END_RW])
    }),
    required("sync.mapped", "A bracket around stores to a mapping is fine.", DOC, "ok", |target| {
        let (buffer, map) = target.mapped()?;
        saw(buffer.sync(START_RW).and_then(|()| {
            map.store(0, 1);
            buffer.sync(END_RW)
        }))
    }),
    required(
        "sync.unmapped-inside",
        "A mapping may be gone when its bracket ends.",
        DOC,
        "ok",
        |target| {
            let (buffer, map) = target.mapped()?;
            saw(buffer.sync(START_RW).and_then(|()| {
                map.store(0, 1);
                drop(map);
                buffer.sync(END_RW)
            }))
        },
    ),
    required(
        "sync.two-descriptors",
        "A bracket may begin on one descriptor and end on its copy.",
        IOCTL,
        "ok",
        |target| {
            let buffer = target.bracketed()?;
            let copy = rustix::io::dup(&buffer)?;
            saw(buffer.sync(START_RW).and_then(|()| sync(copy, END_RW)))
        },
    ),
    required(
        "sync.in-child",
        "A child that inherited the descriptor can bracket.",
        "fork(2)",
        "ok",
        |target| {
            let buffer = target.bracketed()?;
            let ended = sys::in_a_fork(|| {
                let answer = buffer.sync(START_RW).and_then(|()| buffer.sync(END_RW));
                u8::from(answer.is_err())
            })?;
            whether(ended == Ended::Exited(0), "ok", "refused")
        },
    ),
    required(
        "sync.two-processes",
        "Two processes may have brackets at once.",
        DOC,
        "ok",
        |target| {
            let buffer = target.bracketed()?;
            buffer.sync(START_WRITE)?;
            let ended = sys::in_a_fork(|| {
                let answer = buffer.sync(START_WRITE).and_then(|()| buffer.sync(END_WRITE));
                u8::from(answer.is_err())
            })?;
            if ended != Ended::Exited(0) {
                return Ok("refused".to_owned());
            }
            saw(buffer.sync(END_WRITE))
        },
    ),
    required(
        "sync.died-inside",
        "A process that dies inside of a bracket keeps nobody out.",
        DOC,
        "ok",
        |target| {
            let buffer = target.bracketed()?;
            sys::in_a_fork(|| {
                let _ = buffer.sync(START_RW);
                sys::kill_me()
            })?;
            saw(buffer.sync(START_RW).and_then(|()| buffer.sync(END_RW)))
        },
    ),
    required(
        "sync.read-only-write",
        "A descriptor for loads alone takes a bracket for stores.",
        IOCTL,
        "ok",
        |target| {
            let buffer = target.read_only()?;
            saw(buffer.sync(START_WRITE).and_then(|()| buffer.sync(END_WRITE)))
        },
    ),
    required(
        "sync.closed",
        "A descriptor that is closed has no brackets.",
        "ioctl(2)",
        "EBADF",
        |target| {
            let buffer = target.buffer()?;
            let number = buffer.fd.as_raw_fd();
            drop(buffer);
            sys::on_closed(number, |fd| saw(sync(fd, START_RW)))
        },
    ),
];

fn bracket(target: &Target, calls: &[u64]) -> Seen {
    in_order(&target.buffer()?, calls)
}

/// As `bracket`, for what is more than one: where there are none at all, that was said before.
fn brackets(target: &Target, calls: &[u64]) -> Seen {
    in_order(&target.bracketed()?, calls)
}

fn in_order(buffer: &Buffer, calls: &[u64]) -> Seen {
    let (last, before) = calls.split_last().expect("there are calls");
    for &flags in before {
        if let Err(errno) = buffer.sync(flags) {
            return saw(Err::<(), _>(errno));
        }
    }
    saw(buffer.sync(*last))
}
