//! What the machine tells of itself.

use std::fs;

/// Whether DMA bounces: then a device sees what was synced for it, and nothing else.
pub fn bounces() -> bool {
    let line = fs::read_to_string("/proc/cmdline").expect("a machine has a command line");
    line.split_whitespace().any(|word| word.starts_with("swiotlb=") && word.contains("force"))
}

/// Free memory, in bytes, with what is only cached given up.
pub fn free_memory() -> usize {
    fs::write("/proc/sys/vm/drop_caches", "3").expect("caches can be dropped");
    let vmstat = fs::read_to_string("/proc/vmstat").expect("there is a /proc");
    let pages = vmstat.lines().find_map(|line| line.strip_prefix("nr_free_pages "));
    let pages: usize = pages.and_then(|pages| pages.parse().ok()).expect("a number of pages");
    pages * rustix::param::page_size()
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
