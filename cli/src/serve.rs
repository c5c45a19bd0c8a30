//! `dmabuf serve`: the heaps as a file system.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use dmabuf_serve::export::Quota;
use rustix::process::{Signal, set_parent_process_death_signal};

/// What `dmabuf serve` takes.
#[derive(Args)]
pub struct Options {
    /// Where to mount; by default /run/dmabuf for root, $XDG_RUNTIME_DIR/dmabuf for others
    mount: Option<PathBuf>,
    /// Bytes of memory that each user may have in buffers
    #[arg(long, value_name = "BYTES", default_value_t = dmabuf_serve::Options::default().quota.bytes)]
    user_bytes: u64,
    /// Buffers that each user may have
    #[arg(long, value_name = "COUNT", default_value_t = dmabuf_serve::Options::default().quota.buffers)]
    user_buffers: u64,
    /// End when the process that started this one does
    #[arg(long, hide = true)]
    exit_with_parent: bool,
}

/// Serves until told to stop.
pub fn run(options: Options) -> Result<()> {
    if options.exit_with_parent {
        set_parent_process_death_signal(Some(Signal::TERM))?;
    }
    let quota = Quota { bytes: options.user_bytes, buffers: options.user_buffers };
    let served = dmabuf_serve::Options { mountpoint: options.mount, quota, ..Default::default() };
    Ok(dmabuf_serve::run(served, |mount| println!("ready {}", mount.display()))?)
}
