//! Contract, point 10: bad input gets the errno that a mainline dma-buf gives for it, or the nearest
//! documented one, and changes nothing.

mod common;

use std::sync::Arc;

use common::{ME, PAGE, allocate, range, whole};
use dmabuf_core::{Access, Range, RangeError};
use dmabuf_export::{Accounts, Error, Heap, HeapKind, Quota};
use rustix::io::Errno;

#[track_caller]
fn refused<T>(result: Result<T, Error>, errno: Errno) {
    let error = result.err().expect("it is refused");
    assert_eq!(error.errno(), errno, "{error}");
    assert_eq!(std::io::Error::from(error).kind(), std::io::Error::from(errno).kind());
}

#[test]
fn sizes() {
    for kind in HeapKind::ALL {
        let heap = Heap::new(kind);
        for size in [0, 1, PAGE - 1, PAGE + 1, u64::MAX] {
            refused(heap.allocate(size), Errno::INVAL);
        }
        refused(heap.allocate(1 << 50), Errno::NOMEM);
        refused(heap.allocate((u64::MAX / 2) / PAGE * PAGE), Errno::NOMEM);
    }
}

#[test]
fn quotas() {
    for kind in HeapKind::ALL {
        let bytes = if kind.name() == "coherent" || kind.name() == "unmappable" { 4 } else { 8 };
        let quota = Quota { bytes: bytes * PAGE, buffers: 2 };
        let heap = Heap::with_accounts(kind, Accounts::new(quota));
        let first = heap.allocate(3 * PAGE).unwrap();
        refused(heap.allocate(2 * PAGE), Errno::DQUOT);
        let second = heap.allocate(PAGE).unwrap();
        refused(heap.allocate(PAGE), Errno::DQUOT);
        drop((first, second));
        heap.allocate(4 * PAGE).unwrap();
    }
}

#[test]
fn users_have_quotas_of_their_own() {
    let accounts = Accounts::new(Quota { bytes: u64::MAX, buffers: 1 });
    let heap = Heap::with_accounts(HeapKind::Coherent, Arc::clone(&accounts));
    let _mine = heap.reserve(1).unwrap();
    refused(heap.reserve(1), Errno::DQUOT);
    let _theirs = heap.reserve(2).unwrap();
    assert_eq!((accounts.used(1).buffers, accounts.used(3).buffers), (1, 0));
}

#[test]
fn ranges() {
    assert_eq!(Range::new(0, 0), Err(RangeError::Empty));
    assert_eq!(Range::new(u64::MAX, 2), Err(RangeError::Overflow));
    refused(Range::new(0, 0).map_err(Error::from), Errno::INVAL);
    for kind in common::MAPPABLE {
        let buffer = allocate(kind, 1);
        let device = buffer.attach("device", Access::ReadWrite);
        for r in [range(0, PAGE + 1), range(PAGE, PAGE + 1), Range::new(0, u64::MAX).unwrap()] {
            for access in [Access::Read, Access::Write, Access::ReadWrite] {
                refused(buffer.begin(ME, access, r, None), Errno::INVAL);
                refused(buffer.end(ME, access, r), Errno::INVAL);
                refused(device.begin(access, r), Errno::INVAL);
            }
        }
        refused(device.read(PAGE - 1, &mut [0; 2]), Errno::INVAL);
        refused(device.write(u64::MAX, &[0; 2]), Errno::INVAL);
        refused(device.write(0, &[]), Errno::INVAL);
        refused(buffer.fault(ME, PAGE, &mut [0]), Errno::INVAL);
        refused(buffer.store(PAGE - 1, &[0, 0]), Errno::INVAL);
        // None of them began anything, or keeps a bracket waiting.
        assert_eq!(buffer.owners(), []);
        buffer.begin(ME, Access::ReadWrite, whole(&buffer), Some(Default::default())).unwrap();
        assert_eq!(buffer.stats().brackets, 1);
    }
}

#[test]
fn directions() {
    let buffer = allocate(HeapKind::Coherent, 1);
    let reader = buffer.attach("display", Access::Read);
    let writer = buffer.attach("camera", Access::Write);
    refused(reader.write(0, &[1]), Errno::ACCESS);
    refused(writer.read(0, &mut [1]), Errno::ACCESS);
    refused(reader.begin(Access::ReadWrite, range(0, 1)), Errno::ACCESS);
    let both = buffer.attach("gpu", Access::ReadWrite);
    let access = both.begin(Access::Read, range(10, 20)).unwrap();
    refused(access.write(10, &[1]), Errno::ACCESS);
    refused(access.read(9, &mut [1]), Errno::INVAL);
    refused(access.read(19, &mut [1; 2]), Errno::INVAL);
    access.read(10, &mut [1; 10]).unwrap();
    assert_eq!((access.access(), access.range()), (Access::Read, range(10, 20)));
}

#[test]
fn names() {
    let buffer = allocate(HeapKind::Coherent, 1);
    assert_eq!(buffer.name(), "");
    let longest = "n".repeat(31);
    buffer.set_name(&longest).unwrap();
    refused(buffer.set_name(&"n".repeat(32)), Errno::INVAL);
    refused(buffer.set_name("a\0b"), Errno::INVAL);
    assert_eq!(buffer.name(), longest);
}

#[test]
fn brackets_without_number() {
    let buffer = allocate(HeapKind::Coherent, 2);
    let opened = (0..PAGE + 1).find_map(|start| {
        let begun = buffer.begin(ME, Access::Read, range(start, start + 1), None);
        begun.err().map(|error| (start, error))
    });
    let (opened, error) = opened.expect("there is an end to it");
    assert_eq!((opened, error.errno()), (PAGE, Errno::NOMEM));
    // The same bracket again is no other one, and what ends makes room.
    buffer.begin(ME, Access::Read, range(0, 1), None).unwrap();
    buffer.end(ME, Access::Read, range(5, 6)).unwrap();
    buffer.begin(ME, Access::Read, range(PAGE, PAGE + 1), None).unwrap();
}
