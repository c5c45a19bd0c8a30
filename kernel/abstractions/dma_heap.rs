// SPDX-License-Identifier: GPL-2.0

//! Heaps: nodes in `/dev/dma_heap` from which programs allocate buffers.
//!
//! C header: `include/linux/dma-heap.h`, which the kernel's bindings leave out.

use core::ffi::c_void;

use kernel::bindings;
use kernel::error::from_err_ptr;
use kernel::prelude::*;
use kernel::ModuleMetadata;

use super::dma_buf::Owned;

/// `struct dma_heap`, which only the kernel looks into.
#[repr(C)]
struct RawHeap {
    _opaque: [u8; 0],
}

/// `struct dma_heap_ops`.
#[repr(C)]
struct RawOps {
    allocate: unsafe extern "C" fn(*mut RawHeap, c_ulong, u32, u64) -> *mut bindings::dma_buf,
}

/// `struct dma_heap_export_info`.
#[repr(C)]
struct RawExportInfo {
    name: *const c_char,
    ops: *const RawOps,
    priv_: *mut c_void,
}

// Structs of the kernel are told by their size in its bindings, and some of them have none.
#[allow(improper_ctypes)]
extern "C" {
    fn dma_heap_add(info: *const RawExportInfo) -> *mut RawHeap;
    fn dma_heap_get_drvdata(heap: *mut RawHeap) -> *mut c_void;
}

/// What buffers are allocated from.
pub(crate) trait Heap: Send + Sync + 'static {
    /// The node's name.
    fn name(&self) -> &'static CStr;

    /// Allocates a buffer of `len` bytes, which the kernel has rounded up to whole pages and which is
    /// not zero. `flags` are those of `open(2)` that heaps accept: an access mode and `O_CLOEXEC`.
    fn allocate(&self, len: usize, flags: u32) -> Result<Owned>;
}

/// What a module's `init` returns, as it is: makes what `init` makes, and if that succeeds, makes
/// `/dev/dma_heap/NAME` of each heap. A heap that cannot be added is told in the kernel's log.
///
/// The kernel knows no way to remove a heap, so with the first of them this module stays loaded; and
/// nothing that could fail comes after it, since a module whose initialisation fails is freed whoever
/// refers to it.
pub(crate) fn init_and_add<T, H: Heap>(
    init: impl PinInit<T, Error>,
    heaps: KVec<KBox<H>>,
) -> impl PinInit<T, Error> {
    init.pin_chain(move |_| {
        for heap in heaps {
            let name = heap.name();
            if let Err(error) = add(heap) {
                pr_err!("heap {}: {:?}\n", name, error);
            }
        }
        Ok(())
    })
}

fn add<H: Heap>(heap: KBox<H>) -> Result {
    let heap = KBox::into_raw(heap);
    let info = RawExportInfo {
        // SAFETY: The pointer was just made, and nobody else has it.
        name: unsafe { &*heap }.name().as_char_ptr(),
        ops: const {
            &RawOps {
                allocate: allocate::<H>,
            }
        },
        priv_: heap.cast(),
    };
    // SAFETY: Name and operations are static, in a module that stays loaded: see `init_and_add`. So does
    // the heap, unless this fails.
    if let Err(error) = from_err_ptr(unsafe { dma_heap_add(&info) }) {
        // SAFETY: The kernel did not take it.
        drop(unsafe { KBox::from_raw(heap) });
        return Err(error);
    }
    // SAFETY: The module is being loaded, so it is there. This reference is never given back.
    unsafe { bindings::__module_get(crate::LocalModule::THIS_MODULE.as_ptr()) };
    Ok(())
}

/// # Safety
///
/// A heap that [`add`] made of an `H`.
unsafe extern "C" fn allocate<H: Heap>(
    heap: *mut RawHeap,
    len: c_ulong,
    fd_flags: u32,
    _heap_flags: u64,
) -> *mut bindings::dma_buf {
    // SAFETY: The kernel gives a heap that `add` made of an `H`, which it keeps.
    let heap = unsafe { &*dma_heap_get_drvdata(heap).cast::<H>() };
    match heap.allocate(len, fd_flags) {
        Ok(buffer) => buffer.into_raw(),
        Err(error) => error.to_ptr(),
    }
}
