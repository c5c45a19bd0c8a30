//! The nodes are root's until root gives them to others, as kernel/README.md says. Who has a buffer but
//! not the nodes can use it as any other dma-buf; what the nodes give is a group's by their mode alone.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;

use dmabuf::{DmaBuf, Heap};
use dmabuf_kernel_tests::{
    Buffer, Ended, HEAPS, Importer, Records, become_nobody, flags::*, in_a_fork, module, page,
};
use dmabuf_uapi::{DMA_BUF_SYNC_RW, DMABUF_DEVICE};

/// A group of people who work with video, say.
const GROUP: u32 = 44;

fn node(heap: &str) -> String {
    format!("/dev/dma_heap/{heap}")
}

fn is_refused(path: impl AsRef<Path>) {
    let refused = File::open(path).expect_err("it is root's");
    assert_eq!(refused.kind(), io::ErrorKind::PermissionDenied);
}

#[test]
fn the_nodes_are_roots() {
    module::ensure();
    let nodes = HEAPS.map(node);
    for node in nodes.iter().map(String::as_str).chain([DMABUF_DEVICE]) {
        let node = fs::metadata(node).expect("it is there");
        assert_eq!((node.mode() & 0o777, node.uid()), (0o600, 0), "{node:?}");
    }
    let others = || {
        become_nobody(&[]);
        is_refused(DMABUF_DEVICE);
        for node in &nodes {
            is_refused(node);
            let told = Heap::open(node).expect_err("it is root's").to_string();
            assert!(told.contains("Permission denied") && told.contains("udev"), "{told}");
        }
    };
    assert_eq!(in_a_fork(others), Ended::Exited(0));
}

/// Of ranges the client then knows nothing, and brackets the whole buffer by its own descriptor.
#[test]
fn who_was_given_a_buffer_needs_no_node() {
    module::ensure();
    for heap in HEAPS {
        let buffer = Buffer::of(heap, 4 * page());
        let given = rustix::io::dup(&buffer).expect("a copy");
        let user = || {
            become_nobody(&[]);
            let given = DmaBuf::from_fd(given).expect("a dma-buf");
            assert_eq!(given.capability().range, None, "{heap}");
            let mapping = given.map().expect("it can be mapped");
            let guard = mapping.write(..64).expect("a bracket");
            guard.fill(7);
            guard.end().expect("it ends");
        };
        assert_eq!(in_a_fork(user), Ended::Exited(0), "{heap}");
        assert_eq!(Importer::of(&buffer, DMA_BUF_SYNC_RW).read(0, 64), [7; 64], "{heap}");
    }
}

#[test]
fn a_group_that_was_given_the_nodes_may_do_what_root_may() {
    module::ensure();
    for node in HEAPS.map(node).iter().map(String::as_str).chain([DMABUF_DEVICE]) {
        chown(node, None, Some(GROUP)).expect("root may");
        fs::set_permissions(node, Permissions::from_mode(0o660)).expect("root may");
    }
    let member = || {
        become_nobody(&[GROUP]);
        for heap in HEAPS {
            let buffer = Buffer::of(heap, 4 * page());
            assert!(buffer.query().exporter.starts_with(heap.as_bytes()));
            buffer.sync_range(START_RW, 0..page());
            buffer.sync_range(END_RW, 0..page());
            assert_eq!(buffer.stats().ends, 1, "{heap}");
            assert!(Buffer::allocate_by_device(heap, page()).is_ok(), "{heap}");
        }
        let (checked, records) = (Buffer::of("checked", page()), Records::from_now_on());
        checked.map().store(0, 1);
        assert_eq!(records.all().len(), 1);
    };
    let other = || {
        become_nobody(&[GROUP + 1]);
        is_refused(DMABUF_DEVICE);
        is_refused(node("checked"));
    };
    let ended = [in_a_fork(member), in_a_fork(other)];
    for node in HEAPS.map(node).iter().map(String::as_str).chain([DMABUF_DEVICE]) {
        fs::set_permissions(node, Permissions::from_mode(0o600)).expect("root may");
        chown(node, None, Some(0)).expect("root may");
    }
    assert_eq!(ended, [Ended::Exited(0); 2]);
}
