//! Row 1: when mmap fails, there is a way on. An unmappable buffer says what it cannot do with the
//! errno of a real exporter, and gives its bytes to whoever attaches.

mod common;

use common::{ME, allocate, range};
use dmabuf_core::Access;
use dmabuf_export::{Error, HeapKind};
use rustix::io::Errno;

#[test]
fn each_call_of_the_cpu_side_is_refused() {
    let buffer = allocate(HeapKind::Unmappable, 1);
    let r = range(0, 10);
    let refused = [
        buffer.cpu().map(drop),
        buffer.begin(ME, Access::Read, r, None),
        buffer.end(ME, Access::Read, r),
        buffer.fault(ME, 0, &mut [0]),
        buffer.store(0, &[0]),
    ];
    for result in refused {
        let error = result.unwrap_err();
        assert!(matches!(error, Error::NotMappable), "{error}");
        assert_eq!(error.errno(), Errno::INVAL);
        assert!(error.to_string().contains("device side"), "it tells the way on");
    }
    // There is nothing to end and nobody maps it.
    buffer.abandon(ME).unwrap();
    assert!(buffer.retire());
}

#[test]
fn devices_reach_its_bytes() {
    let buffer = allocate(HeapKind::Unmappable, 1);
    buffer.attach("camera", Access::Write).write(5, b"picture").unwrap();
    let mut seen = [0; 7];
    buffer.attach("fallback", Access::Read).read(5, &mut seen).unwrap();
    assert_eq!(&seen, b"picture");
}
