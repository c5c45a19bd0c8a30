// SPDX-License-Identifier: GPL-2.0

//! Exporters of dma-bufs.
//!
//! C header: `include/linux/dma-buf.h`.
//!
//! An exporter implements [`Exporter`], and says in a type whether the CPU can access its memory:
//! with [`NoCpuAccess`] `mmap(2)` fails, with [`Bracketed`] the exporter has to implement
//! [`CpuAccess`], in which mmap, begin and end come together. An exporter that offers mmap and has no
//! begin or no end does not compile.
//!
//! # Examples
//!
//! ```ignore
//! impl Exporter for Frames {
//!     type Cpu = NoCpuAccess;
//!     type Attachment = Table;
//!
//!     fn name(&self) -> &'static CStr { c"frames" }
//!     fn attach(buffer: &DmaBuf<Self>, device: &Device) -> Result<Arc<Table>> {
//!         Table::new(buffer.memory.clone(), device)
//!     }
//!     fn map<'a>(_: &DmaBuf<Self>, table: &'a Table, direction: Direction) -> Result<&'a Table> {
//!         table.map(direction)?;
//!         Ok(table)
//!     }
//!     fn unmap(_: &DmaBuf<Self>, table: &Table) { table.unmap(AtUnmap::SyncAll) }
//!     // …
//! }
//!
//! let buffer = dma_buf::export(frames, None, size, flags)?;
//! ```

use core::any::TypeId;
use core::marker::PhantomData;
use core::ops::Deref;
use core::ptr::NonNull;

use kernel::bindings;
use kernel::device::Device;
use kernel::error::{from_err_ptr, from_result};
use kernel::fs::File;
use kernel::mm::virt::VmaNew;
use kernel::page::{PAGE_SHIFT, PAGE_SIZE};
use kernel::prelude::*;
use kernel::sync::aref::ARef;
use kernel::sync::{new_mutex, Arc, Mutex};
use kernel::types::{ForeignOwnable, Opaque};
use kernel::ModuleMetadata;

use super::pages::{KernelMapping, Pages};
use super::sg::{Direction, Table};
use super::vma::{Mapped, NewMapping};

/// The bytes of a buffer's name, its NUL included: `DMA_BUF_NAME_LEN`.
pub(crate) const NAME_LEN: usize = 32;

/// The owner of a buffer's memory: `struct dma_buf_ops`.
///
/// All functions may sleep. `map` and `unmap` are called with the buffer's reservation lock held.
pub(crate) trait Exporter: Send + Sync + Sized + 'static {
    /// Whether the CPU can access the memory: [`NoCpuAccess`] or [`Bracketed`].
    type Cpu: CpuMode<Self>;

    /// What is kept for each device that is attached.
    type Attachment: Send + Sync;

    /// The exporter's name, which `/proc/PID/fdinfo` shows as `exp_name`.
    fn name(&self) -> &'static CStr;

    /// A device wants to use the buffer.
    fn attach(buffer: &DmaBuf<Self>, device: &Device) -> Result<Arc<Self::Attachment>>;

    /// It does not any more. It has unmapped what it mapped.
    fn detach(buffer: &DmaBuf<Self>, attachment: &Arc<Self::Attachment>);

    /// Maps the memory for an attached device; what comes back is mapped.
    fn map<'a>(
        buffer: &DmaBuf<Self>,
        attachment: &'a Self::Attachment,
        direction: Direction,
    ) -> Result<&'a Table>;

    /// Unmaps it.
    fn unmap(buffer: &DmaBuf<Self>, attachment: &Self::Attachment);

    /// The memory that an importer gets who accesses it by CPU, mapped into the kernel's address space.
    fn vmap(buffer: &DmaBuf<Self>) -> &Arc<Pages>;
}

/// CPU access to an exporter's memory. Whoever offers the first of these offers all three.
pub(crate) trait CpuAccess: Mapped {
    /// Maps the memory into a process.
    fn mmap(mapping: NewMapping<'_, Self>) -> Result;

    /// A bracket begins over the whole buffer; the direction is what the CPU's access would be as a
    /// transfer: [`Direction::FromDevice`] for loads.
    fn begin_cpu_access(buffer: &DmaBuf<Self>, direction: Direction) -> Result;

    /// It ends.
    fn end_cpu_access(buffer: &DmaBuf<Self>, direction: Direction) -> Result;
}

/// [`NoCpuAccess`] or [`Bracketed`].
pub(crate) trait CpuMode<T>: sealed::Sealed {
    /// The operations that differ.
    const OPS: bindings::dma_buf_ops;
}

/// The memory cannot be mapped: only devices reach it.
pub(crate) enum NoCpuAccess {}

/// The memory can be mapped, and accesses are bracketed.
pub(crate) enum Bracketed {}

impl<T: Exporter> CpuMode<T> for NoCpuAccess {
    const OPS: bindings::dma_buf_ops = pin_init::zeroed();
}

impl<T: CpuAccess> CpuMode<T> for Bracketed {
    const OPS: bindings::dma_buf_ops = bindings::dma_buf_ops {
        begin_cpu_access: Some(callback::begin_cpu_access::<T>),
        end_cpu_access: Some(callback::end_cpu_access::<T>),
        mmap: Some(callback::mmap::<T>),
        ..pin_init::zeroed()
    };
}

mod sealed {
    pub(crate) trait Sealed {}
    impl Sealed for super::NoCpuAccess {}
    impl Sealed for super::Bracketed {}
}

/// The table of operations of one exporter.
struct Ops<T>(PhantomData<T>);

impl<T: Exporter> Ops<T> {
    const TABLE: bindings::dma_buf_ops = bindings::dma_buf_ops {
        attach: Some(callback::attach::<T>),
        detach: Some(callback::detach::<T>),
        map_dma_buf: Some(callback::map::<T>),
        unmap_dma_buf: Some(callback::unmap::<T>),
        release: Some(callback::release::<T>),
        vmap: Some(callback::vmap::<T>),
        vunmap: Some(callback::vunmap::<T>),
        ..T::Cpu::OPS
    };
}

/// What the `priv` of every buffer of this module points to.
#[pin_data]
#[repr(C)]
struct Private<T> {
    /// First, so that it can be read before it is known what the rest is.
    exporter_type: TypeId,
    cpu_pages: Option<Arc<Pages>>,
    /// While an importer accesses the memory by CPU.
    #[pin]
    vmap: Mutex<Option<KernelMapping>>,
    #[pin]
    exporter: T,
}

/// A buffer exported by a `T`: `struct dma_buf`.
///
/// # Invariants
///
/// Its operations are those of `T`, its private data is a [`Private<T>`], and [`export`] made it.
#[repr(transparent)]
pub(crate) struct DmaBuf<T>(Opaque<bindings::dma_buf>, PhantomData<T>);

impl<T: Exporter> DmaBuf<T> {
    /// # Safety
    ///
    /// `raw` must be a buffer that [`export`] made for a `T`, and live as long as `'a`.
    pub(super) unsafe fn from_raw<'a>(raw: *mut bindings::dma_buf) -> &'a Self {
        // SAFETY: By the caller's promise; the type is transparent.
        unsafe { &*raw.cast() }
    }

    pub(super) fn as_raw(&self) -> *mut bindings::dma_buf {
        self.0.get()
    }

    fn private(&self) -> &Private<T> {
        // SAFETY: By the invariants, and it is freed only after the last reference to the buffer.
        unsafe { &*(*self.as_raw()).priv_.cast() }
    }

    /// The memory that the CPU accesses, if it can. The same for the buffer's lifetime.
    pub(crate) fn cpu_pages(&self) -> Option<&Arc<Pages>> {
        self.private().cpu_pages.as_ref()
    }

    /// Whether an importer has it mapped into the kernel's address space, where no page fault tells what
    /// it accesses.
    pub(crate) fn is_vmapped(&self) -> bool {
        self.private().vmap.lock().is_some()
    }

    /// Bytes; never changes.
    pub(crate) fn size(&self) -> usize {
        // SAFETY: The buffer is alive, and the field never changes.
        unsafe { (*self.as_raw()).size }
    }

    /// The number by which `fstat(2)` tells the buffer from others.
    pub(crate) fn inode(&self) -> u64 {
        // SAFETY: The buffer has its file and inode as long as it lives, and the number never changes.
        unsafe { (*(*(*self.as_raw()).file).f_inode).i_ino }
    }

    /// What `DMA_BUF_SET_NAME` set, then zeroes.
    pub(crate) fn name(&self) -> [u8; NAME_LEN] {
        let mut name = [0; NAME_LEN];
        // SAFETY: The buffer is alive; the name is replaced and freed only with the lock held, and it
        // ends with NUL.
        unsafe {
            let raw = self.as_raw();
            let lock = &raw mut (*raw).name_lock;
            bindings::spin_lock(lock);
            let text = (*raw).name.cast::<u8>();
            let mut index = 0;
            while !text.is_null() && index + 1 < NAME_LEN && *text.add(index) != 0 {
                name[index] = *text.add(index);
                index += 1;
            }
            bindings::spin_unlock(lock);
        }
        name
    }

    /// Waits for the fences of devices: for those that write, or, before a store, for all of them.
    ///
    /// `ERESTARTSYS` when a signal comes first.
    pub(crate) fn wait_for_devices(&self, before_store: bool) -> Result {
        let usage = if before_store {
            bindings::dma_resv_usage_DMA_RESV_USAGE_READ
        } else {
            bindings::dma_resv_usage_DMA_RESV_USAGE_WRITE
        };
        // SAFETY: The buffer has its reservation object as long as it lives. Others may give it fences
        // meanwhile, which is why the load is volatile; what it leads to is not looked at.
        let left = unsafe {
            let resv = (*self.as_raw()).resv;
            if (&raw const (*resv).fences).read_volatile().is_null() {
                // There has never been one.
                return Ok(());
            }
            bindings::dma_resv_wait_timeout(resv, usage, true, c_long::MAX as c_ulong)
        };
        kernel::error::to_result(left.min(0) as c_int)
    }

    /// Takes the pages of the bytes from `start` to `end` out of every process that has them mapped:
    /// the next access to each faults.
    pub(crate) fn shoot_down(&self, start: usize, end: usize) {
        let start = start & !(PAGE_SIZE - 1);
        let len = end
            .min(self.size())
            .saturating_sub(start)
            .next_multiple_of(PAGE_SIZE);
        if len == 0 {
            // Which would mean all that follows.
            return;
        }
        // SAFETY: The buffer has its file and mapping as long as it lives.
        unsafe {
            let mapping = (*(*self.as_raw()).file).f_mapping;
            bindings::unmap_mapping_range(mapping, start as i64, len as i64, 1);
        }
    }
}

impl<T: Exporter> Deref for DmaBuf<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.private().exporter
    }
}

/// A reference to a buffer of which nobody has to know who exported it.
///
/// # Invariants
///
/// It owns one reference to the buffer.
pub(crate) struct Owned(NonNull<bindings::dma_buf>);

impl Owned {
    /// Gives the reference away.
    pub(super) fn into_raw(self) -> *mut bindings::dma_buf {
        core::mem::ManuallyDrop::new(self).0.as_ptr()
    }

    /// The buffer behind a descriptor: `EBADF` if there is no file, `EINVAL` if it is no dma-buf.
    pub(crate) fn from_fd(fd: i32) -> Result<Self> {
        // SAFETY: The call has no requirements.
        let raw = from_err_ptr(unsafe { bindings::dma_buf_get(fd) })?;
        // INVARIANT: The call took a reference.
        Ok(Owned(NonNull::new(raw).ok_or(EINVAL)?))
    }

    /// The buffer, if a `T` exported it.
    pub(crate) fn exported_by<T: Exporter>(&self) -> Option<&DmaBuf<T>> {
        let this_module = crate::LocalModule::THIS_MODULE.as_ptr();
        // SAFETY: The reference keeps the buffer, and neither its owner nor what its private data is
        // changes. This module makes buffers in `export` alone, so the private data begins with a type.
        let is_ours = unsafe {
            let raw = self.0.as_ptr();
            (*raw).owner == this_module && *(*raw).priv_.cast::<TypeId>() == TypeId::of::<T>()
        };
        // SAFETY: It was made for a `T`, and the reference keeps it.
        is_ours.then(|| unsafe { DmaBuf::from_raw(self.0.as_ptr()) })
    }

    /// Its open file, which is one reference to the buffer.
    pub(crate) fn into_file(self) -> ARef<File> {
        // SAFETY: A reference to a buffer is one to its file, and ours is given away. No descriptor has
        // the file yet, or the other descriptors share its position, which a dma-buf does not have.
        unsafe { ARef::from_raw(NonNull::from(File::from_raw_file((*self.into_raw()).file))) }
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        // SAFETY: By the invariants the reference is ours.
        unsafe { bindings::dma_buf_put(self.0.as_ptr()) };
    }
}

/// Makes a buffer of `size` bytes, which is what `cpu_pages` has, if there are any. `flags` are those
/// of `open(2)`: an access mode and `O_CLOEXEC`.
///
/// Who exports it keeps its module loaded until the buffer is gone.
pub(crate) fn export<T: Exporter>(
    exporter: impl PinInit<T, Error>,
    cpu_pages: Option<Arc<Pages>>,
    size: usize,
    flags: u32,
) -> Result<Owned> {
    if cpu_pages
        .as_ref()
        .is_some_and(|pages| pages.count() << PAGE_SHIFT != size)
    {
        return Err(EINVAL);
    }
    let private = KBox::try_pin_init(
        try_pin_init!(Private {
            exporter_type: TypeId::of::<T>(),
            cpu_pages,
            vmap <- new_mutex!(None),
            exporter <- exporter,
        }),
        GFP_KERNEL,
    )?;
    let info = bindings::dma_buf_export_info {
        exp_name: private.exporter.name().as_char_ptr(),
        owner: crate::LocalModule::THIS_MODULE.as_ptr(),
        ops: const { &Ops::<T>::TABLE },
        size,
        flags: flags as c_int,
        resv: core::ptr::null_mut(),
        priv_: private.into_foreign(),
    };
    // SAFETY: The operations are complete; the name and they are static. The private data is given to
    // the buffer.
    let exported = from_err_ptr(unsafe { bindings::dma_buf_export(&info) });
    match exported.map(NonNull::new) {
        // INVARIANT: The call returned a reference.
        Ok(Some(raw)) => Ok(Owned(raw)),
        failed => {
            // SAFETY: It was made above, and no buffer has it.
            drop(unsafe { <Pin<KBox<Private<T>>>>::from_foreign(info.priv_) });
            Err(failed.err().unwrap_or(ENOMEM))
        }
    }
}

/// What the kernel calls. All of them are only ever in the operations of buffers that [`export`] made
/// for a `T`: what the kernel promises to give is said as their safety.
mod callback {
    use super::*;

    /// # Safety
    ///
    /// `raw` must be an attachment to such a buffer, after [`attach`].
    unsafe fn attachment<'a, T: Exporter>(
        raw: *mut bindings::dma_buf_attachment,
    ) -> (&'a DmaBuf<T>, Arc<T::Attachment>) {
        // SAFETY: By the caller's promise; `attach` stored the pointer.
        unsafe {
            let attachment = <Arc<T::Attachment>>::borrow((*raw).priv_);
            (DmaBuf::from_raw((*raw).dmabuf), attachment.into())
        }
    }

    /// # Safety
    ///
    /// A buffer of a `T`, and an attachment to it that is being made.
    pub(super) unsafe extern "C" fn attach<T: Exporter>(
        buffer: *mut bindings::dma_buf,
        attachment: *mut bindings::dma_buf_attachment,
    ) -> c_int {
        from_result(|| {
            // SAFETY: The kernel gives a buffer of ours, and an attachment of a device that is alive.
            let (buffer, device) = unsafe {
                (
                    DmaBuf::<T>::from_raw(buffer),
                    Device::from_raw((*attachment).dev),
                )
            };
            let private = T::attach(buffer, device)?.into_foreign();
            // SAFETY: The attachment is being made, and this field is the exporter's.
            unsafe { (*attachment).priv_ = private };
            Ok(0)
        })
    }

    /// # Safety
    ///
    /// A buffer of a `T`, and an attachment to it, after [`attach`], for the last time.
    pub(super) unsafe extern "C" fn detach<T: Exporter>(
        buffer: *mut bindings::dma_buf,
        attachment: *mut bindings::dma_buf_attachment,
    ) {
        // SAFETY: The kernel gives a buffer of ours and its attachment, for the last time.
        unsafe {
            let private = <Arc<T::Attachment>>::from_foreign((*attachment).priv_);
            T::detach(DmaBuf::from_raw(buffer), &private);
        }
    }

    /// # Safety
    ///
    /// An attachment to a buffer of a `T`, after [`attach`].
    pub(super) unsafe extern "C" fn map<T: Exporter>(
        raw: *mut bindings::dma_buf_attachment,
        direction: bindings::dma_data_direction,
    ) -> *mut bindings::sg_table {
        // SAFETY: The kernel gives an attachment to a buffer of ours.
        let (buffer, attachment) = unsafe { attachment::<T>(raw) };
        let mapped = Direction::from_raw(direction)
            .ok_or(EINVAL)
            .and_then(|direction| {
                T::map(buffer, &attachment, direction).map(|table| table.as_raw())
            });
        // The table lives in the attachment, of which the kernel has a reference until `detach`.
        mapped.unwrap_or_else(|error| error.to_ptr())
    }

    /// # Safety
    ///
    /// An attachment to a buffer of a `T`, after [`map`].
    pub(super) unsafe extern "C" fn unmap<T: Exporter>(
        raw: *mut bindings::dma_buf_attachment,
        _: *mut bindings::sg_table,
        _: bindings::dma_data_direction,
    ) {
        // SAFETY: The kernel gives an attachment to a buffer of ours.
        let (buffer, attachment) = unsafe { attachment::<T>(raw) };
        T::unmap(buffer, &attachment);
    }

    /// # Safety
    ///
    /// A buffer of a `T`, for the last time.
    pub(super) unsafe extern "C" fn release<T: Exporter>(buffer: *mut bindings::dma_buf) {
        // SAFETY: The kernel gives a buffer of ours for the last time; `export` stored the pointer.
        drop(unsafe { <Pin<KBox<Private<T>>>>::from_foreign((*buffer).priv_) });
    }

    /// # Safety
    ///
    /// A buffer of a `T`, and a map to fill in.
    pub(super) unsafe extern "C" fn vmap<T: Exporter>(
        buffer: *mut bindings::dma_buf,
        map: *mut bindings::iosys_map,
    ) -> c_int {
        from_result(|| {
            // SAFETY: The kernel gives a buffer of ours.
            let buffer = unsafe { DmaBuf::<T>::from_raw(buffer) };
            let mapping = KernelMapping::new(T::vmap(buffer).clone())?;
            let address = mapping.address();
            // The kernel calls it again only after `vunmap`.
            *buffer.private().vmap.lock() = Some(mapping);
            // SAFETY: The kernel gives a map to fill in.
            unsafe {
                (*map).is_iomem = false;
                (*map).__bindgen_anon_1.vaddr = address.as_ptr();
            }
            Ok(0)
        })
    }

    /// # Safety
    ///
    /// A buffer of a `T`, after [`vmap`].
    pub(super) unsafe extern "C" fn vunmap<T: Exporter>(
        buffer: *mut bindings::dma_buf,
        _: *mut bindings::iosys_map,
    ) {
        // SAFETY: The kernel gives a buffer of ours.
        let buffer = unsafe { DmaBuf::<T>::from_raw(buffer) };
        let mapping = buffer.private().vmap.lock().take();
        drop(mapping);
    }

    /// # Safety
    ///
    /// A buffer of a `T`.
    pub(super) unsafe extern "C" fn begin_cpu_access<T: CpuAccess>(
        buffer: *mut bindings::dma_buf,
        direction: bindings::dma_data_direction,
    ) -> c_int {
        from_result(|| {
            let direction = Direction::from_raw(direction).ok_or(EINVAL)?;
            // SAFETY: The kernel gives a buffer of ours.
            T::begin_cpu_access(unsafe { DmaBuf::<T>::from_raw(buffer) }, direction)?;
            Ok(0)
        })
    }

    /// # Safety
    ///
    /// A buffer of a `T`.
    pub(super) unsafe extern "C" fn end_cpu_access<T: CpuAccess>(
        buffer: *mut bindings::dma_buf,
        direction: bindings::dma_data_direction,
    ) -> c_int {
        from_result(|| {
            let direction = Direction::from_raw(direction).ok_or(EINVAL)?;
            // SAFETY: The kernel gives a buffer of ours.
            T::end_cpu_access(unsafe { DmaBuf::<T>::from_raw(buffer) }, direction)?;
            Ok(0)
        })
    }

    /// # Safety
    ///
    /// A buffer of a `T`, and an area of its file that is being set up.
    pub(super) unsafe extern "C" fn mmap<T: CpuAccess>(
        buffer: *mut bindings::dma_buf,
        vma: *mut bindings::vm_area_struct,
    ) -> c_int {
        from_result(|| {
            // SAFETY: The kernel gives a buffer of ours, and an area that is being set up.
            let (buffer, vma) = unsafe { (DmaBuf::<T>::from_raw(buffer), VmaNew::from_raw(vma)) };
            T::mmap(NewMapping::new(buffer, vma).ok_or(EINVAL)?)?;
            Ok(0)
        })
    }
}
