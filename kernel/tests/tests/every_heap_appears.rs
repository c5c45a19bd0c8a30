//! The heaps that the module was asked for are in `/dev/dma_heap`, their buffers say what they are,
//! and the client finds all of it without being told of the module.

use dmabuf::{DmaBuf, Heap, Kind, Mmap};
use dmabuf_kernel_tests::{Buffer, HEAPS, Map, module, page};
use dmabuf_uapi::*;
use rustix::io::Errno;
use rustix::mm::ProtFlags;

#[test]
fn heaps_are_there_as_they_were_asked_for() {
    module::ensure();
    for heap in HEAPS {
        for size in [1, page(), 3 * page() + 1, 5 << 20] {
            let buffer = DmaBuf::from_fd(Buffer::of(heap, size).into_fd()).unwrap();
            assert_eq!(buffer.size(), size.next_multiple_of(page()) as u64, "{heap}");
        }
        assert_eq!(Buffer::allocate(heap, 0).err(), Some(Errno::INVAL), "{heap}");
        assert_eq!(Buffer::allocate(heap, 1 << 60).err(), Some(Errno::NOMEM), "{heap}");
    }
    // What is named, or else what can be mapped; and mainline's, which is there before.
    let asked = module::asked();
    let mut asked = asked.as_ref().map_or(HEAPS.to_vec(), |heaps| heaps.split(',').collect());
    asked.push("system");
    asked.sort();
    let mut names: Vec<_> = dmabuf::heap::list()
        .into_iter()
        .filter(|heap| heap.path.starts_with("/dev/dma_heap"))
        .map(|heap| heap.name)
        .collect();
    names.sort();
    assert_eq!(names, asked);
}

#[test]
fn every_heap_is_allocated_from_by_the_device() {
    module::ensure();
    let unmappable = Buffer::allocate_by_device("unmappable", page()).unwrap();
    let mapped = Map::new(&unmappable, 0..page(), ProtFlags::READ);
    assert_eq!(mapped.err(), Some(Errno::INVAL));
    assert_eq!(unmappable.query().flags & DMA_BUF_QUERY_MMAP_READ, 0);
    assert_eq!(DmaBuf::from_fd(unmappable.into_fd()).unwrap().capability().mmap, Some(Mmap::Never));

    let refused = |heap, size| Buffer::allocate_by_device(heap, size).err();
    assert_eq!(refused("system", page()), Some(Errno::NOENT));
    assert_eq!(refused("", page()), Some(Errno::NOENT));
    assert_eq!(refused("tracked", 0), Some(Errno::INVAL));
}

#[test]
fn buffers_say_what_they_are() {
    module::ensure();
    for heap in HEAPS {
        let query = Buffer::of(heap, 5 * page()).query();
        let says = |flag| query.flags & flag != 0;
        assert_eq!(query.size, 5 * page() as u64, "{heap}");
        assert!(says(DMA_BUF_QUERY_MMAP_READ) && says(DMA_BUF_QUERY_MMAP_WRITE), "{heap}");
        assert_eq!(says(DMA_BUF_QUERY_TRACKED), ["tracked", "checked"].contains(&heap), "{heap}");
        assert_eq!(says(DMA_BUF_QUERY_CHECKED), heap == "checked");
        assert!(query.exporter.starts_with(heap.as_bytes()), "{heap}");
        assert!(query.granule.is_power_of_two(), "{heap}");
    }
}

#[test]
fn the_client_finds_out_by_itself() {
    module::ensure();
    for name in HEAPS {
        let heap = Heap::open(format!("/dev/dma_heap/{name}")).unwrap();
        assert_eq!(heap.name(), name);
        let buffer = heap.allocate(4 * page() as u64).unwrap();
        assert_eq!(buffer.kind(), Kind::Kernel);
        let capability = buffer.capability();
        assert_eq!(capability.mmap, Some(Mmap::ReadWrite), "{name}");
        assert_eq!(capability.range, Some(true), "{name}");
        assert_eq!(capability.exporter.as_deref(), Some(name));
        assert!(buffer.probe().to_string().contains(name));
    }
    let system = Heap::open("/dev/dma_heap/system").unwrap().allocate(4096).unwrap();
    assert_eq!(system.capability().range, None, "mainline's heaps tell nothing");
}

/// A guard over a range moves the bytes of that range, where mainline's would move all.
#[test]
fn a_guard_of_a_range_brackets_that_range() {
    module::ensure();
    let buffer = DmaBuf::from_fd(Buffer::of("bounce", 16 * page()).into_fd()).unwrap();
    let mapping = buffer.map().unwrap();
    let stats = || {
        use std::os::fd::{AsFd, AsRawFd};
        let fd = buffer.as_fd().as_raw_fd();
        let mut stats = DmabufDeviceStats { fd, ..DmabufDeviceStats::default() };
        let device = std::fs::File::open(DMABUF_DEVICE).unwrap();
        dmabuf_kernel_tests::ioctl(device, DMABUF_DEVICE_STATS, &mut stats).unwrap();
        stats
    };
    mapping.write(100..300).unwrap().end().unwrap();
    assert_eq!((stats().bytes_to_device, stats().bytes_from_device), (200, 0));
    mapping.read(..page() as u64).unwrap().end().unwrap();
    assert_eq!((stats().bytes_to_device, stats().bytes_from_device), (200, page() as u64));
    mapping.write(..).unwrap().end().unwrap();
    assert_eq!(stats().bytes_to_device, 200 + 16 * page() as u64);
}
