//! What an ioctl on a buffer's file asks for.

use std::ffi::CStr;

use dmabuf_export::{Access, Buffer, Policy, Range};
use dmabuf_uapi as uapi;
use fuser::Errno;

/// A call, decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    /// Begin an access.
    Begin(Access, Range),
    /// End one.
    End(Access, Range),
    /// Tell what the buffer is and can.
    Query,
    /// Give it a name.
    SetName(String),
}

/// Decodes `command` with its argument, for a buffer of `size` bytes.
///
/// What a buffer that is served does not have (fences live in the kernel) and what nobody knows is
/// ENOTTY; a bad argument is EINVAL, as in dma_buf_ioctl of drivers/dma-buf/dma-buf.c.
pub(crate) fn decode(command: u32, argument: &[u8], size: u64) -> Result<Call, Errno> {
    let whole = || Range::new(0, size).map_err(|_| Errno::EINVAL);
    match command {
        uapi::DMA_BUF_IOCTL_PREPARE_ACCESS => Ok(Call::Begin(Access::ReadWrite, whole()?)),
        uapi::DMA_BUF_IOCTL_FINISH_ACCESS => Ok(Call::End(Access::ReadWrite, whole()?)),
        uapi::DMA_BUF_IOCTL_SYNC => {
            sync(uapi::DmaBufSync::from_bytes(exact(argument)?).flags, whole()?)
        }
        uapi::DMA_BUF_IOCTL_SYNC_PARTIAL => {
            let partial = uapi::DmaBufSyncPartial::from_bytes(exact(argument)?);
            sync(partial.flags, part(partial.offset.into(), partial.len.into(), size)?)
        }
        uapi::DMA_BUF_IOCTL_SYNC_RANGE => {
            let range = uapi::DmaBufSyncRange::from_bytes(exact(argument)?);
            sync(range.flags, part(range.offset, range.len, size)?)
        }
        uapi::DMA_BUF_IOCTL_QUERY => Ok(Call::Query),
        uapi::DMA_BUF_SET_NAME_A | uapi::DMA_BUF_SET_NAME_B => name(argument).map(Call::SetName),
        _ => Err(Errno::ENOTTY),
    }
}

/// The answer to QUERY.
pub(crate) fn query(buffer: &Buffer) -> Vec<u8> {
    let capability = buffer.capability();
    let mut flags = 0;
    if capability.mmap {
        flags |= uapi::DMA_BUF_QUERY_MMAP_READ | uapi::DMA_BUF_QUERY_MMAP_WRITE;
        if capability.coherent {
            flags |= uapi::DMA_BUF_QUERY_COHERENT;
        } else {
            flags |= uapi::DMA_BUF_QUERY_BRACKET;
        }
    }
    if capability.range {
        flags |= uapi::DMA_BUF_QUERY_RANGE;
    }
    flags |= match capability.policy {
        Policy::Hints => 0,
        Policy::Tracked => uapi::DMA_BUF_QUERY_TRACKED,
        Policy::Checked => uapi::DMA_BUF_QUERY_TRACKED | uapi::DMA_BUF_QUERY_CHECKED,
    };
    let query = uapi::DmaBufQuery {
        size: buffer.size(),
        flags,
        granule: capability.granule.bytes() as u32,
        exporter: padded(buffer.exporter()),
        name: padded(&buffer.name()),
        reserved: [0; 4],
    };
    query.to_bytes().to_vec()
}

fn sync(flags: u64, range: Range) -> Result<Call, Errno> {
    if !uapi::sync_flags_valid(flags) {
        return Err(Errno::EINVAL);
    }
    let access = match flags & uapi::DMA_BUF_SYNC_RW {
        uapi::DMA_BUF_SYNC_READ => Access::Read,
        uapi::DMA_BUF_SYNC_WRITE => Access::Write,
        _ => Access::ReadWrite,
    };
    if flags & uapi::DMA_BUF_SYNC_END == 0 {
        Ok(Call::Begin(access, range))
    } else {
        Ok(Call::End(access, range))
    }
}

fn part(offset: u64, len: u64, size: u64) -> Result<Range, Errno> {
    Range::new(offset, len).and_then(|range| range.within(size)).map_err(|_| Errno::EINVAL)
}

fn exact<const N: usize>(argument: &[u8]) -> Result<[u8; N], Errno> {
    argument.try_into().map_err(|_| Errno::EINVAL)
}

/// The name, as far as it gets here: FUSE passes as many bytes as the ioctl's number says, which for
/// SET_NAME is the size of a pointer and not of the name. One that does not end within is refused
/// rather than cut.
fn name(argument: &[u8]) -> Result<String, Errno> {
    let name = CStr::from_bytes_until_nul(argument).map_err(|_| Errno::EINVAL)?;
    name.to_str().map(str::to_owned).map_err(|_| Errno::EINVAL)
}

fn padded(text: &str) -> [u8; uapi::DMA_BUF_QUERY_NAME_LEN] {
    let mut bytes = [0; uapi::DMA_BUF_QUERY_NAME_LEN];
    // One byte stays zero: readers take it for a C string.
    let len = text.len().min(bytes.len() - 1);
    bytes[..len].copy_from_slice(&text.as_bytes()[..len]);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(start: u64, end: u64) -> Range {
        Range::between(start, end).unwrap()
    }

    #[test]
    fn the_simple_calls_assume_the_worst() {
        let whole = range(0, 4096);
        let begin = decode(uapi::DMA_BUF_IOCTL_PREPARE_ACCESS, &[], 4096);
        assert_eq!(begin.unwrap(), Call::Begin(Access::ReadWrite, whole));
        let end = decode(uapi::DMA_BUF_IOCTL_FINISH_ACCESS, &[], 4096);
        assert_eq!(end.unwrap(), Call::End(Access::ReadWrite, whole));
    }

    /// Row 7 of the review: direction and range stand in calls of their own, so that the normal case
    /// stays simple; what they mean is the same.
    #[test]
    fn the_calls_have_one_meaning() {
        for end in [uapi::DMA_BUF_SYNC_START, uapi::DMA_BUF_SYNC_END] {
            let flags = uapi::DMA_BUF_SYNC_RW | end;
            let halves = [0_u32.to_ne_bytes(), 4096_u32.to_ne_bytes()].concat();
            let partial = [flags.to_ne_bytes().as_slice(), &halves].concat();
            let range = [flags, 0, 4096].map(u64::to_ne_bytes).concat();
            let simple = if end == 0 {
                uapi::DMA_BUF_IOCTL_PREPARE_ACCESS
            } else {
                uapi::DMA_BUF_IOCTL_FINISH_ACCESS
            };
            let simple = decode(simple, &[], 4096).unwrap();
            assert_eq!(
                decode(uapi::DMA_BUF_IOCTL_SYNC, &flags.to_ne_bytes(), 4096).unwrap(),
                simple
            );
            assert_eq!(decode(uapi::DMA_BUF_IOCTL_SYNC_PARTIAL, &partial, 4096).unwrap(), simple);
            assert_eq!(decode(uapi::DMA_BUF_IOCTL_SYNC_RANGE, &range, 4096).unwrap(), simple);
        }
    }

    #[test]
    fn only_the_flags_that_mainline_takes_are_taken() {
        for flags in 0..64_u64 {
            let call = decode(uapi::DMA_BUF_IOCTL_SYNC, &flags.to_ne_bytes(), 4096);
            assert_eq!(call.is_ok(), [1, 2, 3, 5, 6, 7].contains(&flags), "{flags}");
        }
        let high = (1_u64 << 63 | 1).to_ne_bytes();
        assert!(decode(uapi::DMA_BUF_IOCTL_SYNC, &high, 4096).is_err());
    }

    #[test]
    fn ranges_outside_of_the_buffer_are_refused() {
        let call = |flags: u64, offset: u64, len: u64| {
            let argument = [flags, offset, len].map(u64::to_ne_bytes).concat();
            decode(uapi::DMA_BUF_IOCTL_SYNC_RANGE, &argument, 4096)
        };
        assert_eq!(call(1, 4, 8).unwrap(), Call::Begin(Access::Read, range(4, 12)));
        assert_eq!(call(6, 0, 4096).unwrap(), Call::End(Access::Write, range(0, 4096)));
        for (offset, len) in [(0, 0), (0, 4097), (4096, 1), (u64::MAX, 2)] {
            assert!(call(1, offset, len).is_err());
        }
    }

    #[test]
    fn a_name_is_taken_whole_or_not_at_all() {
        let call = decode(uapi::DMA_BUF_SET_NAME_B, b"camera\0x", 4096);
        assert_eq!(call.unwrap(), Call::SetName("camera".into()));
        assert!(decode(uapi::DMA_BUF_SET_NAME_B, b"camera_0", 4096).is_err());
    }
}
