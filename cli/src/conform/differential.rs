//! Random calls on two exporters' buffers: every answer and every byte has to be the same.
//!
//! The calls keep the rules where breaking them has no defined outcome: memory is loaded from inside
//! of a bracket for loads, stored to inside of one for both, and the other side is used outside of
//! brackets. An END for stores that ends no bracket comes only when both sides show the same bytes:
//! else the row `visible.stray-end` tells which are lost. What `differs.rs` and the rows that may
//! differ list is left out; all else is in: flags of all kinds, ENDs without a START and of another
//! direction, mappings of any part, copies of the descriptor, children.
//!
//! One answer is not the same on all exporters, and has to be the one that each is known for: that
//! to an END before any START, see the row `sync.first-end`.

use std::fmt;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail, ensure};
use dmabuf_uapi as uapi;
use rustix::event::PollFlags;
use rustix::fs::FallocateFlags;

use super::names;
use super::row::{Seen, Stop, known_answers, saw};
use super::rows::{FIRST_END, polled};
use super::sys::{self, Ended, Map, Mmap, READ, RW, page};
use super::target::{Buffer, Target};

/// Calls of a sequence.
const CALLS: usize = 200;

/// Mappings that live at once.
const MAPS: usize = 4;

/// One call, the same for both targets.
#[derive(Clone, Copy, Debug)]
enum Call {
    /// DMA_BUF_IOCTL_SYNC with flags that are refused.
    BadSync(u64),
    /// A bracket begins or ends; or an END ends none.
    Sync(u64),
    /// An END before there was any START.
    FirstEnd(u64),
    /// The same, by a child.
    ChildSync(u64),
    /// A part is mapped, in this place.
    Map {
        slot: usize,
        first: u64,
        pages: u64,
        prot: i32,
    },
    /// A mapping that is refused: empty, unaligned, or at a negative offset.
    BadMap {
        offset: i64,
        len: u64,
    },
    Unmap(usize),
    Load {
        slot: usize,
        at: u64,
    },
    Store {
        slot: usize,
        at: u64,
        byte: u8,
    },
    OtherLoad {
        at: u64,
        len: u64,
    },
    OtherStore {
        at: u64,
        len: u64,
        byte: u8,
    },
    Poll(PollFlags),
    Name(u64),
    Seek(i32),
    Truncate(u64),
    Allocate,
    Ioctl(u8),
    /// The descriptor is replaced by a copy of itself, and the first one closed.
    Copy,
}

/// Compares the first target with each other one.
pub fn run(paths: &[PathBuf], sequences: u32, seed: u64) -> Result<ExitCode> {
    ensure!(paths.len() >= 2, "give two targets or more: the first is what others are compared to");
    let targets: Vec<Target> =
        paths.iter().map(|path| Target::open(path)).collect::<Result<_>>()?;
    let (first, others) = targets.split_first().expect("there are two");
    let mut status = ExitCode::SUCCESS;
    for other in others {
        let mut difference = None;
        for seed in (seed..).take(sequences as usize) {
            difference = compare(first, other, seed)?;
            if difference.is_some() {
                break;
            }
        }
        let (a, b, calls) = (&first.label, &other.label, sequences as usize * CALLS);
        match difference {
            None => println!("{a} and {b}: {calls} calls, every answer and every byte the same"),
            Some(difference) => {
                println!("{a} and {b}: {difference}");
                status = ExitCode::FAILURE;
            }
        }
    }
    Ok(status)
}

/// Where two targets part.
struct Difference {
    seed: u64,
    step: usize,
    call: String,
    answers: [String; 2],
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Difference { seed, step, call, answers: [first, second] } = self;
        write!(f, "at call {step} of --seed {seed}, {call}: {first} and {second}")
    }
}

fn compare(first: &Target, second: &Target, seed: u64) -> Result<Option<Difference>> {
    let mut sides = [Side::new(first)?, Side::new(second)?];
    ensure!(
        sides[0].buffer.size == sides[1].buffer.size,
        "{} and {} do not make buffers of one size",
        first.label,
        second.label
    );
    let has_other = sides.iter().all(|side| side.buffer.other.is_some());
    let size = sides[0].buffer.size;
    let mut script = Script::new(seed, size, has_other);
    for target in [first, second] {
        // On a buffer of its own: it takes a bracket, and the sequence's has had none.
        script.has_offsets &= Side::new(target)?.heeds_offsets()?;
    }
    let differ = |step, call: String, answers: [String; 2]| {
        let parted = answers[0] != answers[1];
        parted.then_some(Difference { seed, step, call, answers })
    };
    for step in 0..CALLS {
        let call = script.next();
        let answers = [sides[0].answer(call), sides[1].answer(call)];
        if let Some(difference) = differ(step, format!("{call:?}"), answers) {
            return Ok(Some(difference));
        }
    }
    if script.open != 0 {
        let end = Call::Sync(script.open | uapi::DMA_BUF_SYNC_END);
        sides.iter_mut().for_each(|side| drop(side.answer(end)));
    }
    let bytes = [sides[0].bytes(), sides[1].bytes()].map(|bytes| {
        bytes.map_err(|stop| anyhow::anyhow!("the bytes in the end cannot be seen: {stop:?}"))
    });
    let [first, second] = bytes;
    let (first, second) = (first?, second?);
    let parted = first.iter().zip(&second).position(|(first, second)| first != second);
    Ok(parted.and_then(|at| {
        let answers = [&first, &second].map(|bytes| format!("{:#04x}", bytes[at]));
        differ(CALLS, format!("the byte at {at} in the end"), answers)
    }))
}

/// A target's buffer, and what was done to it.
struct Side {
    buffer: Buffer,
    maps: [Option<Map>; MAPS],
    /// What this exporter is known to say to an END before any START.
    first_end: &'static str,
}

impl Side {
    fn new(target: &Target) -> Result<Side> {
        let buffer = match target.mappable() {
            Ok(buffer) => buffer,
            Err(Stop::NotHere(why) | Stop::Failed(why)) => bail!("{}: {why}", target.label),
        };
        let first_end = known_answers(FIRST_END, target.family(), &target.label).next();
        let first_end = first_end.context("nobody knows how it answers a first END")?;
        Ok(Side { buffer, maps: Default::default(), first_end })
    }

    /// Whether a mapping at the second page shows that: see the row mmap.offset-shows.
    fn heeds_offsets(&self) -> Result<bool> {
        let heeds = || {
            let (whole, len) = (self.buffer.map()?, page());
            let flags = libc::MAP_SHARED;
            let part = Mmap { offset: len as i64, len, prot: READ, flags };
            let part = Map::new(&self.buffer, part)?;
            self.buffer.sync(uapi::DMA_BUF_SYNC_RW)?;
            whole.store(len, 1);
            let heeds = part.load(0) == 1;
            whole.store(len, 0);
            self.buffer.sync(uapi::DMA_BUF_SYNC_RW | uapi::DMA_BUF_SYNC_END)?;
            Ok::<_, Stop>(heeds)
        };
        heeds().map_err(|stop| anyhow::anyhow!("it cannot be mapped: {stop:?}"))
    }

    fn answer(&mut self, call: Call) -> String {
        self.try_answer(call).unwrap_or_else(|stop| format!("{stop:?}"))
    }

    fn try_answer(&mut self, call: Call) -> Seen {
        let Side { buffer, maps, first_end } = self;
        match call {
            Call::BadSync(flags) | Call::Sync(flags) => saw(buffer.sync(flags)),
            Call::FirstEnd(flags) => {
                let saw = saw(buffer.sync(flags))?;
                Ok(if saw == *first_end { "as it is known for".to_owned() } else { saw })
            }
            Call::ChildSync(flags) => {
                let ended = sys::in_a_fork(|| match buffer.sync(flags) {
                    Ok(()) => 0,
                    Err(errno) => errno.raw_os_error() as u8,
                })?;
                Ok(match ended {
                    Ended::Exited(code) => format!("exit {code}"),
                    Ended::Killed(signal) => names::signal(signal),
                })
            }
            Call::Map { slot, first, pages, prot } => {
                let (offset, len) = ((first * page()) as i64, pages * page());
                let map = Map::new(&*buffer, Mmap { offset, len, prot, flags: libc::MAP_SHARED });
                let answer = saw(map.as_ref().map_err(|&errno| errno));
                maps[slot] = map.ok();
                answer
            }
            Call::BadMap { offset, len } => {
                saw(Map::new(&*buffer, Mmap { offset, len, prot: RW, flags: libc::MAP_SHARED }))
            }
            Call::Unmap(slot) => Ok(maps[slot].take().is_some().to_string()),
            Call::Load { slot, at } => {
                Ok(maps[slot].as_ref().map_or("no map".to_owned(), |map| map.load(at).to_string()))
            }
            Call::Store { slot, at, byte } => {
                maps[slot].as_ref().inspect(|map| map.store(at, byte));
                Ok("stored".to_owned())
            }
            Call::OtherLoad { at, len } => Ok(format!("{:?}", buffer.other()?.load(at, len)?)),
            Call::OtherStore { at, len, byte } => {
                saw(buffer.other()?.store(at, &vec![byte; len as usize]))
            }
            Call::Poll(wanted) => polled(buffer, wanted),
            Call::Name(number) => {
                let name = std::ffi::CString::new(number.to_string()).expect("no NUL in a number");
                saw(sys::ioctl_string(&*buffer, uapi::DMA_BUF_SET_NAME_B, &name))
            }
            Call::Seek(whence) => Ok(format!("{:?}", sys::lseek(&*buffer, 0, whence)?)),
            Call::Truncate(size) => saw(rustix::fs::ftruncate(&*buffer, size)),
            Call::Allocate => {
                saw(rustix::fs::fallocate(&*buffer, FallocateFlags::empty(), 0, page()))
            }
            Call::Ioctl(number) => saw(sys::ioctl_at(&*buffer, uapi::io(b'b', number), 0)),
            Call::Copy => {
                buffer.fd = rustix::io::dup(&buffer.fd)?;
                Ok("copied".to_owned())
            }
        }
    }

    /// All bytes, as the CPU sees them.
    fn bytes(&self) -> Result<Vec<u8>, Stop> {
        let map = self.buffer.map()?;
        self.buffer.sync(uapi::DMA_BUF_SYNC_READ)?;
        let bytes = map.bytes(0, map.len());
        self.buffer.sync(uapi::DMA_BUF_SYNC_READ | uapi::DMA_BUF_SYNC_END)?;
        Ok(bytes)
    }
}

/// Which call comes next: it depends on the seed alone, and never on an answer.
struct Script {
    random: u64,
    size: u64,
    has_other: bool,
    /// Whether mappings may begin anywhere: some exporters show the first page whatever the offset.
    has_offsets: bool,
    /// The direction of the bracket that is open, 0 for none.
    open: u64,
    /// Whether there was a START.
    has_begun: bool,
    /// Whether the other side stored something that no bracket has brought over yet.
    is_ahead: bool,
    /// How many bytes each mapping has, and whether it can be stored to.
    maps: [Option<(u64, bool)>; MAPS],
}

impl Script {
    fn new(seed: u64, size: u64, has_other: bool) -> Script {
        let random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        Script {
            random,
            size,
            has_other,
            has_offsets: true,
            open: 0,
            has_begun: false,
            is_ahead: false,
            maps: [None; MAPS],
        }
    }

    /// A number below `limit`: xorshift64*.
    fn below(&mut self, limit: u64) -> u64 {
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        (self.random.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32) % limit
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }

    fn next(&mut self) -> Call {
        loop {
            if let Some(call) = self.propose() {
                return call;
            }
        }
    }

    /// A call, if it would keep the rules.
    fn propose(&mut self) -> Option<Call> {
        Some(match self.below(21) {
            0 => Call::BadSync(self.pick(&[0, 4, 8, 9, 16 | 3, 1 << 32 | 1, 1 << 63 | 3, !0])),
            1..=4 if self.open == 0 => {
                self.open = self.pick(&[uapi::DMA_BUF_SYNC_READ, uapi::DMA_BUF_SYNC_RW]);
                (self.has_begun, self.is_ahead) = (true, false);
                Call::Sync(self.open)
            }
            1 | 2 => {
                let flags = self.open | uapi::DMA_BUF_SYNC_END;
                self.open = 0;
                Call::Sync(flags)
            }
            5 => {
                let flags = match (self.has_begun, self.is_ahead) {
                    (false, _) => self.pick(&[0, 1, 3, 8]),
                    (true, true) => self.pick(&[0, 1, 3, 5, 8]),
                    (true, false) => self.pick(&[0, 1, 3, 5, 6, 7, 8]),
                };
                self.has_begun |= [1, 3].contains(&flags);
                Call::ChildSync(flags)
            }
            6 | 7 => {
                let pages = self.size / page();
                let first = if self.has_offsets { self.below(pages) } else { 0 };
                let (slot, count) =
                    (self.below(MAPS as u64) as usize, 1 + self.below(pages - first));
                let prot = self.pick(&[READ, RW]);
                self.maps[slot] = Some((count * page(), prot == RW));
                Call::Map { slot, first, pages: count, prot }
            }
            8 => {
                let (offset, len) = self.pick(&[(0, 0), (1, 4096), (-4096, 4096), (100, 1)]);
                Call::BadMap { offset, len }
            }
            9 => {
                let slot = self.below(MAPS as u64) as usize;
                self.maps[slot] = None;
                Call::Unmap(slot)
            }
            10 | 11 => {
                let slot = self.below(MAPS as u64) as usize;
                let (len, _) = self.maps[slot].filter(|_| self.open != 0)?;
                Call::Load { slot, at: self.below(len) }
            }
            12..=14 => {
                let slot = self.below(MAPS as u64) as usize;
                let stores = self.open == uapi::DMA_BUF_SYNC_RW;
                let (len, _) = self.maps[slot].filter(|(_, writable)| *writable && stores)?;
                Call::Store { slot, at: self.below(len), byte: self.below(256) as u8 }
            }
            15 | 16 if self.has_other && self.open == 0 => {
                let at = self.below(self.size);
                let len = 1 + self.below((self.size - at).min(64));
                match self.below(2) {
                    0 => Call::OtherLoad { at, len },
                    _ => {
                        self.is_ahead = true;
                        Call::OtherStore { at, len, byte: self.below(256) as u8 }
                    }
                }
            }
            17 => Call::Poll(self.pick(&[
                PollFlags::IN,
                PollFlags::OUT,
                PollFlags::PRI,
                PollFlags::IN.union(PollFlags::OUT),
            ])),
            18 => match self.below(4) {
                0 => Call::Name(self.below(10_000_000)),
                1 => Call::Seek(self.pick(&[libc::SEEK_SET, libc::SEEK_END])),
                2 => Call::Truncate(self.pick(&[0, 1, 4096, 1 << 20])),
                _ => Call::Allocate,
            },
            19 => match self.below(2) {
                0 => Call::Ioctl(self.pick(&[4, 5, 0x80, 0xff])),
                _ => Call::Copy,
            },
            20 => {
                let all =
                    [uapi::DMA_BUF_SYNC_READ, uapi::DMA_BUF_SYNC_WRITE, uapi::DMA_BUF_SYNC_RW];
                let directions = if self.is_ahead { &all[..1] } else { &all };
                let flags = self.pick(directions) | uapi::DMA_BUF_SYNC_END;
                // Of whatever direction, it ends the bracket that is open.
                self.open = 0;
                if self.has_begun { Call::Sync(flags) } else { Call::FirstEnd(flags) }
            }
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conform::target::PAGES;

    #[test]
    fn a_seed_gives_the_same_calls_again_and_they_keep_the_rules() {
        let (mut strays, mut first_ends) = (0, 0);
        for seed in 1..50 {
            let mut scripts = [(); 2].map(|()| Script::new(seed, PAGES * page(), true));
            let (mut begun, mut ahead) = (false, false);
            for _ in 0..CALLS {
                let before = scripts[0].open;
                let [first, second] = scripts.each_mut().map(Script::next);
                assert_eq!(format!("{first:?}"), format!("{second:?}"));
                match first {
                    Call::Load { .. } => assert_ne!(before, 0),
                    Call::Store { .. } => assert_eq!(before, 3),
                    Call::OtherLoad { .. } => assert_eq!(before, 0),
                    Call::OtherStore { .. } => {
                        assert_eq!(before, 0);
                        ahead = true;
                    }
                    Call::FirstEnd(_) => assert!(!begun),
                    Call::Sync(1 | 3) => (begun, ahead) = (true, false),
                    Call::ChildSync(1 | 3) => begun = true,
                    Call::Sync(5) | Call::ChildSync(5) => assert!(begun),
                    Call::Sync(6 | 7) | Call::ChildSync(6 | 7) => assert!(begun && !ahead),
                    _ => {}
                }
                strays += u32::from(matches!(first, Call::Sync(5..=7)) && before == 0);
                first_ends += u32::from(matches!(first, Call::FirstEnd(_)));
            }
        }
        assert!(strays > 100 && first_ends > 10, "{strays} and {first_ends}");
    }
}
