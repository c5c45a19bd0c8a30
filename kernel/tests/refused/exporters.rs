// SPDX-License-Identifier: GPL-2.0

//! Exporters that the compiler must refuse: access to a buffer by the CPU is mmap, begin and end, or
//! nothing. `cargo xtask kernel test` compiles this file, and wants the errors that are marked, with
//! what they have to tell, at the line below each mark, and no others.

use kernel::bindings;
use kernel::device::Device;
use kernel::mm::Mm;
use kernel::prelude::*;
use kernel::sync::Arc;

#[allow(dead_code, unreachable_pub, unused_imports, unused_macros)]
#[path = "../../abstractions/mod.rs"]
mod abstractions;

#[allow(dead_code, unreachable_pub, unused_imports)]
#[path = "../../../uapi/src/lib.rs"]
mod uapi;

use abstractions::dma_buf::{Bracketed, CpuAccess, CpuMode, DmaBuf, Exporter, NoCpuAccess};
use abstractions::pages::Pages;
use abstractions::sg::{Direction, Table};
use abstractions::vma::{Answer, Fault, Mapped, NewMapping};

module! {
    type: Refused,
    name: "exporters",
    authors: ["The dmabuf project"],
    description: "Exporters that do not compile",
    license: "GPL",
}

struct Refused;

impl kernel::Module for Refused {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        Ok(Refused)
    }
}

/// An exporter, but for CPU access to its memory.
macro_rules! exporter {
    ($name:ident, $cpu:ty) => {
        struct $name(Arc<Pages>);

        impl Exporter for $name {
            type Cpu = $cpu;
            type Attachment = Table;

            fn name(&self) -> &'static CStr {
                c"refused"
            }

            fn attach(buffer: &DmaBuf<Self>, device: &Device) -> Result<Arc<Table>> {
                Table::new(buffer.0.clone(), device)
            }

            fn detach(_: &DmaBuf<Self>, _: &Arc<Table>) {}

            fn map<'a>(_: &DmaBuf<Self>, table: &'a Table, _: Direction) -> Result<&'a Table> {
                Ok(table)
            }

            fn unmap(_: &DmaBuf<Self>, _: &Table) {}

            fn vmap(buffer: &DmaBuf<Self>) -> &Arc<Pages> {
                &buffer.0
            }
        }

        impl Mapped for $name {
            fn fault(_: &DmaBuf<Self>, _: &Fault<'_>) -> Answer {
                Answer::Bus
            }

            fn unmapped(_: &DmaBuf<Self>, _: &Mm) {}
        }
    };
}

// What there is nothing wrong with: only devices reach it.
exporter!(DevicesOnly, NoCpuAccess);

//~ E0277 `NothingForTheCpu: abstractions::dma_buf::CpuAccess` is not satisfied
exporter!(NothingForTheCpu, Bracketed);

exporter!(NoBegin, Bracketed);

//~ E0046 missing: `begin_cpu_access`
impl CpuAccess for NoBegin {
    fn mmap(mapping: NewMapping<'_, Self>) -> Result {
        mapping.show_all()
    }

    fn end_cpu_access(_: &DmaBuf<Self>, _: Direction) -> Result {
        Ok(())
    }
}

exporter!(NoEnd, Bracketed);

//~ E0046 missing: `end_cpu_access`
impl CpuAccess for NoEnd {
    fn mmap(mapping: NewMapping<'_, Self>) -> Result {
        mapping.show_all()
    }

    fn begin_cpu_access(_: &DmaBuf<Self>, _: Direction) -> Result {
        Ok(())
    }
}

exporter!(NoMmap, Bracketed);

//~ E0046 missing: `mmap`
impl CpuAccess for NoMmap {
    fn begin_cpu_access(_: &DmaBuf<Self>, _: Direction) -> Result {
        Ok(())
    }

    fn end_cpu_access(_: &DmaBuf<Self>, _: Direction) -> Result {
        Ok(())
    }
}

/// Operations of its own making: an mmap, say, and nothing else.
struct OwnOperations;

//~ E0277 `OwnOperations: Sealed` is not satisfied
impl<T> CpuMode<T> for OwnOperations {
    const OPS: bindings::dma_buf_ops = pin_init::zeroed();
}
