//! `checked` finds every access outside of a bracket: whose, where, a load or a store, and what had
//! been allowed; and it blames no program that keeps to its brackets.

use std::collections::BTreeMap;
use std::fs::File;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use dmabuf::DmaBuf;
use dmabuf_kernel_tests::{
    Buffer, Ended, KernelLog, Records, alone_with_its_mounts, flags::*, in_a_fork, module, page,
};
use rustix::io::Errno;

const PAGES: usize = 16;

fn buffer() -> Buffer {
    module::ensure();
    Buffer::of("checked", PAGES * page())
}

/// What was found, in short: offset, access, allowed.
fn found(records: &Records) -> Vec<(String, String, String)> {
    let field = |record: &BTreeMap<String, String>, name: &str| record[name].clone();
    let all = records.all().into_iter();
    all.map(|record| {
        (field(&record, "offset"), field(&record, "access"), field(&record, "allowed"))
    })
    .collect()
}

fn at(offset: usize, access: &str, allowed: &str) -> (String, String, String) {
    (format!("{offset:#x}"), access.to_owned(), allowed.to_owned())
}

#[test]
fn an_access_outside_of_a_bracket_is_reported() {
    let buffer = buffer();
    let (map, records) = (buffer.map(), Records::from_now_on());
    map.store(3 * page() + 5, 1);
    assert_eq!(found(&records), [at(3 * page(), "write", "none")]);
    let _ = map.load(7 * page());
    assert_eq!(found(&records), [at(7 * page(), "read", "none")]);
    assert_eq!(buffer.stats().violations, 2);

    buffer.sync(START_READ);
    assert_eq!(map.load(3 * page() + 5), 1, "what it stored is there all the same");
    map.store(4 * page(), 2);
    buffer.sync(END_READ);
    assert_eq!(found(&records), [at(4 * page(), "write", "read")]);

    buffer.sync_range(START_RW, 0..page());
    map.store(0, 1);
    map.store(page(), 1);
    buffer.sync_range(END_RW, 0..page());
    assert_eq!(found(&records), [at(page(), "write", "none")]);
}

#[test]
fn so_is_what_a_system_call_does_for_a_program() {
    let buffer = buffer();
    let (map, records) = (buffer.map(), Records::from_now_on());
    let zeroes = File::open("/dev/zero").unwrap();
    assert_eq!(map.read_from(&zeroes, 0..8), Ok(8));
    assert_eq!(found(&records), [at(0, "write", "none")]);
    buffer.sync(START_RW);
    assert_eq!(map.read_from(&zeroes, 0..8), Ok(8));
    buffer.sync(END_RW);
    assert_eq!(found(&records), []);
}

#[test]
fn each_bracket_is_looked_at_anew() {
    let buffer = buffer();
    let (map, records) = (buffer.map(), Records::from_now_on());
    for _ in 0..3 {
        buffer.sync(START_RW);
        map.store(0, 1);
        buffer.sync(END_RW);
        assert_eq!(found(&records), []);
        map.store(0, 2);
        assert_eq!(found(&records), [at(0, "write", "none")]);
    }
}

#[test]
fn correct_programs_are_not_blamed() {
    let buffer = buffer();
    let (map, records) = (buffer.map(), Records::from_now_on());
    for round in 1..10 {
        buffer.sync(START_RW);
        map.fill(0..PAGES * page(), round);
        assert_eq!(map.load(page()), round);
        buffer.sync(END_RW);
        buffer.sync_range(START_WRITE, page()..3 * page());
        map.fill(page()..3 * page(), round + 1);
        buffer.sync_range(END_WRITE, page()..3 * page());
        buffer.sync(START_READ);
        assert_eq!((map.load(0), map.load(page())), (round, round + 1));
        buffer.sync(END_READ);
    }
    let other = || {
        buffer.sync(START_RW);
        map.store(9 * page(), 1);
        buffer.sync(END_RW);
    };
    assert_eq!(in_a_fork(other), Ended::Exited(0));
    assert_eq!(found(&records), []);
    assert_eq!(buffer.stats().violations, 0);
}

/// A bracket allows nothing to another process.
#[test]
fn another_process_needs_a_bracket_of_its_own() {
    let buffer = buffer();
    let (map, records) = (buffer.map(), Records::from_now_on());
    buffer.sync(START_RW);
    assert_eq!(in_a_fork(|| map.store(2 * page(), 1)), Ended::Exited(0));
    buffer.sync(END_RW);
    let records = records.all();
    assert_eq!(records.len(), 1, "{records:?}");
    assert_eq!(records[0]["offset"], format!("{:#x}", 2 * page()));
    assert_ne!(records[0]["pid"], std::process::id().to_string());
}

#[test]
fn a_record_tells_who_and_of_which_buffer() {
    let buffer = buffer();
    let (map, records) = (buffer.map(), Records::from_now_on());
    let named = DmaBuf::from_fd(rustix::io::dup(&buffer).unwrap()).unwrap();
    named.set_name("frame 7").unwrap();
    map.store(page(), 1);
    let records = records.all();
    let [record] = records.as_slice() else { panic!("{records:?}") };
    assert_eq!(record["pid"], std::process::id().to_string());
    let comm = std::fs::read_to_string("/proc/thread-self/comm").unwrap();
    assert_eq!(record["comm"], comm.trim_end());
    assert_eq!(record["heap"], "checked");
    assert_eq!(record["inode"], rustix::fs::fstat(&buffer).unwrap().st_ino.to_string());
    assert_eq!(record["name"], "frame?7", "a field is one word");
    assert_eq!((&*record["offset"], &*record["access"]), ("0x1000", "write"));
}

/// As kernel/README.md says: a bind mount, here for one process alone.
#[test]
fn a_program_that_names_another_heap_is_redirected() {
    module::ensure();
    let records = Records::from_now_on();
    let names_system = || {
        alone_with_its_mounts();
        let nodes = ["/dev/dma_heap/checked", "/dev/dma_heap/system"];
        let mounted = Command::new("mount").arg("--bind").args(nodes).status();
        assert!(mounted.expect("mount starts").success());
        let buffer = Buffer::of("system", page());
        buffer.map().store(0, 1);
    };
    assert_eq!(in_a_fork(names_system), Ended::Exited(0));
    assert_eq!(found(&records), [at(0, "write", "none")]);
    let buffer = Buffer::of("system", page());
    buffer.map().store(0, 1);
    assert_eq!(found(&records), [], "others have mainline's");
}

/// Each is counted, and kept for readers; the kernel's log has a few of them, and tells how many it left
/// out.
#[test]
fn the_kernels_log_is_not_flooded() {
    const PAGES: usize = 1000;
    module::ensure();
    let (one, other) = (Buffer::of("checked", PAGES * page()), buffer());
    let log = KernelLog::from_now_on();
    // The messages of what this process did, and how many are said to have been left out.
    let look = || {
        let (mine, lines) = (format!("pid={} ", std::process::id()), log.lines());
        let left_out = lines.iter().filter_map(|line| {
            let (before, _) = line.split_once(" more like these")?;
            before.rsplit(' ').next()?.parse::<usize>().ok()
        });
        (lines.iter().filter(|line| line.contains(&mine)).count(), left_out.sum::<usize>())
    };
    // One mistake after the other, until the log has one: it may have had its fill for now.
    let until_told = || {
        let ends = (1..=1000).find_map(|ends| {
            thread::sleep(Duration::from_millis(20));
            other.sync(END_RW);
            let (told, left_out) = look();
            (told > 0).then_some((ends, told + left_out))
        });
        ends.expect("the kernel's log has something")
    };
    until_told();

    let (map, records, begun) = (one.map(), Records::from_now_on(), Instant::now());
    let before = other.stats().violations;
    for number in 0..PAGES {
        map.store(number * page(), 1);
    }
    let intervals = 2 + begun.elapsed().as_secs() as usize / 5;
    assert_eq!((one.stats().violations, other.stats().violations), (PAGES as u64, before));
    assert_eq!(records.all().len(), PAGES);
    let (told, left_out) = look();
    assert!(told <= 10 * intervals, "{told} lines in {intervals} intervals");
    let (ends, accounted) = until_told();
    assert_eq!(told + left_out + accounted, PAGES + ends, "each is told or counted");
}

#[test]
fn brackets_that_do_not_fit_are_reported() {
    let buffer = buffer();
    let records = Records::from_now_on();
    let mistakes = || -> Vec<String> {
        records.all().into_iter().filter_map(|mut record| record.remove("mistake")).collect()
    };
    buffer.sync(END_RW);
    assert_eq!(mistakes(), ["end-without-start"]);
    buffer.sync(START_READ);
    buffer.sync(END_WRITE);
    assert_eq!(mistakes(), ["end-other-direction"]);
    buffer.sync_range(START_READ, 0..page());
    buffer.sync_range(END_READ, page()..2 * page());
    assert_eq!(mistakes(), ["end-other-range"]);
    let map = buffer.map();
    let dies = || {
        buffer.sync(START_RW);
        map.store(0, 1);
    };
    assert_eq!(in_a_fork(dies), Ended::Exited(0));
    buffer.sync(START_RW);
    buffer.sync(END_RW);
    assert_eq!(mistakes(), ["start-without-end"]);
}

#[test]
fn every_reader_gets_each_record_once_and_whole() {
    let buffer = buffer();
    let map = buffer.map();
    let (first, second) = (Records::from_now_on(), Records::from_now_on());
    assert_eq!(first.read(4096), Err(Errno::AGAIN));
    for number in 0..3 {
        map.store(number * page(), 1);
    }
    assert_eq!(first.read(10), Err(Errno::INVAL), "a line is read in one piece");
    let one = first.read(120).unwrap();
    assert_eq!(one.lines().count(), 1, "{one}");
    assert!(one.ends_with('\n'));
    assert_eq!(found(&first), [at(page(), "write", "none"), at(2 * page(), "write", "none")]);
    assert_eq!(first.read(4096), Err(Errno::AGAIN));
    assert_eq!(found(&second).len(), 3);
}
