//! The README's program in C compiles without a warning, and tells a mistake in how it is started.

use std::path::Path;
use std::process::{Command, Output};

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_missing_argument_and_a_wrong_path_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("frame");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/frame.c");
    let flags = ["-std=c11", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-o"];
    match Command::new("cc").args(flags).arg(&program).arg(source).status() {
        Ok(compiled) => assert!(compiled.success(), "frame.c compiles without a warning"),
        Err(reason) => {
            println!("not tested: no C compiler ({reason})");
            return;
        }
    }
    let output = Command::new(&program).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(stderr(&output), "usage: frame BUFFER\n");
    let output = Command::new(&program).arg("/nowhere/at/all").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).starts_with("/nowhere/at/all: "), "{}", stderr(&output));
}
