//! What the machine tells of itself.

use std::fs;
use std::thread;
use std::time::Duration;

/// Whether DMA bounces: then a device sees what was synced for it, and nothing else.
pub fn bounces() -> bool {
    is_told(|word| word.starts_with("swiotlb=") && word.contains("force"))
}

/// Whether the memory of heaps is charged to cgroups.
pub fn accounts() -> bool {
    is_told(|word| word == "dma_heap.mem_accounting=1")
}

/// Whether a word of the kernel's command line is so.
fn is_told(is_so: impl FnMut(&str) -> bool) -> bool {
    let line = fs::read_to_string("/proc/cmdline").expect("a machine has a command line");
    line.split_whitespace().any(is_so)
}

/// Free memory, in bytes, with what is only cached given up. Pages that processors keep at hand for
/// their next allocation are free as well.
pub fn free_memory() -> usize {
    fs::write("/proc/sys/vm/drop_caches", "3").expect("caches can be dropped");
    let zones = fs::read_to_string("/proc/zoneinfo").expect("there is a /proc");
    let pages = zones.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let counts = ["nr_free_pages", "count:"].contains(&words.next()?);
        counts.then(|| words.next()?.parse::<usize>().ok())?
    });
    pages.sum::<usize>() * rustix::param::page_size()
}

/// Memory that the kernel does not hand out while it can end somebody instead, in bytes.
pub fn reserve() -> usize {
    let kib = fs::read_to_string("/proc/sys/vm/min_free_kbytes").expect("there is a /proc");
    kib.trim().parse::<usize>().expect("a number") << 10
}

/// Memory that may be missing though nothing leaks: what the kernel keeps for itself meanwhile. Less
/// than half a page of each buffer of the test that has most of them.
const SLACK: usize = 6 << 20;

/// Waits until there are as many buffers as there were before, and as much memory.
pub fn comes_back(buffers_before: usize, memory_before: usize) {
    let (mut buffers, mut memory) = (buffers(), free_memory());
    // A file is freed when its process returns to user space or has ended, and maybe a moment later.
    for _ in 0..500 {
        if buffers == buffers_before && memory + SLACK >= memory_before {
            return;
        }
        thread::sleep(Duration::from_millis(20));
        (buffers, memory) = (self::buffers(), free_memory());
    }
    panic!("{buffers} buffers of {buffers_before}, {memory} bytes free of {memory_before}");
}

/// How many address spaces the kernel keeps, those of dead processes too that somebody still refers to.
pub fn address_spaces() -> usize {
    let slabs = fs::read_to_string("/proc/slabinfo").expect("root may read it");
    let line = slabs.lines().find_map(|line| line.strip_prefix("mm_struct "));
    let active = line.and_then(|line| line.split_whitespace().next());
    active.and_then(|active| active.parse().ok()).expect("a number of objects")
}

/// How many dma-bufs there are, of all exporters.
pub fn buffers() -> usize {
    let info = fs::read_to_string("/sys/kernel/debug/dma_buf/bufinfo").expect("debugfs is mounted");
    let total = info.lines().rev().find_map(|line| line.strip_prefix("Total "));
    let total = total.and_then(|total| total.split(' ').next());
    total.and_then(|total| total.parse().ok()).expect("a number of buffers")
}

/// How readily the kernel ends this process when there is no memory left, from -1000, never, to 1000.
pub fn offer_to_be_ended(score: &str) {
    fs::write("/proc/self/oom_score_adj", score).expect("root may");
}
