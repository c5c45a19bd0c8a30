//! Another process that brackets accesses to a buffer, as it is told.

use std::io::{Read, Write};
use std::ops::Range;
use std::os::unix::net::UnixStream;

use rustix::io::Errno;

use crate::{Buffer, Child};

/// A process that has inherited the buffers of this one.
#[derive(Debug)]
pub struct Program {
    child: Child,
    orders: UnixStream,
}

impl Program {
    /// Starts it; `buffer` is the one that it will bracket accesses to.
    pub fn with(buffer: &Buffer) -> Program {
        let (orders, mut of_child) = UnixStream::pair().expect("a pair of sockets");
        let child = Child::fork(|| {
            let mut order = [0; 24];
            while of_child.read_exact(&mut order).is_ok() {
                let mut words = order
                    .chunks_exact(8)
                    .map(|word| u64::from_ne_bytes(word.try_into().expect("8 bytes")));
                let mut next = || words.next().expect("three words");
                let (flags, start, end) = (next(), next() as usize, next() as usize);
                let errno = match buffer.try_sync_range(flags, start..end) {
                    Ok(()) => 0,
                    Err(errno) => errno.raw_os_error(),
                };
                of_child.write_all(&errno.to_ne_bytes()).expect("somebody waits");
            }
        });
        Program { child, orders }
    }

    /// It begins or ends a bracket, and again if it has to.
    pub fn sync(&mut self, flags: u64, range: Range<usize>) -> Result<(), Errno> {
        let words = [flags, range.start as u64, range.end as u64];
        let order: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        loop {
            self.orders.write_all(&order).expect("the process runs");
            let mut errno = [0; 4];
            self.orders.read_exact(&mut errno).expect("the process answers");
            match i32::from_ne_bytes(errno) {
                0 => return Ok(()),
                raw => match Errno::from_raw_os_error(raw) {
                    Errno::INTR | Errno::AGAIN => {}
                    errno => return Err(errno),
                },
            }
        }
    }

    /// It is killed, whatever it has begun.
    pub fn kill(self) {
        self.child.kill();
    }
}
