//! A device sees what a bracket stored once that has ended, a bracket shows what a device stored before
//! it began, and without brackets neither is so. A bracket moves no more than it has to: by direction,
//! by range, and where pages are tracked no page that was not touched.
//!
//! `bounce` is so on every machine; the others where DMA bounces (`swiotlb=force`), as on a machine
//! without coherency.

use dmabuf_kernel_tests::{Buffer, HEAPS, Importer, flags::*, machine, module, page};
use dmabuf_uapi::{DMA_BUF_SYNC_READ, DMA_BUF_SYNC_RW, DMA_BUF_SYNC_WRITE};

const PAGES: usize = 64;

fn buffer(heap: &str) -> Buffer {
    module::ensure();
    Buffer::of(heap, PAGES * page())
}

/// The heaps whose devices have another view than the CPU here.
fn heaps() -> &'static [&'static str] {
    if machine::bounces() { &HEAPS } else { &["bounce"] }
}

/// Those of them that track.
fn tracking() -> impl Iterator<Item = &'static str> {
    heaps().iter().copied().filter(|heap| ["tracked", "checked"].contains(heap))
}

fn is_all(value: u8, bytes: &[u8]) -> bool {
    bytes.iter().all(|&byte| byte == value)
}

#[test]
fn stores_are_seen_once_their_bracket_has_ended() {
    for heap in heaps() {
        let buffer = buffer(heap);
        let (map, device) = (buffer.map(), Importer::of(&buffer, DMA_BUF_SYNC_RW));
        let last = buffer.size() - 1;
        for (start, end) in [(START_WRITE, END_WRITE), (START_RW, END_RW)] {
            let value = start as u8;
            buffer.sync(start);
            [0, page(), last].iter().for_each(|&at| map.store(at, value));
            assert_ne!(device.read(page(), 1), [value], "{heap}: the bracket is open");
            buffer.sync(end);
            for at in [0, page(), last] {
                assert_eq!(device.read(at, 1), [value], "{heap} at {at:#x}");
            }
        }
    }
}

#[test]
fn a_bracket_shows_what_a_device_stored_before() {
    for heap in heaps() {
        let buffer = buffer(heap);
        let (map, device) = (buffer.map(), Importer::of(&buffer, DMA_BUF_SYNC_RW));
        let last = buffer.size() - 1;
        for (start, end) in [(START_READ, END_READ), (START_RW, END_RW)] {
            let value = start as u8;
            [0, page(), last].iter().for_each(|&at| device.write(at, &[value]));
            buffer.sync(start);
            for at in [0, page(), last] {
                assert_eq!(map.load(at), value, "{heap} at {at:#x}");
            }
            buffer.sync(end);
        }
    }
}

#[test]
fn without_brackets_both_sides_are_stale() {
    for heap in heaps() {
        let buffer = buffer(heap);
        let (map, device) = (buffer.map(), Importer::of(&buffer, DMA_BUF_SYNC_RW));
        map.store(0, 1);
        assert_eq!(device.read(0, 1), [0], "{heap}");
        device.write(page(), &[2]);
        assert_eq!(map.load(page()), 0, "{heap}");
    }
}

/// The bytes that a device gets and gives depend on the direction.
#[test]
fn a_bracket_of_loads_sends_nothing_and_one_of_stores_fetches_nothing() {
    for heap in heaps() {
        let buffer = buffer(heap);
        let (map, device) = (buffer.map(), Importer::of(&buffer, DMA_BUF_SYNC_RW));
        device.write(0, &[1]);
        let before = buffer.stats();
        buffer.sync(START_READ);
        assert_eq!(map.load(0), 1);
        buffer.sync(END_READ);
        let after = buffer.stats();
        assert_eq!(after.bytes_to_device, before.bytes_to_device, "{heap}");
        assert!(after.bytes_from_device > before.bytes_from_device, "{heap}");

        let buffer = self::buffer(heap);
        let (map, _device) = (buffer.map(), Importer::of(&buffer, DMA_BUF_SYNC_READ));
        buffer.sync(START_WRITE);
        map.store(0, 1);
        buffer.sync(END_WRITE);
        let stats = buffer.stats();
        assert_eq!(stats.bytes_from_device, 0, "{heap}: the device writes nothing");
        assert!(stats.bytes_to_device > 0, "{heap}");
    }
}

#[test]
fn a_bracket_over_a_range_moves_that_range() {
    for heap in heaps() {
        let buffer = buffer(heap);
        let (map, device) = (buffer.map(), Importer::of(&buffer, DMA_BUF_SYNC_RW));
        let range = 3 * page()..5 * page();
        buffer.sync(START_RW);
        map.fill(0..buffer.size(), 1);
        buffer.sync(END_RW);
        device.write(0, &vec![2; buffer.size()]);

        let before = buffer.stats();
        buffer.sync_range(START_RW, range.clone());
        assert!(is_all(2, &map.bytes(range.clone())), "{heap}");
        map.fill(range.clone(), 3);
        buffer.sync_range(END_RW, range.clone());
        let after = buffer.stats();
        let moved = [
            after.bytes_from_device - before.bytes_from_device,
            after.bytes_to_device - before.bytes_to_device,
        ];
        assert_eq!(moved, [range.len() as u64; 2], "{heap}");
        assert_eq!(device.read(range.start, range.len()), [3].repeat(range.len()), "{heap}");
        assert_eq!(device.read(range.end, page()), [2].repeat(page()), "{heap}");
    }
}

/// Whatever the range's ends are, and whoever else's bytes are beside it.
#[test]
fn a_bracket_of_loads_leaves_what_a_device_stored() {
    for heap in heaps() {
        for range in [0..1, 1..2, 63..65, 100..200, page() - 1..page() + 1] {
            let buffer = buffer(heap);
            let (_map, device) = (buffer.map(), Importer::of(&buffer, DMA_BUF_SYNC_RW));
            device.write(0, &[1].repeat(3 * page()));
            buffer.sync_range(START_READ, range.clone());
            assert_eq!(device.read(0, 3 * page()), [1].repeat(3 * page()), "{heap}: {range:?}");
            buffer.sync_range(END_READ, range.clone());
            assert_eq!(device.read(0, 3 * page()), [1].repeat(3 * page()), "{heap}: {range:?}");
        }
    }
}

#[test]
fn tracked_pages_that_were_not_stored_to_are_not_moved() {
    for heap in tracking() {
        let buffer = buffer(heap);
        let (map, device) = (buffer.map(), Importer::of(&buffer, DMA_BUF_SYNC_READ));
        for touched in [&[5_usize][..], &[0, 1, 2], &[7, 20, PAGES - 1], &[]] {
            let before = buffer.stats().bytes_to_device;
            buffer.sync(START_RW);
            touched.iter().for_each(|number| map.store(number * page() + 9, 0xaa));
            buffer.sync(END_RW);
            let moved = buffer.stats().bytes_to_device - before;
            assert_eq!(moved, (touched.len() * page()) as u64, "{heap}: {touched:?}");
            for number in touched {
                assert_eq!(device.read(number * page() + 9, 1), [0xaa], "{heap}: {number}");
            }
        }
    }
}

#[test]
fn tracked_pages_that_were_not_touched_are_not_fetched() {
    for heap in tracking() {
        let buffer = buffer(heap);
        let (map, device) = (buffer.map(), Importer::of(&buffer, DMA_BUF_SYNC_RW));
        device.write(0, &vec![7; buffer.size()]);
        buffer.sync(START_READ);
        for number in [2, 40] {
            assert_eq!(map.load(number * page()), 7, "{heap}");
        }
        buffer.sync(END_READ);
        assert_eq!(buffer.stats().bytes_from_device, 2 * page() as u64, "{heap}");
    }
}

/// What no sync of the whole buffer can promise.
#[test]
fn a_tracked_bracket_loses_nothing_that_a_device_stores_meanwhile_beside_it() {
    for heap in tracking() {
        let buffer = buffer(heap);
        let (map, device) = (buffer.map(), Importer::of(&buffer, DMA_BUF_SYNC_RW));
        buffer.sync(START_RW);
        map.store(0, 1);
        device.write(8 * page(), &[9; 100]);
        buffer.sync(END_RW);
        assert_eq!(device.read(8 * page(), 100), [9; 100], "{heap}");
        buffer.sync(START_READ);
        assert_eq!(map.bytes(8 * page()..8 * page() + 100), [9; 100], "{heap}");
        buffer.sync(END_READ);
    }
}

#[test]
fn all_devices_see_what_was_stored() {
    for heap in heaps() {
        let buffer = buffer(heap);
        let map = buffer.map();
        let devices = [DMA_BUF_SYNC_READ, DMA_BUF_SYNC_RW, DMA_BUF_SYNC_READ]
            .map(|does| Importer::of(&buffer, does));
        buffer.sync(START_WRITE);
        map.fill(0..2 * page(), 5);
        buffer.sync(END_WRITE);
        for device in &devices {
            assert_eq!(device.read(page(), 8), [5; 8], "{heap}");
        }
    }
}

#[test]
fn what_a_device_stored_outlives_its_mapping() {
    for heap in heaps() {
        let buffer = buffer(heap);
        let (map, device) = (buffer.map(), Importer::of(&buffer, DMA_BUF_SYNC_WRITE));
        device.write(3 * page(), &[4; 16]);
        drop(device);
        buffer.sync(START_READ);
        assert_eq!(map.bytes(3 * page()..3 * page() + 16), [4; 16], "{heap}");
        buffer.sync(END_READ);
        let later = Importer::of(&buffer, DMA_BUF_SYNC_READ);
        assert_eq!(later.read(3 * page(), 16), [4; 16], "{heap}");
    }
}

/// A frame that is written and shown by turns, as a pipeline does it: mapped anew each time.
#[test]
fn a_device_that_maps_anew_for_each_access_is_served() {
    for heap in heaps() {
        let buffer = buffer(heap);
        let (map, device) = (buffer.map(), Importer::attach(&buffer));
        for round in 1..20 {
            buffer.sync(START_WRITE);
            map.fill(0..buffer.size(), round);
            buffer.sync(END_WRITE);
            device.map(DMA_BUF_SYNC_RW).expect("it maps");
            assert_eq!(device.read(PAGES / 2 * page(), 4), [round; 4], "{heap}");
            device.write(page(), &[!round; 4]);
            device.unmap().expect("it is mapped");
            buffer.sync(START_READ);
            assert_eq!(map.bytes(page()..page() + 4), [!round; 4], "{heap}");
            assert_eq!(map.load(0), round, "{heap}");
            buffer.sync(END_READ);
        }
    }
}

/// The cost model learns that every page is written, and lets them be until one looks again.
#[test]
fn whole_writes_stop_paying_for_faults() {
    const ROUNDS: usize = 20;
    for heap in tracking().filter(|&heap| heap == "tracked") {
        let buffer = buffer(heap);
        let (map, device) = (buffer.map(), Importer::of(&buffer, DMA_BUF_SYNC_READ));
        let faults = |round: usize| {
            let before = buffer.stats().faults;
            buffer.sync(START_WRITE);
            map.fill(0..buffer.size(), round as u8);
            buffer.sync(END_WRITE);
            assert!(is_all(round as u8, &device.read(0, buffer.size())), "{heap}: {round}");
            (buffer.stats().faults - before) as usize
        };
        let first = faults(1);
        assert!(first >= PAGES, "{heap}: {first} faults, before anything is known");
        let later: usize = (2..ROUNDS).map(faults).sum();
        assert!(later < ROUNDS * PAGES / 2, "{heap}: {later} faults in all later rounds");
    }
}

/// Where DMA does not bounce, devices here see all memory, and a bracket that moves bytes is for nothing.
#[test]
fn what_needs_no_sync_gets_none() {
    for heap in HEAPS.iter().filter(|heap| !heaps().contains(heap)) {
        let buffer = buffer(heap);
        let (map, device) = (buffer.map(), Importer::of(&buffer, DMA_BUF_SYNC_RW));
        for round in 1..4 {
            buffer.sync(START_RW);
            map.fill(0..buffer.size(), round);
            buffer.sync(END_RW);
            assert_eq!(device.read(page(), 8), [round; 8], "{heap}");
        }
        let stats = buffer.stats();
        assert_eq!((stats.bytes_to_device, stats.bytes_from_device), (0, 0), "{heap}");
        if *heap == "tracked" {
            assert!(stats.faults < PAGES as u64, "{heap}: {} faults", stats.faults);
        }
    }
}
