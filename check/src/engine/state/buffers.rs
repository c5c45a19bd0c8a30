//! Buffers, by what they are told apart.

use super::State;
use crate::engine::brackets::{Allowed, Brackets, Direction, Range};
use crate::engine::place::Site;
use crate::engine::sample::Sample;
use crate::record::{self, NAME, NONE};
use crate::rules::Id;

/// What holds a buffer's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A dma-buf.
    Kernel,
    /// A served buffer.
    Served,
    /// The memfd that a udmabuf was made of.
    Memfd,
}

/// A bracket call that failed.
#[derive(Clone, Copy)]
pub enum Failed {
    /// None has.
    No,
    /// START, for good.
    Start { direction: Option<Direction>, range: Range, errno: i32 },
    /// A call that is to be called again.
    ToRestart {
        start: bool,
        direction: Direction,
        range: Range,
        errno: i32,
        thread: u32,
        site: Site,
    },
}

/// A buffer.
#[derive(Clone, Copy)]
pub struct Buffer {
    /// What it is.
    pub kind: Kind,
    /// What is told of it. For a memfd that is the dma-buf.
    pub told: record::Buffer,
    /// Device and inode of the file.
    pub key: [u64; 2],
    pub brackets: Brackets,
    pub failed: Failed,
    pub sample: Sample,
    pub last_end: u64,
    /// Counts what changes protections: what was known of pages before counts no more.
    pub generation: u32,
    /// Whether it was found out how fast loads are.
    pub timed: bool,
    /// Pages were left open, since then, for so long.
    pub left_open: Option<(u64, u64)>,
}

impl Buffer {
    /// What brackets allow with the page at this offset, and up to which offset the same.
    pub fn allowed(&self, page: u64) -> (Allowed, u64) {
        match self.kind {
            // No bracket is about it.
            Kind::Memfd => (Allowed::Nothing, u64::MAX),
            Kind::Kernel | Kind::Served => self.brackets.allowed(page),
        }
    }

    /// What an access is that brackets do not allow.
    pub fn stray(&self, write: bool, allowed: Allowed) -> Id {
        match (self.kind, write) {
            (Kind::Memfd, _) => Id::MemfdBehindUdmabuf,
            (_, false) => Id::OutsideRead,
            (_, true) if allowed == Allowed::Read => Id::WriteInReadBracket,
            (_, true) => Id::OutsideWrite,
        }
    }
}

impl State {
    /// The buffer with this device and inode.
    pub fn find(&self, device: u64, inode: u64) -> Option<usize> {
        self.buffers.iter().position(|buffer| buffer.key == [device, inode])
    }

    /// Whether it is of this kind.
    pub fn is(&self, buffer: usize, kind: Kind) -> bool {
        self.buffers[buffer].kind == kind
    }

    /// What is told of it.
    pub fn told(&self, buffer: usize) -> record::Buffer {
        self.buffers[buffer].told
    }

    /// Remembers a buffer; one that is long gone makes room.
    pub fn add(&mut self, kind: Kind, key: [u64; 2], told: record::Buffer) -> Option<usize> {
        if let Some(known) = self.find(key[0], key[1]) {
            return Some(known);
        }
        let new = Buffer {
            kind,
            told,
            key,
            brackets: Brackets::new(),
            failed: Failed::No,
            sample: Sample::new(),
            last_end: NONE,
            generation: 0,
            timed: false,
            left_open: None,
        };
        if let Some(index) = self.buffers.push(new) {
            return Some(index);
        }
        let gone = (0..self.buffers.len())
            .find(|&index| !self.is_mapped(index) && self.buffers[index].brackets.len() == 0);
        match gone {
            Some(index) => {
                self.buffers[index] = new;
                Some(index)
            }
            None => {
                self.log.limit(record::limit::BUFFERS, self.buffers.len() as u64, &[]);
                None
            }
        }
    }

    /// Whether any part of it is mapped.
    pub fn is_mapped(&self, buffer: usize) -> bool {
        self.mappings.iter().any(|mapping| mapping.buffer == buffer)
    }

    /// Whether it has a bracket that this process has to end.
    pub fn is_open(&self, buffer: usize) -> bool {
        self.buffers[buffer].brackets.iter().any(|bracket| !bracket.excused)
    }

    /// Whether any buffer has one.
    pub fn any_open(&self) -> bool {
        (0..self.buffers.len()).any(|index| self.is_open(index))
    }
}

impl record::Buffer {
    /// Whether the exporter's begin and end are about attached devices alone: the kernel's heaps,
    /// and V4L2's contiguous memory (drivers/dma-buf/heaps, videobuf2-dma-contig.c).
    pub fn exporter_syncs_attachments_only(&self) -> bool {
        let len = self.exporter.iter().position(|&byte| byte == 0).unwrap_or(NAME);
        let name = &self.exporter[..len];
        let heaps: [&[u8]; 5] =
            [b"system", b"default_cma_region", b"linux,cma", b"reserved", b"videobuf2_dma_contig"];
        heaps.contains(&name)
    }
}
