//! Our dma-bufs in the queue of a node: V4L2_MEMORY_DMABUF.

use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, bail, ensure};
use dmabuf::DmaBuf;
use dmabuf_uapi as uapi;
use dmabuf_uapi::V4l2PixFormat;
use rustix::io::Errno;

use super::super::child::check_interrupt;
use super::device::Device;

/// Longer than any camera takes from one frame to the next.
const LIMIT: Duration = Duration::from_secs(10);

/// A node's queue with places for buffers. It stops and frees them when it is dropped.
pub struct Queue<'a> {
    device: &'a Device,
    places: usize,
    /// The bytes of a frame.
    frame: u32,
}

/// A buffer that the device has finished with.
pub struct Taken {
    pub place: usize,
    /// The frame in it is damaged.
    pub is_damaged: bool,
}

impl<'a> Queue<'a> {
    /// Makes the places, for frames of this format.
    pub fn new(device: &'a Device, format: &V4l2PixFormat, places: usize) -> Result<Queue<'a>> {
        let asked = places as u32;
        let made = device.node.request(device.queue, uapi::V4L2_MEMORY_DMABUF, asked);
        let made = made.map_err(|errno| match errno {
            Errno::BUSY => device.is_busy(),
            Errno::INVAL => anyhow!(
                "{device} imports no dma-bufs (V4L2_MEMORY_DMABUF): choose one whose driver does"
            ),
            errno => anyhow!("{device} makes no queue of {places} buffers: {errno}"),
        })?;
        let queue = Queue { device, places, frame: format.sizeimage };
        ensure!(made >= asked, "{device} has places for {made} buffers, and {places} are needed");
        Ok(queue)
    }

    /// Gives a buffer to the device, in one of the places.
    pub fn give(&self, place: usize, buffer: &DmaBuf) -> Result<()> {
        let Queue { device, frame, .. } = self;
        let size = u32::try_from(buffer.size()).unwrap_or(u32::MAX);
        let given = device.node.queue_dmabuf(device.queue, place as u32, buffer, size, *frame);
        given.map_err(|errno| {
            anyhow!(
                "{device} refuses its buffers: {errno}; a driver that needs contiguous memory takes \
                 it from a CMA heap (cma=64M on the kernel's command line, CONFIG_DMABUF_HEAPS_CMA)"
            )
        })
    }

    /// Gives the device a buffer for each place.
    pub fn give_all(&self, buffers: &[DmaBuf]) -> Result<()> {
        (0..self.places).zip(buffers).try_for_each(|(place, buffer)| self.give(place, buffer))
    }

    /// Starts the device.
    pub fn start(&self) -> Result<()> {
        let device = self.device;
        device.node.start(device.queue).map_err(|errno| {
            let hint = match errno {
                Errno::BUSY => return device.is_busy(),
                Errno::PIPE | Errno::NOLINK => {
                    "its parts are not linked, or their formats differ: media-ctl -p shows them"
                }
                Errno::NOSPC => "its bus has no bandwidth left: unplug what else is on it",
                _ => "the kernel's log may say more: dmesg",
            };
            anyhow!("{device} does not start (VIDIOC_STREAMON): {errno}; {hint}")
        })
    }

    /// Waits for a buffer that the device has finished with.
    pub fn take(&self) -> Result<Taken> {
        let (device, end) = (self.device, Instant::now() + LIMIT);
        loop {
            check_interrupt()?;
            if let Some(taken) = self.try_take()? {
                return Ok(taken);
            }
            let left = end.saturating_duration_since(Instant::now());
            match device.node.wait(device.queue, left) {
                Ok(()) | Err(Errno::INTR) => {}
                Err(Errno::TIMEDOUT) => bail!(
                    "{device} has not finished with a frame in {} s: has it a signal?",
                    LIMIT.as_secs()
                ),
                Err(errno) => bail!("{device} cannot be waited for: {errno}"),
            }
        }
    }

    /// A buffer that the device has finished with, if there is one.
    pub fn try_take(&self) -> Result<Option<Taken>> {
        let device = self.device;
        match device.node.dequeue_dmabuf(device.queue) {
            Ok(buffer) => {
                let (place, flags) = (buffer.index as usize, buffer.flags);
                ensure!(place < self.places, "{device} gives back a buffer that it has not");
                Ok(Some(Taken { place, is_damaged: flags & uapi::V4L2_BUF_FLAG_ERROR != 0 }))
            }
            Err(Errno::AGAIN) => Ok(None),
            Err(errno) => {
                bail!("{device} has stopped: {errno}; the kernel's log may say more: dmesg")
            }
        }
    }
}

impl Drop for Queue<'_> {
    fn drop(&mut self) {
        // Closing the node does the same; here it is so that another queue can follow. A device that
        // is gone has nothing to stop.
        let Device { node, queue, .. } = self.device;
        let _ = node.stop(*queue);
        let _ = node.request(*queue, uapi::V4L2_MEMORY_DMABUF, 0);
    }
}
