// SPDX-License-Identifier: GPL-2.0

//! Mappings of a buffer into processes, and their page faults.
//!
//! There are two kinds. One shows the memory from the start; nobody hears of accesses to it. The
//! other shows a page when it is touched, so that the exporter knows which are: it begins read-only,
//! and the first store to a page faults again (`pfn_mkwrite`). Every dma-buf has an inode of its own,
//! so its pages are taken out of all processes at once: [`DmaBuf::shoot_down`].

use core::ops::Range;

use kernel::bindings;
use kernel::mm::virt::VmaNew;
use kernel::mm::Mm;
use kernel::page::{PAGE_SHIFT, PAGE_SIZE};
use kernel::prelude::*;

use super::dma_buf::{CpuAccess, DmaBuf, Exporter};
use super::pages::Pages;

/// What the exporter of a buffer hears of its mappings.
pub(crate) trait Mapped: Exporter {
    /// A page of a mapping that shows pages when they are touched was touched. Whoever answers shows
    /// at least that page, by way of `fault`, or says why not.
    fn fault(buffer: &DmaBuf<Self>, fault: &Fault<'_>) -> Answer;

    /// A mapping goes, or a part of it: by `munmap(2)`, or because the process ends.
    fn unmapped(buffer: &DmaBuf<Self>, mm: &Mm);
}

/// How a page fault is answered.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The page is mapped.
    Shown,
    /// There is no memory for page tables.
    OutOfMemory,
    /// The process gets SIGBUS, and a system call EFAULT.
    Bus,
}

impl Answer {
    fn raw(self) -> bindings::vm_fault_t {
        match self {
            Answer::Shown => bindings::vm_fault_reason_VM_FAULT_NOPAGE,
            Answer::OutOfMemory => bindings::vm_fault_reason_VM_FAULT_OOM,
            Answer::Bus => bindings::vm_fault_reason_VM_FAULT_SIGBUS,
        }
    }

    fn from_raw(raw: bindings::vm_fault_t) -> Self {
        if raw & bindings::vm_fault_reason_VM_FAULT_OOM != 0 {
            Answer::OutOfMemory
        } else if raw == bindings::vm_fault_reason_VM_FAULT_NOPAGE {
            Answer::Shown
        } else {
            Answer::Bus
        }
    }
}

/// A mapping that is being made, of a buffer that can be mapped.
pub(crate) struct NewMapping<'a, T: Exporter> {
    buffer: &'a DmaBuf<T>,
    pages: &'a Pages,
    vma: &'a VmaNew,
}

impl<'a, T: CpuAccess + Mapped> NewMapping<'a, T> {
    /// `None` if the buffer has no memory for the CPU.
    pub(super) fn new(buffer: &'a DmaBuf<T>, vma: &'a VmaNew) -> Option<Self> {
        Some(NewMapping {
            buffer,
            pages: buffer.cpu_pages()?,
            vma,
        })
    }

    /// The buffer that is mapped.
    pub(crate) fn buffer(&self) -> &'a DmaBuf<T> {
        self.buffer
    }

    /// Shows all of its memory now. `EINVAL` for a private mapping, as mainline's heaps answer.
    pub(crate) fn show_all(self) -> Result {
        self.prepare(0)?;
        let vma = self.vma.as_ptr();
        // SAFETY: The area is being set up, and nobody else sees it yet.
        let (start, end, first, prot) = unsafe {
            let area = &*vma;
            (
                self.vma.start(),
                self.vma.end(),
                area.vm_pgoff,
                area.vm_page_prot,
            )
        };
        let mut address = start;
        while address < end {
            let index = first + ((address - start) >> PAGE_SHIFT);
            let (page, count) = self.pages.run(index).ok_or(EINVAL)?;
            let len = (count << PAGE_SHIFT).min(end - address);
            // SAFETY: The area is being set up, and the pages stay as long as it, since it keeps the
            // buffer's file open.
            kernel::error::to_result(unsafe {
                bindings::remap_pfn_range(vma, address, pfn(page), len, prot)
            })?;
            address += len;
        }
        self.finish(&Operations::<T>::QUIET);
        Ok(())
    }

    /// Shows pages when they are touched. `EINVAL` for a private mapping.
    pub(crate) fn show_on_fault(self) -> Result {
        // A child does not get a copy of the page tables, unless the program asks for that by
        // `MADV_KEEPONFORK`: what it touches faults as well.
        self.prepare(bindings::VM_PFNMAP | bindings::VM_WIPEONFORK)?;
        self.finish(&Operations::<T>::FAULTING);
        Ok(())
    }

    fn prepare(&self, flags: bindings::vm_flags_t) -> Result {
        if self.vma.flags() & bindings::VM_MAYSHARE == 0 {
            return Err(EINVAL);
        }
        self.vma.set_dontexpand();
        self.vma.set_dontdump();
        // SAFETY: The area is being set up, so its flags may change. `VM_PFNMAP` holds since it maps no
        // page yet and will map only page frame numbers; children then fault like their parents.
        unsafe { (*self.vma.as_ptr()).__bindgen_anon_2.vm_flags |= flags };
        Ok(())
    }

    fn finish(self, operations: &'static bindings::vm_operations_struct) {
        // SAFETY: The area is being set up. It keeps the buffer's file open, so the pointer stays good
        // as long as the operations can be called.
        unsafe {
            (*self.vma.as_ptr()).vm_ops = operations;
            (*self.vma.as_ptr()).vm_private_data = self.buffer.as_raw().cast();
        }
    }
}

/// A page fault in a mapping made by [`NewMapping::show_on_fault`].
///
/// # Invariants
///
/// `fault` is being handled by this thread, of an area of a buffer with these `pages`.
pub(crate) struct Fault<'a> {
    fault: *mut bindings::vm_fault,
    pages: &'a Pages,
    stores: bool,
}

impl Fault<'_> {
    fn area(&self) -> &bindings::vm_area_struct {
        // SAFETY: By the invariants the area is locked against changes.
        unsafe { &*(*self.fault).__bindgen_anon_1.vma }
    }

    /// The page of the buffer that is touched.
    pub(crate) fn page(&self) -> usize {
        // SAFETY: By the invariants the fault is valid.
        unsafe { (*self.fault).__bindgen_anon_1.pgoff }
    }

    /// Whether it is a store.
    pub(crate) fn stores(&self) -> bool {
        self.stores
    }

    /// The pages of the buffer that this mapping shows.
    pub(crate) fn mapped(&self) -> Range<usize> {
        let area = self.area();
        // SAFETY: These two are always a part of the union.
        let (start, end) = unsafe {
            let bounds = &area.__bindgen_anon_1.__bindgen_anon_1;
            (bounds.vm_start, bounds.vm_end)
        };
        area.vm_pgoff..area.vm_pgoff + ((end - start) >> PAGE_SHIFT)
    }

    /// Whose it is.
    pub(crate) fn mm(&self) -> &Mm {
        // SAFETY: An area's address space is alive while one of its faults is handled.
        unsafe { Mm::from_raw(self.area().vm_mm) }
    }

    /// Shows `page` for loads; the first store faults again. What is shown already stays.
    pub(crate) fn show(&self, page: usize) -> Answer {
        self.insert(page, self.area().vm_page_prot)
    }

    /// Shows `pages` for stores too, if the program mapped them so. The page that is touched is one of
    /// them.
    pub(crate) fn show_writable(&self, pages: Range<usize>) -> Answer {
        let area = core::ptr::from_ref(self.area()).cast_mut();
        let Some(end) = pages.end.checked_sub(1) else {
            return Answer::Bus;
        };
        // A page that is shown for loads has to go first, or its entry would stay as it is.
        if let (Some(first), Some(last)) = (self.address(pages.start), self.address(end)) {
            // SAFETY: The area maps page frame numbers only, and the addresses are in it.
            unsafe {
                bindings::zap_special_vma_range(area, first, last.saturating_sub(first) + PAGE_SIZE)
            };
        }
        // SAFETY: The call has no requirements, and the flags are always a part of the union.
        let prot = unsafe { bindings::vm_get_page_prot((*area).__bindgen_anon_2.vm_flags) };
        let touched = self.insert(self.page(), prot);
        if touched == Answer::Shown {
            for page in pages.filter(|&page| page != self.page()) {
                if self.insert(page, prot) != Answer::Shown {
                    // It will fault when it is touched.
                    break;
                }
            }
        }
        touched
    }

    fn address(&self, page: usize) -> Option<usize> {
        let mapped = self.mapped();
        // SAFETY: This is always a part of the union.
        let start = unsafe { self.area().__bindgen_anon_1.__bindgen_anon_1.vm_start };
        mapped
            .contains(&page)
            .then(|| start + ((page - mapped.start) << PAGE_SHIFT))
    }

    fn insert(&self, page: usize, prot: bindings::pgprot_t) -> Answer {
        let (Some(address), Some((memory, _))) = (self.address(page), self.pages.run(page)) else {
            return Answer::Bus;
        };
        let area = core::ptr::from_ref(self.area()).cast_mut();
        // SAFETY: The area maps page frame numbers only, the address is in it, and the page stays as
        // long as the area, which keeps the buffer's file open.
        Answer::from_raw(unsafe { bindings::vmf_insert_pfn_prot(area, address, pfn(memory), prot) })
    }
}

struct Operations<T>(core::marker::PhantomData<T>);

impl<T: CpuAccess + Mapped> Operations<T> {
    const QUIET: bindings::vm_operations_struct = bindings::vm_operations_struct {
        close: Some(Self::close),
        ..pin_init::zeroed()
    };

    const FAULTING: bindings::vm_operations_struct = bindings::vm_operations_struct {
        close: Some(Self::close),
        fault: Some(Self::fault),
        // That it is there lets faults be handled under the lock of their area alone, see
        // `vmf_can_call_fault`; otherwise they would be tried twice.
        map_pages: Some(Self::map_pages),
        pfn_mkwrite: Some(Self::pfn_mkwrite),
        ..pin_init::zeroed()
    };

    /// # Safety
    ///
    /// `vma` must be an area that [`NewMapping`] set up for a buffer of `T`.
    unsafe fn buffer<'a>(vma: *mut bindings::vm_area_struct) -> &'a DmaBuf<T> {
        // SAFETY: `finish` stored it there, and the area keeps the buffer's file open.
        unsafe { DmaBuf::from_raw((*vma).vm_private_data.cast()) }
    }

    /// # Safety
    ///
    /// An area with these operations.
    unsafe extern "C" fn close(vma: *mut bindings::vm_area_struct) {
        // SAFETY: The kernel calls it for areas that have these operations.
        let buffer = unsafe { Self::buffer(vma) };
        // SAFETY: An area's address space struct is alive while the area is.
        T::unmapped(buffer, unsafe { Mm::from_raw((*vma).vm_mm) });
    }

    /// # Safety
    ///
    /// Nothing is asked.
    unsafe extern "C" fn map_pages(
        _: *mut bindings::vm_fault,
        _: c_ulong,
        _: c_ulong,
    ) -> bindings::vm_fault_t {
        0
    }

    /// # Safety
    ///
    /// A fault that this thread handles, of an area with these operations.
    unsafe extern "C" fn fault(fault: *mut bindings::vm_fault) -> bindings::vm_fault_t {
        // SAFETY: The kernel gives a fault that this thread handles.
        let stores = unsafe { (*fault).flags } & bindings::fault_flag_FAULT_FLAG_WRITE != 0;
        // SAFETY: As above.
        unsafe { Self::answer(fault, stores) }
    }

    /// # Safety
    ///
    /// A fault that this thread handles, of an area with these operations.
    unsafe extern "C" fn pfn_mkwrite(fault: *mut bindings::vm_fault) -> bindings::vm_fault_t {
        // SAFETY: The kernel gives a fault that this thread handles.
        unsafe { Self::answer(fault, true) }
    }

    /// # Safety
    ///
    /// `fault` must be one that this thread handles, of an area with these operations.
    unsafe fn answer(fault: *mut bindings::vm_fault, stores: bool) -> bindings::vm_fault_t {
        // SAFETY: By the caller's promise.
        let buffer = unsafe { Self::buffer((*fault).__bindgen_anon_1.vma) };
        let Some(pages) = buffer.cpu_pages() else {
            return Answer::Bus.raw();
        };
        // INVARIANT: By the caller's promise; the pages are those of the buffer.
        T::fault(
            buffer,
            &Fault {
                fault,
                pages,
                stores,
            },
        )
        .raw()
    }
}

/// A page's frame number: `page_to_pfn`, a macro, as it is on x86-64 with the memory map in one piece.
fn pfn(page: *mut bindings::page) -> usize {
    const { assert!(cfg!(CONFIG_X86_64) && cfg!(CONFIG_SPARSEMEM_VMEMMAP)) };
    // SAFETY: The kernel sets it at boot and never again.
    let first = unsafe { bindings::vmemmap_base };
    (page as usize - first) / size_of::<bindings::page>()
}
