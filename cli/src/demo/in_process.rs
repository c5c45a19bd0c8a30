//! The story without FUSE: the same heaps, exported, written and read in this one process.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::time::Instant;

use anyhow::Result;
use dmabuf::{Access, CpuAccess, MapOptions, Mapping, Range};
use dmabuf_serve::export::{Attachment, Buffer, CpuSide, Error, Heap, HeapKind, Policy};

use super::contract::Way;
use super::picture::{self, Picture, Rectangle};
use super::stage::{Edit, Edited, Report, Shared, Stage, Stats, Violation};

/// This process as the home.
pub struct InProcess;

impl Stage for InProcess {
    fn name(&self) -> &'static str {
        "in process"
    }

    fn describe(&self) -> &'static str {
        "one process exports and uses the buffers"
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
        let buffer = Heap::new(heap).allocate(picture.buffer_size())?;
        buffer.set_name(name)?;
        let camera = buffer.attach("camera", Access::Write);
        let display = buffer.attach("display", Access::Read);
        Ok(Box::new(LocalBuffer { buffer, camera, display, picture }))
    }
}

struct LocalBuffer<'a> {
    buffer: Buffer,
    camera: Attachment,
    display: Attachment,
    picture: &'a Picture,
}

impl LocalBuffer<'_> {
    fn pixels(&self) -> Vec<u8> {
        vec![0; self.picture.bytes().len()]
    }

    /// In its own page tables a process finds what was stored outside of brackets when the next one
    /// begins, so one does.
    fn look_for_strays(&self, mapping: &Mapping<Misused<'_>>) -> Result<()> {
        let cpu = &mapping.buffer().cpu;
        let whole = Range::new(0, self.buffer.size())?;
        cpu.begin_cpu_access(Access::Read, whole)?;
        cpu.end_cpu_access(Access::Read, whole)?;
        Ok(())
    }
}

impl Shared for LocalBuffer<'_> {
    fn camera(&self) -> Result<()> {
        Ok(self.camera.write(0, self.picture.bytes())?)
    }

    fn edit(&self, _: &str, way: Way) -> Result<Edited> {
        let cpu = match self.buffer.cpu() {
            Err(error @ Error::NotMappable) => return Ok(Edited::Refused(error.to_string())),
            cpu => cpu?,
        };
        let mapping =
            Mapping::new(Misused { cpu, way, picture: self.picture }, &MapOptions::new())?;
        let (width, rectangle) = (self.picture.width(), self.picture.rectangle());
        let mut pixels = self.pixels();

        let start = Instant::now();
        let guard = mapping.read_write(..)?;
        // Only the rectangle's rows are touched, as by the other clients.
        let rows = rows(self.picture, rectangle.height);
        let (offset, rows) = (rows.start(), rows.start() as usize..rows.end() as usize);
        guard.copy_to(offset, &mut pixels[rows.clone()])?;
        picture::invert(&mut pixels, width, rectangle);
        guard.copy_from(offset, &pixels[rows])?;
        guard.end()?;
        let time = start.elapsed();
        if self.buffer.capability().policy == Policy::Checked {
            self.look_for_strays(&mapping)?;
        }

        let brackets = u64::from(way != Way::None);
        Ok(Edited::Done(Edit { pid: std::process::id(), brackets, time }))
    }

    fn edit_by_route(&self) -> Result<Edit> {
        let device = self.buffer.attach("client", Access::ReadWrite);
        let mut pixels = self.pixels();
        let start = Instant::now();
        device.read(0, &mut pixels)?;
        picture::invert(&mut pixels, self.picture.width(), self.picture.rectangle());
        device.write(0, &pixels)?;
        Ok(Edit { pid: std::process::id(), brackets: 0, time: start.elapsed() })
    }

    fn display(&self, png: &Path) -> Result<()> {
        let mut pixels = self.pixels();
        self.display.read(0, &mut pixels)?;
        Picture::from_bytes(self.picture.width(), self.picture.height(), pixels).save_png(png)
    }

    fn report(&self) -> Result<Report> {
        let stats = self.buffer.stats();
        let violations = self.buffer.violations().into_iter().map(|violation| Violation {
            what: violation.to_string(),
            pid: violation.owner().and_then(|owner| owner.0.try_into().ok()),
            access: violation.access().map(|access| access.to_string()),
            offset: violation.range().map(Range::start),
            len: violation.range().map(Range::len),
        });
        Ok(Report {
            heap: self.buffer.exporter().to_owned(),
            file: None,
            violations: violations.collect(),
            stats: Stats {
                brackets: stats.brackets,
                bytes_cleaned: stats.bytes_cleaned,
                bytes_invalidated: stats.bytes_invalidated,
                bytes_elided: stats.bytes_elided,
                faults: stats.faults,
                violations: stats.violations,
            },
        })
    }
}

/// A buffer's CPU side as a program sees it that brackets in its own way: whatever bracket the
/// client's guard asks for, it is this one that is begun and ended.
struct Misused<'a> {
    cpu: CpuSide,
    way: Way,
    picture: &'a Picture,
}

impl Misused<'_> {
    fn bracket(&self, whole: Range) -> Option<(Access, Range)> {
        let Rectangle { height, .. } = self.picture.rectangle();
        match self.way {
            Way::Whole => Some((Access::ReadWrite, whole)),
            Way::Ranged => Some((Access::ReadWrite, rows(self.picture, height))),
            Way::None => None,
            Way::WrongDirection => Some((Access::Read, whole)),
            Way::TooSmall => Some((Access::ReadWrite, rows(self.picture, height / 2))),
        }
    }
}

impl AsFd for Misused<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.cpu.as_fd()
    }
}

impl CpuAccess for Misused<'_> {
    type Error = io::Error;

    fn begin_cpu_access(&self, _: Access, range: Range) -> io::Result<()> {
        let Some((access, range)) = self.bracket(range) else { return Ok(()) };
        Ok(self.cpu.begin_cpu_access(access, range)?)
    }

    fn end_cpu_access(&self, _: Access, range: Range) -> io::Result<()> {
        let Some((access, range)) = self.bracket(range) else { return Ok(()) };
        Ok(self.cpu.end_cpu_access(access, range)?)
    }

    fn mapped(&self, address: usize, offset: u64, len: usize) {
        self.cpu.mapped(address, offset, len);
    }

    fn unmapping(&self, address: usize) {
        self.cpu.unmapping(address);
    }
}

/// The bytes of the first `count` rows of the rectangle.
fn rows(picture: &Picture, count: u32) -> Range {
    let stride = picture.stride();
    let start = u64::from(picture.rectangle().y) * stride;
    Range::new(start, u64::from(count) * stride).expect("a rectangle has two rows or more")
}
