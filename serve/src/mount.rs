//! The mount point: its default, taking over a dead one, letting go of it.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::channel;
use std::time::Duration;

use rustix::fs::{FileType, Mode, Stat};
use rustix::io::Errno;
use rustix::mount::UnmountFlags;

use crate::service::Error;

/// The name of the file system in mount tables.
pub(crate) const NAME: &str = "dmabuf";

/// How long a mount may take to answer.
const ANSWER: Duration = Duration::from_secs(5);

/// Where a service mounts that is not told where: `/run/dmabuf` for root, else
/// `$XDG_RUNTIME_DIR/dmabuf`.
pub(crate) fn default_mountpoint() -> Result<PathBuf, Error> {
    if rustix::process::geteuid().is_root() {
        return Ok(Path::new("/run").join(NAME));
    }
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").ok_or(Error::NoMountpoint)?;
    Ok(Path::new(&runtime).join(NAME))
}

/// Makes `path` a directory to mount on: creates it if it is not there, and unmounts what a service
/// left there that died. The path comes back without links in it.
pub(crate) fn prepare(path: &Path) -> Result<PathBuf, Error> {
    let error = |error| Error::Mountpoint { path: path.to_owned(), error };
    let path = without_links(path).map_err(error)?;
    loop {
        let is_served = is_served(&path).map_err(error)?;
        match stat(&path) {
            Some(Ok(_)) if is_served => return Err(Error::Served(path)),
            Some(Ok(stat)) if FileType::from_raw_mode(stat.st_mode).is_dir() => return Ok(path),
            Some(Ok(_)) => return Err(error(Errno::NOTDIR.into())),
            Some(Err(Errno::NOENT)) => {
                rustix::fs::mkdir(&path, Mode::from_raw_mode(0o755))
                    .map_err(|e| error(e.into()))?;
            }
            // A dead service's mount answers so until it is unmounted; one that is just dying, with
            // the other.
            Some(Err(Errno::NOTCONN | Errno::CONNABORTED)) => detach(&path).map_err(error)?,
            Some(Err(other)) => return Err(error(other.into())),
            None => return Err(Error::NoAnswer(path)),
        }
    }
}

/// Where `path` is. Its last name is not followed unless it is a link: a mount there may be one that
/// nobody answers for.
fn without_links(path: &Path) -> io::Result<PathBuf> {
    if let Ok(target) = std::fs::read_link(path) {
        return std::fs::canonicalize(path.parent().unwrap_or(path).join(target));
    }
    match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) if parent.as_os_str().is_empty() => {
            Ok(std::fs::canonicalize(".")?.join(name))
        }
        (Some(parent), Some(name)) => Ok(std::fs::canonicalize(parent)?.join(name)),
        _ => std::fs::canonicalize(path),
    }
}

/// stat(2), if it is answered in time: the service that is mounted there may hang.
fn stat(path: &Path) -> Option<rustix::io::Result<Stat>> {
    let (answer, answered) = channel();
    let path = path.to_owned();
    std::thread::spawn(move || {
        // Nobody listens once it took too long.
        let _ = answer.send(rustix::fs::stat(&path));
    });
    answered.recv_timeout(ANSWER).ok()
}

/// Takes the mount at `path` out of the file system, whoever still uses it.
pub(crate) fn detach(path: &Path) -> io::Result<()> {
    match rustix::mount::unmount(path, UnmountFlags::DETACH) {
        Ok(()) => Ok(()),
        Err(Errno::PERM) => {
            // What a plain user has mounted through fusermount3 only that can unmount.
            let status = Command::new("fusermount3").args(["-u", "-z", "--"]).arg(path).status()?;
            if status.success() { Ok(()) } else { Err(io::ErrorKind::PermissionDenied.into()) }
        }
        Err(errno) => Err(errno.into()),
    }
}

/// Whether one of these file systems is mounted at `path`: proc_pid_mountinfo(5).
fn is_served(path: &Path) -> io::Result<bool> {
    let mountinfo = std::fs::read_to_string("/proc/self/mountinfo")?;
    Ok(mountinfo.lines().any(|line| {
        let Some((mount, file_system)) = line.split_once(" - ") else { return false };
        let mut file_system = file_system.split(' ');
        let kind = file_system.next().unwrap_or_default();
        let source = file_system.next().unwrap_or_default();
        let at = mount.split(' ').nth(4).unwrap_or_default();
        kind.starts_with("fuse")
            && source == NAME
            && unescape(at) == path.as_os_str().as_encoded_bytes()
    }))
}

/// A path as mountinfo writes it, where a space is `\040`.
fn unescape(field: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = field.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let octal = after.get(..3).filter(|_| first == b'\\');
        let code = octal
            .and_then(|octal| std::str::from_utf8(octal).ok())
            .and_then(|octal| u8::from_str_radix(octal, 8).ok());
        bytes.push(code.unwrap_or(first));
        rest = if code.is_some() { &after[3..] } else { after };
    }
    bytes
}

#[cfg(test)]
mod tests {
    #[test]
    fn mountinfo_paths_are_unescaped() {
        assert_eq!(super::unescape(r"/a\040b\134c"), br"/a b\c");
        assert_eq!(super::unescape(r"/end\"), br"/end\");
    }
}
