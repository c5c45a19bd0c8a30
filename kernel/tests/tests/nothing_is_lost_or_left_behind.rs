//! Whatever happens to a program, what it stored in a bracket reaches devices, nobody waits for it for
//! ever, and all memory comes back.

use std::thread;
use std::time::Duration;

use dmabuf_kernel_tests::{
    Buffer, Child, Ended, HEAPS, Importer, flags::*, in_a_fork, interrupt_after, machine, module,
    page,
};
use dmabuf_uapi::{DMA_BUF_SYNC_READ, DMA_BUF_SYNC_RW};
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, Signal, setrlimit};

const PAGES: usize = 16;

fn buffer(heap: &str) -> Buffer {
    module::ensure();
    Buffer::of(heap, PAGES * page())
}

/// Runs `f`, after which there are as many buffers as before and as much memory.
fn comes_back(f: impl FnOnce()) {
    module::ensure();
    let (buffers, before) = (machine::buffers(), machine::free_memory());
    f();
    machine::comes_back(buffers, before);
}

#[test]
fn what_a_killed_program_stored_reaches_devices() {
    for heap in HEAPS {
        let buffer = buffer(heap);
        let device = Importer::of(&buffer, DMA_BUF_SYNC_RW);
        let dies = || {
            let map = buffer.map();
            buffer.sync(START_RW);
            map.store(3 * page(), 9);
            rustix::process::kill_process(rustix::process::getpid(), Signal::KILL).unwrap();
        };
        assert_eq!(in_a_fork(dies), Ended::Killed(Signal::KILL), "{heap}");
        // Nobody asks for it: the program's mapping was the bracket's last.
        buffer.sync(START_READ);
        buffer.sync(END_READ);
        assert_eq!(device.read(3 * page(), 1), [9], "{heap}");
        let map = buffer.map();
        buffer.sync(START_RW);
        map.store(0, 1);
        buffer.sync(END_RW);
        assert_eq!(device.read(0, 1), [1], "{heap}");
    }
}

#[test]
fn what_a_child_stored_in_its_parents_bracket_reaches_devices() {
    for heap in HEAPS {
        let buffer = buffer(heap);
        let (map, device) = (buffer.map(), Importer::of(&buffer, DMA_BUF_SYNC_RW));
        buffer.sync(START_RW);
        map.store(0, 1);
        let child = || {
            map.store(0, 2);
            map.store(5 * page(), 3);
        };
        assert_eq!(in_a_fork(child), Ended::Exited(0), "{heap}");
        map.store(6 * page(), 4);
        buffer.sync(END_RW);
        let seen = [0, 5, 6].map(|number| device.read(number * page(), 1)[0]);
        assert_eq!(seen, [2, 3, 4], "{heap}");
    }
}

#[test]
fn a_mapping_may_move_shrink_and_go_inside_of_a_bracket() {
    for heap in HEAPS {
        let buffer = buffer(heap);
        let (mut map, device) = (buffer.map(), Importer::of(&buffer, DMA_BUF_SYNC_RW));
        buffer.sync(START_RW);
        map.store(0, 1);
        map.move_away().expect("a mapping can be moved");
        assert_eq!(map.load(0), 1, "{heap}");
        map.store(page(), 2);
        let grown = map.resize(2 * PAGES * page());
        assert_eq!(grown, Err(Errno::FAULT), "{heap}: there is no more of it");
        map.store(9 * page(), 3);
        map.unmap_part(9 * page()..10 * page()).expect("a part can be unmapped");
        map.resize(8 * page()).expect("it can shrink");
        map.store(7 * page(), 4);
        drop(map);
        buffer.sync(END_RW);
        let seen = [0, 1, 9, 7].map(|number| device.read(number * page(), 1)[0]);
        assert_eq!(seen, [1, 2, 3, 4], "{heap}");
    }
}

/// Two processes store to pages beside each other, each in brackets of its own, all the time.
#[test]
fn two_processes_may_bracket_at_once() {
    const ROUNDS: u8 = 200;
    for heap in HEAPS {
        let buffer = buffer(heap);
        let device = Importer::of(&buffer, DMA_BUF_SYNC_RW);
        let program = |first: usize| {
            let map = buffer.map();
            for round in 1..=ROUNDS {
                buffer.sync(START_RW);
                for number in (first..PAGES).step_by(2) {
                    assert_eq!(map.load(number * page()), round - 1, "{heap}: nothing is lost");
                    map.store(number * page(), round);
                }
                buffer.sync(END_RW);
            }
        };
        let other = Child::fork(|| program(1));
        program(0);
        assert_eq!(other.wait(), Ended::Exited(0), "{heap}");
        for number in 0..PAGES {
            assert_eq!(device.read(number * page(), 1), [ROUNDS], "{heap}: page {number}");
        }
    }
}

#[test]
fn four_thousand_buffers_come_and_go() {
    let limit = Rlimit { current: Some(8192), maximum: Some(8192) };
    setrlimit(Resource::Nofile, limit).expect("root may");
    let come_and_go = |heap| {
        let mut buffers = Vec::new();
        for number in 0..4096 {
            let buffer = Buffer::of(heap, 4 * page());
            let map = buffer.map();
            map.store(page(), number as u8);
            buffers.push((buffer, map));
        }
        for (number, (_, map)) in buffers.iter().enumerate() {
            assert_eq!(map.load(page()), number as u8, "{heap}");
        }
    };
    module::ensure();
    // What the kernel keeps of so many for later, it keeps once.
    come_and_go(HEAPS[0]);
    for heap in HEAPS {
        comes_back(|| come_and_go(heap));
    }
}

#[test]
fn signals_do_not_spoil_an_allocation_or_a_bracket() {
    comes_back(|| {
        for heap in HEAPS {
            let interrupted = || {
                interrupt_after(300);
                for _ in 0..20 {
                    let buffer = match Buffer::allocate(heap, 8 << 20) {
                        Err(Errno::INTR) => continue,
                        buffer => buffer.expect("a buffer"),
                    };
                    let map = buffer.map();
                    buffer.sync(START_RW);
                    map.store(0, 1);
                    buffer.sync(END_RW);
                }
            };
            assert_eq!(in_a_fork(interrupted), Ended::Exited(0), "{heap}");
        }
    });
}

#[test]
fn a_program_that_is_killed_while_it_allocates_leaves_nothing() {
    comes_back(|| {
        for heap in HEAPS {
            for wait in 1..10 {
                let child = Child::fork(|| {
                    loop {
                        let buffer = Buffer::of(heap, 96 << 20);
                        buffer.map().store(0, 1);
                    }
                });
                thread::sleep(Duration::from_millis(wait * 7));
                child.kill();
            }
        }
    });
}

#[test]
fn too_large_a_buffer_is_refused_and_nothing_is_ended_for_it() {
    comes_back(|| {
        for heap in HEAPS {
            for size in [1 << 34, 1 << 47, usize::MAX & !0xfff] {
                assert!(Buffer::allocate(heap, size).is_err(), "{heap}: {size:#x}");
            }
        }
    });
}

/// The kernel ends the program, as it does for memory of any other kind.
#[test]
fn a_program_that_takes_all_memory_gives_it_back() {
    for heap in HEAPS {
        comes_back(|| {
            let child = Child::fork(|| {
                machine::offer_to_be_ended("1000");
                let mut buffers = Vec::new();
                while let Ok(buffer) = Buffer::allocate(heap, 16 << 20) {
                    buffers.push(buffer);
                }
                // Or it is refused: that is as good.
            });
            let ended = child.wait();
            assert!([Ended::Killed(Signal::KILL), Ended::Exited(0)].contains(&ended), "{ended:?}");
        });
    }
}

#[test]
fn devices_may_go_while_brackets_are_open() {
    comes_back(|| {
        for heap in HEAPS {
            let buffer = buffer(heap);
            let map = buffer.map();
            for round in 1..50 {
                // One that writes would be at the same bytes at the same time.
                let device = Importer::of(&buffer, DMA_BUF_SYNC_READ);
                buffer.sync(START_RW);
                assert_eq!(map.load(0), round - 1, "{heap}");
                map.store(0, round);
                drop(device);
                buffer.sync(END_RW);
                let device = Importer::of(&buffer, DMA_BUF_SYNC_RW);
                assert_eq!(device.read(0, 1), [round], "{heap}");
            }
        }
    });
}

/// As many address spaces as a buffer may keep of processes that are gone, and the kernel's own caches.
const KEPT: usize = 400;

#[test]
fn a_buffer_keeps_nothing_of_programs_that_died_inside_of_brackets() {
    for heap in HEAPS {
        let buffer = buffer(heap);
        let before = machine::address_spaces();
        for _ in 0..1000 {
            assert_eq!(in_a_fork(|| buffer.sync(START_READ)), Ended::Exited(0), "{heap}");
        }
        let after = machine::address_spaces();
        assert!(after < before + KEPT, "{heap}: {after} address spaces, and {before} before");
    }
}

/// Brackets, mappings, devices.
#[test]
fn a_program_may_die_with_everything_open() {
    comes_back(|| {
        for heap in HEAPS {
            for _ in 0..20 {
                let dies = || {
                    let buffers: Vec<_> = (0..8).map(|_| self::buffer(heap)).collect();
                    let maps: Vec<_> = buffers.iter().map(Buffer::map).collect();
                    let devices: Vec<_> = buffers
                        .iter()
                        .map(|buffer| Importer::of(buffer, DMA_BUF_SYNC_RW))
                        .collect();
                    buffers.iter().for_each(|buffer| buffer.sync(START_RW));
                    maps.iter().for_each(|map| map.store(0, 1));
                    devices[0].write(page(), &[1]);
                    rustix::process::kill_process(rustix::process::getpid(), Signal::KILL).unwrap();
                };
                assert_eq!(in_a_fork(dies), Ended::Killed(Signal::KILL), "{heap}");
            }
        }
    });
}
