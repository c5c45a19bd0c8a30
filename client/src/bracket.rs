//! Which ioctl a buffer's brackets are made of: found out once per buffer, then remembered.
//!
//! A file that does not know an ioctl answers ENOTTY, so the first bracket over a part of a buffer
//! finds out. On mainline that costs one refused call in a buffer's life. A vendor kernel that
//! answers `SYNC_PARTIAL` is taken at its word.

use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

use dmabuf_core::{Access, Range};
use dmabuf_uapi::*;
use rustix::io::Errno;

use crate::Kind;
use crate::ioctl::{Sync, direction};

/// The best ioctl that the exporter has not refused yet.
#[derive(Debug)]
pub(crate) struct Brackets(AtomicU8);

// From the best to the one that every dma-buf knows.
const RANGE: u8 = 0;
const PARTIAL: u8 = 1;
const WHOLE: u8 = 2;
// Outside of the list: no ioctl is sent.
const NOTHING_TO_DO: u8 = 3;
const REFUSE: u8 = 4;

impl Brackets {
    /// For a buffer of this kind, which answered QUERY or did not: who knows QUERY knows ranges.
    pub fn new(kind: Kind, answers_query: bool) -> Brackets {
        Brackets(AtomicU8::new(match kind {
            Kind::Kernel | Kind::Served if answers_query => RANGE,
            Kind::Kernel | Kind::Served => PARTIAL,
            Kind::Memfd => NOTHING_TO_DO,
            Kind::Other => REFUSE,
        }))
    }

    /// Begins a bracket, by way of `call`.
    pub fn begin(
        &self,
        access: Access,
        range: Range,
        size: u64,
        call: impl Fn(Sync) -> Result<(), Errno>,
    ) -> Result<(), Errno> {
        self.sync(DMA_BUF_SYNC_START | direction(access), range, size, call)
    }

    /// Ends a bracket, by way of `call`.
    pub fn end(
        &self,
        access: Access,
        range: Range,
        size: u64,
        call: impl Fn(Sync) -> Result<(), Errno>,
    ) -> Result<(), Errno> {
        self.sync(DMA_BUF_SYNC_END | direction(access), range, size, call)
    }

    /// A begin and its end come out as the same ioctl: what once worked is kept, and the rest
    /// depends on the range alone.
    fn sync(
        &self,
        flags: u64,
        range: Range,
        size: u64,
        call: impl Fn(Sync) -> Result<(), Errno>,
    ) -> Result<(), Errno> {
        let whole = Sync::Whole(DmaBufSync { flags });
        loop {
            let way = self.0.load(Relaxed);
            let sync = match way {
                NOTHING_TO_DO => return Ok(()),
                REFUSE => return Err(Errno::NOTTY),
                WHOLE => whole,
                _ if range.len() == size => whole,
                RANGE => {
                    Sync::Range(DmaBufSyncRange { flags, offset: range.start(), len: range.len() })
                }
                _ => match (range.start().try_into(), range.len().try_into()) {
                    (Ok(offset), Ok(len)) => {
                        Sync::Partial(DmaBufSyncPartial { flags, offset, len })
                    }
                    // The vendors' ioctl does not reach so far.
                    _ => whole,
                },
            };
            match call(sync) {
                // ION of vendor kernels says EOPNOTSUPP where a heap has no partial operation.
                Err(Errno::NOTTY | Errno::OPNOTSUPP) if sync != whole => {
                    // Another thread may have learned it first; then the store does nothing.
                    let _ = self.0.compare_exchange(way, way + 1, Relaxed, Relaxed);
                }
                result => return result,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    const SIZE: u64 = 1 << 34;

    /// An exporter that knows some of the ioctls, and remembers what it was sent.
    struct Exporter {
        knows: fn(&Sync) -> bool,
        sent: RefCell<Vec<Sync>>,
    }

    impl Exporter {
        fn new(knows: fn(&Sync) -> bool) -> Exporter {
            Exporter { knows, sent: RefCell::default() }
        }

        fn call(&self, sync: Sync) -> Result<(), Errno> {
            self.sent.borrow_mut().push(sync);
            if (self.knows)(&sync) { Ok(()) } else { Err(Errno::NOTTY) }
        }

        fn sent(&self) -> Vec<Sync> {
            self.sent.take()
        }
    }

    fn range(offset: u64, len: u64) -> Range {
        Range::new(offset, len).expect("not empty")
    }

    fn partial(flags: u64, offset: u32, len: u32) -> Sync {
        Sync::Partial(DmaBufSyncPartial { flags, offset, len })
    }

    fn whole(flags: u64) -> Sync {
        Sync::Whole(DmaBufSync { flags })
    }

    #[test]
    fn ranges_go_to_who_answers_query() {
        let exporter = Exporter::new(|_| true);
        let brackets = Brackets::new(Kind::Served, true);
        brackets.begin(Access::Read, range(8, 16), SIZE, |s| exporter.call(s)).unwrap();
        brackets.end(Access::Write, range(8, 16), SIZE, |s| exporter.call(s)).unwrap();
        let range = |flags| Sync::Range(DmaBufSyncRange { flags, offset: 8, len: 16 });
        assert_eq!(exporter.sent(), [range(1), range(6)]);
    }

    #[test]
    fn the_vendors_ioctl_is_found_and_kept_and_not_asked_past_its_reach() {
        let exporter = Exporter::new(|sync| !matches!(sync, Sync::Range(_)));
        let brackets = Brackets::new(Kind::Kernel, false);
        brackets.begin(Access::ReadWrite, range(64, 64), SIZE, |s| exporter.call(s)).unwrap();
        brackets.end(Access::ReadWrite, range(64, 64), SIZE, |s| exporter.call(s)).unwrap();
        brackets.begin(Access::Read, range(1 << 33, 64), SIZE, |s| exporter.call(s)).unwrap();
        assert_eq!(exporter.sent(), [partial(3, 64, 64), partial(7, 64, 64), whole(1)]);
    }

    #[test]
    fn mainline_is_asked_for_a_range_once() {
        let exporter = Exporter::new(|sync| matches!(sync, Sync::Whole(_)));
        let brackets = Brackets::new(Kind::Kernel, false);
        brackets.begin(Access::Read, range(0, 64), SIZE, |s| exporter.call(s)).unwrap();
        assert_eq!(exporter.sent(), [partial(1, 0, 64), whole(1)]);
        brackets.end(Access::Read, range(0, 64), SIZE, |s| exporter.call(s)).unwrap();
        brackets.begin(Access::Write, range(0, 1), SIZE, |s| exporter.call(s)).unwrap();
        assert_eq!(exporter.sent(), [whole(5), whole(2)]);
    }

    #[test]
    fn the_whole_buffer_needs_no_range() {
        let exporter = Exporter::new(|_| true);
        let brackets = Brackets::new(Kind::Served, true);
        brackets.begin(Access::ReadWrite, range(0, SIZE), SIZE, |s| exporter.call(s)).unwrap();
        assert_eq!(exporter.sent(), [whole(3)]);
    }

    #[test]
    fn only_dma_bufs_are_sent_anything_and_other_errors_are_passed_on() {
        let exporter = Exporter::new(|_| false);
        let other = Brackets::new(Kind::Other, false);
        let refused = other.begin(Access::Read, range(0, 1), SIZE, |s| exporter.call(s));
        assert_eq!(refused, Err(Errno::NOTTY));
        let memfd = Brackets::new(Kind::Memfd, false);
        memfd.begin(Access::Read, range(0, 1), SIZE, |s| exporter.call(s)).unwrap();
        memfd.end(Access::Read, range(0, 1), SIZE, |s| exporter.call(s)).unwrap();
        assert_eq!(exporter.sent(), []);

        let kernel = Brackets::new(Kind::Kernel, false);
        let refused = kernel.begin(Access::Read, range(0, 1), SIZE, |_| Err(Errno::IO));
        assert_eq!(refused, Err(Errno::IO));
        let no_buffer = kernel.begin(Access::Read, range(0, 1), SIZE, |s| exporter.call(s));
        assert_eq!(no_buffer, Err(Errno::NOTTY));
    }
}
