//! Row 8 of the review: what user space sees and what is private are two crates that know nobody, and
//! every other crate knows only those that the design says.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

/// Who may know whom. Tests may know more.
const ARROWS: &[(&str, &[&str])] = &[
    ("dmabuf-core", &[]),
    ("dmabuf-uapi", &[]),
    ("dmabuf-export", &["dmabuf-core"]),
    ("dmabuf-serve", &["dmabuf-export", "dmabuf-uapi"]),
    ("dmabuf", &["dmabuf-check", "dmabuf-core", "dmabuf-uapi"]),
    ("dmabuf-c", &["dmabuf"]),
    ("dmabuf-check", &["dmabuf-uapi"]),
    ("dmabuf-check-preload", &["dmabuf-check"]),
    ("dmabuf-cli", &["dmabuf", "dmabuf-check", "dmabuf-serve", "dmabuf-uapi"]),
    // The module's tests.
    ("dmabuf-kernel-tests", &["dmabuf-uapi"]),
    ("xtask", &[]),
];

#[test]
fn crates_know_whom_the_design_says() {
    let metadata = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--format-version", "1", "--offline"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(metadata.status.success(), "{}", String::from_utf8_lossy(&metadata.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&metadata.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let names: BTreeSet<&str> =
        packages.iter().map(|package| package["name"].as_str().unwrap()).collect();
    let known = packages.iter().map(|package| {
        let dependencies = package["dependencies"].as_array().unwrap().iter();
        let known = dependencies
            .filter(|dependency| dependency["kind"].is_null())
            .map(|dependency| dependency["name"].as_str().unwrap())
            .filter(|name| names.contains(name));
        (package["name"].as_str().unwrap(), known.collect::<BTreeSet<_>>())
    });
    let known: BTreeMap<_, _> = known.collect();
    let allowed: BTreeMap<_, _> =
        ARROWS.iter().map(|&(name, known)| (name, known.iter().copied().collect())).collect();
    assert_eq!(known, allowed);
}
