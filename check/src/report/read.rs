//! The record file, taken apart. A process may still write to it: what is incomplete is left out.

#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use crate::record::{ALIGN, Finding, Head, Limit, MAGIC, SIZE, mark};

/// A record.
pub enum Record<'a> {
    /// Lines of a process's maps.
    Maps { process: u32, text: &'a [u8] },
    /// A finding, and its stack.
    Finding(Box<Finding>, &'a [u8]),
    /// A limit.
    Limit(Box<Limit>),
}

impl Record<'_> {
    /// Whose it is.
    pub fn process(&self) -> u32 {
        match self {
            Record::Maps { process, .. } => *process,
            Record::Finding(finding, _) => finding.head.process,
            Record::Limit(limit) => limit.head.process,
        }
    }
}

/// A struct of integers alone, without padding.
///
/// # Safety
///
/// It is.
unsafe trait Integers: Sized {}
// SAFETY: Numbers of 8 bytes, pairs of 4, and arrays of bytes whose length is a multiple of 8.
unsafe impl Integers for Finding {}
// SAFETY: As above.
unsafe impl Integers for Limit {}
// SAFETY: As above.
unsafe impl Integers for Head {}

/// The struct at the beginning of these bytes.
fn take<T: Integers>(bytes: &[u8]) -> Option<T> {
    // SAFETY: There are enough bytes, and any are a value.
    (bytes.len() >= size_of::<T>()).then(|| unsafe { bytes.as_ptr().cast::<T>().read_unaligned() })
}

fn word(bytes: &[u8], index: usize) -> u64 {
    let word = bytes.get(8 * index..8 * index + 8).and_then(|word| word.try_into().ok());
    u64::from_ne_bytes(word.unwrap_or_default())
}

/// A record, and where it stands.
pub type At<'a> = (usize, Record<'a>);

/// What was written of a record file, whose rest is empty.
pub fn contents(file: &File) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; ALIGN];
    file.read_exact_at(&mut bytes, 0)?;
    let end = word(&bytes, 1).min(SIZE as u64) as usize;
    bytes.resize(end.max(ALIGN), 0);
    file.read_exact_at(&mut bytes[ALIGN..], ALIGN as u64)?;
    Ok(bytes)
}

/// How often the engine has started.
pub fn started(bytes: &[u8]) -> u64 {
    word(bytes, 3)
}

/// All records, and how many there was no room for.
pub fn records(bytes: &[u8]) -> io::Result<(Vec<At<'_>>, u64)> {
    if word(bytes, 0) != MAGIC {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "not a record of the checker's"));
    }
    let (end, lost) = (word(bytes, 1).min(SIZE as u64) as usize, word(bytes, 2));
    let mut records = Vec::new();
    let mut at = ALIGN;
    while let Some(rest) = bytes.get(at..end.min(bytes.len())).filter(|rest| !rest.is_empty()) {
        // What was claimed and never completed has no mark; behind it the next record is found.
        at += ALIGN;
        let Some(head) = take::<Head>(rest) else { break };
        let Some(body) = usize::try_from(head.len).ok().and_then(|len| rest.get(..len)) else {
            continue;
        };
        let record = match head.mark {
            mark::MAPS => body
                .get(size_of::<Head>()..)
                .map(|text| Record::Maps { process: head.process, text }),
            mark::FINDING => take::<Finding>(body).map(|finding| {
                let stack = &body[size_of::<Finding>()..];
                let len = stack.len().min(finding.stack as usize);
                Record::Finding(Box::new(finding), &stack[..len])
            }),
            mark::LIMIT => take::<Limit>(body).map(|limit| Record::Limit(Box::new(limit))),
            _ => continue,
        };
        if let Some(record) = record {
            records.push((at - ALIGN, record));
            at += body.len().next_multiple_of(ALIGN) - ALIGN;
        }
    }
    Ok((records, lost))
}

/// The beginning of a new record file, whose size is [`SIZE`].
pub fn header() -> [u8; ALIGN] {
    let mut header = [0; ALIGN];
    header[..8].copy_from_slice(&MAGIC.to_ne_bytes());
    header[8..16].copy_from_slice(&(ALIGN as u64).to_ne_bytes());
    header
}
