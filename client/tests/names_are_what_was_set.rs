//! A buffer's name is what was last set, whoever asks; and what cannot be a name is refused with
//! the reason.

mod support;

use std::os::fd::AsFd;

use dmabuf::{DmaBuf, Error, Kind};
use support::{heaps, kernel_heaps, memfd};

#[test]
fn a_name_is_read_back_through_every_descriptor() {
    for heap in heaps() {
        let buffer = heap.allocate(4096).unwrap();
        buffer.set_name("camera").unwrap();
        assert_eq!(buffer.name().unwrap().as_deref(), Some("camera"), "{}", heap.name());
        let other = DmaBuf::from_fd(buffer.as_fd().try_clone_to_owned().unwrap()).unwrap();
        assert_eq!(other.capability().name.as_deref(), Some("camera"));
        other.set_name("y").unwrap();
        assert_eq!(buffer.name().unwrap().as_deref(), Some("y"));
    }
}

#[test]
fn a_buffer_is_allocated_with_a_name() {
    for heap in heaps() {
        let name = format!("t{}", std::process::id());
        let buffer = heap.allocate_named(4096, &name).unwrap();
        if buffer.kind() == Kind::Served {
            let path = heap.description().path.join(&name);
            assert_eq!(DmaBuf::open(&path).unwrap().size(), 4096);
            let error = heap.allocate_named(4096, &name).unwrap_err();
            assert_eq!(error.errno(), Some(rustix::io::Errno::EXIST.raw_os_error()));
            std::fs::remove_file(path).unwrap();
            assert!(heap.allocate_named(4096, "../x").is_err());
        } else {
            assert_eq!(buffer.name().unwrap(), Some(name));
        }
    }
}

#[test]
fn a_name_has_31_bytes_at_most_and_no_line_ends() {
    for heap in kernel_heaps() {
        let buffer = heap.allocate(4096).unwrap();
        let longest = "x".repeat(31);
        buffer.set_name(&longest).unwrap();
        for refused in ["x".repeat(32), "a\0b".to_owned(), "a\nsize:\t1".to_owned()] {
            let error = buffer.set_name(&refused).unwrap_err();
            assert!(matches!(error, Error::Name { .. }), "{error:?}");
            assert!(error.to_string().contains("31 bytes"), "{error}");
        }
        assert_eq!(buffer.name().unwrap(), Some(longest));
        buffer.set_name("").unwrap();
        assert_eq!(buffer.name().unwrap(), None);
    }
}

#[test]
fn the_kernel_tells_size_exporter_and_references() {
    for heap in kernel_heaps() {
        let buffer = heap.allocate(8192).unwrap();
        let info = buffer.fd_info().unwrap().expect("a dma-buf of the kernel's");
        assert_eq!(info.size, 8192);
        assert_eq!(info.exporter, heap.name());
        let again = buffer.as_fd().try_clone_to_owned().unwrap();
        assert_eq!(buffer.fd_info().unwrap().unwrap().count, info.count + 1);
        drop(again);
        assert_eq!(buffer.fd_info().unwrap().unwrap().count, info.count);
    }
}

#[test]
fn a_memfd_has_no_name_to_set() {
    let buffer = DmaBuf::from_fd(memfd(4096)).unwrap();
    let error = buffer.set_name("a").unwrap_err();
    assert_eq!(error.errno(), Some(rustix::io::Errno::NOTTY.raw_os_error()));
    assert_eq!(buffer.name().unwrap(), None);
    assert_eq!(buffer.fd_info().unwrap(), None);
}
