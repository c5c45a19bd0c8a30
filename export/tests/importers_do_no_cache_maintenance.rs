//! Row 10: a device says what it accesses and when, and that is all; cleaning and invalidating are
//! done for it, in both directions. It gets at the memory through its attachment's segments.

mod common;

use common::{ME, Mapping, PAGE, allocate, range, whole};
use dmabuf_core::Access;
use dmabuf_export::HeapKind;

#[test]
fn cpu_to_device_and_device_to_cpu() {
    for kind in common::MAPPABLE {
        let buffer = allocate(kind, 2);
        let mapping = Mapping::new(&buffer);
        let (camera, display) =
            (buffer.attach("camera", Access::Write), buffer.attach("display", Access::Read));
        for frame in 1..5u8 {
            camera.write(0, &vec![frame; 2 * PAGE as usize]).unwrap();
            buffer.begin(ME, Access::ReadWrite, whole(&buffer), None).unwrap();
            assert_eq!(mapping.load(range(4000, 4200)), [frame; 200], "{kind}");
            mapping.store(range(4090, 4100), 100 + frame);
            buffer.end(ME, Access::ReadWrite, whole(&buffer)).unwrap();
            let mut seen = [0; 12];
            display.read(4089, &mut seen).unwrap();
            let overlay = [&[frame][..], &[100 + frame; 10], &[frame]].concat();
            assert_eq!(seen[..], overlay, "{kind}");
        }
        let stats = buffer.stats();
        assert_eq!((stats.device_written, stats.device_read), (4 * 2 * PAGE, 4 * 12));
    }
}

#[test]
fn the_segments_cover_the_buffer_once_and_in_order() {
    for kind in HeapKind::ALL {
        let buffer = allocate(kind, 5);
        for longest in [0, 1, PAGE, 2 * PAGE, 2 * PAGE + 5, u64::MAX] {
            let device = buffer.attach_segmented("device", Access::ReadWrite, longest);
            let most = (longest / PAGE * PAGE).max(PAGE);
            let mut covered = 0;
            for segment in device.segments() {
                assert!(segment.offset == covered && (1..=most).contains(&segment.len));
                covered += segment.len;
            }
            assert_eq!(covered, buffer.size());
        }
        let device = buffer.attach("device", Access::Read);
        assert_eq!(device.segments().len(), 1);
        assert_eq!((device.device(), device.access()), ("device", Access::Read));
    }
}

/// A device that knows nothing but file descriptor, segments, begin and end.
#[test]
fn segments_name_the_memory_that_the_device_shares() {
    for kind in common::MAPPABLE {
        let buffer = allocate(kind, 2);
        let mapping = Mapping::new(&buffer);
        let device = buffer.attach_segmented("device", Access::ReadWrite, PAGE);
        let second = device.segments()[1];
        let access = device.begin(Access::Write, range(PAGE, PAGE + 10)).unwrap();
        rustix::io::pwrite(device.memory(), &[9; 10], second.offset).unwrap();
        drop(access);
        buffer.begin(ME, Access::Read, whole(&buffer), None).unwrap();
        assert_eq!(
            mapping.load(range(PAGE, PAGE + 11))[..],
            [&[9; 10][..], &[0]].concat(),
            "{kind}"
        );
        buffer.end(ME, Access::Read, whole(&buffer)).unwrap();
    }
}
