//! `dmabuf bench kernel`: the kernel module's heaps, against others of the same boot.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Args;
use dmabuf::{DmaBuf, Heap, Mapping};
use dmabuf_uapi::{
    DMA_BUF_IOCTL_SYNC, DMA_BUF_SYNC_END, DMA_BUF_SYNC_READ, DMA_BUF_SYNC_RW, DMA_BUF_SYNC_START,
    DMA_HEAP_IOCTL_ALLOC, DmaBufSync, DmaHeapAllocationData,
};
use rustix::fs::{Mode, OFlags};

use super::compare::{Comparison, in_turn};
use super::table::Table;
use crate::conform::sys::{self, Map};
use crate::importer::Importer;

/// What `dmabuf bench kernel` takes.
#[derive(Args)]
pub struct Options {
    /// How often each thing is done on each heap, in turn
    #[arg(long, value_name = "N", default_value_t = 21)]
    rounds: usize,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

const MIB: u64 = 1 << 20;

/// How to boot so that DMA goes by way of other memory, with room for two buffers.
const BOUNCING: &str = "swiotlb=131072,force";

/// How often a bracket is written whole before it is measured: then `tracked` has learned.
const LEARNING: usize = 20;

/// Measures, and prints. What there is to measure depends on the boot.
pub fn run(options: &Options) -> Result<()> {
    let table = if bounces()? { tracked(options.rounds)? } else { coherent(options.rounds)? };
    if options.json { table.print_json() } else { table.print() }
}

/// What `coherent` costs, which does what mainline's system heap does.
fn coherent(rounds: usize) -> Result<Table> {
    let mut table = Table::new(
        &format!("booted with {BOUNCING}, it measures what tracking saves"),
        "system",
        "coherent",
    );
    for (name, size, times) in [
        ("allocate and free 4 KiB", 4096, 500),
        ("allocate and free 1 MiB", MIB, 50),
        ("allocate and free 64 MiB", 64 * MIB, 1),
    ] {
        table.row(name, 1.05, allocating(["system", "coherent"], size, times, rounds)?);
    }
    table.row("first touch of 64 MiB", 1.05, touching(["system", "coherent"], rounds)?);
    table.row("a pair of SYNCs", 1.1, syncing(["system", "coherent"], rounds)?);
    Ok(table)
}

/// What tracking saves, and costs, where a device does not see what the CPU stores. The system heap's
/// buffers are no measure there: their pieces of 1 MiB are too large for DMA to bounce, and no device
/// can map them.
fn tracked(rounds: usize) -> Result<Table> {
    let about = "a device has 64 MiB mapped, and its DMA bounces; coherent syncs as mainline does";
    let mut table = Table::new(about, "coherent", "tracked");
    table.row("END after a store to 1 page", 0.01, ending(["coherent", "tracked"], rounds)?);
    table.row("a bracket, written whole", 1.1, writing(["coherent", "tracked"], rounds)?);
    Ok(table)
}

/// Whether DMA goes by way of other memory.
fn bounces() -> Result<bool> {
    let line = std::fs::read_to_string("/proc/cmdline").context("/proc/cmdline")?;
    Ok(line.split_whitespace().any(|word| word.starts_with("swiotlb=") && word.contains("force")))
}

/// Allocates and frees, so many times in each round.
fn allocating(heaps: [&str; 2], size: u64, times: u32, rounds: usize) -> Result<Comparison> {
    let measure = |heap| -> Result<_> {
        let node = open(heap)?;
        Ok(move || {
            let start = Instant::now();
            for _ in 0..times {
                drop(allocate(&node, size)?);
            }
            Ok(start.elapsed() / times)
        })
    };
    in_turn(measure(heaps[0])?, measure(heaps[1])?, rounds)
}

/// Maps 64 MiB that are new, and stores to each page.
fn touching(heaps: [&str; 2], rounds: usize) -> Result<Comparison> {
    let measure = |heap| -> Result<_> {
        let node = open(heap)?;
        Ok(move || {
            let buffer = allocate(&node, 64 * MIB)?;
            let start = Instant::now();
            let map = Map::shared(&buffer, 64 * MIB, sys::RW)?;
            (0..64 * MIB).step_by(sys::page() as usize).for_each(|offset| map.store(offset, 1));
            Ok(start.elapsed())
        })
    };
    in_turn(measure(heaps[0])?, measure(heaps[1])?, rounds)
}

/// Begins and ends brackets over 1 MiB to which no device is attached, by the ioctls alone.
fn syncing(heaps: [&str; 2], rounds: usize) -> Result<Comparison> {
    const TIMES: u32 = 1000;
    let measure = |heap| -> Result<_> {
        let buffer = allocate(&open(heap)?, MIB)?;
        Ok(move || {
            let sync = |flags| sys::ioctl(&buffer, DMA_BUF_IOCTL_SYNC, &mut DmaBufSync { flags });
            let start = Instant::now();
            for _ in 0..TIMES {
                sync(DMA_BUF_SYNC_START | DMA_BUF_SYNC_RW)?;
                sync(DMA_BUF_SYNC_END | DMA_BUF_SYNC_RW)?;
            }
            Ok(start.elapsed() / TIMES)
        })
    };
    in_turn(measure(heaps[0])?, measure(heaps[1])?, rounds)
}

/// Ends a bracket over 64 MiB, of which one page was stored to, while a device has them mapped.
fn ending(heaps: [&str; 2], rounds: usize) -> Result<Comparison> {
    let measure = |heap| -> Result<_> {
        let mapped = Mapped::by_both(heap)?;
        Ok(move || {
            let guard = mapped.mapping().write(..)?;
            guard.store(5 * 4096, 1_u8)?;
            let start = Instant::now();
            guard.end()?;
            Ok(start.elapsed())
        })
    };
    in_turn(measure(heaps[0])?, measure(heaps[1])?, rounds)
}

/// Begins a bracket over 64 MiB, stores to all of it and ends it, while a device has them mapped.
fn writing(heaps: [&str; 2], rounds: usize) -> Result<Comparison> {
    let measure = |heap| -> Result<_> {
        let mapped = Mapped::by_both(heap)?;
        let write = move || -> Result<Duration> {
            let start = Instant::now();
            let guard = mapped.mapping().write(..)?;
            guard.fill(0x5a);
            guard.end()?;
            Ok(start.elapsed())
        };
        for _ in 0..LEARNING {
            write()?;
        }
        Ok(write)
    };
    in_turn(measure(heaps[0])?, measure(heaps[1])?, rounds)
}

/// 64 MiB that the CPU and a device have mapped.
struct Mapped {
    mapping: Mapping,
    _device: Importer,
}

impl Mapped {
    fn by_both(heap: &str) -> Result<Mapped> {
        let buffer: DmaBuf = Heap::open(path(heap))?.allocate(64 * MIB)?;
        let device = Importer::of(&buffer, DMA_BUF_SYNC_READ).with_context(|| {
            format!(
                "the module's device does not map 64 MiB of {heap}: load dmabuf_importer.ko, and \
                 boot with {BOUNCING}, which makes room for two such buffers"
            )
        })?;
        Ok(Mapped { mapping: buffer.map()?, _device: device })
    }

    // A closure that named the field would take it alone, and the device would be gone.
    fn mapping(&self) -> &Mapping {
        &self.mapping
    }
}

fn path(heap: &str) -> String {
    format!("/dev/dma_heap/{heap}")
}

fn open(heap: &str) -> Result<OwnedFd> {
    let node = rustix::fs::open(path(heap), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
    node.with_context(|| format!("{}: load the module first, as kernel/README.md says", path(heap)))
}

/// The ioctl alone: what the client finds out about a buffer is no part of this.
fn allocate(heap: &OwnedFd, len: u64) -> Result<OwnedFd> {
    let fd_flags = (OFlags::RDWR | OFlags::CLOEXEC).bits();
    let mut data = DmaHeapAllocationData { len, fd_flags, ..DmaHeapAllocationData::default() };
    sys::ioctl(heap, DMA_HEAP_IOCTL_ALLOC, &mut data)?;
    Ok(sys::adopt(data.fd as i32)?)
}
