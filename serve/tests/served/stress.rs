//! Many processes at once: no deadlock, and no byte is lost.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use dmabuf_export::HeapKind;
use dmabuf_uapi::*;
use rustix::mm::ProtFlags;
use serde::{Deserialize, Serialize};

use crate::program::Do;
use crate::service::{Service, Setup};
use crate::sys::{self, Map};

const PAGE: usize = 4096;
const PAGES: usize = 64;
const SIZE: usize = PAGES * PAGE;

/// What one of many processes is to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Orders {
    seed: u64,
    rounds: usize,
    /// Every `of`th page is this process's own, from page `process` on.
    process: usize,
    of: usize,
    /// CPU and device sides.
    buffers: Vec<(PathBuf, PathBuf)>,
    role: Role,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
enum Role {
    /// Brackets, stores to its own pages, and looks whether they come back.
    Program,
    /// Reads the whole of all buffers, again and again.
    Device,
    /// Makes buffers, stores to them and unlinks them while they are open; tries to resize all.
    Passerby,
}

struct Buffer {
    file: File,
    device: File,
    map: Map,
    /// What this process has stored to each of its pages.
    values: Vec<u8>,
}

/// Carries the orders out, in a process of its own.
pub fn obey(orders: &Orders) -> io::Result<()> {
    match orders.role {
        Role::Program => be_a_program(orders),
        Role::Device => be_a_device(orders),
        Role::Passerby => pass_by(orders),
    }
}

fn be_a_program(orders: &Orders) -> io::Result<()> {
    let mut dice = orders.seed | 1;
    let mut below = |n: usize| {
        dice ^= dice << 13;
        dice ^= dice >> 7;
        dice ^= dice << 17;
        (dice % n as u64) as usize
    };
    let mut buffers = Vec::new();
    for (cpu, device) in &orders.buffers {
        let file = File::options().read(true).write(true).open(cpu)?;
        let map = Map::new(&file, 0, SIZE, ProtFlags::READ | ProtFlags::WRITE)?;
        buffers.push(Buffer { device: File::open(device)?, file, map, values: vec![0; PAGES] });
    }
    let own: Vec<usize> = (orders.process..PAGES).step_by(orders.of).collect();
    for round in 0..orders.rounds {
        let count = buffers.len();
        let buffer = &mut buffers[below(count)];
        // All of the buffer, or one page of it: then the ENDs of others leave ours dirty.
        let ranged = below(2) == 0;
        let pages = if ranged { vec![own[below(own.len())]] } else { own.clone() };
        let sync = |flags| match pages[..] {
            [page] if ranged => sync_range(&buffer.file, flags, page),
            _ => sync(&buffer.file, flags),
        };
        sync(DMA_BUF_SYNC_START | DMA_BUF_SYNC_RW)?;
        for &page in &pages {
            let seen = buffer.map.load(page * PAGE, PAGE);
            let expected = buffer.values[page];
            if seen.iter().any(|&byte| byte != expected) {
                return Err(io::Error::from_raw_os_error(libc::EBADMSG));
            }
            let value = (round as u8).wrapping_add((orders.process * 37) as u8);
            buffer.map.store(page * PAGE, &[value; PAGE]);
            buffer.values[page] = value;
        }
        sync(DMA_BUF_SYNC_END | DMA_BUF_SYNC_RW)?;
        let page = pages[below(pages.len())];
        let mut seen = [0; PAGE];
        buffer.device.read_exact_at(&mut seen, (page * PAGE) as u64)?;
        if seen.iter().any(|&byte| byte != buffer.values[page]) {
            return Err(io::Error::from_raw_os_error(libc::EREMOTEIO));
        }
    }
    Ok(())
}

fn be_a_device(orders: &Orders) -> io::Result<()> {
    let mut bytes = vec![0; SIZE];
    for _ in 0..orders.rounds {
        for (_, device) in &orders.buffers {
            File::open(device)?.read_exact_at(&mut bytes, 0)?;
        }
    }
    Ok(())
}

fn pass_by(orders: &Orders) -> io::Result<()> {
    for round in 0..orders.rounds {
        let (cpu, _) = &orders.buffers[round % orders.buffers.len()];
        let path = cpu.with_file_name(format!("passing-{}-{round}", orders.process));
        let file = File::options().read(true).write(true).create_new(true).open(&path)?;
        file.set_len(SIZE as u64)?;
        let map = Map::new(&file, 0, SIZE, ProtFlags::READ | ProtFlags::WRITE)?;
        sync(&file, DMA_BUF_SYNC_START | DMA_BUF_SYNC_WRITE)?;
        map.store(0, &[1; SIZE]);
        std::fs::remove_file(&path)?;
        // The kernel holds back the pages of a file that is given a size.
        for (cpu, _) in &orders.buffers {
            let given = File::options().write(true).open(cpu)?.set_len(PAGE as u64);
            if given.is_ok() {
                return Err(io::Error::from_raw_os_error(libc::EFBIG));
            }
        }
        if round % 2 == 0 {
            sync(&file, DMA_BUF_SYNC_END | DMA_BUF_SYNC_WRITE)?;
        }
    }
    Ok(())
}

fn sync(file: &File, flags: u64) -> io::Result<()> {
    again(|| sys::ioctl(file, DMA_BUF_IOCTL_SYNC, &mut flags.to_ne_bytes()))
}

fn sync_range(file: &File, flags: u64, page: usize) -> io::Result<()> {
    let argument = [flags, (page * PAGE) as u64, PAGE as u64].map(u64::to_ne_bytes).concat();
    again(|| sys::ioctl(file, DMA_BUF_IOCTL_SYNC_RANGE, &mut argument.clone()))
}

fn again(call: impl Fn() -> io::Result<()>) -> io::Result<()> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            result => return result,
        }
    }
}

/// Buffers of the heaps that go through the page cache, and orders for `role` on all of them.
fn arena(service: &Service, heaps: &[HeapKind]) -> (Vec<File>, Vec<(PathBuf, PathBuf)>) {
    let mut files = Vec::new();
    let mut paths = Vec::new();
    for &heap in heaps {
        for n in 0..4 {
            let name = format!("arena-{n}");
            files.push(service.allocate(heap, &name, SIZE as u64));
            paths.push((service.cpu(heap, &name), service.device(heap, &name)));
        }
    }
    (files, paths)
}

fn run(service: &Service, heaps: &[HeapKind], rounds: usize, with_others: bool) {
    let (_files, buffers) = arena(service, heaps);
    let programs = 8;
    let orders = |process, role| Orders {
        seed: 0x2545_f491_4f6c_dd1d ^ process as u64,
        rounds,
        process,
        of: programs,
        buffers: buffers.clone(),
        role,
    };
    let mut running = Vec::new();
    let mut start = |process, role| {
        let program = service.program();
        program.order(Do::Stress(orders(process, role)));
        running.push((process, program));
    };
    (0..programs).for_each(|process| start(process, Role::Program));
    if with_others {
        start(8, Role::Device);
        start(9, Role::Passerby);
    }
    for (process, program) in &running {
        program.answer().unwrap_or_else(|error| panic!("process {process}: {error}"));
    }
}

#[test]
fn eight_processes_lose_no_byte() {
    let setup = Setup { passthrough: false, ..Setup::default() };
    let Some(service) = Service::with(setup) else { return };
    run(&service, &[HeapKind::Bounce, HeapKind::Tracked, HeapKind::Checked], 60, false);
}

#[test]
fn eight_that_end_on_one_buffer_and_one_that_resizes_it() {
    let setup = Setup { passthrough: false, threads: 2, ..Setup::default() };
    let Some(service) = Service::with(setup) else { return };
    let _file = service.allocate(HeapKind::Tracked, "one", SIZE as u64);
    let paths = (service.cpu(HeapKind::Tracked, "one"), service.device(HeapKind::Tracked, "one"));
    let start = |process, role| {
        let program = service.program();
        let (rounds, buffers) = (100, vec![paths.clone()]);
        program.order(Do::Stress(Orders {
            seed: process as u64,
            rounds,
            process,
            of: 12,
            buffers,
            role,
        }));
        program
    };
    let mut running: Vec<_> = (0..12).map(|process| start(process, Role::Program)).collect();
    running.push(start(12, Role::Passerby));
    running.iter().for_each(|program| drop(program.answer().expect("nothing is lost")));
}

#[test]
fn two_threads_are_enough_for_eight_processes() {
    let setup = Setup { passthrough: false, threads: 2, ..Setup::default() };
    let Some(service) = Service::with(setup) else { return };
    run(&service, &[HeapKind::Bounce, HeapKind::Tracked, HeapKind::Checked], 40, true);
}

#[test]
fn no_byte_is_lost_while_devices_read_and_others_come_and_go() {
    let Some(service) = Service::start() else { return };
    run(&service, &[HeapKind::Tracked], 150, true);
    let Some(service) = Service::start() else { return };
    run(&service, &[HeapKind::Coherent, HeapKind::Bounce], 150, true);
}

#[test]
fn processes_that_are_killed_leave_the_others_alone() {
    let setup = Setup { threads: 2, ..Setup::default() };
    let Some(service) = Service::with(setup) else { return };
    let (_files, buffers) = arena(&service, &[HeapKind::Tracked, HeapKind::Checked]);
    let orders = |process, rounds| Orders {
        seed: 77 + process as u64,
        rounds,
        process,
        of: 8,
        buffers: buffers.clone(),
        role: Role::Program,
    };
    let survivor = service.program();
    survivor.order(Do::Stress(orders(0, 200)));
    for generation in 0..12 {
        let victims: Vec<_> = (1..4).map(|_| service.program()).collect();
        for (process, victim) in (1..).zip(&victims) {
            let mut its = orders(process, usize::MAX);
            // Its pages hold what an earlier victim stored: it is not to look.
            its.seed += generation * 1000;
            its.role = if process == 3 { Role::Passerby } else { Role::Device };
            victim.order(Do::Stress(its));
        }
        let storing = service.program();
        storing.maps(&buffers[generation as usize % buffers.len()].0, SIZE);
        storing.sync(DMA_BUF_SYNC_START | DMA_BUF_SYNC_WRITE);
        storing.store(PAGE, &[generation as u8 + 1; PAGE]);
        storing.order(Do::Ioctl {
            fd: 0,
            command: DMA_BUF_IOCTL_SYNC,
            argument: (DMA_BUF_SYNC_END | DMA_BUF_SYNC_WRITE).to_ne_bytes().to_vec(),
        });
        // In the middle of an END, of page faults and of allocations.
        storing.kill();
        victims.into_iter().for_each(crate::program::Program::kill);
        let mut seen = [0; PAGE];
        let device = File::open(&buffers[generation as usize % buffers.len()].1).unwrap();
        device.read_exact_at(&mut seen, PAGE as u64).unwrap();
        assert!(seen.iter().all(|&byte| byte == generation as u8 + 1), "what it stored arrived");
    }
    survivor.answer().expect("nothing is lost and nothing waits");
}
