//! The story on the service: every part is a process of its own, and they meet in a file system.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, anyhow};
use dmabuf_serve::export::HeapKind;
use serde::Deserialize;
use tempfile::TempDir;

use super::child;
use super::clients;
use super::contract::Way;
use super::picture::Picture;
use super::stage::{Edit, Edited, Report, Shared, Stage};
use crate::service::{Service, this_program};

const C: &str = "C";
const RUST: &str = "Rust";

/// A running service, and the programs that will use it.
pub struct Served {
    /// The service is stopped before its mount point goes.
    service: Service,
    dir: TempDir,
    /// The client in C, where it could be compiled.
    client_in_c: Option<PathBuf>,
}

impl Served {
    /// Starts the service; an error says why FUSE cannot be used.
    pub fn start() -> Result<Served> {
        let dir = tempfile::Builder::new().prefix("dmabuf-demo-").tempdir()?;
        let service = Service::start(dir.path())?;
        Ok(Served { service, dir, client_in_c: None })
    }

    /// Compiles the client in C; an error says why only the one in Rust will be run.
    pub fn compile_client(&mut self) -> Result<()> {
        self.client_in_c = Some(clients::compile(self.dir.path())?);
        Ok(())
    }

    fn role(&self, role: &str) -> Result<Command> {
        let mut command = this_program()?;
        command.args(["role", role]);
        Ok(command)
    }
}

impl Stage for Served {
    fn name(&self) -> &'static str {
        "served"
    }

    fn describe(&self) -> &'static str {
        "a service process exports the buffers as files, by FUSE"
    }

    fn clients(&self) -> Vec<&'static str> {
        self.client_in_c.iter().map(|_| C).chain([RUST]).collect()
    }

    fn allocate<'a>(
        &'a self,
        heap: HeapKind,
        name: &str,
        picture: &'a Picture,
    ) -> Result<Box<dyn Shared + 'a>> {
        let mount = self.service.mount();
        let path = mount.join(heap.name()).join(name);
        let device = mount.join("device").join(heap.name()).join(name);
        let create = || -> std::io::Result<File> {
            let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path)?;
            file.set_len(picture.buffer_size())?;
            Ok(file)
        };
        create().with_context(|| format!("cannot allocate {}", path.display()))?;
        Ok(Box::new(ServedBuffer {
            stage: self,
            heap,
            name: name.to_owned(),
            path,
            device,
            picture,
        }))
    }
}

/// A buffer in the service, which goes with its name.
struct ServedBuffer<'a> {
    stage: &'a Served,
    heap: HeapKind,
    name: String,
    path: PathBuf,
    device: PathBuf,
    picture: &'a Picture,
}

impl Shared for ServedBuffer<'_> {
    fn camera(&self) -> Result<()> {
        let frame = self.stage.dir.path().join("frame.xrgb");
        std::fs::write(&frame, self.picture.bytes())?;
        child::run(self.stage.role("camera")?.arg(&self.device).arg(&frame))?.success()?;
        Ok(())
    }

    fn edit(&self, client: &str, way: Way) -> Result<Edited> {
        let command = match &self.stage.client_in_c {
            Some(program) if client == C => Command::new(program),
            _ => self.stage.role("edit")?,
        };
        clients::edit(command, &self.path, self.picture, way)
    }

    fn edit_by_route(&self) -> Result<Edit> {
        let mut command = self.stage.role("edit-by-route")?;
        clients::arguments(&mut command, &self.path, self.picture);
        clients::printed_edit(&child::run(&mut command)?.success()?)
    }

    fn display(&self, png: &Path) -> Result<()> {
        let mut command = self.stage.role("display")?;
        command.arg(&self.device);
        command.args([self.picture.width(), self.picture.height()].map(|n| n.to_string()));
        child::run(command.arg(png))?.success()?;
        Ok(())
    }

    fn report(&self) -> Result<Report> {
        let path = self.stage.service.mount().join("stats.json");
        let text = std::fs::read_to_string(&path)
            .with_context(|| format!("cannot read {}", path.display()))?;
        parse_stats(&text)?
            .into_iter()
            .find(|report| {
                report.heap == self.heap.name() && report.file.as_deref() == Some(&self.name)
            })
            .ok_or_else(|| anyhow!("{} does not list {}/{}", path.display(), self.heap, self.name))
    }
}

impl Drop for ServedBuffer<'_> {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.path) {
            tracing::warn!(%error, path = %self.path.display(), "cannot free a buffer");
        }
    }
}

/// The buffers in a `stats.json`.
fn parse_stats(text: &str) -> Result<Vec<Report>> {
    #[derive(Deserialize)]
    struct Document {
        buffers: Vec<Report>,
    }
    let document: Document = serde_json::from_str(text).context("stats.json is not understood")?;
    Ok(document.buffers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stats_are_read_with_what_they_lack_or_have_more() {
        let text = r#"{"version": 1, "buffers": [
            {"heap": "bounce", "file": "x", "name": "", "size": 4096,
             "stats": {"brackets": 2, "bytes_cleaned": 30, "bytes_invalidated": 12, "new": 1}},
            {"heap": "checked", "file": "y", "stats": {"violations": 1}, "violations": [
                {"what": "write outside of a bracket", "pid": 9, "access": "write",
                 "offset": 4096, "len": 4096}]}]}"#;
        let reports = parse_stats(text).unwrap();
        assert_eq!(reports[0].stats.bytes_synced(), 42);
        assert!(reports[0].violations.is_empty());
        assert_eq!(reports[1].file.as_deref(), Some("y"));
        let violation = &reports[1].violations[0];
        assert_eq!((violation.pid, violation.offset), (Some(9), Some(4096)));
        assert!(parse_stats("{}").is_err());
    }
}
