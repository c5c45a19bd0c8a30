// SPDX-License-Identifier: GPL-2.0

//! A buffer's memory as one device sees it.
//!
//! What is mapped is synced by ranges that lie in one segment on both sides, in the direction that it
//! was mapped for, and only where the device needs it (`Documentation/core-api/dma-api.rst`).

use kernel::bindings;
use kernel::device::Device;
use kernel::error::to_result;
use kernel::new_mutex;
use kernel::page::{PAGE_SHIFT, PAGE_SIZE};
use kernel::prelude::*;
use kernel::sync::aref::ARef;
use kernel::sync::{Arc, Mutex};
use kernel::types::Opaque;

use super::pages::Pages;

/// What a device does with the memory: `enum dma_data_direction`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    /// It reads.
    ToDevice,
    /// It writes.
    FromDevice,
    /// Both.
    Bidirectional,
}

impl Direction {
    /// `None` for what is no direction of a transfer.
    pub(super) fn from_raw(raw: bindings::dma_data_direction) -> Option<Self> {
        match raw {
            bindings::dma_data_direction::DMA_TO_DEVICE => Some(Direction::ToDevice),
            bindings::dma_data_direction::DMA_FROM_DEVICE => Some(Direction::FromDevice),
            bindings::dma_data_direction::DMA_BIDIRECTIONAL => Some(Direction::Bidirectional),
            _ => None,
        }
    }

    fn raw(self) -> bindings::dma_data_direction {
        match self {
            Direction::ToDevice => bindings::dma_data_direction::DMA_TO_DEVICE,
            Direction::FromDevice => bindings::dma_data_direction::DMA_FROM_DEVICE,
            Direction::Bidirectional => bindings::dma_data_direction::DMA_BIDIRECTIONAL,
        }
    }

    /// Whether the device writes.
    fn writes(self) -> bool {
        self != Direction::ToDevice
    }
}

/// Whether unmapping hands all bytes to the CPU.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum AtUnmap {
    /// As the DMA API does by itself.
    SyncAll,
    /// Not at all: who unmaps has synced what is needed, and the rest must not be gone over
    /// (`DMA_ATTR_SKIP_CPU_SYNC`).
    SyncNothing,
}

/// Bytes that are contiguous in the buffer, in physical memory and for the device.
struct Piece {
    offset: usize,
    len: usize,
    address: bindings::dma_addr_t,
}

/// What a device has mapped.
struct Mapped {
    direction: Direction,
    needs_sync: bool,
}

struct State {
    mapped: Option<Mapped>,
    /// While it is mapped: all bytes of the buffer, in ascending order.
    pieces: KVVec<Piece>,
}

/// The scatter-gather table of one attachment: `struct sg_table`.
///
/// # Invariants
///
/// `table` is allocated and lists all of `pages`. It is mapped for `device` exactly while
/// `state.mapped` is something.
#[pin_data(PinnedDrop)]
pub(crate) struct Table {
    #[pin]
    table: Opaque<bindings::sg_table>,
    device: ARef<Device>,
    pages: Arc<Pages>,
    #[pin]
    state: Mutex<State>,
}

// SAFETY: The table belongs to no thread.
unsafe impl Send for Table {}
// SAFETY: It changes only while `state` is locked. The device's driver reads it while it is mapped,
// and then it does not change.
unsafe impl Sync for Table {}

impl Table {
    /// A table of `pages` for `device`, in segments that are not longer than it can map.
    pub(crate) fn new(pages: Arc<Pages>, device: &Device) -> Result<Arc<Self>> {
        // SAFETY: The device is alive.
        let longest = unsafe { bindings::dma_max_mapping_size(raw(device)) };
        let longest = longest.min(1 << 31) & !(PAGE_SIZE - 1);
        if longest == 0 {
            return Err(EINVAL);
        }
        let segments = pages
            .chunks()
            .iter()
            .map(|chunk| chunk.len().div_ceil(longest));
        let count = segments.sum::<usize>();
        let entries = c_uint::try_from(count)?;
        // Each piece ends where a segment ends, on one of the two sides.
        let pieces = KVVec::with_capacity(2 * count, GFP_KERNEL)?;
        let device = ARef::from(device);
        // INVARIANT: It is allocated, and what follows lists all pages. It is not mapped.
        let table = Arc::pin_init(
            try_pin_init!(Table {
                device,
                pages,
                state <- new_mutex!(State { mapped: None, pieces }),
                // Last, since only dropping a whole `Table` frees it.
                table <- Opaque::try_ffi_init(|slot: *mut bindings::sg_table| {
                    // SAFETY: The slot is valid for writes.
                    to_result(unsafe {
                        bindings::sg_alloc_table(slot, entries, bindings::GFP_KERNEL)
                    })
                }),
            }? Error),
            GFP_KERNEL,
        )?;
        table.list(longest);
        Ok(table)
    }

    /// Fills the entries.
    fn list(&self, longest: usize) {
        // SAFETY: The table is allocated, with as many entries as are filled here: see `new`.
        let mut entry = unsafe { (*self.table.get()).sgl };
        for chunk in self.pages.chunks() {
            let mut within = 0;
            while within < chunk.len() {
                let len = longest.min(chunk.len() - within);
                // The page that a segment begins with, and no offset to it of more than a page.
                let page = chunk.page().wrapping_add(within >> PAGE_SHIFT);
                // SAFETY: `entry` is one of the table's. The low bits of its link say whether it is the
                // last, and stay; a page's address has none of them. `sg_next` of the last is null, and
                // is not used.
                unsafe {
                    (*entry).page_link = ((*entry).page_link & 3) | page as usize;
                    (*entry).offset = 0;
                    (*entry).length = len as u32;
                    entry = bindings::sg_next(entry);
                }
                within += len;
            }
        }
    }

    /// Maps it for its device, which sees what the CPU has stored so far.
    ///
    /// `EBUSY` if it is mapped, and what `dma_map_sgtable` answers.
    pub(crate) fn map(&self, direction: Direction) -> Result {
        let mut state = self.state.lock();
        if state.mapped.is_some() {
            return Err(EBUSY);
        }
        let device = raw(&self.device);
        // SAFETY: The device is alive, its driver asks for it; the table is allocated and not mapped.
        to_result(unsafe {
            bindings::dma_map_sgtable(device, self.table.get(), direction.raw(), 0)
        })?;
        // Known only now: mapping finds out whether the device's DMA bounces.
        let skips = 1 << bindings::struct_device_flags_DEV_FLAG_DMA_SKIP_SYNC;
        // SAFETY: The device is alive. The load is volatile, since others may set flags meanwhile.
        let flags = unsafe { (&raw const (*device).flags[0]).read_volatile() };
        let mut needs_sync = false;
        state.pieces.clear();
        self.each_piece(|piece| {
            // SAFETY: The device is alive, and has mapped the address.
            needs_sync |= unsafe { bindings::__dma_need_sync(device, piece.address) };
            // The room was made in `new`.
            let _ = state.pieces.push_within_capacity(piece);
        });
        needs_sync &= flags & skips == 0;
        state.mapped = Some(Mapped {
            direction,
            needs_sync,
        });
        Ok(())
    }

    /// Unmaps it, if it is mapped.
    pub(crate) fn unmap(&self, at_unmap: AtUnmap) {
        // Held until it is unmapped, so that nobody maps it meanwhile.
        let mut state = self.state.lock();
        let Some(Mapped { direction, .. }) = state.mapped.take() else {
            return;
        };
        let attributes = match at_unmap {
            AtUnmap::SyncAll => 0,
            AtUnmap::SyncNothing => bindings::DMA_ATTR_SKIP_CPU_SYNC as usize,
        };
        // SAFETY: By the invariants it is mapped, as it was in `map`; syncing may be left out.
        unsafe {
            let device = raw(&self.device);
            bindings::dma_unmap_sgtable(device, self.table.get(), direction.raw(), attributes)
        };
    }

    /// Whether it is mapped, for a device that does not see by itself what the CPU stores, or the CPU
    /// what it writes.
    pub(crate) fn needs_sync(&self) -> bool {
        let state = self.state.lock();
        state
            .mapped
            .as_ref()
            .is_some_and(|mapped| mapped.needs_sync)
    }

    /// Whether it is mapped for such a device, and the device writes.
    pub(crate) fn hides_writes(&self) -> bool {
        let state = self.state.lock();
        let hides = |mapped: &Mapped| mapped.needs_sync && mapped.direction.writes();
        state.mapped.as_ref().is_some_and(hides)
    }

    /// Hands the bytes from `start` to `end` to the CPU: after it, the CPU sees what the device wrote.
    pub(crate) fn sync_for_cpu(&self, start: usize, end: usize) {
        self.sync(start, end, bindings::__dma_sync_single_for_cpu);
    }

    /// Hands the bytes from `start` to `end` to the device: after it, the device sees what the CPU
    /// stored.
    pub(crate) fn sync_for_device(&self, start: usize, end: usize) {
        self.sync(start, end, bindings::__dma_sync_single_for_device);
    }

    fn sync(&self, start: usize, end: usize, sync: SyncSingle) {
        let mut at = start;
        while at < end {
            // Taken anew for each piece, so that a page fault waits for no more than one.
            let state = self.state.lock();
            let Some(mapped) = state.mapped.as_ref().filter(|mapped| mapped.needs_sync) else {
                return;
            };
            let after = state.pieces.partition_point(|piece| piece.offset <= at);
            let Some(piece) = after.checked_sub(1).map(|index| &state.pieces[index]) else {
                return;
            };
            let within = at - piece.offset;
            if within >= piece.len {
                return;
            }
            let len = (piece.len - within).min(end - at);
            // SAFETY: The piece is mapped for this device and direction, and the bytes are in it.
            unsafe {
                let address = piece.address + within as bindings::dma_addr_t;
                sync(raw(&self.device), address, len, mapped.direction.raw());
            }
            at += len;
        }
    }

    /// Calls `f` with the pieces of a mapped table: where a segment of memory ends or one of the
    /// device's, a piece ends.
    fn each_piece(&self, mut f: impl FnMut(Piece)) {
        // SAFETY: The table is allocated.
        let (mut memory, segments) =
            unsafe { ((*self.table.get()).sgl, (*self.table.get()).nents) };
        let mut seen = memory;
        let (mut offset, mut memory_at, mut seen_at) = (0, 0, 0);
        let mut segments_left = segments;
        while segments_left > 0 && !memory.is_null() {
            // SAFETY: Both are entries of the table: the first is advanced until it is null, the second
            // not further than there are segments.
            unsafe {
                let memory_left = (*memory).length as usize - memory_at;
                let seen_left = bindings::sg_dma_len(seen) as usize - seen_at;
                let len = memory_left.min(seen_left);
                let address = bindings::sg_dma_address(seen) + seen_at as bindings::dma_addr_t;
                f(Piece {
                    offset,
                    len,
                    address,
                });
                offset += len;
                memory_at += len;
                seen_at += len;
                if len == memory_left {
                    memory = bindings::sg_next(memory);
                    memory_at = 0;
                }
                if len == seen_left {
                    seen = bindings::sg_next(seen);
                    seen_at = 0;
                    segments_left -= 1;
                }
            }
        }
    }

    pub(super) fn as_raw(&self) -> *mut bindings::sg_table {
        self.table.get()
    }
}

#[pinned_drop]
impl PinnedDrop for Table {
    fn drop(self: Pin<&mut Self>) {
        self.unmap(AtUnmap::SyncAll);
        // SAFETY: By the invariants it is allocated; it is not mapped any more.
        unsafe { bindings::sg_free_table(self.table.get()) };
    }
}

type SyncSingle = unsafe extern "C" fn(
    *mut bindings::device,
    bindings::dma_addr_t,
    usize,
    bindings::dma_data_direction,
);

fn raw(device: &Device) -> *mut bindings::device {
    // A `Device` is a `struct device`, by `repr(transparent)`.
    core::ptr::from_ref(device)
        .cast::<bindings::device>()
        .cast_mut()
}
