//! What QUERY tells is the buffer's, from its allocation to its end, for every process: rows 1 to 3.

use std::fs::File;

use dmabuf_export::HeapKind;
use dmabuf_uapi::*;

use crate::program::Do;
use crate::service::{Service, device_write};
use crate::sys;

const SIZE: u64 = 8 * 4096;

fn query(file: &File) -> Vec<u8> {
    let mut answer = vec![0xaa; size_of::<DmaBufQuery>()];
    sys::ioctl(file, DMA_BUF_IOCTL_QUERY, &mut answer).unwrap();
    answer
}

fn number(answer: &[u8], at: std::ops::Range<usize>) -> u64 {
    answer[at].iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte))
}

#[test]
fn every_heap_tells_what_it_is() {
    Service::each(|service| {
        let direct = service.passes_through();
        for heap in HeapKind::ALL {
            let file = service.allocate(heap, "b", SIZE);
            let answer = query(&file);
            assert_eq!(number(&answer, 0..8), SIZE);
            let mapped = DMA_BUF_QUERY_MMAP_READ | DMA_BUF_QUERY_MMAP_WRITE;
            let synced = mapped | DMA_BUF_QUERY_BRACKET | DMA_BUF_QUERY_RANGE;
            let (flags, granule) = match heap {
                HeapKind::Coherent if direct => (mapped | DMA_BUF_QUERY_COHERENT, 1),
                HeapKind::Coherent => (synced, 4096),
                HeapKind::Bounce if direct => (synced, 1),
                HeapKind::Bounce => (synced, 4096),
                HeapKind::Tracked => (synced | DMA_BUF_QUERY_TRACKED, 4096),
                HeapKind::Checked => (synced | DMA_BUF_QUERY_TRACKED | DMA_BUF_QUERY_CHECKED, 4096),
                HeapKind::Unmappable => (0, 1),
            };
            assert_eq!(number(&answer, 8..12), u64::from(flags), "{heap}");
            assert_eq!(number(&answer, 12..16), granule, "{heap}");
            let name: Vec<u8> = answer[16..48].iter().copied().take_while(|&b| b != 0).collect();
            assert_eq!(name, heap.name().as_bytes());
            assert!(answer[80..].iter().all(|&byte| byte == 0), "what is reserved is zero");
        }
    });
}

#[test]
fn two_processes_are_told_the_same_before_and_after_use() {
    Service::each(|service| {
        for heap in HeapKind::ALL {
            let file = service.allocate(heap, "b", SIZE);
            let before = query(&file);
            let device = service.attach(heap, "b");
            assert_eq!(query(&device), before, "{heap}: the device side");
            let program = service.program();
            let path = service.cpu(heap, "b");
            program.does(Do::Open { fd: 0, path: path.clone(), flags: libc::O_RDWR, mode: 0 });
            let told = || {
                let argument = vec![0; size_of::<DmaBufQuery>()];
                program.ioctl(DMA_BUF_IOCTL_QUERY, &argument).unwrap()
            };
            assert_eq!(told(), before, "{heap}: another process");
            if heap != HeapKind::Unmappable {
                // Mapped, used, unmapped and mapped again: it can always be mapped.
                for round in 0..3 {
                    let len = SIZE as usize;
                    program.does(Do::Map { map: 0, fd: 0, offset: 0, len, write: true });
                    program.sync(DMA_BUF_SYNC_START | DMA_BUF_SYNC_RW);
                    program.store(round, b"x");
                    program.sync(DMA_BUF_SYNC_END | DMA_BUF_SYNC_RW);
                    program.does(Do::Unmap { map: 0 });
                    assert_eq!(told(), before, "{heap}: after round {round}");
                }
            }
            device_write(&device, 0, &[1; 64]);
            std::fs::remove_file(&path).unwrap();
            assert_eq!(told(), before, "{heap}: unlinked");
            assert_eq!(query(&file), before);
        }
    });
}
