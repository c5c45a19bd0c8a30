//! When a cheaper way is the better one.
//!
//! Costs are in any one unit, nanoseconds say, measured by the home that asks.

/// How far to go when a large area is cleaned or invalidated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// Line by line, the lines named and no others.
    Lines,
    /// The whole cache at once.
    WholeCache,
}

/// What cache maintenance costs. Line by line is dear on large areas; beyond some size it is
/// cheaper to clean the whole cache (ARM's `flush_cache_all` against its `*_range` operations).
#[derive(Clone, Copy, Debug)]
pub struct MaintenanceCost {
    /// Bytes of a line.
    pub line: u32,
    /// Cost of one line.
    pub per_line: u32,
    /// Cost of the whole cache, refilling it included.
    pub whole_cache: u64,
}

impl MaintenanceCost {
    /// The cheaper extent for an area of `bytes`. Where there is no way to clean the whole cache,
    /// `whole_cache` is `u64::MAX`.
    pub const fn extent(&self, bytes: u64) -> Extent {
        let lines = bytes.div_ceil(self.line as u64);
        if lines.saturating_mul(self.per_line as u64) <= self.whole_cache {
            Extent::Lines
        } else {
            Extent::WholeCache
        }
    }
}

/// How the next bracket finds out what was touched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// By a page fault on each page that is touched.
    Track,
    /// Not at all: everything in the range is synced at once.
    Full,
}

/// What tracking costs.
#[derive(Clone, Copy, Debug)]
pub struct TrackingCost {
    /// Cost of a page fault.
    pub fault: u32,
    /// Cost of syncing a page as part of a large run.
    pub page: u32,
}

/// Decides for one buffer whether its faults are worth it, from what its brackets touched.
///
/// A buffer that is always touched whole stops paying for faults after [`CostModel::PATIENCE`]
/// brackets. It takes as many that touch little to come back, and to find out, one bracket in
/// [`CostModel::PROBE`] is tracked all the same.
#[derive(Clone, Copy, Debug)]
pub struct CostModel {
    cost: TrackingCost,
    mode: Mode,
    /// Brackets in a row that would have been cheaper the other way.
    against: u8,
    since_probe: u8,
}

impl CostModel {
    /// Brackets that have to agree before the mode changes.
    pub const PATIENCE: u8 = 4;
    /// Without tracking, every so many brackets one is tracked to see.
    pub const PROBE: u8 = 16;

    /// A model that starts by tracking.
    pub const fn new(cost: TrackingCost) -> CostModel {
        CostModel { cost, mode: Mode::Track, against: 0, since_probe: 0 }
    }

    /// The mode of the next bracket.
    pub fn next_mode(&mut self) -> Mode {
        if self.mode == Mode::Full {
            self.since_probe += 1;
            if self.since_probe >= Self::PROBE {
                self.since_probe = 0;
                return Mode::Track;
            }
        }
        self.mode
    }

    /// Learns from a tracked bracket, which touched `touched` of the `pages` it could have synced.
    ///
    /// Within a tenth of each other neither way is better, and nothing changes.
    pub fn observe(&mut self, touched: u64, pages: u64) {
        let per_touch = u64::from(self.cost.fault) + u64::from(self.cost.page);
        let tracked = touched.saturating_mul(per_touch);
        let full = pages.saturating_mul(u64::from(self.cost.page));
        let margin = full / 10;
        let better = if tracked > full.saturating_add(margin) {
            Mode::Full
        } else if tracked.saturating_add(margin) < full {
            Mode::Track
        } else {
            self.mode
        };
        if better == self.mode {
            self.against = 0;
            return;
        }
        self.against += 1;
        // A probe that speaks for tracking is followed by more of them, not by fifteen full ones.
        self.since_probe = Self::PROBE;
        if self.against >= Self::PATIENCE {
            *self = CostModel { mode: better, ..CostModel::new(self.cost) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COST: TrackingCost = TrackingCost { fault: 10, page: 1 };

    /// Runs `brackets` of them, each touching `touched` of 1000 pages, and counts the tracked ones.
    fn run(model: &mut CostModel, brackets: u32, touched: u64) -> u32 {
        let mut tracked = 0;
        for _ in 0..brackets {
            if model.next_mode() == Mode::Track {
                tracked += 1;
                model.observe(touched, 1000);
            }
        }
        tracked
    }

    #[test]
    fn a_buffer_that_is_always_written_whole_stops_paying_for_faults() {
        let mut model = CostModel::new(COST);
        assert!(run(&mut model, 1000, 1000) <= 1000 / u32::from(CostModel::PROBE) + 10);
    }

    #[test]
    fn a_buffer_that_is_hardly_touched_is_always_tracked() {
        let mut model = CostModel::new(COST);
        assert_eq!(run(&mut model, 1000, 3), 1000);
    }

    #[test]
    fn it_comes_back_to_tracking_and_does_not_flap() {
        let mut model = CostModel::new(COST);
        run(&mut model, 100, 1000);
        run(&mut model, 100, 3);
        assert_eq!(run(&mut model, 100, 3), 100);
        // One frame that is drawn whole among many that are not changes nothing.
        for _ in 0..50 {
            assert_eq!(run(&mut model, 1, 1000) + run(&mut model, 9, 3), 10);
        }
    }

    #[test]
    fn large_areas_are_cleaned_with_the_whole_cache() {
        let cost = MaintenanceCost { line: 64, per_line: 5, whole_cache: 100_000 };
        assert_eq!(cost.extent(64 * 20_000), Extent::Lines);
        assert_eq!(cost.extent(64 * 20_001), Extent::WholeCache);
        let never = MaintenanceCost { whole_cache: u64::MAX, ..cost };
        assert_eq!(never.extent(u64::MAX), Extent::Lines);
    }
}
