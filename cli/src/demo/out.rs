//! Where the demo's pictures go: into a folder, or one of them to stdout.

use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::output;

/// What `--out` names.
pub struct Out {
    folder: PathBuf,
    /// The folder, if it is nobody's and only a picture of it is wanted.
    scratch: Option<TempDir>,
}

impl Out {
    /// The folder, which is created; `-` is stdout.
    pub fn open(path: &Path) -> Result<Out> {
        if path.as_os_str() == "-" {
            ensure!(
                !io::stdout().is_terminal(),
                "a picture is no text for a terminal: redirect stdout, as in --out - > picture.png"
            );
            let scratch = tempfile::tempdir()?;
            return Ok(Out { folder: scratch.path().to_owned(), scratch: Some(scratch) });
        }
        std::fs::create_dir_all(path).with_context(|| {
            format!("cannot create {}: choose another directory with --out", path.display())
        })?;
        Ok(Out { folder: path.to_owned(), scratch: None })
    }

    /// Where to write pictures.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Whether the folder stays.
    pub fn is_kept(&self) -> bool {
        self.scratch.is_none()
    }

    /// What to call a file in it, for people.
    pub fn name_of(&self, file: &str) -> String {
        match self.is_kept() {
            true => self.folder.join(file).display().to_string(),
            false => "stdout".to_owned(),
        }
    }

    /// Prints text: to stdout, or to stderr where that is for a picture.
    pub fn tell(&self, text: &str) -> Result<()> {
        match self.is_kept() {
            true => output::print(text),
            false => output::print_aside(text),
        }
    }

    /// Sends a file of the folder to stdout, if that is what was asked for.
    pub fn deliver(&self, file: &str) -> Result<()> {
        if self.is_kept() {
            return Ok(());
        }
        let mut picture = std::fs::File::open(self.folder.join(file))?;
        let mut stdout = io::stdout().lock();
        let sent = io::copy(&mut picture, &mut stdout).and_then(|_| stdout.flush());
        output::unless_nobody_reads(sent)
    }
}
