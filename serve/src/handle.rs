//! Open files.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dmabuf_export::{Access, Attachment, DeviceAccess, Range};

use crate::tree::Node;

/// The number of a file that this server opened itself; it has no [`Handle`].
pub(crate) const OWN_HANDLE: u64 = 0;

/// An open file.
#[derive(Debug)]
pub(crate) enum Handle {
    /// The CPU side of a buffer.
    Cpu(Arc<Node>),
    /// The device side of a buffer.
    Device(Arc<Device>),
    /// The statistics, as they were when the file was opened.
    Stats(Arc<Vec<u8>>),
}

/// An attached device.
#[derive(Debug)]
pub(crate) struct Device {
    pub(crate) node: Arc<Node>,
    pub(crate) attachment: Attachment,
    /// Accesses that the device began with a SYNC START and has not ended.
    begun: Mutex<Vec<DeviceAccess>>,
}

impl Device {
    pub(crate) fn new(node: Arc<Node>, attachment: Attachment) -> Device {
        Device { node, attachment, begun: Mutex::default() }
    }

    /// Bytes of the buffer.
    pub(crate) fn size(&self) -> u64 {
        self.attachment.segments().iter().map(|segment| segment.len).sum()
    }

    /// Begins an access that lasts until [`Device::end`].
    pub(crate) fn begin(&self, access: Access, range: Range) -> dmabuf_export::Result<()> {
        let begun = self.attachment.begin(access, range)?;
        self.begun().push(begun);
        Ok(())
    }

    /// Ends the access that was begun last with that direction; an END without a START is
    /// tolerated, as it is of a bracket.
    pub(crate) fn end(&self, access: Access) {
        let mut begun = self.begun();
        if let Some(index) = begun.iter().rposition(|open| open.access() == access) {
            begun.remove(index);
        }
    }

    /// Reads or writes by `f`: in an access that was begun, if one allows it, else as an access of
    /// its own.
    pub(crate) fn access(
        &self,
        access: Access,
        range: Range,
        f: impl FnOnce(&DeviceAccess) -> dmabuf_export::Result<()>,
    ) -> dmabuf_export::Result<()> {
        let begun = self.begun();
        let mut allowing = begun.iter();
        if let Some(open) =
            allowing.find(|open| open.access().allows(access) && open.range().contains(range))
        {
            return f(open);
        }
        drop(begun);
        f(&self.attachment.begin(access, range)?)
    }

    fn begun(&self) -> MutexGuard<'_, Vec<DeviceAccess>> {
        self.begun.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All open files, by number.
#[derive(Debug, Default)]
pub(crate) struct Handles {
    open: Mutex<(u64, HashMap<u64, Handle>)>,
}

impl Handles {
    pub(crate) fn add(&self, handle: Handle) -> u64 {
        let mut open = self.open();
        open.0 += 1;
        let number = OWN_HANDLE + open.0;
        open.1.insert(number, handle);
        number
    }

    pub(crate) fn remove(&self, number: u64) -> Option<Handle> {
        self.open().1.remove(&number)
    }

    pub(crate) fn device(&self, number: u64) -> Option<Arc<Device>> {
        match self.open().1.get(&number)? {
            Handle::Device(device) => Some(Arc::clone(device)),
            Handle::Cpu(_) | Handle::Stats(_) => None,
        }
    }

    pub(crate) fn stats(&self, number: u64) -> Option<Arc<Vec<u8>>> {
        match self.open().1.get(&number)? {
            Handle::Stats(stats) => Some(Arc::clone(stats)),
            Handle::Cpu(_) | Handle::Device(_) => None,
        }
    }

    fn open(&self) -> MutexGuard<'_, (u64, HashMap<u64, Handle>)> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
