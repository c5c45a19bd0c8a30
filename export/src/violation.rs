//! What should not have happened on a buffer.

use std::collections::BTreeMap;
use std::fmt;

use dmabuf_core::ledger::Mistake;
use dmabuf_core::{Access, Bracket, Granule, Owner, Range};

/// How many violations a buffer tells of; further ones are only counted.
const REMEMBERED: usize = 256;

/// Something that a `checked` buffer reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Violation {
    /// The CPU accessed pages outside of any bracket of its process, or stored to them in a bracket
    /// that only reads.
    Access {
        /// The process; 0 where the system does not tell.
        owner: Owner,
        /// What it did, as far as page faults tell.
        access: Access,
        /// The pages.
        range: Range,
    },
    /// An END was wrong.
    Mistake {
        /// The process.
        owner: Owner,
        /// In which way.
        mistake: Mistake,
        /// How often.
        count: u64,
    },
    /// A process was gone with a bracket open.
    LeftOpen {
        /// The bracket.
        bracket: Bracket,
    },
    /// The CPU and a device wrote the same page at the same time.
    Conflict {
        /// The pages.
        range: Range,
    },
}

impl Violation {
    /// The process it is about, if it is about one that is known.
    pub fn owner(&self) -> Option<Owner> {
        match *self {
            Violation::Access { owner, .. } | Violation::Mistake { owner, .. } => Some(owner),
            Violation::LeftOpen { bracket } => Some(bracket.owner),
            Violation::Conflict { .. } => None,
        }
        .filter(|&owner| owner != Owner(0))
    }

    /// The bytes it is about.
    pub fn range(&self) -> Option<Range> {
        match *self {
            Violation::Access { range, .. } | Violation::Conflict { range } => Some(range),
            Violation::LeftOpen { bracket } => Some(bracket.range),
            Violation::Mistake { .. } => None,
        }
    }

    /// What it is, where it is no access: in the words of the kernel module's device.
    pub fn mistake(&self) -> Option<&'static str> {
        Some(match self {
            Violation::Access { .. } => return None,
            Violation::Mistake { mistake: Mistake::NotBegun, .. } => "end-without-start",
            Violation::Mistake { mistake: Mistake::OtherDirection { .. }, .. } => {
                "end-other-direction"
            }
            Violation::Mistake { mistake: Mistake::OtherRange { .. }, .. } => "end-other-range",
            Violation::LeftOpen { .. } => "start-without-end",
            Violation::Conflict { .. } => "conflict",
        })
    }

    /// The direction of the access, where there is one.
    pub fn access(&self) -> Option<Access> {
        match *self {
            Violation::Access { access, .. } => Some(access),
            Violation::LeftOpen { bracket } => Some(bracket.access),
            Violation::Mistake { .. } | Violation::Conflict { .. } => None,
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Violation::Access { access, .. } => write!(f, "{access} outside of a bracket"),
            Violation::Mistake { mistake, .. } => mistake.fmt(f),
            Violation::LeftOpen { .. } => f.write_str("START without an END"),
            Violation::Conflict { .. } => f.write_str("CPU and device wrote the same page"),
        }
    }
}

/// The violations of one buffer.
#[derive(Debug, Default)]
pub(crate) struct Log {
    /// By the offset of the page: who accessed it outside of brackets, and how. As many as the buffer
    /// has pages, so about a hundredth of its memory at most.
    strays: BTreeMap<u64, (Owner, Access)>,
    others: Vec<Violation>,
    /// All there were, remembered or not.
    pub(crate) count: u64,
}

impl Log {
    /// Remembers an access to each page of `range`. Of each process that comes after another its first
    /// report counts; what is remembered is the latest one's.
    pub(crate) fn stray(&mut self, owner: Owner, access: Access, range: Range) {
        for page in (range.start()..range.end()).step_by(Granule::PAGE.bytes() as usize) {
            match self.strays.get_mut(&page) {
                // Nobody knows who it was, this time or the last: it may be the same.
                Some((last, known)) if owner == *last || owner == Owner(0) || *last == Owner(0) => {
                    *known = known.union(access);
                    if *last == Owner(0) {
                        *last = owner;
                    }
                }
                _ => {
                    self.count += 1;
                    self.strays.insert(page, (owner, access));
                }
            }
        }
    }

    /// Remembers anything else.
    pub(crate) fn add(&mut self, violation: Violation) {
        self.count += 1;
        if let Violation::Mistake { owner, mistake, .. } = violation {
            for other in &mut self.others {
                if let Violation::Mistake { owner: its, mistake: known, count } = other
                    && (*its, *known) == (owner, mistake)
                {
                    *count += 1;
                    return;
                }
            }
        }
        if self.others.len() < REMEMBERED {
            self.others.push(violation);
        }
    }

    /// All that is remembered, pages joined to runs, in the order of their offsets.
    pub(crate) fn violations(&self) -> Vec<Violation> {
        let mut runs: Vec<Violation> = Vec::new();
        for (&page, &(owner, access)) in &self.strays {
            let range = Range::new(page, Granule::PAGE.bytes()).expect("pages are in the buffer");
            if let Some(Violation::Access { owner: last, access: its, range: run }) =
                runs.last_mut()
                && (*last, *its, run.end()) == (owner, access, page)
            {
                *run = Range::between(run.start(), range.end()).expect("the run grows");
                continue;
            }
            if runs.len() == REMEMBERED {
                break;
            }
            runs.push(Violation::Access { owner, access, range });
        }
        runs.extend(&self.others);
        runs
    }
}
