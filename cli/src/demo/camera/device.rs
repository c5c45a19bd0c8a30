//! V4L2 nodes: which is a camera and which an output, the format that both sides understand, and
//! what to do where there is none.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use dmabuf::frame::Fourcc;
use dmabuf_uapi as uapi;
use dmabuf_uapi::V4l2PixFormat;
use rustix::io::Errno;

use super::pixels;
use crate::v4l2::{self, Node};

/// What is asked for; a camera gives its nearest.
const SIZE: (u32, u32) = (1280, 720);

/// An open node, and what is known of it.
pub struct Device {
    pub path: PathBuf,
    pub node: Node,
    /// The driver's name.
    pub driver: String,
    /// Its queue of video.
    pub queue: u32,
    /// Where the hardware is: nodes of one device tell the same.
    bus: String,
}

impl Device {
    /// The camera at `path`.
    pub fn camera(path: &Path) -> Result<Device> {
        let node = Node::open(path)
            .map_err(|errno| anyhow::anyhow!(cannot_open(path, errno, &other_cameras(path))))?;
        let Ok(capability) = node.capability() else {
            bail!("{} is no V4L2 node{}", path.display(), other_cameras(path));
        };
        let device = Device::new(path, node, &capability, uapi::V4L2_BUF_TYPE_VIDEO_CAPTURE);
        let has = |caps| capability.device_caps & caps != 0;
        if !has(uapi::V4L2_CAP_VIDEO_CAPTURE) {
            let what = match () {
                () if has(uapi::V4L2_CAP_VIDEO_CAPTURE_MPLANE) => {
                    "captures frames with a buffer for each plane, which this demo does not do"
                }
                () if has(uapi::V4L2_CAP_VIDEO_OUTPUT) => "puts video out and captures none",
                () => "captures no video",
            };
            bail!("{device} {what}{}", other_cameras(path));
        }
        ensure!(
            has(uapi::V4L2_CAP_STREAMING),
            "{device} has no queue of buffers, only read(2){}",
            other_cameras(path)
        );
        Ok(device)
    }

    /// The output of the device that the camera is of.
    pub fn output_beside(camera: &Device) -> Option<Device> {
        let output = |path: PathBuf| {
            let node = Node::open(&path).ok()?;
            let capability = node.capability().ok()?;
            let wanted = uapi::V4L2_CAP_VIDEO_OUTPUT | uapi::V4L2_CAP_STREAMING;
            let device = Device::new(&path, node, &capability, uapi::V4L2_BUF_TYPE_VIDEO_OUTPUT);
            let fits = capability.device_caps & wanted == wanted && device.bus == camera.bus;
            fits.then_some(device)
        };
        v4l2::nodes().into_iter().find_map(output)
    }

    fn new(path: &Path, node: Node, capability: &uapi::V4l2Capability, queue: u32) -> Device {
        let (driver, bus) = (v4l2::text(&capability.driver), v4l2::text(&capability.bus_info));
        Device { path: path.to_owned(), node, driver, queue, bus }
    }

    /// Sets a format in which the demo can draw.
    pub fn choose_format(&self) -> Result<V4l2PixFormat> {
        for pixelformat in pixels::FORMATS {
            let (width, height) = SIZE;
            let field = uapi::V4L2_FIELD_NONE;
            let wanted =
                V4l2PixFormat { width, height, pixelformat, field, ..V4l2PixFormat::default() };
            let format = self.set_format(wanted)?;
            if format.pixelformat == pixelformat {
                return Ok(format);
            }
        }
        let names = |formats: &[u32]| {
            let names: Vec<_> = formats.iter().map(|&code| Fourcc(code).to_string()).collect();
            names.join(", ")
        };
        bail!(
            "{self} captures {}, and this demo draws on {}: choose a camera that has one of those{}",
            names(&self.node.pixel_formats(self.queue)),
            names(&pixels::FORMATS),
            other_cameras(&self.path)
        )
    }

    /// Sets a format, or the nearest that the device has.
    pub fn set_format(&self, format: V4l2PixFormat) -> Result<V4l2PixFormat> {
        self.node.set_format(self.queue, format).map_err(|errno| match errno {
            Errno::BUSY => self.is_busy(),
            errno => anyhow::anyhow!("{self} takes no format: {errno}"),
        })
    }

    /// Sets exactly this format.
    pub fn set_same_format(&self, format: &V4l2PixFormat) -> Result<()> {
        let describe = |format: &V4l2PixFormat| {
            let V4l2PixFormat { width, height, bytesperline, .. } = format;
            let fourcc = Fourcc(format.pixelformat);
            format!("{fourcc} {width}x{height}, {bytesperline} bytes a row")
        };
        let had = self.set_format(*format).context("no format can be set")?;
        let same = |f: &V4l2PixFormat| (f.pixelformat, f.width, f.height, f.bytesperline, f.field);
        ensure!(
            same(&had) == same(format),
            "{self} takes {} and not {}",
            describe(&had),
            describe(format)
        );
        Ok(())
    }

    /// Another program has the node's queue.
    pub fn is_busy(&self) -> anyhow::Error {
        let path = self.path.display();
        anyhow::anyhow!("{self} is used by another program: end that (fuser -v {path} tells which)")
    }
}

impl std::fmt::Display for Device {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.path.display(), self.driver)
    }
}

fn cannot_open(path: &Path, errno: Errno, others: &str) -> String {
    let path = path.display();
    match errno {
        Errno::NOENT | Errno::NXIO | Errno::NODEV => {
            format!("there is no camera at {path}{others}")
        }
        Errno::ACCESS | Errno::PERM => format!(
            "cannot open {path}: {errno}; cameras are for the group video: usermod -aG video USER, \
             and log in again"
        ),
        errno => format!("cannot open {path}: {errno}{others}"),
    }
}

/// The end of a sentence that says where there is a camera.
fn other_cameras(path: &Path) -> String {
    let is_camera = |path: &PathBuf| {
        let capability = Node::open(path).and_then(|node| node.capability());
        capability.is_ok_and(|has| has.device_caps & uapi::V4L2_CAP_VIDEO_CAPTURE != 0)
    };
    let others = v4l2::nodes().into_iter().filter(|other| other != path).filter(is_camera);
    let others: Vec<_> = others.map(|path| path.display().to_string()).collect();
    if others.is_empty() {
        return ": there is no other here either; modprobe vivid makes one without hardware, and \
                `cargo xtask vm -- COMMAND` a machine that has one"
            .to_owned();
    }
    format!(": {} captures video", others.join(" or "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_opened_is_told_with_the_next_step() {
        let path = Path::new("/dev/video7");
        let told = |errno| cannot_open(path, errno, ": /dev/video0 captures video");
        assert!(told(Errno::NOENT).ends_with("/dev/video7: /dev/video0 captures video"));
        assert!(told(Errno::ACCESS).contains("usermod -aG video"));
        assert!(told(Errno::IO).contains("Input/output error"));
    }
}
