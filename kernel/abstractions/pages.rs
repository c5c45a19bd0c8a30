// SPDX-License-Identifier: GPL-2.0

//! The memory of a buffer.

use core::ffi::c_void;
use core::ptr::NonNull;
use core::slice;

use kernel::bindings;
use kernel::page::{PAGE_SHIFT, PAGE_SIZE};
use kernel::prelude::*;
use kernel::sync::{Arc, UniqueArc};

use super::mm;

/// The orders that are tried, the largest first: 1 MiB, 64 KiB and a page, which suit IOMMUs. The
/// same as in mainline's system heap.
const ORDERS: [u32; 3] = [8, 4, 0];

const GFP: bindings::gfp_t =
    bindings::GFP_KERNEL | bindings::__GFP_ZERO | 1 << bindings::___GFP_HARDWALL_BIT;

/// For large pages nobody is made to wait: smaller ones do as well.
const GFP_LARGE: bindings::gfp_t = (GFP
    & !(1 << bindings::___GFP_DIRECT_RECLAIM_BIT | 1 << bindings::___GFP_KSWAPD_RECLAIM_BIT))
    | bindings::__GFP_NOWARN
    | 1 << bindings::___GFP_NORETRY_BIT
    | 1 << bindings::___GFP_COMP_BIT;

// Structs of the kernel are told by their size in its bindings, and some of them have none.
#[allow(improper_ctypes)]
extern "C" {
    /// Whether the memory of heaps is charged to the cgroup of who allocates it: the parameter
    /// `dma_heap.mem_accounting`, which is set at boot and never changes.
    static mem_accounting: bool;

    // As `vmap`, with `PAGE_KERNEL`, which the bindings leave out.
    fn vm_map_ram(pages: *mut *mut bindings::page, count: c_uint, node: c_int) -> *mut c_void;
    fn vm_unmap_ram(address: *const c_void, count: c_uint);
}

/// Physically contiguous pages.
#[derive(Clone, Copy)]
pub(super) struct Chunk {
    page: NonNull<bindings::page>,
    order: u32,
    /// The index of its first page in the buffer.
    first: usize,
}

impl Chunk {
    pub(super) fn page(&self) -> *mut bindings::page {
        self.page.as_ptr()
    }

    /// Bytes.
    pub(super) fn len(&self) -> usize {
        PAGE_SIZE << self.order
    }
}

/// Chunks, one behind the other. A buffer of one needs no list, which would cost a small one the most.
enum Chunks {
    None,
    One(Chunk),
    Many(KVVec<Chunk>),
}

impl Chunks {
    fn push(&mut self, chunk: Chunk) -> Result {
        match self {
            Chunks::None => *self = Chunks::One(chunk),
            Chunks::One(first) => {
                let mut many = KVVec::with_capacity(2, GFP_KERNEL)?;
                many.extend_from_slice(&[*first, chunk], GFP_KERNEL)?;
                *self = Chunks::Many(many);
            }
            Chunks::Many(many) => many.push(chunk, GFP_KERNEL)?,
        }
        Ok(())
    }

    fn as_slice(&self) -> &[Chunk] {
        match self {
            Chunks::None => &[],
            Chunks::One(chunk) => slice::from_ref(chunk),
            Chunks::Many(many) => many,
        }
    }
}

/// Memory that was zero when it was allocated and stays where it is until it is dropped.
///
/// Programs and devices may write it at any time, so there are no references to its bytes.
///
/// # Invariants
///
/// The chunks are allocated pages of their orders, which nobody else frees. They lie one behind the
/// other in the buffer, and there is at least one.
pub(crate) struct Pages {
    chunks: Chunks,
    count: usize,
}

// SAFETY: Pages belong to no thread.
unsafe impl Send for Pages {}
// SAFETY: Through a shared reference pages are mapped and copied, which any number of threads may do.
unsafe impl Sync for Pages {}

impl Pages {
    /// Allocates `size` bytes, which is a multiple of the page size and not zero.
    ///
    /// `ENOMEM` if there is not as much; `EINTR` if the process is being killed meanwhile.
    pub(crate) fn new(size: usize) -> Result<Arc<Self>> {
        if size == 0 || size % PAGE_SIZE != 0 {
            return Err(EINVAL);
        }
        if size >> PAGE_SHIFT > mm::machine_pages() {
            // There is no need to let the OOM killer find out.
            return Err(ENOMEM);
        }
        // SAFETY: The kernel defines it, and it does not change after boot.
        let account = if unsafe { mem_accounting } {
            1 << bindings::___GFP_ACCOUNT_BIT
        } else {
            0
        };
        let count = size >> PAGE_SHIFT;
        let mut pages = UniqueArc::new(
            Pages {
                chunks: Chunks::None,
                count: 0,
            },
            GFP_KERNEL,
        )?;
        let mut orders = ORDERS.as_slice();
        while pages.count < count {
            if mm::is_being_killed() {
                return Err(EINTR);
            }
            let chunk = loop {
                let &[order, ref smaller @ ..] = orders else {
                    return Err(ENOMEM);
                };
                if 1 << order <= count - pages.count {
                    let gfp = if order == 0 { GFP } else { GFP_LARGE } | account;
                    // SAFETY: The call has no requirements.
                    let page = unsafe { bindings::alloc_pages_noprof(gfp, order) };
                    if let Some(page) = NonNull::new(page) {
                        let first = pages.count;
                        break Chunk { page, order, first };
                    }
                }
                // Neither what is more than is left nor what was not to be had is asked for again.
                orders = smaller;
            };
            if let Err(error) = pages.chunks.push(chunk) {
                // SAFETY: The chunk was allocated above, and nobody has seen it.
                unsafe { bindings::__free_pages(chunk.page(), chunk.order) };
                return Err(error);
            }
            pages.count += 1 << chunk.order;
        }
        Ok(pages.into())
    }

    /// How many pages there are.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    pub(super) fn chunks(&self) -> &[Chunk] {
        self.chunks.as_slice()
    }

    /// The chunk that page `index` is in, and how far in it.
    fn find(&self, index: usize) -> Option<(&Chunk, usize)> {
        let chunks = self.chunks();
        let after = chunks.partition_point(|chunk| chunk.first <= index);
        let chunk = &chunks[after.checked_sub(1)?];
        (index < self.count).then_some((chunk, index - chunk.first))
    }

    /// The page with this index, and as many behind it as are physically contiguous with it.
    pub(super) fn run(&self, index: usize) -> Option<(*mut bindings::page, usize)> {
        let (chunk, within) = self.find(index)?;
        // The pages of a chunk are next to each other in the memory map too.
        Some((
            chunk.page().wrapping_add(within),
            (1 << chunk.order) - within,
        ))
    }

    /// Copies the bytes from `start` to `end` of `other`, which has the same size.
    ///
    /// Bytes that somebody stores to meanwhile come out as they were before or after, or torn.
    pub(crate) fn copy_from(&self, other: &Pages, start: usize, end: usize) {
        let mut at = start;
        while at < end {
            let index = at >> PAGE_SHIFT;
            let within = at % PAGE_SIZE;
            let len = (PAGE_SIZE - within).min(end - at);
            let (Some((to, _)), Some((from, _))) = (self.run(index), other.run(index)) else {
                return;
            };
            // SAFETY: Both are pages of `self` and `other`, and mapped until the unmappings, which are
            // in the reverse order of the mappings. The bytes are within one page of each, which may be
            // the same. The copy is made by a function that the compiler does not see into, so others
            // may store meanwhile.
            unsafe {
                let to = bindings::kmap_local_page(to).cast::<u8>();
                let from = bindings::kmap_local_page(from).cast::<u8>();
                bindings::memmove(to.add(within).cast(), from.add(within).cast(), len);
                bindings::kunmap_local(from.cast());
                bindings::kunmap_local(to.cast());
            }
            at += len;
        }
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        for chunk in self.chunks() {
            // SAFETY: By the invariants the pages are ours, and whatever showed them to others holds a
            // reference to `self`.
            unsafe { bindings::__free_pages(chunk.page(), chunk.order) };
        }
    }
}

/// Pages in the kernel's own address space, for drivers that access them by CPU.
///
/// # Invariants
///
/// `address` is that of all `pages`, mapped one behind the other.
pub(crate) struct KernelMapping {
    address: NonNull<c_void>,
    pages: Arc<Pages>,
}

// SAFETY: The mapping belongs to no thread.
unsafe impl Send for KernelMapping {}

impl KernelMapping {
    /// Maps all of `pages`.
    pub(crate) fn new(pages: Arc<Pages>) -> Result<Self> {
        let mut list = KVVec::with_capacity(pages.count, GFP_KERNEL)?;
        for chunk in pages.chunks() {
            for within in 0..1 << chunk.order {
                list.push(chunk.page().wrapping_add(within), GFP_KERNEL)?;
            }
        }
        let count = c_uint::try_from(pages.count)?;
        // SAFETY: The list holds `count` pages, which live as long as the mapping, by its reference.
        let address = unsafe { vm_map_ram(list.as_mut_ptr(), count, bindings::NUMA_NO_NODE) };
        let address = NonNull::new(address).ok_or(ENOMEM)?;
        // INVARIANT: It was just mapped.
        Ok(KernelMapping { address, pages })
    }

    /// Where it is.
    pub(crate) fn address(&self) -> NonNull<c_void> {
        self.address
    }
}

impl Drop for KernelMapping {
    fn drop(&mut self) {
        // SAFETY: By the invariants it is a mapping of as many pages. Who was given the address has
        // given it back.
        unsafe { vm_unmap_ram(self.address.as_ptr(), self.pages.count as c_uint) };
    }
}
