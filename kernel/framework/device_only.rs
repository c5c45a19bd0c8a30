// SPDX-License-Identifier: GPL-2.0

//! Buffers that only devices reach: `mmap(2)` fails, as with an exporter that does not implement it.

use kernel::device::Device;
use kernel::prelude::*;
use kernel::sync::Arc;

use crate::abstractions::dma_buf::{DmaBuf, Exporter, NoCpuAccess};
use crate::abstractions::pages::Pages;
use crate::abstractions::sg::{AtUnmap, Direction, Table};
use crate::heaps::Heap;

/// A buffer without CPU access.
pub(crate) struct DeviceOnly {
    pub(crate) heap: &'static Heap,
    memory: Arc<Pages>,
}

impl DeviceOnly {
    pub(crate) fn new(heap: &'static Heap, memory: Arc<Pages>) -> Self {
        DeviceOnly { heap, memory }
    }
}

impl Exporter for DeviceOnly {
    type Cpu = NoCpuAccess;
    type Attachment = Table;

    fn name(&self) -> &'static CStr {
        self.heap.name
    }

    fn attach(buffer: &DmaBuf<Self>, device: &Device) -> Result<Arc<Table>> {
        Table::new(buffer.memory.clone(), device)
    }

    fn detach(_: &DmaBuf<Self>, _: &Arc<Table>) {}

    fn map<'a>(_: &DmaBuf<Self>, table: &'a Table, direction: Direction) -> Result<&'a Table> {
        table.map(direction)?;
        Ok(table)
    }

    fn unmap(_: &DmaBuf<Self>, table: &Table) {
        table.unmap(AtUnmap::SyncAll);
    }

    fn vmap(buffer: &DmaBuf<Self>) -> &Arc<Pages> {
        &buffer.memory
    }
}
