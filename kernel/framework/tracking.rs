// SPDX-License-Identifier: GPL-2.0

//! Which pages of a buffer were touched, found by page faults.
//!
//! While no device needs syncs there is nothing to find out, and a `tracked` buffer shows all of its
//! pages at once. From the first such device on, every page that some process may have mapped for stores
//! is *CPU-newer* in the tracker: the mark is set before the page is shown writable, and taken after it
//! was shot down, under the buffer's `state`. A page that a device may have written since the CPU last
//! saw it is *device-newer* from a bracket's begin until it is brought over, and not mapped for stores.
//!
//! A buffer that is always written whole is spared the faults: when its brackets end, its pages *linger*,
//! CPU-newer and mapped for stores although devices have been given them.

use core::ops::Range as Pages;

use kernel::page::PAGE_SHIFT;
use kernel::prelude::*;

use crate::rules::cost::{Mode, TrackingCost};
use crate::rules::tracker::{self, Newest, Tracker};
use crate::rules::{Access, CostModel, Granule, Range};

use super::brackets::Brackets;

/// A page fault against a page that is synced as part of a large run, which is a copy of 4 KiB where
/// DMA bounces.
const COST: TrackingCost = TrackingCost { fault: 3, page: 1 };

/// Pages that a fault may show at once, where each by itself need not be known: as many as one table of
/// them maps.
const WINDOW: usize = 512;

/// The bytes of some pages.
pub(super) fn bytes(pages: &Pages<usize>) -> Option<Range> {
    Range::between(
        (pages.start as u64) << PAGE_SHIFT,
        (pages.end as u64) << PAGE_SHIFT,
    )
    .ok()
}

/// The pages that hold some bytes.
fn pages(bytes: Range) -> Pages<usize> {
    let page = Granule::PAGE.bytes();
    (bytes.start() / page) as usize..bytes.end().div_ceil(page) as usize
}

/// All bytes of a buffer.
fn whole(size: usize) -> Result<Range> {
    Range::new(0, size as u64).map_err(|_| EINVAL)
}

fn tracker(size: usize) -> Result<Tracker<KVVec<u64>>> {
    let words = tracker::words(size as u64, Granule::PAGE).ok_or(EINVAL)?;
    let storage = KVVec::zeroed(words, GFP_KERNEL)?;
    Tracker::new(size as u64, Granule::PAGE, storage).ok_or(EINVAL)
}

/// The pages in `runs`.
fn total(runs: impl Iterator<Item = Range>) -> u64 {
    runs.map(|run| run.len() >> PAGE_SHIFT).sum()
}

/// The tracker of one buffer, and what its cost models learn.
pub(super) struct Tracking {
    whole: Range,
    tracker: Tracker<KVVec<u64>>,
    /// Whether accesses are followed.
    active: bool,
    loads: CostModel,
    stores: CostModel,
    /// How the stores of the bracket that last began are found.
    mode: Mode,
    /// Around pages that linger.
    lingering: Option<Range>,
    /// Pages that begins left to be brought over when they are touched, and those that were.
    offered: u64,
    taken: u64,
}

impl Tracking {
    /// Of a buffer that nobody has mapped yet; whether its accesses are followed from the start, even if
    /// no device needs it.
    pub(super) fn new(size: usize, active: bool) -> Result<Self> {
        Ok(Tracking {
            whole: whole(size)?,
            tracker: tracker(size)?,
            active,
            loads: CostModel::new(COST),
            stores: CostModel::new(COST),
            mode: Mode::Track,
            lingering: None,
            offered: 0,
            taken: 0,
        })
    }

    /// Whether accesses are followed.
    pub(super) fn is_active(&self) -> bool {
        self.active
    }

    /// From now on accesses are followed. Whether they were not before: then every page may have been
    /// stored to, and has to be harvested.
    pub(super) fn activate(&mut self) -> bool {
        if self.active {
            return false;
        }
        self.active = true;
        self.tracker.cpu_wrote(self.whole);
        true
    }

    /// No device needs syncs any more.
    pub(super) fn deactivate(&mut self) {
        self.active = false;
        self.lingering = None;
        self.tracker.synced(self.whole);
    }

    /// Decides how the stores of a bracket of `access` over `range` are found, which begins now. Whether
    /// it gives up the old bytes of whole pages, so that nobody has to look at what devices wrote there.
    pub(super) fn begin_stores(&mut self, access: Access, range: Range) -> bool {
        if access.writes() {
            self.mode = self.stores.next_mode();
        }
        let is_whole_pages = range.align_out(Granule::PAGE, self.whole.end()) == range;
        access == Access::Write && self.mode == Mode::Full && is_whole_pages
    }

    /// Takes the marks of stores off pages that no open bracket of stores covers: of those that linger,
    /// and, where devices may have written, of those in `range`, which were stored to outside of a
    /// bracket, where nothing is promised. The hull of them comes back, to be shot down before anybody
    /// else takes the state.
    pub(super) fn settle(
        &mut self,
        brackets: &Brackets,
        range: Range,
        devices_write: bool,
    ) -> Option<Range> {
        let lingering = self.lingering.take();
        let range = devices_write.then_some(range.align_out(Granule::PAGE, self.whole.end()));
        let hull = match (lingering, range) {
            (Some(lingering), Some(range)) => lingering.hull(range),
            (Some(one), None) | (None, Some(one)) => one,
            (None, None) => return None,
        };
        let in_any = |part: Range| {
            [lingering, range]
                .iter()
                .flatten()
                .any(|one| one.overlaps(part))
        };
        let mut settled: Option<Range> = None;
        let mut at = hull.start();
        while let Ok(rest) = Range::between(at, hull.end()) {
            let Some(run) = self.tracker.cpu_newer(rest).next() else {
                break;
            };
            let Some(part) = brackets.outside_of_stores(run, self.whole.end()) else {
                at = run.end();
                continue;
            };
            if in_any(part) {
                self.tracker.synced(part);
                settled = Some(settled.map_or(part, |settled| settled.hull(part)));
            }
            at = part.end();
        }
        settled
    }

    /// A bracket begins over `range`, while devices may have written any of its pages that the CPU has
    /// not stored to.
    pub(super) fn devices_may_have_written(&mut self, range: Range) {
        let range = range.align_out(Granule::PAGE, self.whole.end());
        let mut at = range.start();
        while let Ok(rest) = Range::between(at, range.end()) {
            let stored = self.tracker.cpu_newer(rest).next();
            let gap = stored.map_or(rest.end(), Range::start);
            if let Ok(unstored) = Range::between(at, gap) {
                self.tracker.device_wrote(unstored);
            }
            let Some(stored) = stored else {
                return;
            };
            at = stored.end();
        }
    }

    /// Whether pages that devices may have written are brought over one by one, when they are touched.
    pub(super) fn begin_loads(&mut self, range: Range) -> Mode {
        let pages = total(self.tracker.device_newer(range));
        if pages == 0 {
            return Mode::Full;
        }
        let mode = self.loads.next_mode();
        if mode == Mode::Track {
            self.offered += pages;
        }
        mode
    }

    /// Learns how many of the pages that were offered were touched.
    pub(super) fn end_loads(&mut self) {
        if self.offered > 0 {
            self.loads
                .observe(self.taken.min(self.offered), self.offered);
            (self.offered, self.taken) = (0, 0);
        }
    }

    /// Takes the first run in `range` that a device may have written, at most `most` bytes of it. Bring
    /// it over before anybody can store to it.
    pub(super) fn take_device_newer(&mut self, range: Range, most: u64) -> Option<Range> {
        let run = self.tracker.device_newer(range).next()?;
        let run = Range::new(run.start(), run.len().min(most)).ok()?;
        self.tracker.synced(run);
        Some(run)
    }

    /// A page was brought over that had been left until it is touched.
    pub(super) fn was_touched(&mut self) {
        self.taken += 1;
    }

    /// The pages of `mapped`, `page` among them, that become writable along with it. While each is to be
    /// known, none but itself; otherwise none outside of `bracket`, an open one of stores, if there is
    /// one.
    pub(super) fn window(
        &self,
        page: usize,
        mapped: &Pages<usize>,
        bracket: Option<Range>,
    ) -> Pages<usize> {
        let start = page / WINDOW * WINDOW;
        let window = start.max(mapped.start)..(start + WINDOW).min(mapped.end);
        if !self.active {
            return window;
        }
        match (self.mode, bracket.map(pages)) {
            (Mode::Full, Some(bracket)) => {
                window.start.max(bracket.start)..window.end.min(bracket.end)
            }
            _ => page..page + 1,
        }
    }

    /// Whether both sides have the same bytes of a page, so that it can be shown for loads.
    pub(super) fn is_equal(&self, page: usize) -> bool {
        self.tracker.newest((page as u64) << PAGE_SHIFT) == Newest::Equal
    }

    /// The CPU may store to these bytes from now on. No device's bytes in them are left to be brought
    /// over.
    pub(super) fn may_be_stored_to(&mut self, bytes: Range) {
        self.tracker.cpu_wrote(bytes);
    }

    /// When a bracket ends that began over `begun`, and its END names `range`: copies what the CPU may
    /// have stored to into `harvest`, which is empty. The hull of it comes back, to be shot down before
    /// anybody else takes the state, unless the pages are to linger.
    pub(super) fn end_stores(
        &mut self,
        range: Range,
        begun: Range,
        harvest: &mut Harvest,
    ) -> Option<Range> {
        // What the END leaves out would pass for stored to until some other bracket ends, and keep what
        // devices write there from the CPU.
        let range = range.hull(begun);
        if self.mode == Mode::Full {
            let hull = self.copy(range, harvest)?;
            self.lingering = Some(self.lingering.map_or(hull, |other| other.hull(hull)));
            return None;
        }
        let hull = self.harvest(range, harvest);
        let pages = range.align_out(Granule::PAGE, self.whole.end()).len() >> PAGE_SHIFT;
        self.stores.observe(total(harvest.runs()), pages);
        hull
    }

    /// Moves what the CPU may have stored to in `range` over to `harvest`, which is empty; the hull of
    /// it comes back, to be shot down before anybody else takes the state.
    pub(super) fn harvest(&mut self, range: Range, harvest: &mut Harvest) -> Option<Range> {
        let hull = self.copy(range, harvest);
        for run in harvest.runs() {
            self.tracker.synced(run);
        }
        hull
    }

    fn copy(&self, range: Range, harvest: &mut Harvest) -> Option<Range> {
        let mut hull: Option<Range> = None;
        for run in self.tracker.cpu_newer(range) {
            harvest.stored.cpu_wrote(run);
            hull = Some(hull.map_or(run, |hull| hull.hull(run)));
        }
        hull
    }
}

/// Pages that were stored to and are on their way to devices: what a bracket's end has found.
pub(super) struct Harvest {
    whole: Range,
    stored: Tracker<KVVec<u64>>,
}

impl Harvest {
    pub(super) fn new(size: usize) -> Result<Self> {
        Ok(Harvest {
            whole: whole(size)?,
            stored: tracker(size)?,
        })
    }

    /// The runs of pages.
    pub(super) fn runs(&self) -> impl Iterator<Item = Range> + '_ {
        self.stored.cpu_newer(self.whole)
    }

    /// Makes it empty again.
    pub(super) fn clear(&mut self) {
        // Run by run, since a few pages of many are the rule.
        while let Some(run) = self.stored.cpu_newer(self.whole).next() {
            self.stored.synced(run);
        }
    }
}
