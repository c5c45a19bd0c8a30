//! The file system: what each request of the kernel does.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, SystemTime};

use dmabuf_export::mappings::Direct;
use dmabuf_export::{
    Access, Accounts, Buffer, Heap, HeapKind, Mappings, Owner, Quota, Range, Reservation,
};
use fuser::{
    BackingId, BsdFileFlags, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags,
    Generation, INodeNo, InitFlags, IoctlFlags, KernelConfig, LockOwner, Notifier, OpenAccMode,
    OpenFlags, PollEvents, PollFlags, PollNotifier, ReplyAttr, ReplyCreate, ReplyData,
    ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyIoctl, ReplyLseek, ReplyOpen, ReplyPoll,
    ReplyStatfs, ReplyWrite, Request, TimeOrNow, WriteFlags,
};

use crate::handle::{Device, Handle, Handles, OWN_HANDLE};
use crate::ioctl::{self, Call};
use crate::owner::{self, Processes};
use crate::page_cache::{OWN_DIRECTORY, PageCache};
use crate::report::Report;
use crate::tree::{Content, Creator, Node, NodeState, Place, Side, Tree};
use crate::workers::Workers;

/// Names and attributes change on two sides of a buffer at once, so the kernel keeps none of them.
const TTL: Duration = Duration::ZERO;

/// How long a bracket waits for a device before its program is told to try again. The kernel cannot
/// interrupt a request that this server has taken, so a signal waits for at most this long.
const PATIENCE: Duration = Duration::from_millis(50);

/// Threads for brackets that wait for the kernel.
const WORKERS: usize = 8;

/// Threads for brackets that wait for a device: they must not keep others from ending.
const WAITERS: usize = 4;

/// The longest file name: NAME_MAX of limits.h.
const NAME_MAX: usize = 255;

/// The connection to the kernel, as far as mappings need it.
#[derive(Clone, Debug)]
pub(crate) struct Kernel {
    inner: Arc<KernelInner>,
}

#[derive(Debug)]
struct KernelInner {
    mountpoint: PathBuf,
    notifier: OnceLock<Notifier>,
    passthrough: AtomicBool,
    minor: AtomicU32,
}

impl Kernel {
    pub(crate) fn mountpoint(&self) -> &Path {
        &self.inner.mountpoint
    }

    /// Completes the connection, before it serves requests.
    pub(crate) fn connect(&self, notifier: Notifier, passthrough: bool) {
        let fresh = self.inner.notifier.set(notifier).is_ok();
        debug_assert!(fresh, "a file system is connected once");
        self.inner.passthrough.fetch_and(passthrough, Ordering::Relaxed);
    }

    pub(crate) fn notifier(&self) -> io::Result<&Notifier> {
        self.inner.notifier.get().ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    /// Whether this kernel copies dirty pages and takes them for clean at once; from protocol 7.44
    /// (Linux 6.16) on they are under write-back until this server has them.
    pub(crate) fn copies_pages_to_write_back(&self) -> bool {
        self.inner.minor.load(Ordering::Relaxed) < 44
    }

    /// How a buffer of this heap is mapped.
    fn passes_through(&self, heap: HeapKind) -> bool {
        matches!(heap, HeapKind::Coherent | HeapKind::Bounce)
            && self.inner.passthrough.load(Ordering::Relaxed)
    }
}

/// The heaps as a file system.
#[derive(Clone, Debug)]
pub(crate) struct HeapFs {
    shared: Arc<Shared>,
}

/// What the kernel's threads and the workers share.
#[derive(Debug)]
struct Shared {
    kernel: Kernel,
    heaps: HashMap<HeapKind, Heap>,
    tree: Mutex<Tree>,
    handles: Handles,
    processes: Processes,
    workers: Workers,
    waiters: Workers,
    /// Buffers without a file, that somebody may still have mapped: passthrough mappings outlive the
    /// open file. They stay charged to their user.
    retired: Mutex<Vec<Buffer>>,
    /// Whether other users reach this mount.
    is_public: bool,
    started: SystemTime,
}

impl HeapFs {
    pub(crate) fn new(mountpoint: PathBuf, quota: Quota, is_public: bool) -> io::Result<HeapFs> {
        let accounts = Accounts::new(quota);
        let heap = |kind| (kind, Heap::with_accounts(kind, Arc::clone(&accounts)));
        let inner = KernelInner {
            mountpoint,
            notifier: OnceLock::new(),
            passthrough: AtomicBool::new(false),
            minor: AtomicU32::new(0),
        };
        let shared = Shared {
            kernel: Kernel { inner: Arc::new(inner) },
            heaps: HeapKind::ALL.into_iter().map(heap).collect(),
            tree: Mutex::default(),
            handles: Handles::default(),
            processes: Processes::default(),
            workers: Workers::start("bracket", WORKERS)?,
            waiters: Workers::start("waiting", WAITERS)?,
            retired: Mutex::default(),
            is_public,
            started: SystemTime::now(),
        };
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
    }

    fn tree(&self) -> MutexGuard<'_, Tree> {
        self.shared.tree()
    }
}

impl Filesystem for HeapFs {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> io::Result<()> {
        // One page a fault: what is read ahead would count as touched.
        let _ = config.set_max_readahead(1);
        let kernel = &self.shared.kernel.inner;
        kernel.minor.store(config.kernel_abi().1, Ordering::Relaxed);
        let passthrough = config.add_capabilities(InitFlags::FUSE_PASSTHROUGH).is_ok()
            && config.set_max_stack_depth(1).is_ok();
        kernel.passthrough.store(passthrough, Ordering::Relaxed);
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
                    let nodes: Vec<_> = shared.tree().nodes().cloned().collect();
                    for buffer in nodes.iter().filter_map(|node| node.buffer()) {
                        shared.bury_owners(&buffer);
                    }
                    let json = Report::new(nodes.iter(), uid).to_json();
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
        _: INodeNo,
        handle: FileHandle,
        _: OpenFlags,
        _: Option<LockOwner>,
        _: bool,
        reply: ReplyEmpty,
    ) {
        reply.ok();
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
        for (index, (inode, kind, name)) in entries.into_iter().enumerate().skip(offset as usize) {
            if reply.add(INodeNo(inode), index as u64 + 1, kind, name) {
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
                let end = move || answer(reply, buffer.end(owner, access, range));
                if self.shared.kernel.passes_through(node.heap) {
                    end();
                } else {
                    self.shared.workers.run(end);
                }
            }
        }
    }

    fn poll(
        &self,
        _: &Request,
        inode: INodeNo,
        _: FileHandle,
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
            if state.pollers.iter().all(|poller| poller.handle().0 != notifier.handle().0) {
                state.pollers.push(notifier);
            }
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

/// How a file was opened.
struct Opened {
    flags: FopenFlags,
    backing: Option<Arc<BackingId>>,
}

impl Shared {
    fn tree(&self) -> MutexGuard<'_, Tree> {
        self.tree.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn heap(&self, kind: HeapKind) -> &Heap {
        &self.heaps[&kind]
    }

    fn lookup(&self, req: &Request, parent: INodeNo, name: &OsStr) -> Option<FileAttr> {
        let place = match Place::of(parent.0)? {
            Place::Root => match name.to_str()? {
                "stats.json" => Place::Stats,
                "device" => Place::Devices,
                OWN_DIRECTORY if owner::is_own_thread(req.pid()) => Place::Own,
                heap => Place::Heap(heap.parse().ok()?, Side::Cpu),
            },
            Place::Devices => Place::Heap(name.to_str()?.parse().ok()?, Side::Device),
            Place::Heap(kind, side) => {
                let node = self.tree().lookup(kind, name)?;
                return Some(node_attr(&node, side));
            }
            Place::Own => return self.attr(INodeNo(name.to_str()?.parse().ok()?)),
            Place::Stats | Place::Buffer(..) => return None,
        };
        self.attr(INodeNo(place.inode()))
    }

    fn attr(&self, inode: INodeNo) -> Option<FileAttr> {
        let (kind, mode, links) = match Place::of(inode.0)? {
            Place::Buffer(id, side) => return Some(node_attr(&*self.tree().node(id)?, side)),
            // As /tmp: all may create, and remove what is theirs.
            Place::Heap(_, Side::Cpu) if self.is_public => (FileType::Directory, 0o1777, 2),
            Place::Root | Place::Devices | Place::Heap(..) => (FileType::Directory, 0o755, 2),
            Place::Own => (FileType::Directory, 0o700, 2),
            Place::Stats => (FileType::RegularFile, 0o444, 1),
        };
        let uid = rustix::process::geteuid().as_raw();
        let gid = rustix::process::getegid().as_raw();
        Some(attributes(inode, kind, mode, links, (uid, gid), 0, self.started))
    }

    fn entries(&self, inode: INodeNo) -> Option<Vec<(u64, FileType, std::ffi::OsString)>> {
        let directory =
            |place: Place, name: &str| (place.inode(), FileType::Directory, name.into());
        let heaps = |side| {
            HeapKind::ALL.map(|kind| directory(Place::Heap(kind, side), kind.name())).to_vec()
        };
        let (parent, children) = match Place::of(inode.0)? {
            Place::Root => {
                let mut children = heaps(Side::Cpu);
                children.push(directory(Place::Devices, "device"));
                children.push((Place::Stats.inode(), FileType::RegularFile, "stats.json".into()));
                (Place::Root, children)
            }
            Place::Devices => (Place::Root, heaps(Side::Device)),
            Place::Heap(kind, side) => {
                let tree = self.tree();
                let buffers = tree.entries(kind).map(|(name, id)| {
                    (Place::Buffer(id, side).inode(), FileType::RegularFile, name.clone())
                });
                let parent = if side == Side::Cpu { Place::Root } else { Place::Devices };
                (parent, buffers.collect())
            }
            Place::Own | Place::Stats | Place::Buffer(..) => return None,
        };
        let dots = [
            (inode.0, FileType::Directory, ".".into()),
            (parent.inode(), FileType::Directory, "..".into()),
        ];
        Some(dots.into_iter().chain(children).collect())
    }

    /// Gives a file its size, and so allocates the buffer that was reserved for it.
    fn allocate(&self, node: &Node, size: u64, reservation: Reservation) -> Result<(), Errno> {
        self.free_retired();
        let mappings: Arc<dyn Mappings> = match node.heap {
            HeapKind::Unmappable => Arc::new(Direct),
            heap if self.kernel.passes_through(heap) => Arc::new(Direct),
            _ => Arc::new(PageCache::new(self.kernel.clone(), node.cpu_inode())),
        };
        let (content, result) = match reservation.allocate(size, mappings) {
            Ok(buffer) => (Content::Allocated(buffer), Ok(())),
            Err(refused) => (Content::Reserved(refused.reservation), Err(errno(&refused.error))),
        };
        let mut state = node.state();
        state.content = content;
        state.modified = SystemTime::now();
        result
    }

    /// How the CPU side of a file is opened, which has been counted as open.
    fn back(
        &self,
        node: &Node,
        open_backing: impl FnOnce(std::os::fd::BorrowedFd<'_>) -> io::Result<BackingId>,
    ) -> io::Result<Opened> {
        if node.heap == HeapKind::Unmappable {
            // Such a file refuses MAP_SHARED.
            return Ok(Opened { flags: FopenFlags::FOPEN_DIRECT_IO, backing: None });
        }
        if !self.kernel.passes_through(node.heap) {
            return Ok(Opened { flags: FopenFlags::FOPEN_KEEP_CACHE, backing: None });
        }
        // Only mmap(2) passes through: read(2) and write(2) arrive here, to be refused.
        let mut guard = node.state();
        let NodeState { content, backing, .. } = &mut *guard;
        if backing.is_none() {
            let opened = match content {
                Content::Reserved(reservation) => reservation.mmap().map(open_backing),
                Content::Allocated(buffer) => {
                    buffer.cpu().ok().map(|cpu| open_backing(cpu.as_fd()))
                }
                Content::Allocating => None,
            };
            *backing = Some(Arc::new(opened.unwrap_or(Err(io::ErrorKind::ResourceBusy.into()))?));
        }
        Ok(Opened { flags: FopenFlags::FOPEN_DIRECT_IO, backing: backing.clone() })
    }

    /// Begins a bracket, on a thread that may wait if it has to.
    fn begin(
        self: &Arc<Self>,
        node: &Node,
        buffer: Buffer,
        owner: Owner,
        access: Access,
        range: Range,
        reply: ReplyIoctl,
    ) {
        if self.kernel.passes_through(node.heap) && !self.has_dead_owners(&buffer) {
            match buffer.begin(owner, access, range, Some(Duration::ZERO)) {
                Err(dmabuf_export::Error::Busy) => {}
                result => return answer(reply, result),
            }
        }
        let shared = Arc::clone(self);
        self.workers.run(move || {
            shared.bury_owners(&buffer);
            match buffer.begin(owner, access, range, Some(Duration::ZERO)) {
                Err(dmabuf_export::Error::Busy) => shared.waiters.run(move || {
                    answer(reply, buffer.begin(owner, access, range, Some(PATIENCE)));
                }),
                result => answer(reply, result),
            }
        });
    }

    /// Takes the bytes of a write(2) that was refused out of the page cache, where the kernel has put
    /// them before it asked. It holds the pages until it has the answer, so this comes later.
    fn undo_write(self: &Arc<Self>, inode: INodeNo, offset: u64, len: usize) {
        let shared = Arc::clone(self);
        self.workers.run(move || {
            let undone = shared
                .kernel
                .notifier()
                .and_then(|notifier| notifier.inval_inode(inode, offset as i64, len as i64));
            if let Err(error) = undone {
                tracing::warn!("what a refused write(2) left cannot be undone: {error}");
            }
        });
    }

    /// Runs `f`, which must see what processes stored that died inside a bracket.
    fn after_the_dead(self: &Arc<Self>, node: &Node, f: impl FnOnce() + Send + 'static) {
        match node.buffer() {
            Some(buffer) if self.has_dead_owners(&buffer) => {
                let shared = Arc::clone(self);
                self.workers.run(move || {
                    shared.bury_owners(&buffer);
                    f();
                });
            }
            _ => f(),
        }
    }

    fn has_dead_owners(&self, buffer: &Buffer) -> bool {
        buffer.owners().into_iter().any(|owner| self.processes.is_gone(owner))
    }

    /// Ends the brackets of processes that are gone.
    fn bury_owners(&self, buffer: &Buffer) {
        for owner in buffer.owners() {
            if self.processes.is_gone(owner) {
                abandon(buffer, owner);
            }
        }
    }

    /// Lets go of an open file of the CPU side.
    fn release_cpu(self: &Arc<Self>, node: Arc<Node>, handle: u64) {
        let last = self.close_cpu(&node);
        let Some(buffer) = node.buffer() else { return self.forget_unused(&node) };
        // Nobody can end a bracket of a file that nobody has open.
        let mut owners = buffer.owners();
        owners.retain(|&owner| last || owner == Processes::of_file(handle));
        if owners.is_empty() {
            return self.forget_unused(&node);
        }
        let shared = Arc::clone(self);
        self.workers.run(move || {
            owners.into_iter().for_each(|owner| abandon(&buffer, owner));
            drop(buffer);
            shared.forget_unused(&node);
        });
    }

    /// Counts one open file less; whether it was the last one.
    fn close_cpu(&self, node: &Node) -> bool {
        let mut state = node.state();
        state.cpu_opens -= 1;
        if state.cpu_opens == 0 {
            state.backing = None;
        }
        state.cpu_opens == 0
    }

    /// Frees a buffer that has neither a name nor a user.
    fn forget_unused(&self, node: &Node) {
        let Some(node) = self.tree().forget_unused(node.id) else { return };
        if let Some(buffer) = node.buffer() {
            self.retired().push(buffer);
        }
        drop(node);
        self.free_retired();
    }

    /// Frees the buffers that are not mapped any more.
    fn free_retired(&self) {
        self.retired().retain(|buffer| !buffer.retire());
    }

    fn retired(&self) -> MutexGuard<'_, Vec<Buffer>> {
        self.retired.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells those who poll that a device may have ended its access.
    fn wake_pollers(&self, node: &Node) {
        let pollers = std::mem::take(&mut node.state().pollers);
        for poller in pollers {
            // A poller that is gone needs no word.
            let _ = poller.notify();
        }
    }
}

fn abandon(buffer: &Buffer, owner: Owner) {
    if let Err(error) = buffer.abandon(owner) {
        tracing::error!("what process {:?} stored last is lost: {error}", owner::pid(owner));
    }
}

fn answer(reply: ReplyIoctl, result: dmabuf_export::Result<()>) {
    match result {
        Ok(()) => reply.ioctl(0, &[]),
        Err(error) => reply.error(errno(&error)),
    }
}

fn errno(error: &dmabuf_export::Error) -> Errno {
    Errno::from_i32(error.errno().raw_os_error())
}

fn node_attr(node: &Node, side: Side) -> FileAttr {
    let state = node.state();
    let size = match &state.content {
        Content::Allocated(buffer) => buffer.size(),
        Content::Reserved(_) | Content::Allocating => 0,
    };
    let links = u32::from(state.name.is_some());
    let inode = INodeNo(Place::Buffer(node.id, side).inode());
    let ids = (state.uid, state.gid);
    attributes(inode, FileType::RegularFile, state.mode, links, ids, size, state.modified)
}

fn attributes(
    ino: INodeNo,
    kind: FileType,
    perm: u16,
    nlink: u32,
    (uid, gid): (u32, u32),
    size: u64,
    time: SystemTime,
) -> FileAttr {
    FileAttr {
        ino,
        size,
        blocks: size.div_ceil(512),
        atime: time,
        mtime: time,
        ctime: time,
        crtime: time,
        kind,
        perm,
        nlink,
        uid,
        gid,
        rdev: 0,
        blksize: rustix::param::page_size() as u32,
        flags: 0,
    }
}
