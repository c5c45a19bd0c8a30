//! Which buffer a descriptor is of, and which descriptors a buffer has.

use core::ops::RangeInclusive;

use dmabuf_uapi::{DMA_BUF_MAGIC, DMA_BUF_QUERY_NAME_LEN, FUSE_SUPER_MAGIC};

use super::state::Kind;
use super::sys::{self, File};
use super::{lock, log};
use crate::record::{Buffer, NAME};

const _: () = assert!(NAME == DMA_BUF_QUERY_NAME_LEN);

/// The buffer that a descriptor is of; `None` for any other file.
pub fn buffer(fd: i32) -> Option<usize> {
    let [device, inode, size] = sys::stat(fd)?;
    if let Some(known) = lock::with(|state| state.find(device, inode)).flatten() {
        return Some(known);
    }
    let file_system = sys::file_system(fd);
    let is_kernels = file_system == DMA_BUF_MAGIC;
    let told = match file_system {
        DMA_BUF_MAGIC => of_kernel(fd, Buffer { device, inode, size, ..Buffer::UNKNOWN }),
        FUSE_SUPER_MAGIC => {
            let query = sys::query(fd)?;
            let (name, exporter) = (query.name, query.exporter);
            Buffer { device, inode, size: query.size, name, exporter }
        }
        _ => return None,
    };
    let kind = if is_kernels { Kind::Kernel } else { Kind::Served };
    lock::with(|state| state.add(kind, [device, inode], told)).flatten()
}

/// What fdinfo tells of a dma-buf.
fn of_kernel(fd: i32, mut buffer: Buffer) -> Buffer {
    let mut path = *b"/proc/thread-self/fdinfo/\0\0\0\0\0\0\0\0\0\0\0\0";
    decimal(fd as u32, &mut path[25..]);
    let mut text = [0_u8; 512];
    let read = File::open(&path, libc::O_RDONLY).and_then(|file| file.read(&mut text));
    let Ok(len) = read else { return buffer };
    for line in text[..len].split(|&byte| byte == b'\n') {
        for (key, into) in
            [(&b"exp_name:\t"[..], &mut buffer.exporter), (&b"name:\t"[..], &mut buffer.name)]
        {
            if let Some(value) = line.strip_prefix(key) {
                let len = value.len().min(NAME - 1);
                into[..len].copy_from_slice(&value[..len]);
            }
        }
    }
    buffer
}

/// A number as text, into bytes that are zero.
fn decimal(number: u32, into: &mut [u8]) {
    let digits = number.checked_ilog10().unwrap_or(0) as usize + 1;
    let mut rest = number;
    for digit in into[..digits].iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
}

/// Guards the memfd that a buffer was made of, wherever it is mapped already; `watch` is told
/// where that is.
pub fn behind(memfd: i32, buffer: usize, mut watch: impl FnMut(usize, usize)) {
    let Some([device, inode, _]) = sys::stat(memfd) else { return };
    let memfd = lock::with(|state| {
        if state.find(device, inode).is_some() {
            return None;
        }
        let told = state.told(buffer);
        state.add(Kind::Memfd, [device, inode], told)
    });
    let Some(memfd) = memfd.flatten() else { return };
    log::lines_of_maps(|line| {
        let Some(Line { start, end, protection, shared: true, offset, inode: of }) = parse(line)
        else {
            return;
        };
        // Memory files are all on the one file system that the kernel keeps for them; a file of the
        // same number elsewhere is not mapped as one.
        if of == inode && line.windows(7).any(|name| name == b"/memfd:") {
            lock::with(|state| state.mapped(memfd, start, end - start, offset, protection));
            watch(start, end - start);
        }
    });
}

/// A line of `/proc/thread-self/maps`.
struct Line {
    start: usize,
    end: usize,
    protection: i32,
    shared: bool,
    offset: u64,
    inode: u64,
}

fn parse(line: &[u8]) -> Option<Line> {
    let mut words = line.split(|&byte| byte == b' ').filter(|word| !word.is_empty());
    let (start, end) = log::range(words.next()?)?;
    let access = words.next()?;
    let mut protection = 0;
    for (letter, bit) in
        [(b'r', libc::PROT_READ), (b'w', libc::PROT_WRITE), (b'x', libc::PROT_EXEC)]
    {
        if access.contains(&letter) {
            protection |= bit;
        }
    }
    Some(Line {
        start,
        end,
        protection,
        shared: access.contains(&b's'),
        offset: number(words.next()?, 16)?,
        inode: number(words.nth(1)?, 10)?,
    })
}

fn number(text: &[u8], base: u32) -> Option<u64> {
    text.iter().try_fold(0_u64, |number, &byte| {
        Some(number * u64::from(base) + u64::from(char::from(byte).to_digit(base)?))
    })
}

/// A buffer that the process has a descriptor of and no mapping.
pub fn unmapped_buffer() -> Option<usize> {
    let mut found = None;
    descriptors(|fd| {
        if found.is_none() {
            found = buffer(fd)
                .filter(|&buffer| lock::with(|state| state.is_mapped(buffer)) == Some(false));
        }
    });
    found
}

/// The buffer that one of these descriptors is the last of, with a bracket that somebody has to end;
/// the first, if there are several.
pub fn last_of_open(fds: &RangeInclusive<usize>) -> Option<usize> {
    let open = |fd: i32| {
        let [device, inode, _] = sys::stat(fd)?;
        lock::with(|state| state.find(device, inode).filter(|&buffer| state.is_open(buffer)))
            .flatten()
    };
    let mut found = None;
    let mut look = |fd: i32| {
        if found.is_some() || !fds.contains(&(fd as usize)) {
            return;
        }
        if let Some(buffer) = open(fd) {
            let mut is_last = true;
            descriptors(|other| {
                is_last &= fds.contains(&(other as usize)) || open(other) != Some(buffer);
            });
            found = is_last.then_some(buffer);
        }
    };
    if fds.start() == fds.end() {
        look(*fds.start() as i32);
    } else {
        descriptors(look);
    }
    found
}

/// The numbers in `/proc/thread-self/fd`.
fn descriptors(mut each: impl FnMut(i32)) {
    let flags = libc::O_RDONLY | libc::O_DIRECTORY;
    let Ok(folder) = File::open(b"/proc/thread-self/fd\0", flags) else { return };
    let mut entries = [0_u8; 256];
    while let Ok(len @ 1..) = folder.entries(&mut entries) {
        let mut rest = &entries[..len];
        // struct linux_dirent64: inode and offset of 8 bytes, length of 2, type of 1, name.
        while let [_, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, low, high, _, name @ ..] = rest {
            let len = usize::from(u16::from_ne_bytes([*low, *high]));
            let end = name.iter().position(|&byte| byte == 0).unwrap_or(0);
            if end > 0
                && let Some(fd) = number(&name[..end], 10)
            {
                each(fd as i32);
            }
            rest = rest.get(len..).filter(|_| len > 0).unwrap_or(&[]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_maps_is_understood() {
        let line = b"7f0000001000-7f0000003000 rw-s 00002000 00:01 1042                 /memfd:x (deleted)";
        let Line { start, end, protection, shared, offset, inode } = parse(line).unwrap();
        assert_eq!((start, end), (0x7f00_0000_1000, 0x7f00_0000_3000));
        assert_eq!(protection, libc::PROT_READ | libc::PROT_WRITE);
        assert_eq!((shared, offset, inode), (true, 0x2000, 1042));
    }

    #[test]
    fn numbers_are_written_in_decimal() {
        for (value, text) in [(0, "0"), (7, "7"), (10, "10"), (4_294_967_295, "4294967295")] {
            let mut bytes = [0; 12];
            decimal(value, &mut bytes);
            assert_eq!(&bytes[..text.len()], text.as_bytes());
            assert_eq!(bytes[text.len()], 0);
        }
    }
}
