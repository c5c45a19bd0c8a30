//! The framework around an exporter: what every dma-buf does, whoever owns its memory.

use std::collections::BTreeMap;
use std::fmt;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Duration;

use dmabuf_core::cost::{Mode, TrackingCost};
use dmabuf_core::ledger::{Ended, Full, Rules, Slot};
use dmabuf_core::plan::{Memory, Op, Run};
use dmabuf_core::tracker::{self, Newest, Tracker};
use dmabuf_core::{Access, Bracket, CostModel, CpuAccess, Granule, Ledger, Owner, Plan, Range};

use crate::attachment::Attachment;
use crate::error::{Error, Result};
use crate::exporter::{AnyExporter, CpuExporter, Exporter};
use crate::flight::Flight;
use crate::mappings::{self, Mappings};
use crate::memory;
use crate::quota::Charge;
use crate::stats::Stats;
use crate::violation::{Log, Violation};

/// A page fault that the file system answers, against a page among many that are brought over at once.
/// Measured through the page cache: `cargo test --release -p dmabuf-serve --test served -- --ignored
/// --exact costs::measure --nocapture`.
const TRACKING: TrackingCost = TrackingCost { fault: 7, page: 1 };

/// Brackets, no two alike, that may be open on a buffer at a time, and those of one owner. A program
/// that opens more has lost count of them, and every begin looks at all that are open.
const MOST_BRACKETS: usize = 1024;
const MOST_OF_AN_OWNER: usize = 256;

/// How a buffer finds out what to sync.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// By direction and range, or the worst where they are not named.
    Hints,
    /// By what was really touched.
    Tracked,
    /// As tracked, and what should not have been touched is reported.
    Checked,
}

/// What a program can know about a buffer before it maps it. Fixed for the buffer's lifetime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capability {
    /// Whether it can be mapped, for reading and writing.
    pub mmap: bool,
    /// Whether brackets neither copy nor clean anything.
    pub coherent: bool,
    /// Whether the work of a bracket grows with its range.
    pub range: bool,
    /// How the work is found.
    pub policy: Policy,
    /// The unit in which bytes move.
    pub granule: Granule,
}

/// A buffer that a device and programs use without copying it. Cloning it clones a reference.
#[derive(Clone)]
pub struct Buffer {
    inner: Arc<Inner>,
}

struct Inner {
    exporter: Box<dyn AnyExporter>,
    mappings: Arc<dyn Mappings>,
    policy: Policy,
    memory: Memory,
    flight: Flight,
    /// Held while a bracket begins or ends, so that a begin does not overwrite what another's
    /// program already stores. Faults, write-back and devices never take it: some of them have to
    /// finish before the bracket can.
    bracket: Mutex<()>,
    /// Held for as long as it takes to look or to copy, never while waiting for mappings.
    state: Mutex<State>,
    _charge: Option<Charge>,
}

struct State {
    name: String,
    ledger: Ledger<Vec<Slot>>,
    /// Unless the policy is `Hints`.
    tracker: Option<Tracker<Vec<u64>>>,
    cost: CostModel,
    /// Pages that brackets left to be faulted in since one last ended, and those that were.
    offered: u64,
    taken: u64,
    /// Whether a page was faulted in outside of brackets since stray stores were last taken in.
    strayed: bool,
    /// By the offset of the page, who faulted it in since it was last shot down: as many as the buffer
    /// has pages.
    faulted: BTreeMap<u64, Owner>,
    stats: Stats,
    log: Log,
}

impl Buffer {
    /// Makes a buffer of an exporter's memory, for use in this process.
    pub fn export<E: Exporter>(exporter: E, policy: Policy) -> Result<Buffer> {
        Buffer::new(exporter, policy, mappings::in_process(policy), None)
    }

    pub(crate) fn new<E: Exporter>(
        exporter: E,
        policy: Policy,
        mappings: Arc<dyn Mappings>,
        charge: Option<Charge>,
    ) -> Result<Buffer> {
        let size = Exporter::size(&exporter);
        memory::check_pages(size)?;
        let tracker = match policy {
            Policy::Hints => None,
            Policy::Tracked | Policy::Checked => {
                let words = tracker::words(size, Granule::PAGE).ok_or(Error::Size(size))?;
                Tracker::new(size, Granule::PAGE, vec![0; words])
            }
        };
        let memory = match (Exporter::memory(&exporter), mappings.cache()) {
            (Memory::Coherent, Some(line)) => Memory::Caches { line },
            (memory, _) => memory,
        };
        let rules = if policy == Policy::Checked { Rules::Strict } else { Rules::Lenient };
        let state = State {
            name: String::new(),
            ledger: Ledger::new(rules, vec![Slot::default(); 4]),
            tracker,
            cost: CostModel::new(TRACKING),
            offered: 0,
            taken: 0,
            strayed: false,
            faulted: BTreeMap::new(),
            stats: Stats::default(),
            log: Log::default(),
        };
        let inner = Inner {
            exporter: Box::new(exporter),
            mappings,
            policy,
            memory,
            flight: Flight::default(),
            bracket: Mutex::default(),
            state: Mutex::new(state),
            _charge: charge,
        };
        Ok(Buffer { inner: Arc::new(inner) })
    }

    /// Bytes; never changes.
    pub fn size(&self) -> u64 {
        self.inner.exporter.size()
    }

    /// The exporter's name.
    pub fn exporter(&self) -> &str {
        self.inner.exporter.name()
    }

    /// The buffer's name, empty at first.
    pub fn name(&self) -> String {
        self.state().name.clone()
    }

    /// Gives the buffer a name of at most 31 bytes, as `DMA_BUF_SET_NAME` does.
    pub fn set_name(&self, name: &str) -> Result<()> {
        if name.len() > 31 || name.contains('\0') {
            return Err(Error::Name);
        }
        name.clone_into(&mut self.state().name);
        Ok(())
    }

    /// What can be done with the buffer.
    pub fn capability(&self) -> Capability {
        let Inner { exporter, mappings, policy, memory, .. } = &*self.inner;
        let line = match (policy, memory) {
            (Policy::Tracked | Policy::Checked, _) => Granule::PAGE,
            (_, Memory::Caches { line }) => *line,
            _ => Granule::BYTE,
        };
        Capability {
            mmap: exporter.cpu().is_some(),
            coherent: *memory == Memory::Coherent,
            range: *memory != Memory::Coherent,
            policy: *policy,
            granule: line.max(mappings.cache().unwrap_or(Granule::BYTE)),
        }
    }

    /// In a checked buffer, finds what programs stored outside of brackets so far, as far as that can
    /// be found, for [`Buffer::violations`]. It waits for a bracket that is beginning or ending, so it
    /// is nothing for those who answer faults.
    pub fn look_for_strays(&self) {
        let _bracket = self.bracket();
        let strayed = self.state().strayed;
        // What is not found now is found when the next bracket begins.
        let taken = self.take_strays();
        if strayed && self.inner.mappings.faults() {
            // What comes now, of another program too, faults and is found again.
            let _ = taken.and_then(|()| self.protect(self.whole()));
        }
    }

    /// What happened so far. In a checked buffer, stores that are found by looking are looked for, as
    /// by [`Buffer::violations`].
    pub fn stats(&self) -> Stats {
        self.look_here();
        let state = self.state();
        Stats { violations: state.log.count, ..state.stats }
    }

    /// What should not have happened; always empty unless the policy is [`Policy::Checked`].
    pub fn violations(&self) -> Vec<Violation> {
        self.look_here();
        self.state().log.violations()
    }

    /// The programs' side of the buffer, for use in this process.
    pub fn cpu(&self) -> Result<CpuSide> {
        self.cpu_exporter()?;
        Ok(CpuSide { buffer: self.clone() })
    }

    /// Attaches `device`, which may do `access`.
    pub fn attach(&self, device: &str, access: Access) -> Attachment {
        self.attach_segmented(device, access, self.size())
    }

    /// Attaches a device that takes segments of at most `longest` bytes, which is rounded down to
    /// pages; a page is the least.
    pub fn attach_segmented(&self, device: &str, access: Access, longest: u64) -> Attachment {
        Attachment::new(self.clone(), device, access, longest)
    }

    /// Begins a bracket of `owner`, after waiting for device accesses in flight that conflict with
    /// it: for `limit` at most, if there is one.
    pub fn begin(
        &self,
        owner: Owner,
        access: Access,
        range: Range,
        limit: Option<Duration>,
    ) -> Result<()> {
        let range = range.within(self.size())?;
        let cpu = self.cpu_exporter()?;
        self.inner.flight.wait(access, range, limit)?;
        let _bracket = self.bracket();
        match self.inner.policy {
            Policy::Hints => self.begin_hinted(cpu, access, range)?,
            Policy::Tracked => self.begin_tracked(cpu, access, range)?,
            Policy::Checked => {
                self.take_strays()?;
                self.begin_tracked(cpu, access, range)?;
            }
        }
        let mut state = self.state();
        state.open(Bracket { owner, access, range })?;
        state.stats.brackets += 1;
        Ok(())
    }

    /// Ends a bracket of `owner`. What it stored is visible to device accesses that begin later.
    pub fn end(&self, owner: Owner, access: Access, range: Range) -> Result<()> {
        let range = range.within(self.size())?;
        let cpu = self.cpu_exporter()?;
        let bracket = Bracket { owner, access, range };
        let _bracket = self.bracket();
        // While the bracket is still open: this is what may be stored to.
        let ending = self.state().ledger.ending(bracket);
        self.take_stores_of_bracket(&ending)?;
        let Ended { begun, sync, mistake } = self.state().ledger.end(bracket);
        if let Some(mistake) = mistake {
            self.state().log.add(Violation::Mistake { owner, mistake, count: 1 });
        }
        let given = self.give_to_devices(cpu, sync.access, sync.range);
        let protected = self.protect(begun.map_or(range, |begun| begun.range));
        given.and(protected)
    }

    /// Ends all brackets of an owner who is gone: what it stored becomes visible to devices. All of
    /// them end, also where one fails.
    pub fn abandon(&self, owner: Owner) -> Result<()> {
        let _bracket = self.bracket();
        let left: Vec<Bracket> =
            self.state().ledger.open().filter(|open| open.owner == owner).copied().collect();
        if left.is_empty() {
            return Ok(());
        }
        let cpu = self.cpu_exporter()?;
        let mut result = Ok(());
        for &sync in &left {
            let ending = Ended { begun: Some(sync), sync, mistake: None };
            result = result.and(self.take_stores_of_bracket(&ending));
        }
        // However often each was begun, its bytes move once.
        while self.state().ledger.abandon(owner).is_some() {}
        for bracket in left {
            if self.inner.policy == Policy::Checked {
                self.state().log.add(Violation::LeftOpen { bracket });
            }
            result = result.and(self.give_to_devices(cpu, bracket.access, bracket.range));
            result = result.and(self.protect(bracket.range));
        }
        result
    }

    /// The owners of open brackets.
    pub fn owners(&self) -> Vec<Owner> {
        let mut owners: Vec<_> = self.state().ledger.open().map(|open| open.owner).collect();
        owners.sort_unstable_by_key(|owner| owner.0);
        owners.dedup();
        owners
    }

    /// Whether a bracket of `access` over the whole buffer would not have to wait for a device.
    pub fn is_idle(&self, access: Access) -> bool {
        !self.inner.flight.conflicts(access, self.whole())
    }

    /// Answers a page fault of `owner` on a mapping through a page cache: fills `bytes` with the
    /// CPU-side memory from `offset` on.
    ///
    /// Pages that a device wrote and a bracket left for later are brought over now.
    pub fn fault(&self, owner: Owner, offset: u64, bytes: &mut [u8]) -> Result<()> {
        let cpu = self.cpu_exporter()?;
        let range = Range::new(offset, bytes.len() as u64)?.within(self.size())?;
        let mut state = self.state();
        let pages = range.len().div_ceil(Granule::PAGE.bytes());
        state.stats.faults += pages;
        if self.inner.policy == Policy::Checked {
            state.check_fault(owner, range);
        }
        let newer: Vec<Run> = match &state.tracker {
            Some(tracker) => Plan::begin_tracked(self.inner.memory, range, tracker).collect(),
            None => Vec::new(),
        };
        if !newer.is_empty() {
            self.carry_over(cpu, &mut state, &newer)?;
            let bytes = total(&newer);
            state.taken += bytes / Granule::PAGE.bytes();
            // A bracket that began had counted on it not being touched.
            state.stats.bytes_elided = state.stats.bytes_elided.saturating_sub(bytes);
        }
        memory::read_at(cpu.mmap(), offset, bytes)
    }

    /// Takes in what a page cache writes back: `bytes`, which programs stored from `offset` on.
    ///
    /// A page that a device wrote, and that no open bracket lets anybody store to, was stored to
    /// outside of a bracket, and before the device: its bytes are dropped.
    pub fn store(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        let cpu = self.cpu_exporter()?;
        let range = Range::new(offset, bytes.len() as u64)?.within(self.size())?;
        let mut state = self.state();
        if self.inner.policy == Policy::Checked {
            state.check_store(Owner(0), range);
        }
        let dropped = state.written_by_devices_alone(range);
        state.report_conflict(self.inner.policy, dropped.first().copied());
        for kept in without(range, dropped) {
            // The rest of a page that is stored to moves along with it, so it must be new.
            let partly = state.partly_newer(kept);
            self.carry_over(cpu, &mut state, &partly)?;
            let from = (kept.start() - offset) as usize;
            let stored = &bytes[from..from + kept.len() as usize];
            memory::write_at(cpu.mmap(), kept.start(), stored)?;
            state.stored(self.inner.policy, kept);
        }
        Ok(())
    }

    /// Whether nobody else has the CPU side open or mapped. For an owner that lets go of the buffer
    /// and wants to know when its memory is free.
    pub fn is_alone(&self) -> bool {
        self.inner.exporter.cpu().is_none_or(|cpu| memory::is_alone(cpu.mmap()))
    }

    /// Whether a bracket is beginning or ending right now, for which another would have to wait.
    pub fn is_bracketing(&self) -> bool {
        matches!(self.inner.bracket.try_lock(), Err(TryLockError::WouldBlock))
    }

    pub(crate) fn device_memory(&self) -> BorrowedFd<'_> {
        self.inner.exporter.device_memory()
    }

    pub(crate) fn device_begin(&self, access: Access, range: Range) -> Result<()> {
        let range = range.within(self.size())?;
        self.inner.flight.begin(access, range);
        let prepared = self.prepare_device(access, range);
        if prepared.is_err() {
            self.inner.flight.end(access, range);
        }
        prepared
    }

    pub(crate) fn device_moved(&self, access: Access, bytes: usize) {
        let mut state = self.state();
        match access {
            Access::Read => state.stats.device_read += bytes as u64,
            _ => state.stats.device_written += bytes as u64,
        }
    }

    pub(crate) fn device_end(&self, access: Access, range: Range) {
        let Inner { exporter, memory, policy, flight, .. } = &*self.inner;
        if let (true, Some(cpu)) = (access.writes(), exporter.cpu()) {
            let mut state = self.state();
            if let Some(tracker) = &mut state.tracker {
                let runs: Vec<Run> =
                    Plan::device_end_tracked(*memory, access, range, tracker).collect();
                let conflict = tracker.device_wrote(range);
                state.report_conflict(*policy, conflict);
                // It is only about bytes of which nothing is promised, so neither is success.
                if cpu.end_cpu_access(&mut runs.iter().copied()).is_ok() {
                    state.count(&runs);
                }
            }
        }
        flight.end(access, range);
    }

    fn prepare_device(&self, access: Access, range: Range) -> Result<()> {
        let Some(cpu) = self.inner.exporter.cpu() else { return Ok(()) };
        let memory = self.inner.memory;
        let mut state = self.state();
        let runs: Vec<Run> = match &state.tracker {
            Some(tracker) => Plan::device_begin_tracked(memory, access, range, tracker).collect(),
            None => Plan::device_begin(memory, self.size(), access, range, &state.ledger).collect(),
        };
        self.hand_over(cpu, &mut state, &runs)?;
        if let (true, Some(tracker)) = (access.writes(), &mut state.tracker) {
            // What the CPU had stored is written over: nobody is at it at the same time yet.
            tracker.device_wrote(range);
        }
        Ok(())
    }

    fn begin_hinted(&self, cpu: &dyn CpuExporter, access: Access, range: Range) -> Result<()> {
        let Inner { mappings, memory, .. } = &*self.inner;
        let runs: Vec<Run> =
            Plan::begin(*memory, self.size(), access, range, &self.state().ledger).collect();
        if mappings.cache().is_some() {
            for run in &runs {
                self.take_stores(run.range)?;
            }
        }
        cpu.begin_cpu_access(&mut runs.iter().copied())?;
        for run in &runs {
            mappings.refresh(run.range, cpu.mmap())?;
        }
        self.state().count(&runs);
        Ok(())
    }

    fn begin_tracked(&self, cpu: &dyn CpuExporter, access: Access, range: Range) -> Result<()> {
        let Inner { mappings, memory, policy, .. } = &*self.inner;
        let (mut runs, mode) = {
            let mut state = self.state();
            let Some(tracker) = &state.tracker else { return Ok(()) };
            let runs: Vec<Run> = Plan::begin_tracked(*memory, range, tracker).collect();
            let mode = match policy {
                _ if runs.is_empty() || !mappings.faults() => Mode::Full,
                Policy::Checked => Mode::Track,
                _ => state.cost.next_mode(),
            };
            let now = if mode == Mode::Full { total(&runs) } else { 0 };
            if access.reads() && *memory != Memory::Coherent {
                state.stats.bytes_elided += range.len().saturating_sub(now);
            }
            if mode == Mode::Track {
                state.offered += total(&runs) / Granule::PAGE.bytes();
            }
            (runs, mode)
        };
        if mode == Mode::Track {
            // Only what is really touched will be brought over, when it faults.
            for run in &runs {
                self.shoot_down(run.range)?;
            }
            return Ok(());
        }
        if mappings.faults() {
            // Where an open bracket lets another program store, what is brought over now could go
            // over a store that it makes meanwhile: there each page waits until it faults.
            let whole: Vec<Range> = runs.iter().map(|run| run.range).collect();
            let free: Vec<Range> = {
                let state = self.state();
                let free = |&run| state.outside_of_brackets(run, Access::writes);
                whole.iter().flat_map(free).collect()
            };
            for run in whole {
                for shared in without(run, free.iter().copied()) {
                    self.shoot_down(shared)?;
                }
            }
            runs = free.into_iter().map(|range| Run { op: Op::Invalidate, range }).collect();
            for run in &runs {
                self.take_stores(run.range)?;
            }
        }
        self.carry_over(cpu, &mut self.state(), &runs)?;
        for run in &runs {
            mappings.refresh(run.range, cpu.mmap())?;
        }
        Ok(())
    }

    /// Invalidates `runs`, of which the tracker knows that a device wrote them.
    fn carry_over(&self, cpu: &dyn CpuExporter, state: &mut State, runs: &[Run]) -> Result<()> {
        // First the books, then the bytes: what a device writes from now on is new again.
        state.synced(runs);
        if let Err(error) = cpu.begin_cpu_access(&mut runs.iter().copied()) {
            for run in runs {
                state.tracker.as_mut().and_then(|tracker| tracker.device_wrote(run.range));
            }
            return Err(error.into());
        }
        state.count(runs);
        Ok(())
    }

    /// Cleans `runs`, of which the tracker, if there is one, knows that the CPU stored to them.
    fn hand_over(&self, cpu: &dyn CpuExporter, state: &mut State, runs: &[Run]) -> Result<()> {
        state.synced(runs);
        if let Err(error) = cpu.end_cpu_access(&mut runs.iter().copied()) {
            for run in runs {
                state.tracker.as_mut().and_then(|tracker| tracker.cpu_wrote(run.range));
            }
            return Err(error.into());
        }
        state.count(runs);
        Ok(())
    }

    fn give_to_devices(&self, cpu: &dyn CpuExporter, access: Access, range: Range) -> Result<()> {
        let memory = self.inner.memory;
        let mut state = self.state();
        let runs: Vec<Run> = match &state.tracker {
            Some(tracker) => Plan::end_tracked(memory, access, range, tracker).collect(),
            None => Plan::end(memory, self.size(), access, range).collect(),
        };
        if access.writes() && state.tracker.is_some() && memory != Memory::Coherent {
            state.stats.bytes_elided += range.len().saturating_sub(total(&runs));
        }
        self.hand_over(cpu, &mut state, &runs)
    }

    /// Takes in the stores of a bracket that is about to end.
    fn take_stores_of_bracket(&self, ending: &Ended) -> Result<()> {
        let Inner { mappings, policy, .. } = &*self.inner;
        let Bracket { access, range, .. } = ending.sync;
        match policy {
            // What was stored in a bracket that only reads is to be found; and what its END does not
            // name is not astray.
            Policy::Checked if mappings.knows() => {
                self.take_stores(ending.begun.map_or(range, |begun| begun.range))
            }
            Policy::Tracked if mappings.faults() => {
                self.state().learn_from_faults();
                if access.writes() { self.take_stores(range) } else { Ok(()) }
            }
            _ if !access.writes() => Ok(()),
            Policy::Tracked if mappings.knows() && ending.begun.is_some() => {
                self.take_stores_or_all(range)
            }
            // What a cache in front of the one memory kept dirty would overwrite what devices write
            // there later.
            Policy::Hints => self.take_stores(ending.begun.map_or(range, |begun| begun.range)),
            _ => self.take_stores(range),
        }
    }

    /// Takes in what programs stored to `range`, or takes it that they stored to all of it, whichever
    /// is cheaper; and learns which it is.
    fn take_stores_or_all(&self, range: Range) -> Result<()> {
        let policy = self.inner.policy;
        if self.state().cost.next_mode() == Mode::Full {
            self.state().stored(policy, range);
            return Ok(());
        }
        let stored = self.inner.mappings.write_back(range)?;
        let pages = |range: &Range| {
            range.align_out(Granule::PAGE, self.size()).len() / Granule::PAGE.bytes()
        };
        let mut state = self.state();
        state.cost.observe(stored.iter().map(pages).sum(), pages(&range));
        stored.into_iter().for_each(|run| state.stored(policy, run));
        Ok(())
    }

    /// Takes in what programs stored to `range`.
    fn take_stores(&self, range: Range) -> Result<()> {
        let Inner { mappings, policy, .. } = &*self.inner;
        let stored = mappings.write_back(range)?;
        let mut state = self.state();
        for run in stored {
            if *policy == Policy::Checked && mappings.knows() {
                state.check_store(this_process(), run);
            }
            state.stored(*policy, run);
        }
        Ok(())
    }

    /// In a checked buffer, finds what was stored to pages that no open bracket lets anybody store
    /// to. Whoever calls it holds `bracket`.
    fn take_strays(&self) -> Result<()> {
        let Inner { mappings, policy, .. } = &*self.inner;
        if *policy != Policy::Checked || !mappings.knows() {
            return Ok(());
        }
        if mappings.faults() {
            // A fault does not tell a store from a load; what is written back does.
            let strayed = std::mem::take(&mut self.state().strayed);
            return if strayed { self.take_stores(self.whole()) } else { Ok(()) };
        }
        let free = self.state().outside_of_brackets(self.whole(), Access::writes);
        for range in free {
            for run in mappings.write_back(range)? {
                let mut state = self.state();
                state.check_store(this_process(), run);
                let newer = state.written_by_devices_alone(run);
                state.report_conflict(*policy, newer.first().copied());
                for run in without(run, newer) {
                    state.stored(*policy, run);
                }
            }
        }
        Ok(())
    }

    /// Looks for strays where that waits for nobody's fault to be answered: in this process.
    fn look_here(&self) {
        if self.inner.policy == Policy::Checked && !self.inner.mappings.faults() {
            self.look_for_strays();
        }
    }

    /// In a checked buffer, lets accesses to `range` fault again, but where brackets are open.
    fn protect(&self, range: Range) -> Result<()> {
        if self.inner.policy != Policy::Checked {
            return Ok(());
        }
        let range = range.align_out(Granule::PAGE, self.size());
        let free = self.state().outside_of_brackets(range, |_| true);
        free.into_iter().try_for_each(|range| self.shoot_down(range))
    }

    fn shoot_down(&self, range: Range) -> Result<()> {
        self.inner.mappings.shoot_down(range)?;
        let mut state = self.state();
        let mut later = state.faulted.split_off(&range.start());
        state.faulted.append(&mut later.split_off(&range.end()));
        Ok(())
    }

    fn cpu_exporter(&self) -> Result<&dyn CpuExporter> {
        self.inner.exporter.cpu().ok_or(Error::NotMappable)
    }

    fn whole(&self) -> Range {
        Range::new(0, self.size()).expect("buffers are not empty")
    }

    fn bracket(&self) -> MutexGuard<'_, ()> {
        self.inner.bracket.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Buffer")
            .field("exporter", &self.exporter())
            .field("size", &self.size())
            .field("policy", &self.inner.policy)
            .finish_non_exhaustive()
    }
}

impl State {
    fn open(&mut self, bracket: Bracket) -> Result<()> {
        if self.has_most_open(bracket) {
            return Err(Error::Brackets);
        }
        if self.ledger.begin(bracket) == Err(Full) {
            let slots = self.ledger.slots_mut();
            if slots.len() >= MOST_BRACKETS {
                return Err(Error::Brackets);
            }
            slots.resize_with(slots.len() * 2, Slot::default);
            self.ledger.begin(bracket).expect("there are free slots now");
        }
        Ok(())
    }

    /// Whether the owner of `bracket` has as many others open as it may.
    fn has_most_open(&self, bracket: Bracket) -> bool {
        let of_owner = self.ledger.open().filter(|open| open.owner == bracket.owner);
        of_owner.filter(|&open| *open != bracket).count() >= MOST_OF_AN_OWNER
    }

    /// Writes down that programs stored to `range`.
    fn stored(&mut self, policy: Policy, range: Range) {
        let conflict = self.tracker.as_mut().and_then(|tracker| tracker.cpu_wrote(range));
        self.report_conflict(policy, conflict);
    }

    /// The pages of `range` that a device wrote, and that no open bracket lets anybody store to.
    fn written_by_devices_alone(&self, range: Range) -> Vec<Range> {
        let newer = self.tracker.iter().flat_map(|tracker| tracker.device_newer(range));
        newer.flat_map(|newer| self.outside_of_brackets(newer, Access::writes)).collect()
    }

    /// What to carry over before a store to `range`: pages that a device wrote, and of which it is
    /// only a part.
    fn partly_newer(&self, range: Range) -> Vec<Run> {
        let Some(tracker) = &self.tracker else { return Vec::new() };
        let (first, last) = (range.start(), range.end() - 1);
        let ends = [first, last].map(|byte| Range::new(byte, 1).expect("it is in the buffer"));
        let mut partly: Vec<Run> = ends
            .into_iter()
            .map(|byte| byte.align_out(Granule::PAGE, u64::MAX))
            .filter(|page| !range.contains(*page))
            .filter(|page| tracker.newest(page.start()) == Newest::Device)
            .map(|range| Run { op: Op::Invalidate, range })
            .collect();
        partly.dedup();
        partly
    }

    /// What the faults since the last END say about the cost of faults.
    fn learn_from_faults(&mut self) {
        if self.offered > 0 {
            self.cost.observe(self.taken, self.offered);
        }
        (self.taken, self.offered) = (0, 0);
    }

    fn synced(&mut self, runs: &[Run]) {
        if let Some(tracker) = &mut self.tracker {
            runs.iter().for_each(|run| tracker.synced(run.range));
        }
    }

    fn count(&mut self, runs: &[Run]) {
        for run in runs {
            let bytes = run.range.len();
            if run.op != Op::Clean {
                self.stats.bytes_invalidated += bytes;
            }
            if run.op != Op::Invalidate {
                self.stats.bytes_cleaned += bytes;
            }
        }
    }

    fn check_fault(&mut self, owner: Owner, range: Range) {
        let range = range.align_out(Granule::PAGE, u64::MAX);
        for page in (range.start()..range.end()).step_by(Granule::PAGE.bytes() as usize) {
            self.faulted.insert(page, owner);
        }
        let allowed =
            self.ledger.open().any(|open| open.owner == owner && open.range.overlaps(range));
        if !allowed {
            self.strayed = true;
            self.log.stray(owner, Access::Read, range);
        }
    }

    /// Reports the pages of `range` that no open bracket lets anybody store to.
    fn check_store(&mut self, owner: Owner, range: Range) {
        let bytes = Granule::PAGE.bytes();
        let mut page = range.start() & !(bytes - 1);
        while page < range.end() {
            let Ok(whole) = Range::new(page, bytes) else { break };
            let writing = self.ledger.open().filter(|open| open.access.writes());
            match writing.map(|open| open.range).find(|open| open.overlaps(whole)) {
                // The rest of that bracket need not be looked at page by page.
                Some(open) => page = open.end().max(page + 1).next_multiple_of(bytes),
                None => {
                    let owner = match owner {
                        Owner(0) => self.storer(whole),
                        owner => owner,
                    };
                    self.log.stray(owner, Access::Write, whole);
                    page += bytes;
                }
            }
        }
    }

    /// Who most likely stored to `page`: whoever faulted it in, else who has a bracket there.
    fn storer(&self, page: Range) -> Owner {
        let faulted = self.faulted.get(&page.start()).copied();
        let bracketed =
            || self.ledger.open().find(|open| open.range.overlaps(page)).map(|open| open.owner);
        faulted.or_else(bracketed).unwrap_or(Owner(0))
    }

    /// What of `range`, which is whole pages, is in no page that an open bracket of such a direction
    /// touches.
    fn outside_of_brackets(&self, range: Range, such: impl Fn(Access) -> bool) -> Vec<Range> {
        let open = self.ledger.open().filter(|open| such(open.access));
        without(range, open.map(|open| open.range.align_out(Granule::PAGE, u64::MAX)))
    }

    fn report_conflict(&mut self, policy: Policy, conflict: Option<Range>) {
        if let (Policy::Checked, Some(range)) = (policy, conflict) {
            self.log.add(Violation::Conflict { range });
        }
    }
}

/// The programs' side of a buffer, in this process: a file descriptor to map, and brackets.
#[derive(Clone, Debug)]
pub struct CpuSide {
    buffer: Buffer,
}

impl AsFd for CpuSide {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.buffer.inner.exporter.cpu().expect("checked by Buffer::cpu").mmap()
    }
}

impl CpuAccess for CpuSide {
    type Error = Error;

    fn begin_cpu_access(&self, access: Access, range: Range) -> Result<()> {
        self.buffer.begin(this_process(), access, range, None)
    }

    fn end_cpu_access(&self, access: Access, range: Range) -> Result<()> {
        self.buffer.end(this_process(), access, range)
    }

    fn mapped(&self, address: usize, offset: u64, len: usize) {
        self.buffer.inner.mappings.mapped(address, offset, len);
    }

    fn unmapping(&self, address: usize) {
        self.buffer.inner.mappings.unmapping(address);
    }
}

/// What is left of `range` without `holes`.
fn without(range: Range, holes: impl IntoIterator<Item = Range>) -> Vec<Range> {
    holes.into_iter().fold(vec![range], |left, hole| {
        left.into_iter().flat_map(|range| range.without(hole)).collect()
    })
}

/// The bytes of all of `runs`.
fn total(runs: &[Run]) -> u64 {
    runs.iter().map(|run| run.range.len()).sum()
}

/// This process, as an owner of brackets.
fn this_process() -> Owner {
    Owner(u64::from(std::process::id()))
}
