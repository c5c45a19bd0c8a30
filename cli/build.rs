//! Builds the library that `dmabuf check` preloads, for the command to carry: so it is there
//! wherever the command is, from `cargo run`, in `target/` and when installed.

use std::env;
use std::path::PathBuf;
use std::process::Command;

const PACKAGE: &str = "dmabuf-check-preload";

fn main() {
    // Asked of cargo now: two checkouts that share a target folder share this program.
    let here = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let manifest = here.join("../check/preload/Cargo.toml");
    for part in ["../check/preload", "../check/src", "../check/Cargo.toml", "../uapi/src"] {
        println!("cargo:rerun-if-changed={part}");
    }
    println!("cargo:rerun-if-changed=build.rs");
    if env::var("CARGO_CFG_TARGET_ARCH").as_deref() != Ok("x86_64") {
        println!("cargo:rustc-env=DMABUF_CHECK_PRELOAD={}", empty().display());
        return;
    }
    let folder = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it")).join("preload");
    let mut command = Command::new(env::var_os("CARGO").expect("cargo sets it"));
    command.args(["build", "--release", "--quiet", "--package", PACKAGE, "--manifest-path"]);
    command.arg(manifest).arg("--target-dir").arg(&folder);
    // How the command is built says nothing about the library: no lints, no instrumentation.
    for variable in ["CARGO_ENCODED_RUSTFLAGS", "RUSTC_WORKSPACE_WRAPPER", "RUSTC_WRAPPER"] {
        command.env_remove(variable);
    }
    command.env("CARGO_PROFILE_RELEASE_PANIC", "abort");
    command.env("CARGO_PROFILE_RELEASE_DEBUG", "none");
    let status = command.status().expect("cargo runs");
    assert!(status.success(), "{PACKAGE}: {status}");
    let library = folder.join("release/libdmabuf_check_preload.so");
    println!("cargo:rustc-env=DMABUF_CHECK_PRELOAD={}", library.display());
}

/// What there is to carry where the engine cannot run.
fn empty() -> PathBuf {
    let file = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it")).join("none");
    std::fs::write(&file, []).expect("cargo's folder can be written to");
    file
}
