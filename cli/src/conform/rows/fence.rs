//! Fences: sync_files out of a buffer and into it.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use dmabuf_uapi as uapi;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::super::row::{Row, Seen, Stop, required, saw, whether};
use super::super::sys;
use super::super::target::{Buffer, Fence, Target, plain_file, sync_once};
use super::poll::polled;

const EXPORT: &str = "dma_buf_export_sync_file, drivers/dma-buf/dma-buf.c";
const IMPORT: &str = "dma_buf_import_sync_file, drivers/dma-buf/dma-buf.c";
const HEADER: &str = "struct dma_buf_export_sync_file, linux/dma-buf.h";
const SYNC_FILE: &str = "sync_file_poll, sync_file_ioctl_fence_info, drivers/dma-buf/sync_file.c";
const RESV: &str = "enum dma_resv_usage, linux/dma-resv.h";

pub const ROWS: &[Row] = &[
    required(
        "fence.export-read",
        "What a load has to wait for can be had as a sync_file.",
        HEADER,
        "ok",
        |target| saw(export(&target.buffer()?, 1)),
    ),
    required(
        "fence.export-write",
        "What a store has to wait for can be had as a sync_file.",
        HEADER,
        "ok",
        |target| saw(export(&target.buffer()?, 2)),
    ),
    required("fence.export-both", "Both can be asked for at once.", HEADER, "ok", |target| {
        saw(export(&target.buffer()?, 3))
    }),
    required(
        "fence.export-nothing",
        "Without a direction there is none.",
        EXPORT,
        "EINVAL",
        |target| saw(export(&target.buffer()?, 0)),
    ),
    required(
        "fence.export-end",
        "The flag END means nothing for fences.",
        EXPORT,
        "EINVAL",
        |target| saw(export(&target.buffer()?, 5)),
    ),
    required("fence.export-unknown", "Unknown flags are refused.", EXPORT, "EINVAL", |target| {
        saw(export(&target.buffer()?, 8))
    }),
    required("fence.export-null", "A null pointer is refused.", EXPORT, "EFAULT", |target| {
        saw(sys::ioctl_at(target.buffer()?, uapi::DMA_BUF_IOCTL_EXPORT_SYNC_FILE, 0))
    }),
    required(
        "fence.idle-signalled",
        "An idle buffer's sync_file is signalled.",
        SYNC_FILE,
        "signalled",
        |target| status(&exported(target, 3)?),
    ),
    required(
        "fence.idle-readable",
        "A signalled sync_file can be polled.",
        SYNC_FILE,
        "IN",
        |target| {
            let file = exported(target, 3)?;
            let mut files = [PollFd::from_borrowed_fd(file.as_fd(), PollFlags::IN)];
            poll(&mut files, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))?;
            whether(files[0].revents() == PollFlags::IN, "IN", "nothing")
        },
    ),
    required("fence.cloexec", "A sync_file is close-on-exec.", EXPORT, "set", |target| {
        let flags = rustix::io::fcntl_getfd(exported(target, 3)?)?;
        whether(flags.contains(rustix::io::FdFlags::CLOEXEC), "set", "clear")
    }),
    required(
        "fence.no-brackets",
        "A sync_file has no brackets.",
        "sync_file_ioctl, drivers/dma-buf/sync_file.c",
        "ENOTTY",
        |target| saw(sync_once(exported(target, 3)?, 3)),
    ),
    required("fence.import-read", "A fence can be added for loads.", HEADER, "ok", |target| {
        import_own(target, 1)
    }),
    required("fence.import-write", "A fence can be added for stores.", HEADER, "ok", |target| {
        import_own(target, 2)
    }),
    required("fence.import-both", "A fence can be added for both.", HEADER, "ok", |target| {
        import_own(target, 3)
    }),
    required(
        "fence.import-nothing",
        "A fence without a direction is refused.",
        IMPORT,
        "EINVAL",
        |target| import_own(target, 0),
    ),
    required(
        "fence.import-unknown",
        "Unknown flags are refused there, too.",
        IMPORT,
        "EINVAL",
        |target| import_own(target, 8),
    ),
    required(
        "fence.import-no-file",
        "A descriptor that is not open is no fence.",
        IMPORT,
        "EINVAL",
        |target| saw(import(&target.buffer()?, 3, -1)),
    ),
    required(
        "fence.import-other-file",
        "A file that is no sync_file is no fence.",
        IMPORT,
        "EINVAL",
        |target| {
            let file: File = plain_file()?;
            saw(import(&target.buffer()?, 3, file.as_raw_fd()))
        },
    ),
    required("fence.import-itself", "A dma-buf is no fence.", IMPORT, "EINVAL", |target| {
        let buffer = target.buffer()?;
        saw(import(&buffer, 3, buffer.fd.as_raw_fd()))
    }),
    required(
        "fence.signalled-holds-nobody",
        "A fence that is signalled holds nobody.",
        RESV,
        "IN OUT",
        |target| {
            let buffer = target.buffer()?;
            let file = export_or_stop(&buffer, 3)?;
            import(&buffer, 3, file.as_raw_fd())?;
            polled(&buffer, PollFlags::IN | PollFlags::OUT)
        },
    ),
    required(
        "fence.pending-export",
        "A pending fence comes out pending.",
        EXPORT,
        "pending",
        |target| {
            let (buffer, _fence) = held(target, 2)?;
            status(&export_or_stop(&buffer, 3)?)
        },
    ),
    required(
        "fence.write-holds-all",
        "A fence for stores holds those who load and those who store.",
        RESV,
        "nothing",
        |target| {
            let (buffer, _fence) = held(target, 2)?;
            polled(&buffer, PollFlags::IN | PollFlags::OUT)
        },
    ),
    required(
        "fence.read-holds-writers",
        "A fence for loads holds only those who store.",
        RESV,
        "IN",
        |target| {
            let (buffer, _fence) = held(target, 1)?;
            polled(&buffer, PollFlags::IN | PollFlags::OUT)
        },
    ),
    required(
        "fence.signal-frees",
        "When it is signalled, nobody is held any more.",
        RESV,
        "IN OUT",
        |target| {
            let (buffer, fence) = held(target, 2)?;
            fence.signal()?;
            polled(&buffer, PollFlags::IN | PollFlags::OUT)
        },
    ),
    required(
        "fence.bracket-waits",
        "A bracket waits for a pending fence, and a signal interrupts it.",
        "__dma_buf_begin_cpu_access: dma_resv_wait_timeout, interruptible",
        "EINTR",
        |target| {
            let (buffer, _fence) = held(target, 2)?;
            sys::interrupt_after(200);
            saw(sync_once(&buffer, 3))
        },
    ),
    required(
        "fence.bracket-read-passes",
        "A bracket for loads does not wait for one who loads.",
        "__dma_buf_begin_cpu_access: dma_resv_usage_rw",
        "at once",
        |target| {
            let (buffer, _fence) = held(target, 1)?;
            let begun = Instant::now();
            sync_once(&buffer, 1)?;
            whether(begun.elapsed() < Duration::from_secs(5), "at once", "later")
        },
    ),
];

fn export(buffer: &Buffer, flags: u32) -> Result<OwnedFd, Errno> {
    let mut argument = uapi::DmaBufExportSyncFile { flags, fd: -1 };
    sys::ioctl(buffer, uapi::DMA_BUF_IOCTL_EXPORT_SYNC_FILE, &mut argument)?;
    sys::adopt(argument.fd)
}

/// For what comes after: where there are no fences at all, `fence.export-*` says so.
fn export_or_stop(buffer: &Buffer, flags: u32) -> Result<OwnedFd, Stop> {
    export(buffer, flags).map_err(|errno| match errno {
        Errno::NOTTY => Stop::not_here("it has no fences"),
        other => other.into(),
    })
}

fn exported(target: &Target, flags: u32) -> Result<OwnedFd, Stop> {
    export_or_stop(&target.buffer()?, flags)
}

fn import(buffer: &Buffer, flags: u32, fd: i32) -> Result<(), Errno> {
    let mut argument = uapi::DmaBufImportSyncFile { flags, fd };
    sys::ioctl(buffer, uapi::DMA_BUF_IOCTL_IMPORT_SYNC_FILE, &mut argument).map(drop)
}

fn import_own(target: &Target, flags: u32) -> Seen {
    let buffer = target.buffer()?;
    let file = export_or_stop(&buffer, 3)?;
    saw(import(&buffer, flags, file.as_raw_fd()))
}

/// A buffer with a fence that is not signalled.
fn held(target: &Target, flags: u32) -> Result<(Buffer, Fence), Stop> {
    let buffer = target.buffer()?;
    drop(export_or_stop(&buffer, 3)?);
    let fence = Fence::pending().ok_or(Stop::not_here("nobody makes pending fences (vgem)"))??;
    import(&buffer, flags, fence.sync_file.as_raw_fd())?;
    Ok((buffer, fence))
}

fn status(file: &OwnedFd) -> Seen {
    let mut info = uapi::SyncFileInfo::default();
    sys::ioctl(file, uapi::SYNC_IOC_FILE_INFO, &mut info)?;
    Ok(match info.status {
        0 => "pending".to_owned(),
        1 => "signalled".to_owned(),
        error => format!("error {error}"),
    })
}
