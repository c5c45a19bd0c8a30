//! The direction of an access.

use core::fmt;

/// What an access does with the bytes: the direction of a CPU's bracket, or of a device's access.
///
/// For a CPU bracket these are `DMA_BUF_SYNC_READ`, `DMA_BUF_SYNC_WRITE` and `DMA_BUF_SYNC_RW` of
/// `linux/dma-buf.h`. For a device they are what *the device* does with the memory: `Read` is the
/// kernel's `DMA_TO_DEVICE`, `Write` its `DMA_FROM_DEVICE`.
///
/// `Write` without `Read` says that the old bytes are not needed: a byte of the range that is not
/// stored to is undefined afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    /// Loads only.
    Read,
    /// Stores only; what the range held before is given up.
    Write,
    /// Loads and stores: the worst case, and what a bracket without a direction means.
    ReadWrite,
}

impl Access {
    /// Whether the access loads.
    pub const fn reads(self) -> bool {
        !matches!(self, Access::Write)
    }

    /// Whether the access stores.
    pub const fn writes(self) -> bool {
        !matches!(self, Access::Read)
    }

    /// The access that does what both do.
    pub const fn union(self, other: Access) -> Access {
        match (self.reads() || other.reads(), self.writes() || other.writes()) {
            (true, false) => Access::Read,
            (false, true) => Access::Write,
            _ => Access::ReadWrite,
        }
    }

    /// Whether everything that `other` does is allowed by this access.
    pub const fn allows(self, other: Access) -> bool {
        (self.reads() || !other.reads()) && (self.writes() || !other.writes())
    }

    /// Whether the two may not run over the same bytes at the same time: one of them stores.
    pub const fn conflicts(self, other: Access) -> bool {
        self.writes() || other.writes()
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Access::Read => "read",
            Access::Write => "write",
            Access::ReadWrite => "read-write",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Access::{self, *};

    const ALL: [Access; 3] = [Read, Write, ReadWrite];

    #[test]
    fn union_allows_both_and_nothing_more() {
        for a in ALL {
            for b in ALL {
                let both = a.union(b);
                assert!(both.allows(a) && both.allows(b));
                assert_eq!(both.reads(), a.reads() || b.reads());
                assert_eq!(both.writes(), a.writes() || b.writes());
            }
        }
    }

    #[test]
    fn only_two_readers_do_not_conflict() {
        for a in ALL {
            for b in ALL {
                assert_eq!(a.conflicts(b), !(a == Read && b == Read));
            }
        }
    }
}
