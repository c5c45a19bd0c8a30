//! `cargo xtask vm`: boots a stock Debian kernel and runs a command in it.
//!
//! The machine sees the host's files, and can change none of them: what it writes is gone when
//! it ends. The command is run by root, in the same folder and environment as it would be here,
//! with nothing on its standard input. /dev, /proc, /sys and /run are the machine's own.

mod initramfs;
mod kernel;
mod modules;
mod qemu;
mod self_test;

pub use kernel::{Kernel, TESTED};
pub use self_test::self_test;

use std::{
    env,
    ffi::{OsStr, OsString},
    fs,
    io::{self, Write},
    os::unix::ffi::OsStrExt,
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::{
    apt::Index,
    cache,
    cargo::{cargo, executables, root},
};
use modules::Modules;
use qemu::Machine;

/// What a failure of the machine itself is reported with.
const MACHINE_FAILED: u8 = 125;

/// What is built where it is asked for.
const OWN_COMMAND: &str = "dmabuf";

/// Modules that the machine itself needs, then dma-buf exporters and FUSE. udmabuf and the
/// system heap are part of Debian's kernel. There is no console to draw, and on a busy host a card
/// that draws one warns that its screen does not come round.
const MODULES: &[&str] = &[
    "virtio_pci",
    "virtio_console",
    "9p",
    "9pnet_virtio",
    "overlay",
    "fuse",
    "drm_kms_helper fbdev_emulation=0",
    "vgem",
    "vivid",
    "virtio_gpu",
];

/// Boot a stock Debian kernel under QEMU and run a command in it.
///
/// The command sees the host's files and environment and is run by root; what it writes is lost.
/// /dev, /proc, /sys and /run are the machine's own, and standard input is empty. Its standard
/// output, standard error and exit status are those of this command: a file comes out by standard
/// output. Status 125 means that the machine failed, not the command: the kernel warned, oopsed or
/// hung, or ended without a status.
///
/// The command `dmabuf` is this project's, which is built first.
#[derive(Args)]
#[command(after_help = tested())]
pub struct Options {
    /// The kernel's version; without it, the newest that Debian offers.
    #[arg(long, value_name = "VERSION")]
    kernel: Option<String>,

    /// A module to load, with what it needs: a name, or a path that ends in `.ko`; arguments may
    /// follow after blanks.
    #[arg(long = "module", value_name = "NAME")]
    modules: Vec<String>,

    /// More for the kernel's command line, such as swiotlb=force.
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    cmdline: String,

    /// The machine's memory, in MiB.
    #[arg(long, value_name = "MIB", default_value_t = 1024)]
    memory: u32,

    /// Let the machine's time pass with its instructions, 2 ns each: what is measured in it then does
    /// not depend on how busy the host is.
    #[arg(long)]
    icount: bool,

    /// How long the machine may run, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    timeout: u64,

    /// The command and its arguments.
    #[arg(last = true, required = true)]
    command: Vec<OsString>,
}

fn tested() -> String {
    format!("Tested kernels: {}.", kernel::TESTED.join(", "))
}

/// Runs the command in the machine; its exit status becomes ours.
pub fn run(mut options: Options) -> Result<ExitCode> {
    if let Some(program) = options.command.first_mut().filter(|program| *program == OWN_COMMAND) {
        *program = own_command()?.into();
    }
    let status = boot(&options, &mut io::stdout(), &mut io::stderr());
    Ok(ExitCode::from(status.unwrap_or_else(|error| {
        eprintln!("{error:#}");
        MACHINE_FAILED
    })))
}

/// Builds the project's own command, and tells where it is.
fn own_command() -> Result<PathBuf> {
    let mut build = cargo("build");
    build.args(["--quiet", "--package", "dmabuf-cli"]).current_dir(root()?);
    executables(&mut build)?.pop().context("building the command dmabuf gave no program")
}

/// What a machine is like, beside what all of them are.
#[derive(Default)]
pub struct Shape<'a> {
    /// The kernel's version; `None` for the newest.
    pub kernel: Option<&'a str>,
    /// More for the kernel's command line.
    pub cmdline: &'a str,
    /// Modules to load beside the default ones, as `--module` takes them.
    pub modules: &'a [String],
}

/// Runs a shell's `script` with `arguments` in a machine.
pub fn sh(shape: &Shape<'_>, script: &str, arguments: &[PathBuf]) -> Result<u8> {
    let mut command: Vec<OsString> = ["sh", "-c", script, "sh"].map(OsString::from).to_vec();
    command.extend(arguments.iter().map(OsString::from));
    let options = Options {
        kernel: shape.kernel.map(str::to_string),
        modules: shape.modules.to_vec(),
        cmdline: shape.cmdline.to_string(),
        memory: 1024,
        icount: false,
        timeout: 15 * 60,
        command,
    };
    boot(&options, &mut io::stdout(), &mut io::stderr())
}

/// Whether a machine can run here; the error says what is missing.
pub fn is_possible() -> Result<()> {
    is_native()?;
    Index::is_possible()?;
    qemu::find().map(drop)
}

/// Whether this host's programs are those of the machine.
pub fn is_native() -> Result<()> {
    if env::consts::ARCH != "x86_64" {
        bail!("the machine is an x86-64 one, and this host's programs are not");
    }
    Ok(())
}

/// Boots the machine, copies what the command writes, and returns the command's exit status.
fn boot(
    options: &Options,
    stdout: &mut (dyn Write + Send),
    stderr: &mut (dyn Write + Send),
) -> Result<u8> {
    is_native()?;
    let qemu = qemu::find()?;
    let nonce = fs::read_to_string("/proc/sys/kernel/random/uuid")?;
    let nonce = nonce.trim();
    let (image, initramfs) = prepare(options, nonce)?;
    let machine = Machine {
        qemu: &qemu,
        image: &image,
        initramfs: &initramfs,
        cmdline: &options.cmdline,
        memory: options.memory,
        icount: options.icount,
        limit: Duration::from_secs(options.timeout),
    };
    let status = machine.run(stdout, stderr)?;
    status
        .trim()
        .strip_prefix(nonce)
        .and_then(|status| status.trim().parse().ok())
        .with_context(|| format!("the machine failed: it reported {status:?} as its status"))
}

/// The kernel and the initramfs for it, with all that has to be fetched for them.
fn prepare(options: &Options, nonce: &str) -> Result<(PathBuf, Vec<u8>)> {
    let cache = cache::folder()?;
    let _lock = cache::lock(&cache)?;

    let kernel = Kernel::find(options.kernel.as_deref(), &cache)?;
    if !kernel.is_tested() {
        eprintln!("kernel {} is not one of those tested", kernel.release());
    }
    let tools = cache.join("tools");
    if !tools.is_dir() {
        Index::open(&cache)?.unpack(&["busybox-static"], &tools)?;
    }
    let busybox = tools.join("usr/bin/busybox");

    // What is asked for comes first, so that its arguments count.
    let mut requests: Vec<_> = options.modules.iter().map(String::as_str).collect();
    requests.extend(MODULES);
    let modules = Modules::of(&kernel.modules(), &busybox)?.load_order(&requests)?;
    let script = script(&options.command)?;
    let initramfs = initramfs::build(&busybox, &modules, &script, nonce)?;
    Ok((kernel.image()?, initramfs))
}

/// A shell script that runs the command as it would run here.
fn script(command: &[OsString]) -> Result<Vec<u8>> {
    let mut script = Vec::new();
    for (name, value) in env::vars_os() {
        if is_identifier(name.as_bytes()) {
            script.extend(b"export ");
            script.extend(name.as_bytes());
            script.push(b'=');
            quote(&value, &mut script);
            script.push(b'\n');
        }
    }
    script.extend(b"cd ");
    quote(env::current_dir()?.as_os_str(), &mut script);
    script.extend(b" || exit\nexec");
    for word in command {
        script.push(b' ');
        quote(word, &mut script);
    }
    script.push(b'\n');
    Ok(script)
}

/// Whether a shell takes it as the name of a variable.
fn is_identifier(name: &[u8]) -> bool {
    let letter = |byte: &u8| byte.is_ascii_alphabetic() || *byte == b'_';
    name.first().is_some_and(letter)
        && name.iter().all(|byte| letter(byte) || byte.is_ascii_digit())
}

/// Appends `word` in single quotes, in which a shell changes nothing.
fn quote(word: &OsStr, script: &mut Vec<u8>) {
    script.push(b'\'');
    for &byte in word.as_bytes() {
        match byte {
            b'\'' => script.extend(br"'\''"),
            _ => script.push(byte),
        }
    }
    script.push(b'\'');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_keep_a_word_as_it_is() {
        let mut script = Vec::new();
        quote(OsStr::new("it's $1"), &mut script);
        assert_eq!(script, br"'it'\''s $1'");
    }

    #[test]
    fn only_identifiers_are_exported() {
        assert!(is_identifier(b"_A1"));
        assert!(!is_identifier(b"1A"));
        assert!(!is_identifier(b"BASH_FUNC_x%%"));
        assert!(!is_identifier(b""));
    }
}
