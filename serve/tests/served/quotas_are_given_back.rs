//! A user pays for the buffers he has, until nobody has them any more, and only for his.

use dmabuf_export::{HeapKind, Quota};

use crate::program::{Do, Program};
use crate::service::{MAPPABLE, Service, Setup};

const SIZE: usize = 4 * 4096;
const NOBODY: u32 = 65534;

/// Room for one buffer with two memories.
fn one_buffer() -> Setup {
    Setup { quota: Quota { bytes: 2 * SIZE as u64, buffers: 1 }, ..Setup::default() }
}

fn create(service: &Service, heap: HeapKind, name: &str) -> Do {
    let flags = libc::O_RDWR | libc::O_CREAT | libc::O_EXCL;
    Do::Open { fd: 0, path: service.cpu(heap, name), flags, mode: 0o600 }
}

/// Allocates a buffer as file 0 of `program`, once there is room.
fn allocate_eventually(service: &Service, program: &Program, heap: HeapKind, name: &str) {
    service.eventually("there is room", || program.try_do(create(service, heap, name)).is_ok());
    program.does(Do::SetLen { fd: 0, size: SIZE as u64 });
}

#[test]
fn when_name_descriptor_and_mapping_are_gone() {
    Service::each_with(one_buffer(), |service| {
        for heap in MAPPABLE {
            let (user, other) = (service.program(), service.program());
            allocate_eventually(service, &user, heap, "b");
            let full = || other.fails(create(service, heap, "c")) == libc::EDQUOT;
            user.does(Do::Map { map: 0, fd: 0, offset: 0, len: SIZE, write: true });
            user.store(0, &[1; SIZE]);
            assert!(full(), "{heap}: it has a name, a descriptor and a mapping");
            user.does(Do::Unlink { path: service.cpu(heap, "b") });
            assert!(full(), "{heap}: it has a descriptor and a mapping");
            user.does(Do::Close { fd: 0 });
            // The service learns of the close a little later; while it is mapped that changes nothing.
            for _ in 0..50 {
                assert!(full(), "{heap}: it has a mapping");
            }
            user.does(Do::Unmap { map: 0 });
            allocate_eventually(service, &other, heap, "c");
            other.does(Do::Unlink { path: service.cpu(heap, "c") });
        }
    });
}

#[test]
fn when_the_last_mapping_only_reads() {
    Service::each_with(one_buffer(), |service| {
        for heap in MAPPABLE {
            let (user, other) = (service.program(), service.program());
            allocate_eventually(service, &user, heap, "b");
            user.does(Do::Open {
                fd: 1,
                path: service.cpu(heap, "b"),
                flags: libc::O_RDONLY,
                mode: 0,
            });
            user.does(Do::Map { map: 0, fd: 1, offset: 0, len: SIZE, write: false });
            user.does(Do::Unlink { path: service.cpu(heap, "b") });
            user.does(Do::Close { fd: 0 });
            user.does(Do::Close { fd: 1 });
            for _ in 0..50 {
                let full = other.fails(create(service, heap, "c"));
                assert_eq!(full, libc::EDQUOT, "{heap}: it has a mapping");
            }
            user.does(Do::Unmap { map: 0 });
            allocate_eventually(service, &other, heap, "c");
            other.does(Do::Unlink { path: service.cpu(heap, "c") });
        }
    });
}

#[test]
fn when_the_process_is_killed() {
    Service::each_with(one_buffer(), |service| {
        for heap in MAPPABLE {
            let user = service.program();
            allocate_eventually(service, &user, heap, "b");
            user.does(Do::Map { map: 0, fd: 0, offset: 0, len: SIZE, write: true });
            user.does(Do::Unlink { path: service.cpu(heap, "b") });
            user.kill();
            let other = service.program();
            allocate_eventually(service, &other, heap, "c");
            other.does(Do::Unlink { path: service.cpu(heap, "c") });
        }
    });
}

#[test]
fn each_user_has_his_own() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: only root can be several users");
        return;
    }
    Service::each_with(one_buffer(), |service| {
        let heap = HeapKind::Bounce;
        let (root, nobody) = (service.program(), service.program());
        nobody.does(Do::BecomeUser(NOBODY));
        root.does(create(service, heap, "root's"));
        root.does(Do::SetLen { fd: 0, size: SIZE as u64 });
        assert_eq!(root.fails(create(service, heap, "b")), libc::EDQUOT);
        nobody.does(create(service, heap, "nobody's"));
        assert_eq!(nobody.fails(Do::SetLen { fd: 0, size: SIZE as u64 + 4096 }), libc::EDQUOT);
        nobody.does(Do::SetLen { fd: 0, size: SIZE as u64 });
        assert_eq!(nobody.fails(create(service, heap, "c")), libc::EDQUOT);
        // Who unlinks it does not matter: it is the creator's.
        root.does(Do::Unlink { path: service.cpu(heap, "nobody's") });
        assert_eq!(nobody.fails(create(service, heap, "c")), libc::EDQUOT);
        nobody.does(Do::Close { fd: 0 });
        allocate_eventually(service, &nobody, heap, "c");
        assert_eq!(root.fails(create(service, heap, "b")), libc::EDQUOT);
    });
}
