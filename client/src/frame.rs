//! Pictures: planes in one buffer or several, checked against the buffers before anyone reads a
//! byte.

mod format;

use dmabuf_core::Range;
use rustix::fs::fstat;

pub use self::format::{Fourcc, Modifier};
use crate::direction::{Direction, Read, ReadWrite, Write};
use crate::parcel::BadParcel;
use crate::{DmaBuf, Error, Guard, MapOptions, Mapping, Parcel, RowLayout, Rows, View};

/// The most planes that a frame has: DRM's limit.
pub const MAX_PLANES: usize = 4;

/// What a frame is said to be: by a program of one's own, or by one that may lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrameLayout {
    /// The pixel format.
    pub fourcc: Fourcc,
    /// How pixels lie in memory.
    pub modifier: Modifier,
    /// In pixels.
    pub width: u32,
    /// In pixels.
    pub height: u32,
    /// From the first, usually luma, to the last.
    pub planes: Vec<PlaneLayout>,
}

/// Where a plane is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlaneLayout {
    /// The place of its buffer among the frame's.
    pub buffer: usize,
    /// The first byte, in the buffer.
    pub offset: u64,
    /// From one row to the next, in bytes.
    pub stride: u64,
}

/// Why a frame cannot be what it is said to be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadFrame {
    /// It has no pixels.
    #[error("a frame of {width} by {height} pixels has none")]
    Empty {
        /// In pixels.
        width: u32,
        /// In pixels.
        height: u32,
    },

    /// It does not have its format's number of planes, or none, or more than four.
    #[error("{found} planes cannot be {fourcc}")]
    Planes {
        /// The format.
        fourcc: Fourcc,
        /// The number of planes.
        found: usize,
    },

    /// There is no such buffer.
    #[error("plane {plane} is in buffer {buffer} of {buffers}")]
    NoBuffer {
        /// The plane.
        plane: usize,
        /// Its buffer.
        buffer: usize,
        /// The number of buffers.
        buffers: usize,
    },

    /// Rows overlap.
    #[error("plane {plane} has rows of {row} bytes, and a stride of {stride}")]
    Stride {
        /// The plane.
        plane: usize,
        /// Its stride in bytes.
        stride: u64,
        /// A row's pixels, in bytes.
        row: u64,
    },

    /// It ends past the end of its buffer.
    #[error("plane {plane} ends at byte {end} of a buffer of {size}")]
    PastEnd {
        /// The plane.
        plane: usize,
        /// One past its last byte.
        end: u64,
        /// The buffer's size in bytes.
        size: u64,
    },
}

/// A picture in one buffer or several, of which every byte is known to be there.
///
/// ```
/// # use std::os::fd::OwnedFd;
/// # let fd: OwnedFd = rustix::fs::memfd_create("a", rustix::fs::MemfdFlags::CLOEXEC)?;
/// # rustix::fs::ftruncate(&fd, 64 * 48 * 2)?;
/// # let buffer = dmabuf::DmaBuf::from_fd(fd)?;
/// use dmabuf::frame::{Fourcc, Frame, FrameLayout, Modifier, PlaneLayout};
///
/// let layout = FrameLayout {
///     fourcc: Fourcc::new(*b"NV12"),
///     modifier: Modifier::LINEAR,
///     width: 64,
///     height: 48,
///     planes: vec![
///         PlaneLayout { buffer: 0, offset: 0, stride: 64 },
///         PlaneLayout { buffer: 0, offset: 64 * 48, stride: 64 },
///     ],
/// };
/// let frame = Frame::new(layout, vec![buffer])?;
/// let mapping = frame.map()?;
/// let pixels = mapping.read_write()?; // one bracket for both planes: they touch
/// for row in pixels.rows(1).expect("a linear format that is known") {
///     row.fill(128);
/// }
/// pixels.end()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Frame {
    layout: FrameLayout,
    /// Each buffer once, however many descriptors it came by.
    buffers: Vec<DmaBuf>,
    planes: Vec<Plane>,
}

/// A plane that has been checked.
#[derive(Clone, Copy, Debug)]
struct Plane {
    /// Its buffer's place.
    buffer: usize,
    /// Its bytes in the buffer.
    range: Range,
    /// Its rows, from the beginning of `range`; `None` where the format or modifier is not known.
    rows: Option<RowLayout>,
}

impl Frame {
    /// The frame that the layout says is in the buffers, if it can be there. Descriptors of one
    /// buffer may come more than once; it is mapped and bracketed as one.
    ///
    /// Of a format that is not known here, and of pixels that do not lie row by row, a plane is
    /// taken to reach from its offset to the end of its buffer.
    ///
    /// # Errors
    ///
    /// [`Error::Frame`] and [`Error::Inspect`].
    pub fn new(layout: FrameLayout, buffers: Vec<DmaBuf>) -> Result<Frame, Error> {
        let FrameLayout { fourcc, modifier, width, height, .. } = layout;
        if width == 0 || height == 0 {
            return Err(BadFrame::Empty { width, height }.into());
        }
        let linear = (modifier == Modifier::LINEAR).then(|| format::planes(fourcc)).flatten();
        let found = layout.planes.len();
        if found == 0 || found > MAX_PLANES || linear.is_some_and(|linear| linear.len() != found) {
            return Err(BadFrame::Planes { fourcc, found }.into());
        }

        let (buffers, places) = distinct(buffers)?;
        let mut planes = Vec::new();
        for (plane, &PlaneLayout { buffer, offset, stride }) in layout.planes.iter().enumerate() {
            let no_buffer = || BadFrame::NoBuffer { plane, buffer, buffers: places.len() };
            let buffer = *places.get(buffer).ok_or_else(no_buffer)?;
            let size = buffers[buffer].size();
            let past_end = |end| Error::from(BadFrame::PastEnd { plane, end, size });
            let rows = linear.map(|linear| RowLayout {
                offset: 0,
                stride,
                len: linear[plane].row(width),
                count: linear[plane].rows(height),
            });
            let end = match rows {
                Some(RowLayout { len, .. }) if stride < len => {
                    return Err(BadFrame::Stride { plane, stride, row: len }.into());
                }
                // Of the last row there need be no padding.
                Some(RowLayout { len, count, .. }) => stride
                    .checked_mul(count - 1)
                    .and_then(|last| last.checked_add(len)?.checked_add(offset))
                    .unwrap_or(u64::MAX),
                None => size.max(offset.saturating_add(stride.max(1))),
            };
            let range = Range::between(offset, end).map_err(|_| past_end(end))?;
            let range = range.within(size).map_err(|_| past_end(end))?;
            planes.push(Plane { buffer, range, rows });
        }
        Ok(Frame { layout, buffers, planes })
    }

    /// What the frame was said to be.
    pub fn layout(&self) -> &FrameLayout {
        &self.layout
    }

    /// Its buffers, each once.
    pub fn buffers(&self) -> &[DmaBuf] {
        &self.buffers
    }

    /// Maps every buffer, once, for loads and stores.
    ///
    /// # Errors
    ///
    /// As [`DmaBuf::map`].
    pub fn map(&self) -> Result<FrameMapping, Error> {
        self.map_with(&MapOptions::new())
    }

    /// Maps every buffer, once, for loads.
    ///
    /// # Errors
    ///
    /// As [`DmaBuf::map`].
    pub fn map_read_only(&self) -> Result<FrameMapping, Error> {
        self.map_with(&MapOptions::new().read_only())
    }

    fn map_with(&self, options: &MapOptions) -> Result<FrameMapping, Error> {
        let mappings = self.buffers.iter().map(|buffer| buffer.map_with(options));
        Ok(FrameMapping {
            mappings: mappings.collect::<Result<_, _>>()?,
            planes: self.planes.clone(),
        })
    }

    /// What carries the frame to another program: its buffers, and its layout as the note.
    pub fn to_parcel(&self) -> Parcel {
        let FrameLayout { fourcc, modifier, width, height, .. } = self.layout;
        let mut words = vec![fourcc.0.into(), modifier.0, width.into(), height.into()];
        for (plane, at) in self.planes.iter().zip(&self.layout.planes) {
            words.extend([plane.buffer as u64, at.offset, at.stride]);
        }
        let note = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        Parcel { buffers: self.buffers.clone(), note }
    }

    /// The frame in a parcel that another program made of one.
    ///
    /// # Errors
    ///
    /// [`Error::Parcel`] if it was made of something else, and as [`Frame::new`].
    pub fn from_parcel(parcel: Parcel) -> Result<Frame, Error> {
        let (words, []) = parcel.note.as_chunks::<8>() else {
            return Err(BadParcel::NotAParcel.into());
        };
        let words: Vec<_> = words.iter().map(|&word| u64::from_ne_bytes(word)).collect();
        let [fourcc, modifier, width, height, planes @ ..] = &words[..] else {
            return Err(BadParcel::NotAParcel.into());
        };
        let (planes, []) = planes.as_chunks::<3>() else {
            return Err(BadParcel::NotAParcel.into());
        };
        let narrow = |&word: &u64| u32::try_from(word).map_err(|_| BadParcel::NotAParcel);
        let plane = |&[buffer, offset, stride]: &[u64; 3]| PlaneLayout {
            // One that no usize holds is past the last buffer in any case.
            buffer: buffer.try_into().unwrap_or(usize::MAX),
            offset,
            stride,
        };
        let layout = FrameLayout {
            fourcc: Fourcc(narrow(fourcc)?),
            modifier: Modifier(*modifier),
            width: narrow(width)?,
            height: narrow(height)?,
            planes: planes.iter().map(plane).collect(),
        };
        Frame::new(layout, parcel.buffers)
    }
}

/// Each buffer once, and for each that was given its place among those: a dma-buf has an inode of
/// its own.
fn distinct(given: Vec<DmaBuf>) -> Result<(Vec<DmaBuf>, Vec<usize>), Error> {
    let (mut buffers, mut inodes, mut places) = (Vec::new(), Vec::new(), Vec::new());
    for buffer in given {
        let stat = fstat(&buffer).map_err(|errno| Error::Inspect(errno.into()))?;
        let inode = (stat.st_dev, stat.st_ino);
        let place = inodes.iter().position(|&known| known == inode).unwrap_or_else(|| {
            inodes.push(inode);
            buffers.push(buffer);
            buffers.len() - 1
        });
        places.push(place);
    }
    Ok((buffers, places))
}

/// A frame's buffers in this process's address space.
#[derive(Debug)]
pub struct FrameMapping {
    mappings: Vec<Mapping>,
    planes: Vec<Plane>,
}

impl FrameMapping {
    /// Begins brackets of loads over all planes, or none.
    ///
    /// # Errors
    ///
    /// As [`Mapping::read`].
    pub fn read(&self) -> Result<FrameGuard<'_, Read>, Error> {
        self.begin()
    }

    /// Begins brackets of stores over all planes, or none. Every byte of them is to be stored to.
    ///
    /// # Errors
    ///
    /// As [`Mapping::write`].
    pub fn write(&self) -> Result<FrameGuard<'_, Write>, Error> {
        self.begin()
    }

    /// Begins brackets of loads and stores over all planes, or none.
    ///
    /// # Errors
    ///
    /// As [`Mapping::read_write`].
    pub fn read_write(&self) -> Result<FrameGuard<'_, ReadWrite>, Error> {
        self.begin()
    }

    /// Begins brackets over all planes of all these frames, or none.
    ///
    /// # Errors
    ///
    /// As [`Mapping::read_write`]; then no bracket is left open.
    pub fn begin_all<'m, D: Direction>(
        frames: impl IntoIterator<Item = &'m FrameMapping>,
    ) -> Result<Vec<FrameGuard<'m, D>>, Error> {
        // An error drops the guards that were begun, which ends them.
        frames.into_iter().map(FrameMapping::begin).collect()
    }

    /// How each buffer is mapped.
    pub fn mappings(&self) -> &[Mapping] {
        &self.mappings
    }

    fn begin<D: Direction>(&self) -> Result<FrameGuard<'_, D>, Error> {
        let brackets = brackets(&self.planes);
        let parts = brackets
            .iter()
            .map(|&(buffer, range)| (&self.mappings[buffer], range.start()..range.end()));
        let guards = Guard::begin_all(parts)?;
        let place = |plane: &Plane| {
            let of = |&(buffer, range): &(usize, Range)| {
                buffer == plane.buffer && range.contains(plane.range)
            };
            brackets.iter().position(of).map(|guard| (guard, *plane))
        };
        Ok(FrameGuard { guards, planes: self.planes.iter().filter_map(place).collect() })
    }
}

/// The brackets that cover the planes and no other byte: one for planes that touch.
fn brackets(planes: &[Plane]) -> Vec<(usize, Range)> {
    let mut parts: Vec<_> = planes.iter().map(|plane| (plane.buffer, plane.range)).collect();
    parts.sort_by_key(|(buffer, range)| (*buffer, range.start()));
    let mut brackets: Vec<(usize, Range)> = Vec::new();
    for (buffer, range) in parts {
        match brackets.last_mut() {
            Some((last, before)) if *last == buffer && range.start() <= before.end() => {
                let end = before.end().max(range.end());
                *before = Range::between(before.start(), end).unwrap_or(*before);
            }
            _ => brackets.push((buffer, range)),
        }
    }
    brackets
}

/// Open brackets over all planes of a frame. Dropping it ends them.
#[derive(Debug)]
#[must_use = "the brackets end when the guard is dropped"]
pub struct FrameGuard<'m, D: Direction> {
    guards: Vec<Guard<'m, DmaBuf, D>>,
    /// Each plane, with the place of the guard that holds it.
    planes: Vec<(usize, Plane)>,
}

impl<D: Direction> FrameGuard<'_, D> {
    /// The number of planes.
    pub fn planes(&self) -> usize {
        self.planes.len()
    }

    /// The bytes of a plane, from its offset to the end of its last row; `None` if there is no such
    /// plane.
    pub fn plane(&self, plane: usize) -> Option<View<'_, D>> {
        let (guard, Plane { range, .. }) = self.planes.get(plane)?;
        let guard = &self.guards[*guard];
        let start = range.start() - guard.range().start();
        guard.slice(start..start + range.len()).ok()
    }

    /// The rows of a plane; `None` if there is no such plane, or if it is not known where its rows
    /// are: for that a format has to be a common one, and linear.
    pub fn rows(&self, plane: usize) -> Option<Rows<'_, D>> {
        let (guard, Plane { range, rows, .. }) = self.planes.get(plane)?;
        let guard = &self.guards[*guard];
        let offset = range.start() - guard.range().start();
        guard.rows(RowLayout { offset, ..(*rows)? }).ok()
    }

    /// Ends all brackets, also after one has failed to end.
    ///
    /// # Errors
    ///
    /// The first [`Error::End`].
    pub fn end(self) -> Result<(), Error> {
        let ended: Vec<_> = self.guards.into_iter().map(Guard::end).collect();
        ended.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plane(buffer: usize, start: u64, end: u64) -> Plane {
        Plane { buffer, range: Range::between(start, end).unwrap(), rows: None }
    }

    #[test]
    fn planes_that_touch_share_a_bracket_and_no_others_do() {
        let text = |planes: &[Plane]| format!("{:?}", brackets(planes));
        let touching = [plane(0, 64, 96), plane(0, 0, 64)];
        assert_eq!(text(&touching), "[(0, 0x0..0x60)]");
        let apart = [plane(0, 0, 64), plane(0, 65, 96), plane(1, 64, 65)];
        assert_eq!(text(&apart), "[(0, 0x0..0x40), (0, 0x41..0x60), (1, 0x40..0x41)]");
        let within = [plane(0, 0, 64), plane(0, 10, 20)];
        assert_eq!(text(&within), "[(0, 0x0..0x40)]");
    }
}
