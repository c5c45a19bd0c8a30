//! Which process a request comes from, and whether it is still there.

use std::collections::HashMap;
use std::fs;
use std::os::fd::OwnedFd;
use std::sync::{Mutex, PoisonError};

use dmabuf_export::Owner;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

/// The processes that have begun brackets.
///
/// An [`Owner`] is a process ID and, above it, how often that ID has been somebody new: an ID that is
/// used again is not taken for the dead process that had it before.
#[derive(Debug, Default)]
pub(crate) struct Processes {
    known: Mutex<HashMap<u32, Process>>,
}

#[derive(Debug)]
struct Process {
    generation: u32,
    pidfd: OwnedFd,
}

/// Marks owners that are no processes this server can see, but open files: those of requests from
/// outside of its PID namespace.
const FILE: u64 = 1 << 63;

impl Processes {
    /// The process that thread `tid` belongs to, as FUSE tells it; 0 if it cannot be seen from here:
    /// then the open file `handle` stands for it.
    pub(crate) fn owner(&self, tid: u32, handle: u64) -> Owner {
        let Some(pid) = process_of(tid) else { return Owner(FILE | handle) };
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(process) = known.get(&pid).filter(|process| !is_dead(&process.pidfd)) {
            return owner(pid, process.generation);
        }
        let raw = i32::try_from(pid).ok().and_then(Pid::from_raw);
        let Some(pidfd) = raw.and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok()) else {
            return Owner(FILE | handle);
        };
        let generation = known.get(&pid).map_or(0, |process| process.generation + 1);
        known.insert(pid, Process { generation, pidfd });
        owner(pid, generation)
    }

    /// The owner that stands for an open file.
    pub(crate) fn of_file(handle: u64) -> Owner {
        Owner(FILE | handle)
    }

    /// Whether `owner` is a process that is gone.
    pub(crate) fn is_gone(&self, owner: Owner) -> bool {
        let Some(pid) = pid(owner) else { return false };
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        match known.get(&pid) {
            Some(process) => {
                u64::from(process.generation) != owner.0 >> 32 || is_dead(&process.pidfd)
            }
            None => true,
        }
    }

    /// Forgets processes that are gone and of which `in_use` says that no bracket is theirs.
    pub(crate) fn forget(&self, in_use: impl Fn(Owner) -> bool) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|&pid, process| {
            !is_dead(&process.pidfd) || in_use(owner(pid, process.generation))
        });
    }
}

/// The process ID of an owner that is a process.
pub(crate) fn pid(owner: Owner) -> Option<u32> {
    (owner.0 & FILE == 0 && owner.0 != 0).then_some(owner.0 as u32)
}

/// Whether thread `tid` is one of this server's.
pub(crate) fn is_own_thread(tid: u32) -> bool {
    fs::exists(format!("/proc/self/task/{tid}")).unwrap_or(false)
}

fn owner(pid: u32, generation: u32) -> Owner {
    Owner(u64::from(pid) | u64::from(generation & 0x7fff_ffff) << 32)
}

/// `Tgid` of proc_pid_status(5): FUSE tells the thread.
fn process_of(tid: u32) -> Option<u32> {
    if tid == 0 {
        return None;
    }
    let status = fs::read_to_string(format!("/proc/{tid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("Tgid:")?.trim().parse().ok())
}

/// A pidfd is readable once its process has ended: pidfd_open(2).
fn is_dead(pidfd: &OwnedFd) -> bool {
    let mut fds = [PollFd::new(pidfd, PollFlags::IN)];
    matches!(poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })), Ok(1))
}
