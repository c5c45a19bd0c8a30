//! A page cache between programs and a buffer, as a file system has one, that writes pages back and
//! drops them whenever it likes.
#![allow(dead_code)]

use std::collections::BTreeMap;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::{Arc, Mutex};

use dmabuf_core::{Granule, Owner, Range};
use dmabuf_export::{Buffer, Heap, HeapKind, Mappings};

const PAGE: u64 = Granule::PAGE.bytes();

#[derive(Debug)]
struct Page {
    bytes: Vec<u8>,
    dirty: bool,
}

/// What was asked of the mappings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    pub write_back: u64,
    pub refresh: u64,
    pub shoot_down: u64,
}

#[derive(Debug)]
struct State {
    pages: BTreeMap<u64, Page>,
    asked: Asked,
    chaos: u64,
}

#[derive(Debug)]
pub struct PageCache {
    /// Buffer and cache hold each other; [`PageCache::release`] lets go.
    buffer: Mutex<Option<Buffer>>,
    state: Mutex<State>,
}

impl PageCache {
    /// A buffer that is accessed through a page cache. With `chaos`, the cache has a will of its own.
    pub fn allocate(kind: HeapKind, size: u64, chaos: Option<u64>) -> (Arc<PageCache>, Buffer) {
        let state = State {
            pages: BTreeMap::new(),
            asked: Asked::default(),
            chaos: chaos.map_or(0, |chaos| chaos | 1),
        };
        let cache = Arc::new(PageCache { buffer: Mutex::default(), state: Mutex::new(state) });
        let mappings: Arc<dyn Mappings> = Arc::clone(&cache) as _;
        let reservation = Heap::new(kind).reserve(0).unwrap();
        let buffer = reservation.allocate(size, mappings).unwrap();
        *cache.buffer.lock().unwrap() = Some(buffer.clone());
        (cache, buffer)
    }

    pub fn release(&self) {
        *self.buffer.lock().unwrap() = None;
    }

    pub fn asked(&self) -> Asked {
        self.state.lock().unwrap().asked
    }

    pub fn store(&self, owner: Owner, range: Range, value: u8) {
        for offset in range.start()..range.end() {
            self.with_page(owner, offset, |page, at| {
                page.bytes[at] = value;
                page.dirty = true;
            });
        }
    }

    pub fn load(&self, owner: Owner, range: Range) -> Vec<u8> {
        let load = |offset| self.with_page(owner, offset, |page, at| page.bytes[at]);
        (range.start()..range.end()).map(load).collect()
    }

    fn buffer(&self) -> Buffer {
        self.buffer.lock().unwrap().clone().expect("the buffer is there")
    }

    fn with_page<T>(&self, owner: Owner, offset: u64, f: impl FnOnce(&mut Page, usize) -> T) -> T {
        if offset.is_multiple_of(97) {
            self.misbehave();
        }
        let start = offset / PAGE * PAGE;
        if !self.state.lock().unwrap().pages.contains_key(&start) {
            let mut bytes = vec![0; PAGE as usize];
            self.buffer().fault(owner, start, &mut bytes).unwrap();
            self.state.lock().unwrap().pages.insert(start, Page { bytes, dirty: false });
        }
        let mut state = self.state.lock().unwrap();
        f(state.pages.get_mut(&start).unwrap(), (offset - start) as usize)
    }

    /// Writes a page back, or drops one, or does nothing.
    fn misbehave(&self) {
        let chosen = {
            let mut state = self.state.lock().unwrap();
            state.chaos ^= state.chaos << 13;
            state.chaos ^= state.chaos >> 7;
            state.chaos ^= state.chaos << 17;
            let chaos = state.chaos;
            if chaos.is_multiple_of(4) || chaos == 0 {
                return;
            }
            let pages: Vec<u64> = state.pages.keys().copied().collect();
            let index = (chaos >> 8) as usize % pages.len().max(1);
            pages.get(index).map(|&page| (page, chaos % 4 == 1))
        };
        if let Some((page, drop)) = chosen {
            let range = Range::new(page, PAGE).unwrap();
            self.flush(range);
            if drop {
                self.state.lock().unwrap().pages.remove(&page);
            }
        }
    }

    /// Writes dirty pages back, whole.
    fn flush(&self, range: Range) {
        let dirty: Vec<(u64, Vec<u8>)> = {
            let mut state = self.state.lock().unwrap();
            let pages = state.pages.range_mut(range.start() / PAGE * PAGE..range.end());
            let dirty = pages.filter_map(|(&start, page)| {
                std::mem::take(&mut page.dirty).then(|| (start, page.bytes.clone()))
            });
            dirty.collect()
        };
        for (start, bytes) in dirty {
            self.buffer().store(start, &bytes).unwrap();
        }
    }
}

impl Mappings for PageCache {
    fn write_back(&self, range: Range) -> io::Result<Vec<Range>> {
        self.state.lock().unwrap().asked.write_back += 1;
        self.flush(range);
        self.misbehave();
        Ok(Vec::new())
    }

    fn refresh(&self, range: Range, memory: BorrowedFd<'_>) -> io::Result<()> {
        self.misbehave();
        let mut state = self.state.lock().unwrap();
        state.asked.refresh += 1;
        for (&start, page) in state.pages.range_mut(range.start() / PAGE * PAGE..range.end()) {
            let both = range.intersect(Range::new(start, PAGE).unwrap()).unwrap();
            let at = (both.start() - start) as usize..(both.end() - start) as usize;
            rustix::io::pread(memory, &mut page.bytes[at], both.start())?;
        }
        Ok(())
    }

    fn shoot_down(&self, range: Range) -> io::Result<()> {
        self.flush(range);
        let mut state = self.state.lock().unwrap();
        state.asked.shoot_down += 1;
        state.pages.retain(|&start, _| !range.overlaps(Range::new(start, PAGE).unwrap()));
        drop(state);
        self.misbehave();
        Ok(())
    }

    fn cache(&self) -> Option<Granule> {
        Some(Granule::PAGE)
    }

    fn faults(&self) -> bool {
        true
    }

    fn mapped(&self, _: usize, _: u64, _: usize) {}

    fn unmapping(&self, _: usize) {}
}
