//! An allocation that the system refuses half way leaves nothing behind: neither charge nor memory.
#![allow(unsafe_code)]

mod common;

use std::sync::Arc;

use common::PAGE;
use dmabuf_export::mappings::Direct;
use dmabuf_export::{Accounts, Error, Heap, HeapKind, Quota};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

#[test]
fn a_limit_on_file_sizes() {
    // SAFETY: Ignoring a signal installs no handler. It would otherwise end the process.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
    let limit = Rlimit { current: Some(8 * PAGE), ..getrlimit(Resource::Fsize) };
    setrlimit(Resource::Fsize, limit).unwrap();
    for kind in HeapKind::ALL {
        let accounts = Accounts::new(Quota { bytes: 32 * PAGE, buffers: 1 });
        let heap = Heap::with_accounts(kind, Arc::clone(&accounts));
        let reservation = heap.reserve(7).unwrap();
        let refused = reservation.allocate(9 * PAGE, Arc::new(Direct)).unwrap_err();
        assert!(matches!(refused.error, Error::Io(_)), "{}", refused.error);
        assert_eq!(refused.error.errno(), rustix::io::Errno::FBIG);
        assert_eq!(accounts.used(7), Quota { bytes: 0, buffers: 1 });
        let buffer = refused.reservation.allocate(8 * PAGE, Arc::new(Direct)).unwrap();
        drop(buffer);
        assert_eq!(accounts.used(7), Quota { bytes: 0, buffers: 0 });
    }
}
