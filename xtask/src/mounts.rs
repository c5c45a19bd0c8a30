//! FUSE mounts that a test left behind, and how to get rid of them.
//!
//! A process that waits for a server that answers no more cannot be killed; aborting the
//! connection frees it.

use std::{
    ffi::{OsStr, OsString},
    fs, io,
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use crate::process::run;

/// Where the kernel lists its FUSE connections, one folder for each.
const CONNECTIONS: &str = "/sys/fs/fuse/connections";

/// A mounted FUSE file system.
#[derive(Debug, PartialEq)]
pub struct Mount {
    /// Where it is mounted.
    pub point: PathBuf,
    /// The minor number of its device, by which the kernel names its connection.
    connection: u32,
}

impl Mount {
    /// Fails every request that waits for the server, and takes the mount away.
    pub fn abort(&self) -> Result<()> {
        let connections = Path::new(CONNECTIONS);
        if fs::read_dir(connections)?.next().is_none() {
            run(Command::new("mount").args(["-t", "fusectl", "fusectl"]).arg(connections))?;
        }
        let abort = connections.join(self.connection.to_string()).join("abort");
        fs::write(&abort, "1").with_context(|| format!("writing to {}", abort.display()))?;
        if rustix::process::geteuid().is_root() {
            run(Command::new("umount").arg("--lazy").arg(&self.point))
        } else {
            run(Command::new("fusermount3").arg("-uz").arg(&self.point))
        }
    }
}

/// The FUSE mounts below `folder`.
pub fn below(folder: &Path) -> io::Result<Vec<Mount>> {
    let table = fs::read("/proc/self/mountinfo")?;
    Ok(table
        .split(|&byte| byte == b'\n')
        .filter_map(parse)
        .filter(|mount| mount.point.starts_with(folder))
        .collect())
}

/// Reads a line of /proc/PID/mountinfo (proc_pid_mountinfo(5)), if it is a FUSE mount.
fn parse(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|&byte| byte == b' ');
    let device = str::from_utf8(fields.nth(2)?).ok()?;
    let point = fields.nth(1)?;
    let kind = fields.skip_while(|&field| field != b"-").nth(1)?;
    (kind == b"fuse" || kind.starts_with(b"fuse.")).then_some(Mount {
        point: unescape(point).into(),
        connection: device.split_once(':')?.1.parse().ok()?,
    })
}

/// Undoes the octal escapes of blanks and backslashes in a path.
fn unescape(path: &[u8]) -> OsString {
    let mut parts = path.split(|&byte| byte == b'\\');
    let mut out = parts.next().unwrap_or_default().to_vec();
    for part in parts {
        let code = part.get(..3).map(OsStr::from_bytes).and_then(OsStr::to_str);
        match code.and_then(|code| u8::from_str_radix(code, 8).ok()) {
            Some(byte) => {
                out.push(byte);
                out.extend(&part[3..]);
            }
            None => {
                out.push(b'\\');
                out.extend(part);
            }
        }
    }
    OsString::from_vec(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fuse_mount_is_read() {
        let line = br"87 29 0:52 / /tmp/a\040b rw,relatime shared:5 master:1 - fuse.dmabuf dmabuf rw,user_id=0";
        let mount = Mount { point: "/tmp/a b".into(), connection: 52 };
        assert_eq!(parse(line), Some(mount));
    }

    #[test]
    fn other_mounts_are_passed_over() {
        assert_eq!(parse(b"29 1 0:28 / /proc rw - fusectl fusectl rw").map(|m| m.point), None);
        assert_eq!(parse(b"29 1 0:28 / /proc rw - proc proc rw"), None);
        assert_eq!(parse(b""), None);
    }
}
