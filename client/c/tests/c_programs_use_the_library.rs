//! The header is the one that the library has, and a C program that is compiled by what pkg-config
//! says runs with it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What is left in the target folder's `tmp`, for other machines to run.
const PROGRAM: &str = "c-client";

const HERE: &str = env!("CARGO_MANIFEST_DIR");

#[test]
fn the_header_is_what_cbindgen_makes() {
    let made = cbindgen::generate(HERE).expect("the library's source is what cbindgen reads");
    let mut text = Vec::new();
    made.write(&mut text);
    let path = Path::new(HERE).join("include/libdmabuf.h");
    if std::env::var_os("BLESS").is_some() {
        fs::write(&path, &text).unwrap();
    }
    let header = fs::read(&path).unwrap_or_default();
    let same = header == text;
    assert!(same, "{} is not what cbindgen makes: test again with BLESS=1", path.display());
}

/// Builds the shared library, and returns the folder that it is in.
fn library() -> PathBuf {
    // Where this test is: TARGET/PROFILE/deps.
    let test = std::env::current_exe().unwrap();
    let folder = test.ancestors().nth(2).unwrap();
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet", "-p", "dmabuf-c", "--lib", "--target-dir"]);
    cargo.arg(folder.parent().unwrap()).current_dir(HERE);
    if folder.ends_with("release") {
        cargo.arg("--release");
    }
    assert!(cargo.status().unwrap().success(), "{cargo:?}");
    folder.to_owned()
}

/// What a command prints; `None`, and a line that says why, if it is not there.
fn printed(command: &mut Command) -> Option<String> {
    match command.output() {
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            let error = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(output.status.success(), "{command:?}: {text}{error}");
            Some(text)
        }
        Err(error) => {
            println!("skipped: {command:?}: {error}");
            None
        }
    }
}

#[test]
fn a_c_program_allocates_maps_brackets_and_fences() {
    let library = library();
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let template = fs::read_to_string(Path::new(HERE).join("dmabuf.pc.in")).unwrap();
    let description = template
        .replace("@prefix@", HERE)
        .replace("@libdir@", &library.to_string_lossy())
        .replace("@version@", env!("CARGO_PKG_VERSION"));
    fs::write(folder.join("dmabuf.pc"), description).unwrap();
    // What an installation does with the library's soname.
    let soname = folder.join(concat!("libdmabuf.so.", env!("CARGO_PKG_VERSION_MAJOR")));
    let _ = fs::remove_file(&soname);
    std::os::unix::fs::symlink(library.join("libdmabuf.so"), soname).unwrap();

    let mut pkg_config = Command::new("pkg-config");
    pkg_config.env("PKG_CONFIG_PATH", folder).args(["--cflags", "--libs", "dmabuf"]);
    let Some(flags) = printed(&mut pkg_config) else { return };
    let program = folder.join(PROGRAM);
    let mut compiler = Command::new(std::env::var("CC").unwrap_or_else(|_| "cc".to_owned()));
    compiler.args(["-std=c11", "-Wall", "-Wextra", "-Werror", "-o"]).arg(&program);
    compiler.arg(Path::new(HERE).join("tests/client.c")).args(flags.split_whitespace());
    compiler.arg(format!("-Wl,-rpath,{}", folder.display()));
    if printed(&mut compiler).is_none() {
        return;
    }
    let output = printed(&mut Command::new(program)).unwrap();
    println!("{output}");
    assert!(output.ends_with("ok\n"), "{output}");
}
