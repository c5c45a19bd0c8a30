//! What is made of the command line's own definition: completions and manual pages.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{Args, Command, CommandFactory};
use clap_complete::Shell;

use crate::Cli;
use crate::output::print;

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
pub fn completions(options: &Completions) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(options.shell, &mut visible(), "dmabuf", &mut script);
    print(&String::from_utf8(script)?)
}

/// The command line without its hidden commands, which completions would offer.
fn visible() -> Command {
    let all = Cli::command();
    let shown = all.get_subcommands().filter(|command| !command.is_hide_set()).cloned();
    Command::new("dmabuf")
        .version(env!("CARGO_PKG_VERSION"))
        .args(all.get_arguments().cloned())
        .subcommands(shown)
}

/// Writes `dmabuf.1`, and a page for each subcommand.
pub fn man(options: &Man) -> Result<()> {
    let dir = &options.dir;
    clap_mangen::generate_to(Cli::command(), dir)
        .with_context(|| format!("cannot write manual pages to {}", dir.display()))
}
