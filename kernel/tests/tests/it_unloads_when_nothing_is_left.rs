//! A module that has added no heap can be unloaded, but never while somebody has a buffer of its: by
//! a descriptor, a mapping or a device. One that has added heaps stays, since the kernel keeps them.
//!
//! Runs first, in a machine that has not loaded the module.

use std::fs::File;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;

use dmabuf_kernel_tests::{Buffer, Ended, Importer, in_a_fork, machine, module};
use dmabuf_uapi::{DMA_BUF_SYNC_READ, DMABUF_DEVICE};
use rustix::io::Errno;
use rustix::process::Signal;

const SIZE: usize = 64 << 10;

fn loaded(parameters: &str) {
    module::load(module::HEAPS, parameters).expect("the module loads");
}

/// Unloads it, though what has just gone may be on its way still: the kernel frees files later.
fn unload() {
    for _ in 0..1000 {
        match module::unload(module::HEAPS) {
            Err(Errno::AGAIN) => thread::yield_now(),
            result => return result.expect("the module unloads"),
        }
    }
    panic!("the module is still in use");
}

fn is_in_use() {
    assert_eq!(module::unload(module::HEAPS), Err(Errno::AGAIN));
}

#[test]
fn a_module_without_heaps_comes_and_goes() {
    for _ in 0..10 {
        loaded("heaps=none");
        assert!(File::open(DMABUF_DEVICE).is_ok());
        assert!(!std::path::Path::new("/dev/dma_heap/tracked").exists());
        unload();
        assert!(File::open(DMABUF_DEVICE).is_err());
    }
}

#[test]
fn a_heap_that_there_is_not_is_refused() {
    for heaps in ["system", "tracked,", ",", "tracked tracked"] {
        let refused = module::load(module::HEAPS, &format!("heaps=\"{heaps}\""));
        assert_eq!(refused, Err(Errno::INVAL), "{heaps}");
        assert!(!module::is_loaded(module::HEAPS));
    }
}

#[test]
fn it_stays_as_long_as_somebody_has_a_buffer() {
    loaded("heaps=none");
    module::load(module::IMPORTER, "").expect("the emulated device's module loads");
    for heap in ["coherent", "bounce", "tracked", "checked", "unmappable"] {
        let buffer = Buffer::allocate_by_device(heap, SIZE).expect("a buffer");
        is_in_use();
        let importer = Importer::of(&buffer, DMA_BUF_SYNC_READ);
        if heap == "unmappable" {
            drop(buffer);
        } else {
            let map = buffer.map();
            drop(buffer);
            is_in_use();
            assert_eq!(map.load(SIZE - 1), 0);
            drop(map);
        }
        is_in_use();
        assert_eq!(importer.read(SIZE - 1, 1), [0]);
    }
    let device = File::open(DMABUF_DEVICE).expect("the device opens");
    is_in_use();
    drop(device);
    unload();
    assert_eq!(machine::buffers(), 0);
}

/// A buffer that is allocated while the module goes is refused, or keeps it.
#[test]
fn unloading_and_allocating_may_race() {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut unloaded = 0;
            while unloaded < 30 {
                if !module::is_loaded(module::HEAPS) {
                    loaded("heaps=none");
                }
                unloaded += u32::from(module::unload(module::HEAPS).is_ok());
            }
            done.store(true, Relaxed);
        });
        scope.spawn(|| {
            let mut allocated = 0;
            while !done.load(Relaxed) {
                if File::open(DMABUF_DEVICE).is_ok() && module::is_loaded(module::HEAPS) {
                    let buffer =
                        std::panic::catch_unwind(|| Buffer::allocate_by_device("tracked", 4096));
                    allocated += u32::from(matches!(buffer, Ok(Ok(_))));
                }
            }
            println!("{allocated} buffers were allocated meanwhile");
        });
    });
    assert_eq!(machine::buffers(), 0);
}

/// With `sigbus=1` an access outside of a bracket ends the program that makes it, and fails the system
/// call that makes it.
#[test]
fn stray_accesses_are_answered_with_sigbus_if_it_is_told_so() {
    loaded("heaps=none sigbus=1");
    let buffer = Buffer::allocate_by_device("checked", SIZE).expect("a buffer");
    let map = buffer.map();
    let strays = || in_a_fork(|| map.store(0, 1));
    assert_eq!(strays(), Ended::Killed(Signal::BUS));
    assert_eq!(in_a_fork(|| assert_eq!(map.load(0), 0)), Ended::Killed(Signal::BUS));
    let by_the_kernel = || {
        let zeroes = File::open("/dev/zero").unwrap();
        assert_eq!(map.read_from(zeroes, 0..8), Err(Errno::FAULT));
    };
    assert_eq!(in_a_fork(by_the_kernel), Ended::Exited(0));
    let brackets = || {
        buffer.sync(dmabuf_kernel_tests::flags::START_RW);
        map.store(0, 1);
        buffer.sync(dmabuf_kernel_tests::flags::END_RW);
    };
    assert_eq!(in_a_fork(brackets), Ended::Exited(0));
    let other = Buffer::allocate_by_device("tracked", SIZE).expect("a buffer");
    let map_of_other = other.map();
    assert_eq!(in_a_fork(|| map_of_other.store(0, 1)), Ended::Exited(0));
    drop((map, buffer, map_of_other, other));
    unload();
}
