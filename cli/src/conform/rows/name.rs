//! Names, and what /proc tells of a buffer.

use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd};

use dmabuf_uapi as uapi;
use rustix::io::Errno;

use super::super::row::{Row, Seen, Stop, required, saw, whether};
use super::super::sys;
use super::super::target::{Buffer, Target};
use super::file::link;

const SET: &str = "dma_buf_set_name, drivers/dma-buf/dma-buf.c";
const SHOW: &str =
    "dma_buf_show_fdinfo, drivers/dma-buf/dma-buf.c; Documentation/filesystems/proc.rst";
const DNAME: &str = "dmabuffs_dname, drivers/dma-buf/dma-buf.c";

pub const ROWS: &[Row] = &[
    required("name.set", "A buffer can be named.", SET, "ok", |target| {
        saw(set(&target.buffer()?, "abc"))
    }),
    required(
        "name.set-32-bit",
        "A 32-bit program can name it.",
        "DMA_BUF_SET_NAME_A, linux/dma-buf.h",
        "ok",
        |target| {
            let name = CString::default();
            saw(sys::ioctl_string(target.buffer()?, uapi::DMA_BUF_SET_NAME_A, &name))
        },
    ),
    required(
        "name.longest",
        "A name of 31 characters fits.",
        "DMA_BUF_NAME_LEN, linux/dma-buf.h",
        "ok",
        |target| saw(set(&target.buffer()?, &"x".repeat(31))),
    ),
    required("name.too-long", "A name of 32 characters is refused.", SET, "EINVAL", |target| {
        saw(set(&target.buffer()?, &"x".repeat(32)))
    }),
    required(
        "name.much-too-long",
        "A name of 4000 characters is refused.",
        SET,
        "EINVAL",
        |target| saw(set(&target.buffer()?, &"x".repeat(4000))),
    ),
    required("name.empty", "The empty name is one, too.", SET, "ok", |target| {
        saw(set(&target.buffer()?, ""))
    }),
    required("name.null", "A null pointer is refused.", SET, "EFAULT", |target| {
        saw(sys::ioctl_at(target.buffer()?, uapi::DMA_BUF_SET_NAME_B, 0))
    }),
    required("name.again", "A name can be changed.", SET, "ok", |target| {
        let buffer = target.buffer()?;
        saw(set(&buffer, "first").and_then(|()| set(&buffer, "second")))
    }),
    required("name.shown", "/proc/PID/fdinfo shows the name.", SHOW, "abc", |target| {
        let buffer = named(target, "abc")?;
        Ok(field(&buffer, "name")?.unwrap_or("no line".to_owned()))
    }),
    required(
        "name.shown-longest",
        "It shows a name of 31 characters whole.",
        SHOW,
        "whole",
        |target| {
            let name = "x".repeat(31);
            let buffer = target.buffer()?;
            if let Err(errno) = set(&buffer, &name) {
                return saw(Err::<(), _>(errno));
            }
            whether(field(&buffer, "name")?.as_deref() == Some(&name), "whole", "not so")
        },
    ),
    required(
        "name.not-shown",
        "It shows no name of a buffer that has none.",
        SHOW,
        "no line",
        |target| Ok(field(&target.buffer()?, "name")?.unwrap_or("no line".to_owned())),
    ),
    required(
        "name.through-copy",
        "A copy of the descriptor shows the same name.",
        SHOW,
        "abc",
        |target| {
            let buffer = named(target, "abc")?;
            let copy = rustix::io::dup(&buffer)?;
            Ok(field(copy, "name")?.unwrap_or("no line".to_owned()))
        },
    ),
    required("name.in-link", "The link in /proc shows the name.", DNAME, "/dmabuf:abc", |target| {
        let link = link(&named(target, "abc")?)?;
        whether(link == "/dmabuf:abc", "/dmabuf:abc", "a path")
    }),
    required("name.size-shown", "/proc/PID/fdinfo shows the size.", SHOW, "the size", |target| {
        let buffer = target.buffer()?;
        shown(field(&buffer, "size")?, &buffer.size.to_string(), "the size")
    }),
    required(
        "name.exporter-shown",
        "/proc/PID/fdinfo shows the exporter.",
        SHOW,
        "an exporter",
        |target| {
            let exporter = field(&target.buffer()?, "exp_name")?;
            Ok(exporter.map_or("no line", |_| "an exporter").to_owned())
        },
    ),
    required(
        "name.count-shown",
        "/proc/PID/fdinfo shows how many use it, and a copy is one more.",
        SHOW,
        "one more",
        |target| {
            let buffer = target.buffer()?;
            let count = || {
                Ok::<_, Stop>(field(&buffer, "count")?.and_then(|count| count.parse::<u64>().ok()))
            };
            let Some(before) = count()? else { return Ok("no line".to_owned()) };
            let _copy = rustix::io::dup(&buffer)?;
            whether(count()? == Some(before + 1), "one more", "not so")
        },
    ),
];

fn set(buffer: &Buffer, name: &str) -> Result<(), Errno> {
    let name = CString::new(name).map_err(|_| Errno::INVAL)?;
    sys::ioctl_string(buffer, uapi::DMA_BUF_SET_NAME_B, &name)
}

fn named(target: &Target, name: &str) -> Result<Buffer, Stop> {
    let buffer = target.buffer()?;
    set(&buffer, name)?;
    Ok(buffer)
}

/// What fdinfo says in a line; `None` if there is no such line.
fn field(fd: impl AsFd, name: &str) -> Result<Option<String>, Stop> {
    let path = format!("/proc/self/fdinfo/{}", fd.as_fd().as_raw_fd());
    let info = std::fs::read_to_string(path).map_err(|_| Stop::not_here("no /proc"))?;
    let mut fields = info.lines().filter_map(|line| line.split_once(':'));
    Ok(fields.find(|(found, _)| *found == name).map(|(_, value)| value.trim().to_owned()))
}

fn shown(value: Option<String>, expected: &str, word: &str) -> Seen {
    Ok(match value {
        Some(value) if value == expected => word.to_owned(),
        Some(value) => value,
        None => "no line".to_owned(),
    })
}
