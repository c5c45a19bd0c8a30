//! `cargo xtask kernel test`: the module's tests, in machines that have it.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};

use super::{build, clippy, format, refused::are_refused, toolchain::Toolchain};
use crate::{
    cargo::{self, announce, cargo, executables},
    vm,
};

/// The tests that load and unload the module: the first in a machine, and once.
const FIRST: &str = "it_unloads_when_nothing_is_left";

/// The test whose programs give a reader of the module's findings something to read.
const CHECKER: &str = "checker_finds_the_corpus";

/// Runs each of the programs, and then `dmabuf check` on static ones, and, on every heap of the
/// module's, the suite for exporters and the demo.
const SCRIPT: &str = r#"
    export DMABUF_MODULES=$1; dmabuf=$2; checker=$3; shift 3
    for tests; do
        "$tests" --quiet --test-threads=1 || exit
    done
    # It does not fail where it is told a name that no test has.
    "$checker" --quiet in_buffers_of_the_modules_heap_that_checks | tee /run/said
    grep -q ' ok\. 1 passed' /run/said || exit
    cd /dev/dma_heap || exit
    said=$("$dmabuf" conform $(ls | grep -vx system)) || { echo "$said"; exit 1; }
    echo "$said" | tail -n 1
    "$dmabuf" demo --kernel --out /run/demo"#;

/// Beside that, a camera fills buffers of every heap, and an output shows them. Not where DMA bounces:
/// udmabuf, which is among them, loses there what the camera's driver stored.
const CAMERA: &str = r#" && "$dmabuf" demo --camera /dev/video0 --out /run/pictures"#;

/// In the other machine all heaps are asked for, and not those alone that can be mapped.
const ALL_HEAPS: &str = "export DMABUF_HEAPS=unmappable,checked,tracked,bounce,coherent";

/// DMA goes by way of other memory, so that a device sees what is synced for it and nothing else; and
/// the memory of heaps is charged to cgroups.
const BOUNCING: &str = "swiotlb=65536,force dma_heap.mem_accounting=1";

/// Builds the module and runs its tests: in a machine as it is, and in one whose DMA bounces.
pub fn test(kernel: Option<&str>) -> Result<()> {
    let toolchain = Toolchain::find(kernel)?;
    format(&toolchain, true)?;
    clippy(&toolchain)?;
    println!("    exporters that offer mmap without begin and end do not compile");
    are_refused(&toolchain)?;
    let module = build(&toolchain)?;
    let modules = module.parent().context("a module is in a folder")?.to_path_buf();

    let mut programs = executables(announce(cargo("build").args(["--package", "dmabuf-cli"])))?;
    programs.extend(cargo::tests(&["--package", "dmabuf-cli", "--test", CHECKER])?);
    let tests = cargo::tests(&["--package", "dmabuf-kernel-tests", "--tests"])?;
    programs.insert(0, modules);
    let is_first = |path: &PathBuf| path.to_string_lossy().contains(FIRST);
    let (first, others): (Vec<_>, Vec<_>) = tests.into_iter().partition(is_first);
    ensure!(first.len() == 1, "the tests that come first are {FIRST}");

    println!("    in a machine as it is");
    let script = format!("{SCRIPT}{CAMERA}");
    run(kernel, "", &script, &[programs.clone(), first, others.clone()].concat())?;
    println!("    in a machine whose DMA bounces");
    run(kernel, BOUNCING, &format!("{ALL_HEAPS}\n{SCRIPT}"), &[programs, others].concat())
}

fn run(kernel: Option<&str>, cmdline: &str, script: &str, arguments: &[PathBuf]) -> Result<()> {
    let status = vm::sh(&vm::Shape { kernel, cmdline, ..Default::default() }, script, arguments)?;
    ensure!(status == 0, "the module's tests end with status {status}");
    Ok(())
}
