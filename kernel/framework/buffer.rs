// SPDX-License-Identifier: GPL-2.0

//! A buffer whose accesses are bracketed.

use core::ffi::c_void;
use core::ptr::NonNull;

use kernel::device::Device;
use kernel::mm::Mm;
use kernel::page::PAGE_SIZE;
use kernel::prelude::*;
use kernel::sync::{new_mutex, Arc, Mutex};

use crate::abstractions::dma_buf::{Bracketed, CpuAccess, DmaBuf, Exporter, Ops};
use crate::abstractions::mm;
use crate::abstractions::pages::{KernelMapping, Pages};
use crate::abstractions::sg::{AtMap, Direction, Table};
use crate::abstractions::vma::{Answer, Fault, Mapped, NewMapping};
use crate::framework::brackets::{self, Brackets};
use crate::framework::log::{Log, Record, Wrong};
use crate::framework::tracking::{self, Harvest, Tracking};
use crate::heaps::{Heap, Memory, Policy};
use crate::rules::cost::Mode;
use crate::rules::ledger::{Ended, Rules};
use crate::rules::plan::{self, Op, Run};
use crate::rules::{Access, Bracket, Granule, Owner, Plan, Range};

static OPS: Ops<Buffer> = Ops::new();

/// Bytes that are brought over at a time, while page faults wait.
const AT_ONCE: u64 = 256 * 1024;

/// Pages shown for loads along with one that is touched, where both sides have the same bytes.
const AROUND: usize = 16;

/// The line in which caches move bytes: what the DMA API may take for one on any machine that this
/// kernel runs on.
const LINE: Granule = match Granule::new(kernel::bindings::L1_CACHE_BYTES) {
    Some(line) => line,
    None => panic!("cache lines are powers of two"),
};

/// What happened to a buffer so far.
#[derive(Clone, Copy, Default)]
pub(super) struct Stats {
    pub(super) begins: u64,
    pub(super) ends: u64,
    pub(super) bytes_to_device: u64,
    pub(super) bytes_from_device: u64,
    pub(super) faults: u64,
    pub(super) violations: u64,
}

struct State {
    brackets: Brackets,
    /// Unless the policy is `Hints`.
    tracking: Option<Tracking>,
    /// The devices that are attached.
    devices: KVec<Arc<Table>>,
    vmap: Option<KernelMapping>,
    stats: Stats,
}

/// A buffer that programs can map.
#[pin_data]
pub(crate) struct Buffer {
    heap: &'static Heap,
    /// What devices see. What the CPU sees are the pages of the [`DmaBuf`].
    memory: Arc<Pages>,
    /// Where the records of a checked buffer go.
    log: Option<Arc<Log>>,
    /// Held while a bracket begins or ends, and while a device's mapping comes or goes.
    #[pin]
    bracket: Mutex<Option<Harvest>>,
    #[pin]
    state: Mutex<State>,
}

impl Buffer {
    /// A buffer of `heap`, of which devices see `memory`.
    pub(crate) fn new(
        heap: &'static Heap,
        memory: Arc<Pages>,
        log: &Arc<Log>,
    ) -> Result<impl PinInit<Self, Error>> {
        let size = memory.count() * PAGE_SIZE;
        let is_checked = heap.policy == Policy::Checked;
        let (mut tracking, harvest) = match heap.policy {
            Policy::Hints => (None, None),
            _ => (Some(Tracking::new(size)?), Some(Harvest::new(size)?)),
        };
        if let (true, Some(tracking)) = (is_checked, &mut tracking) {
            // Its accesses are followed whether a device is there or not.
            tracking.activate();
        }
        let rules = if is_checked {
            Rules::Strict
        } else {
            Rules::Lenient
        };
        let brackets = Brackets::new(rules);
        let log = is_checked.then(|| log.clone());
        Ok(try_pin_init!(Buffer {
            heap,
            memory,
            log,
            bracket <- new_mutex!(harvest),
            state <- new_mutex!(State {
                brackets,
                tracking,
                devices: KVec::new(),
                vmap: None,
                stats: Stats::default(),
            }),
        }))
    }

    /// The heap that it is from.
    pub(super) fn heap(&self) -> &'static Heap {
        self.heap
    }

    /// The unit in which bytes move.
    pub(super) fn granule(&self) -> Granule {
        match (self.heap.policy, self.heap.memory) {
            (Policy::Tracked | Policy::Checked, _) => Granule::PAGE,
            (Policy::Hints, Memory::Two) => Granule::BYTE,
            (Policy::Hints, _) => LINE,
        }
    }

    /// What happened so far.
    pub(super) fn stats(&self) -> Stats {
        self.state.lock().stats
    }

    /// Begins a bracket of the process that runs, after waiting for the fences of devices that conflict
    /// with it.
    ///
    /// `EINVAL` if the range is not in the buffer, `ERESTARTSYS` when a signal comes first, `ENOMEM` if
    /// too many are open.
    pub(super) fn begin(buffer: &DmaBuf<Self>, access: Access, range: Range) -> Result {
        let range = range.within(buffer.size() as u64).map_err(|_| EINVAL)?;
        buffer.wait_for_devices(access.writes())?;
        let mm = mm::current();
        let owner = mm.as_deref().map_or(brackets::KERNEL, brackets::owner);
        let mut harvest = buffer.bracket.lock();
        buffer.bury_the_dead(buffer, &mut harvest);
        match &mut *harvest {
            None => buffer.begin_hinted(buffer, access, range),
            Some(harvest) => buffer.begin_tracked(buffer, access, range, harvest),
        }
        let mut state = buffer.state.lock();
        state.brackets.begin(
            Bracket {
                owner,
                access,
                range,
            },
            mm,
        )?;
        state.stats.begins += 1;
        Ok(())
    }

    /// Ends a bracket of the process that runs. What it stored is visible to device accesses that begin
    /// later.
    ///
    /// `EINVAL` if the range is not in the buffer.
    pub(super) fn end(buffer: &DmaBuf<Self>, access: Access, range: Range) -> Result {
        let range = range.within(buffer.size() as u64).map_err(|_| EINVAL)?;
        let mm = mm::current();
        let owner = mm.as_deref().map_or(brackets::KERNEL, brackets::owner);
        let mut harvest = buffer.bracket.lock();
        let Ended {
            begun,
            sync,
            mistake,
        } = {
            let mut state = buffer.state.lock();
            state.stats.ends += 1;
            state.brackets.ledger.end(Bracket {
                owner,
                access,
                range,
            })
        };
        if let Some(mistake) = mistake {
            buffer.report(buffer, range.start(), Wrong::End(mistake));
        }
        let covered = begun.map_or(range, |begun| begun.range);
        buffer.give_to_devices(buffer, sync.access, sync.range, covered, &mut harvest);
        Ok(())
    }

    /// Ends all brackets of processes that are gone.
    fn bury_the_dead(&self, buffer: &DmaBuf<Self>, harvest: &mut Option<Harvest>) {
        loop {
            let dead = self.state.lock().brackets.take_dead();
            let Some(dead) = dead else { return };
            self.abandon(buffer, dead, harvest);
        }
    }

    /// Ends all brackets of an owner who is gone: what it stored becomes visible to devices.
    fn abandon(&self, buffer: &DmaBuf<Self>, owner: Owner, harvest: &mut Option<Harvest>) {
        loop {
            let left = self.state.lock().brackets.ledger.abandon(owner);
            let Some(left) = left else { break };
            self.report(buffer, left.range.start(), Wrong::LeftOpen(left.access));
            self.give_to_devices(buffer, left.access, left.range, left.range, harvest);
        }
        self.state.lock().brackets.forget(owner);
    }

    fn begin_hinted(&self, buffer: &DmaBuf<Self>, access: Access, range: Range) {
        let mut state = self.state.lock();
        let State {
            brackets,
            devices,
            stats,
            ..
        } = &mut *state;
        let Some(memory) = self.between(devices) else {
            return;
        };
        let size = buffer.size() as u64;
        for run in Plan::begin(memory, size, access, range, &brackets.ledger) {
            self.carry_out(buffer, run, devices, stats);
        }
    }

    /// What lies between CPU and devices now; `None` for nothing.
    fn between(&self, devices: &[Arc<Table>]) -> Option<plan::Memory> {
        let needed = || devices.iter().any(|device| device.needs_sync().is_some());
        // The DMA API takes any bytes, and sees to the ends of lines itself. It moves them as copies
        // where DMA bounces, and to clean a line there that the CPU did not store to would put old bytes
        // in place of a device's.
        (self.heap.memory == Memory::Two || needed()).then_some(plan::Memory::Copies)
    }

    /// Syncs one run of a plan, where hints decide.
    fn carry_out(
        &self,
        buffer: &DmaBuf<Self>,
        run: Run,
        devices: &[Arc<Table>],
        stats: &mut Stats,
    ) {
        let (start, end) = (run.range.start() as usize, run.range.end() as usize);
        // The CPU's side has memory of its own, or is the same.
        let cpu = buffer
            .cpu_pages()
            .filter(|_| self.heap.memory == Memory::Two);
        if matches!(run.op, Op::Clean | Op::CleanInvalidate) {
            if let Some(cpu) = cpu {
                self.memory.copy_from(cpu, start, end);
            }
            devices
                .iter()
                .for_each(|device| device.sync_for_device(start, end));
            stats.bytes_to_device += run.range.len();
        }
        if matches!(run.op, Op::Invalidate | Op::CleanInvalidate) {
            devices
                .iter()
                .for_each(|device| device.sync_for_cpu(start, end));
            if let Some(cpu) = cpu {
                cpu.copy_from(&self.memory, start, end);
            }
            stats.bytes_from_device += run.range.len();
        }
    }

    fn begin_tracked(
        &self,
        buffer: &DmaBuf<Self>,
        access: Access,
        range: Range,
        harvest: &mut Harvest,
    ) {
        let gives_up = {
            let mut state = self.state.lock();
            if self.heap.policy == Policy::Checked {
                // What was touched outside of a bracket is still mapped.
                buffer.shoot_down(range.start() as usize, range.end() as usize);
                false
            } else {
                let tracking = state.tracking.as_mut();
                tracking.is_some_and(|tracking| tracking.begin_stores(access, range))
            }
        };
        if gives_up {
            return;
        }
        self.settle(buffer, harvest);
        let mode = {
            let mut state = self.state.lock();
            let devices_write = state
                .devices
                .iter()
                .any(|device| device.needs_sync().is_some_and(Direction::writes));
            let Some(tracking) = &mut state.tracking else {
                return;
            };
            if !devices_write || !tracking.is_active() {
                return;
            }
            tracking.devices_may_have_written(range);
            let mode = match self.heap.policy {
                Policy::Checked => Mode::Track,
                _ => tracking.begin_loads(range),
            };
            if mode == Mode::Track {
                // Only what is really touched will be brought over, when it faults.
                buffer.shoot_down(range.start() as usize, range.end() as usize);
            }
            mode
        };
        if mode == Mode::Full {
            self.bring_over(range);
        }
    }

    /// Takes the mappings for stores away that were left when brackets of stores ended. Devices have been
    /// given what those stored; what open ones did, they are given now.
    fn settle(&self, buffer: &DmaBuf<Self>, harvest: &mut Harvest) {
        let stores = {
            let mut state = self.state.lock();
            let State {
                brackets, tracking, ..
            } = &mut *state;
            let Some(tracking) = tracking else {
                return;
            };
            let Some(hull) = tracking.take_lingering() else {
                return;
            };
            tracking.harvest(hull, harvest);
            buffer.shoot_down(hull.start() as usize, hull.end() as usize);
            brackets.stores()
        };
        if stores {
            self.hand_over(harvest);
        } else {
            harvest.clear();
        }
    }

    /// Brings over what devices may have written in `range`, a piece at a time.
    fn bring_over(&self, range: Range) {
        loop {
            let mut state = self.state.lock();
            let tracking = state.tracking.as_mut();
            let Some(run) =
                tracking.and_then(|tracking| tracking.take_device_newer(range, AT_ONCE))
            else {
                return;
            };
            state.sync_for_cpu(run);
        }
    }

    /// When a bracket ends that covered the bytes of `covered`: makes stores to `range` visible to
    /// devices, if it was one of stores.
    fn give_to_devices(
        &self,
        buffer: &DmaBuf<Self>,
        access: Access,
        range: Range,
        covered: Range,
        harvest: &mut Option<Harvest>,
    ) {
        let Some(harvest) = harvest else {
            if access.writes() {
                let mut state = self.state.lock();
                let State { devices, stats, .. } = &mut *state;
                let Some(memory) = self.between(devices) else {
                    return;
                };
                for run in Plan::end(memory, buffer.size() as u64, access, range) {
                    self.carry_out(buffer, run, devices, stats);
                }
            }
            return;
        };
        {
            let mut state = self.state.lock();
            let Some(tracking) = &mut state.tracking else {
                return;
            };
            if self.heap.policy == Policy::Checked {
                buffer.shoot_down(covered.start() as usize, covered.end() as usize);
            }
            tracking.end_loads();
            if !access.writes() || !tracking.is_active() {
                return;
            }
            // What the END leaves out would pass for stored to until some other bracket ends, and keep
            // what devices write there from the CPU.
            let range = range.hull(covered);
            if let Some(hull) = tracking.harvest_at_end(range, harvest) {
                buffer.shoot_down(hull.start() as usize, hull.end() as usize);
            }
            tracking.end_stores(range, harvest);
        }
        self.hand_over(harvest);
    }

    /// Syncs what was harvested for the devices that need it. Page faults do not wait for it.
    fn hand_over(&self, harvest: &mut Harvest) {
        let mut needed = false;
        let mut index = 0;
        // Nobody attaches or detaches meanwhile: `bracket` is held.
        while let Some(device) = self.device(index) {
            if device.needs_sync().is_some() {
                needed = true;
                for run in harvest.all() {
                    device.sync_for_device(run.start() as usize, run.end() as usize);
                }
            }
            index += 1;
        }
        if needed {
            let bytes = harvest.all().map(Range::len).sum::<u64>();
            self.state.lock().stats.bytes_to_device += bytes;
        }
        harvest.clear();
    }

    fn device(&self, index: usize) -> Option<Arc<Table>> {
        self.state.lock().devices.get(index).cloned()
    }

    /// Writes down what a process did wrong to a checked buffer.
    fn report(&self, buffer: &DmaBuf<Self>, offset: u64, wrong: Wrong) {
        let Some(log) = &self.log else { return };
        self.state.lock().stats.violations += 1;
        log.add(record(buffer, offset, wrong));
    }
}

/// What the process that runs did wrong.
fn record(buffer: &DmaBuf<Buffer>, offset: u64, wrong: Wrong) -> Record {
    Record {
        pid: current!().tgid(),
        comm: mm::comm(),
        inode: buffer.inode(),
        name: buffer.name(),
        offset,
        wrong,
    }
}

impl State {
    /// Brings `run` over from the devices that write and need syncs.
    fn sync_for_cpu(&mut self, run: Range) {
        let writing = |device: &&Arc<Table>| device.needs_sync().is_some_and(Direction::writes);
        for device in self.devices.iter().filter(writing) {
            device.sync_for_cpu(run.start() as usize, run.end() as usize);
        }
        self.stats.bytes_from_device += run.len();
    }

    /// What the brackets of `owner` do not allow it to do with `page`, as the log tells it.
    fn violation(&self, owner: Owner, access: Access, page: Range) -> Option<Wrong> {
        let open = || self.brackets.ledger.open();
        if open().any(|open| open.allows(owner, access, page)) {
            return None;
        }
        let here = open().filter(|open| open.owner == owner && open.range.overlaps(page));
        Some(Wrong::Access(
            access,
            here.map(|open| open.access).reduce(Access::union),
        ))
    }
}

impl Exporter for Buffer {
    type Cpu = Bracketed;
    type Attachment = Table;

    fn ops() -> &'static Ops<Self> {
        &OPS
    }

    fn name(&self) -> &'static CStr {
        self.heap.name
    }

    fn attach(buffer: &DmaBuf<Self>, device: &Device) -> Result<Arc<Table>> {
        let table = Table::new(buffer.memory.clone(), device)?;
        let _bracket = buffer.bracket.lock();
        buffer
            .state
            .lock()
            .devices
            .push(table.clone(), GFP_KERNEL)?;
        Ok(table)
    }

    fn detach(buffer: &DmaBuf<Self>, table: &Arc<Table>) {
        let _bracket = buffer.bracket.lock();
        let mut state = buffer.state.lock();
        state.devices.retain(|device| !Arc::ptr_eq(device, table));
        let is_last = state.devices.is_empty();
        if let (Policy::Tracked, true, Some(tracking)) =
            (buffer.heap.policy, is_last, &mut state.tracking)
        {
            tracking.deactivate();
        }
    }

    fn map<'a>(buffer: &DmaBuf<Self>, table: &'a Table, direction: Direction) -> Result<&'a Table> {
        let mut harvest = buffer.bracket.lock();
        let Some(harvest) = &mut *harvest else {
            table.map(direction, AtMap::SyncAll)?;
            return Ok(table);
        };
        table.map(direction, AtMap::SyncNothing)?;
        if table.needs_sync().is_some() {
            {
                let mut state = buffer.state.lock();
                let Some(tracking) = &mut state.tracking else {
                    return Ok(table);
                };
                let whole = Range::new(0, buffer.size() as u64).map_err(|_| EINVAL)?;
                tracking.activate();
                // Nothing lingers in what is shot down.
                tracking.take_lingering();
                if tracking.harvest(whole, harvest).is_some() {
                    buffer.shoot_down(0, buffer.size());
                }
            }
            buffer.hand_over(harvest);
        }
        Ok(table)
    }

    fn unmap(buffer: &DmaBuf<Self>, table: &Table) {
        let mut harvest = buffer.bracket.lock();
        if table.needs_sync().is_some_and(Direction::writes) {
            if let (Some(harvest), Ok(whole)) = (&mut *harvest, Range::new(0, buffer.size() as u64))
            {
                // What the device wrote is only to be had as long as it is mapped.
                buffer.settle(buffer, harvest);
                if let Some(tracking) = &mut buffer.state.lock().tracking {
                    tracking.devices_may_have_written(whole);
                }
                buffer.bring_over(whole);
            }
        }
        table.unmap();
    }

    fn vmap(buffer: &DmaBuf<Self>) -> Result<NonNull<c_void>> {
        let mapping = KernelMapping::new(buffer.memory.clone())?;
        let address = mapping.address();
        buffer.state.lock().vmap = Some(mapping);
        Ok(address)
    }

    fn vunmap(buffer: &DmaBuf<Self>) {
        let mapping = {
            let mut state = buffer.state.lock();
            let whole = Range::new(0, buffer.size() as u64);
            // Who had it mapped may have stored anywhere, and no fault tells.
            if let (Some(tracking), Ok(whole)) = (&mut state.tracking, whole) {
                if tracking.is_active() {
                    tracking.may_be_stored_to(whole);
                }
            }
            state.vmap.take()
        };
        drop(mapping);
    }
}

impl CpuAccess for Buffer {
    fn mmap(mapping: NewMapping<'_, Self>) -> Result {
        match mapping.buffer().heap.policy {
            Policy::Hints => mapping.show_all(),
            Policy::Tracked | Policy::Checked => mapping.show_on_fault(),
        }
    }

    fn begin_cpu_access(buffer: &DmaBuf<Self>, direction: Direction) -> Result {
        let whole = Range::new(0, buffer.size() as u64).map_err(|_| EINVAL)?;
        Buffer::begin(buffer, access(direction), whole)
    }

    fn end_cpu_access(buffer: &DmaBuf<Self>, direction: Direction) -> Result {
        let whole = Range::new(0, buffer.size() as u64).map_err(|_| EINVAL)?;
        Buffer::end(buffer, access(direction), whole)
    }
}

/// What the CPU does, told as the transfer that it would be.
fn access(direction: Direction) -> Access {
    match direction {
        Direction::FromDevice => Access::Read,
        Direction::ToDevice => Access::Write,
        Direction::Bidirectional => Access::ReadWrite,
    }
}

impl Mapped for Buffer {
    fn fault(buffer: &DmaBuf<Self>, fault: &Fault<'_>) -> Answer {
        let page = fault.page();
        let Some(bytes) = tracking::bytes(&(page..page + 1)) else {
            return Answer::Bus;
        };
        let access = if fault.stores() {
            Access::Write
        } else {
            Access::Read
        };
        let mut state = buffer.state.lock();
        state.stats.faults += 1;
        if let Some(log) = &buffer.log {
            let owner = brackets::owner(fault.mm());
            if let Some(wrong) = state.violation(owner, access, bytes) {
                state.stats.violations += 1;
                log.add(record(buffer, bytes.start(), wrong));
                if *crate::module_parameters::sigbus.value_ref() {
                    return Answer::Bus;
                }
            }
        }
        let Some(tracking) = &mut state.tracking else {
            return Answer::Bus;
        };
        if let Some(run) = tracking.take_touched(bytes) {
            state.sync_for_cpu(run);
        }
        let is_checked = buffer.heap.policy == Policy::Checked;
        state.show(fault, if is_checked { 1 } else { AROUND })
    }

    fn unmapped(buffer: &DmaBuf<Self>, mm: &Mm) {
        // A process that unmaps the buffer inside of a bracket may still end it.
        if mm::is_dead(mm) {
            let mut harvest = buffer.bracket.lock();
            buffer.abandon(buffer, brackets::owner(mm), &mut harvest);
        }
    }
}

impl State {
    /// Shows the page of a fault, whose bytes are the newest, and what may be shown along with it:
    /// for loads at most `around` pages.
    fn show(&mut self, fault: &Fault<'_>, around: usize) -> Answer {
        let Some(tracking) = &mut self.tracking else {
            return Answer::Bus;
        };
        let (page, mapped) = (fault.page(), fault.mapped());
        let touched = tracking::bytes(&(page..page + 1));
        if fault.stores() || !tracking.is_active() {
            let here = |open: &&Bracket| {
                open.access.writes() && touched.is_some_and(|page| open.range.overlaps(page))
            };
            let bracket = self
                .brackets
                .ledger
                .open()
                .find(here)
                .map(|open| open.range);
            let window = tracking.window(page, &mapped, bracket);
            let Some(bytes) = tracking::bytes(&window) else {
                return Answer::Bus;
            };
            while let Some(run) = tracking.take_device_newer(bytes, bytes.len()) {
                for device in &self.devices {
                    device.sync_for_cpu(run.start() as usize, run.end() as usize);
                }
                self.stats.bytes_from_device += run.len();
            }
            if tracking.is_active() {
                tracking.may_be_stored_to(bytes);
            }
            return fault.show_writable(window);
        }
        let start = page / around * around;
        for other in start.max(mapped.start)..(start + around).min(mapped.end) {
            if other == page || tracking.is_equal(other) {
                match fault.show(other) {
                    Answer::Shown => {}
                    failed if other == page => return failed,
                    // It will fault when it is touched.
                    _ => break,
                }
            }
        }
        Answer::Shown
    }
}
