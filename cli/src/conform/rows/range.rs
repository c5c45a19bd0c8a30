//! Brackets over a range: `dmabuf.h`. Mainline's exporters have none, and cannot be asked.

use dmabuf_uapi as uapi;
use rustix::io::Errno;

use super::super::row::{Row, Stop, required, saw, whether};
use super::super::sys::page;
use super::super::target::{Buffer, Target};

const HEADER: &str = "struct dma_buf_sync_range, uapi/include/dmabuf.h";
const PARTIAL: &str = "struct dma_buf_sync_partial, uapi/include/dmabuf.h, as on vendor kernels";
const CONTRACT: &str = "DESIGN.md, The contract, where it needed deciding: granule";

pub const ROWS: &[Row] = &[
    required(
        "range.read-write",
        "A bracket over a range begins and ends.",
        HEADER,
        "ok",
        |target| {
            let buffer = ranged(target)?;
            saw(buffer.sync_range(3, 10, 100).and_then(|()| buffer.sync_range(7, 10, 100)))
        },
    ),
    required("range.last-byte", "It may be over the last byte alone.", HEADER, "ok", |target| {
        let buffer = ranged(target)?;
        let last = buffer.size - 1;
        saw(buffer.sync_range(3, last, 1).and_then(|()| buffer.sync_range(7, last, 1)))
    }),
    required("range.empty", "A range of no bytes is refused.", HEADER, "EINVAL", |target| {
        saw(ranged(target)?.sync_range(3, 0, 0))
    }),
    required(
        "range.past-end",
        "A range that ends past the end is refused.",
        HEADER,
        "EINVAL",
        |target| {
            let buffer = ranged(target)?;
            saw(buffer.sync_range(3, buffer.size - 1, 2))
        },
    ),
    required("range.overflow", "So is one whose end is no number.", HEADER, "EINVAL", |target| {
        saw(ranged(target)?.sync_range(3, u64::MAX, 2))
    }),
    required(
        "range.every-low-flag",
        "Of the flags 0 to 63 only 1, 2, 3, 5, 6 and 7 are taken.",
        HEADER,
        "1 2 3 5 6 7",
        |target| {
            let buffer = ranged(target)?;
            let taken = (0..64).filter(|&flags| buffer.sync_range(flags, 0, 8).is_ok());
            Ok(taken.map(|flags| flags.to_string()).collect::<Vec<_>>().join(" "))
        },
    ),
    required("range.partial", "So it is with the vendors' call.", PARTIAL, "ok", |target| {
        let buffer = ranged(target)?;
        saw(buffer.sync_partial(3, 10, 100).and_then(|()| buffer.sync_partial(7, 10, 100)))
    }),
    required(
        "range.partial-past-end",
        "The vendors' call refuses a range that ends past the end.",
        PARTIAL,
        "EINVAL",
        |target| {
            let buffer = ranged(target)?;
            saw(buffer.sync_partial(3, buffer.size as u32 - 1, 2))
        },
    ),
    required(
        "range.cpu-to-device",
        "The other side sees what was stored in the range, once the bracket ended.",
        HEADER,
        "seen",
        |target| {
            let buffer = ranged(target)?;
            let (map, other) = (buffer.map()?, buffer.other()?);
            buffer.sync_range(2, page() + 3, 5)?;
            map.fill(page() + 3, 5, 0x61);
            buffer.sync_range(6, page() + 3, 5)?;
            whether(other.load(page() + 3, 5)? == [0x61; 5], "seen", "stale")
        },
    ),
    required(
        "range.device-to-cpu",
        "A bracket over a range shows what the other side stored there before it.",
        HEADER,
        "seen",
        |target| {
            let buffer = ranged(target)?;
            let (map, other) = (buffer.map()?, buffer.other()?);
            other.store(page() + 3, &[0x62; 5])?;
            buffer.sync_range(1, page() + 3, 5)?;
            let seen = map.bytes(page() + 3, 5);
            buffer.sync_range(5, page() + 3, 5)?;
            whether(seen == [0x62; 5], "seen", "stale")
        },
    ),
    required(
        "range.beside-kept",
        "What the other side stores beside the range, meanwhile, is kept.",
        CONTRACT,
        "kept",
        |target| {
            let buffer = ranged(target)?;
            let (map, other) = (buffer.map()?, buffer.other()?);
            buffer.sync_range(3, 0, page())?;
            map.store(0, 1);
            other.store(2 * page(), &[0x63; 9])?;
            buffer.sync_range(7, 0, page())?;
            whether(other.load(2 * page(), 9)? == [0x63; 9], "kept", "lost")
        },
    ),
];

/// A buffer that can be mapped and has brackets over a range.
fn ranged(target: &Target) -> Result<Buffer, Stop> {
    let buffer = target.mappable()?;
    let answer = buffer.sync_range(uapi::DMA_BUF_SYNC_READ, 0, 1);
    if answer == Err(Errno::NOTTY) {
        return Err(Stop::not_here("it has no brackets over a range"));
    }
    answer?;
    buffer.sync_range(uapi::DMA_BUF_SYNC_END | uapi::DMA_BUF_SYNC_READ, 0, 1)?;
    Ok(buffer)
}
