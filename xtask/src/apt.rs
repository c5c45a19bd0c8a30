//! Debian's package manager, as far as it is there and allowed.

use std::{
    env,
    path::PathBuf,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};

/// The place of `program` on the search path.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}

/// Sees to it that `program` is there: as root, `packages` are installed when it is not.
///
/// The error is one sentence that says what is missing and what would help.
pub fn ensure(program: &str, packages: &[&str]) -> Result<PathBuf> {
    if let Some(file) = find(program) {
        return Ok(file);
    }
    let names = packages.join(" ");
    if find("apt-get").is_none() {
        bail!("{program} is not installed, and without apt-get it has to be installed by hand");
    }
    if !rustix::process::geteuid().is_root() {
        bail!("{program} is not installed, and only root may do so: apt-get install {names}");
    }
    println!("    {program} is not installed; as root, installing: {names}");
    apt_get(&["update"])?;
    apt_get(&[&["install", "--yes", "--no-install-recommends"], packages].concat())?;
    find(program).with_context(|| format!("{names} installed, and still no {program}"))
}

fn apt_get(arguments: &[&str]) -> Result<()> {
    let status = Command::new("apt-get")
        .args(["--quiet", "--quiet"])
        .args(arguments)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(Stdio::null())
        .status()
        .context("starting apt-get")?;
    if !status.success() {
        bail!("apt-get {}: {status}", arguments.join(" "));
    }
    Ok(())
}
