//! The service: mount, say so, serve until told to stop.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::channel;

use dmabuf_export::Quota;
use fuser::{BackingId, Config, MountOption, Session, SessionACL};
use rustix::fs::MemfdFlags;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::filesystem::HeapFs;
use crate::mount;

/// Why a service could not start or run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No place was given, and there is none by default.
    #[error("no mount point: give one, or set XDG_RUNTIME_DIR")]
    NoMountpoint,
    /// The mount point cannot be used.
    #[error("cannot mount on {path}: {error}", path = path.display())]
    Mountpoint {
        /// Where.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// Another service is there.
    #[error("{} is served already: stop that service, or mount elsewhere", .0.display())]
    Served(PathBuf),
    /// Something is mounted there that does not answer.
    #[error(
        "the file system on {} does not answer: stop its service, or as root write 1 to the file \
         abort of its number in /sys/fs/fuse/connections, and start again",
        .0.display()
    )]
    NoAnswer(PathBuf),
    /// FUSE cannot be used.
    #[error("cannot use FUSE: {0}; it needs /dev/fuse, and root or fusermount3 (Debian: fuse3)")]
    Fuse(#[source] io::Error),
    /// The system refused something else.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// How to serve.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where to mount; `None` is `/run/dmabuf` for root and `$XDG_RUNTIME_DIR/dmabuf` for others.
    pub mountpoint: Option<PathBuf>,
    /// What each user may have.
    pub quota: Quota,
    /// Threads that answer the kernel, at least 2: a bracket's end needs one beside its own.
    pub threads: usize,
    /// Whether to map `coherent` and `bounce` by FUSE passthrough where that is possible.
    pub passthrough: bool,
}

impl Default for Options {
    fn default() -> Self {
        let quota = Quota { bytes: 4 << 30, buffers: 4096 };
        Options { mountpoint: None, quota, threads: 4, passthrough: true }
    }
}

/// Mounts the heaps and serves them until SIGTERM, SIGINT or an unmount from outside.
///
/// When the heaps can be used, `ready` is called with the mount point and the service manager is
/// told: sd_notify(3). As root the heaps are for all users, else for this one.
///
/// Programs that still have a buffer open when it ends get ENOTCONN, and SIGBUS from mappings
/// through the page cache; passthrough mappings live on.
pub fn run(options: Options, ready: impl FnOnce(&Path)) -> Result<(), Error> {
    let mountpoint = match options.mountpoint {
        Some(path) => path,
        None => mount::default_mountpoint()?,
    };
    let mountpoint = mount::prepare(&mountpoint)?;

    // Before there are other threads, so that all of them leave the signals to this one.
    let mut signals = Signals::new([SIGTERM, SIGINT])?;

    raise_file_limit();
    let is_root = rustix::process::geteuid().is_root();
    let filesystem = HeapFs::new(mountpoint.clone(), options.quota, is_root)?;
    let (kernel, finishing) = (filesystem.kernel(), filesystem.clone());
    let mut config = Config::default();
    config.mount_options = vec![
        MountOption::FSName(mount::NAME.into()),
        MountOption::Subtype(mount::NAME.into()),
        MountOption::DefaultPermissions,
        MountOption::NoExec,
        MountOption::NoAtime,
    ];
    config.acl = if is_root { SessionACL::All } else { SessionACL::Owner };
    config.n_threads = Some(options.threads.max(2));
    config.clone_fd = true;
    let mut session = Session::new(filesystem, &mountpoint, &config).map_err(Error::Fuse)?;
    let mut unmounter = session.unmount_callable();
    kernel.connect(session.notifier(), options.passthrough && can_pass_through(&session));

    let (ended, end) = channel();
    let on_signal = ended.clone();
    let signal_handle = signals.handle();
    let signal_thread = std::thread::Builder::new().name("signals".into()).spawn(move || {
        if signals.forever().next().is_some() {
            // The receiver is gone only when the service is ending anyway.
            let _ = on_signal.send(None);
        }
    })?;
    std::thread::Builder::new().name("session".into()).spawn(move || {
        let _ = ended.send(Some(session.run()));
    })?;

    ready(&mountpoint);
    if let Err(error) = sd_notify::notify(&[sd_notify::NotifyState::Ready]) {
        tracing::warn!("the service manager could not be told: {error}");
    }

    let result = match end.recv().expect("one of the two threads ends first") {
        // Unmounted from outside.
        Some(result) => result.map_err(Error::Io),
        None => {
            tracing::info!("unmounting {}", mountpoint.display());
            // A mount that is in use can only be detached.
            unmounter
                .unmount()
                .or_else(|_| mount::detach(&mountpoint))
                .map_err(|error| Error::Mountpoint { path: mountpoint.clone(), error })
        }
    };
    finishing.finish();
    signal_handle.close();
    // It only waits for signals, and was just told to stop.
    let _ = signal_thread.join();
    result
}

/// Lets this process have as many open files as it may: each buffer takes two, and each process with
/// a bracket one.
fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    debug_assert!(raised.is_ok(), "a limit can be raised up to its maximum");
}

/// Whether this kernel and these privileges let files be mapped by passthrough: asked by trying.
fn can_pass_through(session: &Session<HeapFs>) -> bool {
    let Ok(memory) = rustix::fs::memfd_create("dmabuf-probe", MemfdFlags::CLOEXEC) else {
        return false;
    };
    // The kernel forgets this empty file when the connection ends.
    match BackingId::create_raw(session, &memory) {
        Ok(_) => true,
        Err(error) => {
            tracing::info!("no FUSE passthrough ({error}): all heaps go through the page cache");
            false
        }
    }
}
