//! The project's own commands, run as `cargo xtask NAME`.

mod apt;
mod cache;
mod cargo;
mod kernel;
mod mounts;
mod process;
mod test;
mod vm;

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;

/// The project's own commands.
#[derive(Parser)]
#[command(bin_name = "cargo xtask")]
enum Task {
    Kernel(kernel::Options),
    Test(test::Options),
    Vm(vm::Options),
}

fn main() -> Result<ExitCode> {
    match Task::parse() {
        Task::Kernel(options) => kernel::run(&options),
        Task::Test(options) => test::run(&options),
        Task::Vm(options) => vm::run(options),
    }
}
