//! Which process a request comes from, and whether it is still there.

use std::collections::HashMap;
use std::fs;
use std::os::fd::OwnedFd;
use std::sync::{Mutex, MutexGuard, PoisonError};

use dmabuf_export::Owner;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

/// The processes that have begun brackets.
///
/// An [`Owner`] is a process ID and, above it, a number that no other process has: an ID that is used
/// again is not taken for the dead process that had it before.
#[derive(Debug, Default)]
pub(crate) struct Processes {
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    processes: HashMap<u32, Process>,
    /// By their number, the threads that are not the first of their process.
    threads: HashMap<u32, Thread>,
    next_generation: u32,
    /// How many of both there may be before those that are gone are forgotten: each holds a file
    /// descriptor.
    limit: usize,
}

#[derive(Debug)]
struct Thread {
    pid: u32,
    pidfd: OwnedFd,
}

#[derive(Debug)]
struct Process {
    generation: u32,
    pidfd: OwnedFd,
}

/// Marks owners that are no processes this server can see, but open files: those of requests from
/// outside of its PID namespace.
const FILE: u64 = 1 << 63;

/// The numbers that processes are told apart by: what [`FILE`] leaves of the upper half.
const GENERATIONS: u32 = u32::MAX >> 1;

impl Processes {
    /// The process that thread `tid` belongs to, as FUSE tells it; 0 if it cannot be seen from here:
    /// then the open file `handle` stands for it.
    pub(crate) fn owner(&self, tid: u32, handle: u64) -> Owner {
        // Asking procfs costs more than all the rest of a bracket, and each page fault asks.
        if let Some(owner) = self.known().of_thread(tid) {
            return owner;
        }
        let thread = open_thread(tid);
        let Some(pid) = process_of(tid) else { return Owner(FILE | handle) };
        let mut known = self.known();
        known.make_room();
        // The number was this thread's all the time, if it still is.
        if let Some(pidfd) = thread.filter(|pidfd| tid != pid && !has_ended(pidfd)) {
            known.threads.insert(tid, Thread { pid, pidfd });
        }
        if let Some(owner) = known.of_process(pid) {
            return owner;
        }
        let Some(pidfd) = open_process(pid) else { return Owner(FILE | handle) };
        let generation = known.next_generation;
        known.next_generation = (generation + 1) & GENERATIONS;
        known.processes.insert(pid, Process { generation, pidfd });
        owner(pid, generation)
    }

    /// The owner that stands for an open file.
    pub(crate) fn of_file(handle: u64) -> Owner {
        Owner(FILE | handle)
    }

    /// Whether `owner` is a process that is gone.
    pub(crate) fn is_gone(&self, owner: Owner) -> bool {
        let Some(pid) = pid(owner) else { return false };
        match self.known().processes.get(&pid) {
            Some(process) => {
                u64::from(process.generation) != owner.0 >> 32 || has_ended(&process.pidfd)
            }
            None => true,
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    /// A number is a living thread's, or a living process's whose first thread it is, as long as it
    /// lives: nobody else gets it meanwhile.
    fn of_thread(&self, tid: u32) -> Option<Owner> {
        let thread = self.threads.get(&tid).filter(|thread| !has_ended(&thread.pidfd));
        self.of_process(thread.map_or(tid, |thread| thread.pid))
    }

    fn of_process(&self, pid: u32) -> Option<Owner> {
        let process = self.processes.get(&pid).filter(|process| !has_ended(&process.pidfd))?;
        Some(owner(pid, process.generation))
    }

    fn make_room(&mut self) {
        if self.processes.len() + self.threads.len() >= self.limit {
            self.processes.retain(|_, process| !has_ended(&process.pidfd));
            self.threads.retain(|_, thread| !has_ended(&thread.pidfd));
            self.limit = 64.max(2 * (self.processes.len() + self.threads.len()));
        }
    }
}

fn open_process(pid: u32) -> Option<OwnedFd> {
    let pid = Pid::from_raw(i32::try_from(pid).ok()?)?;
    pidfd_open(pid, PidfdFlags::empty()).ok()
}

/// A pidfd of one thread, from Linux 6.9 on.
fn open_thread(tid: u32) -> Option<OwnedFd> {
    let tid = Pid::from_raw(i32::try_from(tid).ok()?)?;
    // PIDFD_THREAD of linux/pidfd.h, which rustix does not have.
    pidfd_open(tid, PidfdFlags::from_bits_retain(libc::O_EXCL as u32)).ok()
}

/// A pidfd is readable once its process, or its thread, has ended: pidfd_open(2).
fn has_ended(pidfd: &OwnedFd) -> bool {
    let mut fds = [PollFd::new(pidfd, PollFlags::IN)];
    matches!(poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })), Ok(1))
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
    Owner(u64::from(pid) | u64::from(generation) << 32)
}

/// `Tgid` of proc_pid_status(5): FUSE tells the thread.
fn process_of(tid: u32) -> Option<u32> {
    if tid == 0 {
        return None;
    }
    let status = fs::read_to_string(format!("/proc/{tid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("Tgid:")?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn all_threads_of_a_process_are_one_owner() {
        let processes = Processes::default();
        let tid = || rustix::thread::gettid().as_raw_nonzero().get() as u32;
        let here = processes.owner(tid(), 1);
        let there = std::thread::scope(|scope| {
            scope.spawn(|| processes.owner(tid(), 2)).join().expect("it does not panic")
        });
        assert_eq!(here, there);
        assert_eq!(pid(here), Some(std::process::id()));
        assert!(!processes.is_gone(here));
    }

    #[test]
    fn a_process_is_gone_when_it_has_ended_and_is_forgotten_in_the_end() {
        let processes = Processes::default();
        let mut owners = Vec::new();
        for _ in 0..200 {
            let mut child =
                Command::new("cat").stdin(std::process::Stdio::piped()).spawn().unwrap();
            let owner = processes.owner(child.id(), 1);
            assert_eq!(pid(owner), Some(child.id()));
            assert!(!processes.is_gone(owner));
            child.kill().unwrap();
            child.wait().unwrap();
            assert!(processes.is_gone(owner));
            owners.push(owner);
        }
        assert!(processes.known().processes.len() <= 64);
        assert!(owners.iter().all(|&owner| processes.is_gone(owner)));
        owners.dedup();
        assert_eq!(owners.len(), 200, "no two are taken for one another");
    }

    #[test]
    fn a_process_that_cannot_be_seen_is_its_file() {
        let processes = Processes::default();
        let unseen = processes.owner(0, 7);
        assert_eq!(unseen, Processes::of_file(7));
        assert_eq!(pid(unseen), None);
        assert!(!processes.is_gone(unseen), "until the file is closed");
    }
}
