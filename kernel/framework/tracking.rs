// SPDX-License-Identifier: GPL-2.0

//! Which pages of a buffer were touched, found by page faults.
//!
//! While no device needs syncs there is nothing to find out, and a `tracked` buffer shows all of its
//! pages at once. From the first such device on, a page that may be stored to is *CPU-newer* in the
//! tracker exactly as long as some process may have it mapped for stores: the two are changed
//! together, under the buffer's `state`. (A buffer that is always written whole is spared the faults:
//! its pages *linger*, mapped for stores although devices have been given them.) A page that a device may have written since the CPU last saw
//! it is *device-newer* from a bracket's begin until it is brought over, and has no mapping for stores.

use core::ops::Range as Pages;

use kernel::page::PAGE_SHIFT;
use kernel::prelude::*;

use crate::rules::cost::{Mode, TrackingCost};
use crate::rules::plan::{Memory, Plan};
use crate::rules::tracker::{self, Newest, Tracker};
use crate::rules::{Access, CostModel, Granule, Range};

/// A page fault against a page that is synced as part of a large run, which is a copy of 4 KiB where
/// DMA bounces.
const COST: TrackingCost = TrackingCost { fault: 3, page: 1 };

/// What tracking says of the memory: one memory of which pages are the unit. Both sides are made equal
/// by the DMA API, page by page.
const MEMORY: Memory = Memory::Caches {
    line: Granule::PAGE,
};

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

/// Set bits of pages, by the words that they take.
pub(super) type Bits = KVVec<u64>;

/// The tracker of one buffer, and what its cost models learn.
pub(super) struct Tracking {
    whole: Range,
    tracker: Tracker<Bits>,
    /// Whether accesses are followed.
    active: bool,
    loads: CostModel,
    stores: CostModel,
    /// How the stores of the bracket that last began are found.
    mode: Mode,
    /// Around pages that were left mapped for stores when a bracket ended.
    lingering: Option<Range>,
    /// Pages that begins left to be brought over when they are touched, and those that were.
    offered: u64,
    taken: u64,
}

impl Tracking {
    pub(super) fn new(size: usize) -> Result<Self> {
        Ok(Tracking {
            whole: whole(size)?,
            tracker: empty(size)?,
            active: false,
            loads: CostModel::new(COST),
            stores: CostModel::new(COST),
            mode: Mode::Track,
            lingering: None,
            offered: 0,
            taken: 0,
        })
    }

    pub(super) fn is_active(&self) -> bool {
        self.active
    }

    /// From now on accesses are followed. Whatever was mapped before has to be shot down: until then
    /// every page may have been stored to.
    pub(super) fn activate(&mut self) {
        if !self.active {
            self.active = true;
            self.tracker.cpu_wrote(self.whole);
        }
    }

    /// No device needs syncs any more.
    pub(super) fn deactivate(&mut self) {
        self.active = false;
        self.lingering = None;
        self.tracker.synced(self.whole);
    }

    /// A bracket of `access` begins over `range`, while devices may have written any of its pages that
    /// the CPU has not stored to.
    pub(super) fn devices_may_have_written(&mut self, range: Range) {
        let range = range.align_out(Granule::PAGE, self.whole.end());
        let mut at = range.start();
        while let Ok(rest) = Range::between(at, range.end()) {
            let stored = self.tracker.cpu_newer(rest).next();
            let gap = stored.map_or(rest.end(), |stored| stored.start());
            if let Ok(unstored) = Range::between(at, gap) {
                self.tracker.device_wrote(unstored);
            }
            let Some(stored) = stored else { return };
            at = stored.end();
        }
    }

    /// Decides how the stores of a bracket of `access` over `range` are found, which begins now. Whether
    /// it gives the old bytes of whole pages up, and nobody has to look at what devices wrote there.
    pub(super) fn begin_stores(&mut self, access: Access, range: Range) -> bool {
        if access.writes() {
            self.mode = self.stores.next_mode();
        }
        let whole = range.align_out(Granule::PAGE, self.whole.end()) == range;
        access == Access::Write && self.mode == Mode::Full && whole
    }

    /// Takes the pages that linger: shoot them down, and harvest them.
    pub(super) fn take_lingering(&mut self) -> Option<Range> {
        self.lingering.take()
    }

    /// Whether pages that devices may have written are brought over one by one, when they are touched.
    pub(super) fn begin_loads(&mut self, range: Range) -> Mode {
        let pages = total(Plan::begin_tracked(MEMORY, range, &self.tracker).map(|run| run.range));
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
            self.loads.observe(self.taken, self.offered);
            (self.offered, self.taken) = (0, 0);
        }
    }

    /// Takes the first run in `range` that a device may have written, at most `most` bytes of it. Bring
    /// it over before anybody can store to it.
    pub(super) fn take_device_newer(&mut self, range: Range, most: u64) -> Option<Range> {
        let run = Plan::begin_tracked(MEMORY, range, &self.tracker)
            .next()?
            .range;
        let run = Range::new(run.start(), run.len().min(most)).ok()?;
        self.tracker.synced(run);
        Some(run)
    }

    /// Takes `page` if a device may have written it and it was left until it is touched.
    pub(super) fn take_touched(&mut self, page: Range) -> Option<Range> {
        let run = self.take_device_newer(page, page.len())?;
        self.taken += 1;
        Some(run)
    }

    /// The pages, `page` among them, that become writable along with it. While each is to be known, none
    /// but itself; otherwise none outside of `bracket`, an open one of stores, if there is one.
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

    /// Moves what the CPU may have stored to in `range` over to `harvest`, which is empty; the hull of
    /// it comes back, to be shot down before anybody else takes the state.
    pub(super) fn harvest(&mut self, range: Range, harvest: &mut Harvest) -> Option<Range> {
        let hull = self.copy(range, harvest);
        for run in harvest.0.cpu_newer(self.whole) {
            self.tracker.synced(run);
        }
        hull
    }

    /// As [`Tracking::harvest`], when a bracket ends. `None` also if the pages are to linger: they are
    /// mapped as they are.
    pub(super) fn harvest_at_end(&mut self, range: Range, harvest: &mut Harvest) -> Option<Range> {
        if self.mode == Mode::Track {
            return self.harvest(range, harvest);
        }
        if let Some(hull) = self.copy(range, harvest) {
            self.lingering = Some(self.lingering.map_or(hull, |other| other.hull(hull)));
        }
        None
    }

    /// Copies what the CPU may have stored to in `range`, and tells the hull of it.
    fn copy(&self, range: Range, harvest: &mut Harvest) -> Option<Range> {
        let mut hull: Option<Range> = None;
        let plan = Plan::end_tracked(MEMORY, Access::Write, range, &self.tracker);
        for run in plan.map(|run| run.range) {
            harvest.0.cpu_wrote(run);
            hull = Some(hull.map_or(run, |hull| hull.hull(run)));
        }
        hull
    }

    /// Learns from a bracket over `range` what was stored to.
    pub(super) fn end_stores(&mut self, range: Range, harvest: &Harvest) {
        if self.mode == Mode::Track {
            let pages = range.align_out(Granule::PAGE, self.whole.end()).len() >> PAGE_SHIFT;
            self.stores.observe(total(harvest.runs(range)), pages);
        }
    }
}

/// Pages that were stored to and are on their way to devices: what a bracket's end has taken out of the
/// tracker.
pub(super) struct Harvest(Tracker<Bits>, Range);

impl Harvest {
    pub(super) fn new(size: usize) -> Result<Self> {
        Ok(Harvest(empty(size)?, whole(size)?))
    }

    /// The runs of pages, of those that touch `range`.
    fn runs(&self, range: Range) -> impl Iterator<Item = Range> + '_ {
        self.0.cpu_newer(range)
    }

    /// All runs of pages.
    pub(super) fn all(&self) -> impl Iterator<Item = Range> + '_ {
        self.runs(self.1)
    }

    /// Makes it empty again.
    pub(super) fn clear(&mut self) {
        self.0.synced(self.1);
    }
}

/// All bytes of a buffer.
fn whole(size: usize) -> Result<Range> {
    Range::new(0, size as u64).map_err(|_| EINVAL)
}

fn empty(size: usize) -> Result<Tracker<Bits>> {
    let words = tracker::words(size as u64, Granule::PAGE).ok_or(EINVAL)?;
    let storage = KVVec::zeroed(words, GFP_KERNEL)?;
    Tracker::new(size as u64, Granule::PAGE, storage).ok_or(EINVAL)
}

/// The pages in `runs`.
fn total(runs: impl Iterator<Item = Range>) -> u64 {
    runs.map(|run| run.len() >> PAGE_SHIFT).sum()
}
