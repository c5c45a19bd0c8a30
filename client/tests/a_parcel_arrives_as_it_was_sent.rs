//! Buffers that are handed to another program are the same buffers there, one parcel after the
//! other; and what the other side would refuse is not sent.

mod support;

use std::os::unix::net::UnixStream;
use std::thread;

use dmabuf::parcel::{BadParcel, MAX_BUFFERS, MAX_NOTE};
use dmabuf::{DmaBuf, Error, Mmap, Parcel};
use rustix::fs::{SealFlags, fcntl_add_seals};
use support::{heaps, memfd};

fn sealed(size: u64) -> DmaBuf {
    let fd = memfd(size);
    fcntl_add_seals(&fd, SealFlags::SHRINK).unwrap();
    DmaBuf::from_fd(fd).unwrap()
}

#[test]
fn the_bytes_of_every_kind_of_buffer_arrive() {
    let (here, there) = UnixStream::pair().unwrap();
    let mut buffers = vec![sealed(5000)];
    buffers.extend(heaps().iter().map(|heap| heap.allocate(8192).unwrap()));
    buffers.retain(|buffer| buffer.capability().mmap != Some(Mmap::Never));
    let parcel = Parcel { buffers, note: b"three planes".to_vec() };
    parcel.send(&here).unwrap();
    let arrived = Parcel::receive(&there).unwrap();
    assert_eq!(arrived.note, b"three planes");
    assert_eq!(arrived.buffers.len(), parcel.buffers.len());
    for (sent, arrived) in parcel.buffers.iter().zip(&arrived.buffers) {
        assert_eq!((sent.kind(), sent.size()), (arrived.kind(), arrived.size()));
        sent.map().unwrap().write(4096..4100).unwrap().fill(3);
        assert_eq!(arrived.map().unwrap().read(4096..4100).unwrap().to_vec(), [3; 4]);
    }
}

#[test]
fn one_parcel_does_not_eat_of_the_next() {
    let (here, there) = UnixStream::pair().unwrap();
    let sizes: Vec<u64> = (1..=20).collect();
    thread::scope(|scope| {
        scope.spawn(|| {
            for &size in &sizes {
                let buffers = (0..size).map(|_| sealed(size)).collect();
                Parcel { buffers, note: vec![size as u8; size as usize * 3000] }
                    .send(&here)
                    .unwrap();
            }
            Parcel::default().send(&here).unwrap();
        });
        for &size in &sizes {
            let parcel = Parcel::receive(&there).unwrap();
            assert_eq!(parcel.buffers.len() as u64, size);
            assert!(parcel.buffers.iter().all(|buffer| buffer.size() == size));
            assert_eq!(parcel.note, vec![size as u8; size as usize * 3000]);
        }
        let last = Parcel::receive(&there).unwrap();
        assert!(last.buffers.is_empty() && last.note.is_empty());
    });
    drop(here);
    let error = Parcel::receive(&there).unwrap_err();
    assert!(matches!(&error, Error::Socket(source)
        if source.kind() == std::io::ErrorKind::UnexpectedEof));
}

#[test]
fn what_would_be_refused_is_not_sent() {
    let (here, there) = UnixStream::pair().unwrap();
    let refused = |buffers: Vec<DmaBuf>, note: usize| {
        let error = Parcel { buffers, note: vec![0; note] }.send(&here).unwrap_err();
        let Error::Parcel(refused) = error else { panic!("{error:?}") };
        refused
    };
    let resizable = DmaBuf::from_fd(memfd(4096)).unwrap();
    assert_eq!(refused(vec![sealed(1), resizable], 0), BadParcel::Resizable { index: 1 });
    let null = DmaBuf::from_fd(std::fs::File::open("/dev/null").unwrap().into()).unwrap();
    assert!(matches!(refused(vec![null], 0), BadParcel::Kind { index: 0, .. }));
    let many = vec![sealed(1); MAX_BUFFERS + 1];
    assert!(matches!(refused(many, 0), BadParcel::TooLarge { .. }));
    assert!(matches!(refused(vec![], MAX_NOTE + 1), BadParcel::TooLarge { .. }));
    there.set_nonblocking(true).unwrap();
    let nothing = Parcel::receive(&there).unwrap_err();
    assert!(matches!(&nothing, Error::Socket(source)
        if source.kind() == std::io::ErrorKind::WouldBlock));
}
