//! The recipes of docs/check.md: a test whose program makes a mistake fails, with the finding, and its
//! corrected twin passes. With CMake and meson where they are installed.

#![cfg(target_arch = "x86_64")]

mod common;
#[path = "common/service.rs"]
mod service;

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use common::{stderr, stdout};
use service::Service;
use tempfile::TempDir;

const PAGE: &str = include_str!("../../docs/check.md");

/// A project of one program, `drawing`, and a service for its buffer.
struct Project {
    service: Service,
    folder: TempDir,
}

impl Project {
    fn new() -> Option<Project> {
        let service = Service::start(tempfile::tempdir().unwrap())?;
        Some(Project { service, folder: tempfile::tempdir().unwrap() })
    }

    /// Takes what the page says to write, with this service's mount.
    fn write(&self, file: &str, text: &str) {
        let path = self.folder.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text.replace("/tmp/heaps/bounce", self.heap().to_str().unwrap())).unwrap();
    }

    fn heap(&self) -> std::path::PathBuf {
        self.service.heap("bounce")
    }

    /// A program of the corpus is what is to be tested; its buffer is a new one.
    fn draw_as(&self, program: &str) {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../check/tests/corpus");
        fs::copy(corpus.join("corpus.h"), self.folder.path().join("corpus.h")).unwrap();
        fs::copy(corpus.join(program), self.folder.path().join("drawing.c")).unwrap();
        let _ = fs::remove_file(self.heap().join("drawing"));
    }

    /// A command that runs in the project and finds `dmabuf` on its path; `None`, and it is said, if
    /// it is not installed.
    fn run(&self, program: &str, arguments: &[&str]) -> Option<Output> {
        let binary = Path::new(env!("CARGO_BIN_EXE_dmabuf")).parent().unwrap();
        let mut path = OsString::from(binary);
        path.push(":");
        path.push(std::env::var_os("PATH").unwrap());
        let runner = quoted("dmabuf check --");
        let mut command = Command::new(program);
        command.args(arguments).current_dir(self.folder.path()).env("PATH", path);
        command.env(quoted("CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER"), runner);
        match command.output() {
            Ok(output) => Some(output),
            Err(error) => {
                eprintln!("skipped: {program}: {error}");
                None
            }
        }
    }
}

/// A piece of the page.
fn quoted(text: &str) -> &str {
    assert!(PAGE.contains(text), "{text} is not on the page");
    text
}

/// Of a tool that prepares the test.
#[track_caller]
fn succeeded(output: &Output) {
    assert!(output.status.success(), "{}{}", stdout(output), stderr(output));
}

#[track_caller]
fn fails_with_the_finding(output: &Output) {
    let words = stdout(output) + &stderr(output);
    assert!(!output.status.success(), "{words}");
    assert!(words.contains("outside-write"), "{words}");
}

#[test]
fn cmake() {
    let Some(project) = Project::new() else { return };
    let test = quoted(
        "add_test(NAME drawing COMMAND dmabuf check -- $<TARGET_FILE:drawing> /tmp/heaps/bounce/drawing)",
    );
    let text = "cmake_minimum_required(VERSION 3.10)\nproject(drawing C)\nenable_testing()\n\
                add_executable(drawing drawing.c)\n";
    project.write("CMakeLists.txt", &format!("{text}{test}\n"));
    let ctest = || {
        let configured = project.run("cmake", &["-S.", "-Bbuild", "-DCMAKE_BUILD_TYPE=Debug"])?;
        succeeded(&configured);
        succeeded(&project.run("cmake", &["--build", "build", "--clean-first"])?);
        project.run("cmake", &["-E", "chdir", "build", "ctest", quoted("--output-on-failure")])
    };
    project.draw_as("write-without-bracket.c");
    let Some(output) = ctest() else { return };
    fails_with_the_finding(&output);
    project.draw_as("write-without-bracket.fixed.c");
    succeeded(&ctest().unwrap());
}

#[test]
fn meson() {
    let Some(project) = Project::new() else { return };
    let text = "project('drawing', 'c')\ntest('drawing', executable('drawing', 'drawing.c'), \
                args: ['/tmp/heaps/bounce/drawing'])\n";
    project.write("meson.build", text);
    quoted("meson test --print-errorlogs --wrapper 'dmabuf check --'");
    let test = |build: &str| {
        succeeded(&project.run("meson", &["setup", build])?);
        let wrapper = ["--print-errorlogs", "--wrapper", "dmabuf check --"];
        project.run("meson", &[&["test", "-C", build], wrapper.as_slice()].concat())
    };
    project.draw_as("write-without-bracket.c");
    let Some(output) = test("wrong") else { return };
    fails_with_the_finding(&output);
    project.draw_as("write-without-bracket.fixed.c");
    succeeded(&test("right").unwrap());
}

#[test]
fn cargo() {
    let Some(project) = Project::new() else { return };
    project.write("Cargo.toml", "[package]\nname = \"drawing\"\nedition = \"2024\"\n[workspace]\n");
    project.write("src/lib.rs", "");
    project.write(
        "tests/drawing.rs",
        r#"
            use std::{ffi::*, fs::File, os::fd::AsRawFd};
            unsafe extern "C" {
                fn mmap(at: *mut u8, len: usize, prot: c_int, flags: c_int, fd: c_int, offset: i64)
                    -> *mut u8;
            }
            #[test]
            fn draws() {
                let path = "/tmp/heaps/bounce/drawing";
                let file = File::options().read(true).write(true).create_new(true).open(path).unwrap();
                file.set_len(65536).unwrap();
                unsafe {
                    let bytes = mmap(std::ptr::null_mut(), 65536, 3, 1, file.as_raw_fd(), 0);
                    if std::env::var_os("DRAW").is_some() {
                        bytes.write_volatile(1);
                    }
                }
            }
        "#,
    );
    let test = ["test", "--offline", "--quiet", "--target-dir", "target"];
    let right = project.run(env!("CARGO"), &test).expect("cargo runs this");
    succeeded(&right);
    fs::remove_file(project.heap().join("drawing")).unwrap();
    let wrong = ["-c", "DRAW=1 exec \"$0\" \"$@\"", env!("CARGO")];
    fails_with_the_finding(&project.run("sh", &[&wrong, test.as_slice()].concat()).unwrap());
}
