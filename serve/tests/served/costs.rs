//! What brackets and mappings cost. Nothing is asserted: the figures are for a person to read.
//!
//! `cargo test --release -p dmabuf-serve --test served -- --ignored --exact costs::measure --nocapture`

use std::fs::File;
use std::time::{Duration, Instant};

use dmabuf_export::HeapKind;
use dmabuf_uapi::*;
use rustix::mm::ProtFlags;

use crate::service::{MAPPABLE, Service, device_write};
use crate::sys::{self, Map};

const PAGE: usize = 4096;
const RW: ProtFlags = ProtFlags::READ.union(ProtFlags::WRITE);

fn sync(file: &File, flags: u64) {
    sys::ioctl(file, DMA_BUF_IOCTL_SYNC, &mut flags.to_ne_bytes()).expect("SYNC");
}

fn start(file: &File) {
    sync(file, DMA_BUF_SYNC_START | DMA_BUF_SYNC_RW);
}

fn end(file: &File) {
    sync(file, DMA_BUF_SYNC_END | DMA_BUF_SYNC_RW);
}

fn time(f: impl FnOnce()) -> Duration {
    let begun = Instant::now();
    f();
    begun.elapsed()
}

/// The medians of alternating runs.
fn medians<const N: usize>(runs: usize, mut ways: [&mut dyn FnMut() -> Duration; N]) -> [f64; N] {
    let mut times = [const { Vec::new() }; N];
    for _ in 0..runs {
        for (way, times) in ways.iter_mut().zip(&mut times) {
            times.push(way());
        }
    }
    times.map(|mut times: Vec<Duration>| {
        times.sort();
        times[times.len() / 2].as_secs_f64() * 1e6
    })
}

fn touch(map: &Map, pages: impl Iterator<Item = usize>) {
    for page in pages {
        map.store(page * PAGE, &[1]);
    }
}

#[test]
#[ignore = "it measures"]
fn measure() {
    Service::each(|service| {
        let way = if service.passes_through() { "passthrough" } else { "page cache" };
        for heap in MAPPABLE {
            let file = service.allocate(heap, "pair", 16 * PAGE as u64);
            let _map = Map::new(&file, 0, 16 * PAGE, RW).unwrap();
            let mut pair = || time(|| (start(&file), end(&file)).0);
            let mut query = || {
                let mut answer = [0; size_of::<DmaBufQuery>()];
                time(|| sys::ioctl(&file, DMA_BUF_IOCTL_QUERY, &mut answer).unwrap())
            };
            let [pair, query] = medians(1000, [&mut pair, &mut query]);
            println!(
                "{way}, {heap}: START and END {pair:.1} us; a QUERY, for scale, {query:.1} us"
            );
        }
    });
    let mut status = || time(|| drop(std::fs::read_to_string("/proc/self/status")));
    let [status] = medians(1000, [&mut status]);
    println!("reading /proc/<tid>/status: {status:.1} us");

    let Some(service) = Service::start() else { return };
    through(&service, 64 << 20);
    tracked(&service, 1024);
}

/// A passthrough mapping against a memfd's.
fn through(service: &Service, len: usize) {
    let file = service.allocate(HeapKind::Coherent, "through", len as u64);
    let memfd = rustix::fs::memfd_create("plain", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
    rustix::fs::ftruncate(&memfd, len as u64).unwrap();
    rustix::fs::fallocate(&memfd, rustix::fs::FallocateFlags::empty(), 0, len as u64).unwrap();
    let pages = len / PAGE;
    let mut served = || {
        let map = Map::new(&file, 0, len, RW).unwrap();
        time(|| touch(&map, 0..pages))
    };
    let mut plain = || {
        let map = Map::new(&memfd, 0, len, RW).unwrap();
        time(|| touch(&map, 0..pages))
    };
    let [served, plain] = medians(9, [&mut served, &mut plain]);
    println!(
        "first touch of {pages} pages: served {served:.0} us, memfd {plain:.0} us, {:.2}",
        served / plain
    );
    let maps = [Map::new(&file, 0, len, RW).unwrap(), Map::new(&memfd, 0, len, RW).unwrap()];
    maps.iter().for_each(|map| touch(map, 0..pages));
    let source = vec![7; len];
    let [served, plain] = medians(
        9,
        [&mut || time(|| maps[0].copy_from(&source)), &mut || time(|| maps[1].copy_from(&source))],
    );
    println!(
        "memcpy of {} MiB: served {served:.0} us, memfd {plain:.0} us, {:.2}",
        len >> 20,
        served / plain
    );
}

/// What tracking saves.
fn tracked(service: &Service, pages: usize) {
    let len = pages * PAGE;
    let file = service.allocate(HeapKind::Tracked, "tracked", len as u64);
    let map = Map::new(&file, 0, len, RW).unwrap();
    let end_with = |dirty: usize| {
        start(&file);
        touch(&map, (0..pages).step_by(pages / dirty).take(dirty));
        time(|| end(&file))
    };
    let [none, few, all] = medians(
        25,
        [
            &mut || {
                start(&file);
                time(|| end(&file))
            },
            &mut || end_with(3),
            &mut || end_with(pages),
        ],
    );
    println!(
        "tracked: END with 0 dirty pages {none:.0} us, with 3 {few:.0} us, with {pages} {all:.0} us, {:.0}",
        all / few
    );

    let device = service.attach(HeapKind::Tracked, "tracked");
    let source = vec![9; len];
    for (touched, what) in [(3, "3 pages"), (pages, "all pages")] {
        let mut figures = Vec::new();
        // The model learns in four brackets; what comes first is lazy, what comes last as it decided.
        for _ in 0..12 {
            device_write(&device, 0, &source);
            let begin = time(|| start(&file));
            let loads = time(|| {
                for page in (0..pages).step_by(pages / touched).take(touched) {
                    assert_eq!(map.load(page * PAGE, 1), [9]);
                }
            });
            end(&file);
            figures.push(format!("{}+{}", begin.as_micros(), loads.as_micros()));
        }
        println!(
            "tracked: a device wrote all, {what} are loaded: START+loads, us: {}",
            figures.join(" ")
        );
    }
}
