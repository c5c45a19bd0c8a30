//! After a bracket begins, loads see what devices wrote; after it ends, devices see what was stored;
//! and nothing outside of it is lost. Rows 4, 5, 6 and 10 to 12 of the review, on a served buffer.

use dmabuf_export::HeapKind;
use dmabuf_uapi::*;

use crate::program::Program;
use crate::service::{MAPPABLE, Service, Setup, device_read, device_write};

const PAGE: usize = 4096;
const SIZE: usize = 4 * PAGE;

const START_READ: u64 = DMA_BUF_SYNC_START | DMA_BUF_SYNC_READ;
const END_READ: u64 = DMA_BUF_SYNC_END | DMA_BUF_SYNC_READ;
const START_WRITE: u64 = DMA_BUF_SYNC_START | DMA_BUF_SYNC_WRITE;
const END_WRITE: u64 = DMA_BUF_SYNC_END | DMA_BUF_SYNC_WRITE;
const START_RW: u64 = DMA_BUF_SYNC_START | DMA_BUF_SYNC_RW;
const END_RW: u64 = DMA_BUF_SYNC_END | DMA_BUF_SYNC_RW;

#[test]
fn loads_in_a_bracket_see_what_a_device_wrote_before_it() {
    Service::each(|service| {
        for heap in MAPPABLE {
            let _file = service.allocate(heap, "b", SIZE as u64);
            let (device, program) = (service.attach(heap, "b"), service.program());
            program.maps(&service.cpu(heap, "b"), SIZE);
            for round in 1..=20_u8 {
                device_write(&device, 0, &[round; SIZE]);
                program.sync(START_READ);
                assert!(program.load(0, SIZE).iter().all(|&byte| byte == round), "{heap} {round}");
                program.sync(END_READ);
            }
        }
    });
}

#[test]
fn a_device_sees_what_was_stored_in_a_bracket_that_has_ended() {
    Service::each(|service| {
        for heap in MAPPABLE {
            let _file = service.allocate(heap, "b", SIZE as u64);
            let (device, program) = (service.attach(heap, "b"), service.program());
            program.maps(&service.cpu(heap, "b"), SIZE);
            for round in 1..=20_u8 {
                program.sync(START_WRITE);
                program.store(0, &[round; SIZE]);
                program.sync(END_WRITE);
                let seen = device_read(&device, 0, SIZE);
                assert!(seen.iter().all(|&byte| byte == round), "{heap} {round}");
            }
        }
    });
}

#[test]
fn the_brackets_without_an_argument_cover_the_whole_buffer_both_ways() {
    Service::each(|service| {
        for heap in MAPPABLE {
            let _file = service.allocate(heap, "b", SIZE as u64);
            let (device, program) = (service.attach(heap, "b"), service.program());
            program.maps(&service.cpu(heap, "b"), SIZE);
            device_write(&device, 0, &[1; SIZE]);
            program.ioctl(DMA_BUF_IOCTL_PREPARE_ACCESS, &[]).unwrap();
            assert_eq!(program.load(SIZE - 8, 8), [1; 8], "{heap}");
            program.store(8, b"stored");
            program.ioctl(DMA_BUF_IOCTL_FINISH_ACCESS, &[]).unwrap();
            assert_eq!(device_read(&device, 0, 15), *b"\x01\x01\x01\x01\x01\x01\x01\x01stored\x01");
        }
    });
}

#[test]
fn a_bracket_over_a_range_loses_nothing_outside_of_it() {
    Service::each(|service| {
        for heap in MAPPABLE {
            let _file = service.allocate(heap, "b", SIZE as u64);
            let (device, program) = (service.attach(heap, "b"), service.program());
            program.maps(&service.cpu(heap, "b"), SIZE);
            program.sync(START_RW);
            program.store(0, &[1; SIZE]);
            program.sync(END_RW);
            // The device's bytes and the CPU's lie in different pages, and both are new.
            device_write(&device, PAGE as u64, &[2; PAGE]);
            program.sync_range(START_RW, 3 * PAGE as u64 + 10, 20);
            program.store(3 * PAGE + 10, &[3; 20]);
            program.sync_range(END_RW, 3 * PAGE as u64 + 10, 20);
            let mut expected = vec![1; SIZE];
            expected[PAGE..2 * PAGE].fill(2);
            expected[3 * PAGE + 10..3 * PAGE + 30].fill(3);
            assert!(device_read(&device, 0, SIZE) == expected, "{heap}: the device's view");
            program.sync(START_READ);
            assert!(program.load(0, SIZE) == expected, "{heap}: the program's view");
            program.sync(END_READ);
        }
    });
}

#[test]
fn brackets_of_two_processes_overlap() {
    Service::each(|service| {
        for heap in MAPPABLE {
            let _file = service.allocate(heap, "b", SIZE as u64);
            let device = service.attach(heap, "b");
            let programs = [service.program(), service.program()];
            programs.iter().for_each(|program| program.maps(&service.cpu(heap, "b"), SIZE));
            device_write(&device, 0, &[9; SIZE]);
            let [a, b] = &programs;
            a.sync_range(START_RW, 0, 100);
            a.store(0, &[1; 100]);
            // In the page in which the other one has stored and not ended.
            b.sync_range(START_RW, 100, 100);
            assert_eq!(b.load(100, 100), [9; 100], "{heap}");
            b.store(100, &[2; 100]);
            a.sync_range(END_RW, 0, 100);
            assert_eq!(device_read(&device, 0, 100), [1; 100], "{heap}");
            b.store(150, &[3; 50]);
            b.sync_range(END_RW, 100, 100);
            let expected = [[1; 50], [1; 50], [2; 50], [3; 50], [9; 50]].concat();
            assert_eq!(device_read(&device, 0, 250), expected, "{heap}");
            a.sync(START_READ);
            assert_eq!(a.load(0, 250), expected, "{heap}");
            a.sync(END_READ);
        }
    });
}

#[test]
fn bounce_shows_stale_bytes_outside_of_brackets_in_both_directions() {
    Service::each(|service| {
        let heap = HeapKind::Bounce;
        let _file = service.allocate(heap, "b", SIZE as u64);
        let (device, program) = (service.attach(heap, "b"), service.program());
        program.maps(&service.cpu(heap, "b"), SIZE);
        device_write(&device, 0, &[1; SIZE]);
        assert_eq!(program.load(0, 8), [0; 8], "a load without a bracket is stale");
        program.store(PAGE, &[2; 8]);
        assert_eq!(device_read(&device, PAGE as u64, 8), [1; 8], "so is a device's read");
        // A write bracket does not bring the device's bytes, nor does a read bracket hand any over.
        program.sync(START_READ);
        program.store(2 * PAGE, &[3; 8]);
        program.sync(END_READ);
        assert_eq!(device_read(&device, 2 * PAGE as u64, 8), [1; 8]);
        device_write(&device, 0, &[4; SIZE]);
        program.sync_range(START_WRITE, 0, 8);
        assert_eq!(program.load(8, 8), [1; 8], "outside of the range nothing has moved");
        program.store(0, &[5; 8]);
        program.sync_range(END_WRITE, 0, 8);
        assert_eq!(device_read(&device, 0, 16), [[5; 8], [4; 8]].concat());
    });
}

#[test]
fn tracked_moves_the_pages_that_were_touched_and_no_others() {
    let Some(service) = Service::start() else { return };
    let (heap, pages) = (HeapKind::Tracked, 256);
    let _file = service.allocate(heap, "b", (pages * PAGE) as u64);
    let program = service.program();
    program.maps(&service.cpu(heap, "b"), pages * PAGE);
    for round in 1..=3_u64 {
        program.sync(START_WRITE);
        for page in [3, 100, 255] {
            program.store(page * PAGE + 5, b"x");
        }
        program.sync(END_WRITE);
        let cleaned = &service.stats_of("b")["stats"]["bytes_cleaned"];
        assert_eq!(*cleaned, round * 3 * PAGE as u64);
    }
}

/// A small generator of numbers that are the same each time.
#[derive(Debug)]
struct Dice(u64);

impl Dice {
    /// A number below `n`: by xorshift.
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % n as u64) as usize
    }
}

#[derive(Clone, Debug)]
struct Open {
    flags: u64,
    start: usize,
    end: usize,
    /// Bytes that a device wrote since, of which nothing is promised.
    shaken: Vec<bool>,
}

impl Open {
    fn reads(&self) -> bool {
        self.flags & DMA_BUF_SYNC_READ != 0
    }

    fn writes(&self) -> bool {
        self.flags & DMA_BUF_SYNC_WRITE != 0
    }

    fn has(&self, byte: usize) -> bool {
        (self.start..self.end).contains(&byte)
    }

    fn pages(&self) -> std::ops::Range<usize> {
        self.start / PAGE..self.end.div_ceil(PAGE)
    }
}

/// What the contract promises of a buffer's bytes, kept beside the buffer.
struct Model {
    /// What everybody sees who looks in the right way; what is stored in open brackets as well.
    bytes: Vec<u8>,
    open: Vec<(usize, Open)>,
}

impl Model {
    /// Whether some process may be storing to this byte.
    fn is_being_written(&self, byte: usize, except: Option<usize>) -> bool {
        self.open
            .iter()
            .any(|(owner, open)| Some(*owner) != except && open.writes() && open.has(byte))
    }
}

#[test]
fn whatever_happens_every_byte_is_the_one_that_the_contract_promises() {
    Service::each_with(Setup { threads: 2, ..Setup::default() }, |service| {
        for heap in MAPPABLE {
            for seed in 1..=3_u64 {
                let name = format!("{heap}-{seed}");
                play(service, heap, &name, seed);
                if heap == HeapKind::Checked {
                    let report = service.stats_of(&name);
                    assert_eq!(report["stats"]["violations"], 0, "{report:#}");
                }
            }
        }
    });
}

fn play(service: &Service, heap: HeapKind, name: &str, seed: u64) {
    let _file = service.allocate(heap, name, SIZE as u64);
    let device = service.attach(heap, name);
    let programs = [service.program(), service.program()];
    programs.iter().for_each(|program| program.maps(&service.cpu(heap, name), SIZE));
    let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let mut model = Model { bytes: vec![0; SIZE], open: Vec::new() };
    for step in 0..300 {
        let at = format!("{heap}, seed {seed}, step {step}");
        let start = dice.below(SIZE);
        let longest = [8, 600, 2 * PAGE][dice.below(3)];
        let end = (start + 1 + dice.below(longest)).min(SIZE);
        match dice.below(6) {
            0 => write_by_device(&mut model, &device, start, end, step as u8),
            1 => {
                let seen = device_read(&device, 0, SIZE);
                for byte in (0..SIZE).filter(|&byte| !model.is_being_written(byte, None)) {
                    assert_eq!(seen[byte], model.bytes[byte], "{at}: the device, byte {byte}");
                }
            }
            2 | 3 => {
                let owner = dice.below(2);
                let flags = 1 + dice.below(3) as u64;
                begin(&mut model, &programs[owner], owner, flags, start, end, step as u8);
            }
            _ if model.open.is_empty() => {}
            4 => {
                let (owner, open) = model.open[dice.below(model.open.len())].clone();
                access(&mut model, &programs[owner], owner, &open, &mut dice, &at);
            }
            _ => {
                let (owner, open) = model.open.swap_remove(dice.below(model.open.len()));
                let len = (open.end - open.start) as u64;
                programs[owner].sync_range(open.flags | DMA_BUF_SYNC_END, open.start as u64, len);
            }
        }
    }
    for (owner, open) in std::mem::take(&mut model.open) {
        let len = (open.end - open.start) as u64;
        programs[owner].sync_range(open.flags | DMA_BUF_SYNC_END, open.start as u64, len);
    }
    assert!(device_read(&device, 0, SIZE) == model.bytes, "{heap}, seed {seed}: at the end");
    for program in &programs {
        program.sync(START_READ);
        assert!(program.load(0, SIZE) == model.bytes, "{heap}, seed {seed}: at the end");
        program.sync(END_READ);
    }
}

/// A device writes, unless a program may be storing to one of the pages.
fn write_by_device(model: &mut Model, device: &std::fs::File, start: usize, end: usize, value: u8) {
    let pages = start / PAGE..end.div_ceil(PAGE);
    let shared = |open: &Open| open.pages().start < pages.end && pages.start < open.pages().end;
    if model.open.iter().any(|(_, open)| open.writes() && shared(open)) {
        return;
    }
    let bytes: Vec<u8> = (start..end).map(|byte| value ^ byte as u8).collect();
    device_write(device, start as u64, &bytes);
    model.bytes[start..end].copy_from_slice(&bytes);
    for (_, open) in &mut model.open {
        open.shaken[start..end].fill(true);
    }
}

/// Begins a bracket, unless somebody may be storing to its bytes already. One that only writes
/// stores to all of them.
fn begin(
    model: &mut Model,
    program: &Program,
    owner: usize,
    flags: u64,
    start: usize,
    end: usize,
    value: u8,
) {
    let open = Open { flags, start, end, shaken: vec![false; SIZE] };
    let alike = |other: &Open| other.start < end && start < other.end;
    let taken = model
        .open
        .iter()
        .any(|(its, other)| alike(other) && (*its == owner || open.writes() && other.writes()));
    if taken {
        return;
    }
    program.sync_range(flags, start as u64, (end - start) as u64);
    if !open.reads() {
        let bytes: Vec<u8> = (start..end).map(|byte| value.wrapping_add(byte as u8)).collect();
        program.store(start, &bytes);
        model.bytes[start..end].copy_from_slice(&bytes);
    }
    // Readers that were there before see the new bytes or the old ones.
    if open.writes() {
        for (_, other) in &mut model.open {
            other.shaken[start..end].fill(true);
        }
    }
    model.open.push((owner, open));
}

/// Loads all that a bracket allows, and stores to some of it.
fn access(
    model: &mut Model,
    program: &Program,
    owner: usize,
    open: &Open,
    dice: &mut Dice,
    at: &str,
) {
    if open.reads() {
        let seen = program.load(open.start, open.end - open.start);
        for byte in open.start..open.end {
            if !open.shaken[byte] && !model.is_being_written(byte, Some(owner)) {
                let promised = model.bytes[byte];
                assert_eq!(seen[byte - open.start], promised, "{at}: program {owner}, byte {byte}");
            }
        }
    }
    if open.writes() {
        let start = open.start + dice.below(open.end - open.start);
        let end = start + 1 + dice.below(open.end - start);
        let bytes: Vec<u8> = (start..end).map(|_| dice.below(256) as u8).collect();
        program.store(start, &bytes);
        model.bytes[start..end].copy_from_slice(&bytes);
    }
}
