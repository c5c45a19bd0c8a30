//! `cargo xtask kernel`: builds and checks the kernel module for a stock Debian kernel.
//!
//! Everything runs in a toolchain root of its own, which needs nothing of this machine but apt,
//! dpkg and unshare(1); see `toolchain.rs`. kernel/README.md says how to build without it.

mod conform;
mod pins;
mod refused;
mod test;
mod toolchain;

pub use test::test;

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Result, bail};
use clap::{Args, Subcommand};
use rustix::fs::{FlockOperation, flock};

use crate::{apt::Index, vm};
use toolchain::{OUTPUT, SOURCE, Toolchain, project};

/// Formats the module's own sources, or with `--check` only says what it would change. What they
/// take in of other folders is formatted there. From its standard input, rustfmt does not follow
/// them.
const FORMAT: &str = r#"
status=0
for file; do
    rustfmt --config-path "$CONFIG" <"$file" >/tmp/formatted || exit
    if [ -n "$CHECK" ]; then
        diff -u "$file" /tmp/formatted || status=1
    elif ! cmp -s "$file" /tmp/formatted; then
        cat /tmp/formatted >"$file"
    fi
done
exit $status
"#;

/// Build and check the kernel module, for a stock Debian kernel.
///
/// The kernel's compiler, headers and source are fetched once, in the revision of the kernel that
/// `cargo xtask vm` boots, and nothing is installed.
#[derive(Args)]
pub struct Options {
    /// The kernel's version; without it, the newest that Debian offers.
    #[arg(long, value_name = "VERSION", global = true)]
    kernel: Option<String>,

    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Build the module; the last line on standard output is its path.
    Build,
    /// Lint it with the kernel's clippy.
    Clippy,
    /// Build it, lint it, see that exporters without brackets do not compile, and run its tests in
    /// machines that have it.
    Test,
    /// Print docs/conformance.md: what all exporters answer, the module's heaps among them.
    Conform,
    /// Format its sources as the kernel's are.
    Fmt {
        /// Change nothing, and fail if something is to be changed.
        #[arg(long)]
        check: bool,
    },
}

/// Runs one of the tasks.
pub fn run(options: &Options) -> Result<ExitCode> {
    is_possible()?;
    let kernel = options.kernel.as_deref();
    let toolchain = Toolchain::find(kernel)?;
    match options.task {
        Task::Test => test(kernel)?,
        Task::Conform => conform::conform(kernel, &toolchain)?,
        Task::Build => println!("{}", build(&toolchain)?.display()),
        Task::Clippy => clippy(&toolchain)?,
        Task::Fmt { check } => format(&toolchain, check)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Whether the module can be built here; the error says what is missing.
pub fn is_possible() -> Result<()> {
    vm::is_native()?;
    Index::is_possible()?;
    toolchain::is_possible()
}

/// Builds the module and returns its path.
fn build(toolchain: &Toolchain) -> Result<PathBuf> {
    let output = output(toolchain)?;
    make(toolchain, &output, &[])?;
    Ok(output.join("dmabuf_heaps.ko"))
}

fn clippy(toolchain: &Toolchain) -> Result<()> {
    let output = output(toolchain)?.join("clippy");
    fs::create_dir_all(&output)?;
    make(toolchain, &output, &["CLIPPY=1", "KRUSTFLAGS=-Dwarnings"])
}

fn make(toolchain: &Toolchain, output: &Path, more: &[&str]) -> Result<()> {
    let lock = fs::File::create(output.join(".lock"))?;
    flock(&lock, FlockOperation::LockExclusive)?;

    let mut command = toolchain.command(&project()?, output);
    command.args(["make", "--no-print-directory", "-C", &format!("{SOURCE}/kernel")]);
    command.arg(format!("KDIR={}", toolchain.headers())).arg(format!("OUT={OUTPUT}")).args(more);
    let status = command.stdout(io::stderr()).status()?;
    if status.success() {
        return Ok(());
    }
    let kernel = toolchain.release();
    if toolchain.is_tested() {
        bail!("the module does not build for {kernel}");
    }
    bail!(
        "the module does not build for {kernel}, and is not known to: it is tested with {}. The \
         kernel's Rust API may have changed; `--kernel VERSION` builds for another kernel",
        vm::TESTED.join(", ")
    )
}

fn format(toolchain: &Toolchain, check: bool) -> Result<()> {
    let project = project()?;
    let mut files = Vec::new();
    for folder in ["kernel", refused::FOLDER] {
        sources(&project.join(folder), Path::new(SOURCE).join(folder), &mut files)?;
    }
    files.sort();

    let mut command = toolchain.command(&project, &output(toolchain)?);
    command.env("CONFIG", toolchain.rustfmt_config());
    command.env("CHECK", if check { "yes" } else { "" });
    let status = command.args(["sh", "-c", FORMAT, "sh"]).args(files).status()?;
    if !status.success() {
        bail!("the module is not formatted as the kernel's sources are: cargo xtask kernel fmt");
    }
    Ok(())
}

/// The module's own sources in `folder`, as they are named in the root. The tests beside it are
/// programs like all others of the project.
fn sources(folder: &Path, name: PathBuf, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = name.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            if !entry.path().join("Cargo.toml").exists() {
                sources(&entry.path(), name, files)?;
            }
        } else if name.extension().is_some_and(|extension| extension == "rs") {
            files.push(name);
        }
    }
    Ok(())
}

/// The folder of results, which is the toolchain's own: what another has made is of no use.
fn output(toolchain: &Toolchain) -> Result<PathBuf> {
    let folder = project()?.join("target/kernel").join(toolchain.name());
    fs::create_dir_all(&folder)?;
    Ok(folder)
}
