// SPDX-License-Identifier: GPL-2.0

//! What programs did wrong to `checked` buffers: kept for the readers of `/dev/dmabuf`, and told in the
//! kernel's log, but not too often.

use kernel::prelude::*;
use kernel::sync::{new_condvar, new_mutex, CondVar, Mutex};
use kernel::time::{Delta, Instant, Monotonic};

use crate::abstractions::dma_buf::NAME_LEN;
use crate::abstractions::mm::COMM_LEN;
use crate::rules::ledger::Mistake;
use crate::rules::Access;

/// Records that are kept for readers who have not read them yet.
const KEPT: usize = 1024;

/// Messages in the kernel's log in one [`INTERVAL`]; what is left out is counted.
const MOST_MESSAGES: u32 = 10;
const INTERVAL: Delta = Delta::from_secs(5);

/// What was wrong.
#[derive(Clone, Copy)]
pub(super) enum Wrong {
    /// An access that no bracket of the process allows. What its brackets allow there, if anything, is
    /// the second.
    Access(Access, Option<Access>),
    /// An END that does not fit.
    End(Mistake),
    /// A bracket that its process left open when it ended.
    LeftOpen(Access),
}

/// A thing that a process did wrong to a buffer.
#[derive(Clone, Copy)]
pub(super) struct Record {
    pub(super) pid: i32,
    pub(super) comm: [u8; COMM_LEN],
    pub(super) inode: u64,
    pub(super) name: [u8; NAME_LEN],
    pub(super) offset: u64,
    pub(super) wrong: Wrong,
}

/// A line of text in an array.
pub(super) struct Line {
    bytes: [u8; 256],
    len: usize,
}

impl Line {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    fn text(&self) -> &str {
        core::str::from_utf8(self.bytes()).unwrap_or_default()
    }
}

impl core::fmt::Write for Line {
    /// Cuts off what does not fit; no record is as long.
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        let room = &mut self.bytes[self.len..];
        let len = text.len().min(room.len());
        room[..len].copy_from_slice(&text.as_bytes()[..len]);
        self.len += len;
        Ok(())
    }
}

impl Record {
    /// The record as `read(2)` of `/dev/dmabuf` gives it, without the end of the line.
    pub(super) fn line(&self) -> Line {
        use core::fmt::Write;

        let mut line = Line {
            bytes: [0; 256],
            len: 0,
        };
        let access = |access| match access {
            Access::Read => "read",
            Access::Write => "write",
            Access::ReadWrite => "read-write",
        };
        let end = |mistake| match mistake {
            Mistake::NotBegun => "end-without-start",
            Mistake::OtherDirection { .. } => "end-other-direction",
            Mistake::OtherRange { .. } => "end-other-range",
        };
        // Writing into a `Line` does not fail.
        let _ = write!(line, "pid={} comm=", self.pid);
        word(&mut line, &self.comm);
        let _ = write!(line, " heap=checked inode={} name=", self.inode);
        word(&mut line, &self.name);
        let _ = write!(line, " offset={:#x}", self.offset);
        let _ = match self.wrong {
            Wrong::Access(what, allowed) => {
                let allowed = allowed.map_or("none", access);
                write!(line, " access={} allowed={}", access(what), allowed)
            }
            Wrong::End(mistake) => write!(line, " mistake={}", end(mistake)),
            Wrong::LeftOpen(what) => {
                write!(line, " mistake=start-without-end access={}", access(what))
            }
        };
        line
    }
}

/// Writes text up to its NUL as one word: what would end it is written as `?`.
fn word(line: &mut Line, text: &[u8]) {
    use core::fmt::Write;

    for &byte in text.iter().take_while(|&&byte| byte != 0) {
        let printable = byte.is_ascii_graphic();
        let _ = line.write_char(if printable { char::from(byte) } else { '?' });
    }
}

struct Inner {
    /// The latest records, the one with number `n` at `n % KEPT`.
    kept: KVVec<Record>,
    /// The number of the next one.
    next: u64,
    /// When the interval began, and the messages in it.
    since: Option<Instant<Monotonic>>,
    messages: u32,
}

/// The records of the whole system.
#[pin_data]
pub(crate) struct Log {
    #[pin]
    inner: Mutex<Inner>,
    #[pin]
    added: CondVar,
}

/// A place in the log, up to which somebody has read.
#[derive(Clone, Copy)]
pub(super) struct Position(u64);

impl Log {
    pub(crate) fn new() -> Result<impl PinInit<Self, Error>> {
        let kept = KVVec::with_capacity(KEPT, GFP_KERNEL)?;
        Ok(try_pin_init!(Log {
            inner <- new_mutex!(Inner { kept, next: 0, since: None, messages: 0 }),
            added <- new_condvar!(),
        }))
    }

    /// Keeps a record, and tells it in the kernel's log.
    pub(super) fn add(&self, record: Record) {
        let mut inner = self.inner.lock();
        let place = (inner.next % KEPT as u64) as usize;
        if let Some(old) = inner.kept.get_mut(place) {
            *old = record;
        } else {
            // The room was made in `new`.
            let _ = inner.kept.push_within_capacity(record);
        }
        inner.next += 1;
        inner.tell(&record);
        drop(inner);
        self.added.notify_all();
    }

    /// The end of the log, for one who reads what comes from now on.
    pub(super) fn end(&self) -> Position {
        Position(self.inner.lock().next)
    }

    /// The record behind `position`, which moves past it: the oldest one that is kept. `None` at the
    /// end.
    pub(super) fn next(&self, position: &mut Position) -> Option<Record> {
        let inner = self.inner.lock();
        let oldest = inner.next - inner.kept.len() as u64;
        let at = position.0.max(oldest);
        if at >= inner.next {
            return None;
        }
        *position = Position(at + 1);
        inner.kept.get((at % KEPT as u64) as usize).copied()
    }

    /// Waits until there is something behind `position`. `ERESTARTSYS` when a signal comes first.
    pub(super) fn wait(&self, position: Position) -> Result {
        let mut inner = self.inner.lock();
        while inner.next <= position.0 {
            if self.added.wait_interruptible(&mut inner) {
                return Err(ERESTARTSYS);
            }
        }
        Ok(())
    }
}

impl Inner {
    fn tell(&mut self, record: &Record) {
        if self.since.is_none_or(|since| since.elapsed() >= INTERVAL) {
            if self.messages > MOST_MESSAGES {
                pr_warn!("{} more like these\n", self.messages - MOST_MESSAGES);
            }
            (self.since, self.messages) = (Some(Instant::now()), 0);
        }
        self.messages += 1;
        if self.messages <= MOST_MESSAGES {
            pr_warn!("{}\n", record.line().text());
        }
    }
}
