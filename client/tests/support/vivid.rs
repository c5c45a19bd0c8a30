//! The video driver vivid: a camera that needs no hardware.
#![allow(dead_code, reason = "each test uses its part")]
#![allow(unsafe_code)]

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use dmabuf_uapi::*;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::io::Errno;
use rustix::ioctl::{Opcode, Updater, ioctl};

const QUEUE: u32 = V4L2_BUF_TYPE_VIDEO_CAPTURE;

/// vivid's camera, for one test at a time.
pub struct Camera(File);

impl Camera {
    /// The camera, or a line that says that there is none.
    pub fn open() -> Option<Camera> {
        let nodes = std::fs::read_dir("/dev").ok()?.flatten();
        let nodes = nodes.filter(|node| node.file_name().to_string_lossy().starts_with("video"));
        let opened = nodes.filter_map(|node| {
            let camera = Camera(File::options().read(true).write(true).open(node.path()).ok()?);
            let mut told = V4l2Capability::default();
            camera.call::<{ VIDIOC_QUERYCAP as Opcode }, _>(&mut told).ok()?;
            let captures = told.device_caps & V4L2_CAP_VIDEO_CAPTURE != 0;
            (captures && told.driver.starts_with(b"vivid\0")).then_some(camera)
        });
        let camera = { opened }.next();
        match &camera {
            Some(camera) => flock(&camera.0, FlockOperation::LockExclusive).unwrap(),
            None => println!("skipped: the module vivid is not loaded"),
        }
        camera
    }

    /// The bytes of a frame.
    pub fn frame(&self) -> u64 {
        let mut format =
            V4l2Format { kind: QUEUE, align: [], pix: V4l2PixFormat::default(), rest: [0; 38] };
        self.call::<{ VIDIOC_G_FMT as Opcode }, _>(&mut format).unwrap();
        format.pix.sizeimage.into()
    }

    /// Exports a buffer of the camera's queue: VIDIOC_EXPBUF.
    pub fn export(&self) -> OwnedFd {
        self.request(V4L2_MEMORY_MMAP);
        let flags = (OFlags::CLOEXEC | OFlags::RDWR).bits();
        let mut export = V4l2ExportBuffer { kind: QUEUE, flags, fd: -1, ..Default::default() };
        self.call::<{ VIDIOC_EXPBUF as Opcode }, _>(&mut export).unwrap();
        // SAFETY: The call returned a new descriptor.
        unsafe { OwnedFd::from_raw_fd(export.fd) }
    }

    /// Fills a buffer of anyone's with a frame: V4L2_MEMORY_DMABUF.
    pub fn capture_into(&self, buffer: BorrowedFd<'_>, len: u64) {
        self.request(V4L2_MEMORY_DMABUF);
        let empty = V4l2Buffer { kind: QUEUE, memory: V4L2_MEMORY_DMABUF, ..Default::default() };
        let (m, length) = (buffer.as_raw_fd() as u32, len as u32);
        self.call::<{ VIDIOC_QBUF as Opcode }, _>(&mut V4l2Buffer { m, length, ..empty }).unwrap();
        self.call::<{ VIDIOC_STREAMON as Opcode }, _>(&mut { QUEUE }).unwrap();
        let limit = Timespec { tv_sec: 10, tv_nsec: 0 };
        let mut ready = [PollFd::from_borrowed_fd(self.0.as_fd(), PollFlags::IN)];
        assert_eq!(poll(&mut ready, Some(&limit)), Ok(1), "a frame");
        let mut filled = empty;
        self.call::<{ VIDIOC_DQBUF as Opcode }, _>(&mut filled).unwrap();
        self.call::<{ VIDIOC_STREAMOFF as Opcode }, _>(&mut { QUEUE }).unwrap();
        assert_eq!(
            (filled.flags & V4L2_BUF_FLAG_ERROR, filled.bytesused),
            (0, self.frame() as u32)
        );
    }

    /// Makes a place in the queue.
    fn request(&self, memory: u32) {
        let mut request = V4l2RequestBuffers { kind: QUEUE, memory, ..Default::default() };
        self.call::<{ VIDIOC_REQBUFS as Opcode }, _>(&mut request).unwrap();
        request.count = 1;
        self.call::<{ VIDIOC_REQBUFS as Opcode }, _>(&mut request).unwrap();
    }

    fn call<const NUMBER: Opcode, T>(&self, argument: &mut T) -> Result<(), Errno> {
        // SAFETY: Each number given here encodes the struct that it is given with, which is of
        // integers.
        unsafe { ioctl(&self.0, Updater::<NUMBER, T>::new(argument)) }
    }
}
