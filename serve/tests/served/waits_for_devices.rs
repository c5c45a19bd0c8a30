//! A bracket waits for the device accesses that conflict with it, and for no others.

use std::fs::File;

use dmabuf_uapi::*;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::program::Do;
use crate::service::{MAPPABLE, Service, device_read, device_write};
use crate::sys;

const SIZE: usize = 4 * 4096;
const START: u64 = DMA_BUF_SYNC_START;
const END: u64 = DMA_BUF_SYNC_END;
const READ: u64 = DMA_BUF_SYNC_READ;
const WRITE: u64 = DMA_BUF_SYNC_WRITE;
const RW: u64 = DMA_BUF_SYNC_RW;

fn sync(device: &File, flags: u64) {
    sys::ioctl(device, DMA_BUF_IOCTL_SYNC, &mut flags.to_ne_bytes()).expect("a device never waits");
}

#[test]
fn while_a_device_writes() {
    Service::each(|service| {
        for heap in MAPPABLE {
            let _file = service.allocate(heap, "b", SIZE as u64);
            let (device, program) = (service.attach(heap, "b"), service.program());
            program.maps(&service.cpu(heap, "b"), SIZE);
            sync(&device, START | WRITE);
            for access in [READ, WRITE, RW] {
                let busy = program.try_sync(START | access).unwrap_err();
                assert_eq!(busy.raw_os_error(), Some(libc::EAGAIN), "{heap}");
            }
            device_write(&device, 0, &[1; SIZE]);
            sync(&device, END | WRITE);
            program.try_sync(START | READ).expect("the device is at rest");
            assert_eq!(program.load(0, SIZE), [1; SIZE], "{heap}");
            program.sync(END | READ);
        }
    });
}

#[test]
fn readers_do_not_wait_for_a_device_that_reads() {
    Service::each(|service| {
        for heap in MAPPABLE {
            let _file = service.allocate(heap, "b", SIZE as u64);
            let (device, program) = (service.attach(heap, "b"), service.program());
            program.maps(&service.cpu(heap, "b"), SIZE);
            sync(&device, START | READ);
            program.try_sync(START | READ).expect("two that read do not conflict");
            program.sync(END | READ);
            let busy = program.try_sync(START | WRITE).unwrap_err();
            assert_eq!(busy.raw_os_error(), Some(libc::EAGAIN), "{heap}");
            device_read(&device, 0, SIZE);
            sync(&device, END | READ);
            program.try_sync(START | WRITE).expect("the device is at rest");
            program.sync(END | WRITE);
        }
    });
}

#[test]
fn only_where_the_device_is_at_it() {
    Service::each(|service| {
        for heap in MAPPABLE {
            let _file = service.allocate(heap, "b", SIZE as u64);
            let (device, program) = (service.attach(heap, "b"), service.program());
            program.maps(&service.cpu(heap, "b"), SIZE);
            let mut range = [START | WRITE, 0, 4096].map(u64::to_ne_bytes).concat();
            sys::ioctl(&device, DMA_BUF_IOCTL_SYNC_RANGE, &mut range).unwrap();
            program.sync_range(START | RW, 4096, 4096);
            program.sync_range(END | RW, 4096, 4096);
            let busy = program.try_sync(START | RW).unwrap_err();
            assert_eq!(busy.raw_os_error(), Some(libc::EAGAIN), "{heap}");
        }
    });
}

#[test]
fn a_bracket_that_waits_begins_when_the_device_ends() {
    Service::each(|service| {
        for heap in MAPPABLE {
            let _file = service.allocate(heap, "b", SIZE as u64);
            let device = service.attach(heap, "b");
            let programs: Vec<_> = (0..12).map(|_| service.program()).collect();
            for round in 0..3 {
                sync(&device, START | WRITE);
                for program in &programs {
                    if round == 0 {
                        program.maps(&service.cpu(heap, "b"), SIZE);
                    }
                    let argument = (START | READ).to_ne_bytes().to_vec();
                    program.order(Do::Ioctl { fd: 0, command: DMA_BUF_IOCTL_SYNC, argument });
                }
                device_write(&device, 0, &[round; SIZE]);
                sync(&device, END | WRITE);
                for program in &programs {
                    if let Err(error) = program.answer() {
                        assert_eq!(error.raw_os_error(), Some(libc::EAGAIN));
                        program.sync(START | READ);
                    }
                    assert_eq!(program.load(0, SIZE), [round; SIZE], "{heap}");
                    program.sync(END | READ);
                }
            }
        }
    });
}

#[test]
fn brackets_that_wait_keep_no_other_from_ending() {
    Service::each(|service| {
        for heap in MAPPABLE {
            let _files = ["a", "b"].map(|name| service.allocate(heap, name, SIZE as u64));
            let (device, storing) = (service.attach(heap, "a"), service.program());
            storing.maps(&service.cpu(heap, "b"), SIZE);
            storing.sync(START | WRITE);
            storing.store(0, &[1; SIZE]);
            sync(&device, START | WRITE);
            let waiting: Vec<_> = (0..16).map(|_| service.program()).collect();
            for program in &waiting {
                let path = service.cpu(heap, "a");
                program.does(Do::Open { fd: 0, path, flags: libc::O_RDWR, mode: 0 });
                let argument = (START | READ).to_ne_bytes().to_vec();
                program.order(Do::Ioctl { fd: 0, command: DMA_BUF_IOCTL_SYNC, argument });
            }
            storing.sync(END | WRITE);
            assert_eq!(device_read(&service.attach(heap, "b"), 0, SIZE), [1; SIZE], "{heap}");
        }
    });
}

#[test]
fn a_device_that_is_gone_has_ended_its_access() {
    Service::each(|service| {
        for heap in MAPPABLE {
            let _file = service.allocate(heap, "b", SIZE as u64);
            let (device, program) = (service.program(), service.program());
            let path = service.device(heap, "b");
            device.does(Do::Open { fd: 0, path, flags: libc::O_RDWR, mode: 0 });
            device.sync(START | RW);
            program.maps(&service.cpu(heap, "b"), SIZE);
            assert!(program.try_sync(START | READ).is_err(), "{heap}");
            device.kill();
            program.sync(START | READ);
            program.sync(END | READ);
        }
    });
}

#[test]
fn poll_waits_for_the_device() {
    Service::each(|service| {
        for heap in MAPPABLE {
            let file = service.allocate(heap, "b", SIZE as u64);
            let device = service.attach(heap, "b");
            let ready = |events| {
                let mut fds = [PollFd::new(&file, events)];
                poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).unwrap();
                fds[0].revents()
            };
            let both = PollFlags::IN | PollFlags::OUT;
            assert_eq!(ready(both), both, "{heap}: at rest");
            sync(&device, START | READ);
            assert_eq!(ready(both), PollFlags::IN, "{heap}: the device reads");
            sync(&device, END | READ);
            sync(&device, START | WRITE);
            assert_eq!(ready(both), PollFlags::empty(), "{heap}: the device writes");
            std::thread::scope(|scope| {
                let waiting = [PollFlags::IN, PollFlags::OUT].map(|events| {
                    let mut fds = [PollFd::new(&file, events)];
                    let waits = move || {
                        poll(&mut fds, None).unwrap();
                        fds[0].revents()
                    };
                    scope.spawn(waits)
                });
                sync(&device, END | WRITE);
                let [readable, writable] = waiting.map(|thread| thread.join().unwrap());
                assert_eq!((readable, writable), (PollFlags::IN, PollFlags::OUT), "{heap}");
            });
        }
    });
}
