//! `libdmabuf.so`: the client's functions for C. `include/libdmabuf.h` is made of this file by
//! cbindgen, comments too.
//!
//! A function takes what C passes and leaves everything else to the crate `dmabuf`. References and
//! boxes in its signature are C's pointers, which the header asks to be valid; whoever passes a box
//! gives it back.
#![allow(unsafe_code)]

use std::cell::RefCell;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::mem::transmute;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use client::heap::Needs;
use client::{
    Access, DmaBuf, Error, MapOptions, Mapping, ReadGuard, ReadWriteGuard, SyncFile, WriteGuard,
};
use rustix::io::Errno;

/// Loads.
pub const DMABUF_READ: u32 = 1;
/// Stores; what the range held before is given up.
pub const DMABUF_WRITE: u32 = 2;
/// Loads and stores.
pub const DMABUF_READ_WRITE: u32 = 3;

/// Each buffer is one run of physical memory.
pub const DMABUF_CONTIGUOUS: u32 = 1;
/// CPU mappings are cached.
pub const DMABUF_CACHED: u32 = 2;
/// CPU mappings are not cached.
pub const DMABUF_UNCACHED: u32 = 4;
/// The CPU is kept away from the memory.
pub const DMABUF_PROTECTED: u32 = 8;

/// An open source of new buffers.
pub struct Heap(client::Heap);

/// A buffer.
pub struct Buffer(DmaBuf);

/// A buffer's bytes in this process.
pub struct Mapped(Arc<Mapping>);

/// An open bracket.
pub struct Bracket {
    // Ends before the mapping may go.
    guard: AnyGuard,
    _mapping: Arc<Mapping>,
}

/// A guard whose mapping is kept by the bracket beside it.
enum AnyGuard {
    Read(ReadGuard<'static>),
    Write(WriteGuard<'static>),
    ReadWrite(ReadWriteGuard<'static>),
}

thread_local! {
    static LAST_ERROR: RefCell<CString> = RefCell::default();
}

/// Notes the error's text, and returns its number as C wants it.
fn failed(error: &Error) -> c_int {
    let errno = error.errno().unwrap_or(Errno::NODEV.raw_os_error());
    // Of a text with a NUL in it there is none; a name with one comes from no C string.
    let text = CString::new(error.to_string()).unwrap_or_default();
    LAST_ERROR.with(|last| last.replace(text));
    -errno
}

/// An error that the client does not know: an argument that C has and Rust does not.
fn bad_argument(text: &CStr) -> c_int {
    LAST_ERROR.with(|last| last.replace(text.to_owned()));
    -Errno::INVAL.raw_os_error()
}

/// Hands the object over to C.
fn give<T>(result: Result<T, Error>, to: &mut *mut T) -> c_int {
    match result {
        Ok(object) => {
            *to = Box::into_raw(Box::new(object));
            0
        }
        Err(error) => failed(&error),
    }
}

fn done(result: Result<(), Error>) -> c_int {
    result.map_or_else(|error| failed(&error), |()| 0)
}

fn direction(access: u32) -> Result<Access, c_int> {
    match access {
        DMABUF_READ => Ok(Access::Read),
        DMABUF_WRITE => Ok(Access::Write),
        DMABUF_READ_WRITE => Ok(Access::ReadWrite),
        _ => Err(bad_argument(c"the access is none of DMABUF_READ, _WRITE and _READ_WRITE")),
    }
}

/// Milliseconds; a negative number is for ever.
fn duration(timeout_ms: c_int) -> Option<Duration> {
    u64::try_from(timeout_ms).ok().map(Duration::from_millis)
}

/// # Safety
///
/// `text` ends with a NUL.
unsafe fn string<'a>(text: *const c_char) -> Result<&'a str, c_int> {
    // SAFETY: The caller promises the NUL.
    let text = unsafe { CStr::from_ptr(text) };
    text.to_str().map_err(|_| bad_argument(c"the text is not UTF-8"))
}

/// Why the last function that failed in this thread did, in words: valid until the next fails.
#[unsafe(no_mangle)]
pub extern "C" fn dmabuf_error() -> *const c_char {
    LAST_ERROR.with(|last| last.borrow().as_ptr())
}

/// Opens a heap: a node of /dev/dma_heap, /dev/udmabuf, or the directory of a served heap.
///
/// # Safety
///
/// `path` ends with a NUL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dmabuf_heap_open(path: *const c_char, heap: &mut *mut Heap) -> c_int {
    // SAFETY: The caller promises the NUL.
    match unsafe { string(path) } {
        Ok(path) => give(client::Heap::open(path).map(Heap), heap),
        Err(errno) => errno,
    }
}

/// Opens the first heap that is known to have all the properties, of DMABUF_CONTIGUOUS,
/// DMABUF_CACHED, DMABUF_UNCACHED and DMABUF_PROTECTED.
#[unsafe(no_mangle)]
pub extern "C" fn dmabuf_heap_find(properties: u32, heap: &mut *mut Heap) -> c_int {
    let mut needs = Needs::new();
    let known = [
        (DMABUF_CONTIGUOUS, Needs::contiguous as fn(Needs) -> Needs),
        (DMABUF_CACHED, Needs::cached),
        (DMABUF_UNCACHED, Needs::uncached),
        (DMABUF_PROTECTED, Needs::protected),
    ];
    let mut unknown = properties;
    for (property, need) in known {
        if properties & property != 0 {
            needs = need(needs);
        }
        unknown &= !property;
    }
    if unknown != 0 {
        return bad_argument(c"there is a property that this version does not know");
    }
    give(client::Heap::find(&needs).map(Heap), heap)
}

/// Closes a heap; its buffers stay. NULL is no heap.
#[unsafe(no_mangle)]
pub extern "C" fn dmabuf_heap_close(heap: Option<Box<Heap>>) {
    drop(heap);
}

/// Allocates a buffer of zeros of at least `size` bytes.
#[unsafe(no_mangle)]
pub extern "C" fn dmabuf_allocate(heap: &Heap, size: u64, buffer: &mut *mut Buffer) -> c_int {
    give(heap.0.allocate(size).map(Buffer), buffer)
}

/// The buffer behind a descriptor, which stays the caller's.
#[unsafe(no_mangle)]
pub extern "C" fn dmabuf_from_fd(fd: c_int, buffer: &mut *mut Buffer) -> c_int {
    give(own(fd).and_then(DmaBuf::from_fd).map(Buffer), buffer)
}

/// A descriptor of our own of the file behind the caller's.
fn own(fd: c_int) -> Result<OwnedFd, Error> {
    if fd < 0 {
        return Err(Error::Inspect(Errno::BADF.into()));
    }
    // SAFETY: The number is not -1, and is used only during this call: if it is not open the call
    // fails.
    let fd = unsafe { BorrowedFd::borrow_raw(fd) };
    fd.try_clone_to_owned().map_err(Error::Inspect)
}

/// The buffer's descriptor, which stays the buffer's.
#[unsafe(no_mangle)]
pub extern "C" fn dmabuf_fd(buffer: &Buffer) -> c_int {
    buffer.0.as_fd().as_raw_fd()
}

/// The buffer's size.
#[unsafe(no_mangle)]
pub extern "C" fn dmabuf_size(buffer: &Buffer) -> u64 {
    buffer.0.size()
}

/// Gives the buffer a name, of at most 31 bytes.
///
/// # Safety
///
/// `name` ends with a NUL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dmabuf_set_name(buffer: &Buffer, name: *const c_char) -> c_int {
    // SAFETY: The caller promises the NUL.
    match unsafe { string(name) } {
        Ok(name) => done(buffer.0.set_name(name)),
        Err(errno) => errno,
    }
}

/// Closes the buffer's descriptor; its mappings stay. NULL is no buffer.
#[unsafe(no_mangle)]
pub extern "C" fn dmabuf_close(buffer: Option<Box<Buffer>>) {
    drop(buffer);
}

/// Maps the whole buffer: with DMABUF_READ for loads, with DMABUF_READ_WRITE for stores too.
#[unsafe(no_mangle)]
pub extern "C" fn dmabuf_map(buffer: &Buffer, access: u32, mapping: &mut *mut Mapped) -> c_int {
    let options = match direction(access) {
        Ok(Access::Read) => MapOptions::new().read_only(),
        Ok(Access::Write | Access::ReadWrite) => MapOptions::new(),
        Err(errno) => return errno,
    };
    give(buffer.0.map_with(&options).map(|mapping| Mapped(Arc::new(mapping))), mapping)
}

/// Unmaps the buffer, as soon as its last bracket has ended. NULL is no mapping.
#[unsafe(no_mangle)]
pub extern "C" fn dmabuf_unmap(mapping: Option<Box<Mapped>>) {
    drop(mapping);
}

/// Begins a bracket over `len` bytes from `offset` on: `data` is then the address of the first. It
/// waits for devices at most `timeout_ms` milliseconds, or for ever if that is negative. No byte
/// may be touched if it fails.
#[unsafe(no_mangle)]
pub extern "C" fn dmabuf_begin(
    mapping: &Mapped,
    access: u32,
    offset: u64,
    len: u64,
    timeout_ms: c_int,
    bracket: &mut *mut Bracket,
    data: &mut *mut c_void,
) -> c_int {
    let access = match direction(access) {
        Ok(access) => access,
        Err(errno) => return errno,
    };
    let begun = begin(&mapping.0, access, offset, len, duration(timeout_ms));
    if let Ok(begun) = &begun {
        *data = begun.guard.address();
    }
    give(begun, bracket)
}

fn begin(
    mapping: &Arc<Mapping>,
    access: Access,
    offset: u64,
    len: u64,
    timeout: Option<Duration>,
) -> Result<Bracket, Error> {
    let kept = Arc::clone(mapping);
    // SAFETY: The mapping stays where it is for as long as the bracket holds a share of it, and
    // the guard is in that bracket.
    let mapping = unsafe { transmute::<&Mapping, &'static Mapping>(&**mapping) };
    let range = offset..offset.saturating_add(len);
    let guard = match (access, timeout.map(|timeout| mapping.within(timeout))) {
        (Access::Read, None) => AnyGuard::Read(mapping.read(range)?),
        (Access::Read, Some(within)) => AnyGuard::Read(within.read(range)?),
        (Access::Write, None) => AnyGuard::Write(mapping.write(range)?),
        (Access::Write, Some(within)) => AnyGuard::Write(within.write(range)?),
        (Access::ReadWrite, None) => AnyGuard::ReadWrite(mapping.read_write(range)?),
        (Access::ReadWrite, Some(within)) => AnyGuard::ReadWrite(within.read_write(range)?),
    };
    Ok(Bracket { guard, _mapping: kept })
}

impl AnyGuard {
    /// The first byte's address; C's types do not tell loads from stores.
    fn address(&self) -> *mut c_void {
        match self {
            AnyGuard::Read(guard) => guard.as_ptr().cast_mut().cast(),
            AnyGuard::Write(guard) => guard.as_mut_ptr().cast(),
            AnyGuard::ReadWrite(guard) => guard.as_mut_ptr().cast(),
        }
    }
}

/// Ends a bracket, also if it fails: then what was stored may not have reached the devices.
#[unsafe(no_mangle)]
pub extern "C" fn dmabuf_end(bracket: Option<Box<Bracket>>) -> c_int {
    let Some(bracket) = bracket else {
        return bad_argument(c"there is no bracket to end");
    };
    let Bracket { guard, _mapping } = *bracket;
    done(match guard {
        AnyGuard::Read(guard) => guard.end(),
        AnyGuard::Write(guard) => guard.end(),
        AnyGuard::ReadWrite(guard) => guard.end(),
    })
}

/// Waits until no fence of a device conflicts with such an access, at most `timeout_ms`
/// milliseconds (-ETIMEDOUT), or for ever if that is negative. No fence does not mean that no device
/// uses the buffer: not every driver adds fences.
#[unsafe(no_mangle)]
pub extern "C" fn dmabuf_wait(buffer: &Buffer, access: u32, timeout_ms: c_int) -> c_int {
    match direction(access) {
        Ok(access) => done(buffer.0.wait(access, duration(timeout_ms))),
        Err(errno) => errno,
    }
}

/// Returns the descriptor of a new sync_file of the fences that such an access has to wait for, or
/// a negative errno.
#[unsafe(no_mangle)]
pub extern "C" fn dmabuf_export_fences(buffer: &Buffer, access: u32) -> c_int {
    let exported = match direction(access) {
        Ok(access) => buffer.0.export_fences(access),
        Err(errno) => return errno,
    };
    exported.map_or_else(|error| failed(&error), |fences| OwnedFd::from(fences).into_raw_fd())
}

/// Adds the fences of a sync_file, whose descriptor stays the caller's: accesses that conflict with
/// such a one wait for them.
#[unsafe(no_mangle)]
pub extern "C" fn dmabuf_import_fences(buffer: &Buffer, access: u32, sync_file: c_int) -> c_int {
    let access = match direction(access) {
        Ok(access) => access,
        Err(errno) => return errno,
    };
    let fences = own(sync_file).and_then(SyncFile::from_fd);
    done(fences.and_then(|fences| buffer.0.import_fences(access, &fences)))
}
