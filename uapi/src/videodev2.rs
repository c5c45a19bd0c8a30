//! Of `linux/videodev2.h` what it takes to move frames through a V4L2 node with one plane for each
//! buffer, and to find and set its controls.
//!
//! The header's fields `type` are `kind` here, and its enums are numbers of 32 bits.

use super::ioctl::{ior, iow, iowr};

/// The type character of V4L2's ioctls.
pub const VIDIOC_BASE: u8 = b'V';

/// The node captures video.
pub const V4L2_CAP_VIDEO_CAPTURE: u32 = 0x0000_0001;
/// The node puts video out.
pub const V4L2_CAP_VIDEO_OUTPUT: u32 = 0x0000_0002;
/// The node captures video whose buffers have a descriptor for each plane.
pub const V4L2_CAP_VIDEO_CAPTURE_MPLANE: u32 = 0x0000_1000;
/// The node has queues of buffers.
pub const V4L2_CAP_STREAMING: u32 = 0x0400_0000;
/// [`V4l2Capability::device_caps`] is set.
pub const V4L2_CAP_DEVICE_CAPS: u32 = 0x8000_0000;

/// The queue that a device fills.
pub const V4L2_BUF_TYPE_VIDEO_CAPTURE: u32 = 1;
/// The queue that a device shows or sends.
pub const V4L2_BUF_TYPE_VIDEO_OUTPUT: u32 = 2;

/// Buffers are the driver's own.
pub const V4L2_MEMORY_MMAP: u32 = 1;
/// Buffers are dma-bufs that the program brings.
pub const V4L2_MEMORY_DMABUF: u32 = 4;

/// Whole frames, not fields.
pub const V4L2_FIELD_NONE: u32 = 1;

/// The frame in the buffer is damaged.
pub const V4L2_BUF_FLAG_ERROR: u32 = 0x40;

/// A control that is a choice among texts.
pub const V4L2_CTRL_TYPE_MENU: u32 = 3;
/// With a control's id: the next one after it.
pub const V4L2_CTRL_FLAG_NEXT_CTRL: u32 = 0x8000_0000;

/// Four bytes for a pixel: blue, green, red, and one that means nothing. `DRM_FORMAT_XRGB8888`.
pub const V4L2_PIX_FMT_XBGR32: u32 = u32::from_le_bytes(*b"XR24");
/// Four bytes for two pixels: luma, blue difference, luma, red difference.
pub const V4L2_PIX_FMT_YUYV: u32 = u32::from_le_bytes(*b"YUYV");

/// The answer of [`VIDIOC_QUERYCAP`]: `struct v4l2_capability`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct V4l2Capability {
    /// The driver's name, up to the first NUL, as the next two.
    pub driver: [u8; 16],
    /// The device's name.
    pub card: [u8; 32],
    /// Where the device is.
    pub bus_info: [u8; 32],
    /// The kernel's version.
    pub version: u32,
    /// `V4L2_CAP_*` of all nodes of the device.
    pub capabilities: u32,
    /// `V4L2_CAP_*` of this node.
    pub device_caps: u32,
    /// Zero.
    pub reserved: [u32; 3],
}

/// The argument of [`VIDIOC_ENUM_FMT`]: `struct v4l2_fmtdesc`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct V4l2Fmtdesc {
    /// Which format: from 0 on, until EINVAL.
    pub index: u32,
    /// The queue.
    pub kind: u32,
    /// `V4L2_FMT_FLAG_*`.
    pub flags: u32,
    /// The format's name.
    pub description: [u8; 32],
    /// Its four characters.
    pub pixelformat: u32,
    /// The media bus's code.
    pub mbus_code: u32,
    /// Zero.
    pub reserved: [u32; 3],
}

/// A picture in a buffer: `struct v4l2_pix_format`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct V4l2PixFormat {
    /// In pixels.
    pub width: u32,
    /// In pixels.
    pub height: u32,
    /// `V4L2_PIX_FMT_*`.
    pub pixelformat: u32,
    /// `V4L2_FIELD_*`.
    pub field: u32,
    /// From row to row, in bytes.
    pub bytesperline: u32,
    /// What a buffer has to hold, in bytes.
    pub sizeimage: u32,
    /// `V4L2_COLORSPACE_*`.
    pub colorspace: u32,
    /// `V4L2_PIX_FMT_PRIV_MAGIC`, if the fields after it are set.
    pub r#priv: u32,
    /// `V4L2_PIX_FMT_FLAG_*`.
    pub flags: u32,
    /// `V4L2_YCBCR_ENC_*`.
    pub ycbcr_enc: u32,
    /// `V4L2_QUANTIZATION_*`.
    pub quantization: u32,
    /// `V4L2_XFER_FUNC_*`.
    pub xfer_func: u32,
}

/// The argument of [`VIDIOC_G_FMT`] and [`VIDIOC_S_FMT`]: `struct v4l2_format`, for a queue of video.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct V4l2Format {
    /// The queue.
    pub kind: u32,
    /// Nothing: the header's union is aligned for a pointer.
    pub align: [usize; 0],
    /// The union's member for the queues of video.
    pub pix: V4l2PixFormat,
    /// The rest of the union.
    pub rest: [u32; 38],
}

/// The argument of [`VIDIOC_REQBUFS`]: `struct v4l2_requestbuffers`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct V4l2RequestBuffers {
    /// How many buffers, and how many there are to be; 0 frees them.
    pub count: u32,
    /// The queue.
    pub kind: u32,
    /// `V4L2_MEMORY_*`.
    pub memory: u32,
    /// `V4L2_BUF_CAP_*`, set by the kernel.
    pub capabilities: u32,
    /// `V4L2_MEMORY_FLAG_*`.
    pub flags: u8,
    /// Zero.
    pub reserved: [u8; 3],
}

/// The argument of [`VIDIOC_QUERYBUF`], [`VIDIOC_QBUF`] and [`VIDIOC_DQBUF`]: `struct v4l2_buffer`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct V4l2Buffer {
    /// The buffer's place in the queue.
    pub index: u32,
    /// The queue.
    pub kind: u32,
    /// The bytes of the frame in it.
    pub bytesused: u32,
    /// `V4L2_BUF_FLAG_*`.
    pub flags: u32,
    /// `V4L2_FIELD_*`.
    pub field: u32,
    /// When the frame was taken: seconds and microseconds.
    pub timestamp: [isize; 2],
    /// `struct v4l2_timecode`.
    pub timecode: [u32; 4],
    /// The frame's number.
    pub sequence: u32,
    /// `V4L2_MEMORY_*`.
    pub memory: u32,
    /// Nothing: the union `m` is as large as a pointer, and aligned for one.
    pub align: [usize; 0],
    /// The union's first four bytes: a dma-buf's descriptor, or where the node's file shows the
    /// driver's memory.
    pub m: u32,
    /// The rest of the union.
    pub m_rest: [u8; size_of::<usize>() - 4],
    /// The buffer's size in bytes.
    pub length: u32,
    /// Zero.
    pub reserved2: u32,
    /// A request, or zero.
    pub request_fd: i32,
}

/// The argument of [`VIDIOC_EXPBUF`]: `struct v4l2_exportbuffer`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct V4l2ExportBuffer {
    /// The queue.
    pub kind: u32,
    /// The buffer's place in the queue.
    pub index: u32,
    /// Zero, in a queue with one plane for each buffer.
    pub plane: u32,
    /// `O_CLOEXEC` and `O_RDONLY`, `O_WRONLY` or `O_RDWR`.
    pub flags: u32,
    /// The dma-buf, set by the kernel.
    pub fd: i32,
    /// Zero.
    pub reserved: [u32; 11],
}

/// The argument of [`VIDIOC_ENUMINPUT`]: `struct v4l2_input`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct V4l2Input {
    /// Which input: from 0 on, until EINVAL.
    pub index: u32,
    /// Its name.
    pub name: [u8; 32],
    /// `V4L2_INPUT_TYPE_*`.
    pub kind: u32,
    /// A bit for each audio input.
    pub audioset: u32,
    /// The tuner's number.
    pub tuner: u32,
    /// A bit for each television standard.
    pub std: u64,
    /// `V4L2_IN_ST_*`.
    pub status: u32,
    /// `V4L2_IN_CAP_*`.
    pub capabilities: u32,
    /// Zero.
    pub reserved: [u32; 3],
}

/// The argument of [`VIDIOC_ENUMOUTPUT`]: `struct v4l2_output`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct V4l2Output {
    /// Which output: from 0 on, until EINVAL.
    pub index: u32,
    /// Its name.
    pub name: [u8; 32],
    /// `V4L2_OUTPUT_TYPE_*`.
    pub kind: u32,
    /// A bit for each audio output.
    pub audioset: u32,
    /// The modulator's number.
    pub modulator: u32,
    /// A bit for each television standard.
    pub std: u64,
    /// `V4L2_OUT_CAP_*`.
    pub capabilities: u32,
    /// Zero.
    pub reserved: [u32; 3],
}

/// The argument of [`VIDIOC_G_CTRL`] and [`VIDIOC_S_CTRL`]: `struct v4l2_control`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct V4l2Control {
    /// Which control.
    pub id: u32,
    /// What it is set to.
    pub value: i32,
}

/// The argument of [`VIDIOC_QUERYCTRL`]: `struct v4l2_queryctrl`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct V4l2QueryCtrl {
    /// Which control, or with [`V4L2_CTRL_FLAG_NEXT_CTRL`] the one before it.
    pub id: u32,
    /// `V4L2_CTRL_TYPE_*`.
    pub kind: u32,
    /// Its name.
    pub name: [u8; 32],
    /// The least value.
    pub minimum: i32,
    /// The greatest value.
    pub maximum: i32,
    /// From a value to the next.
    pub step: i32,
    /// What it is set to at first.
    pub default_value: i32,
    /// `V4L2_CTRL_FLAG_*`.
    pub flags: u32,
    /// Zero.
    pub reserved: [u32; 2],
}

/// The argument of [`VIDIOC_QUERYMENU`]: `struct v4l2_querymenu`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct V4l2QueryMenu {
    /// Which control.
    pub id: u32,
    /// Which value of it.
    pub index: u32,
    /// The value's text.
    pub name: [u8; 32],
    /// Zero.
    pub reserved: u32,
}

/// Tells what a node is; ENOTTY from what is none.
pub const VIDIOC_QUERYCAP: u32 = ior::<V4l2Capability>(VIDIOC_BASE, 0);
/// Tells one pixel format of a queue.
pub const VIDIOC_ENUM_FMT: u32 = iowr::<V4l2Fmtdesc>(VIDIOC_BASE, 2);
/// Tells a queue's format.
pub const VIDIOC_G_FMT: u32 = iowr::<V4l2Format>(VIDIOC_BASE, 4);
/// Sets a queue's format, or the nearest that the device has, and tells that.
pub const VIDIOC_S_FMT: u32 = iowr::<V4l2Format>(VIDIOC_BASE, 5);
/// Makes, or frees, the buffers of a queue.
pub const VIDIOC_REQBUFS: u32 = iowr::<V4l2RequestBuffers>(VIDIOC_BASE, 8);
/// Tells about a buffer.
pub const VIDIOC_QUERYBUF: u32 = iowr::<V4l2Buffer>(VIDIOC_BASE, 9);
/// Gives a buffer to the device.
pub const VIDIOC_QBUF: u32 = iowr::<V4l2Buffer>(VIDIOC_BASE, 15);
/// Makes a dma-buf of a buffer of the driver's.
pub const VIDIOC_EXPBUF: u32 = iowr::<V4l2ExportBuffer>(VIDIOC_BASE, 16);
/// Takes a buffer back that the device has finished with; EAGAIN if there is none.
pub const VIDIOC_DQBUF: u32 = iowr::<V4l2Buffer>(VIDIOC_BASE, 17);
/// Starts a queue, whose number it takes.
pub const VIDIOC_STREAMON: u32 = iow::<i32>(VIDIOC_BASE, 18);
/// Stops a queue and gives all its buffers back.
pub const VIDIOC_STREAMOFF: u32 = iow::<i32>(VIDIOC_BASE, 19);
/// Tells about an input.
pub const VIDIOC_ENUMINPUT: u32 = iowr::<V4l2Input>(VIDIOC_BASE, 26);
/// Tells a control's value.
pub const VIDIOC_G_CTRL: u32 = iowr::<V4l2Control>(VIDIOC_BASE, 27);
/// Sets a control.
pub const VIDIOC_S_CTRL: u32 = iowr::<V4l2Control>(VIDIOC_BASE, 28);
/// Tells about a control.
pub const VIDIOC_QUERYCTRL: u32 = iowr::<V4l2QueryCtrl>(VIDIOC_BASE, 36);
/// Tells what a value of a menu is called.
pub const VIDIOC_QUERYMENU: u32 = iowr::<V4l2QueryMenu>(VIDIOC_BASE, 37);
/// Tells the number of the input.
pub const VIDIOC_G_INPUT: u32 = ior::<i32>(VIDIOC_BASE, 38);
/// Chooses an input.
pub const VIDIOC_S_INPUT: u32 = iowr::<i32>(VIDIOC_BASE, 39);
/// Tells the number of the output.
pub const VIDIOC_G_OUTPUT: u32 = ior::<i32>(VIDIOC_BASE, 46);
/// Chooses an output.
pub const VIDIOC_S_OUTPUT: u32 = iowr::<i32>(VIDIOC_BASE, 47);
/// Tells about an output.
pub const VIDIOC_ENUMOUTPUT: u32 = iowr::<V4l2Output>(VIDIOC_BASE, 48);
