//! A client in this process, which brackets in whatever way it is told to.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Instant;

use anyhow::Result;
use dmabuf::{Access, CpuAccess, Mapping, Range};

use super::contract::Way;
use super::picture::{self, Picture, Rectangle};
use super::stage::Edit;

/// A buffer's CPU side as a program sees it that brackets in its own way: whatever bracket the
/// client's guard asks for, it is this one that is begun and ended.
pub struct Misused<'a, C> {
    pub cpu: C,
    pub way: Way,
    pub picture: &'a Picture,
}

/// Inverts the picture's rectangle. Only its rows are touched, as by clients that are programs of their
/// own.
pub fn edit<C>(mapping: &Mapping<Misused<'_, C>>) -> Result<Edit>
where
    C: CpuAccess + AsFd,
    C::Error: Into<io::Error>,
{
    let Misused { way, picture, .. } = mapping.buffer();
    let (width, rectangle) = (picture.width(), picture.rectangle());
    let mut pixels = vec![0; picture.bytes().len()];
    let start = Instant::now();
    let guard = mapping.read_write(..)?;
    let rows = rows(picture, rectangle.height);
    let (offset, rows) = (rows.start(), rows.start() as usize..rows.end() as usize);
    guard.copy_to(offset, &mut pixels[rows.clone()])?;
    picture::invert(&mut pixels, width, rectangle);
    guard.copy_from(offset, &pixels[rows])?;
    guard.end()?;
    let time = start.elapsed();
    let brackets = u64::from(*way != Way::None);
    Ok(Edit { pid: std::process::id(), brackets, time })
}

/// The same for a buffer that cannot be mapped, by what reads all of it and writes all of it.
pub fn edit_by_route(
    picture: &Picture,
    read: impl FnOnce(&mut [u8]) -> Result<()>,
    write: impl FnOnce(&[u8]) -> Result<()>,
) -> Result<Edit> {
    let mut pixels = vec![0; picture.bytes().len()];
    let start = Instant::now();
    read(&mut pixels)?;
    picture::invert(&mut pixels, picture.width(), picture.rectangle());
    write(&pixels)?;
    Ok(Edit { pid: std::process::id(), brackets: 0, time: start.elapsed() })
}

impl<C> Misused<'_, C> {
    fn bracket(&self, whole: Range) -> Option<(Access, Range)> {
        let Rectangle { height, .. } = self.picture.rectangle();
        match self.way {
            Way::Whole => Some((Access::ReadWrite, whole)),
            Way::Ranged => Some((Access::ReadWrite, rows(self.picture, height))),
            Way::None => None,
            Way::WrongDirection => Some((Access::Read, whole)),
            Way::TooSmall => Some((Access::ReadWrite, rows(self.picture, height / 2))),
        }
    }
}

impl<C: AsFd> AsFd for Misused<'_, C> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.cpu.as_fd()
    }
}

impl<C> CpuAccess for Misused<'_, C>
where
    C: CpuAccess,
    C::Error: Into<io::Error>,
{
    type Error = io::Error;

    fn begin_cpu_access(&self, _: Access, range: Range) -> io::Result<()> {
        let Some((access, range)) = self.bracket(range) else { return Ok(()) };
        self.cpu.begin_cpu_access(access, range).map_err(Into::into)
    }

    fn end_cpu_access(&self, _: Access, range: Range) -> io::Result<()> {
        let Some((access, range)) = self.bracket(range) else { return Ok(()) };
        self.cpu.end_cpu_access(access, range).map_err(Into::into)
    }

    fn mapped(&self, address: usize, offset: u64, len: usize) {
        self.cpu.mapped(address, offset, len);
    }

    fn unmapping(&self, address: usize) {
        self.cpu.unmapping(address);
    }
}

/// The bytes of the first `count` rows of the rectangle.
fn rows(picture: &Picture, count: u32) -> Range {
    let stride = picture.stride();
    let start = u64::from(picture.rectangle().y) * stride;
    Range::new(start, u64::from(count) * stride).expect("a rectangle has two rows or more")
}
