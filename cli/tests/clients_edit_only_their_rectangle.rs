//! The unmodified clients, in Rust and in C: what they change, and how they fail. A plain file has
//! memory to map and no exporter, so it answers no bracket.

mod common;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use common::{dmabuf, stderr, stdout};

const WIDTH: usize = 8;
const HEIGHT: usize = 6;

/// The clients there are: the one in C only where there is a compiler.
fn clients(dir: &Path) -> Vec<Command> {
    let mut rust = dmabuf();
    rust.args(["role", "edit"]);
    let program = dir.join("edit");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/edit.c");
    let flags = ["-std=c11", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-O2", "-o"];
    match Command::new("cc").args(flags).arg(&program).arg(source).status() {
        Ok(compiled) => {
            assert!(compiled.success(), "edit.c compiles without a warning");
            vec![rust, Command::new(program)]
        }
        Err(reason) => {
            println!("the client in C is not tested: no C compiler ({reason})");
            vec![rust]
        }
    }
}

fn picture(dir: &Path) -> (PathBuf, Vec<u8>) {
    let bytes: Vec<u8> = (0..WIDTH * HEIGHT * 4).map(|index| (index * 7) as u8).collect();
    let path = dir.join("picture");
    std::fs::write(&path, &bytes).unwrap();
    (path, bytes)
}

fn edit(client: &mut Command, path: &Path, rest: &str) -> Output {
    client.arg(path).args(rest.split(' ')).output().unwrap()
}

#[test]
fn every_pixel_of_the_rectangle_is_inverted_and_no_other() {
    let dir = tempfile::tempdir().unwrap();
    for mut client in clients(dir.path()) {
        let (path, before) = picture(dir.path());
        let output = edit(&mut client, &path, "8 6 1 2 5 3 none");
        assert!(output.status.success(), "{}", stderr(&output));
        let line = stdout(&output);
        let nanoseconds = line.strip_prefix("brackets=0 nanoseconds=").expect("the line");
        assert!(nanoseconds.trim().parse::<u64>().is_ok());
        for (index, (was, is)) in before.iter().zip(std::fs::read(&path).unwrap()).enumerate() {
            let (column, row, byte) = (index / 4 % WIDTH, index / 4 / WIDTH, index % 4);
            let inside = (1..6).contains(&column) && (2..5).contains(&row) && byte < 3;
            assert_eq!(is, if inside { 255 - was } else { *was }, "{column},{row} byte {byte}");
        }
    }
}

#[test]
fn an_exporter_that_does_not_know_a_bracket_is_a_loud_failure() {
    let dir = tempfile::tempdir().unwrap();
    for (way, ioctl) in [
        ("whole", "DMA_BUF_IOCTL_SYNC start"),
        ("wrong-direction", "DMA_BUF_IOCTL_SYNC start"),
        ("ranged", "DMA_BUF_IOCTL_SYNC_PARTIAL start"),
        ("too-small", "DMA_BUF_IOCTL_SYNC_PARTIAL start"),
    ] {
        for mut client in clients(dir.path()) {
            let (path, before) = picture(dir.path());
            let output = edit(&mut client, &path, &format!("8 6 1 2 5 3 {way}"));
            assert_eq!(output.status.code(), Some(1));
            let message = stderr(&output);
            assert!(message.contains(ioctl) && message.contains("does not know"), "{message}");
            assert_eq!(std::fs::read(&path).unwrap(), before, "nothing is touched");
        }
    }
}

#[test]
fn bad_arguments_are_told_and_nothing_is_touched() {
    let dir = tempfile::tempdir().unwrap();
    for (arguments, status, words) in [
        ("8 6 1 2 8 3 none", 2, "rectangle"),
        ("8 6 1 2 5 5 none", 2, "rectangle"),
        ("8 6 1 2 0 3 none", 2, "rectangle"),
        ("8 6 1 2 5 3 sideways", 2, "sideways is no way"),
        ("8 6 1 2 5 -3 none", 2, "-3"),
        ("8 6 1 2 5 none", 2, "usage"),
        ("40000 40000 1 2 5 3 none", 2, "past what a range can name"),
        ("8 7 1 2 5 3 none", 1, "smaller than the picture"),
    ] {
        for mut client in clients(dir.path()) {
            let (path, before) = picture(dir.path());
            let output = edit(&mut client, &path, arguments);
            let message = stderr(&output);
            assert_eq!(output.status.code(), Some(status), "{arguments}: {message}");
            assert!(message.contains(words), "{arguments}: {message}");
            assert_eq!(std::fs::read(&path).unwrap(), before);
        }
    }
}
