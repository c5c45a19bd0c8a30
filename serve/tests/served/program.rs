//! A program that uses buffers: a process of its own, which does one thing after another as it is
//! told, so that a test decides what happens between two processes and in which order.

use std::collections::HashMap;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Stdio};

use dmabuf_uapi as uapi;
use rustix::mm::ProtFlags;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::service::process_command;
use crate::sys::{self, Map};

const START: &str = "DMABUF_TEST_PROGRAM";

/// What a program can be told to do. Files and mappings are numbers, which the test chooses.
#[derive(Debug, Serialize, Deserialize)]
pub enum Do {
    BecomeUser(u32),
    Open {
        fd: u32,
        path: std::path::PathBuf,
        flags: i32,
        mode: u32,
    },
    /// Takes a descriptor that comes with the order.
    Receive {
        fd: u32,
    },
    Dup {
        fd: u32,
        to: u32,
    },
    Close {
        fd: u32,
    },
    SetLen {
        fd: u32,
        size: u64,
    },
    Map {
        map: u32,
        fd: u32,
        offset: u64,
        len: usize,
        write: bool,
    },
    Unmap {
        map: u32,
    },
    Load {
        map: u32,
        offset: usize,
        len: usize,
    },
    Store {
        map: u32,
        offset: usize,
        bytes: Vec<u8>,
    },
    Ioctl {
        fd: u32,
        command: u32,
        argument: Vec<u8>,
    },
    Write {
        fd: u32,
        offset: u64,
        bytes: Vec<u8>,
    },
    Pread {
        fd: u32,
        offset: u64,
        len: usize,
    },
    Unlink {
        path: std::path::PathBuf,
    },
    Read {
        path: std::path::PathBuf,
    },
    /// A child process that begins a bracket, stores and waits to be killed; its number.
    ForkAndStore {
        fd: u32,
        map: u32,
        flags: u64,
        offset: usize,
        bytes: Vec<u8>,
    },
    Wait {
        pid: i32,
        kill: bool,
    },
    /// See `stress.rs`.
    Stress(crate::stress::Orders),
}

/// The program itself; run by [`Program::start`], and by nobody else.
#[test]
#[ignore = "it is a program that the other tests use"]
fn process() {
    if std::env::var_os(START).is_none() {
        return;
    }
    let stdin = io::stdin();
    let socket = UnixStream::from(stdin.as_fd().try_clone_to_owned().expect("a socket"));
    let mut state = State::default();
    while let Some((order, received)) = receive(&socket).expect("orders") {
        let answer = match state.obey(order, received) {
            Ok(value) => json!({ "ok": value }),
            Err(error) => json!({ "errno": error.raw_os_error().unwrap_or(libc::EIO) }),
        };
        send(&socket, &serde_json::to_vec(&answer).expect("plain values"), None).expect("answers");
    }
}

#[derive(Default)]
struct State {
    fds: HashMap<u32, OwnedFd>,
    maps: HashMap<u32, Map>,
}

impl State {
    fn obey(&mut self, order: Do, received: Option<OwnedFd>) -> io::Result<Value> {
        match order {
            Do::BecomeUser(uid) => sys::become_user(uid)?,
            Do::Open { fd, path, flags, mode } => {
                let mut options = std::fs::OpenOptions::new();
                match flags & libc::O_ACCMODE {
                    libc::O_RDONLY => options.read(true),
                    libc::O_WRONLY => options.write(true),
                    _ => options.read(true).write(true),
                };
                if flags & libc::O_CREAT != 0 {
                    options.create(true);
                }
                let file = options.custom_flags(flags).mode(mode).open(path)?;
                self.fds.insert(fd, file.into());
            }
            Do::Receive { fd } => {
                let received = received.ok_or(io::ErrorKind::NotFound)?;
                self.fds.insert(fd, received);
            }
            Do::Dup { fd, to } => {
                let copy = self.fds[&fd].try_clone()?;
                self.fds.insert(to, copy);
            }
            Do::Close { fd } => drop(self.fds.remove(&fd)),
            Do::SetLen { fd, size } => rustix::fs::ftruncate(&self.fds[&fd], size)?,
            Do::Map { map, fd, offset, len, write } => {
                let prot = if write { ProtFlags::READ | ProtFlags::WRITE } else { ProtFlags::READ };
                let mapped = Map::new(&self.fds[&fd], offset, len, prot)?;
                self.maps.insert(map, mapped);
            }
            Do::Unmap { map } => drop(self.maps.remove(&map)),
            Do::Load { map, offset, len } => return Ok(self.maps[&map].load(offset, len).into()),
            Do::Store { map, offset, bytes } => self.maps[&map].store(offset, &bytes),
            Do::Ioctl { fd, command, mut argument } => {
                sys::ioctl(&self.fds[&fd], command, &mut argument)?;
                return Ok(argument.into());
            }
            Do::Write { fd, offset, bytes } => {
                return Ok(rustix::io::pwrite(&self.fds[&fd], &bytes, offset)?.into());
            }
            Do::Pread { fd, offset, len } => {
                let mut bytes = vec![0; len];
                let read = rustix::io::pread(&self.fds[&fd], &mut bytes, offset)?;
                bytes.truncate(read);
                return Ok(bytes.into());
            }
            Do::Unlink { path } => std::fs::remove_file(path)?,
            Do::Read { path } => return Ok(std::fs::read_to_string(path)?.into()),
            Do::ForkAndStore { fd, map, flags, offset, bytes } => {
                let (fd, map) = (&self.fds[&fd], &self.maps[&map]);
                let (done, stored) = rustix::pipe::pipe()?;
                let pid = sys::fork_and_pause(|| {
                    let began = sys::ioctl(fd, uapi::DMA_BUF_IOCTL_SYNC, &mut flags.to_ne_bytes());
                    map.store(offset, &bytes);
                    let _ = rustix::io::write(&stored, &[u8::from(began.is_ok())]);
                })?;
                let mut began = [0];
                rustix::io::read(&done, &mut began)?;
                assert_eq!(began, [1], "the child's bracket began");
                return Ok(pid.into());
            }
            Do::Wait { pid, kill } => {
                let pid = rustix::process::Pid::from_raw(pid).expect("a process");
                if kill {
                    rustix::process::kill_process(pid, rustix::process::Signal::KILL)?;
                }
                rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::empty())?;
            }
            Do::Stress(orders) => crate::stress::obey(&orders)?,
        }
        Ok(Value::Null)
    }
}

/// A running program.
#[derive(Debug)]
pub struct Program {
    child: Child,
    socket: UnixStream,
}

impl Program {
    pub fn start() -> Program {
        let (socket, its) = UnixStream::pair().expect("a socket");
        let child = process_command("program::process")
            .env(START, "1")
            .stdin(Stdio::from(OwnedFd::from(its)))
            .stdout(Stdio::null())
            .spawn()
            .expect("this binary can be started");
        Program { child, socket }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Does something and tells how it went.
    pub fn try_do(&self, order: Do) -> io::Result<Value> {
        self.order(order);
        self.answer()
    }

    /// Does something that has to succeed.
    #[track_caller]
    pub fn does(&self, order: Do) -> Value {
        let what = format!("{order:?}");
        self.try_do(order).unwrap_or_else(|error| panic!("{what}: {error}"))
    }

    /// Does something that has to fail; the errno.
    #[track_caller]
    pub fn fails(&self, order: Do) -> i32 {
        let what = format!("{order:?}");
        match self.try_do(order) {
            Ok(value) => panic!("{what}: succeeded: {value}"),
            Err(error) => error.raw_os_error().expect("an errno"),
        }
    }

    /// Begins something that may take a while; [`Program::answer`] waits for it.
    pub fn order(&self, order: Do) {
        let order = serde_json::to_vec(&order).expect("plain values");
        send(&self.socket, &order, None).expect("the program runs");
    }

    pub fn answer(&self) -> io::Result<Value> {
        let bytes = take(&self.socket)?.ok_or(io::ErrorKind::UnexpectedEof)?.0;
        let mut answer: Value = serde_json::from_slice(&bytes).expect("an answer");
        match answer.get("errno").and_then(Value::as_i64) {
            Some(errno) => Err(io::Error::from_raw_os_error(errno as i32)),
            None => Ok(answer["ok"].take()),
        }
    }

    /// Opens a buffer as file 0 and maps all of it as mapping 0.
    #[track_caller]
    pub fn maps(&self, path: &Path, len: usize) {
        self.does(Do::Open { fd: 0, path: path.to_owned(), flags: libc::O_RDWR, mode: 0 });
        self.does(Do::Map { map: 0, fd: 0, offset: 0, len, write: true });
    }

    /// SYNC on file 0, called again while a device is at it.
    #[track_caller]
    pub fn sync(&self, flags: u64) {
        while let Err(error) = self.try_sync(flags) {
            assert_eq!(error.raw_os_error(), Some(libc::EAGAIN), "SYNC {flags}: {error}");
        }
    }

    /// SYNC on file 0, once.
    pub fn try_sync(&self, flags: u64) -> io::Result<()> {
        self.ioctl(uapi::DMA_BUF_IOCTL_SYNC, &flags.to_ne_bytes()).map(drop)
    }

    /// SYNC_RANGE on file 0, called again while a device is at it.
    #[track_caller]
    pub fn sync_range(&self, flags: u64, offset: u64, len: u64) {
        let argument = [flags, offset, len].map(u64::to_ne_bytes).concat();
        while let Err(error) = self.ioctl(uapi::DMA_BUF_IOCTL_SYNC_RANGE, &argument) {
            assert_eq!(error.raw_os_error(), Some(libc::EAGAIN), "SYNC_RANGE {flags}: {error}");
        }
    }

    /// An ioctl on file 0.
    pub fn ioctl(&self, command: u32, argument: &[u8]) -> io::Result<Vec<u8>> {
        let argument = argument.to_vec();
        let answer = self.try_do(Do::Ioctl { fd: 0, command, argument })?;
        Ok(serde_json::from_value(answer).expect("bytes"))
    }

    /// Loads through mapping 0.
    #[track_caller]
    pub fn load(&self, offset: usize, len: usize) -> Vec<u8> {
        serde_json::from_value(self.does(Do::Load { map: 0, offset, len })).expect("bytes")
    }

    /// Stores through mapping 0.
    #[track_caller]
    pub fn store(&self, offset: usize, bytes: &[u8]) {
        self.does(Do::Store { map: 0, offset, bytes: bytes.to_vec() });
    }

    /// Sends a descriptor over, by SCM_RIGHTS: it is file `number` there.
    pub fn send(&self, fd: impl AsFd, number: u32) {
        let order = serde_json::to_vec(&Do::Receive { fd: number }).expect("plain values");
        send(&self.socket, &order, Some(fd.as_fd())).expect("the program runs");
        self.answer().expect("the descriptor arrives");
    }

    /// Kills it, and waits until it is gone.
    pub fn kill(mut self) {
        self.child.kill().expect("it is our child");
        self.child.wait().expect("it is our child");
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        // One that waits for a dead service ends when the watchdog has made the kernel give it up.
        let _ = self.child.wait();
    }
}

/// A message is its length and its bytes, JSON; a descriptor comes with the length.
fn send(socket: &UnixStream, bytes: &[u8], fd: Option<BorrowedFd<'_>>) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let fds = fd.as_slice();
    if !fds.is_empty() {
        control.push(SendAncillaryMessage::ScmRights(fds));
    }
    let len = (bytes.len() as u64).to_ne_bytes();
    rustix::net::sendmsg(socket, &[IoSlice::new(&len)], &mut control, SendFlags::NOSIGNAL)?;
    io::Write::write_all(&mut &*socket, bytes)
}

fn take(socket: &UnixStream) -> io::Result<Option<(Vec<u8>, Option<OwnedFd>)>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut len = [0; 8];
    let got = rustix::net::recvmsg(
        socket,
        &mut [IoSliceMut::new(&mut len)],
        &mut control,
        RecvFlags::CMSG_CLOEXEC,
    )?;
    match got.bytes {
        0 => return Ok(None),
        8 => {}
        _ => return Err(io::ErrorKind::InvalidData.into()),
    }
    let received = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
        _ => None,
    });
    let mut bytes = vec![0; u64::from_ne_bytes(len) as usize];
    io::Read::read_exact(&mut &*socket, &mut bytes)?;
    Ok(Some((bytes, received)))
}

fn receive(socket: &UnixStream) -> io::Result<Option<(Do, Option<OwnedFd>)>> {
    let Some((bytes, fd)) = take(socket)? else { return Ok(None) };
    Ok(Some((serde_json::from_slice(&bytes)?, fd)))
}
