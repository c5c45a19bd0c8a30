//! What a buffer really is and does, by asking everyone and measuring the rest. What cannot be
//! known is reported as unknown.

use std::fmt;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use dmabuf_uapi::{DMA_BUF_SYNC_END, DMA_BUF_SYNC_READ, DMA_BUF_SYNC_START, DmaBufSyncPartial};
use rustix::fs::fstat;
use rustix::io::Errno;

use crate::heap::is_kernel_heap;
use crate::ioctl::Sync;
use crate::{
    Access, DmaBuf, Error, FenceStatus, Kind, MapOptions, Mapping, Mmap, SyncFile, View, ioctl,
};

/// What was found out about a buffer. It prints itself, a line for each fact.
#[derive(Debug)]
#[non_exhaustive]
pub struct Probe {
    /// What the descriptor is.
    pub kind: Kind,
    /// In bytes.
    pub size: u64,
    /// The exporter's name; `None`: nobody tells.
    pub exporter: Option<String>,
    /// The buffer's name.
    pub name: Option<String>,
    /// The kernel's count of references to the buffer's file.
    pub count: Option<u64>,
    /// The devices that are attached, by name; `None`: only debugfs tells, and root alone reads it.
    pub attached: Option<Vec<String>>,
    /// What it was mapped for.
    pub mmap: Mmap,
    /// Why it could not be mapped for more.
    pub mmap_error: Option<Error>,
    /// Whether brackets do anything.
    pub bracket: Effect,
    /// How the CPU's mappings are cached.
    pub memory: Memory,
    /// How fast bytes were read through a mapping, in bytes each second; and, for comparison, from
    /// memory of this process.
    pub bandwidth: Option<(u64, u64)>,
    /// Whether the exporter answers the vendors' `DMA_BUF_IOCTL_SYNC_PARTIAL`; `None`: a device is
    /// using the buffer, and asking would wait for it.
    pub sync_partial: Option<bool>,
    /// What fences it has.
    pub fences: Fences,
}

/// Whether a buffer's brackets do anything for coherency. They wait for fences in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Effect {
    /// They do, says the exporter.
    Effective,
    /// They do not, for this reason.
    Nothing(&'static str),
    /// Nobody can tell, for this reason.
    Unknown(&'static str),
}

/// How a mapping is cached, by how fast it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Memory {
    /// As fast as the process's own memory.
    Cached,
    /// Many times slower by ordinary loads, and a good deal faster by streaming ones.
    WriteCombined,
    /// Many times slower by either.
    Uncached,
    /// Many times slower; this processor cannot tell write-combined from uncached.
    NotCached,
    /// It could not be read, or it was neither fast nor slow.
    Unknown,
}

/// The fences of a buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fences {
    /// It can have none that a program sees: it is not the kernel's, or the kernel is older than
    /// 6.0.
    Unsupported,
    /// None is pending. **That does not mean that no device uses the buffer**: not every driver
    /// adds fences.
    Idle,
    /// Some are, of these drivers.
    Pending(Vec<String>),
    /// The kernel did not say.
    Unknown,
}

impl DmaBuf {
    /// Finds out what the buffer is and does. That maps it, brackets loads of at most 256 KiB of it
    /// and takes some milliseconds; it changes no byte and waits for no device.
    pub fn probe(&self) -> Probe {
        let info = self.fd_info().ok().flatten();
        let (mapping, mmap_error) = map(self);
        let attached = attached(self);
        let exporter = self.capability().exporter.clone();
        let bandwidth = mapping.as_ref().and_then(|(mapping, _)| read_bandwidth(mapping));
        Probe {
            kind: self.kind(),
            size: self.size(),
            name: self.name().ok().flatten(),
            count: info.map(|info| info.count),
            mmap: mapping.as_ref().map_or(Mmap::Never, |&(_, mmap)| mmap),
            mmap_error,
            bracket: effect(self, exporter.as_deref(), attached.as_deref()),
            memory: bandwidth.map_or(Memory::Unknown, Bandwidth::memory),
            bandwidth: bandwidth.map(|measured| (measured.plain, measured.own)),
            sync_partial: sync_partial(self),
            fences: fences(self),
            exporter,
            attached,
        }
    }
}

/// A mapping for as much as the buffer allows, and what stood in the way of more.
fn map(buffer: &DmaBuf) -> (Option<(Mapping, Mmap)>, Option<Error>) {
    match buffer.map() {
        Ok(mapping) => (Some((mapping, Mmap::ReadWrite)), None),
        Err(error @ (Error::AccessMode { .. } | Error::Sealed { .. })) => {
            let mapping = buffer.map_with(&MapOptions::new().read_only()).ok();
            (mapping.map(|mapping| (mapping, Mmap::Read)), Some(error))
        }
        Err(error) => (None, Some(error)),
    }
}

fn effect(buffer: &DmaBuf, exporter: Option<&str>, attached: Option<&[String]>) -> Effect {
    match buffer.kind() {
        Kind::Memfd => return Effect::Nothing("plain memory has one side"),
        Kind::Other => return Effect::Nothing("it is no buffer"),
        Kind::Kernel | Kind::Served => {}
    }
    // Who answers QUERY knows; nobody else says whether it is coherent.
    let capability = buffer.capability();
    match (capability.coherent, capability.bracket) {
        (Some(true), _) => return Effect::Nothing("the exporter is coherent"),
        (Some(false), Some(false)) => return Effect::Nothing("no program can map the buffer"),
        (Some(false), _) => return Effect::Effective,
        (None, _) => {}
    }
    match exporter {
        // system_heap.c and cma_heap.c of drivers/dma-buf/heaps go through the mapped attachments.
        Some(heap) if is_kernel_heap(heap) => match attached {
            Some([]) => Effect::Nothing("a heap syncs for attached devices, and there are none"),
            Some(_) => Effect::Unknown("the attached devices may be coherent, or not mapped"),
            None => Effect::Unknown("a heap syncs for attached devices, and only root sees those"),
        },
        Some("udmabuf") => {
            Effect::Unknown("udmabuf syncs for a device of its own, which may be coherent")
        }
        _ => Effect::Unknown("neither the exporter nor the kernel tells"),
    }
}

/// The devices that are attached, from debugfs.
fn attached(buffer: &DmaBuf) -> Option<Vec<String>> {
    if buffer.kind() != Kind::Kernel {
        return Some(Vec::new());
    }
    let info = std::fs::read("/sys/kernel/debug/dma_buf/bufinfo").ok()?;
    let inode = fstat(buffer).ok()?.st_ino;
    attached_in(&String::from_utf8_lossy(&info), inode)
}

/// `dma_buf_debug_show` of drivers/dma-buf/dma-buf.c: a line for each buffer, its devices after it.
fn attached_in(info: &str, inode: u64) -> Option<Vec<String>> {
    let is_ours = |line: &&str| {
        let mut fields = line.split('\t');
        fields.next().is_some_and(|size| size.trim().parse::<u64>().is_ok())
            && fields.nth(4).and_then(|field| field.trim().parse().ok()) == Some(inode)
    };
    // A name may hold line ends, and so what looks like a buffer: two that match are none.
    if info.lines().filter(is_ours).count() != 1 {
        return None;
    }
    let devices = info.lines().skip_while(|line| !is_ours(line));
    let devices = devices.skip_while(|line| !line.contains("Attached Devices:")).skip(1);
    let devices = devices.take_while(|line| line.starts_with('\t'));
    Some(devices.map(|line| line.trim().to_owned()).collect())
}

fn sync_partial(buffer: &DmaBuf) -> Option<bool> {
    if !matches!(buffer.kind(), Kind::Kernel | Kind::Served) {
        return Some(false);
    }
    if !buffer.is_ready(Access::Read).ok()? {
        return None;
    }
    let call = |flags| {
        let partial = DmaBufSyncPartial { flags: DMA_BUF_SYNC_READ | flags, offset: 0, len: 1 };
        loop {
            match ioctl::sync(buffer.as_fd(), Sync::Partial(partial)) {
                Err(Errno::INTR | Errno::AGAIN) => {}
                result => return result,
            }
        }
    };
    match call(DMA_BUF_SYNC_START) {
        Ok(()) => call(DMA_BUF_SYNC_END).ok().map(|()| true),
        Err(Errno::NOTTY | Errno::OPNOTSUPP) => Some(false),
        Err(_) => None,
    }
}

fn fences(buffer: &DmaBuf) -> Fences {
    let info = match buffer.export_fences(Access::ReadWrite) {
        Ok(fences) => SyncFile::info(&fences),
        Err(error) if error.errno() == Some(Errno::NOTTY.raw_os_error()) => {
            return Fences::Unsupported;
        }
        Err(error) => Err(error),
    };
    let Ok(info) = info else { return Fences::Unknown };
    let pending = info.fences.into_iter().filter(|fence| fence.status == FenceStatus::Active);
    let drivers: Vec<_> = pending.map(|fence| fence.driver).collect();
    if drivers.is_empty() { Fences::Idle } else { Fences::Pending(drivers) }
}

/// How fast bytes are read, in bytes each second.
#[derive(Clone, Copy, Debug)]
struct Bandwidth {
    /// Of the process's own memory.
    own: u64,
    /// Of the buffer.
    plain: u64,
    /// Of the buffer, by the loads that fetch a whole line of write-combined memory at once.
    streaming: Option<u64>,
}

impl Bandwidth {
    /// Uncached loads cross the bus one by one and are slower by a factor of some twenty to some
    /// hundreds; so what lies between 4 and 12 is nothing to conclude from.
    fn memory(self) -> Memory {
        if self.plain > self.own / 4 {
            return Memory::Cached;
        }
        if self.plain > self.own / 12 {
            return Memory::Unknown;
        }
        match self.streaming {
            Some(streaming) if streaming > self.plain.saturating_mul(3) => Memory::WriteCombined,
            Some(streaming) if streaming < self.plain.saturating_mul(3) / 2 => Memory::Uncached,
            _ => Memory::NotCached,
        }
    }
}

/// Reads the beginning of the buffer several times; `None` if there is no bracket to be had without
/// waiting.
fn read_bandwidth(mapping: &Mapping) -> Option<Bandwidth> {
    let len = mapping.range().end().min(256 << 10);
    let guard = mapping.within(Duration::ZERO).read(..len).ok()?;
    let len = len as usize;
    let (mut into, mut own) = (vec![1_u8; len], vec![2_u8; len]);
    // By the same copy, so that only the memory differs.
    let own = View::of_own(&mut own);
    let own = rate(len, || own.copy_to(0, &mut into).is_ok())?;
    let plain = rate(len, || guard.copy_to(0, &mut into).is_ok());
    let streaming = rate(len, || guard.stream_to(&mut into));
    guard.end().ok()?;
    Some(Bandwidth { own, plain: plain?, streaming })
}

/// The best of several rounds, the first of which only touches the pages; `None` if it cannot read.
fn rate(len: usize, mut read: impl FnMut() -> bool) -> Option<u64> {
    if !read() {
        return None;
    }
    // At least 256 KiB a round, so that the clock's own time does not count.
    let times = (256_usize << 10).div_ceil(len.max(1));
    let round = |_| {
        let start = Instant::now();
        let read = (0..times).all(|_| read());
        read.then(|| start.elapsed())
    };
    let best = (0..5).map(round).collect::<Option<Vec<_>>>()?.into_iter().min()?;
    Some(((times * len) as u128 * 1_000_000_000 / best.as_nanos().max(1)) as u64)
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Effect::Effective => f.write_str("effective"),
            Effect::Nothing(why) => write!(f, "does nothing: {why}"),
            Effect::Unknown(why) => write!(f, "unknown: {why}"),
        }
    }
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Memory::Cached => "cached",
            Memory::WriteCombined => "write-combined",
            Memory::Uncached => "uncached",
            Memory::NotCached => "not cached",
            Memory::Unknown => "unknown",
        })
    }
}

impl fmt::Display for Fences {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fences::Unsupported => f.write_str("unsupported"),
            Fences::Idle => f.write_str("none pending (which is not idle for every driver)"),
            Fences::Pending(drivers) => write!(f, "pending, of {}", drivers.join(" and ")),
            Fences::Unknown => f.write_str("unknown"),
        }
    }
}

impl fmt::Display for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unknown = || "unknown".to_owned();
        writeln!(f, "kind          {}, {} bytes", self.kind, self.size)?;
        writeln!(f, "exporter      {}", self.exporter.clone().unwrap_or_else(unknown))?;
        writeln!(f, "name          {}", self.name.as_deref().unwrap_or("none"))?;
        let count = self.count.map_or_else(unknown, |count| count.to_string());
        writeln!(f, "references    {count}")?;
        let attached = self.attached.as_ref().map(|devices| match devices.len() {
            0 => "none".to_owned(),
            _ => devices.join(", "),
        });
        writeln!(f, "attached      {}", attached.unwrap_or_else(unknown))?;
        let mmap = match self.mmap {
            Mmap::Never => "never",
            Mmap::Read => "read",
            Mmap::ReadWrite => "read and write",
        };
        match &self.mmap_error {
            Some(error) => writeln!(f, "mmap          {mmap}: {error}")?,
            None => writeln!(f, "mmap          {mmap}")?,
        }
        writeln!(f, "bracket       {}", self.bracket)?;
        match self.bandwidth {
            Some((plain, own)) => writeln!(
                f,
                "memory        {}: {} MB/s, own memory {} MB/s",
                self.memory,
                plain / 1_000_000,
                own / 1_000_000
            )?,
            None => writeln!(f, "memory        {}", self.memory)?,
        }
        let partial = match self.sync_partial {
            Some(true) => "yes",
            Some(false) => "no",
            None => "unknown",
        };
        writeln!(f, "SYNC_PARTIAL  {partial}")?;
        write!(f, "fences        {}", self.fences)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speed_tells_how_memory_is_cached_or_that_nobody_knows() {
        let memory = |plain, streaming| Bandwidth { own: 12_000, plain, streaming }.memory();
        assert_eq!(memory(12_000, None), Memory::Cached);
        assert_eq!(memory(3_001, Some(12_000)), Memory::Cached);
        assert_eq!(memory(2_000, Some(12_000)), Memory::Unknown);
        assert_eq!(memory(100, Some(800)), Memory::WriteCombined);
        assert_eq!(memory(100, Some(100)), Memory::Uncached);
        assert_eq!(memory(100, Some(200)), Memory::NotCached);
        assert_eq!(memory(100, None), Memory::NotCached);
    }

    const INFO: &str = "\nDma-buf Objects:\n\
        size    \tflags   \tmode    \tcount   \texp_name\tino     \tname\n\
        00004096\t00000002\t00080007\t00000002\tsystem\t00000008\t<none>\n\
        \tAttached Devices:\n\tvgem\n\tother\nTotal 2 devices attached\n\n\
        00004096\t00000002\t00080007\t00000002\tudmabuf\t00000009\ta\n\
        \tAttached Devices:\nTotal 0 devices attached\n\n\nTotal 2 objects, 8192 bytes\n";

    #[test]
    fn attached_devices_are_those_of_the_buffer() {
        let devices = |inode| attached_in(INFO, inode);
        assert_eq!(devices(8), Some(vec!["vgem".to_owned(), "other".to_owned()]));
        assert_eq!(devices(9), Some(vec![]));
        assert_eq!(devices(10), None);
    }

    #[test]
    fn a_name_that_looks_like_a_buffer_makes_it_unknown() {
        let forged = INFO.replace("\ta\n", "\ta\n00004096\t2\t7\t2\tsystem\t00000008\tx\n");
        assert_eq!(attached_in(&forged, 8), None);
    }
}
