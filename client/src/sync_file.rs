//! Fences as file descriptors: `linux/sync_file.h`, `Documentation/driver-api/sync_file.rst`.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use dmabuf_uapi::SyncFenceInfo;
use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::time::{ClockId, clock_gettime};

use crate::{Error, Ready, capability, fence, ioctl};

/// One or several fences in a file descriptor: it is readable when all of them have signalled.
#[derive(Debug)]
pub struct SyncFile {
    fd: OwnedFd,
}

/// What became of a fence, or of all in a sync_file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FenceStatus {
    /// Not yet signalled.
    Active,
    /// The work is done.
    Signalled,
    /// The work failed, with this errno; nobody waits for it any more.
    Failed(i32),
}

/// A sync_file, described by the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SyncFileInfo {
    /// The name that it was made with.
    pub name: String,
    /// What became of all its fences.
    pub status: FenceStatus,
    /// Each fence.
    pub fences: Vec<FenceInfo>,
}

/// A fence, described by the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FenceInfo {
    /// The driver's name.
    pub driver: String,
    /// The timeline's name.
    pub timeline: String,
    /// What became of it.
    pub status: FenceStatus,
    /// When it signalled, as time of `CLOCK_MONOTONIC`; zero while it is active.
    pub timestamp: Duration,
}

impl FenceStatus {
    fn of(status: i32) -> FenceStatus {
        match status {
            0 => FenceStatus::Active,
            1.. => FenceStatus::Signalled,
            negative => FenceStatus::Failed(negative.saturating_neg()),
        }
    }
}

impl SyncFile {
    pub(crate) fn new(fd: OwnedFd) -> SyncFile {
        SyncFile { fd }
    }

    /// The sync_file behind a descriptor: from EGL, Vulkan, KMS, another program.
    ///
    /// # Errors
    ///
    /// [`Error::Fence`] with ENOTTY if it is none; it is sent no ioctl then.
    pub fn from_fd(fd: OwnedFd) -> Result<SyncFile, Error> {
        let failed = |source| Error::Fence { what: "inspect", source };
        // Any driver may use the ioctls' numbers for its own; the kernel names these files.
        let link = std::fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd()));
        if link.map_err(failed)?.as_os_str() != "anon_inode:sync_file" {
            return Err(failed(Errno::NOTTY.into()));
        }
        Ok(SyncFile::new(fd))
    }

    /// A new sync_file of this one's fences and the other's. A name has at most 31 bytes; what is
    /// longer is cut off.
    ///
    /// # Errors
    ///
    /// [`Error::Fence`].
    pub fn merge(&self, other: &SyncFile, name: &str) -> Result<SyncFile, Error> {
        let mut bytes = [0; 32];
        let len = name.len().min(bytes.len() - 1);
        bytes[..len].copy_from_slice(&name.as_bytes()[..len]);
        ioctl::sync_merge(self.as_fd(), other.as_fd(), bytes)
            .map(SyncFile::new)
            .map_err(|errno| Error::Fence { what: "merge", source: errno.into() })
    }

    /// What the kernel tells of it, now.
    ///
    /// # Errors
    ///
    /// [`Error::Fence`].
    pub fn info(&self) -> Result<SyncFileInfo, Error> {
        let (info, fences) = ioctl::sync_file_info(self.as_fd())
            .map_err(|errno| Error::Fence { what: "inspect", source: errno.into() })?;
        let name = |bytes: &[u8]| capability::text(bytes).unwrap_or_default();
        let fence = |fence: &SyncFenceInfo| FenceInfo {
            driver: name(&fence.driver_name),
            timeline: name(&fence.obj_name),
            status: FenceStatus::of(fence.status),
            timestamp: Duration::from_nanos(fence.timestamp_ns),
        };
        Ok(SyncFileInfo {
            name: name(&info.name),
            status: FenceStatus::of(info.status),
            fences: fences.iter().map(fence).collect(),
        })
    }

    /// Waits until all fences have signalled, or failed: [`info`](SyncFile::info) tells which.
    /// `None` waits for ever.
    ///
    /// # Errors
    ///
    /// [`Error::TimedOut`] and [`Error::Fence`].
    pub fn wait(&self, timeout: Option<Duration>) -> Result<(), Error> {
        fence::wait(self.as_fd(), PollFlags::IN, timeout)
    }

    /// Whether all fences have signalled, or failed.
    ///
    /// # Errors
    ///
    /// [`Error::Fence`].
    pub fn is_signalled(&self) -> Result<bool, Error> {
        fence::is_ready(self.as_fd(), PollFlags::IN)
    }

    /// [`wait`](SyncFile::wait) as a future, for any runtime.
    pub fn signalled(self) -> Ready<SyncFile> {
        Ready::new(self, PollFlags::IN)
    }

    /// Tells the driver when the fences will be waited for, so that it can clock its device up in
    /// time: a hint. `SYNC_IOC_SET_DEADLINE`, since Linux 6.6.
    ///
    /// # Errors
    ///
    /// [`Error::Fence`].
    pub fn set_deadline(&self, deadline: Instant) -> Result<(), Error> {
        let now = clock_gettime(ClockId::Monotonic);
        let now = Duration::new(now.tv_sec.unsigned_abs(), now.tv_nsec as u32);
        let at = now + deadline.saturating_duration_since(Instant::now());
        let at = at.as_nanos().try_into().unwrap_or(u64::MAX);
        ioctl::sync_set_deadline(self.as_fd(), at)
            .map_err(|errno| Error::Fence { what: "hasten", source: errno.into() })
    }
}

impl AsFd for SyncFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl From<SyncFile> for OwnedFd {
    fn from(file: SyncFile) -> OwnedFd {
        file.fd
    }
}

impl TryFrom<OwnedFd> for SyncFile {
    type Error = io::Error;

    fn try_from(fd: OwnedFd) -> io::Result<SyncFile> {
        Ok(SyncFile::from_fd(fd)?)
    }
}
