//! Row 9: the access ops may be optional only where mmap is not implemented. An exporter that can be
//! mapped and lacks begin or end does not compile; one that devices alone can reach does, and says no.
#![allow(unsafe_code)]

use std::fs;
use std::path::Path;

/// What the compiler has to say about each case that it refuses, whatever its version.
const REFUSED: [(&str, &str); 3] = [
    ("no_cpu_exporter", "error[E0277]: `Mine` can be mapped, but has no begin and end"),
    ("no_begin", "error[E0046]: not all trait items implemented, missing: `begin_cpu_access`"),
    ("no_end", "error[E0046]: not all trait items implemented, missing: `end_cpu_access`"),
];

#[test]
fn mmap_needs_begin_and_end() {
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/mmap_needs_begin_and_end");
    let copies = Path::new(env!("CARGO_TARGET_TMPDIR")).join("mmap_needs_begin_and_end");
    let _ = fs::remove_dir_all(&copies);
    fs::create_dir_all(&copies).unwrap();
    // Compilers word their notes differently: trybuild writes them down, and the first line counts.
    // SAFETY: This is the only test of this program, so no other thread reads the environment.
    unsafe { std::env::set_var("TRYBUILD", "overwrite") };
    let test = trybuild::TestCases::new();
    for (case, _) in REFUSED {
        let copy = copies.join(case).with_extension("rs");
        fs::copy(cases.join(case).with_extension("rs"), &copy).unwrap();
        test.compile_fail(copy);
    }
    test.pass(cases.join("devices_only.rs"));
    drop(test);
    for (case, first) in REFUSED {
        let told = fs::read_to_string(copies.join(case).with_extension("stderr")).unwrap();
        assert!(told.lines().next() == Some(first), "{case}: {told}");
        assert_eq!(told.matches("\nerror").count(), 0, "{case} has one error: {told}");
    }
}
