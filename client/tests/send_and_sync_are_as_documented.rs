//! Which types may go to another thread, and which may be used by several: as the crate's
//! documentation says. This is a test by compiling.

mod support;

use dmabuf::{
    Bytes, Capability, DmaBuf, Error, Guard, Heap, Kind, MapOptions, Mapping, Mmap, Read,
    ReadWrite, Ready, Route, RouteFailure, RowLayout, Rows, SyncFile, Transfer, Udmabuf, View,
    Within, Write, heap,
};
use support::Recorded;

const fn send<T: Send + ?Sized>() {}
const fn send_and_sync<T: Send + Sync + ?Sized>() {}

const _: () = {
    send_and_sync::<Heap>();
    send_and_sync::<Udmabuf>();
    send_and_sync::<heap::Description>();
    send_and_sync::<heap::Choice>();
    send_and_sync::<DmaBuf>();
    send_and_sync::<Kind>();
    send_and_sync::<Capability>();
    send_and_sync::<Mmap>();
    send_and_sync::<MapOptions>();
    send_and_sync::<SyncFile>();
    send_and_sync::<Ready<DmaBuf>>();
    send_and_sync::<Within<'_>>();
    send_and_sync::<Mapping>();
    send_and_sync::<Mapping<Recorded<'_>>>();
    send_and_sync::<Guard<'_, DmaBuf, Read>>();
    send_and_sync::<Guard<'_, DmaBuf, Write>>();
    send_and_sync::<Guard<'_, Recorded<'_>, ReadWrite>>();
    send_and_sync::<View<'_, Read>>();
    send_and_sync::<Rows<'_, Write>>();
    send_and_sync::<RowLayout>();
    send_and_sync::<Error>();
    send_and_sync::<RouteFailure>();
    send::<Route<'_>>();
    send::<Bytes>();
    send::<dyn Transfer>();
};

#[test]
fn they_compile() {}
