//! The way back: the buffers that were drawn on go into an output's queue. vivid can loop its output
//! to its input; there the camera captures what the output shows, and the two are compared.

use anyhow::{Context, Result};
use dmabuf::{DmaBuf, Heap};
use dmabuf_uapi::V4l2PixFormat;
use rustix::io::Errno;

use super::device::Device;
use super::queue::Queue;
use super::shot::{self, Shot};
use crate::explain;
use crate::v4l2::Node;

/// Frames that the output is sent.
const SENT: u32 = 8;

/// Frames to look at until one is what was sent: the first ones may be of before.
const LOOKS: u32 = 30;

/// What became of the frames.
pub struct Shown {
    /// Frames that the output took and gave back.
    pub sent: u32,
    /// The frame that came round to the camera; `None` where there is no loop.
    pub came_back: Option<Vec<u8>>,
    /// Whether that is one of those sent, byte for byte.
    pub is_as_sent: bool,
}

/// Sends the drawn frames to the output, and looks at what it shows if that can be seen. An output
/// that does not take such frames says why.
pub fn show(
    camera: &Device,
    output: &Device,
    format: &V4l2PixFormat,
    heap: &Heap,
    shot: &Shot,
) -> Result<Result<Shown, String>> {
    let looped = Loop::close(camera, output)?;
    if let Err(why) = output.set_same_format(format) {
        return Ok(Err(explain(&why)));
    }
    let buffers: Vec<DmaBuf> = shot.drawn.iter().map(|(buffer, _)| buffer.clone()).collect();
    let queue = Queue::new(output, format, buffers.len())?;
    queue.give_all(&buffers)?;
    queue.start()?;
    let mut shown = Shown { sent: 0, came_back: None, is_as_sent: false };
    while shown.sent < SENT {
        let place = queue.take()?.place;
        queue.give(place, &buffers[place])?;
        shown.sent += 1;
    }
    if let Some(looped) = &looped {
        // It goes on showing the last frame that it was given.
        let sent: Vec<_> = shot.drawn.iter().map(|(_, bytes)| bytes.as_slice()).collect();
        let came_back = look(camera, format, heap, &sent, looped)?;
        shown.is_as_sent = sent.contains(&came_back.as_slice());
        shown.came_back = Some(came_back);
    }
    Ok(Ok(shown))
}

/// Captures what the output shows until that is what was sent, or for long enough.
fn look(
    camera: &Device,
    format: &V4l2PixFormat,
    heap: &Heap,
    sent: &[&[u8]],
    looped: &Loop<'_>,
) -> Result<Vec<u8>> {
    camera.set_same_format(format)?;
    let buffers = shot::allocate(heap, format)?;
    let queue = Queue::new(camera, format, buffers.len())?;
    queue.give_all(&buffers)?;
    queue.start()?;
    let mut looks = 0;
    loop {
        let place = queue.take()?.place;
        let frame = shot::look_at(&buffers[place], format)?;
        looks += 1;
        if looks == LOOKS || sent.contains(&frame.as_slice()) {
            return Ok(frame);
        }
        looped.hold();
        queue.give(place, &buffers[place])?;
    }
}

/// The output leads to the camera's input, without texts over the picture. As before when dropped.
struct Loop<'a> {
    camera: &'a Node,
    output: &'a Node,
    input_before: i32,
    output_before: i32,
    /// Controls of the camera's, and their values now.
    controls: Vec<(u32, i32)>,
    /// And before.
    controls_before: Vec<(u32, i32)>,
}

impl<'a> Loop<'a> {
    /// Closes the loop, if the driver has one: vivid's control `HDMI 000-0 Is Connected To` has the
    /// value `Output HDMI 000-0`. HDMI, since television has half frames.
    fn close(camera: &'a Device, output: &'a Device) -> Result<Option<Loop<'a>>> {
        let (inputs, outputs) = (camera.node.inputs(), output.node.outputs());
        let menus = camera.node.menus();
        let cable = menus.iter().find_map(|menu| {
            let input = menu.name.strip_suffix(" Is Connected To")?;
            let input = inputs.iter().position(|name| name == input && name.starts_with("HDMI"))?;
            let lead = |(place, name): (usize, &String)| {
                Some((place, menu.value_of(&format!("Output {name}"))?))
            };
            let (output, value) = outputs.iter().enumerate().find_map(lead)?;
            Some((input as i32, output as i32, menu.id, value))
        });
        let Some((input, through, connection, value)) = cable else { return Ok(None) };

        let mut changes = vec![(connection, value)];
        let texts = menus.iter().find(|menu| menu.name == "OSD Text Mode");
        changes.extend(texts.and_then(|menu| Some((menu.id, menu.value_of("None")?))));
        let (camera, output) = (&camera.node, &output.node);
        let before = |&(id, _): &(u32, i32)| Ok((id, camera.control(id)?));
        let looped = || {
            let closed = Loop {
                camera,
                output,
                input_before: camera.input()?,
                output_before: output.output()?,
                controls_before: changes.iter().map(before).collect::<Result<_, Errno>>()?,
                controls: changes,
            };
            camera.set_input(input)?;
            output.set_output(through)?;
            for &(id, value) in &closed.controls {
                camera.set_control(id, value)?;
            }
            Ok::<_, Errno>(closed)
        };
        Ok(Some(looped().context("the output cannot be connected to the input")?))
    }

    /// Sets again what is not as it was set. vivid's worker that takes connected outputs out of the
    /// menus of other inputs now and then is too early, and takes the connection back (Linux 7.3).
    fn hold(&self) {
        for &(id, value) in &self.controls {
            if self.camera.control(id) != Ok(value) {
                // While the worker is at it the value is not in the menu: there is another frame.
                let _ = self.camera.set_control(id, value);
            }
        }
    }
}

impl Drop for Loop<'_> {
    fn drop(&mut self) {
        // What cannot be set back, because another program uses the device by now, stays.
        for &(id, value) in self.controls_before.iter().rev() {
            let _ = self.camera.set_control(id, value);
        }
        let _ = self.output.set_output(self.output_before);
        let _ = self.camera.set_input(self.input_before);
    }
}
