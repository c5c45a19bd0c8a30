//! A buffer lives as long as its name, a descriptor or a mapping, however a process came by them;
//! then its memory is free.

use std::fs::{self, File};
use std::io::Write;

use dmabuf_export::{HeapKind, Quota};
use dmabuf_uapi::*;

use crate::program::Do;
use crate::service::{MAPPABLE, Service, Setup, device_read};

const SIZE: usize = 4 * 4096;
const START: u64 = DMA_BUF_SYNC_START | DMA_BUF_SYNC_RW;
const END: u64 = DMA_BUF_SYNC_END | DMA_BUF_SYNC_RW;

#[test]
fn every_descriptor_is_the_buffer() {
    Service::each(|service| {
        for heap in MAPPABLE {
            let file = service.allocate(heap, "b", SIZE as u64);
            let device = service.attach(heap, "b");
            let (a, b) = (service.program(), service.program());
            a.maps(&service.cpu(heap, "b"), SIZE);
            a.does(Do::Dup { fd: 0, to: 1 });
            a.does(Do::Close { fd: 0 });
            a.does(Do::Dup { fd: 1, to: 0 });
            b.send(&file, 0);
            b.does(Do::Map { map: 0, fd: 0, offset: 0, len: SIZE, write: true });
            drop(file);
            for (program, value) in [(&a, 1), (&b, 2), (&a, 3)] {
                program.sync(START);
                program.store(0, &[value; SIZE]);
                program.sync(END);
                assert_eq!(device_read(&device, 0, SIZE), [value; SIZE], "{heap}");
            }
            b.sync(START);
            assert_eq!(b.load(0, SIZE), [3; SIZE], "{heap}");
            b.sync(END);
        }
    });
}

#[test]
fn an_unlinked_buffer_works_until_it_is_closed() {
    Service::each(|service| {
        for heap in MAPPABLE {
            let file = service.allocate(heap, "b", SIZE as u64);
            let device = service.attach(heap, "b");
            let program = service.program();
            program.maps(&service.cpu(heap, "b"), SIZE);
            std::fs::remove_file(service.cpu(heap, "b")).unwrap();
            assert!(!service.device(heap, "b").exists());
            // The name is free, and the buffer is another one.
            drop(service.allocate(heap, "b", 4096));
            program.sync(START);
            program.store(0, &[1; SIZE]);
            program.sync(END);
            assert_eq!(device_read(&device, 0, SIZE), [1; SIZE], "{heap}");
            assert_eq!(file.metadata().unwrap().len(), SIZE as u64);
            assert_eq!(service.buffers(), 2, "{heap}");
            std::fs::remove_file(service.cpu(heap, "b")).unwrap();
            drop((file, device, program));
            service.eventually("the buffers are gone", || service.buffers() == 0);
        }
    });
}

#[test]
fn a_mapping_outlives_its_descriptor() {
    Service::each(|service| {
        for heap in MAPPABLE {
            drop(service.allocate(heap, "b", SIZE as u64));
            let program = service.program();
            program.maps(&service.cpu(heap, "b"), SIZE);
            program.sync(START);
            program.store(0, &[1; SIZE]);
            program.sync(END);
            program.does(Do::Close { fd: 0 });
            std::fs::remove_file(service.cpu(heap, "b")).unwrap();
            let stray = heap == HeapKind::Checked;
            assert_eq!(program.load(0, SIZE), [1; SIZE], "{heap}, reported: {stray}");
            program.store(0, &[2; SIZE]);
            assert_eq!(program.load(0, SIZE), [2; SIZE], "{heap}");
            program.does(Do::Unmap { map: 0 });
            service.eventually("the buffer is gone", || service.buffers() == 0);
        }
    });
}

#[test]
fn a_buffer_with_a_name_waits_for_who_opens_it_next() {
    Service::each(|service| {
        for heap in MAPPABLE {
            drop(service.allocate(heap, "b", SIZE as u64));
            for value in 1..4 {
                let program = service.program();
                program.maps(&service.cpu(heap, "b"), SIZE);
                program.sync(START);
                assert_eq!(program.load(0, SIZE), [value - 1; SIZE], "{heap}");
                program.store(0, &[value; SIZE]);
                program.sync(END);
            }
            let device = service.attach(heap, "b");
            assert_eq!(device_read(&device, 0, SIZE), [3; SIZE], "{heap}");
        }
    });
}

#[test]
fn the_service_keeps_no_descriptor_of_what_is_gone() {
    Service::each_with(
        Setup { quota: Quota { bytes: 1 << 30, buffers: 8 }, ..Setup::default() },
        |service| {
            let descriptors =
                || std::fs::read_dir(format!("/proc/{}/fd", service.pid())).unwrap().count();
            let use_all = || {
                for heap in HeapKind::ALL {
                    let file = service.allocate(heap, "b", SIZE as u64);
                    let _device = service.attach(heap, "b");
                    let program = service.program();
                    if heap != HeapKind::Unmappable {
                        program.maps(&service.cpu(heap, "b"), SIZE);
                        program.sync(START);
                        program.store(0, b"x");
                    }
                    program.kill();
                    std::fs::remove_file(service.cpu(heap, "b")).unwrap();
                    drop(file);
                }
                service.eventually("the buffers are gone", || service.buffers() == 0);
            };
            use_all();
            let before = descriptors();
            (0..5).for_each(|_| use_all());
            // Some processes that are gone are not forgotten yet.
            assert!(descriptors() < before + 64, "{} after {before}", descriptors());
        },
    );
}

/// Whoever removes what a folder lists removes all of it, as `rm -r` does.
#[test]
fn a_listing_misses_nothing_while_files_go() {
    Service::each(|service| {
        for name in 0..600 {
            drop(service.create(HeapKind::Coherent, &name.to_string()).unwrap());
        }
        let folder = service.cpu(HeapKind::Coherent, "");
        for entry in fs::read_dir(&folder).unwrap() {
            fs::remove_file(entry.unwrap().path()).unwrap();
        }
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
    });
}

/// `> device` opens with O_TRUNC; a device has no size that it could cut.
#[test]
fn a_shell_can_write_to_a_device() {
    Service::each(|service| {
        let cpu = service.allocate(HeapKind::Bounce, "b", 4096);
        let device = service.device(HeapKind::Bounce, "b");
        let written = File::options().write(true).truncate(true).open(&device);
        written.unwrap().write_all(b"frame").unwrap();
        assert_eq!(fs::read(&device).unwrap()[..5], *b"frame");
        drop(cpu);
    });
}
