//! The rows of a picture in a view.

use crate::bounds::place;
use crate::direction::Direction;
use crate::{Error, View};

/// Where a picture's rows are in a view; all in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowLayout {
    /// Where the first row begins.
    pub offset: u64,
    /// From the beginning of one row to that of the next.
    pub stride: u64,
    /// The length of each row, without what pads it to the stride.
    pub len: u64,
    /// The number of rows.
    pub count: u64,
}

impl RowLayout {
    /// Where row `index` begins; saturates far past the end of any view.
    fn start(&self, index: u64) -> u64 {
        self.offset.saturating_add(self.stride.saturating_mul(index))
    }
}

/// The rows of [`View::rows`], from the first to the last.
#[derive(Debug)]
pub struct Rows<'a, D: Direction> {
    view: &'a View<'a, D>,
    layout: RowLayout,
    next: u64,
}

impl<'a, D: Direction> Rows<'a, D> {
    pub(crate) fn new(view: &'a View<'_, D>, layout: RowLayout) -> Result<Rows<'a, D>, Error> {
        if layout.len == 0 {
            return Err(Error::EmptyRange);
        }
        if let Some(last) = layout.count.checked_sub(1) {
            let len = usize::try_from(layout.len).unwrap_or(usize::MAX);
            // The starts grow from row to row, so all are inside if the last one is.
            place(layout.start(last), len, view.len() as usize)?;
        }
        Ok(Rows { view, layout, next: 0 })
    }
}

impl<'a, D: Direction> Iterator for Rows<'a, D> {
    type Item = View<'a, D>;

    fn next(&mut self) -> Option<View<'a, D>> {
        if self.next == self.layout.count {
            return None;
        }
        let start = self.layout.start(self.next);
        self.next += 1;
        Some(self.view.part(start as usize, self.layout.len as usize))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = usize::try_from(self.layout.count - self.next).ok();
        (left.unwrap_or(usize::MAX), left)
    }
}
