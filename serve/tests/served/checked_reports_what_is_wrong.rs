//! `checked` reports accesses outside of brackets, by process and page, and nothing of a program that
//! does it right.

use dmabuf_export::HeapKind;
use dmabuf_uapi::*;
use serde_json::Value;

use crate::program::{Do, Program};
use crate::service::{Service, device_read, device_write};

const PAGE: usize = 4096;
const SIZE: usize = 8 * PAGE;
const HEAP: HeapKind = HeapKind::Checked;

const START: u64 = DMA_BUF_SYNC_START;
const END: u64 = DMA_BUF_SYNC_END;
const READ: u64 = DMA_BUF_SYNC_READ;
const WRITE: u64 = DMA_BUF_SYNC_WRITE;
const RW: u64 = DMA_BUF_SYNC_RW;

/// A service, with a program that has mapped a buffer.
fn mapped() -> Option<(Service, Program)> {
    let service = Service::start()?;
    drop(service.allocate(HEAP, "b", SIZE as u64));
    let program = service.program();
    program.maps(&service.cpu(HEAP, "b"), SIZE);
    Some((service, program))
}

fn violations(service: &Service) -> Vec<Value> {
    service.stats_of("b")["violations"].as_array().expect("a list").clone()
}

#[track_caller]
fn only_violation(service: &Service) -> Value {
    let violations = violations(service);
    assert_eq!(violations.len(), 1, "{violations:#?}");
    violations[0].clone()
}

#[test]
fn a_load_without_a_bracket() {
    let Some((service, program)) = mapped() else { return };
    program.load(2 * PAGE + 10, 4);
    let violation = only_violation(&service);
    assert_eq!(violation["what"], "read outside of a bracket");
    assert_eq!(violation["pid"], program.pid());
    assert_eq!((&violation["offset"], &violation["len"]), (&(2 * PAGE).into(), &PAGE.into()));
}

#[test]
fn a_store_without_a_bracket() {
    let Some((service, program)) = mapped() else { return };
    program.store(3 * PAGE, b"stray");
    let violation = only_violation(&service);
    assert!(violation["access"].as_str().unwrap().contains("write"), "{violation}");
    assert_eq!(
        (&violation["pid"], &violation["offset"]),
        (&program.pid().into(), &(3 * PAGE).into())
    );
}

#[test]
fn a_store_before_a_bracket_that_would_allow_it() {
    let Some((service, program)) = mapped() else { return };
    program.store(3 * PAGE, b"stray");
    program.sync(START | RW);
    program.store(3 * PAGE, b"allowed");
    program.sync(END | RW);
    let violation = only_violation(&service);
    assert!(violation["access"].as_str().unwrap().contains("write"), "{violation}");
    assert_eq!(violation["pid"], program.pid());
    assert_eq!(violation["offset"], 3 * PAGE);
}

#[test]
fn a_store_in_a_bracket_that_only_reads() {
    let Some((service, program)) = mapped() else { return };
    program.sync(START | READ);
    program.load(0, SIZE);
    program.store(PAGE, b"stray");
    program.sync(END | READ);
    let violation = only_violation(&service);
    assert_eq!(violation["what"], "write outside of a bracket");
    assert_eq!((&violation["pid"], &violation["offset"]), (&program.pid().into(), &PAGE.into()));
}

#[test]
fn an_access_after_the_end() {
    let Some((service, program)) = mapped() else { return };
    program.sync(START | RW);
    program.store(0, &[1; SIZE]);
    program.sync(END | RW);
    assert_eq!(violations(&service), [Value::Null; 0]);
    program.load(5 * PAGE, 1);
    let violation = only_violation(&service);
    assert_eq!(
        (&violation["pid"], &violation["offset"]),
        (&program.pid().into(), &(5 * PAGE).into())
    );
}

#[test]
fn an_access_in_the_bracket_of_another_process() {
    let Some((service, program)) = mapped() else { return };
    let other = service.program();
    other.maps(&service.cpu(HEAP, "b"), SIZE);
    other.sync(START | RW);
    program.load(0, 1);
    let violation = only_violation(&service);
    assert_eq!((&violation["pid"], &violation["offset"]), (&program.pid().into(), &0.into()));
    other.sync(END | RW);
}

/// One after the other: each finds the page as the one before has left it.
#[test]
fn the_same_access_of_the_next_program() {
    let Some((service, program)) = mapped() else { return };
    program.store(3 * PAGE, b"stray");
    assert_eq!(only_violation(&service)["pid"], program.pid());
    let next = service.program();
    next.maps(&service.cpu(HEAP, "b"), SIZE);
    next.store(3 * PAGE, b"stray");
    let violation = only_violation(&service);
    assert!(violation["access"].as_str().unwrap().contains("write"), "{violation}");
    assert_eq!(violation["pid"], next.pid());
    assert_eq!(violation["offset"], 3 * PAGE);
}

#[test]
fn an_access_outside_of_the_range() {
    let Some((service, program)) = mapped() else { return };
    program.sync_range(START | RW, 0, PAGE as u64);
    program.store(0, &[1; 3 * PAGE]);
    program.sync_range(END | RW, 0, PAGE as u64);
    program.sync(START | READ);
    program.sync(END | READ);
    let violation = only_violation(&service);
    assert_eq!((&violation["offset"], &violation["len"]), (&PAGE.into(), &(2 * PAGE).into()));
    assert_eq!(violation["pid"], program.pid());
}

#[test]
fn an_end_without_a_start_and_one_of_another_direction() {
    let Some((service, program)) = mapped() else { return };
    program.sync(END | READ);
    let violation = only_violation(&service);
    assert_eq!(violation["what"], "END without a START");
    assert_eq!(violation["pid"], program.pid());
    program.sync(START | READ);
    program.sync(END | WRITE);
    let violations = violations(&service);
    assert_eq!(violations.len(), 2, "{violations:#?}");
    let what = violations[1]["what"].as_str().unwrap();
    assert!(what.starts_with("END in another direction"), "{what}");
}

#[test]
fn a_start_without_an_end() {
    let Some((service, program)) = mapped() else { return };
    let pid = program.pid();
    program.sync_range(START | WRITE, PAGE as u64, 100);
    program.kill();
    let violation = only_violation(&service);
    assert_eq!(violation["what"], "START without an END");
    assert_eq!((&violation["pid"], &violation["offset"]), (&pid.into(), &PAGE.into()));
}

#[test]
fn a_page_that_device_and_program_wrote_at_once() {
    let Some((service, program)) = mapped() else { return };
    let device = service.attach(HEAP, "b");
    program.sync(START | WRITE);
    program.store(0, b"program");
    device_write(&device, 100, b"device");
    program.sync(END | WRITE);
    let violation = only_violation(&service);
    assert_eq!(violation["what"], "CPU and device wrote the same page");
}

#[test]
fn nothing_of_programs_that_do_it_right() {
    let Some((service, a)) = mapped() else { return };
    let b = service.program();
    b.maps(&service.cpu(HEAP, "b"), SIZE);
    let device = service.attach(HEAP, "b");
    for round in 0..30_u8 {
        device_write(&device, 0, &[round; SIZE]);
        a.sync(START | READ);
        b.sync_range(START | RW, 4 * PAGE as u64 + 7, 100);
        assert_eq!(a.load(0, 4 * PAGE), [round; 4 * PAGE]);
        b.store(4 * PAGE + 7, &[round + 1; 100]);
        a.sync(END | READ);
        b.load(4 * PAGE + 7, 100);
        a.sync_range(START | WRITE, 0, PAGE as u64);
        a.store(0, &[round + 2; PAGE]);
        b.sync_range(END | RW, 4 * PAGE as u64 + 7, 100);
        a.sync_range(END | WRITE, 0, PAGE as u64);
        assert_eq!(device_read(&device, 0, PAGE), [round + 2; PAGE]);
        if round % 10 == 0 {
            a.does(Do::Unmap { map: 0 });
            a.does(Do::Map { map: 0, fd: 0, offset: 0, len: SIZE, write: true });
        }
    }
    assert_eq!(violations(&service), [Value::Null; 0]);
}
