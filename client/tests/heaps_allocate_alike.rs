//! Every heap is listed, opened and allocated from in the same way, whoever is behind it; and where
//! none will do, the message says how to get one.

mod support;

use std::os::fd::{AsFd, OwnedFd};

use dmabuf::heap::{self, Choice, Needs, Piece, Source};
use dmabuf::{DmaBuf, Error, Heap, Kind, Range, Udmabuf};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};
use support::heaps;

const PAGE: u64 = 4096;

fn sealed(size: u64) -> OwnedFd {
    let fd = memfd_create("test", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
    ftruncate(&fd, size).unwrap();
    fcntl_add_seals(&fd, SealFlags::SHRINK).unwrap();
    fd
}

fn udmabuf() -> Option<Udmabuf> {
    let opened = Udmabuf::open();
    if let Err(error) = &opened {
        println!("skipped: {error}");
    }
    opened.ok()
}

#[track_caller]
fn byte(buffer: &DmaBuf, offset: u64) -> u8 {
    buffer.map().unwrap().read(offset..=offset).unwrap().load(0).unwrap()
}

#[test]
fn every_heap_gives_zeros_of_the_size_asked_for() {
    for heap in heaps() {
        let buffer = heap.allocate(3 * PAGE + 1).unwrap();
        println!("{} ({}): {}", heap.name(), heap.description().source, buffer.kind());
        assert!(buffer.size() > 3 * PAGE && buffer.size() <= 4 * PAGE, "{}", heap.name());
        let kind = match heap.description().source {
            Source::Kernel | Source::Udmabuf => Kind::Kernel,
            Source::Served => Kind::Served,
        };
        assert_eq!(buffer.kind(), kind);
        if buffer.capability().mmap == Some(dmabuf::Mmap::Never) {
            continue;
        }
        let mapping = buffer.map().unwrap();
        assert!(mapping.read(..).unwrap().to_vec().iter().all(|&byte| byte == 0));
        mapping.write(PAGE..PAGE + 1).unwrap().fill(7);
        assert_eq!(byte(&buffer, PAGE), 7);
    }
}

#[test]
fn every_heap_refuses_a_buffer_of_no_bytes_and_one_larger_than_any() {
    for heap in heaps() {
        assert!(matches!(heap.allocate(0), Err(Error::EmptyRange)));
        let error = heap.allocate(u64::MAX - PAGE).unwrap_err();
        assert!(matches!(error, Error::Allocate { .. } | Error::Udmabuf(_)), "{error:?}");
        println!("{error}");
    }
}

#[test]
fn a_heap_is_opened_by_its_path() {
    for listed in heap::list() {
        let Ok(heap) = Heap::open(&listed.path) else { continue };
        assert_eq!(heap.description(), &listed);
    }
}

#[test]
fn a_chain_takes_the_first_that_is_there() {
    let Ok(heap) = Heap::first_of([Choice::Cma, Choice::System, Choice::Udmabuf]) else {
        println!("skipped: no heap opens here");
        return;
    };
    println!("{}: {}", heap.name(), heap.description().properties);
    let needs = Needs::new().cached();
    let found = Heap::find(&needs).unwrap();
    assert_eq!(found.description().properties.cached, Some(true));
    assert_eq!(found.description().properties.protected, Some(false));
}

#[test]
fn where_no_heap_will_do_every_reason_and_the_remedy_are_told() {
    let choices = [Choice::Path("/dev/dma_heap/absent".into()), Choice::Path("/dev/null".into())];
    let error = Heap::first_of(choices).unwrap_err();
    let message = error.to_string();
    for part in ["/dev/dma_heap/absent: cannot open", "this kernel offers", "/dev/null is no heap"]
    {
        assert!(message.contains(part), "{message}");
    }
    // No kernel that this runs on has a heap for protected video.
    let error = Heap::find(&Needs::new().protected()).unwrap_err();
    assert!(error.to_string().contains("CONFIG_TEE_DMABUF_HEAPS"), "{error}");
    let Error::NoHeap(failures) = error else { panic!("{error:?}") };
    assert_eq!(failures.len(), heap::list().len() + 1);
}

#[test]
fn a_list_of_pieces_is_one_buffer() {
    let Some(udmabuf) = udmabuf() else { return };
    let (a, b) = (sealed(4 * PAGE), sealed(PAGE));
    let pieces = [
        Piece { memfd: a.as_fd(), range: Range::between(2 * PAGE, 4 * PAGE).unwrap() },
        Piece { memfd: b.as_fd(), range: Range::between(0, PAGE).unwrap() },
        Piece { memfd: a.as_fd(), range: Range::between(2 * PAGE, 3 * PAGE).unwrap() },
    ];
    let buffer = udmabuf.create_list(&pieces).unwrap();
    assert_eq!(buffer.size(), 4 * PAGE);
    buffer.map().unwrap().write(..1).unwrap().fill(9);
    assert_eq!(byte(&buffer, 3 * PAGE), 9, "a page that is listed twice is one page");
    let whole = udmabuf.create(&a, Range::new(0, 4 * PAGE).unwrap()).unwrap();
    assert_eq!(byte(&whole, 2 * PAGE), 9);
}

#[test]
fn udmabuf_says_what_is_wrong_with_the_memory() {
    let Some(udmabuf) = udmabuf() else { return };
    let limits = udmabuf.limits();
    println!("{limits:?}");
    assert!(limits.pieces.is_some() && limits.mebibytes.is_some());
    let memfd = sealed(PAGE);
    let pieces = vec![
        Piece { memfd: memfd.as_fd(), range: Range::new(0, PAGE).unwrap() };
        limits.pieces.unwrap() as usize + 1
    ];
    let error = udmabuf.create_list(&pieces).unwrap_err();
    assert!(matches!(error, Error::Udmabuf(heap::Refusal::TooMany { .. })), "{error:?}");
    assert!(udmabuf.create_list(&pieces[1..]).is_ok(), "the limit itself is allowed");

    let unaligned = udmabuf.create(&memfd, Range::new(0, 100).unwrap()).unwrap_err();
    assert_eq!(unaligned.errno(), Some(rustix::io::Errno::INVAL.raw_os_error()));
    assert!(unaligned.to_string().contains("whole pages of 4096 bytes"), "{unaligned}");
}
