//! Loading the modules, and unloading them.

use std::ffi::CString;
use std::fs::File;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::system::{delete_module, finit_module};

/// The heaps.
pub const HEAPS: &str = "dmabuf_heaps";

/// The emulated device.
pub const IMPORTER: &str = "dmabuf_importer";

/// Loads a module from the folder that `DMABUF_MODULES` names, with these parameters.
pub fn load(name: &str, parameters: &str) -> Result<(), Errno> {
    let folder = std::env::var_os("DMABUF_MODULES").expect("DMABUF_MODULES names a folder");
    let file = PathBuf::from(folder).join(name).with_extension("ko");
    let file = File::open(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let parameters = CString::new(parameters).expect("parameters have no NUL");
    finit_module(file, &parameters, 0)
}

/// Unloads a module; one that is in use is refused, and not waited for.
pub fn unload(name: &str) -> Result<(), Errno> {
    let name = CString::new(name).expect("a name has no NUL");
    delete_module(&name, libc::O_NONBLOCK)
}

/// Whether a module is loaded.
pub fn is_loaded(name: &str) -> bool {
    Path::new("/sys/module").join(name).exists()
}

/// The heaps that are asked for by name: what `DMABUF_HEAPS` is, with commas. `None` asks for nothing.
pub fn asked() -> Option<String> {
    std::env::var("DMABUF_HEAPS").ok()
}

/// Sees to it that both are there.
pub fn ensure() {
    let heaps = asked().map_or(String::new(), |heaps| format!("heaps={heaps}"));
    for (name, parameters) in [(HEAPS, &*heaps), (IMPORTER, "")] {
        if !is_loaded(name) {
            load(name, parameters).unwrap_or_else(|errno| panic!("{name}: {errno}"));
        }
    }
}
