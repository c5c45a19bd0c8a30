//! The story on the service: every part is a process of its own, and they meet in a file system.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use dmabuf_serve::export::HeapKind;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;
use tempfile::TempDir;

use super::child::{self, check_interrupt, last_words};
use super::clients;
use super::contract::Way;
use super::picture::Picture;
use super::stage::{Edit, Edited, Report, Shared, Stage};

/// How long the service may take to mount, and to unmount.
const PATIENCE: Duration = Duration::from_secs(10);

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
        let mount = &self.service.mount;
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
        let path = self.stage.service.mount.join("stats.json");
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

/// The service's process. It ends, and its mount with it, when this is dropped.
struct Service {
    child: Child,
    mount: PathBuf,
}

impl Service {
    fn start(dir: &Path) -> Result<Service> {
        let (mount, log) = (dir.join("mount"), dir.join("serve.log"));
        std::fs::create_dir(&mount)?;
        let stderr = match std::env::var_os("RUST_LOG") {
            Some(_) => Stdio::inherit(),
            None => File::create(&log)?.into(),
        };
        let child = this_program()?
            .args(["serve", "--exit-with-parent"])
            .arg(&mount)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()?;
        let mut service = Service { child, mount };
        if service.is_ready()? {
            return Ok(service);
        }
        let words = std::fs::read_to_string(&log).unwrap_or_default();
        bail!("{}", last_words(&words).trim_start_matches("dmabuf: "))
    }

    /// Waits for the line that says so; false if the service ended without.
    fn is_ready(&mut self) -> Result<bool> {
        let stdout = self.child.stdout.take().context("piped")?;
        let limit = Timespec::try_from(PATIENCE)?;
        loop {
            match poll(&mut [PollFd::new(&stdout, PollFlags::IN)], Some(&limit)) {
                Ok(0) => bail!("the service is not ready after {} seconds", PATIENCE.as_secs()),
                Ok(_) => break,
                Err(Errno::INTR) => check_interrupt()?,
                Err(error) => return Err(error.into()),
            }
        }
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        Ok(line.starts_with("ready "))
    }

    fn is_mounted(&self) -> bool {
        let device = |path: &Path| rustix::fs::stat(path).map(|stat| stat.st_dev);
        // A mount without its service cannot be looked at either.
        let above = self.mount.parent().and_then(|parent| device(parent).ok());
        device(&self.mount).ok() != above
    }

    /// Takes away the mount of a service that died without doing so.
    fn detach(&self) {
        let detached = rustix::mount::unmount(&self.mount, rustix::mount::UnmountFlags::DETACH);
        if detached.is_err() {
            let tool = Command::new("fusermount3").arg("-uzq").arg(&self.mount).status();
            if !tool.is_ok_and(|status| status.success()) {
                tracing::error!(mount = %self.mount.display(), "cannot unmount: use umount -l");
            }
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        if let (Some(pid), Ok(None)) = (pid, self.child.try_wait())
            && (kill_process(pid, Signal::TERM).is_err()
                || !matches!(child::wait(&mut self.child, PATIENCE), Ok(Some(_))))
        {
            // Nothing more can be done about a failure of these.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        if self.is_mounted() {
            self.detach();
        }
    }
}

/// The running binary, to be started in another role.
fn this_program() -> Result<Command> {
    Ok(Command::new(std::env::current_exe()?))
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
