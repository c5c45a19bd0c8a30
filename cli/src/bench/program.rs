//! The programs that are measured. Each takes a second or so on a desktop, and says nothing.

use std::ffi::OsString;
use std::fs::File;
use std::hint::black_box;
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Subcommand;
use dmabuf::heap::Heap;
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};

/// Which program.
#[derive(Subcommand)]
pub enum Program {
    /// Draws frames into two buffers of a heap in turn, in correct brackets
    Frames { heap: PathBuf },
    /// Asks the kernel for many small things and does nothing else; has no dma-buf
    Calls,
    /// Copies a file, 64 KiB at a time; has no dma-buf
    Copying,
    /// Computes; has no dma-buf
    Computing,
}

const WIDTH: u32 = 1920;
const HEIGHT: u32 = 1080;
const FRAMES: u32 = 600;

const CALLS: u32 = 200_000;
const BLOCK: usize = 64 << 10;
const BLOCKS: u64 = 600_000;
const STEPS: u64 = 1_000_000_000;

impl Program {
    /// What this binary has to be told to be it.
    pub fn arguments(&self) -> Vec<OsString> {
        let mut words: Vec<OsString> = vec!["measured".into()];
        match self {
            Program::Frames { heap } => words.extend(["frames".into(), heap.into()]),
            Program::Calls => words.push("calls".into()),
            Program::Copying => words.push("copying".into()),
            Program::Computing => words.push("computing".into()),
        }
        words
    }
}

/// Is it.
pub fn be(program: &Program) -> Result<()> {
    match program {
        Program::Frames { heap } => frames(heap),
        Program::Calls => calls(),
        Program::Copying => copying(),
        Program::Computing => {
            computing();
            Ok(())
        }
    }
}

/// A gradient that moves, XRGB8888.
fn frames(heap: &Path) -> Result<()> {
    let heap = Heap::open(heap)?;
    let size = u64::from(WIDTH) * u64::from(HEIGHT) * 4;
    let buffers = [heap.allocate(size)?, heap.allocate(size)?];
    let mappings = [buffers[0].map()?, buffers[1].map()?];
    let mut row = vec![0_u32; WIDTH as usize];
    for frame in 0..FRAMES {
        let pixels = mappings[frame as usize % 2].write(..)?;
        for y in 0..HEIGHT {
            for (x, pixel) in (0..).zip(&mut row) {
                *pixel = ((x + frame) & 0xff) << 16 | ((y + frame) & 0xff) << 8 | (x ^ y) & 0xff;
            }
            pixels.copy_from(u64::from(y) * u64::from(WIDTH) * 4, &row)?;
        }
        pixels.end()?;
    }
    Ok(())
}

/// Through libc (std) and past it (rustix): a page in, a page out, a descriptor looked at, memory
/// got and given back.
fn calls() -> Result<()> {
    let mut zero = File::open("/dev/zero").context("/dev/zero")?;
    let mut null = File::create("/dev/null").context("/dev/null")?;
    let mut page = [0; 4096];
    for _ in 0..CALLS {
        zero.read_exact(&mut page)?;
        null.write_all(&page)?;
        zero.metadata()?;
        rustix::io::ioctl_fionbio(&zero, false)?;
        memory()?;
    }
    Ok(())
}

/// From the page cache to nowhere.
fn copying() -> Result<()> {
    let mut block = vec![1; BLOCK];
    let mut file = tempfile::tempfile().context("a temporary file")?;
    file.write_all(&block)?;
    let mut null = File::create("/dev/null").context("/dev/null")?;
    for _ in 0..BLOCKS {
        file.read_exact_at(&mut block, 0)?;
        null.write_all(&block)?;
    }
    Ok(())
}

#[allow(unsafe_code)]
fn memory() -> Result<()> {
    let protection = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: A new mapping at an address of the kernel's choice, which nothing else uses.
    unsafe {
        let page = mmap_anonymous(std::ptr::null_mut(), 4096, protection, MapFlags::PRIVATE)?;
        munmap(page, 4096)?;
    }
    Ok(())
}

fn computing() {
    let mut state = 1_u64;
    for _ in 0..STEPS {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
    }
    black_box(state);
}
