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
                return dma_buf::export(Ok(DeviceOnly::new(self, memory)), None, len, flags);
            }
        };
        dma_buf::export(Buffer::new(self, memory, log)?, Some(cpu_pages), len, flags)
    }
}

/// A heap in `/dev/dma_heap`.
pub(crate) struct Added {
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

/// The heaps that the parameter names, ready to be added: by default those that can be mapped, none for
/// `none`.
///
/// `EINVAL`, and a message, for a name that there is not.
pub(crate) fn chosen(names: Option<&CStr>, log: &Arc<Log>) -> Result<KVec<KBox<Added>>> {
    let mut chosen: KVec<KBox<Added>> = KVec::new();
    let mut choose = |heap: &'static Heap| {
        if chosen.iter().any(|other| core::ptr::eq(other.heap, heap)) {
            return Ok(());
        }
        let log = log.clone();
        chosen.push(KBox::new(Added { heap, log }, GFP_KERNEL)?, GFP_KERNEL)?;
        Ok::<_, Error>(())
    };
    match names.map(CStr::to_bytes) {
        None => {
            for heap in ALL.iter().filter(|heap| heap.memory != Memory::DeviceOnly) {
                choose(heap)?;
            }
        }
        Some(b"none") => {}
        Some(names) => {
            for name in names.split(|&byte| byte == b',') {
                let Some(heap) = find(name) else {
                    pr_err!("heaps: a name is not one of these:\n");
                    for heap in &ALL {
                        pr_err!("  {}\n", heap.name);
                    }
                    return Err(EINVAL);
                };
                choose(heap)?;
            }
        }
    }
    Ok(chosen)
}
