//! A V4L2 node: buffers of its queue, exported with VIDIOC_EXPBUF. `linux/videodev2.h`.

use std::cell::{Cell, RefCell};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::rc::{Rc, Weak};

use dmabuf_uapi::{ior, iow, iowr};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use rustix::io::Errno;

use super::super::sys::{self, Map, Mmap, adopt};
use super::{Buffer, Exporter, MapSide, Wanted, open};

/// `struct v4l2_capability`, in words.
type Capability = [u32; 26];
/// `struct v4l2_requestbuffers`, in words: count, type, memory, capabilities, flags.
type RequestBuffers = [u32; 5];
/// `struct v4l2_exportbuffer`, in words: type, index, plane, flags, fd.
type ExportBuffer = [u32; 16];
/// `struct v4l2_format`, in words; the union begins at the third.
type Format = [u64; 26];
/// `struct v4l2_buffer` of a 64-bit system, in words of eight bytes.
type BufferInfo = [u64; 11];

const QUERYCAP: u32 = ior::<Capability>(b'V', 0);
const G_FMT: u32 = iowr::<Format>(b'V', 4);
const REQBUFS: u32 = iowr::<RequestBuffers>(b'V', 8);
const QUERYBUF: u32 = iowr::<BufferInfo>(b'V', 9);
const QBUF: u32 = iowr::<BufferInfo>(b'V', 15);
const EXPBUF: u32 = iowr::<ExportBuffer>(b'V', 16);
const DQBUF: u32 = iowr::<BufferInfo>(b'V', 17);
const STREAMON: u32 = iow::<i32>(b'V', 18);

const CAPTURE: u32 = 1;
const OUTPUT: u32 = 2;
const MEMORY_MMAP: u32 = 1;
const MEMORY_DMABUF: u32 = 4;
const COUNT: u32 = 4;

/// The node.
pub struct V4l2 {
    path: PathBuf,
    /// The driver's name.
    pub driver: String,
    queue: u32,
    /// The queue belongs to one open file at a time: buffers that live together share it.
    stream: RefCell<Weak<Stream>>,
}

/// An open file whose queue has buffers.
struct Stream {
    node: OwnedFd,
    next: Cell<u32>,
}

impl V4l2 {
    /// Opens the node and looks which queue it has.
    pub fn open(path: &Path) -> Result<V4l2, Errno> {
        let node = open(path, OFlags::RDWR)?;
        let mut words: Capability = [0; 26];
        sys::ioctl(&node, QUERYCAP, &mut words)?;
        let name: Vec<u8> = words[..4].iter().flat_map(|word| word.to_ne_bytes()).collect();
        let name = name.split(|&byte| byte == 0).next().unwrap_or_default();
        let capabilities = words[22];
        let queue = match capabilities {
            _ if capabilities & 1 != 0 => CAPTURE,
            _ if capabilities & 2 != 0 => OUTPUT,
            _ => return Err(Errno::NODEV),
        };
        let driver = String::from_utf8_lossy(name).into_owned();
        let (path, stream) = (path.to_owned(), RefCell::default());
        Ok(V4l2 { path, driver, queue, stream })
    }

    /// The first camera that is not the node at `other`.
    pub fn camera(other: &Path) -> Option<V4l2> {
        let nodes = super::entries(Path::new("/dev"), |name| name.starts_with("video"));
        let nodes = nodes.iter().filter(|path| *path != other);
        nodes.filter_map(|path| V4l2::open(path).ok()).find(|node| node.queue == CAPTURE)
    }

    fn stream(&self) -> Result<Rc<Stream>, Errno> {
        if let Some(stream) = self.stream.borrow().upgrade() {
            return Ok(stream);
        }
        let node = open(&self.path, OFlags::RDWR)?;
        let mut request: RequestBuffers = [COUNT, self.queue, MEMORY_MMAP, 0, 0];
        sys::ioctl(&node, REQBUFS, &mut request)?;
        let stream = Rc::new(Stream { node, next: Cell::new(0) });
        *self.stream.borrow_mut() = Rc::downgrade(&stream);
        Ok(stream)
    }

    /// VIDIOC_EXPBUF of a buffer of the queue.
    pub fn export(&self, kind: u32, index: u32, flags: u32) -> Result<OwnedFd, Errno> {
        self.export_from(&*self.stream()?, kind, index, flags)
    }

    /// VIDIOC_EXPBUF of one buffer, twice.
    pub fn export_twice(&self) -> Result<[OwnedFd; 2], Errno> {
        let stream = self.stream()?;
        let export = || self.export_from(&stream, self.queue, 0, OFlags::CLOEXEC.bits());
        Ok([export()?, export()?])
    }

    /// The queue's type.
    pub fn queue(&self) -> u32 {
        self.queue
    }

    fn export_from(
        &self,
        stream: &Stream,
        kind: u32,
        index: u32,
        flags: u32,
    ) -> Result<OwnedFd, Errno> {
        let mut argument: ExportBuffer = [0; 16];
        argument[..4].copy_from_slice(&[kind, index, 0, flags]);
        sys::ioctl(&stream.node, EXPBUF, &mut argument)?;
        adopt(argument[4] as i32)
    }

    /// The bytes of a frame.
    pub fn frame(&self) -> Result<u64, Errno> {
        let node = open(&self.path, OFlags::RDWR)?;
        let mut format: Format = [0; 26];
        // The type is the first four bytes, on either byte order.
        format[0] = word(self.queue, 0);
        sys::ioctl(&node, G_FMT, &mut format)?;
        // width, height, pixelformat, field, bytesperline, sizeimage: the union's sixth word.
        Ok(u64::from(halves(format[3])[1]))
    }

    /// Lets the camera fill the buffer with one frame: V4L2_MEMORY_DMABUF.
    pub fn capture_into(&self, buffer: &Buffer) -> Result<(), Errno> {
        let node = open(&self.path, OFlags::RDWR | OFlags::NONBLOCK)?;
        let mut request: RequestBuffers = [1, self.queue, MEMORY_DMABUF, 0, 0];
        sys::ioctl(&node, REQBUFS, &mut request)?;
        let fd = buffer.fd.as_raw_fd() as u32;
        let mut info: BufferInfo = [0; 11];
        info[0] = word(0, self.queue);
        info[7] = word(0, MEMORY_DMABUF);
        info[8] = word(fd, 0);
        info[9] = word(buffer.size as u32, 0);
        let (memory, plane, length) = (info[7], info[8], info[9]);
        sys::ioctl(&node, QBUF, &mut info)?;
        sys::ioctl(&node, STREAMON, &mut (self.queue as i32))?;
        let limit = Timespec { tv_sec: 5, tv_nsec: 0 };
        let mut ready = [PollFd::from_borrowed_fd(node.as_fd(), PollFlags::IN)];
        if poll(&mut ready, Some(&limit))? == 0 {
            return Err(Errno::TIMEDOUT);
        }
        (info[7], info[8], info[9]) = (memory, plane, length);
        sys::ioctl(&node, DQBUF, &mut info).map(drop)
    }
}

/// Two words of four bytes, as they lie in memory.
fn word(first: u32, second: u32) -> u64 {
    let mut bytes = [0; 8];
    bytes[..4].copy_from_slice(&first.to_ne_bytes());
    bytes[4..].copy_from_slice(&second.to_ne_bytes());
    u64::from_ne_bytes(bytes)
}

fn halves(word: u64) -> [u32; 2] {
    let [a, b, c, d, e, f, g, h] = word.to_ne_bytes();
    [u32::from_ne_bytes([a, b, c, d]), u32::from_ne_bytes([e, f, g, h])]
}

impl Exporter for V4l2 {
    fn create(&self, wanted: Wanted) -> Result<Buffer, Errno> {
        let stream = self.stream()?;
        let index = stream.next.replace(stream.next.get() + 1);
        let mut flags = if wanted.writable { OFlags::RDWR } else { OFlags::RDONLY };
        flags.set(OFlags::CLOEXEC, wanted.cloexec);
        flags.set(OFlags::TRUNC, wanted.unknown_flag);
        let fd = self.export_from(&stream, self.queue, index, flags.bits())?;
        let mut buffer = Buffer::new(fd)?;
        let mut info: BufferInfo = [0; 11];
        info[0] = word(index, self.queue);
        sys::ioctl(&stream.node, QUERYBUF, &mut info)?;
        let ([offset, _], flags) = (halves(info[8]), libc::MAP_SHARED);
        let mmap = Mmap { offset: offset.into(), len: buffer.size, prot: sys::RW, flags };
        if let Ok(map) = Map::new(&stream.node, mmap) {
            buffer.other = Some(Box::new(MapSide(map)));
        }
        buffer.keep = Some(Box::new(stream));
        Ok(buffer)
    }

    fn has_fixed_size(&self) -> bool {
        true
    }
}
