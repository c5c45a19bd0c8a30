//! Drivers of a stock kernel take the module's buffers as they take mainline's: GPUs import them, a
//! camera fills them, and their fences hold brackets, which signals interrupt.

#[path = "../../../cli/src/v4l2.rs"]
#[allow(dead_code, reason = "the command uses more of it")]
mod v4l2;
#[path = "../../../client/tests/support/vgem.rs"]
mod vgem;

use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use dmabuf::{Access, DmaBuf};
use dmabuf_kernel_tests::{
    Buffer, Ended, HEAPS, flags::*, in_a_fork, interrupt_after, ioctl, module, page,
};
use dmabuf_uapi::*;
use rustix::io::Errno;
use vgem::{Vgem, card_of};

/// What a card of this driver answers to an import.
fn imported(driver: &str, buffer: &Buffer) -> Result<i32, Errno> {
    let card = card_of(driver).unwrap_or_else(|| panic!("no card of {driver}"));
    let fd = buffer.as_fd().as_raw_fd();
    ioctl(card, DRM_IOCTL_PRIME_FD_TO_HANDLE, &mut DrmPrimeHandle { fd, ..Default::default() })
}

#[test]
fn gpus_import_them_as_they_import_mainlines() {
    module::ensure();
    for driver in ["vgem", "virtio"] {
        let mainline = imported(driver, &Buffer::of("system", 4 * page()));
        for heap in HEAPS {
            let ours = imported(driver, &Buffer::of(heap, 4 * page()));
            assert_eq!(ours, mainline, "{heap} to {driver}");
        }
    }
    assert_eq!(imported("vgem", &Buffer::of("tracked", page())), Ok(0));
}

/// vivid's queue maps a buffer into the kernel (vmap), and stores to it by the CPU.
#[test]
fn a_camera_fills_them() {
    module::ensure();
    let queue = V4L2_BUF_TYPE_VIDEO_CAPTURE;
    let camera = v4l2::nodes().into_iter().find_map(|path| {
        let node = v4l2::Node::open(&path).ok()?;
        let is_camera = node.capability().ok()?.device_caps & V4L2_CAP_VIDEO_CAPTURE != 0;
        is_camera.then_some(node)
    });
    let camera = camera.expect("vivid has a camera");
    let size = camera.format(queue).expect("a format").sizeimage as usize;
    for heap in HEAPS {
        let buffer = Buffer::of(heap, size.next_multiple_of(page()));
        let map = buffer.map();
        buffer.sync(START_WRITE);
        map.fill(0..size, 0x55);
        buffer.sync(END_WRITE);
        camera.request(queue, V4L2_MEMORY_DMABUF, 1).expect("a queue");
        camera.queue_dmabuf(queue, 0, &buffer, buffer.size() as u32, 0).expect("it is taken");
        camera.start(queue).expect("the camera starts");
        camera.wait(queue, Duration::from_secs(10)).expect("a frame comes");
        camera.dequeue_dmabuf(queue).expect("it is given back");
        camera.stop(queue).expect("the camera stops");
        camera.request(queue, V4L2_MEMORY_DMABUF, 0).expect("the queue is given up");
        buffer.sync(START_READ);
        let rows = [0, size / 2, size - 64].map(|at| map.bytes(at..at + 64));
        buffer.sync(END_READ);
        assert!(rows.iter().all(|row| row.iter().any(|&byte| byte != 0x55)), "{heap}: {rows:?}");
    }
}

/// A fence that a device has not signalled holds a bracket, and a signal frees who waits for it.
#[test]
fn a_signal_interrupts_a_begin_that_waits_for_a_device() {
    module::ensure();
    let vgem = Vgem::open().expect("vgem is loaded");
    for heap in HEAPS {
        let buffer = Buffer::of(heap, page());
        let busy = vgem.allocate();
        let fence = busy.fence(true);
        let fences = busy.buffer.export_fences(Access::ReadWrite).expect("a fence");
        let copy = DmaBuf::from_fd(rustix::io::dup(&buffer).expect("a copy")).expect("a buffer");
        copy.import_fences(Access::Write, &fences).expect("a buffer takes fences");
        let waits = || {
            interrupt_after(50_000);
            assert_eq!(buffer.try_sync(START_RW), Err(Errno::INTR));
        };
        assert_eq!(in_a_fork(waits), Ended::Exited(0), "{heap}");
        fence.signal();
        buffer.try_sync(START_RW).expect("nothing is waited for");
        buffer.sync(END_RW);
    }
}
