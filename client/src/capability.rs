//! What can be done with a buffer, asked before anything is mapped.

use std::os::fd::BorrowedFd;

use dmabuf_core::Granule;
use dmabuf_uapi::*;
use rustix::fs::{OFlags, SealFlags, fcntl_get_seals, fcntl_getfl};

use crate::{Error, FdInfo, Kind};

/// What a mapping may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mmap {
    /// There can be none.
    Never,
    /// Loads only.
    Read,
    /// Loads and stores.
    ReadWrite,
}

/// What a buffer is capable of, for its lifetime.
///
/// `None` is an honest answer: nobody knows. Mainline's exporters do not tell how they map or
/// whether they are coherent; served buffers, the kernel module's and memfds tell everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capability {
    /// What this descriptor can be mapped for: what the buffer allows, cut down to the mode that
    /// the descriptor was opened with.
    pub mmap: Option<Mmap>,
    /// Whether CPU and devices see one memory, so that no bracket copies or cleans anything.
    pub coherent: Option<bool>,
    /// Whether CPU accesses need a bracket.
    pub bracket: Option<bool>,
    /// Whether a bracket's work grows with its range.
    pub range: Option<bool>,
    /// Whether a bracket moves only the pages that were touched.
    pub tracked: Option<bool>,
    /// Whether accesses outside of brackets are reported.
    pub checked: Option<bool>,
    /// The unit in which bytes move between CPU and devices.
    pub granule: Option<Granule>,
    /// Whether the size is promised never to change under a mapping: so it is for dma-bufs, and
    /// for a memfd with F_SEAL_SHRINK.
    pub fixed_size: Option<bool>,
    /// The exporter's name.
    pub exporter: Option<String>,
    /// The name that the buffer had when it came here; it can change: [`DmaBuf::name`].
    ///
    /// [`DmaBuf::name`]: crate::DmaBuf::name
    pub name: Option<String>,
}

impl Capability {
    pub(crate) fn ask(
        fd: BorrowedFd<'_>,
        kind: Kind,
        query: Option<&DmaBufQuery>,
    ) -> Result<Capability, Error> {
        let mode = mode(fd)?;
        Ok(match (kind, query) {
            (Kind::Other, _) => Capability::default(),
            (Kind::Memfd, _) => Capability::of_memfd(fd, mode)?,
            (_, Some(query)) => Capability::of_query(query, mode),
            (_, None) => Capability::of_mainline(fd),
        })
    }

    fn of_query(query: &DmaBufQuery, mode: Mmap) -> Capability {
        let has = |flag| Some(query.flags & flag != 0);
        let mmap = if query.flags & DMA_BUF_QUERY_MMAP_READ == 0 {
            Mmap::Never
        } else if query.flags & DMA_BUF_QUERY_MMAP_WRITE == 0 {
            Mmap::Read
        } else {
            Mmap::ReadWrite
        };
        Capability {
            mmap: Some(mmap.min(mode)),
            coherent: has(DMA_BUF_QUERY_COHERENT),
            bracket: has(DMA_BUF_QUERY_BRACKET),
            range: has(DMA_BUF_QUERY_RANGE),
            tracked: has(DMA_BUF_QUERY_TRACKED),
            checked: has(DMA_BUF_QUERY_CHECKED),
            granule: Granule::new(query.granule),
            fixed_size: Some(true),
            exporter: text(&query.exporter),
            name: text(&query.name),
        }
    }

    /// What the kernel says of any dma-buf, in /proc/self/fdinfo, and what its documentation says
    /// of them all: `Documentation/driver-api/dma-buf.rst`.
    fn of_mainline(fd: BorrowedFd<'_>) -> Capability {
        let info = FdInfo::of(fd).ok().flatten();
        Capability {
            bracket: Some(true),
            checked: Some(false),
            fixed_size: Some(true),
            name: info.as_ref().and_then(|info| info.name.clone()),
            exporter: info.map(|info| info.exporter),
            ..Capability::default()
        }
    }

    fn of_memfd(fd: BorrowedFd<'_>, mode: Mmap) -> Result<Capability, Error> {
        let seals = fcntl_get_seals(fd).map_err(|errno| Error::Inspect(errno.into()))?;
        let sealed = seals.intersects(SealFlags::WRITE | SealFlags::FUTURE_WRITE);
        let mmap = if sealed { Mmap::Read } else { Mmap::ReadWrite };
        Ok(Capability {
            mmap: Some(mmap.min(mode)),
            coherent: Some(true),
            bracket: Some(false),
            range: Some(false),
            tracked: Some(false),
            checked: Some(false),
            granule: Some(Granule::BYTE),
            fixed_size: Some(seals.contains(SealFlags::SHRINK)),
            exporter: None,
            name: None,
        })
    }
}

/// What the descriptor's mode lets `mmap(2)` do; a shared mapping always needs it to be readable.
fn mode(fd: BorrowedFd<'_>) -> Result<Mmap, Error> {
    let flags = fcntl_getfl(fd).map_err(|errno| Error::Inspect(errno.into()))?;
    Ok(match flags & OFlags::ACCMODE {
        OFlags::RDWR => Mmap::ReadWrite,
        OFlags::WRONLY => Mmap::Never,
        _ => Mmap::Read,
    })
}

/// The text before the first NUL; `None` if there is none.
pub(crate) fn text(bytes: &[u8]) -> Option<String> {
    let text = bytes.split(|&byte| byte == 0).next().unwrap_or_default();
    (!text.is_empty()).then(|| String::from_utf8_lossy(text).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_cut_down_to_the_descriptors_mode() {
        let query = DmaBufQuery {
            flags: DMA_BUF_QUERY_MMAP_READ | DMA_BUF_QUERY_MMAP_WRITE | DMA_BUF_QUERY_RANGE,
            granule: 64,
            exporter: *b"bounce\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
            ..DmaBufQuery::default()
        };
        let capability = Capability::of_query(&query, Mmap::ReadWrite);
        assert_eq!(capability.mmap, Some(Mmap::ReadWrite));
        assert_eq!(capability.range, Some(true));
        assert_eq!(capability.coherent, Some(false));
        assert_eq!(capability.granule, Granule::new(64));
        assert_eq!(capability.exporter.as_deref(), Some("bounce"));
        assert_eq!(capability.name, None);
        assert_eq!(Capability::of_query(&query, Mmap::Read).mmap, Some(Mmap::Read));

        let unmappable = DmaBufQuery::default();
        let capability = Capability::of_query(&unmappable, Mmap::ReadWrite);
        assert_eq!(capability.mmap, Some(Mmap::Never));
        assert_eq!(capability.granule, None, "a granule of 0 is no granule");
    }
}
