//! Mappings in this process, where stores are found in the page tables.
//!
//! A userfaultfd in asynchronous write-protect mode lets the first store to a page go through and
//! marks the page; `PAGEMAP_SCAN` (Linux 6.7, Documentation/admin-guide/mm/pagemap.rst) gives the
//! marked pages and protects them again in one step, so no store is lost in between. Neither needs a
//! thread or a signal handler, and neither changes what a program sees. That is also why addresses
//! can be taken on trust here: the worst that a wrong one does is to be watched.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

use dmabuf_core::{Granule, Range};
use rustix::io::Errno;

use super::Mappings;

/// The mappings of one buffer in this process, as [`CpuAccess::mapped`] told of them.
///
/// Stores through a mapping of which nobody told, by `write(2)`, or in another process are not seen,
/// and a mapping that goes without notice can hide those of the next one at its address.
/// Where nobody ever told of any, and where the kernel cannot watch, everything counts as stored to.
///
/// [`CpuAccess::mapped`]: dmabuf_core::CpuAccess::mapped
#[derive(Debug)]
pub struct Watched {
    /// `None` where the kernel cannot watch.
    watch: Option<Watch>,
    maps: Mutex<Maps>,
}

#[derive(Debug, Default)]
struct Maps {
    maps: Vec<Map>,
    /// What was stored to through mappings that have gone since, in whole pages.
    left: Vec<Range>,
    /// Whether anybody ever told of a mapping.
    told: bool,
    /// Whether there ever was a mapping that the kernel would not watch.
    blind: bool,
}

#[derive(Debug)]
struct Watch {
    userfaultfd: OwnedFd,
    pagemap: File,
}

#[derive(Clone, Copy, Debug)]
struct Map {
    address: u64,
    /// Bytes of the buffer.
    range: Range,
    watched: bool,
}

impl Watched {
    /// No mappings yet.
    pub fn new() -> Watched {
        Watched { watch: Watch::new().ok(), maps: Mutex::default() }
    }

    fn maps(&self) -> MutexGuard<'_, Maps> {
        self.maps.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Watched {
    fn default() -> Self {
        Watched::new()
    }
}

impl Mappings for Watched {
    fn write_back(&self, range: Range) -> io::Result<Vec<Range>> {
        let mut maps = self.maps();
        let Some(watch) = self.watch.as_ref().filter(|_| maps.told) else { return Ok(vec![range]) };
        let Maps { maps, left, blind, .. } = &mut *maps;
        let pages = range.align_out(Granule::PAGE, u64::MAX);
        let mut stored: Vec<Range> = left.iter().filter_map(|left| left.intersect(pages)).collect();
        *left = left.drain(..).flat_map(|left| left.without(pages)).collect();
        for map in maps {
            if let Some(part) = map.range.intersect(range) {
                watch.take_stored(map, part, &mut stored);
                *blind |= !map.watched;
            }
        }
        Ok(stored)
    }

    fn refresh(&self, _: Range, _: BorrowedFd<'_>) -> io::Result<()> {
        Ok(())
    }

    fn shoot_down(&self, _: Range) -> io::Result<()> {
        Ok(())
    }

    fn cache(&self) -> Option<Granule> {
        None
    }

    fn knows(&self) -> bool {
        let maps = self.maps();
        self.watch.is_some() && maps.told && !maps.blind
    }

    fn faults(&self) -> bool {
        false
    }

    fn mapped(&self, address: usize, offset: u64, len: usize) {
        let Ok(range) = Range::new(offset, len as u64) else { return };
        let address = address as u64;
        let watched =
            self.watch.as_ref().is_some_and(|watch| watch.protect(address, range).is_ok());
        let mut maps = self.maps();
        maps.told = true;
        maps.blind |= !watched;
        maps.maps.push(Map { address, range, watched });
    }

    fn unmapping(&self, address: usize) {
        let mut maps = self.maps();
        let mut mappings = maps.maps.iter();
        let Some(index) = mappings.position(|map| map.address == address as u64) else { return };
        let mut map = maps.maps.swap_remove(index);
        // A bracket may go on without the mapping, and its END still has to find the stores.
        if let Some(watch) = &self.watch {
            let whole = map.range;
            let Maps { left, blind, .. } = &mut *maps;
            watch.take_stored(&mut map, whole, left);
            *blind |= !map.watched;
            join(left);
        }
    }
}

/// Sorts `runs`, and makes one of those that meet.
fn join(runs: &mut Vec<Range>) {
    runs.sort_unstable_by_key(|run| run.start());
    runs.dedup_by(|next, run| {
        let meet = next.start() <= run.end();
        if meet {
            *run = run.hull(*next);
        }
        meet
    });
}

impl Watch {
    fn new() -> io::Result<Watch> {
        let userfaultfd = sys::userfaultfd()?;
        sys::api(userfaultfd.as_fd())?;
        Ok(Watch { userfaultfd, pagemap: File::open("/proc/self/pagemap")? })
    }

    /// Starts to watch the mapping of `range` at `address`.
    fn protect(&self, address: u64, range: Range) -> io::Result<()> {
        let page = Granule::PAGE.bytes();
        // With larger pages the kernel's answers would be about bytes beside the ones asked for.
        let small = rustix::param::page_size() as u64 == page && range.start().is_multiple_of(page);
        let len = range.len().checked_next_multiple_of(page).filter(|_| small);
        let len = len.ok_or(io::ErrorKind::InvalidInput)?;
        sys::register(self.userfaultfd.as_fd(), address, len)?;
        sys::write_protect(self.userfaultfd.as_fd(), address, len)?;
        Ok(())
    }

    /// Adds to `stored` the pages of `part` that were stored to since they were last taken. If the
    /// kernel does not tell (the memory was unmapped behind our back, say) that is all of them, from
    /// now on.
    fn take_stored(&self, map: &mut Map, part: Range, stored: &mut Vec<Range>) {
        let part = part.align_out(Granule::PAGE, u64::MAX);
        if map.watched && self.scan(map, part, stored).is_err() {
            map.watched = false;
        }
        if !map.watched {
            stored.push(part);
        }
    }

    fn scan(&self, map: &Map, pages: Range, stored: &mut Vec<Range>) -> io::Result<()> {
        let to_address = map.address.wrapping_sub(map.range.start());
        let mut at = pages.start().wrapping_add(to_address);
        let end = pages.end().wrapping_add(to_address);
        while at < end {
            let mut found = [sys::PageRegion::default(); 64];
            let (regions, walked) = match sys::scan(self.pagemap.as_fd(), at, end, &mut found) {
                Ok(scanned) => scanned,
                Err(Errno::INTR) => continue,
                Err(errno) => return Err(errno.into()),
            };
            for region in &found[..regions] {
                let start = region.start.wrapping_sub(to_address);
                stored.extend(Range::between(start, region.end.wrapping_sub(to_address)));
            }
            at = walked;
        }
        Ok(())
    }
}

/// The ioctls of linux/userfaultfd.h and linux/fs.h that neither std nor rustix has.
#[allow(unsafe_code)]
mod sys {
    use std::ffi::c_void;
    use std::os::fd::{BorrowedFd, OwnedFd};

    use rustix::io::{Errno, Result};
    use rustix::ioctl::{Ioctl, IoctlOutput, Opcode, Updater, ioctl, opcode};
    use rustix::mm::UserfaultfdFlags;

    const UFFD_API: u64 = 0xaa;
    const UFFD_FEATURE_WP_HUGETLBFS_SHMEM: u64 = 1 << 12;
    const UFFD_FEATURE_WP_UNPOPULATED: u64 = 1 << 13;
    const UFFD_FEATURE_WP_ASYNC: u64 = 1 << 15;
    const UFFDIO_REGISTER_MODE_WP: u64 = 1 << 1;
    const UFFDIO_WRITEPROTECT_MODE_WP: u64 = 1 << 0;
    const PM_SCAN_WP_MATCHING: u64 = 1 << 0;
    const PM_SCAN_CHECK_WPASYNC: u64 = 1 << 1;
    const PAGE_IS_WRITTEN: u64 = 1 << 1;

    #[repr(C)]
    struct UffdioApi {
        api: u64,
        features: u64,
        ioctls: u64,
    }

    #[repr(C)]
    struct UffdioRegister {
        start: u64,
        len: u64,
        mode: u64,
        ioctls: u64,
    }

    #[repr(C)]
    struct UffdioWriteprotect {
        start: u64,
        len: u64,
        mode: u64,
    }

    #[repr(C)]
    #[derive(Clone, Copy, Default)]
    pub(super) struct PageRegion {
        pub(super) start: u64,
        pub(super) end: u64,
        categories: u64,
    }

    #[repr(C)]
    struct PmScanArg {
        size: u64,
        flags: u64,
        start: u64,
        end: u64,
        walk_end: u64,
        vec: u64,
        vec_len: u64,
        max_pages: u64,
        category_inverted: u64,
        category_mask: u64,
        category_anyof_mask: u64,
        return_mask: u64,
    }

    pub(super) fn userfaultfd() -> Result<OwnedFd> {
        /// Faults from user space only: all that an unprivileged process may ask for. In the
        /// asynchronous mode the kernel resolves every fault itself, so its own are seen as well.
        const UFFD_USER_MODE_ONLY: UserfaultfdFlags = UserfaultfdFlags::from_bits_retain(1);
        let flags = UserfaultfdFlags::CLOEXEC | UFFD_USER_MODE_ONLY;
        // SAFETY: The file descriptor by itself has no effect on memory; what `register` below asks
        // for leaves the contents and the accessibility of memory as they are.
        unsafe { rustix::mm::userfaultfd(flags) }
    }

    pub(super) fn api(userfaultfd: BorrowedFd<'_>) -> Result<()> {
        let features =
            UFFD_FEATURE_WP_ASYNC | UFFD_FEATURE_WP_UNPOPULATED | UFFD_FEATURE_WP_HUGETLBFS_SHMEM;
        let mut api = UffdioApi { api: UFFD_API, features, ioctls: 0 };
        // SAFETY: UFFDIO_API is `_IOWR(0xaa, 0x3f, struct uffdio_api)`, and this is that struct.
        unsafe {
            let update =
                Updater::<{ opcode::read_write::<UffdioApi>(0xaa, 0x3f) }, _>::new(&mut api);
            ioctl(userfaultfd, update)
        }
    }

    pub(super) fn register(userfaultfd: BorrowedFd<'_>, start: u64, len: u64) -> Result<()> {
        let mut register = UffdioRegister { start, len, mode: UFFDIO_REGISTER_MODE_WP, ioctls: 0 };
        // SAFETY: UFFDIO_REGISTER is `_IOWR(0xaa, 0x00, struct uffdio_register)`, and this is that
        // struct. Asynchronous write-protection only marks pages: whatever memory is named here,
        // loads and stores go on as before.
        unsafe {
            const REGISTER: Opcode = opcode::read_write::<UffdioRegister>(0xaa, 0x00);
            ioctl(userfaultfd, Updater::<REGISTER, _>::new(&mut register))
        }
    }

    pub(super) fn write_protect(userfaultfd: BorrowedFd<'_>, start: u64, len: u64) -> Result<()> {
        let mut protect = UffdioWriteprotect { start, len, mode: UFFDIO_WRITEPROTECT_MODE_WP };
        // SAFETY: UFFDIO_WRITEPROTECT is `_IOWR(0xaa, 0x06, struct uffdio_writeprotect)`, and this
        // is that struct. The kernel refuses memory that is not registered, and in asynchronous mode
        // a store to a protected page goes through.
        unsafe {
            const WRITEPROTECT: Opcode = opcode::read_write::<UffdioWriteprotect>(0xaa, 0x06);
            ioctl(userfaultfd, Updater::<WRITEPROTECT, _>::new(&mut protect))
        }
    }

    /// Takes the runs of stored-to pages in `start..end` and protects them again: how many were put
    /// into `found`, and the address up to which was looked.
    pub(super) fn scan(
        pagemap: BorrowedFd<'_>,
        start: u64,
        end: u64,
        found: &mut [PageRegion],
    ) -> Result<(usize, u64)> {
        let mut arg = PmScanArg {
            size: size_of::<PmScanArg>() as u64,
            flags: PM_SCAN_WP_MATCHING | PM_SCAN_CHECK_WPASYNC,
            start,
            end,
            walk_end: 0,
            vec: found.as_mut_ptr().expose_provenance() as u64,
            vec_len: found.len() as u64,
            max_pages: 0,
            category_inverted: 0,
            category_mask: PAGE_IS_WRITTEN,
            category_anyof_mask: 0,
            return_mask: PAGE_IS_WRITTEN,
        };
        // SAFETY: PAGEMAP_SCAN is `_IOWR('f', 16, struct pm_scan_arg)`, and `Scan` passes that
        // struct; its `vec` and `vec_len` are `found`, which outlives the call.
        let regions = unsafe { ioctl(pagemap, Scan(&mut arg)) }?;
        if arg.walk_end <= start {
            return Err(Errno::INVAL);
        }
        Ok((regions, arg.walk_end))
    }

    /// PAGEMAP_SCAN, whose result is a count.
    struct Scan<'a>(&'a mut PmScanArg);

    // SAFETY: The opcode, the pointer and the way the result is read are those of PAGEMAP_SCAN.
    unsafe impl Ioctl for Scan<'_> {
        type Output = usize;

        const IS_MUTATING: bool = true;

        fn opcode(&self) -> Opcode {
            opcode::read_write::<PmScanArg>(b'f', 16)
        }

        fn as_ptr(&mut self) -> *mut c_void {
            std::ptr::from_mut(self.0).cast()
        }

        unsafe fn output_from_ptr(out: IoctlOutput, _: *mut c_void) -> Result<usize> {
            Ok(out as usize)
        }
    }
}
