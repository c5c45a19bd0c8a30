//! `dmabuf bench`: how long things take, side by side in one run.
//!
//! | file | what lives there |
//! |---|---|
//! | `check.rs` | programs under the checker, against the same ones alone |
//! | `kernel.rs` | the kernel module's heaps, against others of the same boot |
//! | `compare.rs` | two ways in turn, and their medians |
//! | `program.rs` | the programs that are measured |
//! | `table.rs` | what is printed |
//!
//! A member is added as a file with its options and a `run`, and a line in [`Member`] and one in
//! [`run`]. What it measures it compares with something in the same run: machines differ, and the
//! same one differs from minute to minute.

mod check;
mod compare;
mod kernel;
mod program;
mod table;

use anyhow::Result;
use clap::Subcommand;

pub use program::{Measured, be};

/// What can be measured.
#[derive(Subcommand)]
pub enum Member {
    /// What the checker costs: programs under `dmabuf check`, against the same ones alone
    Check(check::Options),
    /// What the kernel module's heaps cost and save, against others of the same boot
    Kernel(kernel::Options),
}

/// Measures it.
pub fn run(member: &Member) -> Result<()> {
    match member {
        Member::Check(options) => check::run(options),
        Member::Kernel(options) => kernel::run(options),
    }
}
