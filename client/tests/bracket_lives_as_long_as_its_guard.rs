//! A bracket begins with its guard and ends with it, once, whatever happens in between.

mod support;

use std::panic::{AssertUnwindSafe, catch_unwind};

use dmabuf::{Access, Error, MapOptions, Mapping};
use rustix::io::Errno;
use support::{Call, Recorded, Recorder};

const SIZE: u64 = 3 * 4096;

fn map(recorder: &Recorder) -> Mapping<Recorded<'_>> {
    let mapping = Mapping::new(Recorded(recorder), &MapOptions::new()).unwrap();
    assert_eq!(recorder.calls(), [Call::Mapped { offset: 0, len: SIZE as usize }]);
    mapping
}

#[test]
fn from_map_to_unmap_the_exporter_hears_everything_in_order() {
    let recorder = Recorder::new(SIZE);
    let mapping = map(&recorder);
    mapping.read(100..200).unwrap().end().unwrap();
    drop(mapping.write(4096..).unwrap());
    let _ = mapping.read_write(..).unwrap();
    drop(mapping);
    assert_eq!(
        recorder.calls(),
        [
            Call::Begin(Access::Read, 100, 200),
            Call::End(Access::Read, 100, 200),
            Call::Begin(Access::Write, 4096, SIZE),
            Call::End(Access::Write, 4096, SIZE),
            Call::Begin(Access::ReadWrite, 0, SIZE),
            Call::End(Access::ReadWrite, 0, SIZE),
            Call::Unmapping,
        ]
    );
}

#[test]
fn guards_nest_and_overlap() {
    let recorder = Recorder::new(SIZE);
    let mapping = map(&recorder);
    let outer = mapping.read_write(..).unwrap();
    let inner = mapping.read(10..20).unwrap();
    drop(outer);
    drop(inner);
    assert_eq!(
        recorder.calls(),
        [
            Call::Begin(Access::ReadWrite, 0, SIZE),
            Call::Begin(Access::Read, 10, 20),
            Call::End(Access::ReadWrite, 0, SIZE),
            Call::End(Access::Read, 10, 20),
        ]
    );
}

#[test]
fn a_panic_ends_the_bracket() {
    let recorder = Recorder::new(SIZE);
    let mapping = map(&recorder);
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        let _guard = mapping.write(0..16).unwrap();
        panic!("in the bracket");
    }));
    assert!(panicked.is_err());
    assert_eq!(
        recorder.calls(),
        [Call::Begin(Access::Write, 0, 16), Call::End(Access::Write, 0, 16)]
    );
}

#[test]
fn a_panic_in_a_bracket_whose_end_fails_is_no_abort() {
    let recorder = Recorder::new(SIZE);
    let mapping = map(&recorder);
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        let _guard = mapping.write(0..16).unwrap();
        recorder.fail_with(&[Errno::IO]);
        panic!("in the bracket");
    }));
    assert!(panicked.is_err());
    assert!(matches!(mapping.take_failed_end(), Some(Error::End { .. })));
}

#[test]
fn signals_and_busy_exporters_are_restarted() {
    let recorder = Recorder::new(SIZE);
    let mapping = map(&recorder);
    recorder.fail_with(&[Errno::INTR, Errno::AGAIN, Errno::INTR]);
    let guard = mapping.read(0..8).unwrap();
    assert_eq!(recorder.calls(), [Call::Begin(Access::Read, 0, 8); 4]);
    recorder.fail_with(&[Errno::AGAIN, Errno::INTR]);
    guard.end().unwrap();
    assert_eq!(recorder.calls(), [Call::End(Access::Read, 0, 8); 3]);

    let guard = mapping.read(0..8).unwrap();
    recorder.calls();
    recorder.fail_with(&[Errno::INTR]);
    drop(guard);
    assert_eq!(recorder.calls(), [Call::End(Access::Read, 0, 8); 2]);
    assert!(mapping.take_failed_end().is_none());
}

#[test]
fn a_begin_that_fails_gives_no_access_and_is_not_ended() {
    let recorder = Recorder::new(SIZE);
    let mapping = map(&recorder);
    recorder.fail_with(&[Errno::INTR, Errno::IO]);
    let error = mapping.read(0..8).unwrap_err();
    assert!(matches!(error, Error::Begin { access: Access::Read, .. }), "{error:?}");
    assert_eq!(error.errno(), Some(Errno::IO.raw_os_error()));
    assert_eq!(recorder.calls(), [Call::Begin(Access::Read, 0, 8); 2]);
}

#[test]
fn an_end_that_fails_says_so_once_and_is_not_ended_again() {
    let recorder = Recorder::new(SIZE);
    let mapping = map(&recorder);
    let guard = mapping.write(0..8).unwrap();
    recorder.calls();
    recorder.fail_with(&[Errno::IO]);
    let error = guard.end().unwrap_err();
    assert!(matches!(error, Error::End { access: Access::Write, .. }), "{error:?}");
    assert_eq!(recorder.calls(), [Call::End(Access::Write, 0, 8)]);
    assert!(mapping.take_failed_end().is_none(), "it was told already");
}

#[test]
fn what_a_dropped_guard_cannot_say_the_mapping_says() {
    let recorder = Recorder::new(SIZE);
    let mapping = map(&recorder);
    let guard = mapping.write(0..8).unwrap();
    recorder.fail_with(&[Errno::NODEV]);
    drop(guard);
    let error = mapping.take_failed_end().expect("kept");
    assert_eq!(error.errno(), Some(Errno::NODEV.raw_os_error()));
    assert!(mapping.take_failed_end().is_none(), "once");
}

#[test]
fn ranges_that_are_not_mapped_begin_nothing() {
    let recorder = Recorder::new(SIZE);
    let options = MapOptions::new().range(1000..5000);
    let mapping = Mapping::new(Recorded(&recorder), &options).unwrap();
    assert_eq!(recorder.calls(), [Call::Mapped { offset: 0, len: 5000 }]);
    for refused in [0..1001, 999..1000, 4999..5001, 5000..5001, 0..u64::MAX] {
        let error = mapping.read(refused).unwrap_err();
        assert!(matches!(error, Error::OutOfBounds { .. }), "{error:?}");
    }
    assert!(matches!(mapping.read(2000..2000), Err(Error::EmptyRange)));
    assert_eq!(recorder.calls(), []);
    drop(mapping.read(..).unwrap());
    assert_eq!(
        recorder.calls(),
        [Call::Begin(Access::Read, 1000, 5000), Call::End(Access::Read, 1000, 5000)]
    );
}
