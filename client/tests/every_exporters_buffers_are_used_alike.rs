//! A buffer of the system heap, of udmabuf, of a DRM driver or of a camera: it is mapped, bracketed,
//! named, fenced, sent and put into frames in the same way, and drivers import it.

mod support;
#[path = "support/vgem.rs"]
mod vgem;
#[path = "support/vivid.rs"]
mod vivid;

use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use dmabuf::frame::{Fourcc, FrameLayout, Modifier, PlaneLayout};
use dmabuf::probe::{Effect, Fences, Memory};
use dmabuf::{Access, DmaBuf, FenceStatus, Frame, Kind, Mmap, Parcel};
use support::kernel_heaps;
use vgem::Vgem;
use vivid::Camera;

/// Room for a frame of the camera's.
const SIZE: u64 = 1024 * 768 * 4;

/// A buffer of every exporter of the kernel's that is here, with the exporter's name.
fn buffers(camera: &Camera) -> Vec<(&'static str, DmaBuf)> {
    let mut buffers = Vec::new();
    for heap in kernel_heaps() {
        let name = if heap.name() == "udmabuf" { "udmabuf" } else { "system" };
        buffers.push((name, heap.allocate(SIZE).unwrap()));
    }
    for (driver, exporter) in [("vgem", "drm"), ("virtio", "virtio_gpu")] {
        match vgem::card_of(driver) {
            Some(card) => {
                let (_, fd) = vgem::dumb(card.as_fd(), 1024, 768);
                buffers.push((exporter, DmaBuf::from_fd(fd).unwrap()));
            }
            None => println!("skipped: there is no card of {driver}'s"),
        }
    }
    buffers.push(("videobuf2_vmalloc", DmaBuf::from_fd(camera.export()).unwrap()));
    buffers
}

#[test]
fn they_tell_what_they_are() {
    let Some(camera) = Camera::open() else { return };
    for (exporter, buffer) in buffers(&camera) {
        assert_eq!(buffer.kind(), Kind::Kernel, "{exporter}");
        assert_eq!(buffer.capability().exporter.as_deref(), Some(exporter));
        let info = buffer.fd_info().unwrap().unwrap();
        assert_eq!((info.exporter.as_str(), info.size), (exporter, buffer.size()));
        buffer.set_name("frame").unwrap();
        assert_eq!(buffer.name().unwrap().as_deref(), Some("frame"), "{exporter}");

        let probe = buffer.probe();
        println!("== {exporter}\n{probe}");
        assert_eq!(probe.mmap, Mmap::ReadWrite, "{exporter}");
        assert_eq!(probe.memory, Memory::Cached, "{exporter}");
        assert_eq!((probe.sync_partial, &probe.fences), (Some(false), &Fences::Idle), "{exporter}");
        assert_ne!(probe.bracket, Effect::Effective, "{exporter}: nobody can know");
        assert_eq!(probe.count.map(|count| count >= 1), Some(true), "{exporter}");
    }
}

#[test]
fn what_is_stored_in_a_bracket_is_loaded_in_another_at_the_same_place() {
    let Some(camera) = Camera::open() else { return };
    for (exporter, buffer) in buffers(&camera) {
        let (mapping, other) = (buffer.map().unwrap(), buffer.map().unwrap());
        assert!(mapping.read(..4096).unwrap().to_vec().iter().all(|&byte| byte == 0), "{exporter}");
        let last = buffer.size() - 4;
        for (at, number) in [(0, 0x0102_0304_u32), (4096, 5), (8190, 6), (last, 7)] {
            let guard = mapping.read_write(at..at + 4).unwrap();
            guard.copy_from(0, &[number]).unwrap();
            guard.end().unwrap();
            let mut seen = [0_u32];
            let guard = other.read(at..at + 4).unwrap();
            guard.copy_to(0, &mut seen).unwrap();
            guard.end().unwrap();
            assert_eq!(seen, [number], "{exporter} at {at}");
        }
        mapping.write(..).unwrap().fill(0x5a);
        assert!(other.read(..).unwrap().to_vec().iter().all(|&byte| byte == 0x5a), "{exporter}");
        assert!(mapping.take_failed_end().is_none() && other.take_failed_end().is_none());
    }
}

#[test]
fn fences_of_another_device_hold_them_up() {
    let (Some(camera), Some(vgem)) = (Camera::open(), Vgem::open()) else { return };
    for (exporter, buffer) in buffers(&camera) {
        let device = vgem.allocate();
        let fence = device.fence(true);
        let exported = device.buffer.export_fences(Access::Read).unwrap();
        buffer.import_fences(Access::Write, &exported).unwrap();
        assert!(!buffer.is_ready(Access::Read).unwrap(), "{exporter}");
        fence.signal();
        buffer.wait(Access::ReadWrite, None).unwrap();
        let fences = buffer.export_fences(Access::ReadWrite).unwrap();
        assert_eq!(fences.info().unwrap().status, FenceStatus::Signalled, "{exporter}");
        buffer.map().unwrap().read(..1).unwrap().end().unwrap();
    }
}

#[test]
fn they_travel_to_another_program_as_frames() {
    let Some(camera) = Camera::open() else { return };
    for (exporter, buffer) in buffers(&camera) {
        let layout = FrameLayout {
            fourcc: Fourcc::new(*b"XR24"),
            modifier: Modifier::LINEAR,
            width: 64,
            height: 64,
            planes: vec![PlaneLayout { buffer: 0, offset: 4096, stride: 256 }],
        };
        let frame = Frame::new(layout, vec![buffer.clone()]).unwrap();
        frame.map().unwrap().write().unwrap().plane(0).unwrap().fill(9);
        let (here, there) = UnixStream::pair().unwrap();
        frame.to_parcel().send(&here).unwrap();
        let arrived = Frame::from_parcel(Parcel::receive(&there).unwrap()).unwrap();
        let mapping = arrived.map_read_only().unwrap();
        let guard = mapping.read().unwrap();
        assert!(guard.plane(0).unwrap().to_vec().iter().all(|&byte| byte == 9), "{exporter}");
        guard.end().unwrap();
        assert_eq!(buffer.map().unwrap().read(4095..4097).unwrap().to_vec(), [0, 9], "{exporter}");
    }
}

#[test]
fn a_camera_that_imports_them_fills_them() {
    let Some(camera) = Camera::open() else { return };
    let others = buffers(&camera).into_iter();
    // The camera fills its own without importing them.
    for (exporter, buffer) in others.filter(|(exporter, _)| *exporter != "videobuf2_vmalloc") {
        let mapping = buffer.map().unwrap();
        mapping.write(..).unwrap().fill(0x5a);
        camera.capture_into(buffer.as_fd(), buffer.size());
        let frame = camera.frame();
        assert!(frame < buffer.size());
        let bytes = mapping.read(..).unwrap().to_vec();
        let (filled, rest) = bytes.split_at(frame as usize);
        let untouched = filled.iter().filter(|&&byte| byte == 0x5a).count();
        assert!(untouched < filled.len() / 2, "{exporter}: {untouched} of {frame} bytes");
        assert!(rest.iter().all(|&byte| byte == 0x5a), "{exporter}: nothing after the frame");
    }
}

#[test]
fn a_graphics_driver_imports_them() {
    let (Some(camera), Some(vgem)) = (Camera::open(), Vgem::open()) else { return };
    for (exporter, buffer) in buffers(&camera) {
        vgem.import(buffer.as_fd());
        // With a device attached, brackets go on working.
        let mapping = buffer.map().unwrap();
        mapping.write(..16).unwrap().fill(3);
        assert_eq!(mapping.read(..16).unwrap().to_vec(), [3; 16], "{exporter}");
    }
}
