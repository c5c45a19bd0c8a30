// SPDX-License-Identifier: GPL-2.0

//! Buffers that only devices reach: `mmap(2)` fails, as with an exporter that does not implement it.

use core::ffi::c_void;
use core::ptr::NonNull;

use kernel::device::Device;
use kernel::new_mutex;
use kernel::prelude::*;
use kernel::sync::{Arc, Mutex};

use crate::abstractions::dma_buf::{DmaBuf, Exporter, NoCpuAccess, Ops};
use crate::abstractions::pages::{KernelMapping, Pages};
use crate::abstractions::sg::{AtMap, Direction, Table};
use crate::heaps::Heap;

static OPS: Ops<DeviceOnly> = Ops::new();

/// A buffer without CPU access.
#[pin_data]
pub(crate) struct DeviceOnly {
    pub(crate) heap: &'static Heap,
    memory: Arc<Pages>,
    #[pin]
    vmap: Mutex<Option<KernelMapping>>,
}

impl DeviceOnly {
    pub(crate) fn new(heap: &'static Heap, memory: Arc<Pages>) -> impl PinInit<Self, Error> {
        try_pin_init!(DeviceOnly { heap, memory, vmap <- new_mutex!(None) })
    }
}

impl Exporter for DeviceOnly {
    type Cpu = NoCpuAccess;
    type Attachment = Table;

    fn ops() -> &'static Ops<Self> {
        &OPS
    }

    fn name(&self) -> &'static CStr {
        self.heap.name
    }

    fn attach(buffer: &DmaBuf<Self>, device: &Device) -> Result<Arc<Table>> {
        Table::new(buffer.memory.clone(), device)
    }

    fn detach(_: &DmaBuf<Self>, _: &Arc<Table>) {}

    fn map<'a>(_: &DmaBuf<Self>, table: &'a Table, direction: Direction) -> Result<&'a Table> {
        table.map(direction, AtMap::SyncAll)?;
        Ok(table)
    }

    fn unmap(_: &DmaBuf<Self>, table: &Table) {
        table.unmap();
    }

    fn vmap(buffer: &DmaBuf<Self>) -> Result<NonNull<c_void>> {
        let mapping = KernelMapping::new(buffer.memory.clone())?;
        let address = mapping.address();
        *buffer.vmap.lock() = Some(mapping);
        Ok(address)
    }

    fn vunmap(buffer: &DmaBuf<Self>) {
        let mapping = buffer.vmap.lock().take();
        drop(mapping);
    }
}
