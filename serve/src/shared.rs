//! What the threads that answer the kernel and the workers share, and what both do with it.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use dmabuf_export::mappings::Direct;
use dmabuf_export::{
    Access, Accounts, Buffer, Heap, HeapKind, Mappings, Owner, Quota, Range, Reservation,
};
use fuser::{BackingId, Errno, FileAttr, FileType, FopenFlags, INodeNo, ReplyIoctl, Request};

use crate::handle::Handles;
use crate::kernel::Kernel;
use crate::owner::{self, Processes};
use crate::page_cache::{OWN_DIRECTORY, PageCache};
use crate::tree::{Content, Node, NodeState, Place, Side, Tree};
use crate::workers::Workers;

/// How long a bracket waits for a device before its program is told to try again. The kernel cannot
/// interrupt a request that this server has taken, so a signal waits for at most this long.
const PATIENCE: Duration = Duration::from_millis(50);

/// Threads for brackets that wait for the kernel.
pub(crate) const WORKERS: usize = 8;

/// Threads for brackets that wait for a device: they must not keep others from ending.
const WAITERS: usize = 16;

/// Bytes that a thread that answers the kernel may copy by itself.
const QUICK: u64 = 128 << 10;

/// What the kernel's threads and the workers share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) kernel: Kernel,
    pub(crate) heaps: HashMap<HeapKind, Heap>,
    pub(crate) tree: Mutex<Tree>,
    pub(crate) handles: Handles,
    pub(crate) processes: Processes,
    pub(crate) workers: Workers,
    pub(crate) waiters: Workers,
    /// Brackets that the waiters have.
    pub(crate) waiting: AtomicUsize,
    /// Buffers without a file, that somebody may still have mapped: passthrough mappings outlive the
    /// open file. They stay charged to their user.
    pub(crate) retired: Mutex<Vec<Buffer>>,
    /// Whether other users reach this mount.
    pub(crate) is_public: bool,
    pub(crate) started: SystemTime,
}

/// A name in a directory.
#[derive(Clone)]
pub(crate) struct Entry {
    /// Where the kernel goes on after this entry. It is the entry's own, so that one that is removed
    /// meanwhile makes no other be left out.
    pub(crate) cookie: u64,
    pub(crate) inode: u64,
    pub(crate) kind: FileType,
    pub(crate) name: OsString,
}

/// How a file was opened.
pub(crate) struct Opened {
    pub(crate) flags: FopenFlags,
    pub(crate) backing: Option<Arc<BackingId>>,
}

impl Shared {
    pub(crate) fn new(kernel: Kernel, quota: Quota, is_public: bool) -> io::Result<Shared> {
        let accounts = Accounts::new(quota);
        let heap = |kind| (kind, Heap::with_accounts(kind, Arc::clone(&accounts)));
        Ok(Shared {
            kernel,
            heaps: HeapKind::ALL.into_iter().map(heap).collect(),
            tree: Mutex::default(),
            handles: Handles::default(),
            processes: Processes::default(),
            workers: Workers::start("bracket", WORKERS)?,
            waiters: Workers::start("waiting", WAITERS)?,
            waiting: AtomicUsize::new(0),
            retired: Mutex::default(),
            is_public,
            started: SystemTime::now(),
        })
    }

    pub(crate) fn tree(&self) -> MutexGuard<'_, Tree> {
        self.tree.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn heap(&self, kind: HeapKind) -> &Heap {
        &self.heaps[&kind]
    }

    pub(crate) fn lookup(&self, req: &Request, parent: INodeNo, name: &OsStr) -> Option<FileAttr> {
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

    pub(crate) fn attr(&self, inode: INodeNo) -> Option<FileAttr> {
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

    /// The files that `uid` may know of: root all, others their own.
    pub(crate) fn nodes_of(&self, uid: u32) -> Vec<Arc<Node>> {
        let nodes: Vec<_> = self.tree().nodes().cloned().collect();
        nodes.into_iter().filter(|node| uid == 0 || uid == node.state().uid).collect()
    }

    /// What is in a directory, in the order of the cookies.
    pub(crate) fn entries(&self, inode: INodeNo) -> Option<Vec<Entry>> {
        let directory = |place: Place, name: &str| Entry {
            cookie: 2 + place.inode(),
            inode: place.inode(),
            kind: FileType::Directory,
            name: name.into(),
        };
        let heaps = |side| {
            HeapKind::ALL.map(|kind| directory(Place::Heap(kind, side), kind.name())).to_vec()
        };
        let (parent, mut children) = match Place::of(inode.0)? {
            Place::Root => {
                let mut children = heaps(Side::Cpu);
                children.push(directory(Place::Devices, "device"));
                let stats = directory(Place::Stats, "stats.json");
                children.push(Entry { kind: FileType::RegularFile, ..stats });
                (Place::Root, children)
            }
            Place::Devices => (Place::Root, heaps(Side::Device)),
            Place::Heap(kind, side) => {
                let tree = self.tree();
                let buffers = tree.entries(kind).map(|(name, id)| Entry {
                    name: name.clone(),
                    kind: FileType::RegularFile,
                    ..directory(Place::Buffer(id, side), "")
                });
                let parent = if side == Side::Cpu { Place::Root } else { Place::Devices };
                (parent, buffers.collect())
            }
            Place::Own | Place::Stats | Place::Buffer(..) => return None,
        };
        children.push(Entry { cookie: 1, inode: inode.0, ..directory(parent, ".") });
        children.push(Entry { cookie: 2, ..directory(parent, "..") });
        children.sort_by_key(|entry| entry.cookie);
        Some(children)
    }

    /// Gives a file its size, and so allocates the buffer that was reserved for it.
    pub(crate) fn allocate(
        &self,
        node: &Node,
        size: u64,
        reservation: Reservation,
    ) -> Result<(), Errno> {
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
    pub(crate) fn back(
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
    pub(crate) fn begin(
        self: &Arc<Self>,
        node: &Node,
        buffer: Buffer,
        owner: Owner,
        access: Access,
        range: Range,
        reply: ReplyIoctl,
    ) {
        if self.is_quick(node, &buffer, range) && !self.has_dead_owners(&buffer) {
            match buffer.begin(owner, access, range, Some(Duration::ZERO)) {
                Err(dmabuf_export::Error::Busy) => {}
                result => return answer(reply, result),
            }
        }
        let shared = Arc::clone(self);
        self.workers.run(move || {
            shared.bury_owners(&buffer);
            match buffer.begin(owner, access, range, Some(Duration::ZERO)) {
                Err(dmabuf_export::Error::Busy) => shared.wait(buffer, owner, access, range, reply),
                result => answer(reply, result),
            }
        });
    }

    /// Takes the bytes of a write(2) that was refused out of the page cache, where the kernel has put
    /// them before it asked. It holds the pages until it has the answer, so this comes later.
    pub(crate) fn undo_write(self: &Arc<Self>, inode: INodeNo, offset: u64, len: usize) {
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

    /// Whether a bracket can be begun or ended on a thread that answers the kernel: it copies little,
    /// and waits for nobody.
    pub(crate) fn is_quick(&self, node: &Node, buffer: &Buffer, range: Range) -> bool {
        self.kernel.passes_through(node.heap)
            && (node.heap == HeapKind::Coherent || range.len() <= QUICK)
            && !buffer.is_bracketing()
    }

    /// Begins a bracket that has to wait for a device; if too many do already, its program is told to
    /// try again at once.
    pub(crate) fn wait(
        self: &Arc<Self>,
        buffer: Buffer,
        owner: Owner,
        access: Access,
        range: Range,
        reply: ReplyIoctl,
    ) {
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= WAITERS {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            return reply.error(Errno::EAGAIN);
        }
        let shared = Arc::clone(self);
        self.waiters.run(move || {
            let begun = buffer.begin(owner, access, range, Some(PATIENCE));
            shared.waiting.fetch_sub(1, Ordering::Relaxed);
            answer(reply, begun);
        });
    }

    /// Runs `f`, which must see what processes stored that died inside a bracket.
    pub(crate) fn after_the_dead(self: &Arc<Self>, node: &Node, f: impl FnOnce() + Send + 'static) {
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

    pub(crate) fn has_dead_owners(&self, buffer: &Buffer) -> bool {
        buffer.owners().into_iter().any(|owner| self.processes.is_gone(owner))
    }

    /// Ends the brackets of processes that are gone.
    pub(crate) fn bury_owners(&self, buffer: &Buffer) {
        for owner in buffer.owners() {
            if self.processes.is_gone(owner) {
                abandon(buffer, owner);
            }
        }
    }

    /// Lets go of an open file of the CPU side.
    pub(crate) fn release_cpu(self: &Arc<Self>, node: Arc<Node>, handle: u64) {
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
            // Somebody may have opened it again, and begun a bracket.
            let last = node.state().cpu_opens == 0;
            let gone = |owner: &Owner| last || *owner == Processes::of_file(handle);
            owners.into_iter().filter(gone).for_each(|owner| abandon(&buffer, owner));
            drop(buffer);
            shared.forget_unused(&node);
        });
    }

    /// Counts one open file less; whether it was the last one.
    pub(crate) fn close_cpu(&self, node: &Node) -> bool {
        let mut state = node.state();
        state.cpu_opens -= 1;
        if state.cpu_opens == 0 {
            state.backing = None;
        }
        state.cpu_opens == 0
    }

    /// Frees a buffer that has neither a name nor a user.
    pub(crate) fn forget_unused(&self, node: &Node) {
        let Some(node) = self.tree().forget_unused(node.id) else { return };
        if let Some(buffer) = node.buffer() {
            self.retired().push(buffer);
        }
        drop(node);
        self.free_retired();
    }

    /// Frees the buffers that are not mapped any more.
    pub(crate) fn free_retired(&self) {
        self.retired().retain(|buffer| !buffer.is_alone());
    }

    pub(crate) fn retired(&self) -> MutexGuard<'_, Vec<Buffer>> {
        self.retired.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells those who poll that a device may have ended its access.
    pub(crate) fn wake_pollers(&self, node: &Node) {
        let pollers = std::mem::take(&mut node.state().pollers);
        for poller in pollers.into_values() {
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

pub(crate) fn answer(reply: ReplyIoctl, result: dmabuf_export::Result<()>) {
    match result {
        Ok(()) => reply.ioctl(0, &[]),
        Err(error) => reply.error(errno(&error)),
    }
}

pub(crate) fn errno(error: &dmabuf_export::Error) -> Errno {
    Errno::from_i32(error.errno().raw_os_error())
}

pub(crate) fn node_attr(node: &Node, side: Side) -> FileAttr {
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
