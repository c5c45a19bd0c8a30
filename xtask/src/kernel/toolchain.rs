//! The toolchain root: a Debian with the kernel's compiler and headers, in a folder.
//!
//! Its packages are unpacked and no more: what the compiler and Kbuild need of Debian is files. The
//! metadata of the kernel's Rust crates, which Debian's headers lack, is made once by
//! kernel/rust-metadata.sh and kept apart from the root, so that a root can be had again without
//! the kernel's source.
//!
//! Programs run in it by chroot(2), in a mount namespace of their own (and, for a plain user, a
//! user namespace), so that no mount can be left behind.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};
use rustix::process::geteuid;

use super::pins::Pins;
use crate::{apt::Index, cache, process::run, vm::Kernel};

/// Where a program in the root finds the project.
pub const SOURCE: &str = "/source";

/// Where it leaves its results.
pub const OUTPUT: &str = "/output";

/// Goes into the root `$1` and runs a command there.
const ENTER: &str = r#"
root=$1 source=$2 output=$3
shift 3
mount --rbind /proc "$root/proc"
mount --rbind /dev "$root/dev"
mount --bind "$source" "$root/source"
mount --bind "$output" "$root/output"
exec chroot "$root" "$@"
"#;

/// Names that Debian makes when a package is set up; nothing is set up here.
const LINKS: &[(&str, &str)] = &[
    ("usr/bin", "bin"),
    ("usr/sbin", "sbin"),
    ("usr/lib", "lib"),
    ("usr/lib64", "lib64"),
    ("mawk", "usr/bin/awk"),
    ("gcc", "usr/bin/cc"),
];

/// A root that is complete.
pub struct Toolchain {
    pins: Pins,
    tested: bool,
    root: PathBuf,
}

impl Toolchain {
    /// The toolchain of a kernel, by its version, or else of the newest that Debian offers; made
    /// once.
    pub fn find(kernel: Option<&str>) -> Result<Self> {
        let cache = cache::folder()?;
        let _lock = cache::lock(&cache)?;
        let kernel = Kernel::find(kernel, &cache)?;
        let pins = Pins::of(&kernel)?;
        let root = cache.join("toolchains").join(name(&pins));
        let tested = kernel.is_tested();
        let toolchain = Toolchain { pins, tested, root };
        if !toolchain.root.is_dir() {
            toolchain.make(&cache)?;
        }
        Ok(toolchain)
    }

    /// A name for it that no other has.
    pub fn name(&self) -> String {
        name(&self.pins)
    }

    /// What `uname -r` says in its kernel.
    pub fn release(&self) -> &str {
        &self.pins.release
    }

    /// Whether the project is tested with its kernel.
    pub fn is_tested(&self) -> bool {
        self.tested
    }

    /// The folder of the kernel's headers, in the root.
    pub fn headers(&self) -> String {
        format!("/usr/src/linux-headers-{}", self.release())
    }

    /// The kernel's own way to format, in the root.
    pub fn rustfmt_config(&self) -> String {
        format!("{}/rust/.rustfmt.toml", self.headers())
    }

    /// A command that runs what is added to its arguments in the root.
    pub fn command(&self, source: &Path, output: &Path) -> Command {
        enter(&self.root, source, output)
    }

    fn make(&self, cache: &Path) -> Result<()> {
        let metadata = cache.join("rust-metadata").join(self.name());
        let index = Index::open(cache)?;
        let mut packages = self.pins.build_packages(&index)?;
        if !metadata.is_dir() {
            packages.extend(self.pins.metadata_packages(&index)?);
        }
        eprintln!("fetching the toolchain of {}", self.release());
        let root = sibling(&self.root)?;
        for folder in ["usr/bin", "usr/sbin", "usr/lib", "usr/lib64", "source", "output"] {
            fs::create_dir_all(root.path().join(folder))?;
        }
        for (target, link) in LINKS {
            symlink(target, root.path().join(link))?;
        }
        index.unpack_with_dependencies(&packages, root.path())?;
        self.check_compiler(root.path())?;
        if !metadata.is_dir() {
            self.make_metadata(root.path(), &metadata)?;
        }
        run(Command::new("cp").arg("-a").arg(metadata.join(".")).arg(root.path()))?;
        fs::rename(root.keep(), &self.root)?;
        Ok(())
    }

    /// Compiles the kernel's own crates, for their metadata.
    fn make_metadata(&self, root: &Path, metadata: &Path) -> Result<()> {
        eprintln!("compiling the Rust crates of {}: once, about a minute", self.release());
        let made = sibling(metadata)?;
        let script = format!("{SOURCE}/kernel/rust-metadata.sh");
        let source = format!("/usr/src/linux-source-{}.tar.xz", self.pins.series());
        run(enter(root, &project()?, made.path()).env("DESTDIR", OUTPUT).args([
            script,
            self.headers(),
            source,
        ]))?;
        fs::rename(made.keep(), metadata)?;
        Ok(())
    }

    /// Whether the compiler that was fetched is the one that the kernel was built by.
    fn check_compiler(&self, root: &Path) -> Result<()> {
        let output = enter(root, root, root).args(["rustc", "--version"]).output()?;
        let version = String::from_utf8_lossy(&output.stdout);
        if version.trim() != self.pins.compiler {
            bail!(
                "{} was built by \"{}\", and Debian offers \"{}\": {}",
                self.release(),
                self.pins.compiler,
                version.trim(),
                String::from_utf8_lossy(&output.stderr)
            );
        }
        Ok(())
    }
}

/// The project's own folder.
pub fn project() -> Result<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).parent();
    Ok(folder.context("xtask is in a folder")?.to_path_buf())
}

/// Whether programs can run in a root here; the error says what is missing.
pub fn is_possible() -> Result<()> {
    let output = unshare().arg("true").output().context("starting unshare, of util-linux")?;
    if !output.status.success() {
        bail!(
            "a mount namespace cannot be had here (as root, or with user namespaces): {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(())
}

fn name(pins: &Pins) -> String {
    format!("{}_rustc-{}", pins.revision, pins.compiler_number())
}

fn enter(root: &Path, source: &Path, output: &Path) -> Command {
    let mut command = unshare();
    command.args(["sh", "-euc", ENTER, "sh"]).args([root, source, output]);
    command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("LC_ALL", "C.UTF-8");
    command.stdin(Stdio::null());
    command
}

fn unshare() -> Command {
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private"]);
    if !geteuid().is_root() {
        command.arg("--map-root-user");
    }
    command
}

/// A temporary folder beside `folder`, to be renamed to it.
fn sibling(folder: &Path) -> Result<tempfile::TempDir> {
    let parent = folder.parent().context("a folder in the cache")?;
    fs::create_dir_all(parent)?;
    Ok(tempfile::tempdir_in(parent)?)
}
