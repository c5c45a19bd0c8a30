//! The service comes and goes without a trace, whoever uses it.

use std::ffi::CString;
use std::fs::Permissions;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;

use dmabuf_export::HeapKind;
use dmabuf_uapi::*;
use rustix::process::Signal;

use crate::program::{Do, Program};
use crate::service::{MAPPABLE, Service, Setup, device_read, is_mounted, service_command};
use crate::sys;

const SIZE: usize = 64 * 4096;
const START: u64 = DMA_BUF_SYNC_START | DMA_BUF_SYNC_RW;
const END: u64 = DMA_BUF_SYNC_END | DMA_BUF_SYNC_RW;

/// A buffer of every heap, open and mapped by a program of its own, in a bracket.
fn in_use(service: &Service) -> Vec<Program> {
    let using = |heap| {
        drop(service.allocate(heap, "b", SIZE as u64));
        let program = service.program();
        program.maps(&service.cpu(heap, "b"), SIZE);
        program.sync(START);
        (0..SIZE).step_by(4096).for_each(|page| program.store(page, b"x"));
        program
    };
    MAPPABLE.map(using).into()
}

#[test]
fn sigterm_and_sigint_end_it_with_success() {
    for signal in [Signal::TERM, Signal::INT] {
        let Some(mut service) = Service::start() else { return };
        service.signal(signal);
        assert_eq!(service.wait().and_then(|status| status.code()), Some(0), "{signal:?}");
        assert!(!service.is_mounted());
    }
}

#[test]
fn also_while_programs_have_buffers_open_and_mapped() {
    for passthrough in [true, false] {
        for signal in [Signal::TERM, Signal::INT] {
            let setup = Setup { passthrough, ..Setup::default() };
            let Some(mut service) = Service::with(setup) else { return };
            let programs = in_use(&service);
            service.signal(signal);
            assert_eq!(service.wait().and_then(|status| status.code()), Some(0), "{signal:?}");
            assert!(!service.is_mounted());
            for program in &programs {
                let error = program.try_sync(END).unwrap_err().raw_os_error();
                assert_eq!(error, Some(libc::ENOTCONN));
            }
        }
    }
}

#[test]
fn also_while_brackets_end() {
    for _ in 0..10 {
        let Some(mut service) = Service::with(Setup { threads: 2, ..Setup::default() }) else {
            return;
        };
        let programs = in_use(&service);
        for program in &programs {
            let argument = END.to_ne_bytes().to_vec();
            program.order(Do::Ioctl { fd: 0, command: DMA_BUF_IOCTL_SYNC, argument });
        }
        service.signal(Signal::TERM);
        assert_eq!(service.wait().and_then(|status| status.code()), Some(0));
        assert!(!service.is_mounted());
    }
}

#[test]
fn a_mount_that_a_dead_service_left_is_taken_over() {
    for with_users in [false, true] {
        let Some(mut dead) = Service::start() else { return };
        let programs = if with_users { in_use(&dead) } else { Vec::new() };
        dead.signal(Signal::KILL);
        assert!(dead.wait().is_some(), "it is dead");
        assert!(dead.is_mounted(), "its mount is not");
        let service = Service::at(dead.path(), Setup::default()).expect("the mount is taken over");
        let _file = service.allocate(HeapKind::Tracked, "b", 4096);
        assert_eq!(device_read(&service.attach(HeapKind::Tracked, "b"), 0, 8), [0; 8]);
        drop((service, programs));
        assert!(!dead.is_mounted());
    }
}

#[test]
fn a_mount_whose_service_died_in_the_middle_of_an_end_is_taken_over() {
    for _ in 0..10 {
        let Some(mut dead) = Service::with(Setup { threads: 2, ..Setup::default() }) else {
            return;
        };
        let programs = in_use(&dead);
        for program in &programs {
            let argument = END.to_ne_bytes().to_vec();
            program.order(Do::Ioctl { fd: 0, command: DMA_BUF_IOCTL_SYNC, argument });
        }
        dead.signal(Signal::KILL);
        let service = Service::at(dead.path(), Setup::default()).expect("the mount is taken over");
        assert!(dead.wait().is_some(), "it is dead");
        drop((service, programs));
        assert!(!dead.is_mounted());
    }
}

#[test]
fn a_second_service_does_not_start_where_one_is() {
    let Some(service) = Service::start() else { return };
    let _file = service.allocate(HeapKind::Coherent, "b", 4096);
    let refused = Service::at(service.path(), Setup::default()).unwrap_err();
    assert!(refused.contains("is served already"), "{refused}");
    assert_eq!(service.buffers(), 1, "the first one goes on");
}

#[test]
fn it_ends_when_somebody_else_unmounts_it() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: only root can unmount");
        return;
    }
    let Some(mut service) = Service::start() else { return };
    rustix::mount::unmount(service.path(), rustix::mount::UnmountFlags::empty()).unwrap();
    assert_eq!(service.wait().and_then(|status| status.code()), Some(0));
}

#[test]
fn it_does_not_mount_where_it_cannot() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    for path in [file.join("in a file"), folder.path().join("no/such/folder"), file] {
        let refused = Service::at(&path, Setup::default()).unwrap_err();
        assert!(refused.starts_with("cannot mount on "), "{refused}");
        assert!(!is_mounted(&path));
    }
}

#[test]
fn a_place_with_spaces_and_backslashes_is_a_place() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a b\\040\tc");
    let Ok(service) = Service::at(&path, Setup::default()) else {
        return println!("skipped: cannot use FUSE");
    };
    let refused = Service::at(&path, Setup::default()).unwrap_err();
    assert!(refused.contains("is served already"), "{refused}");
    assert_eq!(service.buffers(), 0);
}

const NOBODY: u32 = 65534;

#[test]
fn a_plain_user_serves_through_fusermount() {
    if !rustix::process::geteuid().is_root() {
        return println!("skipped: only root can become another user");
    }
    if Command::new("fusermount3").arg("--version").output().is_err() {
        return println!("skipped: fusermount3 is missing (Debian: fuse3)");
    }
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(&folder, Permissions::from_mode(0o777)).unwrap();
    // /dev/fuse as most distributions have it: for all.
    let (device, path) = (folder.path().join("fuse"), folder.path().join("mnt"));
    let Ok(fuse) = std::fs::metadata("/dev/fuse") else { return println!("skipped: no /dev/fuse") };
    let character = rustix::fs::FileType::CharacterDevice;
    let mode = rustix::fs::Mode::from_raw_mode(0o666);
    rustix::fs::mknodat(rustix::fs::CWD, &device, character, mode, fuse.rdev()).unwrap();
    std::fs::set_permissions(&device, Permissions::from_mode(0o666)).unwrap();
    let device = CString::new(device.as_os_str().as_bytes()).unwrap();

    let mut command = service_command(&path);
    sys::before_exec(&mut command, move || {
        sys::replace_dev_fuse(&device)?;
        sys::become_user(NOBODY)
    });
    let mut service = match Service::spawn(command, &path, Setup::default()) {
        Ok(service) => service,
        Err(why) if why.contains("cannot use FUSE") => return println!("skipped: {why}"),
        Err(why) => panic!("{why}"),
    };
    // Nobody but this user reaches it, and it is mounted where only it is.
    let mount = format!("/proc/{}/root{}", service.pid(), path.display());
    let mount = Path::new(&mount);
    let user = service.program();
    user.does(Do::BecomeUser(NOBODY));
    for heap in MAPPABLE {
        // Of the second one the service itself may not open the CPU side.
        for (name, mode) in [("b", 0o600), ("c", 0o400)] {
            let cpu = mount.join(heap.name()).join(name);
            let device = mount.join("device").join(heap.name()).join(name);
            let flags = libc::O_RDWR | libc::O_CREAT | libc::O_EXCL;
            user.does(Do::Open { fd: 0, path: cpu, flags, mode });
            user.does(Do::SetLen { fd: 0, size: SIZE as u64 });
            user.does(Do::Map { map: 0, fd: 0, offset: 0, len: SIZE, write: true });
            user.does(Do::Open { fd: 1, path: device, flags: libc::O_RDONLY, mode: 0 });
            for round in 1..4 {
                user.sync(START);
                user.store(4096, &[round; 100]);
                user.sync(END);
                let seen = user.does(Do::Pread { fd: 1, offset: 4096, len: 100 });
                assert_eq!(seen, serde_json::json!(vec![round; 100]), "{heap} {name}");
            }
        }
    }
    let stats = user.does(Do::Read { path: mount.join("stats.json") });
    assert_eq!(stats.as_str().unwrap().matches("\"inode\"").count(), 8);
    service.signal(Signal::TERM);
    assert_eq!(service.wait().and_then(|status| status.code()), Some(0));
    assert!(user.try_sync(START).is_err());
}
