//! What is made of the command line's own definition: completions and manual pages.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::Cli;

/// What `dmabuf completions` takes.
#[derive(Args)]
pub struct Completions {
    /// The shell to complete in
    shell: Shell,
}

/// What `dmabuf man` takes.
#[derive(Args)]
pub struct Man {
    /// The directory to write to; it must exist
    #[arg(value_name = "DIR")]
    dir: PathBuf,
}

/// Prints a completion script.
pub fn completions(options: &Completions) {
    let mut script = Vec::new();
    clap_complete::generate(options.shell, &mut Cli::command(), "dmabuf", &mut script);
    // A pager that is closed early, or `head`, is no reason to panic.
    let _ = std::io::Write::write_all(&mut std::io::stdout(), &script);
}

/// Writes `dmabuf.1`, and a page for each subcommand.
pub fn man(options: &Man) -> Result<()> {
    let dir = &options.dir;
    clap_mangen::generate_to(Cli::command(), dir)
        .with_context(|| format!("cannot write manual pages to {}", dir.display()))
}
