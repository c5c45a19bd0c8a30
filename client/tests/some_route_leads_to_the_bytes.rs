//! Where mmap fails there is another way, tried in order; and if there is none, every reason is
//! told.

mod support;
#[path = "support/vgem.rs"]
mod vgem;

use std::io;

use dmabuf::{DmaBuf, Error, Kind, Route, Transfer};
use support::{kernel_heaps, memfd};

/// A read-back of the caller's, over bytes of its own.
struct ReadBack(Vec<u8>);

impl Transfer for ReadBack {
    fn read_at(&mut self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        into.copy_from_slice(&self.0[offset as usize..][..into.len()]);
        Ok(())
    }

    fn write_at(&mut self, _: u64, _: &[u8]) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// What mmap refuses: a plain file stands for it.
fn unmappable() -> DmaBuf {
    let file = tempfile::tempfile_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    file.set_len(64).unwrap();
    let buffer = DmaBuf::from_fd(file.into()).unwrap();
    assert_eq!(buffer.kind(), Kind::Other);
    buffer
}

#[test]
fn a_buffer_that_can_be_mapped_is() {
    let buffer = DmaBuf::from_fd(memfd(4096)).unwrap();
    let mut bytes = buffer.bytes(Route::standard()).unwrap();
    assert_eq!(bytes.route(), "mmap");
    assert!(bytes.failures().is_empty());
    bytes.write_at(4000, &[1, 2, 3]).unwrap();
    let mut copied = [0; 4];
    bytes.read_at(3999, &mut copied).unwrap();
    assert_eq!(copied, [0, 1, 2, 3]);
    assert_eq!(buffer.map().unwrap().read(4000..4003).unwrap().to_vec(), [1, 2, 3]);
}

#[test]
fn a_buffer_that_can_only_be_read_is_read() {
    let fd = memfd(4096);
    rustix::fs::fcntl_add_seals(&fd, rustix::fs::SealFlags::WRITE).unwrap();
    let mut bytes = DmaBuf::from_fd(fd).unwrap().bytes([Route::Mmap]).unwrap();
    bytes.read_at(0, &mut [0; 16]).unwrap();
    let error = bytes.write_at(0, &[1]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::PermissionDenied, "{error}");
}

#[test]
fn the_callers_route_is_the_last_resort_and_the_other_failures_are_kept() {
    let content: Vec<u8> = (0..64).collect();
    let last = Route::closure("read-back", |buffer| {
        assert_eq!(buffer.size(), 64);
        Ok(ReadBack(content.clone()))
    });
    let routes = Route::standard().into_iter().chain([last]);
    let mut bytes = unmappable().bytes(routes).unwrap();
    assert_eq!(bytes.route(), "read-back");
    let failed: Vec<_> = bytes.failures().iter().map(|failure| failure.route.as_str()).collect();
    assert_eq!(failed, ["mmap", "DRM dumb map", "served device"]);

    let mut copied = [0; 3];
    bytes.read_at(10, &mut copied).unwrap();
    assert_eq!(copied, [10, 11, 12]);
    assert!(bytes.write_at(0, &[1]).is_err());
    let past = bytes.read_at(62, &mut copied).unwrap_err();
    assert_eq!(past.kind(), io::ErrorKind::InvalidInput, "no route is asked: {past}");
    bytes.read_at(64, &mut []).unwrap();
}

#[test]
fn a_route_after_the_one_that_leads_there_is_not_tried() {
    let never = Route::closure("never", |_| -> io::Result<ReadBack> { panic!("tried") });
    let buffer = DmaBuf::from_fd(memfd(4096)).unwrap();
    assert_eq!(buffer.bytes([Route::Mmap, never]).unwrap().route(), "mmap");
}

#[test]
fn without_any_route_every_reason_is_told() {
    let broken = Route::closure("EGL", |_| -> io::Result<ReadBack> {
        Err(io::Error::other("no such extension"))
    });
    let error = unmappable().bytes(Route::standard().into_iter().chain([broken])).unwrap_err();
    let message = error.to_string();
    for part in
        ["mmap: ", "is no dma-buf", "DRM dumb map: ", "served device: ", "EGL: no such extension"]
    {
        assert!(message.contains(part), "{message}");
    }
    let Error::NoRoute(failures) = error else { panic!("{error:?}") };
    assert_eq!(failures.len(), 4);
    let first = failures[0].error.get_ref().unwrap().downcast_ref::<Error>();
    assert!(matches!(first, Some(Error::NotABuffer)));
}

#[test]
fn a_drm_device_maps_what_it_has_exported() {
    use std::os::fd::AsFd;

    for driver in ["vgem", "virtio"] {
        let Some(card) = vgem::card_of(driver) else {
            println!("skipped: there is no card of {driver}'s");
            continue;
        };
        let (_handle, fd) = vgem::dumb(card.as_fd(), 64, 64);
        let buffer = DmaBuf::from_fd(fd).unwrap();
        let mut bytes = buffer.bytes([Route::Drm]).unwrap();
        assert_eq!(bytes.route(), "DRM dumb map");
        bytes.write_at(5000, &[1, 2, 3]).unwrap();
        assert_eq!(buffer.map().unwrap().read(5000..5003).unwrap().to_vec(), [1, 2, 3]);
        buffer.map().unwrap().write(16_380..).unwrap().fill(9);
        let mut last = [0; 5];
        bytes.read_at(16_379, &mut last).unwrap();
        assert_eq!(last, [0, 9, 9, 9, 9]);
    }
}

#[test]
fn a_drm_device_that_only_imports_says_that() {
    for heap in kernel_heaps() {
        let buffer = heap.allocate(4096).unwrap();
        let error = buffer.bytes([Route::Drm]).unwrap_err();
        println!("{error}");
        let reasons = ["has not exported itself", "import the buffer", "there is no /dev/dri/card"];
        assert!(reasons.iter().any(|reason| error.to_string().contains(reason)), "{error}");
        assert_eq!(buffer.fd_info().unwrap().unwrap().count, 1, "nothing is left imported");
    }
}
