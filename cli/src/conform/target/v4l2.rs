//! A V4L2 node: buffers of its queue, exported with VIDIOC_EXPBUF.

use std::cell::{Cell, RefCell};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::rc::{Rc, Weak};
use std::time::Duration;

use dmabuf_uapi as uapi;
use rustix::fs::OFlags;
use rustix::io::Errno;

use super::super::sys::{self, Map, Mmap};
use super::{Buffer, Exporter, MapSide, Wanted};
use crate::v4l2::{self, Node};

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
    node: Node,
    next: Cell<u32>,
}

impl V4l2 {
    /// Opens the node and looks which queue it has.
    pub fn open(path: &Path) -> Result<V4l2, Errno> {
        let capability = Node::open(path)?.capability()?;
        let queue = match capability.device_caps {
            caps if caps & uapi::V4L2_CAP_VIDEO_CAPTURE != 0 => uapi::V4L2_BUF_TYPE_VIDEO_CAPTURE,
            caps if caps & uapi::V4L2_CAP_VIDEO_OUTPUT != 0 => uapi::V4L2_BUF_TYPE_VIDEO_OUTPUT,
            _ => return Err(Errno::NODEV),
        };
        let (path, stream) = (path.to_owned(), RefCell::default());
        Ok(V4l2 { path, driver: v4l2::text(&capability.driver), queue, stream })
    }

    /// The first camera that is not the node at `other`.
    pub fn camera(other: &Path) -> Option<V4l2> {
        let nodes = v4l2::nodes().into_iter().filter(|path| path != other);
        let mut nodes = nodes.filter_map(|path| V4l2::open(&path).ok());
        nodes.find(|node| node.queue == uapi::V4L2_BUF_TYPE_VIDEO_CAPTURE)
    }

    fn stream(&self) -> Result<Rc<Stream>, Errno> {
        if let Some(stream) = self.stream.borrow().upgrade() {
            return Ok(stream);
        }
        let node = Node::open(&self.path)?;
        node.request(self.queue, uapi::V4L2_MEMORY_MMAP, COUNT)?;
        let stream = Rc::new(Stream { node, next: Cell::new(0) });
        *self.stream.borrow_mut() = Rc::downgrade(&stream);
        Ok(stream)
    }

    /// VIDIOC_EXPBUF of a buffer of the queue.
    pub fn export(&self, queue: u32, index: u32, flags: OFlags) -> Result<OwnedFd, Errno> {
        self.stream()?.node.export(queue, index, flags)
    }

    /// VIDIOC_EXPBUF of one buffer, twice.
    pub fn export_twice(&self) -> Result<[OwnedFd; 2], Errno> {
        let stream = self.stream()?;
        let export = || stream.node.export(self.queue, 0, OFlags::CLOEXEC);
        Ok([export()?, export()?])
    }

    /// The queue's type.
    pub fn queue(&self) -> u32 {
        self.queue
    }

    /// The bytes of a frame.
    pub fn frame(&self) -> Result<u64, Errno> {
        Ok(Node::open(&self.path)?.format(self.queue)?.sizeimage.into())
    }

    /// Lets the camera fill the buffer with one frame: V4L2_MEMORY_DMABUF.
    pub fn capture_into(&self, buffer: &Buffer) -> Result<(), Errno> {
        let node = Node::open(&self.path)?;
        node.request(self.queue, uapi::V4L2_MEMORY_DMABUF, 1)?;
        node.queue_dmabuf(self.queue, 0, buffer, buffer.size as u32, 0)?;
        node.start(self.queue)?;
        node.wait(self.queue, Duration::from_secs(5))?;
        node.dequeue_dmabuf(self.queue).map(drop)
    }
}

impl Exporter for V4l2 {
    fn create(&self, wanted: Wanted) -> Result<Buffer, Errno> {
        let stream = self.stream()?;
        let index = stream.next.replace(stream.next.get() + 1);
        let mut flags = if wanted.writable { OFlags::RDWR } else { OFlags::RDONLY };
        flags.set(OFlags::CLOEXEC, wanted.cloexec);
        flags.set(OFlags::TRUNC, wanted.unknown_flag);
        let mut buffer = Buffer::new(stream.node.export(self.queue, index, flags)?)?;
        let (offset, flags) = (stream.node.query(self.queue, index)?.m.into(), libc::MAP_SHARED);
        let mmap = Mmap { offset, len: buffer.size, prot: sys::RW, flags };
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
