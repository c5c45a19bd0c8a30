//! Permissions of buffers are those of files, on both sides.

use dmabuf_export::HeapKind;
use serde_json::Value;

use crate::program::{Do, Program};
use crate::service::{MAPPABLE, Service};

const SIZE: usize = 4 * 4096;
const NOBODY: u32 = 65534;

fn open(path: std::path::PathBuf, flags: i32) -> Do {
    Do::Open { fd: 1, path, flags, mode: 0 }
}

/// A program of root's with a buffer `b` of this mode, and one of nobody's.
fn two_users(service: &Service, heap: HeapKind, mode: u32) -> (Program, Program) {
    let (root, nobody) = (service.program(), service.program());
    nobody.does(Do::BecomeUser(NOBODY));
    let flags = libc::O_RDWR | libc::O_CREAT | libc::O_EXCL;
    root.does(Do::Open { fd: 0, path: service.cpu(heap, "b"), flags, mode: 0o600 });
    root.does(Do::SetLen { fd: 0, size: SIZE as u64 });
    use std::os::unix::fs::PermissionsExt;
    let permissions = std::fs::Permissions::from_mode(mode);
    std::fs::set_permissions(service.cpu(heap, "b"), permissions).unwrap();
    (root, nobody)
}

fn needs_root() -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        println!("skipped: only root can be several users");
    }
    is_root
}

#[test]
fn what_is_the_owners_is_closed_to_others_on_both_sides() {
    if !needs_root() {
        return;
    }
    Service::each(|service| {
        for heap in HeapKind::ALL {
            let (_root, nobody) = two_users(service, heap, 0o600);
            for path in [service.cpu(heap, "b"), service.device(heap, "b")] {
                for flags in [libc::O_RDONLY, libc::O_WRONLY, libc::O_RDWR] {
                    assert_eq!(nobody.fails(open(path.clone(), flags)), libc::EACCES, "{heap}");
                }
            }
            let unlink = Do::Unlink { path: service.cpu(heap, "b") };
            assert_eq!(nobody.fails(unlink), libc::EPERM, "{heap}: as in /tmp");
        }
    });
}

#[test]
fn what_may_be_read_can_be_mapped_for_loads() {
    if !needs_root() {
        return;
    }
    Service::each(|service| {
        for heap in MAPPABLE {
            let (_root, nobody) = two_users(service, heap, 0o644);
            for path in [service.cpu(heap, "b"), service.device(heap, "b")] {
                assert_eq!(nobody.fails(open(path.clone(), libc::O_RDWR)), libc::EACCES, "{heap}");
                nobody.does(open(path, libc::O_RDONLY));
            }
            nobody.does(open(service.cpu(heap, "b"), libc::O_RDONLY));
            let map = |write| Do::Map { map: 1, fd: 1, offset: 0, len: SIZE, write };
            assert_eq!(nobody.fails(map(true)), libc::EACCES, "{heap}");
            nobody.does(map(false));
            nobody.does(Do::Load { map: 1, offset: 0, len: SIZE });
        }
    });
}

#[test]
fn what_is_for_all_is_for_all() {
    if !needs_root() {
        return;
    }
    Service::each(|service| {
        for heap in MAPPABLE {
            let (root, nobody) = two_users(service, heap, 0o666);
            root.does(Do::Map { map: 0, fd: 0, offset: 0, len: SIZE, write: true });
            nobody.maps(&service.cpu(heap, "b"), SIZE);
            nobody.does(open(service.device(heap, "b"), libc::O_RDWR));
            nobody.sync(2);
            nobody.store(0, &[1; SIZE]);
            nobody.sync(6);
            root.sync(1);
            assert_eq!(root.load(0, SIZE), [1; SIZE], "{heap}");
            root.sync(5);
        }
    });
}

#[test]
fn the_statistics_tell_each_user_of_what_is_his() {
    if !needs_root() {
        return;
    }
    let Some(service) = Service::start() else { return };
    let heap = HeapKind::Tracked;
    let (root, nobody) = two_users(&service, heap, 0o666);
    let flags = libc::O_RDWR | libc::O_CREAT | libc::O_EXCL;
    nobody.does(Do::Open { fd: 0, path: service.cpu(heap, "his"), flags, mode: 0o600 });
    nobody.does(Do::SetLen { fd: 0, size: SIZE as u64 });
    let files = |program: &Program| -> Vec<String> {
        let json = program.does(Do::Read { path: service.path().join("stats.json") });
        let stats: Value = serde_json::from_str(json.as_str().expect("text")).expect("JSON");
        let buffers = stats["buffers"].as_array().expect("a list").iter();
        buffers.map(|buffer| buffer["file"].as_str().expect("a name").to_owned()).collect()
    };
    assert_eq!(files(&root), ["b", "his"]);
    assert_eq!(files(&nobody), ["his"]);
}
