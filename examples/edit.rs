//! Inverts the colours of a rectangle of a picture in a dma-buf: what any program that was written
//! for dma-bufs does. It knows open, mmap and ioctl, and nothing of this project; its only
//! dependency is rustix.
//!
//! ```text
//! edit PATH WIDTH HEIGHT X Y RECT_WIDTH RECT_HEIGHT WAY
//! ```
//!
//! The picture is WIDTH x HEIGHT pixels of XRGB8888 (bytes B, G, R, X), WIDTH * 4 bytes a row. WAY
//! says how the access is bracketed, wrongly or rightly:
//!
//! | WAY | the bracket |
//! |---|---|
//! | `whole` | `DMA_BUF_IOCTL_SYNC`, read and write: the whole buffer |
//! | `ranged` | `DMA_BUF_IOCTL_SYNC_PARTIAL`, read and write: the rectangle's rows |
//! | `none` | no bracket |
//! | `wrong-direction` | `DMA_BUF_IOCTL_SYNC`, read: though it writes |
//! | `too-small` | `DMA_BUF_IOCTL_SYNC_PARTIAL`, read and write: the upper half of those rows |
//!
//! Prints `brackets=N nanoseconds=T`: T from before the bracket begins until it has ended, page
//! faults included. Exits with 0, with 1 on a failure, with 2 on bad arguments, and with 3 where
//! the exporter refuses mmap. `edit.c` is the same program in C.
#![allow(unsafe_code)]

use std::ffi::{OsStr, OsString};
use std::fs::OpenOptions;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use rustix::io::Errno;
use rustix::ioctl::{self, Setter, opcode};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

/// The argument of `DMA_BUF_IOCTL_SYNC`: `struct dma_buf_sync` of `linux/dma-buf.h`.
#[repr(C)]
struct DmaBufSync {
    flags: u64,
}

/// The argument of the vendor kernels' `DMA_BUF_IOCTL_SYNC_PARTIAL`.
#[repr(C)]
struct DmaBufSyncPartial {
    flags: u64,
    offset: u32,
    len: u32,
}

const DMA_BUF_IOCTL_SYNC: ioctl::Opcode = opcode::write::<DmaBufSync>(b'b', 0);
const DMA_BUF_IOCTL_SYNC_PARTIAL: ioctl::Opcode = opcode::write::<DmaBufSyncPartial>(b'b', 2);

const DMA_BUF_SYNC_READ: u64 = 1;
const DMA_BUF_SYNC_RW: u64 = 3;
const DMA_BUF_SYNC_START: u64 = 0;
const DMA_BUF_SYNC_END: u64 = 4;

const BYTES_PER_PIXEL: usize = 4;

/// Why nothing, or not everything, was done: the exit status and the sentence.
type Failure = (u8, String);

const FAILED: u8 = 1;
const BAD_ARGUMENTS: u8 = 2;
const MMAP_REFUSED: u8 = 3;

fn main() -> ExitCode {
    run(std::env::args_os().skip(1).collect())
}

/// The program, for the arguments after its name.
pub fn run(arguments: Vec<OsString>) -> ExitCode {
    match Job::parse(&arguments).and_then(|job| job.run()) {
        Ok(line) => {
            println!("{line}");
            ExitCode::SUCCESS
        }
        Err((status, sentence)) => {
            eprintln!("edit: {sentence}");
            ExitCode::from(status)
        }
    }
}

/// How the access is bracketed.
enum Way {
    None,
    Whole { direction: u64 },
    Partial { direction: u64, offset: u32, len: u32 },
}

/// What to edit.
struct Job<'a> {
    path: &'a Path,
    size: usize,
    width: usize,
    x: usize,
    y: usize,
    rect_width: usize,
    rect_height: usize,
    way: Way,
}

impl<'a> Job<'a> {
    fn parse(arguments: &'a [OsString]) -> Result<Job<'a>, Failure> {
        let [path, numbers @ .., way] = arguments else {
            return Err(usage());
        };
        let numbers: Vec<usize> =
            numbers.iter().map(|text| number(text)).collect::<Result<_, _>>()?;
        let &[width, height, x, y, rect_width, rect_height] = numbers.as_slice() else {
            return Err(usage());
        };
        if rect_width == 0 || rect_height == 0 || x + rect_width > width || y + rect_height > height
        {
            return Err(bad("the rectangle is empty or not inside of the picture".into()));
        }
        let stride = width * BYTES_PER_PIXEL;
        let size = stride * height;
        let bytes = |rows: usize| {
            u32::try_from(rows * stride).map_err(|_| {
                bad(format!("a picture of {size} bytes is past what a range can name"))
            })
        };
        bytes(height)?;
        let rows = |rows| -> Result<Way, Failure> {
            Ok(Way::Partial { direction: DMA_BUF_SYNC_RW, offset: bytes(y)?, len: bytes(rows)? })
        };
        let way = match way.to_str() {
            Some("whole") => Way::Whole { direction: DMA_BUF_SYNC_RW },
            Some("wrong-direction") => Way::Whole { direction: DMA_BUF_SYNC_READ },
            Some("ranged") => rows(rect_height)?,
            Some("too-small") => rows(rect_height / 2)?,
            Some("none") => Way::None,
            _ => {
                return Err(bad(format!(
                    "{} is no way; it is whole, ranged, none, wrong-direction or too-small",
                    way.display()
                )));
            }
        };
        Ok(Job { path: Path::new(path), size, width, x, y, rect_width, rect_height, way })
    }

    /// Maps, brackets, inverts and unbrackets; returns the line to print.
    fn run(&self) -> Result<String, Failure> {
        let path = self.path.display();
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(self.path)
            .map_err(|error| failed(format!("open {path}: {error}")))?;
        let size = file.metadata().map_err(|error| failed(format!("fstat {path}: {error}")))?.len();
        if size < self.size as u64 {
            return Err(failed(format!(
                "{path} is smaller than the picture's {} bytes",
                self.size
            )));
        }
        let (protection, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED);
        // SAFETY: A new mapping at an address of the kernel's choice.
        let pixels = unsafe {
            mmap(std::ptr::null_mut(), self.size, protection, flags, &file, 0)
                .map_err(|error| (MMAP_REFUSED, format!("mmap {path}: {error}")))?
        };

        let start = Instant::now();
        self.sync(file.as_fd(), DMA_BUF_SYNC_START)?;
        self.invert(pixels.cast());
        self.sync(file.as_fd(), DMA_BUF_SYNC_END)?;
        let nanoseconds = start.elapsed().as_nanos();

        // SAFETY: The mapping made above, which nothing uses from here on.
        unsafe { munmap(pixels, self.size) }
            .map_err(|error| failed(format!("munmap {path}: {error}")))?;
        let brackets = u8::from(!matches!(self.way, Way::None));
        Ok(format!("brackets={brackets} nanoseconds={nanoseconds}"))
    }

    /// Begins or ends the bracket; `edge` is `DMA_BUF_SYNC_START` or `DMA_BUF_SYNC_END`.
    fn sync(&self, fd: BorrowedFd<'_>, edge: u64) -> Result<(), Failure> {
        let (name, result) = match self.way {
            Way::None => return Ok(()),
            Way::Whole { direction } => ("DMA_BUF_IOCTL_SYNC", {
                restarted(|| {
                    let sync = DmaBufSync { flags: direction | edge };
                    // SAFETY: The number encodes the size of this struct, which the kernel reads.
                    unsafe { ioctl::ioctl(fd, Setter::<DMA_BUF_IOCTL_SYNC, _>::new(sync)) }
                })
            }),
            Way::Partial { direction, offset, len } => ("DMA_BUF_IOCTL_SYNC_PARTIAL", {
                restarted(|| {
                    let sync = DmaBufSyncPartial { flags: direction | edge, offset, len };
                    // SAFETY: The number encodes the size of this struct, which the kernel reads.
                    unsafe { ioctl::ioctl(fd, Setter::<DMA_BUF_IOCTL_SYNC_PARTIAL, _>::new(sync)) }
                })
            }),
        };
        result.map_err(|error| {
            let edge = if edge == DMA_BUF_SYNC_START { "start" } else { "end" };
            let unknown = match error {
                Errno::NOTTY => " (its exporter does not know this ioctl)",
                _ => "",
            };
            failed(format!("{name} {edge} of {}: {error}{unknown}", self.path.display()))
        })
    }

    /// Inverts the rectangle of the picture at `pixels`, which is mapped for `self.size` bytes.
    fn invert(&self, pixels: *mut u32) {
        let colours = u32::from_ne_bytes([255, 255, 255, 0]);
        for row in self.y..self.y + self.rect_height {
            for column in self.x..self.x + self.rect_width {
                // SAFETY: The rectangle is inside of the picture, and that of the mapping.
                // Volatile, because devices and other programs store to the same memory.
                unsafe {
                    let pixel = pixels.add(row * self.width + column);
                    pixel.write_volatile(pixel.read_volatile() ^ colours);
                }
            }
        }
    }
}

/// Restarts what a signal or a busy exporter interrupted, as the kernel's documentation asks.
fn restarted(mut call: impl FnMut() -> Result<(), Errno>) -> Result<(), Errno> {
    loop {
        match call() {
            Err(Errno::INTR | Errno::AGAIN) => {}
            result => return result,
        }
    }
}

fn number(text: &OsStr) -> Result<usize, Failure> {
    let value: Option<i32> = text.to_str().and_then(|text| text.parse().ok());
    value
        .and_then(|value| usize::try_from(value).ok())
        .ok_or_else(|| bad(format!("{} is not a number of pixels", text.display())))
}

fn usage() -> Failure {
    bad("usage: edit PATH WIDTH HEIGHT X Y RECT_WIDTH RECT_HEIGHT WAY".into())
}

fn bad(sentence: String) -> Failure {
    (BAD_ARGUMENTS, sentence)
}

fn failed(sentence: String) -> Failure {
    (FAILED, sentence)
}
