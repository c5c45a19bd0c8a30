//! The mount point: its default, taking over a dead one, letting go of it.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::Mode;
use rustix::mount::UnmountFlags;

use crate::service::Error;

/// The name of the file system in mount tables.
pub(crate) const NAME: &str = "dmabuf";

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
/// left there that died.
pub(crate) fn prepare(path: &Path) -> Result<(), Error> {
    let error = |error| Error::Mountpoint { path: path.to_owned(), error };
    // A dead service's mount answers every call with ENOTCONN until it is unmounted.
    while let Err(dead) = rustix::fs::stat(path) {
        match dead {
            rustix::io::Errno::NOTCONN => detach(path).map_err(error)?,
            rustix::io::Errno::NOENT => {
                rustix::fs::mkdir(path, Mode::from_raw_mode(0o755)).map_err(|e| error(e.into()))?;
            }
            other => return Err(error(other.into())),
        }
    }
    if is_served(path).map_err(error)? {
        return Err(Error::Served(path.to_owned()));
    }
    Ok(())
}

/// Takes the mount at `path` out of the file system, whoever still uses it.
pub(crate) fn detach(path: &Path) -> io::Result<()> {
    match rustix::mount::unmount(path, UnmountFlags::DETACH) {
        Ok(()) => Ok(()),
        Err(rustix::io::Errno::PERM) => {
            // What a plain user has mounted through fusermount3 only that can unmount.
            let status = Command::new("fusermount3").args(["-u", "-z", "--"]).arg(path).status()?;
            if status.success() { Ok(()) } else { Err(io::ErrorKind::PermissionDenied.into()) }
        }
        Err(errno) => Err(errno.into()),
    }
}

/// Whether one of these file systems is mounted at `path`: proc_pid_mountinfo(5).
fn is_served(path: &Path) -> io::Result<bool> {
    let path = std::fs::canonicalize(path)?;
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
