//! The story on the kernel module: its heaps export the buffers, and its emulated device, which maps
//! them for DMA, is camera and display. The client is the crate `dmabuf`, in this process: brackets
//! over a range go through `/dev/dmabuf`, which a program that knows only Linux's ioctls does not know.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Context, Result};
use dmabuf::{DmaBuf, MapOptions, Mapping};
use dmabuf_serve::export::HeapKind;
use dmabuf_uapi::*;
use rustix::fs::{OFlags, fstat};

use super::contract::Way;
use super::misused::{self, Misused};
use super::picture::Picture;
use super::stage::{Edit, Edited, Report, Shared, Stage, Stats, Violation};
use crate::conform::sys;
use crate::importer::Importer;

/// The module's devices.
pub struct Kernel {
    device: File,
}

impl Kernel {
    /// The module, if it is loaded; an error says what to do.
    pub fn open() -> Result<Kernel> {
        let how = "load dmabuf_heaps.ko and dmabuf_importer.ko first, as root: kernel/README.md";
        let device =
            File::open(DMABUF_DEVICE).with_context(|| format!("{DMABUF_DEVICE}: {how}"))?;
        File::open(DMABUF_IMPORTER).with_context(|| format!("{DMABUF_IMPORTER}: {how}"))?;
        Ok(Kernel { device })
    }
}

impl Stage for Kernel {
    fn name(&self) -> &'static str {
        "kernel"
    }

    fn describe(&self) -> &'static str {
        "the kernel module exports the buffers, and its emulated device maps them for DMA"
    }

    fn clients(&self) -> Vec<&'static str> {
        vec!["Rust"]
    }

    fn allocate<'a>(
        &'a self,
        heap: HeapKind,
        name: &str,
        picture: &'a Picture,
    ) -> Result<Box<dyn Shared + 'a>> {
        let mut asked = DmabufDeviceAlloc {
            fd: -1,
            fd_flags: (OFlags::RDWR | OFlags::CLOEXEC).bits(),
            len: picture.buffer_size(),
            heap: [0; DMA_BUF_QUERY_NAME_LEN],
        };
        asked.heap[..heap.name().len()].copy_from_slice(heap.name().as_bytes());
        sys::ioctl(&self.device, DMABUF_DEVICE_ALLOC, &mut asked)
            .with_context(|| format!("cannot allocate from the module's heap {heap}"))?;
        let buffer = DmaBuf::from_fd(sys::adopt(asked.fd)?)?;
        // As much of it as the kernel takes.
        buffer.set_name(&name[..name.len().min(DMA_BUF_NAME_LEN - 1)])?;
        let mut records = OpenOptions::new();
        let records = records.read(true).custom_flags(libc::O_NONBLOCK).open(DMABUF_DEVICE)?;
        Ok(Box::new(KernelBuffer { stage: self, heap, buffer, records, picture }))
    }
}

struct KernelBuffer<'a> {
    stage: &'a Kernel,
    heap: HeapKind,
    buffer: DmaBuf,
    /// What `checked` finds from now on.
    records: File,
    picture: &'a Picture,
}

impl KernelBuffer<'_> {
    /// What was found of this buffer since the last time.
    fn violations(&self) -> Result<Vec<Violation>> {
        let inode = fstat(&self.buffer)?.st_ino;
        let mut text = String::new();
        let mut lines = [0; 4096];
        loop {
            match (&self.records).read(&mut lines) {
                Ok(len) => text += &String::from_utf8_lossy(&lines[..len]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error).context(DMABUF_DEVICE),
            }
        }
        let mut ours = Vec::new();
        for line in text.lines() {
            let record = DmabufRecord::parse(line)
                .with_context(|| format!("{DMABUF_DEVICE}: not understood: {line}"))?;
            if record.inode == inode {
                ours.push(violation(record));
            }
        }
        Ok(ours)
    }
}

impl Shared for KernelBuffer<'_> {
    fn camera(&self) -> Result<()> {
        let camera = Importer::of(&self.buffer, DMA_BUF_SYNC_WRITE)?;
        Ok(camera.write(0, self.picture.bytes())?)
    }

    fn edit(&self, _: &str, way: Way) -> Result<Edited> {
        let client = Misused { cpu: self.buffer.clone(), way, picture: self.picture };
        let mapping = match Mapping::new(client, &MapOptions::new()) {
            Err(error) if self.heap == HeapKind::Unmappable => {
                return Ok(Edited::Refused(error.to_string()));
            }
            mapping => mapping?,
        };
        Ok(Edited::Done(misused::edit(&mapping)?))
    }

    fn edit_by_route(&self) -> Result<Edit> {
        let device = Importer::of(&self.buffer, DMA_BUF_SYNC_RW)?;
        let read = |pixels: &mut [u8]| Ok(device.read(0, pixels)?);
        misused::edit_by_route(self.picture, read, |pixels| Ok(device.write(0, pixels)?))
    }

    fn display(&self, png: &Path) -> Result<()> {
        let mut pixels = vec![0; self.picture.bytes().len()];
        Importer::of(&self.buffer, DMA_BUF_SYNC_READ)?.read(0, &mut pixels)?;
        Picture::from_bytes(self.picture.width(), self.picture.height(), pixels).save_png(png)
    }

    fn report(&self) -> Result<Report> {
        let fd = self.buffer.as_fd().as_raw_fd();
        let mut stats = DmabufDeviceStats { fd, ..DmabufDeviceStats::default() };
        sys::ioctl(&self.stage.device, DMABUF_DEVICE_STATS, &mut stats)?;
        Ok(Report {
            heap: self.heap.name().to_owned(),
            file: None,
            stats: Stats {
                brackets: stats.begins,
                bytes_cleaned: stats.bytes_to_device,
                bytes_invalidated: stats.bytes_from_device,
                bytes_elided: 0,
                faults: stats.faults,
                violations: stats.violations,
            },
            violations: self.violations()?,
        })
    }
}

fn violation(record: DmabufRecord<'_>) -> Violation {
    let (what, access) = match record.event {
        DmabufEvent::Mistake(mistake) => (mistake.replace('-', " "), None),
        DmabufEvent::Access(access, _) => (format!("{access} outside of a bracket"), Some(access)),
    };
    Violation {
        what,
        pid: Some(record.pid),
        access: access.map(str::to_owned),
        offset: Some(record.offset),
        // An access is told by its page.
        len: access.map(|_| sys::page()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_told_as_a_violation() {
        let of = |line| violation(DmabufRecord::parse(line).unwrap());
        let access = of("pid=7 comm=a heap=checked inode=3 name=x offset=0x2000 access=write \
                         allowed=none");
        assert_eq!(access.what, "write outside of a bracket");
        assert_eq!((access.pid, access.offset), (Some(7), Some(0x2000)));
        assert_eq!(access.len, Some(sys::page()));
        let mistake = of("pid=7 comm=a heap=checked inode=3 name= offset=0x0 \
                          mistake=end-without-start");
        assert_eq!((mistake.what.as_str(), mistake.len), ("end without start", None));
    }
}
