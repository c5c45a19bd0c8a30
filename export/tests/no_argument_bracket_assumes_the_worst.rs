//! Row 4: a bracket without direction and range is one that reads and writes the whole buffer. It is
//! always right, whatever the program did in it.

mod common;

use common::{MAPPABLE, ME, Mapping, allocate, range, whole};
use dmabuf_core::Access;
use dmabuf_export::HeapKind;

#[test]
fn it_shows_all_that_devices_wrote_and_devices_all_that_it_stored() {
    for kind in MAPPABLE {
        let buffer = allocate(kind, 3);
        let mapping = Mapping::new(&buffer);
        let device = buffer.attach("device", Access::ReadWrite);
        device.write(0, &[1; 5000]).unwrap();
        buffer.begin(ME, Access::ReadWrite, whole(&buffer), None).unwrap();
        assert_eq!(mapping.load(range(0, 5000)), [1; 5000], "{kind}");
        mapping.store(range(100, 200), 2);
        mapping.store(range(9000, 9001), 3);
        buffer.end(ME, Access::ReadWrite, whole(&buffer)).unwrap();
        let mut seen = vec![0; 3 * 4096];
        device.read(0, &mut seen).unwrap();
        assert_eq!(seen[99..201], [&[1][..], &[2; 100], &[1]].concat(), "{kind}");
        assert_eq!(seen[8999..9002], [0, 3, 0], "{kind}");
    }
}

#[test]
fn without_tracking_it_costs_the_whole_buffer_each_way() {
    let buffer = allocate(HeapKind::Bounce, 3);
    buffer.begin(ME, Access::ReadWrite, whole(&buffer), None).unwrap();
    assert_eq!(buffer.stats().bytes_invalidated, buffer.size());
    buffer.end(ME, Access::ReadWrite, whole(&buffer)).unwrap();
    assert_eq!(buffer.stats().bytes_cleaned, buffer.size());
}
