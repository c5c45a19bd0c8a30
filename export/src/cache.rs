//! CPU cache maintenance, for a user-space driver whose device does not see the CPU's caches.
//!
//! Where memory is [`Memory::Caches`], a plan's runs are carried out by the CPU's own instructions:
//! [`Maintenance`] knows which of them user space may execute here, and [`CachedMapping`] applies
//! them to a buffer's memory. What to clean or to invalidate, and when, is `dmabuf_core`'s to say.
//!
//! | architecture | clean | clean and invalidate | fence | line from |
//! |---|---|---|---|---|
//! | x86-64 | `clwb`, else as right | `clflushopt`, else `clflush` | `mfence` | CPUID leaf 1 |
//! | aarch64 | `dc cvac` | `dc civac` | `dsb sy` | `CTR_EL0.DminLine` |
//! | riscv64 | `cbo.clean` | `cbo.flush` | `fence iorw, iorw` | riscv_hwprobe(2) |
//!
//! User space can do less than a kernel, in two ways. It has no instruction that drops a dirty line
//! without writing it back (x86 has none at all but `invd`, which is ring 0's; `dc ivac` is EL1's;
//! Linux keeps `cbo.inval` from user mode), so [`Op::Invalidate`] is carried out as
//! [`Op::CleanInvalidate`]: stores made outside of a bracket, which a discard would forget, land on
//! top of what a device wrote. And it has none for a whole cache:
//! [`MaintenanceCost::whole_cache`](dmabuf_core::cost::MaintenanceCost::whole_cache) is `u64::MAX`
//! here.
//!
//! [`Memory::Caches`]: dmabuf_core::plan::Memory::Caches
#![allow(unsafe_code)]

use std::ffi::c_void;
use std::fmt;
use std::io;
use std::os::fd::AsFd;
use std::ptr::{self, NonNull};

use dmabuf_core::Granule;
use dmabuf_core::plan::{Op, Run};
use rustix::fs::SealFlags;
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags};

use self::arch::Instruction;

/// The instructions with which this CPU maintains its caches from user space.
///
/// Its `Display` names them: `clwb and clflushopt, lines of 64 bytes`.
///
/// # Invariants
///
/// This CPU executes both instructions in user space, and a line is at most a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Maintenance {
    line: Granule,
    clean: Instruction,
    clean_invalidate: Instruction,
}

impl Maintenance {
    /// What this CPU and this kernel offer; `None` if that is nothing.
    ///
    /// x86-64 and aarch64 always offer something, riscv64 with Zicbom from Linux 6.15 on, and other
    /// architectures never.
    pub fn detect() -> Option<Maintenance> {
        arch::detect().filter(|found| found.line <= Granule::PAGE)
    }

    /// The line that an instruction moves as one: the granule of
    /// [`Memory::Caches`](dmabuf_core::plan::Memory::Caches).
    pub fn line(&self) -> Granule {
        self.line
    }

    /// Writes the dirty lines that hold the `len` bytes from `address` on back to memory.
    ///
    /// When it returns, a device that is started sees every store to them that happened before. An
    /// x86-64 without `clwb` drops the lines as well.
    ///
    /// # Safety
    ///
    /// The bytes are mapped, readable and (riscv64 faults as a store does) writable.
    pub unsafe fn clean(&self, address: *const u8, len: usize) {
        // SAFETY: The caller's promise.
        unsafe { self.maintain(self.clean, address, len) }
    }

    /// Writes the dirty lines that hold the `len` bytes from `address` on back to memory, and drops
    /// all of their lines from the caches.
    ///
    /// When it returns, loads see what a device had written to memory before the call. CPUs fetch
    /// lines on their own at any time, so this is for after a device's write, also if it has been
    /// done before it.
    ///
    /// # Safety
    ///
    /// As for [`Maintenance::clean`]; and nobody holds a Rust reference to the bytes, or to others
    /// in the same lines: a device's bytes may appear in them.
    pub unsafe fn clean_invalidate(&self, address: *const u8, len: usize) {
        // SAFETY: The caller's promise.
        unsafe { self.maintain(self.clean_invalidate, address, len) }
    }

    /// # Safety
    ///
    /// As for [`Maintenance::clean`].
    unsafe fn maintain(&self, instruction: Instruction, address: *const u8, len: usize) {
        // Before: other threads' stores, and the load that told that the device is done. After: the
        // store that starts the device, and the loads of what it wrote.
        instruction.fence();
        for line in self.lines(address, len) {
            // SAFETY: This CPU has the instruction (invariant), and the line holds a byte that is
            // mapped as the caller promises; so is all of the line, since pages are whole lines.
            unsafe { instruction.execute(line) }
        }
        instruction.fence();
    }

    /// The starts of the lines that hold the `len` bytes from `address` on.
    fn lines(&self, address: *const u8, len: usize) -> impl Iterator<Item = *const u8> {
        let line = self.line.bytes() as usize;
        let before = address.addr() & (line - 1);
        let first = address.wrapping_sub(before);
        let bytes = if len == 0 { 0 } else { before + len };
        (0..bytes).step_by(line).map(move |offset| first.wrapping_add(offset))
    }
}

impl fmt::Display for Maintenance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.clean.name())?;
        if self.clean_invalidate != self.clean {
            write!(f, " and {}", self.clean_invalidate.name())?;
        }
        write!(f, ", lines of {} bytes", self.line.bytes())
    }
}

/// A buffer's memory, mapped here for cache maintenance and for nothing else.
///
/// Programs have mappings of their own. The data caches of all three architectures behave as if
/// physically tagged, so maintenance through this alias reaches what was stored through theirs.
///
/// # Invariants
///
/// The `size` bytes from `address` on are a shared, writable mapping that this value owns. No
/// reference to them is ever made.
#[derive(Debug)]
pub struct CachedMapping {
    maintenance: Maintenance,
    address: NonNull<c_void>,
    size: usize,
}

// SAFETY: The mapping is the whole process's, and only whole-line maintenance, which is atomic to
// every observer, is done through it.
unsafe impl Send for CachedMapping {}
// SAFETY: As above.
unsafe impl Sync for CachedMapping {}

impl CachedMapping {
    /// Maps the first `size` bytes of `fd`, which is open for reading and writing.
    ///
    /// # Errors
    ///
    /// Those of mmap(2). `InvalidInput` for a memfd that is shorter, or that may still shrink
    /// (`F_SEAL_SHRINK` of fcntl(2) is missing): maintenance past its end would be a SIGBUS. Other
    /// files are taken at their word, as memory of devices does not shrink.
    pub fn new(fd: impl AsFd, size: u64, maintenance: Maintenance) -> io::Result<CachedMapping> {
        let fd = fd.as_fd();
        match rustix::fs::fcntl_get_seals(fd) {
            Ok(seals) if !seals.contains(SealFlags::SHRINK) => {
                return Err(invalid("the memory may shrink: seal it with F_SEAL_SHRINK"));
            }
            Ok(_) if (rustix::fs::fstat(fd)?.st_size as u64) < size => {
                return Err(invalid("the memory is shorter than the buffer"));
            }
            Ok(_) | Err(Errno::INVAL) => {}
            Err(errno) => return Err(errno.into()),
        }
        let size = usize::try_from(size).map_err(invalid)?;
        let prot = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: A new mapping, where the kernel finds room for it, takes nothing from anybody.
        let address =
            unsafe { rustix::mm::mmap(ptr::null_mut(), size, prot, MapFlags::SHARED, fd, 0) }?;
        let address = NonNull::new(address).ok_or(Errno::NOMEM)?;
        Ok(CachedMapping { maintenance, address, size })
    }

    /// Carries out `runs` on the memory, in their order.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for the first run that ends past the mapping; those before it are done.
    pub fn sync(&self, runs: impl IntoIterator<Item = Run>) -> io::Result<()> {
        for Run { op, range } in runs {
            let range = range.within(self.size as u64).map_err(invalid)?;
            let address = self.address.as_ptr().cast::<u8>().cast_const();
            let address = address.wrapping_add(range.start() as usize);
            let len = range.len() as usize;
            // SAFETY: The range is in the mapping, which is readable and writable while `self` is
            // there, and to which nobody has references (invariants).
            unsafe {
                match op {
                    Op::Clean => self.maintenance.clean(address, len),
                    Op::Invalidate | Op::CleanInvalidate => {
                        self.maintenance.clean_invalidate(address, len);
                    }
                }
            }
        }
        Ok(())
    }
}

impl Drop for CachedMapping {
    fn drop(&mut self) {
        // SAFETY: The mapping is this value's own, and nobody has references to it (invariants).
        let unmapped = unsafe { rustix::mm::munmap(self.address.as_ptr(), self.size) };
        debug_assert_eq!(unmapped, Ok(()));
    }
}

fn invalid(why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, why)
}

/// Intel SDM volume 2 and AMD APM volume 3, under the instructions' names. All three may be executed
/// in ring 3, fault as a load does, and act on all caches of the coherence domain.
#[cfg(target_arch = "x86_64")]
mod arch {
    use std::arch::asm;
    use std::arch::x86_64::{__cpuid, __cpuid_count, _mm_clflush, _mm_mfence};

    use dmabuf_core::Granule;

    use super::Maintenance;

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(super) enum Instruction {
        /// Writes back and may keep the line.
        Clwb,
        /// Writes back and drops the line, in any order with other lines.
        Clflushopt,
        /// The same, one line after the other.
        Clflush,
    }

    impl Instruction {
        pub(super) fn name(self) -> &'static str {
            match self {
                Instruction::Clwb => "clwb",
                Instruction::Clflushopt => "clflushopt",
                Instruction::Clflush => "clflush",
            }
        }

        /// # Safety
        ///
        /// The CPU has the instruction, and `line` is mapped and readable.
        pub(super) unsafe fn execute(self, line: *const u8) {
            match self {
                // SAFETY: The caller's promise. It reads no register but the one given, writes
                // none, and leaves every byte as it is.
                Instruction::Clwb => unsafe {
                    asm!("clwb [{}]", in(reg) line, options(nostack, preserves_flags));
                },
                // SAFETY: As above.
                Instruction::Clflushopt => unsafe {
                    asm!("clflushopt [{}]", in(reg) line, options(nostack, preserves_flags));
                },
                // SAFETY: The caller's promise.
                Instruction::Clflush => unsafe { _mm_clflush(line) },
            }
        }

        /// `sfence` would order stores only, and `clflush` and `clflushopt` are not ordered with
        /// loads of the lines that they drop.
        pub(super) fn fence(self) {
            // SAFETY: Every x86-64 has it (SSE2), and it only orders.
            unsafe { _mm_mfence() }
        }
    }

    /// CPUID leaf 1: EDX bit 19 is `clflush`, EBX bits 15 to 8 are the line in units of 8 bytes. Leaf
    /// 7: EBX bit 23 is `clflushopt`, bit 24 `clwb`.
    #[allow(unused_unsafe, reason = "toolchains newer than 1.88 declare CPUID safe")]
    pub(super) fn detect() -> Option<Maintenance> {
        // SAFETY: Every x86-64 has CPUID and leaf 0, which tells the highest leaf.
        let highest = unsafe { __cpuid(0) }.eax;
        // SAFETY: Every x86-64 has leaf 1.
        let basic = unsafe { __cpuid(1) };
        if basic.edx & 1 << 19 == 0 {
            return None;
        }
        // SAFETY: Only asked for if it is there.
        let extended = if highest >= 7 { unsafe { __cpuid_count(7, 0) }.ebx } else { 0 };
        let has = |bit: u32| extended & 1 << bit != 0;
        let flush = if has(23) { Instruction::Clflushopt } else { Instruction::Clflush };
        Some(Maintenance {
            line: Granule::new((basic.ebx >> 8 & 0xff) * 8)?,
            clean: if has(24) { Instruction::Clwb } else { flush },
            clean_invalidate: flush,
        })
    }
}

/// Arm ARM (DDI 0487), "A64 system instructions for cache maintenance". Both fault as a load does
/// and act up to the point of coherency, where devices see memory. Linux lets EL0 execute them, or
/// executes them for it where a CPU has an erratum (`SCTLR_EL1.UCI`).
#[cfg(target_arch = "aarch64")]
mod arch {
    use std::arch::asm;

    use dmabuf_core::Granule;

    use super::Maintenance;

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(super) enum Instruction {
        DcCvac,
        DcCivac,
    }

    impl Instruction {
        pub(super) fn name(self) -> &'static str {
            match self {
                Instruction::DcCvac => "dc cvac",
                Instruction::DcCivac => "dc civac",
            }
        }

        /// # Safety
        ///
        /// `line` is mapped and readable.
        pub(super) unsafe fn execute(self, line: *const u8) {
            match self {
                // SAFETY: The caller's promise. It reads no register but the one given, writes
                // none, and leaves every byte as it is.
                Instruction::DcCvac => unsafe {
                    asm!("dc cvac, {}", in(reg) line, options(nostack, preserves_flags));
                },
                // SAFETY: As above.
                Instruction::DcCivac => unsafe {
                    asm!("dc civac, {}", in(reg) line, options(nostack, preserves_flags));
                },
            }
        }

        /// Waits until the maintenance is complete for the full system: devices are not in the
        /// CPUs' inner shareable domain.
        pub(super) fn fence(self) {
            // SAFETY: It only waits.
            unsafe { asm!("dsb sy", options(nostack, preserves_flags)) }
        }
    }

    /// `CTR_EL0` bits 19 to 16, DminLine: the binary logarithm of the smallest data cache line in
    /// words of 4 bytes. Where the CPUs of a system differ, Linux traps the register and tells what
    /// is safe on all of them.
    pub(super) fn detect() -> Option<Maintenance> {
        let ctr: u64;
        // SAFETY: Linux lets EL0 read this register; that has no effect but on `ctr`.
        unsafe {
            asm!("mrs {}, ctr_el0", out(reg) ctr, options(nomem, nostack, preserves_flags));
        }
        Some(Maintenance {
            line: Granule::new(4 << (ctr >> 16 & 0xf))?,
            clean: Instruction::DcCvac,
            clean_invalidate: Instruction::DcCivac,
        })
    }
}

/// RISC-V "Base Cache Management Operation ISA Extensions" 1.0, extension Zicbom. Both are allowed
/// where loads or stores are, but fault as a store does. Linux enables them for user mode
/// (`senvcfg.CBCFE`) and tells so by riscv_hwprobe(2), Documentation/arch/riscv/hwprobe.rst.
#[cfg(target_arch = "riscv64")]
mod arch {
    use std::arch::asm;

    use dmabuf_core::Granule;

    use super::Maintenance;

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(super) enum Instruction {
        CboClean,
        CboFlush,
    }

    impl Instruction {
        pub(super) fn name(self) -> &'static str {
            match self {
                Instruction::CboClean => "cbo.clean",
                Instruction::CboFlush => "cbo.flush",
            }
        }

        /// # Safety
        ///
        /// The CPU has Zicbom, enabled for user mode, and `line` is mapped, readable and writable.
        pub(super) unsafe fn execute(self, line: *const u8) {
            // Encoded by hand: the target that this is compiled for need not have Zicbom.
            match self {
                // SAFETY: The caller's promise. It reads no register but the one given, writes
                // none, and leaves every byte as it is.
                Instruction::CboClean => unsafe {
                    asm!(".insn i 0x0f, 2, x0, {}, 1", in(reg) line, options(nostack));
                },
                // SAFETY: As above.
                Instruction::CboFlush => unsafe {
                    asm!(".insn i 0x0f, 2, x0, {}, 2", in(reg) line, options(nostack));
                },
            }
        }

        /// Maintenance is ordered by fences alone; devices are started and heard by I/O accesses.
        pub(super) fn fence(self) {
            // SAFETY: It only orders.
            unsafe { asm!("fence iorw, iorw", options(nostack)) }
        }
    }

    /// `struct riscv_hwprobe` of asm/hwprobe.h.
    #[repr(C)]
    struct Probe {
        key: i64,
        value: u64,
    }

    const SYS_RISCV_HWPROBE: usize = 258;
    const KEY_IMA_EXT_0: i64 = 4;
    const EXT_ZICBOM: u64 = 1 << 55;
    const KEY_ZICBOM_BLOCK_SIZE: i64 = 12;

    /// Asks for what all CPUs that are online have in common. A key that the kernel does not know
    /// comes back as -1 with the value 0, and an older kernel does not know the call.
    pub(super) fn detect() -> Option<Maintenance> {
        let mut probes = [KEY_IMA_EXT_0, KEY_ZICBOM_BLOCK_SIZE].map(|key| Probe { key, value: 0 });
        let refused: isize;
        // SAFETY: The kernel writes to the two probes and to a0, and to nothing else. No CPU set
        // (a2 and a3 are zero) means all CPUs, and a4 holds no flags.
        unsafe {
            asm!(
                "ecall",
                in("a7") SYS_RISCV_HWPROBE,
                inlateout("a0") probes.as_mut_ptr() => refused,
                in("a1") probes.len(),
                in("a2") 0usize,
                in("a3") 0usize,
                in("a4") 0usize,
                options(nostack),
            );
        }
        let [extensions, block] = probes;
        if refused != 0 || extensions.value & EXT_ZICBOM == 0 {
            return None;
        }
        Some(Maintenance {
            line: Granule::new(u32::try_from(block.value).ok()?)?,
            clean: Instruction::CboClean,
            clean_invalidate: Instruction::CboFlush,
        })
    }
}

/// No instructions are known, so there is never anything to execute.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64")))]
mod arch {
    use super::Maintenance;

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(super) enum Instruction {}

    impl Instruction {
        pub(super) fn name(self) -> &'static str {
            match self {}
        }

        /// # Safety
        ///
        /// None is needed: there is no such instruction.
        pub(super) unsafe fn execute(self, _line: *const u8) {
            match self {}
        }

        pub(super) fn fence(self) {
            match self {}
        }
    }

    pub(super) fn detect() -> Option<Maintenance> {
        None
    }
}

#[cfg(test)]
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64"))]
mod tests {
    use std::os::fd::OwnedFd;

    use dmabuf_core::{Range, RangeError};
    use proptest::prelude::*;
    use rustix::fs::MemfdFlags;

    use super::*;

    /// Every choice of instructions that this machine can be made to take; if there is none, says
    /// that the test is skipped.
    fn choices() -> Vec<Maintenance> {
        let found: Vec<Maintenance> = Maintenance::detect().into_iter().collect();
        if found.is_empty() {
            eprintln!("skipped: user space maintains no caches on this CPU and kernel");
        }
        #[cfg(target_arch = "x86_64")]
        let found = found.into_iter().flat_map(older).collect();
        found
    }

    /// What older CPUs would have, of which every newer one is a superset.
    #[cfg(target_arch = "x86_64")]
    fn older(newest: Maintenance) -> Vec<Maintenance> {
        let one = |both| Maintenance { clean: both, clean_invalidate: both, ..newest };
        let flush = one(newest.clean_invalidate);
        let mut all = vec![newest, flush, one(Instruction::Clflush)];
        all.dedup();
        all
    }

    /// A memfd of `size` bytes, with seals if `seal`.
    fn memfd(size: u64, seal: bool) -> OwnedFd {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let fd = rustix::fs::memfd_create("cache-test", flags).unwrap();
        rustix::fs::ftruncate(&fd, size).unwrap();
        if seal {
            rustix::fs::fcntl_add_seals(&fd, SealFlags::SHRINK | SealFlags::GROW).unwrap();
        }
        fd
    }

    fn run(op: Op, start: u64, len: u64) -> Run {
        Run { op, range: Range::new(start, len).unwrap() }
    }

    const OPS: [Op; 3] = [Op::Clean, Op::Invalidate, Op::CleanInvalidate];

    #[test]
    fn a_line_is_a_granule_that_caches_have() {
        for choice in choices() {
            assert!((16..=4096).contains(&choice.line().bytes()), "{choice}");
        }
    }

    #[test]
    fn a_choice_says_what_it_is() {
        for choice in choices() {
            let said = choice.to_string();
            assert!(said.contains(choice.clean.name()), "{said}");
            assert!(said.contains(choice.clean_invalidate.name()), "{said}");
            assert_eq!(said.contains(" and "), choice.clean != choice.clean_invalidate, "{said}");
            assert!(said.ends_with(&format!("lines of {} bytes", choice.line().bytes())));
        }
    }

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn detection_agrees_with_the_kernel() {
        let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap();
        let field = |name: &str| {
            let line = cpuinfo.lines().find(|line| line.starts_with(name)).unwrap();
            line.split_once(':').unwrap().1.trim()
        };
        let flags: Vec<&str> = field("flags").split(' ').collect();
        let found = Maintenance::detect().unwrap();
        let flush = if flags.contains(&"clflushopt") { "clflushopt" } else { "clflush" };
        let clean = if flags.contains(&"clwb") { "clwb" } else { flush };
        assert_eq!(found.clean.name(), clean);
        assert_eq!(found.clean_invalidate.name(), flush);
        assert_eq!(found.line().bytes(), field("clflush size").parse::<u64>().unwrap());
    }

    #[test]
    #[cfg(target_arch = "aarch64")]
    fn every_aarch64_offers_it() {
        let said = Maintenance::detect().unwrap().to_string();
        assert!(said.starts_with("dc cvac and dc civac"), "{said}");
    }

    #[test]
    fn no_bytes_are_no_lines() {
        for choice in choices() {
            assert_eq!(choice.lines(ptr::without_provenance(4097), 0).count(), 0);
            // SAFETY: No line is touched at all.
            unsafe { choice.clean_invalidate(ptr::null(), 0) }
        }
    }

    #[test]
    fn runs_past_the_end_are_refused() {
        let fd = memfd(8192, true);
        for choice in choices() {
            let mapping = CachedMapping::new(&fd, 8192, choice).unwrap();
            mapping.sync([run(Op::Clean, 8191, 1), run(Op::Invalidate, 0, 8192)]).unwrap();
            for (start, len) in [(8192, 1), (8191, 2), (0, 8193), (u64::MAX - 1, 1)] {
                for op in OPS {
                    let refused = mapping.sync([run(op, start, len)]).unwrap_err();
                    assert_eq!(refused.kind(), io::ErrorKind::InvalidInput);
                    assert_eq!(refused.to_string(), RangeError::PastEnd.to_string());
                }
            }
        }
    }

    #[test]
    fn memory_that_may_end_early_is_refused() {
        for choice in choices() {
            let refused = |fd: OwnedFd, size| {
                let refused = CachedMapping::new(fd, size, choice).unwrap_err();
                assert_eq!(refused.kind(), io::ErrorKind::InvalidInput, "{refused}");
            };
            refused(memfd(4096, false), 4096);
            refused(memfd(4096, true), 4097);
            refused(memfd(4096, true), 0);
        }
    }

    #[test]
    fn runs_come_from_a_plan_by_reference() {
        for choice in choices() {
            let mapping = CachedMapping::new(memfd(4096, true), 4096, choice).unwrap();
            let runs: &mut dyn Iterator<Item = Run> =
                &mut OPS.into_iter().map(|op| run(op, 10, 100));
            mapping.sync(runs).unwrap();
        }
    }

    #[test]
    fn threads_share_a_mapping() {
        fn shared<T: Send + Sync>() {}
        shared::<CachedMapping>();
    }

    /// `cargo test --release -p dmabuf-export -- --ignored --nocapture cost`
    #[test]
    #[ignore = "measures, and says what only a person can judge"]
    fn cost_of_a_line() {
        use std::hint::black_box;
        use std::time::{Duration, Instant};

        const SIZE: usize = 1 << 20;

        fn best(mut prepare: impl FnMut(), mut work: impl FnMut()) -> f64 {
            let once = || {
                prepare();
                let start = Instant::now();
                work();
                start.elapsed()
            };
            let times: Vec<Duration> = std::iter::repeat_with(once).take(200).collect();
            times.into_iter().min().unwrap().as_secs_f64()
        }

        let mut own = vec![1u8; SIZE];
        let mut copied = vec![2u8; SIZE];
        let copy = best(|| {}, || black_box(&mut copied).copy_from_slice(black_box(&own)));
        let address = own.as_mut_ptr();
        let mut all: Vec<Maintenance> = choices()
            .into_iter()
            .flat_map(|choice| [choice.clean, choice.clean_invalidate].map(|both| (both, choice)))
            .map(|(both, line)| Maintenance { clean: both, clean_invalidate: both, ..line })
            .collect();
        all.dedup();
        println!("1 MiB, as a multiple of the time to copy it once");
        println!("{:<30} {:>6} {:>6} {:>10}", "", "dirty", "clean", "then read");
        for only in all {
            let each = |touch: fn(*mut u8)| {
                for at in (0..SIZE).step_by(only.line().bytes() as usize) {
                    touch(address.wrapping_add(at));
                }
            };
            // SAFETY: The bytes are the vector's own, and it is not used while `address` is.
            let store = || each(|byte| unsafe { byte.write_volatile(3) });
            // SAFETY: As above.
            let load = || each(|byte| _ = unsafe { byte.read_volatile() });
            // SAFETY: As above.
            let maintain = || unsafe { only.clean(address, SIZE) };
            let dirty = best(store, maintain) / copy;
            let clean = best(maintain, maintain) / copy;
            let read = best(maintain, load) / best(load, load);
            println!("{:<30} {dirty:>6.1} {clean:>6.1} {read:>9.1}x", only.to_string());
        }
    }

    proptest! {
        #[test]
        fn lines_hold_every_byte_and_none_is_idle(address in 0..1usize << 30, len in 1..10_000usize) {
            for choice in choices() {
                let line = choice.line().bytes() as usize;
                let lines = choice.lines(ptr::without_provenance(address), len);
                let starts: Vec<usize> = lines.map(|line| line.addr()).collect();
                let expected: Vec<usize> =
                    (address / line..=(address + len - 1) / line).map(|n| n * line).collect();
                prop_assert_eq!(starts, expected);
            }
        }

        #[test]
        fn bytes_stay_as_they_are(
            bytes in prop::collection::vec(any::<u8>(), 1..20_000),
            at in any::<prop::sample::Index>(),
            len in any::<prop::sample::Index>(),
            op in prop::sample::select(OPS.to_vec()),
        ) {
            let size = bytes.len() as u64;
            let start = at.index(bytes.len());
            let len = 1 + len.index(bytes.len() - start);
            for choice in choices() {
                let fd = memfd(size, true);
                let mapping = CachedMapping::new(&fd, size, choice).unwrap();
                prop_assert_eq!(rustix::io::pwrite(&fd, &bytes, 0), Ok(bytes.len()));
                mapping.sync([run(op, start as u64, len as u64)]).unwrap();
                let mut seen = vec![0; bytes.len()];
                prop_assert_eq!(rustix::io::pread(&fd, &mut seen, 0), Ok(seen.len()));
                prop_assert_eq!(&seen, &bytes);

                let own = seen.as_ptr();
                // SAFETY: The bytes are the vector's own and coherent, so they do not change; no
                // reference to them is used in between.
                unsafe {
                    choice.clean(own.wrapping_add(start), len);
                    choice.clean_invalidate(own.wrapping_add(start), len);
                }
                prop_assert_eq!(&seen, &bytes);
            }
        }
    }
}
