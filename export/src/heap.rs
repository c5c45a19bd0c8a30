//! The five heaps.

mod bounce;
mod coherent;
mod maintained;
mod unmappable;

use std::fmt;
use std::os::fd::BorrowedFd;
use std::str::FromStr;
use std::sync::Arc;

use crate::buffer::{Buffer, Policy};
use crate::error::{Error, Result};
use crate::mappings::{self, Mappings};
use crate::memory::{self, Memory};
use crate::quota::{Accounts, Charge, Quota};

use bounce::Bounce;
use coherent::Coherent;
pub use maintained::Maintained;
use unmappable::Unmappable;

/// Which of the heaps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum HeapKind {
    /// One memory for both sides: the fast default.
    Coherent,
    /// Two memories, and brackets that copy exactly what they name: shows a cache bug on a machine
    /// that has none. [`Maintained`] is the same for a machine that has one.
    Bounce,
    /// Two memories, and brackets that copy only the pages that were really touched.
    Tracked,
    /// As `Tracked`; an access outside of a bracket is reported.
    Checked,
    /// Devices only: to test what a program does when mmap fails.
    Unmappable,
}

impl HeapKind {
    /// All of them.
    pub const ALL: [HeapKind; 5] = [
        HeapKind::Coherent,
        HeapKind::Bounce,
        HeapKind::Tracked,
        HeapKind::Checked,
        HeapKind::Unmappable,
    ];

    /// The heap's name, which is its exporters' name too.
    pub const fn name(self) -> &'static str {
        match self {
            HeapKind::Coherent => "coherent",
            HeapKind::Bounce => "bounce",
            HeapKind::Tracked => "tracked",
            HeapKind::Checked => "checked",
            HeapKind::Unmappable => "unmappable",
        }
    }

    fn policy(self) -> Policy {
        match self {
            HeapKind::Coherent | HeapKind::Bounce | HeapKind::Unmappable => Policy::Hints,
            HeapKind::Tracked => Policy::Tracked,
            HeapKind::Checked => Policy::Checked,
        }
    }

    fn has_two_memories(self) -> bool {
        matches!(self, HeapKind::Bounce | HeapKind::Tracked | HeapKind::Checked)
    }
}

impl fmt::Display for HeapKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// No heap has that name.
#[derive(Debug, thiserror::Error)]
#[error("there is no heap {0:?}: use coherent, bounce, tracked, checked or unmappable")]
pub struct UnknownHeap(String);

impl FromStr for HeapKind {
    type Err = UnknownHeap;

    fn from_str(name: &str) -> std::result::Result<Self, UnknownHeap> {
        let mut all = HeapKind::ALL.into_iter();
        all.find(|kind| kind.name() == name).ok_or_else(|| UnknownHeap(name.to_owned()))
    }
}

/// Allocates buffers of one kind.
#[derive(Clone, Debug)]
pub struct Heap {
    kind: HeapKind,
    accounts: Arc<Accounts>,
}

impl Heap {
    /// A heap with no limit but the machine's memory.
    pub fn new(kind: HeapKind) -> Heap {
        Heap::with_accounts(kind, Accounts::new(Quota::UNLIMITED))
    }

    /// A heap that charges its buffers to `accounts`, which other heaps may share.
    pub fn with_accounts(kind: HeapKind, accounts: Arc<Accounts>) -> Heap {
        Heap { kind, accounts }
    }

    /// Which heap it is.
    pub fn kind(&self) -> HeapKind {
        self.kind
    }

    /// Allocates a buffer of `size` bytes, a multiple of the page size, for use in this process. Its
    /// memory is zero.
    pub fn allocate(&self, size: u64) -> Result<Buffer> {
        let mappings = mappings::in_process(self.kind.policy());
        let uid = rustix::process::getuid().as_raw();
        self.reserve(uid)?.allocate(size, mappings).map_err(|refused| refused.error)
    }

    /// A buffer of user `uid` that has no size yet.
    pub fn reserve(&self, uid: u32) -> Result<Reservation> {
        let name = self.kind.name();
        let charge = self.accounts.charge(uid)?;
        let memory = Memory::new(name)?;
        let second = self
            .kind
            .has_two_memories()
            .then(|| Memory::new(&format!("{name}-device")))
            .transpose()?;
        Ok(Reservation { kind: self.kind, charge, memory, second })
    }
}

/// A buffer to be, which lacks only its size. A file system opens a file before it is given one.
#[derive(Debug)]
pub struct Reservation {
    kind: HeapKind,
    charge: Charge,
    memory: Memory,
    second: Option<Memory>,
}

/// An allocation that failed: the reservation comes back, for another size.
#[derive(Debug)]
pub struct Refused {
    /// Why.
    pub error: Error,
    /// As it was.
    pub reservation: Reservation,
}

impl Reservation {
    /// The memory that programs will map, if they may; empty as yet.
    pub fn mmap(&self) -> Option<BorrowedFd<'_>> {
        use std::os::fd::AsFd;
        (self.kind != HeapKind::Unmappable).then(|| self.memory.as_fd())
    }

    /// Gives it its size, and makes it a buffer that is mapped through `mappings`.
    pub fn allocate(
        mut self,
        size: u64,
        mappings: Arc<dyn Mappings>,
    ) -> std::result::Result<Buffer, Box<Refused>> {
        match self.commit(size) {
            Ok(()) => {}
            Err(error) => return Err(Box::new(Refused { error, reservation: self })),
        }
        let Reservation { kind, charge, memory, second } = self;
        let (policy, charge) = (kind.policy(), Some(charge));
        let buffer = match (kind, second) {
            (HeapKind::Coherent, _) => {
                Buffer::new(Coherent { memory, size }, policy, mappings, charge)
            }
            (HeapKind::Unmappable, _) => {
                Buffer::new(Unmappable { memory, size }, policy, mappings, charge)
            }
            (_, device) => {
                let device = device.expect("the other heaps have two memories");
                let exporter = Bounce { name: kind.name(), cpu: memory, device, size };
                Buffer::new(exporter, policy, mappings, charge)
            }
        };
        Ok(buffer.expect("the size has been checked"))
    }

    fn commit(&mut self, size: u64) -> Result<()> {
        let total =
            size.checked_mul(1 + u64::from(self.second.is_some())).ok_or(Error::Size(size))?;
        self.charge.add_bytes(total)?;
        let committed = memory::allocating(|| {
            memory::check_size(size, total)?;
            self.memories().try_for_each(|memory| memory.allocate(size))
        });
        let committed =
            committed.and_then(|()| self.memories().try_for_each(|memory| memory.seal(size)));
        if committed.is_err() {
            // Memory that cannot be freed any more is charged for as long as the reservation lives.
            self.memories().try_for_each(|memory| memory.free(size))?;
            self.charge.return_bytes(total);
        }
        committed
    }

    fn memories(&self) -> impl Iterator<Item = &Memory> {
        std::iter::once(&self.memory).chain(&self.second)
    }
}
