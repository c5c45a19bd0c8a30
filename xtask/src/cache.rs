//! The user's cache folder, where what has been fetched and made stays.

use std::{
    env,
    fs::{self, File},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use rustix::fs::{FlockOperation, flock};

/// The project's part of it, as the XDG base directory specification says; made when missing.
pub fn folder() -> Result<PathBuf> {
    let folder = match env::var_os("XDG_CACHE_HOME").filter(|folder| !folder.is_empty()) {
        Some(folder) => PathBuf::from(folder),
        None => env::home_dir().context("no home folder")?.join(".cache"),
    };
    let folder = folder.join("dmabuf");
    fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// Waits until no other process fetches or makes the same; holds it until the file is dropped.
pub fn lock(folder: &Path) -> Result<File> {
    let lock = File::create(folder.join("lock"))?;
    flock(&lock, FlockOperation::LockExclusive)?;
    Ok(lock)
}
