//! V4L2 nodes with one plane for each buffer: the calls, each under its own name.
//!
//! <https://docs.kernel.org/userspace-api/media/v4l/v4l2.html>. A queue is named by its type,
//! `V4L2_BUF_TYPE_VIDEO_CAPTURE` or `V4L2_BUF_TYPE_VIDEO_OUTPUT`. Nothing blocks but
//! [`Node::wait`].
#![allow(unsafe_code)]

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use dmabuf_uapi::*;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::ioctl::{Opcode, Updater, ioctl};

/// An open node. It has at most one queue for each direction, which belongs to this open file from
/// the first [`request`](Node::request) on until it is dropped.
#[derive(Debug)]
pub struct Node(OwnedFd);

impl AsFd for Node {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Node {
    /// Opens a node, or any file.
    pub fn open(path: &Path) -> Result<Node, Errno> {
        let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC;
        Ok(Node(rustix::fs::open(path, flags, Mode::empty())?))
    }

    /// VIDIOC_QUERYCAP.
    pub fn capability(&self) -> Result<V4l2Capability, Errno> {
        let mut capability = V4l2Capability::default();
        self.call::<{ VIDIOC_QUERYCAP as Opcode }, _>(&mut capability)?;
        if capability.capabilities & V4L2_CAP_DEVICE_CAPS == 0 {
            capability.device_caps = capability.capabilities;
        }
        Ok(capability)
    }

    /// VIDIOC_ENUM_FMT: the pixel formats of a queue.
    pub fn pixel_formats(&self, queue: u32) -> Vec<u32> {
        let format = |index| {
            let mut format = V4l2Fmtdesc { index, kind: queue, ..Default::default() };
            self.call::<{ VIDIOC_ENUM_FMT as Opcode }, _>(&mut format).ok()?;
            Some(format.pixelformat)
        };
        (0..).map_while(format).collect()
    }

    /// VIDIOC_G_FMT.
    pub fn format(&self, queue: u32) -> Result<V4l2PixFormat, Errno> {
        let mut format = format_of(queue, V4l2PixFormat::default());
        self.call::<{ VIDIOC_G_FMT as Opcode }, _>(&mut format)?;
        Ok(format.pix)
    }

    /// VIDIOC_S_FMT; what comes back is what the device made of it.
    pub fn set_format(&self, queue: u32, pix: V4l2PixFormat) -> Result<V4l2PixFormat, Errno> {
        let mut format = format_of(queue, pix);
        self.call::<{ VIDIOC_S_FMT as Opcode }, _>(&mut format)?;
        Ok(format.pix)
    }

    /// VIDIOC_REQBUFS; what comes back is how many there are.
    pub fn request(&self, queue: u32, memory: u32, count: u32) -> Result<u32, Errno> {
        let mut request = V4l2RequestBuffers { count, kind: queue, memory, ..Default::default() };
        self.call::<{ VIDIOC_REQBUFS as Opcode }, _>(&mut request)?;
        Ok(request.count)
    }

    /// VIDIOC_QUERYBUF.
    pub fn query(&self, queue: u32, index: u32) -> Result<V4l2Buffer, Errno> {
        let mut buffer = V4l2Buffer { index, kind: queue, ..Default::default() };
        self.call::<{ VIDIOC_QUERYBUF as Opcode }, _>(&mut buffer)?;
        Ok(buffer)
    }

    /// VIDIOC_EXPBUF.
    pub fn export(&self, queue: u32, index: u32, flags: OFlags) -> Result<OwnedFd, Errno> {
        let flags = flags.bits();
        let mut export =
            V4l2ExportBuffer { kind: queue, index, flags, fd: -1, ..Default::default() };
        self.call::<{ VIDIOC_EXPBUF as Opcode }, _>(&mut export)?;
        if export.fd < 0 {
            return Err(Errno::BADF);
        }
        // SAFETY: The kernel made it for this call, and nobody else knows of it.
        Ok(unsafe { OwnedFd::from_raw_fd(export.fd) })
    }

    /// VIDIOC_QBUF of a dma-buf; in an output queue the frame is its first `used` bytes.
    pub fn queue_dmabuf(
        &self,
        queue: u32,
        index: u32,
        buffer: impl AsFd,
        len: u32,
        used: u32,
    ) -> Result<(), Errno> {
        let mut buffer = V4l2Buffer {
            index,
            kind: queue,
            bytesused: used,
            field: V4L2_FIELD_NONE,
            memory: V4L2_MEMORY_DMABUF,
            m: buffer.as_fd().as_raw_fd() as u32,
            length: len,
            ..Default::default()
        };
        self.call::<{ VIDIOC_QBUF as Opcode }, _>(&mut buffer)
    }

    /// VIDIOC_DQBUF of a dma-buf; EAGAIN if the device has not finished with any.
    pub fn dequeue_dmabuf(&self, queue: u32) -> Result<V4l2Buffer, Errno> {
        let mut buffer =
            V4l2Buffer { kind: queue, memory: V4L2_MEMORY_DMABUF, ..Default::default() };
        self.call::<{ VIDIOC_DQBUF as Opcode }, _>(&mut buffer)?;
        Ok(buffer)
    }

    /// VIDIOC_STREAMON.
    pub fn start(&self, queue: u32) -> Result<(), Errno> {
        self.call::<{ VIDIOC_STREAMON as Opcode }, _>(&mut { queue })
    }

    /// VIDIOC_STREAMOFF.
    pub fn stop(&self, queue: u32) -> Result<(), Errno> {
        self.call::<{ VIDIOC_STREAMOFF as Opcode }, _>(&mut { queue })
    }

    /// Waits until the device has finished with a buffer or has failed; ETIMEDOUT after `limit`.
    pub fn wait(&self, queue: u32, limit: Duration) -> Result<(), Errno> {
        let output = queue == V4L2_BUF_TYPE_VIDEO_OUTPUT;
        let wanted = if output { PollFlags::OUT } else { PollFlags::IN };
        let limit = Timespec::try_from(limit).map_err(|_| Errno::INVAL)?;
        match poll(&mut [PollFd::new(self, wanted)], Some(&limit))? {
            0 => Err(Errno::TIMEDOUT),
            _ => Ok(()),
        }
    }

    /// VIDIOC_ENUMINPUT: the names of the inputs, in the order of their numbers.
    pub fn inputs(&self) -> Vec<String> {
        let name = |index| {
            let mut input = V4l2Input { index, ..Default::default() };
            self.call::<{ VIDIOC_ENUMINPUT as Opcode }, _>(&mut input).ok()?;
            Some(text(&input.name))
        };
        (0..).map_while(name).collect()
    }

    /// VIDIOC_G_INPUT.
    pub fn input(&self) -> Result<i32, Errno> {
        let mut input = 0;
        self.call::<{ VIDIOC_G_INPUT as Opcode }, i32>(&mut input)?;
        Ok(input)
    }

    /// VIDIOC_S_INPUT.
    pub fn set_input(&self, input: i32) -> Result<(), Errno> {
        self.call::<{ VIDIOC_S_INPUT as Opcode }, _>(&mut { input })
    }

    /// VIDIOC_ENUMOUTPUT: the names of the outputs, in the order of their numbers.
    pub fn outputs(&self) -> Vec<String> {
        let name = |index| {
            let mut output = V4l2Output { index, ..Default::default() };
            self.call::<{ VIDIOC_ENUMOUTPUT as Opcode }, _>(&mut output).ok()?;
            Some(text(&output.name))
        };
        (0..).map_while(name).collect()
    }

    /// VIDIOC_G_OUTPUT.
    pub fn output(&self) -> Result<i32, Errno> {
        let mut output = 0;
        self.call::<{ VIDIOC_G_OUTPUT as Opcode }, i32>(&mut output)?;
        Ok(output)
    }

    /// VIDIOC_S_OUTPUT.
    pub fn set_output(&self, output: i32) -> Result<(), Errno> {
        self.call::<{ VIDIOC_S_OUTPUT as Opcode }, _>(&mut { output })
    }

    /// VIDIOC_QUERYCTRL: the menus among the controls.
    pub fn menus(&self) -> Vec<Menu> {
        let mut menus = Vec::new();
        let mut control = V4l2QueryCtrl { id: V4L2_CTRL_FLAG_NEXT_CTRL, ..Default::default() };
        while self.call::<{ VIDIOC_QUERYCTRL as Opcode }, _>(&mut control).is_ok() {
            if control.kind == V4L2_CTRL_TYPE_MENU {
                let items = (control.minimum..=control.maximum)
                    .filter_map(|value| Some((value, self.menu_item(control.id, value)?)));
                let (id, name) = (control.id, text(&control.name));
                menus.push(Menu { id, name, items: items.collect() });
            }
            let id = control.id | V4L2_CTRL_FLAG_NEXT_CTRL;
            control = V4l2QueryCtrl { id, ..Default::default() };
        }
        menus
    }

    /// VIDIOC_QUERYMENU; not every value need be there.
    fn menu_item(&self, id: u32, value: i32) -> Option<String> {
        let index = value.try_into().ok()?;
        let mut item = V4l2QueryMenu { id, index, ..Default::default() };
        self.call::<{ VIDIOC_QUERYMENU as Opcode }, _>(&mut item).ok()?;
        Some(text(&item.name))
    }

    /// VIDIOC_G_CTRL.
    pub fn control(&self, id: u32) -> Result<i32, Errno> {
        let mut control = V4l2Control { id, value: 0 };
        self.call::<{ VIDIOC_G_CTRL as Opcode }, _>(&mut control)?;
        Ok(control.value)
    }

    /// VIDIOC_S_CTRL.
    pub fn set_control(&self, id: u32, value: i32) -> Result<(), Errno> {
        self.call::<{ VIDIOC_S_CTRL as Opcode }, _>(&mut V4l2Control { id, value })
    }

    /// An ioctl on a `T`, which is one of `dmabuf_uapi`'s V4L2 structs or a number.
    fn call<const NUMBER: Opcode, T: Copy>(&self, argument: &mut T) -> Result<(), Errno> {
        const {
            let encoded = NUMBER >> 16 & 0x3fff;
            assert!(encoded as usize == size_of::<T>(), "the number is that of this argument");
        }
        // SAFETY: The number encodes that the call reads or writes one `T`, and every bit pattern
        // of a struct of integers is a value. No call here stores to memory that a field points to.
        unsafe { ioctl(&self.0, Updater::<NUMBER, T>::new(argument)) }
    }
}

/// A control that is a choice among texts.
#[derive(Debug)]
pub struct Menu {
    pub id: u32,
    pub name: String,
    /// Values and their texts.
    pub items: Vec<(i32, String)>,
}

impl Menu {
    /// The value that has this text.
    pub fn value_of(&self, item: &str) -> Option<i32> {
        self.items.iter().find(|(_, text)| text == item).map(|&(value, _)| value)
    }
}

/// The nodes `/dev/video*`, in the order of their numbers.
pub fn nodes() -> Vec<PathBuf> {
    let entries = std::fs::read_dir("/dev").into_iter().flatten().flatten();
    let mut nodes: Vec<(u32, PathBuf)> = entries
        .filter_map(|entry| {
            let name = entry.file_name();
            let number = name.to_str()?.strip_prefix("video")?.parse().ok()?;
            Some((number, entry.path()))
        })
        .collect();
    nodes.sort();
    nodes.into_iter().map(|(_, path)| path).collect()
}

/// A text of a struct: up to its first NUL.
pub fn text(bytes: &[u8]) -> String {
    let text = bytes.split(|&byte| byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(text).into_owned()
}

fn format_of(queue: u32, pix: V4l2PixFormat) -> V4l2Format {
    V4l2Format { kind: queue, align: [], pix, rest: [0; 38] }
}
