//! A frame's planes are where its layout says; a layout that cannot be true is refused before a
//! byte is touched; and all planes are bracketed, or none.

mod support;

use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use dmabuf::frame::{BadFrame, Fourcc, Frame, FrameLayout, FrameMapping, Modifier, PlaneLayout};
use dmabuf::{Access, DmaBuf, Error, Guard, MapOptions, Mapping, Mmap, Parcel, Read, Write};
use proptest::prelude::*;
use rustix::fs::{SealFlags, fcntl_add_seals};
use rustix::io::Errno;
use support::{Call, Recorded, Recorder, heaps, memfd};

fn sealed(size: u64) -> DmaBuf {
    let fd = memfd(size);
    fcntl_add_seals(&fd, SealFlags::SHRINK).unwrap();
    DmaBuf::from_fd(fd).unwrap()
}

fn nv12(planes: [(usize, u64, u64); 2]) -> FrameLayout {
    FrameLayout {
        fourcc: Fourcc::new(*b"NV12"),
        modifier: Modifier::LINEAR,
        width: 30,
        height: 20,
        planes: planes
            .map(|(buffer, offset, stride)| PlaneLayout { buffer, offset, stride })
            .to_vec(),
    }
}

fn refused(layout: FrameLayout, sizes: &[u64]) -> BadFrame {
    let buffers = sizes.iter().map(|&size| sealed(size)).collect();
    match Frame::new(layout, buffers) {
        Err(Error::Frame(refused)) => refused,
        other => panic!("{other:?}"),
    }
}

#[test]
fn planes_in_one_buffer_or_two_are_where_they_are_said_to_be() {
    for (layout, sizes) in [
        (nv12([(0, 100, 32), (0, 1000, 32)]), vec![1000 + 9 * 32 + 30]),
        (nv12([(0, 100, 32), (1, 7, 40)]), vec![100 + 19 * 32 + 30, 7 + 9 * 40 + 30]),
    ] {
        let planes = layout.planes.clone();
        let buffers: Vec<_> = sizes.iter().map(|&size| sealed(size)).collect();
        let frame = Frame::new(layout, buffers.clone()).unwrap();
        let mapping = frame.map().unwrap();
        let pixels = mapping.read_write().unwrap();
        assert_eq!(pixels.planes(), 2);
        for (plane, rows) in [(0, 20), (1, 10)] {
            assert_eq!(pixels.rows(plane).unwrap().count(), rows);
            for row in pixels.rows(plane).unwrap() {
                assert_eq!(row.len(), 30);
                row.fill(plane as u8 + 1);
            }
        }
        assert!(pixels.plane(2).is_none() && pixels.rows(2).is_none());
        pixels.end().unwrap();
        let mut counts = [0; 3];
        for buffer in &buffers {
            for byte in buffer.map().unwrap().read(..).unwrap().to_vec() {
                counts[usize::from(byte)] += 1;
            }
        }
        assert_eq!(counts[1..], [20 * 30, 10 * 30]);
        let PlaneLayout { buffer, offset, stride } = planes[1];
        let at = offset + 9 * stride + 29;
        let last = buffers[buffer].map().unwrap().read(at..).unwrap().load::<u8>(0).unwrap();
        assert_eq!(last, 2, "the last byte of the last row, and of the buffer");
    }
}

#[test]
fn descriptors_of_one_buffer_are_one_mapping() {
    for heap in heaps() {
        let buffer = heap.allocate(8192).unwrap();
        if buffer.capability().mmap == Some(Mmap::Never) {
            continue;
        }
        let again = DmaBuf::from_fd(buffer.as_fd().try_clone_to_owned().unwrap()).unwrap();
        let other = heap.allocate(8192).unwrap();
        let shared = Frame::new(nv12([(0, 0, 32), (1, 640, 32)]), vec![buffer.clone(), again]);
        assert_eq!(shared.unwrap().map().unwrap().mappings().len(), 1, "{}", heap.name());
        let separate = Frame::new(nv12([(0, 0, 32), (1, 640, 32)]), vec![buffer, other]);
        assert_eq!(separate.unwrap().map().unwrap().mappings().len(), 2, "{}", heap.name());
    }
}

#[test]
fn what_cannot_be_true_is_refused() {
    let good = nv12([(0, 0, 32), (0, 640, 32)]);
    let size = 640 + 9 * 32 + 30;
    assert!(Frame::new(good.clone(), vec![sealed(size)]).is_ok());
    assert_eq!(
        refused(good.clone(), &[size - 1]),
        BadFrame::PastEnd { plane: 1, end: size, size: size - 1 }
    );
    let narrow = refused(nv12([(0, 0, 29), (0, 640, 32)]), &[4096]);
    assert_eq!(narrow, BadFrame::Stride { plane: 0, stride: 29, row: 30 });
    let elsewhere = refused(nv12([(0, 0, 32), (1, 0, 32)]), &[4096]);
    assert_eq!(elsewhere, BadFrame::NoBuffer { plane: 1, buffer: 1, buffers: 1 });
    let empty = FrameLayout { height: 0, ..good.clone() };
    assert_eq!(refused(empty, &[4096]), BadFrame::Empty { width: 30, height: 0 });
    let mut one = good.clone();
    one.planes.pop();
    assert!(matches!(refused(one, &[4096]), BadFrame::Planes { found: 1, .. }));
    let five = vec![good.planes[0]; 5];
    let tiled = FrameLayout { modifier: Modifier::INVALID, planes: five, ..good };
    assert!(matches!(refused(tiled, &[4096]), BadFrame::Planes { found: 5, .. }));
}

#[test]
fn of_an_unknown_layout_there_are_bytes_and_no_rows() {
    let tiled = FrameLayout { modifier: Modifier(0x100_0001), ..nv12([(0, 16, 32), (0, 64, 8)]) };
    let mapping = Frame::new(tiled.clone(), vec![sealed(100)]).unwrap().map().unwrap();
    let guard = mapping.read().unwrap();
    assert_eq!(guard.plane(1).unwrap().len(), 36);
    assert!(guard.rows(1).is_none());
    assert!(matches!(refused(tiled, &[60]), BadFrame::PastEnd { plane: 1, .. }));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// No layout, however false, gives a view of a byte that is not in the buffer.
    #[test]
    fn no_layout_leads_past_the_end(
        offset in prop_oneof![0..5000_u64, any::<u64>()],
        stride in prop_oneof![0..100_u64, any::<u64>()],
        width in prop_oneof![0..50_u32, any::<u32>()],
        height in prop_oneof![0..50_u32, any::<u32>()],
        modifier in prop_oneof![Just(0), any::<u64>()],
    ) {
        let mut layout = nv12([(0, offset, stride), (0, 0, 64)]);
        (layout.width, layout.height, layout.modifier) = (width, height, Modifier(modifier));
        if let Ok(frame) = Frame::new(layout, vec![sealed(4096)]) {
            let mapping = frame.map().unwrap();
            let guard = mapping.read().unwrap();
            for plane in 0..2 {
                prop_assert!(guard.plane(plane).is_some());
                if let Some(rows) = guard.rows(plane) {
                    rows.for_each(|row| drop(row.to_vec()));
                }
            }
        }
    }
}

#[test]
fn a_frame_travels_in_a_parcel() {
    let layout = nv12([(0, 100, 32), (1, 0, 40)]);
    let frame = Frame::new(layout.clone(), vec![sealed(800), sealed(800)]).unwrap();
    let (here, there) = UnixStream::pair().unwrap();
    frame.to_parcel().send(&here).unwrap();
    let arrived = Frame::from_parcel(Parcel::receive(&there).unwrap()).unwrap();
    assert_eq!(arrived.layout(), &layout);
    frame.map().unwrap().write().unwrap().plane(1).unwrap().fill(5);
    let mapping = arrived.map_read_only().unwrap();
    let bytes = mapping.read().unwrap().plane(1).unwrap().to_vec();
    assert!(bytes.iter().all(|&byte| byte == 5) && bytes.len() == 390);

    let mut small = frame.to_parcel();
    small.buffers[1] = sealed(100);
    assert!(matches!(Frame::from_parcel(small), Err(Error::Frame(BadFrame::PastEnd { .. }))));
    let other = Parcel { buffers: vec![sealed(800)], note: b"left eye".to_vec() };
    assert!(matches!(Frame::from_parcel(other), Err(Error::Parcel(_))));
}

#[test]
fn all_brackets_begin_or_none_is_left_open() {
    let (first, second) = (Recorder::new(4096), Recorder::new(4096));
    let map = |recorder| Mapping::new(Recorded(recorder), &MapOptions::new()).unwrap();
    let (a, b) = (map(&first), map(&second));
    first.calls();
    second.calls();
    second.fail_with(&[Errno::INTR, Errno::IO]);
    let error = Guard::<_, Write>::begin_all([(&a, 0..8), (&b, 0..8)]).unwrap_err();
    assert_eq!(error.errno(), Some(Errno::IO.raw_os_error()));
    assert_eq!(first.calls(), [Call::Begin(Access::Write, 0, 8), Call::End(Access::Write, 0, 8)]);
    assert_eq!(second.calls(), [Call::Begin(Access::Write, 0, 8); 2]);

    let outside = Guard::<_, Write>::begin_all([(&a, 0..8), (&b, 0..5000)]);
    assert!(matches!(outside, Err(Error::OutOfBounds { .. })));
    assert_eq!(first.calls(), [], "nothing begins if a part is not there");
    assert_eq!(Guard::<_, Read>::begin_all([(&a, 0..8), (&b, 0..8)]).unwrap().len(), 2);
}

#[test]
fn several_frames_are_bracketed_together() {
    let layout = nv12([(0, 0, 32), (0, 640, 32)]);
    let frame = |size| Frame::new(layout.clone(), vec![sealed(size)]).unwrap();
    let (a, b) = (frame(1000), frame(2000));
    let (a, b) = (a.map().unwrap(), b.map_read_only().unwrap());
    assert_eq!(FrameMapping::begin_all::<Read>([&a, &b]).unwrap().len(), 2);
    let error = FrameMapping::begin_all::<Write>([&a, &b]).unwrap_err();
    assert!(matches!(error, Error::ReadOnlyMapping));
}
