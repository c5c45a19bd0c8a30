//! Bad input gets the errno that mainline's dma-buf gives for it, and changes nothing.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::FileExt;

use dmabuf_export::{HeapKind, Quota};
use dmabuf_uapi::*;
use rustix::mm::ProtFlags;

use crate::service::{Service, Setup, contents, device_read};
use crate::sys::{self, Map};

const PAGE: u64 = 4096;
const SIZE: u64 = 4 * PAGE;
const RW: ProtFlags = ProtFlags::READ.union(ProtFlags::WRITE);

#[track_caller]
fn refused<T: std::fmt::Debug>(result: io::Result<T>, errno: i32) {
    match result {
        Ok(value) => panic!("not refused: {value:?}"),
        Err(error) => assert_eq!(error.raw_os_error(), Some(errno), "{error}"),
    }
}

fn sync(fd: impl AsFd, flags: u64) -> io::Result<()> {
    sys::ioctl(fd, DMA_BUF_IOCTL_SYNC, &mut flags.to_ne_bytes())
}

/// Both sides of a buffer of every heap, and the CPU sides of those that have one.
fn sides(service: &Service) -> Vec<(HeapKind, File, File)> {
    HeapKind::ALL
        .map(|heap| {
            let cpu = service.allocate(heap, "b", SIZE);
            (heap, cpu, service.attach(heap, "b"))
        })
        .into()
}

#[test]
fn sync_takes_the_flags_that_mainline_takes() {
    Service::each(|service| {
        for (heap, cpu, device) in sides(service) {
            let high = [1 << 3, 1 << 32, 1 << 63, !7].map(|bit| bit | 1);
            // The CPU side first: a device that has begun makes it wait.
            for side in [&cpu, &device] {
                for flags in (0..16).chain(high).chain([u64::MAX]) {
                    let valid = [1, 2, 3, 5, 6, 7].contains(&flags);
                    let result = sync(side, flags);
                    if valid && !(heap == HeapKind::Unmappable && std::ptr::eq(side, &cpu)) {
                        result.unwrap_or_else(|error| panic!("{heap} {flags}: {error}"));
                    } else {
                        refused(result, libc::EINVAL);
                    }
                }
            }
        }
    });
}

#[test]
fn ranges_lie_in_the_buffer() {
    Service::each(|service| {
        for (heap, cpu, device) in sides(service) {
            if heap == HeapKind::Unmappable {
                continue;
            }
            let range = |side: &File, flags: u64, offset: u64, len: u64| {
                let mut argument = [flags, offset, len].map(u64::to_ne_bytes).concat();
                sys::ioctl(side, DMA_BUF_IOCTL_SYNC_RANGE, &mut argument)
            };
            let partial = |side: &File, flags: u64, offset: u32, len: u32| {
                let mut argument = flags.to_ne_bytes().to_vec();
                argument.extend([offset, len].map(u32::to_ne_bytes).concat());
                sys::ioctl(side, DMA_BUF_IOCTL_SYNC_PARTIAL, &mut argument)
            };
            for side in [&cpu, &device] {
                for flags in [DMA_BUF_SYNC_START | 3, DMA_BUF_SYNC_END | 3] {
                    range(side, flags, 1, 7).unwrap();
                    range(side, flags, SIZE - 1, 1).unwrap();
                    partial(side, flags, 0, SIZE as u32).unwrap();
                    for (offset, len) in
                        [(0, 0), (0, SIZE + 1), (SIZE, 1), (u64::MAX, 2), (1, u64::MAX)]
                    {
                        refused(range(side, flags, offset, len), libc::EINVAL);
                    }
                    refused(partial(side, flags, SIZE as u32, 1), libc::EINVAL);
                    refused(partial(side, flags, u32::MAX, u32::MAX), libc::EINVAL);
                    refused(partial(side, flags, 0, 0), libc::EINVAL);
                }
                refused(range(side, 0, 0, 8), libc::EINVAL);
                refused(partial(side, 8 | 1, 0, 8), libc::EINVAL);
            }
        }
    });
}

#[test]
fn unknown_ioctls_and_other_sizes_are_not_ours() {
    Service::each(|service| {
        for (_, cpu, device) in sides(service) {
            for side in [&cpu, &device] {
                let wrong_size = iow::<u32>(DMA_BUF_BASE, 0);
                for command in [wrong_size, io(DMA_BUF_BASE, 0x77), 0x6299, 0, u32::MAX] {
                    refused(sys::ioctl(side, command, &mut [0; 1 << 14]), libc::ENOTTY);
                }
                // Fences live in the kernel.
                refused(
                    sys::ioctl(side, DMA_BUF_IOCTL_EXPORT_SYNC_FILE, &mut [0; 8]),
                    libc::ENOTTY,
                );
                refused(
                    sys::ioctl(side, DMA_BUF_IOCTL_IMPORT_SYNC_FILE, &mut [0; 8]),
                    libc::ENOTTY,
                );
                for command in
                    [DMA_BUF_IOCTL_SYNC, DMA_BUF_IOCTL_SYNC_RANGE, DMA_BUF_IOCTL_SYNC_PARTIAL]
                {
                    refused(sys::ioctl_null(side, command), libc::EFAULT);
                }
                refused(sys::ioctl_null(side, DMA_BUF_IOCTL_QUERY), libc::EFAULT);
                refused(sys::ioctl_null(side, DMA_BUF_SET_NAME_B), libc::EFAULT);
            }
        }
    });
}

#[test]
fn files_that_are_no_buffers_know_no_ioctl() {
    let Some(service) = Service::start() else { return };
    let path = service.path();
    for path in ["", "coherent", "device", "device/bounce", "stats.json"].map(|p| path.join(p)) {
        let file = File::open(&path).unwrap();
        refused(sync(&file, 1), libc::ENOTTY);
        refused(sys::ioctl(&file, DMA_BUF_IOCTL_QUERY, &mut [0; 120]), libc::ENOTTY);
    }
}

#[test]
fn a_file_without_its_size_is_no_buffer_yet() {
    Service::each(|service| {
        for heap in HeapKind::ALL {
            let file = service.create(heap, "b").unwrap();
            refused(sync(&file, 1), libc::EINVAL);
            refused(sys::ioctl(&file, DMA_BUF_IOCTL_QUERY, &mut [0; 120]), libc::EINVAL);
            refused(File::open(service.device(heap, "b")), libc::EINVAL);
            let client = dmabuf::DmaBuf::from_fd(file.into()).unwrap();
            assert!(client.map().is_err());
        }
    });
}

#[test]
fn a_size_is_given_once_and_stays() {
    Service::each(|service| {
        for heap in HeapKind::ALL {
            let file = service.create(heap, "b").unwrap();
            for (size, errno) in [
                (0, libc::EINVAL),
                (1, libc::EINVAL),
                (PAGE + 1, libc::EINVAL),
                (1 << 50, libc::ENOMEM),
                (1 << 62, libc::ENOMEM),
                (i64::MAX as u64 & !(PAGE - 1), libc::ENOMEM),
            ] {
                let result = rustix::fs::ftruncate(&file, size).map_err(io::Error::from);
                match result.as_ref().map_err(io::Error::raw_os_error) {
                    // The kernel itself knows no file that large.
                    Err(Some(libc::EFBIG | libc::EDQUOT)) if size >= 1 << 50 => {}
                    _ => refused(result, errno),
                }
                assert_eq!(file.metadata().unwrap().len(), 0);
            }
            // None of them was the once.
            file.set_len(SIZE).unwrap();
            for size in [SIZE, SIZE + PAGE, PAGE, 0] {
                refused(file.set_len(size), libc::EINVAL);
            }
            let path = service.cpu(heap, "b");
            refused(File::options().write(true).truncate(true).open(&path), libc::EINVAL);
            refused(File::create(&path), libc::EINVAL);
            refused(File::options().write(true).open(&path).unwrap().set_len(PAGE), libc::EINVAL);
            let device = File::options().write(true).open(service.device(heap, "b")).unwrap();
            refused(device.set_len(PAGE), libc::EINVAL);
            assert_eq!(file.metadata().unwrap().len(), SIZE);
            if heap != HeapKind::Unmappable {
                let map = Map::new(&file, 0, SIZE as usize, RW).unwrap();
                assert!(map.load(0, SIZE as usize).iter().all(|&byte| byte == 0), "it is zeroed");
            }
            let device = service.attach(heap, "b");
            assert!(device_read(&device, 0, SIZE as usize).iter().all(|&byte| byte == 0));
        }
    });
}

#[test]
fn over_the_quota_is_edquot() {
    let setup = Setup { quota: Quota { bytes: 4 * SIZE, buffers: 3 }, ..Setup::default() };
    Service::each_with(setup, |service| {
        let file = service.create(HeapKind::Coherent, "a").unwrap();
        refused(file.set_len(5 * SIZE), libc::EDQUOT);
        file.set_len(2 * SIZE).unwrap();
        // Two memories count twice.
        let file = service.create(HeapKind::Bounce, "b").unwrap();
        refused(file.set_len(SIZE + PAGE), libc::EDQUOT);
        file.set_len(SIZE).unwrap();
        let _file = service.create(HeapKind::Unmappable, "c").unwrap();
        refused(service.create(HeapKind::Tracked, "d"), libc::EDQUOT);
    });
}

#[test]
fn mappings_lie_in_the_buffer_when_the_client_makes_them() {
    Service::each(|service| {
        for heap in [HeapKind::Coherent, HeapKind::Tracked] {
            let buffer = dmabuf::DmaBuf::from_fd(service.allocate(heap, "b", SIZE).into()).unwrap();
            let past = dmabuf::MapOptions::new().range(..SIZE + 1);
            let error = buffer.map_with(&past).unwrap_err();
            assert!(matches!(error, dmabuf::Error::OutOfBounds { .. }), "{error}");
            let mapping = buffer.map().unwrap();
            assert!(mapping.read(..SIZE + 1).is_err());
        }
    });
}

#[test]
fn what_cannot_be_mapped_says_so() {
    Service::each(|service| {
        for heap in crate::service::MAPPABLE {
            let file = service.allocate(heap, "b", SIZE);
            refused(Map::new(&file, 1, 4096, RW), libc::EINVAL);
            refused(Map::new(&file, 0, 0, RW), libc::EINVAL);
            let read_only = File::open(service.cpu(heap, "b")).unwrap();
            Map::new(&read_only, 0, 4096, ProtFlags::READ).unwrap();
            refused(Map::new(&read_only, 0, 4096, RW), libc::EACCES);
            // As on a kernel dma-buf: the call does no harm, since nothing can have been stored.
            sync(&read_only, DMA_BUF_SYNC_START | DMA_BUF_SYNC_WRITE).unwrap();
            sync(&read_only, DMA_BUF_SYNC_END | DMA_BUF_SYNC_WRITE).unwrap();
            let exec = ProtFlags::READ | ProtFlags::EXEC;
            refused(Map::new(&file, 0, 4096, exec), libc::EPERM);
            refused(Map::new(service.attach(heap, "b"), 0, 4096, RW), libc::ENODEV);
        }
        let file = service.allocate(HeapKind::Unmappable, "b", SIZE);
        refused(Map::new(&file, 0, 4096, RW), libc::ENODEV);
        refused(Map::new(&file, 0, 4096, ProtFlags::READ), libc::ENODEV);
        let buffer = dmabuf::DmaBuf::from_fd(file.into()).unwrap();
        assert_eq!(buffer.capability().mmap, Some(dmabuf::Mmap::Never));
        let error = buffer.map().unwrap_err();
        assert!(matches!(error, dmabuf::Error::Unmappable { .. }), "{error}");
    });
}

#[test]
fn a_write_is_refused_and_stores_nothing() {
    Service::each(|service| {
        for heap in HeapKind::ALL {
            let file = service.allocate(heap, "b", SIZE);
            let map = (heap != HeapKind::Unmappable)
                .then(|| Map::new(&file, 0, SIZE as usize, RW).unwrap());
            if let Some(map) = &map {
                sync(&file, 3).unwrap();
                map.store(0, &[7; 64]);
                sync(&file, 7).unwrap();
            }
            refused(file.write_at(b"written", 8), libc::EINVAL);
            refused(file.write_at(&[9; 4 * 4096], 0), libc::EINVAL);
            if let Some(map) = &map {
                let expected = [[7; 64], [0; 64]].concat();
                sync(&file, 1).unwrap();
                assert_eq!(map.load(0, 128), expected, "{heap}: the program's view");
                sync(&file, 5).unwrap();
                let device = service.attach(heap, "b");
                assert_eq!(device_read(&device, 0, 128), expected, "{heap}: the device's view");
            }
        }
    });
}

#[test]
fn a_name_is_taken_whole_or_refused() {
    let Some(service) = Service::start() else { return };
    for heap in HeapKind::ALL {
        let file = service.allocate(heap, heap.name(), SIZE);
        let told = || service.stats_of(heap.name())["name"].clone();
        let name = |text: &[u8]| {
            let mut argument = [0; 64];
            argument[..text.len()].copy_from_slice(text);
            sys::ioctl(&file, DMA_BUF_SET_NAME_B, &mut argument)
        };
        name(b"camera7").unwrap();
        assert_eq!(told(), "camera7");
        refused(name(b"a longer name"), libc::EINVAL);
        refused(name(b"\xff"), libc::EINVAL);
        assert_eq!(told(), "camera7");
        name(b"").unwrap();
        assert_eq!(told(), "");
        let mut short = *b"abc\0";
        sys::ioctl(&file, DMA_BUF_SET_NAME_A, &mut short).unwrap();
        assert_eq!(told(), "abc");
    }
}

#[test]
fn odd_file_names_are_names() {
    let Some(service) = Service::start() else { return };
    let heap = service.path().join("coherent");
    let names = [
        OsString::from("x".repeat(255)),
        OsString::from_vec(vec![b'n', 0xff, 0xfe]),
        OsString::from("\"quoted\" \\ \n\u{7f} line"),
        OsString::from("-rf"),
        OsString::from(".buffers"),
        OsString::from("stats.json"),
    ];
    for name in &names {
        let file = File::options().write(true).create_new(true).open(heap.join(name)).unwrap();
        file.set_len(PAGE).unwrap();
    }
    let too_long = heap.join("x".repeat(256));
    refused(File::create(too_long), libc::ENAMETOOLONG);
    let mut listed: Vec<_> =
        std::fs::read_dir(&heap).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    listed.sort();
    let mut expected = names.to_vec();
    expected.sort();
    assert_eq!(listed, expected);
    let stats = service.stats();
    let told: Vec<_> = stats["buffers"].as_array().unwrap().iter().map(|b| &b["file"]).collect();
    assert!(told.iter().any(|name| **name == *names[2].to_str().unwrap()));
    assert!(told.iter().any(|name| **name == "n\u{fffd}\u{fffd}"));
    names.iter().for_each(|name| std::fs::remove_file(heap.join(name)).unwrap());
    assert_eq!(std::fs::read_dir(&heap).unwrap().count(), 0);
}

#[test]
fn the_folders_are_what_they_are() {
    let Some(service) = Service::start() else { return };
    let root = service.path();
    let (heap, device) = (root.join("bounce"), root.join("device/bounce"));
    let _file = service.allocate(HeapKind::Bounce, "b", SIZE);
    for folder in [root.to_owned(), root.join("device"), heap.clone(), device.clone()] {
        refused(std::fs::create_dir(folder.join("new")), libc::EPERM);
        refused(std::os::unix::fs::symlink("x", folder.join("new")), libc::EPERM);
        let fifo = rustix::fs::mkfifoat(
            rustix::fs::CWD,
            folder.join("new"),
            rustix::fs::Mode::from_raw_mode(0o600),
        );
        refused(fifo.map_err(io::Error::from), libc::EPERM);
        refused(std::fs::hard_link(heap.join("b"), folder.join("new")), libc::EPERM);
        refused(std::fs::rename(heap.join("b"), folder.join("new")), libc::EPERM);
        if folder != heap {
            refused(File::create(folder.join("new")), libc::EPERM);
        }
    }
    refused(std::fs::remove_dir(&heap), libc::EPERM);
    refused(std::fs::remove_file(device.join("b")), libc::EPERM);
    refused(std::fs::remove_file(root.join("stats.json")), libc::EPERM);
    refused(File::create(root.join("stats.json")), libc::EPERM);
    let stats = File::options().append(true).open(root.join("stats.json"));
    // Root may open what has no write permission.
    if let Ok(stats) = stats {
        refused(io::Write::write(&mut &stats, b"x"), libc::EINVAL);
    }
    refused(File::open(root.join(".buffers")), libc::ENOENT);
    refused(File::open(heap.join("none")), libc::ENOENT);
    refused(std::fs::remove_file(heap.join("none")), libc::ENOENT);
    refused(service.create(HeapKind::Bounce, "b"), libc::EEXIST);
    refused(File::options().write(true).open(&heap), libc::EISDIR);
}

#[test]
fn a_device_reads_and_writes_inside_of_the_buffer() {
    Service::each(|service| {
        for (heap, _cpu, device) in sides(service) {
            assert_eq!(contents(&device).unwrap().len() as u64, SIZE, "{heap}");
            assert_eq!(device.read_at(&mut [0; 8], SIZE).unwrap(), 0);
            assert_eq!(device.read_at(&mut [0; 8], SIZE - 4).unwrap(), 4);
            assert_eq!(device.write_at(&[1; 8], SIZE - 4).unwrap(), 4);
            refused(device.write_at(&[1; 8], SIZE), libc::ENOSPC);
            assert_eq!(device.metadata().unwrap().len(), SIZE);
            let path = service.device(heap, "b");
            let reader = File::open(&path).unwrap();
            refused(reader.write_at(&[1], 0), libc::EBADF);
            let writer = File::options().write(true).open(&path).unwrap();
            refused(writer.read_at(&mut [0], 0), libc::EBADF);
            // A device that only reads begins no write.
            refused(sync(&reader, DMA_BUF_SYNC_START | DMA_BUF_SYNC_WRITE), libc::EACCES);
            refused(sync(&writer, DMA_BUF_SYNC_START | DMA_BUF_SYNC_READ), libc::EACCES);
            let appending = File::options().append(true).open(&path).unwrap();
            refused(io::Write::write(&mut &appending, b"x"), libc::ENOSPC);
        }
    });
}
