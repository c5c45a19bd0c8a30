//! The programs that are measured. Each takes a second or so on a desktop, and says nothing.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::thread;

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, Subcommand};
use dmabuf::heap::Heap;
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};

use crate::service::this_program;

/// What is run to be measured.
#[derive(Args)]
pub struct Measured {
    /// Do a part of the work: one of so many
    #[arg(long, value_name = "N", default_value_t = 1)]
    parts: u32,
    #[command(subcommand)]
    program: Program,
}

/// Which program.
#[derive(Subcommand)]
pub enum Program {
    /// Draws frames into two buffers of a heap in turn, in correct brackets
    Frames { heap: PathBuf },
    /// Asks the kernel for many small things and does nothing else; has no dma-buf
    Calls,
    /// Copies a file, 64 KiB at a time; has no dma-buf
    Copying,
    /// Writes texts to files, reads them again, counts their words and sorts them, in threads; has no
    /// dma-buf
    Working,
    /// Starts programs that end at once; has no dma-buf
    Starting,
    /// One of those
    Ending,
}

const WIDTH: u32 = 1920;
const HEIGHT: u32 = 1080;
const FRAMES: u32 = 600;

const CALLS: u32 = 200_000;
const BLOCK: usize = 64 << 10;
const BLOCKS: u32 = 300_000;
const WORKERS: u64 = 2;
const TEXTS: u64 = 40;
const WORDS: u32 = 60_000;
const STARTS: u32 = 200;

impl Program {
    /// What this binary has to be told to be it, and to do one of so many parts of its work.
    pub fn arguments(&self, parts: u32) -> Vec<OsString> {
        let parts = format!("--parts={parts}").into();
        let mut words: Vec<OsString> = vec!["measured".into(), parts];
        match self {
            Program::Frames { heap } => words.extend(["frames".into(), heap.into()]),
            Program::Calls => words.push("calls".into()),
            Program::Copying => words.push("copying".into()),
            Program::Working => words.push("working".into()),
            Program::Starting => words.push("starting".into()),
            Program::Ending => words.push("ending".into()),
        }
        words
    }
}

/// Is it.
pub fn be(Measured { parts, program }: &Measured) -> Result<()> {
    ensure!(*parts > 0, "work has at least one part");
    match program {
        Program::Frames { heap } => frames(heap, FRAMES / parts),
        Program::Calls => calls(CALLS / parts),
        Program::Copying => copying(BLOCKS / parts),
        Program::Working => working(WORDS / parts),
        Program::Starting => starting(STARTS / parts),
        Program::Ending => Ok(()),
    }
}

/// A gradient that moves, XRGB8888.
fn frames(heap: &Path, count: u32) -> Result<()> {
    let heap = Heap::open(heap)?;
    let size = u64::from(WIDTH) * u64::from(HEIGHT) * 4;
    let buffers = [heap.allocate(size)?, heap.allocate(size)?];
    let mappings = [buffers[0].map()?, buffers[1].map()?];
    let mut row = vec![0_u32; WIDTH as usize];
    for frame in 0..count {
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
fn calls(count: u32) -> Result<()> {
    let mut zero = File::open("/dev/zero").context("/dev/zero")?;
    let mut null = File::create("/dev/null").context("/dev/null")?;
    let mut page = [0; 4096];
    for _ in 0..count {
        zero.read_exact(&mut page)?;
        null.write_all(&page)?;
        zero.metadata()?;
        rustix::io::ioctl_fionbio(&zero, false)?;
        memory()?;
    }
    Ok(())
}

/// Of a file in the page cache into another.
fn copying(blocks: u32) -> Result<()> {
    let mut block = vec![1; BLOCK];
    let [from, to] = [tempfile::tempfile(), tempfile::tempfile()];
    let (from, to) = (from.context("a temporary file")?, to.context("a temporary file")?);
    from.write_all_at(&block, 0)?;
    for _ in 0..blocks {
        from.read_exact_at(&mut block, 0)?;
        to.write_all_at(&block, 0)?;
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

/// What most programs do most of the time: files, memory, threads, and some computing between.
fn working(words: u32) -> Result<()> {
    let folder = tempfile::tempdir()?;
    thread::scope(|scope| {
        let workers: Vec<_> = (0..WORKERS)
            .map(|worker| {
                let folder = folder.path();
                scope.spawn(move || {
                    (0..TEXTS)
                        .try_for_each(|text| count_words(folder, worker * TEXTS + text, words))
                })
            })
            .collect();
        workers.into_iter().try_for_each(|worker| match worker.join() {
            Ok(result) => result,
            Err(_) => bail!("a thread has panicked"),
        })
    })
}

/// Writes a text of words that are the same each time, and then how often it has which.
fn count_words(folder: &Path, seed: u64, words: u32) -> Result<()> {
    let (text, counted) =
        (folder.join(format!("{seed}.txt")), folder.join(format!("{seed}.count")));
    let mut file = BufWriter::new(File::create(&text)?);
    let mut state = seed + 1;
    for _ in 0..words {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        writeln!(file, "word{}", state % 5000)?;
    }
    file.into_inner()?;
    let mut counts: HashMap<String, u64> = HashMap::new();
    for line in BufReader::new(File::open(&text)?).lines() {
        *counts.entry(line?).or_default() += 1;
    }
    let mut sorted: Vec<_> = counts.into_iter().collect();
    sorted.sort();
    let mut file = BufWriter::new(File::create(&counted)?);
    for (word, count) in &sorted {
        writeln!(file, "{count} {word}")?;
    }
    file.into_inner()?;
    fs::remove_file(&text)?;
    Ok(())
}

/// This binary again and again: what a program costs that does nothing.
fn starting(count: u32) -> Result<()> {
    for _ in 0..count {
        let status = this_program()?.args(Program::Ending.arguments(1)).status()?;
        ensure!(status.success(), "a program that does nothing has failed: {status}");
    }
    Ok(())
}
