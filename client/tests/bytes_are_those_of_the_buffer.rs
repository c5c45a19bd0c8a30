//! What is stored through one mapping is what every other way shows, at the same offsets.

mod support;

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::thread;

use dmabuf::{DmaBuf, Error, MapOptions, RowLayout};
use support::memfd;

#[test]
fn offsets_are_those_of_the_buffer_however_little_is_mapped() {
    let fd = memfd(5 * 4096 + 123);
    let file = File::from(fd.try_clone().unwrap());
    let buffer = DmaBuf::from_fd(fd).unwrap();
    let mapping = buffer.map_with(&MapOptions::new().range(5001..20_000)).unwrap();
    assert_eq!((mapping.range().start(), mapping.range().end()), (5001, 20_000));

    mapping.write(9999..10_003).unwrap().copy_from(0, &[1_u8, 2, 3, 4]).unwrap();
    let mut bytes = [0; 6];
    file.read_exact_at(&mut bytes, 9998).unwrap();
    assert_eq!(bytes, [0, 1, 2, 3, 4, 0]);

    file.write_all_at(&[9, 8, 7], 5001).unwrap();
    let guard = mapping.read(..).unwrap();
    assert_eq!(guard.slice(..3).unwrap().to_vec(), [9, 8, 7]);
    assert_eq!(guard.len(), 20_000 - 5001);
}

#[test]
fn the_last_byte_of_a_buffer_that_ends_inside_of_a_page_is_there() {
    let buffer = DmaBuf::from_fd(memfd(4097)).unwrap();
    let mapping = buffer.map().unwrap();
    mapping.write(4096..).unwrap().store(0, 42_u8).unwrap();
    assert_eq!(mapping.read(4096..4097).unwrap().load::<u8>(0).unwrap(), 42);
    assert!(mapping.read(4096..4098).is_err());
}

#[test]
fn a_mapping_and_its_buffer_outlive_each_other() {
    let buffer = DmaBuf::from_fd(memfd(4096)).unwrap();
    let first = buffer.map().unwrap();
    let second = first.buffer().clone();
    drop(buffer);
    first.write(..4).unwrap().fill(5);
    drop(first);
    assert_eq!(second.map().unwrap().read(..4).unwrap().to_vec(), [5; 4]);
}

#[test]
fn a_read_only_mapping_loads_and_refuses_to_store() {
    let fd = memfd(4096);
    File::from(fd.try_clone().unwrap()).write_all_at(b"old", 0).unwrap();
    let buffer = DmaBuf::from_fd(fd).unwrap();
    let mapping = buffer.map_with(&MapOptions::new().read_only()).unwrap();
    assert_eq!(mapping.read(..3).unwrap().to_vec(), b"old");
    assert!(matches!(mapping.write(..3), Err(Error::ReadOnlyMapping)));
    assert!(matches!(mapping.read_write(..3), Err(Error::ReadOnlyMapping)));
}

#[test]
fn rows_are_where_the_layout_says() {
    let buffer = DmaBuf::from_fd(memfd(4096)).unwrap();
    let mapping = buffer.map().unwrap();
    let picture = RowLayout { offset: 10, stride: 16, len: 6, count: 4 };
    {
        let guard = mapping.read_write(100..200).unwrap();
        let rows = guard.rows(picture).unwrap();
        assert_eq!(rows.size_hint(), (4, Some(4)));
        for (row, value) in rows.zip(1..) {
            assert_eq!(row.len(), 6);
            row.fill(value);
        }
    }
    let expected: Vec<u8> = (0..100_usize)
        .map(|i| match i.checked_sub(10) {
            Some(i) if i / 16 < 4 && i % 16 < 6 => (i / 16 + 1) as u8,
            _ => 0,
        })
        .collect();
    let guard = mapping.read(100..200).unwrap();
    assert_eq!(guard.to_vec(), expected);

    // The last row ends at 10 + 5 * 16 + 6 = 96 of 100: one more row would not be inside.
    assert_eq!(guard.rows(RowLayout { count: 6, ..picture }).unwrap().count(), 6);
    for refused in [
        RowLayout { count: 7, ..picture },
        RowLayout { len: 43, ..picture },
        RowLayout { stride: u64::MAX, ..picture },
        RowLayout { offset: u64::MAX, count: 1, ..picture },
        RowLayout { count: u64::MAX, ..picture },
    ] {
        let error = guard.rows(refused).unwrap_err();
        assert!(matches!(error, Error::OutOfBounds { .. }), "{refused:?}: {error:?}");
    }
    assert!(matches!(guard.rows(RowLayout { len: 0, ..picture }), Err(Error::EmptyRange)));
    assert_eq!(guard.rows(RowLayout { count: 0, ..picture }).unwrap().count(), 0);
}

#[test]
fn two_threads_store_through_one_mapping() {
    let buffer = DmaBuf::from_fd(memfd(2 * 65_536)).unwrap();
    let mapping = buffer.map().unwrap();
    thread::scope(|scope| {
        for half in 0..2_u64 {
            let mapping = &mapping;
            scope.spawn(move || {
                for round in 0..200_u64 {
                    let range = half * 65_536..(half + 1) * 65_536;
                    let guard = mapping.read_write(range).unwrap();
                    let value = (round * 2 + half) as u8;
                    guard.fill(value);
                    assert!(guard.to_vec().iter().all(|&byte| byte == value));
                    guard.end().unwrap();
                }
            });
        }
    });
    let bytes = mapping.read(..).unwrap().to_vec();
    assert!(bytes[..65_536].iter().all(|&byte| byte == 398_u64 as u8));
    assert!(bytes[65_536..].iter().all(|&byte| byte == 399_u64 as u8));
}

#[test]
fn two_threads_may_race_for_the_same_bytes_in_one_guard() {
    let buffer = DmaBuf::from_fd(memfd(4096)).unwrap();
    let mapping = buffer.map().unwrap();
    let guard = mapping.read_write(..).unwrap();
    thread::scope(|scope| {
        for value in [0x11_u8, 0x22] {
            let guard = &guard;
            scope.spawn(move || {
                for _ in 0..2000 {
                    guard.fill(value);
                    let bytes = guard.to_vec();
                    assert!(bytes.iter().all(|byte| [0x11, 0x22].contains(byte)));
                }
            });
        }
    });
}
