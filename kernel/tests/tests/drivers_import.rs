//! Drivers of a stock kernel take the module's buffers as they take mainline's: GPUs import them, a
//! camera fills them, an output shows them, and their fences hold brackets, which signals interrupt.

#[path = "../../../cli/src/v4l2.rs"]
#[allow(dead_code, reason = "the command uses more of it")]
mod v4l2;
#[path = "../../../client/tests/support/vgem.rs"]
mod vgem;

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use dmabuf::{Access, DmaBuf};
use dmabuf_kernel_tests::{
    Buffer, Ended, HEAPS, Map, flags::*, in_a_fork, interrupt_after, ioctl, module, page,
};
use dmabuf_uapi::*;
use rustix::fs::OFlags;
use rustix::io::Errno;
use vgem::{Vgem, card_of};

/// What a card of this driver answers to an import: a handle of its own.
fn imported(card: &File, buffer: &Buffer) -> Result<u32, Errno> {
    let fd = buffer.as_fd().as_raw_fd();
    let mut prime = DrmPrimeHandle { fd, ..Default::default() };
    ioctl(card, DRM_IOCTL_PRIME_FD_TO_HANDLE, &mut prime)?;
    Ok(prime.handle)
}

fn card(driver: &str) -> File {
    card_of(driver).unwrap_or_else(|| panic!("no card of {driver}"))
}

/// vgem takes them. virtio-gpu takes nobody's but its own, mainline's heap's as little as ours.
#[test]
fn gpus_import_them_as_they_import_mainlines() {
    module::ensure();
    for driver in ["vgem", "virtio"] {
        let card = card(driver);
        let mainline = imported(&card, &Buffer::of("system", 4 * page())).map(drop);
        assert_eq!(mainline.is_ok(), driver == "vgem", "{driver}: {mainline:?}");
        for heap in HEAPS {
            let ours = imported(&card, &Buffer::of(heap, 4 * page())).map(drop);
            assert_eq!(ours, mainline, "{heap} to {driver}");
        }
    }
}

/// What vgem hands out again is the buffer that it was given, by another descriptor: what is stored by
/// one, in brackets, is loaded by the other.
#[test]
fn what_a_gpu_hands_on_has_the_same_bytes() {
    module::ensure();
    let card = card("vgem");
    for heap in HEAPS {
        let buffer = Buffer::of(heap, 4 * page());
        let handle = imported(&card, &buffer).expect("vgem imports it");
        let map = buffer.map();
        buffer.sync(START_WRITE);
        map.fill(0..buffer.size(), 0x5a);
        buffer.sync(END_WRITE);
        let flags = (OFlags::RDWR | OFlags::CLOEXEC).bits();
        let mut prime = DrmPrimeHandle { handle, flags, fd: -1 };
        ioctl(&card, DRM_IOCTL_PRIME_HANDLE_TO_FD, &mut prime).expect("vgem exports it");
        let other = Buffer::adopt(prime.fd, buffer.size());
        drop((map, buffer));
        let map = other.map();
        other.sync(START_RW);
        assert!(map.bytes(0..other.size()).iter().all(|&byte| byte == 0x5a), "{heap}");
        map.store(page(), 1);
        other.sync(END_RW);
        assert_eq!(other.stats().ends, 2, "{heap}: it is the same");
    }
}

/// vivid's node that has this capability.
fn video(capability: u32) -> v4l2::Node {
    let node = v4l2::nodes().into_iter().find_map(|path| {
        let node = v4l2::Node::open(&path).ok()?;
        let has = node.capability().ok()?.device_caps & capability != 0;
        has.then_some(node)
    });
    node.expect("vivid has cameras and outputs")
}

/// Some buffers of a heap for frames, in a node's queue, which runs. Stopped and freed when dropped.
struct Queue<'a> {
    node: &'a v4l2::Node,
    queue: u32,
    buffers: Vec<(Buffer, Map)>,
    frame: usize,
}

impl<'a> Queue<'a> {
    /// The buffers are filled with `value`.
    fn start(node: &'a v4l2::Node, queue: u32, heap: &str, value: u8) -> Queue<'a> {
        let frame = node.format(queue).expect("a format").sizeimage as usize;
        let buffers = (0..2).map(|_| {
            let buffer = Buffer::of(heap, frame.next_multiple_of(page()));
            let map = buffer.map();
            buffer.sync(START_WRITE);
            map.fill(0..frame, value);
            buffer.sync(END_WRITE);
            (buffer, map)
        });
        let running = Queue { node, queue, buffers: buffers.collect(), frame };
        node.request(queue, V4L2_MEMORY_DMABUF, 2).expect("a queue");
        running.give(0);
        running.give(1);
        node.start(queue).expect("it starts");
        running
    }

    fn give(&self, index: usize) {
        let (buffer, _) = &self.buffers[index];
        let (len, used) = (buffer.size() as u32, self.frame as u32);
        let taken = self.node.queue_dmabuf(self.queue, index as u32, buffer, len, used);
        taken.expect("the driver takes it");
    }

    /// Waits for the next frame, and returns some rows of it.
    fn take(&self) -> [Vec<u8>; 3] {
        self.node.wait(self.queue, Duration::from_secs(10)).expect("a frame comes");
        let taken = self.node.dequeue_dmabuf(self.queue).expect("it is given back");
        let (buffer, map) = &self.buffers[taken.index as usize];
        buffer.sync(START_READ);
        let rows = [0, self.frame / 2, self.frame - 64].map(|at| map.bytes(at..at + 64));
        buffer.sync(END_READ);
        self.give(taken.index as usize);
        rows
    }
}

impl Drop for Queue<'_> {
    fn drop(&mut self) {
        self.node.stop(self.queue).expect("it stops");
        self.node.request(self.queue, V4L2_MEMORY_DMABUF, 0).expect("the queue is given up");
    }
}

/// vivid's queue maps a buffer into the kernel (vmap), and stores to it by the CPU.
#[test]
fn a_camera_fills_them() {
    module::ensure();
    let camera = video(V4L2_CAP_VIDEO_CAPTURE);
    for heap in HEAPS {
        let rows = Queue::start(&camera, V4L2_BUF_TYPE_VIDEO_CAPTURE, heap, 0x55).take();
        assert!(rows.iter().all(|row| row.iter().any(|&byte| byte != 0x55)), "{heap}: {rows:?}");
    }
}

/// vivid's HDMI output is connected to its HDMI input: what buffers of a heap show there, a camera
/// stores to others of the same heap.
#[test]
fn an_output_shows_them() {
    const FRAMES: usize = 100;
    module::ensure();
    let (camera, output) = (video(V4L2_CAP_VIDEO_CAPTURE), video(V4L2_CAP_VIDEO_OUTPUT));
    let (out, into) = (V4L2_BUF_TYPE_VIDEO_OUTPUT, V4L2_BUF_TYPE_VIDEO_CAPTURE);
    let hdmi = |names: Vec<String>| names.iter().position(|name| name.starts_with("HDMI"));
    let (input_before, output_before) = (camera.input().unwrap(), output.output().unwrap());
    camera.set_input(hdmi(camera.inputs()).expect("an HDMI input") as i32).unwrap();
    output.set_output(hdmi(output.outputs()).expect("an HDMI output") as i32).unwrap();
    let format = camera.format(into).unwrap();
    assert_eq!(output.set_format(out, format), Ok(format), "both have the same frames");
    let menus = camera.menus();
    let control = |name: &str, item: &str| {
        let menu = menus.iter().find(|menu| menu.name == name).expect("vivid has the control");
        (menu.id, menu.value_of(item).unwrap_or_else(|| panic!("{menu:?} has {item}")))
    };
    let cable = control("HDMI 000-0 Is Connected To", "Output HDMI 000-0");
    let (no_text, text) = (control("OSD Text Mode", "None"), control("OSD Text Mode", "All"));
    camera.set_control(no_text.0, no_text.1).unwrap();

    for (byte, heap) in (0x31..).zip(HEAPS) {
        let _shown = Queue::start(&output, out, heap, byte);
        let captured = Queue::start(&camera, into, heap, 0x55);
        let comes_round = (0..FRAMES).any(|_| {
            // A worker of vivid's takes it back now and then, and is then set again.
            if camera.control(cable.0) != Ok(cable.1) {
                let _ = camera.set_control(cable.0, cable.1);
            }
            captured.take().iter().flatten().all(|&seen| seen == byte)
        });
        assert!(comes_round, "{heap}: {FRAMES} frames, and none as it was sent");
    }
    camera.set_control(text.0, text.1).unwrap();
    camera.set_input(input_before).unwrap();
    output.set_output(output_before).unwrap();
}

/// A fence that a device has not signalled holds a bracket, and a signal frees who waits for it, who
/// has not begun then.
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
        assert_eq!(buffer.stats().begins, 0, "{heap}");
        fence.signal();
        buffer.try_sync(START_RW).expect("nothing is waited for");
        buffer.sync(END_RW);
    }
}
