//! Programs and devices that all work at once, while memory and processors are short: every byte is
//! right, nothing is left behind, and the kernel says nothing.
//!
//! For twenty seconds, or as many as `DMABUF_LOAD_SECONDS` says.

use std::time::{Duration, Instant};

use dmabuf_kernel_tests::{
    Buffer, Child, Ended, HEAPS, Importer, flags::*, in_a_fork, machine, module, page,
};
use dmabuf_uapi::{DMA_BUF_SYNC_READ, DMA_BUF_SYNC_WRITE};
use rustix::io::Errno;
use rustix::process::Signal;

/// A number that is as good as random, from the last one.
fn next(state: &mut u64) -> usize {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*state >> 33) as usize
}

/// Frames go from the program to a device and from another one back, through a buffer of any heap. How
/// many did.
fn pipeline(seed: u64, end: Instant) -> usize {
    let (mut state, mut frames) = (seed, 0);
    while Instant::now() < end {
        let heap = HEAPS[next(&mut state) % HEAPS.len()];
        let pages = 1 + next(&mut state) % 128;
        // Under pressure it may fail; then there is nothing to do with it.
        let Ok(buffer) = Buffer::allocate(heap, pages * page()) else { continue };
        let map = buffer.map();
        for _ in 0..4 {
            let (value, at) = (next(&mut state) as u8, next(&mut state) % pages * page());
            let range = at..at + page();
            buffer.sync_range(START_WRITE, range.clone());
            map.fill(range.clone(), value);
            buffer.sync_range(END_WRITE, range.clone());
            let display = Importer::attach(&buffer);
            // Where DMA bounces there may be no room for it now.
            match display.map(DMA_BUF_SYNC_READ) {
                Ok(()) => assert_eq!(display.read(at, 8), [value; 8], "{heap} at {at:#x}"),
                Err(Errno::NOMEM | Errno::IO) => continue,
                Err(errno) => panic!("{heap}: {errno}"),
            }
            drop(display);
            let camera = Importer::attach(&buffer);
            if camera.map(DMA_BUF_SYNC_WRITE).is_err() {
                continue;
            }
            camera.write(at, &[!value; 8]);
            drop(camera);
            buffer.sync_range(START_READ, range.clone());
            assert_eq!(map.bytes(at..at + 8), [!value; 8], "{heap} at {at:#x}");
            buffer.sync_range(END_READ, range);
            frames += 1;
        }
    }
    frames
}

/// Memory that is left when it is short, beside the kernel's reserve.
const LEFT: usize = 6 << 20;

/// Takes all memory but a little and gives it back, again and again. When it was too much, the kernel
/// ends who has it.
fn hog(end: Instant) {
    while Instant::now() < end {
        let takes = || {
            machine::offer_to_be_ended("1000");
            let size = machine::free_memory().saturating_sub(machine::reserve() + LEFT);
            let mut memory = vec![0_u8; size];
            for byte in memory.iter_mut().step_by(page()) {
                *byte = 1;
            }
            std::hint::black_box(&memory);
        };
        let ended = in_a_fork(takes);
        assert!([Ended::Exited(0), Ended::Killed(Signal::KILL)].contains(&ended), "{ended:?}");
    }
}

#[test]
fn pipelines_run_while_memory_and_processors_are_short() {
    module::ensure();
    let seconds = std::env::var("DMABUF_LOAD_SECONDS")
        .ok()
        .map(|seconds| seconds.parse().expect("DMABUF_LOAD_SECONDS is a number"));
    let end = Instant::now() + Duration::from_secs(seconds.unwrap_or(20));
    let (buffers, before) = (machine::buffers(), machine::free_memory());
    machine::offer_to_be_ended("-1000");
    let runs = |seed| {
        move || {
            let frames = pipeline(seed, end);
            println!("{frames} frames");
            assert!(frames > 0, "not one buffer was to be had");
        }
    };
    let mut children: Vec<_> = (1..=4).map(|seed| Child::fork(runs(seed))).collect();
    children.push(Child::fork(|| hog(end)));
    children.push(Child::fork(|| while Instant::now() < end {}));
    for child in children {
        assert_eq!(child.wait(), Ended::Exited(0));
    }
    machine::offer_to_be_ended("0");
    machine::comes_back(buffers, before);
}
