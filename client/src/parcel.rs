//! Handing buffers to another program over a Unix socket, `SCM_RIGHTS` of unix(7), and checking
//! what arrives: whoever sent it may lie.

use std::io::{IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

use crate::{DmaBuf, Error, Kind};

/// The most buffers in a parcel.
pub const MAX_BUFFERS: usize = 64;

/// The most bytes in a parcel's note.
pub const MAX_NOTE: usize = 1 << 16;

/// Buffers and a note, that go from one program to another.
///
/// ```
/// # use std::os::fd::OwnedFd;
/// use std::os::unix::net::UnixStream;
/// # use rustix::fs::{MemfdFlags, SealFlags};
/// # let fd = rustix::fs::memfd_create("a", MemfdFlags::ALLOW_SEALING | MemfdFlags::CLOEXEC)?;
/// # rustix::fs::ftruncate(&fd, 4096)?;
/// # rustix::fs::fcntl_add_seals(&fd, SealFlags::SHRINK)?;
/// # let buffer = dmabuf::DmaBuf::from_fd(fd)?;
///
/// let (here, there) = UnixStream::pair()?;
/// dmabuf::Parcel { buffers: vec![buffer], note: b"left eye".to_vec() }.send(&here)?;
/// let parcel = dmabuf::Parcel::receive(&there)?;
/// assert_eq!(parcel.buffers[0].size(), 4096);
/// # assert_eq!(parcel.note, b"left eye");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// On the wire, in the machine's byte order: 8 bytes of magic, the number of buffers and the note's
/// length as `u32`; for each buffer its size as `u64` and its kind as `u64` (1: of the kernel,
/// 2: served, 3: memfd); the note. The descriptors come with the first byte.
#[derive(Debug, Default)]
pub struct Parcel {
    /// At most [`MAX_BUFFERS`].
    pub buffers: Vec<DmaBuf>,
    /// Whatever the two programs have agreed on; at most [`MAX_NOTE`] bytes.
    pub note: Vec<u8>,
}

/// What is wrong with a parcel, or with what is to be sent in one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadParcel {
    /// The bytes are not the beginning of one.
    #[error("the bytes are no parcel's: the two programs disagree on what goes over the socket")]
    NotAParcel,

    /// Too many buffers, or too long a note.
    #[error(
        "{buffers} buffers and {note} bytes of a note are too many: at most {MAX_BUFFERS} and \
         {MAX_NOTE}"
    )]
    TooLarge {
        /// The number of buffers.
        buffers: usize,
        /// The note's length in bytes.
        note: usize,
    },

    /// Not as many descriptors as buffers.
    #[error(
        "{found} descriptors came for {told} buffers: too few were sent, or this process may open \
         no more (ulimit -n)"
    )]
    Descriptors {
        /// The buffers that are described.
        told: usize,
        /// The descriptors that came.
        found: usize,
    },

    /// A descriptor is not what it is said to be, or is no buffer at all.
    #[error("descriptor {index} is a {found}, and not what it is said to be")]
    Kind {
        /// Its place in the parcel.
        index: usize,
        /// What it is.
        found: Kind,
    },

    /// A buffer is described as larger than it is: an access past its end would raise SIGBUS.
    #[error("buffer {index} has {found} bytes, and not the {told} that it is said to have")]
    Size {
        /// Its place in the parcel.
        index: usize,
        /// The size in its description, in bytes.
        told: u64,
        /// Its size, in bytes.
        found: u64,
    },

    /// A memfd that its other holders can cut short at any time, which would raise SIGBUS.
    #[error("memfd {index} can be cut short: its maker has to add F_SEAL_SHRINK")]
    Resizable {
        /// Its place in the parcel.
        index: usize,
    },
}

const MAGIC: [u8; 8] = *b"dma-buf\x01";
const HEADER: usize = 16;
const DESCRIPTION: usize = 16;

impl Parcel {
    /// Sends the buffers and the note. They stay usable here.
    ///
    /// # Errors
    ///
    /// [`Error::Parcel`] for what the other side would refuse, and [`Error::Socket`].
    pub fn send(&self, socket: &UnixStream) -> Result<(), Error> {
        for (index, buffer) in self.buffers.iter().enumerate() {
            check(index, buffer)?;
        }
        let told: Vec<_> =
            self.buffers.iter().map(|buffer| (buffer.size(), code(buffer.kind()))).collect();
        let bytes = encode(&told, &self.note)?;
        let fds: Vec<_> = self.buffers.iter().map(|buffer| buffer.as_fd()).collect();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_BUFFERS))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(&fds)) {
            return Err(too_large(fds.len(), self.note.len()).into());
        }
        let flags = SendFlags::NOSIGNAL;
        let sent = loop {
            match sendmsg(socket, &[IoSlice::new(&bytes)], &mut control, flags) {
                Err(Errno::INTR) => {}
                sent => break sent.map_err(|errno| Error::Socket(errno.into()))?,
            }
        };
        // The descriptors have gone with the first byte.
        let mut socket = socket;
        socket.write_all(&bytes[sent..]).map_err(Error::Socket)
    }

    /// Receives a parcel, and takes nothing of its description on trust: a buffer is at least as
    /// large as it is said to be, is what it is said to be, and cannot shrink.
    ///
    /// # Errors
    ///
    /// [`Error::Parcel`], [`Error::Socket`] (at the end of the stream, `UnexpectedEof`) and
    /// [`Error::Inspect`]. What the stream holds next is not known then: give it up.
    pub fn receive(socket: &UnixStream) -> Result<Parcel, Error> {
        let mut header = [0; HEADER];
        let (len, fds) = receive_first(socket, &mut header)?;
        let mut socket = socket;
        let mut read = |bytes: &mut [u8]| socket.read_exact(bytes).map_err(Error::Socket);
        read(&mut header[len..])?;
        let (count, note) = decode_header(header)?;
        if fds.len() != count {
            return Err(BadParcel::Descriptors { told: count, found: fds.len() }.into());
        }
        let mut descriptions = vec![0; count * DESCRIPTION];
        read(&mut descriptions)?;
        let mut note = vec![0; note];
        read(&mut note)?;

        let descriptions = descriptions.chunks_exact(DESCRIPTION);
        let described = fds.into_iter().zip(descriptions).enumerate();
        let buffers = described.map(|(index, (fd, description))| {
            let buffer = DmaBuf::from_fd(fd)?;
            let (size, kind) = description.split_at(8);
            let (told, found) = (number(size), buffer.size());
            if number(kind) != code(buffer.kind()) {
                return Err(BadParcel::Kind { index, found: buffer.kind() }.into());
            }
            if told > found {
                return Err(BadParcel::Size { index, told, found }.into());
            }
            check(index, &buffer)?;
            Ok(buffer)
        });
        Ok(Parcel { buffers: buffers.collect::<Result<_, Error>>()?, note })
    }
}

/// Whether the buffer may go from one program to another.
fn check(index: usize, buffer: &DmaBuf) -> Result<(), BadParcel> {
    if buffer.kind() == Kind::Other {
        return Err(BadParcel::Kind { index, found: Kind::Other });
    }
    if buffer.capability().fixed_size == Some(false) {
        return Err(BadParcel::Resizable { index });
    }
    Ok(())
}

fn code(kind: Kind) -> u64 {
    match kind {
        Kind::Other => 0,
        Kind::Kernel => 1,
        Kind::Served => 2,
        Kind::Memfd => 3,
    }
}

fn too_large(buffers: usize, note: usize) -> BadParcel {
    BadParcel::TooLarge { buffers, note }
}

fn encode(buffers: &[(u64, u64)], note: &[u8]) -> Result<Vec<u8>, BadParcel> {
    if buffers.len() > MAX_BUFFERS || note.len() > MAX_NOTE {
        return Err(too_large(buffers.len(), note.len()));
    }
    let mut bytes = MAGIC.to_vec();
    bytes.extend((buffers.len() as u32).to_ne_bytes());
    bytes.extend((note.len() as u32).to_ne_bytes());
    for (size, kind) in buffers {
        bytes.extend(size.to_ne_bytes());
        bytes.extend(kind.to_ne_bytes());
    }
    bytes.extend(note);
    Ok(bytes)
}

/// The number of buffers, and the note's length.
fn decode_header(header: [u8; HEADER]) -> Result<(usize, usize), BadParcel> {
    let [magic @ .., a, b, c, d, e, f, g, h] = header;
    if magic != MAGIC {
        return Err(BadParcel::NotAParcel);
    }
    let count = u32::from_ne_bytes([a, b, c, d]) as usize;
    let note = u32::from_ne_bytes([e, f, g, h]) as usize;
    if count > MAX_BUFFERS || note > MAX_NOTE {
        return Err(too_large(count, note));
    }
    Ok((count, note))
}

fn number(bytes: &[u8]) -> u64 {
    u64::from_ne_bytes(bytes.try_into().expect("eight bytes"))
}

/// The first bytes of the header, at least one, and the descriptors that came with them.
fn receive_first(
    socket: &UnixStream,
    header: &mut [u8; HEADER],
) -> Result<(usize, Vec<OwnedFd>), Error> {
    // No more than the header: what follows may be of the next parcel.
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_BUFFERS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = loop {
        let mut bytes = [IoSliceMut::new(header)];
        match recvmsg(socket, &mut bytes, &mut control, RecvFlags::CMSG_CLOEXEC) {
            Err(Errno::INTR) => {}
            received => break received.map_err(|errno| Error::Socket(errno.into()))?,
        }
    };
    let mut fds = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = message {
            fds.extend(received);
        }
    }
    if received.bytes == 0 {
        return Err(Error::Socket(std::io::ErrorKind::UnexpectedEof.into()));
    }
    if received.flags.contains(ReturnFlags::CTRUNC) {
        // The kernel dropped some, so that the number that is told cannot have come.
        return Err(BadParcel::Descriptors { told: fds.len() + 1, found: fds.len() }.into());
    }
    Ok((received.bytes, fds))
}

#[cfg(test)]
mod tests {
    use std::os::fd::BorrowedFd;

    use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};

    use super::*;

    fn memfd(size: u64, seals: SealFlags) -> OwnedFd {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let fd = memfd_create("parcel", flags).unwrap();
        ftruncate(&fd, size).unwrap();
        fcntl_add_seals(&fd, seals).unwrap();
        fd
    }

    /// What a program receives from one that sends these bytes and descriptors.
    fn received(bytes: &[u8], fds: &[BorrowedFd<'_>]) -> Result<Parcel, Error> {
        let (here, there) = UnixStream::pair().unwrap();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(80))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !fds.is_empty() {
            assert!(control.push(SendAncillaryMessage::ScmRights(fds)));
        }
        sendmsg(&here, &[IoSlice::new(bytes)], &mut control, SendFlags::empty()).unwrap();
        drop(here);
        Parcel::receive(&there)
    }

    #[track_caller]
    fn refused(bytes: &[u8], fds: &[BorrowedFd<'_>]) -> BadParcel {
        match received(bytes, fds) {
            Err(Error::Parcel(refused)) => refused,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_described_as_more_than_it_is_is_refused() {
        let fd = memfd(4096, SealFlags::SHRINK);
        let told = |size, kind| encode(&[(size, kind)], b"").unwrap();
        let size = refused(&told(4097, 3), &[fd.as_fd()]);
        assert_eq!(size, BadParcel::Size { index: 0, told: 4097, found: 4096 });
        let kind = refused(&told(4096, 1), &[fd.as_fd()]);
        assert_eq!(kind, BadParcel::Kind { index: 0, found: Kind::Memfd });
        assert_eq!(received(&told(100, 3), &[fd.as_fd()]).unwrap().buffers[0].size(), 4096);

        let (pipe, _writer) = std::io::pipe().unwrap();
        let other = refused(&told(0, 0), &[pipe.as_fd()]);
        assert_eq!(other, BadParcel::Kind { index: 0, found: Kind::Other });
        let resizable = memfd(4096, SealFlags::empty());
        let resizable = refused(&told(4096, 3), &[resizable.as_fd()]);
        assert_eq!(resizable, BadParcel::Resizable { index: 0 });
    }

    #[test]
    fn what_is_no_parcel_is_refused() {
        let fd = memfd(4096, SealFlags::SHRINK);
        let fd = fd.as_fd();
        let one = encode(&[(4096, 3)], b"").unwrap();
        assert_eq!(refused(b"GET / HTTP/1.1\r\n", &[fd]), BadParcel::NotAParcel);
        assert_eq!(refused(&one, &[]), BadParcel::Descriptors { told: 1, found: 0 });
        assert_eq!(refused(&one, &[fd, fd]), BadParcel::Descriptors { told: 1, found: 2 });
        let crowd = refused(&one, &[fd; 80]);
        assert!(matches!(crowd, BadParcel::Descriptors { .. }), "{crowd}");
        let mut many = one.clone();
        many[8..12].copy_from_slice(&1000_u32.to_ne_bytes());
        assert_eq!(refused(&many, &[fd]), BadParcel::TooLarge { buffers: 1000, note: 0 });
        let mut long = one.clone();
        long[12..16].copy_from_slice(&u32::MAX.to_ne_bytes());
        assert!(matches!(refused(&long, &[fd]), BadParcel::TooLarge { .. }));
        for cut in 1..one.len() {
            let error = received(&one[..cut], &[fd]).unwrap_err();
            assert!(matches!(error, Error::Socket(_)), "{cut}: {error:?}");
        }
    }
}
