// SPDX-License-Identifier: GPL-2.0

//! The open brackets of a buffer, and whose they are.

use kernel::mm::Mm;
use kernel::prelude::*;
use kernel::sync::aref::ARef;

use crate::abstractions::mm::{self, COMM_LEN};
use crate::rules::ledger::{Full, Rules, Slot};
use crate::rules::{Bracket, Granule, Ledger, Owner, Range};

/// Brackets, no two alike, that a process may have open on a buffer. One that opens more has lost count
/// of them, and every begin looks at all that are open.
const MOST_OF_AN_OWNER: usize = 256;

/// A process that has begun brackets.
pub(super) struct Process {
    /// `None` for kernel threads, which have no address space to be told by.
    mm: Option<ARef<Mm>>,
    pub(super) pid: i32,
    pub(super) comm: [u8; COMM_LEN],
}

impl Process {
    /// The one that runs.
    pub(super) fn current() -> Self {
        Process {
            mm: mm::current(),
            pid: current!().tgid(),
            comm: mm::comm(),
        }
    }

    pub(super) fn owner(&self) -> Owner {
        Owner(self.mm.as_deref().map_or(0, mm::number))
    }

    fn is_dead(&self) -> bool {
        self.mm.as_deref().is_some_and(mm::is_dead)
    }
}

/// The owner that the process is which runs.
pub(super) fn current() -> Owner {
    Owner(mm::current_number())
}

/// The owner that an address space is.
pub(super) fn owner(mm: &Mm) -> Owner {
    Owner(mm::number(mm))
}

/// The ledger of a buffer, and the processes that have brackets in it. A reference to the address space
/// of each is kept, so that its number means nobody else.
pub(super) struct Brackets {
    pub(super) ledger: Ledger<KVVec<Slot>>,
    processes: KVec<Process>,
}

impl Brackets {
    pub(super) fn new(rules: Rules) -> Self {
        Brackets {
            ledger: Ledger::new(rules, KVVec::new()),
            processes: KVec::new(),
        }
    }

    /// Keeps the process that runs, which is not known yet.
    pub(super) fn keep_current(&mut self) -> Result {
        Ok(self.processes.push(Process::current(), GFP_KERNEL)?)
    }

    /// Writes down that `bracket` has begun, by a process that is known. `ENOMEM` if it has too many open.
    pub(super) fn begin(&mut self, bracket: Bracket) -> Result {
        while let Err(Full) = self.ledger.begin(bracket) {
            self.add_slots(bracket.owner)?;
        }
        Ok(())
    }

    /// Makes room for more brackets, since `owner` begins one more.
    #[cold]
    fn add_slots(&mut self, owner: Owner) -> Result {
        let open = self.ledger.open().filter(|open| open.owner == owner);
        if open.count() >= MOST_OF_AN_OWNER {
            return Err(ENOMEM);
        }
        let slots = self.ledger.slots_mut();
        Ok(slots.resize((2 * slots.len()).max(1), Slot::default(), GFP_KERNEL)?)
    }

    /// Whether this process has begun brackets before.
    pub(super) fn knows(&self, owner: Owner) -> bool {
        self.processes.iter().any(|known| known.owner() == owner)
    }

    /// Forgets a process that is dead, and may have left brackets open; asked again, the next one.
    pub(super) fn take_dead(&mut self) -> Option<Process> {
        let index = self.processes.iter().position(Process::is_dead)?;
        self.processes.remove(index).ok()
    }

    /// Forgets `owner`, of whom no bracket may be open any more.
    pub(super) fn take(&mut self, owner: Owner) -> Option<Process> {
        let index = self
            .processes
            .iter()
            .position(|known| known.owner() == owner)?;
        self.processes.remove(index).ok()
    }

    /// An open bracket of `owner`, in no order that matters.
    pub(super) fn nth(&self, owner: Owner, index: usize) -> Option<Bracket> {
        let mut open = self.ledger.open().filter(|open| open.owner == owner);
        open.nth(index).copied()
    }

    /// An open bracket of stores that has a byte in common with `range`.
    pub(super) fn storing(&self, range: Range) -> Option<Range> {
        let mut open = self.ledger.open();
        open.find(|open| open.access.writes() && open.range.overlaps(range))
            .map(|open| open.range)
    }

    /// The first part of `run`, whole pages of a buffer of `size` bytes, that no open bracket of stores
    /// has a byte in.
    pub(super) fn outside_of_stores(&self, run: Range, size: u64) -> Option<Range> {
        let storing = || {
            let open = self.ledger.open().filter(|open| open.access.writes());
            open.map(|open| open.range.align_out(Granule::PAGE, size))
        };
        let mut start = run.start();
        while let Some(open) = storing().find(|open| open.start() <= start && start < open.end()) {
            start = open.end();
        }
        let behind = storing()
            .map(|open| open.start())
            .filter(|&open| open > start);
        Range::between(start, behind.min().unwrap_or(run.end()).min(run.end())).ok()
    }
}
