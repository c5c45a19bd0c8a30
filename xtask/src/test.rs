//! `cargo xtask test`: every check of the project, in order, and one table at the end.

use std::{
    env,
    ffi::OsStr,
    fmt, fs,
    path::{Path, PathBuf},
    process::{Child, Command, ExitCode, ExitStatus},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use clap::Args;
use rustix::process::{Pid, Signal, kill_process};

use crate::{
    apt,
    cargo::{self, announce, cargo, executables, root},
    kernel, mounts,
    process::wait_for,
    vm,
};

/// How long the tests may take in all. A single test has its own limit in .config/nextest.toml.
const TESTS_LIMIT: Duration = Duration::from_secs(30 * 60);

/// They run in a machine with the kernel module, and nowhere else.
const KERNEL_TESTS: &str = "dmabuf-kernel-tests";

/// Where the test of the library for C leaves the program that it compiled, in the target folder.
const C_CLIENT: &str = "tmp/c-client";

/// How long a test run may take to end by itself after its mounts were aborted, and then after
/// it was told to end.
const GRACE: Duration = Duration::from_secs(30);

/// Run all tests: format, lints, tests, documentation tests, C examples, documentation, a
/// real kernel.
///
/// As root, what is missing is installed with apt-get. What can't be run is skipped, with the
/// reason, and counted as skipped.
#[derive(Args)]
pub struct Options {
    /// Only format, lints and the fast tests.
    #[arg(long)]
    quick: bool,
}

struct Step {
    name: &'static str,
    quick: bool,
    run: fn(&Options) -> Result<Outcome>,
}

#[rustfmt::skip]
const STEPS: &[Step] = &[
    Step { name: "format",     quick: true,  run: format },
    Step { name: "lints",      quick: true,  run: lints },
    Step { name: "tests",      quick: true,  run: tests },
    Step { name: "doctests",   quick: false, run: doctests },
    Step { name: "c examples", quick: false, run: c_examples },
    Step { name: "docs",       quick: false, run: docs },
    Step { name: "machine",    quick: false, run: machine },
    Step { name: "exporters",  quick: false, run: exporters },
    Step { name: "checker",    quick: false, run: checker },
    Step { name: "kernel",     quick: false, run: kernel_module },
];

/// How a step ended; the text says why, where there is something to say.
enum Outcome {
    Passed(String),
    Skipped(String),
    Failed(String),
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (word, why) = match self {
            Outcome::Passed(why) => ("passed", why),
            Outcome::Skipped(why) => ("skipped", why),
            Outcome::Failed(why) => ("FAILED", why),
        };
        write!(f, "{word:<8}{why}")
    }
}

impl From<ExitStatus> for Outcome {
    fn from(status: ExitStatus) -> Self {
        if status.success() {
            Outcome::Passed(String::new())
        } else {
            Outcome::Failed(status.to_string())
        }
    }
}

/// Runs every step, also after one has failed.
pub fn run(options: &Options) -> Result<ExitCode> {
    env::set_current_dir(root()?)?;

    let mut lines = Vec::new();
    let (mut passed, mut failed, mut skipped) = (0, 0, 0);
    for step in STEPS.iter().filter(|step| step.quick || !options.quick) {
        println!("==> {}", step.name);
        let start = Instant::now();
        let outcome =
            (step.run)(options).unwrap_or_else(|error| Outcome::Failed(format!("{error:#}")));
        match outcome {
            Outcome::Passed(_) => passed += 1,
            Outcome::Skipped(_) => skipped += 1,
            Outcome::Failed(_) => failed += 1,
        }
        let seconds = start.elapsed().as_secs_f32();
        lines.push(format!("{:<12}{seconds:>7.1} s  {outcome}", step.name));
    }

    println!();
    for line in lines {
        println!("{}", line.trim_end());
    }
    println!("{passed} passed, {failed} failed, {skipped} skipped");
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn format(_: &Options) -> Result<Outcome> {
    Ok(announce(cargo("fmt").args(["--all", "--check"])).status()?.into())
}

fn lints(_: &Options) -> Result<Outcome> {
    let mut command = cargo("clippy");
    command.args(["--workspace", "--all-targets", "--", "-D", "warnings"]);
    Ok(announce(&mut command).status()?.into())
}

/// Runs the tests in a temporary folder of their own, so that a mount below it is known to be
/// theirs and no other run's.
fn tests(options: &Options) -> Result<Outcome> {
    if let Err(reason) = apt::ensure("fusermount3", &["fuse3"]) {
        println!("    tests that mount as a plain user cannot run: {reason}");
    }
    for (program, package) in [
        ("c++", "g++"),
        ("/usr/bin/python3", "python3"),
        ("make", "make"),
        ("cmake", "cmake"),
        ("meson", "meson"),
    ] {
        if let Err(reason) = apt::ensure(program, &[package]) {
            println!("    not all tests of the checker can run: {reason}");
        }
    }
    let folder = tempfile::Builder::new().prefix("dmabuf-test-").tempdir()?;
    let (mut command, note) = test_command(options.quick);
    let report = Path::new("target/nextest/default/junit.xml");
    remove(report)?;
    command.env("TMPDIR", folder.path());
    command.env("XDG_RUNTIME_DIR", folder.path());

    let status = wait(announce(&mut command).spawn()?, folder.path())?;
    let left = mounts::below(folder.path())?;
    abort(&left);
    let skipped = skipped_tests(report)?;
    for line in &skipped {
        println!("    {line}");
    }

    Ok(match status {
        None => Outcome::Failed(format!("not ended after {TESTS_LIMIT:?}")),
        Some(_) if !left.is_empty() => {
            Outcome::Failed(format!("left a mount behind: {}", points(&left)))
        }
        Some(status) if status.success() && skipped.is_empty() => Outcome::Passed(note.to_string()),
        Some(status) if status.success() => {
            Outcome::Passed(format!("but {} could not run: see above", skipped.len()))
        }
        Some(status) => status.into(),
    })
}

fn remove(file: &Path) -> Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

/// The tests that found no ground to run on here. Such a test prints a line `skipped: ` with the
/// reason and ends; nextest shows no output of tests that pass, but its report has it.
fn skipped_tests(report: &Path) -> Result<Vec<String>> {
    if !report.exists() {
        return Ok(Vec::new());
    }
    let report = fs::read_to_string(report)?;
    let mut test = "";
    let mut skipped = Vec::new();
    for line in report.lines() {
        if let Some((_, rest)) = line.split_once("<testcase name=\"") {
            test = rest.split('"').next().unwrap_or_default();
        }
        if let Some((_, reason)) = line.split_once("skipped: ") {
            let reason = reason.split("</").next().unwrap_or_default();
            skipped.push(format!("skipped {test}: {reason}"));
        }
    }
    Ok(skipped)
}

/// The command that runs the tests, and what has to be said about it.
fn test_command(quick: bool) -> (Command, &'static str) {
    if apt::find("cargo-nextest").is_some() {
        let mut command = cargo("nextest");
        command.args(["run", "--workspace", "--exclude", KERNEL_TESTS]);
        if quick {
            command.args(["-E", "not test(/(^|::)slow_/)"]);
        }
        (command, "")
    } else {
        let mut command = cargo("test");
        command.args(["--workspace", "--exclude", KERNEL_TESTS, "--tests"]);
        command.args(["--", "--show-output"]);
        if quick {
            command.args(["--skip", "slow_"]);
        }
        (command, "by cargo test, without a limit for each test: cargo-nextest is not installed")
    }
}

/// Waits for the test run; `None` means that its time was over and it was ended. Its mounts are
/// aborted, which frees tests that nothing else can end; then it is told to end; then it is made
/// to.
fn wait(mut child: Child, folder: &Path) -> Result<Option<ExitStatus>> {
    if let Some(status) = wait_for(&mut child, TESTS_LIMIT)? {
        return Ok(Some(status));
    }
    println!("    the tests have run for {TESTS_LIMIT:?}: ending them");
    abort(&mounts::below(folder)?);
    if wait_for(&mut child, GRACE)?.is_none() {
        kill_process(Pid::from_child(&child), Signal::TERM)?;
        if wait_for(&mut child, GRACE)?.is_none() {
            child.kill()?;
            child.wait()?;
        }
    }
    Ok(None)
}

fn abort(mounts: &[mounts::Mount]) {
    for mount in mounts {
        println!("    aborting the mount {}", mount.point.display());
        if let Err(error) = mount.abort() {
            println!("    {error:#}");
        }
    }
}

fn points(mounts: &[mounts::Mount]) -> String {
    let points: Vec<_> = mounts.iter().map(|m| m.point.to_string_lossy()).collect();
    points.join(", ")
}

fn doctests(_: &Options) -> Result<Outcome> {
    let mut command = cargo("test");
    command.args(["--workspace", "--doc"]);
    Ok(announce(&mut command).status()?.into())
}

fn c_examples(_: &Options) -> Result<Outcome> {
    let sources = c_sources(Path::new("examples"))?;
    if sources.is_empty() {
        return Ok(Outcome::Skipped("there is no examples/*.c".to_string()));
    }
    let cc = match apt::ensure("cc", &["gcc", "libc6-dev", "linux-libc-dev"]) {
        Ok(cc) => cc,
        Err(reason) => return Ok(Outcome::Skipped(format!("{reason:#}"))),
    };
    let folder = Path::new("target/c-examples");
    fs::create_dir_all(folder)?;
    for source in sources {
        let program = folder.join(source.file_stem().context("a source without a name")?);
        let mut command = Command::new(&cc);
        command.args(["-std=c11", "-Wall", "-Wextra", "-Werror", "-o"]);
        let status = announce(command.arg(program).arg(&source)).status()?;
        if !status.success() {
            bail!("{}: {status}", source.display());
        }
    }
    Ok(Outcome::Passed(String::new()))
}

fn c_sources(folder: &Path) -> Result<Vec<PathBuf>> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let mut sources = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension() == Some(OsStr::new("c")) {
            sources.push(path);
        }
    }
    sources.sort();
    Ok(sources)
}

/// The command and the client's library are both called dmabuf, and so are the folders of their
/// documentation: one after the other, the library's last, which is the one that people read.
fn docs(_: &Options) -> Result<Outcome> {
    let command = ["--package", "dmabuf-cli"].as_slice();
    let libraries = ["--workspace", "--exclude", "dmabuf-cli"].as_slice();
    for packages in [command, libraries] {
        let mut command = cargo("doc");
        command.args(packages).arg("--no-deps").env("RUSTDOCFLAGS", "-D warnings");
        let status = announce(&mut command).status()?;
        if !status.success() {
            return Ok(status.into());
        }
    }
    Ok(Outcome::Passed(String::new()))
}

fn machine(_: &Options) -> Result<Outcome> {
    if let Err(reason) = vm::is_possible() {
        return Ok(Outcome::Skipped(format!("{reason:#}")));
    }
    vm::self_test()?;
    Ok(Outcome::Passed(String::new()))
}

/// The client's tests, in Rust and C, the demo with a camera, and the suite for exporters, on those
/// of a real kernel and on the served heaps there.
fn exporters(_: &Options) -> Result<Outcome> {
    if let Err(reason) = vm::is_possible() {
        return Ok(Outcome::Skipped(format!("{reason:#}")));
    }
    let dmabuf = executables(announce(cargo("build").args(["--package", "dmabuf-cli"])))?;
    let mut tests = cargo::tests(&["--package", "dmabuf"])?;
    let camera = "a_camera_fills_our_buffers";
    tests.extend(cargo::tests(&["--package", "dmabuf-cli", "--test", camera])?);
    // The program in C is compiled, and run a first time, by a test here.
    let c =
        announce(cargo("test").args(["--quiet", "--package", "dmabuf-c", "--tests"])).status()?;
    if !c.success() {
        return Ok(c.into());
    }
    println!("    {} programs of tests, then `dmabuf conform`, in the machine", tests.len() + 1);
    // The command is TARGET/debug/dmabuf.
    let target = dmabuf.first().and_then(|dmabuf| dmabuf.ancestors().nth(2));
    let c_client = target.context("building the command dmabuf gave no program")?.join(C_CLIENT);
    let programs: Vec<PathBuf> = dmabuf.into_iter().chain([c_client]).chain(tests).collect();
    Ok(match vm::sh(&vm::Shape::default(), include_str!("exporters.sh"), &programs)? {
        0 => Outcome::Passed(String::new()),
        status => Outcome::Failed(format!("exit status {status}")),
    })
}

/// The checker's corpus, in buffers of a real kernel, and what only that machine has to measure.
fn checker(_: &Options) -> Result<Outcome> {
    if let Err(reason) = vm::is_possible() {
        return Ok(Outcome::Skipped(format!("{reason:#}")));
    }
    let corpus = "checker_finds_the_corpus";
    let mut programs = cargo::tests(&["--package", "dmabuf-cli", "--test", corpus])?;
    programs.extend(cargo::tests(&["--package", "dmabuf-check", "--lib"])?);
    // A program of tests does not fail where it is told a name that none of them has.
    let script = r#"
        ls /dev/udmabuf /dev/dma_heap/system && grep -q 123411e8 /proc/bus/pci/devices || exit
        "$2" uncached::tests::registers_of_a_device_are_not | tee /run/said
        grep -q ' ok\. 1 passed' /run/said || exit
        "$1" --test-threads=1 in_udmabufs in_buffers_of_the_system_heap | tee /run/said
        grep -q ' ok\. 2 passed' /run/said"#;
    Ok(match vm::sh(&vm::Shape::default(), script, &programs)? {
        0 => Outcome::Passed(String::new()),
        status => Outcome::Failed(format!("exit status {status}")),
    })
}

/// The kernel module, in machines that have it.
fn kernel_module(_: &Options) -> Result<Outcome> {
    if let Err(reason) = vm::is_possible().and_then(|()| kernel::is_possible()) {
        return Ok(Outcome::Skipped(format!("{reason:#}")));
    }
    kernel::test(None)?;
    Ok(Outcome::Passed(String::new()))
}
