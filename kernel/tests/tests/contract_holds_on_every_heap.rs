//! The contract, points 1 to 7, on each heap that can be mapped, by random stories. The reference is
//! core's, as for exporters in user space. Where DMA does not bounce, only `bounce` has two sides, and
//! nothing could go wrong on the others.
//!
//! Each owner of brackets is a process, and dies when its brackets are abandoned. The device is one
//! that stays mapped, so that its accesses are of the bytes that it reaches and no more.

#[path = "../../../core/tests/contract/mod.rs"]
mod contract;

use std::cell::Cell;
use std::collections::BTreeMap;

use contract::{Home, holds, stories};
use dmabuf_core::{Access, Granule, Owner, Range};
use dmabuf_kernel_tests::{Buffer, Importer, Map, Program, machine, module, page};
use dmabuf_uapi::{DMA_BUF_SYNC_END, DMA_BUF_SYNC_READ, DMA_BUF_SYNC_RW, DMA_BUF_SYNC_WRITE};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

const PAGES: usize = 3;

struct Exported {
    /// First, so that they end first.
    programs: BTreeMap<u64, Program>,
    whole: Map,
    behind: Map,
    device: Importer,
    buffer: Buffer,
}

impl Exported {
    fn new(heap: &str) -> Exported {
        module::ensure();
        let buffer = Buffer::of(heap, PAGES * page());
        Exported {
            programs: BTreeMap::new(),
            whole: buffer.map(),
            behind: buffer.map_part(page()..PAGES * page()),
            device: Importer::of(&buffer, DMA_BUF_SYNC_RW),
            buffer,
        }
    }

    fn sync(&mut self, owner: Owner, flags: u64, range: Range) {
        let program = self.programs.entry(owner.0).or_insert_with(|| Program::with(&self.buffer));
        let synced = program.sync(flags, bytes(range));
        synced.unwrap_or_else(|errno| panic!("SYNC {flags} of {range}: {errno}"));
    }
}

fn bytes(range: Range) -> std::ops::Range<usize> {
    range.start() as usize..range.end() as usize
}

fn direction(access: Access) -> u64 {
    match access {
        Access::Read => DMA_BUF_SYNC_READ,
        Access::Write => DMA_BUF_SYNC_WRITE,
        Access::ReadWrite => DMA_BUF_SYNC_RW,
    }
}

impl Home for Exported {
    type Flight = ();

    fn begin(&mut self, owner: Owner, access: Access, range: Range) {
        self.sync(owner, direction(access), range);
    }

    fn end(&mut self, owner: Owner, access: Access, range: Range) {
        self.sync(owner, direction(access) | DMA_BUF_SYNC_END, range);
    }

    fn abandon(&mut self, owner: Owner) {
        if let Some(program) = self.programs.remove(&owner.0) {
            program.kill();
        }
    }

    fn store(&mut self, range: Range, value: u8) {
        let range = bytes(range);
        if range.start < page() || !value.is_multiple_of(2) {
            return self.whole.fill(range, value);
        }
        self.behind.fill(range.start - page()..range.end - page(), value);
        if value.is_multiple_of(4) {
            // It goes while the bracket is open, and another comes.
            self.behind = self.buffer.map_part(page()..PAGES * page());
        }
    }

    fn load(&mut self, range: Range) -> Vec<u8> {
        self.whole.bytes(bytes(range))
    }

    fn device_begin(&mut self, _: Access, _: Range) {}

    fn device_write(&mut self, _: &mut (), range: Range, value: u8) {
        self.device.write(range.start() as usize, &vec![value; range.len() as usize]);
    }

    fn device_read(&mut self, _: &mut (), range: Range) -> Vec<u8> {
        self.device.read(range.start() as usize, range.len() as usize)
    }

    fn device_end(&mut self, (): ()) {}
}

fn contract_holds(heap: &str) {
    if heap != "bounce" && !machine::bounces() {
        println!("skipped: CPU and devices see one memory");
        return;
    }
    let config = ProptestConfig { cases: 50, failure_persistence: None, ..Default::default() };
    let (looked_at, promised) = (Cell::new(0), Cell::new(0));
    let size = (PAGES * page()) as u64;
    let stories = stories(size, page() as u64 / 2, 50);
    let result = TestRunner::new(config).run(&stories, |story| {
        let mut home = Exported::new(heap);
        let granule = Granule::new(home.buffer.query().granule).expect("a power of two");
        let looked = holds(&mut home, size, granule, &story)?;
        looked_at.set(looked_at.get() + looked.bytes);
        promised.set(promised.get() + looked.promised);
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
    // Stories in which nothing is promised would prove nothing.
    let (looked_at, promised) = (looked_at.get(), promised.get());
    assert!(
        promised * 4 > looked_at,
        "of {looked_at} bytes that were looked at {promised} were promised"
    );
}

#[test]
fn coherent() {
    contract_holds("coherent");
}

#[test]
fn bounce() {
    contract_holds("bounce");
}

#[test]
fn tracked() {
    contract_holds("tracked");
}

#[test]
fn checked() {
    contract_holds("checked");
}
