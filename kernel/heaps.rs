// SPDX-License-Identifier: GPL-2.0

//! The heaps. Each is a row: what lies between CPU and devices, and how the work is found.

use kernel::prelude::*;
use kernel::sync::Arc;

use crate::abstractions::dma_buf::{self, Owned};
use crate::abstractions::dma_heap;
use crate::abstractions::pages::Pages;
use crate::framework::buffer::Buffer;
use crate::framework::device_only::DeviceOnly;
use crate::framework::log::Log;

/// What lies between what the CPU sees and what devices see.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Memory {
    /// One memory, which the DMA API keeps coherent, where a device needs that.
    One,
    /// Two memories, as on a machine without coherency.
    Two,
    /// One memory, and only devices reach it.
    DeviceOnly,
}

/// How a bracket finds out what to sync.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Policy {
    /// By direction and range, or the worst where they are not named.
    Hints,
    /// By what was really touched.
    Tracked,
    /// As tracked, and what should not have been touched is reported.
    Checked,
}

/// A heap.
pub(crate) struct Heap {
    pub(crate) name: &'static CStr,
    pub(crate) memory: Memory,
    pub(crate) policy: Policy,
}

/// All heaps there are.
pub(crate) static ALL: [Heap; 5] = [
    Heap {
        name: c"coherent",
        memory: Memory::One,
        policy: Policy::Hints,
    },
    Heap {
        name: c"bounce",
        memory: Memory::Two,
        policy: Policy::Hints,
    },
    Heap {
        name: c"tracked",
        memory: Memory::One,
        policy: Policy::Tracked,
    },
    Heap {
        name: c"checked",
        memory: Memory::One,
        policy: Policy::Checked,
    },
    Heap {
        name: c"unmappable",
        memory: Memory::DeviceOnly,
        policy: Policy::Hints,
    },
];

/// The heap of this name.
pub(crate) fn find(name: &[u8]) -> Option<&'static Heap> {
    ALL.iter().find(|heap| heap.name.to_bytes() == name)
}

impl Heap {
    /// Allocates a buffer of `len` bytes, whole pages and not none. `flags` are an access mode and
    /// `O_CLOEXEC`.
    pub(crate) fn allocate(&'static self, log: &Arc<Log>, len: usize, flags: u32) -> Result<Owned> {
        let memory = Pages::new(len)?;
        let cpu_pages = match self.memory {
            Memory::One => memory.clone(),
            Memory::Two => Pages::new(len)?,
            Memory::DeviceOnly => {
                return dma_buf::export(DeviceOnly::new(self, memory), None, len, flags);
            }
        };
        dma_buf::export(Buffer::new(self, memory, log)?, Some(cpu_pages), len, flags)
    }
}

/// A heap in `/dev/dma_heap`.
struct Added {
    heap: &'static Heap,
    log: Arc<Log>,
}

impl dma_heap::Heap for Added {
    fn name(&self) -> &'static CStr {
        self.heap.name
    }

    fn allocate(&self, len: usize, flags: u32) -> Result<Owned> {
        self.heap.allocate(&self.log, len, flags)
    }
}

/// The heaps that the parameter names: by default those that can be mapped, none for `none`.
///
/// `EINVAL`, and a message, for a name that there is not.
pub(crate) fn chosen(names: Option<&CStr>) -> Result<KVec<&'static Heap>> {
    let mut chosen = KVec::new();
    let Some(names) = names else {
        for heap in ALL.iter().filter(|heap| heap.memory != Memory::DeviceOnly) {
            chosen.push(heap, GFP_KERNEL)?;
        }
        return Ok(chosen);
    };
    let names = names.to_bytes();
    if names == b"none" {
        return Ok(chosen);
    }
    for name in names.split(|&byte| byte == b',') {
        let Some(heap) = find(name) else {
            pr_err!("heaps: there is no heap of that name; there are:\n");
            for heap in &ALL {
                pr_err!("  {}\n", heap.name.to_str().unwrap_or_default());
            }
            return Err(EINVAL);
        };
        if !chosen.iter().any(|&other| core::ptr::eq(other, heap)) {
            chosen.push(heap, GFP_KERNEL)?;
        }
    }
    Ok(chosen)
}

/// Adds them to `/dev/dma_heap`, or as many as can be: what is added stays, since the kernel cannot
/// remove a heap. A name that somebody else has taken is told.
pub(crate) fn add(chosen: &[&'static Heap], log: &Arc<Log>) -> Result {
    let mut added = 0;
    let mut result = Ok(());
    for &heap in chosen {
        let new = KBox::new(
            Added {
                heap,
                log: log.clone(),
            },
            GFP_KERNEL,
        )?;
        match dma_heap::add(new) {
            Ok(()) => added += 1,
            Err(error) => {
                pr_err!(
                    "heap {}: {:?}\n",
                    heap.name.to_str().unwrap_or_default(),
                    error
                );
                result = Err(error);
            }
        }
    }
    if added > 0 {
        return Ok(());
    }
    result
}
