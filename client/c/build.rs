//! Gives the shared library its soname, by which programs find a compatible one.

fn main() {
    let version = std::env::var("CARGO_PKG_VERSION_MAJOR").unwrap_or_default();
    println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libdmabuf.so.{version}");
    println!("cargo:rerun-if-changed=build.rs");
}
