// SPDX-License-Identifier: GPL-2.0

//! A buffer whose accesses are bracketed.

use kernel::device::Device;
use kernel::mm::Mm;
use kernel::page::PAGE_SIZE;
use kernel::prelude::*;
use kernel::sync::{new_mutex, Arc, Mutex, MutexGuard};

use crate::abstractions::dma_buf::{Bracketed, CpuAccess, DmaBuf, Exporter};
use crate::abstractions::mm;
use crate::abstractions::pages::Pages;
use crate::abstractions::sg::{AtUnmap, Direction, Table};
use crate::abstractions::vma::{Answer, Fault, Mapped, NewMapping};
use crate::framework::brackets::{self, Brackets, Process};
use crate::framework::log::{Log, Record, Wrong};
use crate::framework::tracking::{self, Harvest, Tracking};
use crate::heaps::{Heap, Memory, Policy};
use crate::rules::cost::Mode;
use crate::rules::ledger::{Ended, Rules};
use crate::rules::plan::{self, Op, Run};
use crate::rules::{Access, Bracket, Granule, Owner, Plan, Range};

/// Bytes that are brought over at a time, while page faults wait.
const AT_ONCE: u64 = 256 * 1024;

/// Pages shown for loads along with one that is touched, where both sides have the same bytes.
const AROUND: usize = 16;

/// The line in which caches move bytes.
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
    tracking: Option<KBox<Tracking>>,
    /// The devices that are attached.
    devices: KVec<Arc<Table>>,
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
    bracket: Mutex<Option<KBox<Harvest>>>,
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
        let (tracking, harvest) = match heap.policy {
            Policy::Hints => (None, None),
            _ => {
                let tracking = KBox::new(Tracking::new(size, is_checked)?, GFP_KERNEL)?;
                let harvest = KBox::new(Harvest::new(size)?, GFP_KERNEL)?;
                (Some(tracking), Some(harvest))
            }
        };
        let rules = if is_checked {
            Rules::Strict
        } else {
            Rules::Lenient
        };
        let log = is_checked.then(|| log.clone());
        Ok(try_pin_init!(Buffer {
            heap,
            memory,
            log,
            bracket <- new_mutex!(harvest),
            state <- new_mutex!(State {
                brackets: Brackets::new(rules),
                tracking,
                devices: KVec::new(),
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
    /// the process has too many open.
    #[inline(always)]
    pub(super) fn begin(buffer: &DmaBuf<Self>, access: Access, range: Range) -> Result {
        let range = range.within(buffer.size() as u64).map_err(|_| EINVAL)?;
        // The kernel waits too, but afterwards: a signal would leave the bracket open.
        buffer.wait_for_devices(access.writes())?;
        match buffer.idle() {
            Some(mut state) => state.open(buffer, access, range),
            None => Buffer::begin_busy(buffer, access, range),
        }
    }

    /// Begins one that may have something to do.
    fn begin_busy(buffer: &DmaBuf<Self>, access: Access, range: Range) -> Result {
        let _bracket = buffer.tracks().then(|| buffer.bracket.lock());
        let mode = {
            let mut state = buffer.state.lock();
            let mode = state.begin(buffer, access, range);
            state.open(buffer, access, range)?;
            mode
        };
        if mode == Mode::Full {
            buffer.bring_over(range);
        }
        Ok(())
    }

    /// Whether accesses are found by page faults. Where they are not, `state` is held for all that a
    /// bracket does, and `bracket` is not needed.
    fn tracks(&self) -> bool {
        self.heap.policy != Policy::Hints
    }

    /// Ends a bracket of the process that runs. What it stored is visible to device accesses that begin
    /// later.
    ///
    /// `EINVAL` if the range is not in the buffer.
    #[inline(always)]
    pub(super) fn end(buffer: &DmaBuf<Self>, access: Access, range: Range) -> Result {
        let range = range.within(buffer.size() as u64).map_err(|_| EINVAL)?;
        match buffer.idle() {
            Some(mut state) => {
                state.close(access, range);
            }
            None => Buffer::end_busy(buffer, access, range),
        }
        Ok(())
    }

    /// Ends one that may have something to do.
    fn end_busy(buffer: &DmaBuf<Self>, access: Access, range: Range) {
        let mut harvest = buffer.tracks().then(|| buffer.bracket.lock());
        let mut harvest = harvest
            .as_mut()
            .and_then(|harvest| (**harvest).as_deref_mut());
        {
            let mut state = buffer.state.lock();
            let ended = state.close(access, range);
            if let Some(mistake) = ended.mistake {
                let process = Process::current();
                state.report(buffer, &process, range.start(), Wrong::End(mistake));
            }
            let begun = ended.begun.map_or(range, |begun| begun.range);
            state.end(buffer, ended.sync, begun, harvest.as_deref_mut());
        }
        if let Some(harvest) = harvest {
            buffer.sync_harvest(harvest);
        }
    }

    /// What lies between CPU and devices now; `None` for nothing.
    fn medium(&self, devices: &[Arc<Table>]) -> Option<plan::Memory> {
        let needs_sync = || devices.iter().any(|device| device.needs_sync());
        // The DMA API takes any bytes, and sees to the ends of lines itself. It moves them as copies
        // where DMA bounces, and to clean a line there that the CPU did not store to would put old bytes
        // in place of a device's.
        (self.heap.memory == Memory::Two || needs_sync()).then_some(plan::Memory::Copies)
    }

    /// The state, if a bracket has nothing to do now but to be written down. All that such a bracket runs
    /// through is inlined: calls would cost half as much again.
    #[inline]
    fn idle(&self) -> Option<MutexGuard<'_, State>> {
        if self.tracks() || self.heap.memory == Memory::Two {
            return None;
        }
        let state = self.state.lock();
        (!state.devices.iter().any(|device| device.needs_sync())).then_some(state)
    }

    /// Syncs one run of a plan, where hints decide.
    fn sync(buffer: &DmaBuf<Self>, run: Run, devices: &[Arc<Table>], stats: &mut Stats) {
        let (start, end) = (run.range.start() as usize, run.range.end() as usize);
        // The CPU's side has memory of its own, or is the same.
        let cpu = buffer
            .cpu_pages()
            .filter(|_| buffer.heap.memory == Memory::Two);
        if matches!(run.op, Op::Clean | Op::CleanInvalidate) {
            if let Some(cpu) = cpu {
                buffer.memory.copy_from(cpu, start, end);
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
                cpu.copy_from(&buffer.memory, start, end);
            }
            stats.bytes_from_device += run.range.len();
        }
    }

    /// Brings over what devices may have written in `range`, a piece at a time.
    fn bring_over(&self, range: Range) {
        while self.state.lock().bring_over(range, AT_ONCE) {}
    }

    /// Syncs what was harvested for the devices that need it. Page faults do not wait for it.
    fn sync_harvest(&self, harvest: &mut Harvest) {
        if harvest.runs().next().is_none() {
            return;
        }
        let mut needs_sync = false;
        let mut index = 0;
        // Nobody attaches or detaches meanwhile: `bracket` is held.
        while let Some(device) = self.device(index) {
            if device.needs_sync() {
                needs_sync = true;
                for run in harvest.runs() {
                    device.sync_for_device(run.start() as usize, run.end() as usize);
                }
            }
            index += 1;
        }
        if needs_sync {
            let bytes = harvest.runs().map(Range::len).sum::<u64>();
            self.state.lock().stats.bytes_to_device += bytes;
        }
        harvest.clear();
    }

    fn device(&self, index: usize) -> Option<Arc<Table>> {
        self.state.lock().devices.get(index).cloned()
    }
}

fn record(buffer: &DmaBuf<Buffer>, process: &Process, offset: u64, wrong: Wrong) -> Record {
    Record {
        pid: process.pid,
        comm: process.comm,
        inode: buffer.inode(),
        name: buffer.name(),
        offset,
        wrong,
    }
}

impl State {
    /// Writes down that the process that runs has begun a bracket.
    #[inline(always)]
    fn open(&mut self, buffer: &DmaBuf<Buffer>, access: Access, range: Range) -> Result {
        let owner = brackets::current();
        if !self.brackets.knows(owner) {
            self.keep_current(buffer)?;
        }
        self.brackets.begin(Bracket {
            owner,
            access,
            range,
        })?;
        self.stats.begins += 1;
        Ok(())
    }

    /// Keeps the process that runs, which has begun no bracket before.
    #[cold]
    fn keep_current(&mut self, buffer: &DmaBuf<Buffer>) -> Result {
        // Before one more is kept, those that are gone are not any more.
        self.reap(buffer);
        self.brackets.keep_current()
    }

    /// Writes down that the process that runs has ended a bracket.
    #[inline]
    fn close(&mut self, access: Access, range: Range) -> Ended {
        self.stats.ends += 1;
        self.brackets.ledger.end(Bracket {
            owner: brackets::current(),
            access,
            range,
        })
    }

    /// Does what has to be done before a bracket of `access` over `range` begins. Whether pages that
    /// devices may have written are left until they are touched, or to be brought over now.
    fn begin(&mut self, buffer: &DmaBuf<Buffer>, access: Access, range: Range) -> Mode {
        self.reap(buffer);
        let State {
            brackets,
            tracking,
            devices,
            stats,
        } = self;
        let Some(tracking) = tracking else {
            let size = buffer.size() as u64;
            if let Some(medium) = buffer.medium(devices) {
                for run in Plan::begin(medium, size, access, range, &brackets.ledger) {
                    Buffer::sync(buffer, run, devices, stats);
                }
            }
            return Mode::Track;
        };
        let is_checked = buffer.heap.policy == Policy::Checked;
        if is_checked {
            // What was touched outside of a bracket is still mapped.
            shoot_down(buffer, range);
        } else if tracking.begin_stores(access, range) {
            return Mode::Track;
        }
        let devices_write = devices.iter().any(|device| device.hides_writes());
        if let Some(hull) = tracking.settle(brackets, range, devices_write) {
            shoot_down(buffer, hull);
        }
        if !devices_write || !tracking.is_active() {
            return Mode::Track;
        }
        tracking.devices_may_have_written(range);
        if buffer.is_vmapped() {
            // Who accesses it there never faults.
            return Mode::Full;
        }
        let mode = if is_checked {
            Mode::Track
        } else {
            tracking.begin_loads(range)
        };
        if mode == Mode::Track {
            shoot_down(buffer, range);
        }
        mode
    }

    /// Does what has to be done when a bracket ends that began over `begun`, and its END amounts to
    /// `sync`. What was tracked is in `harvest` afterwards, to be synced.
    fn end(
        &mut self,
        buffer: &DmaBuf<Buffer>,
        sync: Bracket,
        begun: Range,
        harvest: Option<&mut Harvest>,
    ) {
        let State {
            tracking,
            devices,
            stats,
            ..
        } = self;
        let (Some(tracking), Some(harvest)) = (tracking, harvest) else {
            if let Some(medium) = buffer.medium(devices) {
                for run in Plan::end(medium, buffer.size() as u64, sync.access, sync.range) {
                    Buffer::sync(buffer, run, devices, stats);
                }
            }
            return;
        };
        if buffer.heap.policy == Policy::Checked {
            shoot_down(buffer, begun);
        }
        if sync.access.reads() {
            tracking.end_loads();
        }
        if !sync.access.writes() || !tracking.is_active() {
            return;
        }
        if buffer.is_vmapped() {
            // No fault has told what was stored there.
            tracking.may_be_stored_to(sync.range);
        }
        if let Some(hull) = tracking.end_stores(sync.range, begun, harvest) {
            shoot_down(buffer, hull);
        }
    }

    /// Takes what was stored to the range of an open bracket so far, to be synced.
    fn flush(&mut self, buffer: &DmaBuf<Buffer>, open: Bracket, harvest: Option<&mut Harvest>) {
        if let (Some(tracking), Some(harvest)) = (&mut self.tracking, harvest) {
            if let Some(hull) = tracking.harvest(open.range, harvest) {
                shoot_down(buffer, hull);
            }
        } else {
            self.end(buffer, open, open.range, None);
        }
    }

    /// Ends the brackets of processes that ended without a mapping of the buffer: devices have been given
    /// what they stored when they unmapped it.
    fn reap(&mut self, buffer: &DmaBuf<Buffer>) {
        while let Some(dead) = self.brackets.take_dead() {
            self.abandon(buffer, &dead);
        }
    }

    /// Ends all brackets of a process that is gone.
    fn abandon(&mut self, buffer: &DmaBuf<Buffer>, process: &Process) {
        while let Some(left) = self.brackets.ledger.abandon(process.owner()) {
            let wrong = Wrong::LeftOpen(left.access);
            self.report(buffer, process, left.range.start(), wrong);
        }
    }

    /// Writes down what a process did wrong to a checked buffer.
    fn report(&mut self, buffer: &DmaBuf<Buffer>, process: &Process, offset: u64, wrong: Wrong) {
        if let Some(log) = &buffer.log {
            self.stats.violations += 1;
            log.add(record(buffer, process, offset, wrong));
        }
    }

    /// Brings over the first run in `range` that devices may have written, at most `most` bytes of it.
    /// Whether there was one.
    fn bring_over(&mut self, range: Range, most: u64) -> bool {
        let tracking = self.tracking.as_mut();
        let Some(run) = tracking.and_then(|tracking| tracking.take_device_newer(range, most))
        else {
            return false;
        };
        for device in self.devices.iter().filter(|device| device.hides_writes()) {
            device.sync_for_cpu(run.start() as usize, run.end() as usize);
        }
        self.stats.bytes_from_device += run.len();
        true
    }

    /// What the brackets of `owner` do not allow it to do with `page`, as the log tells it.
    fn violation(&self, owner: Owner, access: Access, page: Range) -> Option<Wrong> {
        let open = || self.brackets.ledger.open();
        if open().any(|open| open.allows(owner, access, page)) {
            return None;
        }
        let here = open().filter(|open| open.owner == owner && open.range.overlaps(page));
        let allowed = here.map(|open| open.access).reduce(Access::union);
        Some(Wrong::Access(access, allowed))
    }

    /// Shows the page of a fault, whose bytes are the newest, and what may be shown along with it: for
    /// loads at most `around` pages.
    fn show(&mut self, fault: &Fault<'_>, touched: Range, around: usize) -> Answer {
        let Some(tracking) = &mut self.tracking else {
            return Answer::Bus;
        };
        let (page, mapped) = (fault.page(), fault.mapped());
        if fault.stores() || !tracking.is_active() {
            let window = tracking.window(page, &mapped, self.brackets.storing(touched));
            let Some(bytes) = tracking::bytes(&window) else {
                return Answer::Bus;
            };
            while self.bring_over(bytes, bytes.len()) {}
            match &mut self.tracking {
                Some(tracking) if tracking.is_active() => tracking.may_be_stored_to(bytes),
                _ => {}
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

impl Exporter for Buffer {
    type Cpu = Bracketed;
    type Attachment = Table;

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
        let State {
            devices, tracking, ..
        } = &mut *state;
        devices.retain(|device| !Arc::ptr_eq(device, table));
        if let (Policy::Tracked, Some(tracking), true) =
            (buffer.heap.policy, tracking, devices.is_empty())
        {
            tracking.deactivate();
        }
    }

    fn map<'a>(buffer: &DmaBuf<Self>, table: &'a Table, direction: Direction) -> Result<&'a Table> {
        let mut harvest = buffer.bracket.lock();
        table.map(direction)?;
        let Some(harvest) = &mut *harvest else {
            return Ok(table);
        };
        if table.needs_sync() {
            {
                let mut state = buffer.state.lock();
                let Some(tracking) = &mut state.tracking else {
                    return Ok(table);
                };
                if tracking.activate() {
                    // What was stored since the device got it, nobody has followed.
                    let whole = whole(buffer)?;
                    tracking.harvest(whole, harvest);
                    buffer.shoot_down(0, buffer.size());
                }
            }
            buffer.sync_harvest(harvest);
        }
        Ok(table)
    }

    fn unmap(buffer: &DmaBuf<Self>, table: &Table) {
        let harvest = buffer.bracket.lock();
        let (Some(_), true, Ok(whole)) = (&*harvest, table.hides_writes(), whole(buffer)) else {
            return table.unmap(AtUnmap::SyncAll);
        };
        // What the device wrote is only to be had as long as it is mapped; and what the CPU stores
        // meanwhile is not to be gone over.
        {
            let mut state = buffer.state.lock();
            let State {
                brackets, tracking, ..
            } = &mut *state;
            if let Some(tracking) = tracking {
                if let Some(hull) = tracking.settle(brackets, whole, true) {
                    shoot_down(buffer, hull);
                }
                tracking.devices_may_have_written(whole);
            }
        }
        buffer.bring_over(whole);
        table.unmap(AtUnmap::SyncNothing);
    }

    fn vmap(buffer: &DmaBuf<Self>) -> &Arc<Pages> {
        &buffer.memory
    }
}

fn shoot_down(buffer: &DmaBuf<Buffer>, range: Range) {
    buffer.shoot_down(range.start() as usize, range.end() as usize);
}

fn whole(buffer: &DmaBuf<Buffer>) -> Result<Range> {
    Range::new(0, buffer.size() as u64).map_err(|_| EINVAL)
}

impl CpuAccess for Buffer {
    fn mmap(mapping: NewMapping<'_, Self>) -> Result {
        match mapping.buffer().heap.policy {
            Policy::Hints => mapping.show_all(),
            Policy::Tracked | Policy::Checked => mapping.show_on_fault(),
        }
    }

    #[inline]
    fn begin_cpu_access(buffer: &DmaBuf<Self>, direction: Direction) -> Result {
        Buffer::begin(buffer, access(direction), whole(buffer)?)
    }

    #[inline]
    fn end_cpu_access(buffer: &DmaBuf<Self>, direction: Direction) -> Result {
        Buffer::end(buffer, access(direction), whole(buffer)?)
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
        let Some(touched) = tracking::bytes(&(page..page + 1)) else {
            return Answer::Bus;
        };
        let access = if fault.stores() {
            Access::Write
        } else {
            Access::Read
        };
        let is_checked = buffer.heap.policy == Policy::Checked;
        let (answer, wrong) = {
            let mut state = buffer.state.lock();
            state.stats.faults += 1;
            let owner = brackets::owner(fault.mm());
            let wrong = if is_checked {
                state.violation(owner, access, touched)
            } else {
                None
            };
            state.stats.violations += u64::from(wrong.is_some());
            if wrong.is_some() && *crate::module_parameters::sigbus.value_ref() {
                (Answer::Bus, wrong)
            } else {
                if state.bring_over(touched, touched.len()) {
                    if let Some(tracking) = &mut state.tracking {
                        tracking.was_touched();
                    }
                }
                (
                    state.show(fault, touched, if is_checked { 1 } else { AROUND }),
                    wrong,
                )
            }
        };
        if let (Some(log), Some(wrong)) = (&buffer.log, wrong) {
            log.add(record(buffer, &Process::current(), touched.start(), wrong));
        }
        answer
    }

    fn unmapped(buffer: &DmaBuf<Self>, mm: &Mm) {
        let owner = brackets::owner(mm);
        let mut bracket = buffer.bracket.lock();
        let mut harvest = (*bracket).as_deref_mut();
        // Devices get what was stored: afterwards nobody knows of it who could give it to them.
        let mut index = 0;
        loop {
            {
                let mut state = buffer.state.lock();
                let Some(open) = state.brackets.nth(owner, index) else {
                    break;
                };
                if open.access.writes() {
                    state.flush(buffer, open, harvest.as_deref_mut());
                }
            }
            if let Some(harvest) = &mut harvest {
                buffer.sync_harvest(harvest);
            }
            index += 1;
        }
        // While it lives it may still end them.
        if mm::is_dead(mm) {
            let mut state = buffer.state.lock();
            if let Some(process) = state.brackets.take(owner) {
                state.abandon(buffer, &process);
            }
        }
    }
}
