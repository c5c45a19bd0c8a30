//! The connection to the kernel, as far as those need it who do not answer requests.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

use dmabuf_export::HeapKind;
use fuser::{InitFlags, KernelConfig, Notifier};

use crate::page_cache;
use crate::shared::WORKERS;
use crate::workers::Workers;

/// Threads that use the mount: as many as end brackets at a time.
const USERS: usize = WORKERS;

/// The connection to the kernel, as far as mappings need it.
#[derive(Clone, Debug)]
pub(crate) struct Kernel {
    inner: Arc<KernelInner>,
}

#[derive(Debug)]
struct KernelInner {
    mountpoint: PathBuf,
    users: Workers,
    notifier: OnceLock<Notifier>,
    passthrough: AtomicBool,
    minor: AtomicU32,
}

impl Kernel {
    /// To be called before there is a connection.
    pub(crate) fn new(mountpoint: PathBuf) -> io::Result<Kernel> {
        let inner = KernelInner {
            mountpoint,
            users: Workers::start_with("own-user", USERS, page_cache::leave_files)?,
            notifier: OnceLock::new(),
            passthrough: AtomicBool::new(false),
            minor: AtomicU32::new(0),
        };
        Ok(Kernel { inner: Arc::new(inner) })
    }

    /// Agrees with the kernel on how it is served.
    pub(crate) fn configure(&self, config: &mut KernelConfig) {
        // One page a fault: what is read ahead would count as touched.
        let _ = config.set_max_readahead(1);
        self.inner.minor.store(config.kernel_abi().1, Ordering::Relaxed);
        let passthrough = config.add_capabilities(InitFlags::FUSE_PASSTHROUGH).is_ok()
            && config.set_max_stack_depth(1).is_ok();
        self.inner.passthrough.store(passthrough, Ordering::Relaxed);
    }

    /// The threads that use the mount as programs do, and wait for this server to answer. They have
    /// no descriptor of the connection: when the process dies while one of them waits, all others
    /// end, the kernel closes the connection, and nobody waits any more.
    pub(crate) fn users(&self) -> &Workers {
        &self.inner.users
    }

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
    pub(crate) fn passes_through(&self, heap: HeapKind) -> bool {
        matches!(heap, HeapKind::Coherent | HeapKind::Bounce)
            && self.inner.passthrough.load(Ordering::Relaxed)
    }
}
