//! Row 5: a read needs an invalidate at its begin, a write a clean at its end, and neither pays for
//! the other.

mod common;

use common::{ME, allocate, range};
use dmabuf_core::Access;
use dmabuf_export::HeapKind;

/// Bytes invalidated and cleaned by one bracket of 1000 bytes.
fn work(kind: HeapKind, access: Access) -> (u64, u64) {
    let buffer = allocate(kind, 2);
    buffer.begin(ME, access, range(500, 1500), None).unwrap();
    let begun = buffer.stats();
    assert_eq!(begun.bytes_cleaned, 0, "nothing was stored yet");
    buffer.end(ME, access, range(500, 1500)).unwrap();
    let ended = buffer.stats();
    assert_eq!(ended.bytes_invalidated, begun.bytes_invalidated, "nothing will be loaded");
    assert_eq!(ended.brackets, 1);
    (ended.bytes_invalidated, ended.bytes_cleaned)
}

#[test]
fn a_read_invalidates_a_write_cleans() {
    assert_eq!(work(HeapKind::Bounce, Access::Read), (1000, 0));
    assert_eq!(work(HeapKind::Bounce, Access::Write), (0, 1000));
    assert_eq!(work(HeapKind::Bounce, Access::ReadWrite), (1000, 1000));
}

#[test]
fn coherent_memory_needs_neither() {
    for access in [Access::Read, Access::Write, Access::ReadWrite] {
        assert_eq!(work(HeapKind::Coherent, access), (0, 0));
    }
}
