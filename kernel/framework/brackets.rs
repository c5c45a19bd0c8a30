// SPDX-License-Identifier: GPL-2.0

//! The open brackets of a buffer, and whose they are.

use kernel::mm::Mm;
use kernel::prelude::*;
use kernel::sync::aref::ARef;

use crate::abstractions::mm;
use crate::rules::ledger::{Full, Rules, Slot};
use crate::rules::{Bracket, Ledger, Owner};

/// Brackets, no two alike, that may be open on a buffer at a time, and those of one process. A program
/// that opens more has lost count of them, and every begin looks at all that are open.
const MOST_BRACKETS: usize = 1024;
const MOST_OF_AN_OWNER: usize = 256;

/// Brackets that kernel threads begin have no address space to be told by.
pub(super) const KERNEL: Owner = Owner(0);

/// The owner that an address space is.
pub(super) fn owner(mm: &Mm) -> Owner {
    Owner(mm::number(mm))
}

/// The ledger of a buffer, with a reference to the address space of each owner in it, so that its
/// number means nobody else.
pub(super) struct Brackets {
    pub(super) ledger: Ledger<KVVec<Slot>>,
    owners: KVec<ARef<Mm>>,
}

impl Brackets {
    pub(super) fn new(rules: Rules) -> Self {
        Brackets {
            ledger: Ledger::new(rules, KVVec::new()),
            owners: KVec::new(),
        }
    }

    /// Writes down that `bracket` has begun, by the process with this address space.
    ///
    /// `ENOMEM` beyond the most that may be open.
    pub(super) fn begin(&mut self, bracket: Bracket, mm: Option<ARef<Mm>>) -> Result {
        if let Some(mm) = mm {
            if !self
                .owners
                .iter()
                .any(|known| owner(known) == bracket.owner)
            {
                self.owners.push(mm, GFP_KERNEL)?;
            }
        }
        while let Err(Full) = self.ledger.begin(bracket) {
            let open = self.ledger.open();
            let of_owner = open.filter(|open| open.owner == bracket.owner).count();
            let slots = self.ledger.slots_mut();
            if slots.len() >= MOST_BRACKETS || of_owner >= MOST_OF_AN_OWNER {
                return Err(ENOMEM);
            }
            slots.resize((2 * slots.len()).max(4), Slot::default(), GFP_KERNEL)?;
        }
        Ok(())
    }

    /// Whether a bracket of stores is open.
    pub(super) fn stores(&self) -> bool {
        self.ledger.open().any(|open| open.access.writes())
    }

    /// An owner that is dead, and may have left brackets open; asked again, the next one.
    pub(super) fn take_dead(&mut self) -> Option<Owner> {
        let index = self.owners.iter().position(|known| mm::is_dead(known))?;
        self.owners.remove(index).ok().map(|dead| owner(&dead))
    }

    /// Forgets the address space of an owner that has no bracket open any more.
    pub(super) fn forget(&mut self, gone: Owner) {
        self.owners.retain(|known| owner(known) != gone);
    }
}
