//! `/dev/udmabuf`: dma-bufs made of pages of memfds.
//!
//! The kernel has one answer, EINVAL, for nearly all that can be wrong: drivers/dma-buf/udmabuf.c.
//! So each of its conditions is checked here first, and has a name.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use dmabuf_core::Range;
use dmabuf_uapi::*;
use rustix::fs::{
    MemfdFlags, OFlags, SealFlags, fcntl_add_seals, fcntl_get_seals, fstat, ftruncate,
};
use rustix::io::Errno;
use rustix::param::page_size;

use super::UDMABUF;
use crate::{DmaBuf, Error, ioctl};

const PARAMETERS: &str = "/sys/module/udmabuf/parameters";

/// `/dev/udmabuf`, open.
#[derive(Debug)]
pub struct Udmabuf {
    device: OwnedFd,
}

/// A piece of a memfd, for [`Udmabuf::create_list`].
#[derive(Clone, Copy, Debug)]
pub struct Piece<'a> {
    /// The memfd, sealed with F_SEAL_SHRINK and not with F_SEAL_WRITE. hugetlb's are taken, too.
    pub memfd: BorrowedFd<'a>,
    /// Which of its bytes: whole pages.
    pub range: Range,
}

/// How much udmabuf takes: the module's parameters. `None`: they are not told here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// The most pieces that a buffer is made of: `list_limit`.
    pub pieces: Option<u64>,
    /// The most MiB in a buffer: `size_limit_mb`.
    pub mebibytes: Option<u64>,
}

/// Why udmabuf makes no dma-buf of the memory that it is given.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The descriptor is no memfd: EBADFD.
    #[error("piece {piece} is no memfd: make it with memfd_create(2)")]
    NotAMemfd {
        /// The piece's place in the list.
        piece: usize,
    },

    /// It does not have F_SEAL_SHRINK.
    #[error("the memfd of piece {piece} can be cut short: add F_SEAL_SHRINK{}", how_to_seal(*sealable))]
    NotSealed {
        /// The piece's place in the list.
        piece: usize,
        /// Whether that seal can still be added.
        sealable: bool,
    },

    /// It has F_SEAL_WRITE or F_SEAL_FUTURE_WRITE.
    #[error(
        "the memfd of piece {piece} is sealed against writing, and a device may write: make one \
         without F_SEAL_WRITE and F_SEAL_FUTURE_WRITE"
    )]
    WriteSealed {
        /// The piece's place in the list.
        piece: usize,
    },

    /// Its range does not begin and end with a page.
    #[error("piece {piece}, bytes {range}, is not of whole pages of {page} bytes")]
    NotAligned {
        /// The piece's place in the list.
        piece: usize,
        /// Its range.
        range: Range,
        /// The unit that ranges count in, in bytes.
        page: u64,
    },

    /// Its range ends past the memfd's end.
    #[error("piece {piece}, bytes {range}, ends past its memfd's {size} bytes: ftruncate it first")]
    PastEnd {
        /// The piece's place in the list.
        piece: usize,
        /// Its range.
        range: Range,
        /// The memfd's size in bytes.
        size: u64,
    },

    /// No pieces.
    #[error("there are no pieces to make a buffer of")]
    Nothing,

    /// More pieces than `list_limit`.
    #[error(
        "{pieces} pieces are more than {limit}: raise it with \
         `echo {pieces} > /sys/module/udmabuf/parameters/list_limit`, or for good with \
         udmabuf.list_limit={pieces} on the kernel's command line"
    )]
    TooMany {
        /// The pieces there are.
        pieces: u64,
        /// The module's limit.
        limit: u64,
    },

    /// More bytes than `size_limit_mb`.
    #[error(
        "{size} bytes are more than {limit} MiB: raise it with \
         `echo {} > /sys/module/udmabuf/parameters/size_limit_mb`, or for good with \
         udmabuf.size_limit_mb={} on the kernel's command line",
        size.div_ceil(1 << 20), size.div_ceil(1 << 20)
    )]
    TooLarge {
        /// The buffer's size in bytes.
        size: u64,
        /// The module's limit, in MiB.
        limit: u64,
    },
}

fn how_to_seal(sealable: bool) -> &'static str {
    if sealable { "" } else { ", for which it must be made with MFD_ALLOW_SEALING" }
}

impl Refusal {
    /// What the kernel answers to the same.
    pub(crate) fn errno(&self) -> Errno {
        match self {
            Refusal::NotAMemfd { .. } => Errno::BADFD,
            _ => Errno::INVAL,
        }
    }
}

impl Udmabuf {
    /// Opens `/dev/udmabuf`.
    ///
    /// # Errors
    ///
    /// [`Error::Open`], whose message says what would give access.
    pub fn open() -> Result<Udmabuf, Error> {
        Udmabuf::open_at(Path::new(UDMABUF))
    }

    pub(super) fn open_at(path: &Path) -> Result<Udmabuf, Error> {
        Ok(Udmabuf { device: super::open(path, OFlags::RDWR)? })
    }

    /// How much it takes, now: the parameters can be changed.
    pub fn limits(&self) -> Limits {
        Limits::at(Path::new(PARAMETERS))
    }

    /// Makes a dma-buf of a range of a memfd. They are the same memory from then on; but a hole
    /// punched into the memfd detaches its pages, so it is best closed.
    ///
    /// # Errors
    ///
    /// [`Error::Udmabuf`] with what is wrong with the memfd, its range or the limits;
    /// [`Error::Allocate`] for what the kernel says.
    pub fn create(&self, memfd: impl AsFd, range: Range) -> Result<DmaBuf, Error> {
        let memfd = memfd.as_fd();
        let size = check(&[Piece { memfd, range }], self.limits())?;
        let create = UdmabufCreate {
            memfd: memfd.as_raw_fd() as u32,
            flags: UDMABUF_FLAGS_CLOEXEC,
            offset: range.start(),
            size,
        };
        DmaBuf::from_fd(
            ioctl::udmabuf_create(self.device.as_fd(), create)
                .map_err(|errno| refused(size, errno))?,
        )
    }

    /// Makes one dma-buf of several pieces, in their order. A page may be in it twice.
    ///
    /// # Errors
    ///
    /// As [`create`](Udmabuf::create).
    pub fn create_list(&self, pieces: &[Piece<'_>]) -> Result<DmaBuf, Error> {
        let size = check(pieces, self.limits())?;
        let item = |piece: &Piece<'_>| UdmabufCreateItem {
            memfd: piece.memfd.as_raw_fd() as u32,
            pad: 0,
            offset: piece.range.start(),
            size: piece.range.len(),
        };
        let items: Vec<_> = pieces.iter().map(item).collect();
        DmaBuf::from_fd(
            ioctl::udmabuf_create_list(self.device.as_fd(), UDMABUF_FLAGS_CLOEXEC, &items)
                .map_err(|errno| refused(size, errno))?,
        )
    }

    /// A buffer of new memory.
    pub(super) fn allocate(&self, size: u64) -> Result<DmaBuf, Error> {
        let refused = |errno| refused(size, errno);
        let whole = Range::new(0, size).map_err(|_| Error::EmptyRange)?;
        let memfd = memfd().map_err(refused)?;
        ftruncate(&memfd, size).map_err(refused)?;
        fcntl_add_seals(&memfd, SealFlags::SHRINK | SealFlags::GROW).map_err(refused)?;
        self.create(memfd, whole)
    }
}

fn refused(size: u64, errno: Errno) -> Error {
    Error::Allocate { heap: "udmabuf".to_owned(), size, source: errno.into() }
}

/// An empty memfd that can be sealed; not executable where the kernel can promise that.
fn memfd() -> Result<OwnedFd, Errno> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    match rustix::fs::memfd_create("dmabuf", flags | MemfdFlags::NOEXEC_SEAL) {
        Err(Errno::INVAL) => rustix::fs::memfd_create("dmabuf", flags),
        created => created,
    }
}

impl Limits {
    fn at(parameters: &Path) -> Limits {
        let parameter = |name| {
            std::fs::read_to_string(parameters.join(name))
                .ok()
                .and_then(|text| text.trim().parse().ok())
        };
        Limits { pieces: parameter("list_limit"), mebibytes: parameter("size_limit_mb") }
    }
}

/// The size of the buffer that the pieces make, if udmabuf will take them.
fn check(pieces: &[Piece<'_>], limits: Limits) -> Result<u64, Refusal> {
    if pieces.is_empty() {
        return Err(Refusal::Nothing);
    }
    if let Some(limit) = limits.pieces
        && pieces.len() as u64 > limit
    {
        return Err(Refusal::TooMany { pieces: pieces.len() as u64, limit });
    }
    let mut total = 0_u64;
    for (piece, &Piece { memfd, range }) in pieces.iter().enumerate() {
        check_piece(piece, memfd, range)?;
        total = total.saturating_add(range.len());
    }
    match limits.mebibytes {
        Some(limit) if total > limit.saturating_mul(1 << 20) => {
            Err(Refusal::TooLarge { size: total, limit })
        }
        _ => Ok(total),
    }
}

fn check_piece(piece: usize, memfd: BorrowedFd<'_>, range: Range) -> Result<(), Refusal> {
    let seals = fcntl_get_seals(memfd).map_err(|_| Refusal::NotAMemfd { piece })?;
    if !seals.contains(SealFlags::SHRINK) {
        return Err(Refusal::NotSealed { piece, sealable: !seals.contains(SealFlags::SEAL) });
    }
    if seals.intersects(SealFlags::WRITE | SealFlags::FUTURE_WRITE) {
        return Err(Refusal::WriteSealed { piece });
    }
    let page = page_size() as u64;
    if !range.start().is_multiple_of(page) || !range.len().is_multiple_of(page) {
        return Err(Refusal::NotAligned { piece, range, page });
    }
    let stat = fstat(memfd).map_err(|_| Refusal::NotAMemfd { piece })?;
    let size = stat.st_size.try_into().unwrap_or(0);
    if range.within(size).is_err() {
        return Err(Refusal::PastEnd { piece, range, size });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANY: Limits = Limits { pieces: None, mebibytes: None };

    fn sealed(size: u64, seals: SealFlags) -> OwnedFd {
        let memfd = memfd().unwrap();
        ftruncate(&memfd, size).unwrap();
        fcntl_add_seals(&memfd, seals).unwrap();
        memfd
    }

    fn checked(memfd: &OwnedFd, start: u64, end: u64) -> Result<u64, Refusal> {
        let range = Range::between(start, end).unwrap();
        check(&[Piece { memfd: memfd.as_fd(), range }], ANY)
    }

    #[test]
    fn every_reason_of_einval_has_its_own_name() {
        let page = page_size() as u64;
        let good = sealed(4 * page, SealFlags::SHRINK);
        assert_eq!(checked(&good, page, 3 * page), Ok(2 * page));
        for (start, end) in [(1, page + 1), (0, 1), (page, 2 * page + 8)] {
            let refusal = checked(&good, start, end).unwrap_err();
            assert!(matches!(refusal, Refusal::NotAligned { piece: 0, .. }), "{refusal}");
        }
        let refusal = checked(&good, 3 * page, 5 * page).unwrap_err();
        assert!(matches!(refusal, Refusal::PastEnd { size, .. } if size == 4 * page), "{refusal}");

        let unsealed = checked(&sealed(page, SealFlags::empty()), 0, page).unwrap_err();
        assert_eq!(unsealed, Refusal::NotSealed { piece: 0, sealable: true });
        let plain = rustix::fs::memfd_create("plain", MemfdFlags::CLOEXEC).unwrap();
        ftruncate(&plain, page).unwrap();
        let unsealable = checked(&plain, 0, page).unwrap_err();
        assert_eq!(unsealable, Refusal::NotSealed { piece: 0, sealable: false });
        assert!(unsealable.to_string().contains("MFD_ALLOW_SEALING"));
        for seal in [SealFlags::WRITE, SealFlags::FUTURE_WRITE] {
            let refusal = checked(&sealed(page, SealFlags::SHRINK | seal), 0, page).unwrap_err();
            assert_eq!(refusal, Refusal::WriteSealed { piece: 0 });
        }
        let null = std::fs::File::open("/dev/null").unwrap().into();
        let refusal = checked(&null, 0, page).unwrap_err();
        assert_eq!(refusal, Refusal::NotAMemfd { piece: 0 });
        assert_eq!(refusal.errno(), Errno::BADFD);
    }

    #[test]
    fn limits_are_read_and_held_before_the_kernel_is_asked() {
        let parameters = tempfile::tempdir().unwrap();
        assert_eq!(Limits::at(parameters.path()), ANY);
        std::fs::write(parameters.path().join("list_limit"), "2\n").unwrap();
        std::fs::write(parameters.path().join("size_limit_mb"), "1\n").unwrap();
        let limits = Limits::at(parameters.path());
        assert_eq!(limits, Limits { pieces: Some(2), mebibytes: Some(1) });

        let memfd = sealed(2 << 20, SealFlags::SHRINK);
        let piece = |len| Piece { memfd: memfd.as_fd(), range: Range::new(0, len).unwrap() };
        assert_eq!(check(&[piece(1 << 19), piece(1 << 19)], limits), Ok(1 << 20));
        assert_eq!(check(&[], limits), Err(Refusal::Nothing));
        let page = page_size() as u64;
        let too_many = check(&[piece(page); 3], limits).unwrap_err();
        assert_eq!(too_many, Refusal::TooMany { pieces: 3, limit: 2 });
        assert!(too_many.to_string().contains("udmabuf.list_limit=3"), "{too_many}");
        let too_large = check(&[piece((1 << 20) + page)], limits).unwrap_err();
        assert_eq!(too_large, Refusal::TooLarge { size: (1 << 20) + page, limit: 1 });
        assert!(too_large.to_string().contains("size_limit_mb=2"), "{too_large}");
    }
}
