//! The story without FUSE: the same heaps, exported, written and read in this one process.

use std::path::Path;

use anyhow::Result;
use dmabuf::{Access, CpuAccess, MapOptions, Mapping, Range};
use dmabuf_serve::export::{Attachment, Buffer, CpuSide, Error, Heap, HeapKind, Policy};

use super::contract::Way;
use super::misused::{self, Misused};
use super::picture::Picture;
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
    /// In its own page tables a process finds what was stored outside of brackets when the next one
    /// begins, so one does.
    fn look_for_strays(&self, mapping: &Mapping<Misused<'_, CpuSide>>) -> Result<()> {
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
        let edit = misused::edit(&mapping)?;
        if self.buffer.capability().policy == Policy::Checked {
            self.look_for_strays(&mapping)?;
        }
        Ok(Edited::Done(edit))
    }

    fn edit_by_route(&self) -> Result<Edit> {
        let device = self.buffer.attach("client", Access::ReadWrite);
        let read = |pixels: &mut [u8]| Ok(device.read(0, pixels)?);
        misused::edit_by_route(self.picture, read, |pixels| Ok(device.write(0, pixels)?))
    }

    fn display(&self, png: &Path) -> Result<()> {
        let mut pixels = vec![0; self.picture.bytes().len()];
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
