//! Rows 2 and 3: whether a buffer can be mapped, and how, is told before anybody maps it; and what is
//! told when it is exported holds for as long as it lives.

mod common;

use common::{ME, Mapping, PAGE, allocate, range, whole};
use dmabuf_core::{Access, Granule};
use dmabuf_export::{Capability, HeapKind, Policy};

fn promised(kind: HeapKind) -> Capability {
    let (mmap, coherent, policy, granule) = match kind {
        HeapKind::Coherent => (true, true, Policy::Hints, Granule::BYTE),
        HeapKind::Bounce => (true, false, Policy::Hints, Granule::BYTE),
        HeapKind::Tracked => (true, false, Policy::Tracked, Granule::PAGE),
        HeapKind::Checked => (true, false, Policy::Checked, Granule::PAGE),
        HeapKind::Unmappable => (false, true, Policy::Hints, Granule::BYTE),
    };
    Capability { mmap, coherent, range: !coherent, policy, granule }
}

#[test]
fn a_buffer_tells_what_it_can_do_before_it_is_mapped() {
    for kind in HeapKind::ALL {
        let buffer = allocate(kind, 2);
        assert_eq!(buffer.capability(), promised(kind), "{kind}");
        assert_eq!(buffer.cpu().is_ok(), buffer.capability().mmap, "{kind}");
        assert_eq!(buffer.exporter(), kind.name());
    }
}

#[test]
fn nothing_that_happens_to_it_changes_that() {
    for kind in HeapKind::ALL {
        let buffer = allocate(kind, 2);
        let before = (buffer.capability(), buffer.size());
        let device = buffer.attach("device", Access::ReadWrite);
        device.write(0, &[1; 100]).unwrap();
        for _ in 0..3 {
            if !before.0.mmap {
                assert!(buffer.cpu().is_err());
                continue;
            }
            // A buffer that was mapped can be mapped again, as often as one likes.
            let mapping = Mapping::new(&buffer);
            let second = Mapping::of(&buffer, range(PAGE, 2 * PAGE));
            buffer.begin(ME, Access::ReadWrite, whole(&buffer), None).unwrap();
            mapping.store(range(10, 20), 2);
            second.store(range(PAGE, PAGE + 1), 2);
            buffer.end(ME, Access::ReadWrite, whole(&buffer)).unwrap();
        }
        buffer.set_name("changed").unwrap();
        assert_eq!((buffer.capability(), buffer.size()), before, "{kind}");
        drop(device);
        assert_eq!((buffer.clone().capability(), buffer.size()), before, "{kind}");
    }
}
