//! Waiting: poll(2), select(2), epoll(7).

use std::os::fd::AsFd;

use rustix::event::{PollFd, PollFlags, Timespec, epoll, poll};

use super::super::row::{Row, Seen, Stop, may_differ, required, saw};
use super::super::target::{Buffer, sync};

const POLL: &str = "dma_buf_poll, drivers/dma-buf/dma-buf.c; Documentation/driver-api/dma-buf.rst, Implicit Fence Poll Support";

pub const ROWS: &[Row] = &[
    required(
        "poll.idle",
        "A buffer that no device uses can be loaded from and stored to.",
        POLL,
        "IN OUT",
        |target| polled(&target.buffer()?, PollFlags::IN | PollFlags::OUT),
    ),
    required("poll.idle-in", "Asked for loads alone, it says so.", POLL, "IN", |target| {
        polled(&target.buffer()?, PollFlags::IN)
    }),
    required("poll.idle-out", "Asked for stores alone, it says so.", POLL, "OUT", |target| {
        polled(&target.buffer()?, PollFlags::OUT)
    }),
    required("poll.nothing", "Asked for nothing, it says nothing.", POLL, "nothing", |target| {
        polled(&target.buffer()?, PollFlags::empty())
    }),
    required("poll.urgent", "It has nothing urgent.", POLL, "nothing", |target| {
        polled(&target.buffer()?, PollFlags::PRI)
    }),
    required("poll.twice", "Asked again, it says the same.", POLL, "IN OUT", |target| {
        let buffer = target.buffer()?;
        polled(&buffer, PollFlags::IN | PollFlags::OUT)?;
        polled(&buffer, PollFlags::IN | PollFlags::OUT)
    }),
    required(
        "poll.in-bracket",
        "A CPU's own bracket changes nothing about it.",
        POLL,
        "IN OUT",
        |target| {
            let buffer = target.bracketed()?;
            buffer.sync(3)?;
            let answer = polled(&buffer, PollFlags::IN | PollFlags::OUT);
            buffer.sync(7)?;
            answer
        },
    ),
    required("poll.epoll", "epoll says the same, by edge.", "epoll(7)", "IN OUT", |target| {
        let buffer = target.buffer()?;
        let set = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let wanted = epoll::EventFlags::IN | epoll::EventFlags::OUT | epoll::EventFlags::ET;
        if let Err(errno) = epoll::add(&set, &buffer, epoll::EventData::new_u64(1), wanted) {
            return saw(Err::<(), _>(errno));
        }
        let mut events = Vec::with_capacity(4);
        epoll::wait(&set, rustix::buffer::spare_capacity(&mut events), Some(&NOW))?;
        let flags = events.first().map_or(epoll::EventFlags::empty(), |event| event.flags);
        said(PollFlags::from_bits_truncate(flags.bits() as u16))
    }),
    may_differ(
        "poll.device-busy",
        "While a device stores to it, a buffer can be neither loaded from nor stored to.",
        POLL,
        &[("served", "nothing")],
        |target| {
            let buffer = target.buffer()?;
            target.served(|served| {
                let device = served.device_of(&buffer)?;
                sync(device, 2)?;
                let busy = polled(&buffer, PollFlags::IN | PollFlags::OUT);
                sync(device, 6)?;
                busy
            })
        },
    ),
];

const NOW: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };

/// What poll says at once.
pub fn polled(buffer: &Buffer, wanted: PollFlags) -> Seen {
    let mut files = [PollFd::from_borrowed_fd(buffer.as_fd(), wanted)];
    poll(&mut files, Some(&NOW)).map_err(Stop::from)?;
    said(files[0].revents())
}

fn said(flags: PollFlags) -> Seen {
    let names = [
        (PollFlags::IN, "IN"),
        (PollFlags::PRI, "PRI"),
        (PollFlags::OUT, "OUT"),
        (PollFlags::ERR, "ERR"),
        (PollFlags::HUP, "HUP"),
        (PollFlags::NVAL, "NVAL"),
    ];
    let said: Vec<_> =
        names.iter().filter(|(flag, _)| flags.contains(*flag)).map(|(_, name)| *name).collect();
    Ok(if said.is_empty() { "nothing".to_owned() } else { said.join(" ") })
}
