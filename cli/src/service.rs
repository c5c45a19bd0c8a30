//! A service of the command's own, for as long as it needs one.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process};

use crate::demo::child::{self, check_interrupt, last_words};

/// How long the service may take to mount, and to unmount.
const PATIENCE: Duration = Duration::from_secs(10);

/// The service's process. It ends, and its mount with it, when this is dropped.
pub struct Service {
    child: Child,
    mount: PathBuf,
}

impl Service {
    /// Mounts it in a directory of the caller's; an error says why FUSE cannot be used.
    pub fn start(dir: &Path) -> Result<Service> {
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

    /// Where it is mounted.
    pub fn mount(&self) -> &Path {
        &self.mount
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
pub fn this_program() -> Result<Command> {
    Ok(Command::new(std::env::current_exe()?))
}
