//! Whether a page is mapped uncached, found out by time: the kernel copies it into a pipe, as it
//! copies a page of the engine's own. A page that cannot be read fails there, and traps nowhere.

use core::arch::x86_64::{__cpuid, CpuidResult};

use super::sys::{self, PAGE, Pipe};

/// How often each is copied, in turn. A processor that does something else meanwhile makes any copy slow,
/// and now and then one is quick by luck: the quickest of the page has to be slow, beside a copy of the
/// engine's own as most of them are.
const ROUNDS: usize = 15;
/// How often in a row that has to be found.
const TRIES: usize = 3;
/// A copy that takes so many times as long is not from the cache.
const TIMES: u64 = 8;
/// Nor is one of a page within a cache that takes so many nanoseconds.
const AT_LEAST: u64 = 8_000;

/// Whether the processor is one that QEMU emulates (TCG): it caches nothing, and on a busy host what it
/// takes for a load says nothing of the memory.
pub fn is_emulated() -> bool {
    const IS_GUEST: u32 = 1 << 31;
    const WHOSE: u32 = 0x4000_0000;
    let whose = |cpu: CpuidResult| [cpu.ebx, cpu.ecx, cpu.edx];
    __cpuid(1).ecx & IS_GUEST != 0
        && whose(__cpuid(WHOSE)) == [*b"TCGT", *b"CGTC", *b"GTCG"].map(u32::from_le_bytes)
}

/// Whether it is; false if that cannot be found out.
pub fn is(page: usize) -> bool {
    let (Ok(pipe), Ok(own)) = (Pipe::new(), sys::allocate(PAGE)) else { return false };
    let is_slow = (0..TRIES).all(|_| is_slow(&pipe, page, own) == Some(true));
    sys::release(own, PAGE);
    is_slow
}

fn is_slow(pipe: &Pipe, page: usize, own: usize) -> Option<bool> {
    let (mut cached, mut quickest) = ([0; ROUNDS], u64::MAX);
    for cached in &mut cached {
        *cached = time(pipe, own, own)?;
        quickest = quickest.min(time(pipe, page, own)?);
    }
    cached.sort_unstable();
    Some(quickest > AT_LEAST && quickest > TIMES * cached[ROUNDS / 2])
}

fn time(pipe: &Pipe, page: usize, own: usize) -> Option<u64> {
    let start = sys::now();
    let copied = pipe.write(page, PAGE);
    let time = sys::now().saturating_sub(start);
    (copied == Ok(PAGE) && pipe.read(own, PAGE) == Ok(PAGE)).then_some(time)
}

#[cfg(test)]
#[allow(unsafe_code)]
mod tests {
    use std::fs::{self, File};
    use std::os::fd::AsRawFd;
    use std::path::PathBuf;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::{hint, thread};

    use super::*;

    #[test]
    fn memory_is_cached_however_busy_the_machine_is() {
        sys::prepare_once();
        let page = sys::allocate(PAGE).unwrap();
        let is_over = AtomicBool::new(false);
        let keep_busy = || {
            while !is_over.load(Ordering::Relaxed) {
                hint::spin_loop();
            }
        };
        thread::scope(|scope| {
            (0..8).for_each(|_| drop(scope.spawn(keep_busy)));
            let found = (0..10000).filter(|_| is(page)).count();
            is_over.store(true, Ordering::Relaxed);
            assert_eq!(found, 0);
        });
        sys::release(page, PAGE);
    }

    /// In the virtual machine, where the kernel's exporters have ordinary memory.
    #[test]
    fn registers_of_a_device_are_not() {
        sys::prepare_once();
        let Some(registers) = educational_device() else {
            eprintln!("skipped: there is no device `edu` of QEMU's, whose registers may be read");
            return;
        };
        assert!(is_emulated(), "the machine's processor is");
        let file = File::options().read(true).write(true).open(registers).unwrap();
        let (access, fd) = (libc::PROT_READ | libc::PROT_WRITE, file.as_raw_fd());
        // SAFETY: A new mapping, at an address of the kernel's choice.
        let page =
            unsafe { libc::mmap(std::ptr::null_mut(), PAGE, access, libc::MAP_SHARED, fd, 0) };
        assert_ne!(page, libc::MAP_FAILED, "{}", std::io::Error::last_os_error());
        assert!((0..20).all(|_| is(page as usize)), "each time");
    }

    fn educational_device() -> Option<PathBuf> {
        let devices = fs::read_dir("/sys/bus/pci/devices").ok()?;
        let devices = devices.filter_map(|device| Some(device.ok()?.path()));
        let is = |device: &PathBuf, file, id| {
            fs::read_to_string(device.join(file)).is_ok_and(|text| text.trim() == id)
        };
        let mut edu = devices.filter(|at| is(at, "vendor", "0x1234") && is(at, "device", "0x11e8"));
        edu.next().map(|device| device.join("resource0"))
    }
}
