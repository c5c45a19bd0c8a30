//! Contract, point 9: memory is zero before anyone sees it, and never shrinks under a mapping. What a
//! buffer was charged for is given back with it.

mod common;

use std::sync::Arc;

use common::{ME, Mapping, PAGE, allocate, range, whole};
use dmabuf_core::Access;
use dmabuf_export::mappings::Direct;
use dmabuf_export::{Accounts, Heap, HeapKind, Quota};
use rustix::fs::SealFlags;
use rustix::io::Errno;

#[test]
fn both_sides_are_zero() {
    for kind in HeapKind::ALL {
        let buffer = allocate(kind, 3);
        let mut seen = vec![1; 3 * PAGE as usize];
        buffer.attach("device", Access::Read).read(0, &mut seen).unwrap();
        assert!(seen.iter().all(|&byte| byte == 0), "{kind}");
        if buffer.capability().mmap {
            assert!(Mapping::new(&buffer).load(whole(&buffer)).iter().all(|&byte| byte == 0));
        }
    }
}

#[test]
fn nobody_can_change_the_size() {
    for kind in HeapKind::ALL {
        let buffer = allocate(kind, 2);
        let device = buffer.attach("device", Access::Read);
        let cpu = buffer.cpu().ok();
        let fds = [Some(device.memory()), cpu.as_ref().map(std::os::fd::AsFd::as_fd)];
        for fd in fds.into_iter().flatten() {
            for size in [0, PAGE, 3 * PAGE] {
                assert_eq!(rustix::fs::ftruncate(fd, size), Err(Errno::PERM), "{kind}");
            }
            let seals = rustix::fs::fcntl_get_seals(fd).unwrap();
            assert!(seals.contains(SealFlags::SHRINK | SealFlags::GROW), "{kind}");
            assert_eq!(rustix::fs::fstat(fd).unwrap().st_size as u64, 2 * PAGE);
        }
    }
}

#[test]
fn a_buffer_is_retired_when_nobody_maps_it() {
    for kind in common::MAPPABLE {
        let buffer = allocate(kind, 1);
        let mapping = Mapping::new(&buffer);
        assert!(!buffer.retire(), "{kind}: it is mapped");
        buffer.begin(ME, Access::Write, range(0, 1), None).unwrap();
        mapping.store(range(0, 1), 1);
        buffer.end(ME, Access::Write, range(0, 1)).unwrap();
        drop(mapping);
        assert!(buffer.retire() && buffer.retire(), "{kind}");
        let mut byte = [0];
        buffer.attach("device", Access::Read).read(0, &mut byte).unwrap();
        assert_eq!(byte, [1], "{kind}: what was written is still there");
    }
}

#[test]
fn what_it_was_charged_for_is_given_back() {
    let nothing = Quota { bytes: 0, buffers: 0 };
    for kind in HeapKind::ALL {
        let memories =
            if matches!(kind, HeapKind::Coherent | HeapKind::Unmappable) { 1 } else { 2 };
        let accounts = Accounts::new(Quota { bytes: 20 * PAGE, buffers: 3 });
        let heap = Heap::with_accounts(kind, Arc::clone(&accounts));
        let reservation = heap.reserve(7).unwrap();
        assert_eq!(accounts.used(7), Quota { bytes: 0, buffers: 1 });
        assert_eq!(reservation.mmap().is_some(), kind != HeapKind::Unmappable);
        // What fails leaves the reservation as it was, and another size is taken.
        let mut reservation = Some(reservation);
        for size in [0, PAGE + 1, 21 * PAGE, 1 << 50] {
            let refused = reservation.take().unwrap().allocate(size, Arc::new(Direct)).unwrap_err();
            assert_eq!(accounts.used(7), Quota { bytes: 0, buffers: 1 }, "{}", refused.error);
            reservation = Some(refused.reservation);
        }
        let buffer = reservation.unwrap().allocate(5 * PAGE, Arc::new(Direct)).unwrap();
        assert_eq!(accounts.used(7), Quota { bytes: 5 * PAGE * memories, buffers: 1 });
        let device = buffer.attach("device", Access::Read);
        drop(buffer);
        assert_ne!(accounts.used(7), nothing, "{kind}: a device still has it");
        drop(device);
        assert_eq!(accounts.used(7), nothing, "{kind}");
        drop(heap.reserve(7).unwrap());
        assert_eq!(accounts.used(7), nothing, "{kind}");
    }
}
