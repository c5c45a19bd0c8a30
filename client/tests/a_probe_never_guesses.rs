//! A probe tells what was asked for or measured, of every exporter that is here, and says unknown
//! where nobody knows.

mod support;
#[path = "support/vgem.rs"]
mod vgem;

use std::os::fd::AsFd;

use dmabuf::heap::Source;
use dmabuf::probe::{Effect, Fences, Memory};
use dmabuf::{Access, DmaBuf, Kind, Mmap};
use rustix::fs::{SealFlags, fcntl_add_seals};
use support::{heaps, kernel_heaps, memfd};
use vgem::Vgem;

#[test]
fn of_a_memfd_everything_is_known() {
    let fd = memfd(1 << 20);
    let probe = DmaBuf::from_fd(fd.try_clone().unwrap()).unwrap().probe();
    println!("{probe}");
    assert_eq!((probe.kind, probe.size, probe.mmap), (Kind::Memfd, 1 << 20, Mmap::ReadWrite));
    assert!(matches!(probe.bracket, Effect::Nothing(_)));
    assert_eq!(probe.memory, Memory::Cached);
    assert_eq!((probe.sync_partial, probe.fences), (Some(false), Fences::Unsupported));

    fcntl_add_seals(&fd, SealFlags::WRITE).unwrap();
    let probe = DmaBuf::from_fd(fd).unwrap().probe();
    assert_eq!(probe.mmap, Mmap::Read);
    assert!(probe.to_string().contains("read: the mapping is forbidden"), "{probe}");
}

#[test]
fn what_is_no_buffer_is_not_touched() {
    let (pipe, _writer) = std::io::pipe().unwrap();
    let probe = DmaBuf::from_fd(pipe.into()).unwrap().probe();
    assert_eq!((probe.mmap, probe.memory), (Mmap::Never, Memory::Unknown));
    assert!(probe.to_string().contains("is no dma-buf"), "{probe}");
}

#[test]
fn every_heaps_buffers_are_what_the_heap_is_known_for() {
    for heap in heaps() {
        let buffer = heap.allocate(1 << 20).unwrap();
        let probe = buffer.probe();
        println!("== {}\n{probe}", heap.name());
        if probe.mmap == Mmap::Never {
            assert_eq!(probe.memory, Memory::Unknown);
            assert!(matches!(probe.bracket, Effect::Nothing(_)));
            continue;
        }
        if heap.description().properties.cached == Some(true) {
            assert_eq!(probe.memory, Memory::Cached, "{}", heap.name());
        }
        match heap.description().source {
            Source::Kernel | Source::Udmabuf => {
                assert_eq!(probe.exporter.as_deref(), Some(heap.name()));
                assert_eq!(probe.sync_partial, Some(false), "mainline has no such call");
                assert_eq!(probe.fences, Fences::Idle);
                assert!(!matches!(probe.bracket, Effect::Effective), "nobody can know");
            }
            Source::Served => {
                assert!(!matches!(probe.bracket, Effect::Unknown(_)));
                assert_eq!(probe.fences, Fences::Unsupported);
            }
        }
        let measured = heap.measure().unwrap();
        assert!(measured.cached.is_some() && measured.protected == Some(false));
    }
}

#[test]
fn attached_devices_are_seen_by_root() {
    let Some(vgem) = Vgem::open() else { return };
    for heap in kernel_heaps() {
        let buffer = heap.allocate(4096).unwrap();
        let before = buffer.probe();
        if before.attached.is_none() {
            println!("skipped: debugfs does not tell who is attached");
            return;
        }
        assert_eq!(before.attached.as_deref(), Some(&[][..]));
        vgem.import(buffer.as_fd());
        let after = buffer.probe();
        println!("{after}");
        assert_eq!(after.memory, Memory::Cached);
        assert_eq!(after.attached.map(|devices| devices.len()), Some(1));
        if heap.name() == "system" {
            assert!(matches!(before.bracket, Effect::Nothing(_)));
            assert!(matches!(after.bracket, Effect::Unknown(_)));
        }
    }
}

#[test]
fn a_buffer_in_use_is_not_waited_for() {
    let Some(vgem) = Vgem::open() else { return };
    let buffer = vgem.allocate();
    let fence = buffer.fence(true);
    let probe = buffer.buffer.probe();
    println!("{probe}");
    assert_eq!(probe.fences, Fences::Pending(vec!["vgem".to_owned()]));
    assert_eq!((probe.memory, probe.sync_partial), (Memory::Unknown, None));
    assert!(!buffer.buffer.is_ready(Access::Read).unwrap(), "it did not wait");
    fence.signal();
    assert_eq!(buffer.buffer.probe().memory, Memory::Cached);
}
