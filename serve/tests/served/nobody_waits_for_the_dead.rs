//! A process that dies inside a bracket ends it: what it stored reaches devices, and others go on.

use dmabuf_uapi::*;

use crate::program::Do;
use crate::service::{MAPPABLE, Service, device_read, device_write};

const SIZE: usize = 4 * 4096;
const START_WRITE: u64 = DMA_BUF_SYNC_START | DMA_BUF_SYNC_WRITE;
const START_RW: u64 = DMA_BUF_SYNC_START | DMA_BUF_SYNC_RW;
const END_RW: u64 = DMA_BUF_SYNC_END | DMA_BUF_SYNC_RW;

#[test]
fn what_the_dead_stored_is_there_as_soon_as_they_are_gone() {
    Service::each(|service| {
        for heap in MAPPABLE {
            let _file = service.allocate(heap, "b", SIZE as u64);
            let device = service.attach(heap, "b");
            for round in 1..=10_u8 {
                let program = service.program();
                program.maps(&service.cpu(heap, "b"), SIZE);
                program.sync(START_WRITE);
                program.store(0, &[round; SIZE]);
                program.kill();
                assert_eq!(device_read(&device, 0, SIZE), [round; SIZE], "{heap}, {round}");
            }
            // And is seen by a bracket of somebody else.
            let (dead, program) = (service.program(), service.program());
            dead.maps(&service.cpu(heap, "b"), SIZE);
            program.maps(&service.cpu(heap, "b"), SIZE);
            dead.sync(START_WRITE);
            dead.store(0, &[77; SIZE]);
            dead.kill();
            program.sync(START_RW);
            assert_eq!(program.load(0, SIZE), [77; SIZE], "{heap}");
            program.sync(END_RW);
        }
    });
}

#[test]
fn others_in_a_bracket_of_their_own_go_on() {
    Service::each(|service| {
        for heap in MAPPABLE {
            let _file = service.allocate(heap, "b", SIZE as u64);
            let device = service.attach(heap, "b");
            let (dead, program) = (service.program(), service.program());
            dead.maps(&service.cpu(heap, "b"), SIZE);
            program.maps(&service.cpu(heap, "b"), SIZE);
            program.sync_range(START_RW, 0, 4096);
            dead.sync_range(START_RW, 4096, 4096);
            program.store(0, &[1; 100]);
            dead.store(4096, &[2; 4096]);
            dead.kill();
            assert_eq!(device_read(&device, 4096, 4096), [2; 4096], "{heap}");
            program.store(100, &[3; 100]);
            program.sync_range(END_RW, 0, 4096);
            let expected = [[1; 100], [3; 100], [0; 100]].concat();
            assert_eq!(device_read(&device, 0, 300), expected, "{heap}");
            device_write(&device, 0, &[4; SIZE]);
            program.sync(START_RW);
            assert_eq!(program.load(0, SIZE), [4; SIZE], "{heap}");
            program.sync(END_RW);
        }
    });
}

#[test]
fn also_those_who_got_the_file_from_another_process() {
    Service::each(|service| {
        for heap in MAPPABLE {
            let file = service.allocate(heap, "b", SIZE as u64);
            let device = service.attach(heap, "b");
            let program = service.program();
            program.send(&file, 0);
            program.does(Do::Map { map: 0, fd: 0, offset: 0, len: SIZE, write: true });
            program.sync(START_WRITE);
            program.store(0, &[5; SIZE]);
            // The file stays open here.
            program.kill();
            assert_eq!(device_read(&device, 0, SIZE), [5; SIZE], "{heap}");
        }
    });
}

#[test]
fn also_children_whose_parent_lives_on_with_file_and_mapping() {
    Service::each(|service| {
        for heap in MAPPABLE {
            let _file = service.allocate(heap, "b", SIZE as u64);
            let device = service.attach(heap, "b");
            let parent = service.program();
            parent.maps(&service.cpu(heap, "b"), SIZE);
            parent.sync_range(START_RW, 0, 4096);
            parent.store(0, &[1; 4096]);
            let (flags, offset, bytes) = (START_WRITE, 4096, vec![6; 3 * 4096]);
            let child = parent.does(Do::ForkAndStore { fd: 0, map: 0, flags, offset, bytes });
            let pid = child.as_i64().expect("a process") as i32;
            parent.does(Do::Wait { pid, kill: true });
            assert_eq!(device_read(&device, 4096, 3 * 4096), [6; 3 * 4096], "{heap}");
            parent.store(0, &[2; 4096]);
            parent.sync_range(END_RW, 0, 4096);
            assert_eq!(device_read(&device, 0, 4096), [2; 4096], "{heap}");
        }
    });
}

#[test]
fn a_bracket_that_nobody_can_end_any_more_is_ended() {
    Service::each(|service| {
        for heap in MAPPABLE {
            let _file = service.allocate(heap, "b", SIZE as u64);
            let device = service.attach(heap, "b");
            let program = service.program();
            program.maps(&service.cpu(heap, "b"), SIZE);
            program.sync(START_WRITE);
            program.store(0, &[8; SIZE]);
            program.does(Do::Close { fd: 0 });
            program.does(Do::Unmap { map: 0 });
            drop(_file);
            service.eventually("what it stored arrives", || {
                device_read(&device, 0, SIZE) == [8; SIZE]
            });
        }
    });
}
