//! The file system: what each request of the kernel does.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, MutexGuard};
use std::time::{Duration, SystemTime};

use dmabuf_export::{Access, Quota, Range};
use fuser::{
    BsdFileFlags, Errno, FileHandle, Filesystem, FopenFlags, Generation, INodeNo, IoctlFlags,
    KernelConfig, LockOwner, OpenAccMode, OpenFlags, PollEvents, PollFlags, PollNotifier,
    ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyIoctl,
    ReplyLseek, ReplyOpen, ReplyPoll, ReplyStatfs, ReplyWrite, Request, TimeOrNow, WriteFlags,
};

use crate::handle::{Device, Handle, OWN_HANDLE};
use crate::ioctl::{self, Call};
use crate::kernel::Kernel;
use crate::owner;
use crate::report::Report;
use crate::shared::{Shared, answer, errno, node_attr};
use crate::tree::{Creator, Place, Side, Tree};

/// Names and attributes change on two sides of a buffer at once, so the kernel keeps none of them.
const TTL: Duration = Duration::ZERO;
/// The longest file name: NAME_MAX of limits.h.
const NAME_MAX: usize = 255;

/// The heaps as a file system.
#[derive(Clone, Debug)]
pub(crate) struct HeapFs {
    shared: Arc<Shared>,
}

impl HeapFs {
    pub(crate) fn new(mountpoint: PathBuf, quota: Quota, is_public: bool) -> io::Result<HeapFs> {
        let shared = Shared::new(Kernel::new(mountpoint)?, quota, is_public)?;
        Ok(HeapFs { shared: Arc::new(shared) })
    }

    pub(crate) fn kernel(&self) -> Kernel {
        self.shared.kernel.clone()
    }

    /// Finishes the brackets that are beginning and ending, so that their programs are told how it
    /// went, and refuses others.
    pub(crate) fn finish(&self) {
        self.shared.waiters.close();
        self.shared.workers.close();
        self.shared.kernel.users().close();
    }

    fn tree(&self) -> MutexGuard<'_, Tree> {
        self.shared.tree()
    }
}

impl Filesystem for HeapFs {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> io::Result<()> {
        self.shared.kernel.configure(config);
        Ok(())
    }

    fn lookup(&self, req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        match self.shared.lookup(req, parent, name) {
            Some(attr) => reply.entry(&TTL, &attr, Generation(0)),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn getattr(&self, _: &Request, inode: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match self.shared.attr(inode) {
            Some(attr) => reply.attr(&TTL, &attr),
            None => reply.error(Errno::ESTALE),
        }
    }

    fn setattr(
        &self,
        _: &Request,
        inode: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        _: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
        _: Option<SystemTime>,
        _: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let Some(Place::Buffer(id, side)) = Place::of(inode.0) else {
            return reply.error(Errno::EPERM);
        };
        let Some(node) = self.tree().node(id) else { return reply.error(Errno::ESTALE) };
        // While a size is given the kernel holds write-back of the file's pages, for which the
        // workers may be waiting: so whoever has its size is told without them.
        let allocation = match size {
            None => None,
            // A device has no size that O_TRUNC could cut.
            Some(0) if side == Side::Device => None,
            Some(_) if side == Side::Device => return reply.error(Errno::EINVAL),
            Some(size) => match node.claim() {
                Some(reservation) => Some((size, reservation)),
                None => return reply.error(Errno::EINVAL),
            },
        };
        let shared = Arc::clone(&self.shared);
        let change = move || {
            if let Some((size, reservation)) = allocation
                && let Err(errno) = shared.allocate(&node, size, reservation)
            {
                return reply.error(errno);
            }
            {
                let mut state = node.state();
                state.mode = mode.map_or(state.mode, |mode| (mode & 0o7777) as u16);
                state.uid = uid.unwrap_or(state.uid);
                state.gid = gid.unwrap_or(state.gid);
                state.modified = match mtime {
                    Some(TimeOrNow::SpecificTime(time)) => time,
                    Some(TimeOrNow::Now) => SystemTime::now(),
                    None => state.modified,
                };
            }
            match shared.attr(inode) {
                Some(attr) => reply.attr(&TTL, &attr),
                None => reply.error(Errno::ESTALE),
            }
        };
        // Giving memory to a large buffer takes a while.
        if size.is_some() { self.shared.workers.run(change) } else { change() }
    }

    fn mknod(&self, _: &Request, _: INodeNo, _: &OsStr, _: u32, _: u32, _: u32, reply: ReplyEntry) {
        reply.error(Errno::EPERM);
    }

    fn mkdir(&self, _: &Request, _: INodeNo, _: &OsStr, _: u32, _: u32, reply: ReplyEntry) {
        reply.error(Errno::EPERM);
    }

    fn rmdir(&self, _: &Request, _: INodeNo, _: &OsStr, reply: ReplyEmpty) {
        reply.error(Errno::EPERM);
    }

    fn symlink(&self, _: &Request, _: INodeNo, _: &OsStr, _: &Path, reply: ReplyEntry) {
        reply.error(Errno::EPERM);
    }

    fn rename(
        &self,
        _: &Request,
        _: INodeNo,
        _: &OsStr,
        _: INodeNo,
        _: &OsStr,
        _: fuser::RenameFlags,
        reply: ReplyEmpty,
    ) {
        reply.error(Errno::EPERM);
    }

    fn create(
        &self,
        req: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _: u32,
        _: i32,
        reply: ReplyCreate,
    ) {
        let Some(Place::Heap(kind, Side::Cpu)) = Place::of(parent.0) else {
            return reply.error(Errno::EPERM);
        };
        if name.len() > NAME_MAX {
            return reply.error(Errno::ENAMETOOLONG);
        }
        self.shared.free_retired();
        let reservation = match self.shared.heap(kind).reserve(req.uid()) {
            Ok(reservation) => reservation,
            Err(error) => return reply.error(errno(&error)),
        };
        let creator = Creator { uid: req.uid(), gid: req.gid(), mode: (mode & 0o7777) as u16 };
        let Some(node) = self.tree().create(kind, name, creator, reservation) else {
            return reply.error(Errno::EEXIST);
        };
        let opened = self.shared.back(&node, |fd| reply.open_backing(fd));
        let attr = node_attr(&node, Side::Cpu);
        match opened {
            Ok(opened) => {
                let handle = FileHandle(self.shared.handles.add(Handle::Cpu(node)));
                match opened.backing {
                    Some(backing) => reply.created_passthrough(
                        &TTL,
                        &attr,
                        Generation(0),
                        handle,
                        opened.flags,
                        &backing,
                    ),
                    None => reply.created(&TTL, &attr, Generation(0), handle, opened.flags),
                }
            }
            Err(error) => {
                self.shared.close_cpu(&node);
                self.tree().unlink(kind, name);
                self.shared.forget_unused(&node);
                reply.error(error.into());
            }
        }
    }

    fn open(&self, req: &Request, inode: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        match Place::of(inode.0) {
            Some(Place::Stats) => {
                let uid = if self.shared.is_public { req.uid() } else { 0 };
                let shared = Arc::clone(&self.shared);
                // Brackets of processes that are gone end first, and are told of.
                self.shared.workers.run(move || {
                    let nodes = shared.nodes_of(uid);
                    for buffer in nodes.iter().filter_map(|node| node.buffer()) {
                        shared.bury_owners(&buffer);
                        buffer.look_for_strays();
                    }
                    let json = Report::new(nodes.iter()).to_json();
                    let handle = shared.handles.add(Handle::Stats(Arc::new(json)));
                    reply.opened(FileHandle(handle), FopenFlags::FOPEN_DIRECT_IO);
                });
            }
            Some(Place::Buffer(id, Side::Cpu)) => {
                if owner::is_own_thread(req.pid()) {
                    let flags = FopenFlags::FOPEN_KEEP_CACHE | FopenFlags::FOPEN_NOFLUSH;
                    return reply.opened(FileHandle(OWN_HANDLE), flags);
                }
                let node = self.tree().open(id, Side::Cpu);
                let Some(node) = node else { return reply.error(Errno::ESTALE) };
                match self.shared.back(&node, |fd| reply.open_backing(fd)) {
                    Ok(opened) => {
                        let handle = FileHandle(self.shared.handles.add(Handle::Cpu(node)));
                        match opened.backing {
                            Some(backing) => {
                                reply.opened_passthrough(handle, opened.flags, &backing);
                            }
                            None => reply.opened(handle, opened.flags),
                        }
                    }
                    Err(error) => {
                        self.shared.close_cpu(&node);
                        self.shared.forget_unused(&node);
                        reply.error(error.into());
                    }
                }
            }
            Some(Place::Buffer(id, Side::Device)) => {
                let Some(node) = self.tree().node(id) else { return reply.error(Errno::ESTALE) };
                let Some(buffer) = node.buffer() else { return reply.error(Errno::EINVAL) };
                let access = match flags.acc_mode() {
                    OpenAccMode::O_RDONLY => Access::Read,
                    OpenAccMode::O_WRONLY => Access::Write,
                    OpenAccMode::O_RDWR => Access::ReadWrite,
                };
                if self.tree().open(id, Side::Device).is_none() {
                    return reply.error(Errno::ESTALE);
                }
                let attachment = buffer.attach(&format!("process {}", req.pid()), access);
                let device = Handle::Device(Arc::new(Device::new(node, attachment)));
                let handle = FileHandle(self.shared.handles.add(device));
                reply.opened(handle, FopenFlags::FOPEN_DIRECT_IO);
            }
            _ => reply.error(Errno::EISDIR),
        }
    }

    fn read(
        &self,
        req: &Request,
        inode: INodeNo,
        handle: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        match Place::of(inode.0) {
            Some(Place::Stats) => {
                let Some(stats) = self.shared.handles.stats(handle.0) else {
                    return reply.error(Errno::EBADF);
                };
                let start = stats.len().min(usize::try_from(offset).unwrap_or(usize::MAX));
                reply.data(&stats[start..stats.len().min(start + size as usize)]);
            }
            Some(Place::Buffer(id, Side::Cpu)) => {
                let Some(node) = self.tree().node(id) else { return reply.error(Errno::ESTALE) };
                if self.shared.kernel.passes_through(node.heap) {
                    // No page fault arrives here: it is a read(2), which a dma-buf has not.
                    return reply.error(Errno::EINVAL);
                }
                let Some(buffer) = node.buffer() else { return reply.error(Errno::EINVAL) };
                let len = buffer.size().saturating_sub(offset).min(size.into());
                if len == 0 {
                    return reply.data(&[]);
                }
                let mut bytes = vec![0; len as usize];
                let owner = self.shared.processes.owner(req.pid(), handle.0);
                match buffer.fault(owner, offset, &mut bytes) {
                    Ok(()) => reply.data(&bytes),
                    Err(error) => reply.error(errno(&error)),
                }
            }
            Some(Place::Buffer(_, Side::Device)) => {
                let Some(device) = self.shared.handles.device(handle.0) else {
                    return reply.error(Errno::EBADF);
                };
                let len = device.size().saturating_sub(offset).min(size.into());
                let Ok(range) = Range::new(offset, len) else { return reply.data(&[]) };
                let shared = Arc::clone(&self.shared);
                let node = Arc::clone(&device.node);
                self.shared.after_the_dead(&node, move || {
                    let mut bytes = vec![0; len as usize];
                    let read = device
                        .access(Access::Read, range, |access| access.read(offset, &mut bytes));
                    shared.wake_pollers(&device.node);
                    match read {
                        Ok(()) => reply.data(&bytes),
                        Err(error) => reply.error(errno(&error)),
                    }
                });
            }
            _ => reply.error(Errno::EISDIR),
        }
    }

    fn write(
        &self,
        _: &Request,
        inode: INodeNo,
        handle: FileHandle,
        offset: u64,
        data: &[u8],
        write_flags: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        match Place::of(inode.0) {
            // Pages that were stored to through a mapping. What else is written to the CPU side is
            // refused: a dma-buf has no write(2).
            Some(Place::Buffer(id, Side::Cpu))
                if write_flags.contains(WriteFlags::FUSE_WRITE_CACHE) =>
            {
                let Some(buffer) = self.tree().node(id).and_then(|node| node.buffer()) else {
                    return reply.error(Errno::EINVAL);
                };
                match buffer.store(offset, data) {
                    Ok(()) => reply.written(data.len() as u32),
                    Err(error) => reply.error(errno(&error)),
                }
            }
            Some(Place::Buffer(id, Side::Cpu)) => {
                reply.error(Errno::EINVAL);
                let node = self.tree().node(id);
                if node.is_some_and(|node| !self.shared.kernel.passes_through(node.heap)) {
                    self.shared.undo_write(inode, offset, data.len());
                }
            }
            Some(Place::Buffer(_, Side::Device)) => {
                let Some(device) = self.shared.handles.device(handle.0) else {
                    return reply.error(Errno::EBADF);
                };
                let len = device.size().saturating_sub(offset).min(data.len() as u64);
                let Ok(range) = Range::new(offset, len) else {
                    return reply.error(Errno::ENOSPC);
                };
                let shared = Arc::clone(&self.shared);
                let node = Arc::clone(&device.node);
                let data = data[..len as usize].to_vec();
                self.shared.after_the_dead(&node, move || {
                    let written =
                        device.access(Access::Write, range, |access| access.write(offset, &data));
                    shared.wake_pollers(&device.node);
                    match written {
                        Ok(()) => reply.written(data.len() as u32),
                        Err(error) => reply.error(errno(&error)),
                    }
                });
            }
            _ => reply.error(Errno::EINVAL),
        }
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }

    fn release(
        &self,
        _: &Request,
        inode: INodeNo,
        handle: FileHandle,
        _: OpenFlags,
        _: Option<LockOwner>,
        _: bool,
        reply: ReplyEmpty,
    ) {
        reply.ok();
        if let Some(Place::Buffer(id, _)) = Place::of(inode.0)
            && let Some(node) = self.tree().node(id)
        {
            node.state().pollers.remove(&handle.0);
        }
        match self.shared.handles.remove(handle.0) {
            Some(Handle::Cpu(node)) => self.shared.release_cpu(node, handle.0),
            Some(Handle::Device(device)) => {
                let node = Arc::clone(&device.node);
                // Ends the accesses that the device had begun.
                drop(device);
                node.state().device_opens -= 1;
                self.shared.wake_pollers(&node);
                self.shared.forget_unused(&node);
            }
            Some(Handle::Stats(_)) | None => {}
        }
    }

    fn fsync(&self, req: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        // The kernel has written the pages back before it asks; that is all the server itself needs.
        if owner::is_own_thread(req.pid()) { reply.ok() } else { reply.error(Errno::EINVAL) }
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let Some(Place::Heap(kind, Side::Cpu)) = Place::of(parent.0) else {
            return reply.error(Errno::EPERM);
        };
        let node = self.tree().unlink(kind, name);
        match node {
            Some(node) => {
                reply.ok();
                self.shared.forget_unused(&node);
            }
            None => reply.error(Errno::ENOENT),
        }
    }

    fn readdir(
        &self,
        _: &Request,
        inode: INodeNo,
        _: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let Some(entries) = self.shared.entries(inode) else { return reply.error(Errno::ENOTDIR) };
        for entry in entries.into_iter().filter(|entry| entry.cookie > offset) {
            if reply.add(INodeNo(entry.inode), entry.cookie, entry.kind, &entry.name) {
                break;
            }
        }
        reply.ok();
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        let files = self.tree().nodes().count() as u64;
        let page = rustix::param::page_size() as u32;
        reply.statfs(0, 0, 0, files, 0, page, NAME_MAX as u32, page);
    }

    fn ioctl(
        &self,
        req: &Request,
        inode: INodeNo,
        handle: FileHandle,
        _: IoctlFlags,
        command: u32,
        argument: &[u8],
        _: u32,
        reply: ReplyIoctl,
    ) {
        let Some(Place::Buffer(id, side)) = Place::of(inode.0) else {
            return reply.error(Errno::ENOTTY);
        };
        let Some(node) = self.tree().node(id) else { return reply.error(Errno::ESTALE) };
        let Some(buffer) = node.buffer() else { return reply.error(Errno::EINVAL) };
        let call = match ioctl::decode(command, argument, buffer.size()) {
            Ok(call) => call,
            Err(errno) => return reply.error(errno),
        };
        match (call, side) {
            (Call::Query, _) => reply.ioctl(0, &ioctl::query(&buffer)),
            (Call::SetName(name), _) => answer(reply, buffer.set_name(&name)),
            (Call::Begin(access, range), Side::Device) => {
                let Some(device) = self.shared.handles.device(handle.0) else {
                    return reply.error(Errno::EBADF);
                };
                self.shared.after_the_dead(&node, move || {
                    answer(reply, device.begin(access, range));
                });
            }
            (Call::End(access, _), Side::Device) => {
                let Some(device) = self.shared.handles.device(handle.0) else {
                    return reply.error(Errno::EBADF);
                };
                device.end(access);
                self.shared.wake_pollers(&node);
                reply.ioctl(0, &[]);
            }
            (Call::Begin(access, range), Side::Cpu) => {
                let owner = self.shared.processes.owner(req.pid(), handle.0);
                self.shared.begin(&node, buffer, owner, access, range, reply);
            }
            (Call::End(access, range), Side::Cpu) => {
                let owner = self.shared.processes.owner(req.pid(), handle.0);
                if self.shared.is_quick(&node, &buffer, range) {
                    answer(reply, buffer.end(owner, access, range));
                } else {
                    self.shared.workers.run(move || {
                        answer(reply, buffer.end(owner, access, range));
                    });
                }
            }
        }
    }

    fn poll(
        &self,
        _: &Request,
        inode: INodeNo,
        handle: FileHandle,
        notifier: PollNotifier,
        events: PollEvents,
        flags: PollFlags,
        reply: ReplyPoll,
    ) {
        let node = match Place::of(inode.0) {
            Some(Place::Buffer(id, _)) => self.tree().node(id),
            _ => None,
        };
        let Some(node) = node else { return reply.poll(events) };
        if flags.contains(PollFlags::FUSE_POLL_SCHEDULE_NOTIFY) {
            // Before looking: who ends an access afterwards finds it.
            let mut state = node.state();
            state.pollers.insert(handle.0, notifier);
        }
        // As dma_buf_poll: readable when no device writes, writable when no device is at it at all.
        let idle = |access| node.buffer().is_none_or(|buffer| buffer.is_idle(access));
        let mut ready = PollEvents::empty();
        if idle(Access::Read) {
            ready |= PollEvents::POLLIN;
        }
        if idle(Access::Write) {
            ready |= PollEvents::POLLOUT;
        }
        reply.poll(ready & events);
    }

    fn lseek(&self, _: &Request, _: INodeNo, _: FileHandle, _: i64, _: i32, reply: ReplyLseek) {
        // Only SEEK_DATA and SEEK_HOLE arrive here.
        reply.error(Errno::EINVAL);
    }

    fn fallocate(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        _: u64,
        _: u64,
        _: i32,
        reply: ReplyEmpty,
    ) {
        reply.error(Errno::ENODEV);
    }
}
