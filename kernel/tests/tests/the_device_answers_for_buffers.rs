//! `/dev/dmabuf` answers for the module's buffers, and with the errno that dmabuf.h tells for all else.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd};

use dmabuf_kernel_tests::{Buffer, HEAPS, flags::*, ioctl, module, page};
use dmabuf_uapi::*;
use rustix::io::Errno;

const SIZE: usize = 64 << 10;

fn device() -> File {
    module::ensure();
    File::open(DMABUF_DEVICE).unwrap()
}

/// Each call, for a descriptor, with a pad.
fn calls(fd: i32, pad: u32) -> [(&'static str, Result<i32, Errno>); 4] {
    let device = device();
    let range = DmaBufSyncRange { flags: START_READ, offset: 0, len: 1 };
    let partial = DmaBufSyncPartial { flags: END_READ, offset: 0, len: 1 };
    let mut query = DmabufDeviceQuery { fd, pad, ..DmabufDeviceQuery::default() };
    let mut stats = DmabufDeviceStats { fd, pad, ..DmabufDeviceStats::default() };
    [
        ("QUERY", ioctl(&device, DMABUF_DEVICE_QUERY, &mut query)),
        ("STATS", ioctl(&device, DMABUF_DEVICE_STATS, &mut stats)),
        (
            "SYNC_RANGE",
            ioctl(
                &device,
                DMABUF_DEVICE_SYNC_RANGE,
                &mut DmabufDeviceSyncRange { fd, pad, sync: range },
            ),
        ),
        (
            "SYNC_PARTIAL",
            ioctl(
                &device,
                DMABUF_DEVICE_SYNC_PARTIAL,
                &mut DmabufDeviceSyncPartial { fd, pad, sync: partial },
            ),
        ),
    ]
}

#[test]
fn all_calls_answer_for_all_heaps() {
    module::ensure();
    for heap in HEAPS {
        let buffer = Buffer::of(heap, SIZE);
        for (call, answer) in calls(buffer.as_fd().as_raw_fd(), 0) {
            assert_eq!(answer, Ok(0), "{call} of {heap}");
        }
    }
}

#[test]
fn what_is_no_buffer_of_the_module_is_told() {
    module::ensure();
    let null = File::open("/dev/null").unwrap();
    let system = Buffer::of("system", SIZE);
    let own = Buffer::of("tracked", SIZE);
    let cases = [
        (-1, 0, Errno::BADF),
        (1000, 0, Errno::BADF),
        (null.as_raw_fd(), 0, Errno::INVAL),
        (system.as_fd().as_raw_fd(), 0, Errno::NOTTY),
        (own.as_fd().as_raw_fd(), 1, Errno::INVAL),
    ];
    for (fd, pad, errno) in cases {
        for (call, answer) in calls(fd, pad) {
            assert_eq!(answer, Err(errno), "{call} of {fd} with pad {pad}");
        }
    }
    let unknown = ioctl(device(), iow::<u64>(DMA_BUF_ACCESS_BASE, 0x7f), &mut 0_u64);
    assert_eq!(unknown, Err(Errno::NOTTY));
}

#[test]
fn flags_and_ranges_are_checked() {
    module::ensure();
    for heap in HEAPS {
        let buffer = Buffer::of(heap, SIZE);
        for flags in (0..16).chain([1 << 32 | START_READ, u64::MAX]) {
            let taken = buffer.try_sync_range(flags, 0..page()).is_ok();
            assert_eq!(taken, [1, 2, 3, 5, 6, 7].contains(&flags), "{heap}: {flags}");
        }
        let refused = |offset, len| {
            let sync = DmaBufSyncRange { flags: START_RW, offset, len };
            let fd = buffer.as_fd().as_raw_fd();
            let mut asked = DmabufDeviceSyncRange { fd, pad: 0, sync };
            ioctl(device(), DMABUF_DEVICE_SYNC_RANGE, &mut asked)
        };
        let size = SIZE as u64;
        for (offset, len) in
            [(0, 0), (size, 1), (size - 1, 2), (0, size + 1), (u64::MAX, 2), (1, u64::MAX)]
        {
            assert_eq!(refused(offset, len), Err(Errno::INVAL), "{heap}: {offset} {len}");
        }
        assert_eq!(refused(size - 1, 1), Ok(0), "{heap}");
    }
}

#[test]
fn stats_count_what_happened_to_a_buffer() {
    module::ensure();
    let buffer = Buffer::of("bounce", SIZE);
    assert_eq!((buffer.stats().begins, buffer.stats().ends), (0, 0));
    buffer.sync(START_RW);
    buffer.sync(END_RW);
    buffer.sync_range(START_READ, 10..20);
    let stats = buffer.stats();
    assert_eq!((stats.begins, stats.ends), (2, 1));
    assert_eq!(stats.bytes_from_device, SIZE as u64 + 10);
    assert_eq!(stats.bytes_to_device, SIZE as u64);
    assert_eq!((stats.violations, stats.reserved), (0, [0; 2]));
}
