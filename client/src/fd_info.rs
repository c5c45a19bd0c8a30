//! What the kernel tells of an open dma-buf in `/proc/PID/fdinfo/FD`, and the buffer's name.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use dmabuf_uapi::DMA_BUF_NAME_LEN;
use rustix::io::Errno;

use crate::{DmaBuf, Error, Kind, capability, ioctl};

/// The kernel's lines on a dma-buf in `/proc/PID/fdinfo/FD`: `dma_buf_show_fdinfo` of
/// drivers/dma-buf/dma-buf.c.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FdInfo {
    /// `size`: in bytes.
    pub size: u64,
    /// `count`: references to the buffer's file, by descriptors, mappings and drivers. The kernel
    /// takes away the one that it holds while it tells.
    pub count: u64,
    /// `exp_name`: the exporter's name.
    pub exporter: String,
    /// `name`: the buffer's; `None` if it has none, or an empty one. Of a name with a line's end in
    /// it this is the first line.
    pub name: Option<String>,
}

impl FdInfo {
    /// Reads the text of such a file, of any process; `None` if it is not about a dma-buf.
    pub fn parse(text: &str) -> Option<FdInfo> {
        // A name is the last field and may be anything, so the first line of each key is the one.
        let field =
            |key: &str| text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(":\t"));
        let number = |key| field(key)?.trim().parse().ok();
        Some(FdInfo {
            size: number("size")?,
            count: number("count")?,
            exporter: field("exp_name")?.to_owned(),
            name: field("name").filter(|name| !name.is_empty()).map(str::to_owned),
        })
    }

    pub(crate) fn of(fd: BorrowedFd<'_>) -> io::Result<Option<FdInfo>> {
        let text = std::fs::read(format!("/proc/self/fdinfo/{}", fd.as_raw_fd()))?;
        Ok(FdInfo::parse(&String::from_utf8_lossy(&text)))
    }
}

impl DmaBuf {
    /// What the kernel tells of the buffer, now; `None` if it is no dma-buf of the kernel's.
    ///
    /// # Errors
    ///
    /// [`Error::Inspect`], where there is no /proc.
    pub fn fd_info(&self) -> Result<Option<FdInfo>, Error> {
        match self.kind() {
            Kind::Kernel => FdInfo::of(self.as_fd()).map_err(Error::Inspect),
            Kind::Served | Kind::Memfd | Kind::Other => Ok(None),
        }
    }

    /// The buffer's name, now: any holder of a descriptor may change it.
    ///
    /// # Errors
    ///
    /// [`Error::Inspect`].
    pub fn name(&self) -> Result<Option<String>, Error> {
        Ok(match self.kind() {
            Kind::Served => {
                let query = ioctl::query(self.as_fd());
                capability::text(&query.map_err(|errno| Error::Inspect(errno.into()))?.name)
            }
            Kind::Kernel | Kind::Memfd | Kind::Other => self.fd_info()?.and_then(|info| info.name),
        })
    }

    /// Gives the buffer a name, for whoever looks for where memory is gone; an empty one takes it
    /// away: `DMA_BUF_SET_NAME`, since Linux 5.3.
    ///
    /// # Errors
    ///
    /// [`Error::Name`]: a kernel buffer's name has at most 31 bytes, a served one's at most 7,
    /// because FUSE does not pass more; neither has a NUL or a line's end in it.
    pub fn set_name(&self, name: &str) -> Result<(), Error> {
        let refused =
            |errno: Errno| Error::Name { name: name.to_owned(), source: io::Error::from(errno) };
        if !matches!(self.kind(), Kind::Kernel | Kind::Served) {
            return Err(refused(Errno::NOTTY));
        }
        let mut bytes = [0; DMA_BUF_NAME_LEN];
        if name.len() >= bytes.len() || name.contains(['\0', '\n']) {
            return Err(refused(Errno::INVAL));
        }
        bytes[..name.len()].copy_from_slice(name.as_bytes());
        ioctl::set_name(self.as_fd(), bytes).map_err(refused)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "pos:\t0\nflags:\t02000002\nmnt_id:\t16\nino:\t8\nsize:\t16384\ncount:\t2\n\
                        exp_name:\tudmabuf\n";

    #[test]
    fn the_kernels_lines_are_read() {
        let info = FdInfo::parse(TEXT).unwrap();
        assert_eq!((info.size, info.count), (16384, 2));
        assert_eq!(info.exporter, "udmabuf");
        assert_eq!(info.name, None);
        let named = FdInfo::parse(&format!("{TEXT}name:\ta: b \n")).unwrap();
        assert_eq!(named.name.as_deref(), Some("a: b "));
        assert_eq!(FdInfo::parse(&format!("{TEXT}name:\t\n")).unwrap().name, None);
    }

    #[test]
    fn a_name_cannot_pass_for_another_line() {
        let text = format!("{TEXT}name:\tevil\nsize:\t1\nexp_name:\tsystem\nname:\tgood\n");
        let info = FdInfo::parse(&text).unwrap();
        assert_eq!((info.size, info.exporter.as_str()), (16384, "udmabuf"));
        assert_eq!(info.name.as_deref(), Some("evil"));
    }

    #[test]
    fn the_lines_of_another_file_are_no_dma_bufs() {
        assert_eq!(FdInfo::parse("pos:\t0\nflags:\t02\nmnt_id:\t16\nino:\t8\n"), None);
        assert_eq!(FdInfo::parse("pos:\t0\nsize:\t-1\ncount:\t1\nexp_name:\tx\n"), None);
    }
}
