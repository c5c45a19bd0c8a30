//! The files: their names, numbers and attributes.

use std::collections::{BTreeMap, HashMap};
use std::ffi::{OsStr, OsString};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use dmabuf_export::{Buffer, HeapKind, Reservation};
use fuser::{BackingId, PollNotifier};

pub(crate) const ROOT: u64 = 1;
pub(crate) const STATS: u64 = 2;
pub(crate) const DEVICES: u64 = 3;
pub(crate) const OWN: u64 = 4;
/// The heaps' directories, then their device sides.
const HEAPS: u64 = 16;
const DEVICE_HEAPS: u64 = 32;
/// Two numbers for each buffer from here on: its CPU side, then its device side.
const BUFFERS: u64 = 64;

/// The side from which a buffer's file reaches it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Cpu,
    Device,
}

/// What an inode number stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Root,
    Stats,
    Devices,
    Own,
    Heap(HeapKind, Side),
    Buffer(u64, Side),
}

impl Place {
    pub(crate) fn of(inode: u64) -> Option<Place> {
        let heap = |first: u64| HeapKind::ALL.get((inode - first) as usize).copied();
        match inode {
            ROOT => Some(Place::Root),
            STATS => Some(Place::Stats),
            DEVICES => Some(Place::Devices),
            OWN => Some(Place::Own),
            HEAPS..DEVICE_HEAPS => heap(HEAPS).map(|kind| Place::Heap(kind, Side::Cpu)),
            DEVICE_HEAPS..BUFFERS => heap(DEVICE_HEAPS).map(|kind| Place::Heap(kind, Side::Device)),
            BUFFERS.. => {
                let side = if inode.is_multiple_of(2) { Side::Cpu } else { Side::Device };
                Some(Place::Buffer((inode - BUFFERS) / 2, side))
            }
            _ => None,
        }
    }

    pub(crate) fn inode(self) -> u64 {
        let index =
            |kind| HeapKind::ALL.iter().position(|&other| other == kind).unwrap_or(0) as u64;
        match self {
            Place::Root => ROOT,
            Place::Stats => STATS,
            Place::Devices => DEVICES,
            Place::Own => OWN,
            Place::Heap(kind, Side::Cpu) => HEAPS + index(kind),
            Place::Heap(kind, Side::Device) => DEVICE_HEAPS + index(kind),
            Place::Buffer(id, side) => BUFFERS + 2 * id + u64::from(side == Side::Device),
        }
    }
}

/// A buffer's file, from its creation on.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) id: u64,
    pub(crate) heap: HeapKind,
    state: Mutex<NodeState>,
}

/// What changes about a buffer's file.
#[derive(Debug)]
pub(crate) struct NodeState {
    /// `None` once it is unlinked.
    pub(crate) name: Option<OsString>,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) mode: u16,
    pub(crate) modified: SystemTime,
    pub(crate) content: Content,
    /// Open files of each side.
    pub(crate) cpu_opens: u64,
    pub(crate) device_opens: u64,
    /// The memory as the kernel knows it for passthrough, while the CPU side is open.
    pub(crate) backing: Option<Arc<BackingId>>,
    pub(crate) pollers: Vec<PollNotifier>,
}

/// A buffer, or what will be one.
#[derive(Debug)]
pub(crate) enum Content {
    /// No size yet.
    Reserved(Reservation),
    /// A size is being given to it.
    Allocating,
    Allocated(Buffer),
}

impl Node {
    pub(crate) fn state(&self) -> MutexGuard<'_, NodeState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The buffer, once it has its size.
    pub(crate) fn buffer(&self) -> Option<Buffer> {
        match &self.state().content {
            Content::Allocated(buffer) => Some(buffer.clone()),
            Content::Reserved(_) | Content::Allocating => None,
        }
    }

    /// The reservation, for whoever comes first to give it its size.
    pub(crate) fn claim(&self) -> Option<Reservation> {
        let mut state = self.state();
        match std::mem::replace(&mut state.content, Content::Allocating) {
            Content::Reserved(reservation) => Some(reservation),
            other => {
                state.content = other;
                None
            }
        }
    }

    pub(crate) fn cpu_inode(&self) -> u64 {
        Place::Buffer(self.id, Side::Cpu).inode()
    }
}

/// All files of buffers.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    next: u64,
    nodes: HashMap<u64, Arc<Node>>,
    names: HashMap<HeapKind, BTreeMap<OsString, u64>>,
}

/// Who creates a file, and how.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Creator {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) mode: u16,
}

impl Tree {
    pub(crate) fn node(&self, id: u64) -> Option<Arc<Node>> {
        self.nodes.get(&id).cloned()
    }

    /// The file with this number, which is opened from one side: it is not forgotten before that side
    /// is closed.
    pub(crate) fn open(&self, id: u64, side: Side) -> Option<Arc<Node>> {
        let node = self.node(id)?;
        {
            let mut state = node.state();
            match side {
                Side::Cpu => state.cpu_opens += 1,
                Side::Device => state.device_opens += 1,
            }
        }
        Some(node)
    }

    pub(crate) fn lookup(&self, heap: HeapKind, name: &OsStr) -> Option<Arc<Node>> {
        self.node(*self.names.get(&heap)?.get(name)?)
    }

    /// Adds a file, unless there is one of that name. The CPU side is open.
    pub(crate) fn create(
        &mut self,
        heap: HeapKind,
        name: &OsStr,
        creator: Creator,
        reservation: Reservation,
    ) -> Option<Arc<Node>> {
        let names = self.names.entry(heap).or_default();
        if names.contains_key(name) {
            return None;
        }
        let id = self.next;
        self.next += 1;
        names.insert(name.to_owned(), id);
        let state = NodeState {
            name: Some(name.to_owned()),
            uid: creator.uid,
            gid: creator.gid,
            mode: creator.mode,
            modified: SystemTime::now(),
            content: Content::Reserved(reservation),
            cpu_opens: 1,
            device_opens: 0,
            backing: None,
            pollers: Vec::new(),
        };
        let node = Arc::new(Node { id, heap, state: Mutex::new(state) });
        self.nodes.insert(id, Arc::clone(&node));
        Some(node)
    }

    /// Takes a name away; the node comes back.
    pub(crate) fn unlink(&mut self, heap: HeapKind, name: &OsStr) -> Option<Arc<Node>> {
        let id = self.names.get_mut(&heap)?.remove(name)?;
        let node = self.node(id)?;
        node.state().name = None;
        Some(node)
    }

    /// Forgets a file that has neither a name nor a user; it comes back if that was so.
    pub(crate) fn forget_unused(&mut self, id: u64) -> Option<Arc<Node>> {
        let node = self.nodes.get(&id)?;
        let state = node.state();
        let used = state.name.is_some() || state.cpu_opens > 0 || state.device_opens > 0;
        drop(state);
        if used { None } else { self.nodes.remove(&id) }
    }

    /// The names in a heap's directory.
    pub(crate) fn entries(&self, heap: HeapKind) -> impl Iterator<Item = (&OsString, u64)> {
        self.names.get(&heap).into_iter().flatten().map(|(name, &id)| (name, id))
    }

    pub(crate) fn nodes(&self) -> impl Iterator<Item = &Arc<Node>> {
        self.nodes.values()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_has_a_number_of_its_own() {
        let heaps = HeapKind::ALL
            .iter()
            .flat_map(|&kind| [Place::Heap(kind, Side::Cpu), Place::Heap(kind, Side::Device)]);
        let buffers =
            (0..100).flat_map(|id| [Place::Buffer(id, Side::Cpu), Place::Buffer(id, Side::Device)]);
        let fixed = [Place::Root, Place::Stats, Place::Devices, Place::Own];
        let mut seen = std::collections::HashSet::new();
        for place in fixed.into_iter().chain(heaps).chain(buffers) {
            assert_eq!(Place::of(place.inode()), Some(place));
            assert!(seen.insert(place.inode()));
        }
        assert_eq!(Place::of(0), None);
        assert_eq!(Place::of(31), None);
    }
}
