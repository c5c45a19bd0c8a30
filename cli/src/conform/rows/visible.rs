//! Who sees whose bytes, and when: the CPU through a mapping, and a second side. That is the memfd
//! of a udmabuf, the device side of a served buffer, the device's own mapping of a DRM or V4L2
//! buffer, and another driver that the buffer is imported by: for a heap, the kernel module's device.

use super::super::row::{Row, Stop, may_differ, required, saw, whether};
use super::super::sys::{self, Ended, page};
use super::super::target::{Drm, Family, V4l2, Wanted};

const DOC: &str = "Documentation/driver-api/dma-buf.rst, CPU access to DMA buffer objects";
const CONTRACT: &str =
    "dma_buf_begin_cpu_access, dma_buf_end_cpu_access, drivers/dma-buf/dma-buf.c";

pub const ROWS: &[Row] = &[
    required(
        "visible.device-to-cpu",
        "A bracket for loads shows what the other side stored before it.",
        DOC,
        "seen",
        |target| {
            let (buffer, map) = target.mapped()?;
            let other = buffer.other()?;
            other.store(page() + 5, b"device")?;
            buffer.sync(1)?;
            let seen = map.bytes(page() + 5, 6);
            buffer.sync(5)?;
            whether(seen == b"device", "seen", "stale")
        },
    ),
    required(
        "visible.cpu-to-device",
        "The other side sees what a bracket for stores stored, once it ended.",
        DOC,
        "seen",
        |target| {
            let (buffer, map) = target.mapped()?;
            let other = buffer.other()?;
            buffer.sync(2)?;
            map.fill(page(), page(), 0x11);
            buffer.sync(6)?;
            whether(other.load(page(), page())?.iter().all(|&byte| byte == 0x11), "seen", "stale")
        },
    ),
    required(
        "visible.first-and-last",
        "So it is for a buffer's first byte and its last.",
        DOC,
        "seen",
        |target| {
            let (buffer, map) = target.mapped()?;
            let (other, last) = (buffer.other()?, map.len() - 1);
            buffer.sync(3)?;
            map.store(0, 0x21);
            map.store(last, 0x22);
            buffer.sync(7)?;
            let seen = [other.load(0, 1)?, other.load(last, 1)?].concat();
            whether(seen == [0x21, 0x22], "seen", "stale")
        },
    ),
    required(
        "visible.again",
        "Each of ten brackets shows what the other side stored last.",
        CONTRACT,
        "seen",
        |target| {
            let (buffer, map) = target.mapped()?;
            let other = buffer.other()?;
            for round in 1..=10 {
                other.store(100, &[round])?;
                buffer.sync(3)?;
                let seen = map.load(100);
                map.store(200, round);
                buffer.sync(7)?;
                if seen != round || other.load(200, 1)? != [round] {
                    return Ok(format!("stale in round {round}"));
                }
            }
            Ok("seen".to_owned())
        },
    ),
    required(
        "visible.read-keeps",
        "A bracket for loads alone loses nothing that the other side stored.",
        CONTRACT,
        "kept",
        |target| {
            let (buffer, map) = target.mapped()?;
            let other = buffer.other()?;
            other.store(0, &[7; 64])?;
            buffer.sync(1)?;
            map.load(0);
            buffer.sync(5)?;
            whether(other.load(0, 64)? == [7; 64], "kept", "lost")
        },
    ),
    required(
        "visible.untouched-kept",
        "A bracket for both loses nothing that the other side stored before and the CPU left alone.",
        CONTRACT,
        "kept",
        |target| {
            let (buffer, map) = target.mapped()?;
            let other = buffer.other()?;
            other.store(page(), &[9; 64])?;
            buffer.sync(3)?;
            map.store(0, 1);
            buffer.sync(7)?;
            whether(other.load(page(), 64)? == [9; 64], "kept", "lost")
        },
    ),
    may_differ(
        "visible.cpu-outside",
        "What is stored outside of a bracket may be seen by the other side, or not.",
        DOC,
        &[
            ("udmabuf", "seen"),
            ("heap", "seen"),
            ("heap", "stale"),
            ("drm", "seen"),
            ("v4l2", "seen"),
            ("coherent", "seen"),
            ("bounce", "stale"),
            ("tracked", "stale"),
            ("checked", "stale"),
        ],
        |target| {
            let (buffer, map) = target.mapped()?;
            let other = buffer.other()?;
            buffer.sync(3)?;
            map.store(page(), 1);
            buffer.sync(7)?;
            map.store(page(), 2);
            whether(other.load(page(), 1)? == [2], "seen", "stale")
        },
    ),
    may_differ(
        "visible.device-outside",
        "What the other side stores is seen outside of a bracket, or not.",
        DOC,
        &[
            ("udmabuf", "seen"),
            ("heap", "seen"),
            ("heap", "stale"),
            ("drm", "seen"),
            ("v4l2", "seen"),
            ("coherent", "seen"),
            ("bounce", "stale"),
            ("tracked", "stale"),
            ("checked", "seen"),
        ],
        |target| {
            let (buffer, map) = target.mapped()?;
            let other = buffer.other()?;
            buffer.sync(1)?;
            map.load(page());
            buffer.sync(5)?;
            other.store(page(), &[3])?;
            whether(map.load(page()) == 3, "seen", "stale")
        },
    ),
    may_differ(
        "visible.stray-end",
        "An END for stores without a START, which is a mistake, may lose what the other side stored.",
        CONTRACT,
        &[
            ("udmabuf", "kept"),
            ("heap", "kept"),
            ("heap", "lost"),
            ("drm", "kept"),
            ("v4l2", "kept"),
            ("served", "kept"),
            ("bounce", "lost"),
        ],
        |target| {
            let (buffer, _map) = target.mapped()?;
            let other = buffer.other()?;
            buffer.sync(3)?;
            buffer.sync(7)?;
            other.store(page(), &[8; 64])?;
            let _ = buffer.sync(7);
            whether(other.load(page(), 64)? == [8; 64], "kept", "lost")
        },
    ),
    required(
        "visible.unmapped-before-end",
        "What was stored is seen though the mapping was gone before the bracket ended.",
        CONTRACT,
        "seen",
        |target| {
            let (buffer, map) = target.mapped()?;
            let other = buffer.other()?;
            buffer.sync(3)?;
            map.store(10, 0x31);
            drop(map);
            buffer.sync(7)?;
            whether(other.load(10, 1)? == [0x31], "seen", "stale")
        },
    ),
    required(
        "visible.died-inside",
        "What a process stored that died inside of a bracket is seen.",
        "the contract's seventh point; munmap of a coherent mapping",
        "seen",
        |target| {
            let buffer = target.mappable()?;
            let other = buffer.other()?;
            sys::in_a_fork(|| {
                let Ok(map) = buffer.map() else { return 1 };
                if buffer.sync(3).is_err() {
                    return 1;
                }
                map.store(page(), 0x41);
                sys::kill_me()
            })?;
            whether(other.load(page(), 1)? == [0x41], "seen", "stale")
        },
    ),
    required(
        "visible.other-process",
        "A bracket shows what another process stored in its bracket.",
        DOC,
        "seen",
        |target| {
            let (buffer, map) = target.mapped()?;
            let ended = sys::in_a_fork(|| {
                let Ok(own) = buffer.map() else { return 1 };
                let stored = buffer.sync(2).map(|()| own.fill(page(), 64, 0x51));
                u8::from(stored.and_then(|()| buffer.sync(6)).is_err())
            })?;
            if ended != Ended::Exited(0) {
                return Ok("refused".to_owned());
            }
            buffer.sync(1)?;
            let seen = map.bytes(page(), 64);
            buffer.sync(5)?;
            whether(seen == [0x51; 64], "seen", "stale")
        },
    ),
    required(
        "visible.camera",
        "A camera of another driver fills it with a frame, and a bracket shows that.",
        "VIDIOC_QBUF(2), V4L2_MEMORY_DMABUF; vb2_vmalloc_attach_dmabuf",
        "a frame",
        |target| {
            if target.family() == Family::V4l2 {
                return Err(Stop::not_here("the camera's own buffers need no import"));
            }
            let camera = V4l2::camera(&target.path).ok_or(Stop::not_here("no camera (vivid)"))?;
            let size = camera.frame()?.next_multiple_of(page());
            let wanted = Wanted::of(size);
            let buffer = target.exporter().create(wanted)?;
            if target.refuses_mmap(&buffer) {
                return Err(Stop::not_here("its buffers cannot be mapped"));
            }
            if let Err(errno) = camera.capture_into(&buffer) {
                return saw(Err::<(), _>(errno));
            }
            let map = buffer.map()?;
            buffer.sync(1)?;
            let bytes = map.bytes(0, camera.frame()?);
            buffer.sync(5)?;
            whether(bytes.iter().any(|&byte| byte != bytes[0]), "a frame", "nothing")
        },
    ),
    required(
        "visible.import",
        "A driver that imports dma-bufs takes it.",
        "drm_gem_prime_fd_to_handle, drivers/gpu/drm/drm_prime.c",
        "ok",
        |target| {
            let card = Drm::find("vgem").ok_or(Stop::not_here("no importer (vgem)"))?;
            let buffer = target.buffer()?;
            saw(card.import(&buffer).and_then(|handle| card.close(handle)))
        },
    ),
];
