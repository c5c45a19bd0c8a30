//! One heap's buffers: the camera fills them, the CPU draws on them in a bracket, and another
//! mapping shows what came of it.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use dmabuf::frame::FrameMapping;
use dmabuf::{DmaBuf, Frame, Heap};
use dmabuf_uapi::V4l2PixFormat;

use super::pixels;
use super::queue::{Queue, Taken};

/// Buffers in the queue.
pub const BUFFERS: usize = 4;

/// Frames that are drawn on. Of the last ones the buffers are kept.
const FRAMES: u32 = 8;
const KEPT: usize = 2;

/// Damaged frames after which the camera is given up.
const DAMAGED: u32 = 30;

/// No camera fills a frame with these bytes alone.
const UNTOUCHED: u8 = 0x5a;

/// What came of it.
pub struct Shot {
    /// Frames that were drawn on.
    pub frames: u32,
    /// Frames that the camera said were damaged.
    pub damaged: u32,
    /// From before each bracket began until it had ended, with the drawing.
    pub brackets: Vec<Duration>,
    /// The last frame as the camera wrote it.
    pub captured: Vec<u8>,
    /// The last frames with what was drawn on them, and the buffers that they are in.
    pub drawn: Vec<(DmaBuf, Vec<u8>)>,
    /// Bytes that another mapping did not show as they were drawn.
    pub wrong_bytes: usize,
}

impl Shot {
    /// The last frame with what was drawn on it.
    pub fn last(&self) -> &[u8] {
        self.drawn.last().map_or(&[], |(_, bytes)| bytes)
    }
}

/// Buffers for frames.
pub fn allocate(heap: &Heap, format: &V4l2PixFormat) -> Result<Vec<DmaBuf>> {
    let allocate = |_| Ok(heap.allocate_named(format.sizeimage.into(), "camera")?);
    (0..BUFFERS).map(allocate).collect()
}

/// Buffers that are mapped, and that the camera has.
pub struct Loaded {
    buffers: Vec<DmaBuf>,
    frames: Vec<Frame>,
    mappings: Vec<FrameMapping>,
}

/// Gives the camera buffers of the heap. An error is about this heap's, and not about the camera.
pub fn load(queue: &Queue<'_>, format: &V4l2PixFormat, heap: &Heap) -> Result<Loaded> {
    let buffers = allocate(heap, format)?;
    let frames = buffers.iter().map(|buffer| frame(buffer, format));
    let frames: Vec<Frame> = frames.collect::<Result<_>>()?;
    let mappings: Vec<FrameMapping> =
        frames.iter().map(Frame::map).collect::<Result<_, _>>().context("cannot draw")?;
    for mapping in &mappings {
        let guard = mapping.write()?;
        guard.plane(0).context("a frame has a plane")?.fill(UNTOUCHED);
        guard.end()?;
    }
    queue.give_all(&buffers)?;
    Ok(Loaded { buffers, frames, mappings })
}

/// Lets the camera fill the buffers, and draws on each frame.
pub fn take(queue: &Queue<'_>, format: &V4l2PixFormat, loaded: Loaded) -> Result<Shot> {
    let Loaded { buffers, frames, mappings } = loaded;
    let mut shot = Shot {
        frames: 0,
        damaged: 0,
        brackets: Vec::new(),
        captured: Vec::new(),
        drawn: Vec::new(),
        wrong_bytes: 0,
    };
    queue.start()?;
    while shot.frames < FRAMES {
        let Taken { place, is_damaged } = queue.take()?;
        if is_damaged {
            shot.damaged += 1;
            ensure!(shot.damaged < DAMAGED, "the camera gives nothing but damaged frames");
            queue.give(place, &buffers[place])?;
            continue;
        }
        let begun = Instant::now();
        let (captured, drawn) = draw(&mappings[place], format)?;
        shot.brackets.push(begun.elapsed());
        shot.frames += 1;
        ensure!(
            captured.iter().any(|&byte| byte != UNTOUCHED),
            "the camera says that it filled a buffer, and not a byte of it has changed"
        );
        shot.wrong_bytes += differing(&look(&frames[place])?, &drawn);
        shot.captured = captured;
        if (FRAMES - shot.frames) as usize >= KEPT {
            queue.give(place, &buffers[place])?;
        } else {
            shot.drawn.push((buffers[place].clone(), drawn));
        }
    }
    Ok(shot)
}

/// How many bytes are not the same.
fn differing(seen: &[u8], drawn: &[u8]) -> usize {
    if seen == drawn {
        return 0;
    }
    seen.iter().zip(drawn).filter(|(seen, drawn)| seen != drawn).count()
}

fn frame(buffer: &DmaBuf, format: &V4l2PixFormat) -> Result<Frame> {
    Ok(Frame::new(pixels::layout(format), vec![buffer.clone()])?)
}

/// Inverts the middle in one bracket. Returns the frame as it was and as it is.
fn draw(mapping: &FrameMapping, format: &V4l2PixFormat) -> Result<(Vec<u8>, Vec<u8>)> {
    let (mut captured, mut drawn) = (Vec::new(), Vec::new());
    let guard = mapping.read_write()?;
    let rows = guard.rows(0).context("where its rows are is known of each format")?;
    for (row, y) in rows.zip(0..) {
        let mut bytes = row.to_vec();
        captured.extend_from_slice(&bytes);
        let middle = pixels::bytes_of(format, pixels::middle(format), y);
        if !middle.is_empty() {
            pixels::invert(&mut bytes[middle.clone()]);
            row.copy_from(middle.start as u64, &bytes[middle])?;
        }
        drawn.extend_from_slice(&bytes);
    }
    guard.end()?;
    Ok((captured, drawn))
}

/// The frame in a buffer, through a mapping of its own.
pub fn look_at(buffer: &DmaBuf, format: &V4l2PixFormat) -> Result<Vec<u8>> {
    look(&frame(buffer, format)?)
}

fn look(frame: &Frame) -> Result<Vec<u8>> {
    let mapping = frame.map_read_only()?;
    let guard = mapping.read()?;
    let rows = guard.rows(0).context("where its rows are is known of each format")?;
    let bytes = rows.flat_map(|row| row.to_vec()).collect();
    guard.end()?;
    Ok(bytes)
}
