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

/// Sees to it that both are there.
pub fn ensure() {
    for name in [HEAPS, IMPORTER] {
        if !is_loaded(name) {
            load(name, "").unwrap_or_else(|errno| panic!("{name}: {errno}"));
        }
    }
}
